package plan

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// DrillQuery says to which hosts a drill logs in. The zero value: a sample of
// every VPC.
type DrillQuery struct {
	VPC   string // only this one; empty: all
	Host  string // only this instance
	Wave  *int   // only hosts of this wave of their cutover
	Hosts int    // how many of each VPC at least; 0: the policy's drill_sample
	All   bool   // every host
}

// MakeDrill plans logins by the recovery bastions to a sample of the hosts: one
// at least of each VPC, image and wave, so that what differs between them is tried.
func MakeDrill(s *fleet.Snapshot, ways []Way, q DrillQuery, p Policy, now time.Time) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	ways = slices.Clone(ways)
	for i, w := range ways {
		ways[i].Hosts = slices.DeleteFunc(slices.Clone(w.Hosts), func(h WayHost) bool {
			return q.VPC != "" && w.Recovery.VPC != q.VPC || q.Host != "" && h.Host.ID != q.Host || q.Wave != nil && h.Wave != *q.Wave
		})
	}
	m, ways := ofWays(s, ways, p, Drill)
	var steps []Step
	for _, w := range ways {
		hosts := w.Hosts
		if !q.All && q.Host == "" && q.Wave == nil {
			hosts = m.sample(hosts, q.Hosts)
		}
		if len(hosts) > 0 {
			steps = append(steps, m.drillStep(w, ways, hosts, func(*RecoveryChange) {}, "as a drill"))
		}
	}
	if len(steps) == 0 {
		return nil, errors.New("drill: no running host that was asked for has a recovery key that a plan put there")
	}
	m.add("drill", nil, steps, 0)
	return m.sealed(now)
}

// sample picks hosts: the first of each image and wave, then others up to most.
func (m *maker) sample(hosts []WayHost, least int) []WayHost {
	if least == 0 {
		least = m.policy.Recovery.DrillSample
	}
	type trait struct {
		image string
		wave  int
	}
	seen := map[trait]bool{}
	var out, rest []WayHost
	for _, h := range hosts {
		t := trait{wave: h.Wave}
		if found := m.byID[h.Host.ID]; found != nil {
			t.image = found.ImageID
		}
		if seen[t] {
			rest = append(rest, h)
			continue
		}
		seen[t] = true
		out = append(out, h)
	}
	if more := least - len(out); more > 0 {
		out = append(out, rest[:min(more, len(rest))]...)
	}
	slices.SortFunc(out, func(a, b WayHost) int { return a.Host.Compare(b.Host) })
	return out
}
