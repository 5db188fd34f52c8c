package simfleet

import (
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ownRole gives the instance a role and a profile of its own: copies of those
// that it has, or a role that allows nothing where it has none.
func (w *World) ownRole(in *Instance) *fleet.Role {
	a := in.Region.Account
	suffix := "-" + in.Host.ID[max(len(in.Host.ID)-8, 0):]
	old := a.profileRole(in.Host.ProfileARN)
	if old != nil && strings.HasSuffix(old.Name, suffix) {
		return old
	}
	w.alone(in)
	own := fleet.Role{Name: "app", Trust: trust("ec2.amazonaws.com")}
	if old != nil {
		own = *old
		own.Inline, own.Attached, own.Tags = maps.Clone(old.Inline), slices.Clone(old.Attached), maps.Clone(old.Tags)
	}
	if own.Inline == nil {
		own.Inline = map[string]string{}
	}
	own.Name, own.ID = own.Name+suffix, ""
	own.ARN = "arn:aws:iam::" + a.ID + ":role/" + own.Name
	a.Roles = append(a.Roles, &own)
	p := &fleet.InstanceProfile{ARN: "arn:aws:iam::" + a.ID + ":instance-profile/" + own.Name, Name: own.Name, Role: own.Name}
	a.Profiles = append(a.Profiles, p)
	in.Host.ProfileARN = p.ARN
	w.profileOfGroup(in)
	return &own
}

// profileOfGroup makes the launch template of the instance's own Auto Scaling
// group, if it has one, name the instance's profile.
func (w *World) profileOfGroup(in *Instance) {
	t := find(in.Region.Templates, func(t *fleet.LaunchTemplate) bool { return t.ID != "" && t.ID == in.Host.LaunchTemplate.ID })
	g := find(in.Region.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == in.Host.AutoScalingGroup })
	if t == nil || g == nil {
		return
	}
	t.Versions = slices.Clone(t.Versions)
	for i := range t.Versions {
		t.Versions[i].Profile = in.Host.ProfileARN
	}
}

// agentActions are all that an agent may need: to be managed, for sessions,
// for their logs and their encryption.
var agentActions = slices.Concat(coreSSM, channelActions, messageActions, []string{
	"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams",
	"s3:PutObject", "s3:GetEncryptionConfiguration", "kms:Decrypt", "kms:GenerateDataKey",
})

// withhold gives the instance a role that allows its agent everything but some
// actions, which are named as policies do, and what was withheld before.
func (w *World) withhold(in *Instance, patterns ...string) {
	const name = "agent"
	r := w.ownRole(in)
	allowed := agentActions
	if text, ok := r.Inline[name]; ok {
		allowed = parsePolicy(text).Statement[0].Action
	}
	allowed = slices.DeleteFunc(slices.Clone(allowed), func(action string) bool { return anyMatches(patterns, action, true) })
	r.Attached, r.Inline = nil, map[string]string{name: document(allow(allowed...))}
}

// defaultManaged turns Default Host Management Configuration on in a Region.
func (rg *Region) defaultManaged() {
	a := rg.Account
	if find(a.Roles, func(r *fleet.Role) bool { return r.Name == defaultHostRole }) == nil {
		a.Roles = append(a.Roles, &fleet.Role{Name: defaultHostRole, ARN: "arn:aws:iam::" + a.ID + ":role/service-role/" + defaultHostRole, Trust: trust("ssm.amazonaws.com"), Attached: []string{defaultPolicy}})
	}
	rg.DefaultRole = "service-role/" + defaultHostRole
}

// rootLevel is the first level of the account's service control policies; one
// that allows everything where the account was in no organization.
func (a *Account) rootLevel() *fleet.ControlLevel {
	if len(a.ControlLevels) == 0 {
		full := &fleet.Policy{ARN: "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess", Name: "FullAWSAccess"}
		full.Document = fleet.Fact[string]{Known: true, Value: document(statement{Effect: "Allow", Action: "*", Resource: "*"})}
		a.ControlLevels = []fleet.ControlLevel{{Target: "r-ab12", Policies: []fleet.Policy{*full}}, {Target: a.ID, Policies: []fleet.Policy{*full}}}
	}
	return &a.ControlLevels[0]
}
