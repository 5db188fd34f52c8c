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

// endpoints answers for a VPC without a way to Systems Manager. Its private DNS
// must be able to work, or the new endpoints would serve nobody.
func (m *maker) endpoints(h *member, missing []string) ([]want, string) {
	r := m.world.region(h.Ref().Place())
	v := m.world.vpcs[h.VPC]
	switch {
	case v == nil || !r.Endpoints.Known || !r.Subnets.Known:
		return nil, "the VPC, its subnets or its endpoints were not read"
	case fleet.Partition(h.Region) != "aws" && fleet.Partition(h.Region) != "aws-us-gov":
		return nil, "what the endpoint services are called in " + clip(h.Region) + " is not known here"
	case !v.DNSSupport.Known || !v.DNSHostnames.Known:
		return nil, "whether the VPC's DNS attributes are on is not known"
	case !v.DNSSupport.Value || !v.DNSHostnames.Value:
		return nil, "private DNS needs enableDnsSupport and enableDnsHostnames on VPC " + v.ID
	}
	if len(missing) == 0 {
		return nil, "VPC " + v.ID + " has the endpoints already"
	}
	w := want{kind: CreateEndpoint, key: v.ID, vpc: v.ID}
	for _, service := range missing {
		w.services = append(w.services, "com.amazonaws."+h.Region+"."+service)
	}
	return []want{w}, ""
}

// targets answers for a host without a way to what the session preferences
// name: interface endpoints for logs and kms. S3 is left to its owner, whose
// gateway endpoint is a matter of route tables.
func (m *maker) targets(h *member) ([]want, string) {
	var missing []string
	for _, i := range h.verdict.Paths {
		if i < 0 || i >= len(m.judged.Paths) {
			continue
		}
		p := m.judged.Paths[i]
		if p.Open != fleet.TruthNo || slices.Contains(fleet.Services[:], p.Service) {
			continue
		}
		if p.Service != "logs" && p.Service != "kms" || p.Endpoint != "" {
			return nil, "an interface endpoint is no way to " + clip(p.Service)
		}
		missing = addOnce(missing, p.Service)
	}
	return m.endpoints(h, missing)
}

func (m *maker) endpointStep(f *sharedFix, s *Step) {
	v := m.world.vpcs[f.vpc]
	c := &EndpointChange{VPC: f.vpc, Services: f.services, Group: "migrate-endpoints-" + f.vpc}
	byAZ := map[string]string{}
	for _, h := range f.hosts {
		if id, ok := byAZ[h.AZ]; !ok || h.Subnet < id {
			byAZ[h.AZ] = h.Subnet
		}
	}
	for _, az := range sortedKeys(byAZ) {
		c.Subnets = append(c.Subnets, byAZ[az])
	}
	for _, p := range ipv4(v.CIDRs) {
		c.Sources = append(c.Sources, p.String())
	}
	slices.Sort(c.Services)
	s.Endpoint = c
	s.Lane = "endpoints-" + f.vpc
	s.Title = fmt.Sprintf("Create interface endpoints in VPC %s", f.vpc)
	for _, service := range c.Services {
		s.After = append(s.After, fmt.Sprintf("%s with private DNS in %s", service, strings.Join(c.Subnets, ", ")))
	}
	s.After = append(s.After, "security group "+c.Group+": HTTPS from "+strings.Join(c.Sources, ", "))
	neighbours := slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return h.VPC != f.vpc || gone(h.Host) })
	s.Blast = beyond("the names resolve to the endpoints for the whole VPC, with", neighbours)
}

func ipv4(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return !p.Addr().Is4() })
}
