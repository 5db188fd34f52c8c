package cutover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// timerOf is the step that arms the dead man's switch of a lane; ok is false
// where it has none.
func timerOf(l lane) (plan.Step, bool) {
	for _, s := range l.steps {
		if arms(s.Kind) {
			return s, true
		}
	}
	return plan.Step{}, false
}

// fires is the earliest time at which a lane's timer may fire, once arming it
// was begun.
func (r *run) fires(l lane) (time.Time, bool) {
	arm, ok := timerOf(l)
	if !ok || arm.Timer == nil {
		return time.Time{}, false
	}
	rec := r.record(arm.ID)
	switch {
	case rec.state.Owed():
		return rec.began.Add(time.Duration(arm.Timer.After)), true
	case rec.state == StateFound:
		return rec.since.Add(time.Duration(arm.Timer.After)), true
	}
	return time.Time{}, false
}

// deadline is when a lane must have proved what it closed. A quarter of the
// timer's time is left for taking it back, or for disarming.
func (r *run) deadline(l lane) (time.Time, bool) {
	at, ok := r.fires(l)
	if !ok {
		return time.Time{}, false
	}
	arm, _ := timerOf(l)
	return at.Add(-time.Duration(arm.Timer.After) / 4), true
}

// within bounds what a lane does between arming its timer and disarming it.
func (r *run) within(l lane, s plan.Step) (context.Context, context.CancelFunc) {
	deadline, ok := r.deadline(l)
	if !ok || arms(s.Kind) {
		return context.WithCancel(r.work)
	}
	if disarms(s.Kind) {
		deadline, _ = r.fires(l)
	}
	return context.WithDeadline(r.work, deadline)
}

// guard is the lock-out invariant, asked right before each try of a closing
// step: every host healthy, a second way proved, Session Manager proved now,
// and the timer seen armed last of all. SSH itself does not count.
func (r *run) guard(ctx context.Context, l lane, n int, s plan.Step) (laneEnd, bool) {
	if !s.Kind.Closes() && s.Kind != plan.RetireKey {
		return laneEnd{}, true
	}
	held := func(kind endKind, why string, hosts ...fleet.HostRef) (laneEnd, bool) {
		end := laneEnd{kind: kind, step: s.ID, why: why, hosts: hosts}
		if failed := r.failure(); failed != nil {
			return laneEnd{kind: endStopped, step: s.ID, why: failed.Error()}, false
		}
		return r.journal(l, s, Entry{Event: Held, Detail: why}, end), false
	}
	if s.Kind == plan.RetireKey {
		return r.guardKey(ctx, s, held)
	}
	if why := r.incomplete(l); why != "" {
		return held(endHeld, why)
	}
	if s.Kind == plan.ScaleIn {
		return r.guardBastions(ctx, s, held)
	}
	if len(s.Hosts) == 0 {
		return held(endFailed, "the plan does not say whose door it is: make a new plan")
	}
	policy := r.cfg.Plan.Policy
	for _, h := range s.Hosts {
		p, ok, err := r.cfg.Proofs.LatestProof(ctx, h, fleet.WayRecovery)
		switch {
		case err != nil:
			return held(endUnknown, fmt.Sprintf("the recovery proof of %s cannot be read: %v", h, err), h)
		case !ok || !p.Fresh(time.Now(), time.Duration(policy.RecoveryAge)):
			return held(endHeld, fmt.Sprintf("no login of the last %s on %s by the recovery bastion is known: run the drill", policy.RecoveryAge, h))
		case ok && r.outlived(h, p, ""):
			return held(endHeld, fmt.Sprintf("no login on %s by the recovery bastion is known since the recovery way was changed: run the drill", h))
		}
	}
	for _, h := range s.Hosts {
		works, why := r.prove(ctx, h, time.Now().Add(-time.Duration(policy.ProofAge)))
		switch works {
		case fleet.TruthNo:
			return held(endFailed, fmt.Sprintf("Session Manager does not work on %s: %s", h, why), h)
		case fleet.TruthUnknown:
			return held(endUnknown, fmt.Sprintf("whether Session Manager works on %s is not known: %s", h, why), h)
		}
	}
	return r.guardTimer(ctx, l, n, s, held)
}

// outlived reports whether a recovery login of a host is from before this or
// another plan last made or unmade a part of the host's recovery way. What was found is
// older than any login by it. The step but does not count.
func (r *run) outlived(h fleet.HostRef, p fleet.Proof, but string) bool {
	changed := func(rec record) bool {
		return rec.state != "" && rec.state != StateNew && (rec.state != StateFound || rec.again) && p.At.Before(rec.since)
	}
	for _, id := range r.plan.recovery[h] {
		if id != but && changed(r.record(id)) {
			return true
		}
	}
	for _, o := range r.others {
		if o.plan == nil {
			continue // apply does not begin beside it
		}
		for _, id := range o.plan.recovery[h] {
			if changed(o.records[id]) {
				return true
			}
		}
	}
	return false
}

// drilled reports whether the logins that a drill may find are by the recovery
// way as it is now. The kind cannot tell: it does not know the journal.
func (r *run) drilled(ctx context.Context, s plan.Step) bool {
	return s.Kind != plan.RecoveryDrill || !slices.ContainsFunc(s.Hosts, func(h fleet.HostRef) bool {
		p, ok, err := r.cfg.Proofs.LatestProof(ctx, h, fleet.WayRecovery)
		return err == nil && ok && r.outlived(h, p, "")
	})
}

// guardKey lets an old recovery key go only from hosts that the new one has
// opened a short time ago.
func (r *run) guardKey(ctx context.Context, s plan.Step, held func(endKind, string, ...fleet.HostRef) (laneEnd, bool)) (laneEnd, bool) {
	for _, h := range s.Hosts {
		switch works, why := r.opensWith(ctx, h, s); works {
		case fleet.TruthNo:
			return held(endFailed, fmt.Sprintf("the recovery bastion does not lead into %s, so its old key stays: %s", h, why), h)
		case fleet.TruthUnknown:
			return held(endUnknown, fmt.Sprintf("whether the new recovery key opens %s is not known, so the old one stays: %s", h, why), h)
		}
	}
	return laneEnd{}, true
}

// opensWith reports whether the new key of a step that retires others has
// opened a host: in a drill of this plan with that key alone, since the recovery way last
// changed, and with no other outcome of a later login. A proof does not say which key it was made with.
func (r *run) opensWith(ctx context.Context, h fleet.HostRef, s plan.Step) (works fleet.Truth, why string) {
	age := time.Duration(r.cfg.Plan.Policy.RecoveryAge)
	good := func(p fleet.Proof) bool { return p.Fresh(time.Now(), age) && !r.outlived(h, p, s.ID) }
	p, ok, err := r.cfg.Proofs.LatestProof(ctx, h, fleet.WayRecovery)
	switch {
	case err != nil:
		return fleet.TruthUnknown, fmt.Sprintf("its recovery proof cannot be read: %v", err)
	case ok && p.Works == fleet.TruthNo:
		return fleet.TruthNo, p.Reason
	case !ok || !good(p):
		return fleet.TruthUnknown, fmt.Sprintf("no login of the last %s by the recovery way as it is now is known", r.cfg.Plan.Policy.RecoveryAge)
	}
	for _, d := range r.plan.steps {
		rec := r.record(d.ID)
		if d.Kind != plan.RecoveryDrill || s.Key == nil || d.Recovery.With != recovery.Blob(s.Key.Line) || !rec.state.Done() {
			continue
		}
		var report DrillReport
		if err := readImage(rec.after, &report); err != nil {
			continue
		}
		if slices.ContainsFunc(report.Proofs, func(p fleet.Proof) bool { return p.Host == h && good(p) }) {
			return fleet.TruthYes, ""
		}
	}
	return fleet.TruthUnknown, fmt.Sprintf("no drill of the last %s logged in with it", r.cfg.Plan.Policy.RecoveryAge)
}

// guardBastions lets old bastions go only when nobody of the plan needs them:
// the step does not say who comes through them, so all are asked who may.
func (r *run) guardBastions(ctx context.Context, s plan.Step, held func(endKind, string, ...fleet.HostRef) (laneEnd, bool)) (laneEnd, bool) {
	hosts := map[fleet.HostRef]bool{}
	for _, of := range r.plan.hosts {
		maps.Copy(hosts, of)
	}
	refs := slices.SortedFunc(maps.Keys(hosts), fleet.HostRef.Compare)
	for _, h := range refs {
		if why := r.out(h); h.Account == s.At.Account && why != "" {
			return held(endHeld, fmt.Sprintf("%s may still need the bastions: %s", h, why))
		}
	}
	for _, c := range r.plan.close {
		if c.Kind != plan.ScaleIn && c.At.Account == s.At.Account && c.At.Region == s.At.Region && !r.record(c.ID).state.Done() {
			return held(endHeld, fmt.Sprintf("the bastions may still be needed: %s is not done", c.ID))
		}
	}
	since := time.Now().Add(-time.Duration(r.cfg.Plan.Policy.ProofAge))
	for _, h := range refs {
		if h.Account != s.At.Account || h.Region != s.At.Region {
			continue
		}
		works, why := r.prove(ctx, h, since)
		switch works {
		case fleet.TruthNo:
			return held(endHeld, fmt.Sprintf("Session Manager does not work on %s, which may still need the bastions: %s", h, why))
		case fleet.TruthUnknown:
			return held(endUnknown, fmt.Sprintf("whether Session Manager works on %s is not known: %s", h, why), h)
		}
	}
	return laneEnd{}, true
}

func (r *run) guardTimer(ctx context.Context, l lane, n int, s plan.Step, held func(endKind, string, ...fleet.HostRef) (laneEnd, bool)) (laneEnd, bool) {
	arm, ok := timerOf(lane{steps: l.steps[:n]})
	if !ok {
		return held(endFailed, "the plan arms no timer before it: make a new plan")
	}
	obs, err := r.observe(ctx, arm)
	latest, _ := r.latest(l)
	switch {
	case err == nil && obs.Holds == fleet.TruthNo:
		return held(endFailed, "the timer that would open the door again is not armed: "+obs.Detail, s.Hosts...)
	case err != nil || obs.Holds != fleet.TruthYes:
		return held(endUnknown, "whether the timer is armed that would open the door again is not known", s.Hosts...)
	case !time.Now().Before(latest):
		return laneEnd{kind: endLate, step: s.ID}, false
	}
	return laneEnd{}, true
}

// closing is the closing step of a lane before its n-th.
func closing(l lane, n int) (plan.Step, bool) {
	for _, s := range l.steps[:n] {
		if s.Kind.Closes() {
			return s, true
		}
	}
	return plan.Step{}, false
}

// mayDisarm asks for a proof of each host through Session Manager since the
// door has closed. Nothing else disarms a timer.
func (r *run) mayDisarm(ctx context.Context, l lane, n int, s plan.Step) (laneEnd, bool) {
	c, ok := closing(l, n)
	if !ok {
		return laneEnd{}, true
	}
	since := r.record(c.ID).since
	for _, h := range c.Hosts {
		works, why := r.prove(ctx, h, since)
		if failed := r.failure(); failed != nil {
			return laneEnd{kind: endStopped, step: s.ID, why: failed.Error()}, false
		}
		if works == fleet.TruthYes {
			continue
		}
		end := laneEnd{kind: endFailed, step: s.ID, why: fmt.Sprintf("no session on %s since its door closed: %s", h, why), hosts: []fleet.HostRef{h}}
		if works == fleet.TruthUnknown {
			end.kind = endUnknown
		}
		return r.journal(l, s, Entry{Event: Held, Detail: end.why}, end), false
	}
	return laneEnd{}, true
}

// stillClosed looks whether what the lane closed is closed now that its timer
// is gone.
func (r *run) stillClosed(ctx context.Context, l lane, n int) (string, bool) {
	c, ok := closing(l, n)
	if !ok {
		return "", true
	}
	obs, err := r.observe(ctx, c)
	switch {
	case err != nil:
		return fmt.Sprintf("%s: cannot be observed: %v", c.Title, err), false
	case obs.Holds != fleet.TruthYes:
		return fmt.Sprintf("%s: no longer so (%s): its timer fired before it was disarmed, or somebody else did it", c.Title, obs.Detail), false
	}
	return "", true
}
