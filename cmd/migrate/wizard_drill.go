package main

import (
	"context"
	"strings"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/tui"
)

// planDrill plans a drill of a sample of the hosts. A drill that was broken off is
// gone on with first, since its bastions may still run.
func (w *wizard) planDrill(ctx context.Context) (*plan.Plan, error) {
	b, err := w.quiet().openRecovery(ctx)
	if err != nil {
		return nil, err
	}
	defer b.db.Close()
	if err := notWhileOpen(ctx, b.db); err != nil {
		return nil, err
	}
	if err := w.quiet().haveRecoveryKey(ctx, b.cfg); err != nil {
		return nil, err
	}
	if p, err := w.brokenDrill(ctx); p != nil || err != nil {
		return p, err
	}
	return plan.MakeDrill(b.snap, b.ways, plan.DrillQuery{}, b.policy, time.Now())
}

// brokenDrill is the plan of the last run if that was a drill without a known end;
// nil else. Whether it still goes on is known by who holds the lease.
func (w *wizard) brokenDrill(ctx context.Context) (*plan.Plan, error) {
	id, err := w.db.LastRun(ctx)
	if err != nil || id == "" {
		return nil, err
	}
	p, err := w.db.Plan(ctx, id)
	if err != nil || p.Purpose != plan.Drill {
		return nil, err
	}
	entries, err := w.db.Entries(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := cutover.Status(p, entries)
	if err != nil || !strings.HasPrefix(s.State, "running") {
		return nil, err
	}
	return p, nil
}

// drill stores the plan of a drill, which nobody has agreed to before, and carries
// it out.
func (w *wizard) drill(ctx context.Context, p *plan.Plan, t tui.Talk) (cutover.Result, error) {
	if err := w.db.SavePlan(ctx, p, planner()); err != nil {
		return cutover.Result{}, err
	}
	e, err := w.execution(ctx, p.ID, t)
	if err != nil {
		return cutover.Result{}, err
	}
	defer e.close()
	e.world.drilling = func(s plan.Step, phase cutover.DrillPhase) {
		t.Drill(tui.DrillReport{VPC: s.Recovery.VPC, Phase: phase, At: time.Now()})
	}
	e.config.Acquired = e.sameKeys(e.clearStop)
	x, err := cutover.New(e.config)
	if err != nil {
		return cutover.Result{}, err
	}
	res, err := x.Apply(ctx)
	return res, e.explain(err)
}
