package readiness

import (
	"cmp"
	"maps"
	"slices"

	"ssm-migrate/internal/fleet"
)

// userView is an IAM user with what it may do: by its own policies and those
// of its groups, within its boundary and its organization.
type userView struct {
	user    *fleet.IAMUser
	account *fleet.Account
	may     permissions
	context contextValues // what all its requests have, made with its access keys or password
}

// user gives what an IAM user may do.
func (a *authority) user(acct *fleet.Account, u *fleet.IAMUser) *userView {
	v := &userView{user: u, account: acct, may: a.permissions(u.Inline, u.Attached, u.Boundary)}
	v.may.levels = a.levels[acct.ID]
	groups := map[string]*fleet.IAMGroup{}
	for i := range acct.Groups.Value {
		groups[acct.Groups.Value[i].Name] = &acct.Groups.Value[i]
	}
	for _, name := range u.Groups {
		g := groups[name]
		if g == nil {
			v.may.identity = append(v.may.identity, policyText{name: "group " + name, gap: cmp.Or(acct.Groups.Reason, "it was not listed")})
			continue
		}
		for _, p := range a.permissions(g.Inline, g.Attached, "").identity {
			p.name += " of group " + name
			v.may.identity = append(v.may.identity, p)
		}
	}
	v.context = principalValues(u.ARN, "User", u.Tags)
	v.context["aws:username"] = []string{u.Name}
	v.context["aws:userid"] = []string{u.ID}
	if u.ID == "" {
		delete(v.context, "aws:userid")
	}
	return v
}

// principalValues are the condition keys that follow from who calls. A role
// session may carry tags and a source identity of its own, which only hosts'
// sessions are known not to: tags that the role has not are not known.
// Source: IAM User Guide, reference_policies_condition-keys.
func principalValues(arn, kind string, tags map[string]string) contextValues {
	v := contextValues{
		"aws:principalarn":          {arn},
		"aws:principalaccount":      {fleet.ARNAccount(arn)},
		"aws:principaltype":         {kind},
		"aws:principalisawsservice": {"false"},
		"aws:viaawsservice":         {"false"},
		"aws:calledvia":             nil,
		"aws:calledviafirst":        nil,
		"aws:calledvialast":         nil,
		"aws:securetransport":       {"true"},
	}
	v.addTags(tags, "aws:principaltag/")
	if kind != "User" {
		delete(v, "aws:principaltag/")
	}
	return v
}

// permissions parses the policies of one principal.
func (a *authority) permissions(inline map[string]string, attached []string, boundary string) permissions {
	p := permissions{memo: map[string]*relevant{}}
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		p.identity = append(p.identity, readPolicy("inline policy "+name, inline[name]))
	}
	for _, arn := range attached {
		p.identity = append(p.identity, a.managed(arn))
	}
	if boundary != "" {
		b := a.managed(boundary)
		p.boundary = &b
	}
	return p
}

// managed gives a managed policy, parsed once for all who have it.
func (a *authority) managed(arn string) policyText {
	if t, ok := a.parsed[arn]; ok {
		return t
	}
	t := policyText{name: "policy " + arn}
	switch p, ok := a.policies[arn]; {
	case !ok:
		t.gap = "it was not listed"
	case !p.Document.Known:
		t.gap = cmp.Or(p.Document.Reason, "its document was not read")
	default:
		t = readPolicy(t.name, p.Document.Value)
	}
	a.parsed[arn] = t
	return t
}
