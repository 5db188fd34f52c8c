package readiness

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// session answers all session actions for one host that uses a role: what the
// policies say, weighed against what IAM's simulation says.
func (a *authority) session(v *roleView, h *fleet.Host) [len(sessionActions)]decision {
	out := v.decide(h)
	for i, action := range sessionActions {
		// ssm:UpdateInstanceInformation is asked of IAM on every resource, while the agent names its instance.
		out[i] = a.settle(v, action, i > 0, out[i])
		if i >= controlActions {
			out[i] = a.controlsDoubt(v, action, out[i])
		}
	}
	return out
}

// controlsDoubt leaves an action open that a service control policy may deny
// whose document was not read, where the rest of its level was. The agent's
// connection proves nothing of the data channel, but IAM's simulation knows
// these policies.
func (a *authority) controlsDoubt(v *roleView, action string, d decision) decision {
	i := slices.IndexFunc(v.may.levels, func(c controls) bool { return c.partial })
	if i < 0 || d.allowed != yes {
		return d
	}
	if s := a.sims[simulationKey{v.role.ARN, strings.ToLower(action)}]; s != nil && s.Decision == simAllowed && len(s.Missing) == 0 {
		return d
	}
	return decision{allowed: maybe, unread: true, why: "service control policies at " + v.may.levels[i].target + " were not read"}
}

// judgeRole judges the role whose credentials the agent uses. What the agent's
// heartbeat and control channel prove to be allowed needs no policy; the data
// channel, which is opened only when a session starts, is proved by neither,
// but by a session that is open.
func (j *judge) judgeRole(c, fallback credentials) {
	if c.kind != fromRole {
		j.add("role-unreadable", cmp.Or(j.h.ProfileARN, j.h.ID), "", c.facts...)
		return
	}
	j.role = c.role
	settled := j.settled()
	all := j.iam.session(c.role, j.h)
	var doubtful, contrary []fleet.Evidence
	gap := newGap(c.role)
	code := "role-undecided"
	for i, d := range all {
		if d.allowed == yes || i < settled && d.allowed == maybe {
			continue
		}
		e := j.decided(c.role, sessionActions[i], d)
		switch {
		case i < settled:
			contrary = append(contrary, e)
		case d.allowed == no:
			gap.add(sessionActions[i], d, e)
		default:
			doubtful = append(doubtful, e)
			if d.unread {
				code = "role-unreadable"
			}
		}
	}
	switch {
	case contrary != nil:
		j.disagree(contrary...)
	case gap.any():
		j.lacking(gap, c, fallback, all[0])
	case doubtful != nil:
		j.findings = append(j.findings, found(code, j.h.ID, c.role.role.ARN, "", c.role.blast(), append(doubtful, c.facts...)))
	}
}

// settled counts the leading session actions that the agent is seen to be allowed.
func (j *judge) settled() int {
	switch {
	case j.connected && j.iam.openSession[j.h.ID]:
		return len(sessionActions)
	case j.connected:
		return controlActions
	case j.heartbeat:
		return heartbeatActions
	}
	return 0
}

// lacking reports what keeps a role from the session actions, each obstacle
// by itself: all of them have to be taken out of the way.
func (j *judge) lacking(gap *missingActions, c, fallback credentials, first decision) {
	parts := gap.parts()
	report := func(code, object, fix, blast string, facts []fleet.Evidence) {
		j.findings = append(j.findings, found(code, j.h.ID, object, fix, blast, append(facts, c.facts...)))
		j.concerns(code, object, parts...)
	}
	arn := c.role.role.ARN
	if gap.controlled.actions != nil {
		report("controls-deny-session-actions", c.role.account.ID, gap.fixControls(), j.iam.controlsBlast(c.role.account), gap.controlled.facts)
	}
	if gap.bounded.actions != nil {
		report("boundary-denies-session-actions", c.role.role.Boundary, gap.fixBoundary(), c.role.blast()+"; "+j.iam.boundaryBlast(c.role.role.Boundary), gap.bounded.facts)
	}
	if gap.own.actions == nil {
		return
	}
	code := "role-lacks-session-actions"
	fix := gap.fixRole()
	if fallback.kind != absent && !j.onDefault && first.allowed == yes {
		code = "default-role-shut-out"
		fix += "; or take ssm:UpdateInstanceInformation out of the role, so that the agent goes on to Default Host Management Configuration"
	}
	report(code, arn, fix, c.role.blast(), append(gap.own.facts, fallback.facts...))
	j.sharesApplication(c.role)
}

func (j *judge) decided(v *roleView, action string, d decision) fleet.Evidence {
	text := map[answer]string{yes: "allows", maybe: "may or may not allow", no: "does not allow"}[d.allowed]
	return evidence(v.account.Roles, "role %s %s %s: %s", v.role.Name, text, action, d.why)
}

// sharesApplication notes a role that is in the way and serves an application as well.
func (j *judge) sharesApplication(v *roleView) {
	if v.hosts > 0 && v.serves() != "" {
		v.mustChange = true
	}
}
