package plan

import (
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
)

// Stale compares what the plan touches with a newer snapshot, and says in lines
// what has changed so that the plan does not hold any more; none: it holds.
// What the plan itself would have brought about does not make it stale. What
// the newer snapshot does not know is named as well: unknown is not unchanged.
func (p *Plan) Stale(now *fleet.Snapshot) []string {
	c := comparison{world: newWorld(now), hosts: map[fleet.HostRef]*fleet.Host{}, carries: map[string][]fleet.HostRef{}}
	for i := range now.Hosts {
		h := &now.Hosts[i]
		c.hosts[h.Ref()] = h
		if gone(h) {
			continue
		}
		for _, g := range groupsOf(h) {
			c.carries[g] = append(c.carries[g], h.Ref())
		}
	}
	for _, ref := range p.Hosts() {
		c.host(ref)
	}
	for i := range p.Waves {
		for k := range p.Waves[i].Steps {
			c.step(&p.Waves[i].Steps[k])
		}
	}
	return c.lines
}

type comparison struct {
	world   *world
	hosts   map[fleet.HostRef]*fleet.Host
	carries map[string][]fleet.HostRef
	lines   []string
}

func (c *comparison) say(format string, args ...any) {
	c.lines = addOnce(c.lines, fmt.Sprintf(format, args...))
}

func (c *comparison) host(ref fleet.HostRef) {
	switch h := c.hosts[ref]; {
	case h == nil && !c.world.region(ref.Place()).Instances.Known:
		c.say("%s: whether it is still there is not known: its Region's instances were not all listed", ref.ID)
	case h == nil:
		c.say("%s is not there any more", ref.ID)
	case !h.Running():
		c.say("%s is %s now", ref.ID, clip(h.State))
	}
}

func (c *comparison) step(s *Step) {
	switch s.Kind {
	case AttachProfile:
		if s.Handed {
			return // any profile may be what the step waits for
		}
		h := c.hosts[s.Hosts[0]]
		if h != nil && h.ProfileARN != "" && !endsIn(h.ProfileARN, s.Profile.Name) {
			c.say("%s has instance profile %s now", h.ID, clip(h.ProfileARN))
		}
	case ExtendRole:
		a := c.world.accounts[s.At.Account]
		if a == nil || !a.Roles.Known {
			c.say("role %s: the roles of account %s are not known now", clip(s.Role.Name), s.At.Account)
		} else if !slices.ContainsFunc(a.Roles.Value, func(r fleet.Role) bool { return r.Name == s.Role.Name }) {
			c.say("role %s is not there any more", clip(s.Role.Name))
		}
	case DefaultHostManagement:
		r := c.world.region(s.At)
		if !r.DefaultRole.Known {
			c.say("Default Host Management Configuration in %s is not known now", s.At.Region)
		} else if v := r.DefaultRole.Value; v != s.Setting.Before && v != s.Setting.Value && !s.Handed {
			c.say("Default Host Management Configuration in %s has role %s now", s.At.Region, clip(v))
		}
	case SessionPreferences:
		r := c.world.region(s.At)
		if !r.Preferences.Known {
			c.say("the session preferences in %s are not known now", s.At.Region)
		} else if v := r.Preferences.Value.Content; v != s.Preferences.Before && v != s.Preferences.Document && (!s.Handed || s.Preferences.Unmet(v) != "") {
			c.say("the session preferences in %s have changed", s.At.Region)
		}
	case AllowEgress, RecoveryRule:
		c.group(s)
	case RecoveryGroup:
		t, v := c.world.bastion(s.At, s.Recovery.VPC)
		if v == nil || v.ImageID == s.Recovery.Image {
			return // not there: the step makes it; not read: its drill shows what it is
		}
		if user := t.Tags[fleet.TagUser]; user != "" && user != s.Recovery.User {
			c.say("recovery bastion %s starts from image %s now, and lets %s in", clip(t.Name), clip(v.ImageID), clip(user))
		}
	case CreateEndpoint:
		if c.world.vpcs[s.Endpoint.VPC] == nil {
			c.say("VPC %s is not there any more, or was not read", clip(s.Endpoint.VPC))
		}
	case ClosePort:
		if g := c.group(s); g != nil {
			c.rules(s, g)
			c.members(s)
		}
	case ScaleIn:
		r := c.world.region(s.At)
		i := slices.IndexFunc(r.ScalingGroups.Value, func(g fleet.ScalingGroup) bool { return g.Name == s.Scaling.Group })
		if i < 0 {
			c.say("Auto Scaling group %s is not there any more, or was not read", clip(s.Scaling.Group))
		} else if g := r.ScalingGroups.Value[i]; g.Max != s.Scaling.Max {
			c.say("Auto Scaling group %s has other sizes now", clip(s.Scaling.Group))
		}
	}
}

// group finds the step's security group.
func (c *comparison) group(s *Step) *fleet.SecurityGroup {
	g := c.world.groups[s.Rules.Group]
	if g == nil {
		c.say("security group %s is not there any more, or was not read", clip(s.Rules.Group))
	}
	return g
}

// rules looks for rules that let port 22 in and that the plan does not know.
func (c *comparison) rules(s *Step, g *fleet.SecurityGroup) {
	m := maker{world: c.world}
	for _, r := range m.admitting(g) {
		if !slices.ContainsFunc(s.Rules.Rules, r.Same) {
			c.say("security group %s has a rule that the plan does not know: %s", c.world.groupName(g.ID), m.ruleLine(r))
		}
	}
}

// members looks for hosts that carry the group now and did not then.
func (c *comparison) members(s *Step) {
	known := hostSet{}
	known.add(s.Hosts)
	for _, ref := range c.carries[s.Rules.Group] {
		if !known[ref] {
			c.say("%s carries security group %s now", ref.ID, c.world.groupName(s.Rules.Group))
		}
	}
	if !c.world.region(s.At).Instances.Known {
		c.say("who carries security group %s now is not known", clip(s.Rules.Group))
	}
}

func endsIn(arn, name string) bool {
	return len(arn) > len(name) && arn[len(arn)-len(name)-1] == '/' && arn[len(arn)-len(name):] == name
}
