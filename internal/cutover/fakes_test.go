package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// errKilled is what every call gives once the process is dead: nothing that it
// does reaches the world or the store any more.
var errKilled = errors.New("killed")

// fault is what befalls one call of a port.
type fault int

const (
	noFault    fault = iota
	killBefore       // the process dies before the call acts
	killAfter        // it dies after the call has acted
	failBefore       // an error, and nothing happened
	failAfter        // an error, and it happened
)

// world is a fleet in memory: who can get in is computed from its state, and
// timers open doors by the clock.
type world struct {
	t  testing.TB
	mu sync.Mutex

	facts  map[string]bool      // "agent i-1", "keys i-1", "port sg-1", "role timer", "key i-1"
	timers map[string]time.Time // "keys i-1", "port sg-1": when it is set back to true
	groups map[string][]string  // members of security groups
	broken map[string]fleet.Truth

	// store
	entries []cutover.Entry
	proofs  map[proofKey]fleet.Proof // the latest
	holder  string
	until   time.Time
	fence   int64
	wish    cutover.Wish
	hooked  []string
	hookErr error

	unchecked bool // for benchmarks: looking at the whole world costs more than the executor

	calls  int
	faults func(call int, name string) fault
	dead   bool
	onCall func(name string)
	onKill func()
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, facts: map[string]bool{}, timers: map[string]time.Time{}, groups: map[string][]string{},
		broken: map[string]fleet.Truth{}, proofs: map[proofKey]fleet.Proof{},
	}
}

// call runs one port call under the faults that are set.
func (w *world) call(ctx context.Context, name string, act func() error) error {
	return w.calling(ctx, []string{name}, act)
}

// calling is call for one that has several names.
func (w *world) calling(ctx context.Context, names []string, act func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errKilled
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.calls++
	f := noFault
	for _, name := range names {
		if w.faults != nil && f == noFault {
			f = w.faults(w.calls, name)
		}
		if w.onCall != nil {
			w.onCall(name)
		}
	}
	w.fire()
	if f == killBefore || f == killAfter {
		defer func() { w.dead = true; w.onKill() }()
	}
	switch f {
	case killBefore:
		return errKilled
	case failBefore:
		return errors.New("connection reset")
	}
	err := act()
	if !w.unchecked {
		w.check(names[0])
	}
	switch f {
	case killAfter:
		return errKilled
	case failAfter:
		return errors.New("connection reset")
	}
	return err
}

// fire lets timers do what their time has come for.
func (w *world) fire() {
	for _, name := range slices.Sorted(maps.Keys(w.timers)) {
		if at := w.timers[name]; !time.Now().Before(at) {
			w.facts[name] = true
			delete(w.timers, name)
		}
	}
}

// check asserts on the true state that nobody is locked out.
func (w *world) check(after string) {
	for fact, open := range w.facts {
		var kind, id string
		if _, err := fmt.Sscan(fact, &kind, &id); err != nil || open || kind != "keys" && kind != "port" {
			continue
		}
		members := w.groups[id]
		if kind == "keys" {
			members = []string{id}
		}
		for _, m := range members {
			_, timer := w.timers[fact]
			recovery := w.facts["key "+m] && w.facts["bastion vpc"]
			if !w.works(m) && !timer && !recovery {
				w.t.Errorf("after %s: %s is closed: session %t, timer %t, recovery %t of %s", after, fact, w.works(m), timer, recovery, m)
			}
		}
	}
}

func (w *world) works(host string) bool {
	return w.facts["agent "+host] && w.broken[host] == fleet.TruthUnknown
}

// state is what a rollback has to bring back.
func (w *world) state() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fire()
	out := maps.Clone(w.facts)
	for name := range w.timers {
		out["timer "+name] = true
	}
	return out
}

// subject is the fact that a step of each kind changes, and what it is to become.
func subject(s plan.Step) (fact string, want bool) {
	id := s.Lane
	switch s.Kind {
	case plan.TimerRole:
		return "role timer", true
	case plan.RecoveryGroup:
		return "bastion vpc", true
	case plan.Agent:
		return "agent " + id, true
	case plan.RecoveryKey:
		return "key " + id, true
	case plan.QuarantineKeys, plan.ArmHostTimer, plan.DisarmHostTimer:
		return "keys " + id, false
	case plan.ScaleIn:
		return "bastions are gone", true
	case plan.ClosePort, plan.ArmRuleTimer, plan.DisarmRuleTimer:
		return "port " + id, false
	}
	return "", true
}

// kind is a step kind on the world.
type kind struct {
	w *world
}

func yes(b bool) fleet.Truth {
	if b {
		return fleet.TruthYes
	}
	return fleet.TruthNo
}

func (k kind) Observe(ctx context.Context, s plan.Step) (o cutover.Observation, err error) {
	err = k.w.call(ctx, "observe "+s.ID, func() error {
		fact, want := subject(s)
		_, armed := k.w.timers[fact]
		switch s.Kind {
		case plan.ArmHostTimer, plan.ArmRuleTimer:
			o.Holds = yes(armed)
		case plan.DisarmHostTimer, plan.DisarmRuleTimer:
			o.Holds = yes(!armed)
		case plan.ProveSession, plan.RecoveryDrill:
			o.Holds = fleet.TruthYes
			for _, h := range s.Hosts {
				p, ok := k.w.latest(h, wayOf(s.Kind))
				if !ok || !p.Fresh(time.Now(), time.Minute) {
					o.Holds = fleet.TruthNo
				}
			}
		default:
			o.Holds = yes(k.w.facts[fact] == want)
		}
		o.Image = json.RawMessage(fmt.Sprintf(`{"was":%t}`, k.w.facts[fact]))
		return nil
	})
	return o, err
}

func wayOf(k plan.Kind) fleet.Way {
	if k == plan.RecoveryDrill {
		return fleet.WayRecovery
	}
	return fleet.WaySessionManager
}

func (k kind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	err := k.w.call(ctx, "apply "+s.ID, func() error {
		fact, want := subject(s)
		switch s.Kind {
		case plan.ArmHostTimer, plan.ArmRuleTimer:
			k.w.timers[fact] = time.Now().Add(time.Duration(s.Timer.After))
		case plan.DisarmHostTimer, plan.DisarmRuleTimer:
			delete(k.w.timers, fact)
		case plan.ProveSession, plan.RecoveryDrill:
			for _, h := range s.Hosts {
				k.w.save(k.w.proof(h, wayOf(s.Kind)))
			}
		default:
			k.w.mayClose(s, fact)
			k.w.facts[fact] = want
		}
		return nil
	})
	return json.RawMessage(`{"done":true}`), err
}

// mayClose asserts the lock-out invariant on every act that closes a door.
func (w *world) mayClose(s plan.Step, fact string) {
	if !s.Kind.Closes() || s.Kind == plan.ScaleIn || !w.facts[fact] {
		return
	}
	if _, armed := w.timers[fact]; !armed {
		w.t.Errorf("%s closes without an armed timer", s.ID)
	}
	for _, h := range s.Hosts {
		if p, ok := w.latest(h, fleet.WaySessionManager); !ok || !p.Fresh(time.Now(), 15*time.Minute) {
			w.t.Errorf("%s closes without a fresh session on %s", s.ID, h.ID)
		}
		if p, ok := w.latest(h, fleet.WayRecovery); !ok || !p.Fresh(time.Now(), 24*time.Hour) {
			w.t.Errorf("%s closes without a fresh recovery login on %s", s.ID, h.ID)
		}
	}
}

func (k kind) Undo(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) error {
	return k.w.call(ctx, "undo "+s.ID, func() error {
		fact, _ := subject(s)
		var was struct{ Was bool }
		if err := json.Unmarshal(before, &was); err != nil {
			k.w.t.Errorf("undo %s without a before-image: %v", s.ID, err)
		}
		switch s.Kind {
		case plan.ArmHostTimer, plan.ArmRuleTimer:
			delete(k.w.timers, fact)
		case plan.DisarmHostTimer, plan.DisarmRuleTimer, plan.ProveSession, plan.RecoveryDrill:
		default:
			k.w.facts[fact] = was.Was
		}
		return nil
	})
}

func (k kind) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (o cutover.Observation, err error) {
	err = k.w.call(ctx, "undone "+s.ID, func() error {
		fact, _ := subject(s)
		var was struct{ Was bool }
		if err := json.Unmarshal(before, &was); err != nil {
			return err
		}
		_, armed := k.w.timers[fact]
		switch s.Kind {
		case plan.ArmHostTimer, plan.ArmRuleTimer:
			o.Holds = yes(!armed)
		case plan.DisarmHostTimer, plan.DisarmRuleTimer, plan.ProveSession, plan.RecoveryDrill:
			o.Holds = fleet.TruthYes
		default:
			o.Holds = yes(k.w.facts[fact] == was.Was)
		}
		return nil
	})
	return o, err
}

func (w *world) proof(h fleet.HostRef, way fleet.Way) fleet.Proof {
	p := fleet.Proof{Host: h, Way: way, Kind: "shell", At: time.Now(), By: "test"}
	switch {
	case way == fleet.WayRecovery:
		p.Works = yes(w.facts["key "+h.ID] && w.facts["bastion vpc"])
	case w.broken[h.ID] == fleet.TruthYes: // means: unknown whether it works
		p.Reason = "throttled"
	default:
		p.Works, p.Reason = yes(w.works(h.ID)), "TargetNotConnected"
	}
	return p
}

func (w *world) latest(h fleet.HostRef, way fleet.Way) (fleet.Proof, bool) {
	p, ok := w.proofs[proofKey{h, way}]
	return p, ok
}

type proofKey struct {
	host fleet.HostRef
	way  fleet.Way
}

func (w *world) save(p fleet.Proof) { w.proofs[proofKey{p.Host, p.Way}] = p }

// The ports.

func (w *world) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	p := fleet.Proof{Host: h.Ref(), Way: way, At: time.Now(), Reason: "no answer"}
	_ = w.call(ctx, "prove "+h.ID, func() error { p = w.proof(h.Ref(), way); return nil })
	return p
}

func (w *world) SaveProof(ctx context.Context, p fleet.Proof) error {
	return w.call(ctx, "save proof", func() error { w.save(p); return nil })
}

func (w *world) LatestProof(ctx context.Context, h fleet.HostRef, way fleet.Way) (p fleet.Proof, ok bool, err error) {
	err = w.call(ctx, "latest proof", func() error { p, ok = w.latest(h, way); return nil })
	return p, ok, err
}

func (w *world) Append(ctx context.Context, fence int64, entries ...cutover.Entry) (out []cutover.Entry, err error) {
	var names []string
	for _, e := range entries {
		names = append(names, "append "+string(e.Event)+" "+e.Step)
	}
	err = w.calling(ctx, names, func() error {
		if w.holder == "" || fence != w.fence || !time.Now().Before(w.until) {
			return cutover.ErrLease
		}
		seq, hash := int64(len(w.entries)), ""
		if seq > 0 {
			hash = w.entries[seq-1].Hash
		}
		if out, err = cutover.Chain(seq, hash, entries); err == nil {
			w.entries = append(w.entries, out...)
		}
		return err
	})
	return out, err
}

func (w *world) Entries(ctx context.Context, planID string) (out []cutover.Entry, err error) {
	err = w.call(ctx, "entries", func() error {
		for _, e := range w.entries {
			if planID == "" || e.Plan == planID {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

func (w *world) Acquire(ctx context.Context, holder string, d time.Duration) (fence int64, err error) {
	err = w.call(ctx, "acquire", func() error {
		if w.holder != "" && time.Now().Before(w.until) {
			return &cutover.HeldError{Holder: w.holder, Until: w.until}
		}
		w.fence++
		w.holder, w.until, fence = holder, time.Now().Add(d), w.fence
		return nil
	})
	return fence, err
}

func (w *world) Renew(ctx context.Context, fence int64, d time.Duration) error {
	return w.call(ctx, "renew", func() error {
		if w.holder == "" || fence != w.fence || !time.Now().Before(w.until) {
			return cutover.ErrLease
		}
		w.until = time.Now().Add(d)
		return nil
	})
}

func (w *world) Release(ctx context.Context, fence int64) error {
	return w.call(ctx, "release", func() error {
		if fence == w.fence {
			w.holder = ""
		}
		return nil
	})
}

func (w *world) Control(ctx context.Context, _ string) (wish cutover.Wish, err error) {
	err = w.call(ctx, "control", func() error { wish = w.wish; return nil })
	return wish, err
}

func (w *world) Hook(ctx context.Context, command, _ string, wave plan.Wave) error {
	return w.call(ctx, "hook", func() error {
		w.hooked = append(w.hooked, command+" "+wave.Name)
		return w.hookErr
	})
}

// set changes the world by somebody else's hand.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}
