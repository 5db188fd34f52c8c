package readiness_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// onlyIPv6 takes the host's IPv4 away; its subnet routes IPv6 to a gateway.
func onlyIPv6(target string) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		h.PrivateIP = netip.Addr{}
		h.Interfaces = []fleet.NetworkInterface{{ID: "eni-1", Subnet: h.Subnet, IPv6: []netip.Addr{netip.MustParseAddr("2600:1f18::10")}, Groups: h.Groups}}
		r.Subnets.Value[0].IPv6 = []netip.Prefix{prefix("2600:1f18::/64")}
		r.Endpoints.Value = nil
		r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("::/0"), Target: target, State: "active"})
		r.Groups.Value[0].Egress[0].CIDRs = append(anywhere(), prefix("::/0"))
		r.NetworkACLs.Value[0].Entries = append(r.NetworkACLs.Value[0].Entries,
			fleet.ACLEntry{Number: 101, Egress: true, Allow: true, Protocol: "-1", CIDR: prefix("::/0")},
			fleet.ACLEntry{Number: 101, Allow: true, Protocol: "-1", CIDR: prefix("::/0")})
	}
}

func dualStack(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.Probe.Value.Agent.Value.Config = fleet.AgentConfig{File: "/etc/amazon/ssm/amazon-ssm-agent.json", DualStack: true}
}

func untestedEndpoints(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.Probe.Value.Endpoints = lost[[]fleet.EndpointTest]("probe: endpoints", "not tested")
}

func TestIPv6(t *testing.T) {
	translated := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("64:ff9b::/96"), Target: "nat-1", State: "active"})
	}
	noIPv6Rule := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Groups.Value[0].Egress[0].CIDRs = anywhere()
	}
	for _, c := range []struct {
		name    string
		changes []change
		code    string // "": no network finding
	}{
		{"the agent is not told of dual-stack endpoints (agent release 3.3.3270.0)", []change{offline, onlyIPv6("eigw-1")}, "ipv6-only"},
		{"the agent is too old for them", []change{offline, onlyIPv6("eigw-1"), dualStack, agentVersion("3.3.3269.0")}, "ipv6-only"},
		{"dual-stack over an egress-only gateway (VPC guide, egress-only-internet-gateway)", []change{silent, onlyIPv6("eigw-1"), dualStack}, ""},
		{"dual-stack over an internet gateway: IPv6 addresses are public", []change{silent, onlyIPv6("igw-1"), dualStack}, ""},
		{"IPv4 rules do not let IPv6 out (VPC guide, security-group-rules)", []change{silent, onlyIPv6("eigw-1"), dualStack, noIPv6Rule}, "group-egress-closed"},
		{"IPv4 and IPv6 routes are independent (route-tables-priority)", []change{silent, onlyIPv6("eigw-1"), dualStack, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			routes := r.RouteTables.Value[0].Routes
			r.RouteTables.Value[0].Routes = routes[:len(routes)-1]
		}}, "endpoint-missing"},
		{"64:ff9b::/96 to a NAT gateway may have DNS64 (nat-gateway-nat64-dns64)", []change{silent, onlyIPv6("eigw-1"), translated}, "egress-unknown"},
		{"an unprobed host without the symptom", []change{silent, unprobed, onlyIPv6("eigw-1")}, "egress-unknown"},
		{"an unprobed host with the symptom", []change{offline, unprobed, onlyIPv6("eigw-1")}, "ipv6-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(append(c.changes, func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
				if h.Probe.Known {
					untestedEndpoints(s, h, r)
				}
			})...)
			checkFindings(t, a)
			checkPaths(t, a)
			got := of(codes(a), func(code string) bool { return areaOf(code) == "network" })
			if want := of([]string{c.code}, func(s string) bool { return s != "" }); !slices.Equal(got, want) {
				t.Errorf("findings %v, want %v: %s", got, want, factsOf(a.Findings[0]))
			}
		})
	}
}

func TestProxies(t *testing.T) {
	foreign := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Probe.Value.Metadata = known(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "squid/6.1"}, "probe: metadata")
	}
	refused := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Probe.Value.Agent.Value.Signs = known([]fleet.LogSign{{Kind: "proxy", At: at, Text: "proxyconnect tcp: connection refused"}}, "probe: agent log")
	}
	const exempt = "169.254.169.254"
	for _, c := range []struct {
		name    string
		changes []change
		codes   []string // in the area network
	}{
		{"a proxy that works", []change{proxied(exempt)}, nil},
		{"a closed way does not matter to an agent with a proxy", []change{proxied(exempt), isolated, noEndpoints, tested(timedOut)}, nil},
		{"what a proxy does is not known", []change{silent, proxied(exempt)}, []string{"egress-unknown"}},
		{"the log tells of the proxy", []change{offline, proxied(exempt), refused}, []string{"proxy-fails"}},
		{"endpoints exempt from the proxy are judged by themselves", []change{offline, proxied(exempt + ",.amazonaws.com"), closedGroup, tested(timedOut)}, []string{"group-egress-closed", "egress-test-failed"}},
		{"no_proxy without the metadata service (configure-proxy-ssm-agent)", []change{offline, proxied("localhost")}, []string{"proxy-answers-metadata"}},
		{"somebody else answers for the metadata service", []change{offline, foreign}, []string{"proxy-answers-metadata"}},
		{"it works all the same", []change{proxied("localhost"), foreign}, nil},
		{"neighbours have a proxy", []change{offline, noEndpoints, isolated, tested(timedOut), more(func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) { proxied(exempt)(s, h, r) }, "i-2")}, []string{"proxy-missing", "egress-test-failed"}},
		{"neighbours with a proxy that Systems Manager does not hear", []change{offline, noEndpoints, isolated, tested(timedOut), more(func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			proxied(exempt)(s, h, r)
			h.Node.Value.PingStatus = "ConnectionLost"
		}, "i-2")}, []string{"endpoint-missing", "egress-test-failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			checkFindings(t, a)
			checkPaths(t, a)
			var got []string
			for _, f := range a.Findings {
				if f.Host == "i-1" && areaOf(f.Code) == "network" {
					got = append(got, f.Code)
				}
			}
			if !slices.Equal(got, c.codes) {
				t.Errorf("findings %v, want %v", got, c.codes)
			}
		})
	}
}

func preferences(inputs string) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = known(fleet.Preferences{Exists: true, Version: "1", Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{` + inputs + `}}`}, "ssm:GetDocument")
	}
}

// gatewayEndpoint adds one for S3, with its prefix list's route in rtb-app.
func gatewayEndpoint(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	r.Endpoints.Value = append(r.Endpoints.Value, fleet.VPCEndpoint{ID: "vpce-s3", VPC: "vpc-1", Service: "com.amazonaws." + regionName + ".s3", Type: "Gateway", State: "available", RouteTables: []string{"rtb-app"}})
	r.RouteTables.Value[0].Routes = append(r.RouteTables.Value[0].Routes, fleet.Route{PrefixList: "pl-s3", Target: "vpce-s3", State: "active"})
	r.PrefixLists.Value = append(r.PrefixLists.Value, fleet.PrefixList{ID: "pl-s3", Name: "com.amazonaws." + regionName + ".s3", CIDRs: []netip.Prefix{prefix("52.218.0.0/17")}})
}

func s3Policy(policy string) change {
	return endpoints(func(e *fleet.VPCEndpoint) {
		if e.Type == "Gateway" {
			e.Policy = policy
		}
	})
}

// TestSessionTargets: AWS PrivateLink Guide, gateway-endpoints (GW).
func TestSessionTargets(t *testing.T) {
	const noWay, unproved, undecided = "session-target-no-path", "session-target-unproved", "session-target-undecided"
	logs := preferences(`"s3BucketName":"logs"`)
	onlyList := group("sg-app", func(g *fleet.SecurityGroup) {
		g.Egress = []fleet.Permission{https(prefix("10.0.0.0/16")), {Protocol: "tcp", From: 443, To: 443, PrefixLists: []string{"pl-s3"}}}
	})
	for _, c := range []struct {
		name    string
		changes []change
		code    string
		object  string
	}{
		{"by the internet", []change{logs}, "", ""},
		{"no preference, no need", []change{preferences(`"s3BucketName":""`), isolated}, "", ""},
		{"no way to S3", []change{logs, isolated}, noWay, "vpc-1"},
		{"GW routing: a gateway endpoint by its prefix list", []change{logs, isolated, gatewayEndpoint}, "", ""},
		{"GW security: egress by the prefix list alone", []change{logs, isolated, gatewayEndpoint, onlyList}, "", ""},
		{"GW security: network ACLs must let S3's addresses pass", []change{logs, isolated, gatewayEndpoint, aclEntries("acl-app", rule(90, true, false, "52.218.0.0/16", 443, 443))}, noWay, "acl-app"},
		{"GW: other services do not use it", []change{preferences(`"cloudWatchLogGroupName":"g"`), isolated, gatewayEndpoint}, noWay, "vpc-1"},
		{"GW: the bucket of another Region does not", []change{logs, isolated, gatewayEndpoint, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.Preferences.Value.Bucket = known(fleet.Bucket{Name: "logs", Exists: true, Region: "us-east-1"}, "s3:GetBucketLocation")
		}}, noWay, "vpc-1"},
		{"GW: its policy", []change{logs, isolated, gatewayEndpoint, s3Policy(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}}`)}, noWay, "vpce-s3"},
		{"a key without an endpoint for KMS", []change{preferences(`"kmsKeyId":"alias/k"`), isolated}, noWay, "vpc-1"},
		{"through a transit gateway", []change{preferences(`"s3BucketName":"logs","s3EncryptionEnabled":false`), route("tgw-1", "active")}, unproved, ""},
		{"encryption is demanded, through a transit gateway", []change{logs, route("tgw-1", "active")}, undecided, ""},
		{"a demand for an encrypted log group, through a transit gateway", []change{preferences(`"cloudWatchLogGroupName":"g"`), route("tgw-1", "active")}, undecided, ""},
		{"a key, through a transit gateway", []change{preferences(`"kmsKeyId":"alias/k"`), route("tgw-1", "active")}, undecided, ""},
		{"a key, where neither endpoints nor routes were read", []change{preferences(`"kmsKeyId":"alias/k"`), func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables, r.Endpoints = lost[[]fleet.RouteTable]("ec2:DescribeRouteTables", "denied"), lost[[]fleet.VPCEndpoint]("ec2:DescribeVpcEndpoints", "denied")
		}}, undecided, ""},
		{"an open shell came by the way to the key", []change{preferences(`"kmsKeyId":"alias/k"`), route("tgw-1", "active"), openSession}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			checkFindings(t, a)
			checkPaths(t, a)
			if c.code == "" {
				if slices.ContainsFunc(codes(a), func(code string) bool { return code == noWay || code == unproved || code == undecided }) {
					t.Errorf("findings %v", codes(a))
				}
				return
			}
			if f := finding(t, a, c.code); f.Object != c.object {
				t.Errorf("object %s, want %s:\n%s", f.Object, c.object, factsOf(f))
			}
		})
	}
}

// TestSessionTargetsFollowTheirRoot closes the ways to Systems Manager and to
// KMS by one fault, which the host's own test of both shows.
func TestSessionTargetsFollowTheirRoot(t *testing.T) {
	key := func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		preferences(`"kmsKeyId":"alias/k"`)(s, h, r)
		tests := &h.Probe.Value.Endpoints.Value
		*tests = append(slices.Clone(*tests), reached("kms", "52.94.0.3"))
	}
	public := func(t *fleet.EndpointTest) {
		timedOut(t)
		t.Addresses = known([]netip.Addr{netip.MustParseAddr("52.94.0.3")}, "probe")
	}
	heardByProxy := more(func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) { proxied("169.254.169.254")(s, h, r) }, "i-2")
	for _, c := range []struct {
		name    string
		changes []change
		root    string
	}{
		{"a network ACL", []change{key, noEndpoints, aclEntries("acl-app", rule(90, false, false, "52.94.0.0/16", 1024, 65535)), tested(public)}, "acl-closed"},
		{"no way out", []change{key, noEndpoints, isolated, tested(public)}, "endpoint-missing"},
		{"a firewall", []change{key, noEndpoints, route("vpce-fw", "active"), tested(public)}, "firewall-drops"},
		{"TLS inspection", []change{key, noEndpoints, tested(inspected)}, "tls-intercepted"},
		{"names do not resolve", []change{key, noEndpoints, tested(unresolved)}, "egress-test-failed"},
		{"the neighbours' proxy is not set", []change{key, noEndpoints, isolated, tested(public), heardByProxy}, "proxy-missing"},
		{"IPv6 only, and not probed", []change{key, unprobed, onlyIPv6("eigw-1")}, "ipv6-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(append([]change{offline}, c.changes...)...)
			checkFindings(t, a)
			got := slices.DeleteFunc(slices.Clone(a.Hosts[0].Causes), func(r fleet.Ref) bool { return r.Code == "preferences-undecided" }) // the key was not read
			if len(got) != 1 || got[0].Code != c.root {
				t.Errorf("root causes %v, want %s alone", got, c.root)
			}
			finding(t, a, "session-target-no-path")
		})
	}
}

func TestSharedHazards(t *testing.T) {
	elsewhere := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Subnet, h.PrivateIP = "subnet-pub", netip.MustParseAddr("10.0.3.10")
	}
	narrow := group("sg-ends", func(g *fleet.SecurityGroup) { g.Ingress = []fleet.Permission{https(prefix("10.0.1.0/24"))} })
	a := assess(narrow, more(elsewhere, "i-2", "i-3"))
	checkFindings(t, a)
	f := finding(t, a, "endpoint-shuts-out-neighbours")
	if f.Object != "vpce-ssm" || f.Host != "" || !strings.Contains(f.Fix, "subnet subnet-pub") || !strings.Contains(factsOf(f), "lets in 1 of 3 hosts; it does not let in i-2, i-3") || !strings.Contains(factsOf(f), "still hears 2 hosts") {
		t.Errorf("%+v", f)
	}
	if slices.Contains(codes(assess(more(elsewhere, "i-2"))), f.Code) {
		t.Error("an endpoint that lets everybody in is a hazard")
	}
	if slices.Contains(codes(assess(offline, group("sg-ends", func(g *fleet.SecurityGroup) { g.Ingress = nil }))), f.Code) {
		t.Error("an endpoint that lets nobody in is the hosts' own finding")
	}

	a = assess(gatewayEndpoint, s3Policy(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":["arn:aws:s3:::amazon-ssm-eu-west-1/*","arn:aws:s3:::own/*"]}}`))
	checkFindings(t, a)
	f = finding(t, a, "endpoint-policy-denies-buckets")
	if f.Object != "vpce-s3" || !strings.Contains(f.Fix, "aws-ssm-eu-west-1") || strings.Contains(f.Fix, "amazon-ssm-eu-west-1") || a.Hosts[0].Verdict != fleet.VerdictReady {
		t.Errorf("%+v", f)
	}
	if slices.Contains(codes(assess(gatewayEndpoint, s3Policy(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`))), f.Code) {
		t.Error("AWS's default policy refuses buckets")
	}
}

// TestSecondaryInterface: a connection to an address in a secondary
// interface's own subnet leaves by that interface.
func TestSecondaryInterface(t *testing.T) {
	second := func(subnet, group string) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			h.Interfaces = []fleet.NetworkInterface{{ID: "eni-1", Subnet: h.Subnet, PrivateIP: h.PrivateIP, Groups: h.Groups}, {ID: "eni-2", Index: 1, Subnet: subnet, PrivateIP: netip.MustParseAddr("10.0.2.77"), Groups: []string{group}}}
			r.Groups.Value = append(r.Groups.Value, fleet.SecurityGroup{ID: "sg-closed", VPC: "vpc-1"})
		}
	}
	for what, c := range map[string]struct {
		change change
		doubt  bool
	}{
		"in a subnet without endpoints":       {second("subnet-pub", "sg-closed"), false},
		"in the endpoints' subnet":            {second("subnet-ends", "sg-closed"), true},
		"in the endpoints' subnet, with room": {second("subnet-ends", "sg-app"), false},
	} {
		a := assess(silent, unprobed, c.change)
		if got := slices.Contains(codes(a), "egress-unknown"); got != c.doubt {
			t.Errorf("%s: doubt %t, want %t: %v", what, got, c.doubt, codes(a))
		}
	}
}

func TestPathsAreSharedAndNameNoHost(t *testing.T) {
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = fmt.Sprintf("i-%d", i+2)
	}
	n := byte(11)
	a := assess(more(func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.PrivateIP = netip.AddrFrom4([4]byte{10, 0, 1, n})
		n++
	}, ids...))
	checkPaths(t, a)
	if len(a.Paths) != 2 {
		t.Errorf("%d ways for 201 alike hosts, want one for each of two services", len(a.Paths))
	}
	for _, v := range a.Hosts {
		if !slices.Equal(v.Paths, []int{0, 1}) {
			t.Fatalf("%s has paths %v", v.Host, v.Paths)
		}
	}
	if p := a.Paths[0]; p.Service != "ssm" || p.Name != name("ssm") || p.Endpoint != "vpce-ssm" || p.Open != fleet.TruthYes {
		t.Errorf("%+v", p)
	}
}

// openness gives how open the worst of the host's ways is.
func openness(t *rapid.T, a *fleet.Assessment) int {
	checkPaths(t, a)
	worst := 2
	for _, i := range a.Hosts[0].Paths {
		worst = min(worst, map[fleet.Truth]int{fleet.TruthNo: 0, fleet.TruthUnknown: 1, fleet.TruthYes: 2}[a.Paths[i].Open])
	}
	return worst
}

// drawEntry draws a network ACL entry that may matter.
func drawEntry(t *rapid.T, number int) fleet.ACLEntry {
	from := rapid.SampledFrom([]int{0, 22, 443, 1024, 32768, 50000}).Draw(t, "from")
	return fleet.ACLEntry{
		Number: number, Egress: rapid.Bool().Draw(t, "egress"), Allow: rapid.Bool().Draw(t, "allow"), Protocol: rapid.SampledFrom([]string{"6", "-1", "17"}).Draw(t, "protocol"),
		CIDR: prefix(rapid.SampledFrom([]string{"0.0.0.0/0", "10.0.2.0/24", "10.0.1.0/24", "10.0.1.10/32", "52.0.0.0/8", "0.0.0.0/1"}).Draw(t, "cidr")),
		From: from, To: max(from, rapid.SampledFrom([]int{443, 60999, 65535}).Draw(t, "to")),
	}
}

func drawWay(t *rapid.T) []change {
	ways := []change{asIs, noEndpoints, isolated}
	return []change{silent, unprobed, rapid.SampledFrom(ways).Draw(t, "way")}
}

// TestADenyBelowNeverWidens: Amazon VPC User Guide, nacl-rules: the lowest
// number decides.
func TestADenyBelowNeverWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		way := drawWay(t)
		acl := rapid.SampledFrom([]string{"acl-app", "acl-ends", "acl-pub"}).Draw(t, "acl")
		entries := []fleet.ACLEntry{}
		for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
			entries = append(entries, drawEntry(t, 10+i))
		}
		deny := drawEntry(t, 1)
		deny.Allow = false
		before := openness(t, assess(append(slices.Clone(way), aclEntries(acl, entries...))...))
		after := openness(t, assess(append(slices.Clone(way), aclEntries(acl, append([]fleet.ACLEntry{deny}, entries...)...))...))
		if after > before {
			t.Fatalf("was %d, is %d with %+v first", before, after, deny)
		}
	})
}

// TestADenyMovedBeforeAnAllowNeverOpens: as above; order is the number's.
func TestADenyMovedBeforeAnAllowNeverOpens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		way := drawWay(t)
		acl := rapid.SampledFrom([]string{"acl-app", "acl-ends", "acl-pub"}).Draw(t, "acl")
		allow, deny := drawEntry(t, 10), drawEntry(t, 20)
		allow.Allow, deny.Allow = true, false
		before := openness(t, assess(append(slices.Clone(way), aclEntries(acl, allow, deny))...))
		allow.Number, deny.Number = 20, 10
		after := openness(t, assess(append(slices.Clone(way), aclEntries(acl, allow, deny))...))
		if after > before {
			t.Fatalf("was %d, is %d", before, after)
		}
	})
}

// TestABlackholeNeverOpens: Amazon VPC User Guide, route-tables-priority: the
// most specific route decides.
func TestABlackholeNeverOpens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		way := drawWay(t)
		table := rapid.IntRange(0, 1).Draw(t, "table")
		hole := prefix(rapid.SampledFrom([]string{"0.0.0.0/0", "0.0.0.0/1", "52.0.0.0/8", "10.0.2.0/24", "10.0.2.5/32", "10.0.0.0/17"}).Draw(t, "to"))
		before := openness(t, assess(way...))
		after := openness(t, assess(append(slices.Clone(way), func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.RouteTables.Value[table].Routes = append(r.RouteTables.Value[table].Routes, fleet.Route{CIDR: hole, Target: "tgw-gone", State: "blackhole"})
		})...))
		if after > before {
			t.Fatalf("was %d, is %d with a blackhole for %s", before, after, hole)
		}
	})
}

func TestPathsOpenAsTheirHopsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkPaths(t, judge(forget(t, drawWorld(t)))) })
}
