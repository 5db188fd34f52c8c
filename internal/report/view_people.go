package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// maxConsumers, maxPeople and maxOperators are how many rows the tables of
// people show; the counts tell of the rest, the JSON has all.
const (
	maxConsumers = 200
	maxPeople    = 200
	maxOperators = 200
)

// ledgerList is who still comes in over SSH.
type ledgerList struct {
	Active, Waived, Silent, Migrated int
	Rows                             []consumerRow
	More                             int
	Hosts, Unread                    int
}

// Total is how many consumers there are.
func (l ledgerList) Total() int { return l.Active + l.Waived + l.Silent + l.Migrated }

type consumerRow struct {
	Owner, OwnerBy string // empty: nobody claims it
	Identity       string // fingerprint, certificate or method
	Comment        string
	From, User     string
	Use            string
	Hosts          int
	Names          []string
	Count, Open    int
	Last           string
	LastSeen       string // the same without the zone
	Since          string // day of the first login
	Status         fleet.ConsumerStatus
	Why            string
}

func (b *builder) ledger() ledgerList {
	in := b.in.Assessment.Ledger
	out := ledgerList{Hosts: in.Hosts, Unread: len(in.Unread)}
	groups := in.Groups()
	t := fleet.TallyOf(groups)
	out.Active, out.Waived, out.Silent, out.Migrated = t.Active, t.Waived, t.Silent, t.Migrated
	out.More = max(0, len(groups)-maxConsumers)
	for _, c := range groups[:len(groups)-out.More] {
		out.Rows = append(out.Rows, b.consumer(c))
	}
	return out
}

// First are the names for which a narrow column has room.
func (r consumerRow) First() []string { return r.Names[:min(len(r.Names), 3)] }

func (b *builder) consumer(c fleet.ConsumerGroup) consumerRow {
	row := consumerRow{
		Owner: clean(c.Owner), OwnerBy: clean(c.OwnerBy), Identity: clean(identity(c.Consumer)), Comment: clean(c.Comment), User: clean(c.User),
		Use: cmp.Or(clean(string(c.Use)), "not known"), Hosts: len(c.Hosts), Count: c.Count, Open: c.Open,
		Last: minute(c.Last), LastSeen: stamp(c.Last, "2006-01-02 15:04"), Since: stamp(c.First, "2006-01-02"), Status: c.Status, Why: clean(c.Why), From: clean(c.Where()),
	}
	for _, h := range c.Hosts {
		b.addName(&row.Names, h)
	}
	return row
}

func identity(c fleet.Consumer) string {
	if c.CertID != "" {
		return "certificate " + c.CertID
	}
	return cmp.Or(c.Fingerprint, c.Method)
}

// tallyOfAccess counts pairs of a person and a host.
type tallyOfAccess struct{ Keeps, Loses, Gains, Unknown int }

func (t *tallyOfAccess) add(cell byte) {
	switch cell {
	case fleet.ParityKeeps:
		t.Keeps++
	case fleet.ParityLoses:
		t.Loses++
	case fleet.ParityGains:
		t.Gains++
	case fleet.ParityUnknown:
		t.Unknown++
	}
}

// parityList is who gets in today and tomorrow.
type parityList struct {
	Sum    tallyOfAccess
	Rows   []parityRow // those who lose most first
	More   int
	Groups []parityGrouping
}

type parityRow struct {
	Person     string
	Claimed    bool
	Principals []string
	Keys       int
	tallyOfAccess
	Lost []string // names of the first hosts that the person loses
}

type parityGrouping struct {
	Title string
	Rows  []parityGroup
}

type parityGroup struct {
	Name string // empty: hosts without such a tag
	tallyOfAccess
}

func (b *builder) parity() parityList {
	var out parityList
	people := b.in.Assessment.Parity.People
	hosts := b.in.Assessment.Hosts
	for _, p := range people {
		row := parityRow{Person: clean(p.Person), Claimed: p.Claimed, Keys: len(p.Keys)}
		for _, arn := range p.Principals {
			row.Principals = append(row.Principals, clean(arn))
		}
		for i := range min(len(p.Cells), len(hosts)) {
			row.add(p.Cells[i])
			out.Sum.add(p.Cells[i])
			if p.Cells[i] == fleet.ParityLoses {
				b.addName(&row.Lost, hosts[i].Host)
			}
		}
		out.Rows = append(out.Rows, row)
	}
	slices.SortStableFunc(out.Rows, func(x, y parityRow) int {
		return cmp.Or(cmp.Compare(y.Loses, x.Loses), cmp.Compare(y.Unknown, x.Unknown), cmp.Compare(y.Keeps+y.Gains, x.Keeps+x.Gains), strings.Compare(x.Person, y.Person))
	})
	out.More = max(0, len(out.Rows)-maxPeople)
	out.Rows = out.Rows[:len(out.Rows)-out.More]
	if len(people) > 0 {
		for _, key := range b.tagKeys {
			out.Groups = append(out.Groups, parityGrouping{Title: "Tag " + clean(key), Rows: b.parityBy(key)})
		}
	}
	return out
}

// parityBy sums the pairs by the value of a tag, hosts without it last.
func (b *builder) parityBy(key string) []parityGroup {
	var out []parityGroup
	for _, g := range readiness.ParityBy(b.in.Assessment, b.in.Snapshot, func(h *fleet.Host) string { return clean(h.Tags[key]) }) {
		row := parityGroup{Name: g.Label}
		for _, p := range g.People {
			row.Keeps, row.Loses, row.Gains, row.Unknown = row.Keeps+p.Keeps, row.Loses+p.Loses, row.Gains+p.Gains, row.Unknown+p.Unknown
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(x, y parityGroup) int {
		return cmp.Or(cmp.Compare(truth(x.Name == ""), truth(y.Name == "")), cmp.Compare(y.Loses, x.Loses), strings.Compare(x.Name, y.Name))
	})
	return out
}

// operatorRow is an IAM principal that may do something with sessions.
type operatorRow struct {
	ARN, Kind                          string
	People                             string
	Start, Resume, Terminate, Commands string
	Documents                          string
	EditPreferences                    fleet.Truth
	Unrestricted, Federated            bool
	Why                                string
}

func (b *builder) operators() (rows []operatorRow, more int) {
	all := slices.Clone(b.in.Assessment.Operators)
	slices.SortStableFunc(all, func(x, y fleet.Operator) int {
		return cmp.Or(cmp.Compare(truth(y.Unrestricted), truth(x.Unrestricted)), cmp.Compare(y.Start.Yes, x.Start.Yes), strings.Compare(x.ARN, y.ARN))
	})
	more = max(0, len(all)-maxOperators)
	for _, o := range all[:len(all)-more] {
		rows = append(rows, operatorRow{
			ARN: clean(o.ARN), Kind: clean(o.Kind), People: clean(strings.Join(o.People, ", ")),
			Start: reach(o.Start), Resume: reach(o.Resume), Terminate: reach(o.Terminate), Commands: reach(o.Command),
			Documents: clean(strings.Join(o.Documents, ", ")), EditPreferences: o.EditPreferences,
			Unrestricted: o.Unrestricted, Federated: o.Federated, Why: clean(o.Why),
		})
	}
	return rows, more
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// reach says on how many hosts something is allowed: "12 of 60, 3 unknown".
func reach(r fleet.Reach) string {
	total := r.Yes + r.No + r.Unknown
	text := fmt.Sprintf("%d of %d", r.Yes, total)
	switch {
	case r.Yes == 0 && r.Unknown == 0:
		return "none"
	case r.Yes == total:
		text = fmt.Sprintf("all %d", total)
	}
	if r.Unknown > 0 {
		text += fmt.Sprintf(", %d unknown", r.Unknown)
	}
	return text
}

// groupingTags are the tags by which people divide a fleet: those that most
// hosts have, with few values. Name and AWS's own tags tell hosts apart instead.
func groupingTags(hosts []fleet.Host) []string {
	const most, fewest, values = 3, 2, 20
	seen := map[string]map[string]bool{}
	have := map[string]int{}
	for _, h := range hosts {
		for k, v := range h.Tags {
			if k == "Name" || strings.HasPrefix(k, "aws:") || v == "" {
				continue
			}
			if seen[k] == nil {
				seen[k] = map[string]bool{}
			}
			seen[k][v] = true
			have[k]++
		}
	}
	var out []string
	for k := range seen {
		if have[k]*2 >= len(hosts) && len(seen[k]) >= fewest && len(seen[k]) <= values {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(x, y string) int { return cmp.Or(cmp.Compare(have[y], have[x]), strings.Compare(x, y)) })
	return out[:min(len(out), most)]
}
