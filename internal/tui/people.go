package tui

import (
	"cmp"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// table is a list of things about people: consumers of SSH, people with
// access, operators. What all its rows need is prepared when data is loaded.
type table struct {
	name    string // of the pane
	summary string
	short   string // summary for where that has no room
	empty   string // what is said without rows
	columns []tableColumn
	rows    []tableRow
}

// tableColumn is shown where there is room for it and all before it in need.
type tableColumn struct {
	title  string
	width  int // 0: what the others leave
	number bool
	need   int // 0 is always shown; higher numbers go first
}

type tableRow struct {
	cells  []string // clean, one for each column
	tone   tone
	symbol string
	detail func(s *sheet)
	strip  [2]string // what the row's detail says in short: a label and a text
	next   [2]string // what to do about the row, and why
}

// tone says what a row means for the move.
type tone int

const (
	toneQuiet tone = iota
	toneGood
	toneDoubt
	toneBad
)

func (s *styles) tone(t tone) lipgloss.Style {
	switch t {
	case toneGood:
		return s.ready
	case toneDoubt:
		return s.unknown
	case toneBad:
		return s.blocked
	case toneQuiet:
	}
	return s.text
}

// peopleScreen shows one or more tables, one at a time.
type peopleScreen struct {
	*env
	head   string
	pick   func(*data) []table
	advice func(*peopleScreen) (what, why string)
	tables []table
	at     int
	list   list
	text   *textView
	opened *tableRow // what text shows
}

func (s *peopleScreen) context() keyContext {
	switch {
	case s.text != nil:
		return ctxText
	case len(s.tables) > 1:
		return ctxTables
	}
	return ctxTable
}

func (s *peopleScreen) loaded() {
	s.tables, s.at, s.list, s.text = nil, 0, list{}, nil
	if s.data != nil {
		s.tables = s.pick(s.data)
	}
}

func (s *peopleScreen) table() *table {
	if s.at >= len(s.tables) {
		return &table{}
	}
	return &s.tables[s.at]
}

func (s *peopleScreen) handle(in intent) (intent, tea.Cmd) {
	if s.text != nil {
		if _, ok := in.(back); ok {
			s.text = nil
		} else {
			s.text.pager.handle(in)
		}
		return nil, nil
	}
	switch in.(type) {
	case open:
		s.open()
	case nextPane:
		s.at = (s.at + 1) % max(len(s.tables), 1)
		s.list = list{}
	case back:
		return back{}, nil
	default:
		s.list.handle(in)
	}
	return nil, nil
}

func (s *peopleScreen) open() {
	rows := s.table().rows
	if s.list.cursor >= len(rows) {
		return
	}
	r := rows[s.list.cursor]
	s.opened = &r
	s.text = &textView{title: cmp.Or(r.cells[0], s.table().name), lines: func(w int) []string {
		sh := &sheet{env: s.env, w: w}
		r.detail(sh)
		return sh.lines
	}}
}

func (s *peopleScreen) next() (what, why string) {
	switch {
	case s.text != nil && s.opened != nil && s.opened.next[0] != "":
		return s.opened.next[0], s.opened.next[1]
	case s.text != nil:
		return "press esc to go back", "the table is there"
	case s.data == nil && s.loading:
		return "wait a moment", "the latest snapshot is being read"
	case s.data == nil:
		return "press 1 and take the inventory", "nobody is known yet"
	}
	return s.advice(s)
}

func (s *peopleScreen) view(w, h int) []string {
	switch {
	case s.data == nil && s.loading:
		return append([]string{s.title(s.head, "", w), ""}, s.paintWrapped(s.styles.dim, "Reading the latest snapshot …", w)...)
	case s.data == nil:
		return append([]string{s.title(s.head, "", w), ""}, s.paintWrapped(s.styles.dim, "Nobody is known yet: take the inventory first.", w)...)
	case s.text != nil:
		return s.text.view(s.env, w, h)
	}
	t := s.table()
	summary := t.summary
	if width(summary) > w {
		summary = t.short
	}
	const foot = 3
	s.list.resize(len(t.rows), h-4-foot)
	from, to := s.list.window()
	out := []string{s.title(s.heading(), more(from, to, len(t.rows)), w), s.styles.dim.Render(cut(summary, w))}
	if len(t.rows) == 0 {
		return append(append(out, ""), s.paintWrapped(s.styles.dim, t.empty, w)...)
	}
	widths := t.layout(w - 3)
	out = append(out, "", "   "+s.styles.dim.Render(t.line(widths, func(i int) string { return t.columns[i].title })))
	for i := from; i < to; i++ {
		r := t.rows[i]
		here := i == s.list.cursor
		out = append(out, s.styles.on(here, s.styles.tone(r.tone)).Render(marker(here)+r.symbol+" ")+
			s.styles.on(here, s.styles.text).Render(t.line(widths, func(c int) string { return r.cells[c] })))
	}
	for len(out) < h-foot {
		out = append(out, "")
	}
	return append(out, s.viewFoot(w, foot)...)
}

// heading names the screen and, with several tables, the one that is shown.
func (s *peopleScreen) heading() string {
	if len(s.tables) < 2 {
		return s.head
	}
	return s.head + ": " + s.table().name
}

// viewFoot tells more of the selected row in n lines.
func (s *peopleScreen) viewFoot(w, n int) []string {
	out := []string{s.styles.frame.Render(strings.Repeat("─", w))}
	if rows := s.table().rows; s.list.cursor < len(rows) {
		strip := rows[s.list.cursor].strip
		label := strip[0]
		for i, l := range wrapTo(strip[1], w-9, n-1) {
			if i > 0 {
				label = ""
			}
			out = append(out, s.styles.accent.Render(fit(label, 9))+l)
		}
	}
	for len(out) < n {
		out = append(out, "")
	}
	return out
}

// layout gives each column its width; 0 hides it. Columns that are needed
// least go until the one without a width of its own has room.
func (t *table) layout(w int) []int {
	const least = 16
	for need := 9; ; need-- {
		widths := make([]int, len(t.columns))
		room, flexible := w, -1
		for i, c := range t.columns {
			switch {
			case c.need > need:
				continue
			case c.width == 0:
				flexible = i
			default:
				widths[i] = c.width
				room -= c.width
			}
			room--
		}
		if flexible >= 0 && (room >= least || need == 0) {
			widths[flexible] = max(room, 1)
			return widths
		}
		if need == 0 {
			return widths
		}
	}
}

func (t *table) line(widths []int, cell func(int) string) string {
	var parts []string
	for i, w := range widths {
		if w == 0 {
			continue
		}
		text := cell(i)
		if n := width(text); t.columns[i].number && n < w {
			text = strings.Repeat(" ", w-n) + text
		}
		parts = append(parts, fit(text, w))
	}
	return strings.Join(parts, " ")
}
