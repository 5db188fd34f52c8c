package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// planEditor moves hosts between the waves of a plan that has not begun. What
// comes of it the planner says: here hosts are only counted.
type planEditor struct {
	*env
	plan  *plan.Plan
	first int        // number of the first wave of hosts
	hosts []editHost // by name
	from  []int32    // the wave of each host in the plan, from 0
	at    []int32    // as it was moved
	waves []editWave // those of hosts, and behind them a new one
	moved int        // hosts that are not where the plan has them
	past  []editStep

	marked []bool
	marks  int
	filter string
	passes []bool  // hosts that the filter lets through; nil: all
	lines  []int32 // of the list: hosts, and ^n for the head of wave n
	list   list
	rows   int // lines of the list drawn last
	typing editTyping
	input  line
	wrong  string // why what is typed is not taken

	version  int // of what is moved
	checking bool
	wanted   bool       // the preview, when it has been made
	checked  *editCheck // what the planner said last
	preview  bool
	lower    list // of the preview
	saving   bool
}

// editHost is one host of the plan. Its texts are clean.
type editHost struct {
	ref                 fleet.HostRef
	name, id            string
	group, zone, closes string
}

type editWave struct {
	name     string // clean
	now, was int    // hosts
}

// editStep is what one move changed.
type editStep struct{ hosts, from []int32 }

// editTyping is what is being typed.
type editTyping int

const (
	editNothing editTyping = iota
	editFilterLine
	editNumber // of a wave
)

// editMsg does in the loop what follows from work outside of it.
type editMsg struct{ then func(m *model) tea.Cmd }

// What is planned while the operator moves hosts: when they rest, and in fleets
// of which a plan is made in a moment.
const (
	editRest  = 400 * time.Millisecond
	editQuick = 5_000 // hosts
)

// newPlanEditor prepares the editor. It looks at every host and step, so it
// runs outside of the loop.
func newPlanEditor(e *env, p *plan.Plan, d *data) *planEditor {
	v := &planEditor{env: e, plan: p, first: max(0, slices.IndexFunc(p.Waves, func(w plan.Wave) bool { return len(w.Hosts) > 0 }))}
	closes := closesOf(p)
	type placed struct {
		editHost
		wave int32
	}
	var all []placed
	for i := range p.Waves {
		w := &p.Waves[i]
		if len(w.Hosts) == 0 {
			continue
		}
		for _, h := range w.Hosts {
			all = append(all, placed{newEditHost(h, d, closes[h]), int32(len(v.waves))})
		}
		v.waves = append(v.waves, editWave{name: clean(waveName(w)), now: len(w.Hosts), was: len(w.Hosts)})
	}
	v.waves = append(v.waves, editWave{name: fmt.Sprintf("wave %d (new)", v.number(len(v.waves)))})
	slices.SortFunc(all, func(a, b placed) int { return cmp.Or(compareNatural(a.name, b.name), a.ref.Compare(b.ref)) })
	for _, h := range all {
		v.hosts, v.from = append(v.hosts, h.editHost), append(v.from, h.wave)
	}
	v.at, v.marked = slices.Clone(v.from), make([]bool, len(v.hosts))
	v.flatten()
	v.list.cursor = min(1, len(v.lines)-1)
	return v
}

func newEditHost(h fleet.HostRef, d *data, closes string) editHost {
	out := editHost{ref: h, name: clean(h.ID), id: clean(h.ID), closes: cmp.Or(closes, "nothing")}
	if d == nil {
		return out
	}
	if i, ok := d.byID[h.ID]; ok {
		r := &d.rows[i]
		out.name, out.group, out.zone = r.name, clean(r.host.AutoScalingGroup), clean(r.host.AZ)
	}
	return out
}

// closesOf says what a plan closes of each host.
func closesOf(p *plan.Plan) map[fleet.HostRef]string {
	keys, port := map[fleet.HostRef]bool{}, map[fleet.HostRef]bool{}
	for i := range p.Waves {
		for k := range p.Waves[i].Steps {
			for _, h := range p.Waves[i].Steps[k].Hosts {
				switch p.Waves[i].Steps[k].Kind {
				case plan.QuarantineKeys:
					keys[h] = true
				case plan.ClosePort:
					port[h] = true
				default:
				}
			}
		}
	}
	out := map[fleet.HostRef]string{}
	for h := range keys {
		out[h] = "keys"
		if port[h] {
			out[h] = "keys, port 22"
		}
	}
	return out
}

// number is the number of a wave in the plan.
func (v *planEditor) number(wave int) int { return v.first + wave }

// flatten makes the list's lines, and keeps the cursor on its host.
func (v *planEditor) flatten() {
	host := int32(-1)
	if l, ok := v.line(); ok && l >= 0 {
		host = l
	}
	byWave := make([][]int32, len(v.waves))
	for i, w := range v.at {
		if v.passes == nil || v.passes[i] {
			byWave[w] = append(byWave[w], int32(i))
		}
	}
	v.lines = v.lines[:0]
	for w := range v.waves {
		v.lines = append(v.lines, ^int32(w))
		v.lines = append(v.lines, byWave[w]...)
	}
	if at := slices.Index(v.lines, host); host >= 0 && at >= 0 {
		v.list.cursor = at
	}
	v.list.resize(len(v.lines), max(v.rows, 1))
}

func (v *planEditor) line() (int32, bool) {
	if v.list.cursor >= len(v.lines) {
		return 0, false
	}
	return v.lines[v.list.cursor], true
}

// chosen are the marked hosts, else the one under the cursor or, on the head of
// a wave, those that the list shows of it.
func (v *planEditor) chosen() []int32 {
	if v.marks > 0 {
		var out []int32
		for i, on := range v.marked {
			if on {
				out = append(out, int32(i))
			}
		}
		return out
	}
	return v.under()
}

func (v *planEditor) under() []int32 {
	l, ok := v.line()
	switch {
	case !ok:
		return nil
	case l >= 0:
		return []int32{l}
	}
	from := v.list.cursor + 1
	to := from
	for to < len(v.lines) && v.lines[to] >= 0 {
		to++
	}
	return slices.Clone(v.lines[from:to])
}

// put moves hosts; to gives the wave of each, which may be its own.
func (v *planEditor) put(hosts []int32, to func(from int32) int32) tea.Cmd {
	var step editStep
	for _, i := range hosts {
		if w := to(v.at[i]); w != v.at[i] {
			step.hosts, step.from = append(step.hosts, i), append(step.from, v.at[i])
			v.place(i, w)
		}
	}
	if step.hosts == nil {
		return nil
	}
	v.past = append(v.past, step)
	return v.changed()
}

func (v *planEditor) place(i, to int32) {
	away := v.at[i] != v.from[i]
	v.waves[v.at[i]].now--
	v.waves[to].now++
	v.at[i] = to
	switch now := to != v.from[i]; {
	case now && !away:
		v.moved++
	case away && !now:
		v.moved--
	}
}

func (v *planEditor) undo() tea.Cmd {
	if len(v.past) == 0 {
		return nil
	}
	step := v.past[len(v.past)-1]
	v.past = v.past[:len(v.past)-1]
	for k, i := range step.hosts {
		v.place(i, step.from[k])
	}
	return v.changed()
}

// changed draws anew, and asks the planner when the operator rests.
func (v *planEditor) changed() tea.Cmd {
	v.version++
	v.flatten()
	if v.tick == nil || len(v.hosts) > editQuick {
		return nil
	}
	version := v.version
	return v.tick(editRest, func(time.Time) tea.Msg {
		return editMsg{func(*model) tea.Cmd {
			if version != v.version || v.checking || v.moved == 0 {
				return nil
			}
			return v.check()
		}}
	})
}

// moves are the hosts that are not where the plan has them.
func (v *planEditor) moves() []plan.Move {
	var out []plan.Move
	for i := range v.at {
		if v.at[i] != v.from[i] {
			out = append(out, plan.Move{Host: v.hosts[i].ref, Wave: v.number(int(v.at[i]))})
		}
	}
	return out
}

func (v *planEditor) handle(in intent) (intent, tea.Cmd) {
	switch {
	case v.preview:
		return v.handlePreview(in)
	case v.typing != editNothing:
		return nil, v.handleTyping(in)
	}
	switch in := in.(type) {
	case open:
		if v.moved > 0 {
			return nil, v.showPreview()
		}
	case drag:
		return nil, v.put(v.chosen(), func(w int32) int32 { return min(max(w+int32(in.by), 0), int32(len(v.waves)-1)) })
	case toWave:
		v.typing, v.wrong = editNumber, ""
		v.input.set("")
	case typed:
		v.typing, v.wrong = editNumber, ""
		v.input.set(in.text)
	case undo:
		return nil, v.undo()
	case mark, markAll:
		v.mark(in)
	case editFilter:
		v.typing, v.wrong = editFilterLine, ""
		v.input.set(v.filter)
	case nextPane:
		v.nextWave()
	case back:
		return v.leave()
	default:
		v.list.handle(in)
	}
	return nil, nil
}

func (v *planEditor) leave() (intent, tea.Cmd) {
	switch {
	case v.filter != "":
		return nil, v.setFilter("")
	case v.marks > 0:
		v.marked, v.marks = make([]bool, len(v.hosts)), 0
		return nil, nil
	}
	return leaveEdit{}, nil
}

// mark marks hosts or, when they all are marked, takes their marks away.
func (v *planEditor) mark(in intent) {
	hosts := v.under()
	if _, all := in.(markAll); all {
		hosts = slices.DeleteFunc(slices.Clone(v.lines), func(l int32) bool { return l < 0 })
	}
	on := slices.ContainsFunc(hosts, func(i int32) bool { return !v.marked[i] })
	for _, i := range hosts {
		if v.marked[i] != on {
			v.marked[i] = on
			if on {
				v.marks++
			} else {
				v.marks--
			}
		}
	}
	if _, one := in.(mark); one {
		v.list.handle(move{1})
	}
}

// nextWave goes to the head of the next wave, behind the last to the first.
func (v *planEditor) nextWave() {
	for n := range v.lines {
		i := (v.list.cursor + 1 + n) % len(v.lines)
		if v.lines[i] < 0 {
			v.list.handle(move{i - v.list.cursor})
			return
		}
	}
}

func (v *planEditor) handleTyping(in intent) tea.Cmd {
	switch in := in.(type) {
	case typed:
		v.input.insert(in.text)
		v.wrong = ""
	case edit:
		v.input.edit(in.op)
		v.wrong = ""
	case back:
		v.typing = editNothing
	case open:
		text := strings.TrimSpace(string(v.input.text))
		if v.typing == editFilterLine {
			return v.setFilter(text)
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < v.first || n > v.number(len(v.waves)-1) {
			v.wrong = fmt.Sprintf("give a wave from %d to %d", v.first, v.number(len(v.waves)-1))
			return nil
		}
		v.typing = editNothing
		return v.put(v.chosen(), func(int32) int32 { return int32(n - v.first) })
	default:
		v.list.handle(in)
	}
	return nil
}

// setFilter keeps the hosts that a filter lets through; the others stay where
// they are. It looks at every host outside of the loop.
func (v *planEditor) setFilter(text string) tea.Cmd {
	if text == "" || v.data == nil {
		v.typing, v.filter, v.passes = editNothing, "", nil
		v.flatten()
		return nil
	}
	f, err := v.data.language.Parse(text, v.now())
	if err != nil {
		v.wrong = clean(err.Error())
		return nil
	}
	d := v.data
	return func() tea.Msg {
		passes := make([]bool, len(v.hosts))
		for i := range v.hosts { // which never changes
			if at, ok := d.byID[v.hosts[i].ref.ID]; ok {
				s := d.rows[at].subject()
				passes[i] = f.Match(&s)
			}
		}
		return editMsg{func(*model) tea.Cmd {
			v.typing, v.filter, v.passes = editNothing, text, passes
			v.flatten()
			return nil
		}}
	}
}
