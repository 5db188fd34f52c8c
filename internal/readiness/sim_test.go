package readiness_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
)

// The simulated fleet computes for itself what works. These tests hold two
// implementations of the same AWS rules against each other.

func simulated(t *testing.T, seed uint64) *simfleet.World {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: seed, Instances: 400, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func values[T any](from []*T) []T {
	out := make([]T, len(from))
	for i, p := range from {
		out[i] = *p
	}
	return out
}

// observe writes down everything that the APIs would tell of a world, without
// probes.
func observe(w *simfleet.World) *fleet.Snapshot {
	s := &fleet.Snapshot{SnapshotInfo: fleet.SnapshotInfo{ID: 1, Finished: at}}
	for _, a := range w.Accounts {
		s.Accounts = append(s.Accounts, fleet.Account{
			ID: a.ID, Label: a.ID,
			Profiles: known(values(a.Profiles), "iam"), Roles: known(values(a.Roles), "iam"), Policies: known(values(a.Policies), "iam"),
			HostedZones: known(values(a.Zones), "route53"),
		})
		for _, r := range a.Regions {
			s.Regions = append(s.Regions, fleet.Region{
				Preferences: known(fleet.Preferences{}, "ssm:GetDocument"), // for tests of what they ask for, see observePeople
				Account:     a.ID, Name: r.Name, Label: a.ID,
				Instances: known(len(r.Instances), "ec2"), Nodes: known(0, "ssm"), DefaultRole: known(r.DefaultRole, "ssm"),
				VPCs: known(values(r.VPCs), "ec2"), Subnets: known(values(r.Subnets), "ec2"), RouteTables: known(values(r.RouteTables), "ec2"),
				Groups: known(values(r.Groups), "ec2"), NetworkACLs: known(values(r.NetworkACLs), "ec2"), Endpoints: known(values(r.Endpoints), "ec2"),
				Gateways: known(values(r.Gateways), "ec2"), NATGateways: known(values(r.NATGateways), "ec2"),
				Peerings: known(values(r.Peerings), "ec2"), ResolverRules: known(values(r.Rules), "route53resolver"),
				PrefixLists: known(values(r.PrefixLists), "ec2"), DHCPOptions: known(values(r.DHCPOptions), "ec2"), KeyPairs: known(values(r.KeyPairs), "ec2"),
			})
			for _, in := range r.Instances {
				s.Hosts = append(s.Hosts, observeHost(w, in))
			}
		}
	}
	return s
}

func observeHost(w *simfleet.World, in *simfleet.Instance) fleet.Host {
	h := in.Host
	h.Node = known(fleet.Node{ID: h.ID}, "ssm:DescribeInstanceInformation")
	h.Connection = lost[string]("ssm:GetConnectionStatus", "not a managed node")
	if w.Online(in) {
		h.Node.Value = fleet.Node{ID: h.ID, Registered: true, PingStatus: "Online", LastPing: at, AgentVersion: in.Agent.Version}
		if !w.Permits(in, "ssm:UpdateInstanceInformation") {
			h.Node.Value.IAMRole = in.Region.DefaultRole
		}
		h.Connection = known("notconnected", "ssm:GetConnectionStatus")
		if w.Connected(in) {
			h.Connection.Value = "connected"
		}
	}
	h.Probe = lost[fleet.Probe]("probe", "not probed")
	return h
}

func findingsByHost(a *fleet.Assessment) map[string][]string {
	out := map[string][]string{}
	for _, f := range a.Findings {
		out[f.Host] = append(out[f.Host], f.Code)
	}
	return out
}

func TestVerdictsAgreeWithTheSimulatedFleet(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := simulated(t, seed)
			a := judge(observe(w))
			found := findingsByHost(a)
			if diff := cmp.Diff(a, judge(observe(simulated(t, seed))), sameAddress); diff != "" {
				t.Errorf("the same seed gives other findings:\n%s", diff)
			}
			for _, v := range []fleet.Verdict{fleet.VerdictReady, fleet.VerdictBlocked, fleet.VerdictUnknown} {
				if a.Count(v) < 10 {
					t.Errorf("only %d hosts are %s", a.Count(v), v)
				}
			}
			verdicts := map[string]fleet.HostVerdict{}
			for _, v := range a.Hosts {
				verdicts[v.Host] = v
			}
			for in := range w.Instances() {
				v, serves := verdicts[in.Host.ID], w.ServesSessions(in)
				aged := slices.Contains(found[v.Host], "agent-below-functional-floor")
				switch {
				case v.Verdict == fleet.VerdictReady && !serves:
					t.Errorf("%s is called ready, but serves no sessions", v.Host)
				case v.Verdict != fleet.VerdictReady && serves && !aged:
					t.Errorf("%s serves sessions, but is called %s because of %s", v.Host, v.Verdict, v.Cause)
				case v.Verdict == fleet.VerdictUnknown && in.Host.Running():
					t.Errorf("%s is called unknown because of %s, though every fact is known", v.Host, v.Cause)
				}
			}
		})
	}
}

// TestPathsAgreeWithTheSimulatedFleet asks static analysis alone.
func TestPathsAgreeWithTheSimulatedFleet(t *testing.T) {
	for seed := range uint64(4) {
		w := simulated(t, seed)
		s := observe(w)
		for i := range s.Hosts {
			silent(s, &s.Hosts[i], nil)
		}
		found := findingsByHost(judge(s))
		judged := 0
		for in := range w.Instances() {
			if !in.Host.Running() {
				continue
			}
			ssm, messages := w.EgressTo(in, "ssm"), w.EgressTo(in, "ssmmessages")
			open := ssm.TCP && messages.TCP
			codes := found[in.Host.ID]
			switch {
			case slices.ContainsFunc(codes, isStop):
				if open {
					t.Errorf("seed %d: %s reaches Systems Manager, static analysis says it does not", seed, in.Host.ID)
				}
			case slices.Contains(codes, "egress-unknown"):
				continue
			case !open:
				t.Errorf("seed %d: %s does not reach Systems Manager (%s%s), static analysis says it does", seed, in.Host.ID, ssm.Reason, messages.Reason)
			}
			judged++
		}
		if judged < len(s.Hosts)/2 {
			t.Errorf("seed %d: static analysis decided %d of %d hosts only", seed, judged, len(s.Hosts))
		}
	}
}

func BenchmarkAssessSimulatedFleet(b *testing.B) {
	w, err := simfleet.Generate(simfleet.Options{Seed: 7, Instances: 10_000, Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	s := observe(w)
	for b.Loop() {
		if a := readiness.Assess(s, readiness.DefaultPolicy(), now); len(a.Hosts) == 0 {
			b.Fatal("no verdicts")
		}
	}
}
