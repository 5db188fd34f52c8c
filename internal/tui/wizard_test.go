package tui

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

func TestFromNothingToTheFleet(t *testing.T) {
	w := &world{}
	d := newDriver(t, w, 80, 24, Options{})
	d.mustShow("none yet", "start here", "after 5", "Press enter to take the inventory")
	d.press("enter")
	d.mustShow("running for", "waiting for the first instances")
	d.emit(testEvents(34)...)
	d.mustShow("34 of 60", "31 answered", "3 did not", "9 answered, 1 did not, 2 going on")
	w.snap, w.judged = testFleet(60)
	d.finish(nil)
	d.mustShow("snapshot 3", "60 listed, 60 running", "6 sources or hosts gave no answer.", "23 blocked", "Press 2 for Readiness")
	d.press("2")
	d.mustShow("36 ready", "23 blocked", "1 unknown", "role-lacks-channel", "See to role-lacks-channel (enter), or press 5 for a plan", "What     Role batch", "Fix      Attach")
	d.press("down", "enter")
	d.mustShow("11 of 60 hosts", "cause=agent-missing status=blocked", "cache-1")
	d.press("enter")
	d.mustShow("SSM Agent is not installed", "no amazon-ssm-agent program", "2026-09-01 11:57:00Z", "dnf install", "blast")
	d.press("esc", "esc")
	d.mustShow("What stands in the way")
	d.press("f")
	d.mustShow("Fleet: 60 hosts")
}

func TestLeavingTheScreenLeavesTheInventoryRunning(t *testing.T) {
	d := running(t, 80, 24, 10)
	d.press("4")
	d.emit(testEvents(30)...)
	d.mustShow("30/60", "The way back in without Session Manager")
	d.press("f", "1")
	d.mustShow("30 of 60")
	if d.world.runs != 1 {
		t.Errorf("%d inventories were started", d.world.runs)
	}
	d.press("4", "2", "i") // what starts an inventory elsewhere shows the one that runs
	d.mustShow("30 of 60")
	if d.world.runs != 1 {
		t.Errorf("%d inventories were started", d.world.runs)
	}
}

func TestQuitInterruptsTheInventoryAndWaitsForIt(t *testing.T) {
	d := running(t, 80, 24, 10).press("q", "y")
	if d.quit {
		t.Fatal("left before the inventory had returned")
	}
	d.settle()
	if !d.quit || d.world.stopped == nil || d.m.abandoned {
		t.Errorf("quit %v, inventory's context %v, abandoned %v", d.quit, d.world.stopped, d.m.abandoned)
	}
}

func TestQuitAgainDoesNotWait(t *testing.T) {
	d := running(t, 80, 24, 10)
	busy, free := make(chan struct{}), make(chan struct{})
	d.world.steps <- func(func(inventory.Event)) { close(busy); <-free }
	<-busy
	d.press("ctrl+c", "ctrl+c")
	d.mustShow("being stopped before migrate leaves")
	if d.quit {
		t.Fatal("the second ctrl+c did not wait")
	}
	d.press("ctrl+c")
	if !d.quit || !d.m.abandoned {
		t.Errorf("quit %v, abandoned %v", d.quit, d.m.abandoned)
	}
	close(free)
}

func TestAQuestionGoesAwayWhenTheInventoryEnds(t *testing.T) {
	d := running(t, 80, 24, 10).press("q")
	d.world.snap, d.world.judged = testFleet(60)
	d.finish(nil)
	d.mustNotShow("Stop it and leave?")
	d.mustShow("60 listed")
}

func TestStopKeepsWhatWasThere(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("i")
	d.emit(testEvents(5)...)
	d.press("x", "y")
	d.settle()
	d.mustShow("The inventory was stopped", "60 listed", "Press i to take the inventory again")
	if d.quit {
		t.Error("stopping the inventory left the wizard")
	}
}

func TestAFailedInventorySaysWhy(t *testing.T) {
	d := running(t, 80, 24, 12)
	d.finish(fmt.Errorf("open state file: %w", errors.New("disk full")))
	d.mustShow("The inventory failed: open state file: disk full", "did not reach its end", "No answer")
	d.press("enter")
	d.mustShow("UnauthorizedOperation")
	d.press("esc", "i")
	d.emit()
	if d.world.runs != 2 {
		t.Errorf("%d inventories were started, want 2", d.world.runs)
	}
}

func TestALoadThatFailsSaysWhy(t *testing.T) {
	d := newDriver(t, &world{loadErr: errors.New("file is not a database")}, 80, 24, Options{})
	d.mustShow("cannot be read: file is not a database")
}

func TestReport(t *testing.T) {
	d := newDriver(t, &world{}, 80, 24, Options{}).press("r")
	d.mustShow("nothing to report on yet")
	if d.world.reports != 0 {
		t.Error("a report was written of nothing")
	}
	d = stocked(t, 60, 80, 24).press("r")
	d.mustShow("The report is in /home/ann/migrate-report.html")
	d.press("2")
	d.mustNotShow("The report is in")
	d.world.repErr = errors.New("permission denied")
	d.press("r")
	d.mustShow("The report was not written: permission denied")
}

func TestAFleetWithoutHosts(t *testing.T) {
	snap, judged := testFleet(60)
	snap.Hosts, judged.Hosts, judged.Findings = nil, nil, nil
	d := newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{})
	d.mustShow("0 listed")
	d.press("2")
	d.mustShow("found no hosts")
	d.press("f", "enter", "down", "s")
	d.mustShow("The latest inventory found no hosts.")
}

func TestASnapshotWithoutAJudgement(t *testing.T) {
	snap, _ := testFleet(3)
	d := newDriver(t, &world{snap: snap}, 80, 24, Options{}).press("2")
	d.mustShow("0 ready", "3 unknown")
	d.press("f", "enter")
	d.mustShow("? unknown")
}

func TestRemainingTimeNeedsABasis(t *testing.T) {
	at := func(s int) time.Time { return testNow.Add(time.Duration(s) * time.Second) }
	probe := func(done, s int) inventory.Event {
		return inventory.Event{Kind: inventory.ProbeProgress, Done: done, Total: 100, At: at(s)}
	}
	instances := inventory.Event{Kind: inventory.SourceProgress, Source: "ec2:DescribeInstances", Done: 100}
	listed := instances
	listed.Kind = inventory.SourceDone
	tests := []struct {
		name   string
		events []inventory.Event
		now    int
		want   time.Duration
		ok     bool
	}{
		{"nothing yet", nil, 9, 0, false},
		{"too few results", []inventory.Event{listed, probe(1, 0), probe(10, 9)}, 9, 0, false},
		{"too short", []inventory.Event{listed, probe(1, 0), probe(50, 1)}, 1, 0, false},
		{"list still growing", []inventory.Event{instances, probe(1, 0), probe(50, 9)}, 9, 0, false},
		{"steady", []inventory.Event{listed, probe(10, 0), probe(60, 10)}, 10, 8 * time.Second, true},
		{"stalled since", []inventory.Event{listed, probe(10, 0), probe(60, 10)}, 40, 32 * time.Second, true},
		{"overtaken", []inventory.Event{listed, probe(10, 0), probe(60, 10), probe(59, 10)}, 10, 8 * time.Second, true},
		{"all done", []inventory.Event{listed, probe(10, 0), probe(100, 10)}, 10, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProgress()
			for _, e := range tt.events {
				p.fold(e, testNow)
			}
			got, ok := p.remaining(at(tt.now))
			if got != tt.want || ok != tt.ok {
				t.Errorf("remaining: %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestFeedLosesNothingAndWakesOnce(t *testing.T) {
	var mu sync.Mutex
	wakes := 0
	f := feed[inventory.Event]{notify: func() { mu.Lock(); wakes++; mu.Unlock() }}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				f.emit(inventory.Event{})
			}
		})
	}
	all.Wait()
	events, over, _ := f.take()
	if len(events) != 4000 || over || wakes != 1 {
		t.Errorf("%d events, over %v, %d wakes; want 4000 events by one wake", len(events), over, wakes)
	}
	f.finish(errors.New("x"))
	if _, over, err := f.take(); !over || err == nil || wakes != 2 {
		t.Errorf("over %v, err %v, %d wakes", over, err, wakes)
	}
}

func TestScatteredFindingsComeTogether(t *testing.T) {
	got := findingsByHost([]fleet.Finding{{Host: "a", Code: "1"}, {Host: "b", Code: "2"}, {Host: "a", Code: "3"}, {Host: "b", Code: "4"}, {Code: "5"}})
	var codes []string
	for _, h := range []string{"a", "b", ""} {
		for _, f := range got[h] {
			codes = append(codes, h+f.Code)
		}
	}
	if want := "a1 a3 b2 b4 5"; strings.Join(codes, " ") != want {
		t.Errorf("got %v, want %v", codes, want)
	}
}

func TestPercentNeverHidesSomething(t *testing.T) {
	for _, tt := range []struct {
		n, of int
		want  string
	}{{0, 10, "0 %"}, {1, 1000, "1 %"}, {999, 1000, "99 %"}, {14, 300, "5 %"}, {13, 300, "4 %"}, {10, 10, "100 %"}, {0, 0, "0 %"}} {
		if got := percent(tt.n, tt.of); got != tt.want {
			t.Errorf("percent(%d, %d) = %q, want %q", tt.n, tt.of, got, tt.want)
		}
	}
}
