package simfleet

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (q request) conditionsHold(s policyStatement) bool {
	holds := true
	for operator, keys := range s.Condition {
		for key, want := range keys {
			// All are looked at, so that a simulation names every missing key.
			if !q.conditionHolds(s, operator, key, want) {
				holds = false
			}
		}
	}
	return holds
}

// conditionHolds evaluates one operator on one key. A key that the request
// lacks fails the positive operators and passes the negated and IfExists ones;
// an operator that is not known here never holds.
// Source: IAM User Guide, condition operators and multivalued context keys.
func (q request) conditionHolds(s policyStatement, operator, key string, want []scalar) bool {
	texts := mapped(want, func(v scalar) string { return string(v) })
	set, operator, isSet := strings.Cut(operator, ":")
	if !isSet {
		set, operator = "", set
	}
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	got := q.value(key)
	if operator == "Null" {
		return slices.Contains(texts, strconv.FormatBool(len(got) == 0))
	}
	base := strings.Replace(operator, "Not", "", 1)
	negated := base != operator
	compare := comparisons[base]
	switch {
	case compare == nil:
		return false
	case len(got) == 0:
		return ifExists || negated || set == "ForAllValues"
	}
	texts, _ = q.substituted(s, texts)
	one := func(have string) bool {
		return slices.ContainsFunc(texts, func(w string) bool { return compare(w, have) }) != negated
	}
	switch set {
	case "ForAllValues":
		return !slices.ContainsFunc(got, func(have string) bool { return !one(have) })
	case "", "ForAnyValue":
		return slices.ContainsFunc(got, one)
	}
	return false
}

// comparisons are the positive operators: a policy's value, possibly a
// pattern, against the request's.
var comparisons = map[string]func(want, have string) bool{
	"StringEquals":             func(w, h string) bool { return plain(w) == h },
	"StringEqualsIgnoreCase":   func(w, h string) bool { return strings.EqualFold(plain(w), h) },
	"StringLike":               func(want, have string) bool { return wildcard(want, have, false) },
	"ArnLike":                  arnLike,
	"ArnEquals":                arnLike,
	"Bool":                     strings.EqualFold,
	"IpAddress":                inNetwork,
	"NumericEquals":            numeric(func(h, w float64) bool { return h == w }),
	"NumericLessThan":          numeric(func(h, w float64) bool { return h < w }),
	"NumericLessThanEquals":    numeric(func(h, w float64) bool { return h <= w }),
	"NumericGreaterThan":       numeric(func(h, w float64) bool { return h > w }),
	"NumericGreaterThanEquals": numeric(func(h, w float64) bool { return h >= w }),
	"DateEquals":               dated(func(h, w time.Time) bool { return h.Equal(w) }),
	"DateLessThan":             dated(time.Time.Before),
	"DateLessThanEquals":       dated(func(h, w time.Time) bool { return !h.After(w) }),
	"DateGreaterThan":          dated(time.Time.After),
	"DateGreaterThanEquals":    dated(func(h, w time.Time) bool { return !h.Before(w) }),
}

// plain gives a substituted value back its own stars.
func plain(s string) string {
	return strings.NewReplacer(string(rune(literalStar)), "*", string(rune(literalQuestion)), "?").Replace(s)
}

// arnLike compares field by field: a star does not reach over a colon, but in
// the last field.
func arnLike(want, have string) bool {
	w, h := strings.SplitN(want, ":", 6), strings.SplitN(have, ":", 6)
	if len(w) != 6 || len(h) != 6 {
		return want == "*" || plain(want) == have
	}
	for i := range w {
		if !wildcard(w[i], h[i], false) {
			return false
		}
	}
	return true
}

func inNetwork(want, have string) bool {
	a, err := netip.ParseAddr(have)
	if err != nil {
		return false
	}
	if p, err := netip.ParsePrefix(want); err == nil {
		return p.Contains(a)
	}
	w, err := netip.ParseAddr(want)
	return err == nil && w == a
}

func numeric(compare func(have, want float64) bool) func(want, have string) bool {
	return func(want, have string) bool {
		w, err := strconv.ParseFloat(want, 64)
		h, err2 := strconv.ParseFloat(have, 64)
		return err == nil && err2 == nil && compare(h, w)
	}
}

func dated(compare func(have, want time.Time) bool) func(want, have string) bool {
	return func(want, have string) bool {
		w, ok := date(want)
		h, ok2 := date(have)
		return ok && ok2 && compare(h, w)
	}
}

// date reads ISO 8601 or seconds since 1970.
func date(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0), err == nil
}
