package tui

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// course is the plan that the wizard is about, and how its cutover goes.
type course struct {
	state         *Cutover // as read last; nil before that
	shown         string   // ID of the plan to show; empty: the one that needs attention
	loading       bool
	again         bool // read once more when what is being read has come
	err           error
	steps         map[string]*plan.Step // of the plan, by ID
	entries       []cutover.Entry       // the journal, with what came since
	log           []cutover.Entry       // of them, what the screen lists
	stand         cutover.Standing      // by counted entries
	sum           sum
	known         int   // how many entries stand tells of; -1: none yet
	broken        error // why the journal cannot be summed up
	reckons       bool
	doing         *doing // what this wizard started last
	making        bool   // a plan is being made
	planningDrill bool
	wishing       bool
	paths         paths      // by state and sum
	drill         *rehearsal // the drill that this wizard started last
}

// plan is the plan that is shown; nil without one.
func (c *course) plan() *plan.Plan {
	if c.state == nil {
		return nil
	}
	return c.state.Plan
}

// drilling reports whether this wizard rehearses the way back now.
func (c *course) drilling() bool { return c.drill != nil && !c.drill.doing.over }

// mine reports whether this wizard applies or rolls back now.
func (c *course) mine() bool { return c.doing != nil && !c.doing.over }

// elsewhere reports whether another process does.
func (c *course) elsewhere() bool {
	return !c.mine() && !c.drilling() && c.state != nil && c.state.Holder != ""
}

// underway reports whether anybody does.
func (c *course) underway() bool { return c.mine() || c.elsewhere() }

// asked is the run's question that waits for the operator; nil: none.
func (c *course) asked() *asked {
	switch {
	case c.drilling():
		return c.drill.doing.asked
	case c.mine():
		return c.doing.asked
	}
	return nil
}

// answer gives the operator's decision to the run that asks.
func (c *course) answer(x cutover.Decision) {
	if c.drilling() {
		c.drill.doing.answer(x)
		return
	}
	c.doing.answer(x)
}

// take takes what was read of a plan. Entries that came meanwhile are kept.
func (c *course) take(read *Cutover) {
	s := *read
	old := c.plan()
	same := old != nil && s.Plan != nil && old.Digest == s.Plan.Digest
	if same {
		s.Plan = old // what was made of it stays good
	} else {
		c.steps = map[string]*plan.Step{}
		if s.Plan != nil {
			for i := range s.Plan.Waves {
				for j := range s.Plan.Waves[i].Steps {
					c.steps[s.Plan.Waves[i].Steps[j].ID] = &s.Plan.Waves[i].Steps[j]
				}
			}
		}
		c.stand, c.sum, c.known, c.broken = cutover.Standing{}, sum{}, -1, nil
	}
	if !same || len(s.Entries) >= len(c.entries) {
		c.entries, c.log = slices.Clip(s.Entries), nil // appending makes a copy
		c.list(s.Entries...)
	}
	c.state = &s
}

// add appends entries that are not known yet.
func (c *course) add(more []cutover.Entry) {
	for _, e := range more {
		if n := len(c.entries); n == 0 || c.entries[n-1].Seq < e.Seq {
			c.entries = append(c.entries, e)
			c.list(e)
		}
	}
}

func (c *course) list(more ...cutover.Entry) {
	for _, e := range more {
		if entryWords[e.Event] != "" {
			c.log = append(c.log, e)
		}
	}
}

// rolling reports whether what is under way is a rollback.
func (c *course) rolling() bool {
	if c.mine() {
		return c.doing.scope != nil
	}
	return c.elsewhere() && strings.HasPrefix(c.stand.Command, "rollback")
}

// paused reports whether the run that the journal tells of last waits.
func (c *course) paused() bool {
	for i := len(c.entries) - 1; i >= 0; i-- {
		switch c.entries[i].Event {
		case cutover.Paused:
			return true
		case cutover.Resumed, cutover.RunBegan, cutover.RunEnded:
			return false
		}
	}
	return false
}

// sum is what the standing adds up to.
type sum struct {
	steps, done       int
	prepare, prepared int
	keys, quarantined int // hosts
	groups, closed    int // security groups
	underway          []cutover.StepStatus
	troubles          []cutover.StepStatus
	left              []cutover.HostStatus // hosts that are not gone on with
	shut              int                  // hosts with a closed door
	sessions          int                  // hosts into which a session is proved
	oldestSession     time.Time            // the oldest of the last proofs
	proofs            map[fleet.HostRef]time.Time
	soaking           string    // name of the wave that is watched
	soaked            time.Time // until when
	firstOpen         int       // position of the first wave that is not done; -1: none
	back              []bool    // waves of which everything is taken back
	// noKey and noBastion say since when hosts have no recovery key and VPCs no
	// bastion group any more, because a rollback has taken them.
	noKey     map[fleet.HostRef]time.Time
	noBastion map[string]time.Time
}

// reckon sums up. It looks at every step, so it runs outside of the loop.
func reckon(p *plan.Plan, steps map[string]*plan.Step, s cutover.Standing) sum {
	out := sum{firstOpen: -1, back: make([]bool, len(s.Waves)), noKey: map[fleet.HostRef]time.Time{}, noBastion: map[string]time.Time{}, proofs: map[fleet.HostRef]time.Time{}}
	for i, w := range s.Waves {
		last, undone, owed := time.Time{}, false, false
		for _, ph := range w.Phases {
			out.steps, out.done = out.steps+len(ph.Steps), out.done+ph.Done
			if ph.Phase == plan.Prepare {
				out.prepare, out.prepared = out.prepare+len(ph.Steps), out.prepared+ph.Done
			}
			for _, st := range ph.Steps {
				out.step(st)
				if st.Since.After(last) {
					last = st.Since
				}
				if st.State == cutover.StateUndone {
					out.takenBack(steps[st.ID], st)
				}
				undone, owed = undone || st.State == cutover.StateUndone, owed || st.State.Owed()
			}
		}
		out.back[i] = undone && !owed
		if w.State != "done" && out.firstOpen < 0 {
			out.firstOpen = i
		}
		if w.State == "soaking" && i < len(p.Waves) {
			out.soaking, out.soaked = w.Name, last.Add(time.Duration(p.Waves[i].Soak))
		}
	}
	out.sessions = len(out.proofs)
	for _, at := range out.proofs {
		if out.oldestSession.IsZero() || at.Before(out.oldestSession) {
			out.oldestSession = at
		}
	}
	for _, h := range s.Hosts {
		if h.Doors > 0 {
			out.shut++
		}
		if h.Why != "" {
			out.left = append(out.left, h)
		}
	}
	return out
}

// takenBack notes of what a rollback has taken that the way back rests on it.
func (s *sum) takenBack(step *plan.Step, st cutover.StepStatus) {
	switch {
	case step == nil:
	case step.Kind == plan.RecoveryKey:
		for _, h := range st.Hosts {
			s.noKey[h] = st.Since
		}
	case step.Kind == plan.RecoveryGroup && step.Recovery != nil:
		s.noBastion[step.Recovery.VPC] = st.Since
	}
}

func (s *sum) step(st cutover.StepStatus) {
	done := 0
	if st.State.Done() {
		done = 1
	}
	switch st.Kind {
	case plan.QuarantineKeys:
		s.keys, s.quarantined = s.keys+1, s.quarantined+done
	case plan.ClosePort:
		s.groups, s.closed = s.groups+1, s.closed+done
	case plan.ProveSession:
		for _, h := range st.Hosts {
			if done > 0 && st.Since.After(s.proofs[h]) {
				s.proofs[h] = st.Since
			}
		}
	default:
	}
	switch st.State {
	case cutover.StateIntended, cutover.StateUndoing:
		s.underway = append(s.underway, st)
	case cutover.StateFailed, cutover.StateUnclear, cutover.StateUndoFailed:
		s.troubles = append(s.troubles, st)
	default:
		if st.Held != "" {
			s.troubles = append(s.troubles, st)
		}
	}
}

// doing is an apply or a rollback that this wizard has started. Only its feed
// is shared between goroutines.
type doing struct {
	feed     feed[said]
	cancel   context.CancelFunc
	scope    *cutover.Scope // of a rollback; nil: an apply
	started  time.Time
	asked    *asked
	then     *cutover.Scope // what to roll back when it has stopped
	stopping bool
	over     bool
	reports  []DrillReport // that came and were not looked at yet
	result   cutover.Result
	err      error
}

// said is one thing that a run tells: an entry, a question or a drill's phase.
type said struct {
	entry cutover.Entry
	asked *asked
	drill *DrillReport
}

// asked is a question of the run and the way back for its answer.
type asked struct {
	cutover.Question
	reply chan cutover.Decision // has room for one
}

// startDoing begins work in a goroutine of its own that alive counts. The result may
// be read when the feed is over.
func startDoing(ctx context.Context, scope *cutover.Scope, work func(context.Context, Talk) (cutover.Result, error), notify func(), now time.Time, alive *sync.WaitGroup) *doing {
	ctx, cancel := context.WithCancel(ctx)
	d := &doing{cancel: cancel, scope: scope, started: now, feed: feed[said]{notify: notify}}
	alive.Go(func() {
		defer cancel()
		res, err := work(ctx, Talk{
			Emit:  func(e cutover.Entry) { d.feed.emit(said{entry: e}) },
			Ask:   d.ask,
			Drill: func(r DrillReport) { d.feed.emit(said{drill: &r}) },
		})
		d.result = res // before finish, whose lock makes it seen
		d.feed.finish(err)
	})
	return d
}

func (d *doing) ask(ctx context.Context, q cutover.Question) (cutover.Decision, error) {
	a := &asked{Question: q, reply: make(chan cutover.Decision, 1)}
	d.feed.emit(said{asked: a})
	select {
	case answer := <-a.reply:
		return answer, nil
	case <-ctx.Done():
		return cutover.DecideStop, ctx.Err()
	}
}

// drain takes what the feed brought, and reports whether the run just ended.
func (d *doing) drain() (entries []cutover.Entry, ended bool) {
	all, over, err := d.feed.take()
	for _, s := range all {
		switch {
		case s.asked != nil:
			d.asked = s.asked
			continue
		case s.drill != nil:
			d.reports = append(d.reports, *s.drill)
			continue
		}
		if s.entry.Event == cutover.Resumed || s.entry.Event == cutover.RunEnded {
			d.asked = nil
		}
		entries = append(entries, s.entry)
	}
	if !over || d.over {
		return entries, false
	}
	d.over, d.err, d.asked = true, err, nil
	return entries, true
}

// answer gives the operator's decision to the run.
func (d *doing) answer(x cutover.Decision) {
	if d.asked != nil {
		d.asked.reply <- x
		d.asked = nil
	}
}

// interrupt lets the run finish the steps that are under way and end.
func (d *doing) interrupt() {
	d.stopping = true
	d.cancel()
}

// named is a host as people know it.
func (c *course) named(h fleet.HostRef) string {
	if c.state != nil {
		if n := c.state.Names[h]; n != "" && n != h.ID {
			return clean(n) + " (" + clean(h.ID) + ")"
		}
	}
	return clean(h.ID)
}
