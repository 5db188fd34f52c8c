package readiness_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// faults are ways in which a host, its role or its network differ from the
// healthy one. Properties are checked over random subsets of them.
func faults() []change {
	probe := func(do func(*fleet.Probe)) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			if h.Probe.Known {
				do(&h.Probe.Value)
			}
		}
	}
	return []change{
		offline, silent, unprobed, noProfile, defaultRoleOn, noEndpoints, isolated, closedGroup,
		role(allowing(heartbeat)), role(allowing(heartbeat + "," + channels)), role(conditional), role(denyChannel), role(`{`),
		boundary(allowing(`"s3:*"`)), boundary(allowing(core)),
		agentVersion("2.3.0.0"), agentVersion("3.1.0.0"), agentVersion("3.2.0.0"), agentVersion("?"),
		endpoints(func(e *fleet.VPCEndpoint) { e.PrivateDNS = false }),
		endpoints(func(e *fleet.VPCEndpoint) { e.State = "failed" }),
		endpoints(func(e *fleet.VPCEndpoint) { e.Policy = `{"Statement":[]}` }),
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.Endpoint = "disabled" },
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.Tokens = "optional" },
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.State = "stopped" },
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Connection.Value = "notconnected" },
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Node.Value.PingStatus = "ConnectionLost" },
		func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.IAMRole = "service-role/" + hostRole
		},
		probe(func(p *fleet.Probe) { p.HostTime = at.AddDate(-56, 0, 0) }),
		probe(func(p *fleet.Probe) { p.Agent.Value = fleet.HostAgent{} }),
		probe(func(p *fleet.Probe) { p.Agent.Value.Active = "failed" }),
		probe(func(p *fleet.Probe) {
			for i := range p.Endpoints.Value {
				timedOut(&p.Endpoints.Value[i])
			}
		}),
	}
}

func drawWorld(t *rapid.T) *fleet.Snapshot {
	s := healthy()
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(faults())-1), 0, 4).Draw(t, "faults") {
		faults()[i](s, &s.Hosts[0], &s.Regions[0])
	}
	return s
}

// forget makes one fact of a snapshot unknown. The facts are found in its JSON
// form, so that a fact added later is covered as well.
func forget(t *rapid.T, s *fleet.Snapshot) *fleet.Snapshot {
	facts := factsIn(t, s)
	return without(t, s, facts[rapid.IntRange(0, len(facts)-1).Draw(t, "fact")], rapid.Bool().Draw(t, "value too"))
}

// factsIn lists the paths of the facts that a snapshot knows, such as
// "hosts 0 probe value health".
func factsIn(t fatal, s *fleet.Snapshot) []string {
	t.Helper()
	facts := map[string]map[string]any{}
	collectFacts(treeOf(t, s), "", facts)
	return slices.Sorted(maps.Keys(facts))
}

// without is a copy of a snapshot that does not know the fact at a path.
func without(t fatal, s *fleet.Snapshot, path string, valueToo bool) *fleet.Snapshot {
	t.Helper()
	tree := treeOf(t, s)
	facts := map[string]map[string]any{}
	collectFacts(tree, "", facts)
	facts[path]["known"], facts[path]["reason"] = false, "forgotten"
	if valueToo {
		facts[path]["value"] = nil
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatalf("%v", err)
	}
	out := &fleet.Snapshot{}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

func treeOf(t fatal, s *fleet.Snapshot) any {
	t.Helper()
	var tree any
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatalf("%v", err)
	}
	return tree
}

func collectFacts(node any, path string, into map[string]map[string]any) {
	switch n := node.(type) {
	case map[string]any:
		if known, ok := n["known"].(bool); ok && known {
			into[path] = n
		}
		for k, e := range n {
			collectFacts(e, strings.TrimSpace(path+" "+k), into)
		}
	case []any:
		for i, e := range n {
			collectFacts(e, strings.TrimSpace(fmt.Sprint(path, " ", i)), into)
		}
	}
}

// unseenWithoutLogin are the causes that rest on a fact which nobody sees
// without a login on the host, and that stop sessions while the agent is
// connected: the one exception to the rule that losing a fact makes no host
// ready. A finding says that the fact is missing.
var unseenWithoutLogin = map[string][]string{
	"hosts 0 probe":              {"disk-full", "disk-read-only", "inotify-exhausted"},
	"hosts 0 probe value health": {"disk-full", "disk-read-only", "inotify-exhausted"},
}

// excused reports whether the exception explains that a host became ready.
func excused(before fleet.HostVerdict, after *fleet.Assessment, forgotten []string) bool {
	var unseen []string
	for _, path := range forgotten {
		unseen = append(unseen, unseenWithoutLogin[path]...)
	}
	for _, r := range before.Causes {
		if !slices.Contains(unseen, r.Code) {
			return false
		}
	}
	return slices.Contains(codes(after), "ssh-not-scanned") || slices.Contains(codes(after), "ssh-partly-scanned")
}

func TestForgettingAnyFactMakesNoHostReady(t *testing.T) {
	excuses := map[string]bool{}
	for i, fault := range slices.Concat(faults(), hostFaults(), []change{encrypted}) {
		s := healthy()
		fault(s, &s.Hosts[0], &s.Regions[0])
		before := judge(s).Hosts[0]
		if before.Verdict == fleet.VerdictReady {
			continue
		}
		for _, path := range factsIn(t, s) {
			after := judge(without(t, s, path, true))
			switch {
			case after.Hosts[0].Verdict != fleet.VerdictReady:
			case !excused(before, after, []string{path}):
				t.Errorf("fault %d: was %s because of %s, is ready without %s; findings %v", i, before.Verdict, before.Cause, path, codes(after))
			default:
				excuses[path] = true
			}
		}
	}
	for path := range unseenWithoutLogin {
		if !excuses[path] {
			t.Errorf("nothing needs the exception for %s", path)
		}
	}
}

// What a verdict does not speak of is said; an open shell settles it.
func TestReadyWithoutALoginNamesWhatWasNotSeen(t *testing.T) {
	shell := func(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		r.Sessions = known([]fleet.ManagedSession{{ID: "s-1", Target: h.ID, Owner: userARN, Status: "Connected", Document: "SSM-SessionManagerRunShell", Start: at.Add(-time.Hour)}}, "ssm:DescribeSessions")
	}
	healthUnknown := onProbe(func(p *fleet.Probe) { p.Health = lost[fleet.Health]("probe: health", "timeout") })
	for _, c := range []struct {
		name    string
		changes []change
		code    string
		says    string
	}{
		{"not probed", []change{unprobed}, "ssh-not-scanned", "the machine's health was not seen: a full disk"},
		{"not probed, a shell is open", []change{unprobed, shell}, "ssh-not-scanned", `let session "s-1" open`},
		{"probed in part", []change{diskFull, healthUnknown}, "ssh-partly-scanned", "the machine's health: not known"},
	} {
		a := assess(c.changes...)
		if f := finding(t, a, c.code); !strings.Contains(factsOf(f), c.says) || a.Hosts[0].Verdict != fleet.VerdictReady {
			t.Errorf("%s: %s, evidence does not say %q:\n%s", c.name, a.Hosts[0].Verdict, c.says, factsOf(f))
		}
	}
}

func TestForgettingSeveralFactsNeverMakesAHostReady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawWorld(t)
		before := judge(s).Hosts[0]
		for range 3 {
			s = forget(t, s)
		}
		after := judge(s)
		if before.Verdict != fleet.VerdictReady && after.Hosts[0].Verdict == fleet.VerdictReady {
			t.Fatalf("was %s because of %s, is ready; findings %v", before.Verdict, before.Cause, codes(after))
		}
	})
}

func TestVerdictFollowsFromFindings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := judge(forget(t, drawWorld(t)))
		v := a.Hosts[0]
		worst := fleet.SeverityNote
		decides := map[string]fleet.Severity{}
		for _, f := range a.Findings {
			if f.Host != "" {
				worst = max(worst, f.Severity)
				decides[f.Code] = f.Severity
			}
			if len(f.Evidence) == 0 || f.Fix == "" || f.Blast == "" {
				t.Fatalf("finding %s lacks evidence, fix or blast radius", f.Code)
			}
		}
		want := map[fleet.Severity]fleet.Verdict{fleet.SeverityBlocks: fleet.VerdictBlocked, fleet.SeverityUnknown: fleet.VerdictUnknown}
		verdict, ok := want[worst]
		if !ok {
			verdict = fleet.VerdictReady
		}
		if v.Verdict != verdict {
			t.Fatalf("verdict %s, worst finding %s", v.Verdict, worst)
		}
		if v.Verdict == fleet.VerdictReady && v.Cause != "" || v.Verdict != fleet.VerdictReady && decides[v.Cause] != worst {
			t.Fatalf("verdict %s because of %q (findings %v)", v.Verdict, v.Cause, codes(a))
		}
	})
}

// TestAConnectedHostIsNotBlockedByInference holds for every fault but an old
// agent and a role known to lack the data channel.
func TestAConnectedHostIsNotBlockedByInference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawWorld(t)
		h := &s.Hosts[0]
		good := healthyHost(h.ID)
		h.State, h.Connection = "running", good.Connection
		role := h.Node.Value.IAMRole
		h.Node = good.Node
		h.Node.Value.IAMRole = role
		v := judge(s).Hosts[0]
		if v.Verdict == fleet.VerdictBlocked && v.Cause != lacks && v.Cause != "default-role-shut-out" {
			t.Fatalf("blocked because of %s", v.Cause)
		}
	})
}

// way orders what static analysis says: closed, in doubt, open.
func way(a *fleet.Assessment) int {
	c := codes(a)
	switch {
	case slices.ContainsFunc(c, isStop):
		return 0
	case slices.Contains(c, "egress-unknown"):
		return 1
	}
	return 2
}

func TestAddingASecurityGroupNeverNarrows(t *testing.T) {
	cidr := rapid.SampledFrom([]string{"0.0.0.0/0", "10.0.2.0/24", "10.0.2.0/25", "10.0.2.128/25", "0.0.0.0/1", "128.0.0.0/1", "52.0.0.0/8"})
	drawGroup := func(t *rapid.T, id string) fleet.SecurityGroup {
		g := fleet.SecurityGroup{ID: id, VPC: "vpc-1"}
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			g.Egress = append(g.Egress, https(prefix(cidr.Draw(t, "cidr"))))
		}
		if rapid.Bool().Draw(t, "by group") {
			g.Egress = append(g.Egress, fleet.Permission{Protocol: "-1", Groups: []string{"sg-ends"}})
		}
		if rapid.Bool().Draw(t, "by list") {
			g.Egress = append(g.Egress, fleet.Permission{Protocol: "-1", PrefixLists: []string{"pl-unknown"}})
		}
		return g
	}
	rapid.Check(t, func(t *rapid.T) {
		first, second := drawGroup(t, "sg-1"), drawGroup(t, "sg-2")
		public := rapid.Bool().Draw(t, "by the internet")
		with := func(groups ...string) *fleet.Assessment {
			return assess(silent, unprobed, func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
				if public {
					noEndpoints(s, h, r)
				}
				r.Groups.Value = append(r.Groups.Value, first, second)
				h.Groups = groups
			})
		}
		if before, after := way(with("sg-1")), way(with("sg-1", "sg-2")); after < before {
			t.Fatalf("was %d, is %d", before, after)
		}
	})
}

func TestAssessIsDeterministicAndLeavesItsInputAlone(t *testing.T) {
	s := largeFleet(300)
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	first := judge(s)
	for range 3 {
		if diff := cmp.Diff(first, judge(s), sameAddress); diff != "" {
			t.Fatalf("a second look differs:\n%s", diff)
		}
	}
	after, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the snapshot was changed")
	}
	if len(first.Hosts) != 300 {
		t.Fatalf("%d verdicts for 300 hosts", len(first.Hosts))
	}
	for i, v := range first.Hosts {
		if v.Host != s.Hosts[i].ID {
			t.Fatalf("verdict %d is on %s, want %s", i, v.Host, s.Hosts[i].ID)
		}
	}
	order := map[string]int{"": len(s.Hosts)}
	for i, h := range s.Hosts {
		order[h.ID] = i
	}
	for i, f := range first.Findings[1:] {
		p := first.Findings[i]
		if order[p.Host] > order[f.Host] || p.Host == f.Host && f.Host != "" && p.Severity < f.Severity {
			t.Fatalf("finding %s on %q comes before %s on %q", p.Code, p.Host, f.Code, f.Host)
		}
	}
}

// largeFleet has n hosts over 10 roles, 20 groups and the faults in turn,
// with 5 keys and 20 logins a host.
func largeFleet(n int) *fleet.Snapshot {
	s := healthy()
	template := s.Hosts[0]
	s.Hosts = nil
	all := faults()
	for i := range 20 {
		g := s.Regions[0].Groups.Value[0]
		g.ID = fmt.Sprintf("sg-%d", i)
		s.Regions[0].Groups.Value = append(s.Regions[0].Groups.Value, g)
	}
	for i := range 10 {
		name := fmt.Sprintf("role%d", i)
		s.Accounts[0].Roles.Value = append(s.Accounts[0].Roles.Value, fleet.Role{Name: name, ARN: "arn:aws:iam::" + accountID + ":role/" + name, Attached: []string{coreARN}})
		s.Accounts[0].Profiles.Value = append(s.Accounts[0].Profiles.Value, fleet.InstanceProfile{ARN: "arn:aws:iam::" + accountID + ":instance-profile/" + name, Name: name, Role: name})
	}
	scratch := healthy() // takes the changes to what hosts share
	for i := range n {
		h := template
		h.Probe = known(healthyProbe(), "probe")
		h.ID = fmt.Sprintf("i-%05d", i)
		h.PrivateIP = netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
		h.Groups = []string{fmt.Sprintf("sg-%d", i%20)}
		h.ProfileARN = fmt.Sprintf("arn:aws:iam::%s:instance-profile/role%d", accountID, i%10)
		for k := range 5 {
			fp := fmt.Sprintf("SHA256:%d", (i*7+k*13)%(n/2+1))
			h.Probe.Value.Keys.Value = append(h.Probe.Value.Keys.Value, key("ec2-user", fp))
			for range 4 {
				used(&h, "ec2-user", fp, at.AddDate(0, 0, -k*40))
			}
		}
		if i%3 == 0 {
			all[i/3%len(all)](scratch, &h, &scratch.Regions[0])
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

func BenchmarkAssess(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			s := largeFleet(n)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if a := readiness.Assess(s, readiness.DefaultPolicy(), now); len(a.Hosts) != n {
					b.Fatal("hosts are missing")
				}
			}
		})
	}
}
