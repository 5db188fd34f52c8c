package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// parsed is a policy's text as whoever reads it sees it. It is read on its own,
// not taken from what it was written from: the text may have been changed since.
type parsed struct {
	Version   string
	Statement []statement
}

var (
	sid        = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)
	exact      = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9]+$`)
	policyName = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,128}$`)
)

// read parses a policy's text strictly, and says what is wrong with it by the
// grammar of IAM's language, by its limits, or by what is never generated: an
// action with a wildcard, and elements that mean all but what they list.
// Sources: IAM User Guide, reference_policies_grammar, reference_iam-quotas.
func read(p Policy) (out parsed, problems []string) {
	d := json.NewDecoder(strings.NewReader(p.Document))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil || d.More() {
		return out, []string{fmt.Sprintf("%s is not a policy document as it is generated: %v", p.Name, err)}
	}
	add := func(format string, args ...any) {
		problems = append(problems, p.Name+": "+fmt.Sprintf(format, args...))
	}
	if out.Version != language {
		add("version %q of the policy language", out.Version)
	}
	if n := size(p.Document); n > MostCharacters {
		add("%d characters, which is more than %d", n, MostCharacters)
	}
	if !policyName.MatchString(p.Name) {
		add("IAM takes no such name")
	}
	for _, r := range p.Document {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r > 0xff || r == utf8.RuneError {
			add("character %U, which IAM does not take", r)
			break
		}
	}
	if len(out.Statement) == 0 {
		add("no statement")
	}
	seen := map[string]bool{}
	for _, s := range out.Statement {
		if !sid.MatchString(s.Sid) || seen[s.Sid] {
			add("Sid %q is not letters and digits, or comes twice", s.Sid)
		}
		seen[s.Sid] = true
		if s.Effect != "Allow" && s.Effect != "Deny" {
			add("%s: effect %q", s.Sid, s.Effect)
		}
		if len(s.Action) == 0 || len(s.Resource) == 0 {
			add("%s: no action or no resource", s.Sid)
		}
		for _, a := range s.Action {
			if !exact.MatchString(a) {
				add("%s: action %q is not the name of one action", s.Sid, a)
			}
		}
		for _, r := range s.Resource {
			if r != "*" && strings.Count(r, ":") < 5 {
				add("%s: resource %q is no ARN", s.Sid, r)
			}
		}
	}
	return out, problems
}

// size is the length of a document as IAM counts: without white space.
func size(text string) int {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		b.Reset()
		b.WriteString(text)
	}
	return utf8.RuneCount(b.Bytes())
}

var variable = regexp.MustCompile(`\$\{[^}]*\}`)

// witness is a text that a pattern matches, of a thing that nothing in the
// fleet is.
func witness(pattern string) string {
	return strings.NewReplacer("*", "witness", "?", "w").Replace(variable.ReplaceAllString(pattern, "witness"))
}

// actions lists all that a text's statements of one effect name, witnesses of
// patterns among them.
func (d parsed) actions(effect string) []string {
	var out []string
	for _, s := range d.Statement {
		if s.Effect == effect {
			for _, a := range s.Action {
				out = addAll(out, witness(a))
			}
		}
	}
	slices.Sort(out)
	return out
}

// resources lists a witness of everything that a text's statements name.
func (d parsed) resources() []string {
	var out []string
	for _, s := range d.Statement {
		for _, r := range s.Resource {
			if r != "*" {
				out = addAll(out, witness(r))
			}
		}
	}
	slices.Sort(out)
	return out
}

// compared lists the values that a text's conditions compare a key with, by
// the key in lower case.
func (d parsed) compared() map[string][]string {
	out := map[string][]string{}
	for _, s := range d.Statement {
		for _, keys := range s.Condition {
			for key, values := range keys {
				for _, v := range values {
					out[strings.ToLower(key)] = addAll(out[strings.ToLower(key)], witness(v))
				}
			}
		}
	}
	return out
}
