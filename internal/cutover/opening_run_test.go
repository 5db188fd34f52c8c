package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// glass is a fleet of two VPCs, each with a recovery group and a host.
type glass struct {
	*drillWorld // proofs, and bastions
	store       *world
	groups      map[string]*drillWorld // by name
	plans       map[string]*plan.Plan
}

func newGlass(t *testing.T) *glass {
	g := &glass{store: newWorld(t), groups: map[string]*drillWorld{}, plans: map[string]*plan.Plan{}}
	g.store.unchecked = true
	g.drillWorld, _, _ = newDrill(plan.Prove, 0)
	opening := &plan.Plan{ID: "opening", Digest: "o", Purpose: plan.BreakGlass, Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{Name: "open"}}}
	drill := &plan.Plan{ID: "drill", Digest: "d", Purpose: plan.Drill, Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{Name: "drill"}}}
	for _, vpc := range []string{"vpc-1", "vpc-2"} {
		name := "migrate-recovery-" + vpc
		g.groups[name] = &drillWorld{group: fleet.ScalingGroup{Name: name, Max: 1}}
		c := plan.RecoveryChange{VPC: vpc, Name: name, User: "admin"}
		s := plan.Step{ID: "drill " + vpc, Kind: plan.RecoveryDrill, Phase: plan.Prove, Lane: vpc, Hosts: []fleet.HostRef{{ID: "i-" + vpc}}, Recovery: &c, Title: "drill " + vpc}
		drill.Waves[0].Steps = append(drill.Waves[0].Steps, s)
		open := c
		open.Bastions, open.Until = 1, plan.Duration(2*time.Hour)
		s.ID, s.Kind, s.Phase, s.Recovery, s.Title = "open "+vpc, plan.RecoveryOpen, plan.Prepare, &open, "open "+vpc
		opening.Waves[0].Steps = append(opening.Waves[0].Steps, s)
	}
	g.plans["opening"], g.plans["drill"] = opening, drill
	return g
}

func (g *glass) ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error) {
	return g.groups[name].ScalingGroup(ctx, at, name)
}

func (g *glass) SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error {
	return g.groups[name].SetSize(ctx, at, name, minimum, desired, maximum)
}

func (g *glass) InService(ctx context.Context, at fleet.Place, name string) ([]fleet.Host, error) {
	return g.groups[name].InService(ctx, at, name)
}

// Run runs every script well.
func (g *glass) Run(_ context.Context, _ fleet.Host, way fleet.Way, _ fleet.Script) fleet.ScriptResult {
	return fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Way: way, Stdout: []byte("migrate-host 1\ndone\n")}
}

func (g *glass) executor(t *testing.T, id string) *cutover.Executor {
	t.Helper()
	find := func(r fleet.HostRef) (fleet.Host, bool) {
		return fleet.Host{ID: r.ID, VPC: strings.TrimPrefix(r.ID, "i-")}, true
	}
	hosts := map[fleet.HostRef]fleet.Host{}
	for name := range g.groups {
		r := fleet.HostRef{ID: "i-" + strings.TrimPrefix(name, "migrate-recovery-")}
		hosts[r], _ = find(r)
	}
	rescue := &cutover.Rescue{}
	x, err := cutover.New(cutover.Config{
		Plan: g.plans[id], Hosts: hosts, Operator: "test", Prover: g, Proofs: g, Journal: g.store, Leases: g.store, Control: g.store, Rescue: rescue, Hooks: g.store,
		Plans: func(_ context.Context, id string) (*plan.Plan, error) {
			if p := g.plans[id]; p != nil {
				return p, nil
			}
			return nil, errors.New("no such plan")
		},
		Kinds: cutover.HostKinds(cutover.HostWorld{Hosts: g, Prover: g, Proofs: g, Scaling: g, Bastions: g, Rescue: rescue, Plan: g.plans[id], Find: find}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (g *glass) apply(t *testing.T, id string, o cutover.Outcome) cutover.Result {
	t.Helper()
	return ends(t, o, func() (cutover.Result, error) { return g.executor(t, id).Apply(t.Context()) })
}

func (g *glass) rollback(t *testing.T, id string) {
	t.Helper()
	ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) {
		return g.executor(t, id).Rollback(t.Context(), cutover.Scope{All: true})
	})
}

// A bastion that works stays open when another VPC's does not launch, and
// nobody waits longer for that than for one launch.
func TestOpeningKeepsTheBastionsThatWork(t *testing.T) {
	for name, hook := range map[string]bool{"no launch": false, "a hook that fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGlass(t)
				works, other := g.groups["migrate-recovery-vpc-1"], g.groups["migrate-recovery-vpc-2"]
				other.noBastion = !hook
				if hook {
					g.plans["opening"].Policy.Hooks.AfterWave, g.store.hookErr = "tell", errors.New("exit status 1")
				}
				began := time.Now()
				res := g.apply(t, "opening", cutover.OutcomePartly)
				if took := time.Since(began); took > 15*time.Minute {
					t.Errorf("it took %s", took)
				}
				if works.group.Desired != 1 || other.group.Desired != 1 || len(res.Hosts) > 0 {
					t.Errorf("left: %+v, %+v; blamed: %v", works.group, other.group, res.Hosts)
				}
				if hook {
					return
				}
				if !strings.Contains(res.Reason, "open vpc-2") || strings.Contains(res.Reason, "open vpc-1") {
					t.Errorf("reason %q", res.Reason)
				}
				standing, err := cutover.Status(g.plans["opening"], g.store.entries)
				if err != nil || standing.Owed != 2 {
					t.Errorf("%+v, %v", standing, err)
				}
				// It can be gone on with, and closed.
				other.noBastion = false
				g.apply(t, "opening", cutover.OutcomeDone)
				g.rollback(t, "opening")
				if works.group.Desired != 0 || other.group.Desired != 0 {
					t.Errorf("closed: %+v, %+v", works.group, other.group)
				}
			})
		})
	}
}

// Who is logged in through a bastion that was opened stays so, whoever drills
// or takes a drill back meanwhile.
func TestDrillLeavesOpenedBastionsAlone(t *testing.T) {
	for _, bastions := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			g := newGlass(t)
			one, two := g.groups["migrate-recovery-vpc-1"], g.groups["migrate-recovery-vpc-2"]
			g.plans["opening"].Waves[0].Steps = g.plans["opening"].Waves[0].Steps[:1] // vpc-1 alone
			g.apply(t, "opening", cutover.OutcomeDone)
			one.group.Desired, one.group.Max = bastions, bastions // as if by recovery open --bastions
			for _, what := range []string{"a drill", "a drill that finds what it wants", "its rollback", "another drill"} {
				if what == "its rollback" {
					g.rollback(t, "drill")
				} else {
					g.apply(t, "drill", cutover.OutcomeDone)
				}
				if one.group.Desired != bastions || one.group.Max != bastions || !one.goneAt.IsZero() {
					t.Errorf("%s: the opened bastion is gone or another: %+v", what, one.group)
				}
				if two.group.Desired != 0 || two.most != 1 {
					t.Errorf("%s: the other group: %+v, at most %d", what, two.group, two.most)
				}
			}
			g.rollback(t, "opening")
			if one.group.Desired != 0 {
				t.Errorf("closed: %+v", one.group)
			}
			g.apply(t, "drill", cutover.OutcomeDone)
			if one.group.Desired != 0 || time.Now().Before(one.goneAt) {
				t.Errorf("after it was closed a drill leaves %+v", one.group)
			}
		})
	}
}

// A bastion that somebody has ended by hand is not one that stays.
func TestDrillEndsItsOwnBastionBesideAnOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGlass(t)
		one := g.groups["migrate-recovery-vpc-1"]
		g.apply(t, "opening", cutover.OutcomeDone)
		_ = one.SetSize(t.Context(), fleet.Place{}, "", 0, 0, 1)
		time.Sleep(time.Hour)
		g.apply(t, "drill", cutover.OutcomeDone)
		if one.group.Desired != 0 || g.groups["migrate-recovery-vpc-2"].group.Desired != 1 {
			t.Errorf("left: %+v and %+v", one.group, g.groups["migrate-recovery-vpc-2"].group)
		}
	})
}

// A rollback uses a bastion that was opened, and does not end it: not at its own
// end, nor in the name of a run that died.
func TestRollbackLeavesOpenedBastionsAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		died, ended bool
		ends        time.Duration // when the schedule ends it
		desired     int
	}{
		"open":                            {desired: 1},
		"open, after a run that died":     {died: true, desired: 1},
		"open, with a schedule":           {ends: time.Hour, desired: 1},
		"its time is up":                  {ends: -time.Minute},
		"ended by hand":                   {ended: true},
		"ended by hand, after a dead run": {ended: true, died: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRescue(t, 2)
				w.manager = fleet.TruthNo
				s := plan.Step{ID: "open", Kind: plan.RecoveryOpen, Phase: plan.Prepare, Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: w.group.Name}}
				w.opening = &plan.Plan{ID: "opening", Digest: "o", Purpose: plan.BreakGlass, Waves: []plan.Wave{{Steps: []plan.Step{s}}}}
				opened := cutover.OpenedImage{Bastions: []string{"i-bastion"}}
				if tt.ends != 0 {
					opened.Ends = time.Now().Add(tt.ends)
				}
				after, err := json.Marshal(opened)
				must(t, err)
				began, err := json.Marshal(cutover.Bastion{VPC: "vpc-1", Group: w.group.Name})
				must(t, err)
				entries := []cutover.Entry{
					{Plan: "opening", Digest: "o", Step: "open", Event: cutover.Intended, Image: json.RawMessage(`{"max":1}`)},
					{Plan: "opening", Digest: "o", Step: "open", Event: cutover.Ours, Image: after},
				}
				if tt.died {
					entries = append(entries, cutover.Entry{Plan: "p1", Digest: "d", Event: cutover.BastionBegan, Image: began})
				}
				fence, err := w.store.Acquire(t.Context(), "before", time.Minute)
				must(t, err)
				for _, e := range entries {
					e.At, e.Operator = time.Now(), "before"
					_, err := w.store.Append(t.Context(), fence, e)
					must(t, err)
				}
				must(t, w.store.Release(t.Context(), fence))
				if !tt.ended {
					w.group.Desired = 1
				}
				res := w.rollback(t)
				if res.Outcome != cutover.OutcomeRolledBack || !w.restored["i-0"] || !w.restored["i-1"] {
					t.Errorf("%+v", res)
				}
				if w.group.Desired != tt.desired || tt.desired > 0 && !w.goneAt.IsZero() {
					t.Errorf("left: %+v, ended at %s", w.group, w.goneAt)
				}
				told := 0
				for _, e := range w.store.entries {
					if e.Event == cutover.BastionBegan && e.Operator == "test" {
						told++
					}
				}
				if (told == 0) != (tt.desired == 1) {
					t.Errorf("%d bastions begun", told)
				}
			})
		})
	}
}
