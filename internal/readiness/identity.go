package readiness

import (
	"cmp"

	"ssm-migrate/internal/fleet"
)

// The agent first tries its instance profile, by calling
// ssm:UpdateInstanceInformation. Only when it has no credentials or that call
// is denied does it go to the role of Default Host Management Configuration.
// A role that allows this call but not the channels thus shuts both out.
// Source: amazon-ssm-agent, ec2_role_provider; AWS Systems Manager User Guide,
// fleet-manager-default-host-management-configuration.

// credentials is one source of an agent's credentials.
type credentials struct {
	kind  credentialKind
	role  *roleView // set when kind is fromRole
	facts []fleet.Evidence
}

type credentialKind int

const (
	absent   credentialKind = iota // there are none
	unproven                       // whether there are any is not known
	unread                         // there are some; what they allow is not known
	fromRole
)

// agentIdentity is what identity found out about the credentials in use.
type agentIdentity struct {
	role      *roleView // whose credentials the agent uses, or would; nil: not known
	onDefault bool      // the agent runs under Default Host Management Configuration
	elsewhere bool      // the heartbeat may be that of root's credentials file, of which nothing is known
}

// identity judges the credentials with which the agent calls Systems Manager.
func (j *judge) identity() {
	j.metadata()
	j.registration()
	file := j.credentialsFile()
	j.elsewhere = file && j.heartbeat && j.h.Node.Value.IAMRole == ""
	metadataOff := j.h.Metadata.Endpoint == "disabled"
	own, fallback := j.profile(), j.defaultRole()
	switch {
	case j.heartbeat && j.h.Node.Value.IAMRole != "":
		j.onDefault = true
		used := j.namedRole(j.h.Node.Value.IAMRole)
		j.judgeRole(used, fallback)
		j.commandsChange(own, used)
	case j.elsewhere:
		// The heartbeat is that of other credentials, and the profile's role says nothing of them.
	case metadataOff && j.heartbeat:
		j.disagree(j.ec2("the instance metadata endpoint is disabled, so it gives no credentials"))
	case own.kind == absent:
		j.withoutProfile(own, fallback)
	case own.kind != fromRole:
		j.add("role-unreadable", j.h.ProfileARN, "", own.facts...)
	default:
		j.withProfile(own, fallback)
	}
	j.commands()
}

// profile finds the credentials that the instance profile gives.
func (j *judge) profile() credentials {
	arn := j.h.ProfileARN
	if arn == "" {
		return credentials{kind: absent, facts: []fleet.Evidence{j.ec2("no instance profile is attached")}}
	}
	var listed fleet.Fact[[]fleet.InstanceProfile]
	for _, a := range j.iam.accounts[fleet.ARNAccount(arn)] {
		if listed = a.Profiles; listed.Known {
			break
		}
	}
	p := j.iam.profiles[arn]
	switch {
	case p == nil && listed.Known:
		return credentials{kind: absent, facts: []fleet.Evidence{evidence(listed, "instance profile %s does not exist", arn)}}
	case p == nil:
		return credentials{kind: unread, facts: []fleet.Evidence{evidence(listed, "instance profile %s is not known%s", arn, because(listed.Reason))}}
	case p.Role == "":
		return credentials{kind: absent, facts: []fleet.Evidence{evidence(listed, "instance profile %s holds no role", arn)}}
	}
	c := j.roleOf(fleet.ARNAccount(arn), p.Role)
	if c.kind == fromRole && c.role.trusted == no {
		return credentials{kind: absent, facts: []fleet.Evidence{evidence(c.role.account.Roles, "the trust policy of role %s does not let EC2 assume it", p.Role)}}
	}
	return c
}

func (j *judge) roleOf(account, name string) credentials {
	if v := j.iam.byName(account, name); v != nil {
		return credentials{kind: fromRole, role: v}
	}
	var listed fleet.Fact[[]fleet.Role]
	for _, a := range j.iam.accounts[account] {
		if listed = a.Roles; listed.Known {
			break
		}
	}
	return credentials{kind: unread, facts: []fleet.Evidence{evidence(listed, "role %s is not known%s", name, because(listed.Reason))}}
}

func (j *judge) namedRole(name string) credentials {
	account := cmp.Or(fleet.ARNAccount(name), j.h.Account)
	return j.roleOf(account, name)
}

// defaultRole finds the credentials that Default Host Management Configuration gives.
func (j *judge) defaultRole() credentials {
	setting := j.r.DefaultRole
	if !setting.Known {
		return credentials{kind: unproven, facts: []fleet.Evidence{evidence(setting, "whether Default Host Management Configuration is on is not known%s", because(setting.Reason))}}
	}
	if setting.Value == "" {
		return credentials{kind: absent, facts: []fleet.Evidence{evidence(setting, "Default Host Management Configuration is off")}}
	}
	on := evidence(setting, "Default Host Management Configuration is on with role %s", setting.Value)
	needed, _ := parseVersion(defaultRoleVersion)
	v, known, from := j.version()
	switch {
	case j.h.Metadata.Endpoint == "disabled":
		return credentials{kind: absent, facts: []fleet.Evidence{on, j.ec2("it needs IMDSv2, but the instance metadata endpoint is disabled")}}
	case known && v.below(needed):
		return credentials{kind: absent, facts: []fleet.Evidence{on, from, stated("it needs agent " + defaultRoleVersion)}}
	case !known:
		return credentials{kind: unproven, facts: []fleet.Evidence{on, stated("it needs agent " + defaultRoleVersion + ", and the agent's version is not known")}}
	case j.h.Metadata.Tokens != "required":
		return credentials{kind: unproven, facts: []fleet.Evidence{on, j.ec2("it needs IMDSv2; the instance's setting for tokens is %s", quoted(j.h.Metadata.Tokens))}}
	}
	c := j.namedRole(setting.Value)
	if c.kind == fromRole && c.role.bySSM == no {
		return credentials{kind: absent, facts: []fleet.Evidence{on, evidence(c.role.account.Roles, "the trust policy of role %s does not let Systems Manager assume it", c.role.role.Name)}}
	}
	c.facts = append([]fleet.Evidence{on}, c.facts...)
	return c
}

func (j *judge) withoutProfile(own, fallback credentials) {
	switch {
	case fallback.kind != absent:
		j.onDefaultRole(own, fallback)
	case j.heartbeat:
		j.disagree(append(own.facts, fallback.facts...)...)
	case j.h.ProfileARN == "":
		j.profileMissing(append(own.facts, fallback.facts...))
	default:
		j.add("profile-without-role", j.h.ProfileARN, "", append(own.facts, fallback.facts...)...)
	}
}

// onDefaultRole judges a host whose profile is known to give nothing.
func (j *judge) onDefaultRole(own, fallback credentials) {
	j.onDefault = true
	if fallback.kind == unproven {
		j.add("default-role-unknown", j.h.ID, j.defaultRoleFix(), append(own.facts, fallback.facts...)...)
		if _, known, _ := j.version(); known || !j.r.DefaultRole.Known || !j.agentless() {
			j.concerns("default-role-unknown", "") // not the want of an agent makes it unknown
		}
		return
	}
	j.judgeRole(fallback, credentials{})
}

// defaultRoleFix says how to learn what of Default Host Management
// Configuration is not known: the setting, the agent's version, or whether the
// host takes IMDSv2 alone.
func (j *judge) defaultRoleFix() string {
	if !j.r.DefaultRole.Known {
		return ""
	}
	if _, known, _ := j.version(); !known {
		return "find out the agent's version (amazon-ssm-agent -version on the host, or a login for the inventory): Default Host Management Configuration needs " + defaultRoleVersion + "; or attach an instance profile with AmazonSSMManagedInstanceCore"
	}
	return "require IMDSv2 (aws ec2 modify-instance-metadata-options --http-tokens required), which Default Host Management Configuration needs; or attach an instance profile with AmazonSSMManagedInstanceCore"
}

func (j *judge) withProfile(own, fallback credentials) {
	first := j.iam.session(own.role, j.h)[0]
	switch {
	case fallback.kind == absent || first.allowed == yes:
		j.judgeRole(own, fallback)
	case first.allowed == no:
		own.facts = append(own.facts, j.decided(own.role, sessionActions[0], first))
		j.onDefaultRole(own, fallback)
	default:
		j.add("role-undecided", own.role.role.ARN, "", append([]fleet.Evidence{j.decided(own.role, sessionActions[0], first)}, fallback.facts...)...)
	}
}

// disagree notes that the agent's credentials work although what was read says
// that they cannot: they are not the ones that were read, so whether they may
// open a session's data channel is not known.
func (j *judge) disagree(facts ...fleet.Evidence) {
	live := j.lastPing()
	if j.connected {
		live = evidence(j.h.Connection, "connection status is connected")
	}
	j.add("identity-disagreement", j.h.ID, "", append(facts, live)...)
}
