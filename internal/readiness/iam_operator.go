package readiness

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operators compare one value of a policy with one of the request. Only the
// string, ARN and Boolean ones replace variables.
// Source: IAM User Guide, reference_policies_elements_condition_operators.
var operators = map[string]func(want pattern, got string, ctx requestContext) answer{
	"StringEquals":             func(w pattern, g string, ctx requestContext) answer { return w.equals(g, false, ctx) },
	"StringEqualsIgnoreCase":   func(w pattern, g string, ctx requestContext) answer { return w.equals(g, true, ctx) },
	"StringLike":               func(w pattern, g string, ctx requestContext) answer { return w.matches(g, ctx) },
	"ArnEquals":                func(w pattern, g string, ctx requestContext) answer { return w.matchesARN(g, ctx) },
	"ArnLike":                  func(w pattern, g string, ctx requestContext) answer { return w.matchesARN(g, ctx) },
	"Bool":                     func(w pattern, g string, ctx requestContext) answer { return w.equals(g, true, ctx) },
	"BinaryEquals":             sameBytes,
	"IpAddress":                inRange,
	"NumericEquals":            byNumber(func(order int) bool { return order == 0 }),
	"NumericLessThan":          byNumber(func(order int) bool { return order < 0 }),
	"NumericLessThanEquals":    byNumber(func(order int) bool { return order <= 0 }),
	"NumericGreaterThan":       byNumber(func(order int) bool { return order > 0 }),
	"NumericGreaterThanEquals": byNumber(func(order int) bool { return order >= 0 }),
	"DateEquals":               byDate(func(order int) bool { return order == 0 }),
	"DateLessThan":             byDate(func(order int) bool { return order < 0 }),
	"DateLessThanEquals":       byDate(func(order int) bool { return order <= 0 }),
	"DateGreaterThan":          byDate(func(order int) bool { return order > 0 }),
	"DateGreaterThanEquals":    byDate(func(order int) bool { return order >= 0 }),
}

// negations name the operators that hold when another does not.
var negations = map[string]string{
	"StringNotEquals":           "StringEquals",
	"StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
	"StringNotLike":             "StringLike",
	"ArnNotEquals":              "ArnEquals",
	"ArnNotLike":                "ArnLike",
	"NotIpAddress":              "IpAddress",
	"NumericNotEquals":          "NumericEquals",
	"DateNotEquals":             "DateEquals",
}

func truth(b bool) answer {
	if b {
		return yes
	}
	return no
}

// byNumber compares numbers. What is no number leaves it open.
func byNumber(holds func(order int) bool) func(pattern, string, requestContext) answer {
	return func(want pattern, got string, _ requestContext) answer {
		w, err1 := strconv.ParseFloat(strings.TrimSpace(want.text), 64)
		g, err2 := strconv.ParseFloat(got, 64)
		if err1 != nil || err2 != nil || w != w || g != g {
			return maybe
		}
		switch {
		case g < w:
			return truth(holds(-1))
		case g > w:
			return truth(holds(1))
		}
		return truth(holds(0))
	}
}

// byDate compares moments. What is no moment leaves it open.
func byDate(holds func(order int) bool) func(pattern, string, requestContext) answer {
	return func(want pattern, got string, _ requestContext) answer {
		w, ok1 := moment(want.text)
		g, ok2 := moment(got)
		if !ok1 || !ok2 {
			return maybe
		}
		return truth(holds(g.Compare(w)))
	}
}

// moment reads the date formats that IAM takes: those of the W3C's note on ISO
// 8601, or seconds since 1970.
func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	// Four digits are a year there, not the first hours of 1970.
	if t, err := time.Parse("2006", s); err == nil {
		return t, true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	return time.Time{}, false
}

func sameBytes(want pattern, got string, _ requestContext) answer {
	w, err1 := base64.StdEncoding.DecodeString(want.text)
	g, err2 := base64.StdEncoding.DecodeString(got)
	if err1 != nil || err2 != nil {
		return maybe
	}
	return truth(bytes.Equal(w, g))
}

// inRange says whether an address lies in a range. One address is the range of itself.
func inRange(want pattern, got string, _ requestContext) answer {
	addr, err := netip.ParseAddr(got)
	if err != nil {
		return maybe
	}
	if r, err := netip.ParsePrefix(want.text); err == nil {
		return truth(r.Masked().Contains(addr.Unmap()))
	}
	if one, err := netip.ParseAddr(want.text); err == nil {
		return truth(one.Unmap() == addr.Unmap())
	}
	return maybe
}
