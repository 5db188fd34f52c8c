package simfleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// runDate is date [-u] [-d DATE] [-r FILE] [-Is] [+FORMAT]; the machine's zone is UTC.
// busybox takes no -d but in fixed forms, "@SECONDS" among them.
func runDate(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "drI", "date", "reference")
	at := p.m.clock()
	if v, ok := o.value("d", "date"); ok {
		t, err := parseDate(v, at)
		if err != nil || isAlpine(p.m) && strings.ContainsAny(v, "+ag") {
			return p.fail(1, "invalid date ‘%s’", v)
		}
		at = t
	}
	if v, ok := o.value("r", "reference"); ok {
		info, err := p.m.fs.stat(p.cred, p.abs(v), true)
		if err != nil {
			return p.fail(1, "%s: %s", v, errorText(err))
		}
		at = info.ModTime().UTC()
	}
	switch {
	case len(o.operands) > 0:
		p.printf("%s\n", strftime(strings.TrimPrefix(o.operands[0], "+"), at))
	case o.has("I", "iso-8601"):
		p.printf("%s\n", at.Format("2006-01-02T15:04:05-07:00"))
	default:
		p.printf("%s\n", at.Format("Mon Jan _2 15:04:05 UTC 2006"))
	}
	return 0
}

// dateForms are the fixed forms of GNU date that scripts use.
var dateForms = []string{
	"2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02 15:04:05 MST", "2006-01-02 15:04",
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02", "20060102", "15:04:05", "15:04", "Mon Jan _2 15:04:05 MST 2006",
}

// parseDate reads what date -d takes: "@SECONDS", a fixed form, or "now" or a day
// with steps like "+15 minutes", "900 seconds" and "2 days ago", or steps alone.
func parseDate(text string, now time.Time) (time.Time, error) {
	words := strings.Fields(text)
	at, rest := now, words
	for n := len(words); n > 0; n-- {
		first := strings.Join(words[:n], " ")
		if t, ok := fixedDate(first, now); ok {
			at, rest = t, words[n:]
			if n < len(words) && strings.ContainsAny(first, ":@") {
				return time.Time{}, fmt.Errorf("a step after a time: %q", text) // GNU date takes "+15" for a zone there
			}
			break
		}
	}
	for len(rest) > 0 {
		step, used, ok := dateStep(rest)
		if !ok {
			return time.Time{}, fmt.Errorf("not a date: %q", text)
		}
		at, rest = at.Add(step), rest[used:]
	}
	return at, nil
}

func fixedDate(text string, now time.Time) (time.Time, bool) {
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		whole, fraction, _ := strings.Cut(seconds, ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		nanos, err2 := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		return time.Unix(n, nanos).UTC(), err == nil && err2 == nil
	}
	if text == "now" || text == "today" {
		return now, true
	}
	for _, form := range dateForms {
		t, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			t = t.AddDate(now.Year(), int(now.Month())-1, now.Day()-1)
		}
		return t.UTC(), true
	}
	return time.Time{}, false
}

// dateStep reads one relative step and how many words it is.
func dateStep(words []string) (d time.Duration, used int, ok bool) {
	sign := time.Duration(1)
	first := words[0]
	if first == "+" || first == "-" {
		if words = words[1:]; len(words) == 0 {
			return 0, 0, false
		}
		used, first = 1, first+words[0]
	}
	digits := strings.TrimLeft(first, "+-")
	unit := strings.TrimLeft(digits, "0123456789")
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, unit), 10, 32)
	if err != nil {
		return 0, 0, false
	}
	used++
	if unit == "" {
		if len(words) < 2 {
			return 0, 0, false
		}
		unit = words[1]
		used++
		words = words[1:]
	}
	if strings.HasPrefix(first, "-") {
		sign = -1
	}
	if len(words) > 1 && words[1] == "ago" {
		sign = -sign
		used++
	}
	step, ok := map[string]time.Duration{"sec": time.Second, "second": time.Second, "min": time.Minute, "minute": time.Minute,
		"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}[strings.TrimSuffix(unit, "s")]
	return sign * time.Duration(n) * step, used, ok
}

// decimal reads a number of digits only.
func decimal(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && s[0] >= '0' && s[0] <= '9'
}
