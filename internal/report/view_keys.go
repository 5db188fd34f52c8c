package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// maxKeys is how many keys a report lists; the counts tell of the rest.
const maxKeys = 200

// keyList is what is known of the public keys that open the hosts.
type keyList struct {
	Rows   []keyRow // keys with findings first
	Total  int      // distinct keys
	Noted  int      // of them with a finding
	Probed int      // hosts whose keys are known in full
	Hosts  int
}

// More is how many keys Rows leaves out.
func (k keyList) More() int { return k.Total - len(k.Rows) }

type keyRow struct {
	Fingerprint, Type, Comment string
	Bits                       int
	CA                         bool
	Hosts, Users, Comments     int
	User                       string // one that it opens
	LastUse                    string
	Notes                      []hostFinding // about it
	Evidence                   []evidence    // of all of them, each once

	last time.Time
}

// keys lists every distinct key that sshd accepts somewhere.
func (b *builder) keys() keyList {
	notes := b.keyNotes()
	list := keyList{Hosts: len(b.in.Snapshot.Hosts)}
	rows := map[string]*keyRow{}
	seen := map[[3]string]bool{}
	first := func(kind, key, value string) bool {
		k := [3]string{kind, key, value}
		again := seen[k]
		seen[k] = true
		return !again
	}
	last, logged := lastUses(b.in.Snapshot.Hosts)
	for _, h := range b.in.Snapshot.Hosts {
		if h.Probe.Known && h.Probe.Value.Keys.Known {
			list.Probed++
		}
		for _, k := range h.Probe.Value.Keys.Value {
			if k.Problem != "" || k.Fingerprint == "" || k.SendsAway() {
				continue
			}
			r := rows[k.Fingerprint]
			if r == nil {
				r = &keyRow{
					Fingerprint: clean(k.Fingerprint), Type: clean(k.Type), Bits: k.Bits, Comment: clean(k.Comment), User: clean(k.User),
					Notes: notes[k.Fingerprint], last: last[k.Fingerprint], LastUse: "none in the logs",
				}
				if !logged {
					r.LastUse = "no logs read"
				}
				if !r.last.IsZero() {
					r.LastUse = minute(r.last)
				}
				rows[k.Fingerprint] = r
			}
			r.CA = r.CA || k.CA
			if first("host", k.Fingerprint, h.ID) {
				r.Hosts++
			}
			if first("user", k.Fingerprint, k.User) {
				r.Users++
			}
			if first("comment", k.Fingerprint, k.Comment) {
				r.Comments++
			}
		}
	}
	list.Total = len(rows)
	for _, r := range rows {
		if len(r.Notes) > 0 {
			list.Noted++
		}
		for _, n := range r.Notes {
			for _, e := range n.Evidence {
				if !slices.Contains(r.Evidence, e) {
					r.Evidence = append(r.Evidence, e)
				}
			}
		}
		list.Rows = append(list.Rows, *r)
	}
	slices.SortFunc(list.Rows, func(a, b keyRow) int {
		return cmp.Or(cmp.Compare(severity(b.Notes), severity(a.Notes)), cmp.Compare(b.Hosts, a.Hosts), strings.Compare(a.Fingerprint, b.Fingerprint))
	})
	list.Rows = list.Rows[:min(len(list.Rows), maxKeys)]
	return list
}

// severity is that of the worst note, -1 without notes.
func severity(notes []hostFinding) int {
	worst := -1
	for _, n := range notes {
		worst = max(worst, int(n.Issue.Severity))
	}
	return worst
}

// keyNotes finds the findings about keys. Each code is given once per key.
func (b *builder) keyNotes() map[string][]hostFinding {
	out := map[string][]hostFinding{}
	for n, f := range b.in.Assessment.Findings {
		if !aboutKey(f) {
			continue
		}
		if !slices.ContainsFunc(out[f.Object], func(o hostFinding) bool { return o.Issue == b.issue[n] }) {
			out[f.Object] = append(out[f.Object], b.finding(n))
		}
	}
	return out
}

// lastUses gives the last login with each key, and whether any log was read.
func lastUses(hosts []fleet.Host) (last map[string]time.Time, logged bool) {
	last = map[string]time.Time{}
	for _, h := range hosts {
		logs := h.Probe.Value.Logins
		logged = logged || logs.Known
		for _, l := range logs.Value.Logins {
			for _, key := range []string{l.Fingerprint, l.CA} {
				if key != "" && l.Last.After(last[key]) {
					last[key] = l.Last
				}
			}
		}
	}
	return last, logged
}
