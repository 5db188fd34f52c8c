package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
	"ssm-migrate/internal/sshhost"
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
	for _, sub := range []*cobra.Command{a.recoveryKeyCommand(), a.recoveryStatusCommand(), a.recoveryDrillCommand(), a.recoveryRunbookCommand()} {
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	return c
}

func (a *app) recoveryKeyCommand() *cobra.Command {
	var phraseFile, comment string
	var bare bool
	c := &cobra.Command{
		Use:   "key FILE",
		Short: "Make the recovery key",
		Long: `key makes an ed25519 key and writes it to FILE (mode 0600) in OpenSSH's format, encrypted with a passphrase,
and its public line to FILE.pub. It prints the line for the policy file. A file that exists is not touched.

Keep the key where an outage of AWS does not block it, and tell migrate.yaml where it is
(recovery: key_file). Nobody but its owner may read the file; migrate never stores the key or its passphrase.`,
		Example: `  migrate recovery key migrate-recovery
  migrate recovery key migrate-recovery --passphrase-file /run/secrets/recovery`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if bare && phraseFile != "" {
				return usageErr("--no-passphrase and --passphrase-file exclude each other")
			}
			return a.recoveryKey(args[0], comment, phraseFile, bare)
		},
	}
	c.Flags().StringVar(&phraseFile, "passphrase-file", "", "file whose first line is the passphrase")
	c.Flags().BoolVar(&bare, "no-passphrase", false, "leave the private key unencrypted")
	c.Flags().StringVar(&comment, "comment", "migrate-recovery", "comment of the public line")
	return c
}

func (a *app) recoveryKey(path, comment, phraseFile string, bare bool) error {
	if strings.ContainsAny(comment, "\r\n") {
		return usageErr("--comment: one line only")
	}
	var phrase []byte
	if !bare {
		var err error
		if phrase, err = a.newPassphrase(phraseFile); err != nil {
			return exitErr{code: exitUsage, err: fmt.Errorf("passphrase: %w (--passphrase-file FILE, or --no-passphrase for a key that is not encrypted)", err)}
		}
		defer clear(phrase)
	}
	line, err := sshhost.NewKeyFile(path, comment, phrase)
	if err != nil {
		return err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, map[string]any{"file": full, "publicKey": line, "encrypted": !bare})
	}
	fmt.Fprintf(a.out, `The recovery key is in %s, its public line in %s.pub.

For the policy file (migrate plan --policy-template shows one):

recovery:
  public_key: %s

For migrate.yaml:

recovery:
  key_file: %s
`, oneLine(full), oneLine(full), line, oneLine(full))
	return nil
}

// newPassphrase reads a passphrase; on a terminal twice.
func (a *app) newPassphrase(file string) ([]byte, error) {
	phrase, err := a.passphrase(file, "Passphrase for the new key: ")
	if err != nil || file != "" {
		return phrase, err
	}
	again, err := a.passphrase("", "Once more: ")
	switch {
	case err != nil:
		return nil, err
	case len(phrase) == 0:
		return nil, errors.New("it is empty")
	case !bytes.Equal(phrase, again):
		return nil, errors.New("the two differ")
	}
	clear(again)
	return phrase, nil
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
	policy, err := s.cfg.planPolicy("")
	if err != nil {
		return exitErr{code: exitUsage, err: err}
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
