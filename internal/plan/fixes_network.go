package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionServices are the endpoints without which no session opens.
var sessionServices = []string{"ssm", "ssmmessages"}

const ruleText = "migrate: HTTPS to Systems Manager"

// egress lets the hosts of a security group out to Systems Manager: to the VPC
// where its own endpoints answer for both names, else to anywhere.
func (m *maker) egress(h *member, group string) ([]want, string) {
	if m.world.groups[group] == nil {
		return nil, "security group " + clip(group) + " was not read"
	}
	to := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	r := m.world.region(h.Ref().Place())
	if !r.Endpoints.Known {
		return nil, "the VPC's endpoints were not read"
	}
	if len(m.missingEndpoints(h)) == 0 {
		v := m.world.vpcs[h.VPC]
		if v == nil {
			return nil, "VPC " + clip(h.VPC) + " was not read"
		}
		to = ipv4(v.CIDRs)
	}
	w := want{kind: AllowEgress, key: group, group: group}
	for _, c := range to {
		w.rules = append(w.rules, fleet.Rule{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: c, Description: ruleText})
	}
	return []want{w}, ""
}

// intoEndpoint lets a host's subnet into the security group of an endpoint.
func (m *maker) intoEndpoint(h *member, group string) ([]want, string) {
	s := m.world.subnets[h.Subnet]
	if s == nil || !s.CIDR.IsValid() {
		return nil, "the addresses of subnet " + clip(h.Subnet) + " are not known"
	}
	rule := fleet.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: s.CIDR, Description: ruleText}
	return []want{{kind: AllowEgress, key: group, group: group, rules: []fleet.Rule{rule}}}, ""
}

func (m *maker) rulesStep(f *sharedFix, s *Step) {
	s.Title = fmt.Sprintf("Let HTTPS to Systems Manager through %s", m.world.groupName(f.group))
	for _, r := range f.rules {
		s.After = append(s.After, m.ruleLine(r))
	}
	s.Rules = &RuleChange{Group: f.group, Rules: f.rules}
	s.Blast = m.groupBlast(f.group)
}

func (m *maker) groupBlast(group string) string {
	text := beyond("security group on", m.carries[group])
	if e := m.world.guards[group]; e != nil {
		text += " and endpoints " + some(e)
	}
	return text
}

// missingEndpoints lists the services for which the host's VPC has no
// interface endpoint with private DNS.
func (m *maker) missingEndpoints(h *member) []string {
	r := m.world.region(h.Ref().Place())
	return slices.DeleteFunc(slices.Clone(sessionServices), func(service string) bool {
		return slices.ContainsFunc(r.Endpoints.Value, func(e fleet.VPCEndpoint) bool {
			return e.VPC == h.VPC && strings.HasSuffix(e.Service, "."+h.Region+"."+service) && strings.EqualFold(e.Type, "Interface") && e.PrivateDNS
		})
	})
}

func ipv4(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return !p.Addr().Is4() })
}
