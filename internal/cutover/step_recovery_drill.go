package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/limit"
	"ssm-migrate/internal/plan"
)

// How long a drill waits. EC2 publishes no time for a launch; minutes are usual,
// and the console's text follows the first boot by up to a few more.
const (
	launchTimeout = 10 * time.Minute
	keysWait      = 10 * time.Minute
	openTimeout   = 3 * time.Minute
	zeroTimeout   = 10 * time.Minute
	firstAsk      = time.Second // between looks at the bastion; each is half as long again as the last
)

// recoveryDrillKind logs in to hosts by the recovery bastion, which it starts
// for that and always ends again.
type recoveryDrillKind struct {
	*hostSide
	memory *drillMemory
}

// drillMemory knows which drills this process has made. What a step wants of its
// logins is not in their proofs.
type drillMemory struct {
	mu   sync.Mutex
	made map[string]bool // guarded by mu; by step
}

func (m *drillMemory) note(step string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == nil {
		m.made = map[string]bool{}
	}
	m.made[step] = true
}

func (m *drillMemory) has(step string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made[step]
}

// DrillPhase is what a drill is at.
type DrillPhase string

// The phases of a drill, as they follow each other. DrillReport has their times.
const (
	DrillLaunch  DrillPhase = "launch"
	DrillConsole DrillPhase = "console"
	DrillBastion DrillPhase = "bastion"
	DrillHosts   DrillPhase = "hosts"
	DrillScaleIn DrillPhase = "scale-in"
	DrillOver    DrillPhase = "over" // also of one that failed
)

// at tells whoever wants to know what a drill is at.
func (k recoveryDrillKind) at(s plan.Step, phase DrillPhase) {
	if k.Drilling != nil {
		k.Drilling(s, phase)
	}
}

// DrillReport is what a drill found, and how long its phases took: it is the
// image that the step leaves in the journal.
type DrillReport struct {
	Launch  time.Duration `json:"launch"`  // from the scale-out until the bastion is in service
	Console time.Duration `json:"console"` // until its host keys are in its console's text
	Bastion time.Duration `json:"bastion"` // until the login to it
	Hosts   time.Duration `json:"hosts"`   // for the logins to all hosts
	ScaleIn time.Duration `json:"scaleIn"` // until no instance is left
	Proofs  []fleet.Proof `json:"proofs"`
	Refused []string      `json:"refused,omitempty"` // hosts that refuse every key that they must, by ID
}

// DrillsIn gives the reports of a plan's drills, by step, from its journal. What
// is no report is passed over.
func DrillsIn(p *plan.Plan, entries []Entry) map[string]DrillReport {
	out := map[string]DrillReport{}
	for _, e := range entries {
		_, s := p.Step(e.Step)
		if s == nil || s.Kind != plan.RecoveryDrill || e.Event != Ours || len(e.Image) == 0 {
			continue
		}
		var r DrillReport
		if json.Unmarshal(e.Image, &r) == nil {
			out[e.Step] = r
		}
	}
	return out
}

// particular reports whether a step wants more of its logins than that they
// work: those of others do not count then.
func (k recoveryDrillKind) particular(s plan.Step) bool {
	return s.Recovery.With != "" || len(s.Recovery.Refused) > 0 || k.Plan.Purpose != plan.Cutover
}

func (k recoveryDrillKind) change(s plan.Step) (plan.RecoveryChange, error) {
	if s.Recovery == nil || s.Recovery.Name == "" {
		return plan.RecoveryChange{}, fmt.Errorf("step %s names no recovery group", s.ID)
	}
	return *s.Recovery, nil
}

// idle reports whether a group is at zero, with nothing of it left.
func idle(g fleet.ScalingGroup) bool { return g.Desired == 0 && len(g.Instances) == 0 }

// Observe holds if every host has a fresh recovery login and the group is at
// zero, or another plan has opened its bastion.
func (k recoveryDrillKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	c, err := k.change(s)
	if err != nil {
		return Observation{}, err
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	if errors.Is(err, fleet.ErrNotFound) {
		return Observation{Holds: fleet.TruthNo, Detail: "there is no group " + c.Name}, nil
	}
	if err != nil {
		return Observation{}, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	if k.particular(s) && !k.memory.has(s.ID) {
		return Observation{Holds: fleet.TruthNo, Detail: "no login as the step wants it is known yet"}, nil
	}
	j, err := k.latest(ctx, s.Hosts, fleet.WayRecovery, time.Duration(k.Plan.Policy.RecoveryAge), time.Time{})
	if err != nil {
		return Observation{}, err
	}
	ended := idle(g) || k.Rescue.wantedNow(s.At, g)
	o := Observation{Holds: truthOf(j.Holds() && ended), Detail: j.String()}
	if !ended {
		o.Detail += fmt.Sprintf("; group %s is not at zero: desired %d, instances %d", g.Name, g.Desired, len(g.Instances))
	}
	return o, nil
}

// Apply drills. Whatever comes between, the group is at zero again when it
// returns, or the error says that it is not. A bastion that another plan has opened
// is used, and left as it is.
func (k recoveryDrillKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (after json.RawMessage, err error) {
	c, err := k.change(s)
	if err != nil {
		return nil, err
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	if err != nil {
		return nil, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	var report DrillReport
	lap := laps()
	stays := k.Rescue.wantedNow(s.At, g)
	defer func() {
		lap()
		k.at(s, DrillScaleIn)
		defer k.at(s, DrillOver)
		if !stays {
			err = errors.Join(err, k.toZero(ctx, s.At, c.Name))
		}
		if report.ScaleIn = lap(); after != nil {
			after = image(report)
		}
		if err == nil {
			k.memory.note(s.ID)
		}
	}()
	k.at(s, DrillLaunch)
	if !stays {
		if err := k.Scaling.SetSize(ctx, s.At, c.Name, 0, 1, max(1, g.Max)); err != nil {
			return nil, fmt.Errorf("start the recovery bastion: %w", err)
		}
	}
	closeIt, err := k.open(ctx, s.At, c, &report, func(p DrillPhase) { k.at(s, p) })
	if err != nil {
		return nil, err
	}
	defer closeIt()
	lap()
	k.at(s, DrillHosts)
	report.Proofs, err = k.prove(ctx, s.Hosts, fleet.WayRecovery)
	if err != nil {
		return nil, err
	}
	err = unproved(report.Proofs)
	if k.particular(s) && err == nil {
		err = errors.Join(k.roots(ctx, report.Proofs), k.refusals(ctx, s, &report))
	}
	report.Hosts = lap()
	return image(report), err
}

// laps measures how long each part of something takes.
func laps() func() time.Duration {
	last := time.Now()
	return func() time.Duration {
		now := time.Now()
		took := now.Sub(last)
		last = now
		return took.Round(time.Millisecond)
	}
}

// roots runs a command as root on each host: a way in that ends in an account
// without rights repairs nothing.
func (k recoveryDrillKind) roots(ctx context.Context, proofs []fleet.Proof) error {
	script := k.script("drill-root", "as_root", time.Minute, nil, "common")
	var errs []error
	for i, p := range proofs {
		host, err := k.find(p.Host)
		if err != nil {
			return err
		}
		r := k.Hosts.Run(ctx, host, fleet.WayRecovery, script)
		_, err = parseAnswer(r.Stdout)
		var refused *refusalError
		switch {
		case err == nil:
			continue
		case errors.As(err, &refused):
			p.Works, p.Reason = fleet.TruthNo, "the login works, but not as root: "+err.Error()
		case r.Started == fleet.TruthNo:
			p.Works, p.Reason = fleet.TruthNo, "the login works, but no command as root: "+silence(r)
		default:
			p.Works, p.Reason = fleet.TruthUnknown, "the login works; whether as root is not known: "+silence(r)
		}
		p.At = time.Now()
		proofs[i] = p
		errs = append(errs, fmt.Errorf("%s: %s", p.Host.ID, p.Reason))
		if err := k.Proofs.SaveProof(context.WithoutCancel(ctx), p); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// refusals asks each host whether it refuses the keys that it must refuse. The
// hosts have let the new key in a moment ago: a refusal is no broken sshd's.
func (k recoveryDrillKind) refusals(ctx context.Context, s plan.Step, report *DrillReport) error {
	if len(s.Recovery.Refused) == 0 {
		return nil
	}
	var errs []error
	for _, ref := range s.Hosts {
		host, err := k.find(ref)
		if err != nil {
			return err
		}
		good := true
		for _, key := range s.Recovery.Refused {
			if refuses, why := k.Keys.Refuses(ctx, host, key); refuses != fleet.TruthYes {
				good = false
				errs = append(errs, fmt.Errorf("%s does not refuse the old recovery key: %s (%s)", ref.ID, refuses, why))
			}
		}
		if good {
			report.Refused = append(report.Refused, ref.ID)
		}
	}
	return errors.Join(errs...)
}

// open waits for the bastion and logs in to it; gets is told which phase begins.
func (k recoveryDrillKind) open(ctx context.Context, at fleet.Place, c plan.RecoveryChange, report *DrillReport, gets func(DrillPhase)) (func(), error) {
	open := k.Bastions.OpenBastion
	if c.With != "" || len(c.Refused) > 0 {
		if k.Keys == nil || c.With == "" {
			return nil, errors.New("logins with one key alone are not set up here")
		}
		open = func(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (func(), error) {
			return k.Keys.OpenBastionWith(ctx, bastion, user, hostKeys, c.With)
		}
	}
	var bastion fleet.Host
	lap := laps()
	err := k.until(ctx, launchTimeout, func(ctx context.Context) (bool, error) {
		up, err := k.Scaling.InService(ctx, at, c.Name)
		if err == nil && len(up) > 0 {
			bastion = up[0]
		}
		return bastion.ID != "", err
	})
	if err != nil {
		return nil, fmt.Errorf("the recovery bastion of %s does not come into service: %w", c.VPC, err)
	}
	report.Launch = lap()
	gets(DrillConsole)
	var keys []string
	err = k.until(ctx, keysWait, func(ctx context.Context) (bool, error) {
		var err error
		keys, err = k.Scaling.HostKeys(ctx, bastion.Ref())
		return len(keys) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("the console of the recovery bastion %s shows no host keys, so it cannot be told from another machine: %w", bastion.ID, err)
	}
	report.Console = lap()
	gets(DrillBastion)
	var closeIt func()
	var noKey error
	err = k.until(ctx, openTimeout, func(ctx context.Context) (bool, error) {
		var err error
		closeIt, err = open(ctx, bastion, c.User, keys)
		if errors.Is(err, fleet.ErrNoKey) {
			noKey = err
			return true, nil
		}
		return err == nil, err
	})
	if err = cmp.Or(err, noKey); err != nil {
		return nil, fmt.Errorf("log in to the recovery bastion %s as %s: %w", bastion.ID, c.User, err)
	}
	report.Bastion = lap()
	return closeIt, nil
}

// until asks again, with growing pauses, until what it waits for is there. The
// error is the last one, or that time is up.
func (h *hostSide) until(ctx context.Context, limit time.Duration, there func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := firstAsk; ; pause = min(pause*3/2, lastPause/2) {
		ok, err := there(ctx)
		if ok {
			return nil
		}
		if w := sleep(ctx, pause); w != nil {
			if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				err = fmt.Errorf("not within %s: %w", limit, w)
			}
			return err
		}
	}
}

// toZero ends the bastion and waits until it is gone. It does so also when the
// run is being stopped, which has given ctx an end.
func (h *hostSide) toZero(ctx context.Context, at fleet.Place, name string) error {
	ctx, cancel := context.WithTimeout(limit.With(context.WithoutCancel(ctx), nil), zeroTimeout)
	defer cancel()
	err := h.until(ctx, zeroTimeout, func(ctx context.Context) (bool, error) {
		g, err := h.Scaling.ScalingGroup(ctx, at, name)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			return true, nil
		case err != nil:
			return false, err
		case idle(g):
			return true, nil
		case g.Desired != 0 || g.Min != 0:
			err = h.Scaling.SetSize(ctx, at, name, 0, 0, g.Max)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("bring the recovery group %s back to zero (do it by hand: aws autoscaling update-auto-scaling-group --auto-scaling-group-name %s --min-size 0 --desired-capacity 0): %w", name, name, err)
	}
	return nil
}

// Undo brings the group to zero, unless a rollback uses its bastion or another
// plan has opened it; proofs stay.
func (k recoveryDrillKind) Undo(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) error {
	c, err := k.change(s)
	if err != nil {
		return err
	}
	if k.Rescue.holds(s.At, c.Name) || k.Rescue.wanted(bastionKey{s.At, c.Name}) {
		return nil
	}
	return k.toZero(ctx, s.At, c.Name)
}

// Undone holds if the group is at zero, or there is none, or its bastion is not
// this plan's.
func (k recoveryDrillKind) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	c, err := k.change(s)
	if err != nil {
		return Observation{}, err
	}
	if k.Rescue.holds(s.At, c.Name) {
		return Observation{Holds: fleet.TruthYes, Detail: "the bastion of " + c.VPC + " is in use by this rollback, which ends it"}, nil
	}
	if k.Rescue.wanted(bastionKey{s.At, c.Name}) {
		return Observation{Holds: fleet.TruthYes, Detail: "the bastion of " + c.VPC + " was opened by another plan, which closes it"}, nil
	}
	return k.atZero(ctx, s.At, c.Name)
}

// atZero holds if a group is at zero, or there is none.
func (h *hostSide) atZero(ctx context.Context, at fleet.Place, name string) (Observation, error) {
	g, err := h.Scaling.ScalingGroup(ctx, at, name)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return Observation{Holds: fleet.TruthYes, Detail: "there is no group " + name}, nil
	case err != nil:
		return Observation{}, fmt.Errorf("look at group %s: %w", name, err)
	}
	return Observation{Holds: truthOf(idle(g)), Detail: fmt.Sprintf("group %s: desired %d, instances %d", g.Name, g.Desired, len(g.Instances))}, nil
}
