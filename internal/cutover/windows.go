package cutover

import (
	"fmt"
	"strings"
	"time"

	"ssm-migrate/internal/plan"
)

// nextOpen gives the first minute, from now on, at which one of the windows is
// open; now itself if one is. A window is open from From up to, not at, To. Without
// windows it is always open.
func nextOpen(windows []plan.Window, now time.Time) (time.Time, error) {
	if len(windows) == 0 {
		return now, nil
	}
	var best time.Time
	for _, w := range windows {
		at, err := opens(w, now)
		if err != nil {
			return time.Time{}, err
		}
		if best.IsZero() || at.Before(best) {
			best = at
		}
	}
	return best, nil
}

// opens walks minute by minute, so that a change to or from summer time needs
// no thought: eight days hold every day and hour of a week.
func opens(w plan.Window, now time.Time) (time.Time, error) {
	zone := time.UTC
	if w.Zone != "" {
		var err error
		if zone, err = time.LoadLocation(w.Zone); err != nil {
			return time.Time{}, fmt.Errorf("window: %w", err)
		}
	}
	from, err := minuteOfDay(w.From)
	if err != nil {
		return time.Time{}, err
	}
	to, err := minuteOfDay(w.To)
	if err != nil {
		return time.Time{}, err
	}
	days, err := weekdays(w.Days)
	if err != nil {
		return time.Time{}, err
	}
	for t := now; t.Before(now.Add(8 * 24 * time.Hour)); t = t.Truncate(time.Minute).Add(time.Minute) {
		local := t.In(zone)
		minute := local.Hour()*60 + local.Minute()
		day := local.Weekday()
		if from >= to && minute < to { // the part after midnight belongs to the day before
			day = (day + 6) % 7
		}
		in := from < to && from <= minute && minute < to || from >= to && (minute >= from || minute < to)
		if in && days[day] {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("window %s %s-%s is never open", w.Days, w.From, w.To)
}

// minuteOfDay reads "09:00" as minutes since midnight; empty is midnight.
func minuteOfDay(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("window: %q is no time such as 09:00", s)
	}
	return t.Hour()*60 + t.Minute(), nil
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// weekdays reads "mon-fri", "sat,sun"; empty is every day.
func weekdays(s string) (out [7]bool, err error) {
	if s == "" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	number := func(name string) (int, error) {
		for i, d := range dayNames {
			if d == strings.ToLower(strings.TrimSpace(name)) {
				return i, nil
			}
		}
		return 0, fmt.Errorf("window: %q is no day such as mon", name)
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err := number(first)
		if err != nil {
			return out, err
		}
		to := from
		if ranged {
			if to, err = number(last); err != nil {
				return out, err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			out[d] = true
			if d == to {
				break
			}
		}
	}
	return out, nil
}
