package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Markdown writes the report for wikis and pull requests, in CommonMark with
// GitHub's tables.
func Markdown(w io.Writer, in Input) error {
	m := &markdown{}
	v := build(in)
	m.head(v)
	m.trend(v.Change)
	m.causes(v)
	m.groups(v)
	m.hosts(v)
	m.findings(v)
	m.paths(v)
	m.proved(v.Proved)
	m.ledger(v.Ledger)
	m.parity(v.Parity)
	m.operators(v)
	m.keys(v)
	m.sources(v)
	m.line("---\nReady: every fact that decides is known and good. Blocked: something known stands in the way. Unknown: a fact that decides is missing. Times are UTC. Written by migrate %s.", md(v.Version))
	if _, err := w.Write(m.Bytes()); err != nil {
		return fmt.Errorf("write Markdown report: %w", err)
	}
	return nil
}

type markdown struct{ bytes.Buffer }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(&m.Buffer, format+"\n", args...) }

func (m *markdown) table(columns ...string) {
	m.line("| %s |\n|%s", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}

func (m *markdown) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

func (m *markdown) head(v *view) {
	m.line("# Session Manager readiness: %d of %s ready\n", v.Tally.Ready, fleet.Count(v.Tally.Total(), "host"))
	m.line("Snapshot %d (%s), taken %s by migrate %s; judged %s.\n", v.ID, v.State, cmp.Or(v.Started, "at a time not known"), md(v.TakenBy), cmp.Or(v.Judged, "at a time not known"))
	m.table("Verdict", "Hosts", "Share")
	for _, r := range []struct {
		name string
		n    int
	}{{"ready", v.Tally.Ready}, {"blocked", v.Tally.Blocked}, {"unknown", v.Tally.Unknown}} {
		m.row(r.name, fmt.Sprint(r.n), fmt.Sprintf("%d %%", v.Tally.Percent(r.n)))
	}
	m.line("")
	if n := len(v.Sources.Silent); n > 0 {
		m.line("**This picture has gaps:** %s gave no full answer. What is missing counts neither as good nor as bad.\n", fleet.Count(n, "source"))
	}
	if c := v.Change; c != nil {
		m.line("Since snapshot %d: ready %+d, blocked %+d, unknown %+d; %s, %d gone.\n", c.PreviousSnapshot, c.Ready, c.Blocked, c.Unknown, fleet.Count(c.New, "new host"), c.Gone)
	}
}

func (m *markdown) causes(v *view) {
	m.line("## What stands in the way\n")
	if len(v.Causes) == 0 {
		m.line("Nothing that decides.\n")
		return
	}
	for _, c := range v.Causes {
		m.line("### %s: %s (%s)\n", fleet.Count(c.Decides, "host"), md(c.Title), code(c.Code))
		several := ""
		if c.Several() {
			several = " Some hosts have several of these:"
		}
		m.line("%s. Nothing else that is known stands in the way on %d of them. A root cause on %d in all.%s\n", c.Verdict, c.Alone, c.Found, several)
		fix := c.Fix()
		if c.Means != "" {
			m.line("%s\n", md(c.Means))
		}
		if fix != "" {
			m.line("**Fix:** %s\n", md(fix))
		}
		for _, i := range c.First() {
			var parts []string
			if i.Object != "" {
				parts = append(parts, code(i.Object))
			}
			if fix == "" && i.Fix != "" {
				parts = append(parts, "**Fix:** "+md(strings.TrimSuffix(i.Fix, ".")))
			}
			if i.Blast != "" {
				parts = append(parts, "**Blast radius:** "+md(strings.TrimSuffix(i.Blast, ".")))
			}
			m.line("- %s", strings.Join(append([]string{"**" + i.Ref() + "**, " + fleet.Count(i.Roots, "host")}, parts...), ". ")+".")
		}
		if c.More() > 0 {
			m.line("- and %d more under Findings", c.More())
		}
		m.line("")
	}
}

func (m *markdown) groups(v *view) {
	m.line("## Where\n")
	for _, g := range v.Groups {
		m.table(g.Title, "Hosts", "Ready", "Blocked", "Unknown", "Most often")
		for _, r := range g.Rows {
			m.row(md(cmp.Or(r.Name, "no "+g.Title)), fmt.Sprint(r.Tally.Total()), fmt.Sprint(r.Tally.Ready), fmt.Sprint(r.Tally.Blocked), fmt.Sprint(r.Tally.Unknown), code(r.Top))
		}
		m.line("")
	}
}

func (m *markdown) hosts(v *view) {
	m.line("## Hosts\n")
	m.line("Causal chains are drawn as root cause → consequence.\n")
	m.table("Host", "Instance", "Account", "Region", "Verdict", "Cause", "Findings")
	for _, h := range v.Hosts {
		m.row(md(h.Name), md(h.ID), md(h.Account), md(h.Region), h.Verdict.String(), md(h.CauseTitle), h.refs())
	}
	m.line("")
}

// refs names a host's findings: its causal chains first, then the rest.
func (h hostRow) refs() string {
	var out []string
	for _, c := range h.Chains {
		var links []string
		for _, l := range c {
			links = append(links, l.Issue.Ref())
		}
		out = append(out, strings.Join(links, " → "))
	}
	for _, f := range h.Others {
		out = append(out, f.Issue.Ref())
	}
	return strings.Join(out, ", ")
}

func (m *markdown) findings(v *view) {
	m.line("## Findings\n")
	for _, k := range v.Kinds {
		m.line("### %s (%s)\n\n%s.%s\n", md(k.Title), code(k.Code), k.Severity, paragraph(k.Means))
		if k.Undo != "" {
			m.line("To take a fix back: %s.\n", md(k.Undo))
		}
		for _, i := range k.Issues {
			m.line("- **%s**, %s%s", i.Ref(), i.reach(), objectText(i.Object))
			if i.Fix != "" {
				m.line("  - Fix: %s", md(i.Fix))
			}
			if len(i.From) > 0 {
				m.line("  - Follows from %s: the fix is there", i.origins())
			}
			if i.Undo != "" {
				m.line("  - To take it back: %s", md(i.Undo))
			}
			if i.Blast != "" {
				m.line("  - Blast radius: %s", md(i.Blast))
			}
			for _, e := range i.Evidence {
				m.line("  - Evidence: %s%s", md(e.Fact), origin(e))
			}
		}
		m.line("")
	}
}

func paragraph(s string) string {
	if s == "" {
		return ""
	}
	return " " + md(s)
}

// origins names the first issues from which this one follows.
func (i *issue) origins() string {
	var out []string
	for _, from := range i.First() {
		out = append(out, from.Ref())
	}
	text := strings.Join(out, ", ")
	if len(i.From) > maxIssues {
		text += " …"
	}
	return text
}

// reach says how many hosts or keys an issue is about.
func (i *issue) reach() string {
	switch {
	case i.Hosts > 0:
		return fleet.Count(i.Hosts, "host")
	case i.Keys > 0:
		return fleet.Count(i.Keys, "key")
	}
	return "shared"
}

func objectText(object string) string {
	if object == "" {
		return ""
	}
	return ", " + code(object)
}

func origin(e evidence) string {
	if e.Source == "" && e.At == "" {
		return ""
	}
	return " (" + md(strings.Trim(e.Source+", "+e.At, ", ")) + ")"
}

func (m *markdown) keys(v *view) {
	k := v.Keys
	m.line("## Keys\n\n%s on the hosts, %d with a finding. All keys are known on %d of %s.\n", fleet.Count(k.Total, "key"), k.Noted, k.Probed, fleet.Count(k.Hosts, "host"))
	if len(k.Rows) == 0 {
		return
	}
	m.table("Fingerprint", "Type", "Comment", "Hosts", "Last login seen", "Findings")
	for _, r := range k.Rows {
		var notes []string
		for _, n := range r.Notes {
			notes = append(notes, n.Issue.Ref()+" "+md(n.Title))
		}
		m.row(code(r.Fingerprint), md(r.Type), md(r.Comment), fmt.Sprint(r.Hosts), md(r.LastUse), strings.Join(notes, "; "))
	}
	if k.More() > 0 {
		m.line("\n%s with the least against them are left out.", fleet.Count(k.More(), "key"))
	}
	m.line("")
}

func (m *markdown) sources(v *view) {
	m.line("## Sources and unknowns\n")
	if len(v.Sources.Silent) == 0 {
		m.line("Every source answered in full.\n")
	} else {
		m.table("Source", "Account", "Region", "Reason")
		for _, s := range v.Sources.Silent {
			m.row(code(s.Source), md(s.Account), md(s.Region), md(s.Reason))
		}
		m.line("")
	}
	if len(v.Sources.Hosts) > 0 {
		m.table("Not known", "Hosts", "Reason", "For example")
		for _, s := range v.Sources.Hosts {
			m.row(md(s.What), fmt.Sprint(s.Hosts), md(s.Reason), md(s.First))
		}
		m.line("")
	}
}

var mdEscapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "|", `\|`, "~", `\~`, "#", `\#`, "&", `\&`, "$", `\$`,
	"@", `\@`, "://", `\://`, "www.", `www\.`, // no links and mentions that we did not make
)

// md is a clean text as Markdown shows it.
func md(s string) string { return mdEscapes.Replace(s) }

// code is a clean text in code type, in which Markdown knows no escapes.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", "¦").Replace(s) + "`"
}
