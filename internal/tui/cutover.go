package tui

import (
	"cmp"
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// cutoverScreen shows a plan, and how its cutover goes.
type cutoverScreen struct {
	*env
	of      *plan.Plan // what the fields below were made for
	refused []refusals
	waves   list
	moved   bool // by the operator: the list does not follow the run any more
	at      pane
	lower   list
	wave    *waveView // the wave that is open; nil: all
	text    *textView // one thing in full; nil: the lists
	edit    *planEditor
}

// pane is one of the screen's lists.
type pane int

const (
	paneWaves pane = iota
	paneTroubles
	paneJournal
	paneRefusals
)

// refusals are those that say the same.
type refusals struct {
	plan.Refusal
	hosts []string // clean names
	n     int
}

func (s *cutoverScreen) loaded() {}

// stood takes a new plan, or a new standing of it.
func (s *cutoverScreen) stood() {
	p := s.course.plan()
	if p != s.of {
		if s.of == nil || p == nil || s.of.ID != p.ID {
			s.waves, s.moved, s.at, s.lower, s.wave, s.text = list{}, false, paneWaves, list{}, nil, nil
			s.edit = nil
			if p != nil {
				s.waves.n, s.waves.height = len(p.Waves), len(p.Waves)
			}
		}
		s.of, s.refused = p, nil
		if p != nil {
			s.refused = s.alike(p.Refusals)
		}
	}
	if open := s.course.sum.firstOpen; p != nil && !s.moved && s.wave == nil && s.course.known >= 0 && open >= 0 {
		s.waves.cursor = open
	}
	if s.wave != nil {
		s.wave.stood()
	}
	if s.text != nil {
		s.text.made = nil
	}
	if !slices.Contains(s.panes(), s.at) {
		s.at, s.lower = paneWaves, list{}
	}
}

// alike brings together refusals that say the same, those that stand in the
// plan's way first.
func (s *cutoverScreen) alike(all []plan.Refusal) []refusals {
	type key struct {
		phase          plan.Phase
		code, text, do string
	}
	at := map[key]int{}
	var out []refusals
	for _, r := range all {
		k := key{r.Phase, r.Code, r.Text, r.Do}
		i, seen := at[k]
		if !seen {
			i = len(out)
			at[k] = i
			out = append(out, refusals{Refusal: r})
		}
		out[i].n++
		switch {
		case r.Host.ID != "":
			out[i].hosts = append(out[i].hosts, s.course.named(r.Host))
		case r.Group != "":
			out[i].hosts = append(out[i].hosts, clean(r.Group))
		}
	}
	slices.SortStableFunc(out, func(a, b refusals) int {
		return cmp.Or(cmp.Compare(expected(a), expected(b)), -cmp.Compare(a.n, b.n))
	})
	return out
}

func expected(r refusals) int {
	if r.Expected() {
		return 1
	}
	return 0
}

// panes are the lists that have something to show.
func (s *cutoverScreen) panes() []pane {
	out := []pane{paneWaves}
	if len(s.course.sum.troubles)+len(s.course.sum.left) > 0 {
		out = append(out, paneTroubles)
	}
	if len(s.course.log) > 0 {
		out = append(out, paneJournal)
	}
	if len(s.refused) > 0 {
		out = append(out, paneRefusals)
	}
	return out
}

// below is the list that is shown under the waves.
func (s *cutoverScreen) below() pane {
	panes := s.panes()
	switch {
	case s.at != paneWaves:
		return s.at
	case s.course.underway() && slices.Contains(panes, paneJournal):
		return paneJournal
	case len(panes) > 1:
		return panes[1]
	}
	return paneWaves
}

func (s *cutoverScreen) context() keyContext {
	busy := s.course.underway()
	switch {
	case s.edit != nil:
		return s.edit.context()
	case s.text != nil || s.wave != nil && s.wave.text != nil:
		return ctxText
	case s.course.plan() == nil:
		return ctxNoPlan
	case s.wave != nil && busy:
		return ctxWaveBusy
	case s.wave != nil:
		return ctxWave
	case busy:
		return ctxBusy
	}
	return ctxPlan
}

func (s *cutoverScreen) handle(in intent) (intent, tea.Cmd) {
	switch {
	case s.edit != nil:
		return s.edit.handle(in)
	case s.text != nil:
		if _, ok := in.(back); ok {
			s.text = nil
		} else {
			s.text.pager.handle(in)
		}
		return nil, nil
	case s.course.plan() == nil:
		if _, ok := in.(open); ok {
			return makePlan{}, nil
		}
		return nil, nil
	case s.wave != nil:
		if s.wave.handle(in) {
			s.wave = nil
		}
		return nil, nil
	}
	switch in.(type) {
	case nextPane:
		panes := s.panes()
		s.at = panes[(slices.Index(panes, s.at)+1)%len(panes)]
		s.lower = list{}
	case open:
		s.open()
	default:
		if s.at == paneWaves {
			s.moved = s.waves.handle(in) || s.moved
		} else {
			s.lower.handle(in)
		}
	}
	return nil, nil
}

func (s *cutoverScreen) open() {
	c := s.course
	i := s.lower.cursor
	show := func(title string, lines func(sh *sheet)) {
		s.text = &textView{title: title, lines: func(w int) []string {
			sh := &sheet{env: s.env, w: w}
			lines(sh)
			return sh.lines
		}}
	}
	switch s.at {
	case paneWaves:
		if s.waves.cursor < len(s.of.Waves) {
			s.wave = newWaveView(s.env, &s.of.Waves[s.waves.cursor])
		}
	case paneTroubles:
		switch n := len(c.sum.troubles); {
		case i < n:
			id := c.sum.troubles[i].ID
			show("Step", func(sh *sheet) { sh.step(s.course.steps[id], c.status(id)) })
		case i-n < len(c.sum.left):
			h := c.sum.left[i-n]
			show(c.named(h.Host), func(sh *sheet) { sh.hostStatus(h) })
		}
	case paneJournal:
		if i < len(c.log) {
			e := c.log[len(c.log)-1-i]
			show(fmt.Sprintf("Journal entry %d", e.Seq), func(sh *sheet) { sh.entry(e, s.course.steps[e.Step]) })
		}
	case paneRefusals:
		if i < len(s.refused) {
			r := s.refused[i]
			show(clean(r.Code), func(sh *sheet) { sh.refusal(r) })
		}
	}
}

// scopes are what a rollback may be asked for here, the narrowest first.
func (s *cutoverScreen) scopes() []cutover.Scope {
	var out []cutover.Scope
	if s.wave != nil {
		if h, ok := s.wave.host(); ok {
			out = append(out, cutover.Scope{Host: &h})
		}
	}
	if i := s.waves.cursor; i < len(s.of.Waves) && !s.course.undone(s.of.Waves[i].Number) {
		out = append(out, cutover.Scope{Wave: &s.of.Waves[i].Number})
	}
	return append(out, cutover.Scope{All: true})
}

func (s *cutoverScreen) view(w, h int) []string {
	switch {
	case s.edit != nil:
		return s.edit.view(w, h)
	case s.text != nil:
		return s.text.view(s.env, w, h)
	case s.course.plan() == nil:
		return s.viewNone(w)
	case s.wave != nil:
		return s.wave.view(s.viewState(w, h), w, h)
	}
	p := s.of
	out := append([]string{s.title("Cutover: plan "+clean(p.ID), fmt.Sprintf("snapshot %d, made %s", p.Snapshot, ago(p.Made, s.now())), w)}, s.viewState(w, h)...)
	if h >= 24 {
		out = append(out, "")
	}
	room := h - len(out) - 1
	waves := min(len(p.Waves), max(room/2, room-12, 2))
	if s.below() == paneWaves {
		waves = min(len(p.Waves), room)
	}
	s.waves.resize(len(p.Waves), waves)
	out = append(out, s.viewWaves(w)...)
	if h >= 24 {
		out = append(out, "")
	}
	return append(out, s.viewBelow(w, h-len(out))...)
}
