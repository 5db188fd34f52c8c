package simfleet

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// outway is how the hosts of a network that a cause made get to AWS.
type outway string

// The ways.
const (
	asItWas     outway = "as it was"
	byEndpoints outway = "by endpoints only"
	byNAT       outway = "by NAT only"
	noWay       outway = "not at all"
)

// network is a VPC in which one instance is alone.
type network struct {
	w   *World
	rg  *Region
	in  *Instance
	vpc *fleet.VPC
}

// ownNetwork gives an instance a copy of its VPC, in which it has the same
// address as before, and the way that a cause asks for. Other causes may have
// given it one already; they fit together when they want the same way.
func (w *World) ownNetwork(in *Instance, want outway) (*network, error) {
	if have := w.ways[in]; have != "" && have != asItWas && want != asItWas && have != want {
		return nil, notHere("the instance's network leads out %s, and the cause needs one that does %s", have, want)
	}
	n := &network{w: w, rg: in.Region, in: in}
	if w.ways[in] == "" {
		reached := w.EgressTo(in, "ssmmessages").TLS
		w.alone(in)
		n.copyVPC()
		// A way by peering is not copied.
		if want == asItWas && reached && !w.EgressTo(in, "ssmmessages").TLS {
			want = byEndpoints
		}
	}
	n.vpc = find(n.rg.VPCs, func(v *fleet.VPC) bool { return v.ID == in.Host.VPC })
	if w.ways == nil {
		w.ways = map[*Instance]outway{}
	}
	if have := w.ways[in]; have == "" || have == asItWas {
		w.ways[in] = want
		n.lead(want)
	}
	n.letOperatorIn()
	return n, nil
}

// alone takes an instance out of an Auto Scaling group that has others.
func (w *World) alone(in *Instance) {
	name := in.Host.AutoScalingGroup
	g := find(in.Region.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == name })
	if g == nil || len(g.Instances) == 1 {
		return
	}
	g.Instances = slices.DeleteFunc(slices.Clone(g.Instances), func(id string) bool { return id == in.Host.ID })
	g.Desired--
	g.Min = min(g.Min, g.Desired)
	in.Host.AutoScalingGroup, in.Host.LaunchTemplate = "", fleet.LaunchTemplateRef{}
	in.Host.Tags = maps.Clone(in.Host.Tags)
	maps.DeleteFunc(in.Host.Tags, func(key, _ string) bool { return strings.HasPrefix(key, "aws:") })
}

// derived makes an ID of the kind of old that is the instance's own.
func derived(in *Instance, old string) string {
	kind, _, _ := strings.Cut(old, "-")
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, in.Host.ID, " ", old)
	return fmt.Sprintf("%s-0%016x", kind, h.Sum64())
}

// copyVPC copies the instance's VPC with all that is in it but other
// instances, and moves the instance there.
func (n *network) copyVPC() {
	rg, in, old := n.rg, n.in, n.in.Host.VPC
	ids := map[string]string{}
	id := func(s string) string {
		if _, ok := ids[s]; !ok {
			ids[s] = derived(in, s)
		}
		return ids[s]
	}
	mapped := func(list []string) []string {
		var out []string
		for _, s := range list {
			out = append(out, id(s))
		}
		return out
	}
	ofVPC := func(vpc string) bool { return vpc == old }
	vpc := *find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == old })
	vpc.ID, vpc.Tags = id(old), map[string]string{"Name": vpc.Tags["Name"] + "-" + in.Host.Name()}
	rg.VPCs = append(rg.VPCs, &vpc)
	for _, s := range rg.Subnets {
		if c := *s; ofVPC(s.VPC) {
			c.ID, c.VPC = id(s.ID), vpc.ID
			rg.Subnets = append(rg.Subnets, &c)
		}
	}
	for _, g := range rg.Groups {
		if c := *g; ofVPC(g.VPC) {
			c.ID, c.VPC = id(g.ID), vpc.ID
			rg.Groups = append(rg.Groups, &c)
		}
	}
	for _, g := range rg.Groups {
		if g.VPC == vpc.ID {
			g.Ingress, g.Egress = n.permissions(g.Ingress, ids), n.permissions(g.Egress, ids)
		}
	}
	for _, a := range rg.NetworkACLs {
		if c := *a; ofVPC(a.VPC) {
			c.ID, c.VPC, c.Subnets, c.Entries = id(a.ID), vpc.ID, mapped(a.Subnets), slices.Clone(a.Entries)
			rg.NetworkACLs = append(rg.NetworkACLs, &c)
		}
	}
	n.copyWays(old, vpc.ID, id, mapped)
	h := &in.Host
	h.VPC, h.Subnet, h.Groups = vpc.ID, id(h.Subnet), mapped(h.Groups)
	h.Interfaces = slices.Clone(h.Interfaces)
	for i := range h.Interfaces {
		h.Interfaces[i].Subnet, h.Interfaces[i].Groups = id(h.Interfaces[i].Subnet), mapped(h.Interfaces[i].Groups)
	}
	if g := find(rg.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == h.AutoScalingGroup }); g != nil {
		g.Subnets = mapped(g.Subnets)
		n.templateOf(g, mapped)
	}
}

// templateOf gives the instance's own Auto Scaling group a launch template of
// its own, which starts instances into the copied VPC.
func (n *network) templateOf(g *fleet.ScalingGroup, mapped func([]string) []string) {
	old := find(n.rg.Templates, func(t *fleet.LaunchTemplate) bool { return t.ID != "" && t.ID == g.Template.ID })
	if old == nil {
		return
	}
	t := *old
	t.ID, t.Name, t.Versions = derived(n.in, old.ID), old.Name+"-own", slices.Clone(old.Versions)
	for i := range t.Versions {
		t.Versions[i].Groups = mapped(t.Versions[i].Groups)
	}
	n.rg.Templates = append(n.rg.Templates, &t)
	h := &n.in.Host
	g.Template.ID, h.LaunchTemplate.ID = t.ID, t.ID
	if h.Tags["aws:ec2launchtemplate:id"] != "" {
		h.Tags = maps.Clone(h.Tags)
		h.Tags["aws:ec2launchtemplate:id"] = t.ID
	}
}

// permissions copies rules; references to copied groups follow.
func (n *network) permissions(rules []fleet.Permission, ids map[string]string) []fleet.Permission {
	out := slices.Clone(rules)
	for i := range out {
		var groups []string
		for _, g := range out[i].Groups {
			if own, ok := ids[g]; ok {
				g = own
			}
			groups = append(groups, g)
		}
		out[i].Groups = groups
	}
	return out
}

// copyWays copies what leads out of a VPC: gateways, endpoints, routes, zones.
func (n *network) copyWays(old, vpc string, id func(string) string, mapped func([]string) []string) {
	rg := n.rg
	for _, g := range rg.Gateways {
		if c := *g; slices.Contains(g.VPCs, old) {
			c.ID, c.VPCs = id(g.ID), []string{vpc}
			rg.Gateways = append(rg.Gateways, &c)
		}
	}
	for _, g := range rg.NATGateways {
		if c := *g; slices.Contains(g.VPCs, old) {
			c.ID, c.VPCs, c.Subnet = id(g.ID), []string{vpc}, id(g.Subnet)
			rg.NATGateways = append(rg.NATGateways, &c)
		}
	}
	for _, e := range rg.Endpoints {
		if c := *e; e.VPC == old {
			c.ID, c.VPC, c.Subnets, c.Groups, c.RouteTables = id(e.ID), vpc, mapped(e.Subnets), mapped(e.Groups), mapped(e.RouteTables)
			c.DNSNames = nil
			for _, name := range e.DNSNames {
				c.DNSNames = append(c.DNSNames, strings.Replace(name, e.ID, c.ID, 1))
			}
			rg.Endpoints = append(rg.Endpoints, &c)
		}
	}
	for _, e := range rg.ENIs {
		if c := *e; e.VPC == old {
			c.ID, c.VPC, c.Subnet, c.Groups, c.Owner = id(e.ID), vpc, id(e.Subnet), mapped(e.Groups), id(e.Owner)
			if c.PublicIP.IsValid() {
				c.PublicIP = n.freePublic()
			}
			rg.ENIs = append(rg.ENIs, &c)
		}
	}
	for _, t := range rg.RouteTables {
		if c := *t; t.VPC == old {
			c.ID, c.VPC, c.Subnets, c.Routes = id(t.ID), vpc, mapped(t.Subnets), n.routes(t.Routes, id)
			rg.RouteTables = append(rg.RouteTables, &c)
		}
	}
	if by, ok := rg.Inspected[old]; ok {
		rg.Inspected[vpc] = by
	}
	if proxy, ok := rg.Proxies[old]; ok {
		rg.Proxies[vpc] = proxy
	}
	for _, z := range rg.Account.Zones {
		if slices.Contains(z.VPCs, old) {
			z.VPCs = append(slices.Clone(z.VPCs), vpc)
		}
	}
	for _, r := range rg.Rules {
		if slices.Contains(r.VPCs, old) {
			r.VPCs = append(slices.Clone(r.VPCs), vpc)
		}
	}
}

// routes copies routes; what they lead to follows, and a transit gateway stays
// the same. Peering connections are not copied, nor are routes to them.
func (n *network) routes(routes []fleet.Route, id func(string) string) []fleet.Route {
	var out []fleet.Route
	for _, r := range routes {
		switch kind, _, _ := strings.Cut(r.Target, "-"); kind {
		case "pcx":
			continue
		case "igw", "nat", "vpce", "vgw":
			was := r.Target
			r.Target = id(was)
			if dropped, ok := n.rg.Dropped[was]; ok {
				n.rg.Dropped[r.Target] = dropped
			}
		}
		out = append(out, r)
	}
	return out
}

// freePublic gives an address of the internet that nobody in the world has.
func (n *network) freePublic() netip.Addr {
	used := map[netip.Addr]bool{}
	for in := range n.w.Instances() {
		used[in.Host.PublicIP] = true
	}
	for _, a := range n.w.Accounts {
		for _, rg := range a.Regions {
			for _, e := range rg.ENIs {
				used[e.PublicIP] = true
			}
		}
	}
	for i := 100_000; ; i++ {
		if a := addressAt(publicNet, i); !used[a] {
			return a
		}
	}
}

// freeAddress gives an address of a subnet that nobody in the VPC has.
func (n *network) freeAddress(s *fleet.Subnet) netip.Addr {
	used := map[netip.Addr]bool{n.in.Host.PrivateIP: true}
	for _, e := range n.rg.ENIs {
		if e.VPC == s.VPC {
			used[e.PrivateIP] = true
		}
	}
	for _, in := range n.rg.Instances {
		if in.Host.VPC == s.VPC {
			used[in.Host.PrivateIP] = true
		}
	}
	for i := 1<<(32-s.CIDR.Bits()) - 20; ; i-- {
		if a := addressAt(s.CIDR, i); !used[a] {
			return a
		}
	}
}

// letOperatorIn gives the office a way to port 22 by VPN where the instance has
// lost the one that it had.
func (n *network) letOperatorIn() {
	if n.w.OperatorReaches(n.in) {
		return
	}
	gateway := derived(n.in, "vgw-office")
	t := n.table()
	if !slices.ContainsFunc(t.Routes, func(r fleet.Route) bool { return r.CIDR == officeNet }) {
		t.Routes = append(t.Routes, fleet.Route{CIDR: officeNet, Target: gateway, State: "active"})
	}
	letOfficeIn(n.group())
	if acl := n.rg.aclOf(n.in.Host.Subnet); acl != nil && n.rg.aclsAllow(n.in.Host.Subnet, false, 22, OperatorAddr) != "" {
		acl.Entries = append(acl.Entries,
			fleet.ACLEntry{Number: 2, Allow: true, Protocol: "-1", CIDR: officeNet}, fleet.ACLEntry{Number: 2, Egress: true, Allow: true, Protocol: "-1", CIDR: officeNet})
	}
}
