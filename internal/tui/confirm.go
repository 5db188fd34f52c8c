package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// confirm asks before the fleet is changed: the operator types what they mean.
type confirm struct {
	title   string
	lines   func(at int) []string // told anew at every drawing
	choices []string              // clean; at least one
	at      int
	want    string // what is to be typed
	input   line
	wrong   bool
	yes     func(at int) tea.Cmd
}

// handle acts on an intent, and reports whether the question is answered.
func (c *confirm) handle(in intent) (done bool, cmd tea.Cmd) {
	switch in := in.(type) {
	case typed:
		c.input.insert(strings.TrimSpace(in.text))
		c.wrong = false
	case edit:
		c.input.edit(in.op)
	case move:
		c.at = min(max(c.at+in.by, 0), len(c.choices)-1)
	case back:
		return true, nil
	case open:
		if string(c.input.text) == c.want {
			return true, c.yes(c.at)
		}
		c.wrong = true
		c.input.set("")
	}
	return false, nil
}

func (c *confirm) view(e *env, inner int) []string {
	s := e.styles
	blank := strings.Repeat(" ", inner)
	var text []string
	for _, l := range wrap(c.title, inner) {
		text = append(text, s.strong.Render(fit(l, inner)))
	}
	for _, p := range c.lines(c.at) {
		for _, l := range wrap(p, inner) {
			text = append(text, fit(l, inner))
		}
	}
	text = append(text, blank)
	for i, choice := range c.choices {
		mark := "○ "
		if i == c.at {
			mark = "● "
		}
		text = append(text, s.on(i == c.at, s.text).Render(fit(mark+choice, inner)))
	}
	label := "Type " + clean(c.want) + ": "
	if c.wrong {
		label = "No. " + label
	}
	field := c.input.view(max(inner-width(label), 4), s.text, s.cursor)
	keys := s.accent.Render("enter") + " do it   " + s.accent.Render("esc") + " do nothing"
	if len(c.choices) > 1 {
		keys += "   " + s.accent.Render("↑↓") + " choose"
	}
	return append(text, blank, fit(s.accent.Render(label)+field, inner), fit(keys, inner))
}
