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

func (a *app) hostsCommand() *cobra.Command {
	var snapshot int64
	var verdictName, cause string
	c := &cobra.Command{
		Use:   "hosts [HOST...]",
		Short: "List the hosts of a snapshot, or show some of them in full",
		Long: `hosts lists the hosts of the latest snapshot with their verdicts. With instance IDs, private
addresses or Name tags as arguments it shows those hosts in full: root causes with what follows from
them, evidence, fix and undo, network paths hop by hop, and keys.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.hosts(cmd.Context(), hostQuery{snapshot: snapshot, verdict: verdictName, cause: cause, names: args})
		},
	}
	addSnapshotFlag(c, &snapshot)
	c.Flags().StringVar(&verdictName, "verdict", "", "only hosts that are ready, blocked or unknown")
	c.Flags().StringVar(&cause, "cause", "", "only hosts with this root cause, for example agent-missing")
	return c
}

type hostQuery struct {
	snapshot       int64
	verdict, cause string
	names          []string
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
	found := pick(s.snap, judged, func(h fleet.Host, v fleet.HostVerdict) bool {
		return (q.verdict == "" || v.Verdict == want) && (q.cause == "" || v.Cause == q.cause) && (len(q.names) == 0 || named(h, q.names))
	})
	if len(q.names) > 0 && len(found) == 0 {
		return fmt.Errorf("snapshot %d has no host called %s that the other flags let through", s.snap.ID, strings.Join(q.names, " or "))
	}
	if s.snap.State != fleet.SnapshotComplete {
		fmt.Fprintf(a.err, "Snapshot %d is %s: %d sources or hosts gave no answer (migrate readiness names them).\n", s.snap.ID, s.snap.State, s.snap.Unknowns)
	}
	switch {
	case a.json:
		return writeJSON(a.out, found)
	case len(q.names) > 0:
		for _, h := range found {
			if err := printHost(a.out, h); err != nil {
				return err
			}
		}
		return nil
	}
	return printHosts(a.out, found)
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
