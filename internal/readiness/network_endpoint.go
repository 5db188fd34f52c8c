package readiness

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// arrival is an endpoint's presence in one subnet.
type arrival struct {
	subnet *fleet.Subnet
	at     addresses // its addresses there; the whole subnet when they are not known
}

// toEndpoint follows a connection to an interface endpoint: out of the host's
// groups, over its subnets, into the endpoint's groups.
func (w *walk) toEndpoint(e *fleet.VPCEndpoint) {
	if !strings.EqualFold(e.State, "available") {
		w.pass(no, hopFrom(w.o.r.Endpoints, kindEndpoint, e.ID, "endpoint %s is %s, not available", e.ID, quoted(e.State)).as("endpoint-not-available").
			fixedBy("bring endpoint %s into the state available, or create it anew", e.ID))
		return
	}
	arrivals, ok := w.arrivals(e)
	if !ok {
		return
	}
	var all addresses
	for _, a := range arrivals {
		all = append(all, a.at...)
	}
	groups := e.Groups
	peered := e.VPC != w.o.vpc
	if peered && w.o.region != w.regionOf(e) {
		groups = nil // a group of another Region cannot be referred to
	}
	w.egress(normalized(all), groups, "", "endpoint "+e.ID)
	var crossings []*walk
	for _, a := range arrivals {
		c := w.fork()
		if peered {
			c.overPeering(a, e)
		} else {
			c.cross(a, e)
		}
		crossings = append(crossings, c)
	}
	w.branches(crossings)
	w.otherInterfaces(arrivals, e)
	w.ingress(e) // once more: not every crossing is followed to the end
}

// regionOf is the Region of an endpoint, from its service's name:
// "com.amazonaws.eu-west-1.ssm".
func (n *network) regionOf(e *fleet.VPCEndpoint) string {
	parts := strings.Split(e.Service, ".")
	if len(parts) < 2 {
		return ""
	}
	return parts[len(parts)-2]
}

// arrivals lists where an endpoint can be met. Not having an interface in the
// host's Availability Zone is no fault: other zones' interfaces serve it.
// Source: AWS PrivateLink Guide, privatelink-access-aws-services (subnets and Availability Zones).
func (w *walk) arrivals(e *fleet.VPCEndpoint) ([]arrival, bool) {
	known := theseAddresses(e.Addresses.Value...).family(w.v6)
	if e.Addresses.Known && len(known) == 0 {
		family := "IPv4"
		if w.v6 {
			family = "IPv6"
		}
		w.pass(no, hopFrom(w.o.r.Endpoints, kindEndpoint, e.ID, "endpoint %s has no %s address", e.ID, family).as("endpoint-not-available").
			fixedBy("give endpoint %s an IP address type that includes %s", e.ID, family))
		return nil, false
	}
	var out []arrival
	placed := known
	if w.remote != nil {
		placed = known.less(known.less(w.remote))
	}
	for _, id := range e.Subnets {
		s := w.subnets[id]
		if s == nil {
			w.pass(maybe, hopFrom(w.o.r.Subnets, kindEndpoint, id, "subnet %s of endpoint %s is not known%s", id, e.ID, because(w.o.r.Subnets.Reason)))
			continue
		}
		whole := addressesOf(append([]netip.Prefix{s.CIDR}, s.IPv6...)...).family(w.v6)
		if len(whole) == 0 {
			continue
		}
		if !e.Addresses.Known {
			if w.remote != nil {
				whole = whole.less(whole.less(w.remote))
			}
			if len(whole) > 0 {
				out = append(out, arrival{s, whole})
			}
			continue
		}
		if here := placed.less(placed.less(whole)); len(here) > 0 {
			out = append(out, arrival{s, here})
			placed = placed.less(whole)
		}
	}
	if len(out) == 0 {
		w.pass(maybe, hopFrom(w.o.r.Endpoints, kindEndpoint, e.ID, "the subnets of endpoint %s are not known", e.ID))
		return nil, false
	}
	return out, true
}

// ingress asks an endpoint's security groups to let the host in.
func (w *walk) ingress(e *fleet.VPCEndpoint) {
	if len(e.Groups) == 0 {
		w.pass(maybe, hopFrom(w.o.r.Endpoints, kindGroup, e.ID, "the security groups of endpoint %s are not known", e.ID))
		return
	}
	groups := w.o.groups
	if e.VPC != w.o.vpc && w.o.region != w.regionOf(e) {
		groups = nil
	}
	a := w.groupRules(e.Groups, false).let(w.o.source(w.v6), groups)
	who, list := w.o.who(w.v6), strings.Join(e.Groups, ", ")
	texts := [...]string{
		no:    "security group %s of endpoint %s does not let %s in on port 443",
		maybe: "whether security group %s of endpoint %s lets %s in on port 443 is not known",
		yes:   "security group %s of endpoint %s lets %s in on port 443",
	}
	w.passOwn(a, hopFrom(w.o.r.Groups, kindGroup, e.Groups[0], texts[a], list, e.ID, who).as("endpoint-group-closed").
		fixedBy("allow TCP 443 into security group %s from the host's security group (%s) or subnet (%s)", e.Groups[0], strings.Join(w.o.groups, ", "), w.o.subnet).
		undoneBy("remove the added rule from security group %s", e.Groups[0]))
}

// cross follows a connection to an endpoint's network interface in a subnet of
// the host's VPC and the answer back. Neither routes nor network ACLs act
// inside a subnet. Source: Amazon VPC User Guide, vpc-network-acls.
func (w *walk) cross(to arrival, e *fleet.VPCEndpoint) {
	if to.subnet.ID == w.o.subnet {
		w.ingress(e)
		return
	}
	t := w.table(w.o.subnet, w.o.vpc)
	w.aclPass(w.o.subnet, true, ports{httpsPort, httpsPort}, w.met(to, e), false)
	if t != nil {
		w.eachLeg(t, to.at, func(c *walk, l leg) {
			if l.target == "local" {
				c.pass(yes, hopFrom(w.o.r.RouteTables, kindTable, t.ID, "route table %s leads to endpoint %s inside the VPC", t.ID, e.ID))
				return
			}
			c.sideways(t, l, "traffic for endpoint "+e.ID)
		})
	}
	w.subnetOf(to, e)
	w.back(to.subnet.ID, "endpoint "+e.ID)
	w.aclPass(w.o.subnet, false, ephemeralPorts(w.o.windows), w.met(to, e), false)
}

// subnetOf asks the network ACL of an endpoint's subnet, both ways, and the
// endpoint's security groups.
func (w *walk) subnetOf(to arrival, e *fleet.VPCEndpoint) {
	w.aclPass(to.subnet.ID, false, ports{httpsPort, httpsPort}, w.own(), true)
	w.ingress(e)
	w.aclPass(to.subnet.ID, true, ephemeralPorts(w.o.windows), w.own(), true)
}

// back follows the answers from another subnet of the VPC to the host. A route
// that is more specific than the local one may lead them elsewhere.
// Source: Amazon VPC User Guide, route-tables-priority and VPC_Route_Tables
// (subnet route table, routing within the VPC).
func (w *walk) back(subnet, from string) {
	source := w.o.source(w.v6)
	t := w.table(subnet, w.o.vpc)
	if t == nil || len(source) == 0 {
		return
	}
	before := w.answer
	w.eachLeg(t, source, func(c *walk, l leg) {
		if l.target != "local" {
			c.sideways(t, l, "answers of "+from)
		}
	})
	w.differs = w.differs || w.answer == maybe && before == yes && !w.o.exact
}

// end is the other end of a connection as a network ACL sees it.
type end struct {
	addresses
	name   string
	blocks string // CIDR blocks to allow, for a fix
}

// own is the host's end.
func (w *walk) own() end {
	name := "the hosts of " + w.o.who(w.v6)
	if w.o.exact {
		name = "the host " + w.o.who(w.v6)
	}
	return end{w.o.source(w.v6), name, w.blocks(w.subnets[w.o.subnet], w.o.who(w.v6))}
}

// met is an endpoint's end in one subnet. The blocks are those of the subnet,
// so that one fix speaks for all endpoints there.
func (w *walk) met(to arrival, e *fleet.VPCEndpoint) end {
	return end{to.at, "endpoint " + e.ID, w.blocks(to.subnet, to.subnet.ID) + " (" + w.endpoints() + ")"}
}

// internet is the end of a service's public addresses.
func (w *walk) internet(public addresses) end {
	all := "0.0.0.0/0"
	if w.v6 {
		all = "::/0"
	}
	return end{public, "the internet", all}
}

// blocks lists the CIDR blocks of a subnet; otherwise when they are not known.
func (w *walk) blocks(s *fleet.Subnet, otherwise string) string {
	if s == nil {
		return otherwise
	}
	var out []string
	for _, p := range append([]netip.Prefix{s.CIDR}, s.IPv6...) {
		if p.IsValid() && p.Addr().Is6() == w.v6 {
			out = append(out, p.String())
		}
	}
	return cmp.Or(strings.Join(out, " and "), otherwise)
}

// sideways is a route to the VPC's own addresses that is not the local one.
func (w *walk) sideways(t *fleet.RouteTable, l leg, what string) {
	switch {
	case l.target == "":
		w.pass(maybe, hopFrom(w.o.r.RouteTables, kindTable, t.ID, "route table %s shows no route for %s", t.ID, what))
	case l.blackhole:
		w.pass(no, hopFrom(w.o.r.RouteTables, kindTable, t.ID, "route table %s sends %s to %s, which is gone (blackhole)", t.ID, what, l.target).as("route-missing").
			fixedBy("delete the route to %s from route table %s, so that the local route holds", l.target, t.ID).
			undoneBy("add the route to %s to route table %s again", l.target, t.ID))
	default:
		w.unfollowed(t, l, what)
	}
}

// overPeering follows a connection to an endpoint in another VPC. Peering
// leads to the peer's own addresses only, and the answer needs a route back.
// Source: Amazon VPC Peering Guide, vpc-peering-basics and vpc-peering-routing.
func (w *walk) overPeering(to arrival, e *fleet.VPCEndpoint) {
	r := w.o.r
	t := w.table(w.o.subnet, w.o.vpc)
	w.aclPass(w.o.subnet, true, ports{httpsPort, httpsPort}, w.met(to, e), false)
	if t == nil {
		return
	}
	w.eachLeg(t, to.at, func(c *walk, l leg) {
		kind, _, _ := strings.Cut(l.target, "-")
		switch {
		case l.target == "" || l.blackhole || slices.Contains([]string{"local", "igw", "nat", "eigw"}, kind):
			how := "has no route to"
			if l.target != "" {
				how = "sends traffic to " + l.target + ", which does not lead to"
			}
			c.pass(no, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s %s endpoint %s of VPC %s", t.ID, how, e.ID, e.VPC).as("route-missing").
				fixedBy("add a route from %s to the subnets of endpoint %s in VPC %s (%s)", t.ID, e.ID, e.VPC, to.subnet.CIDR).
				undoneBy("delete the route from %s again", t.ID))
		case kind == "pcx":
			c.pass(yes, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s leads to endpoint %s through peering connection %s", t.ID, e.ID, l.target))
			c.peering(l.target, to, e)
		default:
			c.unfollowed(t, l, "traffic for endpoint "+e.ID)
		}
	})
	w.aclPass(w.o.subnet, false, ephemeralPorts(w.o.windows), w.met(to, e), false)
}

func (w *walk) peering(id string, to arrival, e *fleet.VPCEndpoint) {
	r := w.o.r
	p := w.peerings[id]
	if p == nil {
		w.pass(maybe, hopFrom(r.Peerings, kindPeering, id, "peering connection %s is not known%s", id, because(r.Peerings.Reason)))
		return
	}
	peer := w.peerOf(p, w.o.vpc)
	switch {
	case p.State != "active":
		w.pass(no, hopFrom(r.Peerings, kindPeering, id, "peering connection %s is %s, not active", id, quoted(p.State)).as("peering-broken").
			fixedBy("accept or renew peering connection %s", id))
		return
	case peer == nil || peer.VPC != e.VPC:
		w.pass(no, hopFrom(r.Peerings, kindPeering, id, "peering connection %s does not lead to VPC %s, where endpoint %s is, and peering carries nothing on to a third VPC", id, e.VPC, e.ID).as("peering-broken").
			fixedBy("peer VPC %s with VPC %s directly, or give VPC %s endpoints of its own", w.o.vpc, e.VPC, w.o.vpc))
		return
	}
	w.pass(yes, hopFrom(r.Peerings, kindPeering, id, "peering connection %s leads to VPC %s", id, e.VPC))
	w.subnetOf(to, e)
	t := w.table(to.subnet.ID, e.VPC)
	if t == nil {
		return
	}
	before := w.answer
	w.eachLeg(t, w.o.source(w.v6), func(c *walk, l leg) {
		switch kind, _, _ := strings.Cut(l.target, "-"); {
		case l.target == id && !l.blackhole:
			c.pass(yes, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s of endpoint %s leads back over peering connection %s", t.ID, e.ID, id))
		case l.target == "" || l.blackhole || slices.Contains([]string{"local", "igw", "nat", "eigw", "pcx"}, kind):
			c.pass(no, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s of endpoint %s has no route back to %s over peering connection %s", t.ID, e.ID, w.o.who(w.v6), id).as("peering-broken").
				fixedBy("add a route from %s to the addresses of VPC %s over %s", t.ID, w.o.vpc, id).
				undoneBy("delete the route over %s from %s again", id, t.ID))
		default:
			c.unfollowed(t, l, "answers of endpoint "+e.ID)
		}
	})
	w.differs = w.differs || w.answer == maybe && before == yes && !w.o.exact
}

// peerOf is the other end of a peering connection; nil when the VPC is at neither.
func (n *network) peerOf(p *fleet.Peering, vpc string) *fleet.PeeringEnd {
	switch {
	case p == nil:
	case p.Requester.VPC == vpc:
		return &p.Accepter
	case p.Accepter.VPC == vpc:
		return &p.Requester
	}
	return nil
}

// otherInterfaces doubts a way when a secondary interface of the host stands in
// the endpoint's very subnet: the connection leaves by that one, whose groups
// decide.
func (w *walk) otherInterfaces(arrivals []arrival, e *fleet.VPCEndpoint) {
	for _, i := range w.o.others {
		if !slices.ContainsFunc(arrivals, func(a arrival) bool { return a.subnet.ID == i.Subnet }) {
			continue
		}
		there := w.groupRules(i.Groups, true)
		var all addresses
		for _, a := range arrivals {
			all = append(all, a.at...)
		}
		out := there.let(normalized(all), e.Groups)
		in := w.groupRules(e.Groups, false).let(theseAddresses(append([]netip.Addr{i.PrivateIP}, i.IPv6...)...).family(w.v6), i.Groups)
		if min(out, in) != yes {
			w.pass(maybe, hop{kind: kindENI, object: i.ID, text: fmt.Sprintf("a secondary interface of the host in subnet %s may carry the connection to endpoint %s, and its security groups (%s) are not known to let it pass", i.Subnet, e.ID, strings.Join(i.Groups, ", ")), source: sourceInstances, at: w.o.r.Instances.At})
		}
	}
}

// egress asks the host's security groups to let a connection out. list is the
// prefix list that stands for the remote addresses, where one does.
func (w *walk) egress(remote addresses, groups []string, list, what string) {
	if len(w.o.groups) == 0 {
		w.pass(maybe, hop{kind: kindGroup, text: "the host's security groups are not known", source: sourceInstances, at: w.o.r.Instances.At})
		return
	}
	rules := w.groupRules(w.o.groups, true)
	a := rules.let(remote, groups)
	if list != "" && slices.Contains(rules.lists, list) {
		a = yes
	}
	texts := [...]string{
		no:    "security group %s lets nothing out to %s on port 443",
		maybe: "whether security group %s lets everything out to %s on port 443 is not known",
		yes:   "security group %s lets out to %s on port 443",
	}
	w.pass(a, hopFrom(w.o.r.Groups, kindGroup, w.o.groups[0], texts[a], strings.Join(w.o.groups, ", "), what).as("group-egress-closed").
		fixedBy("allow TCP 443 out of security group %s to %s", w.o.groups[0], w.endpoints()).
		undoneBy("remove the added rule from security group %s", w.o.groups[0]))
}

// aclPass asks the network ACL of a subnet. own tells that the other end is
// the host.
func (w *walk) aclPass(subnet string, egress bool, p ports, other end, own bool) {
	kind := kindACLOut
	switch answers := p.hi != httpsPort; {
	case answers && egress:
		kind = kindReplyOut
	case answers:
		kind = kindReplyIn
	case !egress:
		kind = kindACLIn
	}
	a := w.aclOf[subnet]
	if a == nil {
		w.pass(maybe, hopFrom(w.o.r.NetworkACLs, kind, subnet, "the network ACL of subnet %s is not known%s", subnet, because(w.o.r.NetworkACLs.Reason)))
		return
	}
	v := a.allows(egress, p, other.addresses)
	direction, ends := "in from", fmt.Sprintf("%d-%d", p.lo, p.hi)
	if egress {
		direction = "out to"
	}
	if p.lo == p.hi {
		ends = fmt.Sprint(p.lo)
	}
	word := [...]string{no: "stops", maybe: "stops part of", yes: "lets pass"}[v]
	at := hopFrom(w.o.r.NetworkACLs, kind, a.ID, "network ACL %s of %s %s TCP %s %s %s", a.ID, subnet, word, ends, direction, other.name).as("acl-closed").
		fixedBy("allow TCP %s %s %s in network ACL %s, with a lower number than any rule that denies it", ends, direction, other.blocks, a.ID).
		undoneBy("remove the added entry from network ACL %s", a.ID)
	if own {
		w.passOwn(v, at)
		return
	}
	w.pass(v, at)
}
