package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff [OLD [NEW]]",
		Short: "Show what changed between two snapshots",
		Long: `diff shows what changed between two snapshots: by default between the latest finished one and
the one before it. With one number, between that one and the latest.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.diff(cmd.Context(), args) },
	}
}

func (a *app) diff(ctx context.Context, args []string) error {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id <= 0 {
			return usageErr("%q is not the number of a snapshot (migrate snapshots lists them)", arg)
		}
		ids = append(ids, id)
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if len(ids) < 2 {
		all, err := db.Snapshots(ctx)
		if err != nil {
			return fmt.Errorf("list snapshots: %w", err)
		}
		if ids, err = chooseSnapshots(all, ids); err != nil {
			return err
		}
	}
	older, err := load(ctx, db, ids[0])
	if err != nil {
		return err
	}
	newer, err := load(ctx, db, ids[1])
	if err != nil {
		return err
	}
	changes := append([]inventory.Change{}, inventory.Diff(older, newer)...) // in JSON none is [], not null
	if a.json {
		return writeJSON(a.out, changes)
	}
	return printChanges(a.out, ids, changes)
}

// signs make changes as easy to scan as a diff.
var signs = map[inventory.ChangeKind]string{
	inventory.Added: "+", inventory.Removed: "-", inventory.Changed: "~", inventory.Lost: "?", inventory.Found: "!",
}

func printChanges(w io.Writer, ids []int64, changes []inventory.Change) error {
	fmt.Fprintf(w, "Snapshot %d → %d: %d changes\n", ids[0], ids[1], len(changes))
	if len(changes) > 0 {
		fmt.Fprintln(w, "+ added, - removed, ~ changed, ? no longer known, ! known now")
	}
	place := ""
	for _, c := range changes {
		at := strings.TrimSpace(c.Account + " " + c.Region + " " + c.Host)
		if at != place {
			fmt.Fprintf(w, "\n%s\n", oneLine(at))
			place = at
		}
		text := strings.TrimSpace(c.What + " " + c.Object)
		switch {
		case c.Before != "" && c.After != "":
			text += ": " + c.Before + " → " + c.After
		case c.Before != "" || c.After != "":
			text += ": " + c.Before + c.After
		}
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		if _, err := fmt.Fprintf(w, "  %s %s\n", signs[c.Kind], oneLine(text)); err != nil {
			return err
		}
	}
	return nil
}

// chooseSnapshots fills in the snapshots that were not named; all is newest first.
func chooseSnapshots(all []fleet.SnapshotInfo, named []int64) ([]int64, error) {
	var finished []int64
	for _, s := range all {
		if s.State != fleet.SnapshotRunning {
			finished = append(finished, s.ID)
		}
	}
	n := len(finished)
	if len(named) == 1 && n > 0 {
		return []int64{named[0], finished[0]}, nil
	}
	if n < 2 {
		return nil, usageErr("there is %s; a difference needs two", count(n, "finished snapshot", "finished snapshots"))
	}
	return []int64{finished[1], finished[0]}, nil
}
