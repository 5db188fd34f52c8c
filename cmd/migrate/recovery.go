package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
)

func (a *app) recoveryCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "recovery",
		Short: "The second way in: the recovery key and the bastions held at zero",
		Long: `The recovery way leads into hosts when Session Manager does not: a key of its own on every host, and in
every VPC a bastion that an Auto Scaling group holds at zero instances. Nothing is closed on a
host without a recent login by it (docs/recovery.md).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{a.recoveryInitCommand(), a.recoveryKeyCommand(), a.recoveryStatusCommand(), a.recoveryDrillCommand(), a.recoveryRotateCommand(), a.recoveryOpenCommand(), a.recoveryCloseCommand(), a.recoveryRunbookCommand()} {
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	return c
}

func (a *app) recoveryStatusCommand() *cobra.Command {
	var snapshot int64
	var age time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the recovery way stands, by VPC and host",
		Long: `status shows, as the latest snapshot (or --snapshot N) and the stored proofs tell it: is the recovery key
on the host, does the host let port 22 in from the bastion's group, and is there a login
by the bastion that is recent enough; and for each VPC, is the bastion's group there and at zero.

Exit code 3: a login failed, or is missing or too old, or a bastion is left running. Exit code 4: something is not known.`,
		Example: "  migrate recovery status\n  migrate recovery status --age 168h --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.recoveryStatus(cmd.Context(), snapshot, age) },
	}
	addSnapshotFlag(c, &snapshot)
	c.Flags().DurationVar(&age, "age", 0, "how old a login may be (default: the policy's recovery_age)")
	return c
}

func (a *app) recoveryStatus(ctx context.Context, snapshot int64, age time.Duration) error {
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	policy, err := s.cfg.keyedPolicy(ctx, s.db, "")
	if err != nil {
		return err
	}
	if age == 0 {
		age = time.Duration(policy.RecoveryAge)
	}
	proofs, err := recoveryProofs(ctx, s.db, s.snap.Hosts)
	if err != nil {
		return err
	}
	status := recovery.Status(s.snap, proofs, recovery.Blob(policy.Recovery.PublicKey), age, time.Now())
	if a.json {
		err = writeJSON(a.out, append([]recovery.VPC{}, status...))
	} else {
		err = printRecovery(a.out, status)
	}
	if err != nil {
		return err
	}
	return recoveryVerdict(status)
}

// recoveryProofs are the newest recovery proofs of the hosts.
func recoveryProofs(ctx context.Context, db *sqlite.DB, hosts []fleet.Host) ([]fleet.Proof, error) {
	var out []fleet.Proof
	for _, h := range hosts {
		p, ok, err := db.LatestProof(ctx, h.Ref(), fleet.WayRecovery)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func recoveryVerdict(status []recovery.VPC) error {
	unknown := false
	for _, v := range status {
		if v.Proved() {
			continue
		}
		if v.Zero == fleet.TruthNo || slices.ContainsFunc(v.Hosts, func(h recovery.Host) bool { return h.Login != fleet.TruthYes }) {
			return verdict(exitNotReady)
		}
		unknown = true
	}
	if unknown {
		return verdict(exitIncomplete)
	}
	return nil
}

func printRecovery(w io.Writer, status []recovery.VPC) error {
	if len(status) == 0 {
		_, err := fmt.Fprintln(w, "The snapshot has no running Linux hosts.")
		return err
	}
	for i, v := range status {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (%s %s): group %s there: %s, at zero: %s\n", oneLine(v.VPC), oneLine(v.Place.Account), oneLine(v.Place.Region), oneLine(v.Group), v.There, v.Zero)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  HOST\tNAME\tKEY\tRULE\tLOGIN\tWHEN\tWHY")
		for _, h := range v.Hosts {
			when := "-"
			if !h.Proof.At.IsZero() {
				when = h.Proof.At.UTC().Format("2006-01-02 15:04:05Z")
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(h.Host.ID), cell(h.Name), h.Key, h.Rule, h.Login, when, oneLine(h.Why))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
