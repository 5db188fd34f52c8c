package simfleet

import (
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

// onNetwork is an injection into a network of the instance's own.
func onNetwork(want outway, change func(n *network)) func(*World, *Instance) error {
	return func(w *World, in *Instance) error {
		in.seen(w)
		n, err := w.ownNetwork(in, want)
		if err != nil {
			return err
		}
		change(n)
		return nil
	}
}

// elsewhere is a rule for port 443 that lets none of the instance's addresses in.
var elsewhere = fleet.Permission{Protocol: "tcp", From: 443, To: 443, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.255.255.0/28")}}

func networkCauses() []Cause {
	return []Cause{
		{Number: 1, Name: "endpoint-missing", Text: "the VPC has no ssmmessages endpoint, and no other way out", Breaks: true,
			Inject: onNetwork(byEndpoints, func(n *network) { n.removeEndpoint("ssmmessages") })},
		{Number: 2, Name: "private-dns-off", Text: "ssm resolves to its endpoint, ssmmessages to public addresses that nothing leads to", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				if n := in.Region.endpointOf(in.Host.VPC, "ssmmessages"); w.ways[in] == byEndpoints && n == nil {
					return notHere("the endpoint is not there")
				}
				return onNetwork(byEndpoints, func(n *network) { n.endpoint("ssmmessages").PrivateDNS = false })(w, in)
			}},
		{Number: 3, Name: "endpoint-group-closed", Text: "the endpoints' security group lets nothing of the host's subnet in", Breaks: true,
			Inject: onNetwork(byEndpoints, func(n *network) {
				var all []*fleet.VPCEndpoint
				for _, e := range n.rg.Endpoints {
					if e.VPC == n.in.Host.VPC && e.Type == "Interface" {
						all = append(all, e)
					}
				}
				n.ownGroup(all, elsewhere)
			})},
		{Number: 4, Name: "endpoint-breaks-neighbours", Text: "a new endpoint with private DNS answers for hosts that its group does not let in", Breaks: true,
			Inject: onNetwork(byNAT, func(n *network) {
				n.vpc.DNSSupport.Value, n.vpc.DNSHostnames.Value = true, true
				n.ownGroup([]*fleet.VPCEndpoint{n.addEndpoint("ssmmessages", n.in.Host.Groups[0])}, elsewhere)
			})},
		{Number: 5, Name: "dns-domain-taken", Text: "a private hosted zone has the name of the endpoint that is missing", Breaks: true,
			Inject: onNetwork(byEndpoints, func(n *network) {
				n.removeEndpoint("ssmmessages")
				name := "ssmmessages." + n.rg.Name + "." + fleet.DNSSuffix(n.rg.Name)
				n.rg.Account.Zones = append(n.rg.Account.Zones, &fleet.HostedZone{ID: "Z" + derived(n.in, "zone")[5:], Name: name, VPCs: []string{n.in.Host.VPC},
					Records: []fleet.DNSRecord{{Name: name, Type: "A", Values: []string{"10.255.255.7"}}}})
			})},
		{Number: 6, Name: "vpc-dns-off", Text: "DNS resolution is off in the VPC", Breaks: true,
			Inject: onNetwork(asItWas, func(n *network) { n.vpc.DNSSupport.Value = false })},
		{Number: 6, Name: "acl-drops-replies", Text: "the subnet's network ACL lets no replies in", Breaks: true,
			Inject: onNetwork(byNAT, func(n *network) {
				n.ownACL(fleet.ACLEntry{Number: 1, Protocol: "6", CIDR: serviceNet, From: 1024, To: 65535})
			})},
		{Number: 7, Name: "endpoint-policy", Text: "the endpoint's policy leaves actions of the agent out", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				if w.ways[in] == byEndpoints && in.Region.endpointOf(in.Host.VPC, "ssmmessages") == nil {
					return notHere("the endpoint is not there")
				}
				return onNetwork(byEndpoints, func(n *network) {
					n.endpoint("ssmmessages").Policy = document(statement{Effect: "Allow", Principal: "*", Action: []string{"ssmmessages:Create*"}, Resource: "*"})
				})(w, in)
			}},
		{Number: 8, Name: "firewall-drops-ssm", Text: "the route leads through a firewall that drops connections to ssmmessages", Breaks: true,
			Inject: onNetwork(byNAT, (*network).insertFirewall)},
		{Number: 9, Name: "tls-inspection", Text: "a firewall answers for AWS with certificates of its own", Breaks: true,
			Inject: onNetwork(byNAT, func(n *network) { put(&n.rg.Inspected, n.in.Host.VPC, "CN=Corp TLS Inspection CA,O=Corp") })},
		{Number: 10, Name: "proxy-missing", Text: "the VPC leads out by a proxy only, and the agent's unit names none", Breaks: true,
			Inject: proxyMissing},
		{Number: 10, Name: "proxy-answers-metadata", Text: "the unit's proxy answers for the metadata service, which no_proxy leaves out", Breaks: true,
			Inject: proxyAnswersMetadata},
		{Number: 11, Name: "ipv6-only", Text: "the host has IPv6 only, and the agent asks for IPv4 endpoints", Breaks: true,
			Inject: onNetwork(byNAT, (*network).ipv6Only)},
		{Number: 12, Name: "nat-swapped", Text: "the NAT gateway was replaced: the agent is Online, and its control channel dead", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Agent.Stale = true })},
	}
}

// ipv6Only takes IPv4 from the instance and its subnet.
func (n *network) ipv6Only() {
	h := &n.in.Host
	s := find(n.rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == h.Subnet })
	if !h.PrivateIP.IsValid() {
		return
	}
	block := netip.MustParsePrefix("2001:db8:1234:1a00::/56") // RFC 3849
	if !slices.Contains(n.vpc.CIDRs, block) {
		n.vpc.CIDRs = append(slices.Clone(n.vpc.CIDRs), block)
	}
	subnet := netip.PrefixFrom(block.Addr(), 64)
	s.CIDR, s.IPv6 = netip.Prefix{}, []netip.Prefix{subnet}
	address := subnet.Addr().Next().Next().Next().Next()
	h.PrivateIP, h.PublicIP = netip.Addr{}, netip.Addr{}
	h.PrivateDNS = h.ID + "." + n.rg.Name + ".compute.internal"
	for i := range h.Interfaces {
		h.Interfaces[i].PrivateIP, h.Interfaces[i].PublicIP = netip.Addr{}, netip.Addr{}
		if i == 0 {
			h.Interfaces[i].IPv6 = []netip.Addr{address}
		}
	}
}

// put sets a value of a map that may not be there yet.
func put(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

// ownACL gives the instance's subnet a network ACL of its own: the one that it
// had, and one more entry.
func (n *network) ownACL(more fleet.ACLEntry) {
	subnet := n.in.Host.Subnet
	old := n.rg.aclOf(subnet)
	own := *old
	own.ID, own.Default, own.Subnets, own.Entries = derived(n.in, "acl-own"), false, []string{subnet}, append(slices.Clone(old.Entries), more)
	if old.ID == own.ID {
		old.Entries = own.Entries
		return
	}
	old.Subnets = slices.DeleteFunc(slices.Clone(old.Subnets), func(s string) bool { return s == subnet })
	n.rg.NetworkACLs = append(n.rg.NetworkACLs, &own)
}

// insertFirewall puts a Gateway Load Balancer endpoint before the way out.
func (n *network) insertFirewall() {
	id := derived(n.in, "vpce-firewall")
	t := n.table()
	t.Routes = slices.Clone(t.Routes)
	for i := range t.Routes {
		if t.Routes[i].CIDR == anywhere {
			t.Routes[i].Target = id
		}
	}
	n.rg.Endpoints = append(n.rg.Endpoints, &fleet.VPCEndpoint{ID: id, VPC: n.in.Host.VPC, Type: "GatewayLoadBalancer", State: "available",
		Service: "com.amazonaws.vpce." + n.rg.Name + ".vpce-svc-0a1b2c3d4e5f60718", Subnets: []string{n.in.Host.Subnet}})
	if n.rg.Dropped == nil {
		n.rg.Dropped = map[string][]string{}
	}
	n.rg.Dropped[id] = []string{"ssmmessages"}
}
