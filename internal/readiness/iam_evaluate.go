package readiness

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// policyText is one policy of a principal: parsed, or why it could not be.
type policyText struct {
	name string // as an operator finds it: ARN, or "inline policy NAME"
	doc  document
	gap  string // why doc is not known; empty when it is
}

func readPolicy(name, text string) policyText {
	doc, err := parseDocument(text)
	if err != nil {
		return policyText{name: name, gap: err.Error()}
	}
	for _, s := range doc.statements {
		if s.principal != nil {
			return policyText{name: name, gap: "an identity policy cannot name a Principal"}
		}
	}
	return policyText{name: name, doc: doc}
}

// permissions is everything that decides what a principal may do, as far as
// it is looked at: service control policies and session policies are not.
type permissions struct {
	identity []policyText
	boundary *policyText // nil: none
}

// decision is the answer to whether an action is allowed.
type decision struct {
	allowed answer
	why     string // what decides it: "inline policy x denies it"
	unread  bool   // maybe, because a document could not be read

	// What is in the way when the answer is no; several things may be.
	denials   []string // explicit Denies: "inline policy x denies it"
	ungranted bool     // no policy of the principal allows it
	unbounded bool     // the permissions boundary does not allow it
	bounded   bool     // the permissions boundary has a part in the no, by silence or by a Deny
}

// opinion is what a set of policies says of one action on one resource,
// before they are weighed against each other.
type opinion struct {
	allow, deny       answer
	allowWhy, denyWhy string
	unread            bool
}

func (o *opinion) add(p policyText, action, resource string, ctx requestContext) {
	if p.gap != "" {
		o.unread = true
		why := fmt.Sprintf("%s is not known: %s", p.name, p.gap)
		o.raise(&o.allow, &o.allowWhy, maybe, why)
		o.raise(&o.deny, &o.denyWhy, maybe, why)
		return
	}
	for _, s := range p.doc.statements {
		a := s.applies(action, resource, ctx)
		if s.allow {
			o.raise(&o.allow, &o.allowWhy, a, verb(p.name, "allows it", a))
		} else {
			o.raise(&o.deny, &o.denyWhy, a, verb(p.name, "denies it", a))
		}
	}
}

func (o *opinion) raise(what *answer, why *string, to answer, reason string) {
	if to > *what {
		*what, *why = to, reason
	}
}

func verb(name, does string, a answer) string {
	if a == maybe {
		return name + " " + does + " under a condition or policy variable"
	}
	return name + " " + does
}

// decide evaluates as IAM does within one account: an explicit Deny wins;
// without an Allow it is denied; a boundary must allow it as well.
func (p permissions) decide(action, resource string, ctx requestContext) decision {
	var own, bound opinion
	for _, t := range p.identity {
		own.add(t, action, resource, ctx)
	}
	bound.allow = yes
	if p.boundary != nil {
		bound.allow = no
		bound.add(*p.boundary, action, resource, ctx)
	}
	d := decision{ungranted: own.allow == no, unbounded: bound.allow == no, bounded: bound.allow == no || bound.deny == yes}
	if own.deny == yes {
		d.denials = append(d.denials, own.denyWhy)
	}
	if bound.deny == yes {
		d.denials = append(d.denials, "the permissions boundary "+bound.denyWhy)
	}
	switch {
	case d.denials != nil:
		d.why = d.denials[0]
		return d
	case d.ungranted:
		d.why = "no policy allows it"
		return d
	case d.unbounded:
		d.why = "the permissions boundary " + p.boundary.name + " does not allow it"
		return d
	}
	d = decision{allowed: yes, why: own.allowWhy, unread: own.unread || bound.unread}
	for _, doubt := range []struct {
		is  bool
		why string
	}{
		{own.allow == maybe, own.allowWhy},
		{own.deny == maybe, own.denyWhy},
		{bound.allow == maybe, bound.allowWhy},
		{bound.deny == maybe, bound.denyWhy},
	} {
		if doubt.is {
			d.allowed, d.why = maybe, doubt.why
			return d
		}
	}
	return d
}

// endpointAllows says whether a VPC endpoint's policy lets an action through
// for anyone. An empty policy is AWS's default, which allows everything.
func endpointAllows(policy, action, resource string, ctx requestContext) answer {
	if policy == "" {
		return yes
	}
	doc, err := parseDocument(policy)
	if err != nil {
		return maybe
	}
	allow, deny := no, no
	for _, s := range doc.statements {
		a := s.applies(action, resource, ctx)
		if !everyone(s.principal) {
			a = min(a, maybe)
		}
		if s.allow {
			allow = max(allow, a)
		} else {
			deny = max(deny, a)
		}
	}
	return min(allow, yes-deny)
}

// everyone reports whether a Principal element means any caller.
func everyone(principal json.RawMessage) bool {
	var one string
	if json.Unmarshal(principal, &one) == nil {
		return one == "*"
	}
	var kinds map[string]stringList
	if json.Unmarshal(bytes.TrimSpace(principal), &kinds) != nil {
		return false
	}
	for _, who := range kinds["AWS"] {
		if who == "*" {
			return true
		}
	}
	return false
}

// trusts says whether a role's trust policy lets EC2 hand out its credentials;
// maybe when the policy was not read or not understood.
func trusts(policy string) answer {
	doc, err := parseStatements(policy)
	if err != nil {
		return maybe
	}
	allow, deny := no, no
	for _, s := range doc.statements {
		if !s.names("sts:AssumeRole") {
			continue
		}
		a := s.condition.holds(nil)
		switch who := isEC2(s.principal); {
		case s.allow:
			allow = max(allow, min(a, who))
		default:
			deny = max(deny, min(a, who))
		}
	}
	return min(allow, yes-deny)
}

// isEC2 says whether a Principal element means the EC2 service.
func isEC2(principal json.RawMessage) answer {
	if everyone(principal) {
		return yes
	}
	var kinds map[string]stringList
	if json.Unmarshal(principal, &kinds) != nil {
		return maybe
	}
	for _, who := range kinds["Service"] {
		if who == "ec2.amazonaws.com" || who == "ec2.amazonaws.com.cn" {
			return yes
		}
	}
	return no
}
