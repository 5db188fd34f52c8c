package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
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
type recoveryDrillKind struct{ *hostSide }

func (k recoveryDrillKind) change(s plan.Step) (plan.RecoveryChange, error) {
	if s.Recovery == nil || s.Recovery.Name == "" {
		return plan.RecoveryChange{}, fmt.Errorf("step %s names no recovery group", s.ID)
	}
	return *s.Recovery, nil
}

// idle reports whether a group is at zero, with nothing of it left.
func idle(g fleet.ScalingGroup) bool { return g.Desired == 0 && len(g.Instances) == 0 }

// Observe holds if every host has a fresh recovery login and the group is at zero.
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
	j, err := k.latest(ctx, s.Hosts, fleet.WayRecovery, time.Duration(k.Plan.Policy.RecoveryAge), time.Time{})
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf(j.Holds() && idle(g)), Detail: j.String()}
	if !idle(g) {
		o.Detail += fmt.Sprintf("; group %s is not at zero: desired %d, instances %d", g.Name, g.Desired, len(g.Instances))
	}
	return o, nil
}

// Apply drills. Whatever comes between, the group is at zero again when it
// returns, or the error says that it is not.
func (k recoveryDrillKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (after json.RawMessage, err error) {
	c, err := k.change(s)
	if err != nil {
		return nil, err
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	if err != nil {
		return nil, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	defer func() {
		if zero := k.toZero(ctx, s.At, c.Name); zero != nil {
			err = errors.Join(err, zero)
		}
	}()
	if err := k.Scaling.SetSize(ctx, s.At, c.Name, 0, 1, max(1, g.Max)); err != nil {
		return nil, fmt.Errorf("start the recovery bastion: %w", err)
	}
	closeIt, err := k.open(ctx, s.At, c)
	if err != nil {
		return nil, err
	}
	defer closeIt()
	proofs, err := k.prove(ctx, s.Hosts, fleet.WayRecovery)
	if err != nil {
		return nil, err
	}
	return image(proofs), unproved(proofs)
}

// open waits for the bastion and logs in to it.
func (k recoveryDrillKind) open(ctx context.Context, at fleet.Place, c plan.RecoveryChange) (func(), error) {
	var bastion fleet.Host
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
	var keys []string
	err = k.until(ctx, keysWait, func(ctx context.Context) (bool, error) {
		var err error
		keys, err = k.Scaling.HostKeys(ctx, bastion.Ref())
		return len(keys) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("the console of the recovery bastion %s shows no host keys, so it cannot be told from another machine: %w", bastion.ID, err)
	}
	var closeIt func()
	err = k.until(ctx, openTimeout, func(ctx context.Context) (bool, error) {
		var err error
		closeIt, err = k.Bastions.OpenBastion(ctx, bastion, c.User, keys)
		return err == nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("log in to the recovery bastion %s as %s: %w", bastion.ID, c.User, err)
	}
	return closeIt, nil
}

// until asks again, with growing pauses, until what it waits for is there. The
// error is the last one, or that time is up.
func (k recoveryDrillKind) until(ctx context.Context, limit time.Duration, there func(context.Context) (bool, error)) error {
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
func (k recoveryDrillKind) toZero(ctx context.Context, at fleet.Place, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), zeroTimeout)
	defer cancel()
	err := k.until(ctx, zeroTimeout, func(ctx context.Context) (bool, error) {
		g, err := k.Scaling.ScalingGroup(ctx, at, name)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			return true, nil
		case err != nil:
			return false, err
		case idle(g):
			return true, nil
		case g.Desired != 0 || g.Min != 0:
			err = k.Scaling.SetSize(ctx, at, name, 0, 0, g.Max)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("bring the recovery group %s back to zero (do it by hand: aws autoscaling update-auto-scaling-group --auto-scaling-group-name %s --min-size 0 --desired-capacity 0): %w", name, name, err)
	}
	return nil
}

// Undo brings the group to zero, unless a rollback uses its bastion; proofs stay.
func (k recoveryDrillKind) Undo(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) error {
	c, err := k.change(s)
	if err != nil {
		return err
	}
	if k.Rescue.holds(s.At, c.Name) {
		return nil
	}
	return k.toZero(ctx, s.At, c.Name)
}

// Undone holds if the group is at zero, or there is none.
func (k recoveryDrillKind) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	c, err := k.change(s)
	if err != nil {
		return Observation{}, err
	}
	if k.Rescue.holds(s.At, c.Name) {
		return Observation{Holds: fleet.TruthYes, Detail: "the bastion of " + c.VPC + " is in use by this rollback, which ends it"}, nil
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return Observation{Holds: fleet.TruthYes, Detail: "there is no group " + c.Name}, nil
	case err != nil:
		return Observation{}, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	return Observation{Holds: truthOf(idle(g)), Detail: fmt.Sprintf("group %s: desired %d, instances %d", g.Name, g.Desired, len(g.Instances))}, nil
}
