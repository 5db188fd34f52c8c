package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
)

type ledgerQuery struct {
	snapshot int64
	status   string
	all      bool
	init     string
}

func (a *app) ledgerCommand() *cobra.Command {
	var q ledgerQuery
	c := &cobra.Command{
		Use:   "ledger",
		Short: "List who and what still comes in over SSH",
		Long: `ledger lists the consumers of SSH that the hosts' logs and open sessions show: who came, from
where, as whom, for what, on how many hosts, and whether they still need SSH. What comes from
several addresses is one line, as active as its most active part; --all shows each address.

  active     nothing says that they do not
  waived     somebody decided that they may stay for now
  silent     not seen for readiness.silent_days (30) in logs that reach back so far
  migrated   their owner has since used Session Manager, for what they do, on each of the hosts

The owners file (docs/owners.md) says whose keys are whose and holds the waivers; the snapshot is
judged anew with it. --init writes a first one with everything that nobody claims yet.

Exit code 3: a consumer is active. Exit code 4: none is, but the logins of some hosts are not known.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.init == "" && cmd.Flags().Changed("init") {
				return usageErr("--init: the name of the file is empty")
			}
			return a.ledger(cmd.Context(), q)
		},
	}
	addSnapshotFlag(c, &q.snapshot)
	c.Flags().StringVar(&q.status, "status", "", "only consumers that are active, waived, silent or migrated")
	c.Flags().BoolVar(&q.all, "all", false, "a line for each address that a consumer comes from")
	c.Flags().StringVar(&q.init, "init", "", "write an owners file to fill in; - is standard output, an existing file is not touched")
	if err := c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"active", "waived", "silent", "migrated"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was defined just above
	}
	return c
}

// ledgerResult is what ledger --json prints.
type ledgerResult struct {
	Snapshot  int64            `json:"snapshot"`
	Hosts     int              `json:"hosts"`
	Unread    []string         `json:"unread"`
	Consumers []fleet.Consumer `json:"consumers"`
}

func (a *app) ledger(ctx context.Context, q ledgerQuery) error {
	var want fleet.ConsumerStatus
	if q.status != "" {
		if err := want.UnmarshalText([]byte(q.status)); err != nil {
			return usageErr("--status: %w", err)
		}
	}
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := assess(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	l := judged.Ledger
	a.warnOwners(s, judged)
	if q.init != "" {
		return a.initOwners(q.init, s, judged)
	}
	other := func(s fleet.ConsumerStatus) bool { return q.status != "" && s != want }
	if a.json {
		shown := slices.DeleteFunc(append([]fleet.Consumer{}, l.Consumers...), func(c fleet.Consumer) bool { return other(c.Status) })
		err = writeJSON(a.out, ledgerResult{Snapshot: s.snap.ID, Hosts: l.Hosts, Unread: append([]string{}, l.Unread...), Consumers: shown})
	} else {
		lines := l.Groups()
		if q.all {
			lines = eachConsumer(l)
		}
		summary := ledgerSummary(lines, l)
		err = printLedger(a.out, a.width(), slices.DeleteFunc(lines, func(g fleet.ConsumerGroup) bool { return other(g.Status) }), summary)
	}
	if err != nil {
		return err
	}
	switch {
	case fleet.TallyOf(l.Groups()).Active > 0:
		return verdict(exitNotReady)
	case len(l.Unread) > 0:
		return verdict(exitIncomplete)
	}
	return nil
}

// eachConsumer is the ledger without bringing anything together.
func eachConsumer(l fleet.Ledger) []fleet.ConsumerGroup {
	var out []fleet.ConsumerGroup
	for _, c := range l.Consumers {
		out = append(out, fleet.Ledger{Consumers: []fleet.Consumer{c}}.Groups()...)
	}
	return out
}

func printLedger(w io.Writer, width int, shown []fleet.ConsumerGroup, summary string) error {
	rows := [][]string{{"OWNER", "FROM", "USER", "USE", "HOSTS", "LAST", "COUNT", "STATUS", "WHY"}}
	for _, c := range shown {
		rows = append(rows, []string{
			cell(ownerColumn(c.Consumer)), cmp.Or(c.Where(), "?"), cell(c.User), cmp.Or(string(c.Use), "?"),
			strconv.Itoa(len(c.Hosts)), lastColumn(c.Last), strconv.Itoa(c.Count), c.Status.String(), oneLine(c.Why),
		})
	}
	if err := printFitted(w, width, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n"+summary)
	return err
}

// printFitted prints a table, the last column cut to fit the width; 0 is no limit.
func printFitted(w io.Writer, width int, rows [][]string) error {
	const gap, least = 2, 24
	last := len(rows[0]) - 1
	used := 0
	for i := range last {
		most := 0
		for _, r := range rows {
			most = max(most, utf8.RuneCountInString(r[i]))
		}
		used += most + gap
	}
	t := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	for _, r := range rows {
		text := r[last]
		if width > 0 {
			text = clip(text, max(least, width-used))
		}
		fmt.Fprintln(t, strings.Join(r[:last], "\t")+"\t"+text)
	}
	return t.Flush()
}

// ownerColumn names the owner, or what an unclaimed consumer came with.
func ownerColumn(c fleet.Consumer) string {
	switch {
	case c.Owner != "":
		return c.Owner
	case c.CertID != "":
		return "? certificate " + c.CertID
	case c.Comment != "":
		return "? " + c.Comment
	case c.Fingerprint != "":
		return "? " + c.Fingerprint
	}
	return "? " + cmp.Or(c.Method, "unknown key")
}

func lastColumn(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// clip cuts a text that would spoil a table.
func clip(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func ledgerSummary(lines []fleet.ConsumerGroup, l fleet.Ledger) string {
	t := fleet.TallyOf(lines)
	text := fmt.Sprintf("%d consumers: %d active (%d that nobody claims), %d waived, %d silent, %d migrated.", t.Total(), t.Active, t.Unclaimed, t.Waived, t.Silent, t.Migrated)
	if t.Own > 0 {
		text += fmt.Sprintf(" Not counted: %d of migrate's own (inventories, drills of the recovery key).", t.Own)
	}
	if len(l.Unread) > 0 {
		text += fmt.Sprintf(" The logins of %d of %d hosts are not known.", len(l.Unread), l.Hosts)
	}
	return text
}
