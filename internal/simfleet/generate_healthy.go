package simfleet

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// The healthy world has one way of everything that works, and nothing beside
// it. Its hosts are reached by VPN or by the offices' own addresses.

var healthyVPCs = []vpcSpec{{"prod", viaEndpoints, 30}, {"apps", viaNAT, 30}, {"front", isPublic, 15}, {"tools", viaPeering, 25}}

var healthyTiers = []share{{"web", 35}, {"app", 30}, {"db", 20}, {"worker", 15}}

var healthySystems = map[string][]string{
	"web": {"al2023", "ubuntu24"}, "app": {"ubuntu22", "debian12", "rhel9"}, "db": {"rhel8", "sles15", "al2023"}, "worker": {"al2", "ubuntu20"},
	"bastion": {"al2023"},
}

// healthyServices have interface endpoints: what agents need, and what sessions
// are encrypted with and logged to.
var healthyServices = []string{"ssm", "ssmmessages", "ec2messages", "kms", "logs"}

// healthyPlace takes from a placed host what a report would name.
func (b *regionBuilder) healthyPlace(p placed) {
	h := &p.Host
	h.Metadata = fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required", HopLimit: 2}
	if p.vpc.spec.kind == isPublic {
		h.Groups = []string{p.vpc.groups["office-ssh"], p.vpc.groups["web"]}
		h.Interfaces[0].Groups = h.Groups
	}
}

// healthyRoles are the hosts' roles: the managed policy for agents, and what
// their sessions' logs and encryption take.
func (g *generator) healthyRoles(a *Account, role func(string, fleet.Role)) {
	logs := "arn:aws:logs:*:" + a.ID + ":log-group:" + sessionLogGroup
	sessions := document(
		statement{Sid: "Find", Effect: "Allow", Action: []string{"logs:DescribeLogGroups", "logs:DescribeLogStreams"}, Resource: "*"},
		statement{Sid: "Log", Effect: "Allow", Action: []string{"logs:CreateLogStream", "logs:PutLogEvents"}, Resource: []string{logs, logs + ":*"}},
		statement{Sid: "Decrypt", Effect: "Allow", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: "arn:aws:kms:*:" + a.ID + ":key/*"})
	kinds := healthyTiers
	if g.bastions {
		kinds = append(slices.Clone(kinds), share{kind: "bastion"})
	}
	for _, s := range kinds {
		role(s.kind, fleet.Role{Attached: []string{corePolicy}, Inline: map[string]string{"session-logs": sessions}})
	}
}

// healthyTeams are who works for a team in the healthy world. They come by
// their sessions as IAM users in groups, those of data by a role.
var healthyTeams = map[string][]string{"web": {"alice", "bob", "grace"}, "platform": {"dmitri", "hiro", "noor"}, "data": {"carol", "elena", "ines"}}

const (
	healthyOps  = "AWSReservedSSO_SessionOperator_0f1e2d3c4b5a6978"
	healthyData = "data-operators"
)

func (b operatorBuilder) healthyOperators() {
	for _, team := range []string{"web", "platform"} {
		b.group(team+"-operators", startOn("StringEquals", "team", team), shellDocument(), dataChannel(), ownSessions(), lookAround(), b.encrypt())
		for _, name := range healthyTeams[team] {
			b.user(name, team+"-operators")
		}
	}
	data := b.role("/", healthyData, accountTrust(b.home), map[string]string{"team": "data"},
		startOn("StringLike", "team", "${aws:PrincipalTag/team}"), shellDocument(), dataChannel(), ownTaggedSessions(), lookAround(), b.encrypt())
	for _, name := range healthyTeams["data"] {
		o := b.owner(name)
		o.Principals, o.Sessions = append(o.Principals, data.ARN), []string{name + "@corp.example"}
	}
	ops := b.role(identityCenterPath, healthyOps, identityCenterTrust(b.ID), nil,
		startOn("StringEquals", "env", "prod"), shellDocument(), dataChannel(), ownTaggedSessions(), lookAround(), b.encrypt())
	o := b.owner(OperatorUser)
	o.Principals, o.Sessions = append(o.Principals, ops.ARN), []string{"ops@corp.example"}
}

// healthyPerson is who works on a host.
func healthyPerson(in *Instance) string {
	team := healthyTeams[in.Host.Tags["team"]]
	n := 0
	for _, c := range in.Host.ID {
		n += int(c)
	}
	return team[n%len(team)]
}

func (g *generator) healthySessionOwner(in *Instance) (arn, name string) {
	account := in.Region.Account.ID
	name = healthyPerson(in)
	if in.Host.Tags["team"] == "data" {
		name += "@corp.example"
		return "arn:aws:sts::" + account + ":assumed-role/" + healthyData + "/" + name, name
	}
	return "arn:aws:iam::" + account + ":user/" + name, name
}

// healthyAccess gives each host two accounts with one key each, which open no
// other host: that of the person who works there, and the operator's.
func (b *regionBuilder) healthyAccess(all []placed) {
	for _, p := range all {
		h := &hostBuilder{regionBuilder: b, placed: p, style: "default", r: b.rng("access", p.Host.ID)}
		h.SSHD.Settings = []Setting{{"PasswordAuthentication", "no"}, {"KbdInteractiveAuthentication", "no"}, {"UsePAM", "yes"}, {"PermitRootLogin", "no"}, {"X11Forwarding", "no"}}
		h.SSHD.Match = map[string][]Setting{}
		h.Users = []*User{{Name: "root", Home: "/root", Shell: "/bin/bash", Sudo: true}}
		h.user(h.OS.User, true)
		name := healthyPerson(p.Instance)
		own := makeKey(h.r, "ed25519", name+"@"+p.Hostname)
		h.user(name, true, own.line())
		operator := publicOf(b.operatorSeed(p.Host.ID), operatorComment(p.Host.ID))
		h.user(OperatorUser, true, operator.line())
		o := b.owner(name)
		o.Fingerprints = append(o.Fingerprints, bare(own.fingerprint))
		o = b.owner(OperatorUser)
		o.Fingerprints = append(o.Fingerprints, bare(operator.fingerprint))
		h.healthyLogins(name, own.fingerprint)
		h.healthyLogins(OperatorUser, operator.fingerprint)
		slices.SortStableFunc(h.Logins, func(a, b Login) int { return a.At.Compare(b.At) })
	}
}

// healthyLogins are a few shells of the last weeks, before the person's
// sessions through Session Manager.
func (h *hostBuilder) healthyLogins(user, fingerprint string) {
	from := addressAt(officeNet, 20+h.r.IntN(100))
	for n := range 2 + h.r.IntN(3) {
		at := h.base.AddDate(0, 0, -4-3*n).Add(time.Duration(h.r.IntN(8*3600)) * time.Second)
		h.Logins = append(h.Logins, Login{At: at, User: user, Method: "publickey", Key: fingerprint, From: from, Port: 32768 + h.r.IntN(28000), Use: fleet.UseShell})
	}
}

// shareEndpoints peers two VPCs and lets the spoke use the hub's endpoints by
// private hosted zones of their names.
func (b *regionBuilder) shareEndpoints(hub, spoke *vpcBuilder) {
	b.peering(spoke, hub)
	for _, g := range b.Groups {
		if g.ID == hub.groups["endpoints"] {
			g.Ingress = append(g.Ingress, fleet.Permission{Protocol: "tcp", From: 443, To: 443, Description: "agents in " + spoke.spec.name, CIDRs: []netip.Prefix{spoke.cidr}})
		}
	}
	for _, e := range b.Endpoints {
		if e.VPC != hub.vpc.ID || e.Type != "Interface" {
			continue
		}
		name := privateNames(e, b.Name)[0]
		b.Account.Zones = append(b.Account.Zones, &fleet.HostedZone{ID: "Z" + strings.ToUpper(randomHex(b.rand, 9)), Name: name, VPCs: []string{spoke.vpc.ID},
			Records: []fleet.DNSRecord{{Name: name, Type: "A", Alias: e.DNSNames[0]}}})
	}
}
