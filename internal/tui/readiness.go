package tui

import (
	"cmp"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
)

// readinessScreen says how many hosts are ready, what stands in the way of the
// others, and what is not known.
type readinessScreen struct {
	*env
	items []readyItem
	list  list
	text  *textView // one item in full; nil: the list
}

// readyItem is a line of the list: exactly one of its fields is set.
type readyItem struct {
	heading string
	cause   *group          // opens the hosts with this cause
	other   *group          // opens the hosts with this finding
	general []fleet.Finding // of one code, about shared things; opens them in full
	silent  *problem
}

func (i readyItem) selectable() bool { return i.heading == "" }

func (s *readinessScreen) context() keyContext {
	if s.text != nil {
		return ctxText
	}
	return ctxReadiness
}

func (s *readinessScreen) loaded() {
	s.items, s.list, s.text = nil, list{}, nil
	d := s.data
	if d == nil {
		return
	}
	head := func(n int, text string) {
		if n > 0 {
			s.items = append(s.items, readyItem{heading: text})
		}
	}
	head(len(d.causes), "What stands in the way")
	for i := range d.causes {
		s.items = append(s.items, readyItem{cause: &d.causes[i]})
	}
	head(len(d.general), "About keys, roles and other shared things")
	for _, alike := range d.general {
		s.items = append(s.items, readyItem{general: alike})
	}
	head(len(d.others), "Risks and notes, which do not decide the verdict")
	for i := range d.others {
		s.items = append(s.items, readyItem{other: &d.others[i]})
	}
	sources := d.silent[:d.silentSources]
	head(len(sources), "Sources that gave no answer")
	for i := range sources {
		s.items = append(s.items, readyItem{silent: &sources[i]})
	}
	s.list.resize(len(s.items), len(s.items))
	s.skipHeading(1)
}

// skipHeading moves the cursor off a heading, on in the direction of travel
// where there is something, else back.
func (s *readinessScreen) skipHeading(by int) {
	for range 2 {
		for i := s.list.cursor; i >= 0 && i < len(s.items); i += by {
			if s.items[i].selectable() {
				s.list.cursor = i
				s.list.settle()
				return
			}
		}
		by = -by
	}
}

func (s *readinessScreen) handle(in intent) (intent, tea.Cmd) {
	if s.text != nil {
		if _, ok := in.(back); ok {
			s.text = nil
			return nil, nil
		}
		s.text.pager.handle(in)
		return nil, nil
	}
	if _, ok := in.(open); ok {
		return s.open(), nil
	}
	was := s.list.cursor
	if s.list.handle(in) {
		by := 1
		if s.list.cursor < was {
			by = -1
		}
		s.skipHeading(by)
	}
	return nil, nil
}

func (s *readinessScreen) open() intent {
	if s.list.cursor >= len(s.items) {
		return nil
	}
	switch it := s.items[s.list.cursor]; {
	case it.cause != nil:
		return setFilter{filter.Term("cause", it.cause.code) + " " + filter.Term("status", it.cause.verdict.String())}
	case it.other != nil:
		return setFilter{filter.Term("finding", it.other.code)}
	case it.general != nil:
		s.text = &textView{title: count(len(it.general), "finding"), lines: func(w int) []string {
			var lines []string
			for i, f := range it.general {
				if i > 0 {
					lines = append(lines, "")
				}
				lines = append(lines, s.findingLines(f, w)...)
			}
			return lines
		}}
	case it.silent != nil:
		s.text = &textView{title: "No answer", lines: func(w int) []string { return s.problemLines(*it.silent, w) }}
	}
	return nil
}

func (s *readinessScreen) next() (what, why string) {
	d := s.data
	switch {
	case s.text != nil:
		return "press esc to go back", "the list of Readiness is there"
	case d == nil && s.loading:
		return "wait a moment", "the latest snapshot is being read"
	case d == nil && s.running():
		return "wait, or look around", "the inventory is running, and its hosts are judged when it ends"
	case d == nil:
		return "press 1 and take the inventory", "there is nothing to judge yet"
	case len(d.rows) == 0:
		return "press i to take the inventory again", "the latest one found no hosts; look at what gave no answer"
	case d.counts.blocked > 0:
		c := d.causes[0]
		return "see to " + c.code + " (enter), or press 5 for a plan", fmt.Sprintf("it stops %s of the %s blocked hosts; a plan mends what it can", thousands(c.hosts), thousands(d.counts.blocked))
	case d.counts.unknown > 0:
		c := d.causes[0]
		return "find out about " + c.code, fmt.Sprintf("%s cannot be judged for it, and unknown never counts as good; then press i", count(c.hosts, "host"))
	}
	if s.course.reached() {
		return "press 6 for what has been reached", "every host is ready, and the plan has come to its end"
	}
	return "press 5 for Cutover", "every host is ready; the plan of the cutover is next"
}

func (s *readinessScreen) view(w, h int) []string {
	d := s.data
	if d == nil {
		text := "There is nothing to judge yet: take the inventory first."
		switch {
		case s.loading:
			text = "Reading the latest snapshot …"
		case s.running():
			text = "The inventory is running. Its hosts are judged when it ends."
		}
		return append([]string{s.title("Readiness", "", w), ""}, s.paintWrapped(s.styles.dim, text, w)...)
	}
	info := d.snap.SnapshotInfo
	right := fmt.Sprintf("snapshot %d, taken %s", info.ID, ago(info.Started, s.now()))
	if s.text != nil {
		return s.text.view(s.env, w, h)
	}
	out := []string{s.title("Readiness", right, w)}
	if h >= 20 {
		out = append(out, "")
	}
	out = append(out, s.viewBar(w)...)
	out = append(out, "")
	strip := s.viewStrip(w, min(5, max(h-len(out)-4, 0)))
	room := h - len(out) - len(strip)
	s.list.resize(len(s.items), room)
	from, to := s.list.window()
	if from > 0 && from == s.list.cursor && !s.items[from-1].selectable() {
		from, to = from-1, to-1 // the first line below a heading brings it along
	}
	for i := from; i < to; i++ {
		out = append(out, s.viewItem(s.items[i], i == s.list.cursor, w))
	}
	for len(out) < h-len(strip) {
		out = append(out, "")
	}
	return append(out, strip...)
}

// viewBar is the share of each verdict, with a pattern of its own for each.
func (s *readinessScreen) viewBar(w int) []string {
	c, n := s.data.counts, len(s.data.rows)
	parts := []struct {
		n     int
		v     fleet.Verdict
		cells string
	}{{c.ready, fleet.VerdictReady, "█"}, {c.blocked, fleet.VerdictBlocked, "▓"}, {c.unknown, fleet.VerdictUnknown, "░"}}
	bar, legend, left, rest := "", "", w, n
	for _, p := range parts {
		style, symbol, word := s.styles.verdict(p.v)
		cells := 0
		if rest > 0 {
			cells = (p.n*left + rest/2) / rest
			if p.n > 0 && cells == 0 {
				cells = 1
			}
		}
		left, rest = left-cells, rest-p.n
		bar += style.Render(strings.Repeat(p.cells, cells))
		legend += style.Render(fmt.Sprintf("%s %s %s", symbol, thousands(p.n), word)) + " " + s.styles.dim.Render(percent(p.n, n)) + "   "
	}
	return []string{bar, cut(legend, w)}
}

// percent is a rounded share, as the report shows it: 0 only for none and 100
// only for all.
func percent(n, of int) string {
	switch n {
	case 0:
		return "0 %"
	case of:
		return "100 %"
	default:
		return fmt.Sprintf("%d %%", min(max((200*n+of)/(2*of), 1), 99))
	}
}

func (s *readinessScreen) viewItem(it readyItem, selected bool, w int) string {
	switch {
	case it.heading != "":
		return s.styles.strong.Render(cut(it.heading, w))
	case it.silent != nil:
		return s.viewProblem(*it.silent, selected, w)
	case it.general != nil:
		first := it.general[0]
		style, symbol := s.styles.severity(first.Severity)
		return s.viewGroup(style, symbol, clean(first.Code), thousands(len(it.general)), clean(first.Title), selected, w)
	case it.cause != nil:
		style, symbol, _ := s.styles.verdict(it.cause.verdict)
		return s.viewGroup(style, symbol, it.cause.code, thousands(it.cause.hosts), it.cause.title(), selected, w)
	}
	style, symbol := s.styles.severity(it.other.severity)
	return s.viewGroup(style, symbol, clean(it.other.code), thousands(it.other.hosts), it.other.title(), selected, w)
}

func (s *readinessScreen) viewGroup(style lipgloss.Style, symbol, code, hosts, title string, selected bool, w int) string {
	plain := s.styles.dim
	if selected {
		plain = lipgloss.NewStyle() // dim text is hard to read on the bar
	}
	on := func(st lipgloss.Style, t string) string { return s.styles.on(selected, st).Render(t) }
	codeW := min(max(w/3, 20), 32)
	numberW := max(len(thousands(len(s.data.rows))), 3)
	return on(style, marker(selected)+symbol+" "+fit(code, codeW)) +
		on(s.styles.strong, strings.Repeat(" ", numberW-len(hosts))+hosts) +
		on(plain, "  "+fit(title, w-codeW-numberW-5))
}

// viewStrip tells more of the selected item in n lines.
func (s *readinessScreen) viewStrip(w, n int) []string {
	if n < 2 || s.list.cursor >= len(s.items) {
		return nil
	}
	lines := []string{s.styles.frame.Render(strings.Repeat("─", w))}
	say := func(label, text string, atMost int) {
		for i, l := range wrapTo(text, w-9, min(atMost, n-len(lines))) {
			if i > 0 {
				label = ""
			}
			lines = append(lines, s.styles.accent.Render(fit(label, 9))+l)
		}
	}
	finding := func(f fleet.Finding) {
		if n > 4 {
			say("What", clean(cmp.Or(f.Title, f.Code)), 1)
		}
		say("Fix", cmp.Or(clean(f.Fix), "none is known"), n-2)
		say("Blast", cmp.Or(clean(f.Blast), "nothing else"), 2)
	}
	switch it := s.items[s.list.cursor]; {
	case it.cause != nil:
		finding(it.cause.sample)
	case it.other != nil:
		finding(it.other.sample)
	case len(it.general) == 1:
		finding(it.general[0])
	case it.general != nil:
		say("Fix", cmp.Or(clean(it.general[0].Fix), "none is known"), n-2)
		say("Blast", "enter shows each of the "+thousands(len(it.general)), 2)
	case it.silent != nil:
		say("Reason", it.silent.reason, n-1)
	}
	for len(lines) < n {
		lines = append(lines, "")
	}
	return lines
}
