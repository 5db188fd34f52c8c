package tui

import "strings"

// help is the list of all keys and of the filter language.
type help struct {
	*env
	context keyContext
	pager   pager
}

func newHelp(e *env, c keyContext) *help { return &help{env: e, context: c} }

func (p *help) view(w, h int) []string {
	keyW := 24
	var lines []string
	row := func(key, text string) {
		for i, l := range wrap(text, w-keyW-1) {
			if i > 0 {
				key = ""
			}
			lines = append(lines, p.styles.accent.Render(fit("  "+key, keyW))+" "+l)
		}
	}
	language := func() {
		lines = append(lines, p.styles.strong.Render("The language of filters"))
		for _, f := range filterHelp() {
			row(f[0], f[1])
		}
		lines = append(lines, "")
	}
	inFleet := p.context == ctxFleet || p.context == ctxHost
	sections := helpSections(p.context)
	if p.backend.Demo {
		sections = append(sections, keysDemo)
	}
	for i, s := range sections {
		lines = append(lines, p.styles.strong.Render(s.title))
		for _, b := range s.bindings {
			row(strings.Join(b.keys, ", "), b.help)
		}
		lines = append(lines, "")
		if inFleet && i == 0 {
			language()
		}
	}
	if !inFleet {
		language()
	}
	lines = append(lines, p.styles.strong.Render("Signs"))
	row("✓ ✗ ?", "ready, blocked, unknown: can Session Manager open a session?")
	row("! ·", "a risk, a note: does not decide the verdict")
	row("? - in a cell", "not known; known to be absent")
	row("* ~", "marked; a group of which some hosts are marked")
	row("▶ … ○", "the stage to work on, one at work, one to come")
	row("✓ … ○ ↶", "a step or wave: done, under way, to come, taken back")
	shown := p.pager.view(lines, h-2)
	right := more(p.pager.offset, p.pager.offset+len(shown), len(lines))
	if right != "" {
		right = "lines " + right + ", ↑↓ to scroll"
	}
	return append([]string{p.title("Help", right, w), ""}, shown...)
}
