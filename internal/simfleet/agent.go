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
	firstWithSessions    = "2.3.68.0"
	firstWithDefaultRole = "3.2.582.0"
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
	case in.Skew.Abs() > maxSkew:
		return "the host's clock is off by " + in.Skew.String()
	}
	if _, reason := w.credentials(in); reason != "" {
		return reason
	}
	return w.serviceReason(in, "ssm", "ssm:UpdateInstanceInformation")
}

// credentials says whether the agent works with Default Host Management
// Configuration's role, or why it has no credentials that register it. The
// agent tries the profile first and falls back only when that does not permit
// ssm:UpdateInstanceInformation.
func (w *World) credentials(in *Instance) (byDefault bool, reason string) {
	const register = "ssm:UpdateInstanceInformation"
	if in.Host.Metadata.Endpoint == "disabled" {
		return false, "the instance metadata service is off"
	}
	if w.Permits(in, register) {
		return false, ""
	}
	r := in.Region.defaultRole()
	switch {
	case r == nil:
		return false, "no role permits " + register
	case versionLess(in.Agent.Version, firstWithDefaultRole):
		return false, "the agent is too old for the default role"
	case !in.Region.Account.roleAllows(r, instanceRequest(in, register)):
		return false, "the default role does not permit " + register
	}
	return true, ""
}

// allowed reports whether the credentials that the agent works with permit an action.
func (w *World) allowed(in *Instance, action string) bool {
	byDefault, reason := w.credentials(in)
	switch {
	case reason != "":
		return false
	case byDefault:
		return in.Region.Account.roleAllows(in.Region.defaultRole(), instanceRequest(in, action))
	}
	return w.Permits(in, action)
}

// serviceReason gives what stops the agent from using actions of a service
// over the network, endpoint policies included.
func (w *World) serviceReason(in *Instance, service string, actions ...string) string {
	p := w.EgressTo(in, service)
	if !p.TLS {
		return service + ": " + p.Reason
	}
	for _, a := range actions {
		if !w.allowed(in, a) {
			return "no permission for " + a
		}
		if p.Policy == "" {
			continue
		}
		if d := instanceRequest(in, a).decide(p.Policy); !d.allowed || d.denied {
			return "the endpoint's policy does not allow " + a
		}
	}
	return ""
}

// Connected reports whether the agent holds its control channel, which is what
// ssm:GetConnectionStatus tells. The caller holds w.Mu, at least for reading.
func (w *World) Connected(in *Instance) bool {
	return w.Online(in) && !versionLess(in.Agent.Version, firstWithSessions) &&
		w.serviceReason(in, "ssmmessages", "ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel") == ""
}

// ServesSessions reports whether a session on the instance would open: it is
// connected and may open data channels as well. The caller holds w.Mu, at
// least for reading.
func (w *World) ServesSessions(in *Instance) bool {
	return w.Connected(in) && w.serviceReason(in, "ssmmessages", sessionActions[1:]...) == ""
}

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
