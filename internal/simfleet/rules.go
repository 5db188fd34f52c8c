package simfleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

func find[T any](in []*T, is func(*T) bool) *T {
	for _, x := range in {
		if is(x) {
			return x
		}
	}
	return nil
}

// groupsAllow reports whether any of the groups lets a new TCP connection to or
// from the peer pass. Replies need no rule: groups are stateful.
func (rg *Region) groupsAllow(ids []string, egress bool, port int, peer netip.Addr, peerGroups []string) bool {
	for _, id := range ids {
		g := find(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id })
		if g == nil {
			continue
		}
		rules := g.Ingress
		if egress {
			rules = g.Egress
		}
		for _, r := range rules {
			if rg.permissionAllows(r, port, peer, peerGroups) {
				return true
			}
		}
	}
	return false
}

func (rg *Region) permissionAllows(r fleet.Permission, port int, peer netip.Addr, peerGroups []string) bool {
	switch r.Protocol {
	case "-1":
	case "tcp", "6":
		if r.From != -1 && (port < r.From || port > r.To) {
			return false
		}
	default:
		return false
	}
	if contains(r.CIDRs, peer) {
		return true
	}
	for _, id := range r.PrefixLists {
		if rg.listContains(id, peer) {
			return true
		}
	}
	return slices.ContainsFunc(r.Groups, func(id string) bool { return slices.Contains(peerGroups, id) })
}

func contains(in []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (rg *Region) listContains(id string, a netip.Addr) bool {
	l := find(rg.PrefixLists, func(l *fleet.PrefixList) bool { return l.ID == id })
	return l != nil && contains(l.CIDRs, a)
}

// The ports from which Linux opens connections; a stateless ACL has to let the
// replies to all of them pass.
const firstEphemeral, lastEphemeral = 32768, 60999

// aclsAllow gives what in the subnet's network ACL stops a TCP connection
// between the subnet and a peer, opened outward or inward, or the replies to it.
func (rg *Region) aclsAllow(subnet string, outward bool, port int, peer netip.Addr) string {
	acl := rg.aclOf(subnet)
	if acl == nil {
		return ""
	}
	if !aclAllows(acl, outward, port, peer) {
		return fmt.Sprintf("network ACL %s denies port %d %s %s", acl.ID, port, towards(outward), peer)
	}
	if !aclAllows(acl, !outward, firstEphemeral, peer) || !aclAllows(acl, !outward, lastEphemeral, peer) {
		return fmt.Sprintf("network ACL %s denies the replies %s %s", acl.ID, towards(!outward), peer)
	}
	return ""
}

func towards(outward bool) string {
	if outward {
		return "to"
	}
	return "from"
}

func (rg *Region) aclOf(subnet string) *fleet.NetworkACL {
	if acl := find(rg.NetworkACLs, func(a *fleet.NetworkACL) bool { return slices.Contains(a.Subnets, subnet) }); acl != nil {
		return acl
	}
	s := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == subnet })
	return find(rg.NetworkACLs, func(a *fleet.NetworkACL) bool { return s != nil && a.VPC == s.VPC && a.Default })
}

func aclAllows(acl *fleet.NetworkACL, egress bool, port int, peer netip.Addr) bool {
	var decides *fleet.ACLEntry
	for i := range acl.Entries {
		e := &acl.Entries[i]
		if e.Egress != egress || e.Protocol != "-1" && e.Protocol != "6" || !e.CIDR.Contains(peer) {
			continue
		}
		allPorts := e.Protocol == "-1" || e.From == 0 && e.To == 0
		if !allPorts && (port < e.From || port > e.To) {
			continue
		}
		if decides == nil || e.Number < decides.Number {
			decides = e
		}
	}
	return decides != nil && decides.Allow
}

// route gives the most specific route from a subnet to an address.
func (rg *Region) route(vpc, subnet string, dst netip.Addr) *fleet.Route {
	table := find(rg.RouteTables, func(t *fleet.RouteTable) bool { return slices.Contains(t.Subnets, subnet) })
	if table == nil {
		table = find(rg.RouteTables, func(t *fleet.RouteTable) bool { return t.VPC == vpc && t.Main })
	}
	if table == nil {
		return nil
	}
	var best *fleet.Route
	bits := -1
	for i := range table.Routes {
		r := &table.Routes[i]
		if n := rg.matchLength(r, dst); n > bits {
			best, bits = r, n
		}
	}
	return best
}

// matchLength is the length of the route's longest prefix that holds dst, or -1.
func (rg *Region) matchLength(r *fleet.Route, dst netip.Addr) int {
	prefixes := []netip.Prefix{r.CIDR}
	if r.PrefixList != "" {
		l := find(rg.PrefixLists, func(l *fleet.PrefixList) bool { return l.ID == r.PrefixList })
		if l == nil {
			return -1
		}
		prefixes = l.CIDRs
	}
	matching := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !p.IsValid() || !p.Contains(dst) })
	if len(matching) == 0 {
		return -1
	}
	return slices.MaxFunc(matching, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) }).Bits()
}
