package simfleet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"ssm-migrate/internal/fleet"
)

// The world's addresses outside of its VPCs come from ranges that are reserved
// for documentation and tests, so that a client which misses the simulation
// reaches nobody (RFC 5737, RFC 2544).
var (
	officeNet  = netip.MustParsePrefix("203.0.113.0/24")
	homesNet   = netip.MustParsePrefix("198.51.100.0/24")
	publicNet  = netip.MustParsePrefix("198.18.0.0/15") // Elastic and auto-assigned addresses
	serviceNet = netip.MustParsePrefix("192.0.2.0/24")  // AWS's public endpoints
	anywhere   = netip.MustParsePrefix("0.0.0.0/0")

	// OperatorAddr is the address in the office from which the operator works.
	OperatorAddr = netip.MustParseAddr("203.0.113.10")
)

// vpcKind says how the hosts of a VPC get, or do not get, to Systems Manager.
type vpcKind string

const (
	viaEndpoints   vpcKind = "endpoints"    // private; the three interface endpoints
	viaNAT         vpcKind = "nat"          // private; a NAT gateway
	isPublic       vpcKind = "public"       // public subnets only
	isIsolated     vpcKind = "isolated"     // no way out at all
	halfEndpoints  vpcKind = "half"         // ssm has an endpoint, ssmmessages has not
	closedGroup    vpcKind = "closed-group" // the endpoints' group lets in one subnet only
	brokenACL      vpcKind = "acl"          // NAT, but the network ACL drops the replies
	hostnamesOff   vpcKind = "dns"          // endpoints whose private names do not resolve
	customDNS      vpcKind = "custom-dns"   // NAT, own name servers, one AZ with a dead route
	inspectedByTLS vpcKind = "inspected"    // NAT behind a TLS-inspecting firewall
	viaPeering     vpcKind = "peering"      // private; a peered VPC's endpoints by private hosted zones
)

type vpcSpec struct {
	name   string
	kind   vpcKind
	weight int
}

// vpcSpecs gives the VPCs of a Region by its place among the account's Regions.
func vpcSpecs(index int) []vpcSpec {
	switch index {
	case 0:
		return []vpcSpec{{"prod", viaEndpoints, 33}, {"apps", viaNAT, 27}, {"legacy", isPublic, 14}, {"data", halfEndpoints, 9}, {"payments", closedGroup, 10}, {"vault", isIsolated, 7}}
	case 1:
		return []vpcSpec{{"prod", viaEndpoints, 34}, {"apps", viaNAT, 28}, {"batch", brokenACL, 12}, {"reports", hostnamesOff, 9}, {"partners", customDNS, 9}, {"dmz", inspectedByTLS, 8}}
	}
	return []vpcSpec{{"prod", viaEndpoints, 55}, {"apps", viaNAT, 45}}
}

type regionBuilder struct {
	*generator
	*Region
	rand *rand.Rand
	vpcs []*vpcBuilder
}

type vpcBuilder struct {
	spec            vpcSpec
	vpc             *fleet.VPC
	cidr            netip.Prefix
	public, private []*fleet.Subnet
	groups          map[string]string // name to ID
	hosts           map[string]int    // by subnet: addresses given out
	bastion, ci     netip.Addr        // where logins come from; zero: there is none
}

func (b *regionBuilder) network(index int) {
	amazon := &fleet.DHCPOptions{ID: b.id(b.rand, "dopt"), Servers: []string{"AmazonProvidedDNS"}}
	own := &fleet.DHCPOptions{ID: b.id(b.rand, "dopt"), Servers: []string{"10.1.0.53", "10.2.0.53"}}
	b.DHCPOptions = append(b.DHCPOptions, amazon, own)
	b.prefixLists()
	specs := vpcSpecs(index)
	if b.healthy {
		specs = healthyVPCs
	}
	for _, spec := range specs {
		v := &vpcBuilder{spec: spec, cidr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b.nextOctet(), 0, 0}), 16), groups: map[string]string{}, hosts: map[string]int{}}
		v.vpc = &fleet.VPC{
			ID: b.id(b.rand, "vpc"), Tags: map[string]string{"Name": spec.name}, CIDRs: []netip.Prefix{v.cidr}, DHCPOptions: amazon.ID,
			DNSSupport:   fleet.Known(true, "", b.base),
			DNSHostnames: fleet.Known(spec.kind != hostnamesOff, "", b.base),
		}
		if spec.kind == customDNS {
			v.vpc.DHCPOptions = own.ID
		}
		b.vpcs = append(b.vpcs, v)
		b.VPCs = append(b.VPCs, v.vpc)
		b.subnets(v)
		b.securityGroups(v)
		b.routes(v)
		b.acls(v)
		b.endpoints(v)
		if spec.kind == inspectedByTLS {
			b.Inspected[v.vpc.ID] = "CN=Corp TLS Inspection CA,O=Corp"
		}
	}
	b.joinVPCs()
}

// joinVPCs peers VPCs: those of the healthy world that share endpoints; in the
// ordinary one the first two, for their databases.
func (b *regionBuilder) joinVPCs() {
	if !b.healthy {
		b.peering(b.vpcs[0], b.vpcs[1])
		b.Account.Zones = append(b.Account.Zones, &fleet.HostedZone{ID: "Z" + strings.ToUpper(randomHex(b.rng("zone", b.Account.ID, b.Name), 9)), Name: b.Name + ".corp.internal",
			VPCs: []string{b.vpcs[0].vpc.ID, b.vpcs[1].vpc.ID}, Records: []fleet.DNSRecord{{Name: "db." + b.Name + ".corp.internal", Type: "A", Values: []string{addressAt(b.vpcs[0].private[0].CIDR, 500).String()}}}})
		b.Rules = append(b.Rules, &fleet.ResolverRule{ID: "rslvr-rr-" + randomHex(b.rng("rule", b.Account.ID, b.Name), 8), Domain: "corp.example", Type: "FORWARD",
			VPCs: []string{b.vpcs[0].vpc.ID}, Targets: []string{"10.1.0.53", "10.2.0.53"}})
		return
	}
	var hub *vpcBuilder
	for _, v := range b.vpcs {
		switch v.spec.kind {
		case viaEndpoints:
			hub = v
		case viaPeering:
			b.shareEndpoints(hub, v)
		}
	}
}

// peering joins two VPCs with routes both ways.
func (b *regionBuilder) peering(from, to *vpcBuilder) {
	end := func(v *vpcBuilder) fleet.PeeringEnd {
		return fleet.PeeringEnd{VPC: v.vpc.ID, Account: b.Account.ID, Region: b.Name, CIDRs: []netip.Prefix{v.cidr}}
	}
	p := &fleet.Peering{ID: b.id(b.rng("peering", from.vpc.ID), "pcx"), State: "active", Requester: end(from), Accepter: end(to)}
	b.Peerings = append(b.Peerings, p)
	for _, t := range b.RouteTables {
		switch {
		case t.Main:
		case t.VPC == from.vpc.ID:
			t.Routes = append(t.Routes, fleet.Route{CIDR: to.cidr, Target: p.ID, State: "active"})
		case t.VPC == to.vpc.ID:
			t.Routes = append(t.Routes, fleet.Route{CIDR: from.cidr, Target: p.ID, State: "active"})
		}
	}
}

func (b *regionBuilder) prefixLists() {
	var s3 []netip.Prefix
	for _, a := range PublicAddresses("s3", b.Name) {
		s3 = append(s3, netip.PrefixFrom(a, 32))
	}
	b.PrefixLists = append(b.PrefixLists,
		&fleet.PrefixList{ID: "pl-" + randomHex(b.rand, 4), Name: "com.amazonaws." + b.Name + ".s3", CIDRs: s3},
		&fleet.PrefixList{ID: b.id(b.rand, "pl"), Name: "corp-offices", CIDRs: []netip.Prefix{officeNet, netip.MustParsePrefix("198.51.100.0/25")}})
}

func (b *regionBuilder) subnets(v *vpcBuilder) {
	add := func(kind string, i, third, bits int) *fleet.Subnet {
		octets := v.cidr.Addr().As4()
		octets[2] = byte(third)
		s := &fleet.Subnet{
			ID: b.id(b.rand, "subnet"), VPC: v.vpc.ID, AZ: b.Name + string(rune('a'+i)), CIDR: netip.PrefixFrom(netip.AddrFrom4(octets), bits),
			Tags: map[string]string{"Name": fmt.Sprintf("%s-%s-%c", v.spec.name, kind, 'a'+i)},
		}
		b.Subnets = append(b.Subnets, s)
		return s
	}
	for i := range 3 {
		if v.spec.kind != isIsolated {
			v.public = append(v.public, add("public", i, i*16, 20))
		}
		if v.spec.kind != isPublic {
			v.private = append(v.private, add("private", i, 64+i*32, 19))
		}
	}
}

// nextAddr gives the next free address of a subnet; AWS keeps the first four.
func (v *vpcBuilder) nextAddr(s *fleet.Subnet) netip.Addr {
	v.hosts[s.ID]++
	return addressAt(s.CIDR, 3+v.hosts[s.ID])
}

// nextPublic gives the next address of the internet to the world.
func (g *generator) nextPublic() netip.Addr {
	g.publics++
	return addressAt(publicNet, g.publics)
}

// nextOctet gives each VPC a 10.x.0.0/16 of its own, as long as there are any.
func (g *generator) nextOctet() byte {
	g.octets++
	return byte(15 + g.octets)
}

func (b *regionBuilder) routes(v *vpcBuilder) {
	table := func(subnets []*fleet.Subnet, main bool, extra ...fleet.Route) {
		t := &fleet.RouteTable{ID: b.id(b.rand, "rtb"), VPC: v.vpc.ID, Main: main,
			Routes: append([]fleet.Route{{CIDR: v.cidr, Target: "local", State: "active"}}, extra...)}
		for _, s := range subnets {
			t.Subnets = append(t.Subnets, s.ID)
		}
		b.RouteTables = append(b.RouteTables, t)
	}
	table(nil, true)
	if len(v.public) > 0 {
		igw := &fleet.Gateway{ID: b.id(b.rand, "igw"), VPCs: []string{v.vpc.ID}, State: "available", Public: true}
		b.Gateways = append(b.Gateways, igw)
		table(v.public, false, fleet.Route{CIDR: anywhere, Target: igw.ID, State: "active"})
	}
	switch v.spec.kind {
	case viaNAT, brokenACL, customDNS, inspectedByTLS:
		nat := b.nat(v)
		out := fleet.Route{CIDR: anywhere, Target: nat, State: "active"}
		if v.spec.kind != customDNS {
			table(v.private, false, out)
			return
		}
		table(v.private[:2], false, out)
		table(v.private[2:], false, fleet.Route{CIDR: anywhere, Target: b.id(b.rand, "nat"), State: "blackhole"})
	case isPublic:
	default:
		table(v.private, false)
	}
}

func (b *regionBuilder) nat(v *vpcBuilder) string {
	n := &fleet.Gateway{ID: b.id(b.rand, "nat"), VPCs: []string{v.vpc.ID}, Subnet: v.public[0].ID, State: "available", Public: true}
	b.NATGateways = append(b.NATGateways, n)
	b.ENIs = append(b.ENIs, &ENI{ID: b.id(b.rand, "eni"), VPC: v.vpc.ID, Subnet: n.Subnet, PrivateIP: v.nextAddr(v.public[0]), PublicIP: b.nextPublic(), Owner: n.ID})
	return n.ID
}

func (b *regionBuilder) acls(v *vpcBuilder) {
	everything := func(egress bool, from netip.Prefix) fleet.ACLEntry {
		return fleet.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: "-1", CIDR: from}
	}
	last := func(egress bool) fleet.ACLEntry {
		return fleet.ACLEntry{Number: 32767, Egress: egress, Protocol: "-1", CIDR: anywhere}
	}
	def := &fleet.NetworkACL{ID: b.id(b.rand, "acl"), VPC: v.vpc.ID, Default: true,
		Entries: []fleet.ACLEntry{everything(false, anywhere), last(false), everything(true, anywhere), last(true)}}
	b.NetworkACLs = append(b.NetworkACLs, def)
	private := def
	if v.spec.kind == brokenACL {
		// Stateless, and nothing lets the internet's replies to high ports in.
		private = &fleet.NetworkACL{ID: b.id(b.rand, "acl"), VPC: v.vpc.ID,
			Entries: []fleet.ACLEntry{everything(false, v.cidr), last(false), everything(true, anywhere), last(true)}}
		b.NetworkACLs = append(b.NetworkACLs, private)
	}
	for _, s := range v.public {
		def.Subnets = append(def.Subnets, s.ID)
	}
	for _, s := range v.private {
		private.Subnets = append(private.Subnets, s.ID)
	}
}

func (b *regionBuilder) endpoints(v *vpcBuilder) {
	services := fleet.Services[:]
	switch v.spec.kind {
	case viaEndpoints, closedGroup, hostnamesOff:
	case halfEndpoints:
		services = services[:1]
	case viaPeering:
		services = nil
	default:
		return
	}
	if b.healthy && services != nil {
		services = healthyServices
	}
	for i, s := range services {
		e := &fleet.VPCEndpoint{
			ID: b.id(b.rand, "vpce"), VPC: v.vpc.ID, Service: "com.amazonaws." + b.Name + "." + s, Type: "Interface", State: "available", PrivateDNS: true,
			Groups: []string{v.groups["endpoints"]},
			Policy: document(statement{Effect: "Allow", Principal: "*", Action: "*", Resource: "*"}),
		}
		e.DNSNames = []string{e.ID + "-" + randomHex(b.rand, 4) + "." + s + "." + b.Name + ".vpce.amazonaws.com", s + "." + b.Name + "." + fleet.DNSSuffix(b.Name)}
		if i == 0 && v.spec.kind == viaEndpoints {
			e.Policy = document(statement{Effect: "Allow", Principal: "*", Action: []string{"ssm:*"}, Resource: "*"})
		}
		for _, sub := range v.private[:2] {
			e.Subnets = append(e.Subnets, sub.ID)
			b.ENIs = append(b.ENIs, &ENI{ID: b.id(b.rand, "eni"), VPC: v.vpc.ID, Subnet: sub.ID, Groups: e.Groups, PrivateIP: v.nextAddr(sub), Owner: e.ID})
		}
		e.Addresses = fleet.Known(b.endpointAddresses(e), "", b.base)
		b.Endpoints = append(b.Endpoints, e)
	}
	var tables []string
	for _, t := range b.RouteTables {
		if t.VPC == v.vpc.ID && !t.Main {
			tables = append(tables, t.ID)
		}
	}
	s3 := &fleet.VPCEndpoint{ID: b.id(b.rand, "vpce"), VPC: v.vpc.ID, Service: "com.amazonaws." + b.Name + ".s3", Type: "Gateway", State: "available",
		RouteTables: tables, Policy: document(statement{Effect: "Allow", Principal: "*", Action: "*", Resource: "*"})}
	b.Endpoints = append(b.Endpoints, s3)
	for _, t := range b.RouteTables {
		if t.VPC == v.vpc.ID && !t.Main {
			t.Routes = append(t.Routes, fleet.Route{PrefixList: b.PrefixLists[0].ID, Target: s3.ID, State: "active"})
		}
	}
}

func (b *regionBuilder) securityGroups(v *vpcBuilder) {
	all := fleet.Permission{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{anywhere}}
	tcp := func(port int, why string, from ...any) fleet.Permission {
		p := fleet.Permission{Protocol: "tcp", From: port, To: port, Description: why}
		for _, f := range from {
			switch f := f.(type) {
			case netip.Prefix:
				p.CIDRs = append(p.CIDRs, f)
			case string:
				if strings.HasPrefix(f, "pl-") {
					p.PrefixLists = append(p.PrefixLists, f)
				} else {
					p.Groups = append(p.Groups, f)
				}
			}
		}
		return p
	}
	group := func(name, description string, egress []fleet.Permission, ingress ...fleet.Permission) string {
		g := &fleet.SecurityGroup{ID: b.id(b.rand, "sg"), Name: v.spec.name + "-" + name, VPC: v.vpc.ID, Description: description,
			Tags: map[string]string{"Name": v.spec.name + "-" + name}, Ingress: ingress, Egress: egress}
		if name == "default" {
			g.Name, g.Tags = name, nil
		}
		b.Groups = append(b.Groups, g)
		v.groups[name] = g.ID
		return g.ID
	}
	open := []fleet.Permission{all}
	offices := b.PrefixLists[1].ID
	def := group("default", "default VPC security group", open)
	b.Groups[len(b.Groups)-1].Ingress = []fleet.Permission{{Protocol: "-1", From: -1, To: -1, Groups: []string{def}}}
	bastion := group("bastion", "SSH from the offices", open, tcp(22, "offices", offices))
	ci := group("ci", "CI runners", open, tcp(22, "bastion", bastion))
	web := group("web", "web tier", open, tcp(443, "", anywhere), tcp(80, "", anywhere), tcp(22, "bastion, CI", bastion, ci))
	app := group("app", "application servers", open, tcp(8080, "from web", web), tcp(22, "bastion, CI", bastion, ci))
	group("db", "databases", open, tcp(5432, "from app", app), tcp(22, "whole VPC", v.cidr))
	s3 := b.PrefixLists[0].ID
	way := tcp(22, "bastion, CI", bastion, ci)
	if v.spec.kind == isPublic {
		way = tcp(22, "offices", offices)
	}
	group("restricted", "egress inside the VPC only", []fleet.Permission{tcp(443, "S3", s3), tcp(5432, "db", v.cidr)}, way)
	if !b.healthy {
		group("old-ssh", "temporary, 2019", open, tcp(22, "", anywhere))
	}
	group("office-ssh", "", open, tcp(22, "office", officeNet), tcp(22, "homes", homesNet))
	group("windows", "RDP from the bastion", open, tcp(3389, "", bastion))
	from := v.cidr
	if v.spec.kind == closedGroup {
		from = v.private[0].CIDR
	}
	group("endpoints", "interface endpoints", open, tcp(443, "agents", from))
}
