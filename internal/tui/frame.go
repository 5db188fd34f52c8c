package tui

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// The least size that the wizard is of use in.
const (
	minWidth  = 60
	minHeight = 15
)

// Of the frame: the lines above the stages, and all that are always there.
const (
	headLines  = 2
	frameLines = headLines + 3
)

// View draws the whole screen: title, stages, work, what is at risk, what is
// next, keys.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	v.WindowTitle = "migrate"
	v.MouseMode = tea.MouseModeCellMotion
	return v
}

func (m *model) draw() string {
	w, h := m.width, m.height
	if w <= 0 || h <= 0 {
		return "" // the size is not known yet
	}
	if w < minWidth || h < minHeight {
		return m.tooSmall(w, h)
	}
	next := m.viewNext(w)
	body := h - frameLines - len(next)
	rail := m.viewRail(body)
	railW := width(rail[0])
	workW := w - railW - 3
	work := m.viewWork(workW, body)
	frame := m.env.styles.frame
	lines := make([]string, 0, h)
	lines = append(lines, m.viewTitle(w), frame.Render(strings.Repeat("─", railW)+"┬"+strings.Repeat("─", w-railW-1)))
	bar := frame.Render("│")
	for i := range body {
		line := ""
		if i < len(work) {
			line = work[i]
		}
		lines = append(lines, rail[i]+bar+" "+fit(line, workW)+" ")
	}
	lines = append(lines, frame.Render(strings.Repeat("─", railW)+"┴"+strings.Repeat("─", w-railW-1)))
	lines = append(lines, m.viewRisk(w))
	lines = append(lines, next...)
	lines = append(lines, m.viewKeys(w))
	return strings.Join(lines, "\n")
}

func (m *model) tooSmall(w, h int) string {
	lines := wrap(fmt.Sprintf("migrate needs a window of %d×%d; this one is %d×%d.", minWidth, minHeight, w, h), w)
	if m.env.running() {
		lines = append(lines, wrap("The inventory goes on meanwhile.", w)...)
	}
	if m.env.course.mine() {
		lines = append(lines, wrap("The run of the plan goes on meanwhile.", w)...)
	}
	return strings.Join(lines[:min(len(lines), h)], "\n")
}

func (m *model) viewTitle(w int) string {
	s := m.env.styles
	left := s.heading.Render(" migrate") + "  "
	right := ""
	if m.env.backend.Demo {
		right = s.demo.Render(" DEMO ")
		if w >= 100 {
			right = s.demo.Render(" DEMO: simulated fleet ")
		}
		right += " "
	}
	if m.env.backend.ReadOnly {
		right = s.demo.Render(" READ-ONLY ") + " " + right
	}
	room := w - width(left) - width(right)
	return left + s.text.Render(fit(m.place(), room-1)) + " " + right
}

// mostNamed is how many accounts and Regions are named before they are counted.
const mostNamed = 3

// place names what is worked on: what the configuration says, and before it the
// accounts and Regions of the snapshot that it does not name.
func (m *model) place() string {
	said := clean(m.env.backend.Place)
	d := m.env.data
	if d == nil {
		return said
	}
	var accounts, regions []string
	for _, r := range d.snap.Regions {
		if a := clean(r.Account); !slices.Contains(accounts, a) {
			accounts = append(accounts, a)
		}
		if n := clean(r.Name); !slices.Contains(regions, n) {
			regions = append(regions, n)
		}
	}
	return join(" · ", join(" ", missing(said, accounts, "accounts"), missing(said, regions, "Regions")), said)
}

// missing names those of some names that a text does not have, or counts them.
func missing(said string, names []string, noun string) string {
	if !slices.ContainsFunc(names, func(n string) bool { return !strings.Contains(said, n) }) {
		return ""
	}
	if len(names) > mostNamed {
		return fmt.Sprintf("%d %s", len(names), noun)
	}
	return strings.Join(names, ",")
}

// viewNext is the line that always says what is next and why, above it what
// just happened, if anything did.
func (m *model) viewNext(w int) []string {
	s := m.env.styles
	var out []string
	if n := m.notice; n != nil {
		style, symbol := s.ready, " ✓ "
		if n.failed {
			style, symbol = s.blocked, " ✗ "
		}
		for _, l := range wrapTo(n.text, w-4, 2) {
			out = append(out, style.Render(fit(symbol+l, w)))
			symbol = "   "
		}
	}
	what, why := m.screens[m.at].next()
	switch {
	case m.leaving:
		what, why = "wait a moment", m.stoppingWhat()+" is being stopped before migrate leaves"
	case m.ask != nil:
		what, why = "answer y or n", "nothing is interrupted before you say so"
	case m.confirm != nil && m.confirm.fault:
		what, why = "choose, type "+m.confirm.want(m.confirm.at)+" and press enter, or esc", "it is a simulated fleet: nothing real breaks"
	case m.confirm != nil:
		what, why = "type the name that is asked for and press enter, or esc", "a plain yes is said too easily for what changes a fleet"
	case m.env.course.asked() != nil:
		what, why = "look at the hosts, then answer r, B or S", "the run does not go on by guessing; armed timers go on meanwhile"
	case m.finder != nil:
		what, why = "type a part of what you want, then press enter", "esc closes the list; what changes the fleet asks first"
	case m.help != nil:
		what, why = "press esc to close the help", "after that, "+what
	}
	const label = " Next  "
	lines := 2
	if w >= 160 {
		lines = 1
	}
	text := wrapTo(upperFirst(what)+": "+why+".", w-len(label)-1, lines)
	for i := range lines {
		l, start := "", strings.Repeat(" ", len(label))
		if i < len(text) {
			l = text[i]
		}
		if i == 0 {
			start = s.accent.Bold(true).Render(label)
		}
		out = append(out, start+fit(l, w-len(label)))
	}
	return out
}

func (m *model) stoppingWhat() string {
	if m.env.course.mine() {
		return "the run of the plan"
	}
	return "the inventory"
}

func upperFirst(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}

// viewKeys names the keys of the moment. Those that change something stand apart;
// they, the help and the way out are the last to be left out.
func (m *model) viewKeys(w int) string {
	s := m.env.styles
	usual, changing, always := m.context().hints(m.at)
	if m.env.backend.Demo && m.at == screenCutover && m.env.course.underway() && m.context().anywhere() {
		usual = slices.Insert(usual, min(1, len(usual)), keysDemo.bindings[0].short)
	}
	const gap = "   "
	left, right, used := " ", "", 1
	add := func(to *string, all []string, ink lipgloss.Style) {
		for _, h := range all {
			if used+width(h)+len(gap) > w {
				continue
			}
			key, what, _ := strings.Cut(h, " ")
			*to += ink.Render(key) + " " + s.dim.Render(what) + gap
			used += width(h) + len(gap)
		}
	}
	tail := ""
	add(&tail, always, s.accent)
	if len(changing) > 0 {
		right = s.frame.Render("│") + "  "
		used += 2 * len(gap)
	}
	add(&right, changing, s.risk.Bold(true))
	if len(changing) > 0 {
		right += s.frame.Render("│") + "  "
	}
	add(&left, usual, s.accent)
	return fit(left+right+tail, w)
}

// viewWork is the screen, or what lies over it.
func (m *model) viewWork(w, h int) []string {
	var out []string
	switch {
	case m.help != nil:
		out = m.help.view(w, h)
	default:
		out = m.screens[m.at].view(w, h)
	}
	switch inner := min(w-8, 60); {
	case m.ask != nil:
		out = m.box(out, m.viewAsk(inner), 1, inner, w, h)
	case m.confirm != nil:
		out = m.box(out, m.confirm.view(m.env, inner), len(m.confirm.choices)+5, inner, w, h)
	case m.env.course.asked() != nil:
		out = m.box(out, m.viewAsked(inner), 1, inner, w, h)
	case m.finder != nil:
		inner = min(w-8, 90)
		out = m.box(out, m.viewFinder(inner, h-2), 3, inner, w, h)
	}
	return out[:min(len(out), h)]
}

// viewAsk is the question with its answers, in lines of so many cells.
func (m *model) viewAsk(inner int) []string {
	s := m.env.styles
	var text []string
	for _, l := range wrap(m.ask.title, inner) {
		text = append(text, s.strong.Render(fit(l, inner)))
	}
	for _, p := range m.ask.lines() {
		text = append(text, strings.Repeat(" ", inner))
		for _, l := range wrap(p, inner) {
			text = append(text, fit(l, inner))
		}
	}
	return append(text, strings.Repeat(" ", inner), fit(s.accent.Render("y")+" yes   "+s.accent.Render("n")+" no", inner))
}

// viewAsked is what the run of a plan asks.
func (m *model) viewAsked(inner int) []string {
	s, c := m.env.styles, m.env.course
	q := c.asked()
	blank := strings.Repeat(" ", inner)
	text := []string{s.strong.Render(fit("Not known: what now?", inner)), blank}
	for _, l := range wrapTo(clean(q.Text), inner, 5) {
		text = append(text, fit(l, inner))
	}
	for i, h := range q.Hosts {
		if i == 3 {
			text = append(text, fit(fmt.Sprintf("  and %d more", len(q.Hosts)-i), inner))
			break
		}
		text = append(text, fit("  "+c.named(h), inner))
	}
	for _, t := range q.Timers[:min(len(q.Timers), 2)] {
		text = append(text, s.risk.Render(fit("! "+m.env.until(t.Deadline)+" left: "+c.riskName(t), inner)))
	}
	if n := len(q.Timers) - 2; n > 0 {
		text = append(text, s.risk.Render(fit("! and "+counted(n, "more armed timer", "more armed timers"), inner)))
	}
	return append(text, blank,
		fit(s.accent.Render("r")+" look again   "+s.accent.Render("B")+" roll the wave back   "+s.accent.Render("S")+" stop here", inner))
}

// box lays text of so many cells over the work. Of a text that is too long the
// last lines stay, which have the answers.
func (m *model) box(under, text []string, last, inner, w, h int) []string {
	s := m.env.styles
	if room := h - 2; len(text) > room {
		last = min(last, room)
		text = append(text[:room-last:room-last], text[len(text)-last:]...)
	}
	edge := s.risk
	box := []string{edge.Render("╭" + strings.Repeat("─", inner+4) + "╮")}
	for _, l := range text {
		box = append(box, edge.Render("│")+"  "+l+"  "+edge.Render("│"))
	}
	box = append(box, edge.Render("╰"+strings.Repeat("─", inner+4)+"╯"))
	lines := make([]string, h)
	for i := range lines {
		l := ""
		if i < len(under) {
			l = under[i]
		}
		lines[i] = fit(l, w)
	}
	x, y := (w-inner-6)/2, max((h-len(box))/2, 0)
	return strings.Split(lipgloss.NewCompositor(
		lipgloss.NewLayer(strings.Join(lines, "\n")),
		lipgloss.NewLayer(strings.Join(box, "\n")).X(x).Y(y).Z(1),
	).Render(), "\n")
}

// title heads a screen.
func (e *env) title(left, right string, w int) string {
	right = cut(right, w-width(left)-2)
	return e.styles.heading.Render(fit(left, w-width(right))) + e.styles.dim.Render(right)
}

// section heads a part of a screen; the focused one is what the arrows move.
func (e *env) section(left, right string, focused bool, w int) string {
	style, mark := e.styles.strong, ""
	if focused {
		style, mark = e.styles.heading, " ◂"
	}
	right = cut(right, w-width(left)-4)
	return style.Render(left+mark) + strings.Repeat(" ", max(w-width(left)-width(mark)-width(right), 1)) + e.styles.dim.Render(right)
}

func (e *env) paintWrapped(st lipgloss.Style, text string, w int) []string {
	out := wrap(text, w)
	for i := range out {
		out[i] = st.Render(out[i])
	}
	return out
}

func marker(selected bool) string {
	if selected {
		return "▸"
	}
	return " "
}
