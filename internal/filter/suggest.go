package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Error says why a filter cannot be read, and what to write instead.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

func noNumber(key string) error {
	var numbers []string
	for _, k := range keys {
		if k.Number() {
			numbers = append(numbers, k.Name)
		}
	}
	return &Error{Text: fmt.Sprintf("%q is not a number, so only = and : go with it; > and < are for %s", key, strings.Join(numbers, ", "))}
}

// unknown says that a key is neither one of the language's nor a tag's.
func (l *Language) unknown(key string, w word) error {
	text := fmt.Sprintf("no key and no tag is called %q", key)
	if near := l.near(key); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	} else {
		text += "."
	}
	return &Error{Text: text + fmt.Sprintf(` Quotes look for the text: "%s"`, w)}
}

// Completions are the keys and tags that begin with a text, keys first; at most n.
func (l *Language) Completions(start string, n int) []string {
	start = strings.ToLower(start)
	var out []string
	for _, k := range keys {
		if strings.HasPrefix(k.Name, start) {
			out = append(out, k.Name)
		}
	}
	for _, low := range slices.Sorted(maps.Keys(l.tags)) {
		if strings.HasPrefix(low, start) && keyCalled(low) == nil {
			out = append(out, quote(l.tags[low]))
		}
	}
	return out[:min(len(out), n)]
}

// Tags are the keys of the tags that hosts have, in order.
func (l *Language) Tags() []string { return slices.Sorted(maps.Values(l.tags)) }

// near gives up to three keys and tags that are spelled much like a text, the
// nearest first.
func (l *Language) near(text string) []string {
	text = strings.ToLower(text)
	type candidate struct {
		name string
		off  int
	}
	var all []candidate
	add := func(low, name string) {
		switch d := distance(text, low); {
		case d <= 1+len(text)/4:
			all = append(all, candidate{name, d})
		case len(text) > 1 && strings.HasPrefix(low, text):
			all = append(all, candidate{name, len(low)})
		}
	}
	for _, k := range keys {
		add(k.Name, k.Name)
		if k.Also != "" {
			add(k.Also, k.Also)
		}
	}
	for _, low := range slices.Sorted(maps.Keys(l.tags)) {
		if keyCalled(low) == nil {
			add(low, quote(l.tags[low]))
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.off - b.off })
	var out []string
	for _, c := range all[:min(len(all), 3)] {
		out = append(out, c.name)
	}
	return out
}

// longest is how long a text may be whose spelling is compared.
const longest = 64

// distance is how many letters must be put in, left out or replaced, or
// neighbors swapped, to make one text the other.
func distance(a, b string) int {
	if len(a) > longest || len(b) > longest {
		return longest
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
