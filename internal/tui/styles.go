package tui

import (
	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/fleet"
)

// styles paints by role. Nothing is told by color alone: a symbol or a word
// always says the same.
type styles struct {
	text     lipgloss.Style
	dim      lipgloss.Style
	strong   lipgloss.Style
	heading  lipgloss.Style // titles of sections
	accent   lipgloss.Style // where one is, what one can press
	ready    lipgloss.Style
	blocked  lipgloss.Style
	unknown  lipgloss.Style
	risk     lipgloss.Style
	demo     lipgloss.Style // badge of the simulated fleet
	frame    lipgloss.Style // rules between the parts
	selected lipgloss.Style // the line that enter acts on
	cursor   lipgloss.Style // where typed text goes
}

// newStyles gives the styles for a dark or light terminal. Without color they
// differ by bold, faint and reverse only.
func newStyles(dark, noColor bool) *styles {
	plain := lipgloss.NewStyle()
	if noColor {
		return &styles{
			text: plain, dim: plain.Faint(true), strong: plain.Bold(true), heading: plain.Bold(true), accent: plain.Bold(true),
			ready: plain, blocked: plain.Bold(true), unknown: plain, risk: plain,
			demo: plain.Reverse(true).Bold(true), frame: plain.Faint(true), selected: plain.Reverse(true), cursor: plain.Reverse(true),
		}
	}
	pick := lipgloss.LightDark(dark)
	fg := func(light, dark string) lipgloss.Style {
		return plain.Foreground(pick(lipgloss.Color(light), lipgloss.Color(dark)))
	}
	accent := fg("#0550ae", "#79c0ff")
	return &styles{
		text:     plain,
		dim:      fg("#656d76", "#8b949e"),
		strong:   plain.Bold(true),
		heading:  accent.Bold(true),
		accent:   accent,
		ready:    fg("#1a7f37", "#56d364"),
		blocked:  fg("#cf222e", "#ff7b72"),
		unknown:  fg("#7d4e00", "#e3b341"),
		risk:     fg("#8250df", "#d2a8ff"),
		demo:     plain.Foreground(lipgloss.Color("#000000")).Background(lipgloss.Color("#e3b341")).Bold(true),
		frame:    fg("#afb8c1", "#484f58"),
		cursor:   plain.Reverse(true),
		selected: plain.Background(pick(lipgloss.Color("#cfe4ff"), lipgloss.Color("#1f3a5f"))).Foreground(pick(lipgloss.Color("#000000"), lipgloss.Color("#ffffff"))),
	}
}

// on gives a style as it looks on the selected line: same ink, other paper.
func (s *styles) on(selected bool, st lipgloss.Style) lipgloss.Style {
	if !selected {
		return st
	}
	return st.Inherit(s.selected)
}

// verdict is the style, symbol and word of a verdict.
func (s *styles) verdict(v fleet.Verdict) (lipgloss.Style, string, string) {
	switch v {
	case fleet.VerdictReady:
		return s.ready, "✓", "ready"
	case fleet.VerdictBlocked:
		return s.blocked, "✗", "blocked"
	case fleet.VerdictUnknown:
	}
	return s.unknown, "?", "unknown"
}

// severity is the style and symbol of a finding's severity.
func (s *styles) severity(v fleet.Severity) (lipgloss.Style, string) {
	switch v {
	case fleet.SeverityBlocks:
		return s.blocked, "✗"
	case fleet.SeverityUnknown:
		return s.unknown, "?"
	case fleet.SeverityRisk:
		return s.risk, "!"
	case fleet.SeverityNote:
	}
	return s.dim, "·"
}
