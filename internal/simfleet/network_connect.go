package simfleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// side is one end of a connection inside of a VPC.
type side struct {
	addr   netip.Addr
	subnet string
	groups []string
}

// ipv6 are the IPv6 addresses of the instance's primary interface.
func (in *Instance) ipv6() []netip.Addr {
	for _, n := range in.Host.Interfaces {
		if n.Index == 0 {
			return n.IPv6
		}
	}
	return nil
}

// sideFor is the instance's end of a connection with a peer of the given
// address. Its address is the zero one when it has none of that family.
func (in *Instance) sideFor(peer netip.Addr) side {
	s := side{subnet: in.Host.Subnet, groups: in.Host.Groups}
	if peer.Is4() {
		s.addr = in.Host.PrivateIP
	} else if own := in.ipv6(); len(own) > 0 {
		s.addr = own[0]
		if slices.Contains(own, peer) {
			s.addr = peer
		}
	}
	return s
}

// location is where a private address is.
type location struct {
	side
	region   *Region
	vpc      string
	endpoint *fleet.VPCEndpoint // whose interface it is; nil: no endpoint's
}

// accounts are all accounts of the world; the account alone when it is in none.
func (a *Account) accounts() []*Account {
	if a.world == nil {
		return []*Account{a}
	}
	return a.world.Accounts
}

// locate finds the interface of an endpoint or NAT gateway that has a private
// address: in the VPC itself, else in one that it is peered with, else in any
// other. Ranges of VPCs may overlap as long as nothing joins them.
func (rg *Region) locate(vpc string, addr netip.Addr) *location {
	const own, peered, other = 0, 1, 2
	var best *location
	rank := other + 1
	for _, a := range rg.Account.accounts() {
		for _, r := range a.Regions {
			for _, n := range r.ENIs {
				if n.PrivateIP != addr && n.IPv6 != addr {
					continue
				}
				at := other
				switch {
				case r == rg && n.VPC == vpc:
					at = own
				case rg.peered(vpc, n.VPC):
					at = peered
				}
				if at < rank {
					rank = at
					best = &location{side: side{addr, n.Subnet, n.Groups}, region: r, vpc: n.VPC,
						endpoint: find(r.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == n.Owner })}
				}
			}
		}
	}
	return best
}

// peered reports whether a peering connection of the Region joins two VPCs.
func (rg *Region) peered(a, b string) bool {
	return find(rg.Peerings, func(p *fleet.Peering) bool {
		return p.Requester.VPC == a && p.Accepter.VPC == b || p.Requester.VPC == b && p.Accepter.VPC == a
	}) != nil
}

// way is what becomes of a connection.
type way struct {
	source   netip.Addr         // as the other end sees it; zero: something on the way hides it
	endpoint *fleet.VPCEndpoint // that it passes
	public   bool               // it goes over the internet
	reason   string             // the first thing in the way; empty: it opens
}

func stopped(format string, args ...any) way { return way{reason: fmt.Sprintf(format, args...)} }

// connect follows a connection from the instance to an address. The service is
// what middleboxes know it for; empty: none of AWS's. The location is known for
// another instance's address, else nil.
func (in *Instance) connect(dst netip.Addr, port int, service string, at *location) way {
	rg, h, from := in.Region, in.Host, in.sideFor(dst)
	if !from.addr.IsValid() {
		return stopped("the instance has no address of the family of %s", dst)
	}
	if at == nil && (dst.IsPrivate() || dst.Is6()) {
		at = rg.locate(h.VPC, dst)
	}
	if rg.holds(h.VPC, dst) {
		return in.insideVPC(from, dst, port, service, at)
	}
	var groups []string
	if at != nil && at.region.Name == rg.Name {
		groups = at.groups // groups of a peered VPC can be named within one Region
	}
	if !rg.groupsAllow(from.groups, true, port, dst, groups) {
		return stopped("security groups %v let nothing out to %s:%d", from.groups, dst, port)
	}
	if reason := rg.aclsAllow(from.subnet, true, port, dst); reason != "" {
		return way{reason: reason}
	}
	route := rg.route(h.VPC, from.subnet, dst)
	switch {
	case route == nil:
		return stopped("no route from %s to %s", from.subnet, dst)
	case route.State != "active":
		return stopped("the route to %s by %s is a %s", dst, route.Target, route.State)
	}
	return in.follow(route.Target, from, dst, port, service, at)
}

// holds reports whether an address is one of the VPC's own ranges.
func (rg *Region) holds(vpc string, a netip.Addr) bool {
	v := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == vpc })
	return v != nil && contains(v.CIDRs, a)
}

func (in *Instance) insideVPC(from side, dst netip.Addr, port int, service string, at *location) way {
	rg := in.Region
	if at == nil || at.region != rg || at.vpc != in.Host.VPC {
		return stopped("no interface has %s", dst)
	}
	// A route more specific than the local one leads through a middlebox.
	if route := rg.route(in.Host.VPC, from.subnet, dst); route != nil && route.Target != "local" {
		if route.State != "active" || rg.drops(route.Target, service) {
			return stopped("%s on the way to %s lets nothing pass", route.Target, dst)
		}
	}
	if reason := rg.inside(from, at.side, port); reason != "" {
		return way{reason: reason}
	}
	return way{source: from.addr, endpoint: at.endpoint}
}

// inside gives what stops a connection between two interfaces of one VPC.
func (rg *Region) inside(from, to side, port int) string {
	if !rg.groupsAllow(from.groups, true, port, to.addr, to.groups) {
		return fmt.Sprintf("security groups %v let nothing out to %s:%d", from.groups, to.addr, port)
	}
	if from.subnet != to.subnet {
		if reason := rg.aclsAllow(from.subnet, true, port, to.addr); reason != "" {
			return reason
		}
		if reason := rg.aclsAllow(to.subnet, false, port, from.addr); reason != "" {
			return reason
		}
	}
	if !rg.groupsAllow(to.groups, false, port, from.addr, from.groups) {
		return fmt.Sprintf("security groups %v do not let %s in on port %d", to.groups, from.addr, port)
	}
	return ""
}

// drops reports whether a route target lets no connection to a service pass.
func (rg *Region) drops(target, service string) bool {
	names := rg.Dropped[target]
	return slices.Contains(names, "*") || service != "" && slices.Contains(names, service)
}

// follow is what lies behind an active route's target.
func (in *Instance) follow(target string, from side, dst netip.Addr, port int, service string, at *location) way {
	rg, h := in.Region, in.Host
	kind, _, _ := strings.Cut(target, "-")
	switch kind {
	case "pcx":
		return rg.throughPeering(target, from, dst, port, at)
	case "igw", "nat", "eigw":
		if at != nil || dst.IsPrivate() {
			return stopped("%s is a private address, and the route to it leads to %s", dst, target)
		}
	}
	switch kind {
	case "igw":
		source := from.addr
		if dst.Is4() {
			source = h.PublicIP
		}
		if !source.IsValid() {
			return stopped("no public address to use the internet gateway with")
		}
		return way{source: source, public: true, reason: rg.gateway(target, h.VPC)}
	case "eigw":
		if !dst.Is6() {
			return stopped("egress-only internet gateway %s takes IPv6 alone", target)
		}
		return way{source: from.addr, public: true}
	case "nat":
		return rg.throughNAT(target, from, dst, port)
	case "vpce":
		e := find(rg.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == target })
		switch {
		case e == nil || e.State != "available":
			return stopped("the route to %s leads to %s, which is not available", dst, target)
		case e.Type == "Gateway":
			return way{source: from.addr, endpoint: e}
		}
	}
	return rg.throughMiddlebox(target, from, dst, port, service, at)
}

// throughMiddlebox is for firewalls, transit gateways and appliances: what
// they do not drop goes on, to the internet or to the VPC that has the address.
func (rg *Region) throughMiddlebox(target string, from side, dst netip.Addr, port int, service string, at *location) way {
	switch {
	case rg.drops(target, service):
		return stopped("%s lets no connection to %s pass", target, dst)
	case at != nil:
		return rg.arrive(target, from, port, at)
	case dst.IsPrivate():
		return stopped("the route to %s leads to %s, out of this world", dst, target)
	}
	return way{public: true}
}

// throughPeering reaches the peered VPC itself and nothing behind it: peering
// is not transitive. Source: Amazon VPC Peering Guide, unsupported configurations.
func (rg *Region) throughPeering(id string, from side, dst netip.Addr, port int, at *location) way {
	p := find(rg.Peerings, func(p *fleet.Peering) bool { return p.ID == id })
	switch {
	case p == nil || p.State != "active":
		return stopped("peering connection %s is not active", id)
	case at == nil || at.vpc != p.Requester.VPC && at.vpc != p.Accepter.VPC:
		return stopped("%s is not in the VPC behind peering connection %s", dst, id)
	}
	return rg.arrive(id, from, port, at)
}

// arrive is the far end in another VPC: its way back, its network ACL and its groups.
func (rg *Region) arrive(by string, from side, port int, at *location) way {
	back := at.region.route(at.vpc, at.subnet, from.addr)
	if back == nil || back.State != "active" || back.Target != by {
		return stopped("%s has no route back to %s by %s", at.subnet, from.addr, by)
	}
	if reason := at.region.aclsAllow(at.subnet, false, port, from.addr); reason != "" {
		return way{reason: reason}
	}
	var groups []string
	if strings.HasPrefix(by, "pcx-") && at.region.Name == rg.Name {
		groups = from.groups
	}
	if !at.region.groupsAllow(at.groups, false, port, from.addr, groups) {
		return stopped("security groups %v do not let %s in on port %d", at.groups, from.addr, port)
	}
	return way{source: from.addr, endpoint: at.endpoint}
}

func (rg *Region) throughNAT(id string, from side, dst netip.Addr, port int) way {
	nat := find(rg.NATGateways, func(g *fleet.Gateway) bool { return g.ID == id })
	eni := find(rg.ENIs, func(n *ENI) bool { return n.Owner == id })
	switch {
	case nat == nil || eni == nil || nat.State != "available":
		return stopped("NAT gateway %s is not available", id)
	case !nat.Public:
		return stopped("NAT gateway %s is a private one", id)
	case !dst.Is4():
		return stopped("NAT gateway %s takes no IPv6 to %s", id, dst)
	}
	if from.subnet != nat.Subnet {
		if reason := rg.aclsAllow(nat.Subnet, false, port, from.addr); reason != "" {
			return way{reason: reason}
		}
	}
	if reason := rg.aclsAllow(nat.Subnet, true, port, dst); reason != "" {
		return way{reason: reason}
	}
	route := rg.route(eni.VPC, nat.Subnet, dst)
	if route == nil || route.State != "active" || !strings.HasPrefix(route.Target, "igw-") {
		return stopped("NAT gateway %s has no route to the internet", id)
	}
	return way{source: eni.PublicIP, public: true, reason: rg.gateway(route.Target, eni.VPC)}
}

func (rg *Region) gateway(id, vpc string) string {
	g := find(rg.Gateways, func(g *fleet.Gateway) bool { return g.ID == id })
	if g == nil || !slices.Contains(g.VPCs, vpc) {
		return "internet gateway " + id + " is not attached to " + vpc
	}
	return ""
}
