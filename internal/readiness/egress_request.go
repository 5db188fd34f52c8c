package readiness

import (
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// dualStackVersion is the first agent that knows UseDualStackEndpoint.
// Source: amazon-ssm-agent release 3.3.3270.0 (2025-10-09).
const dualStackVersion = "3.3.3270.0"

// configKeys name services in the agent's configuration.
// Source: amazon-ssm-agent README, amazon-ssm-agent.json.template.
var configKeys = map[string]string{"ssm": "ssm", "ssmmessages": "mgs", "ec2messages": "mds", "s3": "s3", "kms": "kms"}

// request is how the host's agent asks for a service of its Region.
func (j *judge) request(service string) request {
	return j.requestTo(target{service: service, region: j.h.Region, asks: j.agentAsks(service)})
}

// requestTo is how the host's agent asks for a service.
func (j *judge) requestTo(t target) request {
	q := request{question: question{service: t.service, region: t.region, name: serviceName(t.service, t.region, false)}, actions: t.asks}
	agent := fleet.Fact[fleet.HostAgent]{}
	if j.h.Probe.Known {
		agent = j.h.Probe.Value.Agent
	}
	config := agent.Value.Config
	v, versionKnown, _ := j.version()
	needed, _ := parseVersion(dualStackVersion)
	if agent.Known && config.Problem == "" {
		q.dual = config.DualStack && versionKnown && !v.below(needed)
		if named := hostName(config.Endpoints[configKeys[t.service]]); named != "" && canonical(named) != canonical(q.name) {
			q.name, q.config = canonical(named), config.File
		} else if q.dual {
			q.name = serviceName(t.service, t.region, true)
		}
	}
	q.usesV6 = q.dual
	if agent.Known {
		q.proxy = proxyFor(agent.Value.Proxy, q.name)
	}
	if !j.h.PrivateIP.Unmap().Is4() && !q.dual {
		q.noIPv4 = j.noIPv4(agent, v, versionKnown)
	}
	q.answer, q.seen = j.answered(t.service)
	return q
}

// hostName takes a host name out of what an agent's configuration has for an
// endpoint, which may be a URL.
func hostName(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	s, _, _ = strings.Cut(s, ":")
	return s
}

// noIPv4 is why the agent of a host without IPv4 finds no way.
// Source: AWS Systems Manager User Guide and agent release 3.3.3270.0; the
// agent does not find out by itself (aws/amazon-ecs-agent issue 4708).
func (j *judge) noIPv4(agent fleet.Fact[fleet.HostAgent], v version, versionKnown bool) hop {
	needed, _ := parseVersion(dualStackVersion)
	at := hop{kind: kindHost, object: j.h.Subnet, source: sourceInstances, at: j.r.Instances.At, code: "ipv6-only"}
	at.text = "the host has no IPv4 address, and its agent asks for names that have IPv4 addresses only"
	at.fix = "set UseDualStackEndpoint to true under Agent in amazon-ssm-agent.json and restart the agent, or give the host an IPv4 address"
	at.undo = "take UseDualStackEndpoint out of amazon-ssm-agent.json again and restart the agent"
	switch {
	case versionKnown && v.below(needed):
		at.text += ": agents before " + dualStackVersion + " know no others"
		at.fix = "update the agent to " + dualStackVersion + " or later; then " + at.fix
	case !agent.Known || agent.Value.Config.Problem != "":
		at.text, at.presumed = "the host has no IPv4 address, and whether its agent is set to use dual-stack endpoints is not known", true
	}
	return at
}

// agentAsks are the calls that a session makes of one of the two services.
func (j *judge) agentAsks(service string) []policyRequest {
	var out []policyRequest
	for i, action := range sessionActions {
		if !strings.HasPrefix(action, service+":") {
			continue
		}
		arn := j.h.ProfileARN
		if arn == "" {
			arn = "arn:aws:"
		}
		resource, ctx := agentRequest(arn, j.h, i)
		out = append(out, policyRequest{action, resource, ctx})
	}
	return out
}

// answered is what the host's own name resolution gave for a service.
func (j *judge) answered(service string) (answered, *fleet.VPCEndpoint) {
	addrs := j.seen(service)
	if len(addrs) == 0 {
		return notAnswered, nil
	}
	public := 0
	var e *fleet.VPCEndpoint
	for _, a := range addrs {
		if found := j.network.endpointAt(j.h.VPC, service, j.h.Region, a); found != nil {
			e = found
		} else if isPublic(a) {
			public++
		}
	}
	switch {
	case public == len(addrs):
		return answeredPublic, nil
	case e != nil:
		return answeredEndpoint, e
	}
	return answeredElse, nil
}

// seen are the addresses that a service's name gave on the host.
func (j *judge) seen(service string) []netip.Addr {
	if !j.h.Probe.Known {
		return nil
	}
	tests := j.h.Probe.Value.Endpoints.Value
	i := slices.IndexFunc(tests, func(t fleet.EndpointTest) bool { return t.Service == service })
	if i < 0 || !tests[i].Addresses.Known {
		return nil
	}
	return tests[i].Addresses.Value
}

// endpointWith is the endpoint that a VPC's hosts meet at an address: one of the
// VPC itself, else of a VPC that it is peered with, else the only one that has
// the address. Ranges of VPCs that nothing joins may overlap.
func (n *network) endpointWith(vpc string, a netip.Addr) *fleet.VPCEndpoint {
	all := n.byAddress[a.Unmap()]
	for _, joined := range []func(e *fleet.VPCEndpoint) bool{
		func(e *fleet.VPCEndpoint) bool { return e.VPC == vpc },
		func(e *fleet.VPCEndpoint) bool { return n.peered(vpc, e.VPC) },
	} {
		if i := slices.IndexFunc(all, joined); i >= 0 {
			return all[i]
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return nil
}

// peered reports whether a peering connection joins two VPCs.
func (n *network) peered(a, b string) bool {
	for _, p := range n.peerings {
		if end := n.peerOf(p, a); end != nil && end.VPC == b {
			return true
		}
	}
	return false
}

// endpointAt is the endpoint that has an address. Where its addresses are not
// known, an address in its subnets is taken for one of it.
func (n *network) endpointAt(vpc, service, region string, a netip.Addr) *fleet.VPCEndpoint {
	if e := n.endpointWith(vpc, a); e != nil {
		return e
	}
	e := n.serviceEndpoint(vpc, question{service: service, region: region})
	if e == nil || e.Addresses.Known {
		return nil
	}
	for _, id := range e.Subnets {
		if s := n.subnets[id]; s != nil && s.CIDR.IsValid() && s.CIDR.Contains(a.Unmap()) {
			return e
		}
	}
	return nil
}
