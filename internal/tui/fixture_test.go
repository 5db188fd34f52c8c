package tui

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// testNow is the clock of all tests.
var testNow = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const (
	testAccount = "123456789012"
	testRegion  = "eu-west-1"
)

var testFamilies = []struct{ id, version, pretty string }{
	{"amzn", "2023", "Amazon Linux 2023.8"}, {"ubuntu", "22.04", "Ubuntu 22.04.5 LTS"}, {"rhel", "9.4", "Red Hat Enterprise Linux 9.4"}, {"debian", "12", "Debian GNU/Linux 12"},
}

var testServices = []string{"web", "api", "queue", "cache", "batch"}

// testFleet makes n hosts in every state that the screens tell apart.
func testFleet(n int) (*fleet.Snapshot, *fleet.Assessment) {
	at := testNow.Add(-3 * time.Minute)
	snap := &fleet.Snapshot{
		SnapshotInfo: fleet.SnapshotInfo{ID: 3, Started: at, Finished: at.Add(41 * time.Second), State: fleet.SnapshotIncomplete, Version: "test", Hosts: n, Unknowns: 2},
		Accounts:     []fleet.Account{{ID: testAccount, Label: "prod", Caller: fleet.Known("arn:aws:iam::123456789012:user/ops", "sts:GetCallerIdentity", at), Profiles: fleet.Known([]fleet.InstanceProfile{{Name: "web"}}, "iam:ListInstanceProfiles", at)}},
		Regions:      []fleet.Region{testRegionFacts(n, at)},
	}
	judged := &fleet.Assessment{Snapshot: 3, At: testNow}
	for i := range n {
		h := testHost(i, at)
		v, findings := testVerdict(i, h, at)
		snap.Hosts = append(snap.Hosts, h)
		judged.Hosts = append(judged.Hosts, v)
		judged.Findings = append(judged.Findings, findings...)
	}
	snap.Accounts[0].Roles = fleet.Known([]fleet.Role{{Name: "web"}}, "iam:GetAccountAuthorizationDetails", at)
	snap.Accounts[0].Policies = fleet.Known([]fleet.Policy{{Name: "web"}}, "iam:GetAccountAuthorizationDetails", at)
	judged.Findings = append(judged.Findings, fleet.Finding{
		Code: "default-role-off", Severity: fleet.SeverityNote, Object: testAccount + "/" + testRegion,
		Title:    "Default Host Management Configuration is off in eu-west-1",
		Evidence: []fleet.Evidence{{Fact: "no default instance management role is set", Source: "ssm:GetServiceSetting", At: at}},
		Fix:      "Turn it on to give hosts without an instance profile a role.",
		Blast:    "every instance of the Region without a profile of its own",
	})
	testPeople(judged, at)
	return snap, judged
}

// testPeople adds paths, a ledger, access and operators.
func testPeople(judged *fleet.Assessment, at time.Time) {
	hop := func(kind, object, text string, passes fleet.Truth) fleet.Hop {
		return fleet.Hop{Kind: kind, Object: object, Text: text, Passes: passes, Source: "ec2", At: at}
	}
	judged.Paths = []fleet.Path{
		{Service: "ssm", Name: "ssm.eu-west-1.amazonaws.com", Endpoint: "vpce-0a1", Open: fleet.TruthYes, Hops: []fleet.Hop{
			hop("dns", "vpce-0a1", "the name leads to the endpoint", fleet.TruthYes), hop("security group", "sg-0aa", "lets 443 out", fleet.TruthYes), hop("endpoint", "vpce-0a1", "is available", fleet.TruthYes)}},
		{Service: "ssmmessages", Name: "ssmmessages.eu-west-1.amazonaws.com", Open: fleet.TruthNo, Hops: []fleet.Hop{
			hop("dns", "", "the name leads to public addresses", fleet.TruthYes), hop("security group", "sg-0aa", "lets 443 out", fleet.TruthYes),
			hop("route table", "rtb-0c3", "no route leads to the internet, and no endpoint for ssmmessages is in the VPC", fleet.TruthNo)}},
	}
	var ids []string
	var cells []byte
	for i := range judged.Hosts {
		judged.Hosts[i].Paths = []int{0, 1}
		ids = append(ids, judged.Hosts[i].Host)
		cells = append(cells, "klgu-"[i%5])
	}
	judged.Ledger = fleet.Ledger{Hosts: len(ids), Unread: ids[:min(4, len(ids))], Consumers: []fleet.Consumer{
		{Owner: "Ann", OwnerBy: "fingerprint", Principals: []string{"arn:aws:iam::123456789012:role/ops"}, Method: "publickey", Fingerprint: "SHA256:key0", KeyType: "ED25519", Comment: "ann@laptop",
			User: "ops", From: netip.MustParseAddr("10.0.0.5"), Use: fleet.UseShell, Hosts: ids, Count: 41, First: at.Add(-29 * 24 * time.Hour), Last: at.Add(-2 * time.Hour), Open: 1, Why: "came 2 hours ago"},
		{Method: "publickey", Fingerprint: "SHA256:key1", Comment: "deploy@ci", User: "deploy", From: netip.MustParseAddr("10.0.7.7"), Use: fleet.UseRsync, Hosts: ids[:1], Count: 900, Last: at.Add(-time.Hour), Status: fleet.ConsumerWaived,
			Why: "waived until 2026-06-01", Waiver: &fleet.Waiver{By: "Ann", Why: "moves to S3 in May", Until: at.Add(90 * 24 * time.Hour)}},
		{Owner: "Bob", OwnerBy: "comment", Method: "publickey", Fingerprint: "SHA256:key3", User: "ops", Hosts: ids[:1], Count: 1, Last: at.Add(-80 * 24 * time.Hour), Status: fleet.ConsumerSilent, Why: "did not come for 80 days"},
	}}
	judged.Parity = fleet.Parity{People: []fleet.PersonParity{
		{Person: "Ann", Claimed: true, Principals: []string{"arn:aws:iam::123456789012:role/ops"}, Keys: []string{"SHA256:key0"}, Cells: strings.Repeat("k", len(ids)), Keeps: len(ids)},
		{Person: "Bob", Claimed: true, Keys: []string{"SHA256:key3"}, Cells: string(cells), Keeps: 12, Loses: 12, Gains: 12, Unknown: 12},
	}}
	judged.Operators = []fleet.Operator{
		{ARN: "arn:aws:iam::123456789012:role/ops", Kind: "role", Federated: true, People: []string{"Ann"}, Start: fleet.Reach{Yes: 50, Unknown: 4, No: 6}, Documents: []string{"AWS-StartSSHSession"}, EditPreferences: fleet.TruthNo, Why: "policy sessions allows it on team shop and data"},
		{ARN: "arn:aws:iam::123456789012:user/breakglass", Kind: "user", Start: fleet.Reach{Yes: 60}, Resume: fleet.Reach{Yes: 60}, Terminate: fleet.Reach{Yes: 60}, Command: fleet.Reach{Yes: 60}, Unrestricted: true, EditPreferences: fleet.TruthYes, Why: "AdministratorAccess allows it"},
	}
}

func testRegionFacts(n int, at time.Time) fleet.Region {
	r := fleet.Region{
		Account: testAccount, Name: testRegion, Label: "prod",
		Instances:     fleet.Known(n, "ec2:DescribeInstances", at),
		Nodes:         fleet.Known(n/2, "ssm:DescribeInstanceInformation", at),
		HybridNodes:   []fleet.Node{{ID: "mi-0123456789abcdef0"}},
		DefaultRole:   fleet.Known("", "ssm:GetServiceSetting", at),
		ScalingGroups: fleet.Known([]fleet.ScalingGroup{{}, {}}, "autoscaling:DescribeAutoScalingGroups", at),
		Templates:     fleet.Known([]fleet.LaunchTemplate{{}}, "ec2:DescribeLaunchTemplates", at),
		KeyPairs:      fleet.Known([]fleet.KeyPair{{}}, "ec2:DescribeKeyPairs", at),
		VPCs:          fleet.Known([]fleet.VPC{{}}, "ec2:DescribeVpcs", at),
		Subnets:       fleet.Known([]fleet.Subnet{{}}, "ec2:DescribeSubnets", at),
		RouteTables:   fleet.Known([]fleet.RouteTable{{}}, "ec2:DescribeRouteTables", at),
		Groups:        fleet.Known([]fleet.SecurityGroup{{}}, "ec2:DescribeSecurityGroups", at),
		NetworkACLs:   fleet.Known([]fleet.NetworkACL{{}}, "ec2:DescribeNetworkAcls", at),
		Endpoints:     fleet.Unknown[[]fleet.VPCEndpoint]("ec2:DescribeVpcEndpoints", at, "UnauthorizedOperation: not authorized to perform ec2:DescribeVpcEndpoints; allow it for the inventory role"),
		Gateways:      fleet.Known([]fleet.Gateway{{}}, "ec2:DescribeInternetGateways", at),
		NATGateways:   fleet.Known([]fleet.Gateway{{}}, "ec2:DescribeNatGateways", at),
		PrefixLists:   fleet.Unknown[[]fleet.PrefixList]("ec2:DescribeManagedPrefixLists", at, "RequestLimitExceeded after 8 attempts"),
		DHCPOptions:   fleet.Known([]fleet.DHCPOptions{{}}, "ec2:DescribeDhcpOptions", at),
	}
	return r
}

func testHost(i int, at time.Time) fleet.Host {
	service, family := testServices[i%len(testServices)], testFamilies[i%len(testFamilies)]
	h := fleet.Host{
		ID: fmt.Sprintf("i-0%016x", 0xabc0000+i*7919), Account: testAccount, Region: testRegion, AZ: testRegion + string(rune('a'+i%3)),
		Tags:  map[string]string{"Name": fmt.Sprintf("%s-%d", service, i/len(testServices)+1), "team": []string{"shop", "data"}[i%2], "env": "prod"},
		State: "running", Architecture: "x86_64", Platform: "Linux/UNIX", ImageID: "ami-0aaaabbbbccccdddd", InstanceType: "m7i.large",
		LaunchTime: at.Add(-1000 * time.Hour), VPC: "vpc-0a1b2c3d4e5f60718", Subnet: fmt.Sprintf("subnet-0%016x", i%3),
		PrivateIP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), PrivateDNS: "ip-10-0-0-1.eu-west-1.compute.internal",
		Groups: []string{"sg-0aa", "sg-0bb"}, ProfileARN: "arn:aws:iam::123456789012:instance-profile/" + service,
		Metadata: fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required", HopLimit: 2}, KeyName: "ops-2019",
	}
	if service == "web" || service == "api" {
		h.AutoScalingGroup = service + "-asg"
		h.LaunchTemplate = fleet.LaunchTemplateRef{ID: "lt-0123456789abcdef0", Version: "7"}
	}
	node := fleet.Node{ID: h.ID, Account: h.Account, Region: h.Region}
	if i%5 < 3 {
		node.Registered, node.PingStatus, node.LastPing = true, "Online", at.Add(-20*time.Second)
		node.AgentVersion, node.PlatformName, node.PlatformVersion = "3.3.4851.0", strings.Fields(family.pretty)[0], family.version
	}
	h.Node = fleet.Known(node, "ssm:DescribeInstanceInformation", at)
	h.Connection = fleet.Unknown[string]("ssm:GetConnectionStatus", at, "not a managed node")
	if node.Registered {
		h.Connection = fleet.Known("connected", "ssm:GetConnectionStatus", at)
	}
	if i%13 == 12 {
		h.Probe = fleet.Unknown[fleet.Probe]("probe", at, fmt.Sprintf("connect to %s port 22: i/o timeout after 10 s; is the security group open to the bastion?", h.PrivateIP))
		return h
	}
	h.Probe = fleet.Known(testProbe(i, node.Registered, at), "probe", at)
	return h
}

func testProbe(i int, agent bool, at time.Time) fleet.Probe {
	family := testFamilies[i%len(testFamilies)]
	p := fleet.Probe{
		LoginUser: "ops", Root: i%4 != 3, Via: []string{"bastion-1"}, HostTime: at, Hostname: fmt.Sprintf("ip-10-0-0-%d", i%256),
		OS:    fleet.OS{ID: family.id, Version: family.version, Name: family.pretty, Kernel: "6.1.109", Arch: "x86_64"},
		SSHD:  fleet.Known(fleet.SSHD{Version: "OpenSSH_9.2p1", Settings: map[string][]string{"authorizedkeysfile": {".ssh/authorized_keys", "/etc/ssh/keys/%u"}}}, "probe: sshd -T", at),
		Agent: fleet.Known(fleet.HostAgent{Installed: agent, Path: "/usr/bin/amazon-ssm-agent", Package: "rpm", Version: "3.3.4851.0", Unit: "amazon-ssm-agent.service", Active: "active", Enabled: "enabled"}, "probe: agent", at),
		Endpoints: fleet.Known([]fleet.EndpointTest{
			{Service: "ssm", Host: "ssm.eu-west-1.amazonaws.com", Addresses: fleet.Known([]netip.Addr{netip.MustParseAddr("10.0.9.4")}, "probe", at), TCP: fleet.Known(true, "probe", at), TLS: fleet.Known(true, "probe", at), Issuer: "Amazon RSA 2048 M02"},
			{Service: "ssmmessages", Host: "ssmmessages.eu-west-1.amazonaws.com", Addresses: fleet.Known([]netip.Addr{netip.MustParseAddr("52.94.1.7")}, "probe", at), TCP: fleet.Known(agent, "probe", at), TLS: fleet.Unknown[bool]("probe", at, "no TCP"), Detail: "timed out"},
		}, "probe: endpoints", at),
		Logins: fleet.Known(fleet.LoginLog{Source: "/var/log/secure", From: at.Add(-30 * 24 * time.Hour), To: at, Logins: []fleet.Login{
			{User: "ops", Method: "publickey", KeyType: "ssh-ed25519", Fingerprint: "SHA256:key0", From: netip.MustParseAddr("10.0.0.5"), Count: 41, First: at.Add(-29 * 24 * time.Hour), Last: at.Add(-2 * time.Hour)},
		}}, "probe: log", at),
		Sessions: fleet.Known([]fleet.Session{{User: "ann", TTY: "pts/0", PID: 812, From: "10.0.0.5:50122"}}, "probe: who", at),
		Health: fleet.Known(fleet.Health{
			Filesystems: []fleet.Filesystem{{Mount: "/", Type: "xfs", Size: 20 << 30, Free: 12 << 30, Inodes: 10_485_760, FreeInodes: 10_000_000}, {Mount: "/tmp", Type: "tmpfs", Options: []string{"rw", "noexec"}, Size: 1 << 30, Free: 900 << 20}},
			Inotify:     fleet.Inotify{MaxInstances: 128, MaxWatches: 8192, UsedInstances: 17},
			Clock:       fleet.Clock{Host: at.Add(2 * time.Second), Server: at, Source: "ssm.eu-west-1.amazonaws.com"},
		}, "probe: health", at),
		Metadata:  fleet.Known(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "EC2ws", Role: "web"}, "probe: metadata service", at),
		CloudInit: fleet.Known(fleet.CloudInit{Present: true}, "probe: cloud-init", at),
		Traces:    fleet.Known([]fleet.Trace{{Use: fleet.UseAnsible, What: "/home/ops/.ansible/tmp", User: "ops"}}, "probe: traces", at),
		Gaps:      []fleet.Gap{{What: "/home/bob/.ssh/authorized_keys", Reason: "permission denied"}},
	}
	var keys []fleet.Key
	for j := range 2 + i%4 {
		keys = append(keys, fleet.Key{
			User: []string{"ops", "ec2-user"}[j%2], File: "/home/ops/.ssh/authorized_keys", Line: j + 1, Type: "ssh-ed25519", Bits: 256,
			Fingerprint: fmt.Sprintf("SHA256:key%d", j), Comment: []string{"ann@laptop", "deploy@ci", "ops shared 2019", "bob@old-laptop", "restore"}[j%5],
		})
	}
	p.Keys = fleet.Known(keys, "probe: authorized keys", at)
	return p
}

func testVerdict(i int, h fleet.Host, at time.Time) (fleet.HostVerdict, []fleet.Finding) {
	shared := fleet.Finding{
		Code: "key-shared", Host: h.ID, Object: "SHA256:key2", Severity: fleet.SeverityRisk, Title: "Key “ops shared 2019” opens 31 hosts",
		Evidence: []fleet.Evidence{{Fact: "authorized for ops", Source: "probe: authorized keys", At: at}}, Fix: "Give each person a key of their own.", Blast: "31 hosts accept this key",
	}
	risks := []fleet.Finding(nil)
	if h.Probe.Known && len(h.Probe.Value.Keys.Value) > 2 {
		risks = append(risks, shared)
	}
	f := fleet.Finding{Host: h.ID, Severity: fleet.SeverityBlocks}
	switch {
	case !h.Node.Known, !h.Probe.Known && !h.Node.Value.Registered:
		f.Code, f.Severity, f.Title = "agent-unknown", fleet.SeverityUnknown, "Whether an agent is installed is not known"
		f.Evidence = []fleet.Evidence{{Fact: "the host gave no answer", Source: "probe", At: at}}
		f.Fix = "Make the host reachable over SSH, then take the inventory again."
	case i%5 == 3:
		f.Code, f.Title = "agent-missing", "SSM Agent is not installed"
		f.Evidence = []fleet.Evidence{{Fact: "no amazon-ssm-agent program or package", Source: "probe: agent", At: at}, {Fact: "not a managed node", Source: "ssm:DescribeInstanceInformation", At: at}}
		f.Fix = "Install the agent from the distribution's package (dnf install amazon-ssm-agent) and put it into the image that the host comes from."
		f.Blast = "this host alone"
	case i%5 == 4:
		f.Code, f.Object = "role-lacks-channel", "arn:aws:iam::123456789012:role/batch"
		f.Title = fmt.Sprintf("Role batch may not open the channel that sessions need (%s)", h.AZ)
		f.Evidence = []fleet.Evidence{{Fact: "no statement allows ssmmessages:OpenDataChannel", Source: "iam:GetAccountAuthorizationDetails", At: at}}
		f.Fix = "Attach AmazonSSMManagedInstanceCore to role batch."
		f.Undo = "Detach it again."
		f.Blast = "role batch is shared by 12 hosts"
	default:
		return fleet.HostVerdict{Host: h.ID, Verdict: fleet.VerdictReady}, risks
	}
	v := fleet.HostVerdict{Host: h.ID, Verdict: fleet.VerdictBlocked, Cause: f.Code}
	if f.Severity == fleet.SeverityUnknown {
		v.Verdict = fleet.VerdictUnknown
	}
	v.Causes = []fleet.Ref{f.Ref()}
	symptom := fleet.Finding{
		Code: "node-not-registered", Host: h.ID, Severity: f.Severity, Title: "Systems Manager does not know the host", Because: v.Causes,
		Evidence: []fleet.Evidence{{Fact: "a complete list does not name it", Source: "ssm:DescribeInstanceInformation", At: at}},
	}
	return v, append([]fleet.Finding{f, symptom}, risks...)
}

// testEvents is an inventory of 60 hosts up to the moment when done hosts are
// probed, with failures.
func testEvents(done int) []inventory.Event {
	at := func(s float64) time.Time { return testNow.Add(-20*time.Second + time.Duration(s*float64(time.Second))) }
	place := func(e inventory.Event) inventory.Event {
		e.Account, e.Region = testAccount, testRegion
		return e
	}
	var out []inventory.Event
	for i, s := range []string{"ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeNetworkAcls", "ec2:DescribeLaunchTemplates", "autoscaling:DescribeAutoScalingGroups", "ec2:DescribeKeyPairs"} {
		out = append(out, place(inventory.Event{Kind: inventory.SourceDone, Source: s, Done: 3 + i*5, At: at(1)}))
	}
	out = append(out,
		place(inventory.Event{Kind: inventory.SourceProgress, Source: "ec2:DescribeInstances", Done: 40, At: at(1)}),
		place(inventory.Event{Kind: inventory.SourceDone, Source: "ec2:DescribeInstances", Done: 60, At: at(2)}),
		place(inventory.Event{Kind: inventory.SourceDone, Source: "ec2:DescribeVpcEndpoints", Reason: "UnauthorizedOperation: not authorized to perform ec2:DescribeVpcEndpoints; allow it for the inventory role", At: at(2)}),
		place(inventory.Event{Kind: inventory.SourceProgress, Source: "ssm:GetConnectionStatus", Done: 18, Total: 36, At: at(3)}),
		inventory.Event{Kind: inventory.SourceProgress, Account: testAccount, Source: "iam:GetAccountAuthorizationDetails", Done: 120, At: at(3)},
	)
	for i := 1; i <= done; i++ {
		e := inventory.Event{Kind: inventory.ProbeProgress, Source: "probe", Host: fmt.Sprintf("i-0%016x", 0xabc0000+i*7919), Done: i, Total: 60, At: at(3 + float64(i)*0.4)}
		if i%11 == 10 {
			e.Reason = fmt.Sprintf("connect to 10.0.0.%d port 22: i/o timeout after 10 s", i)
		}
		out = append(out, e)
	}
	return out
}
