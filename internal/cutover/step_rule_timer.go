package cutover

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// ruleTimers are the dead man's switches of a security group: a schedule for
// each rule that is about to be revoked. Their names come from group and rule
// alone, since the steps that arm, look and disarm have different tokens.
type ruleTimers struct {
	groups    SecurityGroups
	schedules Schedules
	roles     RoleReader
}

// timer is the wished-for schedule of one rule.
type timer struct {
	name string
	rule fleet.Rule // of the plan
}

type timersImage struct {
	Group     string           `json:"group"`
	Rules     []fleet.Rule     `json:"rules"`     // those of the plan, as the group has them
	Schedules []fleet.Schedule `json:"schedules"` // those that there are already
}

func (t ruleTimers) timers(ctx context.Context, s plan.Step) (group string, out []timer, err error) {
	if s.Rules == nil || s.Timer == nil || s.Timer.After <= 0 || len(s.Rules.Rules) == 0 {
		return "", nil, malformed(s)
	}
	if group, err = resolveGroup(ctx, t.groups, s.At, s.Rules.Group); err != nil {
		return "", nil, err
	}
	rules, err := resolveRules(ctx, t.groups, s.At, s.Rules.Rules)
	if err != nil {
		return "", nil, err
	}
	for _, r := range rules {
		out = append(out, timer{name: timerName(s.At, group, r), rule: r})
	}
	return group, out, nil
}

// timerName fits EventBridge Scheduler's 64 characters.
func timerName(at fleet.Place, group string, r fleet.Rule) string {
	r.ID, r.Description, r.Tags, r.GroupAccount = "", "", nil, ""
	text := fmt.Sprintf("%s %s %s %v %s %d %d %s %s %s", at.Account, at.Region, group, r.Egress, r.Protocol, r.From, r.To, r.CIDR, r.PrefixList, r.Group)
	sum := sha256.Sum256([]byte(text))
	return "migrate-timer-" + hex.EncodeToString(sum[:16])
}

// TimerTarget is the universal target that authorizes ingress rules.
func TimerTarget(region string) string {
	return "arn:" + fleet.Partition(region) + ":scheduler:::aws-sdk:ec2:authorizeSecurityGroupIngress"
}

func roleARN(at fleet.Place, name string) string {
	return "arn:" + fleet.Partition(at.Region) + ":iam::" + at.Account + ":role/" + name
}

// margin is how far ahead a timer must be to count as armed: what follows has
// to be done before it fires.
func margin(after time.Duration) time.Duration { return min(after/3, 5*time.Minute) }

// unfit says why a schedule is not the timer that the step wants; empty: it is.
func unfit(s plan.Step, group string, t timer, c fleet.Schedule, now time.Time) string {
	after := time.Duration(s.Timer.After)
	switch {
	case c.State != "ENABLED":
		return "it is not enabled"
	case c.Target != TimerTarget(s.At.Region), c.Role != roleARN(s.At, s.Timer.Role), c.Group != group, !wants(t.rule, c.Rule):
		return "it does something else"
	case c.At.Before(now.Add(margin(after))):
		return "it fires at " + c.At.UTC().Format(time.RFC3339) + ", too soon"
	case c.At.After(now.Add(after + 2*time.Minute)):
		return "it fires only at " + c.At.UTC().Format(time.RFC3339)
	}
	return ""
}

// barred says why the timers' role could not open the group; empty: the plan's
// policy lets it. Plans that do not name their policy are not asked.
func (t ruleTimers) barred(ctx context.Context, s plan.Step, group string) (string, error) {
	role, policy := s.Timer.Role, s.Timer.Policy
	if policy == "" {
		return "", nil
	}
	text, err := t.roles.RolePolicy(ctx, s.At, role, policy)
	if errors.Is(err, fleet.ErrNotFound) {
		if granted, err := t.opens(ctx, s, group); granted || err != nil {
			return "", err
		}
		return fmt.Sprintf("role %s has no policy %s: a timer could not open %s; make a new plan, or put the policy back", role, policy, group), nil
	}
	if err != nil {
		return "", fmt.Errorf("read policy %s of role %s: %w", policy, role, err)
	}
	names := strings.Contains(text, "security-group/"+group+`"`) || strings.Contains(text, `security-group/*"`)
	if !names || !strings.Contains(text, "ec2:AuthorizeSecurityGroupIngress") {
		return fmt.Sprintf("policy %s of role %s does not let a timer open %s; make a new plan, or put the policy back", policy, role, group), nil
	}
	return "", nil
}

// opens reports whether the role is known to be let open the group by policies
// of other names: whoever owns it wrote them.
func (t ruleTimers) opens(ctx context.Context, s plan.Step, group string) (bool, error) {
	want := plan.RoleChange{Name: s.Timer.Role, Trust: plan.TimerTrust(s.At.Account), Document: plan.TimerGrant(s.At, group)}
	granted, _, err := roleGrants(ctx, t.roles, s.At, s.Timer.Role, func(r fleet.Role, p []fleet.Policy) (fleet.Truth, string) {
		return want.GrantedBy(r, p, s.At, nil)
	})
	return granted == fleet.TruthYes, err
}

// armRules arms the timers.
type armRules struct{ ruleTimers }

func (k armRules) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	group, timers, err := k.timers(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	actual, err := groupRules(ctx, k.groups, s.At, group)
	if err != nil {
		return Observation{}, err
	}
	image := timersImage{Group: group}
	why := ""
	for _, t := range timers {
		if r, ok := findRule(actual, t.rule); ok {
			image.Rules = append(image.Rules, r)
		}
		c, err := k.schedules.Schedule(ctx, s.At, t.name)
		if errors.Is(err, fleet.ErrNotFound) {
			why = "no timer for " + ruleText(t.rule)
			continue
		}
		if err != nil {
			return Observation{}, fmt.Errorf("read schedule %s: %w", t.name, err)
		}
		image.Schedules = append(image.Schedules, c)
		if u := unfit(s, group, t, c, time.Now()); u != "" {
			why = "timer " + t.name + ": " + u
		}
	}
	bar, err := k.barred(ctx, s, group)
	if err != nil {
		return Observation{}, err
	}
	if why = cmp.Or(bar, why); why != "" {
		return observed(false, image, "%s", why)
	}
	return observed(true, image, "%d timers open %s again at %s", len(timers), group, image.Schedules[0].At.UTC().Format(time.RFC3339))
}

// Apply arms timers for the rules exactly as the group has them or, when a
// try before has closed them already, had them.
func (k armRules) Apply(ctx context.Context, s plan.Step, before json.RawMessage, token string) (json.RawMessage, error) {
	image, err := imageOf[timersImage](before)
	if err != nil {
		return nil, err
	}
	group, timers, err := k.timers(ctx, s)
	if err != nil {
		return nil, err
	}
	actual, err := groupRules(ctx, k.groups, s.At, group)
	if err != nil {
		return nil, err
	}
	switch bar, err := k.barred(ctx, s, group); {
	case err != nil:
		return nil, err
	case bar != "":
		return nil, fmt.Errorf("%s: %w", bar, ErrStale)
	}
	fires := time.Now().UTC().Add(time.Duration(s.Timer.After) + time.Minute - time.Nanosecond).Truncate(time.Minute)
	for _, t := range timers {
		exact, ok := findRule(actual, t.rule)
		if !ok {
			exact, ok = findRule(image.Rules, t.rule)
		}
		if !ok {
			return nil, fmt.Errorf("%s has no rule %s: %w", group, ruleText(t.rule), ErrStale)
		}
		exact.ID = ""
		want := fleet.Schedule{Name: t.name, At: fires, Role: roleARN(s.At, s.Timer.Role), Group: group, Rule: exact}
		if err := k.arm(ctx, s, t, want, token); err != nil {
			return nil, err
		}
	}
	return done(nil)
}

func (k armRules) arm(ctx context.Context, s plan.Step, t timer, want fleet.Schedule, token string) error {
	return settle(ctx, visibleWithin, func() (string, error) {
		c, err := k.schedules.Schedule(ctx, s.At, t.name)
		if err == nil {
			u := unfit(s, want.Group, t, c, time.Now())
			if u == "" {
				return "", nil
			}
			if err := answered(k.schedules.DeleteSchedule(ctx, s.At, t.name), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("replace schedule %s (%s): %w", t.name, u, err)
			}
		} else if !errors.Is(err, fleet.ErrNotFound) {
			return "", fmt.Errorf("read schedule %s: %w", t.name, err)
		}
		err = k.schedules.CreateSchedule(ctx, s.At, want, clientToken(token, t.name, want.At.String()))
		if err := answered(err, fleet.ErrExists); err != nil {
			return "", fmt.Errorf("create schedule %s: %w", t.name, err)
		}
		return "schedule " + t.name, nil
	})
}

// clientToken makes a token for one of several calls of a step; parts are what
// the calls differ in, also from those of a try that was undone: AWS remembers
// a token longer than what was made with it. It fits AWS's 64 characters.
func clientToken(token string, parts ...string) string {
	sum := sha256.Sum256(fmt.Append([]byte(token), parts))
	return "migrate-" + hex.EncodeToString(sum[:20])
}

func (k armRules) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, _ string) error {
	if _, err := imageOf[timersImage](before); err != nil {
		return err
	}
	return k.disarm(ctx, s, after)
}

func (k armRules) Undone(ctx context.Context, s plan.Step, _, _ json.RawMessage, _ string) (Observation, error) {
	_, left, err := k.left(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	if left != "" {
		return restored("there is still " + left)
	}
	return restored("")
}

// left tells which timers there are.
func (t ruleTimers) left(ctx context.Context, s plan.Step) (image timersImage, left string, err error) {
	group, timers, err := t.timers(ctx, s)
	if err != nil {
		return image, "", err
	}
	image.Group = group
	for _, one := range timers {
		c, err := t.schedules.Schedule(ctx, s.At, one.name)
		if errors.Is(err, fleet.ErrNotFound) {
			continue
		}
		if err != nil {
			return image, "", fmt.Errorf("read schedule %s: %w", one.name, err)
		}
		image.Schedules = append(image.Schedules, c)
		left = "schedule " + one.name
	}
	return image, left, nil
}

// disarm deletes all timers of the step, whatever a read says: one that it does
// not show yet would open the door later.
func (t ruleTimers) disarm(ctx context.Context, s plan.Step, after json.RawMessage) error {
	_, timers, err := t.timers(ctx, s)
	if err != nil {
		return err
	}
	return unsettle(ctx, visibleWithin, after, func() (string, error) {
		for _, one := range timers {
			if err := answered(t.schedules.DeleteSchedule(ctx, s.At, one.name), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("delete schedule %s: %w", one.name, err)
			}
		}
		_, left, err := t.left(ctx, s)
		return left, err
	})
}

// disarmRules disarms the timers: what they keep open is proved otherwise.
type disarmRules struct{ ruleTimers }

func (k disarmRules) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	image, left, err := k.left(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	if left != "" {
		return observed(false, image, "%s will open %s again at %s", left, image.Group, image.Schedules[0].At.UTC().Format(time.RFC3339))
	}
	return observed(true, image, "no timer will open %s again", image.Group)
}

func (k disarmRules) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	return done(k.disarm(ctx, s, json.RawMessage(applied)))
}

// Undo does nothing: the door that the timers kept opens by undoing the step
// that closed it.
func (k disarmRules) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

func (k disarmRules) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (Observation, error) {
	return restored("")
}
