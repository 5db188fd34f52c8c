package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/readiness"
)

// served is a scene in which i-001 waits for endpoints, and i-002 in another
// subnet has a way to the internet.
func served() *scene {
	x := newScene(3)
	x.network("igw-1") // of subnet-b, where i-001 and i-003 are
	for i := range x.s.Hosts {
		x.s.Hosts[i].PublicIP = netip.MustParseAddr("198.51.100.9")
	}
	x.block(1, "endpoint-missing", "vpc-1") // i-002, in subnet-a: its table leads nowhere
	return x
}

func lines(s plan.Step) string { return strings.Join(s.After, "\n") }

// TestEndpointsServeTheWholeVPC: zones with hosts, least policies, the price's formula.
func TestEndpointsServeTheWholeVPC(t *testing.T) {
	x := served()
	x.s.Hosts[0].Account = "444455556666" // it shares the VPC
	s := one(t, x.make(t), plan.CreateEndpoint)
	c := s.Endpoint
	if diff := cmp.Diff([][]string{{region + "a", region + "b"}, {"subnet-a", "subnet-b"}, {"10.0.0.0/16"}}, [][]string{c.Zones, c.Subnets, c.Sources}); diff != "" {
		t.Errorf("zones, subnets, sources (-want +got): %s", diff)
	}
	condition := `,"Condition":{"StringEquals":{"aws:PrincipalAccount":["` + account + `","444455556666"]}}}`
	want := map[string]string{
		"com.amazonaws." + region + ".ssm": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ssm:*"],"Resource":["*"]` + condition + `]}`,
		"com.amazonaws." + region + ".ssmmessages": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ssmmessages:*"],"Resource":["*"]` + condition +
			`,{"Effect":"Allow","Principal":"*","Action":["ssmmessages:OpenDataChannel"],"Resource":["*"]}]}`,
	}
	if diff := cmp.Diff(want, c.Policies); diff != "" {
		t.Errorf("policies (-want +got): %s", diff)
	}
	for _, part := range []string{
		"for principals of " + account + ", 444455556666", "zones " + region + "a, " + region + "b",
		"cost: 2 endpoints × 2 zones × 730 hours", "aws.amazon.com/privatelink/pricing",
	} {
		if !strings.Contains(lines(s), part) {
			t.Errorf("%q is not in the preview: %s", part, lines(s))
		}
	}
	if s.Warning != "" {
		t.Errorf("warning %q", s.Warning)
	}
}

// TestEndpointPolicyIsTheOperators: by organization, or none.
func TestEndpointPolicyIsTheOperators(t *testing.T) {
	x := served()
	x.p.EndpointPolicy = "o-a1b2c3d4e5"
	for service, text := range one(t, x.make(t), plan.CreateEndpoint).Endpoint.Policies {
		if !strings.Contains(text, `"Condition":{"StringEquals":{"aws:PrincipalOrgID":["o-a1b2c3d4e5"]}}`) {
			t.Errorf("%s: %s", service, text)
		}
	}
	x = served()
	x.p.EndpointPolicy, x.p.EndpointSources = "open", []string{"10.9.0.0/16"}
	c := one(t, x.make(t), plan.CreateEndpoint).Endpoint
	if c.Policies != nil || !slices.Contains(c.Sources, "10.9.0.0/16") {
		t.Errorf("%+v", c)
	}
}

// TestEndpointsThatNeighboursCouldNotUseAreRefused: a host that has a way today,
// and whose group lets nothing out to the VPC, would lose it.
func TestEndpointsThatNeighboursCouldNotUseAreRefused(t *testing.T) {
	x := served()
	x.group(fleet.SecurityGroup{ID: "sg-out", Name: "out", Egress: []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, CIDRs: []netip.Prefix{
		prefix("0.0.0.0/1"), prefix("128.0.0.0/1"),
	}}}})
	x.s.Hosts[2].Groups = []string{"sg-out"}
	p := x.make(t)
	if n := len(p.Of(plan.CreateEndpoint)); n != 1 {
		t.Fatalf("%d steps where all hosts keep the service: %+v", n, p.Refusals)
	}
	var public []netip.Prefix // all but the VPC's own
	for _, c := range []string{"0.0.0.0/5", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/1"} {
		public = append(public, prefix(c))
	}
	groups := x.region().Groups.Value
	groups[len(groups)-1].Egress[0].CIDRs = public
	if today, why := readiness.NewWays(x.s).Service(&x.s.Hosts[2], "ssm"); today != fleet.TruthYes {
		t.Fatalf("i-003 today: %s %s", today, why)
	}
	p = x.make(t)
	r := refusal(t, p, "not-ready")
	if len(p.Of(plan.CreateEndpoint)) > 0 || r.Host != x.s.Hosts[1].Ref() || !strings.Contains(r.Text, "would take it from 1 host") || !strings.Contains(r.Text, "i-003 (ssm: ") {
		t.Errorf("%+v", r)
	}
}

// TestNetworksThatAskTheVPCsNameServerAreNamed, until the policy lets them in.
func TestNetworksThatAskTheVPCsNameServerAreNamed(t *testing.T) {
	x := served()
	x.region().Peerings = known([]fleet.Peering{{
		ID: "pcx-1", State: "active", Requester: fleet.PeeringEnd{VPC: "vpc-1", Account: account, Region: region}, Accepter: fleet.PeeringEnd{VPC: "vpc-9", Account: "777788889999", Region: region},
	}})
	x.region().RouteTables.Value[0].Routes = append(x.region().RouteTables.Value[0].Routes, fleet.Route{CIDR: prefix("192.168.0.0/16"), Target: "tgw-1", State: "active"})
	s := one(t, x.make(t), plan.CreateEndpoint)
	if !strings.Contains(s.Warning, "networks behind peered vpc-9, tgw-1 get the endpoints' addresses too") {
		t.Errorf("warning %q", s.Warning)
	}
	if text := s.Endpoint.Policies["com.amazonaws."+region+".ssm"]; !strings.Contains(text, "777788889999") {
		t.Errorf("the peer's account is not let through: %s", text)
	}
	x.p.EndpointSources = []string{"192.168.0.0/16"}
	if s := one(t, x.make(t), plan.CreateEndpoint); strings.Contains(s.Warning, "name server") {
		t.Errorf("warning %q", s.Warning)
	}
}

// TestGatewayForPackages: a host whose VPC has no way to S3 gets one, in its own
// route table, for the agent's packages alone.
func TestGatewayForPackages(t *testing.T) {
	x := newScene(2)
	x.network("")
	x.probe(0).Agent.Value = fleet.HostAgent{}
	x.block(0, "agent-missing", "")
	p := x.make(t)
	s := one(t, p, plan.CreateEndpoint)
	want := &plan.EndpointChange{VPC: "vpc-1", Services: []string{"com.amazonaws." + region + ".s3"}, Tables: []string{"rtb-public"}, Policies: map[string]string{
		"com.amazonaws." + region + ".s3": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::amazon-ssm-` + region + `/*"]}]}`,
	}}
	if diff := cmp.Diff(want, s.Endpoint); diff != "" {
		t.Errorf("-want +got: %s", diff)
	}
	if !strings.Contains(lines(s), "routed to from rtb-public") || len(p.Of(plan.Agent)) != 1 || p.Waves[0].Name != "foundation" {
		t.Errorf("%s; %+v", lines(s), p.Waves)
	}

	// Its group lets nothing out: an endpoint would not help.
	x.region().Groups.Value[0].Egress = nil
	if r := refusal(t, x.make(t), "not-ready"); !strings.Contains(r.Text, "comes from S3 bucket") {
		t.Errorf("%+v", r)
	}
}

// TestGatewayForSessionLogs: with the rights that logs need. Where a host behind
// the route tables may use S3 today, everything is let through.
func TestGatewayForSessionLogs(t *testing.T) {
	x := newScene(2)
	x.network("")
	x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"s3BucketName":"logs"}}`})
	x.block(0, "session-target-no-path", "s3")
	x.a.Hosts[0].Paths = []int{0}
	x.a.Paths = []fleet.Path{{Service: "s3", Open: fleet.TruthNo}}
	text := one(t, x.make(t), plan.CreateEndpoint).Endpoint.Policies["com.amazonaws."+region+".s3"]
	for _, part := range []string{`["s3:PutObject"],"Resource":["arn:aws:s3:::logs/*"]`, `["s3:GetEncryptionConfiguration"],"Resource":["arn:aws:s3:::logs"]`, "amazon-ssm-" + region} {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %s", text, part)
		}
	}
	x.add(readyHost(5)) // in the same subnet
	x.s.Hosts[2].Subnet = "subnet-unknown"
	if c := one(t, x.make(t), plan.CreateEndpoint).Endpoint; c.Policies != nil {
		t.Errorf("a host that may use S3 would be cut off: %v", c.Policies)
	}
}
