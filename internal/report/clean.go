package report

import (
	"time"

	"ssm-migrate/internal/fleet"
)

// maxText is how many characters of one foreign text a report shows.
const maxText = 1000

// clean makes a text that a host or an API gave harmless in one line of any format.
func clean(s string) string { return fleet.OneLine(s, maxText) }

// minute is a time for reading; empty when it is not known.
func minute(t time.Time) string { return stamp(t, "2006-01-02 15:04 UTC") }

// second is a time for evidence, in UTC without saying so to save room.
func second(t time.Time) string { return stamp(t, "2006-01-02 15:04:05") }

func stamp(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}
