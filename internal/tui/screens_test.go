package tui

import (
	"errors"
	"fmt"
	"image/color"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// scenes are the screens that golden files and size checks look at.
var scenes = []struct {
	name  string
	stage func(t *testing.T, w, h int) *driver
}{
	{"empty", func(t *testing.T, w, h int) *driver { return newDriver(t, &world{}, w, h, Options{}) }},
	{"running", func(t *testing.T, w, h int) *driver { return running(t, w, h, 34) }},
	{"taken", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h) }},
	{"complete", func(t *testing.T, w, h int) *driver { return newDriver(t, completeWorld(), w, h, Options{}) }},
	{"reason", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("down", "enter") }},
	{"readiness", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("2") }},
	{"readiness-source", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("2", "end") }},
	{"finding", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("2", "down", "down", "down", "enter")
	}},
	{"prepare-none", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("3") }},
	{"prepare", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("3") }},
	{"recovery", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("4", "down") }},
	{"recovery-drill-asks", func(t *testing.T, w, h int) *driver {
		d := planned(t, nil, w, h)
		d.world.drill = testDrill()
		return d.press("4", "D")
	}},
	{"recovery-drill", func(t *testing.T, w, h int) *driver {
		d := drilling(t, w, h)
		d.phase("vpc-0a", cutover.DrillLaunch, testNow.Add(-100*time.Second))
		d.phase("vpc-0a", cutover.DrillConsole, testNow.Add(-35*time.Second))
		return d
	}},
	{"recovery-host", func(t *testing.T, w, h int) *driver {
		return planned(t, nil, w, h).press("4", "end", "up", "enter")
	}},
	{"cutover-none", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("5") }},
	{"cutover-planned", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h) }},
	{"cutover-refusals", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("tab", "down") }},
	{"cutover-refusal", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("tab", "enter") }},
	{"cutover-wave", func(t *testing.T, w, h int) *driver {
		return planned(t, nil, w, h).press("end", "enter", "down", "down", "down", "down", "down", "down", "down", "down", "down")
	}},
	{"cutover-step", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("enter", "enter") }},
	{"edit", func(t *testing.T, w, h int) *driver { return moving(t, w, h) }},
	{"edit-moved", func(t *testing.T, w, h int) *driver {
		return moving(t, w, h).press("tab", "down", "space", "space", "K", "esc", "end", "up", "J")
	}},
	{"edit-number", func(t *testing.T, w, h int) *driver { return moving(t, w, h).press("J", "9", "enter") }},
	{"edit-preview", func(t *testing.T, w, h int) *driver {
		d := moving(t, w, h)
		d.world.warnings = []string{"the canary has 2 hosts, and the policy wants 1"}
		return d.press("tab", "down", "K", "end", "up", "J", "enter")
	}},
	{"edit-leave", func(t *testing.T, w, h int) *driver { return moving(t, w, h).press("J", "esc") }},
	{"cutover-confirm", func(t *testing.T, w, h int) *driver { return planned(t, nil, w, h).press("A", "down").write("3f2a") }},
	{"cutover-running", func(t *testing.T, w, h int) *driver { return applying(t, halfway(testPlan()), w, h) }},
	{"cutover-wave-running", func(t *testing.T, w, h int) *driver {
		return applying(t, halfway(testPlan()), w, h).press("enter", "tab")
	}},
	{"cutover-paused", func(t *testing.T, w, h int) *driver {
		p := testPlan()
		return applying(t, halfway(p).add(cutover.Entry{Wave: 2, Event: cutover.Paused, Detail: "by ann: incident 4711"}), w, h)
	}},
	{"cutover-asks", func(t *testing.T, w, h int) *driver {
		p := testPlan()
		d := applying(t, halfway(p), w, h)
		d.question(cutover.Question{Wave: p.Waves[2], Text: "wave 2, after quarantine: 1 host gave no answer: i/o timeout", Hosts: p.Waves[2].Hosts[:1],
			Timers: []cutover.Risk{{Step: p.Waves[2].Steps[8].ID, Hosts: p.Waves[2].Hosts[:1], Deadline: testNow.Add(9*time.Minute + 3*time.Second)}}})
		return d
	}},
	{"cutover-rollback", func(t *testing.T, w, h int) *driver {
		return planned(t, halfway(testPlan()).entries, w, h).press("end", "enter", "tab", "B")
	}},
	{"cutover-broken", func(t *testing.T, w, h int) *driver { return planned(t, halfway(testPlan()).entries, w, h) }},
	{"cutover-failed", func(t *testing.T, w, h int) *driver { return planned(t, failedHistory().entries, w, h) }},
	{"cutover-quit", func(t *testing.T, w, h int) *driver { return applying(t, halfway(testPlan()), w, h).press("q") }},
	{"done", func(t *testing.T, w, h int) *driver { return planned(t, doneHistory().entries, w, h).press("6") }},
	{"fleet", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("f", "down", "down") }},
	{"fleet-cause", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("2", "down", "enter") }},
	{"filter", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "/").write("status:blocked az=eu-west-1a -cache")
	}},
	{"filter-error", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "/").write("status:blocked taem=shop")
	}},
	{"fleet-groupings", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("f", "o", "down", "down") }},
	{"fleet-grouped", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "o").write("az").press("enter", "space", "enter", "down", "space")
	}},
	{"fleet-marked", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "down", "space", "space", "end", "space", "/").write("cause=role-lacks-channel").press("enter")
	}},
	{"fleet-commands", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "down", "space", "space", "/").write("status:blocked").press("enter", "x")
	}},
	{"fleet-name", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "/").write("status:blocked").press("enter", "V").write("to do")
	}},
	{"fleet-views", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "V").write("all of it").press("enter", "/").write("status:blocked team=shop").press("enter", "s", "V").write("to do").press("enter", "v", "down")
	}},
	{"host", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("f", "enter") }},
	{"host-keys", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("f", "enter", "end") }},
	{"host-blocked", func(t *testing.T, w, h int) *driver {
		return stocked(t, 60, w, h).press("f", "/").write("cause=role-lacks-channel").press("enter", "enter")
	}},
	{"ledger", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("l") }},
	{"ledger-consumer", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("l", "down", "enter") }},
	{"access", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("a") }},
	{"access-person", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("a", "enter") }},
	{"access-operators", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("a", "tab", "down") }},
	{"help", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("f", "?") }},
	{"quit", func(t *testing.T, w, h int) *driver { return running(t, w, h, 34).press("q") }},
	{"inventory-failed", func(t *testing.T, w, h int) *driver {
		d := running(t, w, h, 34)
		d.finish(errors.New("account 123456789012: the security token included in the request is expired; sign in again"))
		return d
	}},
	{"inventory-stopped", func(t *testing.T, w, h int) *driver {
		d := stocked(t, 60, w, h).press("i")
		d.emit(testEvents(34)...)
		d.press("x", "y").settle()
		return d
	}},
	{"inventory-unread", func(t *testing.T, w, h int) *driver {
		return newDriver(t, &world{loadErr: errors.New("snapshot 3 in the state file: file is not a database")}, w, h, Options{})
	}},
	{"readiness-none", func(t *testing.T, w, h int) *driver { return newDriver(t, &world{}, w, h, Options{}).press("2") }},
	{"readiness-running", func(t *testing.T, w, h int) *driver { return running(t, w, h, 34).press("2") }},
	{"readiness-ready", func(t *testing.T, w, h int) *driver { return newDriver(t, completeWorld(), w, h, Options{}).press("2") }},
	{"prepare-empty", func(t *testing.T, w, h int) *driver { return newDriver(t, &world{}, w, h, Options{}).press("3") }},
	{"prepare-running", func(t *testing.T, w, h int) *driver { return applying(t, halfway(testPlan()), w, h).press("3", "down") }},
	{"prepare-failed", func(t *testing.T, w, h int) *driver {
		return planned(t, failedHistory().entries, w, h).press("3", "down", "down")
	}},
	{"prepare-done", func(t *testing.T, w, h int) *driver { return planned(t, doneHistory().entries, w, h).press("3") }},
	{"recovery-empty", func(t *testing.T, w, h int) *driver { return newDriver(t, &world{}, w, h, Options{}).press("4") }},
	{"recovery-no-key", func(t *testing.T, w, h int) *driver { return recovering(t, w, h, noRecoveryKey) }},
	{"recovery-proved", func(t *testing.T, w, h int) *driver { return recovering(t, w, h, allProved) }},
	{"recovery-not-at-zero", func(t *testing.T, w, h int) *driver {
		return recovering(t, w, h, func(c *Cutover) { c.Recovery[0].Zero = fleet.TruthNo })
	}},
	{"recovery-drill-broken-off", func(t *testing.T, w, h int) *driver {
		return recovering(t, w, h, func(c *Cutover) { c.Drill = testDrill() })
	}},
	{"recovery-drill-failed", func(t *testing.T, w, h int) *driver {
		d := drilling(t, w, h)
		d.phase("vpc-0a", cutover.DrillLaunch, testNow.Add(-100*time.Second))
		d.journal(cutover.Entry{Seq: 1, Event: cutover.Failed, Step: "drill/vpc-0a", Detail: "web-1 refused the recovery key: permission denied (publickey)"})
		d.over(cutover.Result{Outcome: cutover.OutcomePartly, Reason: "a drill failed"}, nil)
		return d
	}},
	{"cutover-empty", func(t *testing.T, w, h int) *driver {
		return newDriver(t, &world{cutover: &Cutover{Policy: plan.DefaultPolicy(), PolicyFile: "migrate-policy.yaml"}}, w, h, Options{}).press("5")
	}},
	{"cutover-stopping", func(t *testing.T, w, h int) *driver {
		d := applying(t, halfway(testPlan()), w, h)
		d.world.holds = true
		return d.press("S", "y")
	}},
	{"cutover-elsewhere", func(t *testing.T, w, h int) *driver {
		d := planned(t, halfway(testPlan()).entries, w, h)
		other := *d.world.cutover
		other.Holder, other.Until = "ann@laptop (migrate apply)", testNow.Add(42*time.Second)
		d.world.cutover = &other
		return d.press("1", "5")
	}},
	{"cutover-rolling-back", func(t *testing.T, w, h int) *driver {
		d := planned(t, halfway(testPlan()).entries, w, h).press("B", "down").write("3f2a9c01d4e7").press("enter")
		d.journal(takenBack().entries[len(halfway(testPlan()).entries):][:6]...)
		return d
	}},
	{"cutover-rolled-back", func(t *testing.T, w, h int) *driver { return planned(t, takenBack().entries, w, h) }},
	{"cutover-done", func(t *testing.T, w, h int) *driver { return planned(t, doneHistory().entries, w, h) }},
	{"cutover-read-only", func(t *testing.T, w, h int) *driver {
		d := planned(t, halfway(testPlan()).entries, w, h)
		d.m.env.backend.ReadOnly = true
		return d.press("A")
	}},
	{"done-none", func(t *testing.T, w, h int) *driver { return newDriver(t, &world{}, w, h, Options{}).press("6") }},
	{"done-halfway", func(t *testing.T, w, h int) *driver { return applying(t, halfway(testPlan()), w, h).press("6") }},
	{"done-failed", func(t *testing.T, w, h int) *driver { return planned(t, failedHistory().entries, w, h).press("6") }},
	{"done-rolled-back", func(t *testing.T, w, h int) *driver { return planned(t, takenBack().entries, w, h).press("6") }},
	{"actions", func(t *testing.T, w, h int) *driver {
		return planned(t, nil, w, h).press(":").write("roll")
	}},
	{"report", func(t *testing.T, w, h int) *driver { return stocked(t, 60, w, h).press("2", "r") }},
}

// recovering is the stage of the way back in another state than usual.
func recovering(t *testing.T, w, h int, change func(*Cutover)) *driver {
	t.Helper()
	d := planned(t, nil, w, h)
	change(d.world.cutover)
	return d.press("1", "4")
}

func noRecoveryKey(c *Cutover) {
	c.Policy.Recovery.PublicKey, c.Keys, c.RecoveryKey = "", nil, false
	for i := range c.Recovery[0].Hosts {
		h := &c.Recovery[0].Hosts[i]
		h.Key, h.Rule, h.Login, h.Proof = fleet.TruthNo, fleet.TruthNo, fleet.TruthUnknown, fleet.Proof{}
	}
	c.Recovery[0].There, c.Recovery[0].Drill = fleet.TruthNo, nil
}

func allProved(c *Cutover) {
	c.Recovery = c.Recovery[:1]
	c.Recovery[0].Hosts = c.Recovery[0].Hosts[:4]
}

// takenBack is halfway, and all of it undone.
func takenBack() *history {
	h := halfway(testPlan()).run("rollback --all")
	for _, w := range []int{2, 1, 0} {
		for i := len(h.plan.Waves[w].Steps) - 1; i >= 0; i-- {
			if w < 2 || i <= 9 {
				h.step(w, i, cutover.UndoBegan, cutover.Undone)
			}
		}
	}
	return h.add(cutover.Entry{Event: cutover.RunEnded, Detail: "rolled back"})
}

// running is an inventory that is under way, from nothing.
func running(t *testing.T, w, h, probed int) *driver {
	t.Helper()
	d := newDriver(t, &world{}, w, h, Options{}).press("enter")
	d.emit(testEvents(probed)...)
	return d
}

// completeWorld is a fleet of which everything is known and good.
func completeWorld() *world {
	snap, judged := testFleet(5)
	snap.State, snap.Unknowns, snap.Hosts = fleet.SnapshotComplete, 0, snap.Hosts[:1]
	snap.Regions[0].Endpoints = fleet.Known([]fleet.VPCEndpoint{{}}, "ec2:DescribeVpcEndpoints", testNow)
	snap.Regions[0].PrefixLists = fleet.Known([]fleet.PrefixList{{}}, "ec2:DescribeManagedPrefixLists", testNow)
	judged.Hosts, judged.Findings = judged.Hosts[:1], nil
	return &world{snap: snap, judged: judged}
}

func TestScreens(t *testing.T) {
	for _, s := range scenes {
		for _, size := range [][2]int{{80, 24}, {120, 40}} {
			name := fmt.Sprintf("%s-%dx%d", s.name, size[0], size[1])
			t.Run(name, func(t *testing.T) { golden(t, name, s.stage(t, size[0], size[1]).screen()) })
		}
	}
}

// In a wide window the details of the selected host stand beside the table.
func TestWideScreens(t *testing.T) {
	golden(t, "fleet-200x50", stocked(t, 60, 200, 50).press("f", "down", "down").screen())
	golden(t, "fleet-grouped-200x50", stocked(t, 60, 200, 50).press("f", "o").write("cause").press("enter").screen())
}

func TestColoredScreen(t *testing.T) {
	golden(t, "readiness-colored", stocked(t, 60, 80, 24).press("2").m.View().Content)
}

// Without color nothing but bold, faint and reverse may be left, and the
// screen says the same.
func TestNoColor(t *testing.T) {
	snap, judged := testFleet(60)
	plain := newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{NoColor: true})
	colored := newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{})
	for _, key := range []string{"1", "2", "f", "space", "x", "esc", "o", "down", "enter", "space", "/", "=", "esc", "f", "enter", "enter", "?"} {
		plain.press(key)
		colored.press(key)
		text := plain.m.View().Content
		for _, seq := range sgr.FindAllString(text, -1) {
			for p := range strings.SplitSeq(strings.Trim(seq, "\x1b[m"), ";") {
				if !slices.Contains([]string{"", "0", "1", "2", "7", "22", "27"}, p) {
					t.Errorf("after %q: the sequence %q sets more than bold, faint or reverse", key, seq)
				}
			}
		}
		if plain.screen() != colored.screen() {
			t.Errorf("after %q the screen without color says something else than the one with color", key)
		}
	}
}

func TestEverySizeIsFilledExactly(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine shows the race detector nothing")
	}
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			d := s.stage(t, 80, 24)
			for _, w := range []int{60, 71, 72, 80, 109, 110, 160, 300} {
				for _, h := range []int{15, 16, 24, 50, 100} {
					d.m.width, d.m.height = w, h
					lines := strings.Split(d.m.View().Content, "\n")
					if len(lines) != h {
						t.Fatalf("%dx%d: %d lines", w, h, len(lines))
					}
					for i, l := range lines {
						if got := ansi.StringWidth(l); got != w {
							t.Fatalf("%dx%d: line %d is %d cells wide: %q", w, h, i+1, got, ansi.Strip(l))
						}
					}
				}
			}
		})
	}
}

func TestTooSmallAWindowSaysSo(t *testing.T) {
	for _, size := range [][2]int{{59, 24}, {80, 14}, {20, 5}, {3, 2}, {1, 1}} {
		d := stocked(t, 5, size[0], size[1])
		lines := strings.Split(d.screen(), "\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		if size[0] == 59 {
			d.mustShow("migrate needs a window of 60×15")
		}
	}
}

func TestBeforeTheSizeIsKnownNothingIsDrawn(t *testing.T) {
	if got := newDriver(t, &world{}, 0, 0, Options{}).screen(); got != "" {
		t.Errorf("drew %q", got)
	}
}

func TestTerminalsTellWhatTheyCan(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("2")
	dark := d.m.View().Content
	d.send(tea.BackgroundColorMsg{Color: color.White})
	light := d.m.View().Content
	d.send(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	if dark == light || light != d.m.View().Content {
		t.Error("a light background gets the dark one's colors")
	}
	d.send(tea.ColorProfileMsg{Profile: colorprofile.ASCII})
	if strings.Contains(d.m.View().Content, "\x1b[38;") {
		t.Error("a terminal without color gets color")
	}
}

func TestLightTerminalGetsItsOwnColors(t *testing.T) {
	if newStyles(true, false).ready.Render("x") == newStyles(false, false).ready.Render("x") {
		t.Error("light and dark terminals get the same green")
	}
}
