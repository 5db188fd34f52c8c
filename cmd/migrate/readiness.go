package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/report"
	"ssm-migrate/internal/sqlite"
)

func (a *app) readinessCommand() *cobra.Command {
	var snapshot int64
	c := &cobra.Command{
		Use:   "readiness",
		Short: "Judge every host of a snapshot and say what stands in the way",
		Long: `readiness judges every host of the latest snapshot (or of --snapshot N), stores the judgement
and prints a summary. A host is ready, blocked by something known, or unknown.

Exit code 3: a host is blocked. Exit code 4: no host is blocked, but some are unknown or the
snapshot is incomplete.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.readiness(cmd.Context(), snapshot) },
	}
	addSnapshotFlag(c, &snapshot)
	return c
}

func addSnapshotFlag(c *cobra.Command, into *int64) {
	c.Flags().Int64Var(into, "snapshot", 0, "snapshot to use (default: the latest finished one)")
}

func (a *app) readiness(ctx context.Context, id int64) error {
	s, err := a.openStored(ctx, id)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := assess(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.out, judged)
	} else {
		err = report.Summary(a.out, report.Input{Snapshot: s.snap, Assessment: judged, Version: version}, 80)
	}
	if err != nil {
		return err
	}
	switch {
	case judged.Count(fleet.VerdictBlocked) > 0:
		return verdict(exitNotReady)
	case judged.Count(fleet.VerdictUnknown) > 0 || s.snap.State != fleet.SnapshotComplete:
		return verdict(exitIncomplete)
	}
	return nil
}

// stored is a snapshot that a command looks at, with what it needs beside it.
type stored struct {
	cfg  config
	db   *sqlite.DB // to be closed
	snap *fleet.Snapshot
}

func (a *app) openStored(ctx context.Context, id int64) (*stored, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := load(ctx, db, id)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &stored{cfg: cfg, db: db, snap: snap}, nil
}

// load reads a snapshot; id 0 means the latest finished one.
func load(ctx context.Context, db *sqlite.DB, id int64) (*fleet.Snapshot, error) {
	if id == 0 {
		info, err := db.Latest(ctx)
		if errors.Is(err, sqlite.ErrNoSnapshot) {
			return nil, fmt.Errorf("no inventory has been finished yet (%w): run migrate inventory", err)
		}
		if err != nil {
			return nil, err
		}
		id = info.ID
	}
	snap, err := db.Load(ctx, id)
	if errors.Is(err, sqlite.ErrNoSnapshot) {
		return nil, exitErr{code: exitUsage, err: fmt.Errorf("there is no snapshot %d (migrate snapshots lists them): %w", id, err)}
	}
	return snap, err
}

// assess judges a snapshot and stores the judgement.
func assess(ctx context.Context, db *sqlite.DB, snap *fleet.Snapshot, p readiness.Policy) (*fleet.Assessment, error) {
	judged, err := judge(ctx, db, snap, p)
	if err != nil {
		return nil, err
	}
	if err := db.SaveAssessment(ctx, judged); err != nil {
		return nil, err
	}
	return judged, nil
}

// judge judges a snapshot by the policy and the recovery keys. It stores nothing.
func judge(ctx context.Context, db *sqlite.DB, snap *fleet.Snapshot, p readiness.Policy) (*fleet.Assessment, error) {
	keys, err := db.RecoveryKeys(ctx)
	if err != nil {
		return nil, err
	}
	p.RecoveryKeys = slices.Clone(p.RecoveryKeys)
	for _, k := range keys {
		p.RecoveryKeys = append(p.RecoveryKeys, k.Line)
	}
	return readiness.Assess(snap, p, time.Now()), nil
}

// judgement is the stored judgement on a snapshot, made now where there is none.
func judgement(ctx context.Context, db *sqlite.DB, snap *fleet.Snapshot, p readiness.Policy) (*fleet.Assessment, error) {
	judged, err := db.Assessment(ctx, snap.ID)
	switch {
	case err == nil:
		return judged, nil
	case isNoAssessment(err):
		return assess(ctx, db, snap, p)
	}
	return nil, err
}
