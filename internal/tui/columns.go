package tui

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// column is one of the fleet table's columns, in the order of display.
type column int

const (
	colVerdict column = iota
	colName
	colID
	colCause
	colAgent
	colAZ
	colVPC
	colKeys
	colOS
	colASG
	colState
	colType
	colIP
	colAccount
	columnCount
)

// columns holds each column's title, the cells that its width may take, and
// how it is compared. min is what it gets where room is short.
var columns = [columnCount]struct {
	title    string
	min, max int
	cell     func(*row) string
	compare  func(a, b *row) int // nil: by cell, as people order texts
	number   bool                // aligned to the right
}{
	colVerdict: {"VERDICT", 9, 9, (*row).verdictCell, func(a, b *row) int { return cmp.Compare(urgency(a.verdict), urgency(b.verdict)) }, false},
	colName:    {"NAME", 14, 44, func(r *row) string { return r.name }, nil, false},
	colID:      {"ID", 19, 19, func(r *row) string { return clean(r.host.ID) }, nil, false},
	colCause:   {"CAUSE", 16, 32, func(r *row) string { return r.cause }, nil, false},
	colAgent:   {"AGENT", 8, 14, func(r *row) string { return r.agent }, nil, false},
	colAZ:      {"ZONE", 6, 18, func(r *row) string { return clean(cmp.Or(r.host.AZ, r.host.Region)) }, nil, false},
	colVPC:     {"VPC", 12, 21, func(r *row) string { return clean(r.host.VPC) }, nil, false},
	colKeys:    {"KEYS", 4, 6, func(r *row) string { return keysCell(r.keys) }, func(a, b *row) int { return cmp.Compare(a.keys, b.keys) }, true},
	colOS:      {"OS", 10, 26, func(r *row) string { return r.os }, nil, false},
	colASG:     {"AUTO SCALING GROUP", 18, 32, func(r *row) string { return clean(r.host.AutoScalingGroup) }, nil, false},
	colState:   {"STATE", 7, 13, func(r *row) string { return clean(r.host.State) }, nil, false},
	colType:    {"TYPE", 9, 14, func(r *row) string { return clean(r.host.InstanceType) }, nil, false},
	colIP:      {"ADDRESS", 9, 15, func(r *row) string { return address(r.host.PrivateIP) }, nil, false},
	colAccount: {"ACCOUNT", 12, 12, func(r *row) string { return clean(r.host.Account) }, nil, false},
}

// columnNames are what columns are called in saved views.
var columnNames = [columnCount]string{
	colVerdict: "verdict", colName: "name", colID: "id", colCause: "cause", colAgent: "agent", colAZ: "az", colVPC: "vpc", colKeys: "keys",
	colOS: "os", colASG: "asg", colState: "state", colType: "type", colIP: "ip", colAccount: "account",
}

// columnCalled is the column of a name; of one that is not known the first.
func columnCalled(name string) column {
	return column(max(slices.Index(columnNames[:], name), 0))
}

// columnsByNeed says which columns to show first where there is no room for all.
var columnsByNeed = []column{colVerdict, colName, colCause, colAZ, colKeys, colAgent, colID, colOS, colVPC, colState, colASG, colType, colIP, colAccount}

func (r *row) verdictCell() string {
	_, symbol, word := (&styles{}).verdict(r.verdict)
	return symbol + " " + word
}

// align fits a text into a column.
func (p placed) align(text string) string {
	if n := width(text); columns[p.column].number && n < p.width {
		return strings.Repeat(" ", p.width-n) + text
	}
	return fit(text, p.width)
}

// urgency orders verdicts by what needs work first.
func urgency(v fleet.Verdict) int {
	switch v {
	case fleet.VerdictBlocked:
		return 0
	case fleet.VerdictUnknown:
		return 1
	case fleet.VerdictReady:
	}
	return 2
}

// measure widens the columns for a row's cells.
func (d *data) measure(r *row) {
	for c := range columns {
		if d.widths[c] < columns[c].max {
			d.widths[c] = max(d.widths[c], width(columns[c].cell(r)))
		}
	}
}

// placed is a column with the width that it got.
type placed struct {
	column
	width int
}

// layout chooses the columns for w cells: as many as fit in the order of need,
// and what is left over goes to names and causes.
func layout(widths [columnCount]int, w int) []placed {
	var got [columnCount]int
	left := w + 1 // the last column has no gap behind it
	for _, c := range columnsByNeed {
		natural := min(max(widths[c], width(columns[c].title)+1, columns[c].min), columns[c].max)
		want := natural
		if c == colName || c == colCause {
			want = columns[c].min
		}
		if want+1 > left {
			break
		}
		got[c] = want
		left -= want + 1
	}
	for _, c := range []column{colName, colCause} {
		if got[c] > 0 {
			extra := min(left, max(min(max(widths[c], 6), columns[c].max)-got[c], 0))
			got[c] += extra
			left -= extra
		}
	}
	var out []placed
	for c := range columnCount {
		if got[c] > 0 {
			out = append(out, placed{c, got[c]})
		}
	}
	return out
}

// compareRows orders two rows by a column; rows that are equal there are
// ordered by name, then ID, so that the order never depends on chance.
func compareRows(c column, a, b *row) int {
	var by int
	if compare := columns[c].compare; compare != nil {
		by = compare(a, b)
	} else {
		by = compareNatural(columns[c].cell(a), columns[c].cell(b))
	}
	return cmp.Or(by, compareNatural(a.name, b.name), cmp.Compare(a.host.ID, b.host.ID))
}
