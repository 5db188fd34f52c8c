package tui

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// rehearsal is a drill that this wizard has started.
type rehearsal struct {
	plan  *plan.Plan
	doing *doing
	// laps are what the drill of each VPC has been at, in order, and since when.
	laps   map[string][]lap
	told   []DrillReport // all of them, as they came
	failed []string      // clean texts of what could not be done
}

// lap is one phase of a drill.
type lap struct {
	phase cutover.DrillPhase
	began time.Time
}

// drillPlannedMsg brings the plan of a drill that is to be confirmed.
type drillPlannedMsg struct {
	plan *plan.Plan
	err  error
}

// askDrill makes the plan of a drill, which is then shown and asked about.
func (m *model) askDrill() tea.Cmd {
	c := m.env.course
	switch {
	case c.planningDrill:
		return nil
	case c.drilling():
		m.notice = &notice{failed: true, text: "A drill is under way already."}
		return nil
	case c.underway():
		m.notice = &notice{failed: true, text: "A run is under way: one changes the fleet at a time. Wait for its end, then drill."}
		return nil
	case m.env.data == nil:
		m.notice = &notice{failed: true, text: "There is nothing to come back into yet: take the inventory first."}
		return nil
	}
	c.planningDrill = true
	m.notice = &notice{text: "Planning the drill …"}
	e := m.env
	return func() tea.Msg {
		p, err := e.backend.PlanDrill(e.ctx)
		return drillPlannedMsg{p, err}
	}
}

func (m *model) drillPlanned(msg drillPlannedMsg) {
	m.env.course.planningDrill = false
	m.notice = nil
	if msg.err != nil {
		m.notice = &notice{failed: true, text: "No drill: " + clean(msg.err.Error())}
		return
	}
	p := msg.plan
	line := m.env.called("recovery drill --yes")
	m.confirm = &confirm{
		title: "Rehearse the way back?", choices: []string{"plan " + clean(p.ID)},
		want: func(int) string { return p.ID }, command: func(int) string { return line },
		lines: func(int) []string { return drillLines(p) },
		yes:   func(int) tea.Cmd { return m.beginDrill(p) },
	}
}

func drillLines(p *plan.Plan) []string {
	steps := p.Of(plan.RecoveryDrill)
	hosts := 0
	for _, s := range steps {
		hosts += len(s.Hosts)
	}
	out := []string{
		fmt.Sprintf("It starts %s, logs in through %s to %s with the recovery key, runs a command as root there, and brings the groups back to zero.",
			count(len(steps), "bastion"), themOrIt(len(steps)), count(hosts, "host")),
		"It closes nothing. Bastions cost money while they run, some minutes.",
	}
	if n := len(p.Refusals); n > 0 {
		out = append(out, fmt.Sprintf("Not tried: %s; the first: %s", count(n, "host"), clean(p.Refusals[0].Text)))
	}
	return out
}

func themOrIt(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func (m *model) beginDrill(p *plan.Plan) tea.Cmd {
	e, c := m.env, m.env.course
	if c.mine() || c.drilling() {
		return nil
	}
	work := func(ctx context.Context, t Talk) (cutover.Result, error) { return e.backend.Drill(ctx, p, t) }
	c.drill = &rehearsal{
		plan: p, laps: map[string][]lap{},
		doing: startDoing(e.ctx, nil, work, func() { e.send(fedMsg{}) }, e.now(), e.alive),
	}
	m.tell()
	return nil
}

// fedDrill takes what a drill brought.
func (m *model) fedDrill() tea.Cmd {
	c := m.env.course
	if !c.drilling() {
		return nil
	}
	r := c.drill
	entries, ended := r.doing.drain()
	for _, s := range r.doing.reports {
		r.told = append(r.told, s)
		r.laps[s.VPC] = append(r.laps[s.VPC], lap{s.Phase, s.At})
	}
	r.doing.reports = nil
	for _, e := range entries {
		if e.Event == cutover.Failed || e.Event == cutover.Unclear || e.Event == cutover.Held {
			r.failed = append(r.failed, clean(e.Detail))
		}
	}
	if !ended {
		m.tell()
		return nil
	}
	m.confirm, m.ask = nil, nil // they were about a run that is over
	switch {
	case r.doing.err != nil:
		m.notice = &notice{failed: true, text: "The drill could not go on: " + clean(r.doing.err.Error())}
	case len(r.failed) > 0:
		m.notice = &notice{failed: true, text: "The drill failed: " + r.failed[0]}
	case r.doing.result.Outcome == cutover.OutcomeDone:
		m.notice = &notice{text: "The drill is done in " + span(m.env.now().Sub(r.doing.started)) + ": every host of it was reached, and the groups are at zero."}
	default:
		m.notice = outcomeNotice(r.doing.result)
	}
	m.tell()
	return m.look()
}

// drillPhases are the phases of a drill as they follow each other, and as people
// call them.
var drillPhases = []struct {
	phase cutover.DrillPhase
	name  string
}{
	{cutover.DrillLaunch, "launch"}, {cutover.DrillConsole, "host keys"}, {cutover.DrillBastion, "bastion"},
	{cutover.DrillHosts, "logins"}, {cutover.DrillScaleIn, "to zero"},
}

// viewDrill shows how far a drill is: a line for each VPC, at most so many.
func (s *recoveryScreen) viewDrill(w, most int) []string {
	r := s.course.drill
	steps := r.plan.Of(plan.RecoveryDrill)
	what := "under way for " + span(s.now().Sub(r.doing.started))
	if r.doing.stopping {
		what = "stopping: the bastions are brought back to zero"
	}
	out := []string{s.styles.accent.Render(cut("… Drill "+clean(r.plan.ID)+", "+what, w))}
	for i, st := range steps {
		if i == most && len(steps) > most {
			return append(out, s.styles.dim.Render(cut("  and "+count(len(steps)-most, "VPC")+" more", w)))
		}
		laps, name := r.laps[st.Recovery.VPC], "  "+clean(st.Recovery.VPC)+": "
		text := name + s.lapsLine(laps)
		if width(text) > w {
			text = name + s.lapShort(laps)
		}
		out = append(out, s.styles.strong.Render(cut(text, w)))
	}
	return out
}

// lapsLine tells each phase with the time that it took or has taken so far.
func (s *recoveryScreen) lapsLine(laps []lap) string {
	if len(laps) == 0 {
		return "waits"
	}
	out := ""
	for _, p := range drillPhases {
		text := "○ " + p.name
		for i, l := range laps {
			switch {
			case l.phase != p.phase:
			case i+1 < len(laps):
				text = "✓ " + p.name + " " + clock(laps[i+1].began.Sub(l.began))
			default:
				text = "… " + p.name + " " + clock(s.now().Sub(l.began))
			}
		}
		out = join("  ", out, text)
	}
	return out
}

// lapShort tells the present phase alone, where there is no room for all.
func (s *recoveryScreen) lapShort(laps []lap) string {
	if len(laps) == 0 {
		return "waits"
	}
	last := laps[len(laps)-1]
	for i, p := range drillPhases {
		if p.phase == last.phase {
			return fmt.Sprintf("… %s %s, %d/%d, in all %s", p.name, clock(s.now().Sub(last.began)), i+1, len(drillPhases), clock(s.now().Sub(laps[0].began)))
		}
	}
	return "over after " + clock(last.began.Sub(laps[0].began))
}

// clock is a duration in minutes and seconds.
func clock(d time.Duration) string {
	d = max(d, 0)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
