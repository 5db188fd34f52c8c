package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
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
		Long: `close ends the recovery bastions that migrate recovery open has started, and takes their schedules away. It ends
every other recovery bastion that it finds running, too: a drill that was killed may have left one. It removes the files that open has written. Then it rotates the recovery key on every host (migrate recovery rotate): whoever used it, or
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
		if p.Purpose != plan.BreakGlass {
			continue
		}
		a.forgetOpening(b.cfg.dir, p.ID)
		if standing[p.ID].Owed == 0 {
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
	}
	ended, more, err := a.endFound(ctx, b, plans)
	if err != nil {
		return false, err
	}
	if !a.json {
		fmt.Fprintf(a.out, "%s closed.\n", fleet.Count(closed, "opening"))
		if ended > 0 {
			fmt.Fprintf(a.out, "%s that no opening had left ended.\n", fleet.Count(ended, "recovery group"))
		}
	}
	return left || more, nil
}

// forgetOpening removes what people's ssh logs in with by an opening.
func (a *app) forgetOpening(dir, id string) {
	gone, err := removeOpening(dir, id)
	if err != nil {
		fmt.Fprintf(a.err, "What ssh logs in with is still there: %s\n", oneLine(err.Error()))
	} else if gone && !a.json {
		fmt.Fprintf(a.out, "Removed what ssh was told, and given to log in with, for opening %s.\n", id)
	}
}

// endFound brings every recovery group of the ways to zero that is not there by
// now: a drill that was killed, or a person, may have left a bastion. The journal of the newest plan
// that may have started it tells of it.
func (a *app) endFound(ctx context.Context, b *recoveryBase, plans []*plan.Plan) (ended int, left bool, err error) {
	accounts, err := openAccounts(ctx, b.cfg)
	if err != nil {
		return 0, false, err
	}
	changer := awsapi.NewChanger(accounts...)
	found := map[*plan.Plan][]cutover.Bastion{}
	for _, w := range b.ways {
		runs, err := cutover.BastionRuns(ctx, changer, w.At, w.Recovery.Name)
		if err != nil {
			left = true
			fmt.Fprintf(a.err, "Whether a bastion runs in %s is not known: %s\n", oneLine(w.Recovery.VPC), oneLine(err.Error()))
			continue
		}
		if p := planOfGroup(plans, w); runs && p != nil {
			found[p] = append(found[p], cutover.Bastion{At: w.At, VPC: w.Recovery.VPC, Group: w.Recovery.Name})
		}
	}
	for _, p := range plans {
		if len(found[p]) == 0 {
			continue
		}
		out, err := a.runStored(ctx, b.db, p, func(ctx context.Context, x *cutover.Executor) (cutover.Result, error) {
			return x.EndBastions(ctx, found[p])
		})
		if err != nil {
			return ended, left, err
		}
		if out.result.Outcome != cutover.OutcomeRolledBack {
			left = true
			fmt.Fprintln(a.err, oneLine(out.result.Reason))
			continue
		}
		ended += len(found[p])
	}
	return ended, left, nil
}

// planOfGroup is the newest of the plans that may start a way's bastion. There is
// one: the way is from a plan of them.
func planOfGroup(plans []*plan.Plan, w plan.Way) *plan.Plan {
	for _, p := range plans {
		for _, wave := range p.Waves {
			for _, s := range wave.Steps {
				if s.Recovery != nil && s.At == w.At && s.Recovery.Name == w.Recovery.Name {
					return p
				}
			}
		}
	}
	return nil
}
