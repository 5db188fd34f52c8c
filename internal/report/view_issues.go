package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// issue is what findings on several hosts have in common: one thing to fix.
type issue struct {
	Number   int // from 1, in the order shown
	Code     string
	Title    string
	Object   string // the shared thing at fault; empty: each host for itself
	Severity fleet.Severity
	Fix      string
	Blast    string
	Undo     string     // where it is not the kind's
	TakeBack string     // the same, whether or not it is the kind's
	Follows  bool       // from other findings, whose fixes make it go: it has no fix of its own
	From     []*issue   // from which it follows, each once, in the order shown
	Evidence []evidence // that all its findings rest on
	Several  []*several // that some of its findings on hosts rest on
	Hosts    int
	Names    []string // of the first few hosts, without repetition
	Keys     int      // keys it is about

	shared map[fleet.Evidence]bool
	some   map[statement]*several
	ids    map[string]bool // of the hosts
}

// kind is all issues with one code, and what the catalogue says of the code.
type kind struct {
	Code     string
	Title    string
	Severity fleet.Severity
	Means    string
	Undo     string
	Hosts    int
	Keys     int
	Issues   []*issue // those with most hosts first
}

const maxNames = 5

// Ref is how the report names the issue: "F3".
func (i *issue) Ref() string { return fmt.Sprintf("F%d", i.Number) }

// First are the first issues from which this one follows.
func (i *issue) First() []*issue { return i.From[:min(len(i.From), maxIssues)] }

// statement is evidence without its time, at which the same is often found on
// one host after the other.
type statement struct{ fact, source string }

// several is a statement that more than one host has, told once.
type several struct {
	Number       int // from 1, in the order shown
	Fact, Source string
	Hosts        int
}

// Ref is how the report names it: "E3".
func (s *several) Ref() string { return fmt.Sprintf("E%d", s.Number) }

// own is what a finding has besides the evidence that all of its issue have.
func (i *issue) own(all []fleet.Evidence, at func(time.Time) string) []evidence {
	var out []evidence
	for _, e := range all {
		if i.shared[e] {
			continue
		}
		own := cleanEvidence(e)
		own.At, own.Several = at(e.At), i.some[statement{e.Fact, e.Source}]
		out = append(out, own)
	}
	return out
}

func cleanEvidence(e fleet.Evidence) evidence {
	return evidence{Fact: clean(e.Fact), Source: clean(e.Source), At: second(e.At)}
}

type issueKey struct {
	code, object, fix, blast string
	severity                 fleet.Severity
	follows                  bool
}

// keyOf says which findings are one issue. A finding on a host itself joins
// those on other hosts; all keys with one fault are one issue, since the list
// of keys tells them apart; and whatever their fixes would be, those that
// follow from other findings are one issue for each object.
func (b *builder) keyOf(f fleet.Finding) issueKey {
	k := issueKey{f.Code, f.Object, f.Fix, f.Blast, f.Severity, b.follows(f)}
	if k.follows {
		k.fix, k.blast = "", ""
	}
	switch {
	case f.Host != "" && f.Object == f.Host:
		k.object = ""
	case aboutKey(f):
		k.object, k.blast = "", ""
	}
	return k
}

// aboutKey reports whether a finding's object is a public key.
func aboutKey(f fleet.Finding) bool { return strings.HasPrefix(f.Object, "SHA256:") }

// follows reports whether a finding is the consequence of others on its host.
func (b *builder) follows(f fleet.Finding) bool {
	return len(f.Because) > 0 && !b.root[rootKey{f.Host, f.Ref()}]
}

// rootKey names a root cause of a host.
type rootKey struct {
	host string
	ref  fleet.Ref
}

// issues groups the findings by what there is to fix. Evidence that is the
// same on all hosts moves to the issue.
func (b *builder) issues() []*issue {
	b.issue = make(map[int]*issue, len(b.in.Assessment.Findings))
	members := map[issueKey][]int{}
	var keys []issueKey
	for n, f := range b.in.Assessment.Findings {
		k := b.keyOf(f)
		if members[k] == nil {
			keys = append(keys, k)
		}
		members[k] = append(members[k], n)
	}
	var out []*issue
	for _, k := range keys {
		i := b.newIssue(k, members[k])
		for _, n := range members[k] {
			b.issue[n] = i
		}
		out = append(out, i)
	}
	for n, f := range b.in.Assessment.Findings {
		if i := b.issue[n]; i.Follows {
			b.addOrigins(i, f)
		}
	}
	return out
}

// addOrigins adds the issues that a finding of the issue follows from.
func (b *builder) addOrigins(i *issue, f fleet.Finding) {
	for _, ref := range f.Because {
		for _, n := range b.by[f.Host] {
			if from := b.issue[n]; b.in.Assessment.Findings[n].Ref() == ref && from != i && !slices.Contains(i.From, from) {
				i.From = append(i.From, from)
			}
		}
	}
}

// kinds puts the issues in order, worst first, and numbers them.
func (b *builder) kinds(issues []*issue) []kind {
	by := map[issueKey]*kind{}
	var all []*kind
	for _, i := range issues {
		k := by[issueKey{code: i.Code, severity: i.Severity}]
		if k == nil {
			e := b.entry[i.Code]
			k = &kind{Code: i.Code, Title: i.Title, Severity: i.Severity, Means: e.Means, Undo: e.Undo}
			by[issueKey{code: i.Code, severity: i.Severity}] = k
			all = append(all, k)
		}
		if i.Undo == k.Undo {
			i.Undo = ""
		}
		k.Issues = append(k.Issues, i)
		k.Keys += i.Keys
	}
	out := make([]kind, 0, len(all))
	for _, k := range all {
		hosts := map[string]bool{}
		for _, i := range k.Issues {
			maps.Copy(hosts, i.ids)
		}
		k.Hosts = len(hosts)
		slices.SortStableFunc(k.Issues, func(a, b *issue) int {
			return cmp.Or(cmp.Compare(truth(a.Follows), truth(b.Follows)), cmp.Compare(b.Hosts, a.Hosts), strings.Compare(a.Object, b.Object))
		})
		out = append(out, *k)
	}
	slices.SortStableFunc(out, func(a, b kind) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Hosts, a.Hosts), strings.Compare(a.Code, b.Code))
	})
	n, told := 0, 0
	for _, k := range out {
		for _, i := range k.Issues {
			n++
			i.Number = n
			for _, s := range i.Several {
				told++
				s.Number = told
			}
		}
	}
	for _, k := range out {
		for _, i := range k.Issues {
			slices.SortFunc(i.From, func(x, y *issue) int { return cmp.Compare(x.Number, y.Number) })
		}
	}
	return out
}

func (b *builder) newIssue(k issueKey, members []int) *issue {
	first := b.in.Assessment.Findings[members[0]]
	i := &issue{
		Code: clean(k.code), Title: clean(first.Title), Object: clean(k.object), Severity: k.severity,
		Fix: clean(k.fix), Blast: clean(k.blast), Follows: k.follows, shared: b.commonEvidence(members),
	}
	if !i.Follows {
		i.Undo = clean(first.Undo)
		i.TakeBack = i.Undo
	}
	for _, e := range first.Evidence {
		if i.shared[e] {
			i.Evidence = append(i.Evidence, cleanEvidence(e))
		}
	}
	i.ids = map[string]bool{}
	objects := map[string]bool{}
	for _, n := range members {
		f := b.in.Assessment.Findings[n]
		if f.Host != "" && !i.ids[f.Host] {
			i.ids[f.Host] = true
			b.addName(&i.Names, f.Host)
		}
		if aboutKey(f) {
			objects[f.Object] = true
		}
	}
	i.Hosts, i.Keys = len(i.ids), len(objects)
	b.someEvidence(i, members)
	return i
}

func (b *builder) nameOf(host string) string {
	if h, ok := b.hosts[host]; ok {
		return clean(h.Name())
	}
	return clean(host)
}

// addName adds a host's name to the first few, each once.
func (b *builder) addName(names *[]string, host string) {
	if len(*names) == maxNames {
		return
	}
	if name := b.nameOf(host); !slices.Contains(*names, name) {
		*names = append(*names, name)
	}
}

func (b *builder) commonEvidence(findings []int) map[fleet.Evidence]bool {
	seen := map[fleet.Evidence]int{}
	for _, n := range findings {
		here := map[fleet.Evidence]bool{}
		for _, e := range b.in.Assessment.Findings[n].Evidence {
			if !here[e] {
				here[e] = true
				seen[e]++
			}
		}
	}
	common := map[fleet.Evidence]bool{}
	for e, n := range seen {
		if n == len(findings) {
			common[e] = true
		}
	}
	return common
}

// someEvidence gathers what more than one host has, but not all at the same time.
func (b *builder) someEvidence(i *issue, members []int) {
	hosts := map[statement]int{}
	last := map[statement]string{}
	for _, n := range members {
		f := b.in.Assessment.Findings[n]
		for _, e := range f.Evidence {
			if s := (statement{e.Fact, e.Source}); f.Host != "" && !i.shared[e] && last[s] != f.Host {
				last[s] = f.Host
				hosts[s]++
			}
		}
	}
	i.some = map[statement]*several{}
	for s, n := range hosts {
		if n > 1 {
			i.some[s] = &several{Fact: clean(s.fact), Source: clean(s.source), Hosts: n}
			i.Several = append(i.Several, i.some[s])
		}
	}
	slices.SortFunc(i.Several, func(x, y *several) int {
		return cmp.Or(cmp.Compare(y.Hosts, x.Hosts), strings.Compare(x.Fact, y.Fact), strings.Compare(x.Source, y.Source))
	})
}
