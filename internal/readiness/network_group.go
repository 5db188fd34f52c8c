package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// rules is what a set of security groups lets through on TCP 443 in one
// direction. Security groups only ever allow, so a set is the union of its groups.
type rules struct {
	remote     addresses
	groups     []string // remote security groups
	lists      []string // prefix lists, as a gateway endpoint's is named
	unresolved []string // prefix lists whose entries are not known
	missing    []string // groups of the set that are not known
}

// groupRules reads what groups let through on TCP 443. Results are kept: many
// hosts carry the same groups.
func (n *network) groupRules(ids []string, egress bool) rules {
	key := strings.Join(ids, ",")
	if egress {
		key += ">"
	}
	if r, ok := n.ruleMemo[key]; ok {
		return r
	}
	var r rules
	var spans []span
	for _, id := range ids {
		g := n.groups[id]
		if g == nil {
			r.missing = append(r.missing, id)
			continue
		}
		permissions := g.Ingress
		if egress {
			permissions = g.Egress
		}
		for _, p := range permissions {
			if !opensHTTPS(p) {
				continue
			}
			r.groups = append(r.groups, p.Groups...)
			r.lists = append(r.lists, p.PrefixLists...)
			spans = append(spans, addressesOf(p.CIDRs...)...)
			for _, id := range p.PrefixLists {
				if list := n.prefixLists[id]; list != nil {
					spans = append(spans, addressesOf(list.CIDRs...)...)
				} else {
					r.unresolved = append(r.unresolved, id)
				}
			}
		}
	}
	r.remote = normalized(spans)
	n.ruleMemo[key] = r
	return r
}

func opensHTTPS(p fleet.Permission) bool {
	switch p.Protocol {
	case "-1":
		return true
	case "tcp", "6":
		return p.From == -1 || (p.From <= httpsPort && httpsPort <= p.To)
	}
	return false
}

// let says whether the rules let through all (yes), an unknown part (maybe) or
// none (no) of the remote addresses, or everything that carries one of the groups.
func (r rules) let(remote addresses, groups []string) answer {
	for _, g := range groups {
		if slices.Contains(r.groups, g) {
			return yes
		}
	}
	a := remote.within(r.remote)
	if a == no && len(r.unresolved)+len(r.missing) > 0 {
		return maybe
	}
	return a
}
