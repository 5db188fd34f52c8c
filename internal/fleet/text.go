package fleet

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// OneLine makes a text that a host or an API gave harmless in one line of any
// screen, report or message: what would move a cursor, turn the direction of
// writing or hide is shown as an escape instead, white space is one blank, and
// what is longer than most characters is cut, with an ellipsis.
func OneLine(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		at := i
		i += size
		if n++; n > most {
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

// Count is a number with its noun, in the plural where that takes an s:
// "1 host", "3 hosts".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
