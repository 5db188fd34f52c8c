package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

func (a *app) statusCommand() *cobra.Command {
	var hosts, watch bool
	c := &cobra.Command{
		Use:   "status [PLAN]",
		Short: "Show where the cutover stands",
		Long: `status shows by the journal how far a plan is: waves, phases, steps that failed or were held, timers
that are armed, what it waits for and whose that is, who runs it, and what can be done next. It asks neither AWS nor a host. Without PLAN it is
the plan that the journal spoke of last, or the newest.

With --watch it shows the run as it goes, from any terminal: a picture of which only what changes is
drawn anew, or without a terminal a line for each event (with --json, a line of JSON for each change).
It ends with the run, and at once where the plan is at its end; Ctrl-C leaves it, the run goes on.
The time that is left is told as far as the run's own steps tell it; "at least" says that steps of
other kinds are still to come.

Exit code 3: the last run rolled a wave back or found the plan stale. Exit code 4: it has not come to
its end, or left something out.`,
		Example: `  migrate status
  migrate status 3f2a9c --hosts
  migrate status --watch            # in a second terminal, while migrate apply runs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch {
				return a.watchStatus(cmd.Context(), args, hosts)
			}
			return a.status(cmd.Context(), args, hosts)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it as it goes, until the run ends")
	c.Flags().BoolVar(&hosts, "hosts", false, "a line for each host")
	return c
}

// statusResult is what status --json prints.
type statusResult struct {
	cutover.Standing
	Holder string       `json:"holder,omitempty"` // who applies now
	Until  time.Time    `json:"until,omitzero"`   // end of the lease
	Wish   cutover.Wish `json:"wish"`
}

func (a *app) status(ctx context.Context, args []string, hosts bool) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := begunPlan(ctx, db, args)
	if err != nil {
		return err
	}
	entries, err := db.Entries(ctx, p.ID)
	if err != nil {
		return err
	}
	var res statusResult
	if res.Standing, err = cutover.Status(p, entries); err != nil {
		return err
	}
	if res.Holder, res.Until, err = db.Holder(ctx); err != nil {
		return err
	}
	if res.Wish, err = db.Control(ctx, p.ID); err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.out, res)
	} else {
		err = printStatus(a.out, res, hosts)
	}
	if err != nil {
		return err
	}
	return standingVerdict(res.Standing)
}

// begunPlan is the plan that is named, or the one that the journal spoke of
// last, or the newest.
func begunPlan(ctx context.Context, db *sqlite.DB, args []string) (*plan.Plan, error) {
	if len(args) > 0 {
		return findPlan(ctx, db, args[0])
	}
	id, err := db.LastPlan(ctx)
	if err != nil {
		return nil, err
	}
	return findPlan(ctx, db, id)
}

func standingVerdict(s cutover.Standing) error {
	outcome, _, _ := strings.Cut(s.State, ":")
	switch cutover.Outcome(outcome) {
	case cutover.OutcomeDone:
		if s.Ended {
			return nil
		}
	case cutover.OutcomeStale:
		return verdict(exitNotReady)
	case cutover.OutcomeRolledBack, cutover.OutcomeRolledPartly:
		if s.Command == "apply" {
			return verdict(exitNotReady)
		}
		if cutover.Outcome(outcome) == cutover.OutcomeRolledBack {
			return nil
		}
	}
	if s.Entries == 0 {
		return nil
	}
	return verdict(exitIncomplete)
}

func printStatus(w io.Writer, s statusResult, hosts bool) error {
	if s.Entries == 0 {
		fmt.Fprintf(w, "Plan %s has not been begun: migrate apply %s\n", s.Plan, s.Plan)
	} else {
		fmt.Fprintln(w, standingText(s.Standing, time.Now()))
	}
	if s.Holder != "" {
		fmt.Fprintf(w, "%s applies now (lease until %s).\n", oneLine(s.Holder), stamp(s.Until))
	}
	if s.Wish.Pause || s.Wish.Stop {
		fmt.Fprintf(w, "%s asked it to %s at %s. %s\n", oneLine(s.Wish.By), map[bool]string{true: "stop", false: "pause"}[s.Wish.Stop], stamp(s.Wish.At), oneLine(s.Wish.Reason))
	}
	if err := printWaves(w, s.Standing); err != nil {
		return err
	}
	printTroubles(w, s.Standing)
	if hosts {
		return printHostStatus(w, s.Hosts)
	}
	return nil
}

func printWaves(w io.Writer, s cutover.Standing) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	phases := slices.DeleteFunc(plan.Phases(), func(ph plan.Phase) bool { // most plans have nothing to finish
		return ph == plan.Finish && !slices.ContainsFunc(s.Waves, func(w cutover.WaveStatus) bool { return phaseCell(w, ph) != "-" })
	})
	fmt.Fprint(t, "\nWAVE\tNAME\tHOSTS\tSTATE")
	for _, ph := range phases {
		fmt.Fprint(t, "\t"+strings.ToUpper(string(ph)))
	}
	fmt.Fprintln(t)
	for _, wave := range s.Waves {
		fmt.Fprintf(t, "%d\t%s\t%d\t%s", wave.Number, cell(wave.Name), wave.Hosts, wave.State)
		for _, ph := range phases {
			fmt.Fprint(t, "\t"+phaseCell(wave, ph))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func phaseCell(w cutover.WaveStatus, ph plan.Phase) string {
	for _, p := range w.Phases {
		if p.Phase == ph {
			text := fmt.Sprintf("%d/%d", p.Done, len(p.Steps))
			if p.Gate != "" && p.Gate != fleet.TruthYes.String() {
				text += " gate " + p.Gate
			}
			return text
		}
	}
	return "-"
}

// mostTroubles is how many steps that failed are listed.
const mostTroubles = 20

func printTroubles(w io.Writer, s cutover.Standing) {
	n := 0
	for _, wave := range s.Waves {
		for _, ph := range wave.Phases {
			for _, st := range ph.Steps {
				var why string
				switch {
				case st.State == cutover.StateFailed, st.State == cutover.StateUnclear, st.State == cutover.StateUndoFailed:
					why = string(st.State) + ": " + st.Detail
				case st.Held != "":
					why = "held: " + st.Held
				default:
					continue
				}
				if n++; n <= mostTroubles {
					fmt.Fprintf(w, "%s: %s\n", oneLine(st.Title), oneLine(why))
				}
			}
		}
	}
	if n > mostTroubles {
		fmt.Fprintf(w, "and %d more (migrate status --json)\n", n-mostTroubles)
	}
	printWaits(w, s.Waits)
	printNext(w, s)
}

// printNext names the step that an apply would begin with: of nobody's interest
// where all was taken back.
func printNext(w io.Writer, s cutover.Standing) {
	if s.Entries == 0 || len(s.Next) == 0 || s.Owed == 0 && strings.HasPrefix(s.Command, "rollback") {
		return
	}
	fmt.Fprintf(w, "Next: %s\n", oneLine(s.Next[0]))
}

// mostWaits is how many titles are listed of the steps that one owner has to do.
const mostWaits = 5

// printWaits lists what others have to do, by owner.
func printWaits(w io.Writer, waits []cutover.Waiting) {
	var owners []string
	titles := map[string][]string{}
	for _, x := range waits {
		if titles[x.Owner] == nil {
			owners = append(owners, x.Owner)
		}
		titles[x.Owner] = append(titles[x.Owner], oneLine(x.Title))
	}
	slices.Sort(owners)
	for _, o := range owners {
		fmt.Fprintf(w, "Waits for %s:\n", cmp.Or(oneLine(o), "others"))
		for i, title := range titles[o] {
			if i == mostWaits {
				fmt.Fprintf(w, "  and %d more (migrate status --json)\n", len(titles[o])-mostWaits)
				break
			}
			fmt.Fprintf(w, "  %s\n", title)
		}
	}
}

func printHostStatus(w io.Writer, hosts []cutover.HostStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nHOST\tREGION\tWAVE\tSTEPS\tDOORS CLOSED\tWHY")
	for _, h := range hosts {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d/%d\t%d/%d\t%s\n", oneLine(h.Host.ID), h.Host.Region, h.Wave, h.Done, h.Steps, h.Doors, h.All, oneLine(h.Why))
	}
	return t.Flush()
}

// hostWords lists hosts in a line.
func hostWords(hosts []fleet.HostRef) string {
	const most = 3
	var out []string
	for i, h := range hosts {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(hosts)-most))
			break
		}
		out = append(out, oneLine(h.ID))
	}
	return strings.Join(out, ", ")
}
