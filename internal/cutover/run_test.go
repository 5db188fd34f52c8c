package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// in runs a test with virtual time on a plan of two waves, one host and three.
func in(t *testing.T, test func(t *testing.T, f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 3)
		test(t, f)
		f.wantVerified()
	})
}

// at calls do, once, when a port call whose name begins so is about to act.
func (f *fixture) at(name string, do func()) {
	done := false
	f.onCall = func(got string) {
		if !done && strings.HasPrefix(got, name) {
			done = true
			do()
		}
	}
}

func (f *fixture) events(e cutover.Event) (out []cutover.Entry) {
	for _, entry := range f.entries {
		if entry.Event == e {
			out = append(out, entry)
		}
	}
	return out
}

// fact is one fact of the world, timers that have come due included.
func (f *fixture) fact(name string) bool { return f.state()[name] }

func TestWhatHeldBeforeIsNeverUndone(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.facts["keys i-21"] = false // quarantined by hand, before us
		f.facts["key i-21"], f.facts["agent i-21"], f.facts["bastion vpc"] = true, true, true
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		for _, fact := range []string{"key i-21", "agent i-21", "bastion vpc", "agent i-20"} {
			if !f.fact(fact) {
				t.Errorf("%s was there before us and is gone", fact)
			}
		}
		if f.fact("keys i-21") {
			t.Error("keys that somebody else had moved aside are back")
		}
	})
}

// A colleague closes a door that this rollback has opened and looked at: what
// Session Manager rests on behind it is not taken back any more.
func TestDoorThatClosesWhileARollbackIsUnderWay(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		const key = "w1/prove/i-10/1-recovery-key"
		f.at("append undo-began "+key, func() { f.facts["port sg-1"] = false })
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledPartly)
		if !f.fact("key i-10") || !slices.Contains(res.Left, key) {
			t.Errorf("the key is there: %t; left: %v", f.fact("key i-10"), res.Left)
		}
		failed := f.events(cutover.UndoFailed)
		if len(failed) != 1 || !strings.Contains(failed[0].Detail, "somebody else has closed the door") {
			t.Errorf("the journal says %+v", failed)
		}
		f.set(func() { f.facts["port sg-1"] = true })
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if f.fact("key i-10") {
			t.Error("the key is still there")
		}
	})
}

func TestFailedHostIsTakenBackWithinTheBudget(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Policy.ErrorBudget = 1
		f.at("apply w2/quarantine/i-22", func() { f.broken["i-22"] = fleet.TruthNo })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomePartly)
		if !slices.Equal(res.Hosts, []fleet.HostRef{ref("i-22")}) {
			t.Errorf("left out: %v", res.Hosts)
		}
		for fact, open := range map[string]bool{"keys i-22": true, "keys i-21": false, "port sg-2": true, "port sg-all": true, "port sg-1": false, "agent i-22": false} {
			if f.fact(fact) != open {
				t.Errorf("%s is %t", fact, !open)
			}
		}
		// Once the host is well, the same command finishes the plan.
		f.set(func() { delete(f.broken, "i-22") })
		res, err = f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
	})
}

func TestFailureBeyondTheBudgetRollsTheWaveBack(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("apply w2/quarantine/i-22", func() { f.broken["i-22"] = fleet.TruthNo })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		for fact, value := range map[string]bool{"keys i-20": true, "keys i-21": true, "keys i-22": true, "key i-21": false, "port sg-2": true, "keys i-10": false, "port sg-1": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
	})
}

// changedKind observes a group that somebody has changed as not what the plan found.
type changedKind struct {
	kind
	group string
}

func (k changedKind) Observe(ctx context.Context, s plan.Step) (cutover.Observation, error) {
	o, err := k.kind.Observe(ctx, s)
	if err == nil && s.Lane == k.group && k.w.state()["changed "+k.group] {
		return cutover.Observation{}, fmt.Errorf("%s has another rule: %w", k.group, cutover.ErrStale)
	}
	return o, err
}

// What somebody changes between two waves is noticed before the later one begins, and not
// when all its hosts are half-way.
func TestWaveOfAChangedWorldIsNotBegun(t *testing.T) {
	for budget, begins := range map[int]bool{2: false, 3: true} { // the group's hosts are three
		t.Run(fmt.Sprintf("error budget %d", budget), func(t *testing.T) {
			in(t, func(t *testing.T, f *fixture) {
				f.plan.Policy.ErrorBudget = budget
				f.cfg = func(c *cutover.Config) { c.Kinds[plan.ClosePort] = changedKind{kind{f.world}, "sg-2"} }
				f.at("apply w1/close", func() { f.facts["changed sg-2"] = true })
				res, err := f.apply(t.Context())
				began := slices.ContainsFunc(f.events(cutover.Intended), func(e cutover.Entry) bool { return e.Wave == 2 })
				if began != begins {
					t.Errorf("wave 2 was begun: %t", began)
				}
				if begins {
					return
				}
				want(t, res, err, cutover.OutcomeStale)
				if !strings.Contains(res.Reason, "sg-2 has another rule") {
					t.Errorf("reason: %q", res.Reason)
				}
				if f.fact("keys i-10") || f.fact("port sg-1") {
					t.Error("the wave before was taken back")
				}
				f.set(func() { delete(f.facts, "changed sg-2") })
				res, err = f.apply(t.Context())
				want(t, res, err, cutover.OutcomeDone)
				f.wantClosed()
			})
		})
	}
}

func TestGateThatFailsRollsTheWaveBack(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("append gate ", func() { // the first wave is through its first gate
			f.at("prove i-10", func() { f.broken["i-10"] = fleet.TruthNo })
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		if !f.fact("keys i-10") || len(f.events(cutover.Gate)) == 0 {
			t.Error("the keys were not put back")
		}
	})
}

func TestUnknownPausesAndCanBeResumed(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("append gate ", func() { f.at("prove i-10", func() { f.broken["i-10"] = fleet.TruthYes }) })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomePaused)
		if len(f.events(cutover.Paused)) != 1 {
			t.Error("the pause is not in the journal")
		}
		f.set(func() { delete(f.broken, "i-10") })
		res, err = f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
	})
}

func TestOperatorDecidesWhatIsUnknown(t *testing.T) {
	for decision, outcome := range map[cutover.Decision]cutover.Outcome{
		cutover.DecideRetry: cutover.OutcomeDone, cutover.DecideStop: cutover.OutcomePaused, cutover.DecideRollback: cutover.OutcomeRolledBack,
	} {
		in(t, func(t *testing.T, f *fixture) {
			f.at("append gate ", func() { f.at("prove i-10", func() { f.broken["i-10"] = fleet.TruthYes }) })
			asked := 0
			f.cfg = func(c *cutover.Config) {
				c.Ask = func(_ context.Context, q cutover.Question) (cutover.Decision, error) {
					asked++
					if !slices.Contains(q.Hosts, ref("i-10")) {
						t.Errorf("asked about %v", q.Hosts)
					}
					f.set(func() { delete(f.broken, "i-10") })
					return decision, nil
				}
			}
			res, err := f.apply(t.Context())
			want(t, res, err, outcome)
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

func TestNothingClosesWithoutARecentRecoveryLogin(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Policy.RecoveryAge = -1
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomePartly)
		for fact, open := range f.state() {
			if kind, _, _ := strings.Cut(fact, " "); (kind == "keys" || kind == "port") && !open || kind == "timer" {
				t.Errorf("%s: %t", fact, open)
			}
		}
		if len(res.Held) == 0 {
			t.Error("nothing is held")
		}
	})
}

func TestNothingClosesWithoutAnArmedTimer(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		seen := 0
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "append ours w2/quarantine") && strings.HasSuffix(name, "arm-host-timer") {
				seen++
				delete(f.timers, "keys i-20") // somebody stops it at once
				delete(f.timers, "keys i-21")
				delete(f.timers, "keys i-22")
			}
			return noFault
		}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		if seen == 0 || len(f.events(cutover.Held)) == 0 {
			t.Errorf("armed %d times, held %v", seen, f.events(cutover.Held))
		}
	})
}

func TestLaneThatCannotProveInTimeIsTakenBack(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "append intended") && strings.HasSuffix(name, "quarantine-keys") {
				f.broken["i-10"] = fleet.TruthYes
			}
			return noFault
		}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomePaused)
		if !f.fact("keys i-10") || f.fact("timer keys i-10") {
			t.Error("the lane was not taken back")
		}
	})
}

func TestPauseFinishesWhatIsUnderWayAndWarnsOfTimers(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		var running, peak int
		f.cfg = func(c *cutover.Config) { c.Kinds[plan.ArmHostTimer] = slowKind{kind{f.world}, &running, &peak} }
		f.at("apply w1/quarantine/i-10", func() { f.wish = cutover.Wish{Pause: true, By: "eve", Reason: "lunch"} })
		go func() {
			time.Sleep(time.Hour)
			f.set(func() { f.wish = cutover.Wish{} })
		}()
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
		p := f.events(cutover.Paused)
		if len(p) != 1 || !strings.Contains(p[0].Detail, "eve") || !strings.Contains(p[0].Detail, "lunch") || !strings.Contains(p[0].Detail, "armed timers") {
			t.Fatalf("pauses: %+v", p)
		}
		for _, e := range f.entries {
			if e.Seq > p[0].Seq && e.At.Before(p[0].At.Add(59*time.Minute)) {
				t.Errorf("entry %d (%s %s) within the pause", e.Seq, e.Event, e.Step)
			}
		}
	})
}

func TestStopEndsCleanlyAndIsResumed(t *testing.T) {
	for _, how := range []string{"wish", "context"} {
		in(t, func(t *testing.T, f *fixture) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.at("apply w2/quarantine", func() {
				if how == "wish" {
					f.wish = cutover.Wish{Stop: true}
				} else {
					cancel()
				}
			})
			res, err := f.apply(ctx)
			want(t, res, err, cutover.OutcomeStopped)
			for _, e := range f.events(cutover.Intended) {
				if s, _ := cutover.Status(f.plan, f.entries); s.Begun > 0 {
					t.Errorf("%s was begun and not ended", e.Step)
					break
				}
			}
			if f.holder != "" {
				t.Error("the lease is still held")
			}
			f.set(func() { f.wish = cutover.Wish{} })
			res, err = f.apply(t.Context())
			want(t, res, err, cutover.OutcomeDone)
			f.wantClosed()
		})
	}
}

// A stop that was seen ends the run, also when it is gone at the next look.
func TestStopThatWasSeenStays(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		for _, h := range []string{"i-20", "i-21", "i-22"} {
			f.facts["agent "+h] = false
		}
		running, peak := 0, 0
		f.cfg = func(c *cutover.Config) { c.Kinds[plan.Agent] = slowKind{kind{f.world}, &running, &peak} }
		reads := 0 // since the slow steps have begun
		f.onCall = func(name string) {
			if name == "control" && (running > 0 || reads > 0) {
				reads++
				f.wish.Stop = reads == 1
			}
		}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeStopped)
		if reads < 2 {
			t.Errorf("%d looks", reads)
		}
		for _, e := range f.events(cutover.Intended) {
			if strings.HasPrefix(e.Step, "w2/") && !strings.HasPrefix(e.Step, "w2/prepare") {
				t.Errorf("%s was begun after the stop", e.Step)
			}
		}
		f.onCall = nil
		res, err = f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
	})
}

// What a run does first it does with the lease, and not at all without it.
func TestAcquiredIsCalledWithTheLeaseOnly(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		called := ""
		f.cfg = func(c *cutover.Config) {
			c.Acquired = func(context.Context) error {
				called += c.Operator
				if f.holder != c.Operator {
					t.Errorf("%s is called while %q holds the lease", c.Operator, f.holder)
				}
				return nil
			}
		}
		var other error
		second := f.executor("eve")
		f.at("apply w1/quarantine", func() { go func() { _, other = second.Apply(t.Context()) }() })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		synctest.Wait()
		var held *cutover.HeldError
		if !errors.As(other, &held) || called != "ops" {
			t.Errorf("the second operator got %v; called for %q", other, called)
		}
	})
}

func TestAbortLeavesWhatIsUnderWayToTheNextRun(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		x := f.executor("ops")
		f.at("apply w1/close", x.Abort)
		if _, err := x.Apply(t.Context()); err == nil {
			t.Fatal("an aborted run gave no error")
		}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
	})
}

func TestSecondOperatorWaitsForTheLease(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		var other error
		f.at("apply w1/quarantine", func() {
			go func() {
				c := cutover.Config{
					Plan: f.plan, Hosts: f.hosts, Kinds: kindsOf(f), Prover: f, Proofs: f, Journal: f, Leases: f, Control: f, Operator: "eve",
				}
				x, err := cutover.New(c)
				if err != nil {
					t.Error(err)
					return
				}
				_, other = x.Rollback(t.Context(), cutover.Scope{All: true})
			}()
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		synctest.Wait()
		var held *cutover.HeldError
		if !errors.As(other, &held) || held.Holder != "ops" {
			t.Errorf("the second operator got %v", other)
		}
		f.wantClosed()
	})
}

func kindsOf(f *fixture) cutover.Kinds {
	kinds := cutover.Kinds{}
	for _, w := range f.plan.Waves {
		for _, s := range w.Steps {
			kinds[s.Kind] = kind{f.world}
		}
	}
	return kinds
}

func TestLostLeaseStopsTheRun(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("apply w2/quarantine", func() { f.holder, f.fence, f.until = "eve", f.fence+1, time.Now().Add(time.Hour) })
		_, err := f.apply(t.Context())
		if !errors.Is(err, cutover.ErrLease) {
			t.Fatalf("error %v, want ErrLease", err)
		}
		n := len(f.entries)
		f.set(func() { f.holder = "" })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		for _, e := range f.entries[:n] {
			if e.Operator != "ops" {
				t.Error("somebody else wrote")
			}
		}
	})
}

func TestWindowsKeepDoorsOpenUntilTheyMayClose(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) { // the clock begins at midnight UTC, 2000-01-01, a Saturday
		f.cfg = func(c *cutover.Config) { c.Lease = time.Hour }
		f.plan.Policy.Windows = []plan.Window{{Days: "mon-fri", From: "09:00", To: "17:00", Zone: "Europe/Berlin"}}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		monday := time.Date(2000, 1, 3, 8, 0, 0, 0, time.UTC)
		closed := 0
		for _, e := range f.events(cutover.Intended) {
			if strings.HasSuffix(e.Step, "quarantine-keys") || strings.HasSuffix(e.Step, "close-port") {
				closed++
				if e.At.Before(monday) {
					t.Errorf("%s began at %s", e.Step, e.At)
				}
			}
		}
		if closed == 0 {
			t.Error("nothing closed")
		}
	})
}

func TestHooksRunAroundWaves(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Policy.Hooks = plan.Hooks{BeforeWave: "before", AfterWave: "after"}
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		wanted := "before foundation,after foundation,before wave 1,after wave 1,before wave 2,after wave 2"
		if got := strings.Join(f.hooked, ","); got != wanted {
			t.Errorf("hooks: %s", got)
		}
	})
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Policy.Hooks = plan.Hooks{BeforeWave: "before"}
		f.hookErr = errors.New("exit 1")
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeStopped)
		if n := len(f.events(cutover.Intended)); n > 0 {
			t.Errorf("%d steps were begun after the hook had failed", n)
		}
	})
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Policy.Hooks = plan.Hooks{AfterWave: "after"}
		f.at("apply w1/close", func() { f.hookErr = errors.New("exit 1") })
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		if !f.fact("port sg-1") || !f.fact("keys i-10") {
			t.Error("the wave was not rolled back")
		}
	})
}

func TestRollbackOfOneHostOpensItsGroups(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		h := ref("i-21")
		res, err = f.rollback(t.Context(), cutover.Scope{Host: &h})
		want(t, res, err, cutover.OutcomeRolledBack)
		check := func(when string) {
			t.Helper()
			for fact, value := range map[string]bool{
				"keys i-21": true, "port sg-2": true, "port sg-all": true, "agent i-21": false, "key i-21": false,
				"keys i-20": false, "keys i-22": false, "port sg-1": false,
			} {
				if f.fact(fact) != value {
					t.Errorf("%s: %s is %t", when, fact, !value)
				}
			}
		}
		check("after the rollback")
		res, err = f.apply(t.Context()) // the host stays out
		want(t, res, err, cutover.OutcomePartly)
		check("after another apply")
	})
}

func TestRollbackOfOneWaveOpensItsDoorsEverywhere(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		one := 1
		res, err = f.rollback(t.Context(), cutover.Scope{Wave: &one})
		want(t, res, err, cutover.OutcomeRolledBack)
		for fact, value := range map[string]bool{"keys i-10": true, "port sg-1": true, "port sg-all": true, "port sg-2": false, "keys i-20": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
	})
}

// A rollback that cannot open a door leaves what the host's other way rests on.
func TestRollbackKeepsTheWaysOfHostsWhoseDoorsStayClosed(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "undo w2/quarantine/i-22") {
				return failBefore
			}
			return noFault
		}
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledPartly)
		for fact, value := range map[string]bool{"keys i-22": false, "agent i-22": true, "key i-22": true, "bastion vpc": true, "keys i-21": true, "agent i-21": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
		f.faults = nil
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if !f.fact("keys i-22") || f.fact("bastion vpc") {
			t.Error("the second rollback did not finish")
		}
	})
}

// What the rollback of a lane cannot open in time, its timer opens.
func TestTimerOpensWhatCannotBeUndone(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.faults = func(_ int, name string) fault {
			switch {
			case strings.HasPrefix(name, "append intended") && strings.HasSuffix(name, "quarantine-keys"):
				f.broken["i-10"] = fleet.TruthNo
			case strings.HasPrefix(name, "undo w1/quarantine") && strings.HasSuffix(name, "quarantine-keys"):
				return failBefore
			}
			return noFault
		}
		// i-10 has no session from now on: only its timer and the recovery way are left.
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		if !f.fact("keys i-10") {
			t.Error("the timer did not open the door")
		}
		if !slices.ContainsFunc(f.events(cutover.Undone), func(e cutover.Entry) bool { return strings.Contains(e.Detail, "timer") }) {
			t.Error("the journal does not say that it was the timer")
		}
	})
}

// A door that cannot be opened has no timer any more that will.
func TestDisarmedTimerIsNotToldOfWhenItsDoorStaysClosed(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		x := f.executor("ops")
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "undo w2/quarantine/i-22") && strings.HasSuffix(name, string(plan.QuarantineKeys)) {
				return failBefore
			}
			return noFault
		}
		res, err = x.Rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledPartly)
		if f.fact("keys i-22") || len(res.Timers) != 0 {
			t.Errorf("the keys are back: %t; timers: %v", f.fact("keys i-22"), res.Timers)
		}
		s, err := cutover.Status(f.plan, f.entries)
		if err != nil || len(s.Risks) != 0 {
			t.Errorf("risks: %v, %v", s.Risks, err)
		}
		f.faults = nil
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
	})
}

func TestPlanWithAnotherDigestIsRefused(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		n := len(f.entries)
		f.plan.Digest = "d2"
		if _, err := f.apply(t.Context()); !errors.Is(err, cutover.ErrDigest) {
			t.Errorf("apply: %v", err)
		}
		if _, err := f.rollback(t.Context(), cutover.Scope{All: true}); !errors.Is(err, cutover.ErrDigest) {
			t.Errorf("rollback: %v", err)
		}
		f.plan.Digest = "d1"
		if len(f.entries) != n {
			t.Error("the journal has grown")
		}
	})
}

// Nothing closes by a journal that somebody has changed; what is closed still opens by it.
func TestChangedJournalClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 3)
		before, one := f.state(), 1
		f.cfg = func(c *cutover.Config) { c.LastWave = &one }
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.cfg = nil
		f.set(func() { f.entries[3].Detail += "something else" })
		closed := f.state()
		if _, err := f.apply(t.Context()); !errors.Is(err, cutover.ErrJournal) || !strings.Contains(err.Error(), "entry 4 ") {
			t.Errorf("apply: %v", err)
		}
		if diff := cmp.Diff(closed, f.state()); diff != "" {
			t.Errorf("apply has changed the world (-before +after):\n%s", diff)
		}
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if diff := cmp.Diff(before, f.state()); diff != "" {
			t.Errorf("world after the rollback (-before +after):\n%s", diff)
		}
		told := 0
		for _, e := range f.events(cutover.Note) {
			if strings.Contains(e.Detail, "entry 4 ") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the journal tells of it %d times, want once", told)
		}
	})
}

func TestApplyEndsAfterTheLastWaveAskedFor(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		one := 1
		f.cfg = func(c *cutover.Config) { c.LastWave = &one }
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		if f.fact("keys i-10") || !f.fact("keys i-20") {
			t.Error("the run did not end after wave 1")
		}
	})
}

func TestHandedStepsWaitForOthers(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		for i := range f.plan.Waves[2].Steps {
			if s := &f.plan.Waves[2].Steps[i]; s.ID == "w2/prepare/i-21/1-agent" {
				s.Handed = true
			}
		}
		go func() {
			time.Sleep(3 * time.Hour)
			f.set(func() { f.facts["agent i-21"] = true })
		}()
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		for _, e := range f.entries {
			if e.Step == "w2/prepare/i-21/1-agent" && e.Event != cutover.Found {
				t.Errorf("a step that is left to others was %s", e.Event)
			}
		}
	})
}

// While others have something to do, the plan's standing says what, and whose it is.
func TestStatusSaysForWhomARunWaits(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		const id = "w2/prepare/i-21/1-agent"
		for i := range f.plan.Waves[2].Steps {
			if s := &f.plan.Waves[2].Steps[i]; s.ID == id {
				s.Handed, s.Owner = true, "terraform"
			}
		}
		f.plan.Policy.Wait = plan.Duration(2 * time.Hour)
		waits := func() []cutover.Waiting {
			s, err := cutover.Status(f.plan, f.entries)
			if err != nil {
				t.Fatal(err)
			}
			return s.Waits
		}
		if got := waits(); got != nil {
			t.Errorf("a plan that was not begun waits for %+v", got)
		}
		seen := make(chan []cutover.Waiting, 1)
		go func() {
			time.Sleep(time.Hour)
			f.set(func() { seen <- waits() })
		}()
		res, err := f.apply(t.Context())
		if got := <-seen; len(got) != 1 || got[0].Step != id || got[0].Owner != "terraform" || len(got[0].Hosts) != 1 {
			t.Errorf("after an hour it waits for %+v", got)
		}
		// Nobody does it: the wave is given up, and it is said whose it was.
		if err != nil || res.Outcome == cutover.OutcomeDone {
			t.Fatalf("%+v, %v", res, err)
		}
		told := map[string]bool{"waits for terraform to do it: ": false, "not done by terraform within 2h0m0s: ": false}
		for _, e := range f.entries {
			for text := range told {
				told[text] = told[text] || strings.HasPrefix(e.Detail, text)
			}
			if e.Step == id && (e.Event == cutover.Intended || e.Event == cutover.Ours) {
				t.Errorf("a step that is left to others was %s", e.Event)
			}
		}
		for text, ok := range told {
			if !ok {
				t.Errorf("the journal does not say %q", text)
			}
		}
	})
}

func TestConcurrencyCanBeChangedWhileRunning(t *testing.T) {
	for limit, most := range map[int]int{0: 2, 1: 1, 3: 3} {
		in(t, func(t *testing.T, f *fixture) {
			f.wish.Concurrency = limit
			f.facts["agent i-20"] = false
			running, peak := 0, 0
			f.cfg = func(c *cutover.Config) { c.Kinds[plan.Agent] = slowKind{kind{f.world}, &running, &peak} }
			res, err := f.apply(t.Context())
			want(t, res, err, cutover.OutcomeDone)
			if peak != most {
				t.Errorf("%d at once with a limit of %d", peak, limit)
			}
		})
	}
}

// slowKind takes a minute for each Apply and counts how many run at once.
type slowKind struct {
	kind
	running, peak *int
}

func (k slowKind) Apply(ctx context.Context, s plan.Step, before json.RawMessage, token string) (json.RawMessage, error) {
	k.w.set(func() { *k.running++; *k.peak = max(*k.peak, *k.running) })
	defer k.w.set(func() { *k.running-- })
	time.Sleep(time.Minute)
	return k.kind.Apply(ctx, s, before, token)
}

func TestVerifyFindsWhatWasChanged(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		for name, change := range map[string]func([]cutover.Entry) []cutover.Entry{
			"a detail":      func(e []cutover.Entry) []cutover.Entry { e[5].Detail = "other"; return e },
			"an image":      func(e []cutover.Entry) []cutover.Entry { e[2].Image = []byte(`{"was":true}`); return e },
			"a missing one": func(e []cutover.Entry) []cutover.Entry { return slices.Delete(e, 7, 8) },
			"two swapped":   func(e []cutover.Entry) []cutover.Entry { e[3], e[4] = e[4], e[3]; return e },
			"rewritten whole, but out of order": func(e []cutover.Entry) []cutover.Entry {
				for i := range e {
					if e[i].Event == cutover.Intended {
						e[i].Event = cutover.Undone
						break
					}
				}
				out, err := cutover.Chain(0, "", e)
				if err != nil {
					t.Fatal(err)
				}
				return out
			},
		} {
			if err := cutover.Verify(change(slices.Clone(f.entries))); err == nil {
				t.Errorf("%s was not noticed", name)
			}
		}
	})
}

func TestStatusTellsWhereThingsStand(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		s, err := cutover.Status(f.plan, nil)
		if err != nil || s.State != "not begun" || len(s.Waves) != 3 || s.Waves[0].State != "waiting" || len(s.Next) == 0 {
			t.Errorf("before: %+v, %v", s, err)
		}
		var dead bool
		x := f.executor("ops")
		f.faults = func(call int, name string) fault {
			if strings.HasPrefix(name, "append ours w2/quarantine") && strings.HasSuffix(name, "quarantine-keys") {
				dead = true
				return killAfter
			}
			return noFault
		}
		if _, err := x.Apply(t.Context()); err == nil || !dead {
			t.Fatalf("the run was not killed: %v", err)
		}
		s, err = cutover.Status(f.plan, f.entries)
		if err != nil {
			t.Fatal(err)
		}
		if s.State != "running or broken off" || s.Waves[1].State != "done" || s.Waves[2].State != "under way" || s.Owed == 0 || len(s.Risks) == 0 {
			t.Errorf("after the crash: %s, %+v", s.State, s.Risks)
		}
		if d := time.Until(s.Risks[0].Deadline); d < 14*time.Minute || d > 15*time.Minute {
			t.Errorf("the timer fires in %s", d)
		}
		f.faults = nil
		f.outlive()
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		s, err = cutover.Status(f.plan, f.entries)
		if err != nil || s.State != "done" || len(s.Risks)+s.Begun+len(s.Next) > 0 {
			t.Errorf("at the end: %+v, %v", s, err)
		}
		for _, h := range s.Hosts {
			if h.Doors != h.All || h.Done != h.Steps {
				t.Errorf("host %s: %+v", h.Host, h)
			}
		}
		if fmt.Sprint(s.Waves[1].Phases[2].Gate) != "yes" {
			t.Errorf("gate %q", s.Waves[1].Phases[2].Gate)
		}
	})
}
