package tui

import tea "charm.land/bubbletea/v2"

// wheelLines is how far one notch of the wheel moves.
const wheelLines = 3

// click goes to the stage or view that was clicked. What waits for an answer is not
// passed over by a click.
func (m *model) click(msg tea.MouseClickMsg) tea.Cmd {
	if msg.Button != tea.MouseLeft || m.blocks() || msg.X >= m.railWidth() {
		return nil
	}
	at := msg.Y - headLines
	if at < 0 || at >= len(m.railAt) || m.railAt[at] < 0 {
		return nil
	}
	m.help, m.finder, m.notice = nil, nil, nil
	return m.act(goTo{m.railAt[at]})
}

// wheel moves as the arrows do.
func (m *model) wheel(msg tea.MouseWheelMsg) tea.Cmd {
	if m.blocks() {
		return nil
	}
	switch msg.Button {
	case tea.MouseWheelUp:
		return m.act(move{-wheelLines})
	case tea.MouseWheelDown:
		return m.act(move{wheelLines})
	default:
	}
	return nil
}

// blocks reports whether something waits for an answer.
func (m *model) blocks() bool {
	return m.leaving || m.ask != nil || m.confirm != nil || m.env.course.asked() != nil
}
