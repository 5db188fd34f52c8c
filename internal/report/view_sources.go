package report

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// sourceList is who answered and who did not.
type sourceList struct {
	Silent []sourceRow // APIs that gave no full answer
	Denied []sourceRow // optional ones among those that did not
	Good   []sourceRow
	Hosts  []silence // what is not known of hosts, by reason
	Partly int       // hosts that answered the probe, but not in full
}

type sourceRow struct {
	Account, Region, Source, At, Reason string
	Count                               int
}

// silence is one reason why something is not known of some hosts.
type silence struct {
	What   string
	Reason string
	Hosts  int
	First  string // name of the first
	Part   bool   // a part of an answer to the probe
}

func (b *builder) sources() sourceList {
	var out sourceList
	for _, s := range b.in.Snapshot.Sources() {
		row := sourceRow{Account: clean(s.Account), Region: clean(s.Region), Source: cmp.Or(clean(s.Source), "not collected"), At: second(s.At), Reason: clean(s.Reason), Count: s.Count}
		if s.Known {
			out.Good = append(out.Good, row)
			continue
		}
		if row.Reason == "" {
			row.Reason = "not asked"
		}
		if s.Optional {
			out.Denied = append(out.Denied, row)
			continue
		}
		out.Silent = append(out.Silent, row)
	}
	rows := map[[2]string]*silence{}
	note := func(what, reason, host string, part bool) {
		reason = alike(clean(reason))
		k := [2]string{what, reason}
		if rows[k] == nil {
			rows[k] = &silence{What: what, Reason: cmp.Or(reason, "no reason given"), First: b.nameOf(host), Part: part}
		}
		rows[k].Hosts++
	}
	for _, h := range b.in.Snapshot.Hosts {
		if !h.Node.Known {
			note("managed node", h.Node.Reason, h.ID, false)
		}
		if !h.Connection.Known && h.Node.Known && h.Node.Value.Registered {
			note("connection status", h.Connection.Reason, h.ID, false)
		}
		if !h.Probe.Known {
			note("host over SSH", h.Probe.Reason, h.ID, false)
			continue
		}
		p := h.Probe.Value
		for _, part := range []struct {
			what   string
			known  bool
			reason string
		}{
			{"sshd settings", p.SSHD.Known, p.SSHD.Reason},
			{"users", p.Users.Known, p.Users.Reason},
			{"keys", p.Keys.Known, p.Keys.Reason},
			{"agent on the host", p.Agent.Known, p.Agent.Reason},
			{"endpoint tests", p.Endpoints.Known, p.Endpoints.Reason},
			{"login log", p.Logins.Known, p.Logins.Reason},
			{"open sessions", p.Sessions.Known, p.Sessions.Reason},
			{"host health", p.Health.Known, p.Health.Reason},
			{"metadata service", p.Metadata.Known, p.Metadata.Reason},
			{"cloud-init", p.CloudInit.Known, p.CloudInit.Reason},
			{"traces of automation", p.Traces.Known, p.Traces.Reason},
		} {
			if !part.known {
				note(part.what, part.reason, h.ID, true)
			}
		}
		for _, g := range p.Gaps {
			note(clean(g.What), g.Reason, h.ID, true)
		}
		if !p.Whole() {
			out.Partly++
		}
	}
	for _, r := range rows {
		out.Hosts = append(out.Hosts, *r)
	}
	slices.SortFunc(out.Hosts, func(a, b silence) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), strings.Compare(a.What, b.What), strings.Compare(a.Reason, b.Reason))
	})
	return out
}

var hostSpecific = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b|\bi-[0-9a-f]{8,17}\b`)

// alike takes out of a reason what differs from host to host, so that 200
// timeouts are one row.
func alike(reason string) string { return hostSpecific.ReplaceAllString(reason, "…") }
