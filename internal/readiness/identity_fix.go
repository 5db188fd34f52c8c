package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// missingActions is what keeps a role from the session actions, sorted by
// where it has to be put right.
type missingActions struct {
	role      *fleet.Role
	denials   []denial
	unbounded []string // the permissions boundary does not allow these
	ungranted []string // no policy of the role allows these
	bounded   bool     // the permissions boundary has a part in it
}

// denial is one explicit Deny and the actions that it stops.
type denial struct {
	why     string
	actions []string
}

func (m *missingActions) add(action string, d decision) {
	for _, why := range d.denials {
		i := slices.IndexFunc(m.denials, func(x denial) bool { return x.why == why })
		if i < 0 {
			i = len(m.denials)
			m.denials = append(m.denials, denial{why: why})
		}
		m.denials[i].actions = append(m.denials[i].actions, action)
	}
	if d.unbounded {
		m.unbounded = append(m.unbounded, action)
	}
	if d.ungranted {
		m.ungranted = append(m.ungranted, action)
	}
	m.bounded = m.bounded || d.bounded
}

// fix advises on what is in the way and leaves alone what is allowed already.
func (m *missingActions) fix(first decision, fallback credentials) string {
	var steps []string
	for _, d := range m.denials {
		steps = append(steps, fmt.Sprintf("narrow the explicit Deny (%s) of %s", d.why, strings.Join(d.actions, ", ")))
	}
	if m.unbounded != nil {
		steps = append(steps, fmt.Sprintf("allow %s in the permissions boundary %s", strings.Join(m.unbounded, ", "), m.role.Boundary))
	}
	if m.ungranted != nil {
		steps = append(steps, fmt.Sprintf("allow %s to role %s, for example by attaching AmazonSSMManagedInstanceCore; add to the role, do not replace what it has", strings.Join(m.ungranted, ", "), m.role.ARN))
	}
	fix := strings.Join(steps, ", then ")
	if fallback.kind != absent && first.allowed == yes {
		fix += "; or take ssm:UpdateInstanceInformation out of the role, so that the agent goes on to Default Host Management Configuration"
	}
	return fix
}

// profileMissing reports a host that nothing gives credentials.
func (j *judge) profileMissing(facts []fleet.Evidence) {
	if j.r.DefaultRole.Value != "" {
		j.addHere("profile-missing", "attach an instance profile whose role has AmazonSSMManagedInstanceCore, or meet what Default Host Management Configuration needs (the evidence says what is missing); then restart the agent, which may otherwise sleep for up to an hour", hostOnly, facts...)
		return
	}
	j.addHere("profile-missing", "", "a profile acts on this host only; Default Host Management Configuration acts on "+j.unserved(), facts...)
}

// unserved says on whom Default Host Management Configuration of the host's
// account and Region would act.
func (j *judge) unserved() string {
	key := j.h.Account + "/" + j.h.Region
	if text, ok := j.unservedMemo[key]; ok {
		return text
	}
	without, all, least := 0, 0, ""
	if !j.r.Instances.Known {
		least = "at least "
	}
	for i := range j.snapshot.Hosts {
		h := &j.snapshot.Hosts[i]
		if h.Account != j.h.Account || h.Region != j.h.Region {
			continue
		}
		all++
		switch (&judge{assessor: j.assessor, h: h, r: j.r}).profileWorks() {
		case no:
			without++
		case maybe:
			least = "at least "
		}
	}
	text := fmt.Sprintf("every instance of account %s in %s without a working profile: %s%d of %s", j.h.Account, j.h.Region, least, without, plural(all, "host"))
	j.unservedMemo[key] = text
	return text
}

// profileWorks says whether the agent stays with its instance profile.
func (j *judge) profileWorks() answer {
	switch own := j.profile(); own.kind {
	case absent:
		return no
	case fromRole:
		return own.role.decide(j.h)[0].allowed
	default:
		return maybe
	}
}

// origin says what the host shares with others that came from where it did.
func (j *judge) origin() string {
	var from []string
	if t := j.h.LaunchTemplate.ID; t != "" {
		from = append(from, fmt.Sprintf("launch template %s, from which %s came", t, plural(j.index.hostsOfTemplate[t], "host")))
	}
	if g := j.h.AutoScalingGroup; g != "" {
		from = append(from, fmt.Sprintf("Auto Scaling group %s with %s", g, plural(j.index.hostsOfScalingGroup[scalingGroupKey(j.h)], "host")))
	}
	if from == nil {
		return hostOnly
	}
	return "this host; a change where it came from acts on every instance launched from then on: " + strings.Join(from, "; ")
}
