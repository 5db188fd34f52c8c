package tui

import tea "charm.land/bubbletea/v2"

func (m *model) report() tea.Cmd {
	switch {
	case m.reporting:
		return nil
	case m.env.data == nil:
		m.notice = &notice{failed: true, text: "There is nothing to report on yet: take the inventory first."}
		return nil
	}
	m.reporting = true
	m.notice = &notice{text: "Writing the report …"}
	e := m.env
	return func() tea.Msg {
		path, err := e.backend.Report(e.ctx)
		return reportedMsg{path, err}
	}
}

func (m *model) runbook() tea.Cmd {
	switch {
	case m.reporting:
		return nil
	case m.env.data == nil:
		m.notice = &notice{failed: true, text: "There is nothing to write down yet: take the inventory first."}
		return nil
	}
	m.reporting = true
	m.notice = &notice{text: "Writing the runbook …"}
	e := m.env
	return func() tea.Msg {
		path, err := e.backend.Runbook(e.ctx)
		return runbookMsg{path, err}
	}
}
