package tui

import (
	"cmp"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
)

// look is how the operator wishes to see the fleet. The zero value is all hosts
// by verdict.
type look struct {
	filter  string
	sort    column
	reverse bool
	group   grouping
}

// grouping says what hosts are grouped by; the zero value: nothing.
type grouping struct {
	by  string // one of groupings
	tag string // key, for "tag"
}

// groupings are what hosts can be grouped by besides tags.
var groupings = []struct {
	name, help string
	of         func(*row) string
}{
	{"status", "verdict", func(r *row) string { return r.verdict.String() }},
	{"cause", "root cause", func(r *row) string { return r.cause }},
	{"az", "Availability Zone", func(r *row) string { return clean(r.host.AZ) }},
	{"vpc", "VPC", func(r *row) string { return clean(r.host.VPC) }},
	{"asg", "Auto Scaling group", func(r *row) string { return clean(r.host.AutoScalingGroup) }},
	{"account", "AWS account", func(r *row) string { return clean(r.host.Account) }},
	{"region", "Region", func(r *row) string { return clean(r.host.Region) }},
	{"os", "system and version", func(r *row) string { return r.os }},
}

func (g grouping) String() string {
	if g.by == "tag" {
		return "tag:" + g.tag
	}
	return g.by
}

// groupingCalled reads what String wrote. What it does not know groups by nothing.
func groupingCalled(s string) grouping {
	if tag, ok := strings.CutPrefix(s, "tag:"); ok && tag != "" {
		return grouping{"tag", tag}
	}
	for _, g := range groupings {
		if g.name == s {
			return grouping{by: s}
		}
	}
	return grouping{}
}

// of gives the function that tells a row's group; nil when nothing is grouped.
func (g grouping) of() func(*row) string {
	if g.by == "tag" {
		return func(r *row) string { return clean(r.host.Tags[g.tag]) }
	}
	for _, known := range groupings {
		if known.name == g.by {
			return known.of
		}
	}
	return nil
}

// arrangement is the rows of a snapshot in the order of a look. It is not
// changed once it is made.
type arrangement struct {
	data   *data
	look   look
	order  []int32     // all rows, sorted
	shown  []int32     // those that pass the filter, group after group
	groups []hostGroup // largest first; none when nothing is grouped
}

// hostGroup is hosts that have something in common.
type hostGroup struct {
	name     string // clean
	from, to int    // positions in shown
	verdicts [3]int // hosts by fleet.Verdict
}

// request is what an arrangement is made from.
type request struct {
	data   *data
	look   look
	filter filter.Filter
	order  []int32 // all rows in this order already; nil: to be sorted
}

// often is after how many rows an arranging looks whether anybody still wants it.
const often = 8192

// arrange does all that grows with the fleet. It gives up, and reports false,
// as soon as stale says so.
func (q request) arrange(stale func() bool) (arrangement, bool) {
	out := arrangement{data: q.data, look: q.look, order: q.order}
	rows := q.data.rows
	if out.order == nil {
		out.order = sorted(rows, q.look.sort, q.look.reverse)
	}
	out.shown = make([]int32, 0, len(rows))
	var s filter.Subject // one for all rows: it need not be made 100,000 times
	for n, i := range out.order {
		if n%often == 0 && stale() {
			return arrangement{}, false
		}
		if s = rows[i].subject(); q.filter.Match(&s) {
			out.shown = append(out.shown, i)
		}
	}
	if of := q.look.group.of(); of != nil {
		out.grouped(of)
	}
	return out, !stale()
}

func sorted(rows []row, by column, reverse bool) []int32 {
	order := make([]int32, len(rows))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compareRows(by, &rows[a], &rows[b]) })
	if reverse {
		slices.Reverse(order) // no two rows are equal
	}
	return order
}

// grouped brings the shown rows of each group together, in the order that they
// have.
func (a *arrangement) grouped(of func(*row) string) {
	at := map[string]int{}
	groups := []hostGroup{}
	member := make([]int32, len(a.shown))
	for n, i := range a.shown {
		r := &a.data.rows[i]
		name := of(r)
		g, ok := at[name]
		if !ok {
			g = len(groups)
			at[name] = g
			groups = append(groups, hostGroup{name: name})
		}
		member[n] = int32(g)
		groups[g].verdicts[r.verdict]++
	}
	rank := make([]int, len(groups))
	for i := range rank {
		rank[i] = i
	}
	slices.SortFunc(rank, func(x, y int) int {
		gx, gy := &groups[x], &groups[y]
		return cmp.Or(gy.hosts()-gx.hosts(), compareNatural(gx.name, gy.name), strings.Compare(gx.name, gy.name))
	})
	next := make([]int, len(groups))
	pos := 0
	for _, g := range rank {
		groups[g].from, next[g] = pos, pos
		pos += groups[g].hosts()
		groups[g].to = pos
	}
	brought := make([]int32, len(a.shown))
	for n, i := range a.shown {
		g := member[n]
		brought[next[g]] = i
		next[g]++
	}
	a.shown = brought
	for _, g := range rank {
		a.groups = append(a.groups, groups[g])
	}
}

func (g *hostGroup) hosts() int {
	return g.verdicts[fleet.VerdictUnknown] + g.verdicts[fleet.VerdictReady] + g.verdicts[fleet.VerdictBlocked]
}

// arrangedMsg brings an arrangement that was asked for as number seq.
type arrangedMsg struct {
	seq int64
	arrangement
}

// arrange asks for the rows in the order of the look. The work is done outside
// of the loop; of several that are asked for only the last one comes.
func (s *fleetScreen) arrange() tea.Cmd {
	seq := s.latest.Add(1)
	if s.data == nil {
		s.settle(arrangement{})
		return nil
	}
	q := request{data: s.data, look: s.look, filter: s.filter}
	if t := s.table; t.data == s.data && t.look.sort == s.look.sort {
		q.order = t.order
		if t.look.reverse != s.look.reverse {
			q.order = slices.Clone(t.order)
			slices.Reverse(q.order)
		}
	}
	s.arranging = true
	return func() tea.Msg {
		a, ok := q.arrange(func() bool { return s.latest.Load() != seq })
		if !ok {
			return nil
		}
		return arrangedMsg{seq, a}
	}
}

// arranged takes an arrangement, unless another one was asked for meanwhile.
func (s *fleetScreen) arranged(msg arrangedMsg) {
	if msg.seq == s.latest.Load() {
		s.settle(msg.arrangement)
	}
}

// settle shows an arrangement: marks, the open host and the cursor go with it.
func (s *fleetScreen) settle(a arrangement) {
	s.arranging = false
	if a.data != s.table.data {
		s.marks = s.marks.carry(s.table.data, a.data)
	}
	was := s.table.data
	s.table = a
	s.flatten()
	if was != a.data {
		s.reopen()
	}
}
