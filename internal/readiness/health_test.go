package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// disk changes the file system that is mounted at a place, or mounts one.
func disk(mount string, do func(*fleet.Filesystem)) change {
	return onMachine(func(m *fleet.Health) {
		i := slices.IndexFunc(m.Filesystems, func(f fleet.Filesystem) bool { return f.Mount == mount })
		if i < 0 {
			i = len(m.Filesystems)
			m.Filesystems = append(m.Filesystems, fleet.Filesystem{Mount: mount, Type: "xfs", Options: []string{"rw"}, Size: 5 << 30, Free: 2 << 30, Inodes: 1e6, FreeInodes: 9e5})
		}
		do(&m.Filesystems[i])
	})
}

func TestDisks(t *testing.T) {
	ready := func(name string, c change, codes ...string) verdictCase {
		return verdictCase{name, []change{c}, fleet.VerdictReady, "", append([]string{}, codes...)}
	}
	blocked := func(name string, c change, code string) verdictCase {
		return verdictCase{name, []change{c}, fleet.VerdictBlocked, code, []string{code}}
	}
	runCases(t, []verdictCase{
		blocked("sessions hang on a full root (amazon-ssm-agent issue 170)", diskFull, "disk-full"),
		blocked("no inodes are no room either", disk("/", func(f *fleet.Filesystem) { f.FreeInodes = 0 }), "disk-full"),
		blocked("/var/lib holds the agent's data", disk("/var/lib", func(f *fleet.Filesystem) { f.Free = 0 }), "disk-full"),
		blocked("/var/log/amazon holds its logs", disk("/var/log/amazon", func(f *fleet.Filesystem) { f.Free = 4096 }), "disk-full"),
		blocked("a read-only root shows the same (amazon-ssm-agent issue 90)", disk("/", func(f *fleet.Filesystem) { f.Options = []string{"ro", "relatime"} }), "disk-read-only"),
		ready("below the floor is a risk", disk("/var", func(f *fleet.Filesystem) { f.Free = 99 << 20 }), "disk-nearly-full"),
		ready("so are few inodes", disk("/var", func(f *fleet.Filesystem) { f.FreeInodes = 999 }), "disk-nearly-full"),
		ready("at the floor is none", disk("/var", func(f *fleet.Filesystem) { f.Free, f.FreeInodes = 100<<20, 1000 })),
		ready("a full root does not matter when /var is another", func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			disk("/var", func(*fleet.Filesystem) {})(s, h, r)
			disk("/home", func(*fleet.Filesystem) {})(s, h, r)
			diskFull(s, h, r)
		}),
		ready("/variable is not /var", disk("/variable", func(f *fleet.Filesystem) { f.Free = 0 })),
		ready("a full /tmp is a risk", disk("/tmp", func(f *fleet.Filesystem) { f.Free = 0 }), "disk-nearly-full"),
		ready("a small /tmp is none", disk("/tmp", func(f *fleet.Filesystem) { f.Size, f.Free = 50<<20, 50<<20 })),
		ready("btrfs counts no inodes", disk("/", func(f *fleet.Filesystem) { f.Inodes, f.FreeInodes = 0, 0 })),
		ready("Run Command needs exec (bottlerocket issue 114)", disk("/var", func(f *fleet.Filesystem) { f.Options = []string{"rw", "noexec"} }), "noexec-agent-data"),
		ready("CIS asks for noexec on /tmp (amazon-ssm-agent issue 321)", disk("/tmp", func(f *fleet.Filesystem) { f.Options = []string{"rw", "noexec"} }), "noexec-tmp"),
		ready("unknown health is no claim, but is told", func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Probe.Value.Health = lost[fleet.Health]("probe: health", "no df on the host")
		}, "ssh-partly-scanned"),
	})
}

func TestFixesOfFullDisks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change change
		want   string
	}{
		{"no room", disk("/var", func(f *fleet.Filesystem) { f.Free = 0 }), "free space on /var: find what fills it (du -xh /var "},
		{"no inodes", disk("/var", func(f *fleet.Filesystem) { f.FreeInodes = 0 }), "free inodes on /var: find the folders with the most files (du --inodes -x /var "},
	} {
		if fix := finding(t, assess(c.change), "disk-full").Fix; !strings.Contains(fix, c.want) {
			t.Errorf("%s: the fix does not say %q: %s", c.name, c.want, fix)
		}
	}
}

func TestMachine(t *testing.T) {
	instances := func(used, most int) change {
		return onMachine(func(m *fleet.Health) { m.Inotify = fleet.Inotify{MaxInstances: most, UsedInstances: used} })
	}
	dated := func(skew time.Duration) change {
		return onMachine(func(m *fleet.Health) {
			m.Clock = fleet.Clock{Host: at.Add(time.Hour), Server: at.Add(time.Hour - skew), Source: "ssm.eu-west-1.amazonaws.com"}
		})
	}
	runCases(t, []verdictCase{
		{"root's last inotify instance is taken (amazon-ssm-agent issue 262)", []change{instances(128, 128)}, fleet.VerdictBlocked, "inotify-exhausted", []string{"inotify-exhausted"}},
		{"few are left", []change{instances(97, 128)}, fleet.VerdictReady, "", []string{"inotify-nearly-exhausted"}},
		{"a quarter is left", []change{instances(96, 128)}, fleet.VerdictReady, "", []string{}},
		{"they could not be counted without root", []change{instances(0, 128)}, fleet.VerdictReady, "", []string{}},
		{"a limit that is not known", []change{instances(200, 0)}, fleet.VerdictReady, "", []string{}},
		{"Amazon Root CA 1 is missing, though TLS works", []change{noRootCA}, fleet.VerdictReady, "", []string{"trust-store-incomplete"}},
		{"a trust store that was not read", []change{onMachine(func(m *fleet.Health) { m.TrustStore = lost[bool]("probe", "no openssl") })}, fleet.VerdictReady, "", []string{}},
		{"the server's Date outweighs the collector's clock", []change{offline, skewedClock, dated(0)}, fleet.VerdictBlocked, "node-not-registered", []string{"node-not-registered"}},
		{"AWS allows 5 minutes (Signature Version 4)", []change{offline, dated(5 * time.Minute)}, fleet.VerdictBlocked, "node-not-registered", []string{"node-not-registered"}},
		{"more by the server's Date", []change{offline, dated(5*time.Minute + time.Second)}, fleet.VerdictBlocked, "clock-skew", []string{"clock-skew", "node-not-registered"}},
		{"behind by the server's Date, though heard", []change{dated(-time.Hour)}, fleet.VerdictReady, "", []string{"clock-skew-connected"}},
	})
}

func TestWaitingAgent(t *testing.T) {
	node := "node-not-registered"
	waits := []string{"agent-sleeping", node}
	sleeping := func(text string, minutes int) change {
		return onAgent(func(a *fleet.HostAgent) {
			a.Signs = known([]fleet.LogSign{{Kind: "sleeping", At: at.Add(-time.Duration(minutes) * time.Minute), Text: text}}, "probe: agent log")
		})
	}
	runCases(t, []verdictCase{
		{"asleep after AccessDenied (credentialrefresher)", []change{offline, logged("sleeping", 25)}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"hibernating", []change{offline, logged("hibernating", 59)}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"a line without a time counts", []change{offline, onAgent(func(a *fleet.HostAgent) {
			a.Signs = known([]fleet.LogSign{{Kind: "sleeping", Text: "sleeping"}}, "probe: agent log")
		})}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"a sleep that is over (credentialrefresher)", []change{offline, sleeping("Sleeping for 5m0s before retrying retrieve credentials", 20)}, fleet.VerdictBlocked, node, []string{node}},
		{"a sleep that lasts", []change{offline, sleeping("Sleeping for 27m43s before retrying retrieve credentials", 20)}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"a sleep of which the log tells no length", []change{offline, sleeping("sleeping for a while", 59)}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"a length that is none", []change{offline, sleeping("sleeping for 9999h9999m99999s", 59)}, fleet.VerdictBlocked, "agent-sleeping", waits},
		{"an hour is the longest sleep", []change{offline, logged("sleeping", 61)}, fleet.VerdictBlocked, node, []string{node}},
		{"a heard agent is awake", []change{logged("sleeping", 5)}, fleet.VerdictReady, "", []string{}},
		{"a stopped agent does not wait", []change{offline, agentFailed, logged("sleeping", 5)}, fleet.VerdictBlocked, "agent-stopped", []string{"agent-stopped", node}},
		{"other lines are no sleep", []change{offline, logged("access denied", 5)}, fleet.VerdictBlocked, node, []string{node}},
	})
}

func TestEvidenceQuotesTheAgentsLog(t *testing.T) {
	a := assess(diskFull, logged("disk full", 90), logged("disk full", 30), logged("inotify", 5), logged("disk full", 60*25))
	text := factsOf(finding(t, a, "disk-full"))
	if strings.Count(text, "agent's log") != 1 || !strings.Contains(text, "2026-11-01 11:30:00Z") {
		t.Errorf("evidence:\n%s", text)
	}
	bad := onAgent(func(a *fleet.HostAgent) {
		a.Signs = known([]fleet.LogSign{{Kind: "disk full", Text: "no space\x1b[2J left" + strings.Repeat("x", 5000)}}, "probe: agent log")
	})
	text = factsOf(finding(t, assess(diskFull, bad), "disk-full"))
	if strings.ContainsRune(text, 0x1b) || len(text) > 1000 {
		t.Errorf("a hostile line is shown as it is:\n%s", text)
	}
}

func TestAgentSetUp(t *testing.T) {
	config := func(c fleet.AgentConfig) change {
		return onAgent(func(a *fleet.HostAgent) { a.Config = c; a.Config.File = "/etc/amazon/ssm/amazon-ssm-agent.json" })
	}
	sends := func(service, name string) change {
		return config(fleet.AgentConfig{Endpoints: map[string]string{service: name}})
	}
	user := func(u fleet.SSMUser) change {
		return onAgent(func(a *fleet.HostAgent) { a.SSMUser = known(u, "probe: ssm-user") })
	}
	noted := func(name, status, note string) change {
		return onAgent(func(a *fleet.HostAgent) {
			a.Diagnostics = known([]fleet.Diagnostic{{Check: name, Status: status, Note: note}}, "probe: ssm-cli")
		})
	}
	check := func(name, status string) change { return noted(name, status, "timeout") }
	hops := func(n int) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.HopLimit = n }
	}
	const node, elsewhere, failed = "node-not-registered", "agent-config-elsewhere", "diagnostics-failed"
	onlyNode := []string{node}
	runCases(t, []verdictCase{
		{"another Region", []change{offline, config(fleet.AgentConfig{Region: "us-east-1"})}, fleet.VerdictBlocked, elsewhere, []string{elsewhere, node}},
		{"another Region's endpoint", []change{offline, sends("mgs", "ssmmessages.us-gov-west-1.amazonaws.com")}, fleet.VerdictBlocked, elsewhere, []string{elsewhere, node}},
		{"another Region, but heard", []change{config(fleet.AgentConfig{Region: "us-east-1"})}, fleet.VerdictReady, "", []string{elsewhere + "-connected"}},
		{"the FIPS endpoint of its own Region", []change{offline, sends("ssm", "ssm-fips.eu-west-1.amazonaws.com")}, fleet.VerdictBlocked, node, onlyNode},
		{"the name of a VPC endpoint", []change{offline, sends("ssm", "vpce-1-2.ssm.eu-west-1.vpce.amazonaws.com")}, fleet.VerdictBlocked, node, onlyNode},
		{"its own Region", []change{offline, config(fleet.AgentConfig{Region: regionName})}, fleet.VerdictBlocked, node, onlyNode},
		{"an S3 endpoint elsewhere stops no session", []change{sends("s3", "s3.us-east-1.amazonaws.com")}, fleet.VerdictReady, "", []string{}},
		{"a file that the agent does not understand", []change{config(fleet.AgentConfig{Problem: "invalid character"})}, fleet.VerdictReady, "", []string{"agent-config-unreadable"}},
		{"a file that only root may read", []change{config(fleet.AgentConfig{Problem: "permission denied"}), withoutRoot}, fleet.VerdictReady, "", []string{}},

		{"snap beside deb (eks-hybrid issue 833)", []change{offline, twice}, fleet.VerdictBlocked, "agent-installed-twice", []string{"agent-installed-twice", node}},
		{"snap beside deb, but heard", []change{twice}, fleet.VerdictReady, "", []string{"agent-installed-twice-connected"}},
		{"two revisions of one snap", []change{onAgent(func(a *fleet.HostAgent) { a.Installs = []fleet.AgentInstall{{Package: "snap"}, {Package: "snap"}} })}, fleet.VerdictReady, "", []string{}},

		{"ssm-user was there before the agent (utility_unix.go)", []change{user(fleet.SSMUser{Exists: true, Sudo: known(false, "probe")})}, fleet.VerdictReady, "", []string{"ssm-user-without-sudo"}},
		{"ssm-user as the agent makes it", []change{user(fleet.SSMUser{Exists: true, Sudoers: true, Sudo: known(true, "probe")})}, fleet.VerdictReady, "", []string{}},
		{"no session yet", []change{user(fleet.SSMUser{})}, fleet.VerdictReady, "", []string{}},
		{"sudo rights that nobody could read", []change{user(fleet.SSMUser{Exists: true})}, fleet.VerdictReady, "", []string{}},

		{"a check that nothing explains (ssm-cli)", []change{offline, check("EC2 IMDS", "Failed")}, fleet.VerdictBlocked, failed, []string{failed, node}},
		{"a check that a finding explains", []change{offline, noProfile, check("AWS Credentials", "Failed")}, fleet.VerdictBlocked, "profile-missing", []string{"profile-missing", node}},
		{"no way to STS is not about the credentials (credentials_check.go)", []change{offline, asleep, noted("AWS Credentials", "Failed", "STS call timed out")}, fleet.VerdictBlocked, "agent-sleeping", []string{"agent-sleeping", node}},
		{"STS that cannot be dialled is not either", []change{offline, noted("AWS Credentials", "Failed", "Failed call sts endpoint: RequestError: send request failed")}, fleet.VerdictBlocked, node, onlyNode},
		{"credentials that STS refuses are", []change{offline, noted("AWS Credentials", "Failed", "Failed call sts endpoint: InvalidClientTokenId: bad")}, fleet.VerdictBlocked, failed, []string{failed, node}},
		{"STS is tried over the network", []change{offline, closedWay, check("AWS Credentials", "Failed")}, fleet.VerdictBlocked, "group-egress-closed", []string{"group-egress-closed", "egress-test-failed", node}},
		{"an agent that was known and is in no package, one hop from metadata (elastic-ci-stack-for-aws issue 857)", []change{lostHeartbeat, noAgent, hops(1)},
			fleet.VerdictBlocked, "agent-behind-hop-limit", []string{"agent-behind-hop-limit", "node-connection-lost"}},
		{"an agent that was known and is in no package, two hops", []change{lostHeartbeat, noAgent, hops(2)}, fleet.VerdictBlocked, "agent-missing", []string{"agent-missing", "node-connection-lost"}},
		{"an agent that was never known", []change{offline, noAgent, hops(1)}, fleet.VerdictBlocked, "agent-missing", []string{"agent-missing", node}},
		{"a check of what no session needs", []change{offline, check("Connectivity to monitoring endpoint", "Failed")}, fleet.VerdictBlocked, node, onlyNode},
		{"a check that was skipped", []change{offline, check("EC2 IMDS", "Skipped")}, fleet.VerdictBlocked, node, onlyNode},
		{"a check against an open channel", []change{check("Connectivity to ssm endpoint", "Failed")}, fleet.VerdictReady, "", []string{}},
		{"a check of ssmmessages explains a missing channel", []change{lostChannel, check("Connectivity to ssmmessages endpoint", "Failed")}, fleet.VerdictBlocked, failed, []string{failed, "node-not-connected"}},
		{"a check of ssmmessages does not explain a missing heartbeat", []change{offline, check("Connectivity to ssmmessages endpoint", "Failed")}, fleet.VerdictBlocked, failed, []string{failed, node}},
	})
	t.Run("an endpoint of somebody's own is a doubt", func(t *testing.T) {
		a := assess(silent, sends("ssm", "ssm.corp.example"))
		if f := finding(t, a, "agent-config-own-endpoint"); f.Severity != fleet.SeverityUnknown || a.Hosts[0].Verdict != fleet.VerdictUnknown {
			t.Errorf("finding %+v, verdict %+v", f, a.Hosts[0])
		}
	})
}

// Sources of the versions: amazon-ssm-agent release notes; AWS Systems Manager
// User Guide, session-manager-prerequisites.
func TestFeaturesNeedAgents(t *testing.T) {
	judgeAt := func(version, preferences string) []string {
		s := healthy()
		agentVersion(version)(s, &s.Hosts[0], &s.Regions[0])
		s.Regions[0].Preferences = known(fleet.Preferences{Exists: preferences != "", Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{` + preferences + `}}`}, "ssm:GetDocument")
		p := readiness.DefaultPolicy()
		p.FunctionalFloor, p.SecurityFloor = readiness.MinimumVersion, readiness.MinimumVersion
		var out []string
		for _, f := range readiness.Assess(s, p, now).Findings {
			if f.Code == "agent-below-preferences" || f.Code == "agent-lacks-features" {
				out = append(out, f.Code+": "+strings.ReplaceAll(factsOf(f), "\n", "; "))
			}
		}
		return out
	}
	for _, c := range []struct{ version, preferences, want string }{
		{"2.3.538.0", `"kmsKeyId":"alias/s"`, "agent-below-preferences: KMS, which needs 2.3.539.0"},
		{"2.3.671.0", `"runAsEnabled":true`, "agent-below-preferences: Run As, which needs 2.3.672.0"},
		{"2.3.672.0", `"runAsEnabled":true`, ""},
		{"3.0.195.0", `"shellProfile":{"linux":"bash"}`, "agent-lacks-features: 3.0.196.0"},
		{"3.0.355.0", `"cloudWatchLogGroupName":"l","cloudWatchStreamingEnabled":true`, "agent-lacks-features: 3.0.356.0"},
		{"3.0.221.0", ``, "agent-lacks-features: SSH, SCP and port forwarding"},
		{"3.1.1373.0", ``, "agent-lacks-features: port forwarding to remote hosts needs 3.1.1374.0"},
	} {
		got := judgeAt(c.version, c.preferences)
		code, says, _ := strings.Cut(c.want, ": ")
		i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, code+":") })
		if c.want == "" {
			if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "agent-below-preferences") }) {
				t.Errorf("%s with %s: %q", c.version, c.preferences, got)
			}
			continue
		}
		if i < 0 || !strings.Contains(got[i], says) {
			t.Errorf("%s with %s: %q, want %s with %q", c.version, c.preferences, got, code, says)
		}
	}
	if got := judgeAt("3.1.1374.0", `"kmsKeyId":"alias/s","runAsEnabled":true,"shellProfile":{"linux":"bash"}`); got != nil {
		t.Errorf("an agent that knows all lacks %q", got)
	}
}

// What a finding tells people to run has to be for their system.
func TestFixesNameTheCommandsOfTheSystem(t *testing.T) {
	system := func(id, version, kind string) change {
		return onProbe(func(p *fleet.Probe) {
			p.OS = fleet.OS{ID: id, Version: version, Arch: "aarch64"}
			p.Agent.Value.Package = kind
		})
	}
	gone := func(id, version string) []change {
		return []change{offline, system(id, version, ""), noAgent}
	}
	aged := func(id, kind string) []change {
		return []change{system(id, "9", kind), agentVersion("3.2.2086.0"), onAgent(func(a *fleet.HostAgent) { a.Version = "3.2.2086.0" })}
	}
	connects := func(id string) []change {
		return []change{system(id, "9", ""), onProbe(func(p *fleet.Probe) {
			p.SSHD.Value.Arguments = "-o AuthorizedKeysCommand=/opt/aws/bin/eic_run_authorized_keys %u %f"
		})}
	}
	stopped := func(id, kind string) []change { return []change{offline, system(id, "1", kind), agentFailed} }
	for _, c := range []struct {
		changes []change
		code    string
		says    string
	}{
		{gone("amzn", "2023"), "agent-missing", "dnf install -y https://s3.eu-west-1.amazonaws.com/amazon-ssm-eu-west-1/latest/linux_arm64/amazon-ssm-agent.rpm && systemctl enable --now amazon-ssm-agent"},
		{gone("amzn", "2"), "agent-missing", "yum install -y https://s3"},
		{gone("rhel", "7.9"), "agent-missing", "yum install -y https://s3"},
		{gone("debian", "12"), "agent-missing", "latest/debian_arm64/amazon-ssm-agent.deb && dpkg -i"},
		{gone("ubuntu", "24.04"), "agent-missing", "snap install amazon-ssm-agent --classic && systemctl enable --now snap.amazon-ssm-agent.amazon-ssm-agent.service"},
		{gone("sles", "15.5"), "agent-missing", "zypper install -y amazon-ssm-agent"},
		{gone("alpine", "3.20"), "agent-missing", `AWS does not support the SSM Agent on "alpine"`},
		{gone("", ""), "agent-missing", "install the agent from the Region's bucket"},
		{aged("ubuntu", "snap"), "agent-below-security-floor", "snap refresh amazon-ssm-agent --channel=latest/candidate"},
		{aged("ubuntu", "deb"), "agent-below-security-floor", "latest/debian_arm64/amazon-ssm-agent.deb && dpkg -i /tmp/amazon-ssm-agent.deb && systemctl restart amazon-ssm-agent"},
		{aged("debian", "deb"), "agent-below-security-floor", "AWS-UpdateSSMAgent --instance-ids i-1 --region eu-west-1"},
		{aged("rocky", "rpm"), "agent-below-security-floor", "dnf install -y https://s3.eu-west-1.amazonaws.com/amazon-ssm-eu-west-1/latest/linux_arm64/amazon-ssm-agent.rpm && systemctl restart amazon-ssm-agent"},
		{aged("sles", "rpm"), "agent-below-security-floor", "zypper install -y amazon-ssm-agent && systemctl restart"},
		{aged("gentoo", ""), "agent-below-security-floor", "with the package manager it came from"},
		{append(aged("rocky", "rpm"), offline), "agent-below-security-floor", "update the agent on the host: dnf install"},
		{connects("ubuntu"), "key-commands", "apt-get purge -y ec2-instance-connect && systemctl daemon-reload && systemctl restart ssh,"},
		{connects("rhel"), "key-commands", "dnf remove -y ec2-instance-connect && systemctl daemon-reload && systemctl restart sshd,"},
		{stopped("ubuntu", "snap"), "agent-stopped", "systemctl enable --now snap.amazon-ssm-agent.amazon-ssm-agent.service"},
		{stopped("ubuntu", "deb"), "agent-stopped", "systemctl enable --now amazon-ssm-agent;"},
		{[]change{offline, agentMasked}, "agent-disabled", "systemctl unmask amazon-ssm-agent && systemctl enable --now amazon-ssm-agent"},
		{[]change{offline, asleep}, "agent-sleeping", "systemctl restart amazon-ssm-agent"},
		{[]change{system("debian", "12", "deb"), noRootCA}, "trust-store-incomplete", "update-ca-certificates"},
		{[]change{system("rocky", "9", "rpm"), noRootCA}, "trust-store-incomplete", "dnf reinstall -y ca-certificates && update-ca-trust"},
		{[]change{offline, twice}, "agent-installed-twice", "dpkg --purge amazon-ssm-agent && snap restart amazon-ssm-agent"},
	} {
		if f := finding(t, assess(c.changes...), c.code); !strings.Contains(f.Fix, c.says) {
			t.Errorf("%s: fix %q does not say %q", c.code, f.Fix, c.says)
		}
	}
	// A unit's name comes from the host and stays out of commands.
	hostile := onAgent(func(a *fleet.HostAgent) { a.Active, a.Unit = "failed", "x; rm -rf /" })
	if f := finding(t, assess(offline, hostile), "agent-stopped"); strings.Contains(f.Fix, "rm -rf") {
		t.Errorf("fix %q", f.Fix)
	}
}

func TestNodesWithoutInstance(t *testing.T) {
	a := assess(func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		for i := range 10 {
			r.HybridNodes = append(r.HybridNodes, fleet.Node{ID: fmt.Sprintf("mi-%02d", i), ComputerName: "old\x1b[2J"})
		}
	})
	f := finding(t, a, "nodes-without-instance")
	text := factsOf(f)
	for _, want := range []string{"EC2 lists 1 instance, 1 of them running", "lists 11 managed nodes: 1 are instances that EC2 lists, 10 are not", `"mi-00"`, "and 2 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("evidence does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "nobody can tell") {
		t.Errorf("EC2's list is whole, and the evidence doubts it:\n%s", text)
	}
	if strings.ContainsRune(text, 0x1b) || f.Host != "" || a.Hosts[0].Verdict != fleet.VerdictReady {
		t.Errorf("finding %+v", f)
	}
}
