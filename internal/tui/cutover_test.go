package tui

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func TestFromASnapshotToADoneCutover(t *testing.T) {
	d := stocked(t, 60, 80, 24)
	p := testPlan()
	d.world.made = p
	d.world.cutover = testCutover(nil, nil)
	d.press("1", "5")
	d.mustShow("no plan yet", "✓ snapshot 3", "✓ recovery key ssh-ed25519 migrate-recovery", "Press enter to make a plan")
	d.press("enter")
	d.mustShow("Plan 3f2a9c01d4e7 is made", "Not begun: nothing has been changed", "canary", "consumer-active", "press A to apply")
	d.press("A").write(p.ID).press("enter")
	h := halfway(p)
	d.journal(h.entries...)
	if got := d.world.began; len(got) != 1 || got[0] != "apply "+p.ID {
		t.Fatalf("began %q", got)
	}
	d.mustShow("Running for", "16 of 28", "keys of 1 of 5 hosts", "Move the keys of", "10:35 min left: puts the keys back on api-1")
	all := doneHistory()
	d.world.cutover = testCutover(p, all.entries)
	d.over(cutover.Result{Outcome: cutover.OutcomeDone}, nil)
	d.mustShow("✓ Done.", "28 of 28", "keys of 5 of 5 hosts, port 22 of 1 of 1 group", "Press 6")
	d.press("6")
	d.mustShow("Done: plan 3f2a9c01d4e7", "5 of 5 in the plan", "1 of 1 security group", "3 that should not be, 1 on purpose")
}

func TestNothingBeginsWithoutThePlansID(t *testing.T) {
	for _, key := range []string{"A", "B"} {
		want := map[string]string{"A": "3f2a9c01d4e7", "B": "wave 2"}[key]
		for _, typed := range []string{"", "y", "yes", "3f2a9c01d4e", "3f2a9c01d4e77", "3F2A9C01D4E7", "wave", "Wave 2"} {
			d := planned(t, halfway(testPlan()).entries, 80, 24).press(key).write(typed).press("enter")
			d.mustShow("No. Type " + want)
			d.press("esc")
			d.mustNotShow("Type " + want)
			if len(d.world.began) > 0 {
				t.Errorf("%s and %q began %q", key, typed, d.world.began)
			}
		}
	}
}

func TestApplyUpToTheCanary(t *testing.T) {
	d := planned(t, nil, 80, 24).press("A")
	d.mustShow("● the whole plan", "○ only up to the end of wave 1, canary")
	d.press("down").send(pasted(" canary\n"))
	d.press("enter")
	d.journal()
	if want := []string{"apply 3f2a9c01d4e7 to wave 1"}; !slices.Equal(d.world.began, want) {
		t.Errorf("began %q, want %q", d.world.began, want)
	}
}

func TestPauseResumeAndSpeed(t *testing.T) {
	p := testPlan()
	h := halfway(p)
	d := applying(t, h, 80, 24)
	d.press("p")
	d.mustShow("Pausing: the steps under way end")
	d.journal(h.add(cutover.Entry{Wave: 2, Event: cutover.Paused, Detail: "by ann"}).entries...)
	d.mustShow("PAUSED: no step begins before r", "Press r to go on", "paused")
	d.press("r")
	if w := d.world.cutover.Wish; w.Pause || w.Stop {
		t.Errorf("after r the wish is %+v", w)
	}
	d.journal(h.add(cutover.Entry{Wave: 2, Event: cutover.Resumed}).entries...)
	d.mustShow("Running for")
	usual := p.Policy.Concurrency
	for _, tt := range []struct {
		key  string
		want int
	}{{"+", usual + 1}, {"=", usual + 2}, {"-", usual + 1}} {
		d.press(tt.key)
		if got := d.world.cutover.Wish.Concurrency; got != tt.want {
			t.Errorf("after %s: %d lanes, want %d", tt.key, got, tt.want)
		}
	}
	for range usual + 3 {
		d.press("-")
	}
	if got := d.world.cutover.Wish.Concurrency; got != 1 {
		t.Errorf("the fewest lanes are %d, want 1", got)
	}
	d.world.wishErr = errors.New("disk full")
	d.press("p")
	d.mustShow("The wish was not stored: disk full")
}

func TestStopAsksAndLetsTheRunEnd(t *testing.T) {
	d := applying(t, halfway(testPlan()), 80, 24).press("S")
	d.mustShow("Stop the run?", "1 timer is armed", "10:35 min")
	d.press("n")
	d.journal()
	d.mustShow("Running for")
	d.press("S", "y")
	d.settle()
	d.mustShow("Stopped: on request")
	if d.quit {
		t.Error("stopping the run left the wizard")
	}
}

func TestLeavingStopsTheRunFirst(t *testing.T) {
	d := applying(t, halfway(testPlan()), 80, 24).press("q")
	d.mustShow("is under way. Stop it and", "Nothing is lost")
	d.press("n")
	d.journal()
	d.press("q", "y")
	d.settle()
	if !d.quit || d.m.abandoned {
		t.Errorf("quit %v, abandoned %v", d.quit, d.m.abandoned)
	}
}

// TestRollBackOffersWhatStands: a wave that was taken back is not offered again,
// and of a plan that was taken back as a whole nothing is.
func TestRollBackOffersWhatStands(t *testing.T) {
	takenBack := func(waves ...int) []cutover.Entry {
		h := newHistory(testPlan(), testNow.Add(-10*time.Minute)).run("apply")
		for i := range h.plan.Waves {
			h.wave(i, 0).end(i)
		}
		for _, w := range waves {
			for i := range slices.Backward(h.plan.Waves[w].Steps) {
				h.step(w, i, cutover.UndoBegan, cutover.Undone)
			}
		}
		return h.add(cutover.Entry{Event: cutover.RunEnded, Detail: "rolled back"}).entries
	}
	show := func(entries []cutover.Entry) *driver {
		d := planned(t, entries, 80, 24)
		return d.press("down", "down", "B")
	}
	show(takenBack()).mustShow("Roll back?", "● wave 2", "○ the whole plan")
	d := show(takenBack(2))
	d.mustShow("Roll back?", "● the whole plan")
	d.mustNotShow("● wave 2", "○ wave 2")
	show(takenBack(2, 1, 0)).mustShow("Nothing of this plan stands any more")
}

func TestRollBackDuringARunStopsItFirst(t *testing.T) {
	d := applying(t, halfway(testPlan()), 80, 24).press("B")
	d.mustShow("Roll back?", "The run is stopped first", "● wave 2", "○ the whole plan")
	d.press("down").write("3f2a9c01d4e7").press("enter")
	d.send(<-d.queue) // the run has ended, the rollback begins
	d.journal()
	if want := []string{"apply 3f2a9c01d4e7", "rollback 3f2a9c01d4e7 --all"}; !slices.Equal(d.world.began, want) {
		t.Fatalf("began %q, want %q", d.world.began, want)
	}
	d.mustShow("Rolling back", "taking back")
	d.press("S")
	d.mustShow("A rollback goes on to its end")
	d.press("p")
	d.mustShow("A rollback goes on to its end")
	if d.world.cutover.Wish.Pause {
		t.Error("a pause was left for the next run")
	}
	d.press("B")
	d.mustShow("A rollback is under way already")
	d.over(cutover.Result{Outcome: cutover.OutcomeRolledBack}, nil)
	d.mustShow("Rolled back.")
}

func TestRollBackOfOneHost(t *testing.T) {
	d := planned(t, halfway(testPlan()).entries, 80, 24).press("end", "enter", "tab", "down", "B")
	host := testRef(2)
	d.mustShow("● host queue-1", "Groups that the host shares are opened, too")
	d.write("3f2a9c01d4e7").press("enter")
	d.journal()
	if want := []string{"rollback 3f2a9c01d4e7 " + (cutover.Scope{Host: &host}).String()}; !slices.Equal(d.world.began, want) {
		t.Errorf("began %q, want %q", d.world.began, want)
	}
}

func TestTheRunAsks(t *testing.T) {
	p := testPlan()
	for key, want := range map[string]cutover.Decision{"r": cutover.DecideRetry, "B": cutover.DecideRollback, "S": cutover.DecideStop} {
		d := applying(t, halfway(testPlan()), 80, 24).press("f") // on whatever screen
		answer := d.question(cutover.Question{Wave: p.Waves[2], Text: "wave 2: 1 host gave no answer", Hosts: []fleet.HostRef{testRef(1)}, Timers: []cutover.Risk{{Step: "w2/x", Deadline: testNow.Add(90 * time.Second)}}})
		d.mustShow("Not known: what now?", "1 host gave no answer", "api-1", "1:30 min left", "asks you")
		d.press("enter", "esc", "y")
		d.mustShow("Not known: what now?")
		d.press(key)
		if key == "B" {
			d.mustShow("Roll the wave back?", "migrate rollback 3f2a9c01d4e7 --wave 2", "Type wave 2")
			d.press("esc")
			d.mustShow("Not known: what now?")
			d.press(key).write("wave 2").press("enter")
		}
		d.mustNotShow("Not known: what now?")
		if got := <-answer; got != want {
			t.Errorf("%s answers %v, want %v", key, got, want)
		}
	}
}

func TestLeavingAnswersForTheOperator(t *testing.T) {
	d := applying(t, halfway(testPlan()), 80, 24)
	answer := d.question(cutover.Question{Text: "what now"})
	d.press("ctrl+c", "y")
	if got := <-answer; got != -1 {
		t.Errorf("the run was answered %v", got)
	}
	d.settle()
	if !d.quit {
		t.Error("still there")
	}
}

func TestAfterACrashBothWaysAreOffered(t *testing.T) {
	d := planned(t, halfway(testPlan()).entries, 80, 24)
	d.mustShow("broken off 4 min ago; 1 step was begun", "min left: puts the keys back", "Press A to go on, or B to take it back", "broken off")
	d.press("A")
	d.mustShow("goes on from where the journal says it is: 16 of 28")
}

func TestARunElsewhereIsWatchedAndSteered(t *testing.T) {
	p := testPlan()
	d := planned(t, nil, 80, 24)
	h := halfway(p)
	d.world.cutover = testCutover(p, h.entries)
	d.world.cutover.Holder, d.world.cutover.Until = "bob@build, process 7", testNow.Add(43*time.Second)
	d.press("1", "5")
	d.mustShow("Run by bob@build, process 7", "16 of 28", "Watch, or press p", "0:43 min")
	d.press("A")
	d.mustNotShow("Apply plan")
	d.press("B")
	d.mustShow("stop that run first")
	d.press("S", "y")
	if !d.world.cutover.Wish.Stop {
		t.Error("the other run was not asked to stop")
	}
	d.press("p")
	if !d.world.cutover.Wish.Pause {
		t.Error("the other run was not asked to pause")
	}
	d.world.cutover = testCutover(p, h.step(2, 9, cutover.Ours).entries)
	d.world.cutover.Holder = "bob@build, process 7"
	d.send(tickMsg{})
	d.mustShow("17 of 28")
}

func TestARunThatCannotGoOnSaysWhy(t *testing.T) {
	d := applying(t, halfway(testPlan()), 80, 24)
	d.over(cutover.Result{}, errors.New("keep the lease: the lease is not held"))
	d.mustShow("The run could not go on: keep the lease")
}

func TestAJournalThatIsNotRightIsSaid(t *testing.T) {
	h := newHistory(testPlan(), testNow).run("apply").step(0, 0, cutover.Ours)
	planned(t, h.entries, 80, 24).mustShow("The journal is not right", "ours cannot follow new", "migrate journal --verify", "not right")
}

func TestWhatAPlanNeedsIsNamed(t *testing.T) {
	d := stocked(t, 60, 80, 24)
	none := testCutover(nil, nil)
	none.PolicyThere, none.RecoveryKey, none.Policy = false, false, plan.DefaultPolicy()
	d.world.cutover = none
	d.press("5")
	d.mustShow("migrate plan", "--policy-template > migrate-policy.yaml", "migrate recovery init", "Make a recovery key")
	d.press("4")
	d.mustShow("no key yet", "migrate recovery init")
	wrong := testCutover(nil, nil)
	wrong.PolicyErr = errors.New("policy migrate-policy.yaml: unknown key cannary")
	d.world.cutover = wrong
	d.press("5")
	d.mustShow("policy migrate-policy.yaml: unknown key", "Put the policy file right")
	d.world.madeErr = errors.New("policy: unknown key cannary")
	d.press("enter")
	d.mustShow("No plan was made: policy: unknown key cannary")
	d.world.cutoverErr = errors.New("file is not a database")
	d.press("1", "5")
	d.mustShow("cannot be read: file is not a database")
}

func TestPlansNeedAnInventoryAndNoRun(t *testing.T) {
	d := newDriver(t, &world{cutover: &Cutover{}}, 80, 24, Options{}).press("5", "enter")
	d.mustShow("take the inventory first")
	d = planned(t, nil, 80, 24)
	d.world.cutover.Stale = []string{"i-0abc is gone"}
	d.press("1", "5")
	d.mustShow("A newer snapshot speaks against it (1): i-0abc is gone", "Press n to plan anew")
}

// A plan that was made in this session stays the one that is shown.
func TestTheShownPlanStays(t *testing.T) {
	d := planned(t, nil, 80, 24)
	next := testPlan()
	next.ID, next.Digest = "aaaabbbbcccc", "aaaabbbbccccdddd"
	d.world.made = next
	d.press("n")
	d.mustShow("plan aaaabbbbcccc")
	if last := d.world.asked[len(d.world.asked)-1]; last != next.ID {
		t.Errorf("the plan %q was asked for, want the new one", last)
	}
	d.press("end", "1", "5")
	d.mustShow("▸○ wave 2") // the cursor stays, too
}

// A step that is left to others says whose it is.
func TestStepsOfOthersNameTheirOwner(t *testing.T) {
	p := testPlan()
	p.Waves[0].Steps[0].Handed, p.Waves[0].Steps[0].Owner = true, "terraform"
	p.Waves[0].Steps[1].Owner = "cloudformation net"
	snap, judged := testFleet(60)
	d := newDriver(t, &world{snap: snap, judged: judged, made: p, cutover: testCutover(p, nil)}, 80, 24, Options{}).press("5", "home", "enter")
	d.mustShow("Let role batch open sessions", "Left to  terraform: the plan waits for it")
	d.press("enter")
	d.mustShow("left to", "terraform: the plan waits until it observes it")
	d.press("esc", "down", "enter")
	d.mustShow("owner", "cloudformation net")
}

func TestWhatNeedsALookComesFirst(t *testing.T) {
	h := failedHistory()
	d := planned(t, h.entries, 80, 24)
	d.mustShow("Rolled back in part", "Needs a look", "NOT UNDONE: Put the recovery key", "half undone", "press B again")
	d.press("tab", "enter")
	d.mustShow("NOT UNDONE since", "TargetNotConnected", "+ /home/ops/.ssh/authorized_keys")
	d.press("esc", "tab")
	d.mustShow("Journal, newest first ◂")
	d.press("enter")
	d.mustShow("Journal entry", "rolled back in part", "arn:aws:iam::123456789012:user/ann")
	d.press("esc", "tab", "enter")
	d.mustShow("consumer-active", "Ann still comes in", "move Ann to Session Manager")
}

func TestHowRunsEnd(t *testing.T) {
	for detail, want := range map[string][2]string{
		"stopped: on request":            {"Stopped: on request.", "Press A to go on"},
		"paused: nobody answered":        {"Paused: nobody answered.", "Press A to go on"},
		"done in part: 1 host":           {"Done in part: 1 host.", "Press A to go on"},
		"stale: sg-0aa has a new member": {"Stale: sg-0aa", "Take the inventory again"},
		"rolled back: canary: no":        {"Rolled back: canary: no.", "press A to try again"},
	} {
		h := newHistory(testPlan(), testNow.Add(-time.Hour)).run("apply").wave(0, 0).add(cutover.Entry{Event: cutover.RunEnded, Detail: detail})
		planned(t, h.entries, 80, 24).mustShow(want[0], want[1])
	}
	part := newHistory(testPlan(), testNow.Add(-time.Hour)).run("apply").wave(0, 0).end(0).wave(1, 0).end(1).add(cutover.Entry{Event: cutover.RunEnded, Detail: "done"})
	d := planned(t, part.entries, 80, 24)
	d.mustShow("Done as far as it was asked to go", "▸○ wave 2", "Press A to go on with the next wave", "7/28")
	d.press("6")
	d.mustShow("not at its end yet", "Press 5 for Cutover")
	h := newHistory(testPlan(), testNow.Add(-time.Hour)).run("rollback --all").add(cutover.Entry{Event: cutover.RunEnded, Detail: "rolled back"})
	planned(t, h.entries, 80, 24).mustShow("Rolled back.", "Press A to apply it again")
}

// What ended a run is told in full, and the wave's hosts say which of them it was.
func TestARolledBackWaveNamesTheHostAndTheReason(t *testing.T) {
	p := testPlan()
	h := newHistory(p, testNow.Add(-5*time.Minute)).run("apply").wave(0, 0).end(0).wave(1, 0).end(1)
	h.step(2, 0, cutover.Intended, cutover.Ours).step(2, 1, cutover.Intended, cutover.Failed).step(2, 1, cutover.UndoBegan, cutover.Undone).step(2, 0, cutover.UndoBegan, cutover.Undone)
	host := p.Waves[2].Hosts[1]
	detail := "rolled back: wave 2: 1 host failed, and error_budget is 0: Prove a session on web-2 (" + host.ID + "): " + host.ID +
		" by session-manager: the agent is not connected to Session Manager (migrate hosts " + host.ID + " shows what stands in the way)"
	h.add(cutover.Entry{Event: cutover.RunEnded, Hosts: []fleet.HostRef{host}, Detail: detail})
	d := planned(t, h.entries, 80, 24)
	d.mustShow("↶ Rolled back: wave 2", "connected to Session Manager", "stands in the way).")
	d.press("home", "down", "down", "enter", "tab")
	row := func(i int) string {
		name := d.m.env.course.named(p.Waves[2].Hosts[i])
		for _, l := range strings.Split(d.screen(), "\n") {
			if strings.Contains(l, name[:12]) {
				return l
			}
		}
		return ""
	}
	if l := row(1); !strings.Contains(l, "✗") || !strings.Contains(l, "FAILED") {
		t.Errorf("the host that failed is shown as %q", l)
	}
	if l := row(0); !strings.Contains(l, "↶") {
		t.Errorf("a host that was taken back is shown as %q", l)
	}
	d.press("down", "enter").mustShow("last run", "the agent is not connected")
	d.press("esc", "esc", "tab", "enter").mustShow("run-ended")
	d.mustNotShow("wave         0")
}

// A run that writes nothing for long is not dead, and the screen says so.
func TestAQuietRunIsExplained(t *testing.T) {
	h := newHistory(testPlan(), testNow.Add(-10*time.Second)).run("apply").wave(0, 0).end(0)
	d := applying(t, h, 80, 24)
	d.m.env.now = func() time.Time { return testNow.Add(30 * time.Second) }
	d.mustShow("Watch; p pauses")
	d.m.env.now = func() time.Time { return testNow.Add(10 * time.Minute) }
	d.mustShow("Wait: nothing new for", "does not answer")
}

// In another list than the waves, B means the wave that is not done.
func TestRollBackFromAnotherListMeansTheOpenWave(t *testing.T) {
	d := planned(t, failedHistory().entries, 80, 24)
	d.press("home", "B").mustShow("● wave 0, foundation")
	d.press("esc", "tab", "B").mustShow("● wave 1, canary", "○ the whole plan", "--wave 1")
}

func TestSoakIsCountedDown(t *testing.T) {
	p := testPlan()
	h := newHistory(p, testNow.Add(-2*time.Minute)).run("apply").wave(0, 0).end(0).wave(1, 0)
	d := applying(t, h, 80, 24)
	d.mustShow("Canary is watched until 12:28:16Z: 28:16 min left", "watched")
	d.m.env.now = func() time.Time { return testNow.Add(time.Hour) }
	d.mustShow("Canary was watched; it is looked at a last time.")
}

// The clock goes on as long as something on the screen moves with it.
func TestTheClockGoesOn(t *testing.T) {
	d := planned(t, halfway(testPlan()).entries, 80, 24)
	ticks := 0
	d.m.env.tick = func(d time.Duration, _ func(time.Time) tea.Msg) tea.Cmd {
		ticks++
		return nil
	}
	d.press("down", "up")
	if ticks != 1 {
		t.Errorf("%d ticks are under way for armed timers, want 1", ticks)
	}
	d.send(tickMsg{})
	if ticks != 2 {
		t.Errorf("%d ticks came, want 2", ticks)
	}
	d = planned(t, nil, 80, 24)
	d.m.env.tick = func(time.Duration, func(time.Time) tea.Msg) tea.Cmd { t.Error("a clock for nothing"); return nil }
	d.press("down")
}

func TestNarrowTablesKeepAllPhases(t *testing.T) {
	d := planned(t, nil, 80, 24)
	d.mustShow("PREP", "PROVE", "KEYS", "CLOSE")
	if out := d.screen(); strings.Contains(out, "FINISH") {
		t.Errorf("no room for it:\n%s", out)
	}
	planned(t, nil, 200, 50).mustShow("FINISH", "SOAK", "30m")
}

// What a rollback has taken away is not proved by a login from before.
func TestRollbackEndsWhatWasProved(t *testing.T) {
	h := newHistory(testPlan(), testNow.Add(-2*time.Hour)).run("apply").wave(0, 0).wave(1, 0).wave(2, 0)
	planned(t, h.entries, 80, 24).press("4").mustShow("4/6 proved")
	h.at = testNow.Add(-time.Minute)
	planned(t, h.run("rollback --wave 2").step(2, 0, cutover.UndoBegan, cutover.Undone).entries, 80, 24).press("4").mustShow("3/6 proved")
	h.run("rollback --all").step(0, 1, cutover.UndoBegan, cutover.Undone)
	d := planned(t, h.entries, 80, 24).press("4", "down", "enter")
	d.mustShow("0/6 proved", "a rollback has taken the bastion group since")
}
