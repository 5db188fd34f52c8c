package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

type doctorQuery struct {
	snapshot  int64
	write     bool
	timerRole string
}

func (a *app) doctorCommand() *cobra.Command {
	var q doctorQuery
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check that a cutover could do what it needs, before one relies on it",
		Long: `doctor looks, in each account and Region in which the snapshot has hosts, whether what a cutover
needs is there: credentials, a right clock, endpoints that answer, and permissions (docs/permissions.md).
It asks IAM's policy simulator and makes dry runs of EC2's calls; it changes nothing.

With --write it also makes a rule timer, an EventBridge Scheduler schedule a year ahead for an address
that nobody has, and deletes it at once. That shows what no simulation can: that the scheduler takes the
timers' role. The plan's first wave makes that role, so look again with --write when it is done.

Each check holds (yes), does not (no), or could not be decided (unknown).

Exit code 3: a check does not hold. Exit code 4: none fails, but some could not be decided.`,
		Example: `  migrate doctor                    # before migrate plan
  migrate doctor --write            # after the foundation wave
  migrate doctor --json | jq '.checks[] | select(.holds != "yes")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.timerRole == "" {
				return usageErr("--timer-role: the name is empty")
			}
			return a.doctor(cmd.Context(), q)
		},
	}
	addSnapshotFlag(c, &q.snapshot)
	c.Flags().BoolVar(&q.write, "write", false, "really make a schedule a year ahead, and delete it")
	c.Flags().StringVar(&q.timerRole, "timer-role", defaultTimerRole, "role that the rule timers assume")
	return c
}

// defaultTimerRole is the role that plans make for rule timers.
const defaultTimerRole = "migrate-rule-timer"

// doctorResult is what doctor --json prints.
type doctorResult struct {
	Snapshot int64         `json:"snapshot"`
	Checks   []fleet.Check `json:"checks"`
}

func (a *app) doctor(ctx context.Context, q doctorQuery) error {
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	accounts, closed := tryAccounts(ctx, s.cfg)
	result := doctorResult{Snapshot: s.snap.ID, Checks: []fleet.Check{checkStateFile(a.dbPath)}}
	for _, c := range closed {
		result.Checks = append(result.Checks, fleet.Check{
			Name: "access " + c.name, Holds: fleet.TruthUnknown, Reason: oneLine(c.err.Error()), Remedy: "correct the access in the configuration, or sign in",
		})
	}
	result.Checks = append(result.Checks, examine(ctx, awsapi.NewChanger(accounts...), placesOf(s.snap), q)...)
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.out, result)
	} else {
		err = printChecks(a.out, result)
	}
	if err != nil {
		return err
	}
	switch worst(result.Checks) {
	case fleet.TruthNo:
		return verdict(exitNotReady)
	case fleet.TruthUnknown:
		return verdict(exitIncomplete)
	}
	return nil
}

// patient is a place with what its checks are made on.
type patient struct {
	at fleet.Place
	on fleet.CheckOn
}

// placesOf are the places in which the snapshot has hosts, each with a running
// instance where it has one.
func placesOf(snap *fleet.Snapshot) []patient {
	var out []patient
	for _, h := range snap.Hosts {
		at := h.Ref().Place()
		i := slices.IndexFunc(out, func(p patient) bool { return p.at == at })
		if i < 0 {
			i = len(out)
			out = append(out, patient{at: at})
		}
		on := &out[i].on
		if on.Instance == "" || h.Running() && on.Group == "" {
			on.Instance, on.VPC = h.ID, h.VPC
			if len(h.Groups) > 0 && h.Running() {
				on.Group = h.Groups[0]
			}
		}
	}
	slices.SortFunc(out, func(a, b patient) int {
		return cmp.Or(cmp.Compare(a.at.Account, b.at.Account), cmp.Compare(a.at.Region, b.at.Region))
	})
	return out
}

// examine checks all places, a few at once; the checks come in the places' order.
func examine(ctx context.Context, changer *awsapi.Changer, places []patient, q doctorQuery) []fleet.Check {
	const atOnce = 4
	results := make([][]fleet.Check, len(places))
	turn := make(chan struct{}, atOnce)
	var waiting sync.WaitGroup
	for i, p := range places {
		p.on.TimerRole, p.on.Write = q.timerRole, q.write
		turn <- struct{}{}
		waiting.Go(func() {
			defer func() { <-turn }()
			results[i] = changer.Check(ctx, p.at, p.on)
		})
	}
	waiting.Wait()
	return slices.Concat(results...)
}

// journalRoom is what must fit beside the state file: a journal of thousands of steps.
const journalRoom = 4 << 20

// checkStateFile looks whether the journal has room, by writing beside it.
func checkStateFile(path string) fleet.Check {
	c := fleet.Check{Name: "state file", Holds: fleet.TruthNo, Remedy: "make room in " + filepath.Dir(path) + ", and let your user write there"}
	f, err := os.CreateTemp(filepath.Dir(path), ".migrate-doctor-*")
	if err != nil {
		c.Reason = oneLine(err.Error())
		return c
	}
	_, err = f.Write(make([]byte, journalRoom))
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
		c.Reason = oneLine(err.Error())
		return c
	}
	c.Holds, c.Reason, c.Remedy = fleet.TruthYes, "there is room beside it", ""
	return c
}

// worst is the answer that decides: a no, or else an unknown.
func worst(checks []fleet.Check) fleet.Truth {
	all := fleet.TruthYes
	for _, c := range checks {
		switch c.Holds {
		case fleet.TruthNo:
			return fleet.TruthNo
		case fleet.TruthUnknown:
			all = fleet.TruthUnknown
		}
	}
	return all
}

func printChecks(w io.Writer, r doctorResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACCOUNT\tREGION\tCHECK\tHOLDS\tREASON")
	for _, c := range r.Checks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", cell(cmp.Or(c.At.Account, "-")), cell(cmp.Or(c.At.Region, "-")), cell(c.Name), c.Holds, cell(c.Reason))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.Holds == fleet.TruthYes {
			continue
		}
		where := ""
		if c.At != (fleet.Place{}) {
			where = oneLine(c.At.Account+" "+c.At.Region) + ": "
		}
		fmt.Fprintf(w, "\n%s%s: %s\n  %s\n  to do: %s\n", where, oneLine(c.Name), c.Holds, oneLine(c.Reason), oneLine(c.Remedy))
	}
	return nil
}
