package tui

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
)

func (v *planEditor) context() keyContext {
	switch {
	case v.preview:
		return ctxEditPreview
	case v.typing == editFilterLine:
		return ctxEditFilter
	case v.typing == editNumber:
		return ctxEditNumber
	}
	return ctxEdit
}

func (v *planEditor) next() (what, why string) {
	switch {
	case v.saving:
		return "wait a moment", "the plan is being stored"
	case v.preview:
		return "press enter to store the new plan, or esc to go on", "that changes nothing in the fleet, and the old plan stays"
	case v.typing == editNumber:
		return "type the wave's number, then press enter", "esc does nothing"
	case v.typing == editFilterLine:
		return "type a filter, then press enter", "it hides hosts and moves none"
	case v.wanted:
		return "wait a moment", "the planner makes the new plan"
	case v.fresh() != nil && v.fresh().err != nil:
		return "move the hosts otherwise", "the planner refuses: " + clean(v.fresh().err.Error())
	case v.moved > 0:
		return "press enter for the preview", "the planner says what comes of it; nothing is stored before that"
	}
	return "move hosts with J and K, or to a wave by its number", "space marks several; on a wave's line all of it moves"
}

func (v *planEditor) view(w, h int) []string {
	if v.preview {
		return v.viewPreview(w, h)
	}
	right := "nothing moved"
	if v.moved > 0 {
		right = count(v.moved, "host") + " moved"
	}
	if v.marks > 0 {
		right += ", " + thousands(v.marks) + " marked"
	}
	out := []string{v.title("Waves of plan "+clean(v.plan.ID), right, w), v.viewLine(w)}
	columns := v.columns(w)
	foot := v.foot(w)
	v.rows = max(h-len(out)-1-len(foot), 1)
	v.list.resize(len(v.lines), v.rows)
	from, to := v.list.window()
	head := "     "
	for i, c := range columns {
		title := c.title
		if i == 0 {
			title = join(" ", title, more(from, to, len(v.lines)))
		}
		head += fit(title, c.width) + " "
	}
	out = append(out, v.styles.dim.Render(fit(head, w)))
	for i := from; i < to; i++ {
		if l := v.lines[i]; l < 0 {
			out = append(out, v.viewHead(int(^l), i == v.list.cursor, w))
		} else {
			out = append(out, v.viewHost(l, i == v.list.cursor, columns, w))
		}
	}
	for len(out) < h-len(foot) {
		out = append(out, "")
	}
	return append(out, foot...)
}

// viewLine is what is typed, else the filter.
func (v *planEditor) viewLine(w int) string {
	s := v.styles
	label := ""
	switch v.typing {
	case editNumber:
		what := count(len(v.chosen()), "host")
		if l, ok := v.line(); ok && l >= 0 && v.marks == 0 {
			what = cut(v.hosts[l].name, w/3)
		}
		label = fmt.Sprintf("%s to wave (%d to %d): ", what, v.first, v.number(len(v.waves)-1))
	case editFilterLine:
		label = "/ "
	case editNothing:
		if v.filter != "" {
			return s.accent.Render(fit("/ "+clean(v.filter), w))
		}
		return ""
	}
	room := w - width(label)
	line := s.accent.Bold(true).Render(label)
	if v.wrong == "" {
		return fit(line+v.input.view(room, s.text, s.cursor), w)
	}
	wrong := cut("  "+v.wrong, room*2/3)
	return fit(line+v.input.view(room-width(wrong), s.text, s.cursor)+s.blocked.Render(wrong), w)
}

// editColumn is one column of the hosts.
type editColumn struct {
	title string
	width int
	cell  func(v *planEditor, i int32) string
}

// columns are those for which there is room; the first takes what is left.
func (v *planEditor) columns(w int) []editColumn {
	all := []struct {
		editColumn
		from int // least width
	}{
		{editColumn{"WAS IN", 10, func(v *planEditor, i int32) string {
			if v.at[i] != v.from[i] {
				return fmt.Sprintf("wave %d", v.number(int(v.from[i])))
			}
			return ""
		}}, 0},
		{editColumn{"CLOSES", 13, func(v *planEditor, i int32) string { return v.hosts[i].closes }}, 0},
		{editColumn{"ZONE", 12, func(v *planEditor, i int32) string { return v.hosts[i].zone }}, 56},
		{editColumn{"ID", 19, func(v *planEditor, i int32) string { return v.hosts[i].id }}, 80},
		{editColumn{"AUTO SCALING GROUP", 24, func(v *planEditor, i int32) string { return v.hosts[i].group }}, 105},
	}
	name := editColumn{"HOST", w - 6, func(v *planEditor, i int32) string { return v.hosts[i].name }}
	out := []editColumn{name}
	for _, c := range all {
		if w >= c.from {
			out = append(out, c.editColumn)
			out[0].width -= c.width + 1
		}
	}
	out[0].width = min(max(out[0].width, 10), 44)
	return out
}

func (v *planEditor) viewHead(wave int, here bool, w int) string {
	s, e := v.styles, v.waves[wave]
	text := upperFirst(e.name) + ": " + count(e.now, "host")
	if e.now != e.was {
		text += ", was " + thousands(e.was)
	}
	style := s.strong
	switch {
	case e.now > 0:
	case wave == len(v.waves)-1:
		text, style = upperFirst(e.name)+": J puts hosts here", s.dim
	case wave == 0 && v.plan.Policy.Canary > 0:
		text, style = text+": the planner chooses others", s.risk
	default:
		text, style = text+": it goes away", s.risk
	}
	if c := v.fresh(); c != nil && len(c.warnings[v.number(wave)]) > 0 {
		text, style = text+"  !", s.risk
	}
	return s.on(here, style).Render(marker(here) + " " + fit(text, w-2))
}

func (v *planEditor) viewHost(i int32, here bool, columns []editColumn, w int) string {
	s := v.styles
	style, sign, marked := s.text, " ", " "
	if v.at[i] != v.from[i] {
		style, sign = s.accent, "»"
	}
	if v.marked[i] {
		marked = "*"
	}
	text := ""
	for _, c := range columns {
		text += fit(c.cell(v, i), c.width) + " "
	}
	return s.on(here, style).Render(fit(marker(here)+" "+marked+sign+" "+text, w))
}

// mostWarnings is how many lines of what the planner warns of stand below the list.
const mostWarnings = 3

// foot tells what has no room in the list: which host it is, and what the
// planner said of what is moved.
func (v *planEditor) foot(w int) []string {
	out := []string{v.styles.frame.Render(strings.Repeat("─", w)), ""}
	if l, ok := v.line(); ok && l >= 0 {
		h := v.hosts[l]
		out[1] = v.styles.dim.Render(fit(join(" · ", h.id, h.zone, h.group, "closes "+h.closes), w))
	}
	say := func(style lipgloss.Style, text string, n int) {
		for _, l := range wrapTo(text, w, n) {
			out = append(out, style.Render(fit(l, w)))
		}
	}
	c := v.fresh()
	switch {
	case v.checking:
		say(v.styles.dim, "Planning …", 1)
	case c == nil:
	case c.err != nil:
		say(v.styles.blocked, "The planner refuses: "+clean(c.err.Error()), mostWarnings)
	default:
		all := v.warned(c)
		for i, text := range all {
			if i == mostWarnings-1 && len(all) > mostWarnings {
				say(v.styles.risk, fmt.Sprintf("! and %d more: enter shows all", len(all)-i), 1)
				break
			}
			say(v.styles.risk, "! "+text, 1)
		}
	}
	return out
}

// warned lists what the planner warns of, wave by wave.
func (v *planEditor) warned(c *editCheck) []string {
	var out []string
	for i := range v.waves {
		for _, text := range c.warnings[v.number(i)] {
			out = append(out, fmt.Sprintf("wave %d: %s", v.number(i), text))
		}
	}
	return out
}

func (v *planEditor) viewPreview(w, h int) []string {
	c := v.checked
	v.lower.resize(len(c.lines), h-2)
	from, to := v.lower.window()
	out := []string{v.title("Preview: plan "+clean(v.plan.ID)+" → "+clean(c.plan.ID), more(from, to, len(c.lines)), w), ""}
	for i := from; i < to; i++ {
		l, here := c.lines[i], i == v.lower.cursor
		style, sign := v.previewStyle(l.kind)
		out = append(out, v.styles.on(here, style).Render(fit(marker(here)+sign+l.text, w)))
	}
	return out
}

func (v *planEditor) previewStyle(k editKind) (style lipgloss.Style, sign string) {
	s := v.styles
	switch k {
	case editHead:
		return s.strong, " "
	case editAdded:
		return s.ready, " + "
	case editGone:
		return s.blocked, " - "
	case editWarn:
		return s.risk, "   ! "
	case editPlain:
	}
	return s.text, "   "
}
