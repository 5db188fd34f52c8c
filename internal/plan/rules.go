package plan

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sshPort is whose admission is closed.
const sshPort = 22

// mostRules is how many inbound rules a security group takes unless the quota
// was raised. Source: Amazon VPC User Guide, amazon-vpc-limits.
const mostRules = 60

// standIns are rules that together let through what a rule lets through, but
// for TCP port 22. Lost says what they cannot stand in for; it is set for rules
// for all protocols only.
func standIns(r fleet.Rule) (add []fleet.Rule, lost string) {
	like := func(protocol string, from, to int) {
		c := r
		c.ID, c.Protocol, c.From, c.To = "", protocol, from, to
		add = append(add, c)
	}
	from, to := r.From, r.To
	if r.Protocol == "-1" || from == -1 {
		from, to = 0, 65535
	}
	if from < sshPort {
		like("tcp", from, sshPort-1)
	}
	if to > sshPort {
		like("tcp", sshPort+1, to)
	}
	if r.Protocol != "-1" {
		return add, ""
	}
	like("udp", 0, 65535)
	if !r.CIDR.IsValid() || r.CIDR.Addr().Is4() {
		like("icmp", -1, -1)
	}
	if !r.CIDR.IsValid() || r.CIDR.Addr().Is6() {
		like("icmpv6", -1, -1)
	}
	return add, "protocols other than TCP, UDP and ICMP"
}

// ruleLine is a rule as a preview shows it.
func (m *maker) ruleLine(r fleet.Rule) string {
	var what string
	switch {
	case r.Protocol == "-1":
		what = "everything"
	case r.From == -1 || r.From == 0 && r.To == 65535 && r.Protocol != "icmp":
		what = "all " + r.Protocol
	case r.From == r.To:
		what = fmt.Sprintf("%s %d", r.Protocol, r.From)
	default:
		what = fmt.Sprintf("%s %d-%d", r.Protocol, r.From, r.To)
	}
	var source string
	switch {
	case r.Group != "":
		source = m.world.groupName(r.Group)
	case r.PrefixList != "":
		source = r.PrefixList
	default:
		source = r.CIDR.String()
	}
	direction := " from "
	if r.Egress {
		direction = " to "
	}
	line := what + direction + source
	if r.Description != "" {
		line += " (" + clip(r.Description) + ")"
	}
	return line
}

// admitting lists a group's inbound rules that let port 22 in; those from the
// VPC's recovery group are left out.
func (m *maker) admitting(g *fleet.SecurityGroup) []fleet.Rule {
	return slices.DeleteFunc(fleet.Rules(g.Ingress, false), func(r fleet.Rule) bool {
		return !r.Admits(sshPort) || m.fromRecovery(g, r)
	})
}

// fromRecovery reports whether a rule lets in nothing but the recovery bastion's
// SSH: an earlier plan's.
func (m *maker) fromRecovery(g *fleet.SecurityGroup, r fleet.Rule) bool {
	if r.Group == "" || r.Protocol != "tcp" || r.From != sshPort || r.To != sshPort {
		return false
	}
	source := m.world.groups[r.Group]
	return source != nil && source.Name == RecoveryName(g.VPC) && source.VPC == g.VPC
}

// closing is port 22 of one security group.
type closing struct {
	id    string
	at    fleet.Place
	key   vpcKey
	hosts []*member
	wave  int
	rules []fleet.Rule
	add   []fleet.Rule
	lost  []string

	timerPolicy string // inline policy that lets the group's timers open it
}

// closings decides for every security group that lets port 22 in to a host of
// the plan whether it closes, and in which wave: that of its last member.
func (m *maker) closings() {
	concerned := map[string]bool{}
	for _, h := range m.closers() {
		for _, g := range groupsOf(h.Host) {
			concerned[g] = true
		}
	}
	open := map[*member][]string{} // whose port 22 stays open, and by which groups
	for _, id := range sortedKeys(concerned) {
		c, code, text, do := m.closing(id)
		switch {
		case c != nil:
			m.groups = append(m.groups, c)
		case code != "":
			at := m.carries[id][0].Ref().Place()
			m.plan.Refusals = append(m.plan.Refusals, Refusal{Group: id, At: at, Phase: Close, Code: code, Text: text, Do: do})
			for _, h := range m.carries[id] {
				open[h] = append(open[h], m.world.groupName(id))
			}
		}
	}
	m.reopen()
	for _, h := range m.closers() {
		if open[h] != nil {
			m.refuse(h, Close, "port-stays-open", "port 22 stays reachable through "+some(open[h]), "see what the plan says of these groups; its keys are quarantined all the same")
		}
	}
}

// reopen lets the recovery bastions into every group that closes, so that
// closing one never depends on the rules of another, and into few others for
// the hosts that are left.
func (m *maker) reopen() {
	for _, c := range m.groups {
		p := m.recovery[c.key]
		p.closed = append(p.closed, c.id)
	}
	for _, p := range m.recovery {
		left := slices.DeleteFunc(slices.Clone(p.hosts), func(h *member) bool {
			return slices.ContainsFunc(h.Groups, func(g string) bool { return slices.Contains(p.closed, g) })
		})
		more, _ := m.cover(left)
		p.groups = append(slices.Clone(p.closed), more...)
	}
}

// closing plans one group; all zero where nothing in it lets port 22 in.
func (m *maker) closing(id string) (c *closing, code, text, do string) {
	hosts := m.carries[id]
	at := hosts[0].Ref().Place()
	g := m.world.groups[id]
	name := m.world.groupName(id)
	if g == nil {
		return nil, "groups-unknown", name + " was not read", "let the inventory call ec2:DescribeSecurityGroups and take it again"
	}
	rules := m.admitting(g)
	if len(rules) == 0 {
		return nil, "", "", ""
	}
	if who := m.unlisted(g); who != "" {
		return nil, "members-unknown", "whether other hosts carry " + name + " is not known: " + who, "let the inventory call ec2:DescribeInstances there and take it again"
	}
	if who := m.staying(hosts); who != nil {
		return nil, "member-stays", fmt.Sprintf("port 22 of %s stays open for %s", name, some(who)), "cut these over too, or give them a security group of their own"
	}
	c = &closing{id: id, at: at, key: hosts[0].vpcKey(), hosts: hosts, rules: rules}
	for _, h := range hosts {
		c.wave = max(c.wave, h.wave)
		if h.vpcKey() != c.key {
			return nil, "member-elsewhere", fmt.Sprintf("%s is on hosts of several accounts: %s and %s", name, hosts[0].ID, h.ID), "plan it by hand"
		}
	}
	for _, r := range rules {
		add, lost := standIns(r)
		if lost != "" && !m.policy.SplitWide {
			return nil, "wide-rule", fmt.Sprintf("%s has a rule for all protocols: %s", name, m.ruleLine(r)), "narrow the rule, or set split_wide_rules: true"
		}
		if lost != "" {
			c.lost = addOnce(c.lost, lost)
		}
		c.take(g, add)
	}
	return c, "", "", ""
}

// take adds stand-ins that neither the group nor the plan has already.
func (c *closing) take(g *fleet.SecurityGroup, add []fleet.Rule) {
	have := fleet.Rules(g.Ingress, false)
	for _, r := range add {
		if !slices.ContainsFunc(have, r.Same) && !slices.ContainsFunc(c.add, r.Same) {
			c.add = append(c.add, r)
		}
	}
}

// unlisted says where hosts may carry the group that were not listed; empty: nowhere.
func (m *maker) unlisted(g *fleet.SecurityGroup) string {
	for _, at := range sortedPlaces(m.world.regions) {
		r := m.world.regions[at]
		if r.Instances.Known {
			continue
		}
		if slices.ContainsFunc(r.Groups.Value, func(x fleet.SecurityGroup) bool { return x.ID == g.ID }) || slices.ContainsFunc(m.carries[g.ID], func(h *member) bool { return h.Region == at.Region && h.Account == at.Account }) {
			return fmt.Sprintf("the instances of account %s in %s were not all listed", at.Account, at.Region)
		}
	}
	return ""
}

// staying names the hosts that need port 22 to stay open, each with its reason.
func (m *maker) staying(hosts []*member) []string {
	var out []string
	for _, h := range hosts {
		switch {
		case h.bastion:
			out = append(out, h.ID+" (a bastion)")
		case !h.closes:
			out = append(out, h.ID+" ("+m.whyOpen(h)+")")
		case h.waived != nil:
			out = append(out, h.ID+" (waived: "+consumerName(h.waived[0])+")")
		}
	}
	return out
}

// whyOpen is the code of the refusal that keeps a host's doors open.
func (m *maker) whyOpen(h *member) string {
	if m.reasons == nil {
		m.reasons = map[fleet.HostRef]string{}
		for _, r := range m.plan.Refusals {
			if r.Phase == Prepare || r.Phase == Quarantine {
				m.reasons[r.Host] = r.Code
			}
		}
	}
	return m.reasons[h.Ref()]
}

// closeSteps are the lane in which a group's port 22 closes.
func (m *maker) closeSteps(c *closing) []Step {
	base := Step{Phase: Close, Lane: c.id, At: c.at, Hosts: refs(c.hosts), Blast: m.groupBlast(c.id)}
	keep := m.recovery[c.key].change.Name
	name := m.world.groupName(c.id)
	change := RuleChange{Group: c.id, Rules: c.rules, Add: c.add, Keep: keep, Port: sshPort}
	armed := RuleChange{Group: c.id, Rules: c.rules, Port: sshPort}
	timer := TimerChange{After: m.policy.Timer, Role: timerRole, Policy: c.timerPolicy}

	step := func(kind Kind, title string) Step {
		s := base
		s.Kind, s.Title = kind, title
		return s
	}
	var out []Step
	if earlier := slices.DeleteFunc(slices.Clone(c.hosts), func(h *member) bool { return h.wave == c.wave }); len(earlier) > 0 {
		s := step(ProveSession, fmt.Sprintf("Prove sessions on the members of %s from earlier waves", name))
		s.Hosts, s.Blast = refs(earlier), ""
		out = append(out, s)
	}
	arm := step(ArmRuleTimer, fmt.Sprintf("Arm a timer that opens port 22 in %s again after %s", name, shortly(m.policy.Timer)))
	armed1, timer1 := armed, timer
	arm.Rules, arm.Timer = &armed1, &timer1
	arm.After = []string{fmt.Sprintf("%s, one for each rule, fire unless a session proves that the hosts are reachable", fleet.Count(len(c.rules), "schedule"))}

	shut := step(ClosePort, fmt.Sprintf("Close port 22 in %s", name))
	shut.Rules = &change
	for _, r := range c.rules {
		shut.Before = append(shut.Before, m.ruleLine(r))
	}
	for _, r := range c.add {
		shut.After = append(shut.After, m.ruleLine(r))
	}
	shut.After = append(shut.After, "tcp 22 from "+keep+" stays")
	if c.lost != nil {
		shut.Warning = "no rule stands in for " + strings.Join(c.lost, ", ")
	}
	if g := m.world.groups[c.id]; len(fleet.Rules(g.Ingress, false))+len(c.add) > mostRules {
		shut.Warning = strings.TrimPrefix(shut.Warning+fmt.Sprintf("; more than %d inbound rules for a moment: raise the quota first", mostRules), "; ")
	}
	prove := step(ProveSession, fmt.Sprintf("Prove sessions on all members of %s", name))
	prove.Blast = ""
	disarm := step(DisarmRuleTimer, fmt.Sprintf("Disarm the timer of %s", name))
	armed2, timer2 := armed, timer
	disarm.Rules, disarm.Timer = &armed2, &timer2
	return append(out, arm, shut, prove, disarm)
}

// shortly is a duration without what is zero: "15m", not "15m0s".
func shortly(d Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
