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

// scaleIn sets the sizes of an Auto Scaling group. It is undone when as many
// instances as before are in service again and have booted: until then no login leads through them.
type scaleIn struct{ scaling ScalingGroups }

type sizes struct {
	Min     int `json:"min"`
	Desired int `json:"desired"`
	Max     int `json:"max"`
}

// bootTime is what an instance gets from its launch until its SSH server is
// taken to answer: Auto Scaling has it in service as soon as EC2 says that it runs.
const bootTime = 3 * time.Minute

// scaleImage is how a group was.
type scaleImage struct {
	sizes

	// InService is how many instances were; nil in images that do not tell: the
	// desired size.
	InService *int `json:"inService,omitempty"`
}

func (z sizes) String() string {
	return fmt.Sprintf("min %d, desired %d, max %d", z.Min, z.Desired, z.Max)
}

func (k scaleIn) look(ctx context.Context, s plan.Step) (now, want sizes, err error) {
	c := s.Scaling
	if c == nil {
		return now, want, malformed(s)
	}
	g, err := k.scaling.ScalingGroup(ctx, s.At, c.Group)
	if errors.Is(err, fleet.ErrNotFound) {
		return now, want, fmt.Errorf("the Auto Scaling group %s is gone (%w): %w", c.Group, err, ErrStale)
	}
	if err != nil {
		return now, want, fmt.Errorf("read Auto Scaling group %s: %w", c.Group, err)
	}
	return sizes{g.Min, g.Desired, g.Max}, sizes{c.Min, c.Desired, c.Max}, nil
}

func (k scaleIn) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	now, want, err := k.look(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	image := scaleImage{sizes: now}
	if now != want {
		up, err := k.scaling.InService(ctx, s.At, s.Scaling.Group)
		if err != nil {
			return Observation{}, fmt.Errorf("read which instances of %s are in service: %w", s.Scaling.Group, err)
		}
		n := len(up)
		image.InService = &n
	}
	return observed(now == want, image, "%s has %v", s.Scaling.Group, now)
}

func (k scaleIn) Apply(ctx context.Context, s plan.Step, before json.RawMessage, _ string) (json.RawMessage, error) {
	was, err := imageOf[scaleImage](before)
	if err != nil {
		return nil, err
	}
	return done(settle(ctx, visibleWithin, func() (string, error) {
		now, want, err := k.look(ctx, s)
		if err != nil || now == want {
			return "", err
		}
		if now.Min != was.Min || now.Max != was.Max {
			return "", fmt.Errorf("%s has %v, and had %v when the step began: %w", s.Scaling.Group, now, was, ErrStale)
		}
		return k.set(ctx, s, want)
	}))
}

func (k scaleIn) set(ctx context.Context, s plan.Step, to sizes) (left string, err error) {
	if err := k.scaling.SetSize(ctx, s.At, s.Scaling.Group, to.Min, to.Desired, to.Max); err != nil {
		return "", fmt.Errorf("set %s to %v: %w", s.Scaling.Group, to, err)
	}
	return fmt.Sprintf("%s gets %v", s.Scaling.Group, to), nil
}

func (k scaleIn) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, _ string) error {
	was, err := imageOf[scaleImage](before)
	if err != nil {
		return err
	}
	return unsettle(ctx, visibleWithin, after, func() (string, error) {
		now, want, err := k.look(ctx, s)
		switch {
		case err != nil, now == was.sizes:
			return "", err
		case now != want:
			return "", fmt.Errorf("%s has %v, and the step gave it %v: %w", s.Scaling.Group, now, want, ErrForeign)
		}
		return k.set(ctx, s, was.sizes)
	})
}

func (k scaleIn) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	was, err := imageOf[scaleImage](before)
	if err != nil {
		return Observation{}, err
	}
	now, _, err := k.look(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	if now != was.sizes {
		return restored(fmt.Sprintf("%s has %v, before it had %v", s.Scaling.Group, now, was.sizes))
	}
	need := was.Desired
	if was.InService != nil {
		need = *was.InService
	}
	up, err := k.scaling.InService(ctx, s.At, s.Scaling.Group)
	if err != nil {
		return Observation{}, fmt.Errorf("read which instances of %s are in service: %w", s.Scaling.Group, err)
	}
	booted := 0
	for _, h := range up {
		if time.Since(h.LaunchTime) >= bootTime {
			booted++
		}
	}
	if booted >= need {
		return restored("")
	}
	missing := fmt.Sprintf("%s has %d of %d instances in service for long enough to log in", s.Scaling.Group, booted, need)
	// What cannot be asked is left away: the count above says enough.
	if why, err := k.scaling.LaunchFailure(ctx, s.At, s.Scaling.Group, time.Time{}); err == nil && why != "" {
		missing += "; EC2 Auto Scaling says: " + fleet.OneLine(why, 300)
	}
	return restored(missing + "; until it has, hosts behind it are reached as migrate recovery open and the runbook say")
}
