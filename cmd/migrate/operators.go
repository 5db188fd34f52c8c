package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
)

func (a *app) operatorsCommand() *cobra.Command {
	var snapshot int64
	c := &cobra.Command{
		Use:   "operators [PRINCIPAL...]",
		Short: "List the IAM principals that may do something with sessions",
		Long: `operators lists the IAM users and roles that may start shells on hosts, resume or end other people's
sessions, run commands as root, or edit the session preferences, and on how many hosts. With ARNs, or
names such as role/ops, as arguments it shows those in full. migrate access tells for each person and host.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.operators(cmd.Context(), snapshot, args) },
	}
	addSnapshotFlag(c, &snapshot)
	return c
}

func (a *app) operators(ctx context.Context, snapshot int64, names []string) error {
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := judgement(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(append([]fleet.Operator{}, judged.Operators...), func(o fleet.Operator) bool {
		return len(names) > 0 && !slices.Contains(names, o.ARN) && !slices.Contains(names, o.Name())
	})
	switch {
	case len(names) > 0 && len(found) == 0:
		return fmt.Errorf("snapshot %d has no operator called %s", s.snap.ID, strings.Join(names, " or "))
	case a.json:
		return writeJSON(a.out, found)
	case len(names) > 0:
		for _, o := range found {
			printOperator(a.out, o)
		}
		return nil
	}
	return printOperators(a.out, found)
}

func printOperators(w io.Writer, all []fleet.Operator) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PRINCIPAL\tPEOPLE\tSTART\tRESUME\tEND\tRUN AS ROOT\tEDIT PREFERENCES")
	for _, o := range all {
		start := reachColumn(o.Start)
		if o.Unrestricted {
			start += " (unrestricted)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(o.Name()), cell(strings.Join(o.People, ", ")), start, reachColumn(o.Resume), reachColumn(o.Terminate), reachColumn(o.Command), o.EditPreferences)
	}
	return t.Flush()
}

// reachColumn is on how many hosts something is allowed, and on how many more it may be.
func reachColumn(r fleet.Reach) string {
	if r.Unknown == 0 {
		return fmt.Sprint(r.Yes)
	}
	return fmt.Sprintf("%d (+%d?)", r.Yes, r.Unknown)
}

func printOperator(w io.Writer, o fleet.Operator) {
	kind := o.Kind
	if o.Federated {
		kind += ", federated"
	}
	fmt.Fprintf(w, "%s  %s\n", oneLine(o.ARN), kind)
	fmt.Fprintf(w, "  people       %s\n", oneLine(orNone(strings.Join(o.People, ", "))))
	for _, r := range []struct {
		what  string
		reach fleet.Reach
	}{{"start", o.Start}, {"resume", o.Resume}, {"end", o.Terminate}, {"run as root", o.Command}} {
		fmt.Fprintf(w, "  %-12s on %d of %s, unknown on %d\n", r.what, r.reach.Yes, count(r.reach.Yes+r.reach.No+r.reach.Unknown, "host", "hosts"), r.reach.Unknown)
	}
	if o.Unrestricted {
		fmt.Fprintln(w, "               by a grant for every instance, without a condition")
	}
	fmt.Fprintf(w, "  preferences  may edit them: %s\n", o.EditPreferences)
	fmt.Fprintf(w, "  documents    %s\n", oneLine(orNone(strings.Join(o.Documents, ", "))))
	fmt.Fprintf(w, "  why          %s\n\n", oneLine(orNone(o.Why)))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
