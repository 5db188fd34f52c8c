package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// editCheck is what the planner says of what is moved.
type editCheck struct {
	version  int
	plan     *plan.Plan
	err      error
	lines    []editLine
	warnings map[int][]string // by a wave's number; clean
}

// editLine is a line of the preview. Its text is clean.
type editLine struct {
	kind editKind
	text string
}

type editKind int

const (
	editHead  editKind = iota
	editPlain          // a move
	editAdded
	editGone
	editWarn
)

// check lets the planner make a plan of what is moved. It is not stored.
func (v *planEditor) check() tea.Cmd {
	v.checking = true
	moves, version := v.moves(), v.version
	known := course{state: v.course.state} // as it is now: the loop goes on meanwhile
	return func() tea.Msg {
		c := &editCheck{version: version, warnings: map[int][]string{}}
		c.plan, c.err = v.backend.MovePlan(v.ctx, v.plan.ID, moves)
		if c.err == nil {
			d := plan.Diff(v.plan, c.plan)
			c.lines = previewLines(d, v.plan, c.plan, moves, known.named)
			for _, w := range d.Waves {
				for _, text := range w.Warnings {
					c.warnings[w.Number] = append(c.warnings[w.Number], clean(text))
				}
			}
		}
		return editMsg{func(*model) tea.Cmd { return v.took(c) }}
	}
}

// took takes what the planner said, or asks again where hosts were moved meanwhile.
func (v *planEditor) took(c *editCheck) tea.Cmd {
	v.checking, v.checked = false, c
	if c.version != v.version {
		if v.wanted && v.moved > 0 {
			return v.check()
		}
		return nil
	}
	if v.wanted {
		v.wanted, v.preview, v.lower = false, c.err == nil, list{}
	}
	return nil
}

// fresh is what the planner said of what is moved now; nil: nothing yet.
func (v *planEditor) fresh() *editCheck {
	if v.checked == nil || v.checked.version != v.version || v.moved == 0 {
		return nil
	}
	return v.checked
}

func (v *planEditor) showPreview() tea.Cmd {
	v.wanted = true
	switch c := v.fresh(); {
	case c != nil && c.err == nil:
		return v.took(c)
	case v.checking:
		return nil
	}
	return v.check()
}

func (v *planEditor) handlePreview(in intent) (intent, tea.Cmd) {
	switch in.(type) {
	case back:
		v.preview = false
	case open:
		return saveEdit{}, nil
	default:
		v.lower.handle(in)
	}
	return nil, nil
}

// previewLines tell what a plan has otherwise than the one that it was made of.
// Hosts that the planner has moved beside the operator's are named so.
func previewLines(d plan.Difference, old, now *plan.Plan, moves []plan.Move, names func(h fleet.HostRef) string) []editLine {
	var out []editLine
	say := func(k editKind, format string, args ...any) {
		out = append(out, editLine{k, fmt.Sprintf(format, args...)})
	}
	wave := func(w *plan.WaveName) string {
		if w == nil {
			return "no wave"
		}
		return clean(w.Name)
	}
	say(editHead, "Waves")
	for _, w := range d.Waves {
		switch {
		case w.Old+w.New == 0:
			continue
		case w.Old == w.New:
			say(editPlain, "%s: %s", clean(w.Name), count(w.New, "host"))
		case w.New == 0:
			say(editGone, "%s: goes away, it had %s", clean(w.Name), count(w.Old, "host"))
		case w.Old == 0:
			say(editAdded, "%s: new, %s", clean(w.Name), count(w.New, "host"))
		default:
			say(editPlain, "%s: %s → %s", clean(w.Name), thousands(w.Old), count(w.New, "host"))
		}
		for _, text := range w.Warnings {
			say(editWarn, "%s", clean(text))
		}
	}
	say(editHead, "Hosts in other waves: %s", thousands(len(d.Hosts)))
	by := make(map[fleet.HostRef]bool, len(moves))
	for _, m := range moves {
		by[m.Host] = true
	}
	for _, c := range d.Hosts {
		planner := ""
		if !by[c.Host] {
			planner = " (by the planner)"
		}
		say(editPlain, "%s: %s → %s%s", names(c.Host), wave(c.From), wave(c.To), planner)
	}
	if len(d.Groups) > 0 {
		say(editHead, "Security groups whose port 22 closes in another wave")
	}
	for _, c := range d.Groups {
		say(editPlain, "%s: %s → %s", clean(c.Group), wave(c.From), wave(c.To))
	}
	for _, part := range []struct {
		kind  editKind
		title string
		list  []plan.Refusal
	}{{editAdded, "What stays open, and did not", d.Refused}, {editGone, "What stayed open, and does not any more", d.Lifted}} {
		if len(part.list) > 0 {
			say(editHead, "%s", part.title)
		}
		for _, r := range part.list {
			about := clean(r.Group)
			if r.Host.ID != "" {
				about = names(r.Host)
			}
			say(part.kind, "%s", strings.TrimSpace(clean(r.Code)+" "+about)+": "+clean(r.Text))
		}
	}
	if old.Snapshot != now.Snapshot {
		say(editHead, "Made from snapshot %d; the old plan is of snapshot %d", now.Snapshot, old.Snapshot)
	}
	return out
}

// mostMoved is how many moves a command line is made of.
const mostMoved = 200

func (v *planEditor) tooMany() bool { return v.moved > mostMoved }

// command makes the same plan; empty: of too many moves.
func (v *planEditor) command() string {
	if v.tooMany() {
		return ""
	}
	var b strings.Builder
	b.WriteString("plan --from " + clean(v.plan.ID))
	for _, m := range v.moves() {
		fmt.Fprintf(&b, " --move %s=%d", clean(m.Host.ID), m.Wave)
	}
	return b.String()
}

// uneditable says why the plan that is shown cannot be edited; empty: it can.
func (m *model) uneditable() string {
	c := m.env.course
	p := c.plan()
	switch {
	case p == nil:
		return "There is no plan yet: press n to make one."
	case p.Purpose != plan.Cutover || len(p.Hosts()) == 0:
		return "The plan has no waves of hosts."
	case c.underway() || len(c.entries) > 0:
		return "Plan " + clean(p.ID) + " has begun: its hosts stay in their waves. n plans anew."
	}
	return ""
}

// editPlan opens the editor of the plan that is shown.
func (m *model) editPlan() tea.Cmd {
	why := m.uneditable()
	switch {
	case why != "":
		m.notice = &notice{failed: true, text: why}
		return nil
	case m.plain:
		m.notice = &notice{failed: true, text: "Line by line that is the word move: move HOST=WAVE, such as move web-3=2; several at once with blanks between them."}
		return nil
	case m.cutover().edit != nil:
		return nil
	}
	e, p, d := m.env, m.env.course.plan(), m.env.data
	return func() tea.Msg {
		v := newPlanEditor(e, p, d)
		return editMsg{func(m *model) tea.Cmd {
			if s := m.cutover(); s.of == p && m.uneditable() == "" {
				s.edit, s.wave, s.text = v, nil, nil
			}
			return nil
		}}
	}
}

// saveEdit stores the plan that was previewed.
func (m *model) saveEdit() tea.Cmd {
	v := m.cutover().edit
	if v == nil || !v.preview || v.saving {
		return nil
	}
	return m.store(v)
}

func (m *model) store(v *planEditor) tea.Cmd {
	v.saving = true
	p, e := v.checked.plan, m.env
	return func() tea.Msg {
		err := e.backend.SavePlan(e.ctx, p)
		return editMsg{func(m *model) tea.Cmd {
			v.saving = false
			if err == nil {
				m.cutover().edit = nil
			}
			return m.planned(plannedMsg{id: p.ID, err: err})
		}}
	}
}

// leaveEdit closes the editor; asks first where something was moved.
func (m *model) leaveEdit() {
	s := m.cutover()
	if s.edit.moved == 0 {
		s.edit = nil
		return
	}
	m.ask = &question{
		title: "Leave without making the new plan?",
		lines: func() []string {
			return []string{count(s.edit.moved, "host") + " moved. The plan stays as it is."}
		},
		yes: func() tea.Cmd {
			s.edit = nil
			return nil
		},
	}
}

func (m *model) cutover() *cutoverScreen { return m.screens[screenCutover].(*cutoverScreen) }
