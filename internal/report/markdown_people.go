package report

import (
	"cmp"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

func (m *markdown) trend(c *change) {
	if c == nil || len(c.Causes) == 0 {
		return
	}
	m.table("Root cause", "Hosts then", "Now", "Change")
	for _, move := range c.Causes {
		m.row(md(move.Title)+" "+code(move.Code), fmt.Sprint(move.Then), fmt.Sprint(move.Now), sign(move.Now-move.Then))
	}
	m.line("")
}

// paths lists those that are not open, hop by hop up to what stops them.
func (m *markdown) paths(v *view) {
	if len(v.Paths.Closed) == 0 {
		return
	}
	m.line("## Network paths that are not open\n")
	if v.Paths.Shut > 0 {
		m.line("%s with the fewest hosts are left out.\n", fleet.Count(v.Paths.Shut, "path"))
	}
	for _, p := range v.Paths.Closed {
		state := "not known"
		if p.Open == fleet.TruthNo {
			state = "stopped"
		}
		m.line("- **%s**, %s, %s, %s", p.Ref(), md(p.Service), state, fleet.Count(p.Hosts, "host"))
		for _, h := range p.Hops {
			m.line("  - %s%s: %s%s", md(h.Kind), objectText(h.Object), md(strings.Join(h.Texts, "; ")), map[fleet.Truth]string{fleet.TruthNo: " **(stops it)**", fleet.TruthUnknown: " **(not known)**"}[h.Passes])
		}
	}
	m.line("")
}

func (m *markdown) ledger(l ledgerList) {
	m.line("## Who uses SSH\n\n%s: %d active, %d waived, %d silent, %d migrated. The logins of %d of %s are not known.\n",
		fleet.Count(l.Total(), "consumer"), l.Active, l.Waived, l.Silent, l.Migrated, l.Unread, fleet.Count(l.Hosts, "host"))
	if len(l.Rows) == 0 {
		return
	}
	m.table("Who", "Identity", "From", "To user", "Use", "Hosts", "Logins", "Last seen", "Status", "Why")
	for _, r := range l.Rows {
		m.row(md(cmp.Or(r.Owner, "nobody claims it")), code(r.Identity)+" "+md(r.Comment), md(r.From), md(r.User), md(r.Use), fmt.Sprint(r.Hosts), fmt.Sprint(r.Count), md(r.Last), r.Status.String(), md(r.Why))
	}
	if l.More > 0 {
		m.line("\n%s that matter least are left out.", fleet.Count(l.More, "consumer"))
	}
	m.line("")
}

func (m *markdown) parity(p parityList) {
	if len(p.Rows) == 0 {
		return
	}
	m.line("## Who gets in, today and tomorrow\n\nPairs of a person and a host: %d keep access, %d lose it, %d gain it, %d are not known.\n", p.Sum.Keeps, p.Sum.Loses, p.Sum.Gains, p.Sum.Unknown)
	m.table("Person", "IAM principals", "Keeps", "Loses", "Gains", "Unknown", "Would lose")
	for _, r := range p.Rows {
		m.row(md(r.Person), md(strings.Join(r.Principals, ", ")), fmt.Sprint(r.Keeps), fmt.Sprint(r.Loses), fmt.Sprint(r.Gains), fmt.Sprint(r.Unknown), md(strings.Join(r.Lost, ", ")))
	}
	m.line("")
	for _, g := range p.Groups {
		m.table(md(g.Title), "Keeps", "Loses", "Gains", "Unknown")
		for _, r := range g.Rows {
			m.row(md(cmp.Or(r.Name, "none")), fmt.Sprint(r.Keeps), fmt.Sprint(r.Loses), fmt.Sprint(r.Gains), fmt.Sprint(r.Unknown))
		}
		m.line("")
	}
}

func (m *markdown) operators(v *view) {
	if len(v.Operators) == 0 {
		return
	}
	m.line("## Operators\n")
	m.table("Principal", "People", "Start", "Resume", "Terminate", "Run Command as root", "Edit preferences")
	for _, o := range v.Operators {
		start := o.Start
		if o.Unrestricted {
			start += ", unrestricted"
		}
		m.row(code(o.ARN), md(o.People), start, o.Resume, o.Terminate, o.Commands, o.EditPreferences.String())
	}
	m.line("")
}
