package plan

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Difference is what a plan has otherwise than an older one.
type Difference struct {
	Old    string      `json:"old"` // plans
	New    string      `json:"new"`
	Hosts  []Change    `json:"hosts"`  // those that are in another wave, by their new waves
	Waves  []WaveSizes `json:"waves"`  // all, in order
	Groups []Change    `json:"groups"` // security groups whose port 22 closes in another wave
	// Refused are refusals of the new plan that the old one lacks, Lifted the
	// other way round; those about launch templates are left out.
	Refused []Refusal `json:"refused"`
	Lifted  []Refusal `json:"lifted"`
}

// Change is a host, or a security group, that two plans have in different waves.
type Change struct {
	Host  fleet.HostRef `json:"host,omitzero"`
	Group string        `json:"group,omitempty"`
	From  *WaveName     `json:"from"` // nil: in none
	To    *WaveName     `json:"to"`
}

// WaveName names a wave of a plan.
type WaveName struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
}

// WaveSizes are the hosts of the waves of one number in two plans.
type WaveSizes struct {
	WaveName
	Old      int      `json:"old"` // hosts
	New      int      `json:"new"`
	Warnings []string `json:"warnings,omitempty"` // of the new plan
}

// Diff compares the waves of two plans.
func Diff(old, now *Plan) Difference {
	d := Difference{
		Old: old.ID, New: now.ID,
		Hosts:  changes(hostWaves(old), hostWaves(now), func(h fleet.HostRef) Change { return Change{Host: h} }),
		Groups: changes(groupWaves(old), groupWaves(now), func(g string) Change { return Change{Group: g} }),
		Waves:  []WaveSizes{}, Refused: fewer(now.Refusals, old.Refusals), Lifted: fewer(old.Refusals, now.Refusals),
	}
	for i := range max(len(old.Waves), len(now.Waves)) {
		var w WaveSizes
		if i < len(old.Waves) {
			w.WaveName, w.Old = old.Waves[i].name(), len(old.Waves[i].Hosts)
		}
		if i < len(now.Waves) {
			w.WaveName, w.New, w.Warnings = now.Waves[i].name(), len(now.Waves[i].Hosts), now.Waves[i].Warnings
		}
		d.Waves = append(d.Waves, w)
	}
	return d
}

func (w *Wave) name() WaveName { return WaveName{Number: w.Number, Name: w.Name} }

func hostWaves(p *Plan) map[fleet.HostRef]WaveName {
	out := map[fleet.HostRef]WaveName{}
	for i := range p.Waves {
		for _, h := range p.Waves[i].Hosts {
			out[h] = p.Waves[i].name()
		}
	}
	return out
}

func groupWaves(p *Plan) map[string]WaveName {
	out := map[string]WaveName{}
	for i := range p.Waves {
		for k := range p.Waves[i].Steps {
			if s := &p.Waves[i].Steps[k]; s.Kind == ClosePort {
				out[s.Rules.Group] = p.Waves[i].name()
			}
		}
	}
	return out
}

// changes lists what is in waves of different numbers, by the new ones; what is
// in none any more comes last.
func changes[K comparable](old, now map[K]WaveName, change func(K) Change) []Change {
	out := []Change{}
	for k, to := range now {
		c := change(k)
		c.To = &to
		if from, was := old[k]; was {
			c.From = &from
		}
		if c.From == nil || c.From.Number != to.Number {
			out = append(out, c)
		}
	}
	for k, from := range old {
		if _, is := now[k]; !is {
			c := change(k)
			c.From = &from
			out = append(out, c)
		}
	}
	number := func(w *WaveName) int {
		if w == nil {
			return mostWave + 1
		}
		return w.Number
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(number(a.To), number(b.To)), cmp.Compare(number(a.From), number(b.From)), a.Host.Compare(b.Host), strings.Compare(a.Group, b.Group))
	})
	return out
}

// fewer lists the refusals that others lack.
func fewer(list, others []Refusal) []Refusal {
	type key struct {
		host        fleet.HostRef
		group, code string
		text        string // where it is about no host and no group
	}
	of := func(r Refusal) key {
		k := key{host: r.Host, group: r.Group, code: r.Code}
		if r.Host == (fleet.HostRef{}) && r.Group == "" {
			k.text = r.Text
		}
		return k
	}
	seen := map[key]bool{}
	for _, r := range others {
		seen[of(r)] = true
	}
	out := []Refusal{}
	for _, r := range list {
		if r.Code != "template-undoes" && !seen[of(r)] {
			out = append(out, r)
		}
	}
	return out
}
