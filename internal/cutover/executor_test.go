package cutover_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
)

func TestApplyClosesEveryDoorAndRollbackOpensItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 3)
		before := f.state()
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
		f.wantVerified()
		res, err = f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if diff := cmp.Diff(before, f.state()); diff != "" {
			t.Errorf("world after the rollback (-before +after):\n%s", diff)
		}
		f.wantVerified()
	})
}

// sweep runs a scenario with each kind of fault at each of its port calls; with
// -short at every ninth.
func sweep(t *testing.T, faults []fault, scenario func(t *testing.T, at int, kind fault) (reached bool)) {
	t.Helper()
	n, step := 0, 1
	if testing.Short() {
		step = 9
	}
	for _, kind := range faults {
		for at := 1; ; at += step {
			reached := true
			synctest.Test(t, func(t *testing.T) { reached = scenario(t, at, kind) })
			if t.Failed() {
				t.Fatalf("at call %d, fault %d", at, kind)
			}
			if !reached {
				break
			}
			n++
		}
	}
	t.Logf("%d places", n)
	if n < 100/step {
		t.Errorf("only %d places were tried", n)
	}
}

func killAt(at int, kind fault, reached *bool) func(int, string) fault {
	return func(call int, _ string) fault {
		if call == at {
			*reached = true
			return kind
		}
		return noFault
	}
}

func TestRunKilledAnywhereIsResumed(t *testing.T) {
	sweep(t, []fault{killBefore, killAfter}, func(t *testing.T, at int, kind fault) (reached bool) {
		f := newFixture(t, 1, 2)
		before := f.state()
		f.faults = killAt(at, kind, &reached)
		_, _ = f.apply(t.Context())
		f.faults = nil
		f.outlive()
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
		f.wantVerified()
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if diff := cmp.Diff(before, f.state()); diff != "" {
			t.Errorf("world after the rollback (-before +after):\n%s", diff)
		}
		return reached
	})
}

func TestRunKilledAnywhereIsRolledBack(t *testing.T) {
	sweep(t, []fault{killBefore, killAfter}, func(t *testing.T, at int, kind fault) (reached bool) {
		f := newFixture(t, 1, 2)
		before := f.state()
		f.faults = killAt(at, kind, &reached)
		_, _ = f.apply(t.Context())
		f.faults = nil
		f.outlive()
		res, err := f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if diff := cmp.Diff(before, f.state()); diff != "" {
			t.Errorf("world after the rollback (-before +after):\n%s", diff)
		}
		f.wantVerified()
		return reached
	})
}

// The rollback of a finished run, and of one that died in its middle.
func TestRollbackKilledAnywhereIsFinished(t *testing.T) {
	for _, died := range []int{0, 97, 151} {
		sweep(t, []fault{killBefore, killAfter}, func(t *testing.T, at int, kind fault) (reached bool) {
			f := newFixture(t, 2)
			before := f.state()
			var dead bool
			f.faults = killAt(died, killAfter, &dead)
			_, _ = f.apply(t.Context())
			f.outlive()
			f.faults = killAt(at, kind, &reached)
			_, _ = f.rollback(t.Context(), cutover.Scope{All: true})
			f.faults = nil
			f.outlive()
			res, err := f.rollback(t.Context(), cutover.Scope{All: true})
			want(t, res, err, cutover.OutcomeRolledBack)
			if diff := cmp.Diff(before, f.state()); diff != "" {
				t.Errorf("world after the rollback (-before +after):\n%s", diff)
			}
			f.wantVerified()
			return reached
		})
	}
}

// One call that fails, having acted or not, changes nothing but the time it takes.
func TestOneFailureAnywhereIsOvercome(t *testing.T) {
	sweep(t, []fault{failBefore, failAfter}, func(t *testing.T, at int, kind fault) (reached bool) {
		f := newFixture(t, 1, 2)
		journal := false
		f.faults = func(call int, name string) fault {
			if call != at {
				return noFault
			}
			reached = true
			journal = name == "entries" || name == "acquire" || len(name) > 6 && name[:6] == "append"
			return kind
		}
		res, err := f.apply(t.Context())
		if journal {
			if err == nil {
				t.Error("the run went on without its journal or lease")
			}
			f.faults = nil
			f.outlive()
			res, err = f.apply(t.Context())
		}
		f.faults = nil
		if err == nil && res.Outcome == cutover.OutcomePaused { // a proof that cannot be stored is none
			res, err = f.apply(t.Context())
		}
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
		f.wantVerified()
		return reached
	})
}

func TestPlanWithoutStepsIsRolledBack(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.plan.Waves = nil
		res, err := f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if res.Reason != "there was nothing to take back" {
			t.Errorf("reason %q", res.Reason)
		}
	})
}
