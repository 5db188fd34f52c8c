package cutover

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// rollback undoes what the scope names.
func (r *run) rollback(s Scope) (Result, error) {
	set := map[string]bool{}
	switch {
	case s.Host != nil:
		set = r.ofHost(*s.Host, -1)
	case s.Wave != nil:
		i := slices.IndexFunc(r.cfg.Plan.Waves, func(w plan.Wave) bool { return w.Number == *s.Wave })
		set = r.ofWave(i)
	default:
		for id := range r.plan.steps {
			if r.record(id).state.Owed() {
				set[id] = true
			}
		}
	}
	var left []string
	err := r.rescued(func() (err error) {
		left, err = r.undoSet(set)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	if s.Host != nil {
		e := Entry{Event: Held, Hosts: []fleet.HostRef{*s.Host}, Detail: "rolled back by " + r.cfg.Operator}
		if err := r.write(e); err != nil {
			return Result{}, err
		}
	}
	res := r.summary(OutcomeRolledBack, "")
	res.Held = nil
	if len(set) == 0 {
		res.Reason = "there was nothing to take back"
	}
	if len(left) > 0 {
		res.Outcome, res.Left = OutcomeRolledPartly, left
		res.Reason = fmt.Sprintf("%d steps could not be undone; migrate status says why", len(left))
		res.Unreached = r.unreachedOf(left)
	}
	if b := r.bastions(); len(b) > 0 {
		res.Outcome = OutcomeRolledPartly
		res.Reason = strings.TrimPrefix(res.Reason+"; "+b[0].Runs(), "; ")
	}
	return res, nil
}

// ofWave gives what is owed of a wave, and of the doors of its hosts wherever
// they were closed.
func (r *run) ofWave(i int) map[string]bool {
	set := map[string]bool{}
	w := r.cfg.Plan.Waves[i]
	for _, s := range w.Steps {
		if r.record(s.ID).state.Owed() {
			set[s.ID] = true
		}
	}
	r.addDoors(set, w.Hosts)
	r.addBastions(set, w.Hosts)
	return set
}

// ofHost gives what is owed of the doors of a host, with their timers, and of
// the steps that are for it alone; wave limits those to one wave, -1 does not.
func (r *run) ofHost(h fleet.HostRef, wave int) map[string]bool {
	set := map[string]bool{}
	for _, id := range r.plan.alone[h] {
		if (wave < 0 || r.plan.lane[id].wave == wave) && r.record(id).state.Owed() {
			set[id] = true
		}
	}
	r.addDoors(set, []fleet.HostRef{h})
	r.addBastions(set, []fleet.HostRef{h})
	return set
}

// addBastions adds the bastions that were scaled in where the hosts are: the
// doors may be of no use without them.
func (r *run) addBastions(set map[string]bool, hosts []fleet.HostRef) {
	for _, c := range r.plan.close {
		if c.Kind == plan.ScaleIn && r.record(c.ID).state.Owed() &&
			slices.ContainsFunc(hosts, func(h fleet.HostRef) bool { return h.Place() == c.At }) {
			set[c.ID] = true
		}
	}
}

// addDoors adds the lanes that closed a door of one of the hosts.
func (r *run) addDoors(set map[string]bool, hosts []fleet.HostRef) {
	for _, h := range hosts {
		for _, l := range r.plan.doors[h] {
			maps.Copy(set, r.owing(l))
		}
	}
}

func (r *run) owing(l lane) map[string]bool {
	set := map[string]bool{}
	for _, s := range l.steps {
		if r.record(s.ID).state.Owed() {
			set[s.ID] = true
		}
	}
	return set
}

// undoSet undoes steps backwards: waves and phases from the last to the first,
// each phase ended before the one ahead of it begins, its lanes side by side
// as they ran, the steps of a lane from the last to the first. Doors open while bastions
// start; ways in are taken back after that. It gives the steps that could not be undone. Neither a stop nor a pause ends it; it has a deadline.
func (r *run) undoSet(set map[string]bool) (left []string, err error) {
	limit := 30*time.Minute + time.Duration(len(set))*time.Minute
	ctx, cancel := context.WithTimeout(r.work, limit)
	defer cancel()
	phases := plan.Phases()
	slices.Reverse(phases)
	r.forgetDoors()
	for i := len(r.cfg.Plan.Waves) - 1; i >= 0; i-- {
		for _, ph := range phases {
			var lanes []lane
			for _, l := range r.plan.lanes[i][ph] {
				if slices.ContainsFunc(l.steps, func(s plan.Step) bool { return set[s.ID] }) {
					lanes = append(lanes, l)
				}
			}
			if slices.ContainsFunc(lanes, func(l lane) bool {
				return slices.ContainsFunc(l.steps, func(s plan.Step) bool { return set[s.ID] && serves(s.Kind) })
			}) {
				down, err := r.awaitStarts(ctx)
				if left = append(left, down...); err != nil {
					return left, err
				}
			}
			if err := r.lookAtDoors(ctx, lanes, set); err != nil {
				return left, err
			}
			lefts := make([][]string, len(lanes))
			errs := make([]error, len(lanes))
			if err := r.inSlots(len(lanes), nil, func(n int) { lefts[n], errs[n] = r.undoLane(ctx, lanes[n], set) }); err != nil {
				return left, err
			}
			if err := errors.Join(errs...); err != nil {
				return left, err
			}
			left = append(left, slices.Concat(lefts...)...)
		}
	}
	down, err := r.awaitStarts(ctx)
	return append(left, down...), err
}

// undoLane undoes those steps of a lane that are in the set, the last first.
// What comes before a step that could not be undone stays as it is.
func (r *run) undoLane(ctx context.Context, l lane, set map[string]bool) (left []string, err error) {
	for n := len(l.steps) - 1; n >= 0; n-- {
		s := l.steps[n]
		if !set[s.ID] {
			continue
		}
		ok := len(left) == 0
		if ok {
			if ok, err = r.undoStep(ctx, l, s); err != nil {
				return nil, err
			}
		}
		if !ok {
			left = append(left, s.ID)
		}
	}
	return left, nil
}

// undoStep undoes one step and observes that it is undone.
func (r *run) undoStep(ctx context.Context, l lane, s plan.Step) (bool, error) {
	write := func(e Entry) error {
		e.Wave, e.Step, e.Hosts = r.number(l), s.ID, s.Hosts
		return r.write(e)
	}
	rec := r.record(s.ID)
	if why := r.mayNotUndo(s); why != "" {
		return false, write(Entry{Event: Held, Detail: "not undone: " + why})
	}
	if err := write(Entry{Event: UndoBegan, Detail: s.Title}); err != nil {
		return false, err
	}
	kind, token := r.cfg.Kinds[s.Kind], Token(r.cfg.Plan, s.ID)
	undone := func(ctx context.Context) (Observation, error) {
		return kind.Undone(ctx, s, rec.before, rec.after, token)
	}
	var obs Observation
	var err, lookErr error
	for t, rest := 1, firstRest; ; t, rest = t+1, 2*rest {
		err = r.undoOnce(ctx, s, rec)
		obs, lookErr = r.ask(ctx, undone)
		if failed := r.failure(); failed != nil {
			return false, failed
		}
		if lookErr == nil && obs.Holds == fleet.TruthYes {
			return true, write(Entry{Event: Undone, Result: fleet.TruthYes, Detail: obs.Detail})
		}
		if s.Kind == plan.ScaleIn && err == nil {
			r.mu.Lock()
			r.starting = append(r.starting, s)
			r.mu.Unlock()
			return true, nil // awaitStarts writes what becomes of it
		}
		if t == tries || errors.Is(err, ErrForeign) || errors.Is(err, errDoor) || r.rest(ctx, rest) != nil {
			break
		}
	}
	why := obs.Detail
	if err := errors.Join(err, lookErr); err != nil {
		why = err.Error()
	}
	if text := r.noteUnreached(s, err, lookErr); text != "" {
		why += "; " + text
	}
	if err := write(Entry{Event: UndoFailed, Result: obs.Holds, Detail: why}); err != nil {
		return false, err
	}
	return r.leaveToTimer(ctx, l, s, undone, write)
}

// awaitStarts waits for the bastions whose groups have their sizes again, and
// gives the steps of those that do not come into service.
func (r *run) awaitStarts(ctx context.Context) (left []string, err error) {
	r.mu.Lock()
	steps := r.starting
	r.starting = nil
	r.mu.Unlock()
	until := time.Now().Add(launchTimeout)
	for _, s := range steps {
		rec := r.record(s.ID)
		e := Entry{Wave: r.number(r.plan.lane[s.ID]), Step: s.ID, Hosts: s.Hosts, Event: Undone, Result: fleet.TruthYes}
		for {
			obs, lookErr := r.ask(ctx, func(ctx context.Context) (Observation, error) {
				return r.cfg.Kinds[s.Kind].Undone(ctx, s, rec.before, rec.after, Token(r.cfg.Plan, s.ID))
			})
			if failed := r.failure(); failed != nil {
				return left, failed
			}
			if e.Detail = obs.Detail; lookErr != nil {
				e.Detail = lookErr.Error()
			} else if obs.Holds == fleet.TruthYes {
				break
			}
			if !time.Now().Before(until) || r.rest(ctx, startLook) != nil {
				e.Event, e.Result = UndoFailed, obs.Holds
				left = append(left, s.ID)
				break
			}
		}
		if err := r.write(e); err != nil {
			return left, err
		}
	}
	return left, nil
}

// startLook is between two looks at bastions that start.
const startLook = 10 * time.Second

// timerSlack is how long after its time a timer may fire: the service does
// within the minute.
const timerSlack = 2 * time.Minute

// leaveToTimer waits for a timer that is still armed to open what we could not.
func (r *run) leaveToTimer(ctx context.Context, l lane, s plan.Step, undone func(context.Context) (Observation, error), write func(Entry) error) (bool, error) {
	fires, ok := r.fires(l)
	if !ok || !s.Kind.Closes() || r.disarmed(l) {
		return false, nil
	}
	if err := r.rest(ctx, time.Until(fires.Add(timerSlack))); err != nil {
		return false, r.failure()
	}
	obs, err := r.ask(ctx, undone)
	if failed := r.failure(); failed != nil {
		return false, failed
	}
	if err == nil && obs.Holds == fleet.TruthYes {
		return true, write(Entry{Event: Undone, Result: fleet.TruthYes, Detail: "opened again by its timer"})
	}
	return false, nil
}

// disarmed reports whether disarming the lane's timer was ever begun and not taken back.
func (r *run) disarmed(l lane) bool {
	for _, s := range l.steps {
		if st := r.record(s.ID).state; disarms(s.Kind) && st != StateNew && st != StateUndone {
			return true
		}
	}
	return false
}

// mayNotUndo says what forbids to undo a step yet; empty: nothing. A way that a
// host may depend on is not taken away while its other doors are closed, and a timer not while it
// may be all that opens one again.
func (r *run) mayNotUndo(s plan.Step) string {
	l := r.plan.lane[s.ID]
	if arms(s.Kind) && !r.disarmed(l) {
		for _, c := range l.steps {
			if c.Kind.Closes() && r.record(c.ID).state.Owed() {
				return fmt.Sprintf("%s may still be closed", c.ID)
			}
		}
	}
	if !serves(s.Kind) {
		return ""
	}
	if why := r.keyNeeds(s); why != "" {
		return why
	}
	for _, c := range r.plan.close {
		// The plan does not say who depends on a step without hosts, nor on bastions.
		if (len(s.Hosts) == 0 || c.Kind == plan.ScaleIn) && s.At.Account == c.At.Account && (s.At.Region == "" || s.At.Region == c.At.Region) && r.record(c.ID).state.Owed() {
			return fmt.Sprintf("%s may still be closed", c.ID)
		}
	}
	for c := range r.plan.doorsOf(s) {
		if r.record(c.ID).state.Owed() {
			return fmt.Sprintf("%s may still be closed", c.ID)
		}
		if why := r.shut[c.ID]; why != "" {
			return why
		}
	}
	return r.restsOn(s)
}

// doorsOf are the steps that close the doors of a step's hosts; one that closes
// the doors of several comes several times.
func (x *index) doorsOf(s plan.Step) iter.Seq[plan.Step] {
	return func(yield func(plan.Step) bool) {
		for _, h := range s.Hosts {
			for _, l := range x.doors[h] {
				for _, c := range l.steps {
					if c.Kind.Closes() && slices.Contains(c.Hosts, h) && !yield(c) {
						return
					}
				}
			}
		}
	}
}

// keyNeeds says which host still has a recovery key that is of use only with
// what a step made: nothing else may lead there. Empty: none has.
func (r *run) keyNeeds(s plan.Step) string {
	if s.Kind != plan.RecoveryGroup && s.Kind != plan.RecoveryRule {
		return ""
	}
	for _, k := range r.plan.keys {
		h := k.Hosts[0]
		uses := slices.Contains(s.Hosts, h) || s.Kind == plan.RecoveryGroup && s.Recovery != nil && s.Recovery.VPC == r.cfg.Hosts[h].VPC
		if uses && s.At == h.Place() && r.record(k.ID).state.Owed() {
			return fmt.Sprintf("the recovery key is still on %s, and may be the last way there", h)
		}
	}
	return ""
}

// opener is a closing kind that tells whether the door is open for those whom
// the plan found using it. Those that cannot are open where their condition does not hold.
type opener interface {
	Open(ctx context.Context, s plan.Step) (Observation, error)
}

// forgetDoors begins a rollback. Doors that are owed need no look: either they
// stay owed, or their undoing is observed.
func (r *run) forgetDoors() {
	r.shut = map[string]string{}
	for _, c := range r.plan.close {
		if r.record(c.ID).state.Owed() {
			r.shut[c.ID] = ""
		}
	}
}

// lookAtDoors looks, once in a rollback, at the doors that we do not hold
// closed of the hosts whose ways in are to be taken back: somebody else may
// have closed them, keys that no run has looked at yet included: without keys that
// open a host, the recovery key may be the last one, and its agent the last way.
func (r *run) lookAtDoors(ctx context.Context, lanes []lane, set map[string]bool) error {
	var doors []plan.Step
	for _, l := range lanes {
		for _, s := range l.steps {
			if !set[s.ID] || !serves(s.Kind) {
				continue
			}
			for c := range r.plan.doorsOf(s) {
				if _, seen := r.shut[c.ID]; !seen {
					r.shut[c.ID] = ""
					doors = append(doors, c)
				}
			}
		}
	}
	whys := make([]string, len(doors))
	err := r.inSlots(len(doors), nil, func(n int) { whys[n] = r.notOpen(ctx, doors[n]) })
	for n, c := range doors {
		r.shut[c.ID] = whys[n]
	}
	return err
}

// notOpen says why a door is not known to be open; empty: it is.
func (r *run) notOpen(ctx context.Context, c plan.Step) string {
	obs, err := r.ask(ctx, func(ctx context.Context) (Observation, error) {
		if k, ok := r.cfg.Kinds[c.Kind].(opener); ok {
			return k.Open(ctx, c)
		}
		obs, err := r.cfg.Kinds[c.Kind].Observe(ctx, c)
		switch obs.Holds {
		case fleet.TruthYes:
			obs.Holds = fleet.TruthNo
		case fleet.TruthNo:
			obs.Holds = fleet.TruthYes
		}
		return obs, err
	})
	switch {
	case err != nil:
		return fmt.Sprintf("whether the door of %s is open is not known: %v", c.ID, err)
	case obs.Holds == fleet.TruthUnknown:
		return fmt.Sprintf("whether the door of %s is open is not known: %s", c.ID, obs.Detail)
	case obs.Holds == fleet.TruthNo:
		return fmt.Sprintf("somebody else has closed the door of %s, so open it first: %s", c.ID, obs.Detail)
	}
	return ""
}
