package report

import (
	"strings"
	"testing"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Whatever a word holds, a shell reads it as one word, which is the same.
func FuzzShellWord(f *testing.F) {
	for _, s := range []string{"", "i-1", "a b", "it's", "-rf", "+x", "$(id)", "`id`", "a\nb", "\x1b[31m", "\\", `\'`, "ä", "\xff\xfe7", "!1", "~root", "a=b", "{a,b}", "*", "#x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		word := shellWord(s)
		for i := range len(word) {
			if word[i] < ' ' || word[i] > '~' {
				t.Fatalf("%q has a byte that cannot be seen", word)
			}
		}
		if strings.HasPrefix(word, "-") {
			t.Fatalf("%q looks like an option", word)
		}
		file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader("x "+word), "")
		if err != nil || len(file.Stmts) != 1 {
			t.Fatalf("%q: %v", word, err)
		}
		call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
		if !ok || len(call.Args) != 2 || len(file.Stmts[0].Redirs) > 0 || file.Stmts[0].Background {
			t.Fatalf("%q is no single word", word)
		}
		got, err := expand.Fields(&expand.Config{}, call.Args[1])
		if want := strings.ReplaceAll(s, "\x00", ""); err != nil || len(got) != 1 || got[0] != want {
			t.Fatalf("%q is read as %q, %v", word, got, err)
		}
	})
}
