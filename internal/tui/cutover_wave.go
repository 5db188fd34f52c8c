package tui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// waveView shows one wave: its steps with what goes and what comes, or its hosts.
type waveView struct {
	*env
	wave    *plan.Wave
	steps   stepList
	hosts   list
	rows    []cutover.HostStatus // of the wave
	onHosts bool
	text    *textView
}

func newWaveView(e *env, w *plan.Wave) *waveView {
	v := &waveView{env: e, wave: w}
	v.steps.env = e
	for i := range w.Steps {
		v.steps.all = append(v.steps.all, &w.Steps[i])
	}
	v.stood()
	return v
}

// stood takes a new standing.
func (v *waveView) stood() {
	v.steps.stood()
	v.rows = v.rows[:0]
	for _, h := range v.course.stand.Hosts {
		if h.Wave == v.wave.Number {
			v.rows = append(v.rows, h)
		}
	}
	if v.text != nil {
		v.text.made = nil
	}
}

// host is the host that the operator is at.
func (v *waveView) host() (fleet.HostRef, bool) {
	if v.onHosts {
		if v.hosts.cursor < len(v.rows) {
			return v.rows[v.hosts.cursor].Host, true
		}
		return fleet.HostRef{}, false
	}
	if st := v.steps.current(); st != nil && len(st.Hosts) == 1 {
		return st.Hosts[0], true
	}
	return fleet.HostRef{}, false
}

// handle acts on an intent, and reports whether the view is to be left.
func (v *waveView) handle(in intent) (left bool) {
	if v.text != nil {
		if _, ok := in.(back); ok {
			v.text = nil
		} else {
			v.text.pager.handle(in)
		}
		return false
	}
	switch in.(type) {
	case back:
		return true
	case nextPane:
		v.onHosts = !v.onHosts && len(v.rows) > 0
	case open:
		v.open()
	default:
		if v.onHosts {
			v.hosts.handle(in)
		} else {
			v.steps.list.handle(in)
		}
	}
	return false
}

func (v *waveView) open() {
	if !v.onHosts {
		v.text = v.steps.open()
		return
	}
	if v.hosts.cursor < len(v.rows) {
		id := v.rows[v.hosts.cursor].Host
		v.text = &textView{title: v.course.named(id), lines: func(w int) []string { return v.hostLines(id, w) }}
	}
}

// hostLines tells of a host what the plan does with it.
func (v *waveView) hostLines(id fleet.HostRef, w int) []string {
	sh := &sheet{env: v.env, w: w}
	for _, h := range v.rows {
		if h.Host == id {
			sh.hostStatus(h)
		}
	}
	sh.heading("Steps")
	for _, st := range v.steps.all {
		for _, h := range st.Hosts {
			if h == id {
				sh.stepLine(st, v.steps.states[st.ID])
			}
		}
	}
	return sh.lines
}

func (v *waveView) view(state []string, w, h int) []string {
	if v.text != nil {
		return v.text.view(v.env, w, h)
	}
	about := count(len(v.steps.all), "step")
	if n := len(v.wave.Hosts); n > 0 {
		about = count(n, "host") + ", " + about
	}
	if v.wave.Soak > 0 {
		about += ", then watched for " + shortDuration(time.Duration(v.wave.Soak))
	}
	out := []string{v.title(upperFirst(waveName(v.wave)), about, w)}
	for _, text := range v.wave.Warnings[:min(len(v.wave.Warnings), mostWarnings)] {
		out = append(out, v.styles.risk.Render(fit("! "+clean(text), w)))
	}
	if v.course.underway() {
		out = append(out, state...) // what is at risk stays in sight
	}
	out = append(out, "")
	if !v.onHosts {
		other := ""
		if len(v.rows) > 0 {
			other = "tab: hosts"
		}
		return append(out, v.steps.view("Steps", other, w, h-len(out))...)
	}
	v.hosts.resize(len(v.rows), h-len(out)-2)
	from, to := v.hosts.window()
	out = append(out, v.section("Hosts", join("  ", more(from, to, len(v.rows)), "tab: steps"), true, w))
	out = append(out, v.styles.dim.Render(fit("   "+fit("HOST", max(w-36, 16))+"   STEPS   DOORS  WHY NOT", w)))
	for i := from; i < to; i++ {
		out = append(out, v.hostRow(v.rows[i], i == v.hosts.cursor, w))
	}
	return out
}

func (v *waveView) hostRow(h cutover.HostStatus, here bool, w int) string {
	style, symbol := v.styles.dim, "○"
	why := clean(h.Why)
	switch {
	case h.Why != "":
		style, symbol = v.styles.risk, "!"
	case v.course.blamed(h.Host) != "":
		style, symbol, why = v.styles.blocked, "✗", "FAILED"
	case v.course.undone(v.wave.Number):
		symbol = "↶"
	case h.Steps > 0 && h.Done == h.Steps:
		style, symbol = v.styles.ready, "✓"
	case h.Done > 0:
		style, symbol = v.styles.accent, "…"
	}
	text := fmt.Sprintf("%s %7s %7s  %s", fit(v.course.named(h.Host), max(w-36, 16)), fmt.Sprintf("%d/%d", h.Done, h.Steps), fmt.Sprintf("%d/%d", h.Doors, h.All), why)
	return v.styles.on(here, style).Render(marker(here)+symbol+" ") + v.styles.on(here, v.styles.text).Render(fit(text, w-3))
}

// stepList is a list of steps, of which the selected one is shown like a diff.
type stepList struct {
	*env
	all    []*plan.Step
	list   list
	states map[string]cutover.StepStatus
}

// stood takes a new standing.
func (l *stepList) stood() {
	l.states = make(map[string]cutover.StepStatus, len(l.all))
	for _, st := range l.all {
		l.states[st.ID] = cutover.StepStatus{ID: st.ID, State: cutover.StateNew}
	}
	for _, w := range l.course.stand.Waves {
		for _, ph := range w.Phases {
			for _, st := range ph.Steps {
				if _, ok := l.states[st.ID]; ok {
					l.states[st.ID] = st
				}
			}
		}
	}
}

func (l *stepList) current() *plan.Step {
	if l.list.cursor >= len(l.all) {
		return nil
	}
	return l.all[l.list.cursor]
}

func (l *stepList) open() *textView {
	st := l.current()
	if st == nil {
		return nil
	}
	return &textView{title: "Step", lines: func(w int) []string {
		sh := &sheet{env: l.env, w: w}
		sh.step(st, l.states[st.ID])
		return sh.lines
	}}
}

// shortPhase are the phases where there is little room.
var shortPhase = map[plan.Phase]string{plan.Prepare: "prep", plan.Prove: "prove", plan.Quarantine: "keys", plan.Close: "close", plan.Finish: "fin"}

// stripSteps is how many lines tell of the selected step.
const stripSteps = 6

func (l *stepList) view(title, note string, w, h int) []string {
	strip := stripSteps
	if h < 14 {
		strip = max(h/2-1, 0)
	}
	l.list.resize(len(l.all), h-1-strip)
	from, to := l.list.window()
	if l.list.cursor < from || l.list.cursor >= to {
		from, to = 0, 0
	}
	out := []string{l.section(title, join("  ", more(from, to, len(l.all)), note), true, w)}
	for i := from; i < to; i++ {
		st := l.all[i]
		here := i == l.list.cursor
		style, symbol, word := l.styles.step(l.states[st.ID])
		line := fit(shortPhase[st.Phase], 5) + " " + clean(st.Title)
		if w >= 80 {
			line = fit(string(st.Phase), 10) + " " + fit(clean(st.Title), w-25) + " " + word
		}
		out = append(out, l.styles.on(here, style).Render(marker(here)+symbol+" ")+l.styles.on(here, l.styles.text).Render(fit(line, w-3)))
	}
	st := l.current()
	if st == nil || strip < 2 {
		return out
	}
	for len(out) < h-strip {
		out = append(out, "")
	}
	sh := &sheet{env: l.env, w: w}
	switch state := l.states[st.ID]; state.State {
	case cutover.StateFailed, cutover.StateUnclear, cutover.StateUndoFailed:
		style, symbol, word := l.styles.step(state)
		sh.lines = append(sh.lines, style.Render(cut(symbol+" "+word+": "+clean(state.Detail), w)))
	default:
	}
	sh.diff(st, strip-1-len(sh.lines))
	return append(append(out, l.styles.frame.Render(strings.Repeat("─", w))), sh.lines[:min(len(sh.lines), strip-1)]...)
}

// diff tells in short what a step changes: what goes, what comes, who else is
// touched, and whom it is left to.
func (s *sheet) diff(st *plan.Step, n int) {
	tail := 0
	if st.Handed {
		tail++
	}
	if st.Warning != "" {
		tail++
	}
	if st.Blast != "" {
		tail++
	}
	lines := min(len(st.Before)+len(st.After), max(n-tail, 1))
	before := min(len(st.Before), max(lines-len(st.After), (lines+1)/2))
	sign := func(style lipgloss.Style, sign string, all []string, most int) {
		for i, l := range all {
			if i == most {
				break
			}
			text := clean(l)
			if i == most-1 && len(all) > most {
				text += fmt.Sprintf(" … %s (enter)", count(len(all)-most, "more line"))
			}
			s.lines = append(s.lines, style.Render(cut(sign+" "+text, s.w)))
		}
	}
	sign(s.styles.blocked, "-", st.Before, before)
	sign(s.styles.ready, "+", st.After, lines-before)
	if lines == 0 {
		s.lines = append(s.lines, s.styles.dim.Render("changes nothing: it proves, or waits"))
	}
	if st.Handed {
		s.lines = append(s.lines, s.styles.dim.Render(fit("Left to", 9))+cut(cmp.Or(clean(st.Owner), "others")+": the plan waits for it", s.w-9))
	}
	if st.Warning != "" {
		s.lines = append(s.lines, s.styles.risk.Render(cut("! "+clean(st.Warning), s.w)))
	}
	if st.Blast != "" {
		s.lines = append(s.lines, s.styles.dim.Render(fit("Touches", 9))+cut(clean(st.Blast), s.w-9))
	}
}

// stepLine is one step in one line.
func (s *sheet) stepLine(st *plan.Step, state cutover.StepStatus) {
	style, symbol, word := s.styles.step(state)
	s.lines = append(s.lines, style.Render("  "+symbol)+" "+cut(fit(word, 11)+clean(st.Title), s.w-4))
}

// step tells all about one step.
func (s *sheet) step(st *plan.Step, state cutover.StepStatus) {
	if st == nil {
		return
	}
	for _, l := range wrap(clean(st.Title), s.w) {
		s.lines = append(s.lines, s.styles.strong.Render(l))
	}
	style, symbol, word := s.styles.step(state)
	line := symbol + " " + word
	if !state.Since.IsZero() {
		line += " since " + stamp(state.Since)
	}
	s.lines = append(s.lines, style.Render(cut(line, s.w)), "")
	s.pair("said", clean(state.Detail))
	s.pair("held", clean(state.Held))
	if len(st.Before)+len(st.After) > 0 {
		s.lines = append(s.lines, s.styles.heading.Render("What changes"))
		for _, l := range st.Before {
			s.lines = append(s.lines, s.paintWrapped(s.styles.blocked, "- "+clean(l), s.w)...)
		}
		for _, l := range st.After {
			s.lines = append(s.lines, s.paintWrapped(s.styles.ready, "+ "+clean(l), s.w)...)
		}
		s.lines = append(s.lines, "")
	}
	s.pair("because of", clean(st.Why))
	s.pair("touches", cmp.Or(clean(st.Blast), "nothing else"))
	s.pair("warning", clean(st.Warning))
	if st.Handed {
		s.pair("left to", cmp.Or(clean(st.Owner), "others, by the policy")+": the plan waits until it observes it")
	} else if st.Owner != "" {
		s.pair("owner", clean(st.Owner))
	}
	s.pair("phase", string(st.Phase)+", lane "+clean(st.Lane))
	s.pair("where", placeName(st.At.Account, st.At.Region))
	for i, h := range st.Hosts {
		label := ""
		if i == 0 {
			label = "hosts"
		}
		s.pair(label, s.course.named(h))
	}
	s.pair("kind", clean(string(st.Kind))+" (docs/steps)")
	s.pair("ID", clean(st.ID))
}
