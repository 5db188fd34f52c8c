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

// The versions of the policy language. A document without a version is of the older one.
// Source: IAM User Guide, reference_policies_elements_version.
const (
	languageVersion    = "2012-10-17"
	oldLanguageVersion = "2008-10-17"
)

// document is a parsed IAM policy document.
type document struct {
	statements []statement
}

// statement is one statement of a document.
type statement struct {
	allow       bool     // false: Deny
	actions     []string // lower case
	notAction   bool     // actions lists what the statement does not speak of
	resources   []pattern
	notResource bool
	condition   condition // nil: none
	who         *principals
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
	Condition               map[string]map[string]conditionValues
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
	if top.Version != "" && top.Version != languageVersion && top.Version != oldLanguageVersion {
		return document{}, fmt.Errorf("policy document: version %q of the policy language is not known", top.Version)
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
		s, err := parseStatement(string(raw), top.Version)
		if err != nil {
			return document{}, fmt.Errorf("statement %d of the policy document: %w", i+1, err)
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

func parseStatement(text, version string) (statement, error) {
	var raw rawStatement
	if err := strict(text, &raw); err != nil {
		return statement{}, err
	}
	switch {
	case raw.Effect != "Allow" && raw.Effect != "Deny":
		return statement{}, fmt.Errorf("effect %q is neither Allow nor Deny", raw.Effect)
	case (raw.Action == nil) == (raw.NotAction == nil):
		return statement{}, errors.New("want exactly one of Action and NotAction")
	case raw.Resource != nil && raw.NotResource != nil:
		return statement{}, errors.New("want exactly one of Resource and NotResource")
	case raw.Principal != nil && raw.NotPrincipal != nil:
		return statement{}, errors.New("want one of Principal and NotPrincipal at most")
	case raw.NotPrincipal != nil && raw.Effect == "Allow":
		return statement{}, errors.New("NotPrincipal is not supported with Allow")
	}
	s := statement{
		allow: raw.Effect == "Allow", condition: newCondition(raw.Condition, version),
		notAction: raw.Action == nil, notResource: raw.NotResource != nil,
	}
	for _, a := range append(raw.Action, raw.NotAction...) {
		s.actions = append(s.actions, strings.ToLower(a))
	}
	if raw.Resource != nil || raw.NotResource != nil {
		s.resources = []pattern{}
	}
	for _, r := range append(raw.Resource, raw.NotResource...) {
		s.resources = append(s.resources, newPattern(r, version))
	}
	var err error
	switch {
	case raw.Principal != nil:
		s.who, err = newPrincipals(raw.Principal, false)
	case raw.NotPrincipal != nil:
		s.who, err = newPrincipals(raw.NotPrincipal, true)
	}
	return s, err
}

func strict(text string, into any) error {
	if !json.Valid([]byte(text)) {
		return errors.New("not one JSON value") // a Decoder would ignore text after it
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// applies says whether the statement, which names the action, speaks of it on
// a resource: maybe where a condition or policy variable decides it whose
// value is not known.
func (s *statement) applies(resource string, ctx requestContext) answer {
	a := s.covers(resource, ctx)
	if a == no {
		return no
	}
	return min(a, s.condition.holds(ctx))
}

// names reports whether the statement speaks of an action, which is in lower case.
func (s *statement) names(action string) bool {
	named := false
	for _, p := range s.actions {
		if glob(p, action) {
			named = true
			break
		}
	}
	return named != s.notAction
}

func (s *statement) covers(resource string, ctx requestContext) answer {
	a := no
	for _, p := range s.resources {
		if a = max(a, p.matches(resource, ctx)); a == yes {
			break
		}
	}
	if s.notResource {
		return yes - a
	}
	return a
}

// everything reports whether the statement speaks of all resources.
func (s *statement) everything() bool {
	return !s.notResource && len(s.resources) == 1 && s.resources[0].text == "*"
}
