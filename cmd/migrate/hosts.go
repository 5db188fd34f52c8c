package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

func (a *app) hostsCommand() *cobra.Command {
	var q hostQuery
	var snapshot int64
	c := &cobra.Command{
		Use:   "hosts [HOST... | FILTER]",
		Short: "List the hosts of a snapshot, or show some of them in full",
		Long: `hosts lists the hosts of the latest snapshot with their verdicts. With instance IDs, private
addresses or Name tags as arguments it shows those hosts in full: root causes with what follows from
them, evidence, fix and undo, network paths hop by hop, and keys.

Arguments that do not all name hosts are a filter, in the language of the wizard's fleet table:

  web                the text is in name, ID, address, tags, cause, place, …
  status:blocked     a part of the value
  az=eu-west-1a      the whole value; nothing after = means "has none"
  team=web           a tag that some host has; tag:team=web whatever hosts have
  age>30d keys<=2    numbers; ages in m, h, d, w, y
  -ready             a leading - turns a term around
  owner="Ann Lee"    quotes keep blanks together; all terms must hold

` + filterKeys() + `

A filter without an operator that finds nothing is taken for a misspelled host and fails; any other
one gives an empty list.`,
		Example: `  migrate hosts web-1
  migrate hosts 'status:blocked team=web -spot'
  migrate hosts --ids 'status:ready age>1d' | xargs -r migrate prove
  migrate hosts --view "to do"            # the filter of a view that the wizard saved`,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.snapshot, q.args = snapshot, args
			return a.hosts(cmd.Context(), q)
		},
	}
	addSnapshotFlag(c, &snapshot)
	c.Flags().StringVar(&q.verdict, "verdict", "", "only hosts that are ready, blocked or unknown")
	c.Flags().StringVar(&q.cause, "cause", "", "only hosts with this root cause, for example agent-missing")
	c.Flags().StringVar(&q.view, "view", "", "only hosts that pass the filter of this saved view")
	c.Flags().BoolVar(&q.ids, "ids", false, "print instance IDs alone, one on a line")
	return c
}

// filterKeys lists the keys of the language of filters.
func filterKeys() string {
	var names []string
	for _, k := range filter.Keys() {
		names = append(names, k.Name)
	}
	return "Keys: " + strings.Join(names, ", ") + "."
}

type hostQuery struct {
	snapshot             int64
	verdict, cause, view string
	ids                  bool
	args                 []string
}

// judgedHost is a host with everything that is said of it.
type judgedHost struct {
	fleet.HostVerdict
	Detail   fleet.Host      `json:"detail"`
	Findings []fleet.Finding `json:"findings"`
	Paths    []fleet.Path    `json:"networkPaths"`
}

func (a *app) hosts(ctx context.Context, q hostQuery) error {
	var want fleet.Verdict
	if q.verdict != "" {
		if err := want.UnmarshalText([]byte(q.verdict)); err != nil {
			return usageErr("--verdict: %w", err)
		}
	}
	if q.ids && a.json {
		return usageErr("--ids and --json exclude each other")
	}
	if q.cause != "" && !slices.ContainsFunc(readiness.Catalogue(), func(e readiness.Entry) bool { return e.Code == q.cause }) {
		return usageErr("--cause: there is no finding %q (docs/findings lists them)", q.cause)
	}
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := judgement(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	names, filters, err := s.hostFilters(ctx, q)
	if err != nil {
		return err
	}
	found := pick(s.snap, judged, func(h fleet.Host, v fleet.HostVerdict) bool {
		return (q.verdict == "" || v.Verdict == want) && (q.cause == "" || v.Cause == q.cause) && (len(names) == 0 || named(h, names))
	})
	found = slices.DeleteFunc(found, func(h judgedHost) bool {
		subject := filter.NewSubject(&h.Detail, h.HostVerdict, h.Findings)
		subject.Text = subject.Words()
		return slices.ContainsFunc(filters, func(f filter.Filter) bool { return !f.Match(&subject) })
	})
	if len(q.args) > 0 && len(found) == 0 && !strings.ContainsAny(strings.Join(q.args, ""), "=:<>") {
		return fmt.Errorf("snapshot %d has no host called %s that the other flags let through, and none with that text", s.snap.ID, strings.Join(q.args, " or "))
	}
	if s.snap.State != fleet.SnapshotComplete {
		fmt.Fprintf(a.err, "Snapshot %d is %s: %d sources or hosts gave no answer (migrate readiness names them).\n", s.snap.ID, s.snap.State, s.snap.Unknowns)
	}
	switch {
	case q.ids:
		for _, h := range found {
			if _, err := fmt.Fprintln(a.out, oneLine(h.Detail.ID)); err != nil {
				return err
			}
		}
		return nil
	case a.json:
		return writeJSON(a.out, found)
	case len(names) > 0:
		for _, h := range found {
			if err := printHost(a.out, h); err != nil {
				return err
			}
		}
		return nil
	}
	return printHosts(a.out, found)
}

// hostFilters tells the hosts that the arguments name, or where they do not all
// name one, the filter that they are, and the filter of the view that was asked for.
func (s *stored) hostFilters(ctx context.Context, q hostQuery) (names []string, filters []filter.Filter, err error) {
	language := filter.NewLanguage(s.snap.Hosts)
	add := func(what, text string) error {
		f, err := language.Parse(text, time.Now())
		if err != nil {
			return usageErr("%s: %w", what, err)
		}
		filters = append(filters, f)
		return nil
	}
	if q.view != "" {
		views, err := s.db.Views(ctx)
		if err != nil {
			return nil, nil, err
		}
		i := slices.IndexFunc(views, func(v fleet.View) bool { return v.Name == q.view })
		if i < 0 {
			return nil, nil, usageErr("--view: there is no view called %q; V in the wizard's fleet table saves one%s", q.view, viewNames(views))
		}
		if err := add("view "+q.view, views[i].Filter); err != nil {
			return nil, nil, err
		}
	}
	strange := func(arg string) bool {
		return !slices.ContainsFunc(s.snap.Hosts, func(h fleet.Host) bool { return named(h, []string{arg}) })
	}
	if !slices.ContainsFunc(q.args, strange) {
		return q.args, filters, nil
	}
	return nil, filters, add("filter", strings.Join(q.args, " "))
}

func viewNames(views []fleet.View) string {
	if len(views) == 0 {
		return ""
	}
	var names []string
	for _, v := range views {
		names = append(names, strconv.Quote(v.Name))
	}
	return "; there are " + strings.Join(names, ", ")
}

func named(h fleet.Host, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == h.ID || n == h.Name() || (h.PrivateIP.IsValid() && n == h.PrivateIP.String())
	})
}

func pick(snap *fleet.Snapshot, judged *fleet.Assessment, keep func(fleet.Host, fleet.HostVerdict) bool) []judgedHost {
	verdicts := make(map[string]fleet.HostVerdict, len(judged.Hosts))
	for _, v := range judged.Hosts {
		verdicts[v.Host] = v
	}
	out := []judgedHost{}
	at := map[string]int{}
	for _, h := range snap.Hosts {
		v := verdicts[h.ID]
		v.Host = h.ID
		if keep(h, v) {
			at[h.ID] = len(out)
			out = append(out, judgedHost{HostVerdict: v, Detail: h, Findings: []fleet.Finding{}, Paths: pathsOf(judged, v)})
		}
	}
	for _, f := range judged.Findings {
		if i, ok := at[f.Host]; ok && f.Host != "" {
			out[i].Findings = append(out[i].Findings, f)
		}
	}
	return out
}

func pathsOf(judged *fleet.Assessment, v fleet.HostVerdict) []fleet.Path {
	out := []fleet.Path{}
	for _, n := range v.Paths {
		if n >= 0 && n < len(judged.Paths) {
			out = append(out, judged.Paths[n])
		}
	}
	return out
}

func printHosts(w io.Writer, hosts []judgedHost) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "HOST\tNAME\tREGION\tVERDICT\tCAUSE\tAGENT\tKEYS")
	for _, h := range hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Host, cell(h.Detail.Name()), cell(h.Detail.Region), h.Verdict, h.Cause, agentColumn(h.Detail), keysColumn(h.Detail))
	}
	return t.Flush()
}

// A "?" stands for what is not known, a "-" for what is known to be absent.
func agentColumn(h fleet.Host) string {
	switch {
	case h.Node.Known && h.Node.Value.Registered:
		return cell(h.Node.Value.AgentVersion)
	case h.Probe.Known && h.Probe.Value.Agent.Known && !h.Probe.Value.Agent.Value.Installed:
		return "-"
	case h.Probe.Known && h.Probe.Value.Agent.Known && h.Probe.Value.Agent.Value.Version != "":
		return cell(h.Probe.Value.Agent.Value.Version)
	}
	return "?"
}

func keysColumn(h fleet.Host) string {
	if !h.Probe.Known || !h.Probe.Value.Keys.Known {
		return "?"
	}
	return fmt.Sprint(len(h.Probe.Value.Keys.Value))
}
