package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
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
	w := railNarrow
	switch {
	case m.width >= 110:
		w = railWide
	case m.width < 72:
		w = railTiny
	}
	s := m.env.styles
	var out []string
	for id := screenInventory; id <= screenDone; id++ {
		style, symbol, status := m.stage(id)
		name := fmt.Sprintf("%d %s", id+1, stageNames[id])
		if w == railTiny {
			name = name[:1]
		}
		ink := s.text
		if id >= screenPrepare {
			ink = s.dim
		}
		out = append(out, m.railLine(id == m.at, style, symbol, ink, name, w))
		if h >= 15 && w > railTiny {
			out = append(out, style.Render(fit("   "+status, w)))
		}
	}
	if h < 15 && w > railTiny {
		out = append(out, s.dim.Render(fit("   ◌ to come", w)))
	}
	out = append(out, fit("", w))
	for _, v := range views {
		name := v.name
		if w == railTiny {
			name = name[:1]
		}
		out = append(out, m.railLine(m.at == v.screen, s.dim, " ", s.text, name, w))
	}
	for len(out) < h {
		out = append(out, fit("", w))
	}
	return out[:h]
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
		return s.dim, "◌", "to come"
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
		return s.blocked, "▶", thousands(d.counts.blocked) + " blocked"
	case d.counts.unknown > 0:
		return s.unknown, "▶", thousands(d.counts.unknown) + " unknown"
	}
	return s.ready, "✓", "all ready"
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

// laterStage is a stage that is not built yet.
type laterStage struct{ name, gives, safe string }

var laterStages = map[screenID]laterStage{
	screenPrepare: {
		"Prepare",
		"The fixes that Readiness names: applied from here or handed over as Terraform, each previewed with its blast radius, and each reversible.",
		"Until then, the fix and its blast radius stand with every finding: open a host in the fleet, or press r for the report.",
	},
	screenRecovery: {
		"Recovery",
		"A way back in that does not depend on Session Manager: a recovery key and a recovery bastion group held at zero, rehearsed with a timed drill.",
		"Nothing is closed before this way is proved.",
	},
	screenCutover: {
		"Cutover",
		"Waves, a canary first: prove a real session, quarantine the keys, close port 22; with gates, pause and rollback.",
		"No host is left with fewer than two proved ways in, and what closes a door is armed with a timer that opens it again.",
	},
	screenDone: {
		"Done",
		"The old bastions scaled in, a report with the evidence, and a watch for drift: port 22 open again, keys back, new instances from an old image.",
		"",
	},
}

// laterScreen tells what a stage will bring.
type laterScreen struct {
	*env
	stage laterStage
}

func (s *laterScreen) context() keyContext             { return ctxLater }
func (s *laterScreen) handle(intent) (intent, tea.Cmd) { return nil, nil }
func (s *laterScreen) loaded()                         {}

func (s *laterScreen) next() (what, why string) {
	return "press 2 for Readiness", "this stage is not built yet; Readiness says what to fix meanwhile"
}

func (s *laterScreen) view(w, _ int) []string {
	out := []string{s.title(s.stage.name, "to come", w), ""}
	out = append(out, s.paintWrapped(s.styles.text, s.stage.gives, w)...)
	if s.stage.safe != "" {
		out = append(out, "")
		out = append(out, s.paintWrapped(s.styles.text, s.stage.safe, w)...)
	}
	out = append(out, "")
	return append(out, s.paintWrapped(s.styles.dim, "This stage is not built yet. Nothing that migrate does today changes your accounts or hosts.", w)...)
}
