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

// recoveryOpenKind runs recovery bastions until a person, or a schedule, ends
// them.
type recoveryOpenKind struct {
	*hostSide
	memory *drillMemory // steps whose schedule could not be armed
}

// OpenedImage is what a recovery-open step leaves in the journal.
type OpenedImage struct {
	Bastions []string  `json:"bastions"`        // instance IDs
	Ends     time.Time `json:"ends,omitzero"`   // when the schedule scales in; zero: there is none
	Timer    string    `json:"timer,omitempty"` // why there is none
}

// openTimer names the schedule that ends a group's bastions. One group has one.
func openTimer(group string) string {
	return clientToken("", "open", group)
}

// OpenEnds reads when the schedule ends a group's bastions; zero: none does.
func OpenEnds(ctx context.Context, schedules ScheduleReader, at fleet.Place, group string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, visibleWithin)
	defer cancel()
	have, err := schedules.Schedule(ctx, at, openTimer(group))
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read schedule %s: %w", openTimer(group), err)
	case have.ScaleIn != group || have.State != "ENABLED":
		return time.Time{}, nil
	}
	return have.At, nil
}

// scheduled reports whether a schedule leaves the bastions for as long as this
// step wants, and ends them then. Where none can be armed, that keeps nobody out.
func (k recoveryOpenKind) scheduled(ctx context.Context, s plan.Step, c plan.RecoveryChange) bool {
	if k.Schedules == nil || c.Role == "" || k.memory.has(s.ID) {
		return true
	}
	ends, err := OpenEnds(ctx, k.Schedules, s.At, c.Name)
	return err == nil && !ends.IsZero() && !ends.Before(k.Plan.Made.Add(time.Duration(c.Until)))
}

func (k recoveryOpenKind) change(s plan.Step) (plan.RecoveryChange, error) {
	c := s.Recovery
	if c == nil || c.Name == "" || c.Bastions < 1 || c.Until < plan.Duration(time.Minute) {
		return plan.RecoveryChange{}, malformed(s)
	}
	return *c, nil
}

// Observe holds if as many bastions are in service as were asked for, and do
// not end before the time that was asked for.
func (k recoveryOpenKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	c, err := k.change(s)
	if err != nil {
		return Observation{}, err
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	if errors.Is(err, fleet.ErrNotFound) {
		return Observation{}, fmt.Errorf("the Auto Scaling group %s is gone (%w): %w", c.Name, err, ErrStale)
	}
	if err != nil {
		return Observation{}, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	up, err := k.Scaling.InService(ctx, s.At, c.Name)
	if err != nil {
		return Observation{}, fmt.Errorf("look at the bastions of %s: %w", c.Name, err)
	}
	run, timed := len(up) >= c.Bastions && g.Desired >= c.Bastions, ""
	if run && !k.scheduled(ctx, s, c) {
		run, timed = false, "; no schedule is known that ends them when this opening does, or later"
	}
	return observed(run, sizes{g.Min, g.Desired, g.Max}, "%d of %d bastions of %s are in service%s", len(up), c.Bastions, c.Name, timed)
}

// Apply arms the schedule that ends the bastions, starts them and waits. A
// schedule that cannot be armed does not keep them from starting.
func (k recoveryOpenKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	c, err := k.change(s)
	if err != nil {
		return nil, err
	}
	g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name)
	if err != nil {
		return nil, fmt.Errorf("look at group %s: %w", c.Name, err)
	}
	var out OpenedImage
	if out.Ends, err = k.arm(ctx, s, c, token); err != nil {
		out.Timer = fleet.OneLine(err.Error(), 300)
		k.memory.note(s.ID)
		k.tell("No schedule for this opening ends the bastions of " + c.Name + ": " + out.Timer + ". Close them yourself: migrate recovery close")
	}
	began := time.Now()
	desired := max(c.Bastions, g.Desired) // somebody may be on those that run
	if err := k.Scaling.SetSize(ctx, s.At, c.Name, 0, desired, max(desired, g.Max)); err != nil {
		return image(out), fmt.Errorf("start the recovery bastion: %w", err)
	}
	err = k.launched(ctx, s.At, c.Name, began, func(up []fleet.Host) bool {
		out.Bastions = nil
		for _, h := range up {
			out.Bastions = append(out.Bastions, h.ID)
		}
		return len(up) >= c.Bastions
	})
	if err != nil {
		return image(out), fmt.Errorf("the recovery bastions of %s do not come into service: %w", c.VPC, err)
	}
	return image(out), nil
}

// launched waits until enough bastions are in service. Why a launch failed is
// told as soon as it is known; Auto Scaling goes on trying.
func (h *hostSide) launched(ctx context.Context, at fleet.Place, group string, since time.Time, enough func([]fleet.Host) bool) error {
	said := ""
	err := h.until(ctx, launchTimeout, func(ctx context.Context) (bool, error) {
		up, err := h.Scaling.InService(ctx, at, group)
		if err == nil && enough(up) {
			return true, nil
		}
		if h.Launches != nil {
			if why, asked := h.Launches.LaunchFailure(ctx, at, group, since); asked == nil && why != "" && why != said {
				said = fleet.OneLine(why, 300)
				h.tell("EC2 does not launch a bastion of " + group + ": " + said +
					". Auto Scaling tries again. Ways in that need no launch: an EC2 Instance Connect Endpoint, the serial console (migrate recovery status)")
			}
		}
		return false, err
	})
	if err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

func (h *hostSide) tell(text string) {
	if h.Tell != nil {
		h.Tell(text)
	}
}

// arm makes the schedule that sets the group to zero, and gives its time.
func (k recoveryOpenKind) arm(ctx context.Context, s plan.Step, c plan.RecoveryChange, token string) (time.Time, error) {
	if k.Schedules == nil || c.Role == "" {
		return time.Time{}, errors.New("no role is known that EventBridge Scheduler may assume")
	}
	ends := time.Now().UTC().Add(time.Duration(c.Until) + time.Minute - time.Nanosecond).Truncate(time.Minute)
	want := fleet.Schedule{Name: openTimer(c.Name), At: ends, Role: roleARN(s.At, c.Role), ScaleIn: c.Name}
	ctx, cancel := context.WithTimeout(ctx, visibleWithin)
	defer cancel()
	if err := answered(k.Schedules.DeleteSchedule(ctx, s.At, want.Name), fleet.ErrNotFound); err != nil {
		return time.Time{}, fmt.Errorf("replace schedule %s: %w", want.Name, err)
	}
	err := settle(ctx, visibleWithin, func() (string, error) {
		have, err := k.Schedules.Schedule(ctx, s.At, want.Name)
		if err == nil && have.ScaleIn == want.ScaleIn && have.At.Equal(want.At) && have.State == "ENABLED" {
			return "", nil
		}
		if err := answered(err, fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("read schedule %s: %w", want.Name, err)
		}
		err = k.Schedules.CreateSchedule(ctx, s.At, want, clientToken(token, want.Name, ends.String()))
		if err := answered(err, fleet.ErrExists); err != nil {
			return "", fmt.Errorf("create schedule %s: %w", want.Name, err)
		}
		return "schedule " + want.Name, nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return ends, nil
}

// Undo ends the bastions, then the schedule: it may be what ends them.
func (k recoveryOpenKind) Undo(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) error {
	c, err := k.change(s)
	if err != nil {
		return err
	}
	if err := k.toZero(ctx, s.At, c.Name); err != nil {
		return err
	}
	var was sizes
	if err := readImage(before, &was); err != nil {
		return err
	}
	// A larger bound that the step set goes back, too.
	if g, err := k.Scaling.ScalingGroup(ctx, s.At, c.Name); err == nil && was.Max > 0 && g.Max == c.Bastions && g.Max > was.Max {
		if err := k.Scaling.SetSize(ctx, s.At, c.Name, 0, 0, was.Max); err != nil {
			return fmt.Errorf("set %s to at most %d: %w", c.Name, was.Max, err)
		}
	}
	if k.Schedules == nil || c.Role == "" {
		return nil
	}
	if err := answered(k.Schedules.DeleteSchedule(ctx, s.At, openTimer(c.Name)), fleet.ErrNotFound); err != nil {
		return fmt.Errorf("delete schedule %s: %w", openTimer(c.Name), err)
	}
	return nil
}

// Undone holds if the group is at zero, or there is none. A schedule that is
// left does no harm: it sets the group to zero.
func (k recoveryOpenKind) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	c, err := k.change(s)
	if err != nil {
		return Observation{}, err
	}
	return k.atZero(ctx, s.At, c.Name)
}
