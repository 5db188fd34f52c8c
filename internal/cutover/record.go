package cutover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// State is where a step is, by the journal.
type State string

// The states of a step.
const (
	StateNew        State = "new"         // never begun
	StateFound      State = "found"       // held already
	StateIntended   State = "intended"    // begun, its end not known
	StateOurs       State = "ours"        // done by us
	StateFailed     State = "failed"      // observed not to hold after the try
	StateUnclear    State = "unclear"     // could not be observed after the try
	StateUndoing    State = "undoing"     // undo begun, its end not known
	StateUndoFailed State = "undo-failed" // still not as before
	StateUndone     State = "undone"      // as before
)

// Done reports whether the condition held when it was last observed.
func (s State) Done() bool { return s == StateFound || s == StateOurs }

// Owed reports whether a rollback has to undo the step: it may have changed
// something, and nobody has seen the before-image restored.
func (s State) Owed() bool {
	switch s {
	case StateIntended, StateOurs, StateFailed, StateUnclear, StateUndoing, StateUndoFailed:
		return true
	}
	return false
}

// follows lists the events that may follow each state. Nothing but found and
// intended follows found: what was there before us is never undone.
var follows = map[State][]Event{
	StateNew:        {Found, Intended, Held},
	StateFound:      {Found, Intended, Held},
	StateIntended:   {Intended, Ours, Failed, Unclear, UndoBegan, Held},
	StateOurs:       {Intended, UndoBegan, Held},
	StateFailed:     {Intended, Ours, UndoBegan, Held},
	StateUnclear:    {Intended, Ours, UndoBegan, Held},
	StateUndoing:    {UndoBegan, Undone, UndoFailed, Intended, Ours, Held},
	StateUndoFailed: {UndoBegan, Undone, Intended, Ours, Held},
	StateUndone:     {Found, Intended, Held},
}

// stateAfter is the state that an event leads to; Held changes none.
var stateAfter = map[Event]State{
	Found: StateFound, Intended: StateIntended, Ours: StateOurs, Failed: StateFailed, Unclear: StateUnclear,
	UndoBegan: StateUndoing, UndoFailed: StateUndoFailed, Undone: StateUndone,
}

// record is what the journal says of one step.
type record struct {
	state         State
	before, after json.RawMessage
	began         time.Time // first intention since the step was last new or undone
	since         time.Time // last change of state
	seq           int64     // of that entry
	first         int64     // of the intention at began
	intended      int64     // of the latest intention
	done          int64     // of the latest entry after which the condition held
	detail        string
	held          string // why it was held, if that was the last that happened to it
	again         bool   // it was undone before
}

// advance gives the record after one more entry of the step. It fails where
// the entry cannot follow, and where it would lose a before-image.
func (r record) advance(e Entry) (record, error) {
	if r.state == "" {
		r.state = StateNew
	}
	legal := false
	for _, f := range follows[r.state] {
		legal = legal || f == e.Event
	}
	if !legal {
		return r, fmt.Errorf("step %s: %s cannot follow %s", e.Step, e.Event, r.state)
	}
	switch e.Event {
	case Held:
		r.held = e.Detail
		return r, nil
	case Found:
		r.done = e.Seq
	case Intended:
		r.intended = e.Seq
		if r.state.Owed() && !bytes.Equal(r.before, e.Image) {
			return r, fmt.Errorf("step %s: a second intention has another before-image than the first", e.Step)
		}
		if !r.state.Owed() {
			r.before, r.after, r.began, r.first = e.Image, nil, e.At, e.Seq
		}
	case Ours:
		r.done = e.Seq
		if e.Image != nil {
			r.after = e.Image
		}
	case Undone:
		r.again = true
	}
	r.state, r.since, r.seq, r.detail, r.held = stateAfter[e.Event], e.At, e.Seq, e.Detail, ""
	return r, nil
}

// lane is what runs one after the other within a phase of a wave.
type lane struct {
	name  string
	wave  int // index in Plan.Waves
	phase plan.Phase
	steps []plan.Step
}

// index is a plan looked up from all sides.
type index struct {
	steps map[string]plan.Step
	lanes []map[plan.Phase][]lane    // by index in Plan.Waves; lanes in the order of their first steps
	lane  map[string]lane            // of a step
	hosts []map[fleet.HostRef]bool   // whom the steps of a wave are for
	doors map[fleet.HostRef][]lane   // that close a door of the host
	alone map[fleet.HostRef][]string // steps that are for the host alone
	close []plan.Step
	keys  []plan.Step // that put the recovery key on a host
	// recovery are the steps by which a host gets its recovery way.
	recovery map[fleet.HostRef][]string
}

func indexOf(p *plan.Plan) *index {
	x := &index{
		steps: map[string]plan.Step{}, lane: map[string]lane{},
		doors: map[fleet.HostRef][]lane{}, alone: map[fleet.HostRef][]string{},
		recovery: map[fleet.HostRef][]string{},
	}
	for i, w := range p.Waves {
		lanes, hosts := map[plan.Phase][]lane{}, map[fleet.HostRef]bool{}
		at := map[plan.Phase]map[string]int{}
		for _, h := range w.Hosts {
			hosts[h] = true
		}
		for _, s := range w.Steps {
			x.steps[s.ID] = s
			if at[s.Phase] == nil {
				at[s.Phase] = map[string]int{}
			}
			n, ok := at[s.Phase][s.Lane]
			if !ok {
				n = len(lanes[s.Phase])
				at[s.Phase][s.Lane] = n
				lanes[s.Phase] = append(lanes[s.Phase], lane{name: s.Lane, wave: i, phase: s.Phase})
			}
			lanes[s.Phase][n].steps = append(lanes[s.Phase][n].steps, s)
			for _, h := range s.Hosts {
				hosts[h] = true
				if recovers(s.Kind) {
					x.recovery[h] = append(x.recovery[h], s.ID)
				}
			}
			if len(s.Hosts) == 1 {
				x.alone[s.Hosts[0]] = append(x.alone[s.Hosts[0]], s.ID)
			}
			switch {
			case s.Kind.Closes():
				x.close = append(x.close, s)
			case s.Kind == plan.RecoveryKey && len(s.Hosts) == 1:
				x.keys = append(x.keys, s)
			}
		}
		x.lanes, x.hosts = append(x.lanes, lanes), append(x.hosts, hosts)
		for _, ph := range plan.Phases() {
			x.addLanes(lanes[ph])
		}
	}
	return x
}

func (x *index) addLanes(lanes []lane) {
	for _, l := range lanes {
		seen := map[fleet.HostRef]bool{}
		for _, s := range l.steps {
			x.lane[s.ID] = l
			if !s.Kind.Closes() {
				continue
			}
			for _, h := range s.Hosts {
				if !seen[h] {
					seen[h] = true
					x.doors[h] = append(x.doors[h], l)
				}
			}
		}
	}
}

func arms(k plan.Kind) bool    { return k == plan.ArmHostTimer || k == plan.ArmRuleTimer }
func disarms(k plan.Kind) bool { return k == plan.DisarmHostTimer || k == plan.DisarmRuleTimer }

// proves reports whether steps of the kind only use a way to prove it.
func proves(k plan.Kind) bool { return k == plan.ProveSession || k == plan.RecoveryDrill }

// recovers reports whether steps of the kind make a part of the recovery way.
func recovers(k plan.Kind) bool {
	return k == plan.RecoveryGroup || k == plan.RecoveryRule || k == plan.RecoveryKey || k == plan.RecoveryTemplate || k == plan.RetireKey
}

// waits reports whether somebody else brings the step's condition about.
func waits(s plan.Step) bool { return s.Handed || s.Kind == plan.WaitFor }

// serves reports whether a way in, or the way back, may rest on what steps of
// the kind change.
func serves(k plan.Kind) bool {
	return !k.Closes() && !arms(k) && !disarms(k) && !proves(k) && k != plan.WaitFor
}

func (l lane) closes() bool {
	for _, s := range l.steps {
		if s.Kind.Closes() {
			return true
		}
	}
	return false
}

// retires reports whether the lane takes an old recovery key off hosts.
func (l lane) retires() bool {
	return slices.ContainsFunc(l.steps, func(s plan.Step) bool { return s.Kind == plan.RetireKey })
}

// closesFor are the hosts whose doors the lane closes.
func (l lane) closesFor() []fleet.HostRef {
	var out []fleet.HostRef
	for _, s := range l.steps {
		if s.Kind.Closes() {
			out = append(out, s.Hosts...)
		}
	}
	return out
}

// drills reports whether the lane logs in by the recovery way.
func (l lane) drills() bool {
	return slices.ContainsFunc(l.steps, func(s plan.Step) bool { return s.Kind == plan.RecoveryDrill })
}

// timed reports whether the lane has a dead man's switch.
func (l lane) timed() bool {
	for _, s := range l.steps {
		if arms(s.Kind) {
			return true
		}
	}
	return false
}
