package readiness

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// principals is a Principal or NotPrincipal element.
type principals struct {
	not       bool
	anyone    bool     // "*"
	aws       []string // ARNs, account IDs, unique IDs
	services  []string
	federated []string
	others    bool // kinds that are not looked at, such as CanonicalUser
}

func newPrincipals(raw json.RawMessage, not bool) (*principals, error) {
	p := &principals{not: not}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one != "*" {
			return nil, errors.New("a Principal without a kind can only be *")
		}
		p.anyone = true
		return p, nil
	}
	var kinds map[string]stringList
	if err := json.Unmarshal(raw, &kinds); err != nil || len(kinds) == 0 {
		return nil, errors.New("a Principal is neither * nor a list by kind")
	}
	for kind, who := range kinds {
		switch kind {
		case "AWS":
			p.aws = who
			p.anyone = slices.Contains(who, "*")
		case "Service":
			p.services = who
		case "Federated":
			p.federated = who
		default:
			p.others = true
		}
	}
	return p, nil
}

// caller is who makes a request, as a resource's policy may name it.
type caller struct {
	arn     string // of the IAM user or role
	account string
	id      string // unique ID, which stands in a policy once its principal is deleted
	session string // ARN of the role session; empty: not known, or not a role
	bounded bool   // has a permissions boundary
}

// grant says by what a resource's policy lets a caller in.
type grant struct {
	direct    answer // the caller itself is named, or anyone is
	delegated answer // its account is named: the account's own policies decide
	unbound   answer // the IAM user or the role session itself is named, whom the silence of a permissions boundary does not bind then
}

// match says whether the element means the caller. A role's sessions are
// named by the role's ARN or by their own.
// Source: IAM User Guide, reference_policies_elements_principal.
func (p *principals) match(c caller) grant {
	if p.anyone {
		return grant{direct: yes}
	}
	var g grant
	for _, who := range p.aws {
		switch {
		case who == c.arn || c.session != "" && who == c.session || c.id != "" && who == c.id:
			g.direct = yes
			if who == c.session || strings.Contains(c.arn, ":user/") {
				g.unbound = yes
			}
		case who == c.account || fleet.ARNAccount(who) == c.account && strings.HasSuffix(who, ":root"):
			g.delegated = yes
		case c.session == "" && sessionOfRole(who, c.arn):
			g.direct, g.unbound = max(g.direct, maybe), max(g.unbound, maybe)
		}
	}
	if p.others {
		g.direct = max(g.direct, maybe)
	}
	return g
}

// sessionOfRole reports whether an ARN is that of a session of a role.
func sessionOfRole(session, role string) bool {
	parts := strings.Split(session, ":")
	if len(parts) != 6 || parts[2] != "sts" || fleet.ARNAccount(role) != parts[4] {
		return false
	}
	name, ok := strings.CutPrefix(parts[5], "assumed-role/")
	if !ok || !strings.Contains(role, ":role/") {
		return false
	}
	name, _, _ = strings.Cut(name, "/")
	return name == role[strings.LastIndexByte(role, '/')+1:]
}

// namesSessions reports whether a document names sessions of roles, and so may
// tell the hosts of one role apart.
func (d document) namesSessions() bool {
	for i := range d.statements {
		if who := d.statements[i].who; who != nil && slices.ContainsFunc(who.aws, func(arn string) bool { return strings.Contains(arn, ":assumed-role/") }) {
			return true
		}
	}
	return false
}

// excludes says whether a NotPrincipal element means a caller that it names as
// g says. It means whoever has a permissions boundary, named or not. Whether
// it spares a caller of whom it names the account only, or the session of a
// role of which it names the role only, is not documented.
// Source: IAM User Guide, reference_policies_elements_notprincipal.
func (p *principals) excludes(g grant, c caller) answer {
	switch {
	case c.bounded || g == grant{}:
		return yes
	case g.direct == yes && (p.anyone || slices.Contains(p.aws, c.session) || !strings.Contains(c.arn, ":role/")):
		return no
	}
	return maybe
}

// verdictOf is what a resource's policy says to one request.
type verdictOf struct {
	grant
	deny answer
}

// decideFor weighs a resource's policy for one caller. Conditions hold for the
// statement as a whole.
func (d document) decideFor(c caller, action, resource string, ctx requestContext) verdictOf {
	var v verdictOf
	action = strings.ToLower(action)
	for i := range d.statements {
		s := &d.statements[i]
		if s.who == nil || !s.names(action) {
			continue
		}
		a := s.applies(resource, ctx)
		if a == no {
			continue
		}
		switch g := s.who.match(c); {
		case s.who.not:
			v.deny = max(v.deny, min(a, s.who.excludes(g, c)))
		case s.allow:
			v.direct = max(v.direct, min(a, g.direct))
			v.delegated = max(v.delegated, min(a, g.delegated))
			v.unbound = max(v.unbound, min(a, g.unbound))
		default:
			// A Deny for an account means everybody in it.
			v.deny = max(v.deny, min(a, max(g.direct, g.delegated)))
		}
	}
	return v
}

// decideWith is the decision on a request that a resource's policy has a say
// in. Within one account either side may grant it; from another account both
// must. A permissions boundary that does not speak of the action does not limit
// what the policy grants a user or a role session of the account by its own
// ARN; it does limit a grant to the role. needsPolicy is for resources that grant nothing to their own account
// unless their policy says so, as KMS keys. A policy that gap tells of was not read.
// Sources: IAM User Guide, reference_policies_evaluation-logic and
// access_policies_boundaries; AWS KMS Developer Guide, key-policy-default.
func (p permissions) decideWith(r resourcePolicy, c caller, action, resource string, ctx requestContext) decision {
	w := p.weigh(action, resource, ctx)
	v := verdictOf{grant: grant{direct: maybe, delegated: maybe, unbound: maybe}, deny: maybe}
	if r.gap == "" {
		v = r.doc.decideFor(c, action, resource, ctx)
	}
	if r.account == c.account {
		raise(&w.bound.allow, &w.bound.allowWhy, v.unbound, verb(r.name, "allows it past the permissions boundary", v.unbound))
	}
	own := w.own.allow
	var granted answer
	var why string
	switch {
	case r.account != c.account:
		granted, why = min(own, max(v.direct, v.delegated)), r.name+" does not let account "+c.account+" in"
		if own == no {
			why = "no policy allows it"
		}
	case r.needsPolicy:
		granted, why = max(v.direct, min(v.delegated, own)), "no policy allows it"
		if own != no {
			why = r.name + " neither allows it nor leaves it to the account's own policies"
		}
	default:
		granted, why = max(v.direct, own), "no policy allows it"
	}
	d := p.obstacles(&w)
	d.ungranted = granted == no
	if v.deny == yes {
		d.denials = append(d.denials, r.name+" denies it")
	}
	switch {
	case d.denials != nil:
		d.why = d.denials[0]
	case d.ungranted:
		d.why = why
	case d.bounded != "":
		d.why = "the permissions boundary " + d.bounded
	case d.controlled != nil:
		d.why = d.controlled[0]
	case r.gap != "":
		d = decision{allowed: maybe, unread: true, why: r.name + " is not known: " + r.gap}
	case v.deny == maybe:
		d = decision{allowed: maybe, why: r.name + " denies it under a condition"}
	default:
		by := w.own.allowWhy
		if v.direct >= own {
			by = verb(r.name, "allows it", v.direct)
		}
		d = w.doubts(granted, by)
	}
	return d
}

// resourcePolicy is the policy of a key, a bucket or the like.
type resourcePolicy struct {
	name        string // "key policy of KEY"
	account     string // the resource's owner
	needsPolicy bool
	doc         document
	gap         string // why doc is not known; empty when it is
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
	action = strings.ToLower(action)
	for i := range doc.statements {
		s := &doc.statements[i]
		if !s.names(action) {
			continue
		}
		a := s.applies(resource, ctx)
		if s.who == nil || !s.who.anyone || s.who.not {
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

// trusts says whether a role's trust policy lets a service hand out its
// credentials, as far as what is known of the request tells; maybe when the
// policy was not read or not understood.
func trusts(policy, service string, known ...contextValues) answer {
	doc, err := parseStatements(policy)
	if err != nil {
		return maybe
	}
	allow, deny := no, no
	for i := range doc.statements {
		s := &doc.statements[i]
		if s.who == nil || !s.names("sts:assumerole") {
			continue
		}
		is := s.who.isService(service)
		if s.who.not {
			is = yes - is
		}
		a := min(s.condition.holds(known), is)
		if s.allow {
			allow = max(allow, a)
		} else {
			deny = max(deny, a)
		}
	}
	return min(allow, yes-deny)
}

// isService says whether the element means a service, in any partition. Of a
// name of the service that is none of the known partitions', as those of
// isolated ones or of one Region, nobody knows.
func (p *principals) isService(service string) answer {
	a := truth(p.anyone)
	for _, who := range p.services {
		switch {
		case who == service+".amazonaws.com" || who == service+".amazonaws.com.cn":
			return yes
		case strings.HasPrefix(who, service+"."):
			a = max(a, maybe)
		}
	}
	return a
}
