// Package filter is the language in which an operator says which hosts are
// meant: the wizard's fleet table and the command line read it alike.
//
//	web                 the text is somewhere in ID, name, address, tags, verdict, cause or place
//	status:blocked      key:part, the value contains the part
//	az=eu-west-1a       key=value, the whole value; an empty value means "has none"
//	team=web            a tag that some host has; tag:team=web whatever hosts have
//	age>30d keys<=2     numbers: more, less, at least, at most
//	-ready              a leading - turns a term around
//	owner="Ann Lee"     quotes keep blanks together; "a:b" is looked for as it stands
//
// A host passes when every term holds. Upper and lower case are the same.
package filter

import (
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Subject is a host as a filter looks at it.
type Subject struct {
	Host     *fleet.Host
	Name     string
	Verdict  fleet.Verdict
	Cause    string // code of the root cause; empty: none
	Findings []fleet.Finding
	Agent    string // version, "-" when known to be missing, "?" when unknown
	OS       string // name and version; empty when unknown
	Keys     int    // authorized keys; -1 when unknown
	Text     string // what words are looked for in; Words makes it
}

// NewSubject is a host with what was judged of it. The texts are as the host
// and the APIs gave them: hostile until cleaned.
func NewSubject(h *fleet.Host, v fleet.HostVerdict, findings []fleet.Finding) Subject {
	s := Subject{Host: h, Name: h.Name(), Verdict: v.Verdict, Cause: v.Cause, Findings: findings, Agent: agentOf(h), OS: osOf(h), Keys: -1}
	if h.Probe.Known && h.Probe.Value.Keys.Known {
		s.Keys = len(h.Probe.Value.Keys.Value)
	}
	return s
}

// Words gives the text that bare words are looked for in, in lower case.
func (s *Subject) Words() string {
	h := s.Host
	parts := []string{s.Name, h.ID, s.Verdict.String(), s.Cause, s.Agent, s.OS, h.AZ, h.VPC, h.Account, h.State, h.AutoScalingGroup, address(h.PrivateIP), address(h.PublicIP)}
	for k, t := range h.Tags {
		parts = append(parts, k+"="+t)
	}
	return strings.ToLower(strings.Join(parts, "\n"))
}

// agentOf prefers what Systems Manager says, as the agent itself reported it.
func agentOf(h *fleet.Host) string {
	if h.Node.Known && h.Node.Value.Registered && h.Node.Value.AgentVersion != "" {
		return h.Node.Value.AgentVersion
	}
	if !h.Probe.Known || !h.Probe.Value.Agent.Known {
		return "?"
	}
	switch a := h.Probe.Value.Agent.Value; {
	case !a.Installed:
		return "-"
	case a.Version != "":
		return a.Version
	}
	return "?"
}

func osOf(h *fleet.Host) string {
	if h.Probe.Known && h.Probe.Value.OS.ID != "" {
		return strings.TrimSpace(h.Probe.Value.OS.ID + " " + h.Probe.Value.OS.Version)
	}
	if h.Node.Known && h.Node.Value.PlatformName != "" {
		return strings.TrimSpace(h.Node.Value.PlatformName + " " + h.Node.Value.PlatformVersion)
	}
	return h.Platform
}

// Filter is a filter that was read. The zero value passes every host. It may be
// used from several goroutines.
type Filter struct{ terms []term }

type term struct {
	not   bool
	match func(*Subject) bool
}

// Match reports whether a host passes.
func (f Filter) Match(s *Subject) bool {
	for i := range f.terms {
		if f.terms[i].match(s) == f.terms[i].not {
			return false
		}
	}
	return true
}

// Language reads filters about one fleet: it knows the tags that its hosts have.
// It is not changed once it is made.
type Language struct {
	tags map[string]string // the spelling of a tag's key by the key in lower case
}

// NewLanguage is the language for these hosts.
func NewLanguage(hosts []fleet.Host) *Language {
	l := &Language{tags: map[string]string{}}
	for i := range hosts {
		for k := range hosts[i].Tags {
			low := strings.ToLower(k)
			if old, ok := l.tags[low]; !ok || k < old {
				l.tags[low] = k
			}
		}
	}
	return l
}

// Parse reads a filter. now is what ages are counted to. A filter that cannot
// be read is an *Error, the first one of its terms; it is fit to be shown once it
// is cleaned as the text is. The terms that can be read are a filter all the same.
func (l *Language) Parse(text string, now time.Time) (Filter, error) {
	var f Filter
	var first error
	for _, w := range split(text) {
		t := term{}
		if len(w) > 1 && w[0].is('-') {
			t.not, w = true, w[1:]
		}
		match, err := l.term(w, now)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		t.match = match
		f.terms = append(f.terms, t)
	}
	return f, first
}

// operator stands between a key and a value.
type operator string

const (
	whole   operator = "="
	part    operator = ":"
	more    operator = ">"
	less    operator = "<"
	atLeast operator = ">="
	atMost  operator = "<="
)

// term reads one word without its leading minus.
func (l *Language) term(w word, now time.Time) (func(*Subject) bool, error) {
	first := w.separator(0)
	if first < 0 {
		return bare(w.lower()), nil
	}
	head := strings.ToLower(w[:first].String())
	if head == "tag" && w[first].is(':') {
		return l.tagTerm(w[first+1:])
	}
	if k := keyCalled(head); k != nil {
		op, value := w.operate(first)
		return k.compare(op, value.String(), now)
	}
	for i := first; i >= 0; i = w.separator(i + 1) {
		name := w[:i].String()
		if _, ok := l.tags[strings.ToLower(name)]; !ok {
			continue
		}
		op, value := w.operate(i)
		if op != whole && op != part {
			return nil, noNumber(name)
		}
		return tagged(name, op, value.lower()), nil
	}
	return nil, l.unknown(w[:first].String(), w)
}

func bare(want string) func(*Subject) bool {
	return func(s *Subject) bool { return strings.Contains(s.Text, want) }
}

// tagTerm reads what stands after "tag:": KEY=VALUE, KEY:PART for a key that
// hosts have, or KEY alone for hosts that have the tag at all.
func (l *Language) tagTerm(w word) (func(*Subject) bool, error) {
	if len(w) == 0 {
		return nil, &Error{Text: "tag: needs the tag's key, for example tag:team or tag:team=web"}
	}
	known := func(w word) bool {
		_, ok := l.tags[strings.ToLower(w.String())]
		return ok
	}
	if !known(w) {
		for i := w.separator(0); i >= 0; i = w.separator(i + 1) {
			if w[i].is('=') || w[i].is(':') && known(w[:i]) {
				op, value := w.operate(i)
				return tagged(w[:i].String(), op, value.lower()), nil
			}
		}
	}
	return func(s *Subject) bool { _, ok := tagOf(s.Host, w.String()); return ok }, nil
}

// tagged looks at a tag. Without a value, = asks for hosts that have none.
func tagged(key string, op operator, want string) func(*Subject) bool {
	return func(s *Subject) bool {
		value, ok := tagOf(s.Host, key)
		if op == whole && want == "" {
			return value == ""
		}
		return ok && holds(op, value, want)
	}
}

func tagOf(h *fleet.Host, key string) (string, bool) {
	if v, ok := h.Tags[key]; ok {
		return v, true
	}
	best, found := "", false
	for k := range h.Tags { // keys that differ in case only: always the same one
		if strings.EqualFold(k, key) && (!found || k < best) {
			best, found = k, true
		}
	}
	return h.Tags[best], found
}

// holds compares a value with what is wanted, which is in lower case.
func holds(op operator, value, want string) bool {
	if op == whole {
		return strings.EqualFold(value, want)
	}
	return strings.Contains(strings.ToLower(value), want)
}
