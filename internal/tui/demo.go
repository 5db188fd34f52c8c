package tui

import (
	tea "charm.land/bubbletea/v2"
)

// Fault is trouble that the operator of a demo can bring about.
type Fault struct {
	Name string
	// Argument is what migrate demo fault is told for it.
	Argument string
	Ends     bool   // it puts right what the others broke
	Text     string // what happens
	See      string // what to look at then, and what to do
}

// breakIt opens the choice of a demo's faults.
type breakIt struct{}

func (breakIt) isIntent() {}

// brokenMsg says what came of a fault.
type brokenMsg struct {
	of       Fault
	happened string
	err      error
}

// keysDemo hold in demos alone, and there wherever other keys for everywhere do.
var keysDemo = section{"In this demo", []binding{
	{[]string{"!"}, breakIt{}, "! break", "break something in the simulated fleet, or put it right again"},
}}

// demoWord is typed before something breaks, so that no single key does it.
func demoWord(f Fault) string {
	if f.Ends {
		return clean(f.Name)
	}
	return "break"
}

// askFault offers the faults. It says nothing where the fleet is a real one.
func (m *model) askFault() {
	all := m.env.backend.Faults
	if !m.env.backend.Demo || len(all) == 0 {
		return
	}
	var names []string
	first := 0
	for i, f := range all {
		names = append(names, clean(f.Name))
		if f.Ends && m.faulty {
			first = i
		}
	}
	m.confirm = &confirm{
		fault: true, title: "Break something in the simulated fleet?", choices: names, at: first,
		want: func(at int) string { return demoWord(all[at]) }, command: func(at int) string { return "migrate demo fault " + clean(all[at].Argument) },
		lines: func(at int) []string {
			lines := []string{upperFirst(clean(all[at].Text)) + "."}
			if see := clean(all[at].See); see != "" {
				lines = append(lines, "Then: "+see+".")
			}
			return lines
		},
		yes: func(at int) tea.Cmd {
			e := m.env
			return func() tea.Msg {
				happened, err := e.backend.Fault(e.ctx, all[at].Name)
				return brokenMsg{all[at], happened, err}
			}
		},
	}
}

func (m *model) broken(msg brokenMsg) {
	m.notice = &notice{text: clean(msg.happened)}
	if msg.err != nil {
		m.notice = &notice{failed: true, text: clean(msg.err.Error())}
		return
	}
	m.faulty = !msg.of.Ends
}
