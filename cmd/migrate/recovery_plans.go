package main

import (
	"context"
	"fmt"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// begunPlans are the stored plans that the journal speaks of, newest first, with
// where each of them stands.
func begunPlans(ctx context.Context, db *sqlite.DB) ([]*plan.Plan, map[string]cutover.Standing, error) {
	infos, err := db.Plans(ctx)
	if err != nil {
		return nil, nil, err
	}
	var out []*plan.Plan
	standing := map[string]cutover.Standing{}
	for _, info := range infos {
		entries, err := db.Entries(ctx, info.ID)
		if err != nil {
			return nil, nil, err
		}
		if len(entries) == 0 {
			continue
		}
		p, err := db.Plan(ctx, info.ID)
		if err != nil {
			return nil, nil, err
		}
		if standing[p.ID], err = cutover.Status(p, entries); err != nil {
			return nil, nil, err
		}
		out = append(out, p)
	}
	return out, standing, nil
}

// statesOf gives the state of each step.
func statesOf(s cutover.Standing) map[string]cutover.State {
	out := map[string]cutover.State{}
	for _, w := range s.Waves {
		for _, ph := range w.Phases {
			for _, st := range ph.Steps {
				out[st.ID] = st.State
			}
		}
	}
	return out
}

// recoveryWays are the recovery ways that stand, by the journal.
func recoveryWays(ctx context.Context, db *sqlite.DB) ([]plan.Way, error) {
	plans, standing, err := begunPlans(ctx, db)
	if err != nil {
		return nil, err
	}
	states := map[string]map[string]cutover.State{}
	for id, s := range standing {
		states[id] = statesOf(s)
	}
	return plan.Ways(plans, func(p *plan.Plan, step string) bool { return states[p.ID][step].Done() }), nil
}

// recoveryBase is what the plans of the recovery way are made of.
type recoveryBase struct {
	cfg    config
	db     *sqlite.DB
	snap   *fleet.Snapshot
	ways   []plan.Way
	policy plan.Policy
}

func (a *app) openRecovery(ctx context.Context) (*recoveryBase, error) {
	s, err := a.openStored(ctx, 0)
	if err != nil {
		return nil, err
	}
	b := &recoveryBase{cfg: s.cfg, db: s.db, snap: s.snap}
	if b.ways, err = recoveryWays(ctx, b.db); err == nil {
		b.policy, err = s.cfg.keyedPolicy(ctx, b.db, "")
	}
	if err != nil {
		b.db.Close()
		return nil, err
	}
	return b, nil
}

// outcome is what came of a plan of the recovery way.
type outcome struct {
	result  cutover.Result
	began   time.Time
	entries []cutover.Entry
	// Failures are the steps that are not done, by ID, and why.
	failures map[string]string
}

// carryOut stores a plan and applies it, or goes on with one that was begun. What
// happens is told on standard error: the commands' own results go to standard output.
func (a *app) carryOut(ctx context.Context, db *sqlite.DB, p *plan.Plan) (outcome, error) {
	if err := db.SavePlan(ctx, p, planner()); err != nil {
		return outcome{}, err
	}
	return a.runStored(ctx, db, p, func(ctx context.Context, x *cutover.Executor) (cutover.Result, error) { return x.Apply(ctx) })
}

func (a *app) runStored(ctx context.Context, db *sqlite.DB, p *plan.Plan, work func(context.Context, *cutover.Executor) (cutover.Result, error)) (outcome, error) {
	out := outcome{began: time.Now(), failures: map[string]string{}}
	e, err := a.openExecution(ctx, p.ID)
	if err != nil {
		return out, err
	}
	defer e.close()
	e.config.Acquired = e.clearStop
	e.config.Event = func(entry cutover.Entry) {
		e.progress.clear()
		if line := e.eventLine(entry); line != "" {
			fmt.Fprintln(a.err, line)
		}
		e.progress.entry(entry)
	}
	if out.result, err = e.run(ctx, work); err != nil {
		return out, err
	}
	if out.entries, err = db.Entries(ctx, p.ID); err != nil {
		return out, err
	}
	s, err := cutover.Status(p, out.entries)
	if err != nil {
		return out, err
	}
	for _, w := range s.Waves {
		for _, ph := range w.Phases {
			for _, st := range ph.Steps {
				if !st.State.Done() && st.State != cutover.StateUndone {
					out.failures[st.ID] = st.Detail + st.Held
				}
			}
		}
	}
	if s.Reason != "" && out.result.Reason == "" {
		out.result.Reason = s.Reason
	}
	return out, nil
}
