package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of IAM. White space does not count, and there is none in what is
// made here. A customer managed policy is the narrowest that everybody can be
// given: a role's inline policies may have 10,240 characters together, a
// group's 5,120, a user's 2,048.
// Source: IAM User Guide, reference_iam-quotas.
const (
	MostCharacters = 6144 // of a customer managed policy
	MostAttached   = 10   // managed policies on one role, user or group, unless the quota was raised
	mostName       = 128
)

// statement is one statement of a policy document.
type statement struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Action    []string                       `json:"Action"`
	Resource  []string                       `json:"Resource"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

const language = "2012-10-17"

func document(statements []statement) string {
	return compact(struct {
		Version   string      `json:"Version"`
		Statement []statement `json:"Statement"`
	}{language, statements})
}

// compact writes JSON without white space and with <, > and & as they are.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("access: " + err.Error()) // strings, lists and maps of them always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func allow(sid string, resources []string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

func deny(sid string, resources []string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Deny", Action: actions, Resource: resources}
}

func (s statement) when(operator, key string, values ...string) statement {
	c := map[string]map[string][]string{}
	for op, keys := range s.Condition {
		c[op] = map[string][]string{}
		for k, v := range keys {
			c[op][k] = v
		}
	}
	if c[operator] == nil {
		c[operator] = map[string][]string{}
	}
	c[operator][key] = values
	s.Condition = c
	return s
}

// pack divides statements over as few documents as their order allows. A
// statement that is too long by its resources continues in the next one.
func pack(statements []statement) ([]string, error) {
	var docs []string
	var now []statement
	size := func(more ...statement) int {
		return utf8.RuneCountInString(document(append(slices.Clone(now), more...)))
	}
	flush := func() {
		if len(now) > 0 {
			docs = append(docs, document(now))
			now = nil
		}
	}
	for _, s := range statements {
		for rest := s.Resource; ; {
			s.Resource = rest
			if size(s) <= MostCharacters {
				now = append(now, s)
				break
			}
			n := fitting(s, size)
			if n > 0 {
				s.Resource = rest[:n]
				now = append(now, s)
				rest = rest[n:]
			} else if len(now) == 0 {
				return nil, fmt.Errorf("statement %s does not fit into a policy of %d characters", s.Sid, MostCharacters)
			}
			flush()
		}
	}
	flush()
	return docs, nil
}

// fitting is how many of a statement's resources fit into what is left.
func fitting(s statement, size func(...statement) int) int {
	all := s.Resource
	low, high := 0, len(all)-1
	for low < high {
		middle := (low + high + 1) / 2
		s.Resource = all[:middle]
		if size(s) <= MostCharacters {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// writable reports whether IAM takes a text in a policy document as it stands:
// its characters, and nothing that it would read as a variable.
// Source: IAM User Guide, reference_iam-quotas, "IAM name requirements".
func writable(text string) bool {
	if !utf8.ValidString(text) || strings.Contains(text, "${") {
		return false
	}
	for _, r := range text {
		if r < 0x20 || r > 0xff || r == 0x7f {
			return false
		}
	}
	return true
}

// name makes a name of a prefix and a free text that IAM and Systems Manager
// take: letters, digits, ".", "_" and "-". Whatever had to be changed is told
// apart by a sum of the text.
func name(prefix, text string, most int) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	out := prefix + b.String()
	if b.String() == text && len(out) <= most {
		return out
	}
	sum := sha256.Sum256([]byte(text))
	tail := "-" + hex.EncodeToString(sum[:4])
	return out[:min(len(out), most-len(tail))] + tail
}

// policiesOf divides statements into policies of one name.
func policiesOf(base string, statements []statement, p Policy) ([]Policy, error) {
	docs, err := pack(statements)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", base, err)
	}
	out := make([]Policy, 0, len(docs))
	for i, d := range docs {
		p.Name, p.Part, p.Parts, p.Document = base, i+1, len(docs), d
		if len(docs) > 1 {
			p.Name = fmt.Sprintf("%s-part-%02d", base, i+1)
		}
		out = append(out, p)
	}
	return out, nil
}

const mostBase = mostName - len("-part-00")
