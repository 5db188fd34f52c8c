package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// LedgerCSV writes one row for each consumer of SSH below a row of column
// names, all of them, in the ledger's order. Several values in a cell are
// parted by "; ".
func LedgerCSV(w io.Writer, in Input) error {
	rows := [][]string{{"owner", "owner_by", "status", "why", "method", "fingerprint", "comment", "certificate", "from", "user", "use", "hosts", "logins", "open_sessions", "first", "last", "instances"}}
	for _, c := range in.Assessment.Ledger.Consumers {
		from := ""
		if c.From.IsValid() {
			from = c.From.String()
		}
		rows = append(rows, []string{c.Owner, c.OwnerBy, c.Status.String(), c.Why, c.Method, c.Fingerprint, c.Comment, c.CertID, from, c.User, string(c.Use),
			fmt.Sprint(len(c.Hosts)), fmt.Sprint(c.Count), fmt.Sprint(c.Open), stamp(c.First, time.RFC3339), stamp(c.Last, time.RFC3339), strings.Join(c.Hosts, "; ")})
	}
	return writeCSV(w, "ledger", rows)
}

// AccessCSV writes one row for each pair of a person and a host with a way in
// today or tomorrow, below a row of column names.
func AccessCSV(w io.Writer, in Input) error {
	words := map[byte]string{fleet.ParityKeeps: "keeps", fleet.ParityLoses: "loses", fleet.ParityGains: "gains", fleet.ParityUnknown: "unknown"}
	rows := [][]string{{"person", "claimed", "instance", "name", "access"}}
	names := map[string]string{}
	for _, h := range in.Snapshot.Hosts {
		names[h.ID] = h.Name()
	}
	for _, p := range in.Assessment.Parity.People {
		for i, v := range in.Assessment.Hosts {
			if i < len(p.Cells) && words[p.Cells[i]] != "" {
				rows = append(rows, []string{p.Person, fmt.Sprint(p.Claimed), v.Host, names[v.Host], words[p.Cells[i]]})
			}
		}
	}
	return writeCSV(w, "access", rows)
}

func writeCSV(w io.Writer, what string, rows [][]string) error {
	out := csv.NewWriter(w)
	for _, row := range rows {
		for i := range row {
			row[i] = noFormula(clean(row[i]))
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write %s as CSV: %w", what, err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write %s as CSV: %w", what, err)
	}
	return nil
}
