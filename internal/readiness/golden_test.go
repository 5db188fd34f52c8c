package readiness_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"

	"github.com/google/go-cmp/cmp"
)

// smallFleet is a host for each way to end: ready, blocked by its agent, by
// its network and by its identity, unknown, and stopped.
func smallFleet() *fleet.Snapshot {
	s := healthy()
	s.Regions[0].Groups.Value = append(s.Regions[0].Groups.Value, fleet.SecurityGroup{ID: "sg-closed", VPC: "vpc-1"})
	shared := key("deploy", "SHA256:shared")
	shared.Options = []string{`from="10.0.0.0/8"`}
	s.Hosts = nil
	for _, h := range []struct {
		id     string
		change change
	}{
		{"i-ready", func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {}},
		{"i-old-agent", agentVersion("3.0.222.0")},
		{"i-no-agent", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			offline(s, h, r)
			h.Probe.Value.Agent.Value = fleet.HostAgent{}
		}},
		{"i-closed", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			offline(s, h, r)
			h.Groups = []string{"sg-closed"}
			tested(timedOut)(s, h, r)
		}},
		{"i-no-profile", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			offline(s, h, r)
			unprobed(s, h, r)
			h.ProfileARN = ""
		}},
		{"i-silent", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			silent(s, h, r)
			unprobed(s, h, r)
		}},
		{"i-stopped", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			offline(s, h, r)
			unprobed(s, h, r)
			h.State = "stopped"
		}},
	} {
		host := healthyHost(h.id)
		host.Probe.Value.Keys.Value = []fleet.Key{shared}
		h.change(s, &host, &s.Regions[0])
		s.Hosts = append(s.Hosts, host)
	}
	return s
}

func TestGolden(t *testing.T) {
	a := judge(smallFleet())
	checkFindings(t, a)
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "small.golden.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)+"\n"); diff != "" {
		t.Errorf("the assessment changed; if that is wanted, run with -update:\n%s", diff)
	}
	var back fleet.Assessment
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*a, back, sameAddress); diff != "" {
		t.Errorf("an assessment does not survive JSON:\n%s", diff)
	}
}

func TestPolicy(t *testing.T) {
	if err := readiness.DefaultPolicy().Validate(); err != nil {
		t.Errorf("the default policy is not valid: %v", err)
	}
	err := readiness.Policy{FunctionalFloor: "three", SecurityFloor: "3.3.4851.0"}.Validate()
	if err == nil {
		t.Fatal("a policy of zeros is valid")
	}
	for _, want := range []string{`functional floor "three"`, "unused", "shared", "RSA", "skew", "age"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not speak of %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "security floor") {
		t.Errorf("error speaks of a good security floor: %v", err)
	}
}

func TestPolicyDecides(t *testing.T) {
	base := healthy()
	weak := key("ec2-user", "SHA256:weak")
	weak.Type, weak.Bits = "ssh-rsa", 3071
	base.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{weak}
	used(&base.Hosts[0], "ec2-user", "SHA256:weak", at.AddDate(0, 0, -10))
	base.Hosts[0].Probe.Value.HostTime = at.Add(time.Minute)
	for name, c := range map[string]struct {
		change func(*readiness.Policy)
		want   string
	}{
		"functional floor":  {func(p *readiness.Policy) { p.FunctionalFloor = "4.0.0.0" }, "agent-below-functional-floor"},
		"security floor":    {func(p *readiness.Policy) { p.SecurityFloor = "4" }, "agent-below-security-floor"},
		"days until unused": {func(p *readiness.Policy) { p.UnusedDays = 9 }, "key-unused"},
		"hosts that share":  {func(p *readiness.Policy) { p.SharedKeyHosts = 1 }, "key-shared"},
		"weak RSA":          {func(p *readiness.Policy) { p.WeakRSABits = 3072 }, "key-weak"},
		"skew":              {func(p *readiness.Policy) { p.MaxSkew = 30 * time.Second }, "clock-skew-connected"},
		"age":               {func(p *readiness.Policy) { p.MaxAge = time.Minute }, "snapshot-stale"},
	} {
		p := readiness.DefaultPolicy()
		if got := codes(readiness.Assess(base, p, now)); len(got) != 0 {
			t.Fatalf("the default policy finds %v", got)
		}
		c.change(&p)
		a := readiness.Assess(base, p, now)
		if got := codes(a); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: findings %v, want %s", name, got, c.want)
		}
		checkFindings(t, a)
	}
}

func TestStaleSnapshotChangesNoVerdict(t *testing.T) {
	a := readiness.Assess(healthy(), readiness.DefaultPolicy(), at.AddDate(0, 0, 8))
	if f := finding(t, a, "snapshot-stale"); f.Host != "" || !strings.Contains(factsOf(f), "8 days") {
		t.Errorf("finding %+v", f)
	}
	if a.Hosts[0].Verdict != fleet.VerdictReady || !a.At.Equal(at.AddDate(0, 0, 8)) || a.Snapshot != 7 {
		t.Errorf("assessment %+v", a)
	}
}

func TestEmptySnapshot(t *testing.T) {
	a := readiness.Assess(&fleet.Snapshot{}, readiness.Policy{}, now)
	if len(a.Hosts) != 0 || len(a.Findings) != 0 {
		t.Errorf("assessment of nothing: %+v", a)
	}
}

func TestHostWithoutAnySurroundingsIsUnknown(t *testing.T) {
	a := readiness.Assess(&fleet.Snapshot{Hosts: []fleet.Host{{ID: "i-1", State: "running"}}}, readiness.DefaultPolicy(), now)
	if a.Hosts[0].Verdict != fleet.VerdictUnknown || a.Hosts[0].Cause != "node-unknown" {
		t.Errorf("verdict %+v", a.Hosts[0])
	}
	checkFindings(t, a)
}
