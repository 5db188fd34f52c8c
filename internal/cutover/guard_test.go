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

// A door that somebody else closed is not ours to open: what lets people in
// meanwhile stays.
func TestRollbackKeepsTheWaysOfHostsWhoseDoorsOthersClosed(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("apply w2/quarantine/i-22", func() {
			f.broken["i-22"], f.facts["port sg-2"] = fleet.TruthNo, false
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledPartly)
		for fact, value := range map[string]bool{"keys i-22": true, "key i-22": true, "agent i-22": true, "key i-21": true, "port sg-2": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
		// A door that cannot be seen counts as closed.
		f.set(func() { f.facts["port sg-2"] = true })
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "observe w2/close/sg-2/1-") {
				return failBefore
			}
			return noFault
		}
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledPartly)
		if !f.fact("key i-22") || f.fact("key i-10") {
			t.Error("the ways of the hosts of sg-2 alone were to stay")
		}
		f.faults = nil
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if f.fact("key i-22") || f.fact("agent i-22") || f.fact("bastion vpc") {
			t.Error("the last rollback did not finish")
		}
	})
}

// withBastions adds a last wave that scales the old bastions in.
func (f *fixture) withBastions() string {
	const id = "w3/finish/bastions/0-scale-in"
	f.plan.Waves = append(f.plan.Waves, plan.Wave{Number: 3, Name: "finish", Steps: []plan.Step{
		{ID: id, Kind: plan.ScaleIn, Phase: plan.Finish, Lane: "bastions", At: fleet.Place{Account: "1", Region: "r"}, Title: "scale in"},
	}})
	return id
}

func TestBastionsStayWhileAnyHostMayNeedThem(t *testing.T) {
	for name, need := range map[string]struct {
		prepare func(t *testing.T, f *fixture)
		outcome cutover.Outcome
	}{
		"nobody": {func(*testing.T, *fixture) {}, cutover.OutcomeDone},
		"a host was taken back": {func(_ *testing.T, f *fixture) {
			f.plan.Policy.ErrorBudget = 1
			f.at("apply w2/quarantine/i-22", func() { f.broken["i-22"] = fleet.TruthNo })
		}, cutover.OutcomePartly},
		"a host was rolled back by the operator": {func(t *testing.T, f *fixture) {
			h := ref("i-21")
			res, err := f.rollback(t.Context(), cutover.Scope{Host: &h})
			want(t, res, err, cutover.OutcomeRolledBack)
		}, cutover.OutcomePartly},
		"doors are held": {func(_ *testing.T, f *fixture) { f.plan.Policy.RecoveryAge = -1 }, cutover.OutcomePartly},
		"no session at the end": {func(_ *testing.T, f *fixture) {
			f.faults = func(_ int, name string) fault {
				if !strings.HasPrefix(name, "observe w3/finish") || len(f.entries) < 20 {
					return noFault
				}
				f.broken["i-21"] = fleet.TruthNo
				for k := range f.proofs {
					if k.way == fleet.WaySessionManager {
						delete(f.proofs, k)
					}
				}
				return noFault
			}
		}, cutover.OutcomePartly},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, f *fixture) {
				step := f.withBastions()
				need.prepare(t, f)
				res, err := f.apply(t.Context())
				want(t, res, err, need.outcome)
				if gone := f.fact("bastions are gone"); gone != (need.outcome == cutover.OutcomeDone) || gone == slices.Contains(res.Held, step) {
					t.Errorf("bastions gone: %t, held: %v", gone, res.Held)
				}
			})
		})
	}
}

// The doors that a rollback opens may lead through bastions that are gone.
func TestRollbackInPartBringsTheBastionsBack(t *testing.T) {
	h, two := ref("i-21"), 2
	for _, s := range []cutover.Scope{{Host: &h}, {Wave: &two}} {
		in(t, func(t *testing.T, f *fixture) {
			f.withBastions()
			res, err := f.apply(t.Context())
			want(t, res, err, cutover.OutcomeDone)
			f.faults = func(_ int, name string) fault {
				if strings.HasPrefix(name, "undo w3/finish") {
					return failBefore
				}
				return noFault
			}
			res, err = f.rollback(t.Context(), s)
			want(t, res, err, cutover.OutcomeRolledPartly)
			if !f.fact("keys i-21") || !f.fact("agent i-21") || !f.fact("key i-21") {
				t.Error("the host has lost a way in while its bastion was gone")
			}
			f.faults = nil
			res, err = f.rollback(t.Context(), s)
			want(t, res, err, cutover.OutcomeRolledBack)
			if f.fact("bastions are gone") || f.fact("agent i-21") {
				t.Error("the rollback did not finish")
			}
		})
	}
}

func TestDrillsOnOneBastionRunOneAfterTheOther(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		running, peak, drills := 0, 0, 0
		f.cfg = func(c *cutover.Config) { c.Kinds[plan.RecoveryDrill] = slowKind{kind{f.world}, &running, &peak} }
		f.at("apply w2/quarantine", func() {
			f.at("append gate ", func() { // what is to close next finds all logins too old
				for k, p := range f.proofs {
					if k.way == fleet.WayRecovery {
						p.At = p.At.AddDate(0, 0, -2)
						f.proofs[k] = p
					}
				}
				f.faults = func(_ int, name string) fault {
					if strings.HasPrefix(name, "apply w") && strings.HasSuffix(name, "recovery-drill") {
						drills++
					}
					return noFault
				}
			})
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		if drills != 2 || peak != 1 {
			t.Errorf("%d drills, %d at once", drills, peak)
		}
	})
}

// drillKind takes any recovery login of the last day for good enough.
type drillKind struct{ kind }

func (k drillKind) Observe(ctx context.Context, s plan.Step) (o cutover.Observation, err error) {
	o, err = k.kind.Observe(ctx, s)
	k.w.set(func() {
		o.Holds = fleet.TruthYes
		for _, h := range s.Hosts {
			if p, ok := k.w.latest(h, fleet.WayRecovery); !ok || !p.Fresh(time.Now(), 24*time.Hour) {
				o.Holds = fleet.TruthNo
			}
		}
	})
	return o, err
}

// A login by a recovery way that was taken back says nothing about the one that
// was set up after it.
func TestDoorsCloseOnlyAfterALoginByTheNewRecoveryWay(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.cfg = func(c *cutover.Config) { c.Kinds[plan.RecoveryDrill] = drillKind{kind{f.world}} }
		keys := map[string]time.Time{} // when each host got its key
		closed := 0
		f.onCall = func(name string) {
			part := strings.Split(name, "/")
			switch {
			case !strings.HasPrefix(name, "apply w"):
			case strings.HasSuffix(name, "recovery-key"):
				keys[part[2]] = time.Now()
			case strings.HasSuffix(name, "quarantine-keys"):
				closed++
				id := part[2]
				if p, ok := f.latest(ref(id), fleet.WayRecovery); !ok || p.At.Before(keys[id]) {
					t.Errorf("the keys of %s are quarantined by a login of %s; its recovery key is of %s", id, p.At, keys[id])
				}
			}
		}
		for range 2 {
			res, err := f.apply(t.Context())
			want(t, res, err, cutover.OutcomeDone)
			res, err = f.rollback(t.Context(), cutover.Scope{All: true})
			want(t, res, err, cutover.OutcomeRolledBack)
			time.Sleep(time.Hour)
		}
		if closed != 8 {
			t.Errorf("%d hosts were quarantined, want 8", closed)
		}
	})
}

// Waves and windows lie apart: the recovery key may have been made anew after
// its host's drill. Then the drill really runs again.
func TestDrillRunsAgainAfterTheRecoveryWayWasChanged(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.cfg = func(c *cutover.Config) { c.Kinds[plan.RecoveryDrill] = drillKind{kind{f.world}} }
		drills := 0
		f.at("apply w1/prove/vpc", func() {
			f.at("append gate ", func() { // the host's key is newer than its login now
				for k, p := range f.proofs {
					if k.way == fleet.WayRecovery {
						p.At = p.At.Add(-time.Minute)
						f.proofs[k] = p
					}
				}
				f.at("apply w1/prove/vpc", func() { drills++ })
			})
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		f.wantClosed()
		if drills != 1 {
			t.Error("the drill was not run again")
		}
	})
}

// slowBastions start their instances only when they are told to.
type slowBastions struct {
	*fakeAWS
	up  func() int // instances in service; negative: nobody can tell
	out func()     // is called when the group gets its sizes back
	// launched is when the instances were.
	launched func() time.Time
}

func (a *slowBastions) SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error {
	if desired > 0 {
		a.out()
	}
	return a.fakeAWS.SetSize(ctx, at, name, minimum, desired, maximum)
}

func (a *slowBastions) InService(context.Context, fleet.Place, string) ([]fleet.Host, error) {
	n := a.up()
	if n < 0 {
		return nil, errors.New("throttled")
	}
	hosts := make([]fleet.Host, n)
	for i := range hosts {
		hosts[i].LaunchTime = a.launched()
	}
	return hosts, nil
}

func (a *slowBastions) LaunchFailure(context.Context, fleet.Place, string, time.Time) (string, error) {
	if a.up() != 1 {
		return "", errors.New("throttled")
	}
	return "We currently do not have\nsufficient capacity.", nil
}

// While old bastions start no SSH leads through them: doors open meanwhile, and
// what Session Manager needs stays.
func TestWaysStayUntilTheBastionsAreInService(t *testing.T) {
	for name, tt := range map[string]struct {
		after   time.Duration // after which they are in service; 0: never
		blind   bool          // nobody can tell
		outcome cutover.Outcome
		result  fleet.Truth // of the journal's last word on the step
	}{
		"they start at once":           {after: time.Second, outcome: cutover.OutcomeRolledBack, result: fleet.TruthYes},
		"they start":                   {after: 4 * time.Minute, outcome: cutover.OutcomeRolledBack, result: fleet.TruthYes},
		"one of two never starts":      {outcome: cutover.OutcomeRolledPartly, result: fleet.TruthNo},
		"whether they start is hidden": {blind: true, outcome: cutover.OutcomeRolledPartly, result: fleet.TruthUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, f *fixture) {
				step := f.withBastions()
				f.plan.Waves[len(f.plan.Waves)-1].Steps[0].Scaling = &plan.ScalingChange{Group: "bastions", Max: 3}
				var out time.Time
				aws := &slowBastions{fakeAWS: newFakeAWS(town()), out: func() { out = time.Now() }, launched: func() time.Time { return out }}
				aws.up = func() int {
					switch {
					case out.IsZero():
						return 2
					case tt.blind:
						return -1
					case tt.after == 0 || time.Since(out) < tt.after:
						return 1
					}
					return 2
				}
				f.cfg = func(c *cutover.Config) { c.Kinds[plan.ScaleIn] = cutover.AWSKinds(aws)[plan.ScaleIn] }
				res, err := f.apply(t.Context())
				want(t, res, err, cutover.OutcomeDone)
				opened := time.Time{}
				f.onCall = func(name string) {
					switch {
					case strings.HasPrefix(name, "undo w2/close/") && opened.IsZero():
						opened = time.Now()
					case strings.HasPrefix(name, "undo ") && strings.Contains(name, "agent") && (aws.up() < 2 || time.Since(out) < 3*time.Minute):
						t.Errorf("%s while the bastions start", name)
					}
				}
				res, err = f.rollback(t.Context(), cutover.Scope{All: true})
				want(t, res, err, tt.outcome)
				if opened.IsZero() || opened.Sub(out) >= time.Minute {
					t.Errorf("the doors opened at %s, and the bastions were asked for at %s", opened, out)
				}
				if f.fact("agent i-21") == (tt.outcome == cutover.OutcomeRolledBack) || slices.Contains(res.Left, step) == (tt.outcome == cutover.OutcomeRolledBack) {
					t.Errorf("agent there: %t, left: %v", f.fact("agent i-21"), res.Left)
				}
				var last cutover.Entry
				for _, e := range f.entries {
					if e.Step == step {
						last = e
					}
				}
				if told := strings.Contains(last.Detail, "EC2 Auto Scaling says: We currently do not have sufficient capacity."); told != (tt.result == fleet.TruthNo) {
					t.Errorf("the journal says %q", last.Detail)
				}
				if last.Result != tt.result {
					t.Errorf("the last of the step is %s %s %q, want %s", last.Event, last.Result, last.Detail, tt.result)
				}
			})
		})
	}
}
