package readiness

import "ssm-migrate/internal/fleet"

// staleChannel judges an agent that is heard but holds no control channel
// though the way to ssmmessages is open: its channel died unnoticed, as after
// a change of NAT. It speaks only where nothing that the channel needs is known
// to be broken or in doubt, so it has to be asked last.
// Source: aws/amazon-ssm-agent issue 266.
func (j *judge) staleChannel() {
	if !j.heartbeat || !j.symptom || j.h.Connection.Value != statusNotConnected {
		return
	}
	rests := setOf([]Part{PartChannel}).rests()
	for i := range j.findings {
		f := &j.findings[i]
		switch {
		case f.Code == "node-not-connected" || f.Severity < fleet.SeverityUnknown:
		case f.Severity == fleet.SeverityUnknown, j.breaks(f)&rests != 0:
			return
		}
	}
	s := j.way("ssmmessages")
	if s.live.works == no || s.static.open != yes && s.live.works != yes {
		return
	}
	facts := []fleet.Evidence{j.lastPing(), evidence(j.h.Connection, "connection status is notconnected")}
	if s.live.works == yes {
		facts = append(facts, s.live.fact)
	}
	if s.static.open == yes {
		facts = append(facts, fleet.Evidence{Fact: "ssmmessages by static analysis: " + s.static.last(), Source: s.static.source(), At: j.r.RouteTables.At})
	}
	j.add("channel-stale", j.h.ID, "restart the agent: "+j.restart()+", over SSH or by Run Command AWS-RunShellScript, which the agent may still take", facts...)
}

// last says where an open path ends.
func (p *path) last() string {
	if len(p.hops) == 0 {
		return "nothing is in the way"
	}
	return "nothing is in the way; the last of " + fleet.Count(len(p.hops), "hop") + ": " + p.hops[len(p.hops)-1].text
}

func (p *path) source() string {
	if len(p.hops) == 0 {
		return uncollected
	}
	return p.hops[len(p.hops)-1].source
}
