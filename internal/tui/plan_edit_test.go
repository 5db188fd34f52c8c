package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// movePlan is the plan with hosts in other waves; a wave without hosts goes away.
func (w *world) movePlan(_ context.Context, id string, moves []plan.Move) (*plan.Plan, error) {
	w.moves = moves
	if w.moveErr != nil || id != w.cutover.Plan.ID {
		return nil, errors.Join(w.moveErr, fmt.Errorf("plan %s", id))
	}
	to := map[fleet.HostRef]int{}
	for _, m := range moves {
		to[m.Host] = m.Wave
	}
	p := *w.cutover.Plan
	p.ID, p.Digest, p.Waves = "9b1d44e20c55", "9b1d44e20c55bbbb", slices.Clone(p.Waves)
	p.Waves = append(p.Waves, plan.Wave{Number: len(p.Waves), Name: fmt.Sprintf("wave %d", len(p.Waves))})
	for i := range p.Waves {
		p.Waves[i].Hosts = slices.DeleteFunc(slices.Clone(p.Waves[i].Hosts), func(h fleet.HostRef) bool { _, away := to[h]; return away })
	}
	for _, m := range moves {
		p.Waves[m.Wave].Hosts = append(p.Waves[m.Wave].Hosts, m.Host)
	}
	p.Waves[1].Warnings = w.warnings
	p.Waves = slices.DeleteFunc(p.Waves, func(v plan.Wave) bool { return v.Number > 0 && len(v.Hosts) == 0 })
	return &p, nil
}

// moving is the editor of a plan that has a canary of one host and a wave of four.
func moving(t *testing.T, w, h int) *driver {
	t.Helper()
	return planned(t, nil, w, h).press("e")
}

// moved lists what the planner was asked for last, as "name=wave".
func (d *driver) moved() string {
	var out []string
	for _, m := range d.world.moves {
		out = append(out, fmt.Sprintf("%s=%d", d.world.cutover.Names[m.Host], m.Wave))
	}
	return strings.Join(out, " ")
}

func TestHostsAreMovedByKeys(t *testing.T) {
	names := []string{testRefName(0), testRefName(1), testRefName(2), testRefName(3), testRefName(4)}
	slices.Sort(names[1:])
	for _, tt := range []struct {
		name string
		keys []string
		want string
	}{
		{"the host under the cursor", []string{"J"}, names[0] + "=2"},
		{"to a new wave", []string{"J", "J"}, names[0] + "=3"},
		{"not beyond it", []string{"J", "J", "J"}, names[0] + "=3"},
		{"earlier", []string{"tab", "down", "K"}, names[1] + "=1"},
		{"by shift and arrows", []string{"tab", "down", "shift+up"}, names[1] + "=1"},
		{"several", []string{"tab", "down", "space", "space", "J"}, names[1] + "=3 " + names[2] + "=3"},
		{"marks keep their hosts", []string{"space", "end", "K", "J", "J"}, names[0] + "=3"},
		{"a whole wave", []string{"tab", "J"}, strings.Join(names[1:], "=3 ") + "=3"},
		{"by number", []string{"3", "enter"}, names[0] + "=3"},
		{"by number, asked for", []string{"m", "2", "enter"}, names[0] + "=2"},
		{"undone", []string{"J", "J", "u"}, names[0] + "=2"},
		{"there and back", []string{"tab", "down", "K", "J", "down", "K"}, names[2] + "=1"},
		{"all that a filter shows", []string{"/", "b", "a", "t", "c", "h", "enter", "*", "1", "enter"}, filtered(names[1:], "batch", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := moving(t, 80, 24).press(tt.keys...).press("enter")
			got, want := strings.Fields(d.moved()), strings.Fields(tt.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || len(want) == 0 {
				t.Errorf("moved %q, want %q\n%s", got, want, d.screen())
			}
			d.mustShow("Preview: plan 3f2a9c01d4e7 → 9b1d44e20c55")
		})
	}
}

func testRefName(i int) string {
	h := testHost(i, testNow)
	return h.Name()
}

func filtered(names []string, part string, wave int) string {
	var out []string
	for _, n := range names {
		if strings.Contains(n, part) {
			out = append(out, fmt.Sprintf("%s=%d", n, wave))
		}
	}
	return strings.Join(out, " ")
}

func TestMovesShowAtOnce(t *testing.T) {
	d := moving(t, 80, 24)
	d.mustShow("Wave 1, canary: 1 host ", "Wave 2: 4 hosts", "nothing moved", "Wave 3 (new): J puts hosts here")
	d.press("J")
	d.mustShow("Wave 1, canary: 0 hosts, was 1: the planner chooses others", "Wave 2: 5 hosts, was 4", "1 host moved", "»", "wave 1")
	d.press("u")
	d.mustShow("Wave 1, canary: 1 host ", "nothing moved")
	d.mustNotShow("»")
	d.press("enter")
	if d.world.moves != nil {
		t.Error("nothing is moved, and a plan is made")
	}
}

func TestAPreviewIsStored(t *testing.T) {
	d := moving(t, 80, 24)
	d.world.warnings = []string{"the canary has 2 hosts, and the policy wants 1"}
	d.press("tab", "down", "K", "enter")
	d.mustShow("canary: 1 → 2 hosts", "! the canary has 2 hosts", "wave 2: 4 → 3 hosts", "wave 2 → canary", "Press enter to store")
	d.press("esc")
	d.mustShow("Wave 1, canary: 2 hosts, was 1  !", "! wave 1: the canary has 2 hosts, and the policy wants 1", "Waves of plan 3f2a9c01d4e7")
	d.press("enter", "enter")
	d.mustShow("Plan 9b1d44e20c55 is made and stored", "Cutover: plan 9b1d44e20c55")
}

func TestWhatThePlannerRefusesIsTold(t *testing.T) {
	d := moving(t, 80, 24)
	d.world.moveErr = errors.New("policy: pins: a wave would have no hosts\x1b[31m")
	d.press("J", "enter")
	d.mustShow("The planner refuses: policy: pins: a wave would have no", "Move the hosts otherwise")
	d.world.moveErr = nil
	d.press("K", "tab", "down", "K", "enter")
	d.mustShow("→ 9b1d44e20c55")
	d.world.madeErr = errors.New("disk full")
	d.press("enter")
	d.mustShow("No plan was made: disk full", "→ 9b1d44e20c55")
}

func TestLeavingTheEditorAsksWhereHostsWereMoved(t *testing.T) {
	d := moving(t, 80, 24).press("esc")
	d.mustShow("Cutover: plan 3f2a9c01d4e7")
	for _, key := range []string{"esc", "q", "ctrl+c"} {
		d = moving(t, 80, 24).press("J", key)
		d.mustShow("Leave without making the new plan?", "1 host moved")
		d.press("n")
		d.mustShow("1 host moved")
		d.press(key, "y")
		if left := d.quit || d.m.cutover().edit == nil; !left {
			t.Errorf("%s, y: still there", key)
		}
	}
	d = moving(t, 80, 24).press("space", "/").write("web").press("enter", "esc")
	d.mustNotShow("/ web")
	d.press("esc", "esc")
	d.mustShow("Cutover: plan")
	if d.m.ask != nil {
		t.Error("it asks though nothing was moved")
	}
}

func TestTheEditorNamesItsCommand(t *testing.T) {
	d := moving(t, 200, 50).press("J", "y")
	want := "migrate plan --from 3f2a9c01d4e7 --move " + testRef(0).ID + "=2"
	d.mustShow(want)
	snap, judged := testFleet(60)
	d = newDriver(t, &world{snap: snap, judged: judged, readOnly: true, cutover: testCutover(testPlan(), nil)}, 200, 50, Options{}).press("5", "e", "J", "enter", "enter")
	d.mustShow("Read-only: nothing is changed from here. By command: " + want)
	if d.m.cutover().edit == nil {
		t.Error("the moves are lost")
	}
}

func TestWavesOfAPlanThatHasBegunStay(t *testing.T) {
	d := planned(t, doneHistory().entries, 80, 24).press("e")
	d.mustShow("Plan 3f2a9c01d4e7 has begun: its hosts stay in their waves")
	if d.m.cutover().edit != nil {
		t.Error("it can be edited")
	}
	stocked(t, 60, 80, 24).press("5", ":").write("move hosts between").press("enter").mustShow("There is no plan yet")
}

// The planner is asked when the operator rests, and what it said of earlier moves is dropped.
func TestThePlannerIsAskedWhenTheOperatorRests(t *testing.T) {
	d := moving(t, 80, 24)
	d.world.warnings = []string{"too large"}
	var rests []tea.Cmd
	d.m.env.tick = func(_ time.Duration, then func(time.Time) tea.Msg) tea.Cmd {
		rests = append(rests, func() tea.Msg { return then(testNow) })
		return nil
	}
	d.press("tab", "down", "K", "down", "down", "down", "K")
	d.run(rests[0])
	if d.world.moves != nil {
		t.Error("the planner is asked about what was moved on")
	}
	d.run(rests[len(rests)-1])
	d.mustShow("Wave 1, canary: 3 hosts, was 1  !", "! wave 1: too large")
	if len(d.world.moves) != 2 {
		t.Errorf("asked about %v", d.world.moves)
	}
}

func TestAWaveThatIsNotThereIsRefused(t *testing.T) {
	for _, number := range []string{"0", "9", "", "99999999999999999999", "2147483650"} {
		d := moving(t, 80, 24).press("m").write(number).press("enter")
		d.mustShow("give a wave from 1 to 3")
		d.press("esc")
		d.mustShow("nothing moved")
	}
}

func TestHostileNamesInTheEditor(t *testing.T) {
	snap, judged := testFleet(60)
	snap.Hosts[0].Tags["Name"], snap.Hosts[0].AutoScalingGroup = "evil\x1b]0;x\x07\x1b[2J", "asg\x1b[31m"
	p := testPlan()
	p.Waves[1].Name = "canary\x1b[2J"
	d := newDriver(t, &world{snap: snap, judged: judged, cutover: testCutover(p, nil)}, 200, 50, Options{NoColor: true}).press("5", "e", "J", "enter")
	for _, text := range []string{d.m.View().Content, d.press("esc").m.View().Content} {
		if strings.Contains(text, "\x1b]") || strings.Contains(text, "\x1b[2J") || strings.Contains(text, "\x1b[31m") {
			t.Errorf("an escape sequence gets through: %q", text)
		}
	}
}

// A key in the editor costs little with 100,000 hosts.
func BenchmarkPlanEditor(b *testing.B) {
	snap, judged := testFleet(manyHosts)
	p := testPlan()
	p.Waves = p.Waves[:1]
	for i := range 6 {
		w := plan.Wave{Number: 1 + i, Name: fmt.Sprintf("wave %d", 1+i)}
		for k := i; k < manyHosts; k += 6 {
			w.Hosts = append(w.Hosts, snap.Hosts[k].Ref())
		}
		p.Waves = append(p.Waves, w)
	}
	m := newModel(b.Context(), Backend{}, Options{Now: time.Now}, nil)
	m.width, m.height = 200, 50
	settle(m, loadedMsg{data: newData(snap, judged)})
	m.act(goTo{screenCutover})
	settle(m, standsMsg{state: testCutover(p, nil)})
	settle(m, m.editPlan()())
	for _, bench := range []struct {
		name string
		keys []tea.KeyPressMsg
	}{{"move", keys("j")}, {"drag", keys("J", "K")}, {"dragwave", keys("tab", "J", "u")}, {"mark", keys("space")}, {"markall", keys("*")}} {
		b.Run(bench.name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				m.Update(bench.keys[i%len(bench.keys)])
				if m.View().Content == "" {
					b.Fatal("nothing was drawn")
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
		})
	}
}
