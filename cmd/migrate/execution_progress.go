package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// stepProgress shows on a terminal how many steps are done; elsewhere nothing,
// since every event is a line.
type stepProgress struct {
	w     io.Writer // nil: no terminal
	width int
	wave  map[string]int // of each step
	total map[int]int
	done  map[int]map[string]bool
	names map[int]string
	drawn bool
}

func newStepProgress(w io.Writer, p *plan.Plan) *stepProgress {
	s := &stepProgress{wave: map[string]int{}, total: map[int]int{}, done: map[int]map[string]bool{}, names: map[int]string{}}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s.w, s.width = w, 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			s.width = width
		}
	}
	for _, wave := range p.Waves {
		s.names[wave.Number], s.total[wave.Number], s.done[wave.Number] = wave.Name, len(wave.Steps), map[string]bool{}
		for _, step := range wave.Steps {
			s.wave[step.ID] = wave.Number
		}
	}
	return s
}

// entry takes one entry of this run. Steps of runs before do not count: the
// line says how much this one has done.
func (s *stepProgress) entry(e cutover.Entry) {
	switch e.Event {
	case cutover.Found, cutover.Ours:
		s.done[s.wave[e.Step]][e.Step] = true
	case cutover.Undone:
		delete(s.done[s.wave[e.Step]], e.Step)
	}
	if s.w == nil || e.Event == cutover.RunEnded {
		return
	}
	text := fmt.Sprintf("  %s: %d of %d steps", s.names[e.Wave], len(s.done[e.Wave]), s.total[e.Wave])
	fmt.Fprint(s.w, clip(text, s.width-1))
	s.drawn = true
}

// clear takes the line away before something else is written.
func (s *stepProgress) clear() {
	if s.drawn {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

// end is clear for good.
func (s *stepProgress) end() {
	if s != nil {
		s.clear()
	}
}
