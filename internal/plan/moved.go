package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Move is a host and the wave that it is to be in, by Wave.Number of a plan. One
// more than the number of the last wave of hosts is a new wave behind it.
type Move struct {
	Host fleet.HostRef `json:"host"`
	Wave int           `json:"wave"`
}

// Moved gives the pins of a policy by which a plan is made anew from the same
// snapshot with some of its hosts in other waves, and all others where they are.
// Of several moves of a host the last holds. Where moves take all hosts out of a wave,
// later ones move up, but not into the canary: others are chosen for it.
// A host that is in no wave of the plan and a wave beyond a new last one are errors.
func (p *Plan) Moved(moves []Move) ([]Pin, error) {
	first := p.firstOfHosts()
	at, last := map[fleet.HostRef]int{}, 0
	for i := range p.Waves {
		for _, h := range p.Waves[i].Hosts {
			last = i - first + 1
			at[h] = last
		}
	}
	to := maps.Clone(at)
	for _, m := range moves {
		n := m.Wave - first + 1
		switch {
		case at[m.Host] == 0:
			return nil, fmt.Errorf("%s is in no wave of plan %s: %s", m.Host.ID, clip(p.ID), cmp.Or(p.whyOut(m.Host), "it is not of its snapshot"))
		case n < 1 || n > last+1:
			return nil, fmt.Errorf("%s cannot be put into wave %d: plan %s has hosts in waves %d to %d, and a new one can come behind", m.Host.ID, m.Wave, clip(p.ID), first, first+last-1)
		}
		to[m.Host] = n
	}
	p.closeUp(to, last+1)
	pins := map[string]Pin{}
	for _, pin := range p.Policy.Pins {
		pins[pin.ID] = pin
	}
	touched := false // the canary: hosts that stay in it could be changed for others
	for h, n := range to {
		touched = touched || (n == 1) != (at[h] == 1)
	}
	for h, n := range to {
		if pin, has := pins[h.ID]; has || n != at[h] || touched && n == 1 {
			pin.ID, pin.Wave = h.ID, n
			pins[h.ID] = pin
		}
	}
	return slices.SortedFunc(maps.Values(pins), func(a, b Pin) int { return cmp.Or(cmp.Compare(a.Wave, b.Wave), strings.Compare(a.ID, b.ID)) }), nil
}

// firstOfHosts is the position of the first wave that has hosts: behind the
// foundation, where there is one.
func (p *Plan) firstOfHosts() int {
	return max(0, slices.IndexFunc(p.Waves, func(w Wave) bool { return len(w.Hosts) > 0 }))
}

// closeUp numbers the waves to which hosts are assigned without gaps, but for
// the canary's.
func (p *Plan) closeUp(to map[fleet.HostRef]int, last int) {
	filled := make([]bool, last+1)
	for _, n := range to {
		filled[n] = true
	}
	number := make([]int, last+1)
	next := 1
	for n := 1; n <= last; n++ {
		if filled[n] || n == 1 && p.Policy.Canary > 0 {
			number[n] = next
			next++
		}
	}
	for h, n := range to {
		to[h] = number[n]
	}
}

// whyOut says why a host takes no part; empty: it is not known.
func (p *Plan) whyOut(h fleet.HostRef) string {
	i := slices.IndexFunc(p.Refusals, func(r Refusal) bool { return r.Host == h && r.Phase == Prepare })
	if i < 0 {
		return ""
	}
	return p.Refusals[i].Text
}
