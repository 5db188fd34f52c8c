package cutover

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ssm-migrate/internal/plan"
)

// keysTimeout bounds scripts about key files on a host: hundreds of files, a slow
// sshd -T for each of hundreds of accounts.
const keysTimeout = 3 * time.Minute

// quarantineKeysKind moves all key files of a host aside but for the lines that
// stay. Its image lists the files with their SHA-256; their content is on the host.
type quarantineKeysKind struct{ *hostSide }

func (k quarantineKeysKind) keys(ctx context.Context, s plan.Step, name, function string) (keyFiles, error) {
	if s.Keys == nil || len(s.Keys.Keep) == 0 || k.recoveryKey == "" {
		return keyFiles{}, fmt.Errorf("step %s: no recovery key that stays: nothing can be closed", s.ID)
	}
	host, err := k.one(s)
	if err != nil {
		return keyFiles{}, err
	}
	a, err := k.run(ctx, host, k.script(name, function, keysTimeout, append(k.keyVars(s.Keys.Keep), [2]string{"AFTER", "0"}), "common", "find", "restore", "timer", "keys"))
	if err != nil {
		return keyFiles{}, err
	}
	return keyFilesOf(a)
}

// Observe holds if no key file holds a key but those that stay, and sshd accepts
// the recovery key.
func (k quarantineKeysKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	f, err := k.keys(ctx, s, "observe-keys", "observe_keys")
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf(f.Open == 0 && f.Usable), Image: image(f)}
	switch {
	case !f.Usable:
		o.Detail = "the recovery key would not open the host: " + f.Why
	case f.Open > 0:
		o.Detail = fmt.Sprintf("%d of %d key files hold keys that do not stay", f.Open, f.Read)
	default:
		o.Detail = fmt.Sprintf("%d key files hold only keys that stay", f.Read)
	}
	if f.Fired != 0 {
		o.Detail += "; the timer put files back at " + clock(f.Fired)
	}
	return o, nil
}

// Open holds if some key file holds a key besides those that stay.
func (k quarantineKeysKind) Open(ctx context.Context, s plan.Step) (Observation, error) {
	f, err := k.keys(ctx, s, "observe-keys", "observe_keys")
	if err != nil {
		return Observation{}, err
	}
	return Observation{Holds: truthOf(f.Open > 0), Detail: fmt.Sprintf("%d of %d key files hold keys that do not stay", f.Open, f.Read)}, nil
}

// Apply saves and replaces the files. It fails before the first change where the
// recovery key would not remain, no timer is armed, or a file cannot be replaced.
func (k quarantineKeysKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	f, err := k.keys(ctx, s, "quarantine-keys", "quarantine")
	if err != nil {
		return nil, fmt.Errorf("quarantine keys: %w", err)
	}
	return image(f), nil
}

// Undo puts every file back that is as the quarantine left it.
func (k quarantineKeysKind) Undo(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) error {
	host, err := k.one(s)
	if err != nil {
		return err
	}
	if _, err := k.run(ctx, host, k.script("restore-keys", "undo", keysTimeout, nil, "common", "restore")); err != nil {
		return fmt.Errorf("put key files back: %w", err)
	}
	return nil
}

// Undone holds if every saved file is as it was.
func (k quarantineKeysKind) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	f, err := k.keys(ctx, s, "observe-saved-keys", "observe_saved")
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Holds: truthOf(f.Original == f.Saved), Image: image(f)}
	o.Detail = fmt.Sprintf("%d of %d saved key files are as they were", f.Original, f.Saved)
	if f.Foreign > 0 {
		o.Detail += fmt.Sprintf("; somebody changed %d since, and the saved ones are in the host's folder", f.Foreign)
	}
	return o, nil
}
