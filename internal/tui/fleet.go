package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
)

// fleetScreen is the table of all hosts. Only filtering and sorting look at
// every host; drawing and moving look at the visible ones.
type fleetScreen struct {
	*env
	list       list
	anchor     string  // ID of the host that the operator moved to last
	order      []int32 // all rows, sorted
	shown      []int32 // those of order that pass the filter
	sort       column
	reverse    bool
	filterText string
	filter     filter
	drilled    bool // the filter came with the operator from another screen
	input      line
	typingNow  bool
	host       *hostView // the host that is open; nil: the table
	visible    []placed  // the columns drawn last
}

func (s *fleetScreen) context() keyContext {
	switch {
	case s.typingNow:
		return ctxFilter
	case s.host != nil:
		return ctxHost
	}
	return ctxFleet
}

func (s *fleetScreen) loaded() {
	s.order, s.shown = nil, nil
	if s.data != nil {
		s.order = make([]int32, len(s.data.rows))
		for i := range s.order {
			s.order[i] = int32(i)
		}
	}
	s.resort()
	s.reopen()
}

// reopen shows the open host as the new data tells of it, or closes it when
// the new data does not know it.
func (s *fleetScreen) reopen() {
	if s.host == nil {
		return
	}
	id := s.host.row.host.ID
	s.host = nil
	if r := s.current(); r != nil && r.host.ID == id {
		s.host = &hostView{row: r, data: s.data}
	}
}

// move moves the cursor, where the intent is about that.
func (s *fleetScreen) move(in intent) {
	if s.list.handle(in) {
		if r := s.current(); r != nil {
			s.anchor = r.host.ID
		}
	}
}

// current is the row under the cursor; nil without one.
func (s *fleetScreen) current() *row {
	if s.data == nil || s.list.cursor >= len(s.shown) {
		return nil
	}
	i := s.shown[s.list.cursor]
	if int(i) >= len(s.data.rows) {
		return nil
	}
	return &s.data.rows[i]
}

func (s *fleetScreen) resort() {
	rows := []row(nil)
	if s.data != nil {
		rows = s.data.rows
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		c := compareRows(s.sort, &rows[a], &rows[b])
		if s.reverse {
			return -c
		}
		return c
	})
	s.refilter()
}

// refilter keeps the cursor on its host as long as that passes the filter,
// and brings it back there when it passes again.
func (s *fleetScreen) refilter() {
	s.filter = parseFilter(s.filterText)
	s.shown = s.shown[:0]
	for _, i := range s.order {
		if s.filter.match(&s.data.rows[i]) {
			s.shown = append(s.shown, i)
		}
	}
	at := slices.IndexFunc(s.shown, func(i int32) bool { return s.data.rows[i].host.ID == s.anchor })
	s.list.cursor = max(at, 0)
	if at < 0 {
		s.list.offset = 0
	}
	s.list.resize(len(s.shown), s.list.height)
}

func (s *fleetScreen) setText(text string) {
	if text == s.filterText {
		return
	}
	s.filterText, s.drilled = text, false
	s.refilter()
}

func (s *fleetScreen) handle(in intent) (intent, tea.Cmd) {
	switch {
	case s.typingNow:
		s.handleTyping(in)
		return nil, nil
	case s.host != nil:
		s.handleHost(in)
		return nil, nil
	}
	switch in := in.(type) {
	case open:
		if r := s.current(); r != nil {
			s.host = &hostView{row: r, data: s.data}
		}
	case editFilter:
		s.typingNow = true
		s.input.set(s.filterText)
		if s.filterText != "" {
			s.input.insert(" ") // what is typed is a term of its own
		}
	case setFilter:
		s.setText(in.text)
		s.move(toEdge{})
		s.drilled = true
	case back:
		leave := s.filterText == "" || s.drilled
		s.setText("")
		if leave {
			return back{}, nil
		}
	case nextSort:
		s.sort = s.sortAfter()
		s.resort()
	case flipSort:
		s.reverse = !s.reverse
		slices.Reverse(s.order) // no two rows are equal
		s.refilter()
	default:
		s.move(in)
	}
	return nil, nil
}

func (s *fleetScreen) handleTyping(in intent) {
	switch in := in.(type) {
	case typed:
		s.input.insert(in.text)
	case edit:
		s.input.edit(in.op)
	case open:
		s.typingNow = false
	case back:
		s.typingNow = false
		s.input.set("")
	default:
		s.move(in)
	}
	s.setText(strings.TrimRight(string(s.input.text), " "))
}

func (s *fleetScreen) handleHost(in intent) {
	switch in := in.(type) {
	case back:
		s.host = nil
	case nextHost:
		s.move(move(in))
		if r := s.current(); r != nil && r != s.host.row {
			s.host = &hostView{row: r, data: s.data}
		}
	default:
		s.host.pager.handle(in)
	}
}

// sortAfter is the visible column after the one that is sorted by.
func (s *fleetScreen) sortAfter() column {
	if len(s.visible) == 0 {
		return colVerdict
	}
	i := slices.IndexFunc(s.visible, func(p placed) bool { return p.column == s.sort })
	return s.visible[(i+1)%len(s.visible)].column
}

func (s *fleetScreen) next() (what, why string) {
	switch {
	case s.data == nil && s.loading:
		return "wait a moment", "the latest snapshot is being read"
	case s.data == nil:
		return "press 1 and take the inventory", "no host is known yet"
	case s.typingNow:
		return "type, then press enter", "the table follows as you type; status:blocked, az=eu-west-1a, team=web and -word narrow it"
	case s.host != nil:
		return s.nextForHost()
	case len(s.shown) == 0 && len(s.data.rows) > 0:
		return "press esc to drop the filter", "no host passes it"
	case s.drilled:
		return "press enter on a host", "it shows the evidence, the fix and its blast radius; esc goes back to Readiness"
	case s.filterText != "":
		return "press enter on a host", "it shows the evidence, the fix and its blast radius; esc shows all hosts again"
	}
	return "press enter on a host, or / to narrow the table", "a host's page has the evidence, the fix and its blast radius"
}

func (s *fleetScreen) nextForHost() (what, why string) {
	r := s.host.row
	switch {
	case r.verdict == fleet.VerdictBlocked && r.cause != "":
		return "fix " + r.cause + " first", "it blocks this host; the finding has the fix, how to undo it and its blast radius"
	case r.cause != "":
		return "find out about " + r.cause + " first", "without that the host cannot be judged, and unknown never counts as good"
	case len(r.findings) > 0:
		return "look at " + clean(r.findings[0].Code), "it does not stop Session Manager, but should be known before the move"
	}
	return "press esc for the table", "nothing was found against this host"
}

func (s *fleetScreen) view(w, h int) []string {
	if s.data == nil {
		text := "No host is known yet: take the inventory first."
		if s.loading {
			text = "Reading the latest snapshot …"
		}
		return append([]string{s.title("Fleet", "", w), ""}, s.paintWrapped(s.styles.dim, text, w)...)
	}
	if s.host != nil {
		return s.host.view(s.env, s.position(), w, h)
	}
	s.visible = layout(s.data.widths, w-1)
	s.list.resize(len(s.shown), h-4)
	from, to := s.list.window()
	out := []string{s.viewHead(from, to, w), s.viewFilter(w), s.viewTitles()}
	for i := from; i < to; i++ {
		out = append(out, s.viewRow(&s.data.rows[s.shown[i]], i == s.list.cursor))
	}
	if len(s.shown) == 0 {
		text := "No host passes the filter."
		if len(s.data.rows) == 0 {
			text = "The latest inventory found no hosts."
		}
		out = append(out, s.styles.dim.Render(text))
	}
	for len(out) < h-1 {
		out = append(out, "")
	}
	return append(out, s.viewCurrent(w))
}

// position tells where the open host is in the table.
func (s *fleetScreen) position() string {
	return fmt.Sprintf("host %s of %s", thousands(s.list.cursor+1), thousands(len(s.shown)))
}

func (s *fleetScreen) viewHead(from, to, w int) string {
	n := count(len(s.shown), "host")
	if len(s.shown) != len(s.data.rows) {
		n = fmt.Sprintf("%s of %s", thousands(len(s.shown)), count(len(s.data.rows), "host"))
	}
	right := more(from, to, len(s.shown))
	if !slices.ContainsFunc(s.visible, func(p placed) bool { return p.column == s.sort }) {
		right = strings.TrimLeft("by "+strings.ToLower(columns[s.sort].title)+"  "+right, " ")
	}
	return s.title("Fleet: "+n, right, w)
}

func (s *fleetScreen) viewFilter(w int) string {
	switch {
	case s.typingNow:
		return s.styles.accent.Bold(true).Render("/ ") + s.input.view(w-2, s.styles.text, s.styles.cursor)
	case s.filterText != "":
		return s.styles.accent.Render(cut("/ "+clean(s.filterText), w))
	}
	return ""
}

func (s *fleetScreen) viewTitles() string {
	var b strings.Builder
	for _, p := range s.visible {
		title, style := columns[p.column].title, s.styles.dim
		if p.column == s.sort {
			style = s.styles.accent.Bold(true)
			title = cut(title, p.width-1) + map[bool]string{false: "▾", true: "▴"}[s.reverse]
		}
		b.WriteString(" " + style.Render(p.align(title)))
	}
	return b.String()
}

func (s *fleetScreen) viewRow(r *row, selected bool) string {
	style, _, _ := s.styles.verdict(r.verdict)
	var rest strings.Builder
	first := marker(selected)
	for i, p := range s.visible {
		cell := p.align(columns[p.column].cell(r))
		if i == 0 {
			first += cell
			continue
		}
		rest.WriteString(" " + cell)
	}
	return s.styles.on(selected, style).Render(first) + s.styles.on(selected, s.styles.text).Render(rest.String())
}

// viewCurrent tells of the selected host what the columns have no room for.
func (s *fleetScreen) viewCurrent(w int) string {
	r := s.current()
	if r == nil {
		return ""
	}
	parts := []string{}
	for _, c := range []column{colID, colIP, colAgent, colOS, colVPC, colState, colType, colASG, colKeys} {
		if slices.ContainsFunc(s.visible, func(p placed) bool { return p.column == c }) {
			continue
		}
		text := columns[c].cell(r)
		switch c {
		case colAgent:
			text = "agent " + text
		case colKeys:
			text += " keys"
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return s.styles.dim.Render(cut(strings.Join(parts, " · "), w))
}
