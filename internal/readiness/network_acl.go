package readiness

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

const httpsPort = 443

// ports is an inclusive range of TCP ports.
type ports struct{ lo, hi int }

// Ephemeral ports, to which answers come back.
// Source: Amazon VPC User Guide, custom network ACLs and ephemeral ports.
var (
	linuxPorts   = ports{32768, 60999} // net.ipv4.ip_local_port_range's default
	windowsPorts = ports{49152, 65535}
	natPorts     = ports{1024, 65535}
)

func ephemeralPorts(windows bool) ports {
	if windows {
		return windowsPorts
	}
	return linuxPorts
}

// acl is a network ACL with its rules that concern TCP in the order
// of their numbers, which is the order in which the first match decides.
type acl struct {
	*fleet.NetworkACL
	in, out []aclRule
}

type aclRule struct {
	allow bool
	ports ports
	from  span // remote addresses
}

func newACL(n *fleet.NetworkACL) *acl {
	a := &acl{NetworkACL: n}
	entries := slices.Clone(n.Entries)
	slices.SortStableFunc(entries, func(x, y fleet.ACLEntry) int { return x.Number - y.Number })
	for _, e := range entries {
		s, ok := prefixSpan(e.CIDR)
		if !ok || (e.Protocol != "-1" && e.Protocol != "6") {
			continue
		}
		r := aclRule{allow: e.Allow, ports: ports{e.From, e.To}, from: s}
		if e.Protocol == "-1" || (e.From == 0 && e.To == 0) {
			r.ports = ports{0, 65535}
		}
		if e.Egress {
			a.out = append(a.out, r)
		} else {
			a.in = append(a.in, r)
		}
	}
	return a
}

// allows says whether TCP to the ports passes for all (yes), some (maybe) or
// none (no) of the ports and remote addresses.
func (a *acl) allows(egress bool, p ports, remote addresses) answer {
	rules := a.in
	if egress {
		rules = a.out
	}
	// Between two neighbouring bounds no rule changes its mind.
	cuts := []int{p.lo}
	for _, r := range rules {
		for _, c := range [...]int{r.ports.lo, r.ports.hi + 1} {
			if c > p.lo && c <= p.hi {
				cuts = append(cuts, c)
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	verdicts := make([]answer, len(cuts))
	for i, port := range cuts {
		verdicts[i] = firstMatch(rules, port, remote)
	}
	return agree(verdicts...)
}

func firstMatch(rules []aclRule, port int, remote addresses) answer {
	var seen []answer
	rest := remote
	for _, r := range rules {
		if port < r.ports.lo || port > r.ports.hi {
			continue
		}
		part := rest.coverage(r.from)
		if part == no {
			continue
		}
		verdict := no
		if r.allow {
			verdict = yes
		}
		seen = append(seen, verdict)
		if part == yes {
			return agree(seen...)
		}
		rest = rest.without(r.from)
	}
	return agree(append(seen, no)...)
}
