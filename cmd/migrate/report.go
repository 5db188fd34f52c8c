package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/report"
	"ssm-migrate/internal/sqlite"
)

var reportFormats = map[string]func(io.Writer, report.Input) error{
	"html":       report.HTML,
	"markdown":   report.Markdown,
	"csv":        report.CSV,
	"csv-ledger": report.LedgerCSV,
	"csv-access": report.AccessCSV,
	"json":       report.JSON,
}

func formatNames() []string {
	var names []string
	for n := range reportFormats {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (a *app) reportCommand() *cobra.Command {
	var format, out string
	var snapshot int64
	c := &cobra.Command{
		Use:   "report",
		Short: "Write the readiness report as HTML, Markdown, CSV or JSON",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				if cmd.Flags().Changed("format") && format != "json" {
					return usageErr("--json and --format %s contradict each other", format)
				}
				format = "json"
			}
			return a.report(cmd.Context(), format, out, snapshot)
		},
	}
	c.Flags().StringVar(&format, "format", "html", "one of "+strings.Join(formatNames(), ", "))
	c.Flags().StringVarP(&out, "output", "o", "-", "file to write; - is standard output")
	addSnapshotFlag(c, &snapshot)
	if err := c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was defined just above
	}
	return c
}

func (a *app) report(ctx context.Context, format, out string, id int64) error {
	render, ok := reportFormats[format]
	if !ok {
		return usageErr("--format %q is not one of %s", format, strings.Join(formatNames(), ", "))
	}
	s, err := a.openStored(ctx, id)
	if err != nil {
		return err
	}
	defer s.db.Close()
	in, err := reportInput(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	if out == "-" {
		return render(a.out, in)
	}
	if err := writeFile(out, func(w io.Writer) error { return render(w, in) }); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Wrote %s.\n", out)
	return nil
}

// reportInput gathers what a report shows: the snapshot, its judgement, and
// the judgement on the finished snapshot before it where there is one.
func reportInput(ctx context.Context, db *sqlite.DB, snap *fleet.Snapshot, p readiness.Policy) (report.Input, error) {
	in := report.Input{Snapshot: snap, Version: version}
	var err error
	if in.Assessment, err = judgement(ctx, db, snap, p); err != nil {
		return in, err
	}
	if in.Proved, err = provedWays(ctx, db, snap); err != nil {
		return in, err
	}
	all, err := db.Snapshots(ctx)
	if err != nil {
		return in, fmt.Errorf("list snapshots: %w", err)
	}
	var before int64
	for _, s := range all {
		if s.State != fleet.SnapshotRunning && s.ID < snap.ID && s.ID > before {
			before = s.ID
		}
	}
	if before == 0 {
		return in, nil
	}
	if in.Previous, err = db.Assessment(ctx, before); err != nil && !isNoAssessment(err) {
		return in, fmt.Errorf("read the judgement on snapshot %d: %w", before, err)
	}
	return in, nil
}

// provedWays gathers which ways into the hosts of each VPC have been used. VPCs
// into which nobody tried any are left out.
func provedWays(ctx context.Context, db *sqlite.DB, snap *fleet.Snapshot) ([]report.ProvedWays, error) {
	drills, err := storedDrills(ctx, db)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var out []report.ProvedWays
	for _, v := range recovery.Status(snap, nil, fleet.RecoveryKey{}, 0, now) {
		p := report.ProvedWays{Account: v.Place.Account, Region: v.Place.Region, VPC: v.VPC, Seen: now, Hosts: len(v.Hosts)}
		for _, h := range v.Hosts {
			for way, count := range map[fleet.Way]*report.ProvedWay{fleet.WaySessionManager: &p.Sessions, fleet.WayRecovery: &p.Recovery} {
				proof, ok, err := db.LatestProof(ctx, h.Host, way)
				if err != nil {
					return nil, err
				}
				if ok {
					count.Add(proof)
				}
			}
		}
		v.Drilled(drills, now)
		p.Drill = v.Drill
		if p.Drill != nil || p.Sessions != (report.ProvedWay{}) || p.Recovery != (report.ProvedWay{}) {
			out = append(out, p)
		}
	}
	return out, nil
}

func isNoAssessment(err error) bool { return errors.Is(err, sqlite.ErrNoAssessment) }

// writeFile writes a regular file as a whole or not at all, where a symbolic
// link leads to; into a device or a pipe it writes directly. Reports name
// hosts, people and weaknesses, so only the owner may read a new file.
func writeFile(path string, write func(io.Writer) error) error {
	if path == "" {
		return usageErr("the name of the file to write is empty")
	}
	err := writeTo(path, write)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeTo(path string, write func(io.Writer) error) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return errors.New("it is a folder")
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return finish(f, write)
	case err == nil:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".migrate-report-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails, as it should, once the rename is done
	if err := finish(f, write); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func finish(f *os.File, write func(io.Writer) error) error {
	buf := bufio.NewWriter(f)
	err := write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
