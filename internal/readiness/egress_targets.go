package readiness

import (
	"cmp"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionTargets judges the ways to what the session preferences name: the
// bucket and log group for session logs, and the key. A session whose logs or
// key are out of reach opens to a blank screen or not at all.
// Source: AWS Systems Manager User Guide, session-manager-troubleshooting and
// session-manager-logging.
func (j *judge) sessionTargets() {
	for _, t := range j.network.targets(j.r, j.h.Region) {
		q := j.requestTo(t)
		p := j.network.path(j.h, j.r, q)
		j.paths = append(j.paths, p.position)
		fact := p.stop.evidence(t.what + " over " + t.service + ": ")
		live := j.live(t.service)
		switch {
		case q.proxy == "" && live.works == no:
			s := stopped{hop: hop{object: p.stop.object, code: "session-target-no-path", fix: p.stop.fix, undo: p.stop.undo}, facts: []fleet.Evidence{live.fact}, parts: []Part{PartSession}}
			switch live.stage {
			case resolution:
				s.parts = append(s.parts, PartNames)
			case certificate:
				s.parts = append(s.parts, PartTrust)
			}
			j.addStop(s)
		case p.open == no && !p.stop.presumed && live.reached != yes:
			s := stopped{hop: p.stop, facts: []fleet.Evidence{fact}, parts: []Part{PartSession}}
			s.code = "session-target-no-path"
			if p.refused != nil {
				s.fix = fmt.Sprintf("allow %s in the policy of endpoint %s", strings.Join(p.refused, ", "), p.stop.object)
			}
			j.addStop(s)
		case p.open != yes && live.reached != yes:
			j.add("session-target-unproved", j.h.ID, "", fact)
		}
	}
}

// targets are the services that the preferences of a Region make sessions use.
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
		out = append(out, target{service: "s3", region: at, what: "session logs in bucket " + quoted(in.Bucket), asks: []policyRequest{
			{action: "s3:PutObject", resource: "arn:" + partition + ":s3:::" + in.Bucket + "/" + in.Prefix + "/session.log"},
		}})
	}
	if in.LogGroup != "" {
		t := target{service: "logs", region: region, what: "session logs in log group " + quoted(in.LogGroup)}
		if arn := p.Value.LogGroup.Value.ARN; p.Value.LogGroup.Known && arn != "" {
			t.asks = []policyRequest{{action: "logs:CreateLogStream", resource: arn}, {action: "logs:PutLogEvents", resource: arn + ":log-stream:session"}}
		}
		out = append(out, t)
	}
	if in.Key != "" {
		t := target{service: "kms", region: region, what: "the session key " + quoted(in.Key)}
		if arn := p.Value.Key.Value.ARN; p.Value.Key.Known && arn != "" {
			t.asks = []policyRequest{{action: "kms:Decrypt", resource: arn}}
		}
		out = append(out, t)
	}
	return out
}
