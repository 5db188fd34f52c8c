package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// endpoints answers for a VPC without a way to Systems Manager. Its private DNS
// must be able to work, or the new endpoints would serve nobody, and none of the VPC may
// lose by them what it has today.
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
	if lost := m.neighboursOf(h.Ref().Place(), v.ID, w.services).lost; lost != nil {
		return nil, fmt.Sprintf("the endpoints would take it from %s of the VPC that has it today: %s; let these out to the VPC on port 443 first", fleet.Count(len(lost), "host"), some(lost))
	}
	return []want{w}, ""
}

// targets answers for a host without a way to what the session preferences
// name: interface endpoints for logs and kms, a gateway endpoint for s3.
func (m *maker) targets(h *member) ([]want, string) {
	var missing []string
	var out []want
	for _, i := range h.verdict.Paths {
		if i < 0 || i >= len(m.judged.Paths) {
			continue
		}
		p := m.judged.Paths[i]
		if p.Open != fleet.TruthNo || slices.Contains(fleet.Services[:], p.Service) {
			continue
		}
		switch {
		case p.Service == "s3" && p.Endpoint == "":
			w, why := m.gateway(h)
			if w == nil {
				return nil, why
			}
			out = append(out, w...)
		case p.Service != "logs" && p.Service != "kms" || p.Endpoint != "":
			return nil, "an endpoint is no way to " + clip(p.Service)
		default:
			missing = addOnce(missing, p.Service)
		}
	}
	if len(missing) == 0 && out != nil {
		return out, ""
	}
	w, why := m.endpoints(h, missing)
	if w == nil {
		return nil, why
	}
	return append(out, w...), ""
}

// gateway answers for a host without a way to S3: a gateway endpoint in its route
// table, if that is what it lacks.
func (m *maker) gateway(h *member) ([]want, string) {
	r := m.world.region(h.Ref().Place())
	s := m.world.subnets[h.Subnet]
	if s == nil || !r.RouteTables.Known || !r.Endpoints.Known {
		return nil, "the host's subnet, its route table or the VPC's endpoints were not read"
	}
	t := m.world.table(s)
	if t == nil {
		return nil, "the route table of subnet " + clip(h.Subnet) + " was not read"
	}
	if fleet.Partition(h.Region) != "aws" && fleet.Partition(h.Region) != "aws-us-gov" {
		return nil, "what the endpoint services are called in " + clip(h.Region) + " is not known here"
	}
	if open, why := m.waysNow().Service(h.Host, "s3"); open != fleet.TruthNo {
		return nil, "as the network is set up, it is not for want of an endpoint: " + clip(cmp.Or(why, "S3 is reached"))
	}
	w := want{kind: CreateEndpoint, key: s.VPC + " s3", vpc: s.VPC, services: []string{"com.amazonaws." + h.Region + ".s3"}, tables: []string{t.ID}}
	with := m.routed[t.ID]
	if with == nil {
		with = readiness.NewWaysWith(m.snapshot, m.made(m.gatewayChange(h.Ref().Place(), w.vpc, w.services[0], w.tables)), nil)
		m.routed[t.ID] = with
	}
	if open, why := with.Service(h.Host, "s3"); open == fleet.TruthNo {
		return nil, "a gateway endpoint for S3 would not help: " + clip(why)
	}
	return []want{w}, ""
}

// endpointChange is what the interface endpoints of a VPC would be: in one subnet
// of each zone that has hosts, those outside of the plan included, since all of them use
// the endpoints once these are there.
func (m *maker) endpointChange(at fleet.Place, vpc string, services []string) *EndpointChange {
	c := &EndpointChange{VPC: vpc, Services: slices.Sorted(slices.Values(services)), Group: "migrate-endpoints-" + vpc, Policies: m.endpointPolicies(at, vpc, services)}
	byZone := map[string]string{}
	for _, h := range m.inVPC(vpc) {
		if id, ok := byZone[h.AZ]; h.AZ != "" && h.Subnet != "" && (!ok || h.Subnet < id) {
			byZone[h.AZ] = h.Subnet
		}
	}
	for _, zone := range sortedKeys(byZone) {
		c.Zones, c.Subnets = append(c.Zones, zone), append(c.Subnets, byZone[zone])
	}
	for _, p := range ipv4(m.world.vpcs[vpc].CIDRs) {
		c.Sources = append(c.Sources, p.String())
	}
	c.Sources = addOnce(c.Sources, m.policy.EndpointSources...)
	return c
}

// gatewayChange is what a gateway endpoint for S3 would be. Where a host behind
// its route tables gets to S3 today, or may, it lets everything through: from then on
// all that they do in S3 goes by it.
func (m *maker) gatewayChange(at fleet.Place, vpc, service string, tables []string) *EndpointChange {
	c := &EndpointChange{VPC: vpc, Services: []string{service}, Tables: slices.Sorted(slices.Values(tables))}
	if m.policy.EndpointPolicy == "open" || slices.ContainsFunc(m.inVPC(vpc), func(h *member) bool {
		s := m.world.subnets[h.Subnet]
		if s == nil {
			return true
		}
		t := m.world.table(s)
		if t != nil && !slices.Contains(c.Tables, t.ID) {
			return false
		}
		open, _ := m.waysNow().Service(h.Host, "s3")
		return open != fleet.TruthNo
	}) {
		return c
	}
	arn := "arn:" + fleet.Partition(at.Region) + ":s3:::"
	statements := []endpointStatement{{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{arn + "amazon-ssm-" + at.Region + "/*"}}}
	if b := m.logBucket(at); b != "" {
		statements = append(statements,
			endpointStatement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetEncryptionConfiguration"}, Resource: []string{arn + b}},
			endpointStatement{Effect: "Allow", Principal: "*", Action: []string{"s3:PutObject"}, Resource: []string{arn + b + "/*"}})
	}
	c.Policies = map[string]string{service: endpointDocument(statements)}
	return c
}

// logBucket is the bucket that the session preferences of a place name.
func (m *maker) logBucket(at fleet.Place) string {
	p := m.world.region(at).Preferences
	in, err := fleet.ParseSessionDocument(p.Value.Content)
	if !p.Known || !p.Value.Exists || err != nil {
		return ""
	}
	return in.Bucket
}

// endpointStatement is a statement of an endpoint's policy.
type endpointStatement struct {
	Effect    string
	Principal string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

func endpointDocument(statements []endpointStatement) string {
	text, err := json.Marshal(struct {
		Version   string
		Statement []endpointStatement
	}{"2012-10-17", statements})
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

// endpointPolicies are the least policies that keep all whom the policy wants
// let through: the service's own actions, for these accounts or this organization.
func (m *maker) endpointPolicies(at fleet.Place, vpc string, services []string) map[string]string {
	condition := map[string]map[string][]string{"StringEquals": {"aws:PrincipalAccount": m.accountsIn(at, vpc)}}
	switch m.policy.EndpointPolicy {
	case "open":
		return nil
	case "", "account":
	default:
		condition = map[string]map[string][]string{"StringEquals": {"aws:PrincipalOrgID": {m.policy.EndpointPolicy}}}
	}
	out := map[string]string{}
	for _, service := range services {
		name := service[strings.LastIndex(service, ".")+1:]
		statements := []endpointStatement{{Effect: "Allow", Principal: "*", Action: []string{name + ":*"}, Resource: []string{"*"}, Condition: condition}}
		if name == "ssmmessages" {
			// Plugins before 1.2.764.0 do not sign it, and nobody's account is known
			// then; the session's token stands for them. Source: AWS Systems Manager User
			// Guide, plugin-version-history.
			statements = append(statements, endpointStatement{Effect: "Allow", Principal: "*", Action: []string{"ssmmessages:OpenDataChannel"}, Resource: []string{"*"}})
		}
		out[service] = endpointDocument(statements)
	}
	return out
}

// accountsIn are the accounts that are seen in a VPC, and those of VPCs peered
// with it.
func (m *maker) accountsIn(at fleet.Place, vpc string) []string {
	out := []string{at.Account}
	for _, h := range m.inVPC(vpc) {
		out = addOnce(out, h.Account)
	}
	for _, p := range m.peers(at, vpc) {
		out = addOnce(out, p.Account)
	}
	slices.Sort(out)
	return out
}

// peers are the other ends of a VPC's peering connections.
func (m *maker) peers(at fleet.Place, vpc string) []fleet.PeeringEnd {
	var out []fleet.PeeringEnd
	for _, p := range m.world.region(at).Peerings.Value {
		switch {
		case p.State != "active":
		case p.Requester.VPC == vpc:
			out = append(out, p.Accepter)
		case p.Accepter.VPC == vpc:
			out = append(out, p.Requester)
		}
	}
	return out
}

// inVPC are the hosts that use a VPC's name server and routes.
func (m *maker) inVPC(vpc string) []*member {
	return slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return h.VPC != vpc || gone(h.Host) })
}

// made are the endpoints of a change as a snapshot would list them.
func (m *maker) made(c *EndpointChange) []fleet.VPCEndpoint {
	var out []fleet.VPCEndpoint
	for _, service := range c.Services {
		e := fleet.VPCEndpoint{ID: "vpce-new-" + service, VPC: c.VPC, Service: service, Type: "Interface", State: "available", PrivateDNS: true, IPType: "ipv4", Subnets: c.Subnets, Groups: []string{c.Group}, Policy: c.Policies[service]}
		if c.Tables != nil {
			e.Type, e.PrivateDNS, e.Groups, e.RouteTables = "Gateway", false, nil, c.Tables
		}
		if e.Policy == "" {
			e.Policy = endpointDocument([]endpointStatement{{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}}})
		}
		out = append(out, e)
	}
	return out
}

// neighbourhood is what new endpoints mean for the running hosts of their VPC.
type neighbourhood struct {
	all  int
	lost []string // have the service today, and would not: "i-1 (why)"
	open []string // have it today, and whether they would is not known
}

// neighbours computes what interface endpoints mean for all running hosts of
// their VPC: each begins to use them when the name begins to lead there.
func (m *maker) neighbours(c *EndpointChange) neighbourhood {
	group := fleet.SecurityGroup{ID: c.Group, Name: c.Group, VPC: c.VPC}
	for _, s := range c.Sources {
		if p, err := netip.ParsePrefix(s); err == nil {
			group.Ingress = append(group.Ingress, fleet.Permission{Protocol: "tcp", From: 443, To: 443, CIDRs: []netip.Prefix{p}})
		}
	}
	then := readiness.NewWaysWith(m.snapshot, m.made(c), []fleet.SecurityGroup{group})
	var n neighbourhood
	for _, h := range m.inVPC(c.VPC) {
		if !h.Running() {
			continue
		}
		n.all++
		for _, service := range c.Services {
			name := service[strings.LastIndex(service, ".")+1:]
			if today, _ := m.waysNow().Service(h.Host, name); today != fleet.TruthYes {
				continue
			}
			switch after, why := then.Service(h.Host, name); after {
			case fleet.TruthNo:
				n.lost = append(n.lost, fmt.Sprintf("%s (%s: %s)", h.ID, name, clip(why)))
			case fleet.TruthUnknown:
				n.open = append(n.open, fmt.Sprintf("%s (%s: %s)", h.ID, name, clip(why)))
			default:
				continue
			}
			break // one service is enough to name the host
		}
	}
	return n
}

// neighboursOf is neighbours of the endpoints that services of a VPC would get,
// computed once.
func (m *maker) neighboursOf(at fleet.Place, vpc string, services []string) neighbourhood {
	key := at.Account + " " + vpc + " " + strings.Join(services, " ")
	n, ok := m.around[key]
	if !ok {
		n = m.neighbours(m.endpointChange(at, vpc, services))
		m.around[key] = n
	}
	return n
}

func (m *maker) waysNow() *readiness.Ways {
	if m.ways == nil {
		m.ways = readiness.NewWays(m.snapshot)
	}
	return m.ways
}

// endpointStep writes the step that makes a VPC's endpoints.
func (m *maker) endpointStep(f *sharedFix, s *Step) {
	if f.tables != nil {
		m.gatewayStep(f, s)
		return
	}
	c := m.endpointChange(f.at, f.vpc, f.services)
	s.Endpoint, s.Lane = c, "endpoints-"+f.vpc
	s.Title = fmt.Sprintf("Create interface endpoints in VPC %s", f.vpc)
	for _, service := range c.Services {
		s.After = append(s.After, fmt.Sprintf("%s with private DNS in %s", service, strings.Join(c.Subnets, ", ")))
	}
	s.After = append(s.After, "security group "+c.Group+": HTTPS from "+strings.Join(c.Sources, ", "), m.policyText(f, c))
	s.After = append(s.After, fmt.Sprintf("zones %s: all that have hosts of the VPC; traffic from other zones crosses zones", strings.Join(c.Zones, ", ")),
		fmt.Sprintf("cost: %d endpoints × %d zones × 730 hours a month × the price of an endpoint's hour in %s, and the price of each GB: see aws.amazon.com/privatelink/pricing",
			len(c.Services), len(c.Zones), clip(f.at.Region)))
	n := m.neighbours(c)
	s.Blast = beyond("the names resolve to the endpoints for the whole VPC, with", m.inVPC(f.vpc))
	var warnings []string
	if n.lost != nil {
		warnings = append(warnings, fmt.Sprintf("%s would lose it: %s", fleet.Count(len(n.lost), "host"), some(n.lost)))
	}
	if n.open != nil {
		warnings = append(warnings, fmt.Sprintf("whether %s of the VPC would keep it is not known: %s", fleet.Count(len(n.open), "host"), some(n.open)))
	}
	if who := m.askers(f.at, f.vpc); who != nil && len(m.policy.EndpointSources) == 0 {
		warnings = append(warnings, "networks behind "+some(who)+" get the endpoints' addresses too if they ask the VPC's name server, and the group does not let them in: name their blocks in endpoint_sources")
	}
	s.Warning = strings.Join(warnings, "; ")
}

// policyText says whom the endpoints of a step let through.
func (m *maker) policyText(f *sharedFix, c *EndpointChange) string {
	switch {
	case c.Policies == nil:
		return "endpoint policy: everything (endpoint_policy: open)"
	case m.policy.EndpointPolicy == "" || m.policy.EndpointPolicy == "account":
		return "endpoint policy: each service's own actions, for principals of " + some(m.accountsIn(f.at, f.vpc))
	}
	return "endpoint policy: each service's own actions, for principals of organization " + m.policy.EndpointPolicy
}

// askers are the networks that may ask a VPC's name server from outside.
func (m *maker) askers(at fleet.Place, vpc string) []string {
	var out []string
	for _, p := range m.peers(at, vpc) {
		out = addOnce(out, "peered "+p.VPC)
	}
	for _, t := range m.world.region(at).RouteTables.Value {
		for _, r := range t.Routes {
			if t.VPC == vpc && r.State != "blackhole" && (strings.HasPrefix(r.Target, "tgw-") || strings.HasPrefix(r.Target, "vgw-")) {
				out = addOnce(out, r.Target)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (m *maker) gatewayStep(f *sharedFix, s *Step) {
	c := m.gatewayChange(f.at, f.vpc, f.services[0], f.tables)
	s.Endpoint, s.Lane = c, "endpoints-"+f.vpc
	s.Title = fmt.Sprintf("Create a gateway endpoint for S3 in VPC %s", f.vpc)
	policy := "endpoint policy: everything, since hosts behind these route tables may use S3 today"
	switch {
	case m.policy.EndpointPolicy == "open":
		policy = "endpoint policy: everything (endpoint_policy: open)"
	case c.Policies != nil:
		policy = "endpoint policy: the agent's packages in amazon-ssm-" + f.at.Region
		if b := m.logBucket(f.at); b != "" {
			policy += ", session logs to " + clip(b)
		}
	}
	s.After = []string{fmt.Sprintf("%s, routed to from %s", c.Services[0], strings.Join(c.Tables, ", ")), policy, "cost: none"}
	behind := slices.DeleteFunc(m.inVPC(f.vpc), func(h *member) bool {
		s := m.world.subnets[h.Subnet]
		return s == nil || m.world.table(s) == nil || !slices.Contains(c.Tables, m.world.table(s).ID)
	})
	s.Blast = beyond("S3 goes by the endpoint for", behind)
}
