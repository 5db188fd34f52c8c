package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"
)

// keep notes the stage that is shown, for the next start.
func (m *model) keep(id screenID) tea.Cmd {
	e := m.env
	if id > screenDone || e.backend.Keep == nil || e.backend.ReadOnly {
		return nil
	}
	return func() tea.Msg { return keptMsg{e.backend.Keep(e.ctx, stageNames[id])} }
}

// pollEvery is how often the wizard asks whether another process works.
const pollEvery = 3 * time.Second

// poll asks after a while whether another process works.
func (m *model) poll() tea.Cmd {
	e := m.env
	if e.backend.Holder == nil || e.tick == nil || m.polling {
		return nil
	}
	m.polling = true
	return e.tick(pollEvery, func(time.Time) tea.Msg {
		holder, err := e.backend.Holder(e.ctx)
		return polledMsg{holder, err}
	})
}

// polled looks at the plan when another process has begun to work. What cannot be
// asked now is asked again.
func (m *model) polled(msg polledMsg) tea.Cmd {
	m.polling = false
	cmd := m.poll()
	if c := m.env.course; msg.err == nil && msg.holder != "" && !c.underway() && !c.drilling() {
		return tea.Batch(cmd, m.look())
	}
	return cmd
}
