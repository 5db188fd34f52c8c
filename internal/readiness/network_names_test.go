package readiness_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

// zone adds a private hosted zone of the host's VPC.
func zone(id, name string, records ...fleet.DNSRecord) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		s.Accounts[0].HostedZones.Value = append(s.Accounts[0].HostedZones.Value, fleet.HostedZone{ID: id, Name: name, VPCs: []string{"vpc-1"}, Records: records})
	}
}

func name(service string) string { return service + "." + regionName + ".amazonaws.com" }

func record(service, kind string, values ...string) fleet.DNSRecord {
	return fleet.DNSRecord{Name: name(service), Type: kind, Values: values}
}

func forward(domain, kind string) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.ResolverRules.Value = append(r.ResolverRules.Value, fleet.ResolverRule{ID: fmt.Sprintf("rslvr-rr-%d", len(r.ResolverRules.Value)+1), Domain: domain, Type: kind, VPCs: []string{"vpc-1"}, Targets: []string{"10.0.0.53"}})
	}
}

// sharedRule puts another account before the host's, which owns its rules and
// lists them with its own VPCs. It comes last: it moves the Regions.
func sharedRule(s *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	owner := fleet.Region{Account: "210987654321", Name: r.Name, Label: "owner", ResolverRules: known([]fleet.ResolverRule{}, r.ResolverRules.Source)}
	for _, rule := range r.ResolverRules.Value {
		rule.VPCs = []string{"vpc-of-owner"}
		owner.ResolverRules.Value = append(owner.ResolverRules.Value, rule)
	}
	s.Regions = append([]fleet.Region{owner}, s.Regions...)
}

func ownServers(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	r.DHCPOptions.Value[0].Servers = []string{"10.0.0.53"}
}

func privateDNSOff(service string) change {
	return endpoints(func(e *fleet.VPCEndpoint) {
		if strings.HasSuffix(e.Service, "."+service) {
			e.PrivateDNS = false
		}
	})
}

// addressed gives every endpoint the address that the host's test sees.
func addressed(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	for i, a := range []string{"10.0.2.5", "10.0.2.6", "10.0.2.7"} {
		if i < len(r.Endpoints.Value) {
			r.Endpoints.Value[i].Addresses = known([]netip.Addr{netip.MustParseAddr(a)}, "ec2:DescribeNetworkInterfaces")
		}
	}
}

// hub moves the endpoints to a peered VPC, to which private zones lead:
//
//	vpc-hub 10.9.0.0/16, subnet-hub 10.9.1.0/24, rtb-hub, pcx-1
func hub(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
	addressed(s, h, r)
	isolated(s, h, r)
	for i := range r.Endpoints.Value {
		e := &r.Endpoints.Value[i]
		e.VPC, e.Subnets, e.PrivateDNS = "vpc-hub", []string{"subnet-hub"}, false
		e.Addresses.Value = []netip.Addr{netip.AddrFrom4([4]byte{10, 9, 1, byte(i + 5)})}
		e.DNSNames = []string{e.ID + "-abc." + e.Service[len("com.amazonaws.eu-west-1."):] + "." + regionName + ".vpce.amazonaws.com"}
	}
	r.VPCs.Value = append(r.VPCs.Value, fleet.VPC{ID: "vpc-hub", CIDRs: []netip.Prefix{prefix("10.9.0.0/16")}})
	r.Subnets.Value = append(r.Subnets.Value, fleet.Subnet{ID: "subnet-hub", VPC: "vpc-hub", CIDR: prefix("10.9.1.0/24")})
	r.NetworkACLs.Value = append(r.NetworkACLs.Value, openACL("acl-hub", "subnet-hub"))
	r.RouteTables.Value = append(r.RouteTables.Value, fleet.RouteTable{ID: "rtb-hub", VPC: "vpc-hub", Main: true, Routes: []fleet.Route{
		{CIDR: prefix("10.9.0.0/16"), Target: "local", State: "active"}, {CIDR: prefix("10.0.0.0/16"), Target: "pcx-1", State: "active"},
	}})
	r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("10.9.0.0/16"), Target: "pcx-1", State: "active"})
	r.Peerings.Value = []fleet.Peering{{ID: "pcx-1", State: "active", Requester: fleet.PeeringEnd{VPC: "vpc-1", Region: regionName}, Accepter: fleet.PeeringEnd{VPC: "vpc-hub", Region: regionName}}}
	for i := range r.Endpoints.Value {
		e := r.Endpoints.Value[i]
		zone("Z"+e.ID, e.Service[len("com.amazonaws.eu-west-1."):]+"."+regionName+".amazonaws.com", fleet.DNSRecord{
			Name: e.Service[len("com.amazonaws.eu-west-1."):] + "." + regionName + ".amazonaws.com.", Type: "A", Alias: e.DNSNames[0] + ".",
		})(s, h, r)
	}
}

func hubRoute(do func(*fleet.RouteTable)) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		do(&r.RouteTables.Value[len(r.RouteTables.Value)-1])
	}
}

func peering(do func(*fleet.Peering)) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { do(&r.Peerings.Value[0]) }
}

// overlapping adds a VPC of the same range as the hub's, with endpoints that
// have the same addresses, which nothing joins to the host's VPC.
func overlapping(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	r.VPCs.Value = append(r.VPCs.Value, fleet.VPC{ID: "vpc-copy", CIDRs: []netip.Prefix{prefix("10.9.0.0/16")}})
	for _, e := range slices.Clone(r.Endpoints.Value) {
		e.ID, e.VPC, e.Subnets, e.DNSNames = e.ID+"copy", "vpc-copy", nil, nil
		r.Endpoints.Value = append(r.Endpoints.Value, e)
	}
}

// byAddress makes the private zones name addresses in place of endpoints.
func byAddress(s *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	for i := range s.Accounts[0].HostedZones.Value {
		z := &s.Accounts[0].HostedZones.Value[i]
		z.Records = slices.Clone(z.Records)
		z.Records[0].Alias, z.Records[0].Values = "", []string{r.Endpoints.Value[i].Addresses.Value[0].String()}
	}
}

func alsoRoute(cidr, target string) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		t := &r.RouteTables.Value[0]
		t.Routes = append(slices.Clone(t.Routes), fleet.Route{CIDR: prefix(cidr), Target: target, State: "active"})
	}
}

// TestNamesAndPeering asks only static analysis. Rules: Amazon Route 53
// Developer Guide (R53), AWS PrivateLink Guide (PL), Amazon VPC Peering Guide (P).
func TestNamesAndPeering(t *testing.T) {
	const through, doubt = "", "egress-unknown"
	for _, c := range []struct {
		name    string
		changes []change
		code    string // empty: nothing is in the way
		object  string
		says    string
	}{
		{"R53 hosted-zone-private-considerations: a parent zone without the record answers NXDOMAIN", []change{noEndpoints, zone("Z1", "amazonaws.com")}, "dns-zone-hides", "Z1", "NXDOMAIN"},
		{"R53 hosted-zone-private-considerations: endpoint's private DNS is the more specific zone", []change{zone("Z1", "amazonaws.com")}, through, "", ""},
		{"R53 hosted-zone-private-considerations: zones need both DNS attributes", []change{noEndpoints, zone("Z1", "amazonaws.com"), func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.VPCs.Value[0].DNSHostnames.Value = false
		}}, through, "", ""},
		{"a zone of another VPC does not matter", []change{noEndpoints, zone("Z1", "amazonaws.com"), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].HostedZones.Value[0].VPCs = []string{"vpc-2"}
		}}, through, "", ""},
		{"a zone of a longer name does not match", []change{noEndpoints, zone("Z1", "x."+name("ssm"))}, through, "", ""},
		{"an exact zone without a record (conflicting DNS domain)", []change{noEndpoints, zone("Z1", name("ssm"))}, "dns-zone-conflict", "Z1", "NXDOMAIN"},
		{"an exact zone with an address that no endpoint has", []change{addressed, privateDNSOff("ssm"), zone("Z1", name("ssm"), record("ssm", "A", "10.0.2.99"))}, "dns-zone-conflict", "Z1", "no endpoint has"},
		{"an exact zone with an endpoint's address", []change{isolated, addressed, privateDNSOff("ssm"), zone("Z1", name("ssm"), record("ssm", "A", "10.0.2.5"))}, through, "", ""},
		{"an exact zone with a CNAME to the endpoint's own name", []change{isolated, privateDNSOff("ssm"), zone("Z1", name("ssm"), record("ssm", "CNAME", "vpce-ssm-x1.ssm.eu-west-1.vpce.amazonaws.com"))}, through, "", ""},
		{"a CNAME that another zone hides", []change{privateDNSOff("ssm"), zone("Z1", name("ssm"), record("ssm", "CNAME", "vpce-ssm-x1.ssm.eu-west-1.vpce.amazonaws.com")), zone("Z2", "vpce.amazonaws.com")}, "dns-zone-conflict", "Z1", "Z2"},
		{"RFC 4592: a wildcard answers for names without records", []change{isolated, addressed, privateDNSOff("ssm"), zone("Z1", "eu-west-1.amazonaws.com", fleet.DNSRecord{Name: `\052.eu-west-1.amazonaws.com`, Type: "A", Values: []string{"10.0.2.5"}})}, through, "", ""},
		{"P vpc-peering-basics: ranges of VPCs that are not peered may overlap", []change{hub, byAddress, overlapping}, through, "", ""},
		{"a zone that leads to public addresses", []change{noEndpoints, zone("Z1", name("ssm"), record("ssm", "A", "52.94.1.1"))}, through, "", ""},
		{"a zone that leads to addresses that nobody knows", []change{noEndpoints, zone("Z1", name("ssm"), record("ssm", "A", "172.20.0.1"))}, doubt, "", "not known"},

		{"R53 autodefined rules: a rule for a parent does not touch private DNS", []change{isolated, forward("amazonaws.com", "FORWARD"), forward("", "FORWARD")}, through, "", ""},
		{"R53 resolver-rules: FORWARD of the same domain wins over private DNS", []change{isolated, forward(name("ssm"), "FORWARD")}, doubt, "", "rslvr-rr-1 forwards"},
		{"R53 resolver-rules: FORWARD of the same domain wins over a private zone", []change{noEndpoints, zone("Z1", "amazonaws.com"), forward("amazonaws.com", "FORWARD")}, through, "", ""},
		{"R53 ListResolverRuleAssociations: each account lists a shared rule with its own VPCs", []change{isolated, forward(name("ssm"), "FORWARD"), sharedRule}, doubt, "", "rslvr-rr-1 forwards"},
		{"R53 private-overlapping: a longer zone wins over a rule", []change{noEndpoints, zone("Z1", "eu-west-1.amazonaws.com"), forward("amazonaws.com", "FORWARD")}, "dns-zone-hides", "Z1", "NXDOMAIN"},
		{"R53 domain-name-matches: SYSTEM of a longer domain ends the forwarding", []change{noEndpoints, isolated, forward("", "FORWARD"), forward("amazonaws.com", "SYSTEM")}, "endpoint-missing", "vpc-1", "no interface endpoint"},
		{"a RECURSIVE rule is Resolver's own", []change{forward("", "RECURSIVE")}, through, "", ""},
		{"rules that were not read", []change{isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.ResolverRules = lost[[]fleet.ResolverRule]("route53resolver:ListResolverRules", "AccessDenied")
		}}, doubt, "", "AccessDenied"},

		{"PL private DNS: one of the two names leads to the internet", []change{isolated, privateDNSOff("ssmmessages")}, "dns-split", "vpc-1", "vpce-ssmmessages is there"},

		{"P vpc-peering-basics: endpoints in a peer VPC", []change{hub}, through, "", ""},
		{"P: one zone is not associated", []change{hub, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].HostedZones.Value[1].VPCs = nil
		}}, doubt, "", "pcx-1"},
		{"P: no route back", []change{hub, hubRoute(func(t *fleet.RouteTable) { t.Routes = t.Routes[:1] })}, "peering-broken", "rtb-hub", "no route back"},
		{"P: the route back leads elsewhere", []change{hub, hubRoute(func(t *fleet.RouteTable) { t.Routes[1].Target = "igw-9" })}, "peering-broken", "rtb-hub", "no route back"},
		{"P: a route back for a part of the subnet", []change{hub, hubRoute(func(t *fleet.RouteTable) { t.Routes[1].CIDR = prefix("10.0.1.0/28") })}, through, "", ""},
		{"P: a route back for another part of the subnet", []change{hub, hubRoute(func(t *fleet.RouteTable) { t.Routes[1].CIDR = prefix("10.0.1.128/25") })}, "peering-broken", "rtb-hub", "no route back to 10.0.1.10"},
		{"P: not accepted", []change{hub, peering(func(p *fleet.Peering) { p.State = "pending-acceptance" })}, "peering-broken", "pcx-1", "pending-acceptance"},
		{"P transitive peering is not supported", []change{hub, peering(func(p *fleet.Peering) { p.Accepter.VPC = "vpc-third" })}, "peering-broken", "pcx-1", "third VPC"},
		{"P: no route to the peer", []change{hub, isolated}, "route-missing", "rtb-app", "no route"},
		{"P: the peer's group does not admit", []change{hub, group("sg-ends", func(g *fleet.SecurityGroup) { g.Ingress = nil })}, "endpoint-group-closed", "sg-ends", "does not let"},
		{"P vpc-peering-security-groups: a group of the peer in the same Region", []change{hub, group("sg-ends", func(g *fleet.SecurityGroup) {
			g.Ingress = []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, Groups: []string{"sg-app"}}}
		})}, through, "", ""},
		{"P: the ACL of the peer's subnet", []change{hub, aclEntries("acl-hub", rule(90, true, false, "10.0.1.0/24", 1024, 65535))}, "acl-closed", "acl-hub", "out to"},
		{"a transit gateway on the way to the peer is not followed", []change{hub, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[0].Routes[1].Target = "tgw-1"
		}}, doubt, "", "transit gateway tgw-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(append([]change{silent, unprobed}, c.changes...)...)
			checkFindings(t, a)
			checkPaths(t, a)
			i := slices.IndexFunc(a.Findings, func(f fleet.Finding) bool { return isStop(f.Code) || f.Code == doubt })
			if c.code == through {
				if i >= 0 {
					t.Fatalf("want nothing in the way, got %s of %s:\n%s", a.Findings[i].Code, a.Findings[i].Object, factsOf(a.Findings[i]))
				}
				return
			}
			f := finding(t, a, c.code)
			if c.object != "" && f.Object != c.object {
				t.Errorf("object %s, want %s", f.Object, c.object)
			}
			if !strings.Contains(factsOf(f), c.says) {
				t.Errorf("evidence does not say %q:\n%s", c.says, factsOf(f))
			}
		})
	}
}

// checkPaths asserts what holds for every path.
func checkPaths(t interface{ Errorf(string, ...any) }, a *fleet.Assessment) {
	for _, v := range a.Hosts {
		for _, i := range v.Paths {
			if i < 0 || i >= len(a.Paths) {
				t.Errorf("%s has path %d of %d", v.Host, i, len(a.Paths))
			}
		}
	}
	for i, p := range a.Paths {
		want := fleet.TruthYes
		for k, h := range p.Hops {
			switch {
			case h.Passes == fleet.TruthNo:
				want = fleet.TruthNo
				if k != len(p.Hops)-1 {
					t.Errorf("path %d goes on after a stop: %+v", i, p.Hops)
				}
			case h.Passes == fleet.TruthUnknown && want == fleet.TruthYes:
				want = fleet.TruthUnknown
			}
			if h.Text == "" || h.Source == "" || h.Kind == "" {
				t.Errorf("path %d has a hop without kind, text or source: %+v", i, h)
			}
		}
		if p.Open != want || len(p.Hops) == 0 {
			t.Errorf("path %d to %s is %s, its hops say %s: %+v", i, p.Name, p.Open, want, p.Hops)
		}
	}
}

// TestHostsOwnAnswersDecide holds what other name servers answered, by the
// host's own test, against the VPC's endpoints.
func TestHostsOwnAnswersDecide(t *testing.T) {
	public, at := timedOutAt("52.94.0.1"), timedOutAt
	only := func(service string, do func(*fleet.EndpointTest)) change {
		return tested(func(t *fleet.EndpointTest) {
			if t.Service == service {
				do(t)
			}
		})
	}
	for _, c := range []struct {
		name    string
		changes []change
		code    string
		object  string
		fix     string
	}{
		{"own name servers know public names only", []change{isolated, addressed, ownServers, tested(public)}, "dns-custom-resolver", "dopt-1", "forward amazonaws.com"},
		{"own name servers do not know the name", []change{isolated, ownServers, tested(unresolved)}, "dns-custom-resolver", "dopt-1", "forward amazonaws.com"},
		{"a rule's name servers know public names only", []change{isolated, addressed, forward(name("ssm"), "FORWARD"), only("ssm", public)}, "dns-custom-resolver", "rslvr-rr-1", "SYSTEM"},
		{"own name servers lead one of the two names to its endpoint", []change{isolated, ownServers, endpoints(func(e *fleet.VPCEndpoint) { e.PrivateDNS = false }), addressed, only("ssmmessages", public)}, "dns-custom-resolver", "dopt-1", "turn on private DNS of endpoint vpce-ssmmessages"},
		{"ssm private, ssmmessages public, through a firewall that drops it", []change{onlyEndpoint("ssm"), addressed, route("vpce-fw", "active"), only("ssmmessages", public)}, "dns-split", "vpc-1", "turn on private DNS"},
		{"/etc/hosts leads elsewhere", []change{addressed, only("ssm", func(t *fleet.EndpointTest) {
			timedOut(t)
			t.Addresses = known([]netip.Addr{netip.MustParseAddr("10.0.7.7")}, "probe")
		})}, "dns-answer-differs", "", "/etc/resolv.conf"},
		{"a firewall endpoint drops it", []change{noEndpoints, route("vpce-fw", "active"), tested(public)}, "firewall-drops", "vpce-fw", "through the firewall behind endpoint vpce-fw, or add interface endpoints"},
		{"a zone leads to an address that does not answer", []change{privateDNSOff("ssm"), addressed, zone("Z1", name("ssm"), record("ssm", "A", "172.20.0.1")), only("ssm", at("172.20.0.1"))}, "dns-zone-conflict", "Z1", "hosted zone Z1"},
		{"a zone of a missing endpoint leads to an address that does not answer, and there is no way out", []change{isolated, onlyEndpoint("ssm"), addressed, zone("Z1", name("ssmmessages"), record("ssmmessages", "A", "172.20.0.1")), only("ssmmessages", at("172.20.0.1"))}, "dns-zone-conflict", "Z1", "hosted zone Z1"},
		{"a zone of a parent domain leads there", []change{privateDNSOff("ssm"), addressed, zone("Z1", regionName+".amazonaws.com", record("ssm", "A", "172.20.0.1")), only("ssm", at("172.20.0.1"))}, "dns-zone-hides", "Z1", "hosted zone Z1"},
		{"a network ACL stops just the addresses that the name gives", []change{noEndpoints, aclEntries("acl-app", rule(90, false, false, "52.94.0.0/16", 1024, 65535)), tested(public)}, "acl-closed", "acl-app", "TCP 32768-60999 in from 0.0.0.0/0 in network ACL acl-app"},
		{"a network ACL stops other addresses", []change{noEndpoints, aclEntries("acl-app", rule(90, false, false, "52.95.0.0/16", 1024, 65535)), tested(public)}, "egress-test-failed", "", "the firewall on the host"},
		{"a VPN for a partner's public addresses beside no way out is no firewall", []change{noEndpoints, isolated, alsoRoute("203.0.113.0/24", "vgw-1"), tested(public)}, "endpoint-missing", "vpc-1", "interface endpoints for ssm and ssmmessages"},
		{"a VPN for other public addresses is no firewall", []change{noEndpoints, isolated, alsoRoute("52.95.0.0/16", "vgw-1"), tested(public)}, "endpoint-missing", "vpc-1", "interface endpoints for ssm and ssmmessages"},
		{"a VPN for other public addresses beside a NAT gateway is no firewall", []change{noEndpoints, alsoRoute("52.95.0.0/16", "vgw-1"), tested(public)}, "egress-test-failed", "", "the firewall on the host"},
		{"the VPN's route is the most specific one for the address", []change{noEndpoints, alsoRoute("52.94.0.0/16", "vgw-1"), tested(public)}, "firewall-drops", "vgw-1", "virtual private gateway vgw-1"},
		{"a middlebox between host and endpoint", []change{addressed, alsoRoute("10.0.2.0/24", "eni-fw"), tested(timedOut)}, "firewall-drops", "eni-fw", "appliance that eni-fw leads to"},
		{"a middlebox before other endpoints only", []change{addressed, alsoRoute("10.0.2.128/25", "eni-fw"), tested(timedOut)}, "egress-test-failed", "", "the firewall on the host"},
		{"endpoints were not read, and the host saw public addresses", []change{isolated, endpointsUnread, tested(public)}, "route-missing", "rtb-app", "NAT gateway"},
		{"a VPN beside a way that is missing is no firewall", []change{isolated, onlyEndpoint("ssm"), addressed, alsoRoute("192.168.0.0/16", "vgw-1"), only("ssmmessages", public)}, "endpoint-missing", "vpc-1", "an interface endpoint for ssmmessages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(append([]change{offline}, c.changes...)...)
			checkFindings(t, a)
			checkPaths(t, a)
			f := finding(t, a, c.code)
			if f.Object != c.object || !strings.Contains(f.Fix, c.fix) || f.Undo == "" {
				t.Errorf("object %s, fix %q, undo %q", f.Object, f.Fix, f.Undo)
			}
			if a.Hosts[0].Cause != c.code {
				t.Errorf("cause %s, want %s", a.Hosts[0].Cause, c.code)
			}
		})
	}
}
