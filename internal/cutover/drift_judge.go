package cutover

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// judgeDoor judges a security group that was closed.
func judgeDoor(e expected, d door, err error) []DriftItem {
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return []DriftItem{e.item(DriftGroupGone, d.group, fleet.TruthNo, "there is no such security group any more")}
	case err != nil:
		return []DriftItem{e.item(DriftPortOpen, d.group, fleet.TruthUnknown, err.Error())}
	}
	var out []DriftItem
	if open := slices.Concat(d.open, d.strange); len(open) > 0 {
		i := e.item(DriftPortOpen, d.group, fleet.TruthNo, fmt.Sprintf("lets port %d through: %s", d.port, ruleTexts(open)))
		i.Rules = ruleIDs(open)
		out = append(out, i)
	}
	if len(d.lacking) > 0 {
		out = append(out, e.item(DriftRuleGone, d.group, fleet.TruthNo, "lacks "+ruleTexts(d.lacking)))
	}
	if !d.kept {
		out = append(out, e.item(DriftRecoveryRule, d.group, fleet.TruthNo, "does not let the recovery bastion in"))
	}
	return out
}

// judgeSizes judges bastions that were scaled in. Fewer than that is no harm.
func judgeSizes(e expected, g fleet.ScalingGroup, err error) []DriftItem {
	c := e.step.Scaling
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return nil
	case err != nil:
		return []DriftItem{e.item(DriftBastions, c.Group, fleet.TruthUnknown, err.Error())}
	case g.Min <= c.Min && g.Desired <= c.Desired:
		return nil
	}
	i := e.item(DriftBastions, c.Group, fleet.TruthNo, fmt.Sprintf("has %v, %d instances", sizes{g.Min, g.Desired, g.Max}, len(g.Instances)))
	i.remedyWords = fmt.Sprintf("aws autoscaling update-auto-scaling-group --region %s --auto-scaling-group-name %s --min-size %d --desired-capacity %d", e.step.At.Region, c.Group, c.Min, c.Desired)
	return []DriftItem{i}
}

// judgeRuleTimer judges the timers of a group that was closed for good.
func judgeRuleTimer(e expected, image timersImage, left string, err error) []DriftItem {
	group := e.step.Rules.Group
	switch {
	case err != nil:
		return []DriftItem{e.item(DriftRuleTimerArmed, group, fleet.TruthUnknown, err.Error())}
	case left == "":
		return nil
	}
	var now, do []string
	for _, s := range image.Schedules {
		now = append(now, fmt.Sprintf("schedule %s opens it again at %s", s.Name, s.At.UTC().Format("2006-01-02 15:04Z")))
		do = append(do, fmt.Sprintf("aws scheduler delete-schedule --region %s --name %s", e.step.At.Region, s.Name))
	}
	i := e.item(DriftRuleTimerArmed, group, fleet.TruthNo, strings.Join(now, "; "))
	i.remedyWords = strings.Join(do, "; ")
	return []DriftItem{i}
}

// judgeIdle judges the Auto Scaling group of a recovery bastion.
func judgeIdle(e expected, g fleet.ScalingGroup, err error) []DriftItem {
	name := e.step.Recovery.Name
	switch {
	case errors.Is(err, fleet.ErrNotFound), err == nil && idle(g) && g.Min == 0:
		return nil // the former is recovery-group
	case err != nil:
		return []DriftItem{e.item(DriftRecoveryUp, name, fleet.TruthUnknown, err.Error())}
	}
	return []DriftItem{e.item(DriftRecoveryUp, name, fleet.TruthNo, fmt.Sprintf("has %v, %d instances", sizes{g.Min, g.Desired, g.Max}, len(g.Instances)))}
}

// judgeProfileRole judges the role that a step made with an instance profile.
func judgeProfileRole(e expected, policy string, err error) []DriftItem {
	name := e.step.Profile.Name
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return []DriftItem{e.item(DriftRole, name, fleet.TruthNo, "it has no policy "+plan.ProfilePolicy+", or is gone")}
	case err != nil:
		return []DriftItem{e.item(DriftRole, name, fleet.TruthUnknown, err.Error())}
	case !sameJSON(policy, e.step.Profile.Policy):
		return []DriftItem{e.item(DriftRole, name, fleet.TruthNo, "its policy "+plan.ProfilePolicy+" has another text")}
	}
	return nil
}

// judgeObserved judges by what the step's kind sees of its condition.
func judgeObserved(e expected, obs Observation, err error) []DriftItem {
	code, what := subject(e.step)
	switch {
	case err == nil && obs.Holds == fleet.TruthYes:
		return nil
	case err == nil:
		return []DriftItem{e.item(code, what, obs.Holds, obs.Detail)}
	case e.step.Rules != nil && errors.Is(err, fleet.ErrNotFound):
		return []DriftItem{e.item(DriftGroupGone, what, fleet.TruthNo, "there is no such security group any more")}
	case strayed(err):
		return []DriftItem{e.item(code, what, fleet.TruthNo, err.Error())}
	}
	return []DriftItem{e.item(code, what, fleet.TruthUnknown, err.Error())}
}

// subject is what a step on AWS's side is about.
func subject(s plan.Step) (DriftCode, string) {
	switch s.Kind {
	case plan.AttachProfile:
		return DriftProfile, s.Hosts[0].ID
	case plan.ExtendRole, plan.TimerRole:
		return DriftRole, s.Role.Name
	case plan.DefaultHostManagement:
		return DriftDefaultRole, s.At.Region
	case plan.AllowEgress:
		return DriftRuleGone, s.Rules.Group
	case plan.RecoveryRule:
		return DriftRecoveryRule, s.Rules.Group
	case plan.CreateEndpoint:
		return DriftEndpoint, s.Endpoint.VPC
	case plan.SessionPreferences:
		return DriftPreferences, s.At.Region
	case plan.RecoveryGroup, plan.RecoveryTemplate:
		return DriftRecoveryGroup, s.Recovery.Name
	}
	return DriftCode(s.Kind), s.ID
}

// judgeHost judges a host of the plan.
func judgeHost(h *hostExpectation, s hostSight) []DriftItem {
	id := h.host.ID
	switch {
	case s.listed == fleet.TruthNo:
		i := h.any.item(DriftHostGone, id, fleet.TruthNo, "it is terminated")
		i.At, i.Hosts = h.host.Ref().Place(), []fleet.HostRef{h.host.Ref()}
		return []DriftItem{i}
	case s.listed == fleet.TruthYes && !s.now.Running():
		i := h.any.item(DriftUnseen, id, fleet.TruthUnknown, "it is "+s.now.State+", and cannot be looked at")
		i.At, i.Hosts = h.host.Ref().Place(), []fleet.HostRef{h.host.Ref()}
		return []DriftItem{i}
	}
	out := judgeDoors(h, s)
	if h.session != nil && s.linked != fleet.TruthYes {
		now := s.why
		if s.linked == fleet.TruthNo && h.looks() {
			now += "; nobody can look at its keys meanwhile"
		}
		out = append(out, h.item(*h.session, DriftSessionLost, s.linked, now))
	}
	if s.asked {
		out = append(out, judgeAnswer(h, s.answer, s.err)...)
	}
	return out
}

// item is about the host, whomever the step is about.
func (h *hostExpectation) item(e expected, code DriftCode, holds fleet.Truth, now string) DriftItem {
	i := e.item(code, h.host.ID, holds, now)
	i.At, i.Hosts = h.host.Ref().Place(), []fleet.HostRef{h.host.Ref()}
	return i
}

// judgeDoors judges the security groups that a host carries now.
func judgeDoors(h *hostExpectation, s hostSight) []DriftItem {
	if s.listed != fleet.TruthYes {
		return nil
	}
	var out []DriftItem
	for _, d := range s.doors {
		i := h.item(*h.port, DriftOtherGroupOpen, fleet.TruthNo, fmt.Sprintf("lets port %d through: %s", sshPort, ruleTexts(d.open)))
		i.What, i.Rules, i.Owner = d.group, ruleIDs(d.open), ""
		if d.err != nil {
			i.Holds, i.Now = fleet.TruthUnknown, fleet.OneLine(d.err.Error(), 1000)
		}
		out = append(out, i)
	}
	has := map[string]bool{}
	for _, g := range carried(s.now) {
		has[g] = true
	}
	var lost []string
	for _, r := range h.rules {
		if has[r.step.Rules.Group] {
			return out
		}
		lost = append(lost, r.step.Rules.Group)
	}
	if len(lost) > 0 {
		out = append(out, h.item(h.rules[0], DriftRecoveryRule, fleet.TruthNo, "does not carry "+strings.Join(lost, " or ")+" any more, which lets the recovery bastion in"))
	}
	return out
}

// judgeAnswer judges what the host says of itself. A refusal ends the script: what
// comes after it is not known.
func judgeAnswer(h *hostExpectation, a hostAnswer, err error) []DriftItem {
	var out []DriftItem
	add := func(e expected, code DriftCode, holds fleet.Truth, now string) {
		out = append(out, h.item(e, code, holds, now))
	}
	unseen := func(e expected, err error) { add(e, DriftUnseen, fleet.TruthUnknown, err.Error()) }
	var refused *refusalError
	if err != nil && !errors.As(err, &refused) {
		unseen(h.any, err)
		return out
	}
	cut := func(tag string) bool { _, ok := a.first(tag); return err != nil && !ok }
	if h.timer != nil {
		if t, odd := hostTimerOf(a); odd != nil {
			unseen(*h.timer, errors.Join(odd, err))
		} else if t.Listed > 0 {
			add(*h.timer, DriftHostTimerArmed, fleet.TruthNo, t.detail())
		} else if t.Fired != 0 && h.keys == nil {
			add(*h.timer, DriftHostTimerFired, fleet.TruthNo, t.detail())
		}
	}
	if h.agent != nil && !cut("agent") {
		ag, odd := hostAgentOf(a)
		holds := ag.Running
		if h.agent.step.Agent.Action != plan.RestartAgent {
			holds = all(ag.atLeast(h.agent.step.Agent.Floor), ag.Running, ag.Enabled)
		}
		if odd != nil {
			unseen(*h.agent, odd)
		} else if holds != fleet.TruthYes {
			add(*h.agent, DriftAgent, holds, ag.String())
		}
	}
	switch {
	case h.keys == nil:
	case cut("count"):
		unseen(*h.keys, err)
		return out
	default:
		out = append(out, judgeKeys(h, a)...)
	}
	switch {
	case h.key == nil:
	case cut("key") && refused.code == "account":
		add(*h.key, DriftRecoveryKey, fleet.TruthNo, err.Error())
	case cut("key"):
		unseen(*h.key, err)
	default:
		k, odd := hostKeyOf(a)
		if odd != nil {
			unseen(*h.key, odd)
		} else if k.State != "present" && k.Later == 0 {
			add(*h.key, DriftRecoveryKey, fleet.TruthNo, fmt.Sprintf("%s: the key is %s", k.Path, k.State))
		} else if !k.Accepted {
			add(*h.key, DriftRecoveryKey, fleet.TruthNo, fmt.Sprintf("sshd ignores %s: %s", k.Path, k.Why))
		}
	}
	return out
}

// judgeKeys judges the key files of a host whose keys were quarantined.
func judgeKeys(h *hostExpectation, a hostAnswer) []DriftItem {
	f, err := keyFilesOf(a)
	if err != nil {
		return []DriftItem{h.item(*h.keys, DriftUnseen, fleet.TruthUnknown, err.Error())}
	}
	var out []DriftItem
	switch {
	case f.Fired != 0:
		out = append(out, h.item(*h.keys, DriftHostTimerFired, fleet.TruthNo, "the timer put key files back at "+clock(f.Fired)+openFiles(f)))
	case f.Open > 0:
		out = append(out, h.item(*h.keys, DriftKeysBack, fleet.TruthNo, fmt.Sprintf("%d of %d key files hold keys that do not stay", f.Open, f.Read)+openFiles(f)))
	}
	if !f.Usable {
		out = append(out, h.item(*h.keys, DriftRecoveryKey, fleet.TruthNo, f.Why))
	}
	return out
}

// openFiles names the first key files that are not as the quarantine left them.
func openFiles(f keyFiles) string {
	const most = 5
	var names []string
	for _, k := range f.Files {
		if k.State != "quarantined" && k.State != "missing" {
			names = append(names, k.Path)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if n := len(names) + f.More; n > most {
		names = append(names[:min(most, len(names))], fmt.Sprintf("and %d more", n-min(most, len(names))))
	}
	return ": " + strings.Join(names, ", ")
}

// judgeNewcomer tells of an instance that came after the plan. That nobody has
// judged it is drift enough; what stands open of it is told, too.
func judgeNewcomer(h fleet.Host, doors []otherDoor) DriftItem {
	var now []string
	if h.AutoScalingGroup != "" {
		now = append(now, "Auto Scaling group "+h.AutoScalingGroup+" launched it")
	} else {
		now = append(now, "it was launched in "+h.VPC)
	}
	if t := h.LaunchTemplate; t.ID != "" {
		now = append(now, "from launch template "+t.ID+" version "+t.Version)
	}
	for _, d := range doors {
		if d.err != nil {
			now = append(now, fmt.Sprintf("whether %s lets SSH in is not known: %v", d.group, d.err))
		} else {
			now = append(now, fmt.Sprintf("%s lets port %d through: %s", d.group, sshPort, ruleTexts(d.open)))
		}
	}
	if h.KeyName != "" {
		now = append(now, "its launch put key pair "+h.KeyName+" on it")
	}
	return DriftItem{
		Code: DriftNewInstance, Holds: fleet.TruthNo, What: h.ID, At: h.Ref().Place(), Hosts: []fleet.HostRef{h.Ref()},
		Since: h.LaunchTime, Was: "Every instance here is in the plan's snapshot", Now: fleet.OneLine(strings.Join(now, "; "), 1000),
	}
}
