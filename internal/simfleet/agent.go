package simfleet

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The agent's thresholds. Sources: agent release notes; Systems Manager User
// Guide, Session Manager prerequisites and Default Host Management Configuration.
const (
	firstWithSessions      = "2.3.68.0"
	firstWithEncryption    = "2.3.539.0"
	firstWithRunAs         = "2.3.672.0"
	firstWithDiagnostics   = "3.1.501.0"
	firstWithoutMetadataV1 = "3.2.1041.0"
	firstWithDefaultRole   = "3.2.582.0"
)

// maxSkew is how far a host's clock may be off before AWS refuses its signatures.
const maxSkew = 5 * time.Minute

// Online reports whether Systems Manager hears heartbeats from the instance's
// agent: it runs on a running instance, gets credentials that permit
// ssm:UpdateInstanceInformation, and reaches ssm. The caller holds w.Mu, at
// least for reading.
func (w *World) Online(in *Instance) bool { return w.OfflineReason(in) == "" }

// OfflineReason gives the first thing that keeps the agent from Systems
// Manager; empty when it is online. The caller holds w.Mu, at least for reading.
func (w *World) OfflineReason(in *Instance) string {
	switch {
	case in.Host.State != "running":
		return "the instance is " + in.Host.State
	case !in.Agent.Installed:
		return "no agent"
	case !in.Agent.Running:
		return "the agent does not run"
	case in.Agent.Second != "":
		return "the agents of the " + in.Agent.Package + " and of the " + in.Agent.Second + " stop one another"
	case in.Skew.Abs() > maxSkew:
		return "the host's clock is off by " + in.Skew.String()
	case in.Agent.Registration != "":
		return "the agent takes itself for " + in.Agent.Registration
	}
	if _, reason := w.credentials(in); reason != "" {
		return reason
	}
	if reason := w.serviceReason(in, "ssm", "ssm:UpdateInstanceInformation"); reason != "" {
		return reason
	}
	if until := in.Agent.SleepsUntil; until.After(w.Now()) {
		return "the agent sleeps until " + until.UTC().Format(time.RFC3339)
	}
	return ""
}

// serviceReason gives what stops the agent from using actions of a service
// over the network, endpoint policies included.
func (w *World) serviceReason(in *Instance, service string, actions ...string) string {
	p := w.AgentEgress(in, service)
	if !p.TLS {
		return service + ": " + p.Reason
	}
	if in.Region.Outages[service] {
		return service + ": the service is down"
	}
	for _, a := range actions {
		if !w.allowed(in, a) {
			return "no permission for " + a
		}
		if p.Policy == "" {
			continue
		}
		q := in.agentRequest(a)
		if who, ok := w.principal(in); ok {
			q.principal, q.who = who.arn, &who
		}
		if !q.decide(p.Policy).yes() {
			return "the endpoint's policy does not allow " + a
		}
	}
	return ""
}

// Connected reports whether the agent holds its control channel, which is what
// ssm:GetConnectionStatus tells. The caller holds w.Mu, at least for reading.
func (w *World) Connected(in *Instance) bool { return w.connectionReason(in) == "" }

func (w *World) connectionReason(in *Instance) string {
	if reason := w.OfflineReason(in); reason != "" {
		return reason
	}
	switch {
	case versionLess(in.Agent.Version, firstWithSessions):
		return "agent " + in.Agent.Version + " knows no sessions"
	case in.Agent.Stale:
		return "the control channel is dead, and the agent did not notice"
	}
	return w.serviceReason(in, "ssmmessages", "ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel")
}

// ServesSessions reports whether a session on the instance would open, as the
// Region's preferences ask for it: it is connected, may open data channels as
// well, and its machine can run the session. The caller holds w.Mu, at least
// for reading.
func (w *World) ServesSessions(in *Instance) bool { return w.SessionReason(in) == "" }

// SessionReason gives the first thing that keeps a session on the instance from
// opening; empty when one would open. The operator's permissions are not
// looked at. The caller holds w.Mu, at least for reading.
func (w *World) SessionReason(in *Instance) string {
	if reason := w.connectionReason(in); reason != "" {
		return reason
	}
	if reason := w.serviceReason(in, "ssmmessages", sessionActions[1:]...); reason != "" {
		return reason
	}
	if reason := in.machineReason(); reason != "" {
		return reason
	}
	return w.preferencesReason(in)
}

// CommandReason gives the first thing that keeps Run Command from running a
// script on the instance; empty when it would run. The caller holds w.Mu, at
// least for reading.
func (w *World) CommandReason(in *Instance) string {
	if reason := w.OfflineReason(in); reason != "" {
		return reason
	}
	channel := w.connectionReason(in)
	if messages := w.serviceReason(in, "ec2messages", "ec2messages:GetMessages"); channel != "" && messages != "" {
		return messages
	}
	if reason := in.fullReason(); reason != "" {
		return reason
	}
	// The agent runs scripts from its own folder, and their authors from /tmp
	// (bottlerocket-os/bottlerocket#114, aws/amazon-ssm-agent#321).
	for _, dir := range []string{agentData, "/tmp"} {
		if fs := in.filesystem(dir); slices.Contains(fs.Options, "noexec") {
			return fs.Mount + ", which holds " + dir + ", is mounted noexec"
		}
	}
	return ""
}

// SessionSudo reports whether the user of a session that opens may become root:
// the agent writes its sudo rule only together with the account that it makes.
func (in *Instance) SessionSudo() bool { return in.Machine.SSMUser != SSMUserForeign }

// forgotten is after how long Systems Manager no longer lists a silent node.
const forgotten = 30 * 24 * time.Hour

// nodeState gives what Systems Manager lists of an instance: nothing (listed
// false), or its ping status and last heartbeat.
func (w *World) nodeState(in *Instance) (listed bool, ping string, last time.Time) {
	if w.Online(in) {
		return true, "Online", w.Now().Add(-heartbeatAge(in.Host.ID)).UTC().Truncate(time.Millisecond)
	}
	if in.Host.State != "running" || in.Agent.LastSeen.IsZero() || w.Now().Sub(in.Agent.LastSeen) > forgotten {
		return false, "", time.Time{}
	}
	return true, "ConnectionLost", in.Agent.LastSeen
}

// heartbeatAge spreads the five-minute heartbeats over the fleet.
func heartbeatAge(id string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return time.Duration(h.Sum32()%300) * time.Second
}

// versionLess compares dotted versions number by number.
func versionLess(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

func numbers(version string) []int {
	var out []int
	for p := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(p)
		if err != nil {
			n = 0
		}
		out = append(out, n)
	}
	return out
}
