package readiness_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

const (
	accountID  = "111122223333"
	regionName = "eu-west-1"
	coreARN    = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
	roleARN    = "arn:aws:iam::" + accountID + ":role/web"
	profileARN = "arn:aws:iam::" + accountID + ":instance-profile/web"
	hostRole   = "AWSSystemsManagerDefaultEC2InstanceManagementRole"
)

var (
	at  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	now = at.Add(time.Hour)
)

// allowing is an identity policy that allows actions on everything.
func allowing(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
}

const (
	core      = `"ssm:UpdateInstanceInformation","ssmmessages:*","ec2messages:*"`
	heartbeat = `"ssm:UpdateInstanceInformation"`
	channels  = `"ssmmessages:CreateControlChannel","ssmmessages:OpenControlChannel"`
)

func known[T any](v T, source string) fleet.Fact[T] { return fleet.Known(v, source, at) }

func lost[T any](source, why string) fleet.Fact[T] { return fleet.Unknown[T](source, at, why) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func anywhere() []netip.Prefix { return []netip.Prefix{prefix("0.0.0.0/0")} }

func https(cidrs ...netip.Prefix) fleet.Permission {
	return fleet.Permission{Protocol: "tcp", From: 443, To: 443, CIDRs: cidrs}
}

func openACL(id string, subnets ...string) fleet.NetworkACL {
	return fleet.NetworkACL{ID: id, VPC: "vpc-1", Default: true, Subnets: subnets, Entries: []fleet.ACLEntry{
		{Number: 100, Egress: true, Allow: true, Protocol: "-1", CIDR: prefix("0.0.0.0/0")},
		{Number: 100, Allow: true, Protocol: "-1", CIDR: prefix("0.0.0.0/0")},
		{Number: 32767, Egress: true, Protocol: "-1", CIDR: prefix("0.0.0.0/0")},
		{Number: 32767, Protocol: "-1", CIDR: prefix("0.0.0.0/0")},
	}}
}

func endpoint(service string) fleet.VPCEndpoint {
	return fleet.VPCEndpoint{
		ID: "vpce-" + service, VPC: "vpc-1", Service: "com.amazonaws." + regionName + "." + service, Type: "Interface",
		State: "available", PrivateDNS: true, Subnets: []string{"subnet-ends"}, Groups: []string{"sg-ends"},
	}
}

// healthy is a snapshot of one host that is ready: connected, with interface
// endpoints, a NAT gateway that nothing needs, and every fact known.
//
//	subnet-app  10.0.1.0/24  the host, rtb-app: NAT gateway
//	subnet-ends 10.0.2.0/24  the endpoints
//	subnet-pub  10.0.3.0/24  the NAT gateway, rtb-pub: internet gateway
func healthy() *fleet.Snapshot {
	s := &fleet.Snapshot{
		SnapshotInfo: fleet.SnapshotInfo{ID: 7, Started: at.Add(-time.Minute), Finished: at, State: fleet.SnapshotComplete},
		Accounts: []fleet.Account{{
			ID:       accountID,
			Label:    "prod",
			Profiles: known([]fleet.InstanceProfile{{ARN: profileARN, Name: "web", Role: "web"}}, "iam:ListInstanceProfiles"),
			Roles: known([]fleet.Role{
				{Name: "web", ARN: roleARN, Attached: []string{coreARN}},
				{Name: hostRole, ARN: "arn:aws:iam::" + accountID + ":role/service-role/" + hostRole, Attached: []string{coreARN}},
			}, "iam:GetAccountAuthorizationDetails"),
			Policies:    known([]fleet.Policy{{ARN: coreARN, Name: "AmazonSSMManagedInstanceCore", Document: known(allowing(core), "iam:GetPolicyVersion")}}, "iam:ListPolicies"),
			HostedZones: known([]fleet.HostedZone{}, "route53:ListHostedZonesByVPC"),
		}},
		Regions: []fleet.Region{healthyRegion()},
		Hosts:   []fleet.Host{healthyHost("i-1")},
	}
	return s
}

func healthyRegion() fleet.Region {
	return fleet.Region{
		Account: accountID, Name: regionName, Label: "prod",
		Instances:     known(1, "ec2:DescribeInstances"),
		Nodes:         known(1, "ssm:DescribeInstanceInformation"),
		DefaultRole:   known("", "ssm:GetServiceSetting"),
		ScalingGroups: known([]fleet.ScalingGroup{}, "autoscaling:DescribeAutoScalingGroups"),
		Templates:     known([]fleet.LaunchTemplate{}, "ec2:DescribeLaunchTemplates"),
		KeyPairs:      known([]fleet.KeyPair{{Name: "prod", PublicKey: "ssh-ed25519 AAAAprod prod"}}, "ec2:DescribeKeyPairs"),
		VPCs: known([]fleet.VPC{{
			ID: "vpc-1", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}, DHCPOptions: "dopt-1",
			DNSSupport: known(true, "ec2:DescribeVpcAttribute"), DNSHostnames: known(true, "ec2:DescribeVpcAttribute"),
		}}, "ec2:DescribeVpcs"),
		Subnets: known([]fleet.Subnet{
			{ID: "subnet-app", VPC: "vpc-1", CIDR: prefix("10.0.1.0/24")},
			{ID: "subnet-ends", VPC: "vpc-1", CIDR: prefix("10.0.2.0/24")},
			{ID: "subnet-pub", VPC: "vpc-1", CIDR: prefix("10.0.3.0/24")},
		}, "ec2:DescribeSubnets"),
		RouteTables: known([]fleet.RouteTable{
			{ID: "rtb-app", VPC: "vpc-1", Main: true, Routes: []fleet.Route{
				{CIDR: prefix("10.0.0.0/16"), Target: "local", State: "active"},
				{CIDR: prefix("0.0.0.0/0"), Target: "nat-1", State: "active"},
			}},
			{ID: "rtb-pub", VPC: "vpc-1", Subnets: []string{"subnet-pub"}, Routes: []fleet.Route{
				{CIDR: prefix("10.0.0.0/16"), Target: "local", State: "active"},
				{CIDR: prefix("0.0.0.0/0"), Target: "igw-1", State: "active"},
			}},
		}, "ec2:DescribeRouteTables"),
		Groups: known([]fleet.SecurityGroup{
			{ID: "sg-app", VPC: "vpc-1", Egress: []fleet.Permission{{Protocol: "-1", From: -1, To: -1, CIDRs: anywhere()}}},
			{ID: "sg-ends", VPC: "vpc-1", Ingress: []fleet.Permission{https(prefix("10.0.0.0/16"))}},
		}, "ec2:DescribeSecurityGroups"),
		NetworkACLs: known([]fleet.NetworkACL{
			openACL("acl-app", "subnet-app"), openACL("acl-ends", "subnet-ends"), openACL("acl-pub", "subnet-pub"),
		}, "ec2:DescribeNetworkAcls"),
		Endpoints:     known([]fleet.VPCEndpoint{endpoint("ssm"), endpoint("ssmmessages"), endpoint("ec2messages")}, "ec2:DescribeVpcEndpoints"),
		Gateways:      known([]fleet.Gateway{{ID: "igw-1", VPCs: []string{"vpc-1"}, State: "available"}}, "ec2:DescribeInternetGateways"),
		NATGateways:   known([]fleet.Gateway{{ID: "nat-1", VPCs: []string{"vpc-1"}, Subnet: "subnet-pub", State: "available", Public: true}}, "ec2:DescribeNatGateways"),
		PrefixLists:   known([]fleet.PrefixList{}, "ec2:DescribeManagedPrefixLists"),
		Peerings:      known([]fleet.Peering{}, "ec2:DescribeVpcPeeringConnections"),
		ResolverRules: known([]fleet.ResolverRule{}, "route53resolver:ListResolverRules"),
		Preferences:   known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`}, "ssm:GetDocument"),
		DHCPOptions:   known([]fleet.DHCPOptions{{ID: "dopt-1", Servers: []string{"AmazonProvidedDNS"}}}, "ec2:DescribeDhcpOptions"),
	}
}

func healthyHost(id string) fleet.Host {
	return fleet.Host{
		ID: id, Account: accountID, Region: regionName, AZ: regionName + "a", State: "running", Platform: "Linux/UNIX",
		VPC: "vpc-1", Subnet: "subnet-app", PrivateIP: netip.MustParseAddr("10.0.1.10"), Groups: []string{"sg-app"},
		ProfileARN: profileARN, Metadata: fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required"},
		Node: known(fleet.Node{
			ID: id, Account: accountID, Region: regionName, Registered: true, PingStatus: "Online",
			LastPing: at.Add(-time.Minute), AgentVersion: "3.3.5226.0", PlatformType: "Linux",
		}, "ssm:DescribeInstanceInformation"),
		Connection: known("connected", "ssm:GetConnectionStatus"),
		Probe:      known(healthyProbe(), "probe"),
	}
}

func healthyProbe() fleet.Probe {
	return fleet.Probe{
		LoginUser: "ec2-user", Root: true, HostTime: at, Hostname: "web",
		SSHD:     known(fleet.SSHD{Version: "OpenSSH_9.6p1", Settings: map[string][]string{"passwordauthentication": {"no"}}}, "probe: sshd -T"),
		Users:    known([]fleet.User{{Name: "ec2-user", UID: 1000}}, "probe: getent passwd"),
		Keys:     known([]fleet.Key{}, "probe: keys"),
		Agent:    known(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Unit: "amazon-ssm-agent", Active: "active", Enabled: "enabled"}, "probe: agent"),
		Sessions: known([]fleet.Session{}, "probe: sessions"),
		Logins:   known(fleet.LoginLog{Source: "journal", From: at.AddDate(0, 0, -200), To: at}, "probe: journal"),
		Endpoints: known([]fleet.EndpointTest{
			reached("ssm", "10.0.2.5"), reached("ssmmessages", "10.0.2.6"), reached("ec2messages", "10.0.2.7"),
		}, "probe: endpoints"),
		Health:    known(healthyMachine(), "probe: health"),
		Metadata:  known(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "EC2ws", Role: "web", Region: regionName}, "probe: metadata"),
		CloudInit: known(fleet.CloudInit{Present: true}, "probe: cloud-init"),
		Traces:    known([]fleet.Trace{}, "probe: traces"),
	}
}

// healthyMachine has room, inotify instances and Amazon's authority.
func healthyMachine() fleet.Health {
	return fleet.Health{
		Filesystems: []fleet.Filesystem{
			{Mount: "/", Type: "xfs", Options: []string{"rw"}, Size: 20 << 30, Free: 12 << 30, Inodes: 1e6, FreeInodes: 9e5},
			{Mount: "/tmp", Type: "tmpfs", Options: []string{"rw", "nosuid", "nodev"}, Size: 1 << 30, Free: 1 << 30, Inodes: 1e6, FreeInodes: 1e6},
		},
		Inotify:    fleet.Inotify{MaxInstances: 128, MaxWatches: 60000, UsedInstances: 6},
		TrustStore: known(true, "probe: trust store"),
	}
}

func reached(service, address string) fleet.EndpointTest {
	return fleet.EndpointTest{
		Service: service, Host: service + "." + regionName + ".amazonaws.com",
		Addresses: known([]netip.Addr{netip.MustParseAddr(address)}, "probe"), TCP: known(true, "probe"), TLS: known(true, "probe"),
		Issuer: "CN=Amazon RSA 2048 M01",
	}
}

// change alters a healthy snapshot.
type change func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region)

// offline makes Systems Manager answer in full and not list the host.
func offline(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.Node = known(fleet.Node{ID: h.ID}, "ssm:DescribeInstanceInformation")
	h.Connection = lost[string]("ssm:GetConnectionStatus", "not a managed node")
}

// silent makes Systems Manager give no answer.
func silent(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.Node = lost[fleet.Node]("ssm:DescribeInstanceInformation", "AccessDeniedException")
	h.Connection = lost[string]("ssm:GetConnectionStatus", "AccessDeniedException")
}

func unprobed(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
	h.Probe = lost[fleet.Probe]("probe", "connection refused")
}

func assess(changes ...change) *fleet.Assessment {
	s := healthy()
	for _, c := range changes {
		c(s, &s.Hosts[0], &s.Regions[0])
	}
	return readiness.Assess(s, readiness.DefaultPolicy(), now)
}

func codes(a *fleet.Assessment) []string {
	out := []string{}
	for _, f := range a.Findings {
		out = append(out, f.Code)
	}
	return out
}

func finding(t *testing.T, a *fleet.Assessment, code string) fleet.Finding {
	t.Helper()
	i := slices.IndexFunc(a.Findings, func(f fleet.Finding) bool { return f.Code == code })
	if i < 0 {
		t.Fatalf("no finding %s among %v", code, codes(a))
	}
	return a.Findings[i]
}

func factsOf(f fleet.Finding) string {
	out := ""
	for _, e := range f.Evidence {
		out += e.Fact + "\n"
	}
	return out
}

// verdictCase is a row of the tables: what the changes do to the healthy host.
type verdictCase struct {
	name    string // names the rule and where it is written
	changes []change
	verdict fleet.Verdict
	cause   string
	codes   []string // all findings, in order
}

func runCases(t *testing.T, cases []verdictCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			if got := a.Hosts[0]; got.Verdict != c.verdict || got.Cause != c.cause {
				t.Errorf("verdict %s because of %q, want %s because of %q", got.Verdict, got.Cause, c.verdict, c.cause)
			}
			if got := codes(a); !slices.Equal(got, c.codes) {
				t.Errorf("findings %v, want %v", got, c.codes)
			}
			checkFindings(t, a)
		})
	}
}

// checkFindings asserts what holds for every finding.
func checkFindings(t *testing.T, a *fleet.Assessment) {
	t.Helper()
	for _, f := range a.Findings {
		i := slices.IndexFunc(readiness.Catalogue(), func(e readiness.Entry) bool { return e.Code == f.Code })
		if i < 0 {
			t.Errorf("finding %s is not in the catalogue", f.Code)
			continue
		}
		if e := readiness.Catalogue()[i]; e.Severity != f.Severity || e.Title != f.Title {
			t.Errorf("finding %s is %s %q, catalogue says %s %q", f.Code, f.Severity, f.Title, e.Severity, e.Title)
		}
		if len(f.Evidence) == 0 || f.Fix == "" || f.Blast == "" {
			t.Errorf("finding %s lacks evidence, fix or blast radius: %+v", f.Code, f)
		}
		for _, e := range f.Evidence {
			if e.Fact == "" || e.Source == "" {
				t.Errorf("finding %s has evidence without fact or source: %+v", f.Code, e)
			}
		}
	}
}
