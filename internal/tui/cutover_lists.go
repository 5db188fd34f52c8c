package tui

import (
	"cmp"
	"strings"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

// viewBelow is the list under the waves in h lines.
func (s *cutoverScreen) viewBelow(w, h int) []string {
	at := s.below()
	if at == paneWaves || h < 2 {
		return nil
	}
	strip := 0
	if s.at == paneRefusals && h >= 7 {
		strip = 3
	}
	title, n := "", 0
	var row func(i int) (style lipgloss.Style, symbol, text string)
	c := s.course
	switch at {
	case paneTroubles:
		title, n = "Needs a look", len(c.sum.troubles)+len(c.sum.left)
		row = s.troubleRow
	case paneJournal:
		title, n = "Journal, newest first", len(c.log)
		row = func(i int) (lipgloss.Style, string, string) { return s.entryRow(c.log[n-1-i]) }
	case paneRefusals:
		title, n = "What stays open, and why", len(s.refused)
		row = s.refusalRow
	case paneWaves:
	}
	s.lower.resize(n, h-1-strip)
	from, to := s.lower.window()
	note := more(from, to, n)
	if s.at == paneWaves {
		note = "tab: move here"
	}
	out := []string{s.section(title, note, s.at == at, w)}
	for i := from; i < to; i++ {
		here := s.at == at && i == s.lower.cursor
		style, symbol, text := row(i)
		out = append(out, s.styles.on(here, style).Render(marker(here)+symbol+" ")+s.styles.on(here, s.styles.text).Render(fit(text, w-3)))
	}
	if strip > 0 && s.lower.cursor < len(s.refused) {
		for len(out) < h-strip {
			out = append(out, "")
		}
		r := s.refused[s.lower.cursor]
		out = append(out, s.styles.frame.Render(strings.Repeat("─", w)))
		out = append(out, s.labelled("Do", cmp.Or(clean(r.Do), "nothing: it is meant to stay"), w, strip-1)...)
	}
	return out
}

// labelled is a label with a text in n lines at most.
func (e *env) labelled(label, text string, w, n int) []string {
	var out []string
	for i, l := range wrapTo(text, w-9, n) {
		if i > 0 {
			label = ""
		}
		out = append(out, e.styles.accent.Render(fit(label, 9))+l)
	}
	return out
}

func (s *cutoverScreen) refusalRow(i int) (lipgloss.Style, string, string) {
	r := s.refused[i]
	style, symbol := s.styles.risk, "!"
	if r.Expected() {
		style, symbol = s.styles.dim, "·"
	}
	text := clean(r.Text)
	if len(r.hosts) > 0 {
		text = r.hosts[0]
		if len(r.hosts) > 1 {
			text = count(len(r.hosts), cmp.Or(r.what, "host"))
		}
		text += ": " + clean(r.Text)
	}
	return style, symbol, fit(clean(r.Code), 18) + " " + text
}

func (s *cutoverScreen) troubleRow(i int) (lipgloss.Style, string, string) {
	c := s.course
	if n := len(c.sum.troubles); i >= n {
		h := c.sum.left[i-n]
		return s.styles.risk, "!", c.named(h.Host) + ": " + clean(h.Why)
	}
	st := c.sum.troubles[i]
	style, symbol, word := s.styles.step(st)
	return style, symbol, word + ": " + clean(st.Title) + ": " + clean(cmp.Or(st.Held, st.Detail))
}

// step is the style, symbol and word of a step's state.
func (s *styles) step(st cutover.StepStatus) (lipgloss.Style, string, string) {
	switch st.State {
	case cutover.StateOurs:
		return s.ready, "✓", "done"
	case cutover.StateFound:
		return s.ready, "✓", "found so"
	case cutover.StateIntended:
		return s.accent, "…", "begun"
	case cutover.StateUndoing:
		return s.accent, "…", "undoing"
	case cutover.StateFailed:
		return s.blocked, "✗", "FAILED"
	case cutover.StateUnclear:
		return s.unknown, "?", "UNCLEAR"
	case cutover.StateUndoFailed:
		return s.blocked, "✗", "NOT UNDONE"
	case cutover.StateUndone:
		return s.dim, "↶", "undone"
	case cutover.StateNew:
	}
	if st.Held != "" {
		return s.risk, "!", "held"
	}
	return s.dim, "○", "to come"
}

// entryWords are the journal's events as people read them. The others, which
// say that something begins, are seen as what is under way.
var entryWords = map[cutover.Event]string{
	cutover.RunBegan: "run", cutover.RunEnded: "end", cutover.Found: "found so", cutover.Ours: "done",
	cutover.Failed: "FAILED", cutover.Unclear: "UNCLEAR", cutover.Held: "held", cutover.Undone: "undone",
	cutover.UndoFailed: "NOT UNDONE", cutover.Gate: "gate", cutover.Paused: "PAUSED", cutover.Resumed: "resumed", cutover.Note: "note",
}

func (s *cutoverScreen) entryRow(e cutover.Entry) (lipgloss.Style, string, string) {
	style, symbol := s.styles.dim, "·"
	switch e.Event {
	case cutover.Ours, cutover.Found:
		style, symbol = s.styles.ready, "✓"
	case cutover.Failed, cutover.UndoFailed:
		style, symbol = s.styles.blocked, "✗"
	case cutover.Unclear:
		style, symbol = s.styles.unknown, "?"
	case cutover.Held, cutover.Paused:
		style, symbol = s.styles.risk, "!"
	case cutover.Gate:
		style, symbol = s.styles.truth(e.Result)
	case cutover.Undone:
		symbol = "↶"
	default:
	}
	return style, symbol, e.At.UTC().Format("15:04:05") + " " + fit(entryWords[e.Event], 10) + " " + s.entryText(e)
}

func (s *cutoverScreen) entryText(e cutover.Entry) string {
	if e.Event == cutover.Gate {
		text := s.course.waveCalled(e.Wave) + map[fleet.Truth]string{fleet.TruthYes: " in order after ", fleet.TruthNo: " NOT in order after "}[e.Result]
		if e.Result == fleet.TruthUnknown {
			text += ": not known whether in order after "
		}
		text += clean(e.Detail)
		for i, h := range e.Hosts {
			if e.Result == truthYes || i == 3 {
				break
			}
			text += " " + s.course.named(h)
		}
		return text
	}
	step := s.course.steps[e.Step]
	switch {
	case step == nil:
		return clean(e.Detail)
	case e.Detail == "" || e.Event == cutover.Ours || e.Event == cutover.Found:
		return clean(step.Title)
	}
	return clean(step.Title) + ": " + clean(e.Detail)
}
