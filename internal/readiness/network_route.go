package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// table is the route table of a host's subnet; nil, with a doubt noted, when
// it is not known.
func (w *walk) table(h *fleet.Host) *fleet.RouteTable {
	return w.tableFor(h.Subnet, h.VPC)
}

func (w *walk) tableFor(subnet, vpc string) *fleet.RouteTable {
	t := w.tableOf[subnet]
	// Without the whole list, an association of the subnet's own may have been missed.
	if t == nil && w.r.RouteTables.Known {
		t = w.mainTable[vpc]
	}
	if t == nil {
		w.pass(maybe, hopFrom(w.r.RouteTables, subnet, "the route table of subnet %s is not known%s", subnet, because(w.r.RouteTables.Reason)))
	}
	return t
}

// leg is a part of a destination that shares one route.
type leg struct {
	target    string // empty: no route
	blackhole bool
}

// legs splits a destination by the most specific route, longest prefix first.
// Gateway endpoints' routes are left out: they carry S3 and DynamoDB only.
func (w *walk) legs(t *fleet.RouteTable, to addresses) []leg {
	type entry struct {
		spans addresses
		bits  int
		leg   leg
	}
	var table []entry
	for _, r := range t.Routes {
		e := entry{leg: leg{r.Target, r.State == "blackhole"}}
		if r.PrefixList != "" {
			if strings.HasPrefix(r.Target, "vpce-") {
				continue
			}
			list := w.prefixLists[r.PrefixList]
			if list == nil {
				w.pass(maybe, hopFrom(w.r.PrefixLists, t.ID, "route table %s routes prefix list %s, whose entries are not known", t.ID, r.PrefixList))
				continue
			}
			for _, c := range list.CIDRs {
				if s, v4 := prefixSpan(c); v4 {
					table = append(table, entry{addresses{s}, c.Bits(), e.leg})
				}
			}
			continue
		}
		if s, v4 := prefixSpan(r.CIDR); v4 {
			table = append(table, entry{addresses{s}, r.CIDR.Bits(), e.leg})
		}
	}
	slices.SortStableFunc(table, func(a, b entry) int { return b.bits - a.bits })
	var out []leg
	add := func(l leg) {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	rest := to
	for _, e := range table {
		if rest.coverage(e.spans[0]) == no {
			continue
		}
		add(e.leg)
		rest = rest.without(e.spans[0])
	}
	if len(rest) > 0 {
		add(leg{})
	}
	return out
}

// publicPath follows a connection to the service's public addresses. Which
// those are is not known, so anything that treats parts of the internet
// differently is a doubt.
func (n *network) publicPath(h *fleet.Host, r *fleet.Region) path {
	w := n.walk(h, r)
	w.egress(n.public, nil, "the service's public addresses")
	w.aclPass(h.Subnet, true, ports{httpsPort, httpsPort}, n.public, "the internet")
	w.aclPass(h.Subnet, false, ephemeralPorts(h), n.public, "the internet")
	t := w.table(h)
	if t == nil {
		return w.path()
	}
	w.eachLeg(t, func(c *walk, l leg) { c.follow(t, l) })
	return w.path()
}

// eachLeg judges every part of the way to the internet that has a route of
// its own; the whole is a doubt where the parts differ.
func (w *walk) eachLeg(t *fleet.RouteTable, judge func(*walk, leg)) {
	var answers []answer
	var first *walk
	for _, l := range w.legs(t, w.public) {
		c := w.walk(w.h, w.r)
		judge(c, l)
		answers = append(answers, c.answer)
		if first == nil || first.answer == yes {
			first = c
		}
	}
	w.pass(agree(answers...), first.stop)
}

// follow judges one leg of the way to the internet from the host's subnet.
func (w *walk) follow(t *fleet.RouteTable, l leg) {
	kind, _, _ := strings.Cut(l.target, "-")
	switch {
	case l.target == "":
		w.pass(no, hopFrom(w.r.RouteTables, t.ID, "route table %s has no route to the internet", t.ID).fixedBy("%s", w.wayOut(t)))
	case l.blackhole:
		w.pass(no, hopFrom(w.r.RouteTables, t.ID, "route table %s sends internet traffic to %s, which is gone (blackhole)", t.ID, l.target).fixedBy("%s", w.wayOut(t)))
	case kind == "igw":
		w.internetGateway(l.target)
		if !w.h.PublicIP.IsValid() && !w.primaryPublic() {
			w.pass(no, hopFrom(w.r.RouteTables, t.ID, "route table %s leads to internet gateway %s, but the host has no public address", t.ID, l.target).fixedBy("%s", w.wayOut(t)))
		}
	case kind == "nat":
		w.natGateway(l.target)
	default:
		w.pass(maybe, hopFrom(w.r.RouteTables, t.ID, "route table %s sends internet traffic through %s, which is not followed", t.ID, l.target))
	}
}

// wayOut advises on a VPC whose route table leads nowhere. It is the same for
// all services, so that one dead end is one finding.
func (w *walk) wayOut(t *fleet.RouteTable) string {
	var missing []string
	for _, service := range sessionServices {
		if w.serviceEndpoint(t.VPC, w.r.Name, service) == nil {
			missing = append(missing, service)
		}
	}
	what := "interface endpoints"
	switch len(missing) {
	case 0:
		return fmt.Sprintf("add a route from %s to a NAT gateway", t.ID)
	case 1:
		what = "an interface endpoint"
	}
	return fmt.Sprintf("add %s for %s with private DNS to VPC %s, or a route from %s to a NAT gateway", what, strings.Join(missing, " and "), t.VPC, t.ID)
}

func (w *walk) primaryPublic() bool {
	for _, n := range w.h.Interfaces {
		if n.Index == 0 && n.PublicIP.IsValid() {
			return true
		}
	}
	return false
}

func (w *walk) internetGateway(id string) {
	g := w.gateways[id]
	switch {
	case g == nil:
		w.pass(maybe, hopFrom(w.r.Gateways, id, "internet gateway %s is not known%s", id, because(w.r.Gateways.Reason)))
	case g.State != "available" && g.State != "attached":
		w.pass(no, hopFrom(w.r.Gateways, id, "internet gateway %s is %q", id, g.State).fixedBy("attach internet gateway %s", id))
	}
}

// natGateway follows a connection through a NAT gateway in a subnet of the VPC.
func (w *walk) natGateway(id string) {
	g := w.nats[id]
	if g == nil {
		w.pass(maybe, hopFrom(w.r.NATGateways, id, "NAT gateway %s is not known%s", id, because(w.r.NATGateways.Reason)))
		return
	}
	if g.State != "available" {
		w.pass(no, hopFrom(w.r.NATGateways, id, "NAT gateway %s is %q", id, g.State).fixedBy("replace NAT gateway %s", id))
		return
	}
	if !g.Public {
		w.pass(maybe, hopFrom(w.r.NATGateways, id, "NAT gateway %s is private; the way beyond it is not followed", id))
		return
	}
	own := singleAddress(w.h.PrivateIP)
	if g.Subnet != w.h.Subnet {
		w.aclPass(g.Subnet, false, ports{httpsPort, httpsPort}, own, "the host")
		w.aclPass(g.Subnet, true, ephemeralPorts(w.h), own, "the host")
	}
	w.aclPass(g.Subnet, true, ports{httpsPort, httpsPort}, w.public, "the internet")
	w.aclPass(g.Subnet, false, natPorts, w.public, "the internet")
	t := w.tableFor(g.Subnet, w.h.VPC)
	if t == nil {
		return
	}
	w.eachLeg(t, func(c *walk, l leg) {
		switch {
		case strings.HasPrefix(l.target, "igw-") && !l.blackhole:
			c.internetGateway(l.target)
		case l.target == "" || l.blackhole:
			c.pass(no, hopFrom(w.r.RouteTables, t.ID, "NAT gateway %s is in subnet %s, whose route table %s has no way to the internet", id, g.Subnet, t.ID).
				fixedBy("put NAT gateway %s into a subnet with a route to an internet gateway", id))
		default:
			c.pass(maybe, hopFrom(w.r.RouteTables, t.ID, "route table %s of NAT gateway %s leads to %s, which is not followed", t.ID, id, l.target))
		}
	})
}
