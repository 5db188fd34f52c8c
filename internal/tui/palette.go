package tui

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"
)

// action is one thing that can be done, and how else.
type action struct {
	name    string
	key     string // in which screen it holds is told by the name; empty: none
	command string // that does the same; empty: none
	in      intent
	at      screenID // where it is done
}

// finder is the list of all actions, narrowed by what is typed.
type finder struct {
	all   []action
	shown []action
	input line
	list  list
}

// palettes are the actions that have a place of their own, in the order of the stages.
var palettes = []struct {
	at   screenID
	name string
	key  string
	in   intent
}{
	{screenInventory, "Inventory: show it", "1", goTo{screenInventory}},
	{screenInventory, "Inventory: take a new one", "i", startRun{}},
	{screenReadiness, "Readiness: show it", "2", goTo{screenReadiness}},
	{screenReadiness, "Report: write it as HTML", "r", report{}},
	{screenFleet, "Fleet: all hosts in a table", "f", goTo{screenFleet}},
	{screenLedger, "Ledger: who still comes in over SSH", "l", goTo{screenLedger}},
	{screenAccess, "Access: who gets in today and tomorrow", "a", goTo{screenAccess}},
	{screenPrepare, "Prepare: the fixes", "3", goTo{screenPrepare}},
	{screenRecovery, "Recovery: the way back in", "4", goTo{screenRecovery}},
	{screenRecovery, "Recovery: write the runbook", "w", runbook{}},
	{screenRecovery, "Recovery: start a drill", "D", drill{}},
	{screenRecovery, "Recovery: break the glass, open the bastions", "", tellLine{"recovery open --reason TEXT --yes"}},
	{screenRecovery, "Recovery: close the bastions, rotate the key", "", tellLine{"recovery close --yes"}},
	{screenRecovery, "Recovery: make the recovery key", "", tellLine{"recovery init"}},
	{screenCutover, "Cutover: show it", "5", goTo{screenCutover}},
	{screenCutover, "Cutover: make a plan", "n", makePlan{}},
	{screenCutover, "Cutover: move hosts between the waves of the plan", "e", editPlan{}},
	{screenCutover, "Cutover: apply the plan, or go on", "A", apply{}},
	{screenCutover, "Cutover: pause the run", "p", wish{wishPause}},
	{screenCutover, "Cutover: resume the run", "r", wish{wishResume}},
	{screenCutover, "Cutover: one lane more at once", "+", wish{wishMore}},
	{screenCutover, "Cutover: one lane less at once", "-", wish{wishFewer}},
	{screenCutover, "Cutover: stop the run", "S", stopDo{}},
	{screenCutover, "Cutover: roll back", "B", rollBack{}},
	{screenDone, "Done: what has been reached", "6", goTo{screenDone}},
	{screenDone, "Journal: verify it", "", tellLine{"journal --verify"}},
	{screenDone, "Rights: check them", "", tellLine{"doctor"}},
}

// newFinder lists what the present screen can do, then everything that has a place.
func (m *model) newFinder() *finder {
	f := &finder{}
	placed := func(in intent) bool {
		for _, p := range palettes {
			if p.in == in {
				return true
			}
		}
		return false
	}
	for _, s := range m.screens[m.at].context().layers() {
		if s.title == keysMoving.title {
			continue
		}
		for _, b := range s.bindings {
			if _, typed := b.in.(edit); typed || b.help == "" || b.in == (palette{}) || placed(b.in) {
				continue
			}
			f.all = append(f.all, action{name: "Here: " + b.help, key: b.keys[0], command: m.command(b.in), in: b.in, at: m.at})
		}
	}
	for _, p := range palettes {
		f.all = append(f.all, action{name: p.name, key: p.key, command: m.command(p.in), in: p.in, at: p.at})
	}
	if m.env.backend.Demo {
		f.all = append(f.all, action{name: "Demo: break something in the simulated fleet", key: keysDemo.bindings[0].keys[0], command: "migrate demo fault", in: breakIt{}, at: m.at})
	}
	f.narrow()
	return f
}

// narrow keeps what fits to the typed text, the best first.
func (f *finder) narrow() {
	type found struct {
		action
		score int
	}
	var hits []found
	want := string(f.input.text)
	for _, a := range f.all {
		score, ok := fuzzy(want, a.name+" "+a.command)
		if ok {
			hits = append(hits, found{a, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b found) int { return cmp.Compare(b.score, a.score) })
	f.shown = f.shown[:0]
	for _, h := range hits {
		if 2*h.score >= hits[0].score { // letters that are only strewn are chance
			f.shown = append(f.shown, h.action)
		}
	}
	f.list = list{n: len(f.shown), height: f.list.height}
}

// The weights of fuzzy: letters that follow each other, and ones that begin a
// word, say more about what was meant than ones that are strewn.
const (
	scoreNext = 4
	scoreWord = 3
	scoreAny  = 1
)

// fuzzy reports whether the letters of want are in text in their order, and how
// well they fit. Case and blanks do not count.
func fuzzy(want, text string) (score int, ok bool) {
	letters := []rune(strings.ToLower(strings.Join(strings.Fields(want), "")))
	if len(letters) == 0 {
		return 0, true
	}
	all := []rune(strings.ToLower(text))
	best := -1
	for from, r := range all {
		if r == letters[0] {
			if s, ok := fuzzyFrom(letters, all, from); ok {
				best = max(best, s)
			}
		}
	}
	return best, best >= 0
}

// fuzzyFrom takes each letter where it comes first, from a place on.
func fuzzyFrom(letters, all []rune, from int) (score int, ok bool) {
	last := -2
	for _, l := range letters {
		at := slices.Index(all[from:], l)
		if at < 0 {
			return 0, false
		}
		at += from
		switch {
		case at == last+1:
			score += scoreNext
		case at == 0 || !unicode.IsLetter(all[at-1]) && !unicode.IsDigit(all[at-1]):
			score += scoreWord
		default:
			score += scoreAny
		}
		last, from = at, at+1
	}
	return score, true
}

// current is the selected action.
func (f *finder) current() (action, bool) {
	if f.list.cursor < len(f.shown) {
		return f.shown[f.list.cursor], true
	}
	return action{}, false
}

// find acts on an intent while the list of actions is open.
func (m *model) find(in intent) tea.Cmd {
	f := m.finder
	switch in := in.(type) {
	case back:
		m.finder = nil
	case typed:
		f.input.insert(in.text)
		f.narrow()
	case edit:
		f.input.edit(in.op)
		f.narrow()
	case copyLine:
		if a, ok := f.current(); ok {
			return m.copied(a.command)
		}
	case open:
		if a, ok := f.current(); ok {
			m.finder = nil
			return m.choose(a)
		}
	default:
		f.list.handle(in)
	}
	return nil
}

// choose does an action where it belongs.
func (m *model) choose(a action) tea.Cmd {
	if t, ok := a.in.(tellLine); ok {
		return m.copied(m.env.called(t.command))
	}
	var cmd tea.Cmd
	if _, ok := a.in.(report); !ok {
		cmd = m.goTo(a.at)
	}
	return tea.Batch(cmd, m.act(a.in))
}

// viewFinder is the list of actions in lines of so many cells.
func (m *model) viewFinder(inner, h int) []string {
	s, f := m.env.styles, m.finder
	label := "Do: "
	out := []string{fit(s.accent.Render(label)+f.input.view(inner-width(label), s.text, s.cursor), inner), s.frame.Render(strings.Repeat("─", inner))}
	rows := max(h-len(out)-3, 3)
	f.list.resize(len(f.shown), rows)
	from, to := f.list.window()
	for i := from; i < to; i++ {
		a, here := f.shown[i], i == f.list.cursor
		ink := s.text
		if changes(a.in) {
			ink = s.risk
		}
		out = append(out, s.on(here, s.accent).Render(marker(here)+fit(a.key, 6))+s.on(here, ink).Render(fit(a.name, inner-7)))
	}
	if len(f.shown) == 0 {
		out = append(out, s.dim.Render(fit("Nothing is called so.", inner)))
	}
	line := ""
	if a, ok := f.current(); ok && a.command != "" {
		line = "$ " + a.command
	}
	return append(out, s.frame.Render(strings.Repeat("─", inner)), s.dim.Render(fit(line, inner)))
}
