package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// picker offers a list from which one is picked; typing narrows it.
type picker struct {
	title string
	why   [2]string // what to do, and why, for the line that says what is next
	empty string    // what is said without items
	items []pickItem
	pick  func(value string) tea.Cmd
	drop  func(value string) tea.Cmd // forgets an item; nil: none can be

	input line
	shown []int // positions in items
	list  list
}

// pickItem is one thing to pick. Its label, note and full text are clean.
type pickItem struct {
	value string
	label string
	note  string
	full  string // told below the list when it is selected
}

// narrow keeps the items that have all the words that were typed.
func (p *picker) narrow() {
	words := strings.Fields(strings.ToLower(string(p.input.text)))
	p.shown = nil
	for i, it := range p.items {
		text := strings.ToLower(it.label + " " + it.note)
		fits := true
		for _, w := range words {
			fits = fits && strings.Contains(text, w)
		}
		if fits {
			p.shown = append(p.shown, i)
		}
	}
	p.list.resize(len(p.shown), p.list.height)
}

func (p *picker) current() *pickItem {
	if p.list.cursor >= len(p.shown) {
		return nil
	}
	return &p.items[p.shown[p.list.cursor]]
}

// handle reports whether the picker is done with.
func (p *picker) handle(in intent) (done bool, cmd tea.Cmd) {
	switch in := in.(type) {
	case typed:
		p.input.insert(in.text)
		p.narrow()
	case edit:
		p.input.edit(in.op)
		p.narrow()
	case back:
		return true, nil
	case open:
		if it := p.current(); it != nil {
			return true, p.pick(it.value)
		}
	case drop:
		if it := p.current(); it != nil && p.drop != nil {
			return true, p.drop(it.value)
		}
	default:
		p.list.handle(in)
	}
	return false, nil
}

const pickerFoot = 6 // lines for the selected item's text

func (p *picker) view(e *env, w, h int) []string {
	s := e.styles
	p.list.resize(len(p.shown), h-3-pickerFoot)
	from, to := p.list.window()
	out := []string{
		e.title(p.title, more(from, to, len(p.shown)), w),
		s.accent.Bold(true).Render("/ ") + p.input.view(w-2, s.text, s.cursor), "",
	}
	labelW := 20
	for _, i := range p.shown[from:to] {
		labelW = min(max(labelW, width(p.items[i].label)), w*2/3)
	}
	for n := from; n < to; n++ {
		it, here := p.items[p.shown[n]], n == p.list.cursor
		line := s.on(here, s.text).Render(marker(here) + " " + fit(it.label, labelW) + " ")
		out = append(out, line+s.on(here, s.dim).Render(fit(it.note, w-labelW-3)))
	}
	if len(p.shown) == 0 {
		text := "Nothing here is called that."
		if len(p.items) == 0 {
			text = p.empty
		}
		out = append(out, e.paintWrapped(s.dim, text, w)...)
	}
	for len(out) < h-pickerFoot {
		out = append(out, "")
	}
	out = append(out[:h-pickerFoot], s.frame.Render(strings.Repeat("─", w)))
	if it := p.current(); it != nil {
		for _, l := range wrapTo(it.full, w, pickerFoot-1) {
			out = append(out, s.text.Render(l))
		}
	}
	return out
}
