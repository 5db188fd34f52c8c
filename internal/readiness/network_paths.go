package readiness

import (
	"strings"

	"ssm-migrate/internal/fleet"
)

// paths lists the ways of all hosts that were asked for, each once, in the
// order in which they were first asked for.
func (n *network) paths() []fleet.Path { return n.listed }

// list gives a path's position among the assessment's. Ways that are alike in
// every hop are one.
func (n *network) list(p *path) int {
	var b strings.Builder
	for _, s := range []string{p.service, p.name} {
		b.WriteString(s)
		b.WriteByte(0)
	}
	for _, h := range p.hops {
		for _, s := range []string{h.kind, h.object, h.text, h.source, h.at.String(), h.passes.String()} {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	if i, ok := n.positions[b.String()]; ok {
		return i
	}
	out := fleet.Path{Service: p.service, Name: p.name, Open: fleetTruth(p.open), Hops: make([]fleet.Hop, 0, len(p.hops))}
	if p.endpoint != nil {
		out.Endpoint = p.endpoint.ID
	}
	for _, h := range p.hops {
		out.Hops = append(out.Hops, fleet.Hop{Kind: h.kind, Object: h.object, Text: h.text, Passes: fleetTruth(h.passes), Source: h.source, At: h.at})
	}
	n.listed = append(n.listed, out)
	n.positions[b.String()] = len(n.listed) - 1
	return len(n.listed) - 1
}

func fleetTruth(a answer) fleet.Truth {
	return [...]fleet.Truth{no: fleet.TruthNo, maybe: fleet.TruthUnknown, yes: fleet.TruthYes}[a]
}
