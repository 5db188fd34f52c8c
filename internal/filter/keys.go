package filter

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Key is a word that may stand before an operator.
type Key struct {
	Name string
	Also string // another name for it; empty: none
	Help string

	// Exactly one of these is set.
	text   func(*Subject) string
	texts  func(*Subject) []string
	number func(*Subject, time.Time) (float64, bool) // false: not known
}

// Number reports whether the key's values are numbers, which > and < compare.
func (k Key) Number() bool { return k.number != nil }

// keys are in the order in which the help tells of them.
var keys = []Key{
	{Name: "status", Also: "verdict", Help: "ready, blocked or unknown", text: func(s *Subject) string { return s.Verdict.String() }},
	{Name: "cause", Help: "the root cause that decides the verdict", text: func(s *Subject) string { return s.Cause }},
	{Name: "finding", Help: "any finding about the host", texts: func(s *Subject) []string { return codes(s.Findings) }},
	{Name: "name", Help: "the Name tag, or the ID without one", text: func(s *Subject) string { return s.Name }},
	{Name: "id", Help: "instance ID", text: func(s *Subject) string { return s.Host.ID }},
	{Name: "account", Help: "AWS account", text: func(s *Subject) string { return s.Host.Account }},
	{Name: "region", Help: "Region", text: func(s *Subject) string { return s.Host.Region }},
	{Name: "az", Also: "zone", Help: "Availability Zone", text: func(s *Subject) string { return s.Host.AZ }},
	{Name: "vpc", Help: "VPC", text: func(s *Subject) string { return s.Host.VPC }},
	{Name: "subnet", Help: "subnet", text: func(s *Subject) string { return s.Host.Subnet }},
	{Name: "asg", Help: "Auto Scaling group", text: func(s *Subject) string { return s.Host.AutoScalingGroup }},
	{Name: "group", Also: "sg", Help: "security group", texts: func(s *Subject) []string { return s.Host.Groups }},
	{Name: "profile", Help: "ARN of the instance profile", text: func(s *Subject) string { return s.Host.ProfileARN }},
	{Name: "image", Also: "ami", Help: "image", text: func(s *Subject) string { return s.Host.ImageID }},
	{Name: "type", Help: "instance type", text: func(s *Subject) string { return s.Host.InstanceType }},
	{Name: "state", Help: "running, stopped, …", text: func(s *Subject) string { return s.Host.State }},
	{Name: "os", Help: "system and version", text: func(s *Subject) string { return s.OS }},
	{Name: "agent", Help: "the agent's version; - when it is missing, ? when it is not known", text: func(s *Subject) string { return s.Agent }},
	{Name: "ip", Also: "address", Help: "private or public address", texts: func(s *Subject) []string { return addresses(s.Host) }},
	{Name: "key", Help: "fingerprint or comment of an authorized key", texts: func(s *Subject) []string { return authorized(s.Host) }},
	{Name: "keypair", Help: "key pair named at launch", text: func(s *Subject) string { return s.Host.KeyName }},
	{Name: "keys", Help: "how many keys are authorized; keys=? when that is not known", number: func(s *Subject, _ time.Time) (float64, bool) { return float64(s.Keys), s.Keys >= 0 }},
	{Name: "findings", Help: "how many findings there are about the host", number: func(s *Subject, _ time.Time) (float64, bool) { return float64(len(s.Findings)), true }},
	{Name: "age", Help: "time since launch: age>30d, age<12h; without a unit days", number: func(s *Subject, now time.Time) (float64, bool) {
		return now.Sub(s.Host.LaunchTime).Hours() / 24, !s.Host.LaunchTime.IsZero()
	}},
}

// Keys lists the words that may stand before an operator; tags come besides.
func Keys() []Key { return slices.Clone(keys) }

func keyCalled(name string) *Key {
	for i := range keys {
		if keys[i].Name == name || keys[i].Also == name && name != "" {
			return &keys[i]
		}
	}
	return nil
}

// compare is the term for the key with an operator and a value.
func (k *Key) compare(op operator, value string, now time.Time) (func(*Subject) bool, error) {
	if k.Number() {
		return k.compareNumber(op, value, now)
	}
	want := strings.ToLower(value)
	switch {
	case op != whole && op != part:
		return nil, noNumber(k.Name)
	case k.Name == "status" && want != "" && !verdictLike(op, want):
		return nil, &Error{Text: fmt.Sprintf("status is ready, blocked or unknown, not %q", value)}
	case k.texts != nil:
		return func(s *Subject) bool {
			all := k.texts(s)
			if op == whole && want == "" {
				return len(all) == 0
			}
			return slices.ContainsFunc(all, func(v string) bool { return holds(op, v, want) })
		}, nil
	}
	return func(s *Subject) bool { return holds(op, k.text(s), want) }, nil
}

// verdictLike lets parts of a verdict through as well: it may not be typed whole yet.
func verdictLike(op operator, want string) bool {
	for _, v := range []fleet.Verdict{fleet.VerdictReady, fleet.VerdictBlocked, fleet.VerdictUnknown} {
		if holds(op, v.String(), want) || strings.HasPrefix(v.String(), want) {
			return true
		}
	}
	return false
}

// compareNumber is a term about a number. What is not known is neither more nor
// less than any: only "?" finds it, and a term that is turned around.
func (k *Key) compareNumber(op operator, value string, now time.Time) (func(*Subject) bool, error) {
	if (op == whole || op == part) && (value == "?" || value == "") {
		return func(s *Subject) bool { _, known := k.number(s, now); return !known }, nil
	}
	want, err := parseNumber(value, k.Name == "age")
	if err != nil {
		return nil, &Error{Text: fmt.Sprintf("%s%s needs a number, for example %s; %q is none", k.Name, op, map[bool]string{true: "age>30d", false: k.Name + ">3"}[k.Name == "age"], value)}
	}
	return func(s *Subject) bool {
		n, known := k.number(s, now)
		if !known {
			return false
		}
		switch op {
		case more:
			return n > want
		case less:
			return n < want
		case atLeast:
			return n >= want
		case atMost:
			return n <= want
		case whole, part:
		}
		return math.Floor(n) == math.Floor(want)
	}, nil
}

// units of ages, in days.
var units = map[byte]float64{'m': 1. / 24 / 60, 'h': 1. / 24, 'd': 1, 'w': 7, 'y': 365}

func parseNumber(s string, age bool) (float64, error) {
	unit := 1.
	if n := len(s); age && n > 0 {
		if u, ok := units[s[n-1]|0x20]; ok {
			s, unit = s[:n-1], u
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return n * unit, nil
}

func codes(all []fleet.Finding) []string {
	out := make([]string, len(all))
	for i := range all {
		out[i] = all[i].Code
	}
	return out
}

func authorized(h *fleet.Host) []string {
	if !h.Probe.Known {
		return nil
	}
	var out []string
	for _, k := range h.Probe.Value.Keys.Value {
		out = append(out, k.Fingerprint, k.Comment)
	}
	return out
}

func addresses(h *fleet.Host) []string {
	var out []string
	for _, a := range []netip.Addr{h.PrivateIP, h.PublicIP} {
		if a.IsValid() {
			out = append(out, a.String())
		}
	}
	return out
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
