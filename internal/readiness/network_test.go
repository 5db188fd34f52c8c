package readiness_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

// noEndpoints leaves the way to the internet as the only one.
func noEndpoints(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { r.Endpoints.Value = nil }

func group(id string, change func(*fleet.SecurityGroup)) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		for i := range r.Groups.Value {
			if r.Groups.Value[i].ID == id {
				change(&r.Groups.Value[i])
			}
		}
	}
}

func aclEntries(id string, entries ...fleet.ACLEntry) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		for i := range r.NetworkACLs.Value {
			if r.NetworkACLs.Value[i].ID == id {
				r.NetworkACLs.Value[i].Entries = append(entries, r.NetworkACLs.Value[i].Entries...)
			}
		}
	}
}

func rule(number int, egress, allow bool, cidr string, from, to int) fleet.ACLEntry {
	return fleet.ACLEntry{Number: number, Egress: egress, Allow: allow, Protocol: "6", CIDR: prefix(cidr), From: from, To: to}
}

// route replaces the host's default route.
func route(target, state string) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		routes := r.RouteTables.Value[0].Routes[:1]
		if target != "" {
			routes = append(routes, fleet.Route{CIDR: prefix("0.0.0.0/0"), Target: target, State: state})
		}
		r.RouteTables.Value[0].Routes = routes
	}
}

func endpoints(change func(*fleet.VPCEndpoint)) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		for i := range r.Endpoints.Value {
			change(&r.Endpoints.Value[i])
		}
	}
}

func publicAddress(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.PublicIP = netip.MustParseAddr("54.1.2.3")
}

func zonesUnread(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
	s.Accounts[0].HostedZones = lost[[]fleet.HostedZone]("route53:ListHostedZonesByVPC", "AccessDenied")
}

func isolated(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	r.RouteTables.Value[0].Routes = r.RouteTables.Value[0].Routes[:1]
}

// TestStaticPath asks only static analysis: Systems Manager does not answer
// and the host is not probed. want is the object of the finding.
func TestStaticPath(t *testing.T) {
	const through, doubt = "", "egress-unknown"
	for _, c := range []struct {
		name    string
		changes []change
		code    string // empty: nothing is in the way
		object  string
		says    string
	}{
		{"endpoints with private DNS", nil, through, "", ""},
		{"endpoints need no way to the internet", []change{isolated}, through, "", ""},
		{"NAT gateway", []change{noEndpoints}, through, "", ""},

		// Security groups only allow (Amazon VPC User Guide, vpc-security-groups).
		{"no egress rule at all", []change{group("sg-app", func(g *fleet.SecurityGroup) { g.Egress = nil })}, "group-egress-closed", "sg-app", "lets nothing out"},
		{"egress of another port", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{{Protocol: "tcp", From: 80, To: 80, CIDRs: anywhere()}}
		})}, "group-egress-closed", "sg-app", "lets nothing out"},
		{"egress of UDP", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{{Protocol: "udp", From: 443, To: 443, CIDRs: anywhere()}}
		})}, "group-egress-closed", "sg-app", "lets nothing out"},
		{"egress to the endpoints' subnet", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{https(prefix("10.0.2.0/24"))}
		})}, through, "", ""},
		{"egress to the endpoints' group", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{{Protocol: "tcp", From: 0, To: 65535, Groups: []string{"sg-ends"}}}
		})}, through, "", ""},
		{"egress to half of the endpoints' subnet", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{https(prefix("10.0.2.0/25"))}
		})}, doubt, "", "whether security group"},
		{"two halves make a whole", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{https(prefix("10.0.2.0/25")), https(prefix("10.0.2.128/25"))}
		})}, through, "", ""},
		{"the endpoints' subnet is not the internet", []change{noEndpoints, group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{https(prefix("10.0.0.0/8"))}
		})}, "group-egress-closed", "sg-app", "public addresses"},
		{"egress by a prefix list that is not known", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, PrefixLists: []string{"pl-1"}}}
		})}, doubt, "", "whether security group"},
		{"egress by a prefix list", []change{group("sg-app", func(g *fleet.SecurityGroup) {
			g.Egress = []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, PrefixLists: []string{"pl-1"}}}
		}), func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.PrefixLists.Value = []fleet.PrefixList{{ID: "pl-1", CIDRs: []netip.Prefix{prefix("10.0.2.0/23")}}}
		}}, through, "", ""},
		{"a group that was not listed may allow", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Groups = []string{"sg-other"}
		}}, doubt, "", "whether security group"},
		{"endpoint's group does not let the host in", []change{group("sg-ends", func(g *fleet.SecurityGroup) {
			g.Ingress = []fleet.Permission{https(prefix("10.0.9.0/24"))}
		})}, "endpoint-group-closed", "sg-ends", "does not let subnet subnet-app in"},
		{"endpoint's group lets the host's group in", []change{group("sg-ends", func(g *fleet.SecurityGroup) {
			g.Ingress = []fleet.Permission{{Protocol: "6", From: 443, To: 443, Groups: []string{"sg-app"}}}
		})}, through, "", ""},

		// Network ACLs are stateless and the lowest number decides (Amazon VPC User Guide, vpc-network-acls).
		{"ACL denies before it allows", []change{aclEntries("acl-app", rule(90, true, false, "0.0.0.0/0", 443, 443))}, "acl-closed", "acl-app", "out to"},
		{"ACL allows before it denies", []change{aclEntries("acl-app", rule(110, true, false, "0.0.0.0/0", 443, 443))}, through, "", ""},
		{"ACL stops the answers", []change{aclEntries("acl-app", rule(90, false, false, "0.0.0.0/0", 1024, 65535))}, "acl-closed", "acl-app", "in from"},
		{"ACL stops some of the answers", []change{aclEntries("acl-app", rule(90, false, false, "0.0.0.0/0", 50000, 50010))}, doubt, "", "stops part of"},
		{"ACL denies ports that answers do not use", []change{aclEntries("acl-app", rule(90, false, false, "0.0.0.0/0", 22, 22))}, through, "", ""},
		{"ACL of the endpoints stops the host", []change{aclEntries("acl-ends", rule(90, false, false, "10.0.1.0/24", 443, 443))}, "acl-closed", "acl-ends", "in from"},
		{"ACL of the endpoints stops the answers", []change{aclEntries("acl-ends", rule(90, true, false, "10.0.1.10/32", 1024, 65535))}, "acl-closed", "acl-ends", "out to"},
		{"ACL of the endpoints about somebody else", []change{aclEntries("acl-ends", rule(90, false, false, "10.0.9.0/24", 443, 443))}, through, "", ""},
		{"ACLs do not act inside a subnet", []change{aclEntries("acl-app", rule(90, true, false, "0.0.0.0/0", 0, 0)), endpoints(func(e *fleet.VPCEndpoint) {
			e.Subnets = []string{"subnet-app"}
		})}, through, "", ""},
		{"ACL of the NAT gateway stops the answers", []change{noEndpoints, aclEntries("acl-pub", rule(90, false, false, "0.0.0.0/0", 1024, 65535))}, "acl-closed", "acl-pub", "in from"},
		{"ACL that was not read", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.NetworkACLs = lost[[]fleet.NetworkACL]("ec2:DescribeNetworkAcls", "UnauthorizedOperation")
		}}, doubt, "", "UnauthorizedOperation"},

		// Routes: the most specific one (Amazon VPC User Guide, route-tables-priority).
		{"no route to the internet", []change{noEndpoints, isolated}, "endpoint-missing", "vpc-1", "no route"},
		{"blackhole", []change{noEndpoints, route("nat-1", "blackhole")}, "route-missing", "rtb-app", "blackhole"},
		{"internet gateway without a public address", []change{noEndpoints, route("igw-1", "active")}, "no-public-address", "rtb-app", "no public address"},
		{"internet gateway with a public address", []change{noEndpoints, route("igw-1", "active"), publicAddress}, through, "", ""},
		{"detached internet gateway", []change{noEndpoints, route("igw-1", "active"), publicAddress, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.Gateways.Value[0].State = "detached"
		}}, "route-missing", "igw-1", "detached"},
		{"failed NAT gateway", []change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.NATGateways.Value[0].State = "failed"
		}}, "nat-broken", "nat-1", "failed"},
		{"NAT gateway without a way out", []change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[1].Routes = r.RouteTables.Value[1].Routes[:1]
		}}, "nat-broken", "rtb-pub", "no way to the internet"},
		{"transit gateway is not followed", []change{noEndpoints, route("tgw-1", "active")}, doubt, "", "tgw-1"},
		{"firewall endpoint is not followed", []change{noEndpoints, route("vpce-fw", "active")}, doubt, "", "vpce-fw"},
		{"another network may have an endpoint", []change{noEndpoints, isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("10.9.0.0/16"), Target: "pcx-1", State: "active"})
		}}, doubt, "", "pcx-1"},
		{"a more specific route for a part of the internet", []change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("52.0.0.0/8"), Target: "tgw-1", State: "active"})
		}}, doubt, "", "tgw-1"},
		{"a gateway endpoint's route carries S3 only", []change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{PrefixList: "pl-s3", Target: "vpce-s3", State: "active"})
		}}, through, "", ""},
		{"middlebox between host and endpoint", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("10.0.2.0/24"), Target: "eni-fw", State: "active"})
		}}, doubt, "", "eni-fw"},
		{"the subnet's own table counts, not the main one", []change{noEndpoints, isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[1].Subnets = append(r.RouteTables.Value[1].Subnets, "subnet-app")
		}, publicAddress}, through, "", ""},
		{"the main table of an incomplete list may not be the subnet's", []change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Known, r.RouteTables.Reason = false, "throttled"
		}}, doubt, "", "throttled"},
		{"a stop beyond a doubt is a stop", []change{aclEntries("acl-app", rule(90, false, false, "0.0.0.0/0", 50000, 50010)), group("sg-ends", func(g *fleet.SecurityGroup) {
			g.Ingress = nil
		})}, "endpoint-group-closed", "sg-ends", "does not let"},

		// Names: private DNS of interface endpoints (AWS PrivateLink Guide, privatelink-access-aws-services).
		{"endpoint not available, internet instead", []change{endpoints(func(e *fleet.VPCEndpoint) { e.State = "pending" })}, through, "", ""},
		{"endpoint not available, nothing else", []change{isolated, endpoints(func(e *fleet.VPCEndpoint) { e.State = "failed" })}, "endpoint-not-available", "vpce-ssm", "not available"},
		{"private DNS off", []change{isolated, endpoints(func(e *fleet.VPCEndpoint) { e.PrivateDNS = false })}, "private-dns-off", "vpce-ssm", "private DNS off"},
		{"private DNS off may be made up for by zones that were not read", []change{isolated, endpoints(func(e *fleet.VPCEndpoint) { e.PrivateDNS = false }), zonesUnread}, doubt, "", "private hosted zones"},
		{"enableDnsHostnames off", []change{isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.VPCs.Value[0].DNSHostnames.Value = false
		}}, "dns-off", "vpc-1", "enableDnsHostnames"},
		{"enableDnsHostnames off, internet instead", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.VPCs.Value[0].DNSHostnames.Value = false
		}}, through, "", ""},
		{"enableDnsSupport off", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.VPCs.Value[0].DNSSupport.Value = false
		}}, "dns-off", "vpc-1", "enableDnsSupport"},
		{"own name servers, both ways open", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DHCPOptions.Value[0].Servers = []string{"10.0.0.53"}
		}}, through, "", ""},
		{"own name servers, one way closed", []change{isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DHCPOptions.Value[0].Servers = []string{"10.0.0.53"}
		}}, doubt, "", "name servers"},
		{"the VPC's resolver by its address", []change{isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DHCPOptions.Value[0].Servers = []string{"10.0.0.2", "169.254.169.253"}
		}}, through, "", ""},
		{"endpoints were not read", []change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.Endpoints = lost[[]fleet.VPCEndpoint]("ec2:DescribeVpcEndpoints", "UnauthorizedOperation")
		}}, doubt, "", "UnauthorizedOperation"},
		{"one of two endpoints is missing", []change{isolated, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.Endpoints.Value = r.Endpoints.Value[:1]
		}}, "endpoint-missing", "vpc-1", "ssmmessages"},
		{"an endpoint of another Region", []change{isolated, endpoints(func(e *fleet.VPCEndpoint) {
			e.Service = strings.Replace(e.Service, regionName, "us-east-1", 1)
		})}, "endpoint-missing", "vpc-1", "no interface endpoint"},
		{"no address at all", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.PrivateIP = netip.Addr{} }}, doubt, "", "addresses of the host are not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(append([]change{silent, unprobed}, c.changes...)...)
			checkFindings(t, a)
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

// tested sets the host's own test of both session services.
func tested(change func(*fleet.EndpointTest)) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		for i := range h.Probe.Value.Endpoints.Value {
			change(&h.Probe.Value.Endpoints.Value[i])
		}
	}
}

func timedOut(t *fleet.EndpointTest) {
	t.TCP, t.TLS, t.Issuer = known(false, "probe"), lost[bool]("probe", "no connection"), ""
}

func inspected(t *fleet.EndpointTest) {
	t.TLS, t.Issuer = known(false, "probe"), "CN=Corp Proxy\x1b[31m"
}

func closedGroup(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { r.Groups.Value[0].Egress = nil }

func TestLiveTestAgainstStaticAnalysis(t *testing.T) {
	const failed, differ = "egress-test-failed", "egress-disagreement"
	runCases(t, []verdictCase{
		{"both say no", []change{offline, closedGroup, tested(timedOut)}, fleet.VerdictBlocked, "group-egress-closed", []string{"group-egress-closed", failed, onlyNode}},
		{"only the host says no", []change{offline, tested(timedOut)}, fleet.VerdictBlocked, failed, []string{failed, onlyNode, differ}},
		{"only static analysis says no: the host knows better", []change{offline, closedGroup}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, differ}},
		{"TLS is inspected", []change{offline, tested(inspected)}, fleet.VerdictBlocked, "tls-intercepted", []string{"tls-intercepted", onlyNode}},
		{"the name does not resolve", []change{offline, tested(func(t *fleet.EndpointTest) {
			*t = fleet.EndpointTest{Service: t.Service, Host: t.Host, Addresses: known([]netip.Addr{}, "probe")}
		})}, fleet.VerdictBlocked, failed, []string{failed, onlyNode, differ}},
		{"a test that could not be made says nothing", []change{offline, tested(func(t *fleet.EndpointTest) {
			*t = fleet.EndpointTest{Service: t.Service, Host: t.Host}
		})}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a doubt is settled by the host", []change{silent, noEndpoints, route("tgw-1", "active")}, fleet.VerdictUnknown, "node-unknown", []string{"node-unknown"}},
		{"a doubt is settled by TCP alone", []change{silent, noEndpoints, route("tgw-1", "active"), tested(func(t *fleet.EndpointTest) {
			t.TLS = lost[bool]("probe", "no openssl")
		})}, fleet.VerdictUnknown, "node-unknown", []string{"node-unknown"}},
		{"connected: static analysis is a disagreement", []change{closedGroup}, fleet.VerdictReady, "", []string{differ}},
		{"connected: the host's test is a disagreement", []change{tested(timedOut)}, fleet.VerdictReady, "", []string{differ}},
		{"connected: a doubt is none", []change{noEndpoints, route("tgw-1", "active"), unprobed}, fleet.VerdictReady, "", []string{"ssh-not-scanned"}},
		{"heartbeat proves ssm, not ssmmessages", []change{unprobed, isolated, func(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			h.Connection.Value = "notconnected"
			r.Endpoints.Value = r.Endpoints.Value[:1]
		}}, fleet.VerdictBlocked, "endpoint-missing", []string{"endpoint-missing", "node-not-connected", "ssh-not-scanned"}},
		{"private DNS off beside the symptom", []change{offline, unprobed, isolated, endpoints(func(e *fleet.VPCEndpoint) { e.PrivateDNS = false })},
			fleet.VerdictBlocked, "private-dns-off", []string{"private-dns-off", "private-dns-off", onlyNode, "ssh-not-scanned"}},
	})
}

func TestEndpointPolicyFinding(t *testing.T) {
	policy := func(actions string) change {
		return endpoints(func(e *fleet.VPCEndpoint) {
			e.Policy = `{"Statement":{"Effect":"Allow","Principal":"*","Action":[` + actions + `],"Resource":"*"}}`
		})
	}
	noneRead := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Endpoints = lost[[]fleet.VPCEndpoint]("ec2:DescribeVpcEndpoints", "denied")
	}
	const data = `"ssmmessages:CreateDataChannel","ssmmessages:OpenDataChannel"`
	conditional := endpoints(func(e *fleet.VPCEndpoint) {
		e.Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"ssmmessages:*DataChannel","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}]}`
	})
	runCases(t, []verdictCase{
		{"refuses the channels (setup-create-vpc)", []change{offline, policy(heartbeat)}, fleet.VerdictBlocked, "endpoint-policy-denies", []string{"endpoint-policy-denies", onlyNode}},
		{"refuses the channels behind a group that is closed", []change{offline, unprobed, policy(heartbeat), func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) { closedGroup(s, h, r) }}, fleet.VerdictBlocked, "group-egress-closed", []string{"group-egress-closed", "endpoint-policy-denies", onlyNode, "ssh-not-scanned"}},
		{"lets the session actions through", []change{offline, policy(core)}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"connected proves the control channel, not the data channel", []change{policy(heartbeat + "," + channels)}, fleet.VerdictBlocked, "endpoint-policy-denies", []string{"endpoint-policy-denies"}},
		{"connected proves the control channel, whatever the policy says", []change{policy(heartbeat + "," + data)}, fleet.VerdictReady, "", []string{"egress-disagreement"}},
		{"endpoints that were not read may have a policy", []change{noneRead}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided"}},
		{"an open session shows that it lets the data channel through", []change{noneRead, openPort}, fleet.VerdictReady, "", []string{}},
		{"public addresses lead past endpoints", []change{noneRead, tested(func(t *fleet.EndpointTest) {
			t.Addresses = known([]netip.Addr{netip.MustParseAddr("52.95.1.1")}, "probe")
		})}, fleet.VerdictReady, "", []string{}},
		{"name servers of its own may lead to the endpoint", []change{policy(heartbeat + "," + channels), unprobed, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DHCPOptions = known([]fleet.DHCPOptions{{ID: "dopt-1", Servers: []string{"10.8.0.2"}}}, "ec2:DescribeDhcpOptions")
		}}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided", "ssh-not-scanned"}},
		{"a policy that refuses what works is not believed in the rest", []change{policy(heartbeat)}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided", "egress-disagreement"}},
		{"an open session proves the data channel", []change{policy(heartbeat + "," + channels), openPort}, fleet.VerdictReady, "", []string{"egress-disagreement"}},
		{"the data channel under a condition that is not known", []change{conditional}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided"}},
		{"an open session settles the condition", []change{conditional, openPort}, fleet.VerdictReady, "", []string{}},
		{"a connected host need not go by an endpoint that it is computed not to reach", []change{policy(heartbeat + "," + channels), closedGroup}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided", "egress-disagreement"}},
	})
}

func TestEC2MessagesNeverBlocks(t *testing.T) {
	withoutEC2Messages := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { r.Endpoints.Value = r.Endpoints.Value[:2] }
	moved := func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		h.Region, r.Name = "mx-central-1", "mx-central-1"
		endpoints(func(e *fleet.VPCEndpoint) { e.Service = strings.Replace(e.Service, regionName, r.Name, 1) })(s, h, r)
	}
	floor, below := agentVersion("3.3.40.0"), agentVersion("3.3.39.9")
	const old = "agent-below-security-floor"
	runCases(t, []verdictCase{
		{"3.3.40.0 prefers ssmmessages (systems-manager-setting-up-messageAPIs)", []change{unprobed, isolated, withoutEC2Messages, floor}, fleet.VerdictReady, "", []string{old, "ssh-not-scanned"}},
		{"older agents get Run Command over ec2messages", []change{unprobed, isolated, withoutEC2Messages, below}, fleet.VerdictReady, "", []string{"egress-ec2messages", old, "ssh-not-scanned"}},
		{"the host's test finds it", []change{isolated, withoutEC2Messages, below}, fleet.VerdictReady, "", []string{old}},
		{"Regions launched after 2023 have none", []change{unprobed, isolated, withoutEC2Messages, below, moved}, fleet.VerdictReady, "", []string{old, "ssh-not-scanned"}},
	})
}

func TestNetworkFindingNamesTheFirstHopAndWhoSharesIt(t *testing.T) {
	a := assess(offline, unprobed, closedGroup, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		for _, id := range []string{"i-2", "i-3"} {
			s.Hosts = append(s.Hosts, healthyHost(id))
		}
	})
	f := finding(t, a, "group-egress-closed")
	if f.Object != "sg-app" || f.Blast != "security group sg-app is on 3 hosts" || !strings.Contains(f.Fix, "allow TCP 443 out of security group sg-app") {
		t.Errorf("object %s, blast %q, fix %q", f.Object, f.Blast, f.Fix)
	}
	facts := factsOf(f)
	if !strings.Contains(facts, "ssm by static analysis") || !strings.Contains(facts, "ssmmessages by static analysis") || len(f.Evidence) != 4 || !strings.Contains(facts, "gives the addresses of endpoint vpce-ssm,") {
		t.Errorf("one closed group is one finding for both services:\n%s", facts)
	}
	for what, c := range map[string]struct {
		changes []change
		want    string
	}{
		"route table":  {[]change{noEndpoints, route("nat-1", "blackhole")}, "route table rtb-app serves 2 subnets with 1 host"},
		"network ACL":  {[]change{aclEntries("acl-app", rule(90, true, false, "0.0.0.0/0", 443, 443))}, "network ACL acl-app guards 1 subnet with 1 host"},
		"VPC":          {[]change{func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { r.VPCs.Value[0].DNSSupport.Value = false }}, "VPC vpc-1 has 1 host"},
		"NAT gateway":  {[]change{noEndpoints, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) { r.NATGateways.Value[0].State = "failed" }}, "gateway nat-1 serves 2 subnets with 1 host"},
		"VPC endpoint": {[]change{isolated, endpoints(func(e *fleet.VPCEndpoint) { e.State = "failed" })}, "endpoint vpce-ssm serves VPC vpc-1 with 1 host"},
	} {
		a := assess(append([]change{offline, unprobed}, c.changes...)...)
		i := slices.IndexFunc(a.Findings, func(f fleet.Finding) bool { return isStop(f.Code) })
		if i < 0 {
			t.Fatalf("%s: nothing stops the host: %v", what, codes(a))
		}
		if got := a.Findings[i].Blast; got != c.want {
			t.Errorf("%s: blast %q, want %q", what, got, c.want)
		}
	}
}
