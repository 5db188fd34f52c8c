package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// planView says which part of a plan is shown.
type planView struct {
	wave int    // -1: all
	host string // ID or Name tag; empty: all
}

func (v *planView) flags(c *cobra.Command) {
	c.Flags().IntVar(&v.wave, "wave", -1, "show only the wave with this number")
	c.Flags().StringVar(&v.host, "host", "", "show only what concerns this host (instance ID)")
}

func (a *app) planCommand() *cobra.Command {
	var snapshot int64
	var policy string
	var template bool
	var view planView
	var edit planEdit
	c := &cobra.Command{
		Use:   "plan",
		Short: "Plan the cutover in waves, and show what would change",
		Long: `plan turns the latest snapshot (or --snapshot N) and the policy file into waves of reversible steps,
stores the plan and shows it like a diff. Nothing is changed: that takes migrate apply with the plan's ID.

The policy is migrate-policy.yaml beside the configuration, the file that policy: in migrate.yaml
names, or --policy FILE. Without one the defaults hold, which close nothing: there is no recovery key in them.
--policy-template prints a policy file with everything that can be said in it.

--move HOST=WAVE puts a host into another wave of the newest plan, or of --from PLAN: a new plan is made and
stored, and what is otherwise in it is shown. What was moved before in that plan stays so. WAVE is a wave's number in the
plan; one more than the last is a new wave. --from alone plans anew and keeps what was moved. The other plans stay.

Exit code 3: the plan closes nothing. Exit code 4: it closes something, but hosts or security groups
that the policy does not leave out stay open; the end of the plan says which, why and what to do.`,
		Example: `  migrate plan --policy-template > migrate-policy.yaml   # then fill in the recovery key
  migrate plan                                           # make a plan and look at it
  migrate plan --wave 1                                  # only its canary
  migrate plan --move web-3=2 --move db-1=5              # two hosts into other waves
  migrate plan diff 3f2a9c                               # the newest plan against an older one
  migrate plan list
  migrate plan show 3f2a9c --host i-0123456789abcdef0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if template {
				_, err := fmt.Fprint(a.out, plan.PolicyTemplate())
				return err
			}
			if edit.wanted() {
				if cmd.Flags().Changed("wave") || view.host != "" {
					return usageErr("--move and --from show what is otherwise in the new plan: look at the whole with migrate plan show")
				}
				return a.editPlan(cmd.Context(), snapshot, policy, edit)
			}
			return a.makePlan(cmd.Context(), snapshot, policy, view)
		},
	}
	addSnapshotFlag(c, &snapshot)
	c.Flags().StringVar(&policy, "policy", "", "policy file (default migrate-policy.yaml beside the configuration)")
	c.Flags().BoolVar(&template, "policy-template", false, "print a policy file to fill in, and do nothing else")
	c.Flags().StringArrayVar(&edit.moves, "move", nil, "put a host into another wave, HOST=WAVE (repeatable; HOST by ID or name)")
	c.Flags().StringVar(&edit.from, "from", "", "plan whose waves are changed (default the newest)")
	view.flags(c)
	for _, sub := range []*cobra.Command{a.planListCommand(), a.planShowCommand(), a.planDiffCommand(), a.planUserDataCommand()} {
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	return c
}

func (a *app) planListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the stored plans",
		Long:    "list shows the stored plans, newest first, with the snapshots that they were made from.",
		Example: "  migrate plan list",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listPlans(cmd.Context()) },
	}
}

func (a *app) planShowCommand() *cobra.Command {
	var view planView
	c := &cobra.Command{
		Use:   "show [PLAN]",
		Short: "Show a stored plan",
		Long: `show prints a stored plan: the newest, or the one whose ID begins as given. If a newer snapshot shows
that what the plan touches has changed, it says what. The exit codes are those of migrate plan.`,
		Example: `  migrate plan show
  migrate plan show 3f2a9c --wave 2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.showPlan(cmd.Context(), id, view)
		},
	}
	view.flags(c)
	return c
}

func (a *app) makePlan(ctx context.Context, snapshot int64, policyFile string, view planView) error {
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	policy, err := s.cfg.keyedPolicy(ctx, s.db, policyFile)
	if err != nil {
		return err
	}
	p, err := newPlan(ctx, s.db, s.cfg, s.snap, policy)
	if err != nil {
		return err
	}
	if err := a.writePlan(p, namesOfHosts(s.snap), view); err != nil {
		return err
	}
	return planVerdict(p)
}

// newPlan judges a snapshot, plans its cutover and stores the plan.
func newPlan(ctx context.Context, db *sqlite.DB, cfg config, snap *fleet.Snapshot, policy plan.Policy) (*plan.Plan, error) {
	judged, err := assess(ctx, db, snap, cfg.policy())
	if err != nil {
		return nil, err
	}
	p, err := plan.Make(snap, judged, policy, time.Now())
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return p, db.SavePlan(ctx, p, planner())
}

// planner is who makes a plan, as this machine knows them.
func planner() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return envOr("USER", "unknown")
}

// planVerdict is the exit code that a plan deserves.
func planVerdict(p *plan.Plan) error {
	hosts, groups := p.Closes()
	switch {
	case hosts+groups == 0:
		return verdict(exitNotReady)
	case slices.ContainsFunc(p.Refusals, func(r plan.Refusal) bool { return !r.Expected() }):
		return verdict(exitIncomplete)
	}
	return nil
}

func (a *app) showPlan(ctx context.Context, id string, view planView) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := findPlan(ctx, db, id)
	if err != nil {
		return err
	}
	snap, err := load(ctx, db, p.Snapshot)
	if err != nil {
		return err
	}
	if err := a.writePlan(p, namesOfHosts(snap), view); err != nil {
		return err
	}
	if err := a.warnStale(ctx, db, p); err != nil {
		return err
	}
	return planVerdict(p)
}

// warnStale says what a newer snapshot tells against the plan.
func (a *app) warnStale(ctx context.Context, db *sqlite.DB, p *plan.Plan) error {
	latest, err := db.Latest(ctx)
	if err != nil || latest.ID <= p.Snapshot {
		return err
	}
	now, err := load(ctx, db, latest.ID)
	if err != nil {
		return err
	}
	for _, line := range p.Stale(now) {
		fmt.Fprintf(a.err, "Stale, by snapshot %d: %s\n", latest.ID, line)
	}
	return nil
}

// findPlan reads a plan by the beginning of its ID; empty: the newest.
func findPlan(ctx context.Context, db *sqlite.DB, id string) (*plan.Plan, error) {
	p, err := db.Plan(ctx, id)
	if errors.Is(err, sqlite.ErrNoPlan) {
		if id == "" {
			return nil, errors.New("there is no plan yet: run migrate plan")
		}
		return nil, exitErr{code: exitUsage, err: fmt.Errorf("%w (migrate plan list lists them)", err)}
	}
	return p, err
}

func (a *app) listPlans(ctx context.Context) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	all, err := db.Plans(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, append([]plan.Info{}, all...))
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PLAN\tMADE\tSNAPSHOT\tBY")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", p.ID, p.Made.UTC().Format("2006-01-02 15:04:05Z"), p.Snapshot, cell(p.By))
	}
	return w.Flush()
}

// defaultPolicyFile is read from the configuration's folder where it exists.
const defaultPolicyFile = "migrate-policy.yaml"

// policyPath is where the policy of the cutover is: the given file, the one
// that the configuration names, or the default one, which need not exist.
func (c config) policyPath(file string) (path string, must bool) {
	switch {
	case file != "":
		return file, true
	case c.PolicyFile != "":
		return inFolder(c.dir, c.PolicyFile), true
	}
	return filepath.Join(c.dir, defaultPolicyFile), false
}

// planPolicy reads the policy of the cutover.
func (c config) planPolicy(file string) (plan.Policy, error) {
	_, p, err := c.readPolicy(file)
	return p, err
}

// readPolicy also says whether there is a file.
func (c config) readPolicy(file string) (there bool, _ plan.Policy, _ error) {
	path, must := c.policyPath(file)
	text, err := os.ReadFile(path)
	there = err == nil
	if errors.Is(err, os.ErrNotExist) && !must {
		text, err = nil, nil
	}
	if err != nil {
		return there, plan.Policy{}, fmt.Errorf("read policy: %w", err)
	}
	p, err := plan.ParsePolicy(text)
	if err != nil {
		return there, plan.Policy{}, fmt.Errorf("policy %s: %w", path, err)
	}
	if p.AgentFloor == "" {
		p.AgentFloor = c.policy().FunctionalFloor
	}
	return there, p, nil
}
