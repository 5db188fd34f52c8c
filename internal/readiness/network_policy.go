package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// policyRequest is a call that an endpoint's policy has to let through.
type policyRequest struct {
	action, resource string
	ctx              requestContext
}

// endpointPolicy keeps what an endpoint's policy says, for all hosts where it
// does not tell them apart.
type endpointPolicy struct {
	perHost bool
	plain   map[string]policyVerdict // by service
	joined  map[*path]*path
}

type policyVerdict struct {
	refused, doubtful []string // actions
}

// withPolicy adds the policy of the endpoint that a path leads to. Policies
// that everybody may read alike are judged once.
func (n *network) withPolicy(p *path, h *fleet.Host, r *fleet.Region, q request) *path {
	e := n.passed(p)
	if e == nil || len(q.actions) == 0 {
		return p
	}
	memo := n.policies[e.ID]
	if memo == nil {
		memo = &endpointPolicy{perHost: tellsApart(e.Policy), plain: map[string]policyVerdict{}, joined: map[*path]*path{}}
		n.policies[e.ID] = memo
	}
	if memo.perHost {
		return n.joined(p, e, r, judgePolicy(e, h, q.actions))
	}
	if out := memo.joined[p]; out != nil {
		return out
	}
	v, ok := memo.plain[q.service+"|"+h.Account]
	if !ok {
		v = judgePolicy(e, h, q.actions)
		memo.plain[q.service+"|"+h.Account] = v
	}
	memo.joined[p] = n.joined(p, e, r, v)
	return memo.joined[p]
}

// passed is the interface or gateway endpoint that a path goes through.
func (n *network) passed(p *path) *fleet.VPCEndpoint {
	if p.endpoint != nil || !p.public {
		return p.endpoint
	}
	for _, h := range p.hops {
		if e := n.byEndpoint[h.object]; h.kind == kindEndpoint && e != nil && strings.EqualFold(e.Type, "Gateway") {
			return e
		}
	}
	return nil
}

// tellsApart reports whether a policy may treat two hosts of an account
// differently. One that names no ARN, no condition and no variable does not.
func tellsApart(policy string) bool {
	text := strings.ToLower(policy)
	return strings.Contains(text, "arn:") || strings.Contains(text, "condition") || strings.ContainsAny(text, `\$`)
}

func judgePolicy(e *fleet.VPCEndpoint, h *fleet.Host, asks []policyRequest) policyVerdict {
	var v policyVerdict
	// What an endpoint adds to a request.
	// Source: IAM User Guide, reference_policies_condition-keys (properties of the network).
	own := contextValues{
		"aws:sourcevpce": {e.ID}, "aws:sourcevpc": {e.VPC}, "aws:principalaccount": {h.Account},
		"aws:requestedregion": {h.Region}, "aws:securetransport": {"true"}, "ssm:nodeaccountid": {h.Account},
	}
	for _, ask := range asks {
		switch endpointAllows(e.Policy, ask.action, ask.resource, append(slices.Clone(ask.ctx), own)) {
		case no:
			v.refused = append(v.refused, ask.action)
		case maybe:
			v.doubtful = append(v.doubtful, ask.action)
		}
	}
	return v
}

func (n *network) joined(p *path, e *fleet.VPCEndpoint, r *fleet.Region, v policyVerdict) *path {
	if p.open == no {
		// No hop follows one that stops the connection, but once that is mended
		// the policy is next.
		out := *p
		out.refused, out.unsure = v.refused, v.doubtful
		return &out
	}
	out := *p
	out.position, out.refused, out.unsure = -1, v.refused, v.doubtful
	at := hopFrom(r.Endpoints, kindPolicy, e.ID, "the policy of endpoint %s lets the agent's calls through", e.ID)
	at.passes = yes
	switch {
	case v.refused != nil:
		at.text, at.passes = "the policy of endpoint "+e.ID+" does not allow "+strings.Join(v.refused, ", "), no
	case v.doubtful != nil:
		at.text, at.passes = "whether the policy of endpoint "+e.ID+" allows "+strings.Join(v.doubtful, ", ")+" depends on conditions or on who calls", maybe
	}
	out.hops = append(slices.Clone(p.hops), at)
	if at.passes < out.open {
		out.open, out.stop = at.passes, at
	}
	return &out
}
