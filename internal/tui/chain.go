package tui

import (
	"fmt"
	"slices"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/fleet"
)

// chains tells what keeps a host from ready: each root cause in full, then
// what follows from it.
func (s *sheet) chains(findings []fleet.Finding) {
	all := fleet.Chains(findings)
	told := map[fleet.Ref]bool{}
	for i, c := range all {
		title := "Why: the root cause, and what follows from it"
		if len(all) > 1 {
			title = fmt.Sprintf("Why: root cause %d of %d, and what follows from it", i+1, len(all))
		}
		s.heading(title)
		for j, f := range c {
			if j > 0 {
				s.follows(f, told[f.Ref()])
			} else {
				s.lines = append(s.lines, s.findingLines(f, s.w)...)
			}
			told[f.Ref()] = true
		}
	}
}

// follows is a link of a chain after the first: what is seen, without a fix,
// which is the root cause's.
func (s *sheet) follows(f fleet.Finding, again bool) {
	style, _ := s.styles.severity(f.Severity)
	title := clean(f.Title)
	if again {
		title += " (as above)"
	}
	mark := "↳ "
	for _, l := range wrap(title, s.w-4) {
		s.lines = append(s.lines, style.Render("  "+mark+l))
		mark = "  "
	}
	if again {
		return
	}
	s.pair("code", clean(f.Code))
	for _, ev := range f.Evidence {
		s.pair("seen", clean(ev.Fact)+" ("+origin(ev)+")")
	}
}

// paths draws the host's ways to the endpoints: in one line where nothing
// stops them, hop by hop else.
func (s *sheet) paths(d *data, r *row) {
	if len(r.paths) == 0 {
		return
	}
	s.heading("Network paths, as AWS's settings make them")
	for _, n := range r.paths {
		if n < 0 || n >= len(d.judged.Paths) {
			continue
		}
		p := d.judged.Paths[n]
		style, symbol := s.styles.truth(p.Open)
		if p.Open == fleet.TruthYes {
			s.path(style, symbol, p, inOneLine(p.Hops))
			continue
		}
		s.path(style, symbol, p, clean(p.Name))
		for _, h := range p.Hops {
			style, symbol := s.styles.truth(h.Passes)
			for i, l := range wrap(join(" ", h.Kind, h.Object)+": "+clean(h.Text), s.w-8) {
				if i > 0 {
					symbol = " "
				}
				s.lines = append(s.lines, style.Render("    "+symbol)+" "+l)
			}
		}
	}
}

// inOneLine names the hops from the host on; equal ones that follow each other
// once, with their number.
func inOneLine(hops []fleet.Hop) string {
	line, last, times := "host", "", 0
	end := func() {
		if times > 1 {
			line += fmt.Sprintf(" ×%d", times)
		}
	}
	for _, h := range hops {
		if at := join(" ", h.Kind, h.Object); at != last {
			end()
			line, last, times = line+" → "+at, at, 0
		}
		times++
	}
	end()
	return line
}

func (s *sheet) path(style lipgloss.Style, symbol string, p fleet.Path, text string) {
	const w = 17 // of "  ✗ ssmmessages" and two blanks
	label := "  " + symbol + " " + clean(p.Service)
	for _, l := range wrap(text, s.w-w) {
		s.lines = append(s.lines, style.Render(fit(label, w))+l)
		label = ""
	}
}

// truth is the style and symbol of a three-valued answer.
func (s *styles) truth(t fleet.Truth) (lipgloss.Style, string) {
	switch t {
	case fleet.TruthYes:
		return s.ready, "✓"
	case fleet.TruthNo:
		return s.blocked, "✗"
	case fleet.TruthUnknown:
	}
	return s.unknown, "?"
}

// health tells how the host is, as far as agents and sessions rest on it.
func (s *sheet) health(p fleet.Probe) {
	if !p.Health.Known {
		s.missing("health", p.Health.Source, p.Health.Reason, p.Health.At)
	} else {
		s.healthLines(p.Health.Value)
	}
	switch m := p.Metadata; {
	case !m.Known:
		s.missing("metadata", m.Source, m.Reason, m.At)
	case !m.Value.Reachable:
		s.pair("metadata", join(": ", "did not answer", m.Value.Detail))
	default:
		tokens := "without IMDSv2 tokens"
		if m.Value.Tokens {
			tokens = "with IMDSv2 tokens"
		}
		s.pair("metadata", join(", ", "answers", tokens, m.Value.Role))
	}
	if c := p.CloudInit; c.Known && len(c.Value.AlwaysKeys) > 0 {
		s.pair("cloud-init", "adds keys at every boot: "+join(", ", c.Value.AlwaysKeys...))
	}
	for _, t := range p.Traces.Value {
		s.pair("trace", join(", ", string(t.Use), t.What, t.User))
	}
}

func (s *sheet) healthLines(h fleet.Health) {
	for _, f := range h.Filesystems {
		text := fmt.Sprintf("%s: %s of %s free", f.Mount, byteSize(f.Free), byteSize(f.Size))
		if f.Inodes > 0 {
			text += fmt.Sprintf(", %s of %s inodes", thousands(int(f.FreeInodes)), thousands(int(f.Inodes)))
		}
		if slices.Contains(f.Options, "noexec") {
			text += ", noexec"
		}
		s.pair("disk", clean(text))
	}
	if h.Inotify.MaxInstances > 0 {
		s.pair("inotify", fmt.Sprintf("%d of %d instances in use by root", h.Inotify.UsedInstances, h.Inotify.MaxInstances))
	}
	if !h.Clock.Server.IsZero() {
		s.pair("clock", fmt.Sprintf("%s off, by %s", h.Clock.Host.Sub(h.Clock.Server), clean(h.Clock.Source)))
	}
}

// byteSize is a size as people read it.
func byteSize(n int64) string {
	const unit = 1024
	value, i := float64(n), 0
	for ; value >= unit && i < 4; i++ {
		value /= unit
	}
	name := [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[i]
	if i == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, name)
	}
	return fmt.Sprintf("%.1f %s", value, name)
}
