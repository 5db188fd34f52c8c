package tui

import (
	"context"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
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
	if d.err != nil {
		m.notice = &notice{failed: true, text: "The run could not go on: " + clean(d.err.Error())}
	} else {
		m.notice = outcomeNotice(d.result)
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

func (m *model) askApply() {
	c := m.env.course
	p := c.plan()
	switch {
	case p == nil:
		return
	case c.drilling():
		m.notice = &notice{failed: true, text: "A drill is under way: one changes the fleet at a time. Wait for its end."}
		return
	case c.underway():
		m.notice = &notice{failed: true, text: "A run is under way already."}
		return
	}
	choices := []string{"the whole plan"}
	ends := []*plan.Wave{nil}
	var waves []int
	if open := c.sum.firstOpen; open >= 0 {
		for open < len(p.Waves)-1 && len(p.Waves[open].Hosts) == 0 {
			open++ // the foundation alone is nothing that one would wait for
		}
		waves = append(waves, open)
	}
	if s, ok := m.screens[screenCutover].(*cutoverScreen); ok {
		waves = append(waves, s.waves.cursor)
	}
	for i, w := range waves {
		if w >= c.sum.firstOpen && w < len(p.Waves)-1 && !slices.Contains(waves[:i], w) {
			choices = append(choices, "only up to the end of "+waveName(&p.Waves[w]))
			ends = append(ends, &p.Waves[w])
		}
	}
	m.confirm = &confirm{
		title: "Apply plan " + clean(p.ID) + "?", choices: choices,
		want: func(at int) string {
			if ends[at] != nil {
				return clean(ends[at].Name)
			}
			return p.ID
		},
		command: func(at int) string {
			if ends[at] != nil {
				return fmt.Sprintf("%s --wave %d", m.command(apply{}), ends[at].Number)
			}
			return m.command(apply{})
		},
		lines: func(int) []string { return m.applyLines(p) },
		yes: func(at int) tea.Cmd {
			if ends[at] != nil {
				return m.begin(nil, &ends[at].Number)
			}
			return m.begin(nil, nil)
		},
	}
}

func (m *model) applyLines(p *plan.Plan) []string {
	c := m.env.course
	var out []string
	hosts, groups := p.Closes()
	does := fmt.Sprintf("It quarantines the keys of %s and closes port 22 in %s, wave by wave; each door only with proved ways in and an armed timer.", count(hosts, "host"), count(groups, "security group"))
	if hosts+groups == 0 {
		does = "It closes nothing: it prepares hosts and proves sessions."
	}
	out = append(out, does)
	switch {
	case len(c.state.Stale) > 0:
		out = append(out, fmt.Sprintf("A newer snapshot speaks against this plan in %s; the first: %s", count(len(c.state.Stale), "point"), clean(c.state.Stale[0])))
	case len(c.entries) > 0:
		out = append(out, fmt.Sprintf("It goes on from where the journal says it is: %s of %s done.", thousands(c.sum.done), count(c.sum.steps, "step")))
	}
	return out
}

func (m *model) askRollback() {
	c := m.env.course
	p := c.plan()
	switch {
	case p == nil:
		return
	case c.drilling():
		m.notice = &notice{failed: true, text: "A drill is under way: one changes the fleet at a time. Wait for its end."}
		return
	case c.elsewhere():
		m.notice = &notice{failed: true, text: "Another process works on it: stop that run first (S), then roll back."}
		return
	case c.mine() && (c.doing.scope != nil || c.doing.then != nil):
		m.notice = &notice{failed: true, text: "A rollback is under way already."}
		return
	case len(c.entries) == 0:
		m.notice = &notice{failed: true, text: "Nothing of this plan was begun: there is nothing to take back."}
		return
	case c.known == len(c.entries) && c.stand.Owed == 0 && c.stand.Begun == 0 && !c.mine():
		m.notice = &notice{failed: true, text: "Nothing of this plan stands any more: there is nothing to take back."}
		return
	}
	s, ok := m.screens[screenCutover].(*cutoverScreen)
	if !ok {
		return
	}
	scopes := s.scopes()
	var choices []string
	for _, sc := range scopes {
		choices = append(choices, m.scopeName(sc))
	}
	m.confirm = &confirm{
		title: "Roll back?", choices: choices,
		want:    func(at int) string { return m.scopeWord(scopes[at]) },
		command: func(at int) string { return m.scopeCommand(scopes[at]) },
		lines:   func(at int) []string { return m.rollbackLines(scopes[at]) },
		yes: func(at int) tea.Cmd {
			if c.mine() {
				c.doing.then = &scopes[at]
				c.doing.interrupt()
				return nil
			}
			return m.begin(&scopes[at], nil)
		},
	}
}

func (m *model) rollbackLines(s cutover.Scope) []string {
	c := m.env.course
	out := []string{"Undone, last step first, is what the journal calls ours, or may be ours; then it is looked at again. What was there before stays."}
	switch {
	case s.Host != nil:
		out = append(out, "Groups that the host shares are opened, too, and later runs leave it out.")
	case s.Wave != nil:
		out = append(out, "Its hosts' doors are opened in whatever wave they closed.")
	default:
		out = append(out, counted(c.stand.Owed, "step is", "steps are")+" to be undone.")
	}
	if c.mine() {
		out = append(out, "The run is stopped first: its steps under way end.")
	}
	return out
}

// scopeWord is what is typed to take a scope back: a wave's name, else the plan's ID.
func (m *model) scopeWord(s cutover.Scope) string {
	p := m.env.course.plan()
	if s.Wave != nil {
		if w := findWave(p, *s.Wave); w != nil {
			return clean(w.Name)
		}
	}
	return p.ID
}

// decide answers what a run asks. Taking a wave back is asked about once more.
func (m *model) decide(x cutover.Decision) tea.Cmd {
	c := m.env.course
	q := c.asked()
	switch {
	case q == nil:
		return nil
	case x != cutover.DecideRollback:
		c.answer(x)
		return nil
	}
	word := clean(q.Wave.Name)
	if squeezed(word) == "" {
		word = m.planID()
	}
	line := m.env.called(fmt.Sprintf("rollback %s --wave %d", m.planID(), q.Wave.Number))
	m.confirm = &confirm{
		title: "Roll the wave back?", choices: []string{waveName(&q.Wave)},
		want: func(int) string { return word }, command: func(int) string { return line },
		lines: func(int) []string {
			return []string{"Undone, last step first, is what this wave has done; then each is looked at again. The run ends after that."}
		},
		yes: func(int) tea.Cmd {
			if c.asked() == q {
				c.answer(x)
			}
			return nil
		},
	}
	return nil
}

func (m *model) scopeName(s cutover.Scope) string {
	c := m.env.course
	switch {
	case s.Host != nil:
		return "host " + c.named(*s.Host)
	case s.Wave != nil:
		if w := findWave(c.plan(), *s.Wave); w != nil {
			return waveName(w)
		}
	}
	return "the whole plan"
}

func (m *model) askStop() tea.Cmd {
	c := m.env.course
	switch {
	case !c.underway():
		return nil
	case c.rolling():
		m.notice = &notice{text: "A rollback goes on to its end: half of it helps nobody."}
		return nil
	}
	m.ask = &question{
		title: "Stop the run?",
		lines: func() []string {
			return append([]string{"The steps under way end, and none begins. A goes on from there at any time, B takes back."}, m.riskLines()...)
		},
		yes: func() tea.Cmd {
			if c.mine() {
				c.doing.interrupt()
				return nil
			}
			return m.wish(wishStop)
		},
	}
	return nil
}

// riskLines warn of the timers that go on when a run does not.
func (m *model) riskLines() []string {
	c := m.env.course
	if len(c.stand.Risks) == 0 {
		return nil
	}
	next := slices.MinFunc(c.stand.Risks, func(a, b cutover.Risk) int { return a.Deadline.Compare(b.Deadline) })
	return []string{fmt.Sprintf("%s armed: unless disarmed by then, the first opens its door again in %s.", counted(len(c.stand.Risks), "timer is", "timers are"), m.env.until(next.Deadline))}
}

// until counts down.
func (e *env) until(t time.Time) string {
	left := t.Sub(e.now())
	if left <= 0 {
		return "no time"
	}
	if left < time.Hour {
		return fmt.Sprintf("%d:%02d min", int(left.Minutes()), int(left.Seconds())%60)
	}
	return span(left)
}

func findWave(p *plan.Plan, number int) *plan.Wave {
	for i := range p.Waves {
		if p.Waves[i].Number == number {
			return &p.Waves[i]
		}
	}
	return nil
}

// waveName is a wave with its number, once.
func waveName(w *plan.Wave) string {
	name := clean(w.Name)
	if name == fmt.Sprintf("wave %d", w.Number) {
		return name
	}
	return fmt.Sprintf("wave %d, %s", w.Number, name)
}
