package readiness

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// dualStackVersion is the first agent that knows UseDualStackEndpoint. Source:
// amazon-ssm-agent 3.3.3270.0, release notes in microsoft/winget-pkgs.
const dualStackVersion = "3.3.3270.0"

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
	j.ipv6(agent, own != nil)
}

const configFile = "/etc/amazon/ssm/amazon-ssm-agent.json"

// ipv6 judges the agent on a host without an IPv4 address: it has to be told
// to use the dual-stack endpoints, and be new enough to be told.
func (j *judge) ipv6(agent fleet.Fact[fleet.HostAgent], ownEndpoint bool) {
	six := slices.ContainsFunc(j.h.Interfaces, func(n fleet.NetworkInterface) bool { return len(n.IPv6) > 0 })
	if j.heartbeat || ownEndpoint || j.h.PrivateIP.Unmap().Is4() || !six || !j.h.Probe.Value.Root {
		return
	}
	facts := []fleet.Evidence{j.ec2("the host has IPv6 addresses only")}
	v, known := parseVersion(agent.Value.Version)
	needed, _ := parseVersion(dualStackVersion)
	switch {
	case known && v.below(needed):
		facts = append(facts, evidence(agent, "agent %s knows no UseDualStackEndpoint; %s is the first that does", v, dualStackVersion))
	case agent.Value.Config.DualStack:
		return
	default:
		facts = append(facts, evidence(agent, "Agent.UseDualStackEndpoint is not set"))
	}
	j.add("agent-without-dual-stack", j.h.ID, "update the agent to "+dualStackVersion+" at least, set Agent.UseDualStackEndpoint to true in "+configFile+", and restart it: "+j.restart(), facts...)
}
