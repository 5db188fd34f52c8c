package simfleet_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// healthyHost is a host of the healthy world's VPC of a name ("prod": endpoints,
// "apps": NAT, "front": public, "tools": a peered VPC's endpoints).
func healthyHost(t *testing.T, vpc string) scene {
	t.Helper()
	w := generate(t, simfleet.Options{Healthy: true, Instances: 24, Regions: []string{"eu-west-1"}, Seed: 3})
	rg := w.Accounts[0].Regions[0]
	i := slices.IndexFunc(rg.Instances, func(in *simfleet.Instance) bool { return strings.HasPrefix(in.Host.Tags["Name"], vpc+"-") })
	if i < 0 {
		t.Fatal("no host in " + vpc)
	}
	return scene{w, rg, rg.Instances[i]}
}

func (s scene) rule(domain, kind string) {
	s.rg.Rules = append(s.rg.Rules, &fleet.ResolverRule{ID: "rslvr-rr-" + domain + kind, Domain: domain, Type: kind, VPCs: []string{s.in.Host.VPC}, Targets: []string{"10.9.9.9"}})
}

func (s scene) zone(name string, records ...fleet.DNSRecord) {
	a := s.rg.Account
	a.Zones = append(a.Zones, &fleet.HostedZone{ID: "Z" + name, Name: name, VPCs: []string{s.in.Host.VPC}, Records: records})
}

func (s scene) servers(servers ...string) {
	s.rg.DHCPOptions = append(s.rg.DHCPOptions, &fleet.DHCPOptions{ID: "dopt-x", Servers: servers})
	s.vpc().DHCPOptions = "dopt-x"
}

// ipv6Only takes IPv4 from the host and gives it a way out by IPv6.
func (s scene) ipv6Only() {
	h := &s.in.Host
	h.PrivateIP, h.PublicIP = netip.Addr{}, netip.Addr{}
	h.Interfaces[0].PrivateIP, h.Interfaces[0].PublicIP = netip.Addr{}, netip.Addr{}
	h.Interfaces[0].IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8:1::5")}
	everywhere := netip.MustParsePrefix("::/0")
	s.routes().Routes = append(s.routes().Routes, fleet.Route{CIDR: everywhere, Target: "eigw-1", State: "active"})
	s.group().Egress = append(s.group().Egress, fleet.Permission{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{everywhere}})
	for _, egress := range []bool{true, false} {
		acl(s, fleet.ACLEntry{Number: 101, Egress: egress, Allow: true, Protocol: "-1", CIDR: everywhere})
	}
}

const dualStack = `{"Agent":{"UseDualStackEndpoint":true}}`

// middlebox puts a target into the place of the default route.
func (s scene) middlebox(target string) {
	if strings.HasPrefix(target, "vpce-") {
		s.rg.Endpoints = append(s.rg.Endpoints, &fleet.VPCEndpoint{ID: target, VPC: s.in.Host.VPC, Type: "GatewayLoadBalancer", State: "available", Service: "com.amazonaws.vpce.eu-west-1.vpce-svc-1"})
	}
	for i, r := range s.routes().Routes {
		if r.CIDR.IsValid() && r.CIDR.Bits() == 0 {
			s.routes().Routes[i].Target = target
		}
	}
}

func (s scene) peering() *fleet.Peering { return s.rg.Peerings[0] }

// hubRoutes are the route tables of the VPC with the endpoints.
func (s scene) hubRoutes() (out []*fleet.RouteTable) {
	for _, t := range s.rg.RouteTables {
		if t.VPC == s.peering().Accepter.VPC {
			out = append(out, t)
		}
	}
	return out
}

func without(routes []fleet.Route, target string) []fleet.Route {
	return slices.DeleteFunc(routes, func(r fleet.Route) bool { return r.Target == target })
}

func TestNetworkConsequences(t *testing.T) {
	const ssm = "ssm.eu-west-1.amazonaws.com"
	for name, c := range map[string]struct {
		vpc    string
		change func(scene)
		open   bool   // the way to ssm
		by     string // prefix of the endpoint whose addresses were given; "public" for none
	}{
		// Route 53 Developer Guide, Resolver rules and private hosted zones: the
		// most specific domain wins; a rule wins over a zone of the same name.
		"rule for a parent domain":         {"prod", func(s scene) { s.rule("amazonaws.com", "FORWARD") }, true, "vpce-"},
		"rule for the very name":           {"prod", func(s scene) { s.rule(ssm, "FORWARD") }, false, "public"},
		"rule, but there is a way out":     {"apps", func(s scene) { s.rule("amazonaws.com", "FORWARD") }, true, "public"},
		"system rule below a forward rule": {"prod", func(s scene) { s.rule(ssm, "FORWARD"); s.rule("x."+ssm, "SYSTEM") }, false, "public"},
		"root rule":                        {"prod", func(s scene) { s.rule("", "FORWARD") }, true, "vpce-"},
		// Amazon VPC User Guide, DNS attributes; a custom server knows public names only.
		"custom name servers":            {"prod", func(s scene) { s.servers("10.1.0.53") }, false, "public"},
		"custom name servers behind NAT": {"apps", func(s scene) { s.servers("10.1.0.53") }, true, "public"},
		"the Resolver by its address":    {"prod", func(s scene) { s.servers(s.vpc().CIDRs[0].Addr().Next().Next().String()) }, true, "vpce-"},
		"the Resolver by link-local":     {"prod", func(s scene) { s.servers("169.254.169.253") }, true, "vpce-"},
		"no DNS hostnames hides zones":   {"tools", func(s scene) { s.vpc().DNSHostnames.Value = false }, false, "public"},
		"no DNS support":                 {"tools", func(s scene) { s.vpc().DNSSupport.Value = false }, false, "public"},
		"zone without the record":        {"apps", func(s scene) { s.zone("eu-west-1.amazonaws.com") }, false, "public"},
		"zone with a dead address":       {"apps", func(s scene) { s.zone(ssm, fleet.DNSRecord{Name: ssm, Type: "A", Values: []string{"10.200.0.1"}}) }, false, "public"},
		"zone with a wildcard": {"tools", func(s scene) {
			s.rg.Account.Zones = nil
			s.zone("eu-west-1.amazonaws.com", fleet.DNSRecord{Name: "*.eu-west-1.amazonaws.com", Type: "CNAME", Values: []string{s.hubName("ssm")}})
		}, true, "vpce-"},
		"aliases in a circle": {"apps", func(s scene) {
			s.zone("example", fleet.DNSRecord{Name: "a.example", Type: "CNAME", Values: []string{"a.example"}})
			s.in.Agent.Config = `{"Ssm":{"Endpoint":"a.example"}}`
		}, false, "public"},
		"endpoint named in configuration": {"tools", func(s scene) {
			s.rg.Account.Zones = nil
			s.in.Agent.Config = `{"Ssm":{"Endpoint":"https://` + s.hubName("ssm") + `"}}`
		}, true, "vpce-"},
		"other name in configuration": {"apps", func(s scene) { s.in.Agent.Config = `{"Ssm":{"Endpoint":"ssm.example.com"}}` }, false, "public"},
		"broken configuration":        {"apps", func(s scene) { s.in.Agent.Config = `{` }, true, "public"},
		// Amazon VPC Peering Guide: no transit, routes both ways.
		"peering":              {"tools", func(scene) {}, true, "vpce-"},
		"zone gone":            {"tools", func(s scene) { s.rg.Account.Zones = nil }, false, "public"},
		"peering pending":      {"tools", func(s scene) { s.peering().State = "pending-acceptance" }, false, "vpce-"},
		"no route to the peer": {"tools", func(s scene) { s.routes().Routes = without(s.routes().Routes, s.peering().ID) }, false, "vpce-"},
		"no route back": {"tools", func(s scene) {
			for _, r := range s.hubRoutes() {
				r.Routes = without(r.Routes, s.peering().ID)
			}
		}, false, "vpce-"},
		"peer's group closed": {"tools", func(s scene) {
			for _, g := range s.rg.Groups {
				if g.Name == "prod-endpoints" {
					g.Ingress = g.Ingress[:1]
				}
			}
		}, false, "vpce-"},
		"peer's group by group": {"tools", func(s scene) {
			for _, g := range s.rg.Groups {
				if g.Name == "prod-endpoints" {
					g.Ingress = []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, Groups: s.in.Host.Groups}}
				}
			}
		}, true, "vpce-"},
		"no transit to a gateway": {"tools", func(s scene) {
			s.rg.Account.Zones = nil
			s.routes().Routes = append(s.routes().Routes, fleet.Route{CIDR: netip.MustParsePrefix("0.0.0.0/0"), Target: s.peering().ID, State: "active"})
		}, false, "public"},
		"private NAT gateway": {"apps", func(s scene) { s.rg.NATGateways[0].Public = false }, false, "public"},
		// What the middleboxes of Region.Dropped do not drop passes.
		"transit gateway passes":    {"apps", func(s scene) { s.middlebox("tgw-1") }, true, "public"},
		"transit gateway drops":     {"apps", func(s scene) { s.middlebox("tgw-1"); s.rg.Dropped = map[string][]string{"tgw-1": {"ssm"}} }, false, "public"},
		"drops another service":     {"apps", func(s scene) { s.middlebox("tgw-1"); s.rg.Dropped = map[string][]string{"tgw-1": {"s3"}} }, true, "public"},
		"firewall drops all":        {"apps", func(s scene) { s.middlebox("vpce-fw"); s.rg.Dropped = map[string][]string{"vpce-fw": {"*"}} }, false, "public"},
		"firewall passes":           {"apps", func(s scene) { s.middlebox("vpce-fw") }, true, "public"},
		"firewall spares endpoints": {"prod", func(s scene) { s.rg.Dropped = map[string][]string{"vpce-fw": {"*"}} }, true, "vpce-"},
		// ssm-agent release notes 3.3.3270.0: dual-stack names by configuration.
		"IPv6 alone":                         {"apps", scene.ipv6Only, false, "public"},
		"IPv6 alone, dual-stack names":       {"apps", func(s scene) { s.ipv6Only(); s.in.Agent.Config = dualStack }, true, "public"},
		"IPv6 alone, older agent":            {"apps", func(s scene) { s.ipv6Only(); s.in.Agent.Config, s.in.Agent.Version = dualStack, "3.3.2299.0" }, false, "public"},
		"dual-stack names with IPv4":         {"apps", func(s scene) { s.in.Agent.Config = dualStack }, true, "public"},
		"dual-stack names miss private ones": {"prod", func(s scene) { s.in.Agent.Config = dualStack }, false, "public"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthyHost(t, c.vpc)
			if !s.EgressTo(s.in, "ssm").TLS {
				t.Fatal("the host had no way to begin with")
			}
			c.change(s)
			p := s.EgressTo(s.in, "ssm")
			by := "public"
			if strings.HasPrefix(p.Endpoint, "vpce-") {
				by = "vpce-"
			}
			if p.TLS != c.open || by != c.by || p.TLS != (p.Reason == "") {
				t.Errorf("open %v by %s (%+v), want %v by %s", p.TLS, by, p, c.open, c.by)
			}
			if online := s.Online(s.in); online != c.open {
				t.Errorf("online %v, want %v", online, c.open)
			}
		})
	}
}

// hubName is an endpoint's own DNS name, which everybody can look up.
func (s scene) hubName(service string) string {
	i := slices.IndexFunc(s.rg.Endpoints, func(e *fleet.VPCEndpoint) bool { return strings.HasSuffix(e.Service, "."+service) })
	return s.rg.Endpoints[i].DNSNames[0]
}
