package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// rescueWorld is a VPC whose hosts have their keys quarantined while Session
// Manager is down.
type rescueWorld struct {
	*drillWorld
	store    *world
	plan     *plan.Plan
	also     cutover.Kinds   // besides those of hosts
	restored map[string]bool // guarded by drillWorld.mu, as all that follows
	keyless  map[string]bool // hosts without the recovery key
	walled   string          // a host that SSH does not reach, whatever its keys

	manager  fleet.Truth // what Run Command says of whether scripts started
	endpoint bool        // an EC2 Instance Connect Endpoint leads to the hosts
	launches string      // why instances cannot be launched; empty: they can
	ran      []string    // "restore-keys i-0 by recovery", in the order in which they began
	scaling  error       // of Auto Scaling's calls
	opening  *plan.Plan  // another plan; nil: there is none
	starts   int         // bastions started
	logins   int         // to bastions
}

func newRescue(t *testing.T, hosts int) *rescueWorld {
	t.Helper()
	d, _, _ := newDrill(plan.Prove, hosts)
	w := &rescueWorld{drillWorld: d, store: newWorld(t), also: cutover.Kinds{}, restored: map[string]bool{}, keyless: map[string]bool{}}
	w.store.unchecked = true
	policy := plan.DefaultPolicy()
	policy.Concurrency, policy.Recovery.PublicKey = 4, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1qkkwrlpJ2cYVMMIvxbGYyFJKGZuCyQPjqYUSkkAo1"
	wave := plan.Wave{Number: 1, Name: "all"}
	drill := plan.Step{ID: "drill", Kind: plan.RecoveryDrill, Phase: plan.Prove, Lane: "drill", Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: d.group.Name, User: "admin"}}
	for i := range hosts {
		h := fleet.HostRef{ID: fmt.Sprint("i-", i)}
		wave.Hosts, drill.Hosts = append(wave.Hosts, h), append(drill.Hosts, h)
		wave.Steps = append(wave.Steps, plan.Step{ID: "keys " + h.ID, Kind: plan.QuarantineKeys, Phase: plan.Quarantine, Lane: h.ID, Hosts: []fleet.HostRef{h}, Keys: &plan.KeysChange{Keep: []string{"AAAA"}}})
	}
	wave.Steps = append(wave.Steps, drill)
	w.plan = &plan.Plan{ID: "p1", Digest: "d", Policy: policy, Waves: []plan.Wave{wave}}
	w.done(t, wave.Steps[:hosts]...)
	return w
}

// done says that steps were applied before.
func (w *rescueWorld) done(t *testing.T, steps ...plan.Step) {
	t.Helper()
	fence, err := w.store.Acquire(t.Context(), "before", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		for _, e := range []cutover.Event{cutover.Intended, cutover.Ours} {
			entry := cutover.Entry{At: time.Now(), Plan: "p1", Digest: "d", Wave: 1, Step: s.ID, Event: e, Hosts: s.Hosts, Operator: "before", Image: []byte(`{"read":1,"open":1}`)}
			if _, err := w.store.Append(t.Context(), fence, entry); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.store.Release(t.Context(), fence); err != nil {
		t.Fatal(err)
	}
}

func (w *rescueWorld) Run(_ context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	time.Sleep(time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran = append(w.ran, fmt.Sprintf("%s %s by %s", s.Name, h.ID, way))
	r := fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "the way is closed"}
	switch {
	case way == fleet.WaySessionManager && w.manager != fleet.TruthYes:
		r.Started, r.Reason = w.manager, "Systems Manager does not answer"
		return r
	case way == fleet.WaySSH && (!w.restored[h.ID] || h.ID == w.walled), way == fleet.WayRecovery && !w.open, way == fleet.WayConnectEndpoint && !w.endpoint:
		return r
	}
	r.Started, r.Ended, r.Reason = fleet.TruthYes, true, ""
	text := "restore\t1\t0\t0\n"
	switch s.Name {
	case "restore-keys":
		w.restored[h.ID] = true
	case "remove-recovery-key":
		w.keyless[h.ID] = true
		fallthrough
	case "observe-recovery-key":
		state := map[bool]string{false: "key\tpresent\t1\tyes\tsum\tyes\t-\n", true: "key\tabsent\t0\tyes\tsum\tyes\t-\n"}
		text = state[w.keyless[h.ID]] + "path\t/home/admin/.ssh/authorized_keys\n"
	default:
		text = map[bool]string{false: "count\t0\t0\t1\t1\t0\t0\n", true: "count\t0\t0\t1\t0\t1\t0\n"}[w.restored[h.ID]]
	}
	r.Stdout = []byte("migrate-host 1\n" + text + "done\n")
	return r
}

func (w *rescueWorld) ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error) {
	w.mu.Lock()
	err := w.scaling
	w.mu.Unlock()
	if err != nil {
		return fleet.ScalingGroup{}, err
	}
	return w.drillWorld.ScalingGroup(ctx, at, name)
}

func (w *rescueWorld) SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error {
	w.mu.Lock()
	w.noBastion = w.launches != ""
	w.starts += desired
	w.mu.Unlock()
	return w.drillWorld.SetSize(ctx, at, name, minimum, desired, maximum)
}

func (w *rescueWorld) OpenBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (func(), error) {
	w.mu.Lock()
	w.logins++
	w.mu.Unlock()
	return w.drillWorld.OpenBastion(ctx, bastion, user, hostKeys)
}

func (w *rescueWorld) LaunchFailure(context.Context, fleet.Place, string, time.Time) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.launches, nil
}

func (w *rescueWorld) executor(t *testing.T) *cutover.Executor {
	t.Helper()
	find := func(r fleet.HostRef) (fleet.Host, bool) { return fleet.Host{ID: r.ID, VPC: "vpc-1"}, true }
	hosts := map[fleet.HostRef]fleet.Host{}
	for _, r := range w.plan.Waves[len(w.plan.Waves)-1].Hosts {
		hosts[r], _ = find(r)
	}
	rescue := &cutover.Rescue{}
	kinds := cutover.HostKinds(cutover.HostWorld{Hosts: w, Prover: w, Proofs: w.store, Scaling: w, Bastions: w, Launches: w, Rescue: rescue, Plan: w.plan, Find: find})
	maps.Copy(kinds, w.also)
	x, err := cutover.New(cutover.Config{
		Plan: w.plan, Hosts: hosts, Operator: "test", Prover: w, Proofs: w.store, Journal: w.store, Leases: w.store, Control: w.store, Rescue: rescue,
		Kinds:     kinds,
		OtherWays: func(fleet.HostRef) string { return "ask the serial console" },
		Plans:     func(context.Context, string) (*plan.Plan, error) { return w.opening, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (w *rescueWorld) rollback(t *testing.T) cutover.Result {
	t.Helper()
	res, err := w.executor(t).Rollback(t.Context(), cutover.Scope{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := cutover.Verify(w.store.entries); err != nil {
		t.Error(err)
	}
	return res
}

// times counts the scripts of a name that a way was asked to run on a host.
func (w *rescueWorld) times(script, host string, way fleet.Way) (n int) {
	for _, r := range w.ran {
		if r == fmt.Sprintf("%s %s by %s", script, host, way) {
			n++
		}
	}
	return n
}

func TestRollbackTakesTheWayThatWorks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(w *rescueWorld)
		by     fleet.Way // that carried the keys back
		starts int
		note   string // in the journal; empty: none of bastions
	}{
		{"Session Manager", func(w *rescueWorld) { w.manager = fleet.TruthYes }, fleet.WaySessionManager, 0, ""},
		{"the bastion", func(*rescueWorld) {}, fleet.WayRecovery, 1, ""},
		{"the bastion, while Run Command does not say what it did", func(w *rescueWorld) { w.manager = fleet.TruthUnknown }, fleet.WayRecovery, 1, ""},
		{"the endpoint, while nothing can be launched", func(w *rescueWorld) { w.launches, w.endpoint = "We currently do not have sufficient capacity", true }, fleet.WayConnectEndpoint, 1, "EC2 Auto Scaling cannot launch it: We currently do not have sufficient capacity"},
		{"the endpoint, while Auto Scaling is down", func(w *rescueWorld) { w.scaling, w.endpoint = errors.New("service unavailable"), true }, fleet.WayConnectEndpoint, 0, "service unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRescue(t, 6)
				w.manager = fleet.TruthNo
				tt.set(w)
				res := w.rollback(t)
				for _, h := range w.plan.Waves[0].Hosts {
					if !w.restored[h.ID] || w.times("restore-keys", h.ID, tt.by) != 1 {
						t.Errorf("%s: restored %t, %d times by %s", h.ID, w.restored[h.ID], w.times("restore-keys", h.ID, tt.by), tt.by)
					}
				}
				if w.starts != tt.starts || w.open || w.group.Desired != 0 {
					t.Errorf("%d bastions were started, want %d; open %t, desired %d", w.starts, tt.starts, w.open, w.group.Desired)
				}
				if tt.by == fleet.WayRecovery && w.logins != 1 {
					t.Errorf("%d logins to bastions for one VPC", w.logins)
				}
				noted := slices.ContainsFunc(w.store.entries, func(e cutover.Entry) bool {
					return e.Event == cutover.Note && tt.note != "" && strings.Contains(e.Detail, tt.note)
				})
				if noted != (tt.note != "") {
					t.Errorf("no note says %q: %+v", tt.note, w.store.entries)
				}
				if w.scaling == nil && (res.Outcome != cutover.OutcomeRolledBack || len(res.Bastions) > 0) {
					t.Errorf("%+v", res)
				}
				if w.scaling != nil && (res.Outcome != cutover.OutcomeRolledPartly || len(res.Bastions) != 1) {
					t.Errorf("whether the bastion runs is not known: %+v", res)
				}
			})
		})
	}
}

// recoveryGroup is a recovery group that is there until it is undone.
type recoveryGroup struct{ cutover.StepKind }

func (recoveryGroup) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

func (recoveryGroup) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (cutover.Observation, error) {
	return cutover.Observation{Holds: fleet.TruthYes}, nil
}

// Nothing but the recovery key leads to a host whose doors are open again: the
// key is not taken off by itself, and what it needs stays.
func TestRollbackKeepsTheWayThatItCameBy(t *testing.T) {
	for _, walled := range []string{"", "i-1"} {
		t.Run("walled "+walled, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRescue(t, 3)
				w.manager, w.walled = fleet.TruthNo, walled
				w.also[plan.RecoveryGroup] = recoveryGroup{}
				wave := &w.plan.Waves[0]
				group := plan.Step{ID: "group", Kind: plan.RecoveryGroup, Phase: plan.Prepare, Lane: "group", Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: w.group.Name, User: "admin"}}
				before := plan.Wave{Name: "before", Steps: []plan.Step{group}}
				for _, h := range wave.Hosts {
					wave.Steps = append(wave.Steps, plan.Step{ID: "key " + h.ID, Kind: plan.RecoveryKey, Phase: plan.Prepare, Lane: h.ID, Hosts: []fleet.HostRef{h}, Key: &plan.KeyChange{User: "admin", Line: w.plan.Policy.Recovery.PublicKey}})
				}
				w.done(t, append(slices.Clone(wave.Steps[4:]), group)...)
				w.plan.Waves = []plan.Wave{before, *wave}
				res := w.rollback(t)
				for _, h := range []string{"i-0", "i-1", "i-2"} {
					if w.keyless[h] == (h == walled) || !w.restored[h] {
						t.Errorf("%s: restored %t, the recovery key is gone: %t", h, w.restored[h], w.keyless[h])
					}
				}
				if walled == "" {
					if res.Outcome != cutover.OutcomeRolledBack {
						t.Errorf("%+v", res)
					}
					return
				}
				if !slices.Equal(res.Left, []string{"key i-1", "group"}) || len(res.Unreached) != 1 {
					t.Errorf("left %v, unreached %+v", res.Left, res.Unreached)
				}
				if last := w.store.entries; !slices.ContainsFunc(last, func(e cutover.Entry) bool {
					return e.Event == cutover.Held && e.Step == "group" && strings.Contains(e.Detail, "the recovery key is still on")
				}) {
					t.Error("nobody says why the group stays")
				}
			})
		})
	}
}

// A script that may have run is not run again by another way before somebody
// has looked.
func TestScriptThatMayHaveRunIsLookedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRescue(t, 1)
		w.manager, w.endpoint = fleet.TruthUnknown, true
		w.rollback(t)
		last := ""
		for _, r := range w.ran {
			if strings.HasPrefix(r, "restore-keys") && strings.HasPrefix(last, "restore-keys") && strings.HasSuffix(last, string(fleet.WaySessionManager)) {
				t.Errorf("%s follows %s", r, last)
			}
			last = r
		}
		if w.times("restore-keys", "i-0", fleet.WaySessionManager) == 0 || !w.restored["i-0"] {
			t.Errorf("%v", w.ran)
		}
	})
}

func TestUnreachedHostsAreNamedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRescue(t, 2)
		w.manager, w.launches = fleet.TruthNo, "InsufficientInstanceCapacity"
		res := w.rollback(t)
		if res.Outcome != cutover.OutcomeRolledPartly || len(res.Unreached) != 2 || len(res.Left) != 2 {
			t.Fatalf("%+v", res)
		}
		for _, u := range res.Unreached {
			for _, want := range []string{"session-manager: Systems Manager does not answer", "ssh: the way is closed", "InsufficientInstanceCapacity", "instance-connect-endpoint: the way is closed"} {
				if !strings.Contains(u.Why, want) {
					t.Errorf("%s: %q does not say %q", u.Host.ID, u.Why, want)
				}
			}
			for _, want := range []string{"/var/lib/migrate/migrate-", "ask the serial console"} {
				if !strings.Contains(u.ByHand, want) {
					t.Errorf("%s: %q does not say %q", u.Host.ID, u.ByHand, want)
				}
			}
		}
		time.Sleep(time.Hour)
		w.mu.Lock()
		w.launches = ""
		w.mu.Unlock()
		if res := w.rollback(t); res.Outcome != cutover.OutcomeRolledBack || !w.restored["i-0"] || !w.restored["i-1"] || w.group.Desired != 0 {
			t.Errorf("%+v", res)
		}
	})
}

// A bastion that a run which died has left is named, and ended by the next run.
func TestBastionOfADeadRunIsNamedAndEnded(t *testing.T) {
	for _, next := range []string{"rollback", "apply"} {
		t.Run(next, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRescue(t, 1)
				w.manager = fleet.TruthNo
				x := w.executor(t)
				w.store.onKill = x.Abort
				w.store.faults = func(_ int, name string) fault {
					if strings.HasPrefix(name, "append undone") {
						return killAfter
					}
					return noFault
				}
				w.sizeFails = 1 << 30 // nobody brings it back to zero
				if _, err := x.Rollback(t.Context(), cutover.Scope{All: true}); err == nil {
					t.Fatal("the run did not die")
				}
				w.store.dead, w.store.faults = false, nil
				standing, err := cutover.Status(w.plan, w.store.entries)
				if err != nil || len(standing.Bastions) != 1 || standing.Bastions[0].Group != w.group.Name || standing.Bastions[0].Since.IsZero() {
					t.Fatalf("%+v, %v", standing.Bastions, err)
				}
				if text := standing.Bastions[0].Runs(); !strings.Contains(text, "--desired-capacity 0") {
					t.Errorf("%q does not say what to do", text)
				}
				time.Sleep(time.Hour)
				w.sizeFails, w.manager = 0, fleet.TruthYes
				switch next {
				case "rollback":
					if res := w.rollback(t); len(res.Bastions) > 0 {
						t.Errorf("%+v", res)
					}
				default:
					ctx, cancel := context.WithCancel(t.Context())
					w.store.onCall = func(name string) {
						if strings.HasPrefix(name, "append bastion-ended") {
							cancel()
						}
					}
					if _, err := w.executor(t).Apply(ctx); err != nil {
						t.Fatal(err)
					}
				}
				if standing, err = cutover.Status(w.plan, w.store.entries); err != nil || len(standing.Bastions) > 0 || w.group.Desired != 0 {
					t.Errorf("afterwards: %+v, %v, desired %d", standing.Bastions, err, w.group.Desired)
				}
			})
		})
	}
}
