package cutover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// retireKeyKind takes old generations of the recovery key off a host: out of
// the files that sshd reads, and out of those that a rollback would put back. Its
// image has the old lines, which are public.
type retireKeyKind struct{ *hostSide }

func (k retireKeyKind) ask(ctx context.Context, s plan.Step, name, function string, back []string) (hostRetired, error) {
	if s.Key == nil || s.Key.User == "" || len(s.Key.Old) == 0 || slices.Contains(s.Key.Old, recovery.Blob(s.Key.Line)) {
		return hostRetired{}, malformed(s)
	}
	host, err := k.one(s)
	if err != nil {
		return hostRetired{}, err
	}
	vars, parts := k.lineVars(s.Key)
	vars = append(vars, [2]string{"BACK", strings.Join(back, "\n")})
	a, err := k.run(ctx, host, k.script(name, function, keysTimeout, vars, parts...))
	if err != nil {
		return hostRetired{}, err
	}
	return hostRetiredOf(a)
}

// Observe holds if no file has an old key and sshd takes the new one.
func (k retireKeyKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	r, err := k.ask(ctx, s, "observe-retired-key", "observe_retired", nil)
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf(r.Live+r.Saved == 0 && r.Accepted), Image: image(r)}
	o.Detail = fmt.Sprintf("old recovery keys are in %d files that sshd reads and in %d saved ones", r.Live, r.Saved)
	if !r.Accepted {
		o.Detail += "; sshd does not take the new one: " + r.Why
	}
	return o, nil
}

// Apply takes the old lines out. It fails before the first change where sshd
// would not take the new key.
func (k retireKeyKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	r, err := k.ask(ctx, s, "retire-key", "retire", nil)
	if err != nil {
		return nil, fmt.Errorf("take the old recovery key out: %w", err)
	}
	return image(r), nil
}

// Undo puts the old lines back before the new one. The other files of the host
// that had them do without.
func (k retireKeyKind) Undo(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) error {
	was, err := imageOf[hostRetired](before)
	if err != nil {
		return err
	}
	if k.anyRetired(s) {
		return fmt.Errorf("the old recovery key was retired, and its private part is gone: it is not put back: %w", ErrForeign)
	}
	if _, err := k.ask(ctx, s, "bring-key-back", "unretire", was.Lines); err != nil {
		return fmt.Errorf("put the old recovery key back: %w", err)
	}
	return nil
}

func (k retireKeyKind) anyRetired(s plan.Step) bool {
	return s.Key != nil && slices.ContainsFunc(s.Key.Old, k.retired)
}

// Undone holds if the account's file has an old key again, or had none before.
func (k retireKeyKind) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	was, err := imageOf[hostRetired](before)
	if err != nil {
		return Observation{}, err
	}
	r, err := k.ask(ctx, s, "observe-retired-key", "observe_retired", nil)
	if err != nil {
		return Observation{}, err
	}
	return Observation{
		Holds: truthOf(len(r.Lines) > 0 || len(was.Lines) == 0), Image: image(r),
		Detail: fmt.Sprintf("%s: %s with old recovery keys", r.Path, fleet.Count(len(r.Lines), "line")),
	}, nil
}
