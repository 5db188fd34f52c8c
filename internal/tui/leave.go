package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
)

func (m *model) askToStop() {
	if !m.env.running() {
		return
	}
	m.ask = &question{
		title: "Stop the inventory?",
		lines: func() []string {
			return []string{m.howFar(), "Stopping changes nothing in your accounts or on your hosts, and earlier snapshots stay as they are."}
		},
		yes: func() tea.Cmd {
			m.env.run.interrupt()
			return nil
		},
	}
}

// quit leaves at once when no work would be lost. Asked again while a question
// is open or something is being stopped, it does not wait any longer.
func (m *model) quit() tea.Cmd {
	switch {
	case !m.busy() && m.ask == nil && !m.leaving && m.cutover().edit != nil && m.cutover().edit.moved > 0:
		m.ask = &question{
			title: "Leave without making the new plan?",
			lines: func() []string {
				return []string{count(m.cutover().edit.moved, "host") + " moved. The plan stays as it is."}
			},
			yes: m.leave,
		}
		return nil
	case !m.busy():
		return tea.Quit
	case m.leaving:
		m.abandoned = true
		return tea.Quit
	case m.ask != nil:
		return m.leave()
	}
	title := "An inventory is running. Stop it and leave?"
	if m.env.course.drilling() {
		title = "A drill is under way. Stop it and leave?"
	}
	if m.env.course.mine() {
		title = "A run of plan " + clean(m.env.course.plan().ID) + " is under way. Stop it and leave?"
	}
	m.ask = &question{title: title, lines: m.leaveLines, yes: m.leave}
	return nil
}

func (m *model) leaveLines() []string {
	var out []string
	if c := m.env.course; c.mine() {
		out = append(out, "Its steps under way end, none begins, then migrate leaves. Nothing is lost: migrate apply goes on from there, migrate rollback takes back.")
		out = append(out, m.riskLines()...)
	}
	if m.env.course.drilling() {
		out = append(out, "Its bastions are brought back to zero first, which can take a minute or two. migrate recovery drill --yes begins another one.")
	}
	if m.env.running() {
		out = append(out, m.howFar(), "Leaving interrupts it: what it found so far is not judged. Earlier snapshots stay as they are.")
	}
	return out
}

func (m *model) leave() tea.Cmd {
	if !m.busy() {
		return tea.Quit
	}
	m.ask, m.confirm, m.leaving = nil, nil, true
	if m.env.running() {
		m.env.run.interrupt()
	}
	if c := m.env.course; c.drilling() {
		c.drill.doing.interrupt()
	} else if c.mine() {
		c.doing.interrupt()
	}
	return nil
}

func (m *model) howFar() string {
	p := m.env.run.progress
	answered, failed, reading := p.tally()
	return fmt.Sprintf("So far %s answered, %d failed, %d are being read; %d of %d hosts are probed.", count(answered, "source"), failed, reading, p.probe.done, p.probe.total)
}
