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
		for _, a := range n.IPv6 {
			add(a)
		}
	}
	for _, n := range []string{h.PrivateDNS, h.Tags["Name"]} {
		if n != "" {
			out = addOnce(out, strings.ToLower(n))
		}
	}
	return out
}

// leaving is an Auto Scaling group of bastions that may be scaled in.
type leaving struct {
	*fleet.ScalingGroup
	bastions []*member
	ever     []*member // and those that it has replaced: who came through one of them comes through its successor now
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
	var all []leaving
	for _, key := range sortedKeys(bySize) {
		if l, ok := m.mayLeave(bySize[key]); ok {
			all = append(all, l)
		}
	}
	// A group that stays may need another one: until no more are found.
	for n := -1; n != len(all); {
		n = len(all)
		goes := map[*member]bool{}
		for _, l := range all {
			for _, b := range l.bastions {
				goes[b] = true
			}
		}
		all = slices.DeleteFunc(all, func(l leaving) bool {
			who := m.needing(l.ever, goes)
			if who != nil {
				m.keepBastion(l.bastions[0], "bastion-needed", fmt.Sprintf("the bastions of Auto Scaling group %s are still needed by %s", clip(l.Name), some(who)), "cut these over too, then plan again")
			}
			return who != nil
		})
	}
	for _, l := range all {
		m.scaleIn(l)
	}
}

func (m *maker) keepBastion(b *member, code, text, do string) {
	m.plan.Refusals = append(m.plan.Refusals, Refusal{Group: b.AutoScalingGroup, At: b.Ref().Place(), Phase: Finish, Code: code, Text: text, Do: do})
}

// mayLeave judges an Auto Scaling group of bastions by itself.
func (m *maker) mayLeave(bastions []*member) (leaving, bool) {
	first := bastions[0]
	name := clip(first.AutoScalingGroup)
	l := leaving{ScalingGroup: m.world.scalingGroup(first.Host), bastions: bastions, ever: slices.Clone(bastions)}
	if l.ScalingGroup == nil {
		m.keepBastion(first, "bastion-unknown", "Auto Scaling group "+name+" was not read", "let the inventory call autoscaling:DescribeAutoScalingGroups and take it again")
		return l, false
	}
	for _, h := range m.hosts {
		switch {
		case h.AutoScalingGroup != first.AutoScalingGroup || h.Ref().Place() != first.Ref().Place():
		case gone(h.Host):
			l.ever = append(l.ever, h)
		case m.whyOpen(h) == "excluded":
			m.keepBastion(first, "excluded", fmt.Sprintf("the policy excludes %s of Auto Scaling group %s", h.ID, name), "")
			return l, false
		case !h.bastion:
			m.keepBastion(first, "bastion-mixed", fmt.Sprintf("Auto Scaling group %s has instances that are no bastions: %s", name, h.ID), "scale it in by hand")
			return l, false
		}
	}
	return l, true
}

func (m *maker) scaleIn(l leaving) {
	first := l.bastions[0]
	m.scaleIns = append(m.scaleIns, Step{
		Kind: ScaleIn, Phase: Finish, Lane: "scaling-" + first.Region + "-" + l.Name, At: first.Ref().Place(),
		Title:  fmt.Sprintf("Scale in the bastions of Auto Scaling group %s", clip(l.Name)),
		Before: []string{fmt.Sprintf("%d instances, at least %d, at most %d", l.Desired, l.Min, l.Max)},
		After:  []string{fmt.Sprintf("0 instances, at least 0, at most %d", l.Max)},
		Blast:  fleet.Count(len(l.bastions), "bastion") + "; their instances are terminated, and others start when this is taken back",
		Scaling: &ScalingChange{
			Group: l.Name, Min: 0, Desired: 0, Max: l.Max,
		},
	})
}
