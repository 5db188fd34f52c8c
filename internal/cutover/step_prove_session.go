package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// proveAtOnce is how many hosts of one step are proved at the same time:
// StartSession has a quota of 3 a second for everyone in an account.
const proveAtOnce = 8

// prove uses a way into each of the hosts, keeps the proofs, and gives them in
// the hosts' order.
func (h *hostSide) prove(ctx context.Context, refs []fleet.HostRef, way fleet.Way) ([]fleet.Proof, error) {
	hosts := make([]fleet.Host, len(refs))
	for i, r := range refs {
		var err error
		if hosts[i], err = h.find(r); err != nil {
			return nil, err
		}
	}
	proofs, errs := make([]fleet.Proof, len(hosts)), make([]error, len(hosts))
	slots := make(chan struct{}, proveAtOnce)
	var all sync.WaitGroup
	for i, host := range hosts {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			proofs[i] = h.Prover.Prove(ctx, host, way)
		})
	}
	all.Wait()
	// What was proved is worth keeping also when the run is being stopped.
	keep := context.WithoutCancel(ctx)
	for i, p := range proofs {
		if err := h.Proofs.SaveProof(keep, p); err != nil {
			errs[i] = fmt.Errorf("keep the proof of %s: %w", p.Host.ID, err)
		}
	}
	return proofs, errors.Join(errs...)
}

// unproved gives an error that names the hosts whose proof failed, or is not to
// be told.
func unproved(proofs []fleet.Proof) error {
	var errs []error
	for _, p := range proofs {
		if p.Works != fleet.TruthYes {
			errs = append(errs, fmt.Errorf("%s by %s: %s (works: %s)", p.Host.ID, p.Way, p.Reason, p.Works))
		}
	}
	return errors.Join(errs...)
}

// latest judges the newest proofs of a way into the hosts.
func (h *hostSide) latest(ctx context.Context, refs []fleet.HostRef, way fleet.Way, age time.Duration, since time.Time) (recovery.Judgement, error) {
	var proofs []fleet.Proof
	for _, r := range refs {
		p, ok, err := h.Proofs.LatestProof(ctx, r, way)
		if err != nil {
			return recovery.Judgement{}, fmt.Errorf("look up the proof of %s: %w", r, err)
		}
		if ok && !p.At.Before(since) {
			proofs = append(proofs, p)
		}
	}
	return recovery.Judge(refs, proofs, way, age, time.Now()), nil
}

// proveSessionKind proves that Session Manager reaches the step's hosts.
type proveSessionKind struct {
	*hostSide
	nothing

	mu    sync.Mutex
	began map[string]time.Time // guarded by mu; when this run began to prove a step
}

// since is from when on proofs count for a step. Before anything closes, any
// fresh one does; afterwards only one of this run, made after the closing.
func (k *proveSessionKind) since(s plan.Step) (from time.Time, ok bool) {
	if s.Phase == plan.Prepare || s.Phase == plan.Prove {
		return time.Time{}, true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	from, ok = k.began[s.ID]
	return from, ok
}

// Observe holds if each host has a fresh proof that counts.
func (k *proveSessionKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	from, ok := k.since(s)
	if !ok {
		return Observation{Holds: fleet.TruthNo, Detail: "not proved since the door was closed"}, nil
	}
	j, err := k.latest(ctx, s.Hosts, fleet.WaySessionManager, time.Duration(k.Plan.Policy.ProofAge), from)
	if err != nil {
		return Observation{}, err
	}
	return Observation{Holds: truthOf(j.Holds()), Detail: j.String()}, nil
}

// Apply proves all hosts.
func (k *proveSessionKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	k.mu.Lock()
	k.began[s.ID] = time.Now()
	k.mu.Unlock()
	proofs, err := k.prove(ctx, s.Hosts, fleet.WaySessionManager)
	if err != nil {
		return nil, err
	}
	return image(proofs), unproved(proofs)
}

// waitForKind waits until sessions work that somebody else makes work.
type waitForKind struct {
	*hostSide
}

// Pauses between two looks at something that takes its time.
const (
	firstPause = 5 * time.Second
	lastPause  = time.Minute
)

// Observe proves the hosts that have no fresh proof.
func (k waitForKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	j, err := k.latest(ctx, s.Hosts, fleet.WaySessionManager, time.Duration(k.Plan.Policy.ProofAge), time.Time{})
	if err != nil || j.Holds() {
		return Observation{Holds: truthOf(err == nil), Detail: j.String()}, err
	}
	proofs, err := k.prove(ctx, j.Missing, fleet.WaySessionManager)
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: fleet.TruthYes, Detail: "a session works on every host"}
	for _, p := range proofs {
		if p.Works != fleet.TruthYes {
			o.Detail = fmt.Sprintf("%s: %s", p.Host.ID, p.Reason)
			if p.Works == fleet.TruthUnknown && o.Holds == fleet.TruthYes {
				o.Holds = fleet.TruthUnknown
			} else if p.Works == fleet.TruthNo {
				o.Holds = fleet.TruthNo
			}
		}
	}
	return o, nil
}

// Apply waits until the condition holds, as long as the step says.
func (k waitForKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	if s.Wait != nil && s.Wait.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.Wait.For))
		defer cancel()
	}
	var last string
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		o, err := k.Observe(ctx, s)
		switch {
		case err == nil && o.Holds == fleet.TruthYes:
			return nil, nil
		case err != nil:
			last = err.Error()
		default:
			last = o.Detail
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("wait for %s: %w; last seen: %s", s.Title, err, last)
		}
	}
}

// Undo does nothing: what somebody else brought about is theirs.
func (waitForKind) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

// Undone holds: there is nothing to take back.
func (waitForKind) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (Observation, error) {
	return Observation{Holds: fleet.TruthYes, Detail: "nothing to take back"}, nil
}
