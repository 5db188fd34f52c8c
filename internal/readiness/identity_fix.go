package readiness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// missingActions is what keeps a role from actions, sorted by where it has to
// be put right. An action may be in several places.
type missingActions struct {
	role       *fleet.Role
	resource   string   // on which they are needed
	own        obstacle // the role's own policies
	bounded    obstacle // its permissions boundary
	controlled obstacle // service control policies
	denials    []denial // explicit Denies among the role's own
	ungranted  []string // no policy of the role allows these
	all        []string
}

// obstacle is what one place keeps from the role, and the evidence.
type obstacle struct {
	actions []string
	whys    []string
	facts   []fleet.Evidence
}

func (o *obstacle) add(action, why string, e fleet.Evidence) {
	o.actions = append(o.actions, action)
	if !slices.Contains(o.whys, why) {
		o.whys = append(o.whys, why)
	}
	o.facts = append(o.facts, e)
}

// denial is one explicit Deny and the actions that it stops.
type denial struct {
	why     string
	actions []string
}

func newGap(v *roleView) *missingActions { return &missingActions{role: v.role, resource: "*"} }

func (m *missingActions) any() bool { return m.all != nil }

func (m *missingActions) add(action string, d decision, e fleet.Evidence) {
	m.all = append(m.all, action)
	for _, why := range d.denials {
		i := slices.IndexFunc(m.denials, func(x denial) bool { return x.why == why })
		if i < 0 {
			i = len(m.denials)
			m.denials = append(m.denials, denial{why: why})
		}
		m.denials[i].actions = append(m.denials[i].actions, action)
	}
	if d.ungranted {
		m.ungranted = append(m.ungranted, action)
	}
	if d.denials != nil || d.ungranted {
		m.own.add(action, "", e)
	}
	because := func(why string) fleet.Evidence {
		e.Fact = fmt.Sprintf("role %s does not get to %s: %s", m.role.Name, action, why)
		return e
	}
	if d.bounded != "" {
		m.bounded.add(action, d.bounded, because("the permissions boundary "+d.bounded))
	}
	for _, why := range d.controlled {
		m.controlled.add(action, why, because(why))
	}
}

// parts are the parts of a session's way that the missing actions stop.
func (m *missingActions) parts() []Part {
	var out []Part
	for _, action := range m.all {
		switch i := slices.Index(sessionActions[:], action); {
		case i < heartbeatActions:
			out = append(out, PartCredentials, PartHeartbeat)
		case i < controlActions:
			out = append(out, PartChannel)
		default:
			out = append(out, PartSession)
		}
	}
	return out
}

// fixRole advises on what is in the way and leaves alone what is allowed already.
func (m *missingActions) fixRole() string {
	var steps []string
	for _, d := range m.denials {
		steps = append(steps, fmt.Sprintf("narrow the explicit Deny (%s) of %s", d.why, strings.Join(d.actions, ", ")))
	}
	if m.ungranted != nil {
		core := ""
		if coreHas(m.ungranted) {
			core = " attaching AmazonSSMManagedInstanceCore, or by"
		}
		steps = append(steps, fmt.Sprintf("allow %s to role %s, for example by%s %s; add to the role, do not replace what it has",
			strings.Join(m.ungranted, ", "), m.role.ARN, core, allowing(m.ungranted, m.resource)))
	}
	return strings.Join(steps, ", then ")
}

// coreHas reports whether AmazonSSMManagedInstanceCore has actions of the kind.
func coreHas(actions []string) bool {
	for _, a := range actions {
		if service, _, _ := strings.Cut(a, ":"); service != "ssm" && service != "ssmmessages" && service != "ec2messages" {
			return false
		}
	}
	return true
}

func (m *missingActions) fixBoundary() string {
	return fmt.Sprintf("allow %s in the permissions boundary %s (%s), by %s", strings.Join(m.bounded.actions, ", "), m.role.Boundary, strings.Join(m.bounded.whys, "; "), allowing(m.bounded.actions, m.resource))
}

func (m *missingActions) fixControls() string {
	actions := slices.Compact(slices.Clone(m.controlled.actions))
	return fmt.Sprintf("have the organization's administrators let %s through: %s; then restart the agents", strings.Join(actions, ", "), strings.Join(m.controlled.whys, "; "))
}

// facts are the evidence of all obstacles.
func (m *missingActions) facts() []fleet.Evidence {
	return slices.Concat(m.own.facts, m.bounded.facts, m.controlled.facts)
}

// fix advises on all obstacles.
func (m *missingActions) fix() string {
	var steps []string
	if m.own.actions != nil {
		steps = append(steps, m.fixRole())
	}
	if m.bounded.actions != nil {
		steps = append(steps, m.fixBoundary())
	}
	if m.controlled.actions != nil {
		steps = append(steps, m.fixControls())
	}
	return strings.Join(steps, ", then ")
}

// allowing is a statement that allows actions on a resource.
func allowing(actions []string, resource string) string {
	list := make([]string, len(actions))
	for i, a := range actions {
		list[i] = strconv.Quote(a)
	}
	return fmt.Sprintf(`{"Effect":"Allow","Action":[%s],"Resource":%s}`, strings.Join(list, ","), strconv.Quote(resource))
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
	text := fmt.Sprintf("every instance of account %s in %s without a working profile: %s%d of %s", j.h.Account, j.h.Region, least, without, fleet.Count(all, "host"))
	j.unservedMemo[key] = text
	return text
}

// profileWorks says whether the agent stays with its instance profile.
func (j *judge) profileWorks() answer {
	switch own := j.profile(); own.kind {
	case absent:
		return no
	case fromRole:
		return j.iam.session(own.role, j.h)[0].allowed
	default:
		return maybe
	}
}

// origin says what the host shares with others that came from where it did.
func (j *judge) origin() string {
	var from []string
	if t := j.h.LaunchTemplate.ID; t != "" {
		from = append(from, fmt.Sprintf("launch template %s, from which %s came", t, fleet.Count(j.index.hostsOfTemplate[t], "host")))
	}
	if g := j.h.AutoScalingGroup; g != "" {
		from = append(from, fmt.Sprintf("Auto Scaling group %s with %s", g, fleet.Count(j.index.hostsOfScalingGroup[scalingGroupKey(j.h)], "host")))
	}
	if from == nil {
		return hostOnly
	}
	return "this host; a change where it came from acts on every instance launched from then on: " + strings.Join(from, "; ")
}
