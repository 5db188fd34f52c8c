package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

func printDrift(w io.Writer, r cutover.DriftReport, names map[fleet.HostRef]string) error {
	if r.Holder != "" {
		fmt.Fprintf(w, "%s is at work on it; what that touches is not judged.\n", oneLine(r.Holder))
	}
	if r.Steps == 0 {
		_, err := fmt.Fprintf(w, "Nothing of plan %s is done: there is nothing that should hold.\n", r.Plan)
		return err
	}
	if len(r.Items) == 0 {
		_, err := fmt.Fprintf(w, "%s of plan %s are done, on %s, and all hold.\n", count(r.Steps, "step", "steps"), r.Plan, count(r.Hosts, "host", "hosts"))
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DRIFT\tWHAT\tNAME\tREGION\tHELD SINCE\tNOW")
	drifted, unknown := 0, 0
	for _, i := range r.Items {
		code := string(i.Code)
		if i.Holds == fleet.TruthNo {
			drifted++
		} else {
			code += " (unknown)"
			unknown++
		}
		name := ""
		if len(i.Hosts) == 1 && i.Hosts[0].ID == i.What {
			name = names[i.Hosts[0]]
		}
		if name == i.What {
			name = ""
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", code, oneLine(i.What), dash(cell(name)), dash(oneLine(i.At.Region)), sinceCell(i.Since), oneLine(i.Now))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nPlan %s: %d drifted, %d not known, of %s done on %s.\nWhat to do:\n", r.Plan, drifted, unknown, count(r.Steps, "step", "steps"), count(r.Hosts, "host", "hosts"))
	return printRemedies(w, r.Items)
}

func sinceCell(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return stamp(at)
}

// printRemedies says each remedy once, with what it is for.
func printRemedies(w io.Writer, items []cutover.DriftItem) error {
	const most = 5
	about := map[string][]string{}
	var order []string
	for _, i := range items {
		if about[i.Do] == nil {
			order = append(order, i.Do)
		}
		about[i.Do] = append(about[i.Do], oneLine(i.What))
	}
	for _, do := range order {
		what := about[do]
		if n := len(what); n > most {
			what = append(what[:most], fmt.Sprintf("and %d more", n-most))
		}
		if _, err := fmt.Fprintf(w, "  %s: %s\n", strings.Join(what, ", "), oneLine(do)); err != nil {
			return err
		}
	}
	return nil
}
