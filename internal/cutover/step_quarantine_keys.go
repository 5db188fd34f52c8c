package cutover

import (
	"context"
	"encoding/json"
	"errors"
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

// Undone holds if every saved file is as it was. Where a host that had keys
// shows no saved ones, its key files are asked instead.
func (k quarantineKeysKind) Undone(ctx context.Context, s plan.Step, before, after json.RawMessage, _ string) (Observation, error) {
	var was, then keyFiles
	if err := errors.Join(readImage(before, &was), readImage(after, &then)); err != nil {
		return Observation{}, err
	}
	f, err := k.keys(ctx, s, "observe-saved-keys", "observe_saved")
	if err != nil {
		return Observation{}, err
	}
	if f.Saved == 0 && was.Open+was.Saved+then.Saved > 0 {
		return k.undoneWithoutImages(ctx, s, was, then)
	}
	o := Observation{Holds: truthOf(f.Original == f.Saved), Image: image(f)}
	o.Detail = fmt.Sprintf("%d of %d saved key files are as they were", f.Original, f.Saved)
	if f.Foreign > 0 {
		o.Detail += fmt.Sprintf("; somebody changed %d since, and the saved ones are in the host's folder", f.Foreign)
	}
	return o, nil
}

// undoneWithoutImages answers where the host has no before-images: Apply never
// saved any, or they are lost.
func (k quarantineKeysKind) undoneWithoutImages(ctx context.Context, s plan.Step, was, then keyFiles) (Observation, error) {
	f, err := k.keys(ctx, s, "observe-keys", "observe_keys")
	if err != nil {
		return Observation{}, err
	}
	sums := map[string]string{}
	for _, file := range f.Files {
		sums[file.Path] = file.Sum
	}
	// Not all files need be listed, but all are counted.
	same := f.Open >= was.Open+was.Closed
	for _, file := range was.Files {
		if file.State != "open" && file.State != "original" {
			continue
		}
		sum, open := sums[file.Path]
		// What was certainly replaced must have come back; else others may have changed it.
		same = same && (open || f.More > 0) && (then.Saved == 0 || sum == file.Sum)
	}
	o := Observation{Holds: truthOf(same), Image: image(f)}
	if same {
		o.Detail = fmt.Sprintf("no before-images are there, and %d key files hold keys as before", f.Open)
		return o, nil
	}
	o.Detail = fmt.Sprintf("the before-images are missing from the host's folder in /var/lib/migrate, and key files that held keys are not as they were (%d of %d hold keys now): put the folder or the keys back by hand, over Session Manager or with the recovery key; the journal's entry of this step lists the files", f.Open, was.Open+was.Closed)
	return o, nil
}
