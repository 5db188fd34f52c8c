package cutover

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// armHostTimerKind leaves a timer on the host that puts the key files back.
type armHostTimerKind struct{ *hostSide }

func (h *hostSide) timer(ctx context.Context, s plan.Step, name, function string, after time.Duration) (hostTimer, error) {
	host, err := h.one(s)
	if err != nil {
		return hostTimer{}, err
	}
	vars := hostVars{{"AFTER", fmt.Sprint(int64(after / time.Second))}}
	parts := []string{"common", "timer"}
	script := h.script(name, function, time.Minute, vars, parts...)
	if function == "arm" {
		saved := h.saved("saved_script", `called "$@"`, vars, "common", "restore", "timer", "fired")
		script.Text = saved + script.Text
	}
	a, err := h.run(ctx, host, script)
	if err != nil {
		return hostTimer{}, err
	}
	return hostTimerOf(a)
}

func (s hostTimer) detail() string {
	switch {
	case s.Due != 0:
		d := fmt.Sprintf("armed by %s, goes off in %s", s.How, s.left())
		if s.How == "sh" {
			d += " (does not outlive a reboot)"
		}
		return d
	case s.Fired != 0:
		return "went off at " + clock(s.Fired) + " and put the key files back"
	case s.Listed > 0:
		return "a timer is listed but would not go off"
	}
	return "no timer"
}

func after(s plan.Step) (time.Duration, error) {
	if s.Timer == nil || time.Duration(s.Timer.After) < time.Minute {
		return 0, fmt.Errorf("step %s: a timer needs a minute at least", s.ID)
	}
	return time.Duration(s.Timer.After), nil
}

// Observe holds if a timer will go off, with at least half of its time left: one
// that is nearly over would cut into what it is to guard.
func (k armHostTimerKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	wait, err := after(s)
	if err != nil {
		return Observation{}, err
	}
	t, err := k.timer(ctx, s, "observe-host-timer", "observe_timer", wait)
	if err != nil {
		return Observation{}, err
	}
	return Observation{Holds: truthOf(t.Due != 0 && t.left() >= wait/2 && t.left() <= wait+2*time.Minute), Detail: t.detail(), Image: image(t)}, nil
}

// Apply arms a new timer and takes away older ones of this plan.
func (k armHostTimerKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	wait, err := after(s)
	if err != nil {
		return nil, err
	}
	t, err := k.timer(ctx, s, "arm-host-timer", "arm", wait)
	if err != nil {
		return nil, fmt.Errorf("arm the timer: %w", err)
	}
	return image(t), nil
}

// Undo disarms.
func (k armHostTimerKind) Undo(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) error {
	if _, err := k.timer(ctx, s, "disarm-host-timer", "disarm", 0); err != nil {
		return fmt.Errorf("disarm the timer: %w", err)
	}
	return nil
}

// Undone holds if no timer is listed.
func (k armHostTimerKind) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	t, err := k.timer(ctx, s, "observe-host-timer", "observe_timer", 0)
	if err != nil {
		return Observation{}, err
	}
	return Observation{Holds: truthOf(t.Listed == 0), Detail: t.detail(), Image: image(t)}, nil
}

// disarmHostTimerKind takes the timer away once a fresh proof is there.
type disarmHostTimerKind struct {
	*hostSide
}

// Observe holds if no timer is listed and none went off: a timer that went off
// has put the keys back, which disarming does not change.
func (k disarmHostTimerKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	t, err := k.timer(ctx, s, "observe-host-timer", "observe_timer", 0)
	if err != nil {
		return Observation{}, err
	}
	return Observation{Holds: truthOf(t.Listed == 0 && t.Fired == 0), Detail: t.detail(), Image: image(t)}, nil
}

// Apply disarms; it fails if the timer was faster.
func (k disarmHostTimerKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	t, err := k.timer(ctx, s, "disarm-host-timer", "disarm", 0)
	if err != nil {
		return nil, fmt.Errorf("disarm the timer: %w", err)
	}
	if t.Fired != 0 {
		return image(t), fmt.Errorf("disarm the timer: it %s", t.detail())
	}
	return image(t), nil
}

// Undo does nothing: a timer guards what is being closed, not what is opened again.
func (disarmHostTimerKind) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

// Undone holds: there is nothing to take back.
func (disarmHostTimerKind) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (Observation, error) {
	return Observation{Holds: fleet.TruthYes, Detail: "nothing to take back"}, nil
}
