package cutover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// withSecond adds a second plan to the same fleet: the first one's foundation
// and wave 2. What the first has made the second finds.
func (f *fixture) withSecond() (second *fixture) {
	b := *f
	b.plan = &plan.Plan{ID: "p2", Digest: "d2", Snapshot: 1, Policy: f.plan.Policy, Waves: []plan.Wave{f.plan.Waves[0], f.plan.Waves[2]}}
	plans := func(_ context.Context, id string) (*plan.Plan, error) {
		for _, p := range []*plan.Plan{f.plan, b.plan} {
			if p.ID == id {
				return p, nil
			}
		}
		return nil, errors.New("no such plan")
	}
	f.cfg = func(c *cutover.Config) { c.Plans = plans }
	b.cfg = f.cfg
	return &b
}

// ends runs what ends so, and gives its result.
func ends(t *testing.T, o cutover.Outcome, run func() (cutover.Result, error)) cutover.Result {
	t.Helper()
	res, err := run()
	want(t, res, err, o)
	return res
}

// twoPlans lets the first plan close the doors of its first wave, and the
// second those of the others.
func twoPlans(t *testing.T, f *fixture) (second *fixture) {
	t.Helper()
	one := 1
	second = f.withSecond()
	plans := f.cfg
	f.cfg = func(c *cutover.Config) { plans(c); c.LastWave = &one }
	ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
	f.cfg = plans
	ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return second.apply(t.Context()) })
	return second
}

func TestRollbackKeepsWhatDoorsOfAnotherPlanRestOn(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		before := f.state()
		second := twoPlans(t, f)
		res := ends(t, cutover.OutcomeRolledPartly, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		for fact, value := range map[string]bool{
			"bastion vpc": true, "role timer": true, // what the second plan's doors rest on
			"key i-10": true, "port sg-all": false, // i-10 is behind a door of the second plan, too
			"keys i-10": true, "port sg-1": true, // the first plan's doors
			"keys i-21": false, "port sg-2": false, "agent i-21": true, "key i-21": true,
		} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
		slices.Sort(res.Left)
		if !slices.Equal(res.Left, []string{"w0/bastion", "w0/role", "w1/prove/i-10/1-recovery-key"}) {
			t.Errorf("not undone: %v", res.Left)
		}
		why := f.events(cutover.Held)
		if len(why) == 0 || !strings.Contains(why[len(why)-1].Detail, "still closed by plan p2") || !strings.Contains(why[len(why)-1].Detail, "migrate rollback p2 --all") {
			t.Errorf("the journal says %+v", why)
		}
		// In the right order all of it can be taken back.
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return second.rollback(t.Context(), cutover.Scope{All: true}) })
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		for fact, value := range f.state() {
			if value != before[fact] {
				t.Errorf("after both rollbacks %s is %t", fact, value)
			}
		}
	})
}

// The doors of a host keep what either plan has made on it, but not what was
// made after they had closed.
func TestRollbackMindsTheOrderOfPlansOnOneHost(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		second := f.withSecond()
		f.plan.Waves[2].Steps = f.plan.Waves[2].Steps[:3] // agents of i-20, i-21 and i-22, and no more
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return second.apply(t.Context()) })
		h := ref("i-21")
		ends(t, cutover.OutcomeRolledPartly, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{Host: &h}) })
		if !f.fact("agent i-21") || f.fact("keys i-21") {
			t.Error("the agent that the second plan's doors rest on is gone, or those doors are open")
		}
	})
	in(t, func(t *testing.T, f *fixture) {
		second := f.withSecond()
		second.plan.Waves = []plan.Wave{{Number: 0, Name: "wave", Hosts: f.plan.Waves[2].Hosts[1:2], Steps: []plan.Step{
			{ID: "late", Kind: plan.Agent, Phase: plan.Prepare, Lane: "i-99", At: fleet.Place{Account: "1", Region: "r"}, Hosts: f.plan.Waves[2].Hosts[1:2], Title: "another agent"},
		}}}
		f.facts["agent i-99"] = false
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return second.apply(t.Context()) })
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return second.rollback(t.Context(), cutover.Scope{All: true}) })
		if f.fact("agent i-99") {
			t.Error("what came after the doors had closed was not undone")
		}
	})
}

// A bastion group of another VPC is not what doors rest on.
func TestRollbackKeepsWhatIsOfTheSameVPCOnly(t *testing.T) {
	for _, vpc := range []string{"vpc-1", "vpc-2", ""} {
		in(t, func(t *testing.T, f *fixture) {
			for ref, h := range f.hosts {
				h.VPC = vpc
				f.hosts[ref] = h
			}
			f.plan.Waves[0].Steps[1].Recovery = &plan.RecoveryChange{VPC: "vpc-1"}
			twoPlans(t, f)
			ends(t, cutover.OutcomeRolledPartly, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
			if f.fact("bastion vpc") != (vpc != "vpc-2") {
				t.Errorf("hosts of %q: bastion %t", vpc, f.fact("bastion vpc"))
			}
			if !f.fact("role timer") {
				t.Error("the role, which is of no VPC, is gone")
			}
		})
	}
}

// What another plan has closed is not known without that plan: the doors of
// this one open, and the rest stays.
func TestRollbackWithoutTheOtherPlanKeepsTheWays(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		twoPlans(t, f)
		f.cfg = nil
		ends(t, cutover.OutcomeRolledPartly, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		if !f.fact("keys i-10") || !f.fact("key i-10") || !f.fact("bastion vpc") {
			t.Error("a door stayed closed, or a way was taken back")
		}
		ends(t, cutover.OutcomePaused, func() (cutover.Result, error) { return f.apply(t.Context()) })
		if f.fact("keys i-10") == false {
			t.Error("a door closed")
		}
	})
}

func TestApplyWaitsForTimersOfAnotherPlan(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		second := f.withSecond()
		x := f.executor("ops")
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "append ours w2/quarantine/i-21") && strings.HasSuffix(name, "quarantine-keys") {
				return killAfter
			}
			return noFault
		}
		if _, err := x.Apply(t.Context()); err == nil {
			t.Fatal("the run was not killed")
		}
		f.faults = nil
		f.outlive()
		n := len(f.entries)
		res := ends(t, cutover.OutcomePaused, func() (cutover.Result, error) { return second.apply(t.Context()) })
		for _, words := range []string{"plan p1 has armed a timer", "migrate apply p1", "migrate rollback p1 --all"} {
			if !strings.Contains(res.Reason, words) {
				t.Errorf("the reason %q lacks %q", res.Reason, words)
			}
		}
		for _, e := range f.entries[n:] {
			if e.Step != "" {
				t.Errorf("%s of %s", e.Event, e.Step)
			}
		}
		time.Sleep(20 * time.Minute) // it has fired by then
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return second.apply(t.Context()) })
	})
}

// A login counts for the recovery way as it is, whichever plan has made it.
func TestDoorsCloseOnlyAfterALoginByTheRecoveryWayOfAnyPlan(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		second := f.withSecond()
		plans := f.cfg
		drills := func(c *cutover.Config) { plans(c); c.Kinds[plan.RecoveryDrill] = drillKind{kind{f.world}} }
		f.cfg, second.cfg = drills, drills
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		// The first plan makes the keys anew and gets no further.
		x := f.executor("ops")
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "apply w2/prove/vpc") {
				return killBefore
			}
			return noFault
		}
		if _, err := x.Apply(t.Context()); err == nil {
			t.Fatal("the run was not killed")
		}
		f.faults = nil
		f.outlive()
		made := time.Now()
		f.onCall = func(name string) {
			if !strings.HasPrefix(name, "apply w2/quarantine") || !strings.HasSuffix(name, "quarantine-keys") {
				return
			}
			id := strings.Split(name, "/")[2]
			if p, ok := f.latest(ref(id), fleet.WayRecovery); !ok || p.At.Before(made) {
				t.Errorf("%s is closed by a login of %s; its recovery key is of %s", id, p.At, made)
			}
		}
		time.Sleep(20 * time.Minute)
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return second.apply(t.Context()) })
	})
}

// Keys that no run has come to are looked at all the same before a rollback
// takes away what else leads into their host.
func TestRollbackLooksAtKeysThatWereNeverBegun(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		x := f.executor("ops")
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "append intended w2/prove/vpc") {
				return killBefore
			}
			return noFault
		}
		if _, err := x.Apply(t.Context()); err == nil {
			t.Fatal("the run was not killed")
		}
		f.faults = nil
		f.outlive()
		f.set(func() { f.facts["keys i-21"] = false }) // somebody else has removed them all
		ends(t, cutover.OutcomeRolledPartly, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		for fact, value := range map[string]bool{"key i-21": true, "agent i-21": true, "key i-22": false, "agent i-22": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
		f.set(func() { f.facts["keys i-21"] = true })
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		if f.fact("key i-21") {
			t.Error("the second rollback did not finish")
		}
	})
}
