package tui

import (
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// moveByLine moves hosts, each said as HOST=WAVE, and asks whether to store what
// the planner makes of it: the editor for those who work line by line.
func (m *model) moveByLine(moves []string) tea.Cmd {
	if why := m.uneditable(); why != "" {
		m.notice = &notice{failed: true, text: why}
		return nil
	}
	e, p, d := m.env, m.env.course.plan(), m.env.data
	return func() tea.Msg {
		v := newPlanEditor(e, p, d)
		wrong := v.moveAll(moves)
		return editMsg{func(m *model) tea.Cmd {
			if wrong != "" {
				m.notice = &notice{failed: true, text: wrong}
				return nil
			}
			if e.backend.ReadOnly {
				m.notice = &notice{failed: true, text: "Read-only: nothing is changed from here. By command: " + e.called(v.command())}
				return nil
			}
			check := v.check()
			return func() tea.Msg {
				done := check().(editMsg)
				return editMsg{func(m *model) tea.Cmd {
					cmd := done.then(m)
					m.askToStore(v)
					return cmd
				}}
			}
		}}
	}
}

// moveAll moves hosts, and says what is wrong with the first that cannot be.
func (v *planEditor) moveAll(moves []string) (wrong string) {
	if len(moves) == 0 {
		return "Say which hosts, and where to: move HOST=WAVE, such as move web-3=2."
	}
	for _, text := range moves {
		at := strings.LastIndexByte(text, '=')
		number, err := strconv.Atoi(text[at+1:])
		if at < 1 || err != nil || number < v.first || number > v.number(len(v.waves)-1) {
			return clean(text) + " is not HOST=WAVE with a wave from " + strconv.Itoa(v.first) + " to " + strconv.Itoa(v.number(len(v.waves)-1)) + "."
		}
		var found []int32
		for i, h := range v.hosts {
			if h.ref.ID == text[:at] || h.name == text[:at] {
				found = append(found, int32(i))
			}
		}
		switch len(found) {
		case 0:
			return clean(text) + ": no wave of the plan has such a host."
		case 1:
			v.place(found[0], int32(number-v.first))
		default:
			return clean(text) + ": several hosts are called so; give the ID."
		}
	}
	if v.moved == 0 {
		return "They are there already."
	}
	return ""
}

// askToStore shows what the planner said of the moves, and asks.
func (m *model) askToStore(v *planEditor) {
	c := v.checked
	if c.err != nil {
		m.notice = &notice{failed: true, text: "The planner refuses: " + clean(c.err.Error())}
		return
	}
	var lines []string
	for _, l := range c.lines {
		_, sign := v.previewStyle(l.kind)
		lines = append(lines, sign+l.text)
	}
	m.ask = &question{title: "Store the new plan?", lines: func() []string { return lines }, yes: func() tea.Cmd { return m.store(v) }}
}
