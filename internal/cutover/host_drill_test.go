package cutover_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// drillWorld is a recovery group whose bastion takes its time, and hosts behind it.
type drillWorld struct {
	mu     sync.Mutex
	group  fleet.ScalingGroup // guarded by mu
	upAt   time.Time          // guarded by mu; when the bastion is in service
	goneAt time.Time          // guarded by mu
	open   bool               // guarded by mu
	most   int                // guarded by mu; largest size seen
	proofs map[fleet.HostRef]fleet.Proof

	noKeys, noBastion bool
	wrong             map[string]fleet.Truth // how logins on hosts end, where not well
	sizeFails         int                    // calls of SetSize to zero that fail
	during            func()                 // while hosts are proved
}

func (w *drillWorld) ScalingGroup(context.Context, fleet.Place, string) (fleet.ScalingGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.group.Name == "" {
		return fleet.ScalingGroup{}, fleet.ErrNotFound
	}
	g := w.group
	if g.Desired > 0 || time.Now().Before(w.goneAt) {
		g.Instances = []string{"i-bastion"}
	}
	return g, nil
}

func (w *drillWorld) SetSize(_ context.Context, _ fleet.Place, _ string, minimum, desired, maximum int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if desired == 0 && w.sizeFails > 0 {
		w.sizeFails--
		return errors.New("throttled")
	}
	w.group.Min, w.group.Desired, w.group.Max = minimum, desired, maximum
	w.most = max(w.most, desired)
	if desired > 0 {
		w.upAt = time.Now().Add(90 * time.Second)
	} else {
		w.goneAt = time.Now().Add(time.Minute)
	}
	return nil
}

func (w *drillWorld) InService(context.Context, fleet.Place, string) ([]fleet.Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noBastion || w.group.Desired == 0 || time.Now().Before(w.upAt) {
		return nil, nil
	}
	return []fleet.Host{{ID: "i-bastion", VPC: "vpc-1"}}, nil
}

func (w *drillWorld) HostKeys(context.Context, fleet.HostRef) ([]string, error) {
	if w.noKeys {
		return nil, nil
	}
	return []string{"ssh-ed25519 AAAA"}, nil
}

func (w *drillWorld) OpenBastion(_ context.Context, _ fleet.Host, user string, _ []string) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if user != "admin" {
		return nil, fmt.Errorf("no user %s", user)
	}
	w.open = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open = false
	}, nil
}

func (w *drillWorld) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	if w.during != nil {
		w.during()
	}
	p := fleet.Proof{Host: h.Ref(), Way: way, At: time.Now(), Works: fleet.TruthYes, Kind: "login"}
	w.mu.Lock()
	defer w.mu.Unlock()
	if truth, ok := w.wrong[h.ID]; ok || ctx.Err() != nil {
		p.Works, p.Reason = truth, "something is wrong"
	}
	if !w.open && way == fleet.WayRecovery {
		p.Works, p.Reason = fleet.TruthUnknown, "no bastion is open"
	}
	return p
}

func (w *drillWorld) SaveProof(_ context.Context, p fleet.Proof) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proofs[p.Host] = p
	return nil
}

func (w *drillWorld) LatestProof(_ context.Context, h fleet.HostRef, _ fleet.Way) (fleet.Proof, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.proofs[h]
	return p, ok, nil
}

func newDrill(phase plan.Phase, hosts int) (*drillWorld, cutover.Kinds, plan.Step) {
	w := &drillWorld{group: fleet.ScalingGroup{Name: "migrate-recovery-vpc-1", Max: 1}, proofs: map[fleet.HostRef]fleet.Proof{}}
	kinds := drillKinds(w, nil)
	s := plan.Step{ID: "s", Phase: phase, Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: "migrate-recovery-vpc-1", User: "admin"}}
	for i := range hosts {
		s.Hosts = append(s.Hosts, fleet.HostRef{ID: fmt.Sprint("i-", i)})
	}
	return w, kinds, s
}

func drillKinds(w *drillWorld, told func(plan.Step, cutover.DrillPhase)) cutover.Kinds {
	return cutover.HostKinds(cutover.HostWorld{
		Prover: w, Proofs: w, Scaling: w, Bastions: w, Plan: &plan.Plan{Digest: "d", Policy: plan.DefaultPolicy()}, Drilling: told,
		Find: func(r fleet.HostRef) (fleet.Host, bool) { return fleet.Host{ID: r.ID, VPC: "vpc-1"}, true },
	})
}

func TestDrillLeavesItsGroupAtZero(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(w *drillWorld, cancel func())
		want   string // in the error; empty: none
		proved bool
		left   int // desired size afterwards
	}{
		{"fine", func(*drillWorld, func()) {}, "", true, 0},
		{"a host refuses", func(w *drillWorld, _ func()) { w.wrong = map[string]fleet.Truth{"i-7": fleet.TruthNo} }, "i-7 by recovery: something is wrong", false, 0},
		{"no bastion comes", func(w *drillWorld, _ func()) { w.noBastion = true }, "does not come into service", false, 0},
		{"no keys on the console", func(w *drillWorld, _ func()) { w.noKeys = true }, "shows no host keys", false, 0},
		{"interrupted", func(w *drillWorld, cancel func()) { w.during = cancel }, "i-0 by recovery", false, 0},
		{"going back fails for a while", func(w *drillWorld, _ func()) { w.sizeFails = 5 }, "", true, 0},
		{"going back fails for good", func(w *drillWorld, _ func()) { w.sizeFails = 1 << 30 }, "do it by hand", true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, kinds, s := newDrill(plan.Prove, 20)
				k := kinds[plan.RecoveryDrill]
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tt.set(w, cancel)
				if o, err := k.Observe(ctx, s); err != nil || o.Holds != fleet.TruthNo {
					t.Errorf("before: %+v, %v", o, err)
				}
				_, err := k.Apply(ctx, s, nil, "token")
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if w.group.Desired != tt.left || w.open || w.most != 1 {
					t.Errorf("left: %+v, open %t, at most %d", w.group, w.open, w.most)
				}
				if tt.left == 0 && time.Now().Before(w.goneAt) {
					t.Error("it returned before the bastion was gone")
				}
				o, err := k.Observe(t.Context(), s)
				if err != nil || (o.Holds == fleet.TruthYes) != (tt.proved && tt.left == 0) {
					t.Errorf("after: %+v, %v", o, err)
				}
				// A day later the login is too old.
				time.Sleep(25 * time.Hour)
				if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
					t.Errorf("a day later: %+v, %v", o, err)
				}
			})
		})
	}
}

// What was proved before a door closed says nothing of the time after.
func TestProofBeforeClosingDoesNotCountAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, phase := range []plan.Phase{plan.Prove, plan.Quarantine, plan.Close} {
			w, kinds, s := newDrill(phase, 2)
			k := kinds[plan.ProveSession]
			for _, h := range s.Hosts {
				w.proofs[h] = fleet.Proof{Host: h, Way: fleet.WaySessionManager, Works: fleet.TruthYes, At: time.Now().Add(-time.Minute)}
			}
			want := fleet.TruthNo
			if phase == plan.Prove {
				want = fleet.TruthYes
			}
			if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != want {
				t.Errorf("%s: %+v, %v", phase, o, err)
			}
			if _, err := k.Apply(t.Context(), s, nil, "token"); err != nil {
				t.Fatal(err)
			}
			if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthYes {
				t.Errorf("%s, proved: %+v, %v", phase, o, err)
			}
			w.wrong = map[string]fleet.Truth{"i-1": fleet.TruthUnknown}
			if _, err := k.Apply(t.Context(), s, nil, "token"); err == nil {
				t.Errorf("%s: an unknown proof counts", phase)
			}
			if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
				t.Errorf("%s, not proved: %+v, %v", phase, o, err)
			}
		}
	})
}

func TestWaitForEndsWithTheCondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, kinds, s := newDrill(plan.Prepare, 2)
		k := kinds[plan.WaitFor]
		w.wrong = map[string]fleet.Truth{"i-1": fleet.TruthNo}
		s.Wait = &plan.Wait{For: plan.Duration(time.Hour)}
		if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
			t.Errorf("%+v, %v", o, err)
		}
		start := time.Now()
		if _, err := k.Apply(t.Context(), s, nil, "token"); err == nil || !strings.Contains(err.Error(), "i-1: something is wrong") || time.Since(start) != time.Hour {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.AfterFunc(20*time.Minute, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wrong = nil
		})
		if _, err := k.Apply(t.Context(), s, nil, "token"); err != nil {
			t.Error(err)
		}
	})
}
