package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ssm-migrate/internal/fleet"
)

// printHost tells of a host what the wizard's page tells: why it has its
// verdict first.
func printHost(w io.Writer, h judgedHost) error {
	d := h.Detail
	fmt.Fprintf(w, "%s  %s\n", d.ID, oneLine(d.Name()))
	fmt.Fprintf(w, "  verdict   %s", h.Verdict)
	if h.Cause != "" {
		fmt.Fprintf(w, " because of %s", h.Cause)
	}
	if more := len(h.Causes) - 1; more > 0 {
		fmt.Fprintf(w, ", and of %s", count(more, "more root cause", "more root causes"))
	}
	fmt.Fprintf(w, "\n  place     %s %s, %s, %s, address %s\n", d.Account, d.AZ, d.VPC, d.Subnet, addressText(d))
	fmt.Fprintf(w, "  instance  %s, %s, %s\n", d.State, d.InstanceType, d.Platform)
	fmt.Fprintf(w, "  agent     %s\n", agentColumn(d))
	printChains(w, h.Findings)
	printPaths(w, h.Paths)
	for _, f := range h.Findings {
		if f.Severity < fleet.SeverityUnknown {
			printFinding(w, f)
		}
	}
	return printKeys(w, d)
}

func addressText(d fleet.Host) string {
	if !d.PrivateIP.IsValid() {
		return "unknown"
	}
	return d.PrivateIP.String()
}

// printChains tells each root cause in full, then what follows from it.
func printChains(w io.Writer, findings []fleet.Finding) {
	chains := fleet.Chains(findings)
	told := map[fleet.Ref]bool{}
	for i, c := range chains {
		if len(chains) > 1 {
			fmt.Fprintf(w, "\n  Root cause %d of %d", i+1, len(chains))
		}
		for j, f := range c {
			switch {
			case j == 0:
				printFinding(w, f)
			case told[f.Ref()]:
				fmt.Fprintf(w, "  so %s: %s (as above)\n", f.Code, oneLine(f.Title))
			default:
				fmt.Fprintf(w, "  so %s: %s\n", f.Code, oneLine(f.Title))
				printEvidence(w, f)
			}
			told[f.Ref()] = true
		}
	}
}

func printFinding(w io.Writer, f fleet.Finding) {
	fmt.Fprintf(w, "\n  [%s] %s: %s\n", f.Severity, f.Code, oneLine(f.Title))
	printEvidence(w, f)
	for _, line := range []struct{ label, text string }{{"fix", f.Fix}, {"undo", f.Undo}, {"blast", f.Blast}} {
		if line.text != "" {
			fmt.Fprintf(w, "    %-6s %s\n", line.label, oneLine(line.text))
		}
	}
}

func printEvidence(w io.Writer, f fleet.Finding) {
	for _, e := range f.Evidence {
		fmt.Fprintf(w, "    seen   %s (%s%s)\n", oneLine(e.Fact), oneLine(e.Source), when(e.At))
	}
}

var pathWords = map[fleet.Truth]string{fleet.TruthYes: "open", fleet.TruthNo: "stopped", fleet.TruthUnknown: "not known"}

// printPaths draws the ways to the endpoints: open ones in a line, the others hop by hop.
func printPaths(w io.Writer, paths []fleet.Path) {
	if len(paths) > 0 {
		fmt.Fprint(w, "\n  Network paths, as AWS's settings make them\n")
	}
	for _, p := range paths {
		if p.Open == fleet.TruthYes {
			var hops []string
			for _, h := range p.Hops {
				hops = append(hops, strings.TrimSpace(h.Kind+" "+h.Object))
			}
			fmt.Fprintf(w, "    %-12s open: %s\n", p.Service, oneLine(strings.Join(hops, " > ")))
			continue
		}
		fmt.Fprintf(w, "    %-12s %s: %s\n", p.Service, pathWords[p.Open], oneLine(p.Name))
		for _, h := range p.Hops {
			fmt.Fprintf(w, "      %-8s %s: %s\n", map[fleet.Truth]string{fleet.TruthYes: "passes", fleet.TruthNo: "STOPS", fleet.TruthUnknown: "?"}[h.Passes],
				oneLine(strings.TrimSpace(h.Kind+" "+h.Object)), oneLine(h.Text))
		}
	}
}

func printKeys(w io.Writer, d fleet.Host) error {
	if !d.Probe.Known {
		_, err := fmt.Fprintf(w, "\n  keys are unknown: %s\n\n", oneLine(d.Probe.Reason))
		return err
	}
	keys := d.Probe.Value.Keys
	if !keys.Known {
		fmt.Fprintf(w, "\n  the list of keys is not whole: %s\n", oneLine(keys.Reason))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\n  USER\tTYPE\tFINGERPRINT\tCOMMENT\tFILE")
	for _, k := range keys.Value {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s:%d\n", cell(k.User), cell(k.Type), k.Fingerprint, cell(k.Comment), oneLine(k.File), k.Line)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", " + t.UTC().Format("2006-01-02 15:04:05Z")
}
