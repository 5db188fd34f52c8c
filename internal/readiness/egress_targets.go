package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionTargets judges the ways to what the session preferences name: the
// bucket and log group for session logs, and the key. A session whose logs or
// key are out of reach opens to a blank screen or not at all.
// Source: AWS Systems Manager User Guide, session-manager-troubleshooting and
// session-manager-logging. What stops the agent's own ways is given.
func (j *judge) sessionTargets(agents []stopped) {
	var e egressFindings
	unset := slices.IndexFunc(agents, func(s stopped) bool { return s.code == "proxy-missing" })
	for _, t := range j.network.targets(j.r, j.h.Region) {
		q := j.requestTo(t)
		p := j.network.path(j.h, j.r, q)
		j.paths = append(j.paths, p.position)
		fact := p.stop.evidence(t.what + " over " + t.service + ": ")
		live := j.live(t.service)
		stop := func(s stopped) {
			if unset >= 0 && slices.Contains(closedWays, p.stop.code) {
				s.object, s.fix, s.undo, s.parts = "", agents[unset].fix, agents[unset].undo, append(s.parts, PartSSM)
			}
			e.stop(s)
		}
		switch {
		case q.proxy == "" && live.works == no:
			stop(j.targetFailed(t, q, p, live))
		case p.open == no && (!p.stop.presumed || j.symptom) && live.reached != yes:
			s := stopped{hop: p.stop, facts: []fleet.Evidence{fact}, parts: []Part{PartSession}}
			s.code = "session-target-no-path"
			if p.refused != nil && p.stop.kind == kindPolicy {
				s.fix = fmt.Sprintf("allow %s in the policy of endpoint %s", strings.Join(p.refused, ", "), p.stop.object)
			}
			stop(s)
		case p.open != yes && live.reached != yes:
			j.targetUnproved(t, fact)
		}
	}
	for _, s := range e.stops {
		j.addStop(s)
	}
}

// targetUnproved records that the way to a target is not known. A shell that is
// open came by it, where it could not do without.
func (j *judge) targetUnproved(t target, fact fleet.Evidence) {
	switch {
	case !t.needed:
		j.add("session-target-unproved", j.h.ID, "", fact)
	case !j.shellOpen():
		j.add("session-target-undecided", j.h.ID, "", fact)
	}
}

// targetFailed is what a host's own test of a way shows that only sessions
// need: the hop that stops it, where that is known, and what else the same
// fault breaks.
func (j *judge) targetFailed(t target, q request, p *path, live liveTest) stopped {
	at, facts, parts := p.stop, []fleet.Evidence{live.fact}, []Part{PartSession}
	switch live.stage {
	case resolution:
		parts = append(parts, PartNames)
	case connection:
		if stop, ok := j.toSeen(q.question); ok && p.public && p.open != no {
			at = stop
			facts = append(facts, stop.evidence(t.service+" by static analysis of these addresses: "))
		}
	case certificate:
		parts = append(parts, PartTrust)
	}
	return stopped{hop: hop{object: at.object, code: "session-target-no-path", fix: at.fix, undo: at.undo}, facts: facts, parts: parts}
}

// targets are the services that the preferences of a Region make sessions use.
// The agent refuses a shell when it cannot use the key, or cannot see that logs
// are encrypted where that is demanded; otherwise only the log is lost.
func (n *network) targets(r *fleet.Region, region string) []target {
	if out, ok := n.targetMemo[r]; ok {
		return out
	}
	n.targetMemo[r] = readTargets(r, region)
	return n.targetMemo[r]
}

func readTargets(r *fleet.Region, region string) []target {
	p := r.Preferences
	if !p.Known || !p.Value.Exists {
		return nil
	}
	in, err := fleet.ParseSessionDocument(p.Value.Content)
	if err != nil {
		return nil // said by the judgement of the preferences
	}
	var out []target
	partition := partitionOf(p.Value.LogGroup.Value.ARN)
	if in.Bucket != "" {
		at := region
		if b := p.Value.Bucket; b.Known && b.Value.Exists {
			at = cmp.Or(b.Value.Region, region)
		}
		out = append(out, target{service: "s3", region: at, needed: in.BucketEncrypted, what: "session logs in bucket " + quoted(in.Bucket), asks: []policyRequest{
			{action: "s3:PutObject", resource: "arn:" + partition + ":s3:::" + in.Bucket + "/" + in.Prefix + "/session.log"},
		}})
	}
	if in.LogGroup != "" {
		t := target{service: "logs", region: region, needed: in.LogGroupEncrypted, what: "session logs in log group " + quoted(in.LogGroup)}
		if arn := p.Value.LogGroup.Value.ARN; p.Value.LogGroup.Known && arn != "" {
			t.asks = []policyRequest{{action: "logs:CreateLogStream", resource: arn}, {action: "logs:PutLogEvents", resource: arn + ":log-stream:session"}}
		}
		out = append(out, t)
	}
	if in.Key != "" {
		t := target{service: "kms", region: region, needed: true, what: "the session key " + quoted(in.Key)}
		if arn := p.Value.Key.Value.ARN; p.Value.Key.Known && arn != "" {
			t.asks = []policyRequest{{action: "kms:Decrypt", resource: arn}}
		}
		out = append(out, t)
	}
	return out
}
