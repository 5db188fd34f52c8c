package tui

import (
	"context"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
)

// look reads where the plan stands.
func (m *model) look() tea.Cmd {
	c := m.env.course
	if c.loading {
		c.again = true
		return nil
	}
	c.loading, c.again = true, false
	e, id := m.env, c.shown
	return func() tea.Msg {
		state, err := e.backend.Cutover(e.ctx, id)
		if err == nil && state == nil {
			state = &Cutover{}
		}
		return standsMsg{state, err}
	}
}

func (m *model) stands(msg standsMsg) tea.Cmd {
	c := m.env.course
	c.loading, c.err = false, msg.err
	var cmd tea.Cmd
	if msg.err == nil && (c.shown == "" || msg.state.Plan == nil || msg.state.Plan.ID == c.shown) {
		c.take(msg.state)
		if p := c.plan(); p != nil {
			c.shown = p.ID
		}
		cmd = m.reckon()
		m.tell()
	}
	if c.again {
		return tea.Batch(cmd, m.look())
	}
	return cmd
}

// reckon sums the journal up where it has grown.
func (m *model) reckon() tea.Cmd {
	c := m.env.course
	p := c.plan()
	if p == nil || c.reckons || c.known == len(c.entries) {
		return nil
	}
	c.reckons = true
	entries, steps := c.entries[:len(c.entries):len(c.entries)], c.steps
	return func() tea.Msg {
		began := time.Now()
		s, err := cutover.Status(p, entries)
		return reckonedMsg{plan: p.ID, entries: len(entries), stand: s, sum: reckon(p, steps, s), err: err, took: time.Since(began)}
	}
}

// rarely keeps the reckoning of long journals from taking all of a processor:
// so many times what it takes lies between two of them.
const rarely = 10

func (m *model) reckoned(msg reckonedMsg) tea.Cmd {
	c := m.env.course
	c.reckons = false
	if p := c.plan(); p == nil || p.ID != msg.plan {
		return m.reckon()
	}
	c.known, c.broken = msg.entries, msg.err
	if msg.err != nil {
		m.tell()
		return nil
	}
	c.stand, c.sum = msg.stand, msg.sum
	m.tell()
	if wait := rarely * msg.took; wait > 200*time.Millisecond && m.env.tick != nil && c.known != len(c.entries) {
		c.reckons = true
		return m.env.tick(wait, func(time.Time) tea.Msg { return reckonMsg{} })
	}
	return m.reckon()
}

// tell lets the screens know that the plan or its standing has changed.
func (m *model) tell() {
	m.env.course.count()
	for _, s := range m.screens {
		if s, ok := s.(interface{ stood() }); ok {
			s.stood()
		}
	}
}

func (m *model) makePlan() tea.Cmd {
	c := m.env.course
	switch {
	case c.making:
		return nil
	case m.env.data == nil:
		m.notice = &notice{failed: true, text: "There is nothing to plan yet: take the inventory first."}
		return nil
	case c.underway():
		m.notice = &notice{failed: true, text: "A run is under way. Wait for its end, or stop it, before you make another plan."}
		return nil
	}
	c.making = true
	m.notice = &notice{text: "Planning …"}
	e := m.env
	return func() tea.Msg {
		id, err := e.backend.MakePlan(e.ctx)
		return plannedMsg{id, err}
	}
}

func (m *model) planned(msg plannedMsg) tea.Cmd {
	c := m.env.course
	c.making = false
	if msg.err != nil {
		m.notice = &notice{failed: true, text: "No plan was made: " + clean(msg.err.Error())}
		return m.look()
	}
	m.notice = &notice{text: "Plan " + clean(msg.id) + " is made and stored. Nothing has been changed."}
	c.shown = msg.id
	return m.look()
}

// wish changes what is wished of the run, in this process or in another.
func (m *model) wish(kind wishKind) tea.Cmd {
	c := m.env.course
	p := c.plan()
	switch {
	case p == nil || c.wishing || !c.underway():
		return nil
	case c.rolling():
		m.notice = &notice{text: "A rollback goes on to its end: half of it helps nobody."}
		return nil
	}
	c.wishing = true
	e, usual := m.env, p.Policy.Concurrency
	return func() tea.Msg {
		w, err := e.backend.Wish(e.ctx, p.ID, func(now cutover.Wish) cutover.Wish {
			lanes := now.Concurrency
			if lanes <= 0 {
				lanes = usual
			}
			switch kind {
			case wishPause:
				now.Pause = true
			case wishResume:
				now.Pause, now.Stop = false, false
			case wishMore:
				now.Concurrency = lanes + 1
			case wishFewer:
				now.Concurrency = max(lanes-1, 1)
			case wishStop:
				now.Stop = true
			}
			return now
		})
		return wishedMsg{kind, w, err}
	}
}

func (m *model) wished(msg wishedMsg) {
	c := m.env.course
	c.wishing = false
	if msg.err != nil {
		m.notice = &notice{failed: true, text: "The wish was not stored: " + clean(msg.err.Error())}
		return
	}
	state := *c.state // what was read may still be looked at elsewhere
	state.Wish = msg.wish
	c.state = &state
	text := fmt.Sprintf("From the next lane on, %s at once.", count(msg.wish.Concurrency, "lane"))
	switch msg.kind {
	case wishPause:
		text = "It pauses when the steps under way are done; r lets it go on."
	case wishResume:
		text = "It goes on within seconds."
	case wishStop:
		text = "It ends when the steps under way are done."
	case wishMore, wishFewer:
	}
	m.notice = &notice{text: text}
	m.tell()
}

// begin starts an apply, or the rollback of a scope.
func (m *model) begin(scope *cutover.Scope, last *int) tea.Cmd {
	e, c := m.env, m.env.course
	p := c.plan()
	if p == nil || c.mine() || c.drilling() {
		return nil
	}
	work := func(ctx context.Context, t Talk) (cutover.Result, error) {
		if scope != nil {
			return e.backend.Rollback(ctx, p.ID, *scope, t)
		}
		return e.backend.Apply(ctx, p.ID, last, t)
	}
	c.doing = startDoing(e.ctx, scope, work, func() { e.send(fedMsg{}) }, e.now(), e.alive)
	m.tell()
	return nil
}

// followWaves lets the cursor go to the wave that is not done, until it is moved again.
func (m *model) followWaves() {
	if s, ok := m.screens[screenCutover].(*cutoverScreen); ok {
		s.moved = false
	}
}

// fedCourse takes what the run of a plan brought.
func (m *model) fedCourse() tea.Cmd {
	c := m.env.course
	if c.doing == nil {
		return nil
	}
	entries, ended := c.doing.drain()
	c.add(entries)
	if !ended {
		m.tell()
		cmd := m.reckon()
		if slices.ContainsFunc(entries, func(e cutover.Entry) bool { return e.Event == cutover.Gate }) {
			return tea.Batch(cmd, m.look()) // gates follow proofs, which are not in the journal
		}
		return cmd
	}
	d := c.doing
	if then := d.then; then != nil && !m.leaving {
		return tea.Batch(m.reckon(), m.begin(then, nil))
	}
	m.confirm, m.ask = nil, nil // they were about a run that is over
	m.followWaves()
	if d.err != nil {
		m.notice = &notice{failed: true, text: "The run could not go on: " + clean(d.err.Error())}
	} else {
		m.notice = outcomeNotice(d.result)
		if m.at == screenCutover && width(m.notice.text) > m.width-4 {
			m.notice.text = upperFirst(clean(string(d.result.Outcome))) + "." // its screen tells the reason in full
		}
	}
	m.tell()
	return tea.Batch(m.reckon(), m.look())
}

func outcomeNotice(r cutover.Result) *notice {
	n := &notice{text: upperFirst(clean(string(r.Outcome))) + "."}
	if r.Reason != "" {
		n.text = upperFirst(clean(string(r.Outcome))) + ": " + clean(r.Reason)
	}
	switch r.Outcome {
	case cutover.OutcomeDone, cutover.OutcomeRolledBack, cutover.OutcomeStopped:
	case cutover.OutcomePartly, cutover.OutcomePaused, cutover.OutcomeRolledPartly, cutover.OutcomeStale:
		n.failed = true
	}
	return n
}
