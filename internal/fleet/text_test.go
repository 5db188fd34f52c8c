package fleet_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"ssm-migrate/internal/fleet"
)

func TestOneLine(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain text stays", "ops@bastion", "ops@bastion"},
		{"letters beyond ASCII stay", "Zoë 管理", "Zoë 管理"},
		{"line breaks and tabs are blanks", "a\r\n\tb", "a   b"},
		{"blanks at the ends go", "\u00a0 a ", "a"},
		{"terminal escapes show", "\x1b[31mred\x07", `\x1b[31mred\x07`},
		{"so do C1 controls", "\u009b2J", `\x9b2J`},
		{"marks that turn the direction of writing", "a\u202eb", `a\u202eb`},
		{"characters without a mark", "a\u200bb\u3164c\ufe0f", `a\u200bb\u3164c\ufe0f`},
		{"invalid UTF-8", "a\xff", `a\xff`},
		{"long text is cut by characters", strings.Repeat("é", 30), strings.Repeat("é", 20) + "…"},
	} {
		if got := fleet.OneLine(tt.in, 20); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\x1b]0;title\x07\u202e\xc3", 10)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(0, min(most, 1<<16))
		got := fleet.OneLine(s, most)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x07\x08\x1b\n\r\t\x7f\u202e\u200b") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
