package simfleet

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

var iamChanges = map[string]operation{
	"CreateRole":                    createRole,
	"DeleteRole":                    deleteRole,
	"TagRole":                       tagRole,
	"UntagRole":                     untagRole,
	"UpdateAssumeRolePolicy":        updateTrust,
	"PutRolePolicy":                 putRolePolicy,
	"DeleteRolePolicy":              deleteRolePolicy,
	"AttachRolePolicy":              attachRolePolicy,
	"DetachRolePolicy":              detachRolePolicy,
	"CreateInstanceProfile":         createProfile,
	"DeleteInstanceProfile":         deleteProfile,
	"AddRoleToInstanceProfile":      addRoleToProfile,
	"RemoveRoleFromInstanceProfile": removeRoleFromProfile,
}

// Quotas of IAM: characters of all inline policies of a role, white space not
// counted; managed policies attached to one. Source: IAM User Guide, quotas.
const (
	maxInline   = 10_240
	maxAttached = 10
)

func iamName(s string) bool {
	return s != "" && len(s) <= 128 && madeOf(s, "+=,.@_-")
}

// iamPath is the request's path with a slash at both ends.
func (c *call) iamPath() string {
	if p := c.form.Get("Path"); p != "" {
		return p
	}
	return "/"
}

// policyProblem refuses a document that IAM would not store.
func policyProblem(text string, trust bool) error {
	var d policyDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return refuse("MalformedPolicyDocument", "Syntax errors in policy.")
	}
	if len(d.Statement) == 0 {
		return refuse("MalformedPolicyDocument", "Syntax errors in policy.")
	}
	for _, s := range d.Statement {
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return refuse("MalformedPolicyDocument", "Syntax error in policy: Invalid effect.")
		case len(s.Action)+len(s.NotAction) == 0:
			return refuse("MalformedPolicyDocument", "Policy statement must contain actions.")
		case trust && s.Principal == nil && s.NotPrincipal == nil:
			return refuse("MalformedPolicyDocument", "AssumeRole policy must contain principals.")
		case trust && len(s.Resource)+len(s.NotResource) > 0:
			return refuse("MalformedPolicyDocument", "Has prohibited field Resource")
		case !trust && (s.Principal != nil || s.NotPrincipal != nil):
			return refuse("MalformedPolicyDocument", "Policy document should not specify a principal.")
		case !trust && len(s.Resource)+len(s.NotResource) == 0:
			return refuse("MalformedPolicyDocument", "Policy statement must contain resources.")
		}
	}
	return nil
}

func createRole(c *call) (any, error) {
	if err := c.missing("RoleName", "AssumeRolePolicyDocument"); err != nil {
		return nil, err
	}
	name, trust := c.form.Get("RoleName"), c.form.Get("AssumeRolePolicyDocument")
	if !iamName(name) || len(name) > 64 {
		return nil, invalid("The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if find(c.account.Roles, func(r *fleet.Role) bool { return strings.EqualFold(r.Name, name) }) != nil {
		return nil, conflict("EntityAlreadyExists", "Role with name %s already exists.", name)
	}
	if err := policyProblem(trust, true); err != nil {
		return nil, err
	}
	boundary := c.form.Get("PermissionsBoundary")
	if boundary != "" && find(c.account.Policies, func(p *fleet.Policy) bool { return p.ARN == boundary }) == nil {
		return nil, noSuchEntity("Scope ARN: %s does not exist or is not attachable.", boundary)
	}
	r := &fleet.Role{
		Name: name, ID: "AROA" + strings.ToUpper(c.w.unique(17)), ARN: "arn:aws:iam::" + c.account.ID + ":role" + c.iamPath() + name, Trust: trust,
		Inline: map[string]string{}, Boundary: boundary, Tags: c.pairs("Tags.member"),
	}
	c.account.Roles = append(c.account.Roles, r)
	return struct{ Role iamRole }{c.roleXML(r)}, nil
}

func deleteRole(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	switch {
	case find(c.account.Profiles, func(p *fleet.InstanceProfile) bool { return p.Role == r.Name }) != nil:
		return nil, conflict("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	case len(r.Attached) > 0:
		return nil, conflict("DeleteConflict", "Cannot delete entity, must detach all policies first.")
	case len(r.Inline) > 0:
		return nil, conflict("DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	c.account.Roles = slices.DeleteFunc(slices.Clone(c.account.Roles), func(x *fleet.Role) bool { return x == r })
	return nothing{}, nil
}

// nothing is the answer of operations that have no result element.
type nothing struct{}

func tagRole(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	tags := maps.Clone(r.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, c.pairs("Tags.member"))
	r.Tags = tags
	return nothing{}, nil
}

func untagRole(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	r.Tags = maps.Clone(r.Tags)
	for _, k := range c.list("TagKeys.member") {
		delete(r.Tags, k)
	}
	return nothing{}, nil
}

func updateTrust(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	trust := c.form.Get("PolicyDocument")
	if err := policyProblem(trust, true); err != nil {
		return nil, err
	}
	r.Trust = trust
	return nothing{}, nil
}

// dense is how many characters of a document count towards IAM's quota.
func dense(text string) int { return len(strings.Join(strings.Fields(text), "")) }

func putRolePolicy(c *call) (any, error) {
	if err := c.missing("RoleName", "PolicyName", "PolicyDocument"); err != nil {
		return nil, err
	}
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	name, text := c.form.Get("PolicyName"), c.form.Get("PolicyDocument")
	if !iamName(name) {
		return nil, invalid("The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if err := policyProblem(text, false); err != nil {
		return nil, err
	}
	size := dense(text)
	for n, d := range r.Inline {
		if n != name {
			size += dense(d)
		}
	}
	if size > maxInline {
		return nil, conflict("LimitExceeded", "Maximum policy size of %d bytes exceeded for role %s", maxInline, r.Name)
	}
	inline := maps.Clone(r.Inline)
	if inline == nil {
		inline = map[string]string{}
	}
	inline[name] = text
	r.Inline = inline
	return nothing{}, nil
}

func deleteRolePolicy(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	name := c.form.Get("PolicyName")
	if _, ok := r.Inline[name]; !ok {
		return nil, noSuchEntity("The role policy with name %s cannot be found.", name)
	}
	r.Inline = maps.Clone(r.Inline)
	delete(r.Inline, name)
	return nothing{}, nil
}

func attachRolePolicy(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	p, err := c.policy()
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(r.Attached, p.ARN):
		return nothing{}, nil
	case len(r.Attached) >= maxAttached:
		return nil, conflict("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: %d", maxAttached)
	}
	r.Attached = append(slices.Clone(r.Attached), p.ARN)
	return nothing{}, nil
}

func detachRolePolicy(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	arn := c.form.Get("PolicyArn")
	if !slices.Contains(r.Attached, arn) {
		return nil, noSuchEntity("Policy %s was not found.", arn)
	}
	r.Attached = slices.DeleteFunc(slices.Clone(r.Attached), func(a string) bool { return a == arn })
	return nothing{}, nil
}

func (c *call) profile() (*fleet.InstanceProfile, error) {
	name := c.form.Get("InstanceProfileName")
	if p := find(c.account.Profiles, func(p *fleet.InstanceProfile) bool { return p.Name == name }); p != nil {
		return p, nil
	}
	return nil, noSuchEntity("Instance Profile %s cannot be found.", name)
}

func createProfile(c *call) (any, error) {
	name := c.form.Get("InstanceProfileName")
	if !iamName(name) {
		return nil, invalid("The specified value for instanceProfileName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if find(c.account.Profiles, func(p *fleet.InstanceProfile) bool { return strings.EqualFold(p.Name, name) }) != nil {
		return nil, conflict("EntityAlreadyExists", "Instance Profile %s already exists.", name)
	}
	p := &fleet.InstanceProfile{Name: name, ARN: "arn:aws:iam::" + c.account.ID + ":instance-profile" + c.iamPath() + name}
	c.account.Profiles = append(c.account.Profiles, p)
	c.setIAMTags(p.ARN, c.pairs("Tags.member"))
	return struct{ InstanceProfile iamProfile }{c.profileXML(p)}, nil
}

func deleteProfile(c *call) (any, error) {
	p, err := c.profile()
	if err != nil {
		return nil, err
	}
	if p.Role != "" {
		return nil, conflict("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	}
	c.account.Profiles = slices.DeleteFunc(slices.Clone(c.account.Profiles), func(x *fleet.InstanceProfile) bool { return x == p })
	delete(c.account.Tags, p.ARN)
	return nothing{}, nil
}

// setIAMTags keeps the tags of an entity whose own type has none.
func (c *call) setIAMTags(arn string, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	if c.account.Tags == nil {
		c.account.Tags = map[string]map[string]string{}
	}
	c.account.Tags[arn] = tags
}

func addRoleToProfile(c *call) (any, error) {
	p, err := c.profile()
	if err != nil {
		return nil, err
	}
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	if p.Role != "" {
		return nil, conflict("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	}
	p.Role = r.Name
	return nothing{}, nil
}

func removeRoleFromProfile(c *call) (any, error) {
	p, err := c.profile()
	if err != nil {
		return nil, err
	}
	name := c.form.Get("RoleName")
	if p.Role != name || name == "" {
		return nil, noSuchEntity("The role with name %s cannot be found.", name)
	}
	p.Role = ""
	return nothing{}, nil
}
