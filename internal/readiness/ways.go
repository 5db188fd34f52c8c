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
	r := w.region(h)
	if r == nil {
		return fleet.TruthUnknown, "the network of " + h.Region + " was not read"
	}
	p := w.network.path(h, r, request{
		question: question{service: "s3", region: h.Region, name: serviceName("s3", h.Region, false)},
		actions:  []policyRequest{{action: "s3:GetObject", resource: fmt.Sprintf("arn:%s:s3:::amazon-ssm-%s/latest/VERSION", fleet.Partition(h.Region), h.Region)}},
	})
	return fleetTruth(p.open), p.stop.text
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
