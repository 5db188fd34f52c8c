package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type drillQuery struct {
	vpc, host string
	yes       bool
}

func (a *app) recoveryDrillCommand() *cobra.Command {
	var q drillQuery
	c := &cobra.Command{
		Use:   "drill",
		Short: "Log in to the hosts by the recovery bastions, and store the proofs",
		Long: `drill starts the recovery bastion of each VPC of the newest plan, reads its host keys from the console, logs
in to the bastion and through it to every host with the recovery key, stores what came of it,
and brings the bastion's group back to zero, also when something fails or the drill is interrupted.

It starts instances, which cost money while they run: --yes says that this is meant.

Exit code 3: a host could not be logged in to. Exit code 4: for a host nothing can be said.`,
		Example: `  migrate recovery drill --yes
  migrate recovery drill --yes --vpc vpc-0123456789abcdef0
  migrate recovery drill --yes --host i-0123456789abcdef0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.recoveryDrill(cmd.Context(), q) },
	}
	c.Flags().StringVar(&q.vpc, "vpc", "", "only this VPC")
	c.Flags().StringVar(&q.host, "host", "", "only this host (instance ID)")
	c.Flags().BoolVar(&q.yes, "yes", false, "start the bastions")
	return c
}

// drillResult is what drill --json prints for one VPC.
type drillResult struct {
	VPC    string        `json:"vpc"`
	Took   string        `json:"took"`
	Proofs []fleet.Proof `json:"proofs"`
	Error  string        `json:"error,omitempty"`
}

func (a *app) recoveryDrill(ctx context.Context, q drillQuery) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := findPlan(ctx, db, "")
	if err != nil {
		return err
	}
	steps, err := drills(p, q)
	if err != nil {
		return err
	}
	if !q.yes {
		return usageErr("this starts %s and ends it again: add --yes", count(len(steps), "recovery bastion", "recovery bastions"))
	}
	snap, err := load(ctx, db, p.Snapshot)
	if err != nil {
		return err
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return err
	}
	keys, err := db.RecoveryKeys(ctx)
	if err != nil {
		return err
	}
	changer := awsapi.NewChanger(accounts...)
	ways, err := a.newHostWays(cfg, changer, nil, recoveryUsers(p), keys)
	if err != nil {
		return exitErr{code: exitUsage, err: err}
	}
	defer ways.close()
	fence, err := db.Acquire(ctx, planner()+", recovery drill", time.Hour)
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer func() { _ = db.Release(context.WithoutCancel(ctx), fence) }()
	kind := cutover.HostKinds(cutover.HostWorld{
		Hosts: ways, Prover: ways, Proofs: db, Scaling: changer, Bastions: ways, Plan: p, Find: finder(hostsOf(snap)),
	})[plan.RecoveryDrill]
	results := make([]drillResult, 0, len(steps))
	for _, s := range steps {
		fmt.Fprintf(a.err, "%s: starting %s ...\n", s.Recovery.VPC, s.Recovery.Name)
		start := time.Now()
		after, err := kind.Apply(ctx, s, nil, cutover.Token(p, s.ID))
		r := drillResult{VPC: s.Recovery.VPC, Took: time.Since(start).Round(time.Second).String(), Proofs: []fleet.Proof{}}
		if err != nil {
			r.Error = oneLine(err.Error())
		}
		if len(after) > 0 {
			if err := json.Unmarshal(after, &r.Proofs); err != nil {
				return fmt.Errorf("read the proofs of the drill: %w", err)
			}
		}
		results = append(results, r)
	}
	if err := a.writeDrill(results); err != nil {
		return err
	}
	return drillVerdict(results)
}

// drills are the drills of a plan that were asked for, one for each VPC: its
// waves drill a VPC's hosts bit by bit.
func drills(p *plan.Plan, q drillQuery) ([]plan.Step, error) {
	var out []plan.Step
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			if s.Kind != plan.RecoveryDrill || q.vpc != "" && s.Recovery.VPC != q.vpc {
				continue
			}
			hosts := slices.DeleteFunc(slices.Clone(s.Hosts), func(h fleet.HostRef) bool { return q.host != "" && h.ID != q.host })
			if len(hosts) == 0 {
				continue
			}
			i := slices.IndexFunc(out, func(o plan.Step) bool { return o.At == s.At && o.Recovery.VPC == s.Recovery.VPC })
			if i < 0 {
				s.Hosts = nil
				out = append(out, s)
				i = len(out) - 1
			}
			out[i].Hosts = append(out[i].Hosts, hosts...)
		}
	}
	if len(out) == 0 {
		if q.vpc != "" || q.host != "" {
			return nil, exitErr{code: exitUsage, err: errors.New("the newest plan has no drill for it")}
		}
		return nil, fmt.Errorf("the newest plan (%s) has no drill: it closes nothing", p.ID)
	}
	for i := range out {
		slices.SortFunc(out[i].Hosts, fleet.HostRef.Compare)
		out[i].Hosts = slices.Compact(out[i].Hosts)
	}
	return out, nil
}

func (a *app) writeDrill(results []drillResult) error {
	if a.json {
		return writeJSON(a.out, results)
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VPC\tHOST\tLOGIN\tAS\tROUND TRIP\tWHY")
	for _, r := range results {
		for _, p := range r.Proofs {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(r.VPC), oneLine(p.Host.ID), p.Works, oneLine(p.RunAs), p.RoundTrip.Round(time.Millisecond), oneLine(p.Reason))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		switch {
		case r.Error != "" && len(r.Proofs) == 0:
			fmt.Fprintf(a.out, "\n%s: failed after %s: %s\n", oneLine(r.VPC), r.Took, r.Error)
		case strings.Contains(r.Error, "back to zero"):
			fmt.Fprintf(a.out, "\n%s: %s\n", oneLine(r.VPC), r.Error)
		default:
			fmt.Fprintf(a.out, "\n%s: drilled in %s; the group is at zero again.\n", oneLine(r.VPC), r.Took)
		}
	}
	return nil
}

// drillVerdict is the exit code that a drill deserves.
func drillVerdict(results []drillResult) error {
	unknown := false
	for _, r := range results {
		if r.Error != "" && len(r.Proofs) == 0 || strings.Contains(r.Error, "back to zero") {
			return verdict(exitError)
		}
		for _, p := range r.Proofs {
			if p.Works == fleet.TruthNo {
				return verdict(exitNotReady)
			}
			unknown = unknown || p.Works != fleet.TruthYes
		}
	}
	if unknown {
		return verdict(exitIncomplete)
	}
	return nil
}
