package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type drillQuery struct {
	plan.DrillQuery
	wave int // -1: not given
	yes  bool
}

func (a *app) recoveryDrillCommand() *cobra.Command {
	q := drillQuery{wave: -1}
	c := &cobra.Command{
		Use:   "drill",
		Short: "Log in to hosts by the recovery bastions, and store the proofs",
		Long: `drill starts the recovery bastion of each VPC, reads its host keys from the console, logs in to the bastion
and through it to hosts with the recovery key, runs a command as root there, stores what came of it,
and brings the bastion's group back to zero, also when something fails or the drill is interrupted.

It takes a sample: of each VPC the policy's drill_sample of hosts (or --hosts N), and one of each image and wave.
--wave, --host and --all take others. It is a plan of its own, carried out like a cutover: journaled, and to
be gone on with after a crash. The minutes of each phase are measured.

Where the policy says recovery.rotate: due (or always), a drill that succeeded rotates the key if it is
older than key_age (or in any case), as migrate recovery rotate does; with --json that prints a second object.

It starts instances, which cost money while they run: --yes says that this is meant.

Exit code 3: a host could not be logged in to. Exit code 4: for a host nothing can be said.`,
		Example: `  migrate recovery drill --yes
  migrate recovery drill --yes --hosts 10
  migrate recovery drill --yes --wave 2
  migrate recovery drill --yes --all --vpc vpc-0123456789abcdef0
  migrate recovery drill --yes --host i-0123456789abcdef0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, name := range []string{"host", "hosts", "wave", "all"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given > 1 {
				return usageErr("--host, --hosts, --wave and --all exclude each other")
			}
			if cmd.Flags().Changed("wave") {
				if q.wave < 0 {
					return usageErr("--wave: %d is not the number of a wave", q.wave)
				}
				q.Wave = &q.wave
			}
			if q.Hosts < 0 {
				return usageErr("--hosts: %d is no number of hosts", q.Hosts)
			}
			return a.recoveryDrill(cmd.Context(), q)
		},
	}
	c.Flags().StringVar(&q.VPC, "vpc", "", "only this VPC")
	c.Flags().StringVar(&q.Host, "host", "", "only this host (instance ID)")
	c.Flags().IntVar(&q.Hosts, "hosts", 0, "how many hosts of each VPC (default the policy's drill_sample)")
	c.Flags().IntVar(&q.wave, "wave", -1, "the hosts of this wave of their cutover")
	c.Flags().BoolVar(&q.All, "all", false, "every host that has the recovery key")
	c.Flags().BoolVar(&q.yes, "yes", false, "start the bastions")
	return c
}

// drillResult is what drill --json prints for one VPC.
type drillResult struct {
	VPC    string        `json:"vpc"`
	Plan   string        `json:"plan"`
	Took   string        `json:"took,omitempty"`
	Phases drillPhases   `json:"phases,omitzero"`
	Proofs []fleet.Proof `json:"proofs"`
	Error  string        `json:"error,omitempty"`
}

// drillPhases are how long the parts of a drill took.
type drillPhases struct {
	Launch  string `json:"launch"`  // until the bastion is in service
	Console string `json:"console"` // until its host keys are known
	Bastion string `json:"bastion"` // until the login to it
	Hosts   string `json:"hosts"`   // the logins to all hosts
	ScaleIn string `json:"scaleIn"` // until no instance is left
}

func (a *app) recoveryDrill(ctx context.Context, q drillQuery) error {
	b, err := a.openRecovery(ctx)
	if err != nil {
		return err
	}
	defer b.db.Close()
	p, err := plan.MakeDrill(b.snap, b.ways, q.DrillQuery, b.policy, time.Now())
	if err != nil {
		return exitErr{code: exitUsage, err: err}
	}
	drills := p.Of(plan.RecoveryDrill)
	if !q.yes {
		return usageErr("this starts %s and ends what it started: add --yes", count(len(drills), "recovery bastion", "recovery bastions"))
	}
	if err := notWhileOpen(ctx, b.db); err != nil {
		return err
	}
	if err := a.haveRecoveryKey(ctx, b.cfg); err != nil {
		return err
	}
	out, err := a.carryOut(ctx, b.db, p)
	if err != nil {
		return err
	}
	results, err := drillResults(ctx, b, p, out)
	if err != nil {
		return err
	}
	if err := a.writeDrill(results); err != nil {
		return err
	}
	unseen := false
	for _, r := range p.Refusals {
		fmt.Fprintf(a.err, "Nobody logged in to %s: %s\n", oneLine(r.Host.String()), oneLine(r.Text))
		unseen = unseen || r.Code == "not-seen"
	}
	switch err := drillVerdict(results); {
	case err != nil:
		return err
	case unseen:
		return verdict(exitIncomplete)
	}
	return a.rotateAfterDrill(ctx, b)
}

// rotateAfterDrill rotates the key where the policy wants that.
func (a *app) rotateAfterDrill(ctx context.Context, b *recoveryBase) error {
	keys, err := b.db.RecoveryKeys(ctx)
	if err != nil {
		return err
	}
	keys = inUse(keys)
	if len(keys) == 0 || !b.policy.Recovery.RotatesAfterDrill(keys[0].Made, time.Now()) {
		return nil
	}
	fmt.Fprintf(a.err, "The policy says recovery.rotate: %s. The key was made on %s and is rotated now.\n", b.policy.Recovery.Rotate, keys[0].Made.UTC().Format(time.DateOnly))
	return a.recoveryRotate(ctx, true)
}

func drillResults(ctx context.Context, b *recoveryBase, p *plan.Plan, out outcome) ([]drillResult, error) {
	reports := cutover.DrillsIn(p, out.entries)
	var results []drillResult
	for _, s := range p.Of(plan.RecoveryDrill) {
		r := drillResult{VPC: s.Recovery.VPC, Plan: p.ID, Proofs: []fleet.Proof{}}
		if report, ok := reports[s.ID]; ok {
			whole := report.Launch + report.Console + report.Bastion + report.Hosts + report.ScaleIn
			r.Took, r.Phases = took(whole), drillPhases{took(report.Launch), took(report.Console), took(report.Bastion), took(report.Hosts), took(report.ScaleIn)}
		} else {
			r.Error = oneLine(cmp.Or(out.failures[s.ID], out.result.Reason, string(out.result.Outcome)))
		}
		for _, h := range s.Hosts {
			proof, ok, err := b.db.LatestProof(ctx, h, fleet.WayRecovery)
			if err != nil {
				return nil, err
			}
			if ok && !proof.At.Before(out.began.Truncate(time.Millisecond)) {
				r.Proofs = append(r.Proofs, proof)
			}
		}
		results = append(results, r)
	}
	return results, nil
}

func took(d time.Duration) string { return d.Round(time.Second).String() }

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
		if r.Error != "" {
			fmt.Fprintf(a.out, "\n%s: failed: %s\n", oneLine(r.VPC), r.Error)
			continue
		}
		fmt.Fprintf(a.out, "\n%s: drilled in %s (launch %s, console keys %s, bastion %s, hosts %s, scale in %s); the group is at zero again.\n",
			oneLine(r.VPC), r.Took, r.Phases.Launch, r.Phases.Console, r.Phases.Bastion, r.Phases.Hosts, r.Phases.ScaleIn)
	}
	return nil
}

// drillVerdict is the exit code that a drill deserves.
func drillVerdict(results []drillResult) error {
	unknown := false
	for _, r := range results {
		no := false
		for _, p := range r.Proofs {
			no = no || p.Works == fleet.TruthNo
			unknown = unknown || p.Works == fleet.TruthUnknown
		}
		switch {
		case strings.Contains(r.Error, "back to zero"), r.Error != "" && len(r.Proofs) == 0:
			return verdict(exitError)
		case no:
			return verdict(exitNotReady)
		case r.Error != "":
			unknown = true
		}
	}
	if unknown {
		return verdict(exitIncomplete)
	}
	return nil
}
