package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type rollbackQuery struct {
	plan string
	host string
	wave int // -1: not given
	all  bool
	yes  bool
}

func (a *app) rollbackCommand() *cobra.Command {
	q := rollbackQuery{wave: -1}
	c := &cobra.Command{
		Use:   "rollback PLAN --host HOST | --wave N | --all",
		Short: "Take back what a plan has done",
		Long: `rollback undoes, the last step first, what the journal says that the plan has done or may have done,
and looks at each thing afterwards. What was there before the plan is never undone. What somebody else
has changed since is left as it is and named.

A way that Session Manager needs is undone only when the host's other doors are open again, those
included that another plan has closed since: roll that plan back first.
--host opens the host's doors, also security groups that it shares with others, and undoes what was
done for it alone; apply then leaves the host out.

It goes on after a first Ctrl-C; a second one cancels it. It can be run again.

Where Session Manager does not answer and SSH does not lead in, it starts the recovery bastion of the
VPC, and ends it again; where that cannot be launched, it goes in by an EC2 Instance Connect Endpoint.
Hosts that nothing reaches are named, with what to do by hand.

Exit code 4: something could not be undone.`,
		Example: `  migrate rollback 3f2a9c --all
  migrate rollback 3f2a9c --wave 2 --yes
  migrate rollback 3f2a9c --host i-0123456789abcdef0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.plan = args[0]
			given := 0
			for _, name := range []string{"host", "wave", "all"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usageErr("say what to roll back: one of --host, --wave and --all")
			}
			return a.rollback(cmd.Context(), q)
		},
	}
	c.Flags().StringVar(&q.host, "host", "", "one host (instance ID or Name tag)")
	c.Flags().IntVar(&q.wave, "wave", -1, "one wave, by its number")
	c.Flags().BoolVar(&q.all, "all", false, "the whole plan")
	c.Flags().BoolVar(&q.yes, "yes", false, "change the fleet without asking for the plan's ID")
	return c
}

func (a *app) rollback(ctx context.Context, q rollbackQuery) error {
	e, err := a.openExecution(ctx, q.plan)
	if err != nil {
		return err
	}
	defer e.close()
	scope := cutover.Scope{All: q.all}
	switch {
	case len(e.plan.Waves) == 0:
		scope.All = true // there is nothing to take back, whatever was named
	case q.host != "":
		h, err := e.find(q.host)
		if err != nil {
			return err
		}
		scope.Host = &h
	case !q.all:
		if q.wave < 0 || q.wave >= len(e.plan.Waves) {
			return usageErr("--wave %d: the plan's waves are 0 to %d", q.wave, len(e.plan.Waves)-1)
		}
		scope.Wave = &e.plan.Waves[q.wave].Number
	}
	if err := e.tellStanding(ctx); err != nil {
		return err
	}
	if e.plan.Purpose == plan.Rotation {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		store, forget, err := a.openStore(ctx, cfg)
		if err != nil {
			return err
		}
		defer forget()
		if err := oldKeyKept(ctx, e.db, store, e.plan); err != nil { // asks for the passphrase before the lease is held
			return err
		}
		e.config.Acquired = func(ctx context.Context) error { return oldKeyKept(ctx, e.db, store, e.plan) }
	}
	if err := a.agree(ctx, e, "roll back", q.yes); err != nil {
		return err
	}
	res, err := e.run(ctx, func(ctx context.Context, x *cutover.Executor) (cutover.Result, error) { return x.Rollback(ctx, scope) })
	if err != nil {
		return err
	}
	if err := e.printResult(res, "migrate rollback "+e.plan.ID+" "+scope.String()); err != nil {
		return err
	}
	if res.Outcome != cutover.OutcomeRolledBack {
		return verdict(exitIncomplete)
	}
	return nil
}

// find gives the host of the plan that is called so.
func (e *execution) find(name string) (fleet.HostRef, error) {
	var found []fleet.HostRef
	for _, w := range e.plan.Waves {
		for _, h := range w.Hosts {
			if h.ID == name || h.String() == name || e.names[h] == name {
				found = append(found, h)
			}
		}
	}
	switch len(found) {
	case 0:
		return fleet.HostRef{}, usageErr("plan %s has no host called %s", e.plan.ID, name)
	case 1:
		return found[0], nil
	}
	return fleet.HostRef{}, fmt.Errorf("plan %s has %d hosts called %s: name one by its instance ID", e.plan.ID, len(found), name)
}
