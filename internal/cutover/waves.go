package cutover

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// errEnded carries the result of a run that ends before its plan does.
type errEnded struct{ Result }

func (e errEnded) Error() string { return string(e.Outcome) + ": " + e.Reason }

// ended makes of whatever ended a run its result. An error remains where the
// journal could not be written.
func (r *run) ended(err error) (Result, error) {
	var e errEnded
	switch {
	case err == nil:
		return r.summary(OutcomeDone, ""), nil
	case errors.As(err, &e):
		return e.Result, nil
	case errors.Is(err, errStopped):
		return r.summary(OutcomeStopped, "on request"+r.warnTimers()), nil
	}
	return Result{}, err
}

// summary is a result with what was left out on the way.
func (r *run) summary(o Outcome, reason string) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := Result{Outcome: o, Reason: reason}
	for h := range r.failed {
		res.Hosts = append(res.Hosts, h)
	}
	slices.SortFunc(res.Hosts, fleet.HostRef.Compare)
	for s := range r.held {
		res.Held = append(res.Held, s)
	}
	slices.Sort(res.Held)
	if o == OutcomeDone && len(res.Hosts)+len(res.Held) > 0 {
		res.Outcome = OutcomePartly
		res.Reason = fmt.Sprintf("%d hosts taken back, %d steps held", len(res.Hosts), len(res.Held))
	}
	return res
}

// apply goes through the waves.
func (r *run) apply() (Result, error) {
	if err := r.apart(); err != nil {
		return r.ended(err)
	}
	if err := r.fresh(); err != nil {
		return r.ended(err)
	}
	for i, w := range r.cfg.Plan.Waves {
		if err := r.wave(i); err != nil {
			return r.ended(err)
		}
		if r.cfg.LastWave != nil && w.Number >= *r.cfg.LastWave {
			break
		}
	}
	return r.ended(nil)
}

// shared are the kinds that change what others use too, and say ErrStale where
// others have changed it since the plan was made.
var shared = []plan.Kind{
	plan.ExtendRole, plan.DefaultHostManagement, plan.AllowEgress, plan.CreateEndpoint, plan.SessionPreferences, plan.RecoveryRule,
	plan.ClosePort, plan.ScaleIn,
}

// fresh refuses a plan of which nothing was begun and whose shared things are
// not as it found them. Each step is asked again before it begins.
func (r *run) fresh() error {
	for id := range r.plan.steps {
		if r.record(id).state != StateNew {
			return nil
		}
	}
	var steps []plan.Step
	for _, w := range r.cfg.Plan.Waves {
		steps = append(steps, w.Steps...)
	}
	why, _, err := r.stale(steps)
	if err == nil && why != "" {
		err = errEnded{r.summary(OutcomeStale, why)}
	}
	return err
}

// freshWave does not let a wave begin of which the shared things are not as the
// plan found them any more: its hosts would be brought half-way and back. Those that
// error_budget lets fail do, as in the middle of the wave.
func (r *run) freshWave(i int) error {
	w := r.cfg.Plan.Waves[i]
	for _, s := range w.Steps {
		if state := r.record(s.ID).state; state.Done() || state.Owed() {
			return nil
		}
	}
	why, hosts, err := r.stale(w.Steps)
	if err == nil && why != "" && (len(hosts) == 0 || len(hosts) > r.budget()) {
		err = errEnded{r.summary(OutcomeStale, fmt.Sprintf("%s was not begun: %s", w.Name, why))}
	}
	return err
}

// stale asks those of the steps that change shared things whether these are as the
// plan found them. Why names the first that are not; hosts are all that such steps are for.
func (r *run) stale(all []plan.Step) (why string, hosts map[fleet.HostRef]bool, err error) {
	steps := slices.DeleteFunc(slices.Clone(all), func(s plan.Step) bool { return !slices.Contains(shared, s.Kind) })
	found := make([]string, len(steps))
	err = r.each(len(steps), func(i int) {
		if _, err := r.cfg.Kinds[steps[i].Kind].Observe(r.work, steps[i]); errors.Is(err, ErrStale) {
			found[i] = steps[i].Title + ": " + err.Error()
		}
	})
	hosts = map[fleet.HostRef]bool{}
	for i, f := range found {
		if f == "" {
			continue
		}
		why = cmp.Or(why, f)
		for _, h := range r.still(steps[i].Hosts) {
			hosts[h] = true
		}
	}
	return why, hosts, err
}

// each runs fn for 0 to n-1, as many at once as lanes may, until the run is to stop.
func (r *run) each(n int, fn func(i int)) error {
	return r.inSlots(n, r.stop, fn)
}

// inSlots is each with another stop; nil: only a failure ends it.
func (r *run) inSlots(n int, stop <-chan struct{}, fn func(i int)) error {
	group := make(chan struct{}, n)
	begun := 0
	for i := range n {
		if !r.slots.acquire(stop, r.work.Done(), func() { r.look() }) {
			break
		}
		begun++
		go func() {
			defer func() {
				r.slots.release()
				group <- struct{}{}
			}()
			fn(i)
		}()
	}
	for range begun {
		<-group
	}
	if err := r.failure(); err != nil {
		return err
	}
	if begun < n {
		return errStopped
	}
	return nil
}

// gateKey is one gate of a wave.
type gateKey struct {
	wave int    // number
	name string // phase, or one of those below
}

const (
	gateSoak = "soak"
	gateHook = "after-wave hook"
	gateEnd  = "end" // of the wave: passed when all others are
)

// wave takes one wave to its end, from wherever it is.
func (r *run) wave(i int) error {
	w := r.cfg.Plan.Waves[i]
	if r.waveDone(i) {
		return nil
	}
	if _, err := r.proceed(w.Number); err != nil {
		return err
	}
	if r.hasWork(i) {
		if err := r.freshWave(i); err != nil {
			return err
		}
		if err := r.hookBefore(w); err != nil {
			return err
		}
	}
	for _, ph := range plan.Phases() {
		if err := r.phase(i, ph); err != nil {
			return err
		}
	}
	if err := r.soak(i); err != nil {
		return err
	}
	if err := r.hookAfter(i); err != nil {
		return err
	}
	return r.write(Entry{Wave: w.Number, Event: Gate, Detail: gateEnd, Result: fleet.TruthYes, Hosts: r.still(w.Hosts)})
}

// waveDone reports whether the wave has ended and nothing of it is left to do.
func (r *run) waveDone(i int) bool {
	w := r.cfg.Plan.Waves[i]
	return !r.hasWork(i) && r.passed(gateKey{w.Number, gateEnd}, w.Steps)
}

// passed reports whether a gate was passed after the last change by the steps;
// proofs change nothing.
func (r *run) passed(g gateKey, steps []plan.Step) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq, ok := r.gates[g]
	for _, s := range steps {
		ok = ok && (proves(s.Kind) || r.records[s.ID].seq < seq)
	}
	return ok
}

// hasWork reports whether some step of the wave is not done that hosts wait for.
func (r *run) hasWork(i int) bool {
	for _, ph := range plan.Phases() {
		for _, l := range r.plan.lanes[i][ph] {
			if !r.laneDone(l) && !r.leftOut(l) {
				return true
			}
		}
	}
	return false
}

func (r *run) laneDone(l lane) bool {
	for _, s := range l.steps {
		if !r.record(s.ID).state.Done() {
			return false
		}
	}
	return true
}

// leftOut reports whether all whom the lane is for take no part any more.
func (r *run) leftOut(l lane) bool {
	n := 0
	for _, s := range l.steps {
		n += len(s.Hosts)
		if len(r.still(s.Hosts)) > 0 {
			return false
		}
	}
	return n > 0
}

// still gives those of the hosts that take part.
func (r *run) still(hosts []fleet.HostRef) []fleet.HostRef {
	var out []fleet.HostRef
	for _, h := range hosts {
		if r.out(h) == "" {
			out = append(out, h)
		}
	}
	return out
}

func (r *run) hookBefore(w plan.Wave) error {
	command := r.cfg.Plan.Policy.Hooks.BeforeWave
	if command == "" {
		return nil
	}
	if err := r.cfg.Hooks.Hook(r.work, command, r.cfg.Plan.ID, w); err != nil {
		if failed := r.failure(); failed != nil {
			return failed
		}
		return errEnded{r.summary(OutcomeStopped, fmt.Sprintf("the hook before %s failed: %v", w.Name, err))}
	}
	return r.write(Entry{Wave: w.Number, Event: Note, Detail: "the hook before the wave succeeded"})
}

// hookAfter is a gate: a hook that fails rolls the wave back.
func (r *run) hookAfter(i int) error {
	w := r.cfg.Plan.Waves[i]
	command := r.cfg.Plan.Policy.Hooks.AfterWave
	if command == "" || r.passed(gateKey{w.Number, gateHook}, w.Steps) {
		return nil
	}
	err := r.cfg.Hooks.Hook(r.work, command, r.cfg.Plan.ID, w)
	if failed := r.failure(); failed != nil {
		return failed
	}
	e := Entry{Wave: w.Number, Event: Gate, Detail: gateHook, Result: fleet.TruthYes}
	if err != nil {
		e.Result = fleet.TruthNo
	}
	if written := r.write(e); written != nil || err == nil {
		return written
	}
	return r.giveUp(i, fmt.Sprintf("the hook after %s failed: %v", w.Name, err))
}

// soak watches the wave for a while after its last step, and proves it then.
func (r *run) soak(i int) error {
	w := r.cfg.Plan.Waves[i]
	if r.passed(gateKey{w.Number, gateSoak}, w.Steps) {
		return nil
	}
	last := time.Time{}
	for _, s := range w.Steps {
		if rec := r.record(s.ID); rec.since.After(last) {
			last = rec.since
		}
	}
	end := last.Add(time.Duration(w.Soak))
	err := r.waitUntil(w.Number, func(now time.Time) (bool, time.Duration) { return !now.Before(end), end.Sub(now) })
	if err != nil || len(w.Hosts) == 0 {
		return err
	}
	return r.gate(i, gateSoak, time.Now())
}

// opens reports whether the plan breaks the glass: each bastion that it opens
// may be the only way in, whatever becomes of the others.
func (r *run) opens() bool { return r.cfg.Plan.Purpose == plan.BreakGlass }

// giveUp rolls the wave back and ends the run. Bastions that were opened stay.
func (r *run) giveUp(i int, why string) error {
	if r.opens() {
		return errEnded{r.summary(OutcomePartly, why)}
	}
	return r.takeWaveBack(i, why)
}

func (r *run) takeWaveBack(i int, why string) error {
	w := r.cfg.Plan.Waves[i]
	if err := r.write(Entry{Wave: w.Number, Event: Note, Detail: fmt.Sprintf("%s is rolled back: %s", w.Name, why)}); err != nil {
		return err
	}
	var left []string
	err := r.rescued(func() (err error) {
		left, err = r.undoSet(r.ofWave(i))
		return err
	})
	if err != nil {
		return err
	}
	res := r.summary(OutcomeRolledBack, fmt.Sprintf("%s: %s", w.Name, why))
	if len(left) > 0 {
		res.Outcome, res.Left = OutcomeRolledPartly, left
	}
	return errEnded{res}
}

// unsure ends the run, or asks what to do. It gives nil when the answer is to
// look again.
func (r *run) unsure(i int, why string, hosts []fleet.HostRef) error {
	w := r.cfg.Plan.Waves[i]
	if err := r.write(Entry{Wave: w.Number, Event: Paused, Hosts: hosts, Detail: why + r.warnTimers()}); err != nil {
		return err
	}
	if r.stopped() {
		return errStopped
	}
	if r.cfg.Ask == nil {
		return errEnded{r.summary(OutcomePaused, why+r.warnTimers())}
	}
	d, err := r.cfg.Ask(r.caller, Question{Wave: w, Text: why, Hosts: hosts, Timers: r.armed()})
	if failed := r.failure(); failed != nil {
		return failed
	}
	switch {
	case r.stopped():
		return errStopped
	case err != nil:
		return errEnded{r.summary(OutcomePaused, fmt.Sprintf("%s (nobody answered: %v)", why, err))}
	case d == DecideRetry:
		return r.write(Entry{Wave: w.Number, Event: Resumed, Detail: "the operator says to look again"})
	case d == DecideRollback:
		return r.takeWaveBack(i, "the operator says so, since "+why)
	}
	return errEnded{r.summary(OutcomePaused, why+r.warnTimers())}
}
