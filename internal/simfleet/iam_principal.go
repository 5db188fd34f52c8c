package simfleet

import (
	"cmp"
	"strings"

	"ssm-migrate/internal/fleet"
)

// principal is an IAM user or role with the documents that decide what it may do.
type principal struct {
	arn, id   string
	name      string // the user's; roles have no aws:username
	tags      map[string]string
	documents []string
	boundary  string // managed policy ARN
	linked    bool   // a service-linked role, which no service control policy binds
}

func (a *Account) documentsOf(inline map[string]string, attached []string) []string {
	var out []string
	for _, n := range inlineNames(inline) {
		out = append(out, inline[n])
	}
	for _, arn := range attached {
		out = append(out, a.policyText(arn))
	}
	return out
}

func (a *Account) rolePrincipal(r *fleet.Role) principal {
	return principal{
		arn: r.ARN, id: cmp.Or(r.ID, uniqueID("AROA", r.ARN)), tags: r.Tags, boundary: r.Boundary,
		documents: a.documentsOf(r.Inline, r.Attached), linked: strings.HasPrefix(pathOf(r.ARN), "/aws-service-role/"),
	}
}

func (a *Account) userPrincipal(u *fleet.IAMUser) principal {
	p := principal{arn: u.ARN, id: cmp.Or(u.ID, uniqueID("AIDA", u.ARN)), name: u.Name, tags: u.Tags, boundary: u.Boundary, documents: a.documentsOf(u.Inline, u.Attached)}
	for _, name := range u.Groups {
		if g := find(a.Groups, func(g *fleet.IAMGroup) bool { return g.Name == name }); g != nil {
			p.documents = append(p.documents, a.documentsOf(g.Inline, g.Attached)...)
		}
	}
	return p
}

// principalOf finds a user or role of the account by its ARN. An assumed
// role's session stands for the role.
func (a *Account) principalOf(arn string) (p principal, session string, ok bool) {
	if _, rest, assumed := strings.Cut(arn, ":assumed-role/"); assumed {
		name, sessionName, _ := strings.Cut(rest, "/")
		if r := find(a.Roles, func(r *fleet.Role) bool { return r.Name == name }); r != nil && accountOfARN(arn) == a.ID {
			return a.rolePrincipal(r), sessionName, true
		}
		return p, "", false
	}
	if r := find(a.Roles, func(r *fleet.Role) bool { return r.ARN == arn }); r != nil {
		return a.rolePrincipal(r), "", true
	}
	if u := find(a.Users, func(u *fleet.IAMUser) bool { return u.ARN == arn }); u != nil {
		return a.userPrincipal(u), "", true
	}
	return p, "", false
}

// value gives a condition key that tells of the principal; nil: it is none.
func (p *principal) value(key, session string) []string {
	one := func(v string) []string {
		if v == "" {
			return nil
		}
		return []string{v}
	}
	user := strings.Contains(p.arn, ":user/")
	switch key {
	case "aws:principalarn":
		return one(p.arn)
	case "aws:principalaccount":
		return one(accountOfARN(p.arn))
	case "aws:username":
		return one(p.name)
	case "aws:principaltype":
		if user {
			return one("User")
		}
		return one("AssumedRole")
	case "aws:userid":
		switch {
		case user:
			return one(p.id)
		case session == "":
			return nil
		}
		return one(p.id + ":" + session)
	}
	tag, ok := strings.CutPrefix(key, "aws:principaltag/")
	if !ok {
		return nil
	}
	for k, v := range p.tags {
		if strings.EqualFold(k, tag) {
			return []string{v}
		}
	}
	return nil
}

// verdict is what each kind of policy says to a principal's request.
type verdict struct {
	identity     decision
	bounded      bool // there is a boundary
	boundary     decision
	organization decision // allowed only when every level allows
	governed     bool     // the account is in an organization whose policies bind the principal
}

func (v verdict) denied() bool {
	return v.identity.denied || v.boundary.denied || v.organization.denied
}

// limits reports whether boundary and organization let the request pass.
func (v verdict) limits() bool {
	return (!v.bounded || v.boundary.yes()) && (!v.governed || v.organization.yes())
}

// yes is the decision for a request on a resource without a policy of its own.
func (v verdict) yes() bool { return v.identity.yes() && v.limits() }

// judge asks all policies over a principal, but those of resources.
func (a *Account) judge(p principal, q request) verdict {
	q.principal, q.who = p.arn, &p
	v := verdict{identity: q.decide(p.documents...), bounded: p.boundary != "", governed: len(a.ControlLevels) > 0 && !p.linked}
	if v.bounded {
		v.boundary = q.decide(a.policyText(p.boundary))
	}
	if v.governed {
		v.organization = a.controls(q)
	}
	return v
}

// controls asks the service control policies: each level has to allow the
// action, and a Deny at any level wins.
func (a *Account) controls(q request) decision {
	q.missing = nil // a simulation names what the principal's own policies lack
	d := decision{allowed: true}
	for _, l := range a.ControlLevels {
		var documents []string
		for _, p := range l.Policies {
			documents = append(documents, p.Document.Value)
		}
		level := q.decide(documents...)
		d.allowed = d.allowed && level.allowed
		d.denied = d.denied || level.denied
	}
	return d
}

// judgeWith adds a resource's policy. Within one account it is enough that
// either side allows; between accounts both have to. For a KMS key the key's
// policy has to take part: it allows the principal itself, or hands the
// decision to IAM by allowing its account's root.
// Sources: IAM User Guide, policy evaluation logic; KMS Developer Guide, key policies.
func (a *Account) judgeWith(p principal, q request, owner, policy string, key bool) bool {
	q.principal, q.who = p.arn, &p
	v := a.judge(p, q)
	r := q.decide(policy)
	if r.denied || v.denied() || !v.limits() {
		return false
	}
	switch {
	case owner != a.ID:
		return r.allowed && v.identity.allowed
	case !key:
		return r.allowed || v.identity.allowed
	case q.namesPrincipal(policy):
		return true
	}
	return r.allowed && v.identity.allowed
}

// namesPrincipal reports whether the policy allows the request to the
// principal by its own ARN, or to everybody, and not by its account alone.
func (q request) namesPrincipal(policy string) bool {
	for _, s := range parsePolicy(policy).Statement {
		if s.Effect != "Allow" || !q.matches(s) {
			continue
		}
		for _, name := range s.Principal["AWS"] {
			if name == "*" || name == q.principal {
				return true
			}
		}
	}
	return false
}
