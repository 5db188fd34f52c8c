package tui

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// data is a snapshot and its judgement, prepared once after loading so that
// drawing and moving do no work that grows with the fleet. It is not changed
// afterwards.
type data struct {
	snap    *fleet.Snapshot
	judged  *fleet.Assessment
	rows    []row // one per host, in the snapshot's order
	counts  counts
	causes  []group           // what decides verdicts: blocked ones first, most hosts first
	others  []group           // risks and notes: risks first, most hosts first
	general [][]fleet.Finding // findings about shared things, those of one code together
	silent  []problem         // what gave no answer: sources, then hosts
	// silentSources is how many of silent are sources.
	silentSources int
	widths        [columnCount]int // of the widest cell in each column of the table
	byID          map[string]int   // rows by host ID
	active        int              // consumers of SSH
	losing        int              // people who lose hosts
	groups        []fleet.ConsumerGroup
	comers        map[string][]int // consumers by host ID: positions in groups
	language      *filter.Language
	tags          []tagKey
	ledger        []table
	access        []table
}

// row is one host in the fleet table. Its texts are clean.
type row struct {
	host     *fleet.Host
	verdict  fleet.Verdict
	cause    string
	name     string
	agent    string // version, "-" when known to be missing, "?" when unknown
	os       string
	keys     int             // authorized keys; -1 when unknown
	findings []fleet.Finding // worst first
	paths    []int           // positions in the assessment's paths
	at       int             // position in the assessment's hosts; -1: it leaves the host out
	text     string          // lower case, what the words of a filter are looked for in
}

type counts struct {
	running, managed, hybrid      int
	probeable, probed             int // running hosts that are not Windows; those of them that answered
	commands                      int // of the probed ones, those that answered by Run Command
	partly                        int // of the probed ones, those that could not tell everything
	keys                          int
	ready, blocked, unknown, risk int // risk: hosts with at least one risk
}

// group is a finding's code with the hosts that have it.
type group struct {
	code     string
	verdict  fleet.Verdict  // of the hosts, for a cause
	severity fleet.Severity // of the finding
	hosts    int
	sample   fleet.Finding // the first one, for its title and fix
	alike    bool          // every host's finding has the sample's title
}

// problem is a source or host that gave no answer. Its texts are clean.
type problem struct {
	host   bool   // a host, not a source
	place  string // account and Region, or host
	source string
	reason string
	at     time.Time
}

func newData(snap *fleet.Snapshot, judged *fleet.Assessment) *data {
	if judged == nil {
		judged = &fleet.Assessment{}
	}
	d := &data{snap: snap, judged: judged, rows: make([]row, len(snap.Hosts)), silent: silentSources(snap), byID: make(map[string]int, len(snap.Hosts))}
	d.silentSources = len(d.silent)
	verdicts := make(map[string]int, len(judged.Hosts))
	for i, v := range judged.Hosts {
		verdicts[v.Host] = i
	}
	findings := findingsByHost(judged.Findings)
	for i := range snap.Hosts {
		h := &snap.Hosts[i]
		v, at := fleet.HostVerdict{}, -1
		if n, ok := verdicts[h.ID]; ok {
			v, at = judged.Hosts[n], n
		}
		d.rows[i] = newRow(h, v, findings[h.ID])
		d.rows[i].at = at
		d.byID[h.ID] = i
		d.count(&d.rows[i])
		d.measure(&d.rows[i])
		d.silent = append(d.silent, silentHost(h)...)
	}
	for _, r := range snap.Regions {
		d.counts.hybrid += len(r.HybridNodes)
	}
	d.general = alike(findings[""])
	d.language, d.tags = filter.NewLanguage(snap.Hosts), tagKeys(snap.Hosts)
	d.group()
	d.groups, d.comers = judged.Ledger.Groups(), map[string][]int{}
	for i, g := range d.groups {
		for _, id := range g.Hosts {
			d.comers[id] = append(d.comers[id], i)
		}
	}
	d.ledger, d.access = ledgerTable(d), accessTables(d)
	return d
}

// tagKey is a tag that hosts have.
type tagKey struct {
	key           string
	hosts, values int
}

// tagKeys lists the tags that some hosts have in common first.
func tagKeys(hosts []fleet.Host) []tagKey {
	type seen struct {
		hosts  int
		values map[string]bool
	}
	all := map[string]*seen{}
	for i := range hosts {
		for k, v := range hosts[i].Tags {
			if all[k] == nil {
				all[k] = &seen{values: map[string]bool{}}
			}
			all[k].hosts++
			all[k].values[v] = true
		}
	}
	out := make([]tagKey, 0, len(all))
	for k, s := range all {
		out = append(out, tagKey{k, s.hosts, len(s.values)})
	}
	slices.SortFunc(out, func(a, b tagKey) int {
		return cmp.Or(b.hosts-a.hosts, a.values-b.values, strings.Compare(a.key, b.key))
	})
	return out
}

// alike groups findings by code, in the order in which codes come first.
func alike(all []fleet.Finding) [][]fleet.Finding {
	var out [][]fleet.Finding
	at := map[string]int{}
	for _, f := range all {
		i, seen := at[f.Code]
		if !seen {
			i = len(out)
			at[f.Code] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], f)
	}
	return out
}

// findingsByHost relies on no order: findings of one host that stand apart are
// brought together.
func findingsByHost(all []fleet.Finding) map[string][]fleet.Finding {
	out := map[string][]fleet.Finding{}
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && all[end].Host == all[i].Host {
			end++
		}
		if have, ok := out[all[i].Host]; ok {
			out[all[i].Host] = append(have, all[i:end]...)
		} else {
			out[all[i].Host] = all[i:end:end]
		}
		i = end
	}
	return out
}

func (d *data) count(r *row) {
	c := &d.counts
	switch r.verdict {
	case fleet.VerdictReady:
		c.ready++
	case fleet.VerdictBlocked:
		c.blocked++
	case fleet.VerdictUnknown:
		c.unknown++
	}
	if slices.ContainsFunc(r.findings, func(f fleet.Finding) bool { return f.Severity == fleet.SeverityRisk }) {
		c.risk++
	}
	h := r.host
	if h.Running() {
		c.running++
	}
	if inventory.Probeable(*h) {
		c.probeable++
	}
	if h.Node.Known && h.Node.Value.Registered {
		c.managed++
	}
	if h.Probe.Known {
		c.probed++
		if inventory.ByRunCommand(*h) {
			c.commands++
		}
		if !h.Probe.Value.Whole() {
			c.partly++
		}
		c.keys += len(h.Probe.Value.Keys.Value)
	}
}

// group gathers the causes and the other findings over all hosts.
func (d *data) group() {
	type key struct {
		code    string
		verdict fleet.Verdict
	}
	causes, others := map[key]*group{}, map[string]*group{}
	for i := range d.rows {
		r := &d.rows[i]
		seen := map[string]bool{}
		if r.verdict != fleet.VerdictReady {
			k := key{r.cause, r.verdict}
			if causes[k] == nil {
				causes[k] = &group{code: r.cause, verdict: r.verdict, alike: true}
			}
			f := fleet.Finding{Code: r.cause}
			if j := slices.IndexFunc(r.findings, func(f fleet.Finding) bool { return f.Code == r.cause }); j >= 0 {
				f = r.findings[j]
			}
			causes[k].add(f)
		}
		for _, f := range r.findings {
			if f.Severity != fleet.SeverityRisk && f.Severity != fleet.SeverityNote || seen[f.Code] {
				continue
			}
			seen[f.Code] = true
			if others[f.Code] == nil {
				others[f.Code] = &group{code: f.Code, alike: true}
			}
			others[f.Code].add(f)
		}
	}
	for _, g := range causes {
		d.causes = append(d.causes, *g)
	}
	for _, g := range others {
		d.others = append(d.others, *g)
	}
	order := func(a, b group) int {
		return cmp.Or(-cmp.Compare(a.verdict, b.verdict), -cmp.Compare(a.severity, b.severity), -cmp.Compare(a.hosts, b.hosts), strings.Compare(a.code, b.code))
	}
	slices.SortFunc(d.causes, order)
	slices.SortFunc(d.others, order)
}

func (g *group) add(f fleet.Finding) {
	if g.hosts == 0 {
		g.sample = f
	}
	g.hosts++
	g.severity = max(g.severity, f.Severity)
	g.alike = g.alike && f.Title == g.sample.Title
}

// title is what the group's findings say, as far as one line can tell.
func (g group) title() string {
	switch {
	case g.sample.Title == "":
		return g.code
	case g.alike:
		return clean(g.sample.Title)
	}
	return "e.g. " + clean(g.sample.Title)
}

func silentSources(s *fleet.Snapshot) []problem {
	var out []problem
	for _, src := range s.Sources() {
		if !src.Known && !src.Optional {
			out = append(out, problem{place: placeName(src.Account, src.Region), source: clean(src.Source), reason: reasonOr(src.Reason), at: src.At})
		}
	}
	return out
}

func silentHost(h *fleet.Host) []problem {
	var out []problem
	if !h.Running() {
		return nil
	}
	place := clean(h.Name())
	if place != h.ID {
		place += " " + clean(h.ID)
	}
	if h.Node.Known && h.Node.Value.Registered && !h.Connection.Known {
		out = append(out, problem{host: true, place: place, source: clean(h.Connection.Source), reason: reasonOr(h.Connection.Reason), at: h.Connection.At})
	}
	if inventory.Probeable(*h) && !h.Probe.Known {
		out = append(out, problem{host: true, place: place, source: "probe", reason: reasonOr(h.Probe.Reason), at: h.Probe.At})
	}
	return out
}

func placeName(account, region string) string {
	return clean(strings.TrimSpace(account + " " + region))
}

func reasonOr(reason string) string {
	if reason == "" {
		return "no reason was given"
	}
	return clean(reason)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func keysCell(n int) string {
	if n < 0 {
		return "?"
	}
	return strconv.Itoa(n)
}
