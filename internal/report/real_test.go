package report_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/report"
	"ssm-migrate/internal/simfleet"
)

// realistic is a generated fleet of n as an inventory would find it: its
// networks, roles, people and preferences, and on every fifth host one of the
// answers to the probe that take most room in a report.
func realistic(t testing.TB, n int) report.Input {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: 7, Instances: n, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	s := &fleet.Snapshot{SnapshotInfo: fleet.SnapshotInfo{ID: 12, Started: noon, Finished: noon.Add(3 * time.Minute), State: fleet.SnapshotComplete, Version: "v0.4.0", Hosts: n}}
	for _, a := range w.Accounts {
		account := fleet.Account{
			ID: a.ID, Profiles: known(values(a.Profiles), "iam"), Roles: known(values(a.Roles), "iam"), Policies: known(values(a.Policies), "iam"),
			Users: known(values(a.Users), "iam"), Groups: known(values(a.Groups), "iam"), HostedZones: known(values(a.Zones), "route53"),
		}
		answered(&account)
		s.Accounts = append(s.Accounts, account)
		for _, r := range a.Regions {
			region := fleet.Region{
				Account: a.ID, Name: r.Name, Instances: known(len(r.Instances), "ec2:DescribeInstances"), DefaultRole: known(r.DefaultRole, "ssm:GetServiceSetting"),
				VPCs: known(values(r.VPCs), "ec2:DescribeVpcs"), Subnets: known(values(r.Subnets), "ec2:DescribeSubnets"), RouteTables: known(values(r.RouteTables), "ec2:DescribeRouteTables"),
				Groups: known(values(r.Groups), "ec2:DescribeSecurityGroups"), NetworkACLs: known(values(r.NetworkACLs), "ec2:DescribeNetworkAcls"), Endpoints: known(values(r.Endpoints), "ec2:DescribeVpcEndpoints"),
				Gateways: known(values(r.Gateways), "ec2:DescribeInternetGateways"), NATGateways: known(values(r.NATGateways), "ec2:DescribeNatGateways"), PrefixLists: known(values(r.PrefixLists), "ec2:DescribeManagedPrefixLists"),
				DHCPOptions: known(values(r.DHCPOptions), "ec2:DescribeDhcpOptions"), Peerings: known(values(r.Peerings), "ec2:DescribeVpcPeeringConnections"), ResolverRules: known(values(r.Rules), "route53resolver"),
				Preferences: known(fleet.Preferences{Exists: r.Preferences != "", Content: r.Preferences}, "ssm:GetDocument"), Documents: known(values(r.Documents), "ssm:ListDocuments"), Sessions: known(values(r.ManagedSessions), "ssm:DescribeSessions"),
			}
			answered(&region)
			s.Regions = append(s.Regions, region)
			for i, in := range r.Instances {
				s.Hosts = append(s.Hosts, found(w, in, i))
			}
		}
	}
	policy := readiness.DefaultPolicy()
	policy.Owners = w.Owners()
	return report.Input{Snapshot: s, Assessment: readiness.Assess(s, policy, noon.Add(4*time.Minute)), Version: "v0.4.0"}
}

func values[T any](from []*T) []T {
	out := make([]T, len(from))
	for i, p := range from {
		out[i] = *p
	}
	return out
}

func found(w *simfleet.World, in *simfleet.Instance, i int) fleet.Host {
	h := in.Host
	h.Node = known(fleet.Node{ID: h.ID}, "ssm:DescribeInstanceInformation")
	h.Connection = fleet.Unknown[string]("ssm:GetConnectionStatus", noon, "not a managed node")
	if w.Online(in) {
		h.Node.Value = fleet.Node{ID: h.ID, Registered: true, PingStatus: "Online", LastPing: noon.Add(-time.Duration(i%300) * time.Second), AgentVersion: in.Agent.Version}
		h.Connection = known("notconnected", "ssm:GetConnectionStatus")
		if w.Connected(in) {
			h.Connection.Value = "connected"
		}
	}
	if !h.Running() {
		h.Probe = fleet.Unknown[fleet.Probe]("probe", noon, "the instance is stopped")
		return h
	}
	at := noon.Add(time.Duration(i) * time.Second / 10)
	p := fleet.Probe{
		LoginUser: "ec2-user", Root: i%12 > 0, HostTime: at,
		SSHD:  fleet.Known(fleet.SSHD{Version: "OpenSSH_8.7p1", Settings: map[string][]string{"authorizedkeysfile": {".ssh/authorized_keys"}}}, "probe: sshd -T", at),
		Users: fleet.Known([]fleet.User{{Name: "ec2-user", UID: 1000, Home: "/home/ec2-user", Shell: "/bin/bash"}}, "probe: getent passwd", at),
		Agent: fleet.Known(fleet.HostAgent{Installed: in.Agent.Version != "", Version: in.Agent.Version, Unit: "amazon-ssm-agent", Active: "active", Enabled: "enabled"}, "probe: systemctl show", at),
	}
	habits(&p, in, i, at)
	p.Metadata = fleet.Known(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "EC2ws", Region: h.Region}, "probe: instance metadata", at)
	p.Endpoints = fleet.Known(tests(w, in, at), "probe: connection test", at)
	if i%5 == 0 {
		command := "/usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f"
		p.SSHD.Value.Settings["authorizedkeyscommand"] = []string{command}
		p.SSHD.Value.Arguments = "-D -o AuthorizedKeysCommand=" + command + " -o AuthorizedKeysCommandUser=ec2-instance-connect"
	}
	if !w.Online(in) {
		p.Agent.Value.Signs = fleet.Known([]fleet.LogSign{{Kind: "sleeping", At: at.Add(-time.Hour), Text: "INFO [CredentialRefresher] Sleeping for 5m0s before retrying retrieve credentials"}}, "probe: agent log", at)
	}
	if !p.Root {
		p.CloudInit = fleet.Unknown[fleet.CloudInit]("probe: cloud-init's files", at, "the login user may not read /var/lib/cloud/instance/user-data.txt")
		for _, user := range []string{"root", "ec2-user", "deploy", fmt.Sprint("user", i%7)} {
			p.Gaps = append(p.Gaps, fleet.Gap{What: "keys of " + user, Reason: "/home/" + user + "/.ssh/authorized_keys: the login user may not look into the folder"})
		}
	}
	answered(&p)
	h.Probe = fleet.Known(p, "probe", at)
	return h
}

// habits are the keys, logins and open sessions of a host.
func habits(p *fleet.Probe, in *simfleet.Instance, i int, at time.Time) {
	var keys []fleet.Key
	var logins []fleet.Login
	for k, who := range []string{"ops@corp.example", "ansible@ci.corp.example", fmt.Sprintf("person%d@laptop", i%60), "old@" + in.Host.ID} {
		key := fleet.Key{User: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys", Line: k + 1, Type: "ssh-rsa", Bits: 2048, Fingerprint: fmt.Sprintf("SHA256:%043s", who), Blob: who, Comment: who}
		keys = append(keys, key)
		logins = append(logins, fleet.Login{User: "ec2-user", Method: "publickey", KeyType: "RSA", Fingerprint: key.Fingerprint, From: netip.AddrFrom4([4]byte{10, 1, 0, byte(k + i%20)}), Count: 10 + i, First: at.AddDate(0, 0, -80), Last: at.AddDate(0, 0, -k*30)})
	}
	p.Keys = fleet.Known(keys, "probe: key files", at)
	p.Logins = fleet.Known(fleet.LoginLog{Source: "journal", From: at.AddDate(0, -3, 0), To: at, Logins: logins}, "probe: SSH log", at)
	if i%10 == 0 {
		p.Sessions = fleet.Known([]fleet.Session{{User: "ec2-user", TTY: "pts/0", PID: 900 + i, Fingerprint: keys[0].Fingerprint}}, "probe: sessions", at)
	}
}

// tests are what a host's own connections to the endpoints come to.
func tests(w *simfleet.World, in *simfleet.Instance, at time.Time) []fleet.EndpointTest {
	var out []fleet.EndpointTest
	for _, service := range []string{"ssm", "ssmmessages", "logs"} {
		r := w.EgressTo(in, service)
		e := fleet.EndpointTest{Service: service, Host: r.Host, Addresses: fleet.Known(r.Addresses, "probe: connection test", at), Issuer: r.Issuer}
		if len(r.Addresses) > 0 {
			e.TCP = fleet.Known(r.TCP, "probe: connection test", at)
		}
		if r.TCP {
			e.TLS = fleet.Known(r.TLS, "probe: connection test", at)
		}
		switch {
		case r.TCP && !r.TLS:
			e.Detail = "curl: (60) SSL certificate problem: self-signed certificate in certificate chain"
		case !r.TCP && len(r.Addresses) > 0:
			e.Detail = "curl: (28) Failed to connect to " + r.Host + " port 443 after 5001 ms: Timeout was reached"
		}
		out = append(out, e)
	}
	return out
}
