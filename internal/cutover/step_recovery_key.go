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

// recoveryKeyKind puts the recovery key into an account.
type recoveryKeyKind struct{ *hostSide }

func (k recoveryKeyKind) key(ctx context.Context, s plan.Step, name, function string, more hostVars) (hostKey, error) {
	return k.keyBy(ctx, s, name, function, more, k.run)
}

type runner func(context.Context, fleet.Host, fleet.Script) (hostAnswer, error)

func (k recoveryKeyKind) keyBy(ctx context.Context, s plan.Step, name, function string, more hostVars, run runner) (hostKey, error) {
	if s.Key == nil || s.Key.User == "" || recovery.Blob(s.Key.Line) == "" {
		return hostKey{}, fmt.Errorf("step %s: no account or no key", s.ID)
	}
	host, err := k.one(s)
	if err != nil {
		return hostKey{}, err
	}
	vars, parts := k.lineVars(s.Key)
	a, err := run(ctx, host, k.script(name, function, keysTimeout, append(vars, more...), parts...))
	if err != nil {
		return hostKey{}, err
	}
	return hostKeyOf(a)
}

// lineVars are what the scripts about one line of a key file need to know, and
// the parts that they are made of.
func (h *hostSide) lineVars(c *plan.KeyChange) (hostVars, []string) {
	blob := recovery.Blob(c.Line)
	vars := hostVars{
		{"ACCOUNT", c.User}, {"LINE", c.Line}, {"OLD", strings.Join(c.Old, " ")}, {"DROP", ""}, {"BACK", ""},
		{"LATER", strings.Join(h.laterThan(blob), " ")},
	}
	for _, v := range h.keyVars(nil) {
		if v[0] == "RECOVERY" {
			v[1] = blob
		}
		vars = append(vars, v)
	}
	parts := []string{"common", "find", "restore", "key"}
	if len(c.Old) > 0 {
		parts = append(parts, "turn")
	}
	return vars, parts
}

// inUse is ErrStale once the step's key was retired: nobody holds its private
// part, or somebody who must not get in.
func (k recoveryKeyKind) inUse(s plan.Step) error {
	if s.Key != nil && k.retired(recovery.Blob(s.Key.Line)) {
		return fmt.Errorf("its recovery key was retired: make a new plan: %w", ErrStale)
	}
	return nil
}

// Observe holds if the line, or that of a later generation, is in a file that
// sshd accepts. A retired key is ErrStale where no later one is.
func (k recoveryKeyKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	key, err := k.key(ctx, s, "observe-recovery-key", "observe_key", nil)
	if err != nil {
		return Observation{}, err
	}
	if err := k.inUse(s); err != nil && (key.Later == 0 || !key.Accepted) {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf((key.State == "present" || key.Later > 0) && key.Accepted), Image: image(key)}
	o.Detail = fmt.Sprintf("%s: the key is %s", key.Path, key.State)
	if !key.Accepted {
		o.Detail += "; sshd ignores the file: " + key.Why
	}
	return o, nil
}

// Apply adds the line, but that of a retired key.
func (k recoveryKeyKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	if err := k.inUse(s); err != nil {
		return nil, err
	}
	key, err := k.key(ctx, s, "put-recovery-key", "put_key", nil)
	if err != nil {
		return nil, fmt.Errorf("put the recovery key into account %s: %w", s.Key.User, err)
	}
	return image(key), nil
}

// Undo takes the line out, with those of later generations, and what was made
// for it. Where no older key takes its place, Session Manager or SSH as before has to
// carry that.
func (k recoveryKeyKind) Undo(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) error {
	vars, err := removal(before)
	if err != nil {
		return err
	}
	if s.Key != nil && slices.ContainsFunc(s.Key.Old, k.retired) {
		return fmt.Errorf("the recovery key that it took the place of was retired, and its private part is gone: the new one stays: %w", ErrForeign)
	}
	run := k.run
	if s.Key != nil && len(s.Key.Old) == 0 {
		run = k.runByOthers
	}
	if _, err := k.keyBy(ctx, s, "remove-recovery-key", "remove_key", vars, run); err != nil {
		return fmt.Errorf("take the recovery key out of account %s, other than by that key: %w", s.Key.User, err)
	}
	return nil
}

// removal says what the file was before the key came.
func removal(before json.RawMessage) (hostVars, error) {
	was := hostKey{Sum: "?", Folder: "yes"}
	if err := readImage(before, &was); err != nil {
		return nil, err
	}
	exact := ""
	if was.Lines > 0 {
		exact = "yes" // somebody else's line holds the same key
	}
	return hostVars{{"EXACT", exact}, {"SHA", was.Sum}, {"FOLDER", was.Folder}}, nil
}

// Undone holds if the line is not there, or was before.
func (k recoveryKeyKind) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	var was hostKey
	if err := readImage(before, &was); err != nil {
		return Observation{}, err
	}
	key, err := k.key(ctx, s, "observe-recovery-key", "observe_key", nil)
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf(key.State != "present" && key.Lines <= was.Lines && key.Later == 0), Image: image(key)}
	o.Detail = fmt.Sprintf("%s: the key is %s", key.Path, key.State)
	return o, nil
}
