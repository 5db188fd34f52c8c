package tui

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// waveColumn is one column of the table of waves.
type waveColumn struct {
	title string
	width int
	from  int // least width of the table in which it is shown
	phase plan.Phase
}

var waveColumns = []waveColumn{
	{"HOSTS", 5, 0, ""}, {"STATE", 9, 0, ""}, {"PREP", 6, 0, plan.Prepare}, {"PROVE", 6, 0, plan.Prove}, {"KEYS", 6, 0, plan.Quarantine},
	{"CLOSE", 6, 0, plan.Close}, {"FINISH", 6, 70, plan.Finish}, {"SOAK", 6, 80, ""},
}

// waveColumnName is the least width of the names.
const waveColumnName = 10

// viewWaves is the table of waves with its title line.
func (s *cutoverScreen) viewWaves(w int) []string {
	var columns []waveColumn
	name := w - 3
	for _, c := range waveColumns {
		if w >= c.from {
			columns = append(columns, c)
			name -= c.width + 1
		}
	}
	for name < waveColumnName && len(columns) > 2 {
		name += columns[len(columns)-1].width + 1
		columns = columns[:len(columns)-1]
	}
	name = min(name, 24)
	from, to := s.waves.window()
	head := "   " + fit(join(" ", "WAVE", more(from, to, len(s.of.Waves))), name)
	for _, c := range columns {
		head += " " + right(c.title, c.width, c.title == "STATE")
	}
	out := []string{s.styles.dim.Render(fit(head, w))}
	for i := from; i < to; i++ {
		wave := &s.of.Waves[i]
		st := s.course.wave(i)
		style, symbol, state := s.waveState(i, st)
		here := i == s.waves.cursor && s.at == paneWaves
		line := ""
		for _, c := range columns {
			var text string
			switch c.title {
			case "HOSTS":
				text = "-"
				if n := len(wave.Hosts); n > 0 {
					text = thousands(n)
				}
			case "STATE":
				text = state
			case "SOAK":
				text = "-"
				if wave.Soak > 0 {
					text = shortDuration(time.Duration(wave.Soak))
				}
			default:
				text = phaseCell(st, c.phase, c.width)
			}
			line += " " + right(text, c.width, c.title == "STATE")
		}
		out = append(out, s.styles.on(here, style).Render(marker(i == s.waves.cursor)+symbol+" "+fit(clean(wave.Name), name))+
			s.styles.on(here, s.styles.text).Render(line))
	}
	return out
}

// right aligns a cell to the right, or to the left.
func right(text string, w int, left bool) string {
	if n := width(text); !left && n < w {
		return strings.Repeat(" ", w-n) + text
	}
	return fit(text, w)
}

// phaseCell is how far a wave is in a phase, with the answer of its gate.
func phaseCell(w cutover.WaveStatus, ph plan.Phase, room int) string {
	for _, p := range w.Phases {
		if p.Phase != ph {
			continue
		}
		gate := map[string]string{"no": "✗", "unknown": "?"}[p.Gate]
		text := fmt.Sprintf("%d/%d%s", p.Done, len(p.Steps), gate)
		if width(text) > room {
			text = percent(p.Done, len(p.Steps)) + gate
		}
		return text
	}
	return "-"
}

func (s *cutoverScreen) waveState(i int, w cutover.WaveStatus) (style lipgloss.Style, symbol, state string) {
	c := s.course
	if i < len(c.sum.back) && c.sum.back[i] {
		return s.styles.dim, "↶", "undone"
	}
	switch w.State {
	case "done":
		return s.styles.ready, "✓", "done"
	case "soaking":
		return s.styles.accent, "…", "watched"
	case "under way":
		switch {
		case c.rolling():
			return s.styles.accent, "↶", "undoing"
		case c.underway():
			return s.styles.accent, "…", "under way"
		}
		return s.styles.unknown, "!", "begun"
	case "rolled back":
		return s.styles.dim, "↶", "rolled back"
	}
	return s.styles.dim, "○", "waiting"
}
