package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
)

// markW is what stands before a row: the cursor and the mark.
const markW = 2

func (s *fleetScreen) next() (what, why string) {
	switch {
	case s.data == nil && s.loading:
		return "wait a moment", "the latest snapshot is being read"
	case s.data == nil:
		return "press 1 and take the inventory", "no host is known yet"
	case s.picker != nil:
		return s.picker.why[0], s.picker.why[1]
	case s.typing == typingName:
		return "type a name for what the table shows, then press enter", "filter, order and groups are kept under it; a view of the same name is replaced"
	case s.problem != nil:
		return "change the filter", strings.TrimSuffix(clean(s.problem.Error()), ".")
	case s.typing == typingFilter:
		return "type, then press enter", "the table follows as you type; status:blocked, az=eu-west-1a, team=web and -word narrow it"
	case s.host != nil:
		return s.nextForHost()
	case s.arranging:
		return "wait a moment", "the hosts are being put in order"
	case len(s.lines) == 0 && s.look.filter != "":
		return "press esc to drop the filter", "no host passes it"
	case s.currentGroup() != nil:
		fold := map[bool]string{false: "unfold", true: "fold"}[s.unfolded[s.currentGroup().name]]
		return "press enter to " + fold + " the group, or o for other groups", "space marks all hosts of it"
	case s.marks.n > 0:
		return "press x for the commands, or mark more by space", fmt.Sprintf("%s; a filter leaves marks as they are, u takes them away", counted(s.marks.n, "host is marked", "hosts are marked"))
	case s.drilled:
		return "press enter on a host", "it shows the evidence, the fix and its blast radius; esc goes back to Readiness"
	case s.look.filter != "":
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
	switch {
	case s.data == nil:
		text := "No host is known yet: take the inventory first."
		if s.loading {
			text = "Reading the latest snapshot …"
		}
		return append([]string{s.title("Fleet", "", w), ""}, s.paintWrapped(s.styles.dim, text, w)...)
	case s.table.data == nil:
		return append([]string{s.title("Fleet", "", w), ""}, s.paintWrapped(s.styles.dim, "Putting the hosts in order …", w)...)
	case s.picker != nil:
		return s.picker.view(s.env, w, h)
	case s.host != nil:
		return s.host.view(s.env, s.position(), w, h)
	}
	s.tableW = w
	if !s.noPane && w >= paneFrom {
		s.tableW = min(max(w/2, 76), 120)
	}
	out := s.viewTable(s.tableW, h)
	if s.tableW == w {
		return out
	}
	bar := s.styles.frame.Render("│")
	side := s.pane.view(s.env, s, w-s.tableW-3, h)
	for i := range out {
		out[i] = fit(out[i], s.tableW) + " " + bar + " " + side[i]
	}
	return out
}

func (s *fleetScreen) viewTable(w, h int) []string {
	s.visible = layout(s.table.data.widths, w-markW)
	s.list.resize(len(s.lines), h-4)
	from, to := s.list.window()
	out := []string{s.viewHead(from, to, w), s.viewFilter(w), s.viewTitles()}
	for i := from; i < to; i++ {
		if l := s.lines[i]; l < 0 {
			out = append(out, s.viewGroup(&s.table.groups[^l], i == s.list.cursor, w))
		} else {
			out = append(out, s.viewRow(&s.table.data.rows[l], s.marks.has(l), i == s.list.cursor))
		}
	}
	if len(s.lines) == 0 {
		text := "No host passes the filter."
		if len(s.table.data.rows) == 0 {
			text = "The latest inventory found no hosts."
		}
		out = append(out, s.styles.dim.Render(text))
	}
	for len(out) < h-1 {
		out = append(out, "")
	}
	return append(out, s.viewFoot(w))
}

// position tells where the open host is in the table.
func (s *fleetScreen) position() string {
	if s.table.look.group == (grouping{}) {
		return fmt.Sprintf("host %s of %s", thousands(s.list.cursor+1), thousands(len(s.lines)))
	}
	l, _ := s.line()
	return fmt.Sprintf("host %s of %s", thousands(slices.Index(s.table.shown, l)+1), thousands(len(s.table.shown)))
}

func (s *fleetScreen) viewHead(from, to, w int) string {
	n := count(len(s.table.shown), "host")
	if all := len(s.table.data.rows); len(s.table.shown) != all {
		n = fmt.Sprintf("%s of %s", thousands(len(s.table.shown)), count(all, "host"))
	}
	if s.table.look.group != (grouping{}) {
		n += fmt.Sprintf(" in %s by %s", count(len(s.table.groups), "group"), clean(s.table.look.group.String()))
	}
	if s.marks.n > 0 {
		n += fmt.Sprintf(", %s marked", thousands(s.marks.n))
		if away := s.marks.n - s.marks.among(s.table.shown); away > 0 {
			n += fmt.Sprintf(" (%s not shown)", thousands(away))
		}
	}
	right := more(from, to, len(s.lines))
	if by := s.table.look.sort; !slices.ContainsFunc(s.visible, func(p placed) bool { return p.column == by }) {
		right = strings.TrimRight("by "+columnNames[by]+"  "+right, " ")
	}
	if s.arranging {
		right = "arranging …"
	}
	return s.title("Fleet: "+n, right, w)
}

func (s *fleetScreen) viewFilter(w int) string {
	ink, sign := s.styles.accent, "/ "
	if s.problem != nil {
		ink, sign = s.styles.blocked, "✗ "
	}
	switch {
	case s.typing == typingFilter:
		return ink.Bold(true).Render(sign) + s.input.view(w-2, s.styles.text, s.styles.cursor)
	case s.typing == typingName:
		const label = "Name of this view: "
		return s.styles.accent.Bold(true).Render(label) + s.input.view(w-len(label), s.styles.text, s.styles.cursor)
	case s.look.filter != "":
		return ink.Render(cut(sign+clean(s.look.filter), w))
	}
	return ""
}

func (s *fleetScreen) viewTitles() string {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", markW-1))
	for _, p := range s.visible {
		title, style := columns[p.column].title, s.styles.dim
		if p.column == s.table.look.sort {
			style = s.styles.accent.Bold(true)
			title = cut(title, p.width-1) + map[bool]string{false: "▾", true: "▴"}[s.table.look.reverse]
		}
		b.WriteString(" " + style.Render(p.align(title)))
	}
	return b.String()
}

// before is the cursor and the mark of a line.
func before(selected bool, mark string) string { return marker(selected) + mark }

func (s *fleetScreen) viewRow(r *row, marked, selected bool) string {
	style, _, _ := s.styles.verdict(r.verdict)
	var rest strings.Builder
	first := before(selected, map[bool]string{false: " ", true: "*"}[marked])
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

// viewGroup is the head of a group: its name, its hosts, and how they stand.
func (s *fleetScreen) viewGroup(g *hostGroup, selected bool, w int) string {
	sign := map[bool]string{false: "+ ", true: "- "}[s.unfolded[g.name]]
	mark := " "
	if n := s.marks.among(s.table.shown[g.from:g.to]); n == g.hosts() {
		mark = "*"
	} else if n > 0 {
		mark = "~" // some
	}
	name := g.name
	if name == "" {
		name = "(none)"
	}
	on := s.styles.on
	tail, tailW := "", 0
	for _, v := range []fleet.Verdict{fleet.VerdictBlocked, fleet.VerdictUnknown, fleet.VerdictReady} {
		style, symbol, _ := s.styles.verdict(v)
		cell := "  "
		if g.verdicts[v] > 0 {
			cell += symbol + " " + thousands(g.verdicts[v])
		}
		tail += on(selected, style).Render(fit(cell, 11))
		tailW += 11
	}
	hosts := fmt.Sprintf(" %14s", count(g.hosts(), "host"))
	return on(selected, s.styles.strong).Render(before(selected, mark)+sign+fit(name, min(w-markW-2-width(hosts)-tailW, 48))+hosts) + tail
}

// viewFoot tells why the filter cannot be read, which keys begin like what is
// being typed, or of the selected host what the columns have no room for.
func (s *fleetScreen) viewFoot(w int) string {
	if s.problem != nil {
		return s.styles.blocked.Render(cut("✗ "+clean(s.problem.Error()), w))
	}
	if s.typing == typingFilter {
		if _, found := s.completions(6); len(found) > 0 {
			return s.styles.dim.Render(cut("tab completes: "+clean(strings.Join(found, "= "))+"=", w))
		}
	}
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

// Lines above the first row.
const tableTop = 3

// click acts on a place in the screen, told from its top left: a title sorts, a
// line is selected, and opened when it was selected already.
func (s *fleetScreen) click(x, y int) tea.Cmd {
	if s.picker != nil || s.host != nil || s.table.data == nil || x >= s.tableW {
		return nil
	}
	if y == tableTop-1 {
		at := markW
		for _, p := range s.visible {
			if x >= at && x < at+p.width {
				return s.sortBy(p.column, p.column == s.look.sort && !s.look.reverse)
			}
			at += p.width + 1
		}
		return nil
	}
	from, to := s.list.window()
	at := from + y - tableTop
	switch {
	case y < tableTop || at >= to:
	case at == s.list.cursor:
		s.open()
	default:
		s.list.cursor = at
		s.list.settle()
		s.settleAnchor()
	}
	return nil
}
