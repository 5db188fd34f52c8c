package tui

import "slices"

// list is a cursor over n lines of which a window is shown. It keeps the
// cursor inside of the list and the window around the cursor.
type list struct {
	cursor, offset int
	n, height      int
}

func (l *list) resize(n, height int) {
	l.n, l.height = n, max(height, 1)
	l.settle()
}

func (l *list) settle() {
	l.cursor = min(max(l.cursor, 0), max(l.n-1, 0))
	l.offset = min(max(l.offset, l.cursor-l.height+1, 0), l.cursor, max(l.n-l.height, 0))
}

// handle moves the cursor and reports whether the intent was about that.
func (l *list) handle(in intent) bool {
	switch in := in.(type) {
	case move:
		l.cursor += in.by
	case page:
		l.cursor += in.by * l.height
		l.offset += in.by * l.height
	case toEdge:
		l.cursor = 0
		if in.last {
			l.cursor = l.n - 1
		}
	default:
		return false
	}
	l.settle()
	return true
}

// window is the range of lines to draw.
func (l *list) window() (from, to int) { return l.offset, min(l.offset+l.height, l.n) }

// pager shows text that may be longer than the screen.
type pager struct {
	offset    int
	n, height int
}

func (p *pager) handle(in intent) {
	switch in := in.(type) {
	case move:
		p.offset += in.by
	case page:
		p.offset += in.by * p.height
	case toEdge:
		p.offset = 0
		if in.last {
			p.offset = p.n
		}
	}
	p.offset = min(max(p.offset, 0), max(p.n-p.height, 0))
}

// view is the part of the lines that fits into h.
func (p *pager) view(lines []string, h int) []string {
	p.n, p.height = len(lines), max(h, 1)
	p.offset = min(max(p.offset, 0), max(p.n-p.height, 0))
	return slices.Clone(lines[p.offset:min(p.offset+p.height, p.n)])
}

// more says how much of a list or text is out of sight.
func more(from, to, n int) string {
	if from == 0 && to >= n {
		return ""
	}
	return thousands(min(from+1, n)) + "–" + thousands(to) + " of " + thousands(n)
}
