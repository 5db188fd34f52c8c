package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// cutoverScreen shows a plan, and how its cutover goes.
type cutoverScreen struct {
	*env
	of      *plan.Plan // what the fields below were made for
	refused []refusals
	waves   list
	moved   bool // by the operator: the list does not follow the run any more
	at      pane
	lower   list
	wave    *waveView // the wave that is open; nil: all
	text    *textView // one thing in full; nil: the lists
}

// pane is one of the screen's lists.
type pane int

const (
	paneWaves pane = iota
	paneTroubles
	paneJournal
	paneRefusals
)

// refusals are those that say the same.
type refusals struct {
	plan.Refusal
	hosts []string // clean names
	n     int
}

func (s *cutoverScreen) loaded() {}

// stood takes a new plan, or a new standing of it.
func (s *cutoverScreen) stood() {
	p := s.course.plan()
	if p != s.of {
		if s.of == nil || p == nil || s.of.ID != p.ID {
			s.waves, s.moved, s.at, s.lower, s.wave, s.text = list{}, false, paneWaves, list{}, nil, nil
			if p != nil {
				s.waves.n, s.waves.height = len(p.Waves), len(p.Waves)
			}
		}
		s.of, s.refused = p, nil
		if p != nil {
			s.refused = s.alike(p.Refusals)
		}
	}
	if open := s.course.sum.firstOpen; p != nil && !s.moved && s.wave == nil && s.course.known >= 0 && open >= 0 {
		s.waves.cursor = open
	}
	if s.wave != nil {
		s.wave.stood()
	}
	if s.text != nil {
		s.text.made = nil
	}
	if !slices.Contains(s.panes(), s.at) {
		s.at, s.lower = paneWaves, list{}
	}
}

// alike brings together refusals that say the same, those that stand in the
// plan's way first.
func (s *cutoverScreen) alike(all []plan.Refusal) []refusals {
	type key struct {
		phase          plan.Phase
		code, text, do string
	}
	at := map[key]int{}
	var out []refusals
	for _, r := range all {
		k := key{r.Phase, r.Code, r.Text, r.Do}
		i, seen := at[k]
		if !seen {
			i = len(out)
			at[k] = i
			out = append(out, refusals{Refusal: r})
		}
		out[i].n++
		switch {
		case r.Host.ID != "":
			out[i].hosts = append(out[i].hosts, s.course.named(r.Host))
		case r.Group != "":
			out[i].hosts = append(out[i].hosts, clean(r.Group))
		}
	}
	slices.SortStableFunc(out, func(a, b refusals) int {
		return cmp.Or(cmp.Compare(expected(a), expected(b)), -cmp.Compare(a.n, b.n))
	})
	return out
}

func expected(r refusals) int {
	if r.Expected() {
		return 1
	}
	return 0
}

// panes are the lists that have something to show.
func (s *cutoverScreen) panes() []pane {
	out := []pane{paneWaves}
	if len(s.course.sum.troubles)+len(s.course.sum.left) > 0 {
		out = append(out, paneTroubles)
	}
	if len(s.course.log) > 0 {
		out = append(out, paneJournal)
	}
	if len(s.refused) > 0 {
		out = append(out, paneRefusals)
	}
	return out
}

// below is the list that is shown under the waves.
func (s *cutoverScreen) below() pane {
	panes := s.panes()
	switch {
	case s.at != paneWaves:
		return s.at
	case s.course.underway() && slices.Contains(panes, paneJournal):
		return paneJournal
	case len(panes) > 1:
		return panes[1]
	}
	return paneWaves
}

func (s *cutoverScreen) context() keyContext {
	busy := s.course.underway()
	switch {
	case s.text != nil || s.wave != nil && s.wave.text != nil:
		return ctxText
	case s.course.plan() == nil:
		return ctxNoPlan
	case s.wave != nil && busy:
		return ctxWaveBusy
	case s.wave != nil:
		return ctxWave
	case busy:
		return ctxBusy
	}
	return ctxPlan
}

func (s *cutoverScreen) handle(in intent) (intent, tea.Cmd) {
	switch {
	case s.text != nil:
		if _, ok := in.(back); ok {
			s.text = nil
		} else {
			s.text.pager.handle(in)
		}
		return nil, nil
	case s.course.plan() == nil:
		if _, ok := in.(open); ok {
			return makePlan{}, nil
		}
		return nil, nil
	case s.wave != nil:
		if s.wave.handle(in) {
			s.wave = nil
		}
		return nil, nil
	}
	switch in.(type) {
	case nextPane:
		panes := s.panes()
		s.at = panes[(slices.Index(panes, s.at)+1)%len(panes)]
		s.lower = list{}
	case open:
		s.open()
	default:
		if s.at == paneWaves {
			s.moved = s.waves.handle(in) || s.moved
		} else {
			s.lower.handle(in)
		}
	}
	return nil, nil
}

func (s *cutoverScreen) open() {
	c := s.course
	i := s.lower.cursor
	show := func(title string, lines func(sh *sheet)) {
		s.text = &textView{title: title, lines: func(w int) []string {
			sh := &sheet{env: s.env, w: w}
			lines(sh)
			return sh.lines
		}}
	}
	switch s.at {
	case paneWaves:
		if s.waves.cursor < len(s.of.Waves) {
			s.wave = newWaveView(s.env, &s.of.Waves[s.waves.cursor])
		}
	case paneTroubles:
		switch n := len(c.sum.troubles); {
		case i < n:
			id := c.sum.troubles[i].ID
			show("Step", func(sh *sheet) { sh.step(s.course.steps[id], c.status(id)) })
		case i-n < len(c.sum.left):
			h := c.sum.left[i-n]
			show(c.named(h.Host), func(sh *sheet) { sh.hostStatus(h) })
		}
	case paneJournal:
		if i < len(c.log) {
			e := c.log[len(c.log)-1-i]
			show(fmt.Sprintf("Journal entry %d", e.Seq), func(sh *sheet) { sh.entry(e, s.course.steps[e.Step]) })
		}
	case paneRefusals:
		if i < len(s.refused) {
			r := s.refused[i]
			show(clean(r.Code), func(sh *sheet) { sh.refusal(r) })
		}
	}
}

// scopes are what a rollback may be asked for here, the narrowest first.
func (s *cutoverScreen) scopes() []cutover.Scope {
	var out []cutover.Scope
	if s.wave != nil {
		if h, ok := s.wave.host(); ok {
			out = append(out, cutover.Scope{Host: &h})
		}
	}
	if i := s.waves.cursor; i < len(s.of.Waves) && !s.course.undone(s.of.Waves[i].Number) {
		out = append(out, cutover.Scope{Wave: &s.of.Waves[i].Number})
	}
	return append(out, cutover.Scope{All: true})
}

func (s *cutoverScreen) view(w, h int) []string {
	switch {
	case s.text != nil:
		return s.text.view(s.env, w, h)
	case s.course.plan() == nil:
		return s.viewNone(w)
	case s.wave != nil:
		return s.wave.view(s.viewState(w, h), w, h)
	}
	p := s.of
	out := append([]string{s.title("Cutover: plan "+clean(p.ID), fmt.Sprintf("snapshot %d, made %s", p.Snapshot, ago(p.Made, s.now())), w)}, s.viewState(w, h)...)
	if h >= 24 {
		out = append(out, "")
	}
	room := h - len(out) - 1
	waves := min(len(p.Waves), max(room/2, room-12, 2))
	if s.below() == paneWaves {
		waves = min(len(p.Waves), room)
	}
	s.waves.resize(len(p.Waves), waves)
	out = append(out, s.viewWaves(w)...)
	if h >= 24 {
		out = append(out, "")
	}
	return append(out, s.viewBelow(w, h-len(out))...)
}

// waveColumn is one column of the table of waves.
type waveColumn struct {
	title string
	width int
	from  int // least width of the table in which it is shown
	phase plan.Phase
}

var waveColumns = []waveColumn{
	{"HOSTS", 5, 0, ""}, {"STATE", 9, 0, ""}, {"PREP", 6, 0, plan.Prepare}, {"PROVE", 6, 0, plan.Prove}, {"QUAR", 6, 0, plan.Quarantine},
	{"CLOSE", 6, 0, plan.Close}, {"FINISH", 6, 70, plan.Finish}, {"SOAK", 6, 80, ""},
}

// waveColumnName is the least width of the names.
const waveColumnName = 10

// viewWaves is the table of waves with its title line.
func (s *cutoverScreen) viewWaves(w int) []string {
	var columns []waveColumn
	name := w - 3
	for _, c := range waveColumns {
		if w >= c.from {
			columns = append(columns, c)
			name -= c.width + 1
		}
	}
	for name < waveColumnName && len(columns) > 2 {
		name += columns[len(columns)-1].width + 1
		columns = columns[:len(columns)-1]
	}
	name = min(name, 24)
	from, to := s.waves.window()
	head := "   " + fit(join(" ", "WAVE", more(from, to, len(s.of.Waves))), name)
	for _, c := range columns {
		head += " " + right(c.title, c.width, c.title == "STATE")
	}
	out := []string{s.styles.dim.Render(fit(head, w))}
	for i := from; i < to; i++ {
		wave := &s.of.Waves[i]
		st := s.course.wave(i)
		style, symbol, state := s.waveState(i, st)
		here := i == s.waves.cursor && s.at == paneWaves
		line := ""
		for _, c := range columns {
			var text string
			switch c.title {
			case "HOSTS":
				text = "-"
				if n := len(wave.Hosts); n > 0 {
					text = thousands(n)
				}
			case "STATE":
				text = state
			case "SOAK":
				text = "-"
				if wave.Soak > 0 {
					text = shortDuration(time.Duration(wave.Soak))
				}
			default:
				text = phaseCell(st, c.phase, c.width)
			}
			line += " " + right(text, c.width, c.title == "STATE")
		}
		out = append(out, s.styles.on(here, style).Render(marker(i == s.waves.cursor)+symbol+" "+fit(clean(wave.Name), name))+
			s.styles.on(here, s.styles.text).Render(line))
	}
	return out
}

// right aligns a cell to the right, or to the left.
func right(text string, w int, left bool) string {
	if n := width(text); !left && n < w {
		return strings.Repeat(" ", w-n) + text
	}
	return fit(text, w)
}

// phaseCell is how far a wave is in a phase, with the answer of its gate.
func phaseCell(w cutover.WaveStatus, ph plan.Phase, room int) string {
	for _, p := range w.Phases {
		if p.Phase != ph {
			continue
		}
		gate := map[string]string{"no": "✗", "unknown": "?"}[p.Gate]
		text := fmt.Sprintf("%d/%d%s", p.Done, len(p.Steps), gate)
		if width(text) > room {
			text = percent(p.Done, len(p.Steps)) + gate
		}
		return text
	}
	return "-"
}

func (s *cutoverScreen) waveState(i int, w cutover.WaveStatus) (style lipgloss.Style, symbol, state string) {
	c := s.course
	if i < len(c.sum.back) && c.sum.back[i] {
		return s.styles.dim, "↶", "undone"
	}
	switch w.State {
	case "done":
		return s.styles.ready, "✓", "done"
	case "soaking":
		return s.styles.accent, "…", "watched"
	case "under way":
		switch {
		case c.rolling():
			return s.styles.accent, "↶", "undoing"
		case c.underway():
			return s.styles.accent, "…", "under way"
		}
		return s.styles.unknown, "!", "begun"
	case "rolled back":
		return s.styles.dim, "↶", "rolled back"
	}
	return s.styles.dim, "○", "waiting"
}

// viewBelow is the list under the waves in h lines.
func (s *cutoverScreen) viewBelow(w, h int) []string {
	at := s.below()
	if at == paneWaves || h < 2 {
		return nil
	}
	strip := 0
	if at == paneRefusals && h >= 7 {
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
			text = counted(len(r.hosts), "", "of them")
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
		text := fmt.Sprintf("wave %d after %s: %s", e.Wave, clean(e.Detail), e.Result)
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
