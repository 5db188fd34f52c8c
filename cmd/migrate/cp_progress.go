package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// copyProgress tells how far a copy is: a line that is redrawn on a terminal, a
// line every tenth elsewhere. Its methods may run concurrently.
type copyProgress struct {
	w      io.Writer
	redraw bool

	mu    sync.Mutex
	size  int64
	done  int64 // arrived, earlier runs included
	moved int64 // arrived in this run
	since time.Time
	tenth int64
	open  bool // a line is not ended
}

func newCopyProgress(w io.Writer) *copyProgress {
	f, ok := w.(*os.File)
	return &copyProgress{w: w, redraw: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
}

func (p *copyProgress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, oneLine(fmt.Sprintf(format, args...)))
}

// begin starts the clock. What had arrived before says nothing about the speed.
func (p *copyProgress) begin(size, had int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.done, p.since = size, had, time.Now()
	if had > 0 && had < size {
		fmt.Fprintf(p.w, "%s of %s have arrived before: going on.\n", bytesText(had), bytesText(size))
	}
	p.tenth = p.tenths()
}

func (p *copyProgress) tenths() int64 {
	if p.size == 0 {
		return 10
	}
	return p.done * 10 / p.size
}

func (p *copyProgress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.moved += n
	line := fmt.Sprintf("%s of %s%s", bytesText(p.done), bytesText(p.size), paceText(p.size-p.done, p.moved, time.Since(p.since)))
	switch {
	case p.redraw:
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		p.open = true
	case p.tenths() > p.tenth:
		p.tenth = p.tenths()
		fmt.Fprintln(p.w, line)
	}
}

// paceText tells the speed so far and how long the rest takes at it. Of less
// than two seconds it says nothing.
func paceText(left, moved int64, took time.Duration) string {
	if took < 2*time.Second || moved <= 0 {
		return ""
	}
	speed := float64(moved) / took.Seconds()
	text := ", " + bytesText(int64(speed)) + "/s"
	if left > 0 {
		text += fmt.Sprintf(", about %s left", time.Duration(float64(left)/speed*float64(time.Second)).Round(time.Second))
	}
	return text
}

func (p *copyProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
