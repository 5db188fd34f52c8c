package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
)

type driftQuery struct {
	plan        []string
	sessions    bool
	quiet       bool
	concurrency int
}

func (a *app) driftCommand() *cobra.Command {
	var q driftQuery
	c := &cobra.Command{
		Use:   "drift [PLAN]",
		Short: "Look whether what a cutover brought about still holds",
		Long: `drift looks again at everything that the journal of a plan calls done: ports that were closed, keys that
were taken away, the recovery way, sessions, roles, endpoints, preferences, bastions, timers; and
for instances that came after the plan. It changes nothing and takes no lease, so it may run from cron, also while
somebody applies (docs/drift.md). Without PLAN it is the plan that the journal spoke of last.

Whether Session Manager reaches a host is told by the connection of its agent; --sessions opens a real
session on each instead. AWS lets 3 a second begin in one account and Region.

Exit code 3: something has drifted. Exit code 4: nothing is known to have, but something gave no answer.`,
		Example: `  migrate drift
  migrate drift 3f2a9c --sessions
  migrate drift --quiet             # for cron: says nothing as long as all is well
  migrate drift --json | jq '.items[] | select(.holds == "no")'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.plan = args
			if q.concurrency < 1 || q.concurrency > 500 {
				return usageErr("--concurrency %d is not from 1 to 500", q.concurrency)
			}
			return a.drift(cmd.Context(), q)
		},
	}
	c.Flags().BoolVar(&q.sessions, "sessions", false, "open a real session on each host")
	c.Flags().BoolVar(&q.quiet, "quiet", false, "say nothing as long as all is as it should be")
	c.Flags().IntVar(&q.concurrency, "concurrency", 50, "how many looks are under way at once")
	return c
}

func (a *app) drift(ctx context.Context, q driftQuery) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := begunPlan(ctx, db, q.plan)
	if err != nil {
		return err
	}
	snap, err := load(ctx, db, p.Snapshot)
	if err != nil {
		return err
	}
	c := cutover.DriftConfig{
		Plan: p, Hosts: hostsOf(snap), Concurrency: q.concurrency,
		Entries: func(ctx context.Context) ([]cutover.Entry, error) { return db.Entries(ctx, p.ID) },
		Holder:  func(ctx context.Context) (string, error) { return holderOf(ctx, db) },
	}
	if c.Generations, err = db.RecoveryKeys(ctx); err != nil {
		return err
	}
	closeIt, err := a.openDriftWorld(ctx, cfg, &c, q.sessions)
	if err != nil {
		return err
	}
	defer closeIt()
	if err := recoveryDrift(ctx, cfg, db, snap.Hosts, &c); err != nil {
		return err
	}
	report, err := cutover.Drift(ctx, c)
	if err != nil {
		return err
	}
	holds := report.Holds()
	if !q.quiet || holds != fleet.TruthYes {
		if a.json {
			err = writeJSON(a.out, report)
		} else {
			err = printDrift(a.out, report, namesOfHosts(snap))
		}
	}
	switch {
	case err != nil:
		return err
	case holds == fleet.TruthNo:
		return verdict(exitNotReady)
	case holds == fleet.TruthUnknown:
		return verdict(exitIncomplete)
	}
	return nil
}

// recoveryDrift lets the check look at the recovery way as a whole, too.
func recoveryDrift(ctx context.Context, cfg config, db *sqlite.DB, hosts []fleet.Host, c *cutover.DriftConfig) error {
	world, ok := c.World.(cutover.RecoveryWorld)
	if !ok {
		return fmt.Errorf("a check for drift cannot look at the recovery way by %T", c.World)
	}
	policy, err := cfg.keyedPolicy(ctx, db, "")
	if err != nil {
		return err
	}
	want, err := wantedRecovery(ctx, cfg, db, policy)
	if err != nil {
		return err
	}
	logins, err := recoveryProofs(ctx, db, hosts)
	if err != nil {
		return err
	}
	c.Recovery = &cutover.RecoveryDrift{World: world, Want: want, Logins: logins, DrillAge: recovery.DrillEvery}
	return nil
}

func holderOf(ctx context.Context, db *sqlite.DB) (string, error) {
	holder, _, err := db.Holder(ctx)
	return holder, err
}

// openDriftWorld opens what a check looks through.
func (a *app) openDriftWorld(ctx context.Context, cfg config, c *cutover.DriftConfig, sessions bool) (closeIt func(), err error) {
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ways, err := a.newHostWays(cfg, awsapi.NewChanger(accounts...), nil, recoveryUsers(c.Plan), nil)
	if err != nil {
		return nil, exitErr{code: exitUsage, err: err}
	}
	c.World, c.Looks = awsapi.NewWatcher(accounts...), hostLooks{ways}
	if sessions {
		c.Sessions = &awsapi.SessionProver{Sessions: awsapi.NewSessions(accounts...), LogWait: -1}
	}
	return ways.close, nil
}

// hostLooks runs what only looks. Running scripts of any other kind is not for it.
type hostLooks struct{ ways *hostWays }

// Look implements cutover.HostLooks.
func (l hostLooks) Look(ctx context.Context, h fleet.Host, way fleet.Way, look cutover.Look) fleet.ScriptResult {
	return l.ways.Run(ctx, h, way, look.Script())
}
