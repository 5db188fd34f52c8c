package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
	"ssm-migrate/internal/tui"
)

// cutover reads where a plan stands, and what the next one would be made from.
func (w *wizard) cutover(ctx context.Context, planID string) (*tui.Cutover, error) {
	cfg, err := w.app.config() // again: the operator may have put it right meanwhile
	if err != nil {
		return nil, err
	}
	path, _ := cfg.policyPath("")
	out := &tui.Cutover{RecoveryKey: cfg.Recovery.set(), PolicyFile: filepath.Base(path)}
	out.PolicyThere, out.Policy, out.PolicyErr = cfg.readPolicy("")
	if out.Policy, err = withRecoveryKey(ctx, w.db, out.Policy); err != nil {
		return nil, err
	}
	latest, err := load(ctx, w.db, 0)
	if errors.Is(err, sqlite.ErrNoSnapshot) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	proofs, err := recoveryProofs(ctx, w.db, latest.Hosts)
	if err != nil {
		return nil, err
	}
	out.Recovery = recovery.Status(latest, proofs, fleet.RecoveryKey{Line: out.Policy.Recovery.PublicKey, CA: out.Policy.Recovery.CA}, time.Duration(out.Policy.RecoveryAge), time.Now())
	drills, err := storedDrills(ctx, w.db)
	if err != nil {
		return nil, err
	}
	for i := range out.Recovery {
		out.Recovery[i].Drilled(drills, time.Now())
	}
	want, err := wantedRecovery(ctx, cfg, w.db, out.Policy)
	if err != nil {
		return nil, err
	}
	out.Keys = want.Keys
	if out.Drill, err = w.brokenDrill(ctx); err != nil {
		return nil, err
	}
	if out.Plan, err = w.plan(ctx, planID); err != nil || out.Plan == nil {
		return out, err
	}
	snap := latest
	if out.Plan.Snapshot != latest.ID {
		if snap, err = load(ctx, w.db, out.Plan.Snapshot); err != nil {
			return nil, err
		}
	}
	if out.Plan.Snapshot < latest.ID {
		out.Stale = out.Plan.Stale(latest)
	}
	out.Names = namesOfHosts(snap)
	if out.Entries, err = w.db.Entries(ctx, out.Plan.ID); err != nil {
		return nil, err
	}
	if out.Holder, out.Until, err = w.db.Holder(ctx); err != nil {
		return nil, err
	}
	out.Wish, err = w.db.Control(ctx, out.Plan.ID)
	return out, err
}

// plan is the one with the ID, or the one that needs attention: the plan of the
// last journal entry as long as it has not come to an end, else the newest. Nil:
// there is none.
func (w *wizard) plan(ctx context.Context, id string) (*plan.Plan, error) {
	if id == "" {
		p, err := w.unfinished(ctx)
		if p != nil || err != nil {
			return p, err
		}
	}
	p, err := w.db.Plan(ctx, id)
	if id == "" && errors.Is(err, sqlite.ErrNoPlan) {
		return nil, nil
	}
	return p, err
}

// unfinished is the plan of the last journal entry, if it has left timers armed
// or is neither at its end nor taken back; nil else.
func (w *wizard) unfinished(ctx context.Context) (*plan.Plan, error) {
	id, err := w.db.LastPlan(ctx)
	if err != nil || id == "" {
		return nil, err
	}
	p, err := w.db.Plan(ctx, id)
	if err != nil || p.Purpose == plan.Drill {
		return nil, err // drills are told of with the way back
	}
	entries, err := w.db.Entries(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := cutover.Status(p, entries)
	if err != nil {
		return nil, err
	}
	word, _, _ := strings.Cut(s.State, ":")
	over := s.Ended && cutover.Outcome(word) == cutover.OutcomeDone || s.Owed == 0
	if over && len(s.Risks) == 0 {
		return nil, nil
	}
	return p, nil
}

func (w *wizard) makePlan(ctx context.Context) (string, error) {
	cfg, err := w.app.config()
	if err != nil {
		return "", err
	}
	policy, err := cfg.keyedPolicy(ctx, w.db, "")
	if err != nil {
		return "", err
	}
	snap, err := load(ctx, w.db, 0)
	if err != nil {
		return "", err
	}
	p, err := newPlan(ctx, w.db, cfg, snap, policy)
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

// movePlan plans the latest snapshot with hosts of a plan in other waves. It
// stores nothing.
func (w *wizard) movePlan(ctx context.Context, planID string, moves []plan.Move) (*plan.Plan, error) {
	cfg, err := w.app.config()
	if err != nil {
		return nil, err
	}
	base, err := w.db.Plan(ctx, planID)
	if err != nil {
		return nil, err
	}
	snap, err := load(ctx, w.db, 0)
	if err != nil {
		return nil, err
	}
	return movedPlan(ctx, &stored{cfg: cfg, db: w.db, snap: snap}, "", base, moves)
}

func (w *wizard) savePlan(ctx context.Context, p *plan.Plan) error {
	return w.db.SavePlan(ctx, p, planner())
}

func (w *wizard) apply(ctx context.Context, planID string, last *int, t tui.Talk) (cutover.Result, error) {
	e, err := w.execution(ctx, planID, t)
	if err != nil {
		return cutover.Result{}, err
	}
	defer e.close()
	if err := e.current(ctx); err != nil {
		return cutover.Result{}, err
	}
	e.config.LastWave = last
	e.config.Acquired = e.sameKeys(e.clearStop)
	x, err := cutover.New(e.config)
	if err != nil {
		return cutover.Result{}, err
	}
	res, err := x.Apply(ctx)
	return res, e.explain(err)
}

func (w *wizard) rollback(ctx context.Context, planID string, s cutover.Scope, t tui.Talk) (cutover.Result, error) {
	e, err := w.execution(ctx, planID, t)
	if err != nil {
		return cutover.Result{}, err
	}
	defer e.close()
	e.config.Acquired = e.sameKeys(e.config.Acquired)
	x, err := cutover.New(e.config)
	if err != nil {
		return cutover.Result{}, err
	}
	res, err := x.Rollback(ctx, s)
	return res, e.explain(err)
}

// quiet is the program without a terminal: the screen speaks with the operator.
func (w *wizard) quiet() *app {
	return &app{streams: streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}, dbPath: w.app.dbPath, configPath: w.app.configPath}
}

// execution opens all that carries a plan out, with the screen in place of the
// terminal that the commands speak to.
func (w *wizard) execution(ctx context.Context, planID string, t tui.Talk) (*execution, error) {
	e, err := w.quiet().openExecution(ctx, planID)
	if err != nil {
		return nil, err
	}
	e.config.Event, e.config.Ask = t.Emit, t.Ask
	return e, nil
}

func (w *wizard) wish(ctx context.Context, planID string, change func(cutover.Wish) cutover.Wish) (cutover.Wish, error) {
	now, err := w.db.Control(ctx, planID)
	if err != nil {
		return cutover.Wish{}, err
	}
	next := change(now)
	next.By, next.At = planner(), time.Now()
	return next, w.db.SetControl(ctx, planID, next)
}
