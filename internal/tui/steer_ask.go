package tui

import (
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

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
