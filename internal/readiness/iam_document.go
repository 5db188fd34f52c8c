package readiness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxDocument is far above IAM's own limits (10,240 characters for a role's
// inline policies, 6,144 for a managed one).
const maxDocument = 1 << 20

// document is a parsed IAM policy document.
type document struct {
	statements []statement
}

// statement is one statement of a document.
type statement struct {
	allow       bool // false: Deny
	actions     []string
	notAction   bool // actions lists what the statement does not speak of
	resources   []string
	notResource bool
	condition   condition       // nil: none
	principal   json.RawMessage // Principal element; nil in identity policies
}

// stringList is a JSON string, or a list of them.
type stringList []string

func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil && !bytes.Equal(b, []byte("null")) {
		*l = stringList{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil || many == nil {
		return errors.New("neither a string nor a list of strings")
	}
	*l = many
	return nil
}

type rawStatement struct {
	Sid, Effect             string
	Action, NotAction       stringList
	Resource, NotResource   stringList
	Principal, NotPrincipal json.RawMessage
	Condition               condition
}

// parseDocument reads an identity or resource policy. An element that it does not know is
// an error rather than ignored: what it would have meant is not known.
func parseDocument(text string) (document, error) {
	d, err := parseStatements(text)
	if err != nil {
		return document{}, err
	}
	for i, s := range d.statements {
		if s.resources == nil {
			return document{}, fmt.Errorf("statement %d of the policy document: want exactly one of Resource and NotResource", i+1)
		}
	}
	return d, nil
}

// parseStatements reads a document in which statements may go without a
// resource, as those of a trust policy do.
func parseStatements(text string) (document, error) {
	if len(text) > maxDocument {
		return document{}, fmt.Errorf("policy document of %d bytes is too long", len(text))
	}
	var top struct {
		Version, ID string
		Statement   json.RawMessage
	}
	if err := strict(text, &top); err != nil {
		return document{}, fmt.Errorf("policy document: %w", err)
	}
	list := []json.RawMessage{top.Statement}
	switch body := bytes.TrimSpace(top.Statement); {
	case len(body) == 0:
		return document{}, errors.New("policy document has no Statement")
	case body[0] == '[':
		list = nil
		if err := json.Unmarshal(body, &list); err != nil {
			return document{}, fmt.Errorf("policy document: %w", err)
		}
	}
	var d document
	for i, raw := range list {
		s, err := parseStatement(string(raw))
		if err != nil {
			return document{}, fmt.Errorf("statement %d of the policy document: %w", i+1, err)
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

func parseStatement(text string) (statement, error) {
	var raw rawStatement
	if err := strict(text, &raw); err != nil {
		return statement{}, err
	}
	s := statement{allow: raw.Effect == "Allow", condition: raw.Condition, principal: raw.Principal}
	switch {
	case raw.Effect != "Allow" && raw.Effect != "Deny":
		return statement{}, fmt.Errorf("effect %q is neither Allow nor Deny", raw.Effect)
	case (raw.Action == nil) == (raw.NotAction == nil):
		return statement{}, errors.New("want exactly one of Action and NotAction")
	case raw.Resource != nil && raw.NotResource != nil:
		return statement{}, errors.New("want exactly one of Resource and NotResource")
	case raw.NotPrincipal != nil:
		return statement{}, errors.New("NotPrincipal is not understood")
	}
	s.actions, s.notAction = raw.Action, raw.Action == nil
	if s.notAction {
		s.actions = raw.NotAction
	}
	s.resources, s.notResource = raw.Resource, raw.NotResource != nil
	if s.notResource {
		s.resources = raw.NotResource
	}
	return s, nil
}

func strict(text string, into any) error {
	if !json.Valid([]byte(text)) {
		return errors.New("not one JSON value") // a Decoder would ignore text after it
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// applies says whether the statement speaks of an action on a resource: maybe
// where a condition or policy variable decides it whose value is not known.
func (s statement) applies(action, resource string, ctx requestContext) answer {
	if !s.names(action) {
		return no
	}
	return min(s.covers(resource), s.condition.holds(ctx))
}

// names reports whether the statement speaks of an action.
func (s statement) names(action string) bool {
	named := false
	for _, p := range s.actions {
		if glob(strings.ToLower(p), strings.ToLower(action)) {
			named = true
			break
		}
	}
	return named != s.notAction
}

func (s statement) covers(resource string) answer {
	a := no
	for _, p := range s.resources {
		a = max(a, matchResource(p, resource))
	}
	if s.notResource {
		return yes - a
	}
	return a
}

// matchResource compares one resource pattern. A policy variable stands for
// anything, so it makes a match uncertain.
func matchResource(pattern, resource string) answer {
	if !strings.Contains(pattern, "${") {
		if glob(pattern, resource) {
			return yes
		}
		return no
	}
	var widened strings.Builder
	for rest := pattern; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		widened.WriteString(before)
		if !found {
			break
		}
		widened.WriteByte('*')
		_, rest, _ = strings.Cut(after, "}")
	}
	if glob(widened.String(), resource) {
		return maybe
	}
	return no
}

// glob matches IAM's wildcards: * for any run of characters, ? for one.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
