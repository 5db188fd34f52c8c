package cutover

import (
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Standing is where a plan's execution stands, by its journal.
type Standing struct {
	Plan     string       `json:"plan"`
	Digest   string       `json:"digest"`
	State    string       `json:"state"` // "not begun", "running or broken off", or how the last run ended
	Reason   string       `json:"reason,omitempty"`
	Operator string       `json:"operator,omitempty"` // of the last run
	Command  string       `json:"command,omitempty"`  // of the last run: "apply", "rollback --all"
	Since    time.Time    `json:"since,omitzero"`     // last entry
	Entries  int          `json:"entries"`
	Waves    []WaveStatus `json:"waves"`
	Hosts    []HostStatus `json:"hosts"`
	Next     []string     `json:"next"`  // titles of the steps that come next
	Risks    []Risk       `json:"risks"` // dead man's switches that are armed
	// Waits are steps that are others' to do and that the run has come to.
	Waits []Waiting `json:"waits,omitempty"`
	// Bastions are recovery bastions that a run has started and nobody has seen at zero since.
	Bastions []Bastion `json:"bastions,omitempty"`
	// Begun and Owed tell what there is to resume and to roll back: steps that
	// were begun without an end, and steps that a rollback would undo.
	Begun int `json:"begun"`
	Owed  int `json:"owed"`
	// Ended: every wave has been taken to its end. A run that was asked to end
	// after an earlier wave is done without that.
	Ended bool `json:"ended"`
}

// Waiting is a step that is left to others, and not done yet.
type Waiting struct {
	Step  string          `json:"step"`
	Title string          `json:"title"`
	Owner string          `json:"owner,omitempty"` // whose it is; empty: nobody's that is known
	Hosts []fleet.HostRef `json:"hosts,omitempty"`
}

// WaveStatus is where one wave stands.
type WaveStatus struct {
	Number int           `json:"number"`
	Name   string        `json:"name"`
	State  string        `json:"state"` // "waiting", "under way", "soaking", "done", "rolled back"
	Hosts  int           `json:"hosts"`
	Phases []PhaseStatus `json:"phases"`
}

// PhaseStatus is where one phase of a wave stands.
type PhaseStatus struct {
	Phase plan.Phase   `json:"phase"`
	Done  int          `json:"done"`
	Steps []StepStatus `json:"steps"`
	Gate  string       `json:"gate,omitempty"` // latest answer: "yes", "no", "unknown"
}

// StepStatus is where one step stands.
type StepStatus struct {
	ID     string          `json:"id"`
	Title  string          `json:"title"`
	Kind   plan.Kind       `json:"kind"`
	Hosts  []fleet.HostRef `json:"hosts,omitempty"`
	State  State           `json:"state"`
	Since  time.Time       `json:"since,omitzero"`
	Detail string          `json:"detail,omitempty"`
	Held   string          `json:"held,omitempty"` // why it was not begun
}

// HostStatus is how far one host has come.
type HostStatus struct {
	Host  fleet.HostRef `json:"host"`
	Wave  int           `json:"wave"`
	Done  int           `json:"done"`          // steps that are for it
	Steps int           `json:"steps"`         // of so many
	Doors int           `json:"doors"`         // of its doors (keys, security groups), how many are closed
	All   int           `json:"all"`           // of so many
	Why   string        `json:"why,omitempty"` // why it is not gone on with
}

// Risk is a dead man's switch that is armed: if nobody disarms it, it opens a
// door again.
type Risk struct {
	Step     string          `json:"step"` // that armed it
	Hosts    []fleet.HostRef `json:"hosts"`
	Deadline time.Time       `json:"deadline"` // the earliest at which it fires
}

// Status tells where a plan stands. Entries are the plan's, in order; what the
// journal could not contain by the executor's rules is an error.
func Status(p *plan.Plan, entries []Entry) (Standing, error) {
	v := view{plan: p, index: indexOf(p), records: map[string]record{}, gates: map[gateKey]fleet.Truth{}, why: map[fleet.HostRef]string{}}
	s := Standing{Plan: p.ID, Digest: p.Digest, State: "not begun", Entries: len(entries), Next: []string{}}
	for _, e := range entries {
		if e.Digest != p.Digest {
			return Standing{}, fmt.Errorf("plan %s: %w", p.ID, ErrDigest)
		}
		if err := v.take(e); err != nil {
			return Standing{}, fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
		var err error
		if s.Bastions, err = bastionsAfter(s.Bastions, e); err != nil {
			return Standing{}, fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
		s.Since, s.Operator = e.At, e.Operator
		switch e.Event {
		case RunBegan:
			s.State, s.Reason, s.Command = "running or broken off", "", e.Detail
		case RunEnded:
			s.State, s.Reason = e.Detail, ""
		case Paused, Resumed:
			s.Reason = e.Detail
		}
	}
	s.Risks = risks(v.index, v.records)
	v.waves(&s)
	v.hosts(&s)
	if len(entries) > 0 {
		s.Waits = v.waiting()
	}
	return s, nil
}

// view is the picture that a journal gives.
type view struct {
	plan    *plan.Plan
	index   *index
	records map[string]record
	gates   map[gateKey]fleet.Truth
	why     map[fleet.HostRef]string
}

func (v *view) take(e Entry) error {
	switch {
	case e.Step != "":
		rec, err := v.records[e.Step].advance(e)
		v.records[e.Step] = rec
		return err
	case e.Event == Gate:
		v.gates[gateKey{e.Wave, e.Detail}] = e.Result
	case e.Event == RunBegan && e.Detail == "apply":
		clear(v.why) // each run tries again those that failed in the one before
	case e.Event == Held, e.Event == Note && len(e.Hosts) == 1:
		v.why[e.Hosts[0]] = e.Detail
	}
	return nil
}

func (v *view) state(id string) State {
	if s := v.records[id].state; s != "" {
		return s
	}
	return StateNew
}

func (v *view) waves(s *Standing) {
	s.Ended = true
	for i, w := range v.plan.Waves {
		s.Ended = s.Ended && v.gates[gateKey{w.Number, gateEnd}] == fleet.TruthYes
		ws := WaveStatus{Number: w.Number, Name: w.Name, Hosts: len(w.Hosts), State: "waiting"}
		done, begun, undone, owed := true, false, false, s.Owed
		for _, ph := range plan.Phases() {
			ps := PhaseStatus{Phase: ph}
			if g, ok := v.gates[gateKey{w.Number, string(ph)}]; ok {
				ps.Gate = g.String()
			}
			for _, l := range v.index.lanes[i][ph] {
				for _, st := range l.steps {
					rec := v.records[st.ID]
					state := v.state(st.ID)
					ps.Steps = append(ps.Steps, StepStatus{ID: st.ID, Title: st.Title, Kind: st.Kind, Hosts: st.Hosts, State: state, Since: rec.since, Detail: rec.detail, Held: rec.held})
					begun = begun || state != StateNew
					undone = undone || state == StateUndone
					if state.Done() {
						ps.Done++
					} else {
						done = false
						v.note(s, st, state)
					}
					if state.Owed() {
						s.Owed++
					}
				}
			}
			if len(ps.Steps) > 0 {
				ws.Phases = append(ws.Phases, ps)
			}
		}
		switch {
		case v.gates[gateKey{w.Number, gateEnd}] == fleet.TruthYes && done:
			ws.State = "done"
		case done && begun:
			ws.State = "soaking"
		case undone && s.Owed == owed:
			ws.State = "rolled back"
		case begun:
			ws.State = "under way"
		}
		s.Waves = append(s.Waves, ws)
	}
}

// waiting lists, of the first phase that is not done, the steps that are
// others' to do and come next in their lanes.
func (v *view) waiting() []Waiting {
	for i := range v.plan.Waves {
		for _, ph := range plan.Phases() {
			var out []Waiting
			done := true
			for _, l := range v.index.lanes[i][ph] {
				k := slices.IndexFunc(l.steps, func(s plan.Step) bool { return !v.state(s.ID).Done() })
				if k < 0 {
					continue
				}
				done = false
				if s := l.steps[k]; waits(s) {
					out = append(out, Waiting{Step: s.ID, Title: s.Title, Owner: s.Owner, Hosts: s.Hosts})
				}
			}
			if !done {
				return out
			}
		}
	}
	return nil
}

// mostNext is how many steps to come are named.
const mostNext = 5

func (v *view) note(s *Standing, st plan.Step, state State) {
	switch state {
	case StateIntended, StateUnclear, StateUndoing:
		s.Begun++
	}
	if len(s.Next) < mostNext {
		s.Next = append(s.Next, st.Title)
	}
}

func (v *view) hosts(s *Standing) {
	at := map[fleet.HostRef]int{}
	for _, w := range v.plan.Waves {
		for _, h := range w.Hosts {
			at[h] = len(s.Hosts)
			s.Hosts = append(s.Hosts, HostStatus{Host: h, Wave: w.Number, Why: v.why[h]})
		}
	}
	for _, w := range v.plan.Waves {
		for _, st := range w.Steps {
			for _, h := range st.Hosts {
				i, ok := at[h]
				if !ok {
					continue
				}
				s.Hosts[i].Steps++
				door := st.Kind == plan.QuarantineKeys || st.Kind == plan.ClosePort
				if door {
					s.Hosts[i].All++
				}
				if v.state(st.ID).Done() {
					s.Hosts[i].Done++
					if door {
						s.Hosts[i].Doors++
					}
				}
			}
		}
	}
}

// risks lists the timers that were armed and are neither disarmed nor undone.
func risks(x *index, records map[string]record) []Risk {
	out := []Risk{}
	for i := range x.lanes {
		for _, ph := range []plan.Phase{plan.Quarantine, plan.Close} {
			for _, l := range x.lanes[i][ph] {
				arm, ok := timerOf(l)
				rec := records[arm.ID]
				if !ok || arm.Timer == nil || rec.state == "" || !rec.state.Owed() && rec.state != StateFound {
					continue
				}
				since, seq := rec.began, rec.intended
				if rec.state == StateFound {
					since, seq = rec.since, rec.seq
				}
				// Taking a disarmed timer back does not arm it again.
				if slices.ContainsFunc(l.steps, func(s plan.Step) bool { return disarms(s.Kind) && records[s.ID].done > seq }) {
					continue
				}
				out = append(out, Risk{Step: arm.ID, Hosts: arm.Hosts, Deadline: since.Add(time.Duration(arm.Timer.After))})
			}
		}
	}
	return out
}
