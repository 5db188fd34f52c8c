package tui

import (
	"strings"
	"time"

	"ssm-migrate/internal/inventory"
)

// progress is what the events of one inventory tell so far.
type progress struct {
	places   []*place
	byName   map[string]*place
	probe    probeProgress
	problems []problem
}

// place is one account in one Region, or an account's global side.
type place struct {
	name    string
	sources []*source
	byName  map[string]*source
}

// source is one API of a place. Its texts are clean.
type source struct {
	name        string
	done, total int
	over        bool
	reason      string
}

type probeProgress struct {
	done, total, failed int
	first               time.Time // when the first result came
	firstDone           int       // how many were done then
}

func newProgress() *progress { return &progress{byName: map[string]*place{}} }

// fold takes one event; at is when it came, for events that carry no time.
func (p *progress) fold(e inventory.Event, at time.Time) {
	if !e.At.IsZero() {
		at = e.At
	}
	switch e.Kind {
	case inventory.SourceProgress, inventory.SourceDone:
		s := p.source(placeName(e.Account, e.Region), clean(e.Source))
		s.done, s.total = e.Done, max(e.Total, s.total)
		if e.Kind == inventory.SourceDone {
			s.over, s.reason = true, clean(e.Reason)
			if e.Reason != "" {
				p.problems = append(p.problems, problem{place: placeName(e.Account, e.Region), source: s.name, reason: s.reason, at: at})
			}
		}
	case inventory.ProbeProgress:
		if p.probe.first.IsZero() {
			p.probe.first, p.probe.firstDone = at, e.Done
		}
		// Events of hosts that end together may overtake one another.
		p.probe.done, p.probe.total = max(p.probe.done, e.Done), max(p.probe.total, e.Total)
		if e.Reason != "" {
			p.probe.failed++
			p.problems = append(p.problems, problem{host: true, place: clean(e.Host), source: "probe", reason: clean(e.Reason), at: at})
		}
	case inventory.Finished:
	}
}

func (p *progress) source(placeName, name string) *source {
	pl := p.byName[placeName]
	if pl == nil {
		pl = &place{name: placeName, byName: map[string]*source{}}
		p.byName[placeName] = pl
		p.places = append(p.places, pl)
	}
	s := pl.byName[name]
	if s == nil {
		s = &source{name: name}
		pl.byName[name] = s
		pl.sources = append(pl.sources, s)
	}
	return s
}

// tally counts the sources that answered, failed and are still being read.
func (p *progress) tally() (answered, failed, reading int) {
	for _, pl := range p.places {
		for _, s := range pl.sources {
			switch {
			case !s.over:
				reading++
			case s.reason != "":
				failed++
			default:
				answered++
			}
		}
	}
	return answered, failed, reading
}

// growing reports whether instances are still being listed, so that the number
// of hosts to probe may rise.
func (p *progress) growing() bool {
	for _, pl := range p.places {
		for _, s := range pl.sources {
			if !s.over && strings.HasSuffix(s.name, ":DescribeInstances") {
				return true
			}
		}
	}
	return false
}

// The least that an estimate may rest on: fewer results, or results of a
// shorter time, say nothing of the rest.
const (
	basisHosts = 10
	basisTime  = 2 * time.Second
)

// remaining estimates how long the probing will still take, from the pace of
// all of it so far, to the second. Without a basis for that, ok is false.
func (p *progress) remaining(now time.Time) (d time.Duration, ok bool) {
	pr := p.probe
	results, took := pr.done-pr.firstDone, now.Sub(pr.first)
	if pr.first.IsZero() || results < basisHosts || took < basisTime || p.growing() {
		return 0, false
	}
	return time.Duration(float64(took) / float64(results) * float64(pr.total-pr.done)).Round(time.Second), true
}
