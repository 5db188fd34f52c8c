package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/fleet"
)

// inventoryScreen starts the inventory, shows how it goes, and what the latest
// one brought.
type inventoryScreen struct {
	*env
	sources   pager
	problems  list
	onSources bool      // the sources move, not the problems
	text      *textView // one problem in full; nil: the screen itself
}

func (s *inventoryScreen) context() keyContext {
	switch {
	case s.text != nil:
		return ctxText
	case s.running():
		return ctxRunning
	case len(s.silent()) > 0:
		return ctxTaken // also of one that failed, where there is nothing else
	case s.data == nil:
		return ctxEmpty
	}
	return ctxComplete
}

func (s *inventoryScreen) loaded() { s.problems = list{} }

func (s *inventoryScreen) handle(in intent) (intent, tea.Cmd) {
	switch in := in.(type) {
	case nextPane:
		s.onSources = !s.onSources
	case open:
		return s.open(), nil
	case back:
		s.text = nil
	default:
		switch {
		case s.text != nil:
			s.text.pager.handle(in)
		case s.running() && s.onSources:
			s.sources.handle(in)
		default:
			s.problems.handle(in)
		}
	}
	return nil, nil
}

// silent is what the list of problems shows: the running inventory's, a failed
// one's where there is nothing else, or the latest snapshot's.
func (s *inventoryScreen) silent() []problem {
	switch {
	case s.running(), s.data == nil && s.run != nil:
		return s.run.progress.problems
	case s.data != nil:
		return s.data.silent
	}
	return nil
}

func (s *inventoryScreen) open() intent {
	all := s.silent()
	switch {
	case s.loading:
		// Whoever waits for the stored snapshot does not want a new one.
	case s.context() == ctxEmpty:
		return startRun{}
	case s.problems.cursor < len(all):
		p := all[s.problems.cursor]
		s.text = &textView{title: "No answer", lines: func(w int) []string { return s.problemLines(p, w) }}
	}
	return nil
}

func (s *inventoryScreen) next() (what, why string) {
	switch {
	case s.text != nil:
		return "press esc to go back", "the inventory and its other reasons are there"
	case s.running() && s.run.stopping:
		return "wait a moment", "the inventory is being stopped"
	case s.running():
		return "wait, or look around", "the inventory goes on while you are on other screens, and nothing is judged before it ends"
	case s.loading:
		return "wait a moment", "the latest snapshot is being read"
	case s.loadErr != nil && s.data == nil:
		return "press i to take the inventory", "the stored snapshot cannot be read: " + clean(s.loadErr.Error())
	case s.run != nil && s.run.err != nil:
		return "press i to take the inventory again", "the last one did not reach its end, so nothing new is known"
	case s.data == nil:
		return "press enter to take the inventory", "nothing is known of the fleet yet; it only reads and changes nothing"
	case len(s.data.silent) > 0:
		return "press 2 for Readiness, or see to the reasons and press i", "what gave no answer is unknown, and unknown never counts as good"
	}
	return "press enter for Readiness", "every source answered, and every host is judged"
}

func (s *inventoryScreen) view(w, h int) []string {
	switch {
	case s.text != nil:
		return s.text.view(s.env, w, h)
	case s.running():
		return s.viewRunning(w, h)
	case s.data != nil:
		return s.viewTaken(w, h)
	}
	return s.viewEmpty(w, h)
}

func (s *inventoryScreen) viewEmpty(w, h int) []string {
	out := []string{s.title("Inventory", "none yet", w), ""}
	if s.loading {
		return append(out, s.styles.dim.Render("Reading the latest snapshot …"))
	}
	if s.run != nil && s.run.err != nil {
		out = append(out, s.paintWrapped(s.styles.blocked, "✗ The last inventory did not reach its end: "+clean(s.run.err.Error()), w)...)
		out = append(out, "")
		if all := s.silent(); len(all) > 0 {
			return append(out, s.viewProblems(all, true, w, h-len(out))...)
		}
	}
	out = append(out, s.paintWrapped(s.styles.text, "The inventory finds every EC2 instance of the configured accounts and Regions, and how people get into it today:", w)...)
	out = append(out, "")
	for _, l := range []string{
		"instances, networks, roles, launch templates, from the AWS APIs",
		"managed nodes and their agents, from Systems Manager",
		"sshd settings, authorized keys, logins and endpoint tests, from each running Linux host over SSH or, if you allow it, Run Command",
	} {
		for i, part := range wrap(l, w-2) {
			out = append(out, s.styles.accent.Render([]string{"·", " "}[min(i, 1)])+" "+part)
		}
	}
	out = append(out, "")
	out = append(out, s.paintWrapped(s.styles.text, "It only reads. What gives no answer is kept as unknown, with the reason, and the rest goes on.", w)...)
	if s.backend.Demo {
		out = append(out, s.paintWrapped(s.styles.accent, "DEMO: the fleet is simulated on this machine. Nothing real is touched.", w)...)
	}
	return out
}

func (s *inventoryScreen) viewTaken(w, h int) []string {
	d := s.data
	c := d.counts
	info := d.snap.SnapshotInfo
	took := ""
	if !info.Finished.IsZero() {
		took = " in " + span(info.Finished.Sub(info.Started))
	}
	out := []string{s.title("Inventory", fmt.Sprintf("snapshot %d, taken %s%s", info.ID, ago(info.Started, s.now()), took), w), ""}
	partly := ""
	if c.partly > 0 {
		partly = fmt.Sprintf(" (%s in part)", thousands(c.partly))
	}
	by := " over SSH"
	switch {
	case c.commands == c.probed && c.probed > 0:
		by = " by Run Command"
	case c.commands > 0:
		by = fmt.Sprintf(": %s by SSH, %s by Run Command", thousands(c.probed-c.commands), thousands(c.commands))
	}
	for _, l := range [][2]string{
		{"instances", fmt.Sprintf("%s listed, %s running", thousands(len(d.rows)), thousands(c.running))},
		{"managed nodes", fmt.Sprintf("%s of these instances, %s outside of EC2", thousands(c.managed), thousands(c.hybrid))},
		{"Linux hosts", fmt.Sprintf("%s of %s answered%s%s", thousands(c.probed), thousands(c.probeable), by, partly)},
		{"authorized keys", thousands(c.keys) + " lines on them"},
	} {
		out = append(out, s.styles.dim.Render(fit(l[0], 17))+l[1])
	}
	out = append(out, "")
	if len(d.silent) == 0 && info.State == fleet.SnapshotComplete {
		return append(out, s.styles.ready.Render("✓ Complete: every source and host answered."))
	}
	line := "? Incomplete: one source or host gave no answer."
	if n := max(len(d.silent), info.Unknowns); n != 1 {
		line = fmt.Sprintf("? Incomplete: %s sources or hosts gave no answer.", thousands(n))
	}
	out = append(out, s.styles.unknown.Render(cut(line, w)))
	out = append(out, "")
	return append(out, s.viewProblems(s.silent(), true, w, h-len(out))...)
}

func (s *inventoryScreen) viewRunning(w, h int) []string {
	r := s.run
	state := "running for " + span(s.now().Sub(r.started))
	if r.stopping {
		state = "stopping …"
	}
	out := []string{s.title("Inventory", state, w), ""}
	out = append(out, s.viewProbe(w)...)
	out = append(out, "")
	rest := h - len(out)
	bottom := 1
	if n := len(r.progress.problems); n > 0 {
		bottom = min(n+1+stripLines, max(rest/2, 3))
	}
	out = append(out, s.viewSources(w, rest-bottom-1)...)
	for len(out) < h-bottom {
		out = append(out, "")
	}
	if len(r.progress.problems) == 0 {
		return append(out, s.styles.dim.Render("Everything asked so far has answered."))
	}
	return append(out, s.viewProblems(r.progress.problems, !s.onSources, w, bottom)...)
}

// viewProbe is how far the hosts are, in two lines.
func (s *inventoryScreen) viewProbe(w int) []string {
	p := s.run.progress.probe
	label := s.styles.strong.Render(fit("Hosts", 16))
	if p.total == 0 {
		return []string{label + s.styles.dim.Render("waiting for the first instances"), ""}
	}
	tally := fmt.Sprintf(" %s of %s", thousands(p.done), thousands(p.total))
	bar := min(max(w-16-len(tally), 5), 60)
	full := min(bar, bar*p.done/p.total)
	var left string
	switch d, ok := s.run.progress.remaining(s.now()); {
	case p.done >= p.total:
		left = "all that are known so far"
	case ok:
		left = "about " + span(d) + " left"
	default:
		left = "remaining time not known yet"
	}
	return []string{
		label + s.styles.accent.Render(strings.Repeat("█", full)) + s.styles.dim.Render(strings.Repeat("░", bar-full)) + tally,
		strings.Repeat(" ", 16) + s.styles.ready.Render(fmt.Sprintf("✓ %s answered", thousands(p.done-p.failed))) + "  " +
			s.styles.unknown.Render(fmt.Sprintf("? %s did not", thousands(p.failed))) + "  " + s.styles.dim.Render(left),
	}
}

const sourceWidth = 30 // of one source in the columns

func (s *inventoryScreen) viewSources(w, h int) []string {
	answered, failed, reading := s.run.progress.tally()
	var lines []string
	columns := max(w/sourceWidth, 1)
	cell := w / columns
	for _, pl := range s.run.progress.places {
		lines = append(lines, s.styles.dim.Render(cut(pl.name, w)))
		line := ""
		for i, src := range pl.sources {
			line += s.viewSource(src, cell)
			if (i+1)%columns == 0 || i == len(pl.sources)-1 {
				lines = append(lines, line)
				line = ""
			}
		}
	}
	shown := s.sources.view(lines, h-1)
	head := fmt.Sprintf("%d answered, %d did not, %d going on", answered, failed, reading)
	if m := more(s.sources.offset, s.sources.offset+len(shown), len(lines)); m != "" {
		head += " · " + m
	}
	return append([]string{s.section("Sources", head, s.onSources, w)}, shown...)
}

func (s *inventoryScreen) viewSource(src *source, w int) string {
	style, symbol := s.styles.accent, "…"
	switch {
	case src.over && src.reason != "":
		style, symbol = s.styles.unknown, "?"
	case src.over:
		style, symbol = s.styles.ready, "✓"
	}
	n := thousands(src.done)
	if src.total > 0 && !src.over {
		n += "/" + thousands(src.total)
	}
	return style.Render(" "+symbol) + " " + fit(src.name, w-5-len(n)) + " " + n + " "
}

const stripLines = 3 // that tell the selected line of a list in full

// viewProblems lists what gave no answer in h lines, the selected one in full.
func (s *inventoryScreen) viewProblems(all []problem, focused bool, w, h int) []string {
	strip := stripLines
	if h < 8 {
		strip = max(min(h-2, 2), 0)
	}
	s.problems.resize(len(all), h-1-strip)
	from, to := s.problems.window()
	head := thousands(len(all))
	if m := more(from, to, len(all)); m != "" {
		head = m
	}
	out := []string{s.section("No answer", head, focused, w)}
	for i := from; i < to && len(out) < h; i++ {
		out = append(out, s.viewProblem(all[i], focused && i == s.problems.cursor, w))
	}
	if s.problems.cursor >= len(all) || strip == 0 {
		return out
	}
	p := all[s.problems.cursor]
	for _, l := range wrapTo(fmt.Sprintf("%s, %s: %s", p.place, p.source, p.reason), w-3, min(strip, h-len(out))) {
		out = append(out, s.styles.dim.Render("   "+l))
	}
	return out
}

func (s *env) viewProblem(p problem, selected bool, w int) string {
	on := func(st lipgloss.Style, t string) string { return s.styles.on(selected, st).Render(t) }
	what, reason := p.source, p.reason
	if p.host {
		what, reason = p.place, p.source+": "+p.reason
	} else if w >= 100 {
		what += "  " + p.place
	}
	whatW := min(max(2*w/5, 20), 60)
	return on(s.styles.unknown, marker(selected)+"? ") + on(s.styles.text, fit(what, whatW)+"  "+fit(reason, w-whatW-5))
}
