package plan

import (
	"cmp"
	"slices"
	"strings"
)

// divide puts the hosts that take part into waves: the canary first, then by
// the policy's sizes. A host of a later rank never comes before one of an
// earlier rank; a wave that the spread allows no more hosts of a rank ends there.
// Hosts that have a pin leave their place for the wave that it names.
func (m *maker) divide() error {
	left := m.joined()
	pins := m.pins(left)
	if len(left) == 0 {
		return nil
	}
	slices.SortStableFunc(left, func(a, b *member) int {
		// Hosts from which people go on to others come last, while those others
		// may still be open; hosts whose doors close come first: a canary that
		// closes nothing warns of nothing.
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(btoi(a.source), btoi(b.source)), cmp.Compare(btoi(b.closes), btoi(a.closes)), a.Ref().Compare(b.Ref()))
	})
	all := len(left)
	caps := m.caps(left)
	next := func(size int, may func(*member) bool) {
		var wave []*member
		taken := map[string]int{}
		skipped := -1 // rank of the first host that the spread kept back
		left = slices.DeleteFunc(left, func(h *member) bool {
			if len(wave) == size || !may(h) || skipped >= 0 && h.rank > skipped {
				return false
			}
			g := m.spreadGroup(h)
			if g != "" && taken[g] == caps[g] {
				if skipped < 0 {
					skipped = h.rank
				}
				return false
			}
			taken[g]++
			wave = append(wave, h)
			return true
		})
		m.waves = append(m.waves, wave)
	}
	if m.policy.Canary > 0 {
		// Where pins take hosts out of the canary and put none in, others come
		// into it: the first wave is the one that warns.
		next(m.policy.Canary, func(h *member) bool { return pins.named[1] || pins.of[h] == 0 })
	}
	for i := 0; len(left) > 0; i++ {
		size, err := waveSize(m.policy.Waves[min(i, len(m.policy.Waves)-1)], all)
		if err != nil {
			size = 1 // Validate has seen to it
		}
		next(size, func(*member) bool { return true })
	}
	if len(pins.of) > 0 {
		if err := m.repin(pins); err != nil {
			return err
		}
	}
	for i, wave := range m.waves {
		for _, h := range wave {
			h.wave = i
		}
	}
	m.warnOfPins(pins, caps)
	return nil
}

// caps is how many hosts of each group one wave may hold.
func (m *maker) caps(hosts []*member) map[string]int {
	n := map[string]int{}
	for _, h := range hosts {
		n[m.spreadGroup(h)]++
	}
	for g := range n {
		n[g] = max(1, n[g]*m.policy.Spread/100)
	}
	return n
}

// spreadGroup is what the policy groups the host by; empty: by nothing.
func (m *maker) spreadGroup(h *member) string {
	tag, byTag := strings.CutPrefix(m.policy.GroupBy, "tag:")
	switch {
	case byTag:
		return h.Tags[tag]
	case m.policy.GroupBy == "az":
		return h.AZ
	case m.policy.GroupBy == "asg" && h.AutoScalingGroup != "":
		return h.Account + "/" + h.Region + "/" + h.AutoScalingGroup
	}
	return ""
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
