package simfleet

import (
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

// vpn gives the operator a way into a VPC that has neither a bastion nor
// public subnets in use: a virtual private gateway routes the offices' network,
// and the groups that hosts use let its port 22 in. It leads nowhere else, so
// the VPC's own way out stays what it was.
func (b *regionBuilder) vpn(v *vpcBuilder, hosts []placed) {
	gateway := b.id(b.rand, "vgw")
	for _, t := range b.RouteTables {
		if t.VPC == v.vpc.ID && !t.Main {
			t.Routes = append(t.Routes, fleet.Route{CIDR: officeNet, Target: gateway, State: "active"})
		}
	}
	for _, acl := range b.NetworkACLs {
		if acl.VPC == v.vpc.ID && !acl.Default {
			acl.Entries = append([]fleet.ACLEntry{{Number: 90, Allow: true, Protocol: "-1", CIDR: officeNet}}, acl.Entries...)
		}
	}
	for _, g := range b.Groups {
		used := slices.ContainsFunc(hosts, func(p placed) bool { return p.Role != "windows" && slices.Contains(p.Host.Groups, g.ID) })
		if used {
			letOfficeIn(g)
		}
	}
}

// letOfficeIn adds a rule for the offices' network, unless the group has it
// under whatever description: EC2 knows a rule by protocol, ports and peer alone.
func letOfficeIn(g *fleet.SecurityGroup) {
	rule := fleet.Permission{Protocol: "tcp", From: 22, To: 22, Description: "VPN", CIDRs: []netip.Prefix{officeNet}}
	had := fleet.Rules(g.Ingress, false)
	if !slices.ContainsFunc(fleet.Rules([]fleet.Permission{rule}, false), func(r fleet.Rule) bool { return slices.ContainsFunc(had, r.Same) }) {
		g.Ingress = append(g.Ingress, rule)
	}
}
