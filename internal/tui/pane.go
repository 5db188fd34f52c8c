package tui

import "strings"

// paneFrom is the width from which on the selected host's details stand beside
// the table.
const paneFrom = 131

// hostPane tells beside the table why the selected host has its verdict. Its
// lines are made once for each host.
type hostPane struct {
	row    *row
	width  int
	styles *styles
	lines  []string
}

func (p *hostPane) view(e *env, s *fleetScreen, w, h int) []string {
	r := s.current()
	if r != p.row || w != p.width || e.styles != p.styles {
		p.row, p.width, p.styles, p.lines = r, w, e.styles, nil
		if r != nil {
			p.lines = e.paneLines(r, w)
		}
	}
	out := make([]string, h)
	n := copy(out, p.lines)
	if len(p.lines) > h {
		out[h-1] = e.styles.dim.Render(cut("… enter shows all", w))
		n = h
	}
	if g := s.currentGroup(); g != nil && n == 0 {
		out[0] = e.styles.heading.Render(cut("Group "+g.name, w))
		out[1] = e.styles.dim.Render(cut(strings.TrimSpace(count(g.hosts(), "host")+"; enter unfolds them, space marks them"), w))
	}
	return out
}

// paneLines is the part of hostLines that does not grow with keys and logins.
func (e *env) paneLines(r *row, w int) []string {
	style, symbol, word := e.styles.verdict(r.verdict)
	head := symbol + " " + word
	if r.cause != "" {
		head += ": " + r.cause
	}
	s := &sheet{env: e, w: w}
	s.chains(r.findings)
	s.findings(r)
	s.instance(r.host)
	s.systemsManager(r.host)
	return append([]string{e.styles.heading.Render(cut(r.name, w)), style.Render(cut(head, w)), ""}, s.lines...)
}
