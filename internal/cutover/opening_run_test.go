package cutover_test

import (
	"context"
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
		Kinds: cutover.HostKinds(cutover.HostWorld{Prover: g, Proofs: g, Scaling: g, Bastions: g, Rescue: rescue, Plan: g.plans[id], Find: find}),
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
