package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/seal"
)

func (a *app) recoveryRotateCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Put a new recovery key in the place of the present one, on every host",
		Long: `rotate makes a new generation of the recovery key and seals it beside the present one. It puts the new key on
every host and into what the bastions start from, logs in to every host with it, takes the old key off
the hosts (out of what a rollback would put back, too), and asks every host whether it refuses the old one.
Only then the old private key leaves its place.

At no moment is a host without a recovery key that works: both private keys are kept until the end. Run it
again after any stop, crash or failure; it goes on from where it is.

Hosts are reached by Session Manager, or else by SSH. Take an inventory first: hosts that are not running, or
that it did not see, keep the old key, and with it both keys stay in use.

Exit code 3: it was rolled back; both keys work where they did before. Exit code 4: it has not come to its end.`,
		Example: "  migrate recovery rotate --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.recoveryRotate(cmd.Context(), yes) },
	}
	c.Flags().BoolVar(&yes, "yes", false, "change the hosts and start the bastions")
	return c
}

// rotateResult is what rotate --json prints.
type rotateResult struct {
	Plan    string          `json:"plan"`
	Outcome cutover.Outcome `json:"outcome"`
	Reason  string          `json:"reason,omitempty"`
	Key     string          `json:"key"`               // line of the generation in use
	Retired []string        `json:"retired"`           // lines
	Waiting []fleet.HostRef `json:"waiting,omitempty"` // hosts that were not running or not seen, and keep the old key
}

func (a *app) recoveryRotate(ctx context.Context, yes bool) error {
	b, err := a.openRecovery(ctx)
	if err != nil {
		return err
	}
	defer b.db.Close()
	if len(b.ways) == 0 {
		return usageErr("no plan has put a recovery key on a host yet: there is nothing to rotate")
	}
	if !yes {
		return usageErr("this changes a key file on every host and starts recovery bastions: add --yes")
	}
	if file, err := b.cfg.planPolicy(""); err == nil && file.Recovery.PublicKey != "" {
		return usageErr("the policy file names the recovery key (recovery.public_key): note it with migrate recovery init --adopt, and take the line out, so that plans take the newest key")
	}
	if err := notWhileOpen(ctx, b.db); err != nil {
		return err
	}
	store, forget, err := a.openStore(ctx, b.cfg)
	if err != nil {
		return err
	}
	defer forget()
	dropped, err := dropRetired(ctx, b, store)
	if err != nil {
		return err
	}
	keys, err := b.db.RecoveryKeys(ctx)
	if err != nil {
		return err
	}
	if len(dropped) > 0 && len(inUse(keys)) == 1 { // all that a run left to do that died at its end
		k := inUse(keys)[0]
		return a.printRotation(rotateResult{Plan: k.Plan, Outcome: cutover.OutcomeDone, Key: k.Line, Retired: dropped}, outcome{})
	}
	if err := a.nextGeneration(ctx, b, store); err != nil {
		return err
	}
	if keys, err = b.db.RecoveryKeys(ctx); err != nil {
		return err
	}
	if b.ways, err = recoveryWays(ctx, b.db); err != nil { // others may have gone on while somebody was asked for a passphrase
		return err
	}
	p, err := rotationPlan(ctx, b, inUse(keys))
	if err != nil {
		return err
	}
	out, err := a.carryOut(ctx, b.db, p)
	if err != nil {
		return err
	}
	res := rotateResult{Plan: p.ID, Outcome: out.result.Outcome, Reason: out.result.Reason, Key: inUse(keys)[0].Line, Retired: []string{}}
	for _, r := range p.Refusals {
		res.Waiting = append(res.Waiting, r.Host)
	}
	if out.result.Outcome == cutover.OutcomeDone && len(res.Waiting) == 0 {
		if res.Retired, err = retireGenerations(ctx, b, store, p); err != nil {
			return fmt.Errorf("plan %s is done, and the old key is not known to have left its place: %w; run migrate recovery rotate again", p.ID, err)
		}
	}
	if err := a.printRotation(res, out); err != nil {
		return err
	}
	switch {
	case out.result.Outcome == cutover.OutcomeRolledBack:
		return verdict(exitNotReady)
	case len(res.Retired) == 0:
		return verdict(exitIncomplete)
	}
	return nil
}

// openStore opens the place of the recovery key.
func (a *app) openStore(ctx context.Context, cfg config) (seal.Store, func(), error) {
	if !cfg.Recovery.set() {
		return nil, nil, usageErr("the configuration does not say where the recovery key is: name its place under recovery")
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	store, forget := a.recoveryStore(cfg.Recovery, awsapi.NewChanger(accounts...))
	return store, forget, nil
}

// inUse are the generations that are not retired, newest first.
func inUse(keys []fleet.RecoveryKey) []fleet.RecoveryKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k fleet.RecoveryKey) bool { return !k.Retired.IsZero() })
}

// nextGeneration makes sure that there is a new generation, kept and noted, and
// that the old one is kept as well. It may be called again after a crash anywhere.
func (a *app) nextGeneration(ctx context.Context, b *recoveryBase, store seal.Store) error {
	return withRing(ctx, b.db, store, func(t *ringTurn) error {
		keys := inUse(t.keys)
		if len(keys) == 0 {
			return usageErr("no recovery key is noted: make one with migrate recovery init")
		}
		newest := recovery.Blob(keys[0].Line)
		switch {
		case len(t.ring) > 1 && t.noted(t.blobs[0]) == nil:
			// A run died between keeping the new key and noting it.
			line, err := seal.PublicLine(t.ring[0])
			if err != nil {
				return err
			}
			return t.note(ctx, fleet.RecoveryKey{Line: line + " " + recoveryComment, CA: keys[0].CA, Location: store.Location(), Made: time.Now().UTC()})
		case !slices.Contains(t.blobs, newest):
			return fmt.Errorf("%s does not hold the newest recovery key that is noted (%s)", store.Location(), oneLine(keys[0].Line))
		case len(keys) > 1:
			return nil // a rotation is under way
		}
		text, line, err := seal.NewKey(recoveryComment)
		if err != nil {
			return err
		}
		defer clear(text)
		if err := t.save(ctx, append([][]byte{text}, t.ring...)); err != nil {
			return fmt.Errorf("keep the new recovery key: %w", err)
		}
		return t.note(ctx, fleet.RecoveryKey{Line: line, CA: keys[0].CA, Location: store.Location(), Made: time.Now().UTC()})
	})
}

// rotationPlan is the rotation to these generations that was begun from the
// newest snapshot, or a new one. One that was begun is gone on with only while it
// is about the hosts that a new one would be about, and nobody has put an old key on
// a host since.
func rotationPlan(ctx context.Context, b *recoveryBase, keys []fleet.RecoveryKey) (*plan.Plan, error) {
	next, err := plan.MakeRotation(b.snap, b.ways, keys, b.policy, time.Now())
	if err != nil {
		return nil, err
	}
	plans, _, err := begunPlans(ctx, b.db)
	if err != nil {
		return nil, err
	}
	entries, err := b.db.Entries(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, p := range plans {
		if p.Purpose != plan.Rotation || p.Snapshot != b.snap.ID || recovery.Blob(p.Policy.Recovery.PublicKey) != recovery.Blob(keys[0].Line) {
			continue
		}
		if sameRotation(p, next) && len(putBack(p, plans, entries)) == 0 {
			return p, nil
		}
	}
	return next, nil
}

// retireGenerations lets the private keys go that a rotation took off all hosts,
// and notes that, before they leave their place: who rolls the rotation back after
// that leaves the new key where it is. What a crash leaves undone, dropRetired does.
func retireGenerations(ctx context.Context, b *recoveryBase, store seal.Store, p *plan.Plan) ([]string, error) {
	lines := []string{}
	err := withRing(ctx, b.db, store, func(t *ringTurn) error {
		if err := mayRetire(ctx, b.db, p); err != nil {
			return err
		}
		old, with := p.Retires(), recovery.Blob(p.Policy.Recovery.PublicKey)
		brought := t.noted(with)
		if brought == nil || !brought.Retired.IsZero() || !slices.Contains(t.blobs, with) {
			return fmt.Errorf("%s does not hold the recovery key that hosts have now: it is left as it is", store.Location())
		}
		brought.Plan = p.ID
		if err := t.note(ctx, *brought); err != nil {
			return err
		}
		for _, k := range inUse(t.keys) {
			if !slices.Contains(old, recovery.Blob(k.Line)) {
				continue
			}
			k.Retired = time.Now().UTC()
			if err := t.note(ctx, k); err != nil {
				return err
			}
			lines = append(lines, k.Line)
		}
		if _, err := t.drop(ctx); err != nil {
			return fmt.Errorf("the old key is noted as retired, but may still be in %s: %w", store.Location(), err)
		}
		return nil
	})
	return lines, err
}

// dropRetired lets the private keys go that are noted as retired. It gives the
// public lines of those that were there.
func dropRetired(ctx context.Context, b *recoveryBase, store seal.Store) (dropped []string, err error) {
	err = withRing(ctx, b.db, store, func(t *ringTurn) (err error) {
		dropped, err = t.drop(ctx)
		return err
	})
	return dropped, err
}

func (a *app) printRotation(res rotateResult, out outcome) error {
	if a.json {
		return writeJSON(a.out, res)
	}
	switch {
	case len(res.Retired) > 0:
		fmt.Fprintf(a.out, "The recovery key is rotated on every host: the new one works, and the old one is refused.\nIn use: %s\n", oneLine(res.Key))
		return nil
	case len(res.Waiting) > 0:
		fmt.Fprintf(a.out, "Hosts that are not running, or that the inventory did not see, keep the old key, so that both keys stay in use:\n")
		for _, h := range res.Waiting {
			fmt.Fprintf(a.out, "  %s\n", oneLine(h.String()))
		}
		fmt.Fprintln(a.out, "Start or terminate them, take an inventory of all accounts and Regions, and run migrate recovery rotate again.")
		return nil
	}
	fmt.Fprintf(a.out, "The rotation (plan %s) is not at its end: %s. %s\n", res.Plan, res.Outcome, oneLine(res.Reason))
	for id, why := range out.failures {
		if why != "" {
			fmt.Fprintf(a.out, "  %s: %s\n", oneLine(id), oneLine(why))
		}
	}
	fmt.Fprintln(a.out, "Both recovery keys are kept. Go on with migrate recovery rotate.")
	return nil
}
