package readiness

import (
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// table is the route table of a subnet; nil, with a doubt noted, when it is
// not known.
func (w *walk) table(subnet, vpc string) *fleet.RouteTable {
	t := w.listedTable(subnet, vpc)
	if t == nil {
		w.pass(maybe, hopFrom(w.o.r.RouteTables, kindTable, subnet, "the route table of subnet %s is not known%s", subnet, because(w.o.r.RouteTables.Reason)))
	}
	return t
}

// listedTable is the route table of a subnet; nil when it is not known.
func (w *walk) listedTable(subnet, vpc string) *fleet.RouteTable {
	t := w.tableOf[subnet]
	// Without the whole list, an association of the subnet's own may have been missed.
	if t == nil && w.o.r.RouteTables.Known {
		t = w.mainTable[vpc]
	}
	return t
}

// leg is a part of a destination that shares one route.
type leg struct {
	target    string // empty: no route
	blackhole bool
}

type routeEntry struct {
	to   span
	bits int
	rank int // among routes to the same destination, the lowest goes first
	leg  leg
}

// legs splits a destination by the most specific route. Of routes to the same
// destination a static one goes before one by a prefix list, and that before a
// propagated one, as those of virtual private gateways are.
// Source: Amazon VPC User Guide, route-tables-priority.
func (w *walk) legs(t *fleet.RouteTable, to addresses) []leg {
	var table []routeEntry
	for _, r := range t.Routes {
		table = append(table, w.entries(t, r)...)
	}
	slices.SortStableFunc(table, func(a, b routeEntry) int {
		if a.bits != b.bits {
			return b.bits - a.bits
		}
		return a.rank - b.rank
	})
	var out []leg
	add := func(l leg) {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	rest := to
	for _, e := range table {
		if rest.coverage(e.to) == no {
			continue
		}
		add(e.leg)
		rest = rest.without(e.to)
	}
	if len(rest) > 0 {
		add(leg{})
	}
	return out
}

func (w *walk) entries(t *fleet.RouteTable, r fleet.Route) []routeEntry {
	l, prefixes, rank := leg{target: r.Target, blackhole: r.State == "blackhole"}, []netip.Prefix{r.CIDR}, 0
	if strings.HasPrefix(r.Target, "vgw-") {
		rank = 2
	}
	if r.PrefixList != "" {
		if strings.HasPrefix(r.Target, "vpce-") {
			return nil // a gateway endpoint's: it carries S3 or DynamoDB only, see throughGateway
		}
		list := w.prefixLists[r.PrefixList]
		if list == nil {
			w.pass(maybe, hopFrom(w.o.r.PrefixLists, kindTable, t.ID, "route table %s routes prefix list %s, whose entries are not known", t.ID, r.PrefixList))
			return nil
		}
		prefixes, rank = list.CIDRs, 1
	}
	var out []routeEntry
	for _, p := range prefixes {
		if s, ok := prefixSpan(p); ok {
			out = append(out, routeEntry{s, p.Bits(), rank, l})
		}
	}
	return out
}

// eachLeg judges every part of a destination that has a route of its own; the
// whole is a doubt where the parts differ.
func (w *walk) eachLeg(t *fleet.RouteTable, to addresses, judge func(*walk, leg)) {
	var all []*walk
	for _, l := range w.legs(t, to) {
		c := w.fork()
		judge(c, l)
		all = append(all, c)
	}
	w.branches(all)
}

func (w *walk) publicAddresses() addresses {
	switch {
	case w.remote != nil:
		return w.remote
	case w.v6:
		return w.public6
	}
	return w.public4
}

// toPublic follows a connection to the service's public addresses. Unless it is
// known which those are, anything that treats parts of the internet differently
// is a doubt.
func (w *walk) toPublic(q question) {
	if q.service == "s3" && w.throughGateway(q) {
		return
	}
	public := w.publicAddresses()
	w.egress(public, nil, "", "the service's public addresses")
	w.aclPass(w.o.subnet, true, ports{httpsPort, httpsPort}, w.internet(public), false)
	if t := w.table(w.o.subnet, w.o.vpc); t != nil {
		w.eachLeg(t, public, func(c *walk, l leg) { c.out(t, l) })
	}
	w.aclPass(w.o.subnet, false, ephemeralPorts(w.o.windows), w.internet(public), false)
}

// throughGateway follows a connection to S3 through a gateway endpoint, where
// the subnet's route table leads there. The addresses are S3's public ones, so
// groups and network ACLs must let those pass.
// Source: AWS PrivateLink Guide, gateway-endpoints.
func (w *walk) throughGateway(q question) bool {
	t := w.listedTable(w.o.subnet, w.o.vpc)
	if t == nil || q.dual || q.region != w.o.region {
		return false
	}
	for _, r := range t.Routes {
		e := w.byEndpoint[r.Target]
		if r.PrefixList == "" || r.State == "blackhole" || e == nil || !strings.EqualFold(e.Type, "Gateway") || !serves(e, q) {
			continue
		}
		what := "the addresses of S3 (" + r.PrefixList + ")"
		remote := end{addresses: w.publicAddresses(), name: what, blocks: "the CIDR blocks of S3 (prefix list " + r.PrefixList + ")"}
		if list := w.prefixLists[r.PrefixList]; list != nil {
			if known := addressesOf(list.CIDRs...).family(w.v6); len(known) > 0 {
				remote.addresses = known
			}
		}
		w.egress(remote.addresses, nil, r.PrefixList, what)
		w.aclPass(w.o.subnet, true, ports{httpsPort, httpsPort}, remote, false)
		w.pass(yes, hopFrom(w.o.r.RouteTables, kindTable, t.ID, "route table %s leads to gateway endpoint %s for %s", t.ID, e.ID, r.PrefixList))
		if strings.EqualFold(e.State, "available") {
			w.pass(yes, hopFrom(w.o.r.Endpoints, kindEndpoint, e.ID, "gateway endpoint %s is available", e.ID))
		} else {
			w.pass(no, hopFrom(w.o.r.Endpoints, kindEndpoint, e.ID, "gateway endpoint %s is %s, not available", e.ID, quoted(e.State)).as("endpoint-not-available").
				fixedBy("bring gateway endpoint %s into the state available, or create it anew", e.ID))
		}
		w.aclPass(w.o.subnet, false, ephemeralPorts(w.o.windows), remote, false)
		return true
	}
	return false
}

// out judges one leg of the way to the internet from the host's subnet.
func (w *walk) out(t *fleet.RouteTable, l leg) {
	r := w.o.r
	kind, _, _ := strings.Cut(l.target, "-")
	toRoute := func(text string, args ...any) hop {
		return hopFrom(r.RouteTables, kindTable, t.ID, text, args...).as("route-missing").
			fixedBy("add a route from %s to a NAT gateway, or %s with private DNS to VPC %s", t.ID, w.interfaceEndpoints(), t.VPC).
			undoneBy("delete the added route from %s", t.ID)
	}
	switch {
	case l.target == "":
		at := toRoute("route table %s has no route to the internet", t.ID)
		at.none = true
		w.pass(no, at)
	case l.blackhole && kind == "nat":
		w.pass(no, toRoute("route table %s sends internet traffic to NAT gateway %s, which is gone (blackhole)", t.ID, l.target).as("nat-broken").
			fixedBy("create a NAT gateway in the place of %s, which is gone, and lead the route of %s to it", l.target, t.ID).
			undoneBy("delete the new NAT gateway and the route to it from %s", t.ID))
	case l.blackhole:
		w.pass(no, toRoute("route table %s sends internet traffic to %s, which is gone (blackhole)", t.ID, l.target))
	case kind == "igw":
		w.pass(yes, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s leads to internet gateway %s", t.ID, l.target))
		w.internetGateway(l.target)
		// IPv6 addresses are public by themselves. Source: Amazon VPC User Guide, VPC_Internet_Gateway.
		if !w.o.public && !w.v6 {
			at := toRoute("route table %s leads to internet gateway %s, but the host has no public address", t.ID, l.target).as("no-public-address")
			w.pass(no, at)
		}
	case kind == "eigw":
		w.egressOnly(t, l)
	case kind == "nat":
		w.pass(yes, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s leads to NAT gateway %s", t.ID, l.target))
		w.natGateway(l.target)
	case kind == "pcx":
		// No edge-to-edge routing. Source: Amazon VPC Peering Guide, vpc-peering-basics.
		w.pass(no, toRoute("route table %s sends internet traffic to peering connection %s, which carries none", t.ID, l.target))
	default:
		w.unfollowed(t, l, "internet traffic")
	}
}

// interfaceEndpoints names those that the walk's service would need.
func (w *walk) interfaceEndpoints() string {
	if w.service == "" || slices.Contains(sessionServices[:], w.service) || w.service == "ec2messages" {
		return "interface endpoints for " + strings.Join(sessionServices[:], " and ")
	}
	return "an interface endpoint for " + w.service
}

// egressOnly is an egress-only internet gateway, which carries IPv6 alone.
// Source: Amazon VPC User Guide, egress-only-internet-gateway.
func (w *walk) egressOnly(t *fleet.RouteTable, l leg) {
	if !w.v6 {
		w.pass(no, hopFrom(w.o.r.RouteTables, kindEIGW, l.target, "egress-only internet gateway %s carries no IPv4", l.target).as("route-missing").
			fixedBy("lead the IPv4 routes of %s to a NAT gateway", t.ID))
		return
	}
	w.pass(yes, hopFrom(w.o.r.RouteTables, kindEIGW, l.target, "route table %s leads to egress-only internet gateway %s", t.ID, l.target))
}

// unfollowed is a leg that leads to something whose inside is not listed.
func (w *walk) unfollowed(t *fleet.RouteTable, l leg, what string) {
	prefix, _, _ := strings.Cut(l.target, "-")
	kind, named := kindOther, ""
	switch prefix {
	case "tgw":
		kind, named = kindTransit, "transit gateway "
	case "vgw":
		kind, named = kindVPN, "virtual private gateway "
	case "vpce":
		kind, named = kindFirewall, "firewall endpoint "
		if e := w.byEndpoint[l.target]; e != nil && !strings.EqualFold(e.State, "available") {
			w.pass(no, hopFrom(w.o.r.Endpoints, kind, e.ID, "route table %s sends %s through firewall endpoint %s, which is %s", t.ID, what, e.ID, quoted(e.State)).as("route-missing").
				fixedBy("repair endpoint %s, or lead the route of %s around it", e.ID, t.ID))
			return
		}
	case "eni", "i":
		kind, named = kindENI, "the interface or instance "
	}
	w.pass(maybe, hopFrom(w.o.r.RouteTables, kind, l.target, "route table %s sends %s through %s%s, which is not followed", t.ID, what, named, l.target))
}

// translates reports whether a subnet routes the addresses that DNS64 makes
// up to a NAT gateway. Source: Amazon VPC User Guide, nat-gateway-nat64-dns64.
func (n *network) translates(o *origin) bool {
	w := n.walk(o, true)
	t := w.table(o.subnet, o.vpc)
	if t == nil {
		return true // not known to do without
	}
	return slices.ContainsFunc(w.legs(t, addressesOf(netip.MustParsePrefix("64:ff9b::/96"))), func(l leg) bool {
		return strings.HasPrefix(l.target, "nat-") && !l.blackhole
	})
}

func (w *walk) internetGateway(id string) {
	g := w.gateways[id]
	switch {
	case g == nil:
		w.pass(maybe, hopFrom(w.o.r.Gateways, kindIGW, id, "internet gateway %s is not known%s", id, because(w.o.r.Gateways.Reason)))
	case g.State != "available" && g.State != "attached":
		w.pass(no, hopFrom(w.o.r.Gateways, kindIGW, id, "internet gateway %s is %s", id, quoted(g.State)).as("route-missing").
			fixedBy("attach internet gateway %s to VPC %s", id, w.o.vpc).undoneBy("detach internet gateway %s", id))
	default:
		w.pass(yes, hopFrom(w.o.r.Gateways, kindIGW, id, "internet gateway %s is attached", id))
	}
}

// natGateway follows a connection through a NAT gateway in a subnet of the VPC.
func (w *walk) natGateway(id string) {
	r := w.o.r
	g := w.nats[id]
	switch {
	case w.v6:
		w.pass(maybe, hopFrom(r.NATGateways, kindNAT, id, "NAT gateway %s carries IPv6 to translated addresses only", id))
		return
	case g == nil:
		w.pass(maybe, hopFrom(r.NATGateways, kindNAT, id, "NAT gateway %s is not known%s", id, because(r.NATGateways.Reason)))
		return
	case g.State != "available":
		w.pass(no, hopFrom(r.NATGateways, kindNAT, id, "NAT gateway %s is %s", id, quoted(g.State)).as("nat-broken").
			fixedBy("replace NAT gateway %s, and lead the routes to it to the new one", id).undoneBy("lead the routes back to %s", id))
		return
	case !g.Public:
		w.pass(maybe, hopFrom(r.NATGateways, kindNAT, id, "NAT gateway %s is private; the way beyond it is not followed", id))
		return
	}
	w.pass(yes, hopFrom(r.NATGateways, kindNAT, id, "NAT gateway %s is available", id))
	public := w.publicAddresses()
	if g.Subnet != w.o.subnet {
		w.aclPass(g.Subnet, false, ports{httpsPort, httpsPort}, w.own(), true)
	}
	w.aclPass(g.Subnet, true, ports{httpsPort, httpsPort}, w.internet(public), false)
	if t := w.table(g.Subnet, w.o.vpc); t != nil {
		w.beyondNAT(t, g, public)
	}
	w.aclPass(g.Subnet, false, natPorts, w.internet(public), false)
	if g.Subnet != w.o.subnet {
		w.aclPass(g.Subnet, true, ephemeralPorts(w.o.windows), w.own(), true)
		w.back(g.Subnet, "NAT gateway "+id)
	}
}

// beyondNAT follows a connection from a NAT gateway to the internet.
func (w *walk) beyondNAT(t *fleet.RouteTable, g *fleet.Gateway, public addresses) {
	r, id := w.o.r, g.ID
	w.eachLeg(t, public, func(c *walk, l leg) {
		switch {
		case strings.HasPrefix(l.target, "igw-") && !l.blackhole:
			c.pass(yes, hopFrom(r.RouteTables, kindTable, t.ID, "route table %s of NAT gateway %s leads to internet gateway %s", t.ID, id, l.target))
			c.internetGateway(l.target)
		case l.target == "" || l.blackhole:
			c.pass(no, hopFrom(r.RouteTables, kindTable, t.ID, "NAT gateway %s is in subnet %s, whose route table %s has no way to the internet", id, g.Subnet, t.ID).as("nat-broken").
				fixedBy("put NAT gateway %s into a subnet with a route to an internet gateway, or add that route to %s", id, t.ID).
				undoneBy("delete the added route from %s", t.ID))
		default:
			c.unfollowed(t, l, "traffic of NAT gateway "+id)
		}
	})
}
