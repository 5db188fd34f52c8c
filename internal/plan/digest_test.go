package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func TestPlanComesBackAsItWas(t *testing.T) {
	x := newScene(3)
	x.probe(0).Keys.Value[0].Comment = "\x1b[31mno \xff UTF-8\u202e"
	p := x.make(t)
	text, err := plan.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := plan.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(fleet.Rule{}.CIDR)); diff != "" {
		t.Error(diff)
	}
	if got.Digest != p.Digest {
		t.Error("the digest changed")
	}
}

func TestChangedPlansAreRefused(t *testing.T) {
	text, err := plan.Encode(newScene(2).make(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		old, new string
		want     error
	}{
		{"10.0.0.0/8", "10.0.0.0/9", plan.ErrDigest},
		{`"snapshot":7`, `"snapshot":8`, plan.ErrDigest},
		{`"requireSilent":true`, `"requireSilent":false`, plan.ErrDigest},
		{`"id":"`, `"id":"0`, plan.ErrDigest},
		{`"waves":`, `"other":1,"waves":`, nil},
	} {
		changed := bytes.Replace(text, []byte(change.old), []byte(change.new), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("%s is not in the plan", change.old)
		}
		_, err := plan.Decode(changed)
		if err == nil || change.want != nil && !errors.Is(err, change.want) {
			t.Errorf("%s for %s: %v", change.new, change.old, err)
		}
	}
	if _, err := plan.Decode(append(slices.Clone(text), '1')); err == nil {
		t.Error("something after the plan was passed over")
	}
}

// Plans that somebody made by hand are held to the rules as well: each change
// takes one guard away.
func TestCheckSeesEveryMissingGuard(t *testing.T) {
	drop := func(k plan.Kind, of plan.Phase) func(*plan.Plan) {
		return func(p *plan.Plan) {
			for i := range p.Waves {
				p.Waves[i].Steps = slices.DeleteFunc(p.Waves[i].Steps, func(s plan.Step) bool { return s.Kind == k && s.Phase == of })
			}
		}
	}
	each := func(k plan.Kind, change func(*plan.Step)) func(*plan.Plan) {
		return func(p *plan.Plan) {
			for i := range p.Waves {
				for j := range p.Waves[i].Steps {
					if s := &p.Waves[i].Steps[j]; s.Kind == k {
						change(s)
					}
				}
			}
		}
	}
	for name, change := range map[string]func(*plan.Plan){
		"keys without a timer":              drop(plan.ArmHostTimer, plan.Quarantine),
		"keys without a proof after":        drop(plan.ProveSession, plan.Quarantine),
		"keys whose timer stays":            drop(plan.DisarmHostTimer, plan.Quarantine),
		"keys without a session before":     drop(plan.ProveSession, plan.Prove),
		"keys without a recovery key":       drop(plan.RecoveryKey, plan.Prepare),
		"keys without a drill":              drop(plan.RecoveryDrill, plan.Prove),
		"a port without a timer":            drop(plan.ArmRuleTimer, plan.Close),
		"a port without proofs":             drop(plan.ProveSession, plan.Close),
		"a port whose timer stays":          drop(plan.DisarmRuleTimer, plan.Close),
		"a port without its timer's role":   drop(plan.TimerRole, plan.Prepare),
		"a port without a recovery rule":    drop(plan.RecoveryRule, plan.Prepare),
		"a port while keys are not aside":   drop(plan.QuarantineKeys, plan.Quarantine),
		"a port closed for the bastion too": each(plan.ClosePort, func(s *plan.Step) { s.Rules.Keep = "" }),
		"a port of nobody":                  each(plan.ClosePort, func(s *plan.Step) { s.Hosts = nil }),
		"a port of a host that is not aside": each(plan.ClosePort, func(s *plan.Step) {
			s.Hosts = append(slices.Clone(s.Hosts), fleet.HostRef{Account: account, Region: region, ID: "i-other"})
		}),
		"a timer of no time":        each(plan.ArmHostTimer, func(s *plan.Step) { s.Timer.After = 0 }),
		"a step without its part":   each(plan.QuarantineKeys, func(s *plan.Step) { s.Keys = nil }),
		"a step of an unknown kind": each(plan.RecoveryKey, func(s *plan.Step) { s.Kind = "format-disk" }),
		"keys of two hosts at once": each(plan.QuarantineKeys, func(s *plan.Step) { s.Hosts = append(s.Hosts, s.Hosts[0]) }),
		"the same ID twice":         each(plan.RecoveryKey, func(s *plan.Step) { s.ID = "x" }),
		"a host in two waves":       func(p *plan.Plan) { p.Waves[2].Hosts = append(p.Waves[2].Hosts, p.Waves[1].Hosts...) },
		"waves in another order":    func(p *plan.Plan) { p.Waves[1], p.Waves[2] = p.Waves[2], p.Waves[1] },
		"an early scale-in": func(p *plan.Plan) {
			s := plan.Step{ID: "x", Kind: plan.ScaleIn, Phase: plan.Finish, Lane: "x", Scaling: &plan.ScalingChange{Group: "jump"}}
			p.Waves[1].Steps = append(p.Waves[1].Steps, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newScene(3).make(t)
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
			change(p)
			if err := p.Check(); err == nil {
				t.Error("it is passed over")
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for n := range 3 {
		text, err := plan.Encode(mustMake(f, n+1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"waves":[{"steps":[{"kind":"close-port","rules":null}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var raw plan.Plan
		if json.Unmarshal(text, &raw) == nil {
			_ = raw.Check() // must not panic, whatever it is given
			if raw.Check() == nil {
				raw.Stale(newScene(1).s)
			}
		}
		p, err := plan.Decode(text)
		if err != nil {
			return
		}
		again, err := plan.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := plan.Decode(again)
		if err != nil || q.Digest != p.Digest {
			t.Fatalf("a plan that was read does not come back: %v", err)
		}
	})
}

func mustMake(tb testing.TB, hosts int) *plan.Plan {
	tb.Helper()
	x := newScene(hosts)
	p, err := plan.Make(x.s, x.a, x.p, now)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
