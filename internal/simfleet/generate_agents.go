package simfleet

import (
	"net/netip"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// agentTroubles is what is wrong, or not, between a host on a good network and
// Systems Manager. The weights leave most of the fleet close to good.
var agentTroubles = []share{
	{"no-profile", 5}, {"missing", 5}, {"below-security-floor", 9}, {"stopped", 3}, {"no-metadata", 1}, {"app-only", 2}, {"below-functional-floor", 3},
	{"worker", 3}, {"locked", 2}, {"disabled", 2}, {"just-installed", 3}, {"bounded", 3}, {"too-old", 2}, {"empty", 1}, {"restricted", 2}, {"skew", 1},
	{"good-lagging", 9}, {"good", 27},
}

// agents gives every host its agent, then deals the troubles to the hosts
// whose network is good.
func (b *regionBuilder) agents(all []placed) {
	r := b.rand
	for _, p := range all {
		b.healthyAgent(p.Instance)
	}
	b.stop(all)
	var candidates []placed
	for _, p := range all {
		switch {
		case !p.Host.Running(), p.OS.Family == "windows", p.OS.Family == "alpine", p.Role == "bastion":
		case slices.Contains([]vpcKind{viaEndpoints, viaNAT, isPublic}, p.vpc.spec.kind), p.vpc.spec.kind == closedGroup && p.subnet == p.vpc.private[0]:
			candidates = append(candidates, p)
		}
	}
	for i, trouble := range deal(r, len(candidates), agentTroubles) {
		b.trouble(candidates[i], trouble)
	}
}

// stop stops some of the instances that nothing would start again.
func (b *regionBuilder) stop(all []placed) {
	single := filter(all, func(p placed) bool { return p.Role != "bastion" && p.Host.AutoScalingGroup == "" })
	for i, state := range deal(b.rand, len(single), []share{{"stopped", 8}, {"running", 92}}) {
		h := &single[i].Host
		if h.State = state; state == "stopped" {
			h.PublicIP, h.Interfaces[0].PublicIP = netip.Addr{}, netip.Addr{} // released by EC2
		}
	}
}

func (b *regionBuilder) healthyAgent(in *Instance) {
	r := b.rand
	started := b.base.Add(-time.Duration(1+r.IntN(60*24)) * time.Hour)
	if started.Before(in.Host.LaunchTime) {
		started = in.Host.LaunchTime.Add(40 * time.Second)
	}
	in.Agent = Agent{Installed: in.OS.Family != "alpine", Package: packageOf(in.OS.Family), Version: agentCurrent, Running: true, Enabled: true, Started: started}
	if !in.Agent.Installed {
		in.Agent = Agent{}
	}
}

func (b *regionBuilder) trouble(p placed, kind string) {
	r, a := b.rand, &p.Agent
	lately := b.base.Add(-time.Duration(2+r.IntN(20*24)) * time.Hour)
	// Members of a group share one profile; only what is on the host can differ.
	grouped := p.Host.AutoScalingGroup != ""
	switch kind {
	case "good-lagging":
		a.Version = pick(r, []string{"3.3.4851.0", "3.3.5068.0"})
	case "below-security-floor":
		a.Version = pick(r, []string{"3.3.4793.0", "3.3.4624.0", "3.3.2299.0", "3.2.2086.0", "3.2.582.0"})
	case "below-functional-floor":
		a.Version = pick(r, []string{"3.1.1188.0", "3.0.1124.0", "2.3.1319.0"})
	case "too-old":
		a.Version = pick(r, []string{"2.2.619.0", "2.3.50.0"})
	case "missing":
		*a = Agent{}
	case "stopped":
		a.Running, a.LastSeen = false, lately
	case "disabled":
		a.Running, a.Enabled, a.LastSeen = false, false, lately
	case "just-installed":
		a.Started = b.base.Add(-4 * time.Minute)
	case "skew":
		p.Skew, a.LastSeen = 9*time.Minute, lately
	case "no-metadata":
		p.Host.Metadata = fleet.MetadataOptions{Endpoint: "disabled", Tokens: "optional", HopLimit: 1}
	case "restricted":
		p.Host.Groups = []string{p.vpc.groups["restricted"]}
		p.Host.Interfaces[0].Groups = p.Host.Groups
		a.LastSeen = lately
	case "no-profile":
		if !grouped {
			p.Host.ProfileARN = ""
		}
	case "worker", "locked", "bounded", "app-only", "empty":
		if !grouped {
			p.Host.ProfileARN = b.profile(kind)
		}
	}
}
