package simfleet

import (
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// table is the instance's own route table: that of its subnet, made explicit
// where it is the VPC's main one.
func (n *network) table() *fleet.RouteTable {
	rg, subnet := n.rg, n.in.Host.Subnet
	if t := find(rg.RouteTables, func(t *fleet.RouteTable) bool { return slices.Contains(t.Subnets, subnet) }); t != nil {
		return t
	}
	t := &fleet.RouteTable{ID: derived(n.in, "rtb-own"), VPC: n.in.Host.VPC, Subnets: []string{subnet}}
	if main := find(rg.RouteTables, func(t *fleet.RouteTable) bool { return t.VPC == n.in.Host.VPC && t.Main }); main != nil {
		t.Routes = slices.Clone(main.Routes)
	}
	rg.RouteTables = append(rg.RouteTables, t)
	return t
}

// group is the first of the instance's security groups.
func (n *network) group() *fleet.SecurityGroup {
	return find(n.rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == n.in.Host.Groups[0] })
}

// endpoint finds the VPC's interface endpoint for a service.
func (n *network) endpoint(service string) *fleet.VPCEndpoint {
	return n.rg.endpointOf(n.in.Host.VPC, service)
}

func (rg *Region) endpointOf(vpc, service string) *fleet.VPCEndpoint {
	return find(rg.Endpoints, func(e *fleet.VPCEndpoint) bool {
		return e.VPC == vpc && e.Type == "Interface" && strings.HasSuffix(e.Service, "."+rg.Name+"."+service)
	})
}

// removeEndpoint takes an interface endpoint away, with its interfaces.
func (n *network) removeEndpoint(service string) {
	e := n.endpoint(service)
	if e == nil {
		return
	}
	n.rg.Endpoints = slices.DeleteFunc(n.rg.Endpoints, func(x *fleet.VPCEndpoint) bool { return x == e })
	n.rg.ENIs = slices.DeleteFunc(n.rg.ENIs, func(x *ENI) bool { return x.Owner == e.ID })
}

// endpointServices are those that an agent without another way out needs for
// sessions, logs and encryption.
var endpointServices = []string{"ssm", "ssmmessages", "ec2messages", "logs", "kms", "s3", "sts"}

// lead makes the network lead out as a cause needs it.
func (n *network) lead(want outway) {
	if want != asItWas {
		h := &n.in.Host
		h.PublicIP = netip.Addr{}
		for i := range h.Interfaces {
			h.Interfaces[i].PublicIP = netip.Addr{}
		}
	}
	switch want {
	case byEndpoints:
		n.closeInternet()
		for _, service := range endpointServices {
			if n.endpoint(service) == nil {
				n.addEndpoint(service, n.endpointGroup())
			}
		}
		n.vpc.DNSSupport.Value, n.vpc.DNSHostnames.Value = true, true
	case byNAT:
		for _, service := range endpointServices {
			n.removeEndpoint(service)
		}
		n.openInternet()
	case noWay:
		for _, service := range endpointServices {
			n.removeEndpoint(service)
		}
		n.closeInternet()
	}
}

// closeInternet takes the instance's routes to the internet away.
func (n *network) closeInternet() {
	t := n.table()
	t.Routes = slices.DeleteFunc(slices.Clone(t.Routes), func(r fleet.Route) bool { return r.CIDR == anywhere })
}

// openInternet gives the instance a NAT gateway, in a subnet of its own.
func (n *network) openInternet() {
	if p := n.w.EgressTo(n.in, "ssm"); p.TLS && p.Endpoint == "" {
		return
	}
	rg, in := n.rg, n.in
	vpc := in.Host.VPC
	igw := &fleet.Gateway{ID: derived(in, "igw-own"), VPCs: []string{vpc}, State: "available", Public: true}
	if have := find(rg.Gateways, func(g *fleet.Gateway) bool { return slices.Contains(g.VPCs, vpc) }); have != nil {
		igw = have
	} else {
		rg.Gateways = append(rg.Gateways, igw)
	}
	s := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == in.Host.Subnet })
	public := &fleet.Subnet{ID: derived(in, "subnet-public"), VPC: vpc, AZ: s.AZ, CIDR: netip.PrefixFrom(addressAt(n.vpc.CIDRs[0], 1<<(32-n.vpc.CIDRs[0].Bits())-256), 24), Tags: map[string]string{"Name": "public"}}
	rg.Subnets = append(rg.Subnets, public)
	rg.RouteTables = append(rg.RouteTables, &fleet.RouteTable{ID: derived(in, "rtb-public"), VPC: vpc, Subnets: []string{public.ID},
		Routes: []fleet.Route{{CIDR: n.vpc.CIDRs[0], Target: "local", State: "active"}, {CIDR: anywhere, Target: igw.ID, State: "active"}}})
	if acl := find(rg.NetworkACLs, func(a *fleet.NetworkACL) bool { return a.VPC == vpc && a.Default }); acl != nil {
		acl.Subnets = append(acl.Subnets, public.ID)
	}
	nat := &fleet.Gateway{ID: derived(in, "nat-own"), VPCs: []string{vpc}, Subnet: public.ID, State: "available", Public: true}
	rg.NATGateways = append(rg.NATGateways, nat)
	rg.ENIs = append(rg.ENIs, &ENI{ID: derived(in, "eni-nat"), VPC: vpc, Subnet: public.ID, PrivateIP: n.freeAddress(public), PublicIP: n.freePublic(), Owner: nat.ID})
	n.closeInternet()
	t := n.table()
	t.Routes = append(t.Routes, fleet.Route{CIDR: anywhere, Target: nat.ID, State: "active"})
}

// endpointGroup is the group of the VPC's endpoints: that of the ones which are
// there, or a new one that lets the whole VPC in.
func (n *network) endpointGroup() string {
	for _, e := range n.rg.Endpoints {
		if e.VPC == n.in.Host.VPC && e.Type == "Interface" && len(e.Groups) > 0 {
			return e.Groups[0]
		}
	}
	g := &fleet.SecurityGroup{ID: derived(n.in, "sg-endpoints"), Name: "endpoints", VPC: n.in.Host.VPC, Description: "interface endpoints", Tags: map[string]string{"Name": "endpoints"},
		Ingress: []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, CIDRs: slices.Clone(n.vpc.CIDRs)}},
		Egress:  []fleet.Permission{{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{anywhere}}}}
	n.rg.Groups = append(n.rg.Groups, g)
	return g.ID
}

// addEndpoint makes an interface endpoint with private DNS in the instance's subnet.
func (n *network) addEndpoint(service, group string) *fleet.VPCEndpoint {
	s := find(n.rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == n.in.Host.Subnet })
	e := &fleet.VPCEndpoint{ID: derived(n.in, "vpce-"+service), VPC: s.VPC, Service: "com.amazonaws." + n.rg.Name + "." + service, Type: "Interface", State: "available",
		PrivateDNS: true, Subnets: []string{s.ID}, Groups: []string{group}, Policy: document(statement{Effect: "Allow", Principal: "*", Action: "*", Resource: "*"})}
	e.DNSNames = []string{e.ID + "." + service + "." + n.rg.Name + ".vpce.amazonaws.com", service + "." + n.rg.Name + "." + fleet.DNSSuffix(n.rg.Name)}
	n.rg.Endpoints = append(n.rg.Endpoints, e)
	n.rg.ENIs = append(n.rg.ENIs, &ENI{ID: derived(n.in, "eni-"+service), VPC: s.VPC, Subnet: s.ID, Groups: e.Groups, PrivateIP: n.freeAddress(s), Owner: e.ID})
	return e
}

// ownGroup gives endpoints of the VPC a security group of their own, with these rules.
func (n *network) ownGroup(endpoints []*fleet.VPCEndpoint, ingress ...fleet.Permission) {
	g := &fleet.SecurityGroup{ID: derived(n.in, "sg-pilot"), Name: "endpoint-pilot", VPC: n.in.Host.VPC, Description: "pilot hosts only", Tags: map[string]string{"Name": "endpoint-pilot"}, Ingress: ingress}
	n.rg.Groups = append(slices.DeleteFunc(n.rg.Groups, func(old *fleet.SecurityGroup) bool { return old.ID == g.ID }), g)
	for _, e := range endpoints {
		e.Groups = []string{g.ID}
		for _, eni := range n.rg.ENIs {
			if eni.Owner == e.ID {
				eni.Groups = e.Groups
			}
		}
	}
}
