package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/limit"
	"ssm-migrate/internal/plan"
)

// stillAWS stands still, once, between the last look at a group and the
// request that closes its port.
type stillAWS struct {
	*fakeAWS
	stand   func()                // nil: no more
	revoked func(context.Context) // is called before rules are revoked
}

func (a *stillAWS) GroupMembers(ctx context.Context, at fleet.Place, group string) ([]string, error) {
	if stand := a.stand; stand != nil {
		a.stand = nil
		stand()
	}
	return a.fakeAWS.GroupMembers(ctx, at, group)
}

func (a *stillAWS) Revoke(ctx context.Context, at fleet.Place, group string, egress bool, ids []string) error {
	if slices.Contains(ids, "sgr-a") { // not stand-ins that are taken back
		a.revoked(ctx)
	}
	return a.fakeAWS.Revoke(ctx, at, group, egress, ids)
}

// stillLeases does not renew while the process stands still.
type stillLeases struct {
	*world
	still *chan struct{} // nil: it goes
}

func (l stillLeases) Renew(ctx context.Context, fence int64, d time.Duration) error {
	var thaw chan struct{}
	l.set(func() { thaw = *l.still })
	if thaw != nil {
		<-thaw
	}
	return l.world.Renew(ctx, fence, d)
}

func TestPortClosesOnlyByWhatIsSeenRightBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		still    time.Duration
		taken    bool             // somebody else has the lease by then
		proofAge time.Duration    // 0: the policy's
		spoil    func(f *fixture) // meanwhile
		outcome  cutover.Outcome  // with an error: none
		closed   bool
	}{
		"nothing happens":             {outcome: cutover.OutcomeDone, closed: true},
		"somebody else has the lease": {still: 5 * time.Minute, taken: true},
		"a session is too old":        {still: 4 * time.Minute, proofAge: 3 * time.Minute, outcome: cutover.OutcomeDone, closed: true},
		"a session has failed": {still: time.Second, spoil: func(f *fixture) {
			f.broken["i-10"] = fleet.TruthNo
			f.save(f.proof(ref("i-10"), fleet.WaySessionManager))
		}, outcome: cutover.OutcomeRolledBack},
		"the timer is near":             {still: 9 * time.Minute, outcome: cutover.OutcomeDone, closed: true},
		"the timer is very near":        {still: 14 * time.Minute, outcome: cutover.OutcomeDone, closed: true},
		"the timer has opened the door": {still: 20 * time.Minute, outcome: cutover.OutcomeDone, closed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 1)
				if tt.proofAge > 0 {
					f.plan.Policy.ProofAge = plan.Duration(tt.proofAge)
				}
				aws := f.closeForReal()
				var still chan struct{}
				stand := func() {
					if tt.taken {
						f.set(func() { still = make(chan struct{}) })
						time.Sleep(tt.still)
						f.set(func() { f.holder, f.fence, f.until = "eve", f.fence+1, time.Now().Add(time.Hour) })
						f.set(func() {
							close(still)
							still = nil
						})
					} else {
						time.Sleep(tt.still)
					}
					if tt.spoil != nil {
						f.set(func() { tt.spoil(f) })
					}
				}
				f.at("append intended w1/close/sg-1/1-close-port", func() { aws.stand = stand })
				revoked := 0
				aws.revoked = func(ctx context.Context) {
					revoked++
					f.wantMayClose(ctx)
				}
				f.cfg = func(c *cutover.Config) {
					c.Kinds[plan.ClosePort] = cutover.AWSKinds(aws)[plan.ClosePort]
					c.Leases = stillLeases{f.world, &still}
				}
				res, err := f.apply(t.Context())
				if tt.outcome == "" {
					if !errors.Is(err, cutover.ErrLease) {
						t.Errorf("error %v, want ErrLease", err)
					}
				} else {
					want(t, res, err, tt.outcome)
				}
				if (revoked > 0) != tt.closed || len(aws.now.Rules["sg-web"]) > 5 == tt.closed {
					t.Errorf("revoked %d times; rules %v", revoked, aws.now.Rules["sg-web"])
				}
				f.wantVerified()
			})
		})
	}
}

// closeForReal makes the fixture's only group one of a fake AWS. The hosts'
// keys are not touched.
func (f *fixture) closeForReal() *stillAWS {
	c := town()
	c.Members["sg-web"] = []string{"i-10"}
	w := &f.plan.Waves[1]
	var steps []plan.Step
	for _, s := range w.Steps {
		if s.Lane == "sg-all" || s.Phase == plan.Quarantine {
			continue
		}
		if s.Kind == plan.ClosePort {
			s.Rules = closing()
		}
		steps = append(steps, s)
	}
	w.Steps = steps
	return &stillAWS{fakeAWS: newFakeAWS(c)}
}

// wantMayClose asserts what must hold when the request of the fixture's
// closing step is made, and that it can end no later than that.
func (f *fixture) wantMayClose(ctx context.Context) {
	f.t.Helper()
	until, ok := ctx.Deadline()
	if !ok || !time.Now().Before(until) {
		f.t.Errorf("the request may be made until %s", until)
	}
	f.set(func() {
		if f.holder != "ops" || !time.Now().Before(f.until) || until.After(f.until) {
			f.t.Errorf("%q has the lease, until %s", f.holder, f.until)
		}
		p, ok := f.latest(ref("i-10"), fleet.WaySessionManager)
		if age := time.Duration(f.plan.Policy.ProofAge); !ok || !p.Fresh(time.Now(), age) || until.After(p.At.Add(age)) {
			f.t.Errorf("the latest session is %+v", p)
		}
		const half = 15 * time.Minute / 2
		if at := f.timers["port sg-1"]; time.Until(at) < half || until.After(at.Add(-half)) {
			f.t.Errorf("the timer is due at %s", at)
		}
	})
}

// Somebody else may rely by then on what would be taken back, or be closing
// what would be opened.
func TestNothingIsDoneWithoutTheLease(t *testing.T) {
	for _, tt := range []struct {
		run  string
		kind plan.Kind
	}{
		{"apply", plan.RecoveryGroup}, {"apply", plan.RecoveryKey}, {"apply", plan.ArmHostTimer}, {"apply", plan.QuarantineKeys},
		{"rollback", plan.RecoveryGroup}, {"rollback", plan.RecoveryKey}, {"rollback", plan.ArmHostTimer},
		{"rollback", plan.QuarantineKeys}, {"rollback", plan.ClosePort},
	} {
		t.Run(tt.run+" "+string(tt.kind), func(t *testing.T) {
			in(t, func(t *testing.T, f *fixture) {
				f.plan.Policy.Concurrency = 1
				if tt.run == "rollback" {
					ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
				}
				began, done := false, ""
				f.onCall = func(name string) {
					event, id, _ := strings.Cut(strings.TrimPrefix(name, "append "), " ")
					if i := slices.IndexFunc(f.steps(), func(s plan.Step) bool { return s.ID == id && s.Kind == tt.kind }); i >= 0 && (event == "intended" || event == "undo-began") {
						began = true
						// The process sleeps from the journal's answer on.
						f.at("renew", func() { f.holder, f.fence, f.until = "eve", f.fence+1, time.Now().Add(time.Hour) })
					}
				}
				f.faults = func(_ int, name string) fault {
					if began && (strings.HasPrefix(name, "apply ") || strings.HasPrefix(name, "undo ")) {
						done = name
					}
					return noFault
				}
				run := f.apply
				if tt.run == "rollback" {
					run = func(ctx context.Context) (cutover.Result, error) { return f.rollback(ctx, cutover.Scope{All: true}) }
				}
				if _, err := run(t.Context()); !errors.Is(err, cutover.ErrLease) {
					t.Errorf("error %v, want ErrLease", err)
				}
				if !began || done != "" {
					t.Errorf("began %t; done without the lease: %q", began, done)
				}
			})
		})
	}
}

func (f *fixture) steps() (out []plan.Step) {
	for _, w := range f.plan.Waves {
		out = append(out, w.Steps...)
	}
	return out
}

// A request of a step may leave only while the lease is known to be ours.
func TestStepsAreLimitedByTheLease(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		limited := 0
		f.cfg = func(c *cutover.Config) {
			for name, k := range c.Kinds {
				c.Kinds[name] = limitedKind{k, func(ctx context.Context) {
					until, ok := limit.Of(ctx)
					f.set(func() {
						limited++
						if !ok || until.After(f.until) || !time.Now().Before(until) {
							t.Errorf("%s: may be sent until %s (%t), and the lease is ours until %s", name, until, ok, f.until)
						}
					})
				}}
			}
		}
		ends(t, cutover.OutcomeDone, func() (cutover.Result, error) { return f.apply(t.Context()) })
		ends(t, cutover.OutcomeRolledBack, func() (cutover.Result, error) { return f.rollback(t.Context(), cutover.Scope{All: true}) })
		if limited < 2*len(f.entries)/8 {
			t.Errorf("only %d calls were looked at", limited)
		}
	})
}

type limitedKind struct {
	cutover.StepKind
	look func(context.Context)
}

func (k limitedKind) Apply(ctx context.Context, s plan.Step, before json.RawMessage, token string) (json.RawMessage, error) {
	k.look(ctx)
	return k.StepKind.Apply(ctx, s, before, token)
}

func (k limitedKind) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	k.look(ctx)
	return k.StepKind.Undo(ctx, s, before, after, token)
}
