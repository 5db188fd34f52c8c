package readiness

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

// agent judges the SSM Agent: there, running, new enough, and set up for the
// host that it is on.
func (j *judge) agent() {
	if p := j.h.Probe; p.Known && p.Value.Agent.Known {
		j.onHost(p.Value.Agent)
	}
	j.agentVersion()
}

func (j *judge) onHost(agent fleet.Fact[fleet.HostAgent]) {
	a := agent.Value
	switch {
	case !a.Installed && j.heartbeat:
		j.add("agent-disagreement", j.h.ID, "", evidence(agent, "no agent was found on the host"), j.lastPing())
		return
	case !a.Installed && j.h.Node.Known && j.h.Node.Value.Registered && j.h.Metadata.HopLimit == 1:
		j.addHere("agent-behind-hop-limit", "", j.origin(), evidence(agent, "no agent was found on the host"), j.lastPing(),
			j.ec2("the metadata service's answers travel one hop (HttpPutResponseHopLimit 1), which does not reach into a container"))
		return
	case !a.Installed:
		j.add("agent-missing", j.h.ID, j.installFix(), evidence(agent, "no agent was found on the host"))
		return
	}
	j.installs(agent)
	j.service(agent)
	j.config(agent)
	j.ssmUser(a.SSMUser)
	if n := j.h.Node; n.Known && n.Value.Registered {
		listed, ok1 := parseVersion(n.Value.AgentVersion)
		here, ok2 := parseVersion(a.Version)
		if ok1 && ok2 && listed != here {
			j.add("agent-version-disagreement", j.h.ID, "restart the agent: "+j.restart(), evidence(n, "Systems Manager hears agent %s", listed), evidence(agent, "agent %s is installed on the host", here))
		}
	}
}

// agentless reports whether the host is known to have no agent.
func (j *judge) agentless() bool {
	a := j.h.Probe.Value.Agent
	return j.h.Probe.Known && a.Known && !a.Value.Installed
}

// installs looks for two packages that brought the agent: each stops the other's.
func (j *judge) installs(agent fleet.Fact[fleet.HostAgent]) {
	var kinds []string
	var facts []fleet.Evidence
	for _, i := range agent.Value.Installs {
		if !slices.Contains(kinds, i.Package) {
			kinds = append(kinds, i.Package)
			facts = append(facts, evidence(agent, "agent %s is installed as %s", quoted(i.Version), quoted(i.Package)))
		}
	}
	if len(kinds) < 2 {
		return
	}
	code := "agent-installed-twice"
	if j.heartbeat {
		code = "agent-installed-twice-connected"
	}
	fix := ""
	if slices.Contains(kinds, "snap") && slices.Contains(kinds, "deb") {
		fix = "keep the snap, which is how Ubuntu's images bring the agent: systemctl disable --now amazon-ssm-agent && dpkg --purge amazon-ssm-agent && snap restart amazon-ssm-agent"
	}
	j.add(code, j.h.ID, fix, facts...)
}

// service judges the state of the agent's unit, in systemctl(1)'s words.
func (j *judge) service(agent fleet.Fact[fleet.HostAgent]) {
	a := agent.Value
	state := evidence(agent, "unit %s is %s", quoted(a.Unit), quoted(a.Active))
	boot := evidence(agent, "unit %s is %s", quoted(a.Unit), quoted(a.Enabled))
	stopped := slices.Contains([]string{"inactive", "failed", "deactivating", "activating"}, a.Active)
	masked := slices.Contains([]string{"masked", "masked-runtime"}, a.Enabled)
	start := "systemctl enable --now " + j.unit()
	if masked {
		start = "systemctl unmask " + j.unit() + " && " + start
	}
	off := masked || a.Enabled == "disabled"
	switch {
	case stopped && j.heartbeat:
		j.add("agent-disagreement", j.h.ID, "", state, j.lastPing())
	case stopped && off:
		j.add("agent-disabled", j.h.ID, start+"; then find the hardening or patch job that switched it off, and exempt it there", boot)
		j.add("agent-stopped", j.h.ID, start, state)
	case stopped:
		facts := []fleet.Evidence{state}
		for _, kind := range []string{"disk full", "inotify", "x509", "access denied"} {
			facts = append(facts, j.signs(kind)...)
		}
		j.add("agent-stopped", j.h.ID, start+"; then find out what stopped it: journalctl -u "+j.unit(), facts...)
	}
	switch starts := a.StartsAtBoot(); {
	case starts == fleet.TruthUnknown && a.Enabled != "":
		j.add("agent-boot-unknown", j.h.ID, "", boot)
	case starts == fleet.TruthUnknown:
		j.add("agent-boot-unknown", j.h.ID, "", evidence(agent, "no unit of systemd tells whether it starts the agent"))
	case starts == fleet.TruthNo && (!stopped || off && j.heartbeat):
		j.add("agent-not-enabled", j.h.ID, start, boot)
	}
}

// ssmUser judges the account that sessions run under unless Run As names
// another. The agent gives it sudo only when it makes it itself.
func (j *judge) ssmUser(user fleet.Fact[fleet.SSMUser]) {
	u := user.Value
	if !user.Known || !u.Exists || !u.Sudo.Known || u.Sudo.Value || j.settings(j.r).inputs.RunAs {
		return
	}
	facts := []fleet.Evidence{evidence(u.Sudo, "ssm-user may not run everything by sudo without a password")}
	if !u.Sudoers {
		facts = append(facts, evidence(user, "ssm-user exists; /etc/sudoers.d/ssm-agent-users does not"))
	}
	j.add("ssm-user-without-sudo", j.h.ID, "", facts...)
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
	required, wanted := j.lacks(v)
	switch {
	case !known:
		if n := j.h.Node; n.Known && n.Value.Registered {
			j.add("agent-version-unknown", j.h.ID, "", from)
		} else if a := j.h.Probe.Value.Agent; j.h.Probe.Known && a.Known && a.Value.Installed {
			j.add("agent-version-unknown", j.h.ID, "", evidence(a, "the agent at %s would not tell its version", quoted(a.Value.Path)))
		}
	case v.below(minimum):
		j.add("agent-too-old", j.h.ID, j.updateFix(), from, stated("Session Manager needs "+MinimumVersion))
	case v.below(j.functionalFloor):
		facts := []fleet.Evidence{from, stated("the functional floor is " + j.functionalFloor.String())}
		j.add("agent-below-functional-floor", j.h.ID, j.updateFix(), slices.Concat(facts, required, wanted)...)
	default:
		if required != nil {
			j.add("agent-below-preferences", j.h.ID, j.updateFix(), append([]fleet.Evidence{from}, required...)...)
		}
		if wanted != nil {
			j.add("agent-lacks-features", j.h.ID, j.updateFix(), append([]fleet.Evidence{from}, wanted...)...)
		}
		if v.below(j.securityFloor) {
			j.add("agent-below-security-floor", j.h.ID, j.updateFix(), from, stated("the security floor is "+j.securityFloor.String()+"; CVE-2026-89049 is fixed in 3.3.4851.0"))
		}
	}
}

// stated is evidence that rests on the policy or on AWS's documents.
func stated(text string) fleet.Evidence { return fleet.Evidence{Fact: text, Source: "policy"} }
