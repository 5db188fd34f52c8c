package tui

import (
	"slices"
	"strings"
	"sync/atomic"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
)

// fleetScreen is the table of all hosts. Only arranging looks at every host;
// drawing and moving look at the visible ones.
type fleetScreen struct {
	*env
	look    look
	filter  filter.Filter // what can be read of look.filter
	problem error         // why not all of it can be read
	drilled bool          // the filter came with the operator from another screen

	latest    atomic.Int64 // number of the arrangement that was asked for last
	arranging bool
	table     arrangement // what is shown
	lines     []int32     // of the list: rows, and ^n for the head of group n
	unfolded  map[string]bool
	marks     marks // of table.data

	list   list
	anchor anchor // where the operator moved to last

	typing  typing
	input   line
	before  unfiltered
	picker  *picker
	views   []fleet.View
	host    *hostView // the host that is open; nil: the table
	noPane  bool      // the operator does not want the details beside the table
	pane    hostPane
	visible []placed // the columns drawn last
	tableW  int      // cells of the table drawn last
}

// anchor is a host, or where there is none the head of a group.
type anchor struct{ host, group string }

// unfiltered is what the table showed when a filter began to be typed.
type unfiltered struct {
	filter  string
	drilled bool
	anchor  anchor
	offset  int
	wanted  bool // by the operator, as soon as it is arranged
}

// typing is what is being typed.
type typing int

const (
	typingNothing typing = iota
	typingFilter
	typingName // of a view
)

func (s *fleetScreen) context() keyContext {
	switch {
	case s.picker != nil:
		return ctxPick
	case s.typing == typingFilter:
		return ctxFilter
	case s.typing == typingName:
		return ctxName
	case s.host != nil:
		return ctxHost
	}
	return ctxFleet
}

// loaded does nothing by itself: reload is asked for a command as well.
func (s *fleetScreen) loaded() {}

// reload reads the filter again, for tags that are new, and arranges the new rows.
func (s *fleetScreen) reload() tea.Cmd {
	s.parse()
	return s.arrange()
}

// parse reads the filter. Of one that is wrong the terms that can be read hold.
func (s *fleetScreen) parse() {
	if s.data != nil {
		s.filter, s.problem = s.data.language.Parse(s.look.filter, s.now())
	}
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
		s.host = &hostView{row: r, data: s.table.data}
	}
}

// flatten makes the list's lines from the arrangement and from what is folded,
// and brings the cursor back to where it was.
func (s *fleetScreen) flatten() {
	s.lines = s.table.shown
	if s.table.look.group != (grouping{}) {
		s.lines = make([]int32, 0, len(s.table.groups))
		for n, g := range s.table.groups {
			s.lines = append(s.lines, ^int32(n))
			if s.unfolded[g.name] {
				s.lines = append(s.lines, s.table.shown[g.from:g.to]...)
			}
		}
	}
	at := s.find()
	s.list.cursor = max(at, 0)
	if at < 0 {
		s.list.offset = 0
	}
	if s.before.wanted && !s.arranging {
		s.list.offset, s.before.wanted = s.before.offset, false
	}
	s.list.resize(len(s.lines), s.list.height)
}

// find is the line of the anchor, of its group's head where the group is folded,
// or -1.
func (s *fleetScreen) find() int {
	if s.table.data == nil {
		return -1
	}
	if i, ok := s.table.data.byID[s.anchor.host]; ok && s.anchor.host != "" {
		if at := slices.Index(s.lines, int32(i)); at >= 0 || s.table.look.group == (grouping{}) {
			return at
		}
		s.anchor.group = s.table.look.group.of()(&s.table.data.rows[i])
	}
	return slices.IndexFunc(s.lines, func(l int32) bool { return l < 0 && s.table.groups[^l].name == s.anchor.group })
}

// move moves the cursor, where the intent is about that.
func (s *fleetScreen) move(in intent) {
	if s.list.handle(in) {
		s.settleAnchor()
	}
}

func (s *fleetScreen) settleAnchor() {
	switch r, g := s.current(), s.currentGroup(); {
	case r != nil:
		s.anchor = anchor{host: r.host.ID}
	case g != nil:
		s.anchor = anchor{group: g.name}
	}
}

// line is what is under the cursor; false without anything.
func (s *fleetScreen) line() (int32, bool) {
	if s.list.cursor >= len(s.lines) {
		return 0, false
	}
	return s.lines[s.list.cursor], true
}

// current is the row under the cursor; nil where there is none.
func (s *fleetScreen) current() *row {
	if l, ok := s.line(); ok && l >= 0 {
		return &s.table.data.rows[l]
	}
	return nil
}

// currentGroup is the group whose head is under the cursor; nil elsewhere.
func (s *fleetScreen) currentGroup() *hostGroup {
	if l, ok := s.line(); ok && l < 0 {
		return &s.table.groups[^l]
	}
	return nil
}

// setLook changes what is to be seen. Until it is arranged the table stays.
func (s *fleetScreen) setLook(l look) tea.Cmd {
	if l == s.look {
		return nil
	}
	if l.group != s.look.group {
		s.unfolded = nil
	}
	s.look = l
	s.parse()
	return s.arrange()
}

func (s *fleetScreen) setFilter(text string) tea.Cmd {
	l := s.look
	l.filter = text
	if l != s.look {
		s.drilled = false
	}
	return s.setLook(l)
}

func (s *fleetScreen) handle(in intent) (intent, tea.Cmd) {
	if in, ok := in.(setFilter); ok {
		return nil, s.drill(in.text)
	}
	switch {
	case s.picker != nil:
		return nil, s.handlePicker(in)
	case s.typing != typingNothing:
		return nil, s.handleTyping(in)
	case s.host != nil:
		s.handleHost(in)
		return nil, nil
	}
	switch in := in.(type) {
	case open:
		s.open()
	case editFilter:
		s.typing = typingFilter
		s.before = unfiltered{filter: s.look.filter, drilled: s.drilled, anchor: s.anchor, offset: s.list.offset}
		s.input.set(s.look.filter)
		if s.look.filter != "" {
			s.input.insert(" ") // what is typed is a term of its own
		}
	case back:
		leave := s.look.filter == "" || s.drilled
		cmd := s.setFilter("")
		if leave {
			return back{}, cmd
		}
		return nil, cmd
	case nextSort:
		return nil, s.sortBy(s.sortAfter(), s.look.reverse)
	case flipSort:
		return nil, s.sortBy(s.look.sort, !s.look.reverse)
	case groupHosts:
		s.pickGrouping()
	case showViews:
		s.pickView()
	case nameView:
		s.typing = typingName
		s.input.set("")
	case mark, markAll, markNone:
		s.mark(in)
	case showCommands:
		s.pickCommand()
	case togglePane:
		s.noPane = !s.noPane
	default:
		s.move(in)
	}
	return nil, nil
}

// drill shows the hosts that another screen is about, from the first.
func (s *fleetScreen) drill(text string) tea.Cmd {
	s.anchor, s.list.cursor, s.host, s.picker, s.typing = anchor{}, 0, nil, nil, typingNothing
	l := s.look
	l.filter, l.group = text, grouping{}
	cmd := s.setLook(l)
	s.drilled = true
	return cmd
}

func (s *fleetScreen) sortBy(c column, reverse bool) tea.Cmd {
	l := s.look
	l.sort, l.reverse = c, reverse
	return s.setLook(l)
}

// open shows the host under the cursor, or the hosts of the group.
func (s *fleetScreen) open() {
	if r := s.current(); r != nil {
		s.host = &hostView{row: r, data: s.table.data}
	}
	if g := s.currentGroup(); g != nil {
		if s.unfolded == nil {
			s.unfolded = map[string]bool{}
		}
		s.unfolded[g.name] = !s.unfolded[g.name]
		s.anchor = anchor{group: g.name}
		s.flatten()
	}
}

// mark changes the marks. On the head of a group it is about all its hosts.
func (s *fleetScreen) mark(in intent) {
	n := 0
	if s.table.data != nil {
		n = len(s.table.data.rows)
	}
	switch in.(type) {
	case markAll:
		s.marks.turn(s.table.shown, n)
	case markNone:
		s.marks = marks{}
	case mark:
		if g := s.currentGroup(); g != nil {
			s.marks.turn(s.table.shown[g.from:g.to], n)
		} else if l, ok := s.line(); ok {
			s.marks.turn([]int32{l}, n)
		}
		s.move(move{1})
	}
}

func (s *fleetScreen) handleTyping(in intent) tea.Cmd {
	was := s.typing
	switch in := in.(type) {
	case typed:
		s.input.insert(in.text)
	case edit:
		s.input.edit(in.op)
	case complete:
		s.complete()
	case open:
		if was == typingFilter && s.problem != nil {
			return nil // what cannot be read cannot be kept
		}
		s.typing = typingNothing
		if was == typingName {
			return s.saveView(strings.TrimSpace(string(s.input.text)))
		}
	case back:
		s.typing = typingNothing
		s.input.set("")
		if was == typingFilter {
			return s.unfilter()
		}
	default:
		s.move(in)
	}
	if was == typingName {
		return nil
	}
	text := strings.TrimRight(string(s.input.text), " ")
	if start, found := s.completions(1); s.typing == typingFilter && len(found) > 0 && s.input.pos == len(s.input.text) {
		text = strings.TrimRight(text[:len(text)-len(start)], " -") // it may become a key: the table does not jump meanwhile
	}
	return s.setFilter(text)
}

// unfilter shows again what the table showed before a filter was typed.
func (s *fleetScreen) unfilter() tea.Cmd {
	s.anchor, s.before.wanted = s.before.anchor, true
	cmd := s.setFilter(s.before.filter)
	s.drilled = s.before.drilled
	if !s.arranging {
		s.flatten()
	}
	return cmd
}

// complete ends the key that is being typed, where only one begins like it.
func (s *fleetScreen) complete() {
	start, found := s.completions(2)
	if len(found) == 1 {
		s.input.insert(found[0][len(start):] + "=")
	}
}

// completions are keys that begin like the word before the cursor.
func (s *fleetScreen) completions(n int) (start string, found []string) {
	text := string(s.input.text[:s.input.pos])
	start = strings.TrimPrefix(text[strings.LastIndexByte(text, ' ')+1:], "-")
	if start == "" || s.data == nil || strings.ContainsAny(start, `"=:<>`) {
		return start, nil
	}
	return start, s.data.language.Completions(start, n)
}

func (s *fleetScreen) handleHost(in intent) {
	switch in := in.(type) {
	case back:
		s.host = nil
	case nextHost:
		s.nextHost(in.by)
	default:
		s.host.pager.handle(in)
	}
}

// nextHost opens the next host of the table, past the heads of groups.
func (s *fleetScreen) nextHost(by int) {
	for i := s.list.cursor + by; i >= 0 && i < len(s.lines); i += by {
		if s.lines[i] >= 0 {
			s.move(move{i - s.list.cursor})
			s.host = &hostView{row: s.current(), data: s.table.data}
			return
		}
	}
}

// sortAfter is the visible column after the one that is sorted by.
func (s *fleetScreen) sortAfter() column {
	if len(s.visible) == 0 {
		return colVerdict
	}
	i := slices.IndexFunc(s.visible, func(p placed) bool { return p.column == s.look.sort })
	return s.visible[(i+1)%len(s.visible)].column
}
