package main

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

// endState is what a cutover may have changed of a world, thing by thing, with
// names in place of the IDs that AWS gives, and without the value of the steps' tag, which tells who
// brought a thing about.
func endState(f *ownFleet) worldState {
	all := stateOf(f.world)
	f.world.Mu.RLock()
	defer f.world.Mu.RUnlock()
	var ids []string
	for _, a := range f.world.Accounts {
		for _, r := range a.Roles {
			if r.ID != "" {
				ids = append(ids, r.ID, "role "+r.Name)
			}
		}
		for _, rg := range a.Regions {
			for _, g := range rg.Groups {
				ids = append(ids, g.ID, "group "+g.VPC+" "+g.Name)
			}
			for _, t := range rg.Templates {
				ids = append(ids, t.ID, "template "+t.Name)
			}
			for _, e := range rg.Endpoints {
				ids = append(ids, e.ID, "endpoint "+e.VPC+" "+e.Service)
			}
		}
	}
	names := strings.NewReplacer(ids...)
	byWhom := regexp.MustCompile(`("` + regexp.QuoteMeta(fleet.TagStep) + `":)"[^"]*"`)
	text := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return byWhom.ReplaceAllString(names.Replace(string(text)), `$1"…"`)
	}
	out := worldState{}
	for k, v := range all {
		if strings.HasPrefix(k, "i-") || strings.HasSuffix(k, " settings") || strings.HasSuffix(k, " documents") {
			out[k] = text(v)
		}
	}
	for in := range f.world.Instances() {
		if a := in.Agent; in.Host.Running() {
			out[in.Host.ID+" agent"] = text([]any{a.Installed, a.Package, a.Version, a.Running, a.Enabled, a.Masked, !a.SleepsUntil.IsZero(), a.Stale, f.world.ServesSessions(in)})
		}
	}
	for _, a := range f.world.Accounts {
		for _, r := range a.Roles {
			out["role "+r.Name] = text(r)
		}
		for _, p := range a.Profiles {
			out["profile "+p.Name] = text(p)
		}
		for _, rg := range a.Regions {
			for _, g := range rg.Groups {
				rules := append(rulesOf(g.Ingress), rulesOf(g.Egress)...)
				for i := range rules {
					rules[i] = names.Replace(rules[i])
				}
				slices.Sort(rules)
				out[names.Replace(g.ID)] = rules
			}
			for _, t := range rg.Templates {
				out[names.Replace(t.ID)] = text(t)
			}
			for _, e := range rg.Endpoints {
				c := *e
				c.Groups = slices.Sorted(slices.Values(c.Groups))
				c.Addresses, c.DNSNames = fleet.Fact[[]netip.Addr]{}, nil // given by chance
				out[names.Replace(e.ID)] = text(c)
			}
			for _, g := range rg.Scaling {
				out["scaling group "+rg.Name+" "+g.Name] = text(g)
			}
		}
	}
	return out
}

// verdicts takes a new inventory and judges every host.
func (f *ownFleet) verdicts(t *testing.T) map[string]string {
	t.Helper()
	f.run(t, []int{exitIncomplete}, "inventory")
	judged := decode[fleet.Assessment](t, f.run(t, []int{exitNotReady, exitIncomplete}, "readiness", "--json"))
	out := map[string]string{}
	for _, h := range judged.Hosts {
		out[h.Host] = h.Verdict.String() + " " + h.Cause
	}
	return out
}
