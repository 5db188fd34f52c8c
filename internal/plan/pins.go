package plan

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ErrPins says that a policy's pins leave a wave without hosts before a later one.
var ErrPins = errors.New("a wave would have no hosts")

// mostWave is the highest wave that a pin may name.
const mostWave = 1_000_000

func (p Policy) validatePins() []error {
	var errs []error
	seen := map[string]bool{}
	for i, pin := range p.Pins {
		switch {
		case strings.TrimSpace(pin.ID) == "":
			errs = append(errs, fmt.Errorf("pins[%d]: give the instance's id", i))
		case pin.Wave < 1 || pin.Wave > mostWave:
			errs = append(errs, fmt.Errorf("pins[%d]: wave: %d is none: waves of hosts count from 1", i, pin.Wave))
		case seen[pin.ID]:
			errs = append(errs, fmt.Errorf("pins[%d]: %s has a pin already", i, clip(pin.ID)))
		}
		seen[pin.ID] = true
	}
	return errs
}

// pinned are the pins of a plan in the making.
type pinned struct {
	of    map[*member]int // wave, from 1
	named map[int]bool    // waves that hosts are pinned to
	last  int             // highest of them
}

// pins finds the hosts of the policy's pins, and refuses pins of hosts that
// take no part: they would be read as a promise.
func (m *maker) pins(hosts []*member) pinned {
	out := pinned{of: map[*member]int{}, named: map[int]bool{}}
	for _, p := range m.policy.Pins {
		h := m.byID[p.ID]
		if h != nil && h.joins {
			out.of[h], out.named[p.Wave] = p.Wave, true
			out.last = max(out.last, p.Wave)
			continue
		}
		r := Refusal{Phase: Prepare, Code: "pin-unused", Text: fmt.Sprintf("the policy puts %s into wave %d, and the snapshot has no such host", clip(p.ID), p.Wave), Do: "correct its pin, or remove it"}
		if h != nil {
			r.At = h.Ref().Place()
			r.Text = fmt.Sprintf("the policy puts %s into wave %d, and it takes no part (%s)", h.label(), p.Wave, m.whyOpen(h))
			r.Do = "remove its pin, or do what would let it take part"
		}
		m.plan.Refusals = append(m.plan.Refusals, r)
	}
	return out
}

// repin moves hosts into the waves of their pins. All others stay where they
// are; where a wave has lost all of its hosts and gets none, later ones move up.
func (m *maker) repin(pins pinned) error {
	byWave := map[int][]*member{}
	groups := make([][]*member, len(m.waves))
	for i, wave := range m.waves {
		for _, h := range wave {
			if n := pins.of[h]; n > 0 {
				byWave[n] = append(byWave[n], h)
			} else {
				groups[i] = append(groups[i], h)
			}
		}
	}
	m.waves = nil
	for n := 1; ; n++ {
		for len(byWave[n]) == 0 && len(groups) > 0 && len(groups[0]) == 0 {
			groups = groups[1:]
		}
		if len(groups) == 0 && n > pins.last {
			return nil
		}
		wave := byWave[n]
		if len(groups) > 0 {
			wave = append(wave, groups[0]...)
			groups = groups[1:]
		}
		if len(wave) == 0 {
			next := n + 1
			for !pins.named[next] {
				next++
			}
			return fmt.Errorf("%w: wave %d, before wave %d, into which %s is put: put hosts into it, or take a number up to %d", ErrPins, n, next, byWave[next][0].label(), n)
		}
		m.waves = append(m.waves, wave)
	}
}

// warnOfPins says, for each wave, which of the policy's rules its pins break.
// Nothing that a pin does opens or closes a door more: these rules are about
// who comes first, and how many at once.
func (m *maker) warnOfPins(pins pinned, caps map[string]int) {
	m.warnings = make([][]string, len(m.waves))
	if len(pins.of) == 0 {
		return
	}
	order := m.ranks(pins)
	for i, wave := range m.waves {
		say := func(format string, args ...any) { m.warnings[i] = append(m.warnings[i], fmt.Sprintf(format, args...)) }
		if i == 0 && m.policy.Canary > 0 {
			if len(wave) > m.policy.Canary {
				say("the canary has %s, and the policy wants %d", fleet.Count(len(wave), "host"), m.policy.Canary)
			}
			if len(m.closers()) > 0 && !slices.ContainsFunc(wave, func(h *member) bool { return h.closes }) {
				say("no door of the canary closes: it warns of nothing")
			}
		}
		m.warnOfSpread(wave, caps, say)
		var early, late, sources []string
		for _, h := range wave {
			switch {
			case h.rank > order.lowestAfter[i+1]:
				early = append(early, h.label())
			case h.rank < order.highestBefore[i]:
				late = append(late, h.label())
			}
			if o := order.othersAfter[i+1][h.rank]; h.source && (o.pinned || o.some && pins.of[h] > 0) {
				sources = append(sources, h.label())
			}
		}
		if early != nil {
			say("before hosts that the policy's order puts first: %s", some(early))
		}
		if late != nil {
			say("after hosts that the policy's order puts later: %s", some(late))
		}
		if sources != nil {
			say("people log in from here to others, and hosts that may still be open come later: %s", some(sources))
		}
	}
}

func (m *maker) warnOfSpread(wave []*member, caps map[string]int, say func(string, ...any)) {
	n := map[string]int{}
	for _, h := range wave {
		n[m.spreadGroup(h)]++
	}
	for _, g := range sortedKeys(n) {
		if g != "" && n[g] > caps[g] {
			name := g[strings.LastIndexByte(g, '/')+1:]
			say("%d hosts of %s %s, and the policy's spread of %d%% lets %d", n[g], clip(strings.TrimPrefix(m.policy.GroupBy, "tag:")), clip(name), m.policy.Spread, caps[g])
		}
	}
}

// ranks are what the waves before and after each wave hold.
type ranks struct {
	highestBefore []int            // of the waves before i
	lowestAfter   []int            // of the waves from i on
	othersAfter   []map[int]others // by rank, of the waves from i on
}

// others are hosts from which nobody logs in to others: whether there are some,
// and whether some of them have a pin.
type others struct{ some, pinned bool }

func (m *maker) ranks(pins pinned) ranks {
	n := len(m.waves)
	r := ranks{highestBefore: make([]int, n+1), lowestAfter: make([]int, n+1), othersAfter: make([]map[int]others, n+1)}
	for i, wave := range m.waves {
		r.highestBefore[i+1] = r.highestBefore[i]
		for _, h := range wave {
			r.highestBefore[i+1] = max(r.highestBefore[i+1], h.rank)
		}
	}
	r.lowestAfter[n], r.othersAfter[n] = math.MaxInt, map[int]others{}
	for i := n - 1; i >= 0; i-- {
		r.lowestAfter[i], r.othersAfter[i] = r.lowestAfter[i+1], maps.Clone(r.othersAfter[i+1])
		for _, h := range m.waves[i] {
			r.lowestAfter[i] = min(r.lowestAfter[i], h.rank)
			if !h.source {
				r.othersAfter[i][h.rank] = others{some: true, pinned: r.othersAfter[i][h.rank].pinned || pins.of[h] > 0}
			}
		}
	}
	return r
}
