package plan

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// jump is what others know the bastions of an Auto Scaling group by.
type jump struct {
	names, groups, vpcs map[string]bool
	addrs               []netip.Addr
}

func jumpOf(bastions []*member) jump {
	j := jump{names: map[string]bool{}, groups: map[string]bool{}, vpcs: map[string]bool{}}
	for _, b := range bastions {
		j.vpcs[b.VPC] = true
		for _, n := range addresses(b) {
			j.names[n] = true
			if a, err := netip.ParseAddr(n); err == nil {
				j.addrs = append(j.addrs, a)
			}
		}
		for _, g := range groupsOf(b.Host) {
			j.groups[g] = true
		}
	}
	return j
}

// needing names who still needs one of the bastions when the last wave is done:
// hosts that stay as they are and that it leads to or may lead to, other bastions
// that do not go among them, and people whom the ledger sees on the bastion itself.
func (m *maker) needing(bastions []*member, goes map[*member]bool) []string {
	j := jumpOf(bastions)
	var out []string
	for _, h := range m.hosts {
		if goes[h] || gone(h.Host) || h.closes && h.waived == nil {
			continue
		}
		if m.leadsTo(h, j) || !h.Probe.Known && j.vpcs[h.VPC] {
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
// the inventory did, logins came from there, or its security groups let theirs
// in. Where nobody knows, they may.
func (m *maker) leadsTo(h *member, j jump) bool {
	p := h.Probe.Value
	if slices.ContainsFunc(p.Via, func(v string) bool { return j.names[strings.ToLower(v)] }) {
		return true
	}
	if slices.ContainsFunc(p.Logins.Value.Logins, func(l fleet.Login) bool { return l.From.IsValid() && j.names[l.From.String()] }) {
		return true
	}
	ports := doorsOf(h.Host)
	for _, id := range groupsOf(h.Host) {
		g := m.world.groups[id]
		if g == nil {
			if j.vpcs[h.VPC] {
				return true
			}
			continue
		}
		for _, r := range fleet.Rules(g.Ingress, false) {
			if j.groups[r.Group] {
				return true
			}
			if slices.ContainsFunc(ports, r.Admits) && m.letsIn(h, r, j) {
				return true
			}
		}
	}
	return false
}

// doorsOf are the ports by which people get to a host through a bastion: those
// of sshd, and that of Remote Desktop on Windows.
func doorsOf(h *fleet.Host) []int {
	if h.Windows() {
		return []int{sshPort, 3389}
	}
	ports := []int{sshPort}
	for _, text := range h.Probe.Value.SSHD.Value.Settings["port"] {
		if n, err := strconv.Atoi(text); err == nil {
			ports = append(ports, n)
		}
	}
	return ports
}

// letsIn reports whether a rule lets one of the bastions in by its address.
func (m *maker) letsIn(h *member, r fleet.Rule, j jump) bool {
	blocks := []netip.Prefix{r.CIDR}
	if r.PrefixList != "" {
		lists := m.world.region(h.Ref().Place()).PrefixLists.Value
		i := slices.IndexFunc(lists, func(l fleet.PrefixList) bool { return l.ID == r.PrefixList })
		if i < 0 {
			return j.vpcs[h.VPC]
		}
		blocks = lists[i].CIDRs
	}
	for _, b := range blocks {
		if !b.IsValid() || b.Bits() == 0 && h.PublicIP.IsValid() {
			continue // who may come from everywhere comes without the bastion
		}
		if slices.ContainsFunc(j.addrs, func(a netip.Addr) bool { return b.Contains(a) && (j.vpcs[h.VPC] || m.elsewhere(h, a)) }) {
			return true
		}
	}
	return false
}

// elsewhere reports whether an address outside of the host's VPC may reach it:
// its subnet answers there by something else than a way into the internet, or
// the host is in the internet itself.
func (m *maker) elsewhere(h *member, a netip.Addr) bool {
	s := m.world.subnets[h.Subnet]
	if s == nil || m.world.table(s) == nil {
		return true
	}
	target := routeTo(m.world.table(s), netip.PrefixFrom(a, a.BitLen()))
	for _, internet := range []string{"igw-", "eigw-", "nat-"} {
		if strings.HasPrefix(target, internet) {
			return internet == "igw-" && h.PublicIP.IsValid()
		}
	}
	return target != "" && target != "local"
}
