package tui

import (
	"fmt"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
)

var stageNames = [...]string{"Inventory", "Readiness", "Prepare", "Recovery", "Cutover", "Done"}

// views are what one can look at in any stage.
var views = []struct {
	screen screenID
	name   string
}{{screenFleet, "f Fleet"}, {screenLedger, "l Ledger"}, {screenAccess, "a Access"}}

// The widths of the stages' column, by the window's.
const (
	railWide   = 26
	railNarrow = 15
	railTiny   = 4
)

// viewRail draws the stages in h lines: state, name and, where there is room,
// what the state means.
func (m *model) viewRail(h int) []string {
	w := m.railWidth()
	s := m.env.styles
	var out []string
	m.railAt = m.railAt[:0]
	leads := func(to screenID) {
		for len(m.railAt) < len(out) {
			m.railAt = append(m.railAt, to)
		}
	}
	for id := screenInventory; id <= screenDone; id++ {
		style, symbol, status := m.stage(id)
		name := fmt.Sprintf("%d %s", id+1, stageNames[id])
		if w == railTiny {
			name = name[:1]
		}
		out = append(out, m.railLine(id == m.at, style, symbol, s.text, name, w))
		if h >= 15 && w > railTiny {
			if longer := blockedBy[status]; longer != "" && w == railWide {
				status = longer
			}
			out = append(out, style.Render(fit("   "+status, w)))
		}
		leads(id)
	}
	out = append(out, fit("", w))
	leads(-1)
	for _, v := range views {
		name := v.name
		if w == railTiny {
			name = name[:1]
		}
		out = append(out, m.railLine(m.at == v.screen, s.dim, " ", s.text, name, w))
		leads(v.screen)
	}
	for len(out) < h {
		out = append(out, fit("", w))
	}
	return out[:h]
}

// railWidth is how wide the stages' column is, by the window's width.
func (m *model) railWidth() int {
	switch {
	case m.width >= 110:
		return railWide
	case m.width < 72:
		return railTiny
	}
	return railNarrow
}

// blockedBy says in more words what keeps a stage from beginning.
var blockedBy = map[string]string{
	"by the plan": "needs a plan (5)", "after 1": "needs an inventory (1)", "after 2": "needs an inventory (1)",
	"no key yet": "needs a recovery key", "after 5": "needs the cutover (5)",
}

func (m *model) railLine(here bool, style lipgloss.Style, symbol string, ink lipgloss.Style, name string, w int) string {
	s := m.env.styles
	mark := " "
	if here {
		mark, ink = "▌", ink.Bold(true)
	}
	return s.on(here, s.accent).Render(mark) + s.on(here, style).Render(symbol+" ") + s.on(here, ink).Render(fit(name, w-3))
}

// stage is how far a stage is. The first one that is not done is the one to
// work on.
func (m *model) stage(id screenID) (style lipgloss.Style, symbol, status string) {
	s, d := m.env.styles, m.env.data
	switch {
	case id >= screenPrepare:
		return m.laterStage(id)
	case id == screenInventory && m.env.running():
		return s.accent, "…", m.runningStatus()
	case id == screenInventory && m.env.loading:
		return s.dim, "…", "reading"
	case id == screenInventory && d == nil:
		return s.accent, "▶", "start here"
	case id == screenInventory:
		return s.ready, "✓", count(len(d.rows), "host")
	case d == nil:
		return s.dim, "○", "after 1"
	case d.counts.blocked > 0:
		return s.blocked, m.here(), thousands(d.counts.blocked) + " blocked"
	case d.counts.unknown > 0:
		return s.unknown, m.here(), thousands(d.counts.unknown) + " unknown"
	}
	return s.ready, "✓", "all ready"
}

// here marks Readiness as the stage to work on; with a plan, Cutover is.
func (m *model) here() string {
	if m.env.course.plan() != nil {
		return "·"
	}
	return "▶"
}

// laterStage is how far one of the stages is that need a plan.
func (m *model) laterStage(id screenID) (style lipgloss.Style, symbol, status string) {
	s, c := m.env.styles, m.env.course
	none := func(text string) (lipgloss.Style, string, string) { return s.dim, "○", text }
	switch id {
	case screenPrepare:
		switch sum := c.sum; {
		case c.plan() == nil || c.known < 0:
			return none("by the plan")
		case sum.prepared == sum.prepare:
			return s.ready, "✓", thousands(sum.prepare) + " done"
		default:
			return none(fmt.Sprintf("%s/%s", thousands(sum.prepared), thousands(sum.prepare)))
		}
	case screenRecovery:
		proved, hosts := c.proved()
		switch {
		case c.drilling():
			return s.accent, "…", "drill"
		case c.state == nil || hosts == 0:
			return none("after 1")
		case c.state.Policy.Recovery.PublicKey == "":
			return s.dim, "○", "no key yet"
		case proved == hosts:
			return s.ready, "✓", "all proved"
		}
		return none(fmt.Sprintf("%s/%s proved", thousands(proved), thousands(hosts)))
	case screenCutover:
		return m.cutoverStage()
	default:
	}
	if c.reached() {
		return s.ready, "✓", "reached"
	}
	return none("after 5")
}

func (m *model) cutoverStage() (style lipgloss.Style, symbol, status string) {
	s, c := m.env.styles, m.env.course
	switch {
	case c.asked() != nil:
		return s.unknown, "?", "asks you"
	case c.underway() && c.paused():
		return s.risk, "!", "paused"
	case c.mine() && c.doing.stopping:
		return s.unknown, "…", "stopping"
	case c.mine() && c.doing.scope != nil:
		return s.unknown, "↶", "taking back"
	case c.underway():
		return s.accent, "…", fmt.Sprintf("%s/%s", thousands(c.sum.done), thousands(c.sum.steps))
	case c.plan() == nil && m.env.data == nil:
		return s.dim, "○", "after 2"
	case c.plan() == nil:
		return s.dim, "○", "no plan yet"
	case c.broken != nil:
		return s.blocked, "✗", "not right"
	case c.known <= 0:
		return s.accent, "▶", "planned"
	case c.stand.State == brokenOff:
		return s.risk, "!", "broken off"
	}
	switch c.outcome() {
	case cutover.OutcomeDone:
		if !c.stand.Ended {
			return s.accent, "▶", fmt.Sprintf("%s/%s", thousands(c.sum.done), thousands(c.sum.steps))
		}
		return s.ready, "✓", "done"
	case cutover.OutcomeRolledBack:
		return s.unknown, "↶", "taken back"
	case cutover.OutcomeRolledPartly:
		return s.blocked, "✗", "half undone"
	case cutover.OutcomeStopped, cutover.OutcomePaused, cutover.OutcomePartly, cutover.OutcomeStale:
	}
	return s.risk, "!", clean(string(c.outcome()))
}

func (m *model) runningStatus() string {
	if m.env.run.stopping {
		return "stopping"
	}
	if p := m.env.run.progress.probe; p.total > 0 {
		return fmt.Sprintf("%s/%s", thousands(p.done), thousands(p.total))
	}
	return "running"
}
