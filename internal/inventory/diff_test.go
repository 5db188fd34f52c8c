package inventory_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"

	"github.com/google/go-cmp/cmp"
)

// world is a snapshot in which everything is known.
func world() *fleet.Snapshot {
	ok := func(yes bool) fleet.Fact[bool] { return fleet.Known(yes, "probe", start) }
	h := host("i-1", "running")
	h.Groups = []string{"sg-1", "sg-2"}
	h.Node = fleet.Known(fleet.Node{ID: "i-1", Registered: true, PingStatus: "Online", AgentVersion: "3.3.987.0", LastPing: start}, "ssm", start)
	h.Connection = fleet.Known("connected", "ssm", start)
	h.Probe = fleet.Known(fleet.Probe{
		SSHD:  fleet.Known(fleet.SSHD{Settings: map[string][]string{"passwordauthentication": {"no"}, "port": {"22"}}}, "probe", start),
		Users: fleet.Known([]fleet.User{{Name: "alice", Shell: "/bin/sh"}}, "probe", start),
		Keys:  fleet.Known([]fleet.Key{{User: "alice", Fingerprint: "SHA256:a"}, {User: "alice", Fingerprint: "SHA256:b"}, {Problem: "not a key line"}}, "probe", start),
		Agent: fleet.Known(fleet.HostAgent{
			Installed: true, Version: "3.3.987.0", Active: "active", Installs: []fleet.AgentInstall{{Package: "snap"}},
			SSMUser: fleet.Known(fleet.SSMUser{Exists: true, Sudo: ok(true)}, "probe", start),
		}, "probe", start),
		Health:   fleet.Known(fleet.Health{Filesystems: []fleet.Filesystem{{Mount: "/tmp", Options: []string{"rw", "noatime"}, Free: 7}}, TrustStore: ok(true)}, "probe", start),
		Metadata: fleet.Known(fleet.MetadataTest{Reachable: true, Role: "web"}, "probe", start),
		Endpoints: fleet.Known([]fleet.EndpointTest{{Service: "ssm", TCP: ok(true), TLS: ok(true),
			Addresses: fleet.Known([]netip.Addr{netip.MustParseAddr("10.0.0.4")}, "probe", start)}}, "probe", start),
	}, "probe", start)
	r := (&cloud{}).surroundings()
	r.Account, r.Name = h.Account, h.Region
	r.Instances, r.Nodes = fleet.Known(2, "ec2", start), fleet.Known(2, "ssm", start)
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	r.Groups = fleet.Known([]fleet.SecurityGroup{{ID: "sg-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 22, To: 22, CIDRs: []netip.Prefix{any4}}}}}, "ec2", start)
	r.VPCs = fleet.Known([]fleet.VPC{{ID: "vpc-1", DNSSupport: ok(true)}}, "ec2", start)
	r.Endpoints = fleet.Known([]fleet.VPCEndpoint{{ID: "vpce-1", State: "available", Subnets: []string{"a", "b"}}}, "ec2", start)
	r.Peerings = fleet.Known([]fleet.Peering{{ID: "pcx-1", State: "active"}}, "ec2", start)
	r.ResolverRules = fleet.Known([]fleet.ResolverRule{{ID: "rr-1", Targets: []string{"10.0.0.2", "10.0.1.2"}}}, "route53resolver", start)
	r.Preferences = fleet.Known(fleet.Preferences{
		Exists: true, Version: "1", Content: `{"a":1}`,
		Bucket: fleet.Known(fleet.Bucket{Name: "logs", Exists: true}, "s3", start),
		Key:    fleet.Known(fleet.KMSKey{ID: "k", State: "Enabled", Policy: fleet.Known("{}", "kms", start)}, "kms", start),
	}, "ssm", start)
	r.Documents = fleet.Known([]fleet.SessionDocument{{Name: "port", Content: fleet.Known("{}", "ssm", start)}}, "ssm", start)
	r.Sessions = fleet.Known([]fleet.ManagedSession{{ID: "s-1"}}, "ssm", start)
	account := fleet.Account{ID: h.Account, Roles: fleet.Known([]fleet.Role{{ARN: "arn:role/web", Name: "web", Trust: "{}"}}, "iam", start)}
	account.Users = fleet.Known([]fleet.IAMUser{{ARN: "arn:user/alice", Groups: []string{"ops", "dev"}}}, "iam", start)
	account.Groups = fleet.Known([]fleet.IAMGroup{{ARN: "arn:group/ops", Attached: []string{"arn:p"}}}, "iam", start)
	full := fleet.Policy{ARN: "arn:full", Document: fleet.Known("{}", "organizations", start)}
	account.ControlLevels = fleet.Known([]fleet.ControlLevel{{Target: "r-1", Policies: []fleet.Policy{full}}, {Target: h.Account, Policies: []fleet.Policy{full}}}, "organizations", start)
	account.HostedZones = fleet.Known([]fleet.HostedZone{{ID: "Z1", Name: "amazonaws.com", Records: []fleet.DNSRecord{{Name: "a"}, {Name: "b"}}}}, "route53", start)
	return &fleet.Snapshot{Hosts: []fleet.Host{h, host("i-2", "stopped")}, Regions: []fleet.Region{r}, Accounts: []fleet.Account{account}}
}

func TestDiff(t *testing.T) {
	const account, region = "111122223333", "eu-west-1"
	at := func(host string, c inventory.Change) inventory.Change {
		c.Account, c.Region, c.Host = account, region, host
		return c
	}
	probe := func(s *fleet.Snapshot) *fleet.Probe { return &s.Hosts[0].Probe.Value }
	for _, tc := range []struct {
		name   string
		change func(s *fleet.Snapshot)
		want   []inventory.Change
	}{
		{"nothing", func(*fleet.Snapshot) {}, nil},
		{"order and time do not matter", func(s *fleet.Snapshot) {
			s.Hosts[0].Groups = []string{"sg-2", "sg-1"}
			s.Hosts[0].Node.Value.LastPing = start.Add(time.Hour)
			s.Hosts[0].Probe.At = start.Add(time.Hour)
			s.Regions[0].VPCs.Value[0].DNSSupport.At = start.Add(time.Hour)
			s.Regions[0].Endpoints.Value[0].Subnets = []string{"b", "a"}
			s.Hosts[0].Probe.Value.Health.Value.Inotify.UsedInstances = 9
			s.Hosts[0], s.Hosts[1] = s.Hosts[1], s.Hosts[0]
			s.Regions[0].ResolverRules.Value[0].Targets = []string{"10.0.1.2", "10.0.0.2"}
			s.Regions[0].Preferences.Value.Key.Value.Policy.At = start.Add(time.Hour)
			s.Regions[0].Preferences.Value.Bucket.At = start.Add(time.Hour)
			s.Regions[0].Documents.Value[0].Content.At = start.Add(time.Hour)
			s.Regions[0].Sessions.Value = nil
			s.Accounts[0].Users.Value[0].Groups = []string{"dev", "ops"}
			s.Accounts[0].ControlLevels.Value[0].Policies[0].Document.At = start.Add(time.Hour)
			s.Accounts[0].HostedZones.Value[0].Records = []fleet.DNSRecord{{Name: "b"}, {Name: "a"}}
		}, nil},
		{"hosts", func(s *fleet.Snapshot) { s.Hosts[1] = host("i-3", "running") }, []inventory.Change{
			at("i-2", inventory.Change{Kind: inventory.Removed, What: "host"}),
			at("i-3", inventory.Change{Kind: inventory.Added, What: "host"}),
		}},
		{"hosts of a list that broke off", func(s *fleet.Snapshot) {
			s.Hosts = s.Hosts[:1]
			s.Regions[0].Instances = fleet.Unknown[int]("ec2", start, "throttled")
		}, []inventory.Change{
			at("", inventory.Change{Kind: inventory.Lost, What: "instances", Reason: "throttled"}),
			at("i-2", inventory.Change{Kind: inventory.Lost, What: "host", Reason: "throttled"}),
		}},
		{"host facts", func(s *fleet.Snapshot) {
			h := &s.Hosts[0]
			h.State, h.Groups, h.ProfileARN = "stopped", []string{"sg-1"}, "arn:p"
			h.Node.Value.PingStatus, h.Node.Value.AgentVersion = "ConnectionLost", "3.3.1.0"
			h.Connection.Value = "notconnected"
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "connection", Before: "connected", After: "notconnected"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "groups", Before: "sg-1 sg-2", After: "sg-1"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "node agent version", Before: "3.3.987.0", After: "3.3.1.0"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "node ping", Before: "Online", After: "ConnectionLost"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "profile", After: "arn:p"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "state", Before: "running", After: "stopped"}),
		}},
		{"probe lost", func(s *fleet.Snapshot) { s.Hosts[0].Probe = fleet.Unknown[fleet.Probe]("probe", start, "refused") }, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Lost, What: "probe", Reason: "refused"}),
		}},
		{"keys", func(s *fleet.Snapshot) {
			probe(s).Keys.Value = []fleet.Key{{User: "alice", Fingerprint: "SHA256:a", Options: []string{"restrict"}}, {User: "bob", Fingerprint: "SHA256:b"}}
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Removed, What: "key", Object: "alice SHA256:b"}),
			at("i-1", inventory.Change{Kind: inventory.Added, What: "key", Object: "bob SHA256:b"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "key options", Object: "alice SHA256:a", After: "restrict"}),
		}},
		{"keys that are no longer all readable", func(s *fleet.Snapshot) {
			probe(s).Keys = fleet.Partial([]fleet.Key{{User: "eve", Fingerprint: "SHA256:e"}}, "probe", start, "permission denied")
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Lost, What: "key", Reason: "permission denied"}),
			at("i-1", inventory.Change{Kind: inventory.Added, What: "key", Object: "eve SHA256:e"}),
		}},
		{"sshd", func(s *fleet.Snapshot) {
			probe(s).SSHD.Value = fleet.SSHD{
				Settings: map[string][]string{"passwordauthentication": {"yes"}, "port": {"22"}, "x11forwarding": {"yes"}},
				PerUser:  map[string]map[string][]string{"bob": {"forcecommand": {"/bin/true"}}},
			}
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "sshd forcecommand", Object: "bob", After: "/bin/true"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "sshd passwordauthentication", Before: "no", After: "yes"}),
		}},
		{"endpoint", func(s *fleet.Snapshot) {
			e := &probe(s).Endpoints.Value[0]
			e.TCP.Value = false
			e.TLS = fleet.Unknown[bool]("probe", start, "no connection to test on")
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Lost, What: "endpoint TLS", Object: "ssm", Reason: "no connection to test on"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "endpoint TCP", Object: "ssm", Before: "yes", After: "no"}),
		}},
		{"what agents and sessions rest on", func(s *fleet.Snapshot) {
			p := probe(s)
			p.Health.Value.Filesystems = []fleet.Filesystem{{Mount: "/tmp", Options: []string{"rw", "noatime", "noexec"}, Free: 1}}
			p.Health.Value.TrustStore.Value = false
			p.Metadata.Value = fleet.MetadataTest{}
			p.CloudInit = fleet.Known(fleet.CloudInit{AlwaysKeys: []string{"/etc/cloud/a"}}, "probe", start)
			a := &p.Agent.Value
			a.Installs = append(a.Installs, fleet.AgentInstall{Package: "deb"})
			a.Proxy = map[string]string{"https_proxy": "http://proxy:3128"}
			a.Registration = fleet.Known(fleet.Registration{ID: "mi-1"}, "probe", start)
			a.SSMUser.Value.Sudo.Value = false
		}, []inventory.Change{
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "file system options", Object: "/tmp", Before: "noatime rw", After: "noatime noexec rw"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "trust store", Before: "yes", After: "no"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "metadata service reachable", Before: "yes", After: "no"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "metadata service role", Before: "web"}),
			at("i-1", inventory.Change{Kind: inventory.Found, What: "cloud-init"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "agent packages", Before: "snap", After: "deb snap"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "agent https_proxy", After: "http://proxy:3128"}),
			at("i-1", inventory.Change{Kind: inventory.Found, What: "agent registration"}),
			at("i-1", inventory.Change{Kind: inventory.Changed, What: "ssm-user sudo", Before: "yes", After: "no"}),
		}},
		{"around the hosts", func(s *fleet.Snapshot) {
			r := &s.Regions[0]
			r.Groups.Value[0].Ingress[0].CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			r.VPCs.Value[0].DNSSupport = fleet.Unknown[bool]("ec2", start, "denied")
			r.Endpoints.Value[0].State = "pending"
			r.Subnets = fleet.Unknown[[]fleet.Subnet]("ec2", start, "denied")
			s.Accounts[0].Roles.Value[0].Inline = map[string]string{"p": "{}"}
		}, []inventory.Change{
			{Kind: inventory.Changed, Account: account, What: "role inline", Object: "arn:role/web", After: `{"p":"{}"}`},
			at("", inventory.Change{Kind: inventory.Changed, What: "VPC endpoint state", Object: "vpce-1", Before: "available", After: "pending"}),
			at("", inventory.Change{Kind: inventory.Lost, What: "VPC dnsSupport", Object: "vpc-1", Reason: "denied"}),
			at("", inventory.Change{Kind: inventory.Removed, What: "security group ingress", Object: "sg-1", Before: "tcp 22-22 0.0.0.0/0"}),
			at("", inventory.Change{Kind: inventory.Added, What: "security group ingress", Object: "sg-1", After: "tcp 22-22 10.0.0.0/8"}),
			at("", inventory.Change{Kind: inventory.Lost, What: "subnet", Reason: "denied"}),
		}},
		{"around sessions", func(s *fleet.Snapshot) {
			r := &s.Regions[0]
			r.Peerings.Value[0].State = "deleted"
			r.ResolverRules.Value = nil
			r.Documents.Value[0].Content = fleet.Unknown[string]("ssm", start, "denied")
			r.Endpoints.Value[0].Addresses = fleet.Known([]netip.Addr{netip.MustParseAddr("10.0.0.4")}, "ec2", start)
			p := &r.Preferences.Value
			p.Content, p.Version = `{"a":2}`, "2"
			p.Bucket.Value.Policy = "{}"
			p.Key.Value.State = "Disabled"
			p.Key.Value.Policy = fleet.Unknown[string]("kms", start, "denied")
			p.LogGroup = fleet.Known(fleet.LogGroup{Name: "/ssm"}, "logs", start)
		}, []inventory.Change{
			at("", inventory.Change{Kind: inventory.Changed, What: "VPC peering connection state", Object: "pcx-1", Before: "active", After: "deleted"}),
			at("", inventory.Change{Kind: inventory.Removed, What: "Resolver rule", Object: "rr-1"}),
			at("", inventory.Change{Kind: inventory.Lost, What: "session document content", Object: "port", Reason: "denied"}),
			at("", inventory.Change{Kind: inventory.Found, What: "VPC endpoint addresses", Object: "vpce-1"}),
			at("", inventory.Change{Kind: inventory.Changed, What: "session preferences", Before: `{"a":1}`, After: `{"a":2}`}),
			at("", inventory.Change{Kind: inventory.Changed, What: "session log bucket policy", After: "{}"}),
			at("", inventory.Change{Kind: inventory.Changed, What: "session key state", Before: "Enabled", After: "Disabled"}),
			at("", inventory.Change{Kind: inventory.Lost, What: "session key policy", Reason: "denied"}),
		}},
		{"preferences that go", func(s *fleet.Snapshot) {
			s.Regions[0].Preferences.Value = fleet.Preferences{}
		}, []inventory.Change{
			at("", inventory.Change{Kind: inventory.Changed, What: "session preferences exist", Before: "yes", After: "no"}),
			at("", inventory.Change{Kind: inventory.Changed, What: "session preferences", Before: `{"a":1}`}),
		}},
		{"preferences that are denied", func(s *fleet.Snapshot) {
			s.Regions[0].Preferences = fleet.Unknown[fleet.Preferences]("ssm", start, "denied")
		}, []inventory.Change{at("", inventory.Change{Kind: inventory.Lost, What: "session preferences", Reason: "denied"})}},
		{"who may do what", func(s *fleet.Snapshot) {
			a := &s.Accounts[0]
			a.Users.Value[0].Groups = []string{"dev"}
			a.Users.Value = append(a.Users.Value, fleet.IAMUser{ARN: "arn:user/eve"})
			a.Groups.Value[0].Attached = nil
			a.ControlLevels.Value[0].Policies[0].Document.Value = `{"deny":1}`
			a.ControlLevels.Value[1].Policies = nil
			a.HostedZones.Value[0].VPCs = []string{"vpc-1"}
		}, []inventory.Change{
			{Kind: inventory.Changed, Account: account, What: "user groups", Object: "arn:user/alice", Before: `["dev","ops"]`, After: `["dev"]`},
			{Kind: inventory.Added, Account: account, What: "user", Object: "arn:user/eve"},
			{Kind: inventory.Changed, Account: account, What: "group attached", Object: "arn:group/ops", Before: `["arn:p"]`},
			{Kind: inventory.Changed, Account: account, What: "service control policy document", Object: "r-1 arn:full", Before: "{}", After: `{"deny":1}`},
			{Kind: inventory.Removed, Account: account, What: "service control policy", Object: "111122223333 arn:full"},
			{Kind: inventory.Changed, Account: account, What: "hosted zone vpcs", Object: "Z1", After: `["vpc-1"]`},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := world()
			tc.change(changed)
			got := inventory.Diff(world(), changed)
			byWhere := cmp.Transformer("set", func(list []inventory.Change) map[inventory.Change]int {
				m := map[inventory.Change]int{}
				for _, c := range list {
					m[c]++
				}
				return m
			})
			if diff := cmp.Diff(tc.want, got, byWhere); diff != "" {
				t.Error(diff)
			}
			first, _ := json.Marshal(got)
			for range 5 {
				if again, _ := json.Marshal(inventory.Diff(world(), changed)); string(again) != string(first) {
					t.Fatalf("another order:\n%s\n%s", first, again)
				}
			}
		})
	}
}

func TestDiffFindsWhatAnIncompleteSnapshotMayHaveMissed(t *testing.T) {
	old, now := world(), world()
	old.Hosts = old.Hosts[:1]
	old.Regions[0].Instances = fleet.Unknown[int]("ec2", start, "throttled")
	old.Hosts[0].Probe.Value.Keys = fleet.Partial([]fleet.Key{{User: "alice", Fingerprint: "SHA256:gone"}}, "probe", start, "permission denied")
	got := map[string]int{}
	for _, c := range inventory.Diff(old, now) {
		got[string(c.Kind)+" "+c.Host+" "+c.What+" "+c.Object]++
	}
	want := map[string]int{"found  instances ": 1, "found i-2 host ": 1, "found i-1 key ": 1, "removed i-1 key alice SHA256:gone": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
