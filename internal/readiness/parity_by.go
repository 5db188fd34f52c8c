package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ParityGroup is the share of the parity table that hosts of one label have.
type ParityGroup struct {
	Label  string               `json:"label"` // empty: hosts without the label
	Hosts  int                  `json:"hosts"`
	People []fleet.PersonParity `json:"people"` // those with a way in, by either door or not known; Cells speak of the group's hosts only
}

// ParityBy groups an assessment's parity by a label of the snapshot's hosts,
// such as the value of a tag. The groups come in the order of their labels,
// that of hosts without one last. It changes neither a nor s.
func ParityBy(a *fleet.Assessment, s *fleet.Snapshot, label func(*fleet.Host) string) []ParityGroup {
	labels := make(map[string]string, len(s.Hosts))
	for i := range s.Hosts {
		labels[s.Hosts[i].ID] = label(&s.Hosts[i])
	}
	members := map[string][]int{}
	for i, h := range a.Hosts {
		members[labels[h.Host]] = append(members[labels[h.Host]], i)
	}
	var out []ParityGroup
	for name, hosts := range members {
		g := ParityGroup{Label: name, Hosts: len(hosts), People: []fleet.PersonParity{}}
		for _, p := range a.Parity.People {
			if row := partOf(p, hosts); strings.Trim(row.Cells, string(fleet.ParityNone)) != "" {
				g.People = append(g.People, row)
			}
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(x, y ParityGroup) int {
		switch {
		case x.Label == "":
			return 1
		case y.Label == "":
			return -1
		}
		return strings.Compare(x.Label, y.Label)
	})
	return out
}

// partOf is a person's row on some hosts only.
func partOf(p fleet.PersonParity, hosts []int) fleet.PersonParity {
	cells := make([]byte, 0, len(hosts))
	for _, i := range hosts {
		if i < len(p.Cells) {
			cells = append(cells, p.Cells[i])
		}
	}
	p.Cells = string(cells)
	count := func(letter rune) int { return strings.Count(p.Cells, string(letter)) }
	p.Keeps, p.Loses, p.Gains, p.Unknown = count(fleet.ParityKeeps), count(fleet.ParityLoses), count(fleet.ParityGains), count(fleet.ParityUnknown)
	return p
}
