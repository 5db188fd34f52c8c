package plan

import (
	"cmp"
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
)

// boots plans that agents which run today come back after a reboot: where one
// would not, the reboot of a closed host would take the only way in away.
func (m *maker) boots() {
	if m.policy.FixOf(Agent) == FixNever {
		return
	}
	for _, h := range m.joined() {
		if h.Probe.Value.Agent.Value.StartsAtBoot() != fleet.TruthNo || bootsAfter(h) {
			continue
		}
		got, _ := enableWant(h)
		for _, w := range got {
			w.at, w.code = h.Ref().Place(), "agent-not-enabled"
			// Before a restart: of two jobs on an agent a host remembers the last.
			h.prepare = slices.Insert(h.prepare, 0, m.ownStep(h, w))
		}
	}
}

// bootsAfter reports whether a step leaves the host's agent enabled: every
// action but a restart holds only if it does.
func bootsAfter(h *member) bool {
	return slices.ContainsFunc(h.prepare, func(s Step) bool { return s.Kind == Agent && s.Agent.Action != RestartAgent })
}

// enableWant asks for the agent to be enabled, where it is plain which one.
func enableWant(h *member) ([]want, string) {
	for _, i := range h.Probe.Value.Agent.Value.Installs {
		if i.Package != h.Probe.Value.Agent.Value.Installs[0].Package {
			return nil, "two packages installed the agent"
		}
	}
	return agentWant(h, EnableAgent)
}

// noBoot says why a host's agent may not be there after a reboot; all empty: it will.
func (m *maker) noBoot(h *member) (code, text, do string) {
	agent := h.Probe.Value.Agent
	starts := agent.Value.StartsAtBoot()
	if bootsAfter(h) || agent.Known && starts == fleet.TruthYes {
		return "", "", ""
	}
	const unknown, lookAgain = "whether its agent starts at boot is not known: ", "let systemd start the agent at boot, or see to it that something else does, and take the inventory again"
	switch state := agent.Value.Enabled; {
	case !agent.Known:
		return "agent-boot-unknown", unknown + clip(agent.Reason), "take the inventory again"
	case starts == fleet.TruthNo:
		_, why := enableWant(h)
		if m.policy.FixOf(Agent) == FixNever {
			why = "the policy leaves agent out"
		}
		return "agent-not-enabled", fmt.Sprintf("its agent does not start at boot (%s), and no step enables it: %s", clip(state), why),
			"enable the agent's unit and take the inventory again, or set fixes: agent to apply or hand"
	case !agent.Value.Installed:
		return "agent-boot-unknown", unknown + "the host shows no agent", "let a package of the agent serve the host, with its unit enabled"
	default:
		return "agent-boot-unknown", unknown + "its unit's state is " + clip(cmp.Or(state, "not told")), lookAgain
	}
}
