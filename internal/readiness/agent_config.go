package readiness

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// regionInName finds a Region in the name of an AWS endpoint.
var regionInName = regexp.MustCompile(`\.((?:[a-z]{2,4}-)+[a-z]+-[0-9]{1,2})\.`)

// config judges amazon-ssm-agent.json: an agent that it sends elsewhere works,
// but not for this host.
func (j *judge) config(agent fleet.Fact[fleet.HostAgent]) {
	c := agent.Value.Config
	if c.Problem != "" && j.h.Probe.Value.Root {
		j.add("agent-config-unreadable", j.h.ID, "", evidence(agent, "%s: %s", quoted(c.File), quoted(c.Problem)))
		return
	}
	var elsewhere, own []fleet.Evidence
	if c.Region != "" && c.Region != j.h.Region {
		elsewhere = append(elsewhere, evidence(agent, "%s sets Agent.Region to %s; the host is in %s", quoted(c.File), quoted(c.Region), j.h.Region))
	}
	for _, service := range slices.Sorted(maps.Keys(c.Endpoints)) {
		name := strings.ToLower(c.Endpoints[service])
		if service != "ssm" && service != "mgs" || name == "" {
			continue // what the others break is no session
		}
		switch in := regionInName.FindStringSubmatch("." + name); {
		case in == nil:
			own = append(own, evidence(agent, "%s sends the agent to %s for %s", quoted(c.File), quoted(name), quoted(service)))
		case in[1] != j.h.Region:
			elsewhere = append(elsewhere, evidence(agent, "%s sends the agent to %s for %s; the host is in %s", quoted(c.File), quoted(name), quoted(service), j.h.Region))
		}
	}
	fix := "take Agent.Region and the Endpoint settings out of " + configFile + ", or set them to " + j.h.Region + "; then restart the agent: " + j.restart()
	switch {
	case elsewhere != nil && j.heartbeat:
		j.add("agent-config-elsewhere-connected", j.h.ID, fix, elsewhere...)
	case elsewhere != nil:
		j.add("agent-config-elsewhere", j.h.ID, fix, elsewhere...)
	case own != nil && !j.heartbeat:
		j.add("agent-config-own-endpoint", j.h.ID, "", own...)
	}
}

const configFile = "/etc/amazon/ssm/amazon-ssm-agent.json"
