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
	"ssm-migrate/internal/readiness"
)

type accessQuery struct {
	snapshot         int64
	person, host, by string
}

func (a *app) accessCommand() *cobra.Command {
	var q accessQuery
	c := &cobra.Command{
		Use:   "access",
		Short: "Compare who gets in over SSH today with who may start sessions",
		Long: `access compares, for each person and host, whether sshd accepts one of their keys or certificates
today with whether one of their IAM principals may start a shell session of Session Manager. Persons
are those of the owners file (docs/owners.md); keys and principals that nobody claims follow.

  keeps     both            loses     SSH only
  gains     sessions only   unknown   one of the two is not known

--by shows the counts by a tag of the hosts, or by account, region, vpc or scaling-group.

Exit code 3: somebody in the owners file would lose access. Exit code 4: nobody would, but for
somebody it is not known.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.by != "" && q.host != "" {
				return usageErr("--by and --host contradict each other")
			}
			return a.access(cmd.Context(), q)
		},
	}
	addSnapshotFlag(c, &q.snapshot)
	c.Flags().StringVar(&q.person, "person", "", "one person, host by host")
	c.Flags().StringVar(&q.host, "host", "", "one host (instance ID, private address or Name tag), person by person")
	c.Flags().StringVar(&q.by, "by", "", "group by this tag, or by account, region, vpc or scaling-group")
	return c
}

// accessResult is what access --json prints: people, or groups with --by.
type accessResult struct {
	Snapshot int64                   `json:"snapshot"`
	Hosts    []string                `json:"hosts"` // whom the letters of cells speak of
	People   []fleet.PersonParity    `json:"people"`
	Groups   []readiness.ParityGroup `json:"groups,omitempty"`
}

func (a *app) access(ctx context.Context, q accessQuery) error {
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := assess(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	a.warnOwners(s, judged)
	view, err := narrowed(s.snap, judged, q)
	if err != nil {
		return err
	}
	result := accessResult{Snapshot: s.snap.ID, Hosts: []string{}, People: view.Parity.People}
	for _, h := range view.Hosts {
		result.Hosts = append(result.Hosts, h.Host)
	}
	if q.by != "" {
		result.Groups = readiness.ParityBy(view, s.snap, labelOf(q.by))
	}
	switch {
	case a.json:
		err = writeJSON(a.out, result)
	case q.by != "":
		err = printGroups(a.out, result.Groups, q.by)
	case q.person != "" || q.host != "":
		err = printCells(a.out, a.width(), s.snap, view, readiness.AccessReasons(s.snap, s.cfg.policy(), judged.At))
	default:
		err = printPeople(a.out, a.width(), view)
	}
	if err != nil {
		return err
	}
	return accessVerdict(view)
}

// accessVerdict is the exit code for what is shown.
func accessVerdict(view *fleet.Assessment) error {
	unknown := false
	for _, p := range view.Parity.People {
		if p.Claimed && p.Loses > 0 {
			return verdict(exitNotReady)
		}
		unknown = unknown || p.Unknown > 0
	}
	if unknown {
		return verdict(exitIncomplete)
	}
	return nil
}

// narrowed leaves of an assessment's parity what was asked for.
func narrowed(snap *fleet.Snapshot, judged *fleet.Assessment, q accessQuery) (*fleet.Assessment, error) {
	view := &fleet.Assessment{Hosts: judged.Hosts, Parity: fleet.Parity{People: []fleet.PersonParity{}}}
	for _, p := range judged.Parity.People {
		if q.person == "" || p.Person == q.person {
			view.Parity.People = append(view.Parity.People, p)
		}
	}
	if q.person != "" && len(view.Parity.People) == 0 {
		return nil, fmt.Errorf("nobody called %q is in the owners file, and no unclaimed key or principal is", q.person)
	}
	if q.host == "" {
		return view, nil
	}
	name := func(h *fleet.Host) string {
		if named(*h, []string{q.host}) {
			return "asked"
		}
		return ""
	}
	for _, g := range readiness.ParityBy(view, snap, name) {
		if g.Label == "asked" {
			view.Parity.People = g.People
			view.Hosts = hostsCalled(snap, judged, q.host)
			return view, nil
		}
	}
	return nil, fmt.Errorf("snapshot %d has no host called %s", snap.ID, q.host)
}

func hostsCalled(snap *fleet.Snapshot, judged *fleet.Assessment, name string) []fleet.HostVerdict {
	var ids []string
	for i := range snap.Hosts {
		if named(snap.Hosts[i], []string{name}) {
			ids = append(ids, snap.Hosts[i].ID)
		}
	}
	return slices.DeleteFunc(slices.Clone(judged.Hosts), func(v fleet.HostVerdict) bool { return !slices.Contains(ids, v.Host) })
}

// labelOf gives what hosts are grouped by.
func labelOf(by string) func(*fleet.Host) string {
	switch by {
	case "account":
		return func(h *fleet.Host) string { return h.Account }
	case "region":
		return func(h *fleet.Host) string { return h.Region }
	case "vpc":
		return func(h *fleet.Host) string { return h.VPC }
	case "scaling-group":
		return func(h *fleet.Host) string { return h.AutoScalingGroup }
	}
	return func(h *fleet.Host) string { return h.Tags[by] }
}

func printPeople(w io.Writer, width int, view *fleet.Assessment) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PERSON\tCLAIMED\tKEYS\tPRINCIPALS\tKEEPS\tLOSES\tGAINS\tUNKNOWN")
	claimed, losers := 0, 0
	for _, p := range view.Parity.People {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", personColumn(p.Person, width), yesNo(p.Claimed), len(p.Keys), len(p.Principals), p.Keeps, p.Loses, p.Gains, p.Unknown)
		if p.Claimed {
			claimed++
			if p.Loses > 0 {
				losers++
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if claimed == 0 {
		_, err := fmt.Fprintln(w, "\nKeys cannot be matched to principals until owners are named: migrate ledger --init")
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d owners would lose access to a host.\n", losers, claimed)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func printGroups(w io.Writer, groups []readiness.ParityGroup, by string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tHOSTS\tPERSON\tKEEPS\tLOSES\tGAINS\tUNKNOWN\n", strings.ToUpper(cell(by)))
	for _, g := range groups {
		label := cell(g.Label)
		if g.Label == "" {
			label = "-"
		}
		for _, p := range g.People {
			fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%d\n", label, g.Hosts, clip(oneLine(p.Person), 64), p.Keeps, p.Loses, p.Gains, p.Unknown)
		}
	}
	return t.Flush()
}

var letterWords = map[rune]string{
	fleet.ParityKeeps: "keeps", fleet.ParityLoses: "loses", fleet.ParityGains: "gains", fleet.ParityUnknown: "unknown", fleet.ParityNone: "-",
}

// printCells shows every person on every host, those without a way in left out.
func printCells(w io.Writer, width int, snap *fleet.Snapshot, view *fleet.Assessment, why func(person string, host int) string) error {
	at := map[string]int{}
	for i := range snap.Hosts {
		at[snap.Hosts[i].ID] = i
	}
	rows := [][]string{{"HOST", "NAME", "PERSON", "ACCESS", "WHY"}}
	for _, p := range view.Parity.People {
		for i, c := range p.Cells {
			if c == fleet.ParityNone {
				continue
			}
			host := at[view.Hosts[i].Host]
			rows = append(rows, []string{
				view.Hosts[i].Host, cell(snap.Hosts[host].Name()), personColumn(p.Person, width), letterWords[c], oneLine(why(p.Person, host)),
			})
		}
	}
	return printFitted(w, width, rows)
}

// personColumn is a person's name, on a terminal cut where it would spoil the table.
func personColumn(person string, width int) string {
	if width == 0 {
		return oneLine(person)
	}
	return clip(oneLine(person), 64)
}
