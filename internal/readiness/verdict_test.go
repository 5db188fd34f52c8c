package readiness_test

import (
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
)

func agentVersion(v string) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Node.Value.AgentVersion = v
		if h.Probe.Known {
			h.Probe.Value.Agent.Value.Version = v
		}
	}
}

func TestVerdictFollowsSystemsManager(t *testing.T) {
	runCases(t, []verdictCase{
		{"connected with a good agent is ready", nil, fleet.VerdictReady, "", []string{}},
		{"ready needs no probe", []change{unprobed}, fleet.VerdictReady, "", []string{"ssh-not-scanned"}},
		{"not listed in full is blocked by the symptom when nothing explains it", []change{offline},
			fleet.VerdictBlocked, "node-not-registered", []string{"node-not-registered"}},
		{"no answer is unknown", []change{silent}, fleet.VerdictUnknown, "node-unknown", []string{"node-unknown"}},
		{"connection lost", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.PingStatus = "ConnectionLost"
			h.Connection.Value = "notconnected"
		}}, fleet.VerdictBlocked, "node-connection-lost", []string{"node-connection-lost"}},
		{"the retired status Inactive counts as lost", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.PingStatus = "Inactive"
			h.Connection = lost[string]("ssm:GetConnectionStatus", "throttled")
		}}, fleet.VerdictBlocked, "node-connection-lost", []string{"node-connection-lost"}},
		{"lost heartbeat with an open channel contradicts itself", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.PingStatus = "ConnectionLost"
		}}, fleet.VerdictUnknown, "node-disagreement", []string{"node-disagreement"}},
		{"a status that nobody knows is unknown", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.PingStatus = "Sleepy\x1b[2J"
		}}, fleet.VerdictUnknown, "node-unknown", []string{"node-unknown"}},
		{"online without a control channel", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Connection.Value = "notconnected"
		}}, fleet.VerdictBlocked, "channel-stale", []string{"channel-stale", "node-not-connected"}},
		{"online with an unknown channel", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Connection = lost[string]("ssm:GetConnectionStatus", "throttled")
		}}, fleet.VerdictUnknown, "connection-unknown", []string{"connection-unknown"}},
		{"a stopped instance is unknown and nothing else is said", []change{offline, unprobed, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.State = "stopped"
			h.ProfileARN = ""
		}}, fleet.VerdictUnknown, "instance-not-running", []string{"instance-not-running"}},
	})
}

func TestAgent(t *testing.T) {
	onHost := func(a fleet.HostAgent) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Probe.Value.Agent.Value = a }
	}
	runCases(t, []verdictCase{
		{"missing explains why it is not registered", []change{offline, onHost(fleet.HostAgent{})},
			fleet.VerdictBlocked, "agent-missing", []string{"agent-missing", "node-not-registered"}},
		{"stopped", []change{offline, onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Unit: "amazon-ssm-agent", Active: "failed", Enabled: "enabled"})},
			fleet.VerdictBlocked, "agent-stopped", []string{"agent-stopped", "node-not-registered"}},
		{"disabled explains that it did not start", []change{offline, onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Unit: "amazon-ssm-agent", Active: "inactive", Enabled: "disabled"})},
			fleet.VerdictBlocked, "agent-disabled", []string{"agent-disabled", "agent-stopped", "node-not-registered"}},
		{"enabled until the next boot explains nothing of today", []change{offline, onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Unit: "amazon-ssm-agent", Active: "inactive", Enabled: "enabled-runtime"})},
			fleet.VerdictBlocked, "agent-stopped", []string{"agent-stopped", "node-not-registered"}},
		{"a state that systemd did not tell is no claim", []change{offline, onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0"})},
			fleet.VerdictBlocked, "node-not-registered", []string{"node-not-registered", "agent-boot-unknown"}},
		{"a static unit may start or not", []change{onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Active: "active", Enabled: "static"})},
			fleet.VerdictReady, "", []string{"agent-boot-unknown"}},
		{"a linked unit does not start", []change{onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Active: "active", Enabled: "linked"})},
			fleet.VerdictReady, "", []string{"agent-not-enabled"}},
		{"heard but not found on the host", []change{onHost(fleet.HostAgent{})},
			fleet.VerdictReady, "", []string{"agent-disagreement"}},
		{"heard but stopped on the host", []change{onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Active: "inactive", Enabled: "enabled"})},
			fleet.VerdictReady, "", []string{"agent-disagreement"}},
		{"not enabled at boot", []change{onHost(fleet.HostAgent{Installed: true, Version: "3.3.5226.0", Active: "active", Enabled: "masked"})},
			fleet.VerdictReady, "", []string{"agent-not-enabled"}},
		{"2.3.68.0 is the first with Session Manager (prerequisites)", []change{agentVersion("2.3.67.9")},
			fleet.VerdictBlocked, "agent-too-old", []string{"agent-too-old"}},
		{"below the functional floor blocks a connected host", []change{agentVersion("3.1.1373.9")},
			fleet.VerdictBlocked, "agent-below-functional-floor", []string{"agent-below-functional-floor"}},
		{"at the functional floor it is only a risk", []change{agentVersion("3.1.1374.0")},
			fleet.VerdictReady, "", []string{"agent-below-security-floor"}},
		{"CVE-2026-89049 is fixed in 3.3.4851.0", []change{agentVersion("3.3.4851.0")}, fleet.VerdictReady, "", []string{}},
		{"versions compare as numbers", []change{agentVersion("3.10.0.0")}, fleet.VerdictReady, "", []string{}},
		{"a version that cannot be read is unknown", []change{agentVersion("3.x")},
			fleet.VerdictUnknown, "agent-version-unknown", []string{"agent-version-unknown"}},
		{"the running version counts while it is heard", []change{onHost(fleet.HostAgent{Installed: true, Version: "2.0.0.0", Active: "active", Enabled: "enabled"})},
			fleet.VerdictReady, "", []string{"agent-version-disagreement"}},
		{"the installed version counts when it is not", []change{offline, onHost(fleet.HostAgent{Installed: true, Version: "2.0.0.0", Active: "active", Enabled: "enabled"})},
			fleet.VerdictBlocked, "agent-too-old", []string{"agent-too-old", "node-not-registered"}},
	})
}

func TestClock(t *testing.T) {
	skewed := func(by time.Duration) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Probe.Value.HostTime = at.Add(by) }
	}
	runCases(t, []verdictCase{
		{"AWS allows 5 minutes (Signature Version 4)", []change{offline, skewed(5 * time.Minute)},
			fleet.VerdictBlocked, "node-not-registered", []string{"node-not-registered"}},
		{"more explains a silent agent", []change{offline, skewed(-6 * time.Minute)},
			fleet.VerdictBlocked, "clock-skew", []string{"clock-skew", "node-not-registered"}},
		{"a heard agent is not blocked by it", []change{skewed(time.Hour)}, fleet.VerdictReady, "", []string{"clock-skew-connected"}},
		{"a host that told no time is not skewed", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Probe.Value.HostTime = time.Time{}
		}}, fleet.VerdictReady, "", []string{}},
	})
}
