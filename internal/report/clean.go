package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText is how many characters of one foreign text a report shows.
const maxText = 1000

// clean makes a text that a host or an API gave harmless in one line of any
// format: what would move a cursor, turn the direction of writing or hide is
// shown as an escape instead, white space is one blank, and very long text is
// cut.
func clean(s string) string {
	if len(s) <= maxText && plain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		at := i
		i += size
		if n++; n > maxText {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[at])
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r) && !invisible(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return strings.TrimSpace(b.String())
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}

// invisible are letters to Unicode that take up room without a mark, or none.
func invisible(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800:
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r)
}

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

// count is a number with its noun: "1 host", "3 hosts".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
