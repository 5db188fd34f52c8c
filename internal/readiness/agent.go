package readiness

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

// agent judges the SSM Agent: there, running, and new enough.
func (j *judge) agent() {
	if p := j.h.Probe; p.Known && p.Value.Agent.Known {
		j.onHost(p.Value.Agent)
	}
	j.agentVersion()
}

func (j *judge) onHost(agent fleet.Fact[fleet.HostAgent]) {
	a := agent.Value
	stopped := []string{"inactive", "failed", "deactivating", "activating"}
	switch {
	case !a.Installed && j.heartbeat:
		j.add("agent-disagreement", j.h.ID, "", evidence(agent, "no agent was found on the host"), j.lastPing())
	case !a.Installed:
		j.add("agent-missing", j.h.ID, "", evidence(agent, "no agent was found on the host"))
	case slices.Contains(stopped, a.Active) && j.heartbeat:
		j.add("agent-disagreement", j.h.ID, "", evidence(agent, "unit %s is %s", quoted(a.Unit), quoted(a.Active)), j.lastPing())
	case slices.Contains(stopped, a.Active):
		j.add("agent-stopped", j.h.ID, "", evidence(agent, "unit %s is %s", quoted(a.Unit), quoted(a.Active)))
	}
	// Source of the states: systemctl(1), is-enabled.
	if a.Installed && slices.Contains([]string{"disabled", "masked", "masked-runtime", "enabled-runtime"}, a.Enabled) {
		j.add("agent-not-enabled", j.h.ID, "", evidence(agent, "unit %s is %s", quoted(a.Unit), quoted(a.Enabled)))
	}
	if n := j.h.Node; n.Known && n.Value.Registered && a.Installed {
		listed, ok1 := parseVersion(n.Value.AgentVersion)
		here, ok2 := parseVersion(a.Version)
		if ok1 && ok2 && listed != here {
			j.add("agent-version-disagreement", j.h.ID, "", evidence(n, "Systems Manager hears agent %s", listed), evidence(agent, "agent %s is installed on the host", here))
		}
	}
}

// version is the agent's version and the evidence for it. While the agent is
// heard, the one that runs counts; otherwise the one that would start.
func (j *judge) version() (version, bool, fleet.Evidence) {
	listed := func() (version, bool, fleet.Evidence) {
		n := j.h.Node
		if !n.Known || !n.Value.Registered {
			return version{}, false, fleet.Evidence{}
		}
		v, ok := parseVersion(n.Value.AgentVersion)
		return v, ok, evidence(n, "agent version %s", quoted(n.Value.AgentVersion))
	}
	if !j.heartbeat && j.h.Probe.Known {
		if a := j.h.Probe.Value.Agent; a.Known && a.Value.Installed {
			if v, ok := parseVersion(a.Value.Version); ok {
				return v, true, evidence(a, "agent version %s", quoted(a.Value.Version))
			}
		}
	}
	return listed()
}

func (j *judge) agentVersion() {
	v, known, from := j.version()
	minimum, _ := parseVersion(MinimumVersion)
	switch {
	case !known:
		if n := j.h.Node; n.Known && n.Value.Registered {
			j.add("agent-version-unknown", j.h.ID, "", from)
		} else if a := j.h.Probe.Value.Agent; j.h.Probe.Known && a.Known && a.Value.Installed {
			j.add("agent-version-unknown", j.h.ID, "", evidence(a, "the agent at %s would not tell its version", quoted(a.Value.Path)))
		}
	case v.below(minimum):
		j.add("agent-too-old", j.h.ID, "", from, stated("Session Manager needs "+MinimumVersion))
	case v.below(j.functionalFloor):
		j.add("agent-below-functional-floor", j.h.ID, "", from, stated("the functional floor is "+j.functionalFloor.String()))
	case v.below(j.securityFloor):
		j.add("agent-below-security-floor", j.h.ID, "", from, stated("the security floor is "+j.securityFloor.String()+"; CVE-2026-89049 is fixed in 3.3.4851.0"))
	}
}

// stated is evidence that rests on the policy or on AWS's documents.
func stated(text string) fleet.Evidence { return fleet.Evidence{Fact: text, Source: "policy"} }
