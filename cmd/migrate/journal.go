package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

func (a *app) journalCommand() *cobra.Command {
	var verify bool
	c := &cobra.Command{
		Use:   "journal [PLAN]",
		Short: "Show who did what, when and why; verify that nothing was changed",
		Long: `journal prints every line of the journal, of one plan or of all: what was found, intended, done,
refused and undone, by whom, with the gates and pauses between.

Each line holds a hash over itself and the line before. --verify computes them all again, and checks
that the lines come in an order that migrate writes. Keep the last hash elsewhere to know later
that no line was cut off the end.

Exit code 3: the journal does not verify.`,
		Example: `  migrate journal
  migrate journal 3f2a9c --json
  migrate journal --verify`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if verify && len(args) > 0 {
				return usageErr("--verify checks the whole journal: leave the plan out")
			}
			if verify {
				return a.verifyJournal(cmd.Context())
			}
			return a.journal(cmd.Context(), args)
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "check the whole journal")
	return c
}

func (a *app) journal(ctx context.Context, args []string) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	id := ""
	if len(args) > 0 {
		p, err := findPlan(ctx, db, args[0])
		if err != nil {
			return err
		}
		id = p.ID
	}
	entries, err := db.Entries(ctx, id)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, append([]cutover.Entry{}, entries...))
	}
	return printJournal(a.out, entries)
}

func printJournal(w io.Writer, entries []cutover.Entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEQ\tTIME\tPLAN\tWAVE\tEVENT\tSTEP\tHOSTS\tRESULT\tDETAIL")
	for _, e := range entries {
		result := ""
		if e.Result != fleet.TruthUnknown || e.Event == cutover.Gate {
			result = e.Result.String()
		}
		detail := e.Detail
		if e.Event == cutover.RunBegan {
			detail += ", by " + e.Operator
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, stamp(e.At), oneLine(e.Plan), e.Wave, oneLine(string(e.Event)), oneLine(e.Step), hostWords(e.Hosts), result, oneLine(detail))
	}
	return t.Flush()
}

// verifyResult is what journal --verify --json prints.
type verifyResult struct {
	Entries  int    `json:"entries"`
	Verified bool   `json:"verified"`
	Problem  string `json:"problem,omitempty"`
	Last     string `json:"last,omitempty"` // hash of the last entry
}

func (a *app) verifyJournal(ctx context.Context) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	entries, err := db.Entries(ctx, "")
	if err != nil {
		return err
	}
	res := verifyResult{Entries: len(entries), Verified: true}
	if n := len(entries); n > 0 {
		res.Last = entries[n-1].Hash
	}
	if err := cutover.Verify(entries); err != nil {
		res.Verified, res.Problem = false, err.Error()
	}
	switch {
	case a.json:
		err = writeJSON(a.out, res)
	case res.Verified:
		_, err = fmt.Fprintf(a.out, "The journal is whole: %s, the last one's hash is %s\n", count(res.Entries, "entry", "entries"), res.Last)
	default:
		_, err = fmt.Fprintf(a.out, "The journal does not verify: %s\n", oneLine(res.Problem))
	}
	if err == nil && !res.Verified {
		return verdict(exitNotReady)
	}
	return err
}
