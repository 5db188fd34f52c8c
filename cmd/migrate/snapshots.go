package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) snapshotsCommand() *cobra.Command {
	var keep int
	c := &cobra.Command{
		Use:   "snapshots",
		Short: "List the stored snapshots, or delete old ones",
		Long: `snapshots lists the stored snapshots. With --keep N it first deletes all but the N newest finished
ones, and what inventories that died have left.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("keep") && keep < 1 {
				return usageErr("--keep %d: at least one snapshot stays", keep)
			}
			return a.snapshots(cmd.Context(), keep)
		},
	}
	c.Flags().IntVar(&keep, "keep", 0, "delete all but the N newest finished snapshots")
	return c
}

func (a *app) snapshots(ctx context.Context, keep int) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if keep > 0 {
		n, err := db.Prune(ctx, keep)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "Deleted %s.\n", count(n, "snapshot", "snapshots"))
	}
	all, err := db.Snapshots(ctx)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if a.json {
		return writeJSON(a.out, all)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SNAPSHOT\tSTARTED\tTOOK\tSTATE\tHOSTS\tUNKNOWN")
	for _, s := range all {
		took := "-"
		if !s.Finished.IsZero() {
			took = s.Finished.Sub(s.Started).Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\n", s.ID, s.Started.UTC().Format("2006-01-02 15:04:05Z"), took, s.State, s.Hosts, s.Unknowns)
	}
	return w.Flush()
}
