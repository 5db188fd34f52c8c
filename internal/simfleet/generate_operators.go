package simfleet

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Owners says to whom the keys, certificates and IAM principals of the world
// belong, as far as anybody would claim them: leavers' keys, shared keys and
// forgotten ones have no owner. The result is the caller's own.
func (w *World) Owners() []fleet.Owner {
	return mapped(w.owners, func(o *fleet.Owner) fleet.Owner {
		c := *o
		c.Principals, c.Sessions, c.Fingerprints = slices.Clone(o.Principals), slices.Clone(o.Sessions), slices.Clone(o.Fingerprints)
		c.Comments, c.Certificates, c.Users = slices.Clone(o.Comments), slices.Clone(o.Certificates), slices.Clone(o.Users)
		return c
	})
}

// owner gives somebody's entry, a new one at first.
func (g *generator) owner(person string) *fleet.Owner {
	if o := find(g.owners, func(o *fleet.Owner) bool { return o.Person == person }); o != nil {
		return o
	}
	o := &fleet.Owner{Person: person}
	g.owners = append(g.owners, o)
	return o
}

// bare is the fingerprint alone of what sshd logs as "ED25519 SHA256:…".
func bare(fingerprint string) string {
	_, sum, _ := strings.Cut(fingerprint, " ")
	return sum
}

// claims enters the owners of the ordinary world's keys. In the healthy one
// each host's keys are claimed when they are made.
func (g *generator) claims() {
	if g.healthy {
		return
	}
	for _, p := range g.people.staff {
		o := g.owner(p.name)
		o.Fingerprints, o.Certificates = []string{bare(p.key.fingerprint)}, []string{p.name}
	}
	for _, p := range []person{g.people.ansible, g.people.ci, g.people.backup} {
		o := g.owner(p.name)
		o.Service, o.Fingerprints = true, []string{bare(p.key.fingerprint)}
	}
	ops := g.owner(OperatorUser)
	ops.Comments, ops.Users = []string{"ops@corp.example"}, []string{OperatorUser}
}

// operatorBuilder makes an account's people: IAM users, their groups, and the
// roles that people assume.
type operatorBuilder struct {
	*generator
	*Account
}

func (b operatorBuilder) group(name string, statements ...statement) {
	b.Groups = append(b.Groups, &fleet.IAMGroup{Name: name, ARN: "arn:aws:iam::" + b.ID + ":group/" + name, Inline: map[string]string{"sessions": document(statements...)}})
}

func (b operatorBuilder) user(name string, groups ...string) *fleet.IAMUser {
	arn := "arn:aws:iam::" + b.ID + ":user/" + name
	u := &fleet.IAMUser{Name: name, ARN: arn, ID: uniqueID("AIDA", arn), Groups: groups}
	b.Users = append(b.Users, u)
	o := b.owner(name)
	o.Principals = append(o.Principals, arn)
	return u
}

// role makes a role for people; path begins and ends with a slash.
func (b operatorBuilder) role(path, name, trust string, tags map[string]string, statements ...statement) *fleet.Role {
	arn := "arn:aws:iam::" + b.ID + ":role" + path + name
	r := &fleet.Role{Name: name, ARN: arn, ID: uniqueID("AROA", arn), Trust: trust, Tags: tags, Inline: map[string]string{"sessions": document(statements...)}}
	b.Roles = append(b.Roles, r)
	return r
}

// identityCenterPath is where IAM Identity Center puts its roles.
const identityCenterPath = "/aws-reserved/sso.amazonaws.com/eu-west-1/"

// identityCenterTrust is what its roles trust.
func identityCenterTrust(account string) string {
	return document(statement{Effect: "Allow", Principal: map[string]string{"Federated": "arn:aws:iam::" + account + ":saml-provider/AWSSSO_0a1b2c3d4e5f6071_DO_NOT_DELETE"},
		Action:    []string{"sts:AssumeRoleWithSAML", "sts:TagSession"},
		Condition: map[string]any{"StringEquals": map[string]any{"SAML:aud": "https://signin.aws.amazon.com/saml"}}})
}

func accountTrust(account string) string {
	return document(statement{Effect: "Allow", Principal: map[string]string{"AWS": "arn:aws:iam::" + account + ":root"}, Action: "sts:AssumeRole"})
}

// The pieces of a well-formed operator's policy. Source: Systems Manager User
// Guide, getting-started-restrict-access-quickstart and -examples,
// getting-started-default-session-document.
func startOn(operator, key, value string) statement {
	return statement{Sid: "Hosts", Effect: "Allow", Action: "ssm:StartSession", Resource: "arn:aws:ec2:*:*:instance/*",
		Condition: map[string]any{operator: map[string]any{"ssm:resourceTag/" + key: value}}}
}

func shellDocument() statement {
	return statement{Sid: "Document", Effect: "Allow", Action: "ssm:StartSession", Resource: "arn:aws:ssm:*:*:document/" + fleet.PreferencesName,
		Condition: map[string]any{"BoolIfExists": map[string]any{"ssm:SessionDocumentAccessCheck": "true"}}}
}

func dataChannel() statement {
	return statement{Sid: "Channel", Effect: "Allow", Action: "ssmmessages:OpenDataChannel", Resource: "*"}
}

func ownSessions() statement {
	return statement{Sid: "OwnSessions", Effect: "Allow", Action: []string{"ssm:ResumeSession", "ssm:TerminateSession"}, Resource: "arn:aws:ssm:*:*:session/${aws:username}-*"}
}

func ownTaggedSessions() statement {
	return statement{Sid: "OwnSessions", Effect: "Allow", Action: []string{"ssm:ResumeSession", "ssm:TerminateSession"}, Resource: "arn:aws:ssm:*:*:session/*",
		Condition: map[string]any{"StringLike": map[string]any{"ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}*"}}}
}

func lookAround() statement {
	return statement{Sid: "Look", Effect: "Allow", Action: []string{"ssm:DescribeSessions", "ssm:GetConnectionStatus", "ssm:DescribeInstanceInformation", "ssm:DescribeInstanceProperties", "ec2:DescribeInstances"}, Resource: "*"}
}

// encrypt lets an operator start sessions that the Regions' keys encrypt.
func (b operatorBuilder) encrypt() statement {
	return statement{Sid: "Encrypt", Effect: "Allow", Action: "kms:GenerateDataKey", Resource: "arn:aws:kms:*:" + b.ID + ":key/*"}
}

// operators makes the ordinary account's people with what goes wrong in their
// policies in practice.
func (g *generator) operators(a *Account) {
	b := operatorBuilder{g, a}
	if g.healthy {
		b.healthyOperators()
		return
	}
	b.group("sre", statement{Sid: "Everything", Effect: "Allow", Action: []string{"ssm:StartSession", "ssm:ResumeSession", "ssm:TerminateSession", "ssm:SendCommand", "ssmmessages:OpenDataChannel"}, Resource: "*"})
	b.group("web-operators", startOn("StringEquals", "team", "web"), shellDocument(), dataChannel(), ownSessions(), lookAround(), b.encrypt())
	b.group("data-operators", statement{Sid: "HostsAndDocument", Effect: "Allow", Action: "ssm:StartSession",
		Resource:  []string{"arn:aws:ec2:*:*:instance/*", "arn:aws:ssm:*:*:document/" + fleet.PreferencesName},
		Condition: map[string]any{"StringEquals": map[string]any{"ssm:resourceTag/team": "data"}}}, dataChannel(), ownSessions(), lookAround())
	b.group("forwarders", startOn("StringLike", "team", "*"), statement{Sid: "Forward", Effect: "Allow", Action: "ssm:StartSession", Resource: "arn:aws:ssm:*::document/AWS-StartPortForwardingSession"},
		dataChannel(), ownSessions())
	b.user("alice", "sre", "web-operators")
	b.user("bob", "web-operators")
	b.user("carol", "data-operators")
	b.user("farid", "forwarders")
	b.user("grace", "web-operators").Tags = map[string]string{"team": "web"}
	dmitri := b.user("dmitri")
	dmitri.Inline = map[string]string{"documents": document(statement{Sid: "Documents", Effect: "Allow", Action: []string{"ssm:*Document", "ssm:*DocumentDefaultVersion", "ssm:ListDocuments"}, Resource: "*"})}
	b.user("operator", "sre")
	developer := b.role(identityCenterPath, "AWSReservedSSO_Developer_1f0e2d3c4b5a6978", identityCenterTrust(a.ID), nil,
		startOn("StringEquals", "team", "platform"), shellDocument(), dataChannel(), ownSessions(), lookAround(), b.encrypt())
	for _, name := range []string{"elena", "hiro"} {
		o := g.owner(name)
		o.Principals, o.Sessions = append(o.Principals, developer.ARN), []string{name + "@corp.example"}
	}
	contractors := b.role("/", "contractors", accountTrust(g.home), map[string]string{"project": "phoenix"},
		startOn("StringLike", "project", "${aws:PrincipalTag/project}"), shellDocument(), dataChannel(), ownTaggedSessions())
	o := g.owner("ines")
	o.Principals = append(o.Principals, contractors.ARN)
}

// organization puts the account into one. The first account is the one from
// which the organization is run, so to speak: it may read its policies. The
// second has a policy against sessions on hosts of old.
func (g *generator) organization(a *Account, index int) {
	full := fleet.Policy{ARN: "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess", Name: "FullAWSAccess", Document: fleet.Known(document(allow("*")), "", g.base)}
	own := func(id, name string, s ...statement) fleet.Policy {
		return fleet.Policy{ARN: "arn:aws:organizations::" + managementAccount + ":policy/" + organizationID + "/service_control_policy/" + id, Name: name, Document: fleet.Known(document(s...), "", g.base)}
	}
	regions := own("p-regions01", "regions", statement{Sid: "Regions", Effect: "Deny", NotAction: []string{"iam:*", "sts:*", "organizations:*", "route53:*", "support:*"}, Resource: "*",
		Condition: map[string]any{"StringLike": map[string]any{"aws:RequestedRegion": []string{"cn-*", "us-gov-*", "me-*"}}}})
	a.ControlLevels = []fleet.ControlLevel{
		{Target: "r-corp", Policies: []fleet.Policy{full, regions}},
		{Target: "ou-corp-workload", Policies: []fleet.Policy{full}},
		{Target: a.ID, Policies: []fleet.Policy{full}},
	}
	a.OrganizationReadable = g.healthy || index == 0
	if index == 1 && !g.healthy {
		a.ControlLevels[1].Policies = append(a.ControlLevels[1].Policies, own("p-nolegacy", "no-shells-on-legacy", statement{Sid: "Legacy", Effect: "Deny",
			Action: "ssmmessages:*", Resource: "*", Condition: map[string]any{"ArnLike": map[string]any{"aws:PrincipalArn": "arn:aws:iam::*:role/legacy-*"}}}))
	}
}

// sessionOwner is who starts sessions on a host, with the name that Session
// Manager puts in front of their sessions' IDs; empty: nobody.
func (g *generator) sessionOwner(in *Instance, i int) (arn, name string) {
	a := in.Region.Account
	if g.healthy {
		return g.healthySessionOwner(in)
	}
	switch {
	case in.Host.Tags["team"] == "web":
		name = []string{"bob", "grace", "alice"}[i%3]
	case in.Host.Tags["team"] == "platform" && i%2 == 0:
		name = "elena@corp.example"
		return "arn:aws:sts::" + a.ID + ":assumed-role/AWSReservedSSO_Developer_1f0e2d3c4b5a6978/" + name, name
	default:
		name = "alice"
	}
	return "arn:aws:iam::" + a.ID + ":user/" + name, name
}
