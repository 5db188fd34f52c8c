package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

const (
	account   = "111122223333"
	region    = "eu-west-1"
	publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3v2Yq2m0lqVQHcPbZ4b8Hc3l0nYVb3vVQ0m0lqVQHc recovery"
)

var (
	at  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	now = at.Add(time.Hour)
)

func known[T any](v T) fleet.Fact[T] { return fleet.Known(v, "test", at) }

func lost[T any](why string) fleet.Fact[T] { return fleet.Unknown[T]("test", at, why) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ssh(from string) fleet.Permission {
	return fleet.Permission{Protocol: "tcp", From: 22, To: 22, CIDRs: []netip.Prefix{prefix(from)}}
}

// scene is a snapshot and its judgement in the making: one Region, VPC vpc-1
// with a subnet in each of two zones, one of them public, and hosts that are
// ready, quiet and fully seen.
type scene struct {
	s *fleet.Snapshot
	a *fleet.Assessment
	p plan.Policy
}

func newScene(hosts int) *scene {
	x := &scene{
		s: &fleet.Snapshot{
			SnapshotInfo: fleet.SnapshotInfo{ID: 7, Started: at.Add(-time.Minute), Finished: at, State: fleet.SnapshotComplete},
			Accounts: []fleet.Account{{
				ID: account, Label: "prod", Caller: known("arn:aws:iam::" + account + ":role/read"),
				Profiles: known([]fleet.InstanceProfile{{ARN: "arn:aws:iam::" + account + ":instance-profile/web", Name: "web", Role: "web"}}),
				Roles:    known([]fleet.Role{{Name: "web", ARN: "arn:aws:iam::" + account + ":role/web"}}),
				Policies: known([]fleet.Policy{}),
			}},
			Regions: []fleet.Region{{
				Account: account, Name: region, Label: "prod",
				Instances: known(hosts), Nodes: known(hosts), DefaultRole: known(""),
				ScalingGroups: known([]fleet.ScalingGroup{}), Templates: known([]fleet.LaunchTemplate{}),
				VPCs: known([]fleet.VPC{{ID: "vpc-1", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}, DNSSupport: known(true), DNSHostnames: known(true)}}),
				Subnets: known([]fleet.Subnet{
					{ID: "subnet-a", VPC: "vpc-1", AZ: region + "a", CIDR: prefix("10.0.1.0/24")},
					{ID: "subnet-b", VPC: "vpc-1", AZ: region + "b", CIDR: prefix("10.0.2.0/24")},
				}),
				RouteTables: known([]fleet.RouteTable{
					{ID: "rtb-private", VPC: "vpc-1", Main: true, Routes: []fleet.Route{{CIDR: prefix("10.0.0.0/16"), Target: "local", State: "active"}}},
					{ID: "rtb-public", VPC: "vpc-1", Subnets: []string{"subnet-b"}, Routes: []fleet.Route{
						{CIDR: prefix("10.0.0.0/16"), Target: "local", State: "active"}, {CIDR: prefix("0.0.0.0/0"), Target: "igw-1", State: "active"},
					}},
				}),
				Groups:      known([]fleet.SecurityGroup{{ID: "sg-app", Name: "app", VPC: "vpc-1", Ingress: []fleet.Permission{ssh("10.0.0.0/8")}}}),
				Endpoints:   known([]fleet.VPCEndpoint{}),
				Preferences: known(fleet.Preferences{}),
			}},
		},
		a: &fleet.Assessment{Snapshot: 7, At: now},
		p: plan.DefaultPolicy(),
	}
	x.p.Recovery.PublicKey, x.p.Recovery.From = publicKey, []string{"198.51.100.0/24"}
	for i := range hosts {
		x.add(readyHost(i + 1))
	}
	return x
}

func (x *scene) add(h fleet.Host) {
	x.s.Hosts = append(x.s.Hosts, h)
	x.a.Hosts = append(x.a.Hosts, fleet.HostVerdict{Host: h.ID, Verdict: fleet.VerdictReady})
}

func readyHost(n int) fleet.Host {
	zone := string("ab"[n%2])
	return fleet.Host{
		ID: fmt.Sprintf("i-%03d", n), Account: account, Region: region, AZ: region + zone, State: "running", Platform: "Linux/UNIX", Architecture: "x86_64",
		ImageID: "ami-1", VPC: "vpc-1", Subnet: "subnet-" + zone, Groups: []string{"sg-app"}, LaunchTime: at.AddDate(0, 0, -n),
		PrivateIP: netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), Tags: map[string]string{"Name": fmt.Sprintf("app-%d", n)},
		ProfileARN: "arn:aws:iam::" + account + ":instance-profile/web",
		Node:       known(fleet.Node{Registered: true, PingStatus: "Online", AgentVersion: "3.3.5226.0"}),
		Connection: known("connected"),
		Probe: known(fleet.Probe{
			LoginUser: "ec2-user", Root: true, OS: fleet.OS{ID: "amzn", Name: "Amazon Linux 2023"},
			SSHD: known(fleet.SSHD{Version: "OpenSSH_9.6p1"}), Users: known([]fleet.User{{Name: "ec2-user"}}),
			Keys:   known([]fleet.Key{{User: "ec2-user", Type: "ssh-ed25519", Fingerprint: "SHA256:one", Blob: "AAAAone", Comment: "alice@laptop"}}),
			Agent:  known(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Package: "rpm", Active: "active", Enabled: "enabled"}),
			Logins: known(fleet.LoginLog{}), Sessions: known([]fleet.Session{}),
		}),
	}
}

// block gives a host a root cause.
func (x *scene) block(i int, code, object string) {
	v := &x.a.Hosts[i]
	f := fleet.Finding{Code: code, Host: v.Host, Object: object, Severity: fleet.SeverityBlocks, Title: "Title of " + code, Fix: "fix " + code}
	v.Verdict = fleet.VerdictBlocked
	v.Causes = append(v.Causes, f.Ref())
	if v.Cause == "" {
		v.Cause = code
	}
	x.a.Findings = append(x.a.Findings, f)
}

func (x *scene) consumer(status fleet.ConsumerStatus, hosts ...int) *fleet.Consumer {
	c := fleet.Consumer{Owner: "Alice", Fingerprint: "SHA256:one", User: "ec2-user", Status: status}
	for _, i := range hosts {
		c.Hosts = append(c.Hosts, x.s.Hosts[i].ID)
	}
	x.a.Ledger.Consumers = append(x.a.Ledger.Consumers, c)
	return &x.a.Ledger.Consumers[len(x.a.Ledger.Consumers)-1]
}

func (x *scene) region() *fleet.Region { return &x.s.Regions[0] }

func (x *scene) group(g fleet.SecurityGroup) {
	g.VPC = "vpc-1"
	x.region().Groups.Value = append(x.region().Groups.Value, g)
}

func (x *scene) probe(i int) *fleet.Probe { return &x.s.Hosts[i].Probe.Value }

func (x *scene) make(t *testing.T) *plan.Plan {
	t.Helper()
	p, err := plan.Make(x.s, x.a, x.p, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// codesOf lists what a plan refuses of the host at a position, as "phase code".
func (x *scene) codesOf(p *plan.Plan, i int) []string {
	out := []string{}
	for _, r := range p.Refused(x.s.Hosts[i].Ref()) {
		out = append(out, string(r.Phase)+" "+r.Code)
	}
	return out
}

// kindsIn lists the kinds of a wave's steps of one phase, lane by lane.
func kindsIn(w plan.Wave, phase plan.Phase) []string {
	out := []string{}
	for _, lane := range w.Phase(phase) {
		for _, s := range lane {
			out = append(out, s.Lane+" "+string(s.Kind))
		}
	}
	return out
}

func one(t *testing.T, p *plan.Plan, k plan.Kind) plan.Step {
	t.Helper()
	steps := p.Of(k)
	if len(steps) != 1 {
		t.Fatalf("%d steps of kind %s, want one", len(steps), k)
	}
	return steps[0]
}

func refusal(t *testing.T, p *plan.Plan, code string) plan.Refusal {
	t.Helper()
	i := slices.IndexFunc(p.Refusals, func(r plan.Refusal) bool { return r.Code == code })
	if i < 0 {
		t.Fatalf("no refusal %s among %+v", code, p.Refusals)
	}
	return p.Refusals[i]
}
