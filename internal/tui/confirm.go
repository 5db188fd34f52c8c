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
	// want is what is to be typed, and command the line that does the same.
	want    func(at int) string
	command func(at int) string
	input   line
	wrong   bool
	fault   bool // it breaks something in a demo
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
		c.at, c.wrong = min(max(c.at+in.by, 0), len(c.choices)-1), false
	case back:
		return true, nil
	case open:
		if squeezed(string(c.input.text)) == squeezed(c.want(c.at)) {
			return true, c.yes(c.at)
		}
		c.wrong = true
		c.input.set("")
	}
	return false, nil
}

// squeezed is a name without its blanks: they are easily mistyped.
func squeezed(s string) string { return strings.Join(strings.Fields(s), "") }

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
	text = append(text, blank)
	for _, l := range wrapTo("$ "+c.command(c.at), inner, 2) {
		text = append(text, s.dim.Render(fit(l, inner)))
	}
	label := "Type " + clean(c.want(c.at)) + ": "
	if c.wrong {
		label = "No. " + label
	}
	field := c.input.view(max(inner-width(label), 4), s.text, s.cursor)
	keys := s.accent.Render("enter") + " do it   " + s.accent.Render("esc") + " do nothing"
	if len(c.choices) > 1 {
		keys += "   " + s.accent.Render("↑↓") + " choose"
	}
	return append(text, fit(s.accent.Render(label)+field, inner), fit(keys, inner))
}
