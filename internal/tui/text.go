package tui

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// maxText is how many bytes of one foreign text are ever shown.
const maxText = 2048

// foreign marks what stood for something that a terminal could have obeyed.
const foreign = '�'

// clean makes text that came from a host, an API or a file safe to show: one
// line of valid UTF-8 in which every rune is one or two cells wide, whatever
// way a terminal counts. Control characters (so every escape sequence) and
// runes that turn the writing direction become U+FFFD, so that it shows that
// something was there; what has no width is dropped; long text is cut off.
func clean(s string) string {
	if plain(s) {
		return s
	}
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			b.WriteByte(' ')
		case r < utf8.RuneSelf && unicode.IsPrint(r):
			b.WriteByte(byte(r))
		case unicode.IsControl(r) || isBidi(r) || r == utf8.RuneError:
			b.WriteRune(foreign)
		case joins(r):
			b.WriteByte('?')
		case ansi.StringWidthWc(string(r)) > 0:
			b.WriteRune(r)
		}
	}
	out := b.String()
	if ansi.StringWidth(out) != ansi.StringWidthWc(out) {
		out = strings.Map(func(r rune) rune {
			if r >= utf8.RuneSelf {
				return '?'
			}
			return r
		}, out)
	}
	if cut {
		out += "…"
	}
	return out
}

// plain reports whether s is short, printable ASCII: nothing to clean.
func plain(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isBidi(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}

// joins reports runes that have a width of their own but may melt into their
// neighbor, so that terminals disagree about the width of the two.
func joins(r rune) bool {
	return unicode.Is(unicode.Mc, r) || (r >= 0x1f1e6 && r <= 0x1f1ff) || (r >= 0x1f3fb && r <= 0x1f3ff)
}

// width is how many cells a text takes; styles take none.
func width(s string) int {
	if plain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// fit cuts or fills a text, styled or not, to exactly w cells.
func fit(s string, w int) string {
	if w <= 0 {
		return ""
	}
	n := width(s)
	if n > w {
		s = ansi.Truncate(s, w, "…")
		n = width(s)
	}
	return s + strings.Repeat(" ", w-n)
}

// cut shortens a text to w cells at most.
func cut(s string, w int) string {
	if width(s) <= w {
		return s
	}
	return ansi.Truncate(s, max(w, 0), "…")
}

// wrap breaks clean text at blanks into lines of w cells at most; words that
// are longer are broken. It gives at least one line.
func wrap(s string, w int) []string {
	if w = max(w, 2); width(s) <= w {
		return []string{s}
	}
	var out []string
	at, used := "", 0
	for word := range strings.FieldsSeq(s) {
		n := width(word)
		if at != "" && used+1+n > w {
			out = append(out, at)
			at, used = "", 0
		}
		for n > w {
			head := ansi.Truncate(word, w, "")
			out = append(out, head)
			word = word[len(head):]
			n = width(word)
		}
		if at != "" {
			at, used = at+" ", used+1
		}
		at, used = at+word, used+n
	}
	return append(out, at)
}

// wrapTo wraps into n lines at most; what does not fit ends in an ellipsis.
func wrapTo(s string, w, n int) []string {
	lines := wrap(s, w)
	if n <= 0 || len(lines) <= n {
		return lines[:min(len(lines), max(n, 0))]
	}
	lines = lines[:n]
	lines[n-1] = ansi.Truncate(lines[n-1], max(w-1, 0), "") + "…"
	return lines
}

// ago tells an age in one unit: "3 min ago".
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	d := now.Sub(t)
	switch {
	case d < -time.Minute:
		return "in the future"
	case d < 5*time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

// span tells a duration in one or two units: "12 s", "3 min", "5 h", "12 d".
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// shortDuration leaves out what is zero: "30m", "1h", "1h30m".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// stamp is a time as an operator can compare it with logs.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "time unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// count is a number with its noun: "1 host", "3 hosts".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// counted is count for nouns whose plural is no s at the end.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands groups digits, so that fleets of 100,000 can be read.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// compareNatural orders texts as people do: digits by their number ("web-9"
// before "web-10"), letters without regard to case. Texts that differ only in
// case or leading zeros are equal.
func compareNatural(a, b string) int {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if isDigit(a[i]) && isDigit(b[j]) {
			x, nexti := number(a, i)
			y, nextj := number(b, j)
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			i, j = nexti, nextj
			continue
		}
		x, y := lower(a[i]), lower(b[j])
		if x != y {
			return int(x) - int(y)
		}
		i++
		j++
	}
	return (len(a) - i) - (len(b) - j)
}

// number is the run of digits at i without leading zeros, and where it ends.
func number(s string, i int) (string, int) {
	end := i
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	for i < end-1 && s[i] == '0' {
		i++
	}
	return s[i:end], end
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
