package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// findBastions finds the hosts that act as bastions: those that the inventory
// came through, and those that the policy names.
func (m *maker) findBastions() {
	names := map[string][]*member{}
	for _, h := range m.hosts {
		for _, n := range addresses(h) {
			names[n] = append(names[n], h)
		}
	}
	for _, h := range m.hosts {
		for _, via := range h.Probe.Value.Via {
			for _, b := range names[strings.ToLower(via)] {
				b.bastion = true
			}
		}
		for _, l := range h.Probe.Value.Logins.Value.Logins {
			for _, from := range names[l.From.String()] {
				from.source = from.source || from != h
			}
		}
	}
	for _, h := range m.hosts {
		if slices.ContainsFunc(m.policy.Bastions, func(s Selector) bool { return s.matches(h.Host) }) {
			h.bastion = true
		}
	}
}

// addresses are the names by which others may reach a host.
func addresses(h *member) []string {
	out := []string{strings.ToLower(h.ID)}
	add := func(a netip.Addr) {
		if a.IsValid() {
			out = addOnce(out, a.String())
		}
	}
	add(h.PrivateIP)
	add(h.PublicIP)
	for _, n := range h.Interfaces {
		add(n.PrivateIP)
		add(n.PublicIP)
	}
	for _, n := range []string{h.PrivateDNS, h.Tags["Name"]} {
		if n != "" {
			out = addOnce(out, strings.ToLower(n))
		}
	}
	return out
}

// finish plans to scale the bastions' Auto Scaling groups in after the last
// wave, where nobody needs them any more.
func (m *maker) finish() {
	bySize := map[string][]*member{}
	for _, b := range m.hosts {
		if !b.bastion || gone(b.Host) {
			continue
		}
		if b.AutoScalingGroup == "" {
			m.refuse(b, Finish, "bastion-alone", "the bastion is in no Auto Scaling group", "stop it by hand when nobody comes through it any more")
			continue
		}
		key := b.Account + "/" + b.Region + "/" + b.AutoScalingGroup
		bySize[key] = append(bySize[key], b)
	}
	if len(m.closers()) == 0 {
		return // nobody was cut over: everybody still comes through them
	}
	for _, key := range sortedKeys(bySize) {
		m.scaleIn(bySize[key])
	}
}

func (m *maker) keepBastion(group string, b *member, code, text, do string) {
	m.plan.Refusals = append(m.plan.Refusals, Refusal{Group: group, At: b.Ref().Place(), Phase: Finish, Code: code, Text: text, Do: do})
}

func (m *maker) scaleIn(bastions []*member) {
	first := bastions[0]
	name := first.AutoScalingGroup
	g := m.world.scalingGroup(first.Host)
	if g == nil {
		m.keepBastion(name, first, "bastion-unknown", "Auto Scaling group "+clip(name)+" was not read", "let the inventory call autoscaling:DescribeAutoScalingGroups and take it again")
		return
	}
	ever := slices.Clone(bastions) // and those that the group has replaced: who came through one of them comes through its successor now
	for _, h := range m.hosts {
		switch {
		case h.AutoScalingGroup != name || h.Ref().Place() != first.Ref().Place():
		case gone(h.Host):
			ever = append(ever, h)
		case !h.bastion:
			m.keepBastion(name, first, "bastion-mixed", fmt.Sprintf("Auto Scaling group %s has instances that are no bastions: %s", clip(name), h.ID), "scale it in by hand")
			return
		}
	}
	if who := m.needing(ever); who != nil {
		m.keepBastion(name, first, "bastion-needed", fmt.Sprintf("the bastions of Auto Scaling group %s are still needed by %s", clip(name), some(who)), "cut these over too, then plan again")
		return
	}
	m.scaleIns = append(m.scaleIns, Step{
		Kind: ScaleIn, Phase: Finish, Lane: "scaling-" + first.Region + "-" + name, At: first.Ref().Place(),
		Title:  fmt.Sprintf("Scale in the bastions of Auto Scaling group %s", clip(name)),
		Before: []string{fmt.Sprintf("%d instances, at least %d, at most %d", g.Desired, g.Min, g.Max)},
		After:  []string{fmt.Sprintf("0 instances, at least 0, at most %d", g.Max)},
		Blast:  fleet.Count(len(bastions), "bastion") + "; their instances are terminated, and others start when this is taken back",
		Scaling: &ScalingChange{
			Group: name, Min: 0, Desired: 0, Max: g.Max,
		},
	})
}

// needing names who still needs one of the bastions when the last wave is done:
// hosts that are not cut over and that it leads to or may lead to, and people
// whom the ledger sees on the bastion itself.
func (m *maker) needing(bastions []*member) []string {
	names, groups := map[string]bool{}, map[string]bool{}
	vpcs := map[string]bool{}
	for _, b := range bastions {
		vpcs[b.VPC] = true
		for _, n := range addresses(b) {
			names[n] = true
		}
		for _, g := range groupsOf(b.Host) {
			groups[g] = true
		}
	}
	var out []string
	for _, h := range m.hosts {
		// Bastions go themselves, but for those that the policy excludes: they stay in use.
		stays := !h.bastion || m.whyOpen(h) == "excluded" && !slices.Contains(bastions, h)
		if !stays || gone(h.Host) || h.closes && h.waived == nil {
			continue
		}
		if m.leadsTo(h, names, groups) || !h.Probe.Known && vpcs[h.VPC] {
			why := "waived"
			if !h.closes {
				why = m.whyOpen(h)
			}
			out = append(out, h.ID+" ("+why+")")
		}
	}
	if !m.policy.RequireSilent {
		return out
	}
	for _, c := range m.judged.Ledger.Consumers {
		busy := c.Status == fleet.ConsumerActive || c.Status == fleet.ConsumerWaived
		if busy && !c.Own() && slices.ContainsFunc(bastions, func(b *member) bool { return slices.Contains(c.Hosts, b.ID) }) {
			out = addOnce(out, consumerName(c))
		}
	}
	return out
}

// leadsTo reports whether somebody reaches the host from one of the bastions:
// the inventory did, logins came from there, or its security groups let theirs in.
func (m *maker) leadsTo(h *member, names, groups map[string]bool) bool {
	p := h.Probe.Value
	if slices.ContainsFunc(p.Via, func(v string) bool { return names[strings.ToLower(v)] }) {
		return true
	}
	if slices.ContainsFunc(p.Logins.Value.Logins, func(l fleet.Login) bool { return l.From.IsValid() && names[l.From.String()] }) {
		return true
	}
	for _, id := range groupsOf(h.Host) {
		if g := m.world.groups[id]; g != nil && slices.ContainsFunc(g.Ingress, func(x fleet.Permission) bool {
			return slices.ContainsFunc(x.Groups, func(source string) bool { return groups[source] })
		}) {
			return true
		}
	}
	return false
}
