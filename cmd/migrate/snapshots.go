package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) snapshotsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshots",
		Short: "List the stored snapshots",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.snapshots(cmd.Context()) },
	}
}

func (a *app) snapshots(ctx context.Context) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
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
