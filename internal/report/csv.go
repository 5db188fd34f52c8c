package report

import (
	"io"
	"strings"

	"ssm-migrate/internal/fleet"
)

// csvColumns are the columns of the CSV report, in order; docs/report-schema.md
// tells what each holds.
var csvColumns = []struct {
	name  string
	value func(hostRow) string
}{
	{"account", func(h hostRow) string { return h.Account }},
	{"region", func(h hostRow) string { return h.Region }},
	{"availability_zone", func(h hostRow) string { return h.AZ }},
	{"vpc", func(h hostRow) string { return h.VPC }},
	{"auto_scaling_group", func(h hostRow) string { return h.Group }},
	{"instance", func(h hostRow) string { return h.ID }},
	{"name", func(h hostRow) string { return h.Name }},
	{"private_ip", func(h hostRow) string { return h.Address }},
	{"platform", func(h hostRow) string { return h.Platform }},
	{"state", func(h hostRow) string { return h.State }},
	{"verdict", func(h hostRow) string { return h.Verdict.String() }},
	{"cause", func(h hostRow) string { return h.Cause }},
	{"root_causes", func(h hostRow) string { return strings.Join(h.Roots, "; ") }},
	{"cause_title", func(h hostRow) string { return h.CauseTitle }},
	{"fix", func(h hostRow) string { return h.causeIssue().Fix }},
	{"undo", func(h hostRow) string { return h.causeIssue().TakeBack }},
	{"blocks", codes(fleet.SeverityBlocks)},
	{"unknown", codes(fleet.SeverityUnknown)},
	{"risks", codes(fleet.SeverityRisk)},
	{"notes", codes(fleet.SeverityNote)},
	{"ping_status", func(h hostRow) string { return h.Ping }},
	{"agent_version", func(h hostRow) string { return h.Agent }},
	{"connection", func(h hostRow) string { return h.Connection }},
	{"ssh_probe", func(h hostRow) string { return h.Probe }},
}

func codes(s fleet.Severity) func(hostRow) string {
	return func(h hostRow) string { return strings.Join(h.Codes(s), "; ") }
}

// causeIssue is what decides the host's verdict; empty for none.
func (h hostRow) causeIssue() *issue {
	for _, f := range h.Findings {
		if f.Issue.Code == h.Cause && !f.Issue.Follows {
			return f.Issue
		}
	}
	return &issue{}
}

// CSV writes one row for each host, ready ones included, below a row of column
// names. Several codes in a cell are parted by "; ". A cell that a spreadsheet
// would take for a formula starts with an apostrophe.
func CSV(w io.Writer, in Input) error {
	rows := [][]string{make([]string, len(csvColumns))}
	for i, c := range csvColumns {
		rows[0][i] = c.name
	}
	for _, h := range build(in).Hosts {
		row := make([]string, len(csvColumns))
		for i, c := range csvColumns {
			row[i] = c.value(h)
		}
		rows = append(rows, row)
	}
	return writeCSV(w, "report", rows)
}

// noFormula follows OWASP's page on CSV injection; full-width forms count as
// well where the spreadsheet's language is an East Asian one.
func noFormula(s string) string {
	for _, start := range []string{"=", "+", "-", "@", "＝", "＋", "－", "＠"} {
		if strings.HasPrefix(s, start) {
			return "'" + s
		}
	}
	return s
}
