package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

func (a *app) recoveryCloseCommand() *cobra.Command {
	var yes, keep bool
	c := &cobra.Command{
		Use:   "close",
		Short: "End what recovery open has started, and rotate the recovery key",
		Long: `close ends the recovery bastions that migrate recovery open has started, looks that none is left, and takes their
schedules away. Then it rotates the recovery key on every host (migrate recovery rotate): whoever used it, or
saw it used, is shut out.

Exit code 3: the rotation was rolled back. Exit code 4: a bastion may still run, or the rotation is not at its end.`,
		Example: "  migrate recovery close --yes\n  migrate recovery close --yes --keep-key",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.recoveryClose(cmd.Context(), yes, keep) },
	}
	c.Flags().BoolVar(&yes, "yes", false, "end the bastions and rotate the key")
	c.Flags().BoolVar(&keep, "keep-key", false, "do not rotate the key")
	return c
}

func (a *app) recoveryClose(ctx context.Context, yes, keep bool) error {
	if !yes {
		return usageErr("this ends recovery bastions and rotates the recovery key: add --yes")
	}
	left, err := a.closeBastions(ctx)
	if err != nil {
		return err
	}
	if left {
		return verdict(exitIncomplete)
	}
	if keep {
		return nil
	}
	return a.recoveryRotate(ctx, true)
}

// notWhileOpen refuses what would end the bastions of an opening while somebody
// may be working by them.
func notWhileOpen(ctx context.Context, db *sqlite.DB) error {
	plans, standing, err := begunPlans(ctx, db)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if p.Purpose == plan.BreakGlass && standing[p.ID].Owed > 0 {
			return usageErr("recovery bastions are open (%s): end them first with migrate recovery close --yes, which rotates the key as well", oneLine(p.Reason))
		}
	}
	return nil
}

// closeBastions takes back every opening that stands. Left says that one could
// not be.
func (a *app) closeBastions(ctx context.Context) (left bool, err error) {
	b, err := a.openRecovery(ctx)
	if err != nil {
		return false, err
	}
	defer b.db.Close()
	plans, standing, err := begunPlans(ctx, b.db)
	if err != nil {
		return false, err
	}
	closed := 0
	for _, p := range plans {
		if p.Purpose != plan.BreakGlass || standing[p.ID].Owed == 0 {
			continue
		}
		out, err := a.runStored(ctx, b.db, p, func(ctx context.Context, x *cutover.Executor) (cutover.Result, error) {
			return x.Rollback(ctx, cutover.Scope{All: true})
		})
		if err != nil {
			return false, err
		}
		if out.result.Outcome != cutover.OutcomeRolledBack {
			left = true
			fmt.Fprintf(a.err, "Plan %s (%s): %s. %s\n", p.ID, oneLine(p.Reason), out.result.Outcome, oneLine(out.result.Reason))
			continue
		}
		closed++
		if err := removeSSHConfig(b.cfg, p.ID); err != nil {
			fmt.Fprintf(a.err, "What ssh was told of the bastions is still there: %s\n", oneLine(err.Error()))
		}
	}
	if !a.json {
		fmt.Fprintf(a.out, "%s closed.\n", fleet.Count(closed, "opening"))
	}
	return left, nil
}
