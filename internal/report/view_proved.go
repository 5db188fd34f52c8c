package report

import (
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
)

// ProvedWays says which ways into the hosts of a VPC have been used, and when.
// Of each host the newest try of a way counts.
type ProvedWays struct {
	Account  string          `json:"account"`
	Region   string          `json:"region"`
	VPC      string          `json:"vpc"`
	Seen     time.Time       `json:"seen"`  // when the proofs were read: ages count up to it
	Hosts    int             `json:"hosts"` // running Linux hosts
	Sessions ProvedWay       `json:"sessions"`
	Recovery ProvedWay       `json:"recovery"`
	Drill    *recovery.Drill `json:"drill,omitempty"` // of the recovery bastion, the last one
}

// ProvedWay counts the hosts into which a way is proved.
type ProvedWay struct {
	Hosts  int       `json:"hosts"`           // whose newest try worked
	Failed int       `json:"failed"`          // whose newest try did not
	Oldest time.Time `json:"oldest,omitzero"` // the oldest of those that worked
}

// Add takes the newest proof of one more host.
func (w *ProvedWay) Add(p fleet.Proof) {
	if p.Works != fleet.TruthYes {
		w.Failed++
		return
	}
	w.Hosts++
	if w.Oldest.IsZero() || p.At.Before(w.Oldest) {
		w.Oldest = p.At
	}
}

// provedRow is a VPC as the report shows it.
type provedRow struct{ Place, VPC, Sessions, Recovery, Drill string }

func provedRows(list []ProvedWays) []provedRow {
	var out []provedRow
	for _, p := range list {
		way := func(w ProvedWay) string {
			if w.Hosts == 0 && w.Failed == 0 {
				return "never tried"
			}
			text := fmt.Sprintf("%d of %d hosts", w.Hosts, p.Hosts)
			if w.Hosts > 0 {
				text += ", the oldest " + recovery.Days(p.Seen.Sub(w.Oldest)) + " ago"
			}
			if w.Failed > 0 {
				text += fmt.Sprintf("; %d failed", w.Failed)
			}
			return text
		}
		row := provedRow{Place: clean(p.Account + " " + p.Region), VPC: clean(p.VPC), Sessions: way(p.Sessions), Recovery: way(p.Recovery), Drill: "never"}
		if d := p.Drill; d != nil {
			row.Drill = recovery.Days(p.Seen.Sub(d.At)) + " ago: " + d.String()
		}
		out = append(out, row)
	}
	return out
}

func (m *markdown) proved(rows []provedRow) {
	if len(rows) == 0 {
		return
	}
	m.line("## Ways in that were used\n")
	m.line("A way counts as proved only by using it: a session that ran a command, a login by the recovery bastion.\n")
	m.table("Where", "VPC", "Session Manager", "Recovery bastion", "Last drill")
	for _, r := range rows {
		m.row(md(r.Place), code(r.VPC), md(r.Sessions), md(r.Recovery), md(r.Drill))
	}
	m.line("")
}
