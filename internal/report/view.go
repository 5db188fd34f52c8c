package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// view is what all formats show, in the order in which they show it. Its
// strings are clean: renderers only escape them for their format.
type view struct {
	Version  string // that renders
	ID       int64
	TakenBy  string // version
	Started  string
	Finished string
	Day      string
	Took     string
	State    string
	Judged   string
	Accounts int
	Regions  int      // distinct names
	Unlisted []string // Regions, with their accounts, whose list of instances is not known

	Tally   tally
	Stopped int // unknown hosts that are not running
	Change  *change
	Causes  []cause
	Groups  []grouping
	Hosts   []hostRow
	Kinds   []kind // all findings, worst first
	Keys    keyList
	Sources sourceList
	Paths   pathList
	Proved  []provedRow
	Ledger  ledgerList
	Parity  parityList

	Operators     []operatorRow
	MoreOperators int
}

// tally counts hosts by verdict.
type tally struct{ Ready, Blocked, Unknown int }

func (t *tally) add(v fleet.Verdict) {
	switch v {
	case fleet.VerdictReady:
		t.Ready++
	case fleet.VerdictBlocked:
		t.Blocked++
	default:
		t.Unknown++
	}
}

// Total is how many hosts were counted.
func (t tally) Total() int { return t.Ready + t.Blocked + t.Unknown }

// Percent is a share of the total, rounded; it is 0 only for none of the hosts
// and 100 only for all of them.
func (t tally) Percent(n int) int {
	switch total := t.Total(); n {
	case 0:
		return 0
	case total:
		return 100
	default:
		return min(max((200*n+total)/(2*total), 1), 99)
	}
}

// segment is one part of a bar that is barWidth wide.
type segment struct {
	Verdict  fleet.Verdict
	X, Width int
}

const barWidth = 1000

// Bar divides a bar by verdict. A verdict that any host has can be seen.
func (t tally) Bar() []segment {
	if t.Total() == 0 {
		return nil
	}
	const least = 6
	var out []segment
	rest, x := barWidth, 0
	parts := []segment{{fleet.VerdictReady, 0, t.Ready}, {fleet.VerdictBlocked, 0, t.Blocked}, {fleet.VerdictUnknown, 0, t.Unknown}}
	for _, p := range parts {
		if p.Width > 0 {
			p.Width = max(least, barWidth*p.Width/t.Total())
			rest -= p.Width
			out = append(out, p)
		}
	}
	// What rounding left over or took too much belongs to the widest.
	widest := 0
	for i := range out {
		if out[i].Width > out[widest].Width {
			widest = i
		}
	}
	out[widest].Width += rest
	for i := range out {
		out[i].X = x
		x += out[i].Width
	}
	return out
}

type hostRow struct {
	ID, Name, Account, Region, AZ, VPC, Group string
	Address, Platform, State                  string
	Verdict                                   fleet.Verdict
	Cause, CauseTitle                         string
	Agent, Ping, Connection, Probe            string
	Findings                                  []hostFinding
	Chains                                    []chain
	Others                                    []hostFinding // those in no chain
	Paths                                     []*pathRow
	Roots                                     []string // codes of all root causes, the deciding one first
	Tags                                      map[string]string
}

// Codes lists the distinct codes of the host's findings of one severity.
func (h hostRow) Codes(s fleet.Severity) []string {
	var out []string
	for _, f := range h.Findings {
		if f.Issue.Severity == s && !slices.Contains(out, f.Issue.Code) {
			out = append(out, f.Issue.Code)
		}
	}
	return out
}

// hostFinding is a finding on one host: what it has in common with other hosts
// is in Issue.
type hostFinding struct {
	Issue    *issue
	Title    string
	Blast    string     // where it differs from Issue's
	Evidence []evidence // what Issue does not have
}

type evidence struct {
	Fact, Source, At string
	Several          *several // tells Fact and Source; nil: the host alone has them
}

// builder gathers what several parts of the view need.
type builder struct {
	in    Input
	hosts map[string]*fleet.Host
	issue map[int]*issue   // by index in Assessment.Findings
	by    map[string][]int // indexes of findings by host
	root  map[rootKey]bool // root causes of hosts
	entry map[string]readiness.Entry
	path  map[int]*pathRow // by position in Assessment.Paths

	tagKeys []string // by which hosts are grouped
}

func build(in Input) *view {
	s := in.Snapshot
	b := &builder{in: in, hosts: make(map[string]*fleet.Host, len(s.Hosts)), by: map[string][]int{}, root: map[rootKey]bool{}, entry: map[string]readiness.Entry{}}
	for i := range s.Hosts {
		b.hosts[s.Hosts[i].ID] = &s.Hosts[i]
	}
	for i, f := range in.Assessment.Findings {
		b.by[f.Host] = append(b.by[f.Host], i)
	}
	for _, h := range in.Assessment.Hosts {
		for _, ref := range h.Causes {
			b.root[rootKey{h.Host, ref}] = true
		}
	}
	for _, e := range readiness.Catalogue() {
		b.entry[e.Code] = e
	}
	v := &view{
		Version: clean(in.Version), ID: s.ID, TakenBy: clean(s.Version), State: s.State.String(),
		Started: minute(s.Started), Finished: minute(s.Finished), Day: stamp(s.Started, "2006-01-02"), Judged: minute(in.Assessment.At),
	}
	if !s.Finished.IsZero() && s.Finished.After(s.Started) {
		v.Took = strings.TrimSuffix(s.Finished.Sub(s.Started).Round(time.Second).String(), "m0s")
		if !strings.HasSuffix(v.Took, "s") {
			v.Took += "m"
		}
	}
	v.Proved = provedRows(in.Proved)
	v.Kinds = b.kinds(b.issues())
	v.Paths, b.path = b.paths()
	b.tagKeys = groupingTags(s.Hosts)
	verdicts := b.verdicts()
	for _, h := range verdicts {
		v.Tally.add(h.Verdict)
		v.Hosts = append(v.Hosts, b.hostRow(h))
		if h.Verdict == fleet.VerdictUnknown && h.Cause == "instance-not-running" {
			v.Stopped++
		}
	}
	accounts, regions := map[string]bool{}, map[string]bool{}
	for _, r := range s.Regions {
		accounts[cmp.Or(r.Account, r.Label)], regions[r.Name] = true, true
		if !r.Instances.Known {
			v.Unlisted = append(v.Unlisted, clean(r.Name)+" of account "+clean(cmp.Or(r.Account, r.Label)))
		}
	}
	v.Accounts, v.Regions = len(accounts), len(regions)
	v.Change = changes(v.Hosts, in.Previous)
	if v.Change != nil {
		v.Change.Causes = b.causeMoves()
	}
	v.Causes = b.causes(v.Hosts, v.Kinds)
	v.Groups = b.groups(v.Hosts)
	v.Keys = b.keys()
	v.Sources = b.sources()
	v.Ledger = b.ledger()
	v.Parity = b.parity()
	v.Operators, v.MoreOperators = b.operators()
	return v
}

// verdicts are those of the assessment; a host of the snapshot that it leaves
// out is unknown.
func (b *builder) verdicts() []fleet.HostVerdict {
	out := slices.Clone(b.in.Assessment.Hosts)
	judged := make(map[string]bool, len(out))
	for _, h := range out {
		judged[h.Host] = true
	}
	for _, h := range b.in.Snapshot.Hosts {
		if !judged[h.ID] {
			out = append(out, fleet.HostVerdict{Host: h.ID})
		}
	}
	return out
}

func (b *builder) hostRow(v fleet.HostVerdict) hostRow {
	row := hostRow{ID: clean(v.Host), Name: clean(v.Host), Verdict: v.Verdict, Cause: clean(v.Cause)}
	if h, ok := b.hosts[v.Host]; ok {
		row.Name, row.Account, row.Region, row.AZ = clean(h.Name()), clean(h.Account), clean(h.Region), clean(h.AZ)
		row.VPC, row.Group, row.Platform, row.State = clean(h.VPC), clean(h.AutoScalingGroup), clean(h.Platform), clean(h.State)
		if h.PrivateIP.IsValid() {
			row.Address = clean(h.PrivateIP.String())
		}
		row.Ping, row.Agent = nodeWords(h.Node)
		row.Connection = factWords(h.Connection.Known, h.Connection.Value, h.Connection.Reason)
		row.Probe = factWords(h.Probe.Known, "answered", h.Probe.Reason)
		row.Tags = h.Tags
	}
	for _, n := range v.Paths {
		if p := b.path[n]; p != nil {
			row.Paths = append(row.Paths, p)
		}
	}
	for _, ref := range v.Causes {
		if code := clean(ref.Code); !slices.Contains(row.Roots, code) {
			row.Roots = append(row.Roots, code)
		}
	}
	if row.Cause != "" && len(row.Roots) == 0 {
		row.Roots = []string{row.Cause}
	}
	row.Chains, row.Others = b.chains(v.Host)
	for _, i := range b.by[v.Host] {
		row.Findings = append(row.Findings, b.finding(i))
	}
	for _, f := range row.Findings {
		if f.Issue.Code == row.Cause {
			row.CauseTitle = f.Title
			break
		}
	}
	return row
}

func (b *builder) finding(n int) hostFinding {
	f, i := b.in.Assessment.Findings[n], b.issue[n]
	out := hostFinding{Issue: i, Title: clean(f.Title), Evidence: i.own(f.Evidence, b.second)}
	if blast := clean(f.Blast); blast != i.Blast && !i.Follows {
		out.Blast = blast
	}
	return out
}

// second is a time for evidence on a host; the day is left out when it is that
// of the inventory.
func (b *builder) second(t time.Time) string {
	text, day := second(t), stamp(b.in.Snapshot.Started, "2006-01-02 ")
	if day == "" {
		return text
	}
	return strings.TrimPrefix(text, day)
}

func nodeWords(f fleet.Fact[fleet.Node]) (ping, agent string) {
	switch {
	case !f.Known:
		return factWords(false, "", f.Reason), ""
	case !f.Value.Registered:
		return "not registered", ""
	}
	return clean(f.Value.PingStatus), clean(f.Value.AgentVersion)
}

func factWords(known bool, value, reason string) string {
	if known {
		return clean(value)
	}
	if reason == "" {
		return "unknown"
	}
	return "unknown: " + clean(reason)
}

// change is what moved since an earlier assessment.
type change struct {
	Since            string
	Better, Worse    []move
	Causes           []causeMove
	New, Gone        int
	Ready, Blocked   int // now minus then
	Unknown          int
	PreviousSnapshot int64
}

type move struct {
	ID, Name string
	From, To fleet.Verdict
	Cause    string
}

func changes(hosts []hostRow, previous *fleet.Assessment) *change {
	if previous == nil {
		return nil
	}
	c := &change{Since: minute(previous.At), PreviousSnapshot: previous.Snapshot}
	before := make(map[string]fleet.Verdict, len(previous.Hosts))
	var then, now tally
	for _, h := range previous.Hosts {
		before[clean(h.Host)] = h.Verdict
		then.add(h.Verdict)
	}
	for _, h := range hosts {
		now.add(h.Verdict)
		was, there := before[h.ID]
		delete(before, h.ID)
		m := move{ID: h.ID, Name: h.Name, From: was, To: h.Verdict, Cause: h.Cause}
		switch {
		case !there:
			c.New++
		case was == h.Verdict:
		case h.Verdict == fleet.VerdictReady || was == fleet.VerdictBlocked:
			c.Better = append(c.Better, m)
		default:
			c.Worse = append(c.Worse, m)
		}
	}
	c.Gone = len(before)
	c.Ready, c.Blocked, c.Unknown = now.Ready-then.Ready, now.Blocked-then.Blocked, now.Unknown-then.Unknown
	return c
}

// grouping is one way to divide the hosts.
type grouping struct {
	Title string
	Rows  []groupRow
}

type groupRow struct {
	Name  string // empty: hosts without such a group
	Tally tally
	Top   string // code that decides most of its hosts that are not ready
}

func (b *builder) groups(hosts []hostRow) []grouping {
	type division struct {
		title string
		name  func(hostRow) string
	}
	var out []grouping
	all := []division{
		{"Account and Region", func(h hostRow) string { return strings.TrimSpace(h.Account + " " + h.Region) }},
		{"VPC", func(h hostRow) string { return h.VPC }},
		{"Auto Scaling group", func(h hostRow) string { return h.Group }},
	}
	for _, key := range b.tagKeys {
		all = append(all, division{"Tag " + clean(key), func(h hostRow) string { return clean(h.Tags[key]) }})
	}
	for _, g := range all {
		out = append(out, grouping{Title: g.title, Rows: groupRows(hosts, g.name)})
	}
	return out
}

// groupRows lists the groups with most work left first, hosts without a group last.
func groupRows(hosts []hostRow, name func(hostRow) string) []groupRow {
	rows := map[string]*groupRow{}
	tops := map[string]map[string]int{}
	for _, h := range hosts {
		n := name(h)
		if rows[n] == nil {
			rows[n], tops[n] = &groupRow{Name: n}, map[string]int{}
		}
		rows[n].Tally.add(h.Verdict)
		if h.Cause != "" {
			tops[n][h.Cause]++
		}
	}
	var out []groupRow
	for n, r := range rows {
		for code, hosts := range tops[n] {
			if best := tops[n][r.Top]; hosts > best || hosts == best && (r.Top == "" || code < r.Top) {
				r.Top = code
			}
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b groupRow) int {
		if (a.Name == "") != (b.Name == "") {
			return cmp.Compare(len(b.Name), len(a.Name))
		}
		return cmp.Or(cmp.Compare(b.Tally.Total()-b.Tally.Ready, a.Tally.Total()-a.Tally.Ready), strings.Compare(a.Name, b.Name))
	})
	return out
}
