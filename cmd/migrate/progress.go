package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ssm-migrate/internal/inventory"
)

// progress shows how far an inventory is: one line that is redrawn on a
// terminal, plain lines elsewhere.
type progress struct {
	w       io.Writer
	redraw  bool
	width   int
	drawn   time.Time
	sources int // sources that ended
	listed  int
	done    int // hosts probed or given up
	failed  int // of these, how many gave no answer
	total   int
	last    int // last printed tenth of the probes
	byPlace map[string]int
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, byPlace: map[string]int{}, width: 80}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.redraw = true
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			p.width = width
		}
	}
	return p
}

// frame is the shortest time between two redraws.
const frame = 100 * time.Millisecond

// event takes one event. The collector calls it from one goroutine at a time.
func (p *progress) event(e inventory.Event) {
	switch e.Kind {
	case inventory.SourceProgress, inventory.SourceDone:
		if strings.HasSuffix(e.Source, ":DescribeInstances") {
			place := e.Account + "/" + e.Region
			p.listed += e.Done - p.byPlace[place]
			p.byPlace[place] = e.Done
		}
		if e.Kind == inventory.SourceDone {
			p.sources++
			p.sourceDone(e)
		}
	case inventory.ProbeProgress:
		p.done, p.total = e.Done, e.Total
		if e.Reason != "" {
			p.failed++
		}
		p.probed()
	case inventory.Finished:
		return
	}
	if p.redraw && time.Since(p.drawn) >= frame {
		p.draw()
	}
}

func (p *progress) sourceDone(e inventory.Event) {
	place := strings.TrimSpace(e.Account + " " + e.Region)
	switch {
	case e.Reason != "":
		p.line(fmt.Sprintf("%s %s: no answer: %s", place, e.Source, oneLine(e.Reason)))
	case !p.redraw:
		p.line(fmt.Sprintf("%s %s: %d", place, e.Source, e.Done))
	}
}

func (p *progress) probed() {
	if p.redraw || p.total == 0 {
		return
	}
	if tenth := p.done * 10 / p.total; tenth > p.last || p.done == p.total {
		p.last = tenth
		p.line(fmt.Sprintf("hosts: %d of %d done, %d without an answer", p.done, p.total, p.failed))
	}
}

func (p *progress) line(s string) {
	if p.redraw {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintln(p.w, s)
}

func (p *progress) draw() {
	p.drawn = time.Now()
	text := fmt.Sprintf(" %d instances, %d sources, %d of %d hosts, %d silent", p.listed, p.sources, p.done, p.total, p.failed)
	cells := min(30, p.width-len(text)-3)
	bar := ""
	if cells >= 10 {
		full := 0
		if p.total > 0 {
			full = cells * p.done / p.total
		}
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
	}
	line := bar + text
	if len(line) >= p.width {
		line = line[:p.width-1]
	}
	fmt.Fprint(p.w, "\r\x1b[K"+line)
}

func (p *progress) end() {
	if p.redraw {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
