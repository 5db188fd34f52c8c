package simfleet

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// policyDocument is a parsed policy: IAM's, an organization's, or a resource's.
type policyDocument struct {
	Version   string
	Statement oneOrMore[policyStatement]
}

type policyStatement struct {
	Effect       string
	Principal    principals
	NotPrincipal principals
	Action       oneOrMore[string]
	NotAction    oneOrMore[string]
	Resource     oneOrMore[string]
	NotResource  oneOrMore[string]
	Condition    map[string]map[string]oneOrMore[scalar]

	variables bool // of a document whose version knows policy variables
}

// oneOrMore is a JSON value that may stand alone or in a list.
type oneOrMore[T any] []T

// UnmarshalJSON reads either form.
func (o *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	var many []T
	if err := json.Unmarshal(b, &many); err == nil {
		*o = many
		return nil
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*o = []T{one}
	return nil
}

// scalar is a condition's value: policies write true and 5 with quotes and without.
type scalar string

// UnmarshalJSON reads a string, a number or a truth value.
func (s *scalar) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		*s = scalar(text)
		return nil
	}
	if len(b) > 0 && (b[0] == '{' || b[0] == '[') {
		return fmt.Errorf("%s is no condition value", b)
	}
	*s = scalar(b)
	return nil
}

// principals are those that a resource's policy names, by kind: "AWS",
// "Service", "Federated". Nil: the document names none, as IAM's own do.
type principals map[string]oneOrMore[string]

// UnmarshalJSON reads "*" or an object.
func (p *principals) UnmarshalJSON(b []byte) error {
	var everybody string
	if err := json.Unmarshal(b, &everybody); err == nil {
		*p = principals{"AWS": {everybody}}
		return nil
	}
	return json.Unmarshal(b, (*map[string]oneOrMore[string])(p))
}

// policies caches parsed documents by their text: a fleet asks the same few
// documents many thousand times.
var policies sync.Map

func parsePolicy(text string) policyDocument {
	if d, ok := policies.Load(text); ok {
		return d.(policyDocument)
	}
	var d policyDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		// IAM does not store a document that it cannot parse; as none allows anything.
		d = policyDocument{}
	}
	for i := range d.Statement {
		d.Statement[i].variables = d.Version == "2012-10-17"
	}
	policies.Store(text, d)
	return d
}

// request is one action on one resource in its context.
type request struct {
	action, resource string
	principal        string                    // ARN of the role or user that asks; empty: nobody that a policy can name
	who              *principal                // the same with what condition keys tell of it; nil: nothing is known
	session          string                    // name of the role's session
	context          map[string][]string       // further condition keys, in lower case
	more             func(key string) []string // further keys that cost something to compute; may be nil
	missing          func(key string)          // is told of keys that a policy asks for and the context lacks; may be nil
}

// value gives a condition key's values; none: the context lacks the key.
func (q request) value(key string) []string {
	asked := key
	key = strings.ToLower(key)
	v := q.context[key]
	if v == nil && q.who != nil {
		v = q.who.value(key, q.session)
	}
	if v == nil && q.more != nil {
		v = q.more(key)
	}
	if len(v) == 0 && q.missing != nil {
		q.missing(asked)
	}
	return v
}

// decision is what a set of documents says to a request.
type decision struct{ allowed, denied bool }

// yes reports whether the documents let the request pass.
func (d decision) yes() bool { return d.allowed && !d.denied }

func (q request) decide(documents ...string) (d decision) {
	for _, text := range documents {
		for _, s := range parsePolicy(text).Statement {
			if !q.matches(s) {
				continue
			}
			d.allowed = d.allowed || s.Effect == "Allow"
			d.denied = d.denied || s.Effect == "Deny"
		}
	}
	return d
}

func (q request) matches(s policyStatement) bool {
	if s.Principal != nil && !s.Principal.include(q.principal) || s.NotPrincipal != nil && s.NotPrincipal.include(q.principal) {
		return false
	}
	action := anyMatches(s.Action, q.action, true)
	if len(s.NotAction) > 0 {
		action = !anyMatches(s.NotAction, q.action, true)
	}
	return action && q.resourceMatches(s) && q.conditionsHold(s)
}

func (q request) resourceMatches(s policyStatement) bool {
	if len(s.NotResource) > 0 {
		patterns, ok := q.substituted(s, s.NotResource)
		// A variable without a value leaves open what is excepted: the statement
		// then fits nothing.
		return ok && !anyMatches(patterns, q.resource, false)
	}
	patterns, _ := q.substituted(s, s.Resource)
	return anyMatches(patterns, q.resource, false)
}

// include reports whether the named principals have the asking one among them.
// A principal is named by its ARN, by its account's ID, or by the account's
// root, which stands for all of the account.
func (p principals) include(arn string) bool {
	for _, name := range p["AWS"] {
		switch {
		case name == "*" || name == arn:
			return true
		case arn != "" && (name == accountOfARN(arn) || name == "arn:aws:iam::"+accountOfARN(arn)+":root"):
			return true
		}
	}
	return false
}

// accountOfARN is the fifth field of an ARN.
func accountOfARN(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// In a pattern, these stand for a * and a ? that match nothing but themselves.
const literalStar, literalQuestion = '\x00', '\x01'

// substituted puts values into policy variables, ${key} or ${key, 'default'}.
// Patterns with a variable that has no value are left out; ok is false then.
// Source: IAM User Guide, policy elements: variables and tags.
func (q request) substituted(s policyStatement, patterns []string) (out []string, ok bool) {
	if !s.variables || !slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(p, "${") }) {
		return patterns, true
	}
	ok = true
	for _, p := range patterns {
		text, whole := q.expand(p)
		if !whole {
			ok = false
			continue
		}
		out = append(out, text)
	}
	return out, ok
}

func (q request) expand(pattern string) (string, bool) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(pattern, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			b.WriteString("${" + rest)
			return b.String(), true
		}
		pattern = after
		switch name {
		case "*":
			b.WriteByte(literalStar)
			continue
		case "?":
			b.WriteByte(literalQuestion)
			continue
		case "$":
			b.WriteByte('$')
			continue
		}
		key, fallback, has := strings.Cut(name, ",")
		values := q.value(strings.TrimSpace(key))
		switch {
		case len(values) == 1:
			b.WriteString(literal.Replace(values[0]))
		case has:
			b.WriteString(literal.Replace(strings.Trim(strings.TrimSpace(fallback), "'")))
		default:
			return "", false
		}
	}
}

// literal takes the wildcards out of a variable's value.
var literal = strings.NewReplacer("*", string(rune(literalStar)), "?", string(rune(literalQuestion)))

// anyMatches compares with IAM's wildcards * and ?; on request letters of
// either case are the same, those of ASCII, of which actions are made.
func anyMatches(patterns []string, s string, fold bool) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wildcard(p, s, fold) })
}

// wildcard matches in linear space and without backtracking over earlier stars.
func wildcard(pattern, s string, fold bool) bool {
	same := func(p, c byte) bool {
		return p == c || p == '?' || p == literalStar && c == '*' || p == literalQuestion && c == '?' || fold && lowered(p) == lowered(c)
	}
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && same(pattern[p], s[i]):
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

func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// roleAllows evaluates a role's policies, its boundary and the organization's
// service control policies. Anything that cannot be found allows nothing.
func (a *Account) roleAllows(r *fleet.Role, q request) bool {
	return a.judge(a.rolePrincipal(r), q).yes()
}

// policyText is a managed policy's document; empty when there is none.
func (a *Account) policyText(arn string) string {
	if p := find(a.Policies, func(p *fleet.Policy) bool { return p.ARN == arn }); p != nil {
		return p.Document.Value
	}
	return ""
}

// profileRole gives the role behind an instance profile, if any.
func (a *Account) profileRole(profileARN string) *fleet.Role {
	p := find(a.Profiles, func(p *fleet.InstanceProfile) bool { return profileARN != "" && p.ARN == profileARN })
	if p == nil || p.Role == "" {
		return nil
	}
	return find(a.Roles, func(r *fleet.Role) bool { return r.Name == p.Role })
}

// trustDocument is what of a trust policy counts for services.
type trustDocument struct {
	Statement oneOrMore[struct {
		Effect    string
		Principal struct{ Service oneOrMore[string] }
		Action    oneOrMore[string]
	}]
}

// trustDocuments caches parsed trust policies by their text.
var trustDocuments sync.Map

func parseTrust(text string) trustDocument {
	if d, ok := trustDocuments.Load(text); ok {
		return d.(trustDocument)
	}
	var d trustDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		d = trustDocument{} // it trusts nobody
	}
	trustDocuments.Store(text, d)
	return d
}

// trusts reports whether a service may hand out the role's credentials.
func trusts(r *fleet.Role, service string) bool {
	for _, s := range parseTrust(r.Trust).Statement {
		if s.Effect == "Allow" && slices.Contains(s.Principal.Service, service) && anyMatches(s.Action, "sts:AssumeRole", true) {
			return true
		}
	}
	return false
}

// instanceRequest is an instance's own request for an action. Whose
// credentials it is made with is for judge to say.
func instanceRequest(in *Instance, action string) request {
	rg := in.Region
	arn := fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", rg.Name, rg.Account.ID, in.Host.ID)
	q := request{action: action, resource: arn, session: in.Host.ID, context: map[string][]string{
		"aws:requestedregion":   {rg.Name},
		"ec2:sourceinstancearn": {arn}, "ssm:sourceinstancearn": {arn},
		"aws:ec2instancesourcevpc": {in.Host.VPC},
		"aws:securetransport":      {"true"}, "aws:viaawsservice": {"false"},
	}}
	if r := rg.Account.profileRole(in.Host.ProfileARN); r != nil {
		q.principal = r.ARN
	}
	service, _, _ := strings.Cut(action, ":")
	if service != "ssm" {
		q.resource = "*"
	}
	// These depend on the clock and on the way that the request takes.
	q.more = func(key string) []string {
		if w := rg.Account.world; w != nil {
			switch key {
			case "aws:currenttime":
				return []string{w.Now().UTC().Format(time.RFC3339)}
			case "aws:epochtime":
				return []string{strconv.FormatInt(w.Now().Unix(), 10)}
			}
		}
		if !slices.Contains([]string{"aws:sourcevpc", "aws:sourcevpce", "aws:sourceip", "aws:vpcsourceip"}, key) {
			return nil
		}
		return egressContext(in, service)[key]
	}
	return q
}

// egressContext is what AWS sees of the way by which an instance's request to
// a service came: an endpoint of a VPC, or an address of the internet.
func egressContext(in *Instance, service string) map[string][]string {
	p := egress(in, service)
	switch {
	case !p.TCP:
		return nil
	case p.through != nil:
		return map[string][]string{"aws:sourcevpc": {p.through.VPC}, "aws:sourcevpce": {p.through.ID}, "aws:vpcsourceip": {p.source.String()}}
	case !p.source.IsValid():
		return nil
	}
	return map[string][]string{"aws:sourceip": {p.source.String()}}
}

// Permits reports whether the role in the instance's profile allows an action
// of the instance's own ("ssm:UpdateInstanceInformation"). Without a profile,
// or with an empty one, nothing is allowed. The caller holds w.Mu, at least
// for reading.
func (w *World) Permits(in *Instance, action string) bool {
	a := in.Region.Account
	r := a.profileRole(in.Host.ProfileARN)
	return r != nil && trusts(r, "ec2.amazonaws.com") && a.roleAllows(r, instanceRequest(in, action))
}

// defaultRole is the role that Default Host Management Configuration names.
func (rg *Region) defaultRole() *fleet.Role {
	if rg.DefaultRole == "" {
		return nil
	}
	return find(rg.Account.Roles, func(r *fleet.Role) bool { return r.Name == path.Base(rg.DefaultRole) && trusts(r, "ssm.amazonaws.com") })
}
