package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// How often and how long the executor tries before it takes a no for an answer.
const (
	tries       = 4                // of Apply and of Undo
	firstRest   = 2 * time.Second  // between them; each is twice the last
	observes    = 6                // where the world does not answer
	firstLook   = time.Second      // between them; the same
	callTimeout = 45 * time.Minute // of one call of a step kind; those that wait for machines take minutes
	lookAgain   = 30 * time.Second // between looks at what others are to bring about
)

// step brings the condition of one step about: observe, intend, apply, observe.
func (r *run) step(l lane, n int, s plan.Step) laneEnd {
	if end, ok := r.mayBegin(l, s); !ok {
		return end
	}
	ctx, cancel := r.within(l, s)
	defer cancel()
	rec := r.record(s.ID)
	if rec.state.Done() && !l.timed() && !proves(s.Kind) {
		return laneEnd{}
	}
	obs, err := r.observe(ctx, s)
	if end, ok := r.seen(l, s, obs, err); !ok {
		return end
	}
	if waits(s) && obs.Holds != fleet.TruthYes {
		return r.await(l, s)
	}
	if disarms(s.Kind) {
		if end, ok := r.mayDisarm(ctx, l, n, s); !ok {
			return end
		}
	}
	// What was undone a moment ago may still be seen; a switch that is not
	// there is worse than one that is armed twice.
	if obs.Holds == fleet.TruthYes && (!arms(s.Kind) || !rec.again || rec.state.Owed()) && r.drilled(ctx, s) {
		return r.accept(ctx, l, n, s, obs, nil)
	}
	if end, ok := r.guard(ctx, l, n, s); !ok {
		return end
	}
	return r.try(ctx, l, n, s, obs)
}

// mayBegin waits while a pause is wished. A lane whose timer is too near by
// then begins anew.
func (r *run) mayBegin(l lane, s plan.Step) (laneEnd, bool) {
	waited, err := r.proceed(r.number(l))
	if err != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: err.Error()}, false
	}
	if deadline, ok := r.deadline(l); waited && ok && !time.Now().Before(deadline) {
		return laneEnd{kind: endLate, step: s.ID}, false
	}
	return laneEnd{}, true
}

// seen ends the step when what was observed does not let it go on.
func (r *run) seen(l lane, s plan.Step, obs Observation, err error) (laneEnd, bool) {
	if failed := r.failure(); failed != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: failed.Error()}, false
	}
	if err == nil && obs.Holds != fleet.TruthUnknown {
		return laneEnd{}, true
	}
	e := Entry{Wave: r.number(l), Step: s.ID, Event: Held, Hosts: s.Hosts, Detail: "cannot be observed: " + obs.Detail}
	end := laneEnd{kind: endUnknown, step: s.ID, hosts: s.Hosts}
	if errors.Is(err, ErrStale) {
		e.Detail, e.Result, end.kind = err.Error(), fleet.TruthNo, endFailed
	} else if err != nil {
		e.Detail = "cannot be observed: " + err.Error()
	}
	end.why = e.Detail
	if err := r.write(e); err != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: err.Error()}, false
	}
	return end, false
}

// await looks now and then whether somebody else has brought the condition about.
func (r *run) await(l lane, s plan.Step) laneEnd {
	began, most := time.Now(), time.Duration(r.cfg.Plan.Policy.Wait)
	whom := cmp.Or(s.Owner, "others")
	if s.Wait != nil {
		most = time.Duration(s.Wait.For)
	}
	r.slots.release() // others go on meanwhile
	defer r.slots.acquire(nil, r.work.Done(), func() {})
	if err := r.write(Entry{Wave: r.number(l), Event: Note, Hosts: s.Hosts, Detail: "waits for " + whom + " to do it: " + s.Title}); err != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: err.Error()}
	}
	next := began.Add(lookAgain)
	for {
		err := r.waitUntil(r.number(l), func(now time.Time) (bool, time.Duration) { return !now.Before(next), next.Sub(now) })
		if err != nil {
			return laneEnd{kind: endStopped, step: s.ID, why: err.Error()}
		}
		obs, err := r.observe(r.work, s)
		switch {
		case r.failure() != nil:
			return laneEnd{kind: endStopped, step: s.ID, why: r.failure().Error()}
		case err == nil && obs.Holds == fleet.TruthYes:
			return r.journal(l, s, Entry{Event: Found, Result: obs.Holds, Detail: obs.Detail}, laneEnd{})
		case err != nil:
			obs.Detail = err.Error()
		}
		if most > 0 && time.Since(began) >= most {
			why := fmt.Sprintf("not done by %s within %s: %s; at last: %s", whom, most, s.Title, obs.Detail)
			return r.journal(l, s, Entry{Event: Held, Detail: why}, laneEnd{kind: endFailed, step: s.ID, why: why, hosts: s.Hosts})
		}
		next = time.Now().Add(lookAgain)
	}
}

// journal writes an entry about the step and gives the end, or that it could not.
func (r *run) journal(l lane, s plan.Step, e Entry, end laneEnd) laneEnd {
	e.Wave, e.Step, e.Hosts = r.number(l), s.ID, s.Hosts
	if err := r.write(e); err != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: err.Error()}
	}
	return end
}

// accept writes that the condition holds. For a disarmed timer that is not
// enough: it may be gone because it has opened the door again.
func (r *run) accept(ctx context.Context, l lane, n int, s plan.Step, obs Observation, after json.RawMessage) laneEnd {
	rec := r.record(s.ID)
	if disarms(s.Kind) {
		if why, ok := r.stillClosed(ctx, l, n); !ok {
			return laneEnd{kind: endFailed, step: s.ID, why: why, hosts: s.Hosts}
		}
	}
	e := Entry{Event: Ours, Result: fleet.TruthYes, Detail: obs.Detail, Image: after}
	switch {
	case rec.state.Done() && after == nil: // looked at again
		return laneEnd{}
	case !rec.state.Owed():
		e.Event = Found
	}
	return r.journal(l, s, e, laneEnd{})
}

// try applies the step, a few times if need be, and observes after each try.
func (r *run) try(ctx context.Context, l lane, n int, s plan.Step, obs Observation) laneEnd {
	rec := r.record(s.ID)
	before := obs.Image
	if rec.state.Owed() {
		before = rec.before // the world may be half changed by now
	}
	if end := r.journal(l, s, Entry{Event: Intended, Result: fleet.TruthNo, Detail: s.Title, Image: before}, laneEnd{}); end.kind != endDone {
		return end
	}
	var last json.RawMessage
	began := time.Now()
	for t, rest := 1, firstRest; ; t, rest = t+1, 2*rest {
		after, err := r.applyOnce(ctx, l, s, before)
		if after != nil {
			last = after
		}
		seen, lookErr := r.settled(ctx, s, err == nil)
		if failed := r.failure(); failed != nil {
			return laneEnd{kind: endStopped, step: s.ID, why: failed.Error()}
		}
		if lookErr == nil && seen.Holds == fleet.TruthYes {
			return r.accept(ctx, l, n, s, seen, last)
		}
		final := t == tries || errors.Is(err, ErrStale) || errors.Is(err, ErrForeign) || errors.Is(lookErr, ErrStale) || r.stopped() || ctx.Err() != nil
		// Who needs a way in now is not to wait as long again: Auto Scaling goes on trying.
		final = final || r.opens() && time.Since(began) >= launchTimeout
		late := errors.Is(err, errLate)
		if late && ctx.Err() != nil {
			return laneEnd{kind: endLate, step: s.ID}
		}
		if !final && (late || r.rest(ctx, rest) == nil) {
			end, ok := r.guard(ctx, l, n, s)
			switch {
			case ok:
				continue
			case end.kind == endStopped || late && end.kind == endLate:
				return end
			}
		}
		return r.failedTry(l, s, seen, err, lookErr)
	}
}

// failedTry writes what became of a step that was tried in vain.
func (r *run) failedTry(l lane, s plan.Step, seen Observation, err, lookErr error) laneEnd {
	if failed := r.failure(); failed != nil {
		return laneEnd{kind: endStopped, step: s.ID, why: failed.Error()}
	}
	why := seen.Detail
	if err != nil {
		why = err.Error()
	}
	hosts, known := r.culprits(s)
	if known && seen.Holds == fleet.TruthNo && lookErr == nil || errors.Is(lookErr, ErrStale) {
		end := laneEnd{kind: endFailed, step: s.ID, why: s.Title + ": " + why, hosts: hosts}
		return r.journal(l, s, Entry{Event: Failed, Result: fleet.TruthNo, Detail: why}, end)
	}
	if lookErr != nil && (err == nil || lookErr.Error() != err.Error()) {
		why = fmt.Sprintf("%s; then it could not be observed: %v", why, lookErr)
	}
	end := laneEnd{kind: endUnknown, step: s.ID, why: s.Title + ": " + why, hosts: hosts}
	return r.journal(l, s, Entry{Event: Unclear, Detail: why}, end)
}

// observe asks until the world answers, or for as long as it takes to believe
// that it will not.
func (r *run) observe(ctx context.Context, s plan.Step) (Observation, error) {
	return r.ask(ctx, func(ctx context.Context) (Observation, error) { return r.cfg.Kinds[s.Kind].Observe(ctx, s) })
}

func (r *run) ask(ctx context.Context, look func(context.Context) (Observation, error)) (Observation, error) {
	for t, rest := 1, firstLook; ; t, rest = t+1, 2*rest {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		obs, err := look(call)
		cancel()
		if err == nil && obs.Holds != fleet.TruthUnknown || errors.Is(err, ErrStale) || errors.Is(err, ErrForeign) || t == observes {
			return obs, err
		}
		if r.rest(ctx, rest) != nil {
			return obs, err
		}
	}
}

// settled observes after a try. When the try said that it succeeded, a no is
// given time: reads lag behind writes.
func (r *run) settled(ctx context.Context, s plan.Step, succeeded bool) (Observation, error) {
	for t, rest := 1, firstLook; ; t, rest = t+1, 2*rest {
		obs, err := r.observe(ctx, s)
		if !succeeded || err != nil || obs.Holds != fleet.TruthNo || t == tries || r.rest(ctx, rest) != nil {
			return obs, err
		}
	}
}

// culprits are the hosts at whose door a failed step is laid. A step that
// proves ways names those that it did not prove; known is false where what went
// wrong says nothing about any of them. Where a key is to go for good, those of which nothing
// is known are named with the others.
func (r *run) culprits(s plan.Step) (hosts []fleet.HostRef, known bool) {
	if !proves(s.Kind) {
		return s.Hosts, true
	}
	way := fleet.WaySessionManager
	if s.Kind == plan.RecoveryDrill {
		way = fleet.WayRecovery
	}
	since := r.record(s.ID).since
	var no, unknown []fleet.HostRef
	for _, h := range s.Hosts {
		p, ok, err := r.cfg.Proofs.LatestProof(r.work, h, way)
		switch {
		case err != nil || !ok || p.At.Before(since) || p.Works == fleet.TruthUnknown:
			unknown = append(unknown, h)
		case p.Works == fleet.TruthNo:
			no = append(no, h)
		}
	}
	if len(no) > 0 {
		if r.cfg.Plan.Purpose == plan.Rotation {
			no = append(no, unknown...)
		}
		return no, true
	}
	return unknown, false
}
