package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/limit"
	"ssm-migrate/internal/plan"
)

// errLate says that what a change rests on was seen too long ago. Nothing was
// changed: it is to be looked at again.
var errLate = errors.New("what it rests on has been seen too long ago")

type lateKey struct{}

// lateLook is a last look; see Late.
type lateLook func(context.Context) (time.Time, error)

// errDoor says that a way in must not be taken back: a door that was open is
// not known to be so any more.
var errDoor = errors.New("not taken back")

// Late is called by step kinds right before the request that takes a way in
// away, and before each try of one that takes back what a way in rests on. A process, or its machine, may stand still for minutes between two lines:
// somebody else may have taken the lease since, proofs become too old, timers may have fired. Late looks again,
// without asking the fleet: an error means that the request must not be made. The context that
// it gives is for that request alone; its deadline is by the wall clock and the first moment
// at which something that was seen no longer counts. Outside of a run, and in steps that take
// nothing away, it gives ctx.
func Late(ctx context.Context) (context.Context, context.CancelFunc, error) {
	look, ok := ctx.Value(lateKey{}).(lateLook)
	if !ok {
		return ctx, func() {}, nil
	}
	until, err := look(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	return ctx, cancel, nil
}

// takes reports whether steps of the kind take away a way in, or what would
// open one again.
func takes(k plan.Kind) bool { return k.Closes() || disarms(k) }

// applyOnce tries a step once, and only with the lease: the process may have
// stood still since it wrote what it intends.
func (r *run) applyOnce(ctx context.Context, l lane, s plan.Step, before json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(limit.With(ctx, r.leased), callTimeout)
	defer cancel()
	if takes(s.Kind) {
		ctx = context.WithValue(ctx, lateKey{}, lateLook(func(ctx context.Context) (time.Time, error) { return r.late(ctx, l, s) }))
	}
	if _, err := r.late(ctx, l, s); err != nil {
		return nil, err
	}
	return r.cfg.Kinds[s.Kind].Apply(ctx, s, before, Token(r.cfg.Plan, s.ID))
}

// undoOnce tries to undo a step once, and only with the lease: whoever holds it
// by now may rely on what would be taken back, and may be closing what would be opened.
func (r *run) undoOnce(ctx context.Context, s plan.Step, rec record) error {
	ctx, cancel := context.WithTimeout(limit.With(ctx, r.leased), callTimeout)
	defer cancel()
	look := func(ctx context.Context) (time.Time, error) {
		until, err := r.holdLease(ctx, s)
		if err == nil {
			err = r.doorsOpen(ctx, s)
		}
		return until, err
	}
	if _, err := look(ctx); err != nil {
		return err
	}
	if serves(s.Kind) {
		ctx = context.WithValue(ctx, lateKey{}, lateLook(look))
	}
	return r.cfg.Kinds[s.Kind].Undo(ctx, s, rec.before, rec.after, Token(r.cfg.Plan, s.ID))
}

// doorsOpen looks again at the port 22 of those whose way in a step serves:
// colleagues close it while much else is taken back. Keys have been looked at in this rollback.
func (r *run) doorsOpen(ctx context.Context, s plan.Step) error {
	if !serves(s.Kind) {
		return nil
	}
	seen := map[string]bool{}
	for c := range r.plan.doorsOf(s) {
		if c.Kind != plan.ClosePort || seen[c.ID] {
			continue
		}
		seen[c.ID] = true
		if why := r.notOpen(ctx, c); why != "" {
			return fmt.Errorf("%w: %s", errDoor, why)
		}
	}
	return nil
}

// holdLease makes sure that the lease is ours, and gives how long it is. Times
// are the wall clock's: the other one stands still while a machine is suspended. An
// answer that was read only after the time it gives is none: it is asked again.
func (r *run) holdLease(ctx context.Context, s plan.Step) (time.Time, error) {
	for {
		until, err := r.renew(ctx)
		if errors.Is(err, ErrLease) {
			r.fail(fmt.Errorf("%s: %w", s.Title, err))
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return until, fmt.Errorf("%w: %w", errLate, err)
		case err != nil:
			return until, fmt.Errorf("keep the lease: %w", err)
		case time.Now().Round(0).Before(until):
			return until, nil
		}
	}
}

// late looks again at what the guard of a step has seen, and gives until when
// that counts.
func (r *run) late(ctx context.Context, l lane, s plan.Step) (time.Time, error) {
	until, err := r.holdLease(ctx, s)
	if err != nil || !s.Kind.Closes() || s.Kind == plan.ScaleIn {
		return until, err
	}
	ways := map[fleet.Way]time.Duration{
		fleet.WayRecovery:       time.Duration(r.cfg.Plan.Policy.RecoveryAge),
		fleet.WaySessionManager: time.Duration(r.cfg.Plan.Policy.ProofAge),
	}
	now := time.Now().Round(0)
	for _, h := range s.Hosts {
		for _, way := range []fleet.Way{fleet.WayRecovery, fleet.WaySessionManager} {
			p, ok, err := r.cfg.Proofs.LatestProof(ctx, h, way)
			switch {
			case err != nil:
				return until, fmt.Errorf("read the latest proof of %s on %s: %w", way, h, err)
			case !ok || !p.Fresh(now, ways[way]):
				return until, fmt.Errorf("%s on %s: %w", way, h, errLate)
			}
			until = earlier(until, p.At.Add(ways[way]))
		}
	}
	if at, ok := r.latest(l); ok {
		until = earlier(until, at)
	}
	if !now.Before(until) {
		return until, fmt.Errorf("%s: its timer would fire too soon: %w", s.Title, errLate)
	}
	return until, nil
}

// latest is when the door of a lane must have closed: half of its timer's time
// is for the proof that is to come.
func (r *run) latest(l lane) (time.Time, bool) {
	at, ok := r.fires(l)
	if !ok {
		return time.Time{}, false
	}
	arm, _ := timerOf(l)
	return at.Add(-time.Duration(arm.Timer.After) / 2), true
}

func earlier(a, b time.Time) time.Time {
	a, b = a.Round(0), b.Round(0)
	if b.Before(a) {
		return b
	}
	return a
}
