package export_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// statement is a statement of IAM's policy language. Source: IAM User Guide,
// reference_policies_grammar.
type statement struct {
	Sid                                                               string
	Effect                                                            string
	Principal, NotPrincipal, Action, NotAction, Resource, NotResource any
	Condition                                                         map[string]map[string]any
}

// operators are those of conditions, without ForAllValues:, ForAnyValue: and
// IfExists. Source: IAM User Guide, reference_policies_elements_condition_operators.
var operators = regexp.MustCompile(`^(String(Not)?(Equals|EqualsIgnoreCase|Like)|Numeric(Not)?Equals|Numeric(Less|Greater)Than(Equals)?|Date(Not)?Equals|Date(Less|Greater)Than(Equals)?|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like)|Null)$`)

// ungrammatical tells what IAM would refuse in a policy of an identity, or in a
// role's trust. most is how many characters it may have without white space (IAM User Guide, reference_iam-quotas).
func ungrammatical(text string, trust bool, most int) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	var p struct {
		Version   string
		ID        string `json:"Id"`
		Statement []statement
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return []string{err.Error()}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil || utf8.RuneCount(b.Bytes()) > most {
		say("%d characters, and IAM takes %d: %v", utf8.RuneCount(b.Bytes()), most, err)
	}
	if p.Version != "2012-10-17" || len(p.Statement) == 0 {
		say("version %q, %d statements", p.Version, len(p.Statement))
	}
	sids := map[string]bool{}
	for i, s := range p.Statement {
		if s.Sid != "" && (sids[s.Sid] || !regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid)) {
			say("statement %d: Sid %q", i, s.Sid)
		}
		sids[s.Sid] = true
		if s.Effect != "Allow" && s.Effect != "Deny" {
			say("statement %d: effect %q", i, s.Effect)
		}
		if (s.Action == nil) == (s.NotAction == nil) {
			say("statement %d needs one of Action and NotAction", i)
		}
		if principal := s.Principal != nil || s.NotPrincipal != nil; principal != trust || trust == (s.Resource != nil || s.NotResource != nil) {
			say("statement %d: principal %v, resource %v", i, s.Principal, s.Resource)
		}
		for op, keys := range s.Condition {
			name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(op, "ForAllValues:"), "ForAnyValue:"), "IfExists")
			if !operators.MatchString(name) || len(keys) == 0 {
				say("statement %d: operator %q with %d keys", i, op, len(keys))
			}
			for key := range keys {
				if !strings.Contains(key, ":") {
					say("statement %d: condition key %q", i, key)
				}
			}
		}
	}
	return said
}

// Every policy of the demo's export is of IAM's grammar and within its sizes.
func TestPoliciesAreOfIAMsGrammar(t *testing.T) {
	const trust, inline, managed = 2048, 10240, 6144
	texts, call := documents(t, demo(t))
	counts, inRole := map[string]int{}, map[string]int{}
	for file, c := range call {
		var in struct{ RoleName, PolicyDocument, AssumeRolePolicyDocument string }
		if c == "" || json.Unmarshal([]byte(texts[file]), &in) != nil {
			continue
		}
		most, text := map[string]int{"iam create-role": trust, "iam put-role-policy": inline, "iam create-policy": managed}[c], in.PolicyDocument+in.AssumeRolePolicyDocument
		if most == 0 {
			continue
		}
		counts[c]++
		for _, said := range ungrammatical(text, c == "iam create-role", most) {
			t.Errorf("%s: %s\n%s", file, said, text)
		}
		if c == "iam put-role-policy" {
			inRole[in.RoleName] += len(text)
		}
	}
	for role, n := range inRole {
		if n > inline {
			t.Errorf("role %s gets %d characters of inline policies, and IAM takes %d", role, n, inline)
		}
	}
	if len(counts) != 3 {
		t.Errorf("only %v were looked at", counts)
	}
	for text, want := range map[string]string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:B","Resource":"*"}]}`:                                         "",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Actions":"a:B","Resource":"*"}]}`:                                        "unknown field",
		`{"Version":"2012-10-17","Statement":[{"Effect":"allow","Action":"a:B","Resource":"*"}]}`:                                         `effect "allow"`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:B"}]}`:                                                        "resource",
		`{"Version":"2012-10-17","Statement":[{"Sid":"a-b","Effect":"Allow","Action":"a:B","Resource":"*"}]}`:                             `Sid "a-b"`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringEqual":{"a:b":"c"}}}]}`: "operator",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:B","Resource":["` + strings.Repeat("x", managed) + `"]}]}`:    "characters",
	} {
		if said := strings.Join(slices.Sorted(slices.Values(ungrammatical(text, false, managed))), "\n"); want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("%.200s is said to be wrong in %q, want %q", text, said, want)
		}
	}
}
