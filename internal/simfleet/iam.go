package simfleet

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"ssm-migrate/internal/fleet"
)

// policyDocument is a parsed IAM policy.
type policyDocument struct {
	Statement oneOrMore[policyStatement]
}

type policyStatement struct {
	Effect      string
	Action      oneOrMore[string]
	NotAction   oneOrMore[string]
	Resource    oneOrMore[string]
	NotResource oneOrMore[string]
	Condition   map[string]map[string]oneOrMore[string]
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
	policies.Store(text, d)
	return d
}

// request is one action on one resource in its context.
type request struct {
	action, resource string
	context          map[string]string // condition keys, in lower case
}

// decision is what a set of documents says to a request.
type decision struct{ allowed, denied bool }

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
	action := anyMatches(s.Action, q.action, true)
	if len(s.NotAction) > 0 {
		action = !anyMatches(s.NotAction, q.action, true)
	}
	resource := anyMatches(s.Resource, q.resource, false)
	if len(s.NotResource) > 0 {
		resource = !anyMatches(s.NotResource, q.resource, false)
	}
	return action && resource && q.conditionsHold(s.Condition)
}

func (q request) conditionsHold(c map[string]map[string]oneOrMore[string]) bool {
	for operator, keys := range c {
		for key, want := range keys {
			if !q.conditionHolds(operator, strings.ToLower(key), want) {
				return false
			}
		}
	}
	return true
}

// conditionHolds knows the string and ARN operators. A key that the request
// lacks fails the positive ones and passes the negated and IfExists ones, as
// in IAM; an operator that is not known here never holds.
func (q request) conditionHolds(operator, key string, want []string) bool {
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	got, has := q.context[key]
	negated := strings.Contains(operator, "Not")
	if !has {
		return ifExists || negated
	}
	var holds bool
	switch strings.Replace(operator, "Not", "", 1) {
	case "StringEquals":
		holds = slices.Contains(want, got)
	case "StringEqualsIgnoreCase":
		holds = slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, got) })
	case "StringLike", "ArnLike", "ArnEquals":
		holds = anyMatches(want, got, false)
	default:
		return false
	}
	return holds != negated
}

// anyMatches compares with IAM's wildcards * and ?.
func anyMatches(patterns []string, s string, fold bool) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if fold {
			return wildcard(strings.ToLower(p), strings.ToLower(s))
		}
		return wildcard(p, s)
	})
}

// wildcard matches in linear space and without backtracking over earlier stars.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
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

// roleAllows evaluates a role's policies and its boundary. Anything that
// cannot be found allows nothing.
func (a *Account) roleAllows(r *fleet.Role, q request) bool {
	var documents []string
	for _, d := range r.Inline {
		documents = append(documents, d)
	}
	for _, arn := range r.Attached {
		documents = append(documents, a.policyText(arn))
	}
	d := q.decide(documents...)
	if !d.allowed || d.denied {
		return false
	}
	if r.Boundary == "" {
		return true
	}
	d = q.decide(a.policyText(r.Boundary))
	return d.allowed && !d.denied
}

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

// trusts reports whether a service may hand out the role's credentials.
func trusts(r *fleet.Role, service string) bool {
	var d struct {
		Statement oneOrMore[struct {
			Effect    string
			Principal struct{ Service oneOrMore[string] }
			Action    oneOrMore[string]
		}]
	}
	if err := json.Unmarshal([]byte(r.Trust), &d); err != nil {
		return false
	}
	for _, s := range d.Statement {
		if s.Effect == "Allow" && slices.Contains(s.Principal.Service, service) && anyMatches(s.Action, "sts:AssumeRole", true) {
			return true
		}
	}
	return false
}

// instanceRequest is an instance's own request for an action.
func instanceRequest(in *Instance, action string) request {
	arn := fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", in.Region.Name, in.Region.Account.ID, in.Host.ID)
	q := request{action: action, resource: arn, context: map[string]string{
		"aws:requestedregion":   in.Region.Name,
		"ec2:sourceinstancearn": arn, "ssm:sourceinstancearn": arn,
		"aws:sourcevpc": in.Host.VPC,
	}}
	if service, _, _ := strings.Cut(action, ":"); service != "ssm" {
		q.resource = "*"
	}
	return q
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
