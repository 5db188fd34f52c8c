package readiness_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// onProbe changes what the host said of itself.
func onProbe(do func(*fleet.Probe)) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		if h.Probe.Known {
			do(&h.Probe.Value)
		}
	}
}

func onAgent(do func(*fleet.HostAgent)) change {
	return onProbe(func(p *fleet.Probe) { do(&p.Agent.Value) })
}

func onMachine(do func(*fleet.Health)) change {
	return onProbe(func(p *fleet.Probe) { do(&p.Health.Value) })
}

// logged adds a line to the agent's log, minutes before the probe.
func logged(kind string, minutes int) change {
	return onAgent(func(a *fleet.HostAgent) {
		line := fleet.LogSign{Kind: kind, At: at.Add(-time.Duration(minutes) * time.Minute), Text: kind + " for 26m0s"}
		a.Signs = known(append(a.Signs.Value, line), "probe: agent log")
	})
}

var (
	diskFull      = onMachine(func(m *fleet.Health) { m.Filesystems[0].Free = 0 })
	noRootCA      = onMachine(func(m *fleet.Health) { m.TrustStore.Value = false })
	noInotify     = onMachine(func(m *fleet.Health) { m.Inotify.UsedInstances = m.Inotify.MaxInstances })
	skewedClock   = onProbe(func(p *fleet.Probe) { p.HostTime = at.AddDate(-1, 0, 0) })
	noAgent       = onAgent(func(a *fleet.HostAgent) { *a = fleet.HostAgent{} })
	agentFailed   = onAgent(func(a *fleet.HostAgent) { a.Active = "failed" })
	agentEnded    = onAgent(func(a *fleet.HostAgent) { a.Active = "inactive" })
	agentMasked   = onAgent(func(a *fleet.HostAgent) { a.Active, a.Enabled = "inactive", "masked" })
	twice         = onAgent(func(a *fleet.HostAgent) { a.Installs = []fleet.AgentInstall{{Package: "snap"}, {Package: "deb"}} })
	noMetadata    = onProbe(func(p *fleet.Probe) { p.Metadata.Value = fleet.MetadataTest{} })
	otherRegion   = onAgent(func(a *fleet.HostAgent) { a.Config = fleet.AgentConfig{File: "f", Region: "us-east-1"} })
	asleep        = logged("sleeping", 10)
	lostChannel   = func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Connection.Value = "notconnected" }
	metadataIsOff = func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.Endpoint = "disabled" }
	closedWay     = func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		closedGroup(s, h, r)
		tested(timedOut)(s, h, r)
	}
	lostHeartbeat = func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Node.Value.PingStatus, h.Connection.Value = "ConnectionLost", "notconnected"
	}
)

// encrypted makes the preferences name a KMS key, which hosts then have to reach.
func encrypted(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	const arn = "arn:aws:kms:" + regionName + ":" + accountID + ":key/k"
	r.Preferences = known(fleet.Preferences{
		Exists:  true,
		Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"` + arn + `"}}`,
		Key:     known(fleet.KMSKey{ID: arn, ARN: arn, Exists: true, State: "Enabled"}, "kms:DescribeKey"),
	}, "ssm:GetDocument")
}

func dnsOff(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
	r.VPCs.Value[0].DNSSupport = known(false, "ec2:DescribeVpcAttribute")
	h.Probe.Value.Endpoints = lost[[]fleet.EndpointTest]("probe: endpoints", "not tested")
}

func unverified(t *fleet.EndpointTest) {
	t.TLS, t.Issuer = known(false, "probe"), "CN=Amazon RSA 2048 M01"
}

func untested(t *fleet.EndpointTest) { t.TLS, t.Issuer = lost[bool]("probe", "no openssl"), "" }

// drawChains writes the host's chains, one a line: "root>symptom".
func drawChains(a *fleet.Assessment) []string {
	var own []fleet.Finding
	for _, f := range a.Findings {
		if f.Host == a.Hosts[0].Host {
			own = append(own, f)
		}
	}
	var out []string
	for _, c := range fleet.Chains(own) {
		var names []string
		for _, f := range c {
			names = append(names, f.Code)
		}
		out = append(out, strings.Join(names, ">"))
	}
	return out
}

func TestCausalChains(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []change
		want    []string
	}{
		{"a good host has none", nil, nil},
		{"no agent", []change{offline, noAgent}, []string{"agent-missing>node-not-registered"}},
		{"no agent, so no version for the default role", []change{offline, noAgent, noProfile, defaultRoleOn}, []string{"agent-missing>node-not-registered>default-role-unknown"}},
		{"no agent, and the default role's setting was not read", []change{offline, noAgent, noProfile, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DefaultRole = lost[string]("ssm:GetServiceSetting", "AccessDenied")
		}}, []string{"agent-missing>node-not-registered", "default-role-unknown"}},
		{"a full disk beside no agent", []change{offline, noAgent, diskFull}, []string{"agent-missing>node-not-registered", "disk-full"}},
		{"dead after a reboot", []change{lostHeartbeat, agentMasked}, []string{"agent-disabled>agent-stopped>node-connection-lost"}},
		{"a full disk stops the agent", []change{lostHeartbeat, agentFailed, diskFull}, []string{"disk-full>agent-stopped>node-connection-lost"}},
		{"a full disk beside an agent that somebody stopped", []change{offline, agentEnded, diskFull}, []string{"agent-stopped>node-not-registered", "disk-full"}},
		{"a full disk of which a stopped agent's log speaks", []change{offline, agentEnded, diskFull, logged("disk full", 30)}, []string{"disk-full>agent-stopped>node-not-registered"}},
		{"spent inotify instances beside an agent that somebody stopped", []change{offline, agentEnded, noInotify}, []string{"agent-stopped>node-not-registered", "inotify-exhausted"}},
		{"spent inotify instances and a failed agent", []change{offline, agentFailed, noInotify}, []string{"inotify-exhausted>agent-stopped>node-not-registered"}},
		{"a full disk stops sessions of a connected agent", []change{diskFull}, []string{"disk-full"}},
		{"no inotify instance left", []change{noInotify}, []string{"inotify-exhausted"}},
		{"snap beside deb", []change{offline, twice, agentFailed}, []string{"agent-installed-twice>agent-stopped>node-not-registered"}},
		{"wrong clock", []change{offline, skewedClock}, []string{"clock-skew>node-not-registered"}},
		{"no profile, and so asleep", []change{offline, noProfile, asleep}, []string{"profile-missing>agent-sleeping>node-not-registered"}},
		{"asleep after a repair: waiting", []change{offline, asleep}, []string{"agent-sleeping>node-not-registered"}},
		{"slept more than an hour ago", []change{offline, logged("sleeping", 61)}, []string{"node-not-registered"}},
		{"a dead control channel", []change{lostChannel}, []string{"channel-stale>node-not-connected"}},
		{"a dead channel is not named beside a cause", []change{lostChannel, role(denyChannel)}, []string{lacks + ">node-not-connected"}},
		{"the metadata service is off", []change{offline, metadataIsOff, noMetadata}, []string{"imds-disabled>node-not-registered"}},
		{"a firewall on the host stops the metadata service", []change{offline, noMetadata}, []string{"imds-unreachable>node-not-registered"}},
		{"the host's test fails where static analysis says so", []change{offline, closedGroup, tested(timedOut)}, []string{"group-egress-closed>egress-test-failed>node-not-registered"}},
		{"certificates do not verify for want of Amazon's root", []change{offline, noRootCA, tested(unverified)}, []string{"root-ca-missing>node-not-registered"}},
		{"the want of Amazon's root was not tested", []change{offline, noRootCA, tested(untested)}, []string{"root-ca-missing>node-not-registered"}},
		{"an inspected connection says nothing of Amazon's root", []change{offline, noRootCA, tested(inspected)}, []string{"tls-intercepted>node-not-registered"}},
		{"a proxy answers for the metadata service", []change{offline, proxied(""), noMetadata}, []string{"proxy-answers-metadata>imds-unreachable>node-not-registered"}},
		{"configured for another Region", []change{offline, otherRegion}, []string{"agent-config-elsewhere>node-not-registered"}},
		{"doubts are roots of their own", []change{silent, role(conditional)}, []string{"role-undecided", "node-unknown"}},

		{"one hop stops the agent and what sessions need", []change{offline, encrypted, dnsOff}, []string{"dns-off>node-not-registered>session-target-no-path", "preferences-undecided"}},
		{"two independent causes, one symptom", []change{offline, noProfile, closedGroup, tested(timedOut)},
			[]string{"profile-missing>node-not-registered", "group-egress-closed>egress-test-failed>node-not-registered"}},
		{"two causes of a stopped agent", []change{offline, agentFailed, diskFull, twice},
			[]string{"disk-full>agent-stopped>node-not-registered", "agent-installed-twice>agent-stopped>node-not-registered"}},
		{"a cause and one that shows elsewhere", []change{lostChannel, role(denyChannel), diskFull}, []string{lacks + ">node-not-connected", "disk-full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			if diff := cmp.Diff(c.want, drawChains(a)); diff != "" {
				t.Errorf("chains differ (want, got):\n%s", diff)
			}
			checkFindings(t, a)
			checkChains(t, a)
		})
	}
}

// Nothing shows before there is an agent, and what hurts only sessions not
// before the agent is connected.
func TestTheFirstCauseKeepsTheAgentOff(t *testing.T) {
	kmsClosed := func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		encrypted(s, h, r)
		r.Preferences.Value.Key.Value.State = "Disabled"
	}
	withoutRoute := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.RouteTables.Value[0].Routes = r.RouteTables.Value[0].Routes[:1]
	}
	for _, c := range []struct {
		name    string
		changes []change
		want    string // causes, in order
	}{
		{"no agent, and all else is wrong too", []change{offline, noAgent, noProfile, closedWay, skewedClock, kmsClosed}, "agent-missing profile-missing group-egress-closed clock-skew kms-key-unusable"},
		{"no agent, and no way to the sessions' key", []change{offline, noAgent, encrypted, withoutRoute}, "agent-missing session-target-no-path preferences-undecided"},
		{"an agent that is too old registers; no way to the key", []change{offline, onAgent(func(a *fleet.HostAgent) { a.Version = "2.2.0.0" }), encrypted, withoutRoute}, "agent-too-old node-not-registered session-target-no-path preferences-undecided"},
		{"a stopped agent beside a full disk that did not stop it", []change{offline, agentEnded, diskFull}, "agent-stopped disk-full"},
		{"connected: in the catalogue's order", []change{encrypted, withoutRoute, agentVersion("3.0.0.0")}, "session-target-no-path agent-below-functional-floor preferences-undecided"},
	} {
		var got []string
		for _, r := range assess(c.changes...).Hosts[0].Causes {
			got = append(got, r.Code)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: causes %v, want %s", c.name, got, c.want)
		}
	}
}

// What Systems Manager says would settle every other doubt.
func TestItsSilenceIsTheFirstOfDoubts(t *testing.T) {
	v := assess(silent, role(conditional)).Hosts[0]
	if len(v.Causes) != 2 || v.Cause != "node-unknown" || v.Causes[0].Code != "node-unknown" || v.Causes[1].Code != "role-undecided" {
		t.Errorf("cause %q, causes %v", v.Cause, v.Causes)
	}
}

// fatal is what tests and properties report by.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkChains asserts what holds for the chains of every assessment.
func checkChains(t fatal, a *fleet.Assessment) {
	t.Helper()
	byHost := map[string][]fleet.Finding{}
	for _, f := range a.Findings {
		byHost[f.Host] = append(byHost[f.Host], f)
		if f.Host == "" && f.Because != nil {
			t.Fatalf("%s concerns no host and follows from %v", f.Code, f.Because)
		}
	}
	for _, v := range a.Hosts {
		own := byHost[v.Host]
		roots := map[fleet.Ref]bool{}
		in := map[fleet.Ref]bool{}
		for _, c := range fleet.Chains(own) {
			roots[c[0].Ref()] = true
			if c[0].Because != nil {
				t.Fatalf("%s starts a chain and follows from %v: a circle", c[0].Code, c[0].Because)
			}
			for _, f := range c {
				in[f.Ref()] = true
			}
		}
		for _, f := range own {
			if f.Severity >= fleet.SeverityUnknown && !in[f.Ref()] {
				t.Fatalf("%s is in no chain", f.Code)
			}
			for _, r := range f.Because {
				i := slices.IndexFunc(own, func(g fleet.Finding) bool { return g.Ref() == r })
				if i < 0 || own[i].Severity < f.Severity {
					t.Fatalf("%s follows from %v, which is not there or less sure", f.Code, r)
				}
				if !strings.Contains(factsOf(f), "it follows from "+r.Code+": ") {
					t.Fatalf("%s has no evidence that it follows from %s:\n%s", f.Code, r.Code, factsOf(f))
				}
			}
		}
		if len(v.Causes) != len(roots) || (v.Verdict == fleet.VerdictReady) != (v.Causes == nil) {
			t.Fatalf("verdict %s with causes %v; the chains start with %v", v.Verdict, v.Causes, roots)
		}
		for i, r := range v.Causes {
			if !roots[r] || i == 0 && r.Code != v.Cause {
				t.Fatalf("cause %q, causes %v; the chains start with %v", v.Cause, v.Causes, roots)
			}
		}
	}
}

// hostFaults are what only the host shows.
func hostFaults() []change {
	return []change{
		diskFull, noRootCA, noInotify, skewedClock, noAgent, agentFailed, agentMasked, twice, noMetadata, otherRegion,
		asleep, lostChannel, lostHeartbeat, metadataIsOff, tested(timedOut), tested(inspected), tested(unresolved),
		onAgent(func(a *fleet.HostAgent) {
			a.Diagnostics = known([]fleet.Diagnostic{{Check: "Connectivity to ssmmessages endpoint", Status: "Failed", Note: "timeout"}}, "probe: ssm-cli")
		}),
	}
}

func TestChainsCoverWhatKeepsAHostFromReady(t *testing.T) {
	all := slices.Concat(faults(), hostFaults())
	rapid.Check(t, func(t *rapid.T) {
		s := healthy()
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 0, 6).Draw(t, "faults") {
			all[i](s, &s.Hosts[0], &s.Regions[0])
		}
		checkChains(t, judge(s))
	})
}

// Causes that have nothing to do with one another are both named as roots,
// whichever two they are.
func TestPairsOfCausesAreBothNamed(t *testing.T) {
	roots := []struct {
		code   string
		change change
	}{
		{"profile-missing", noProfile}, {"group-egress-closed", closedWay}, {"clock-skew", skewedClock}, {"disk-full", diskFull},
		{"inotify-exhausted", noInotify}, {"agent-installed-twice", twice}, {"agent-disabled", agentMasked},
		{"imds-disabled", metadataIsOff}, {"agent-config-elsewhere", otherRegion}, {"agent-below-functional-floor", agentVersion("3.0.0.0")},
	}
	for i, x := range roots {
		for _, y := range roots[:i] {
			a := assess(offline, x.change, y.change)
			got := map[string]bool{}
			for _, r := range a.Hosts[0].Causes {
				got[r.Code] = true
			}
			if !got[x.code] || !got[y.code] || len(got) != 2 {
				t.Errorf("%s and %s: roots %v", x.code, y.code, a.Hosts[0].Causes)
			}
		}
	}
}

// The order in which APIs list things decides nothing.
func TestVerdictsDoNotDependOnTheOrderOfListings(t *testing.T) {
	all := slices.Concat(faults(), hostFaults())
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		build := func() *fleet.Snapshot {
			s := healthy()
			for i := range 4 {
				h := healthyHost(fmt.Sprintf("i-%d", i+2))
				s.Hosts = append(s.Hosts, h)
			}
			draw := rand.New(rand.NewPCG(seed, 1))
			for i := range s.Hosts {
				for range draw.IntN(4) {
					all[draw.IntN(len(all))](s, &s.Hosts[i], &s.Regions[0])
				}
			}
			return s
		}
		straight, shuffled := build(), build()
		shuffle(shuffled, rand.New(rand.NewPCG(seed, 2)))
		if diff := cmp.Diff(byHostID(judge(straight)), byHostID(judge(shuffled))); diff != "" {
			t.Fatalf("another order gives other verdicts:\n%s", diff)
		}
	})
}

func shuffle(s *fleet.Snapshot, r *rand.Rand) {
	mix := func(n int, swap func(i, j int)) { r.Shuffle(n, swap) }
	hosts, region, account := s.Hosts, &s.Regions[0], &s.Accounts[0]
	mix(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	for i := range hosts {
		if !hosts[i].Probe.Known {
			continue
		}
		p := &hosts[i].Probe.Value
		disks, tests := p.Health.Value.Filesystems, p.Endpoints.Value
		mix(len(disks), func(i, j int) { disks[i], disks[j] = disks[j], disks[i] })
		mix(len(tests), func(i, j int) { tests[i], tests[j] = tests[j], tests[i] })
	}
	ends, subnets, groups := region.Endpoints.Value, region.Subnets.Value, region.Groups.Value
	mix(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
	mix(len(subnets), func(i, j int) { subnets[i], subnets[j] = subnets[j], subnets[i] })
	mix(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	roles := account.Roles.Value
	mix(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })
}

// byHostID is what was found of each host, without the words of the evidence.
func byHostID(a *fleet.Assessment) map[string][]string {
	out := map[string][]string{}
	for _, v := range a.Hosts {
		out[v.Host] = []string{v.Verdict.String(), v.Cause, fmt.Sprint(v.Causes)}
	}
	for _, f := range a.Findings {
		if f.Host != "" {
			out[f.Host] = append(out[f.Host], fmt.Sprint(f.Ref(), f.Severity, f.Because))
		}
	}
	return out
}

// What an Entry says of chains has to make sense: a part that a symptom shows
// it also breaks, and a kind that blocks is a cause or a symptom of something.
func TestCatalogueChains(t *testing.T) {
	for _, e := range readiness.Catalogue() {
		switch {
		case e.Severity == fleet.SeverityBlocks && len(e.Breaks) == 0:
			t.Errorf("%s blocks, but breaks no part of a session's way", e.Code)
		case e.Severity < fleet.SeverityUnknown && len(e.Breaks)+len(e.Shows) > 0:
			t.Errorf("%s is a %s, but has a place in chains", e.Code, e.Severity)
		}
	}
}
