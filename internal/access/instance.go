package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// ownRole is the role of the instance profile that migrate attaches to hosts
// which have none.
const ownRole = "migrate-session-manager"

// narrowed are the actions that can be held to the instance that the role's
// credentials were given to.
// Source: AWS Service Authorization Reference, ssm, ssmmessages and ec2messages.
var narrowed = []string{"ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ec2messages:GetMessages", "ec2messages:SendReply"}

const sourceInstance = "ec2:SourceInstanceARN"

// instanceRole is a role by which agents get their credentials.
type instanceRole struct {
	world     *world
	name      string
	arn       string // of the role, perhaps still to be made
	account   string
	partition string
	hosts     []*fleet.Host
	positions []int // of hosts in the snapshot
	byDefault bool  // the role of Default Host Management Configuration: Systems Manager hands out its credentials
	old       []string
	needs     []readiness.Need
	why       string
}

// instanceRoles finds the roles of the fleet's hosts, and one in each account
// for the hosts that have none.
func (p *promised) instanceRoles() {
	byARN := map[string]*instanceRole{}
	for i := range p.snapshot.Hosts {
		h := &p.snapshot.Hosts[i]
		if gone(h) {
			continue
		}
		arn, byDefault, why := p.roleOf(h)
		if arn == "" {
			p.note("%s: %s; no instance policy is made for it", h.ID, why)
			continue
		}
		x := byARN[arn]
		if x == nil {
			x = &instanceRole{world: p.world, name: arn[strings.LastIndexByte(arn, '/')+1:], arn: arn, account: h.Account, partition: fleet.Partition(h.Region), byDefault: byDefault, why: why}
			byARN[arn] = x
			p.instances = append(p.instances, x)
		}
		x.hosts, x.positions = append(x.hosts, h), append(x.positions, i)
	}
	slices.SortFunc(p.instances, func(a, b *instanceRole) int {
		return strings.Compare(a.account+"/"+a.arn, b.account+"/"+b.arn)
	})
	for _, x := range p.instances {
		p.needsOf(x)
	}
}

// roleOf is the role that a host's agent gets its credentials from, once the
// fleet is as it should be.
func (p *promised) roleOf(h *fleet.Host) (arn string, byDefault bool, why string) {
	if h.ProfileARN != "" {
		if r := p.grants.RoleOf(h); r != nil {
			return r.ARN, false, "the role of their instance profile"
		}
		return "", false, "the role of its instance profile " + h.ProfileARN + " is not known"
	}
	iam := "arn:" + fleet.Partition(h.Region) + ":iam::" + h.Account + ":role/"
	r := p.region(h.Ref().Place())
	if r.DefaultRole.Known && r.DefaultRole.Value != "" {
		return iam + strings.TrimPrefix(r.DefaultRole.Value, "/"), true, "the role of Default Host Management Configuration, which serves hosts without an instance profile"
	}
	return iam + ownRole, false, "the role of an instance profile for hosts that have none"
}

// needsOf is what agents with the role have to be allowed.
func (p *promised) needsOf(x *instanceRole) {
	add := func(resource string, actions ...string) {
		for _, a := range actions {
			if n := (readiness.Need{Action: a, Resource: resource}); !slices.Contains(x.needs, n) {
				x.needs = append(x.needs, n)
			}
		}
	}
	add("*", readiness.SessionActions()...)
	var places []fleet.Place
	for _, h := range x.hosts {
		if at := h.Ref().Place(); !slices.Contains(places, at) {
			places = append(places, at)
		}
		if p.query.RunCommand && needsMessages(h) {
			x.old = append(x.old, h.ID)
		}
	}
	if len(x.old) > 0 {
		add("*", readiness.CommandActions()...)
	}
	for _, at := range places {
		in := p.inputs[at]
		for _, n := range readiness.InputNeeds(p.region(at), in) {
			add(n.Resource, n.Action)
		}
		if in.Key != "" && readiness.KeyOf(p.region(at), in) == "" {
			p.note("account %s, %s: KMS key %s of the preferences was not read: no policy allows it", at.Account, at.Region, in.Key)
		}
	}
}

// needsMessages reports whether a host's agent gets its commands through
// ec2messages; an agent whose version is not known may.
func needsMessages(h *fleet.Host) bool {
	version := h.Node.Value.AgentVersion
	if version == "" {
		version = h.Probe.Value.Agent.Value.Version
	}
	below, ok := readiness.Below(version, readiness.RunCommandVersion)
	return below || !ok
}

func gone(h *fleet.Host) bool { return h.State == "terminated" || h.State == "shutting-down" }

// source is what the credentials' instance is held to.
func (x *instanceRole) source() string {
	return "arn:" + x.partition + ":ec2:*:" + x.account + ":instance/*"
}

func (x *instanceRole) base() string { return name("migrate-instance-", x.name, mostBase) }

// policies writes the role's policy.
func (x *instanceRole) policies() ([]Policy, error) {
	var statements []statement
	held, free := x.split()
	if len(held) > 0 {
		statements = append(statements, allow("AgentOfOwnInstance", []string{"*"}, held...).when("ArnLike", sourceInstance, x.source()))
	}
	statements = append(statements, allow("Agent", []string{"*"}, free...))
	byResource := map[string][]string{}
	var order []string
	for _, n := range x.needs {
		if n.Resource == "*" {
			continue
		}
		if byResource[n.Resource] == nil {
			order = append(order, n.Resource)
		}
		byResource[n.Resource] = append(byResource[n.Resource], n.Action)
	}
	for i, r := range order {
		statements = append(statements, allow(fmt.Sprintf("SessionLog%d", i+1), []string{r}, byResource[r]...))
	}
	return policiesOf(x.base(), statements, Policy{
		Account: x.account, For: Instance, Who: x.name, Attach: []string{x.arn},
		Why: fmt.Sprintf("%s; used by %s", x.why, fleet.Count(len(x.hosts), "host")),
	})
}

// split tells the actions on everything apart: those that are held to the
// credentials' own instance, and those that cannot be.
func (x *instanceRole) split() (held, free []string) {
	for _, n := range x.needs {
		switch {
		case n.Resource != "*":
		case !x.byDefault && slices.Contains(narrowed, n.Action):
			held = append(held, n.Action)
		default:
			free = append(free, n.Action)
		}
	}
	return held, free
}
