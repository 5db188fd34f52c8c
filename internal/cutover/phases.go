package cutover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// laneEnd is what became of a lane.
type laneEnd struct {
	kind  endKind
	step  string          // at which it ended
	why   string          // in one line
	hosts []fleet.HostRef // whose fault it is; none: the wave's as a whole
}

type endKind int

const (
	endDone    endKind = iota
	endHeld            // a condition for beginning does not hold; nobody's fault
	endFailed          // hosts, or the wave, failed
	endUnknown         // for a person
	endStopped         // on request, or the run is broken
	endLate            // its timer is too near to go on; again from its beginning
)

// phase takes a wave through one phase and its gate.
func (r *run) phase(i int, ph plan.Phase) error {
	w := r.cfg.Plan.Waves[i]
	lanes := r.plan.lanes[i][ph]
	if len(lanes) == 0 {
		return nil
	}
	if slices.ContainsFunc(lanes, func(l lane) bool { return (l.closes() || l.retires()) && r.due(l) }) {
		if err := r.redrill(i, lanes); err != nil {
			return err
		}
	}
	began := time.Now()
	var steps []plan.Step
	for _, round := range rounds(lanes) {
		for again := true; again; {
			var err error
			if again, err = r.lanes(i, ph, round); err != nil {
				return err
			}
		}
		for _, l := range round {
			steps = append(steps, l.steps...)
		}
	}
	if ph == plan.Prepare || ph == plan.Finish || len(w.Hosts) == 0 || r.passed(gateKey{w.Number, string(ph)}, steps) {
		return nil
	}
	if ph != plan.Prove {
		began = time.Now() // sessions from before the doors closed prove nothing
	}
	return r.gate(i, string(ph), began)
}

// rounds are the lanes of a phase in the order in which they run: those of one
// round side by side, one round after the other. Drills come last, since they log in with the keys that
// the other lanes of their phase bring. Lanes that close doors of one host are in different rounds:
// the next door closes only when the host was proved without the one before, and nobody else tries
// the host's ways between a guard and its door.
func rounds(lanes []lane) [][]lane {
	var out [][]lane
	var taken []map[fleet.HostRef]bool // by round: whose doors close in it
	var last []lane
	for _, l := range lanes {
		if l.drills() {
			last = append(last, l)
			continue
		}
		hosts := l.closesFor()
		n := 0
		for n < len(out) && slices.ContainsFunc(hosts, func(h fleet.HostRef) bool { return taken[n][h] }) {
			n++
		}
		if n == len(out) {
			out, taken = append(out, nil), append(taken, map[fleet.HostRef]bool{})
		}
		out[n] = append(out[n], l)
		for _, h := range hosts {
			taken[n][h] = true
		}
	}
	return append(out, last)
}

// lanes runs those lanes of a phase that are not done. Again asks for another
// round, after a person has looked at what was unknown.
func (r *run) lanes(i int, ph plan.Phase, lanes []lane) (again bool, err error) {
	w := r.cfg.Plan.Waves[i]
	var due []lane
	for _, l := range lanes {
		if r.due(l) {
			due = append(due, l)
		}
	}
	ends := make([]laneEnd, len(due))
	over := r.overBudget(i)
	err = r.each(len(due), func(n int) {
		if over() {
			ends[n] = laneEnd{kind: endHeld, why: "the wave is being rolled back"}
			return
		}
		ends[n] = r.lane(due[n])
		if ends[n].kind == endFailed && !r.opens() {
			r.blame(ends[n])
		}
	})
	if failed := r.failure(); failed != nil {
		return false, failed
	}
	whole, unknown, hosts := "", "", []fleet.HostRef(nil)
	for _, e := range ends {
		switch {
		case e.kind == endFailed && r.opens():
			whole = strings.Trim(whole+"; "+e.why, "; ")
		case e.kind == endFailed && len(e.hosts) == 0:
			whole = e.why
		case e.kind == endUnknown:
			unknown, hosts = fmt.Sprintf("%s: %s", e.step, e.why), append(hosts, e.hosts...)
		}
	}
	switch {
	case whole != "":
		return false, r.giveUp(i, whole)
	case over():
		return false, r.giveUp(i, r.whyOver(i))
	}
	if err := r.takeBackFailed(i); err != nil {
		return false, err
	}
	if err == nil && unknown != "" {
		err = r.unsure(i, fmt.Sprintf("%s, phase %s: %s", w.Name, ph, unknown), hosts)
		return err == nil, err
	}
	return false, err
}

// due reports whether a lane has something to do. The proofs that closing steps
// will ask for are looked at again when a run begins late.
func (r *run) due(l lane) bool {
	if r.leftOut(l) {
		return false
	}
	if !r.laneDone(l) {
		return true
	}
	if l.phase != plan.Prove {
		return false
	}
	for _, ph := range []plan.Phase{plan.Quarantine, plan.Close} {
		for _, other := range r.plan.lanes[l.wave][ph] {
			if !r.laneDone(other) && !r.leftOut(other) {
				return true
			}
		}
	}
	return false
}

// blame remembers whose fault a lane's end was.
func (r *run) blame(e laneEnd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range e.hosts {
		if r.failed[h] == "" {
			r.failed[h] = e.why
		}
	}
}

// overBudget tells whether more hosts of the wave have failed than may.
func (r *run) overBudget(i int) func() bool {
	return func() bool { return len(r.failedOf(i)) > r.budget() }
}

// budget is how many hosts of a wave may fail. A rotation takes a key from all:
// it goes on with all of them or not at all.
func (r *run) budget() int {
	if r.cfg.Plan.Purpose == plan.Rotation {
		return 0
	}
	return r.cfg.Plan.Policy.ErrorBudget
}

// failedOf gives the hosts that failed in this run and that steps of the wave are for.
func (r *run) failedOf(i int) []fleet.HostRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []fleet.HostRef
	for h := range r.failed {
		if r.plan.hosts[i][h] {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, fleet.HostRef.Compare)
	return out
}

func (r *run) whyOver(i int) string {
	failed := r.failedOf(i)
	why := r.out(failed[0])
	if !strings.Contains(why, failed[0].ID) { // most reasons name the host
		why = failed[0].String() + ": " + why
	}
	return fmt.Sprintf("%s failed, and error_budget is %d: %s", fleet.Count(len(failed), "host"), r.budget(), why)
}

// takeBackFailed undoes what was done for the hosts that failed, one by one.
func (r *run) takeBackFailed(i int) error {
	for _, h := range r.failedOf(i) {
		set := r.ofHost(h, i)
		if len(set) == 0 {
			continue
		}
		w := r.cfg.Plan.Waves[i]
		if err := r.write(Entry{Wave: w.Number, Event: Note, Hosts: []fleet.HostRef{h}, Detail: "taken back: " + r.out(h)}); err != nil {
			return err
		}
		var left []string
		err := r.rescued(func() (err error) {
			left, err = r.undoSet(set)
			return err
		})
		if err != nil {
			return err
		}
		if len(left) > 0 {
			why := fmt.Sprintf("%s could not be taken back: %s", h, left[0])
			if err := r.write(Entry{Wave: w.Number, Event: Paused, Hosts: []fleet.HostRef{h}, Detail: why + r.warnTimers()}); err != nil {
				return err
			}
			res := r.summary(OutcomePaused, why+r.warnTimers())
			res.Left = left
			return errEnded{res}
		}
	}
	return nil
}

// lane runs a lane to its end. One with a dead man's switch that was broken off
// is taken back first: what its timer has done meanwhile, or will do, is not
// to be guessed.
func (r *run) lane(l lane) laneEnd {
	for late := 0; ; {
		if l.timed() && !r.laneDone(l) && r.owes(l) {
			if end, ok := r.takeBack(l); !ok {
				return end
			}
		}
		if l.closes() {
			if err := r.window(l.wave, l.name); err != nil {
				return laneEnd{kind: endStopped, why: err.Error()}
			}
		}
		end := r.walk(l)
		switch {
		case end.kind == endLate && late < tries:
			late++
			continue // it is taken back first
		case end.kind == endLate:
			end = laneEnd{kind: endUnknown, step: end.step, why: "its timer is too short for what it guards", hosts: l.steps[0].Hosts}
		case end.kind == endDone || end.kind == endStopped || !l.timed() || !r.owes(l):
			return end
		}
		if back, ok := r.takeBack(l); !ok {
			return back
		}
		return end
	}
}

// owes reports whether something of the lane would have to be undone.
func (r *run) owes(l lane) bool {
	for _, s := range l.steps {
		if r.record(s.ID).state.Owed() {
			return true
		}
	}
	return false
}

// takeBack undoes a lane that cannot go on. Where that fails, a person has to look.
func (r *run) takeBack(l lane) (laneEnd, bool) {
	left, err := r.undoLane(r.work, l, r.owing(l))
	switch {
	case err != nil:
		return laneEnd{kind: endStopped, why: err.Error()}, false
	case len(left) > 0:
		return laneEnd{kind: endUnknown, step: left[0], why: "it could not be undone", hosts: l.steps[0].Hosts}, false
	}
	return laneEnd{}, true
}

// walk runs the steps of a lane in their order.
func (r *run) walk(l lane) laneEnd {
	if why := r.incomplete(l); why != "" {
		return r.hold(l, why)
	}
	for n, s := range l.steps {
		if hosts := r.still(s.Hosts); proves(s.Kind) && len(hosts) > 0 {
			s.Hosts = hosts
		} else if len(s.Hosts) > 0 && len(hosts) == 0 {
			return laneEnd{kind: endHeld, step: s.ID}
		}
		if end := r.step(l, n, s); end.kind != endDone {
			return end
		}
	}
	return laneEnd{}
}

// incomplete says which host keeps a lane that closes something open.
func (r *run) incomplete(l lane) string {
	if !l.closes() {
		return ""
	}
	for _, s := range l.steps {
		for _, h := range s.Hosts {
			if why := r.out(h); why != "" {
				return fmt.Sprintf("%s stays open: %s", h, why)
			}
		}
	}
	return ""
}

// hold writes that what a lane would close stays open.
func (r *run) hold(l lane, why string) laneEnd {
	for _, s := range l.steps {
		if !s.Kind.Closes() {
			continue
		}
		if err := r.write(Entry{Wave: r.number(l), Step: s.ID, Event: Held, Hosts: s.Hosts, Detail: why}); err != nil {
			return laneEnd{kind: endStopped, why: err.Error()}
		}
	}
	return laneEnd{kind: endHeld, why: why}
}

func (r *run) number(l lane) int { return r.cfg.Plan.Waves[l.wave].Number }

// window waits until doors may close.
func (r *run) window(i int, who string) error {
	w := r.cfg.Plan.Waves[i]
	windows := r.cfg.Plan.Policy.Windows
	if _, err := nextOpen(windows, time.Now()); err != nil {
		return errEnded{r.summary(OutcomeStopped, err.Error())}
	}
	told := false
	return r.waitUntil(w.Number, func(now time.Time) (bool, time.Duration) {
		open, err := nextOpen(windows, now)
		if err != nil || !open.After(now) {
			return true, 0
		}
		if !told {
			told = true
			_ = r.write(Entry{Wave: w.Number, Event: Note, Detail: fmt.Sprintf("%s waits for its window at %s", who, open.UTC().Format(time.RFC3339))}) // a failure ends the wait
		}
		return false, open.Sub(now)
	})
}

// redrill runs drills again whose logins have become too old for the doors
// that are to close, and for the keys that are to go: waves and windows may lie days apart. What it cannot
// renew, the guard of each door finds.
func (r *run) redrill(i int, lanes []lane) error {
	if slices.ContainsFunc(lanes, lane.closes) {
		if err := r.window(i, r.cfg.Plan.Waves[i].Name); err != nil {
			return err
		}
	}
	old := map[fleet.HostRef]bool{}
	for _, l := range lanes {
		for _, s := range l.steps {
			if !s.Kind.Closes() && s.Kind != plan.RetireKey || r.record(s.ID).state.Done() {
				continue
			}
			for _, h := range r.still(s.Hosts) {
				if s.Kind == plan.RetireKey {
					works, _ := r.opensWith(r.work, h, s)
					old[h] = works != fleet.TruthYes
					continue
				}
				p, ok, err := r.cfg.Proofs.LatestProof(r.work, h, fleet.WayRecovery)
				old[h] = err == nil && (!ok || !p.Fresh(time.Now(), time.Duration(r.cfg.Plan.Policy.RecoveryAge)) || r.outlived(h, p, ""))
			}
		}
	}
	var drills []lane
	waves := i + 1
	if lanes[0].phase == plan.Prepare {
		waves = i // this wave's drills look at what comes first
	}
	for n := range waves {
		for _, l := range r.plan.lanes[n][plan.Prove] {
			if slices.ContainsFunc(l.steps, func(s plan.Step) bool {
				return s.Kind == plan.RecoveryDrill && slices.ContainsFunc(s.Hosts, func(h fleet.HostRef) bool { return old[h] })
			}) {
				drills = append(drills, l)
			}
		}
	}
	return r.eachInTurn(drills)
}

// eachInTurn runs lanes side by side, but those of one name one after the
// other: they are about the same thing.
func (r *run) eachInTurn(lanes []lane) error {
	var names []string
	of := map[string][]lane{}
	for _, l := range lanes {
		if of[l.name] == nil {
			names = append(names, l.name)
		}
		of[l.name] = append(of[l.name], l)
	}
	return r.each(len(names), func(n int) {
		for _, l := range of[names[n]] {
			r.lane(l)
		}
	})
}
