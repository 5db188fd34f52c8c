package filter

import "strings"

// word is a piece of a filter's text that blanks end, its quotes undone.
type word []char

type char struct {
	r      rune
	quoted bool
}

// is reports whether a character is one of the language's, not of a text's.
func (c char) is(r rune) bool { return c.r == r && !c.quoted }

func (w word) String() string {
	var b strings.Builder
	for _, c := range w {
		b.WriteRune(c.r)
	}
	return b.String()
}

func (w word) lower() string { return strings.ToLower(w.String()) }

// separator is where the first operator from i on begins; -1 without one. A
// word that begins with an operator has no key.
func (w word) separator(i int) int {
	for i = max(i, 1); i < len(w); i++ {
		if !w[i].quoted && strings.ContainsRune("=:<>", w[i].r) {
			return i
		}
	}
	return -1
}

// operate cuts the word at the operator that begins at i.
func (w word) operate(i int) (operator, word) {
	op := operator(w[i].r)
	if (op == more || op == less) && i+1 < len(w) && w[i+1].is('=') {
		return op + "=", w[i+2:]
	}
	return op, w[i+1:]
}

// split cuts a text at blanks outside of double quotes. In quotes \" is a quote
// and \\ a backslash. A quote that is not closed reaches to the end: a filter
// is read while it is typed.
func split(s string) []word {
	var out []word
	var w word
	quoted, escaped := false, false
	end := func() {
		if len(w) > 0 {
			out = append(out, w)
		}
		w = nil
	}
	for _, r := range s {
		switch {
		case escaped:
			if r != '"' && r != '\\' {
				w = append(w, char{'\\', true})
			}
			w, escaped = append(w, char{r, true}), false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		case (r == ' ' || r == '\t' || r == '\n') && !quoted:
			end()
		default:
			w = append(w, char{r, quoted})
		}
	}
	if escaped {
		w = append(w, char{'\\', true})
	}
	end()
	return out
}

// Term writes the term that holds for one value of a key, quoted where that is
// needed.
func Term(key, value string) string { return key + "=" + quote(value) }

// TagTerm writes the term that holds for one value of a tag, whatever hosts have.
func TagTerm(key, value string) string { return "tag:" + quote(key) + "=" + quote(value) }

func quote(s string) string {
	if !strings.ContainsAny(s, " \t\n\"=:<>") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
