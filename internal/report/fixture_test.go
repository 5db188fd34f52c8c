package report_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/report"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	account = "111122223333"
	region  = "eu-west-1"
)

func known[T any](v T, source string) fleet.Fact[T] { return fleet.Known(v, source, noon) }

func fact(text, source string) []fleet.Evidence {
	return []fleet.Evidence{{Fact: text, Source: source, At: noon.Add(3 * time.Second)}}
}

// small is a fleet of six with every kind of thing that a report shows. Its
// codes are not the catalogue's, so that the catalogue may change its words.
func small() report.Input {
	in := unproved()
	drill := &recovery.Drill{Place: fleet.Place{Account: account, Region: region}, VPC: "vpc-a", Plan: "4f65a26fb1db", At: noon.Add(-72 * time.Hour), Hosts: 2, Proved: 2,
		Launch: 65 * time.Second, Console: 90 * time.Second, Bastion: 2 * time.Second, Logins: 4 * time.Second, ScaleIn: 40 * time.Second}
	in.Proved = []report.ProvedWays{
		{Account: account, Region: region, VPC: "vpc-a", Seen: noon, Hosts: 4, Sessions: report.ProvedWay{Hosts: 3, Failed: 1, Oldest: noon.Add(-2 * time.Hour)}, Recovery: report.ProvedWay{Hosts: 2, Oldest: noon.Add(-72 * time.Hour)}, Drill: drill},
		{Account: account, Region: region, VPC: "vpc-b", Seen: noon, Hosts: 2, Sessions: report.ProvedWay{Failed: 2}},
	}
	return in
}

func unproved() report.Input {
	r := fleet.Region{
		Account: account, Name: region, Label: "ops",
		Instances: known(6, "ec2:DescribeInstances"), Nodes: known(3, "ssm:DescribeInstanceInformation"),
		VPCs: known([]fleet.VPC{{ID: "vpc-a"}, {ID: "vpc-b"}}, "ec2:DescribeVpcs"),
		Endpoints: fleet.Partial([]fleet.VPCEndpoint{{ID: "vpce-1"}}, "ec2:DescribeVpcEndpoints", noon,
			"UnauthorizedOperation: You are not authorized to perform this operation"),
	}
	answered(&r)
	ops := fleet.Account{ID: account, Label: "ops", Profiles: known([]fleet.InstanceProfile{{Name: "web"}}, "iam:ListInstanceProfiles")}
	answered(&ops)
	key := func(n int, user string) fleet.Key {
		return fleet.Key{User: user, File: "/home/" + user + "/.ssh/authorized_keys", Line: n, Type: "ssh-ed25519", Bits: 256, Fingerprint: fmt.Sprintf("SHA256:key%d", n), Comment: fmt.Sprintf("person%d@laptop", n)}
	}
	host := func(n int, vpc, group string, keys ...fleet.Key) fleet.Host {
		h := fleet.Host{
			ID: fmt.Sprintf("i-%017d", n), Account: account, Region: region, AZ: "eu-west-1a", Tags: map[string]string{"Name": fmt.Sprintf("web-%d", n), "team": []string{"blue", "green"}[n%2]},
			State: "running", Platform: "Linux/UNIX", VPC: vpc, PrivateIP: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), AutoScalingGroup: group,
		}
		h.Node = known(fleet.Node{ID: h.ID, Registered: true, PingStatus: "Online", AgentVersion: "3.3.4851.0"}, "ssm:DescribeInstanceInformation")
		h.Connection = known("connected", "ssm:GetConnectionStatus")
		p := fleet.Probe{
			Keys:   known(keys, "probe: authorized_keys"),
			Logins: known(fleet.LoginLog{Logins: []fleet.Login{{User: "ec2-user", Fingerprint: "SHA256:key1", Last: noon.Add(-48 * time.Hour)}}}, "probe: journal"),
		}
		if n == 2 {
			p.Gaps = []fleet.Gap{{What: "/home/deploy/.ssh/authorized_keys2", Reason: "permission denied"}}
		}
		answered(&p)
		h.Probe = known(p, "probe")
		return h
	}
	hosts := []fleet.Host{
		host(1, "vpc-a", "web", key(1, "ec2-user")), host(2, "vpc-a", "web", key(1, "ec2-user"), key(2, "deploy")),
		host(3, "vpc-b", ""), host(4, "vpc-b", ""), host(5, "vpc-b", ""), host(6, "", "batch"),
	}
	for i := 2; i < 5; i++ {
		hosts[i].Node = known(fleet.Node{ID: hosts[i].ID}, "ssm:DescribeInstanceInformation")
		hosts[i].Connection = fleet.Unknown[string]("ssm:GetConnectionStatus", noon, "not a managed node")
		hosts[i].Probe = fleet.Unknown[fleet.Probe]("probe", noon, fmt.Sprintf("dial tcp 10.0.0.%d:22: i/o timeout", i+1))
	}
	hosts[5].Node = fleet.Unknown[fleet.Node]("ssm:DescribeInstanceInformation", noon, "ThrottlingException")
	hosts[5].Connection = fleet.Unknown[string]("ssm:GetConnectionStatus", noon, "ThrottlingException")
	s := &fleet.Snapshot{
		SnapshotInfo: fleet.SnapshotInfo{ID: 7, Started: noon, Finished: noon.Add(95 * time.Second), State: fleet.SnapshotIncomplete, Version: "v0.3.0", Hosts: 6, Unknowns: 5},
		Accounts:     []fleet.Account{ops}, Regions: []fleet.Region{r}, Hosts: hosts,
	}
	role := "arn:aws:iam::111122223333:role/web"
	finding := func(code string, h int, object string, severity fleet.Severity, fix, blast string, evidence []fleet.Evidence) fleet.Finding {
		f := fleet.Finding{Code: code, Object: object, Severity: severity, Title: "Title of " + code, Evidence: evidence, Fix: fix, Blast: blast}
		if h > 0 {
			f.Host = hosts[h-1].ID
		}
		if object == "self" {
			f.Object = f.Host
		}
		return f
	}
	shared := fact("vpc-b has no route out and no endpoint for ssmmessages", "ec2:DescribeRouteTables")
	var findings []fleet.Finding
	findings = append(findings, finding("example-agent", 1, "self", fleet.SeverityRisk, "update the agent", "", fact("agent 3.2.1 is below 3.3.4851.0", "ssm:DescribeInstanceInformation")))
	for h := 3; h <= 5; h++ {
		own := fact(fmt.Sprintf("host %d said no", h), "probe: endpoint test")
		findings = append(findings, finding("example-no-path", h, "rtb-1", fleet.SeverityBlocks, "add interface endpoints for ssm and ssmmessages", "route table rtb-1 serves 3 hosts", append(own, shared...)))
		if h < 5 {
			findings = append(findings, finding("example-role", h, role, fleet.SeverityBlocks, "attach AmazonSSMManagedInstanceCore", "role web is shared by 2 hosts", fact("ssmmessages:OpenDataChannel is not allowed", "iam")))
		}
	}
	findings = append(findings,
		finding("example-node", 6, "self", fleet.SeverityUnknown, "let ssm:DescribeInstanceInformation answer", "", fact("whether it is a managed node is not known: ThrottlingException", "ssm:DescribeInstanceInformation")),
		finding("example-key-shared", 0, "SHA256:key1", fleet.SeverityRisk, "give each person a key", "the key opens 2 hosts", fact("it opens 2 hosts", "probe: authorized_keys")),
		finding("example-key-unused", 0, "SHA256:key2", fleet.SeverityNote, "take it away with the others", "the key opens 1 host", fact("no login used it for 90 days", "probe: journal")),
		finding("example-old", 0, "", fleet.SeverityRisk, "take a new inventory", "6 hosts", nil),
	)
	verdict := func(h int, v fleet.Verdict, cause string) fleet.HostVerdict {
		return fleet.HostVerdict{Host: hosts[h-1].ID, Verdict: v, Cause: cause}
	}
	// On host 4 the missing role brings the closed path about, on host 3 the two stand side by side.
	for i, f := range findings {
		if f.Host == hosts[3].ID && f.Code == "example-no-path" {
			findings[i].Because = []fleet.Ref{{Code: "example-role", Object: role}}
		}
	}
	a := &fleet.Assessment{Snapshot: 7, At: noon.Add(2 * time.Minute), Findings: findings, Hosts: []fleet.HostVerdict{
		verdict(1, fleet.VerdictReady, ""), verdict(2, fleet.VerdictReady, ""),
		verdict(3, fleet.VerdictBlocked, "example-role"), verdict(4, fleet.VerdictBlocked, "example-role"),
		verdict(5, fleet.VerdictBlocked, "example-no-path"), verdict(6, fleet.VerdictUnknown, "example-node"),
	}}
	for h, roots := range map[int][]fleet.Ref{
		2: {{Code: "example-role", Object: role}, {Code: "example-no-path", Object: "rtb-1"}}, 3: {{Code: "example-role", Object: role}},
		4: {{Code: "example-no-path", Object: "rtb-1"}}, 5: {{Code: "example-node", Object: hosts[5].ID}},
	} {
		a.Hosts[h].Causes = roots
	}
	people(a, hosts)
	previous := &fleet.Assessment{Snapshot: 6, At: noon.Add(-24 * time.Hour), Hosts: []fleet.HostVerdict{
		verdict(1, fleet.VerdictBlocked, "example-agent-missing"), verdict(2, fleet.VerdictReady, ""), verdict(5, fleet.VerdictReady, ""),
		{Host: "i-gone", Verdict: fleet.VerdictUnknown},
	}}
	previous.Hosts[0].Causes = []fleet.Ref{{Code: "example-agent-missing"}}
	return report.Input{Snapshot: s, Assessment: a, Previous: previous, Version: "v0.4.0"}
}

// people adds paths, operators, ledger and parity to the judgement on small.
func people(a *fleet.Assessment, hosts []fleet.Host) {
	hop := func(kind, object, text string, passes fleet.Truth) fleet.Hop {
		return fleet.Hop{Kind: kind, Object: object, Text: text, Passes: passes, Source: "ec2", At: noon}
	}
	a.Paths = []fleet.Path{
		{Service: "ssm", Name: "ssm.eu-west-1.amazonaws.com", Open: fleet.TruthYes, Hops: []fleet.Hop{
			hop("dns", "", "resolves to public addresses", fleet.TruthYes), hop("NAT gateway", "nat-1", "is available", fleet.TruthYes)}},
		{Service: "ssm", Name: "ssm.eu-west-1.amazonaws.com", Open: fleet.TruthNo, Hops: []fleet.Hop{
			hop("dns", "", "resolves to public addresses", fleet.TruthYes), hop("route table", "rtb-1", "has no route to the internet", fleet.TruthNo)}},
		{Service: "ssm", Name: "ssm.eu-west-1.amazonaws.com", Open: fleet.TruthUnknown, Hops: []fleet.Hop{hop("firewall", "vpce-9", "is not followed", fleet.TruthUnknown)}},
	}
	for i, n := range []int{0, 0, 1, 1, 1, 2} {
		a.Hosts[i].Paths = []int{n}
	}
	a.Operators = []fleet.Operator{
		{ARN: "arn:aws:iam::111122223333:role/ops", Kind: "role", Federated: true, People: []string{"Alice"}, Start: fleet.Reach{Yes: 4, Unknown: 1, No: 1},
			Documents: []string{"AWS-StartSSHSession"}, EditPreferences: fleet.TruthNo, Why: "inline policy sessions allows it"},
		{ARN: "arn:aws:iam::111122223333:user/root-like", Kind: "user", Start: fleet.Reach{Yes: 6}, Resume: fleet.Reach{Yes: 6}, Terminate: fleet.Reach{Yes: 6},
			Command: fleet.Reach{Yes: 6}, Unrestricted: true, EditPreferences: fleet.TruthYes},
	}
	a.Ledger = fleet.Ledger{Hosts: 6, Unread: []string{hosts[2].ID}, Consumers: []fleet.Consumer{
		{Method: "publickey", Fingerprint: "SHA256:key9", Owner: "Bob", OwnerBy: "comment", User: "deploy", Hosts: []string{hosts[0].ID}, Count: 3,
			First: noon.Add(-90 * 24 * time.Hour), Last: noon.Add(-60 * 24 * time.Hour), Status: fleet.ConsumerSilent, Why: "did not come for 60 days"},
		{Method: "publickey", Fingerprint: "SHA256:key1", KeyType: "ED25519", Comment: "person1@laptop", User: "ec2-user", From: netip.MustParseAddr("10.0.9.9"), Use: fleet.UseRsync,
			Hosts: []string{hosts[0].ID, hosts[1].ID}, Count: 41, First: noon.Add(-30 * 24 * time.Hour), Last: noon.Add(-48 * time.Hour), Open: 1, Why: "came 2 days ago"},
	}}
	a.Parity = fleet.Parity{People: []fleet.PersonParity{
		{Person: "Bob", Claimed: true, Keys: []string{"SHA256:key9"}, Cells: "lk--u-", Keeps: 1, Loses: 1, Unknown: 1},
		{Person: "Alice", Claimed: true, Principals: []string{"arn:aws:iam::111122223333:role/ops"}, Cells: "gggg-g", Gains: 5},
	}}
}

// large is a fleet of n with the judgement that readiness comes to.
func large(t testing.TB, n int) report.Input {
	t.Helper()
	at := noon
	const trust = `{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	var b fleet.Batch
	b.Accounts = []fleet.Account{{
		ID: account, Label: "ops",
		Profiles: known([]fleet.InstanceProfile{{ARN: profile("web"), Name: "web", Role: "web"}, {ARN: profile("legacy"), Name: "legacy", Role: "legacy"}}, "iam:GetAccountAuthorizationDetails"),
		Roles: known([]fleet.Role{
			{Name: "web", ARN: "arn:aws:iam::" + account + ":role/web", Trust: trust, Inline: map[string]string{"sessions": `{"Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation","ssmmessages:*"],"Resource":"*"}]}`}},
			{Name: "legacy", ARN: "arn:aws:iam::" + account + ":role/legacy", Trust: trust, Inline: map[string]string{"logs": `{"Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}`}},
		}, "iam:GetAccountAuthorizationDetails"),
		Policies: fleet.Unknown[[]fleet.Policy]("iam:GetAccountAuthorizationDetails", at, "AccessDenied: not authorized to perform iam:GetAccountAuthorizationDetails"),
	}}
	b.Regions = []fleet.Region{{
		Account: account, Name: region, Label: "ops", Instances: known(n, "ec2:DescribeInstances"), Nodes: known(n/2, "ssm:DescribeInstanceInformation"),
		DefaultRole: known("", "ssm:GetServiceSetting"), VPCs: known([]fleet.VPC{}, "ec2:DescribeVpcs"), Subnets: known([]fleet.Subnet{}, "ec2:DescribeSubnets"),
		RouteTables: known([]fleet.RouteTable{}, "ec2:DescribeRouteTables"), Groups: known([]fleet.SecurityGroup{}, "ec2:DescribeSecurityGroups"),
		Endpoints: fleet.Unknown[[]fleet.VPCEndpoint]("ec2:DescribeVpcEndpoints", at, "UnauthorizedOperation: You are not authorized to perform this operation."),
	}}
	answered(&b.Regions[0])
	for i := range n {
		h := fleet.Host{
			ID: fmt.Sprintf("i-%017x", 0xabc0000+i*7919), Account: account, Region: region, AZ: "eu-west-1" + string(rune('a'+i%3)), State: "running",
			Tags: map[string]string{"Name": fmt.Sprintf("%s-%03d", []string{"web", "api", "batch", "db", "cache"}[i%5], i)}, Platform: "Linux/UNIX", Architecture: "x86_64",
			VPC: fmt.Sprintf("vpc-0a1b2c3d4e5f6%04x", i%7), Subnet: fmt.Sprintf("subnet-%d", i%21), PrivateIP: netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), Groups: []string{"sg-1"},
		}
		if i%5 < 2 {
			h.AutoScalingGroup = fmt.Sprintf("%s-%d", []string{"web", "api"}[i%5], i%4)
		}
		switch {
		case i%10 < 7:
			h.ProfileARN = profile("web")
		case i%10 < 9:
			h.ProfileARN = profile("legacy")
		}
		b.Hosts = append(b.Hosts, h)
		if i%2 == 0 {
			b.Nodes = append(b.Nodes, fleet.Node{ID: h.ID, Account: account, Region: region, PingStatus: []string{"Online", "Online", "Online", "ConnectionLost"}[i/2%4], LastPing: at.Add(-time.Minute), AgentVersion: []string{"3.3.4851.0", "3.1.1927.0", "2.3.50.0"}[i%3]})
			b.Connections = append(b.Connections, fleet.HostStatus{Host: h.ID, Status: known([]string{"connected", "connected", "connected", "notconnected"}[i/2%4], "ssm:GetConnectionStatus")})
		}
		if i%8 == 7 {
			b.Probes = append(b.Probes, fleet.ProbeResult{Host: h.ID, Probe: fleet.Unknown[fleet.Probe]("probe", at, fmt.Sprintf("dial tcp %s:22: i/o timeout", h.PrivateIP))})
			continue
		}
		key := func(k int) fleet.Key {
			return fleet.Key{User: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys", Line: k, Type: "ssh-rsa", Bits: 1024 + 1024*(k%3), Fingerprint: fmt.Sprintf("SHA256:%043d", k), Blob: fmt.Sprint(k), Comment: fmt.Sprintf("person%d@laptop", k)}
		}
		sec := at.Add(time.Duration(i) * time.Second / 10)
		b.Probes = append(b.Probes, fleet.ProbeResult{Host: h.ID, Probe: fleet.Known(fleet.Probe{
			LoginUser: "ec2-user", Root: true, HostTime: sec,
			SSHD:  fleet.Known(fleet.SSHD{Version: "OpenSSH_8.7p1", Settings: map[string][]string{"authorizedkeysfile": {".ssh/authorized_keys"}, "passwordauthentication": {"yes"}, "permitrootlogin": {"yes"}}}, "probe: sshd -T", sec),
			Users: fleet.Known([]fleet.User{{Name: "ec2-user", UID: 1000, Home: "/home/ec2-user", Shell: "/bin/bash"}}, "probe: getent passwd", sec),
			Keys:  fleet.Known([]fleet.Key{key(1), key(i%40 + 2), key(100 + i)}, "probe: authorized_keys", sec),
			Agent: fleet.Known(fleet.HostAgent{Installed: i%6 != 5, Version: "3.1.1927.0", Unit: "amazon-ssm-agent", Active: []string{"active", "inactive"}[i%4/3], Enabled: "enabled"}, "probe: systemctl", sec),
			Logins: fleet.Known(fleet.LoginLog{Source: "journal", From: at.AddDate(0, -6, 0), To: sec, Logins: []fleet.Login{
				{User: "ec2-user", Method: "publickey", Fingerprint: key(1).Fingerprint, Count: 3, Last: at.AddDate(0, 0, -2)},
			}}, "probe: journal", sec),
		}, "probe", sec)})
	}
	s := fleet.Join(fleet.SnapshotInfo{ID: 12, Started: at, Finished: at.Add(3 * time.Minute), State: fleet.SnapshotIncomplete, Version: "v0.4.0", Hosts: n}, b)
	return report.Input{Snapshot: s, Assessment: readiness.Assess(s, readiness.DefaultPolicy(), at.Add(4*time.Minute)), Version: "v0.4.0"}
}

func profile(name string) string { return "arn:aws:iam::" + account + ":instance-profile/" + name }

// answered makes every fact of a struct that a fixture leaves out known and empty.
func answered(facts any) {
	v := reflect.ValueOf(facts).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Struct && f.FieldByName("Known").IsValid() && f.FieldByName("Source").String() == "" {
			f.FieldByName("Known").SetBool(true)
			f.FieldByName("Source").SetString("source of " + v.Type().Field(i).Name)
			f.FieldByName("At").Set(reflect.ValueOf(noon))
		}
	}
}
