package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Ways answers what hosts reach besides Systems Manager. It is not safe for
// concurrent use.
type Ways struct{ network *network }

// NewWays reads the networks of a snapshot.
func NewWays(s *fleet.Snapshot) *Ways { return &Ways{newNetwork(newIndex(s), s)} }

// NewWaysWith reads the networks of a snapshot as they would be with more
// endpoints and security groups, whose VPCs the snapshot has. Interface endpoints
// need subnets and groups, gateway endpoints for S3 route tables. The snapshot stays as
// it is.
func NewWaysWith(s *fleet.Snapshot, endpoints []fleet.VPCEndpoint, groups []fleet.SecurityGroup) *Ways {
	with := *s
	with.Regions = slices.Clone(s.Regions)
	for i := range with.Regions {
		r := &with.Regions[i]
		here := func(vpc string) bool {
			return slices.ContainsFunc(r.VPCs.Value, func(v fleet.VPC) bool { return v.ID == vpc })
		}
		for _, g := range groups {
			if here(g.VPC) {
				r.Groups.Value = append(slices.Clip(r.Groups.Value), g)
			}
		}
		for _, e := range endpoints {
			if here(e.VPC) {
				r.Endpoints.Value = append(slices.Clip(r.Endpoints.Value), e)
				r.RouteTables.Value = routedBy(e, r)
			}
		}
	}
	return NewWays(&with)
}

// routedBy gives a Region's route tables with the routes that a gateway endpoint adds.
func routedBy(e fleet.VPCEndpoint, r *fleet.Region) []fleet.RouteTable {
	list := "pl-s3"
	if i := slices.IndexFunc(r.PrefixLists.Value, func(l fleet.PrefixList) bool { return l.Name == e.Service }); i >= 0 {
		list = r.PrefixLists.Value[i].ID
	}
	tables := slices.Clone(r.RouteTables.Value)
	for i := range tables {
		if slices.Contains(e.RouteTables, tables[i].ID) {
			tables[i].Routes = append(slices.Clip(tables[i].Routes), fleet.Route{PrefixList: list, Target: e.ID, State: "active"})
		}
	}
	return tables
}

// Service tells whether a host's agent gets to a service of its Region as the
// network is set up, endpoint policies included, and what stops it or leaves it open. For
// s3 it is the bucket with the agent's packages. The host's own tests do not count.
func (w *Ways) Service(h *fleet.Host, service string) (fleet.Truth, string) {
	r := w.region(h)
	if r == nil {
		return fleet.TruthUnknown, "the network of " + h.Region + " was not read"
	}
	q := request{question: question{service: service, region: h.Region, name: serviceName(service, h.Region, false)}, actions: (&judge{h: h}).agentAsks(service)}
	if service == "s3" {
		q.actions = packageAsks(h)
	}
	p := w.network.path(h, r, q)
	return fleetTruth(p.open), p.stop.text
}

// packageAsks is the call that fetches an agent's package.
func packageAsks(h *fleet.Host) []policyRequest {
	return []policyRequest{{action: "s3:GetObject", resource: fmt.Sprintf("arn:%s:s3:::amazon-ssm-%s/latest/VERSION", fleet.Partition(h.Region), h.Region)}}
}

// Bucket tells whether a host reaches its Region's bucket with the agent's
// packages, and what stops it or leaves it open. The host's own test of S3
// decides, unless it went through the agent's proxy, which package managers do not
// use; else the way as the network is set up. Source of the bucket's name: AWS
// Systems Manager User Guide, ssm-agent-technical-details.
func (w *Ways) Bucket(h *fleet.Host) (fleet.Truth, string) {
	if tests := h.Probe.Value.Endpoints; h.Probe.Known {
		i := slices.IndexFunc(tests.Value, func(t fleet.EndpointTest) bool { return t.Service == "s3" })
		if i >= 0 && !strings.HasPrefix(tests.Value[i].Detail, "through the agent's proxy") {
			switch t := tests.Value[i]; {
			case t.TLS.Known && t.TLS.Value:
				return fleet.TruthYes, ""
			case t.TLS.Known:
				return fleet.TruthNo, fmt.Sprintf("by the host's own test, TLS to %s fails", quoted(t.Host))
			case t.TCP.Known && !t.TCP.Value:
				return fleet.TruthNo, fmt.Sprintf("by the host's own test, it does not connect to %s", quoted(t.Host))
			}
		}
	}
	return w.Service(h, "s3")
}

// Internet tells whether a host's connections to any public address on port 443
// get out of its VPC, and what stops them or leaves it open.
func (w *Ways) Internet(h *fleet.Host) (fleet.Truth, string) {
	r := w.region(h)
	if r == nil {
		return fleet.TruthUnknown, "the network of " + h.Region + " was not read"
	}
	o := w.network.origin(h, r, true)
	if !o.has[0] {
		return fleet.TruthUnknown, "the host has no IPv4 address that is known"
	}
	out := w.network.walk(o, false)
	out.toPublic(question{service: "internet", region: h.Region})
	return fleetTruth(out.answer), out.stop.text
}

func (w *Ways) region(h *fleet.Host) *fleet.Region {
	return w.network.regions[h.Account+"/"+h.Region]
}
