package tui

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

func TestTheRiskLineIsOnEveryScreen(t *testing.T) {
	d := planned(t, halfway(testPlan()).entries, 120, 40)
	for _, key := range []string{"1", "2", "3", "4", "5", "6", "f", "l", "a", "?"} {
		d.press(key)
		d.mustShow(" Risk ", "closed 1/5 hosts", "! 1 timer 10:35 min", "way back 4/6, 60 min", "sessions 5, 4 min", "drill 60 min ago", testAccount, testRegion, "DEMO")
	}
	planned(t, halfway(testPlan()).entries, 200, 50).mustShow("! 1 timer armed, the next opens in 10:35 min · way back 4/6 proved, oldest 60 min · sessions 5 proved, oldest 4 min")
	planned(t, halfway(testPlan()).entries, 80, 24).mustShow("closed 1/5 · ! 1 timer 10:35 min · way back 4/6, 60 min", "drill 60 min ago")
	newDriver(t, &world{}, 120, 40, Options{}).mustShow("no host closed · no timer · no way back proved · no session proved · no drill yet")
	newDriver(t, &world{cutoverErr: errors.New("file is not a database")}, 120, 40, Options{}).mustShow("? not known: where things stand cannot be read")
	broken := newHistory(testPlan(), testNow).run("apply").step(0, 0, cutover.Ours)
	planned(t, broken.entries, 120, 40).mustShow("? not known: the journal is not read")
}

func TestTheRiskLineWarnsOfATimerThatIsDue(t *testing.T) {
	h := halfway(testPlan())
	d := planned(t, h.entries, 120, 40)
	d.m.env.now = func() time.Time { return testNow.Add(time.Hour) }
	d.mustShow("! 1 timer, one is due")
}

func TestAccountsAndRegionsAreNamed(t *testing.T) {
	d := stocked(t, 5, 120, 40)
	d.m.env.backend.Place = "prod · migrate.db"
	d.mustShow(" migrate  " + testAccount + " " + testRegion + " · prod · migrate.db")
	region := d.m.env.data.snap.Regions[0]
	for i := range 4 {
		region.Name = fmt.Sprintf("us-east-%d", i)
		d.m.env.data.snap.Regions = append(d.m.env.data.snap.Regions, region)
	}
	d.mustShow(testAccount + " 5 Regions · prod")
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	snap, judged := testFleet(60)
	p := testPlan()
	open := func(entries []cutover.Entry) *driver {
		w := &world{snap: snap, judged: judged, made: p, readOnly: true, cutover: testCutover(p, entries)}
		return newDriver(t, w, 120, 40, Options{}).press("5")
	}
	for _, tt := range []struct {
		keys    []string
		command string
	}{
		{[]string{"A"}, "migrate apply 3f2a9c01d4e7"}, {[]string{"B"}, "migrate rollback 3f2a9c01d4e7 --all"}, {[]string{"n"}, "migrate plan"},
		{[]string{"2", "i"}, "migrate inventory"}, {[]string{"4", "D"}, "migrate recovery drill --yes"},
	} {
		d := open(halfway(p).entries).press(tt.keys...)
		d.mustShow("READ-ONLY", "Read-only: nothing is changed from here", tt.command)
		if d.m.confirm != nil || d.world.runs > 0 || len(d.world.began)+len(d.world.kept) > 0 {
			t.Errorf("%v: runs %d, began %v, kept %v", tt.keys, d.world.runs, d.world.began, d.world.kept)
		}
	}
	elsewhere := open(halfway(p).entries)
	elsewhere.world.cutover.Holder = "bob@build"
	elsewhere.press("1", "5")
	for _, key := range []string{"p", "r", "+", "-", "S", "B"} {
		elsewhere.press(key).mustShow("Read-only: ")
		if w := elsewhere.world.cutover.Wish; w != (cutover.Wish{}) {
			t.Errorf("%s changed the wish to %+v", key, w)
		}
	}
	elsewhere.press(":").write("drill").press("enter").mustShow("Read-only: ")
	elsewhere.world.report = "/r.html"
	elsewhere.press("2", "r").mustShow("The report is in /r.html") // changes nothing
}

func TestThePaletteFindsAndDoes(t *testing.T) {
	d := planned(t, nil, 120, 40).press("1", ":").write("cutover ro")
	d.mustShow("B     Cutover: roll back", "$ migrate rollback 3f2a9c01d4e7 --all")
	d.mustNotShow("Recovery: start a drill")
	d.press("ctrl+u").write("fleet hosts").press("enter").mustShow("Fleet: 60 hosts")
	d.press("ctrl+p").write("apply").press("enter").mustShow("5 Cutover", "Apply plan 3f2a9c01d4e7?", "$ migrate apply 3f2a9c01d4e7")
	d.press("esc", ":").write("xyzzy").mustShow("Nothing is called so.")
	d.press("enter", "esc").mustNotShow("Nothing is called so.")
	d.press(":").write("break glass").press("enter").mustShow("Copied", "migrate recovery open --reason TEXT --yes")
	if len(d.world.began) > 0 {
		t.Errorf("began %v", d.world.began)
	}
}

// Every action is in the list, with what does the same on the command line.
func TestThePaletteHasEveryKeyOfTheScreen(t *testing.T) {
	for c, stage := range contexts {
		if c.typing() || c == ctxAsk || c == ctxDecide || c == ctxStopping || c == ctxHelp {
			continue
		}
		f := stage(t).m.newFinder()
		for _, s := range c.layers() {
			for _, b := range s.bindings {
				if s.title == keysMoving.title || b.in == (palette{}) {
					continue
				}
				if !slices.ContainsFunc(f.all, func(a action) bool { return a.in == b.in }) {
					t.Errorf("context %d: %v (%s) is not in the list", c, b.keys, b.help)
				}
			}
		}
		for _, a := range f.all {
			if changes(a.in) && a.command == "" {
				t.Errorf("%s names no command", a.name)
			}
		}
	}
}

func TestFuzzy(t *testing.T) {
	for _, tt := range []struct {
		want, text string
		ok         bool
	}{{"", "x", true}, {"rb", "roll back", true}, {"ROLL", "roll back", true}, {"br", "roll", false}, {"r o l l", "Cutover: roll", true}, {"é", "café", true}} {
		if _, ok := fuzzy(tt.want, tt.text); ok != tt.ok {
			t.Errorf("%q in %q: %v", tt.want, tt.text, ok)
		}
	}
	word, _ := fuzzy("back", "roll back")
	strewn, _ := fuzzy("back", "bring a clock")
	if word <= strewn {
		t.Errorf("a word scores %d, strewn letters %d", word, strewn)
	}
}

func FuzzFuzzy(f *testing.F) {
	f.Add("rb", "roll back")
	f.Add("\xff", "ſ İ")
	f.Fuzz(func(t *testing.T, want, text string) {
		score, ok := fuzzy(want, text)
		if ok && score < 0 || !ok && score >= 0 && strings.TrimSpace(want) != "" {
			t.Errorf("%q in %q: %d, %v", want, text, score, ok)
		}
		if _, ok := fuzzy(text, text); !ok {
			t.Errorf("%q is not in itself", text)
		}
	})
}

// clipboard is what a command puts into the terminal's clipboard; empty: nothing.
func clipboard(cmd tea.Cmd) string {
	if cmd == nil {
		return ""
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			if text := clipboard(c); text != "" {
				return text
			}
		}
	case nil:
	default:
		if reflect.TypeOf(msg) == reflect.TypeOf(tea.SetClipboard("")()) {
			return fmt.Sprint(msg)
		}
	}
	return ""
}

func TestCommandsAreCopied(t *testing.T) {
	for _, tt := range []struct {
		keys []string
		key  string
		want string
	}{
		{[]string{"1"}, "y", "snapshots"}, {[]string{"2"}, "y", "readiness"}, {[]string{"3"}, "y", "plan show 3f2a9c01d4e7"}, {[]string{"4"}, "y", "recovery status"},
		{nil, "y", "status 3f2a9c01d4e7"}, {[]string{"6"}, "y", "drift 3f2a9c01d4e7"}, {[]string{"f"}, "y", "hosts"}, {[]string{"l"}, "y", "ledger"}, {[]string{"a"}, "y", "access"},
		{[]string{"A", "down"}, "ctrl+y", "apply 3f2a9c01d4e7 --wave 1"}, {[]string{":", "p", "a", "u"}, "ctrl+y", "pause 3f2a9c01d4e7"},
	} {
		d := planned(t, nil, 120, 40)
		d.m.env.backend.Command = "migrate --db /srv/m.db"
		d.press(tt.keys...)
		_, cmd := d.m.Update(keyPress(t, tt.key))
		if got, want := clipboard(cmd), "migrate --db /srv/m.db "+tt.want; got != want {
			t.Errorf("after %v: copied %q, want %q", tt.keys, got, want)
		}
		d.mustShow("Copied, if your terminal lets programs copy: migrate --db /srv/m.db " + tt.want)
	}
}

func TestStagesAreClicked(t *testing.T) {
	d := planned(t, nil, 80, 24)
	lines := strings.Split(d.screen(), "\n")
	click := func(x, y int) { d.send(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft}) }
	for y, l := range lines {
		for id, name := range stageNames {
			if strings.Contains(l[:min(len(l), 18)], name) {
				d.m.at = screenFleet
				click(4, y)
				if d.m.at != screenID(id) {
					t.Errorf("a click on %q leads to screen %d", name, d.m.at)
				}
				d.m.at = screenFleet
				click(4, y+1) // its state
				if d.m.at != screenID(id) {
					t.Errorf("a click under %q leads to screen %d", name, d.m.at)
				}
			}
		}
	}
	d.press("5")
	for _, at := range [][2]int{{30, 2}, {4, 0}, {4, 1}, {4, 23}, {-1, -1}, {4, 500}} {
		click(at[0], at[1])
		if d.m.at != screenCutover {
			t.Fatalf("a click at %v leads to screen %d", at, d.m.at)
		}
	}
	d.press("A")
	click(4, 2)
	d.mustShow("Apply plan 3f2a9c01d4e7?") // what is asked is not passed over
	d.press("esc", "?")
	click(4, 2)
	d.mustShow("60 listed")
	d.press("f")
	before := d.screen()
	d.send(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	if d.screen() == before {
		t.Error("the wheel moves nothing")
	}
	d.send(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if d.screen() != before {
		t.Error("the wheel does not move back")
	}
}

func TestTheStageIsKeptAndShownAgain(t *testing.T) {
	snap, judged := testFleet(10)
	p := testPlan()
	for i, name := range stageNames {
		w := &world{snap: snap, judged: judged, cutover: testCutover(p, halfway(p).entries)}
		d := newDriver(t, w, 80, 24, Options{}).press("f", "6", "5", fmt.Sprint(i+1))
		kept := w.kept[len(w.kept)-1]
		if kept != name {
			t.Errorf("stage %d is kept as %q, want %q", i+1, kept, name)
		}
		again := newDriver(t, &world{snap: snap, judged: judged, cutover: w.cutover, stage: kept}, 80, 24, Options{})
		if again.m.at != screenID(i) || again.screen() != d.screen() {
			t.Errorf("after a start in stage %s it shows:\n%s\nwant:\n%s", name, again.screen(), d.screen())
		}
	}
	newDriver(t, &world{stage: "Nonsense"}, 80, 24, Options{}).mustShow("Press enter to take the inventory")
	full := newDriver(t, &world{keepErr: errors.New("disk full")}, 80, 24, Options{}).press("2")
	full.mustShow("Where you are was not kept: disk full")
}

// A run that another process begins is noticed without a key.
func TestARunThatBeginsElsewhereIsNoticed(t *testing.T) {
	p := testPlan()
	d := planned(t, nil, 80, 24)
	d.world.cutover = testCutover(p, halfway(p).entries)
	d.world.cutover.Holder = "bob@build"
	d.send(polledMsg{err: errors.New("busy")})
	d.mustNotShow("Run by bob")
	d.send(polledMsg{holder: "bob@build"})
	d.mustShow("Run by bob@build", "16 of 28")
}

func testDrill() *plan.Plan {
	p := &plan.Plan{ID: "d1d2d3d4d5d6", Purpose: plan.Drill, Waves: []plan.Wave{{Name: "drill"}}, Refusals: []plan.Refusal{{Host: testRef(9), Text: "it is not running"}}}
	for _, vpc := range []string{"vpc-0a", "vpc-0b"} {
		p.Waves[0].Steps = append(p.Waves[0].Steps, plan.Step{ID: "drill/" + vpc, Kind: plan.RecoveryDrill, Phase: plan.Prove, Recovery: &plan.RecoveryChange{VPC: vpc}, Hosts: p.Waves[0].Hosts})
	}
	p.Waves[0].Steps[0].Hosts = append(p.Waves[0].Steps[0].Hosts, testRef(0), testRef(1))
	return p
}

// phase lets the drill get to a phase.
func (d *driver) phase(vpc string, phase cutover.DrillPhase, at time.Time) {
	done := make(chan struct{})
	d.world.acts <- func(_ context.Context, t Talk) {
		t.Drill(DrillReport{vpc, phase, at})
		close(done)
	}
	<-done
	d.pump()
}

func drilling(t *testing.T, w, h int) *driver {
	t.Helper()
	d := planned(t, nil, w, h)
	d.world.drill = testDrill()
	return d.press("4", "D").write("d1d2d3d4d5d6").press("enter")
}

func TestADrillIsPreviewedAndShownLive(t *testing.T) {
	d := planned(t, nil, 120, 40)
	d.world.drill = testDrill()
	d.press("1", ":").write("drill").press("enter")
	d.mustShow("Rehearse the way back?", "It starts 2 bastions, logs in through them to 2 hosts", "Not tried: 1 host; the first: it is not running", "$ migrate recovery drill --yes", "Type d1d2d3d4d5d6")
	d.press("esc")
	if len(d.world.began) > 0 {
		t.Fatalf("began %v without a yes", d.world.began)
	}
	d.press("D").write("d1d2d3d4d5d6").press("enter")
	d.phase("vpc-0a", cutover.DrillLaunch, testNow.Add(-100*time.Second))
	d.phase("vpc-0a", cutover.DrillConsole, testNow.Add(-35*time.Second))
	d.mustShow("Drill d1d2d3d4d5d6, under way", "vpc-0a: ✓ launch 1:05  … host keys 0:35  ○ bastion  ○ logins  ○ to zero", "vpc-0b: waits", "drill under way", "the drill ends by itself")
	for _, key := range []string{"D", "5", "A", "B"} {
		d.press(key)
	}
	d.mustShow("one changes the fleet at a time")
	if want := []string{"drill d1d2d3d4d5d6"}; !slices.Equal(d.world.began, want) {
		t.Errorf("began %v, want %v", d.world.began, want)
	}
	d.press("4")
	d.phase("vpc-0a", cutover.DrillOver, testNow)
	d.mustShow("✓ host keys 0:35")
	d.over(cutover.Result{Outcome: cutover.OutcomeDone}, nil)
	d.mustShow("The drill is done in")
	d.mustNotShow("under way")
}

func TestADrillThatFailsSaysWhy(t *testing.T) {
	d := drilling(t, 120, 40)
	d.journal(cutover.Entry{Event: cutover.Failed, Step: "drill/vpc-0a", Detail: "the recovery bastion does not come into service"})
	d.over(cutover.Result{Outcome: cutover.OutcomePartly}, nil)
	d.mustShow("The drill failed: the recovery bastion does not come into service")
	d = drilling(t, 120, 40)
	d.over(cutover.Result{}, errors.New("keep the lease"))
	d.mustShow("The drill could not go on: keep the lease")
	d = planned(t, nil, 120, 40)
	d.world.drillErr = errors.New("no running host has a recovery key")
	d.press("4", "D").mustShow("No drill: no running host has a recovery key")
}

func TestLeavingADrillBringsItsBastionsBack(t *testing.T) {
	d := drilling(t, 120, 40).press("q")
	d.mustShow("A drill is under way. Stop it and leave?", "brought back to zero")
	d.press("y")
	if d.quit {
		t.Fatal("left before the drill had returned")
	}
	d.settle()
	if !d.quit || d.m.abandoned {
		t.Errorf("quit %v, abandoned %v", d.quit, d.m.abandoned)
	}
}

func TestADrillThatWasBrokenOffIsGoneOnWith(t *testing.T) {
	d := planned(t, nil, 120, 40)
	d.world.cutover.Drill = testDrill()
	d.press("1", "4").mustShow("A drill was broken off (plan d1d2d3d4d5d6)", "Press D to go on with the drill")
	d.world.cutover.Holder = "bob@build"
	d.press("1", "4").mustNotShow("broken off (plan")
}

// What does not change is not drawn anew: the program writes only what differs.
func TestNothingMovesByItself(t *testing.T) {
	d := planned(t, nil, 120, 40)
	before := d.m.View().Content
	d.send(tickMsg{})
	d.send(polledMsg{})
	d.send(fedMsg{})
	if d.m.View().Content != before {
		t.Error("the screen changes though nothing happened")
	}
}
