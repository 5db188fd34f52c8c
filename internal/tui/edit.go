package tui

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// maxLine is how many runes a typed line may have.
const maxLine = 300

// line is one line of text that is being typed.
type line struct {
	text []rune
	pos  int // of the cursor
}

// set starts over with a text, the cursor behind it.
func (l *line) set(s string) {
	l.text, l.pos = nil, 0
	l.insert(s)
}

// insert puts text at the cursor. It may come from a clipboard, so it is
// cleaned.
func (l *line) insert(s string) {
	in := []rune(clean(s))
	in = in[:min(len(in), maxLine-len(l.text))]
	l.text = slices.Insert(l.text, l.pos, in...)
	l.pos += len(in)
}

// edit changes the text or moves the cursor.
func (l *line) edit(op editing) {
	switch op {
	case eraseLeft:
		l.erase(l.pos-1, l.pos)
	case eraseRight:
		l.erase(l.pos, l.pos+1)
	case eraseWord:
		i := len([]rune(strings.TrimRight(string(l.text[:l.pos]), " ")))
		for i > 0 && l.text[i-1] != ' ' {
			i--
		}
		l.erase(i, l.pos)
	case eraseAll:
		l.erase(0, l.pos)
	case toLeft:
		l.pos = max(l.pos-1, 0)
	case toRight:
		l.pos = min(l.pos+1, len(l.text))
	case toStart:
		l.pos = 0
	case toEnd:
		l.pos = len(l.text)
	}
}

func (l *line) erase(from, to int) {
	from, to = max(from, 0), min(to, len(l.text))
	if from < to {
		l.text, l.pos = slices.Delete(l.text, from, to), from
	}
}

// view draws the part around the cursor in w cells.
func (l *line) view(w int, paint, cursor lipgloss.Style) string {
	at := " "
	after := ""
	if l.pos < len(l.text) {
		at, after = string(l.text[l.pos]), string(l.text[l.pos+1:])
	}
	from := 0
	for from < l.pos && width(string(l.text[from:l.pos])) > w-2 {
		from++
	}
	before := string(l.text[from:l.pos])
	return paint.Render(before) + cursor.Render(at) + paint.Render(cut(after, w-width(before)-width(at)))
}
