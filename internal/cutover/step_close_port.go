package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// closePort closes a port in a security group for everyone but the recovery group.
type closePort struct{ groups SecurityGroups }

const sshPort = 22

// door is a security group as the step sees it.
type door struct {
	group string
	port  int
	keep  string // the recovery group's ID
	rules []fleet.Rule

	planned []fleet.Rule // of the plan, to revoke
	open    []fleet.Rule // of the group: what the plan revokes
	lacking []fleet.Rule // stand-ins that are not there
	kept    bool         // the recovery group is let in
	strange []fleet.Rule // let the port through and are not in the plan
}

func (k closePort) look(ctx context.Context, s plan.Step) (door, error) {
	c := s.Rules
	if c == nil || c.Keep == "" {
		return door{}, malformed(s)
	}
	d := door{port: c.Port}
	if d.port == 0 {
		d.port = sshPort
	}
	var err error
	if d.group, err = resolveGroup(ctx, k.groups, s.At, c.Group); err != nil {
		return d, err
	}
	if d.keep, err = resolveGroup(ctx, k.groups, s.At, c.Keep); err != nil {
		return d, err
	}
	if d.planned, err = resolveRules(ctx, k.groups, s.At, c.Rules); err != nil {
		return d, err
	}
	add, err := resolveRules(ctx, k.groups, s.At, c.Add)
	if err != nil {
		return d, err
	}
	if d.rules, err = groupRules(ctx, k.groups, s.At, d.group); err != nil {
		return d, err
	}
	d.lacking = missingRules(add, d.rules)
	for _, r := range d.rules {
		switch {
		case r.Egress:
		case wanted(d.planned, r):
			d.open = append(d.open, r)
		case r.Group == d.keep && r.Admits(d.port):
			d.kept = true
		case r.Admits(d.port) && !wanted(add, r):
			d.strange = append(d.strange, r)
		}
	}
	if len(d.open) > 0 {
		if err := k.onlyHosts(ctx, s, d.group); err != nil {
			return d, err
		}
	}
	if len(d.strange) > 0 {
		return d, fmt.Errorf("%s lets port %d through by a rule that the plan does not know, %s: %w", d.group, d.port, ruleTexts(d.strange), ErrStale)
	}
	return d, nil
}

// onlyHosts refuses a group that others than the step's hosts carry by now:
// nobody has proved that they can be reached without the port.
func (k closePort) onlyHosts(ctx context.Context, s plan.Step, group string) error {
	members, err := k.groups.GroupMembers(ctx, s.At, group)
	if err != nil {
		return fmt.Errorf("list who carries %s: %w", group, err)
	}
	others := slices.DeleteFunc(members, func(id string) bool {
		return slices.ContainsFunc(s.Hosts, func(h fleet.HostRef) bool { return h.ID == id })
	})
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("%s carries %s and is not in the plan's step (%d such in all), so closing port 22 could lock it out; take a new inventory and make a new plan: %w", others[0], group, len(others), ErrStale)
}

func (k closePort) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	d, err := k.look(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	image := groupImage{Group: d.group, Rules: d.rules}
	switch {
	case len(d.open) > 0:
		return observed(false, image, "%s is open: %s", d.group, ruleTexts(d.open))
	case len(d.lacking) > 0:
		return observed(false, image, "%s lacks %s", d.group, ruleTexts(d.lacking))
	case !d.kept:
		return observed(false, image, "%s does not let the recovery group %s in", d.group, d.keep)
	}
	return observed(true, image, "%s lets port %d through from the recovery group", d.group, d.port)
}

// Open holds if whomever the rules of the plan let in is still let in: which of
// them the operator comes by is not known.
func (k closePort) Open(ctx context.Context, s plan.Step) (Observation, error) {
	if s.Rules == nil {
		return Observation{}, malformed(s)
	}
	group, err := resolveGroup(ctx, k.groups, s.At, s.Rules.Group)
	if err != nil {
		return Observation{}, err
	}
	planned, err := resolveRules(ctx, k.groups, s.At, s.Rules.Rules)
	if err != nil {
		return Observation{}, err
	}
	actual, err := groupRules(ctx, k.groups, s.At, group)
	if err != nil {
		return Observation{}, err
	}
	lacking := slices.DeleteFunc(missingRules(planned, actual), func(was fleet.Rule) bool {
		return slices.ContainsFunc(actual, func(r fleet.Rule) bool {
			return !r.Egress && r.Admits(cmp.Or(s.Rules.Port, sshPort)) && covers(r, was)
		})
	})
	return observed(len(lacking) == 0, nil, "%s lacks %d of %d rules of the plan", group, len(lacking), len(planned))
}

// covers reports whether a rule's source takes in all of another's.
func covers(r, of fleet.Rule) bool {
	if r.CIDR.IsValid() && of.CIDR.IsValid() {
		return r.CIDR.Bits() <= of.CIDR.Bits() && r.CIDR.Contains(of.CIDR.Addr())
	}
	return r.CIDR == of.CIDR && r.PrefixList == of.PrefixList && r.Group == of.Group && r.GroupAccount == of.GroupAccount
}

func (k closePort) Apply(ctx context.Context, s plan.Step, before json.RawMessage, token string) (json.RawMessage, error) {
	image, err := imageOf[groupImage](before)
	if err != nil {
		return nil, err
	}
	err = settle(ctx, visibleWithin, func() (string, error) {
		d, err := k.look(ctx, s)
		if err != nil {
			return "", err
		}
		if !d.kept {
			return "", fmt.Errorf("%s does not let port %d through from the recovery group %s: closing it would leave no second way in; apply the step recovery-rule first", d.group, d.port, d.keep)
		}
		for _, r := range d.open {
			if was, ok := findRule(image.Rules, r); !ok || !identical(was, r) {
				return "", fmt.Errorf("%s: %s is not as it was when the step began, and could not be restored: %w", d.group, ruleText(r), ErrStale)
			}
		}
		// The stand-ins come first, so that what is not the port's is never cut off.
		adding, err := allow(ctx, k.groups, s.At, d.group, d.lacking, token)
		if err != nil {
			return "", err
		}
		if len(d.open) == 0 {
			return adding, nil
		}
		late, cancel, err := Late(ctx)
		if err != nil {
			return "", err
		}
		defer cancel()
		removing, err := revoke(late, k.groups, s.At, d.group, d.open)
		if removing != "" {
			return removing, err
		}
		return adding, err
	})
	return done(err)
}

// closed are the rules of a group that the plan revokes, as they were.
func closed(image groupImage, planned []fleet.Rule) []fleet.Rule {
	var out []fleet.Rule
	for _, r := range image.Rules {
		if !r.Egress && wanted(planned, r) {
			out = append(out, r)
		}
	}
	return out
}

// undoing compares a group with what it was: the rules to authorize again,
// those that somebody has written anew in other words, and the stand-ins to remove.
func (k closePort) undoing(ctx context.Context, s plan.Step, image groupImage, token string) (missing, other, standIns []fleet.Rule, err error) {
	if s.Rules == nil {
		return nil, nil, nil, malformed(s)
	}
	planned, err := resolveRules(ctx, k.groups, s.At, s.Rules.Rules)
	if err != nil {
		return nil, nil, nil, err
	}
	actual, err := groupRules(ctx, k.groups, s.At, image.Group)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, was := range closed(image, planned) {
		now, ok := findRule(actual, was)
		switch {
		case !ok:
			missing = append(missing, was)
		case !identical(was, now):
			other = append(other, now)
		}
	}
	return missing, other, made(actual, token), nil
}

func (k closePort) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	image, err := imageOf[groupImage](before)
	if err != nil {
		return err
	}
	if s.Rules == nil {
		return malformed(s)
	}
	planned, err := resolveRules(ctx, k.groups, s.At, s.Rules.Rules)
	if err != nil {
		return err
	}
	// All of them, whatever a read says: it may lag, and only a change tells
	// for certain that a rule is there.
	if _, err := allow(ctx, k.groups, s.At, image.Group, closed(image, planned), ""); err != nil {
		return err
	}
	var changed []fleet.Rule
	err = unsettle(ctx, visibleWithin, after, func() (string, error) {
		missing, other, standIns, err := k.undoing(ctx, s, image, token)
		if err != nil {
			return "", err
		}
		changed = other
		adding, err := allow(ctx, k.groups, s.At, image.Group, missing, "")
		if err != nil || adding != "" {
			return adding, err
		}
		return revoke(ctx, k.groups, s.At, image.Group, standIns)
	})
	if err == nil && len(changed) > 0 {
		return fmt.Errorf("%s: %s has another description or other tags than before: %w", image.Group, ruleTexts(changed), ErrForeign)
	}
	return err
}

func (k closePort) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	image, err := imageOf[groupImage](before)
	if err != nil {
		return Observation{}, err
	}
	missing, other, standIns, err := k.undoing(ctx, s, image, token)
	switch {
	case err != nil:
		return Observation{}, err
	case len(missing) > 0:
		return restored(fmt.Sprintf("%s lacks %s", image.Group, ruleTexts(missing)))
	case len(other) > 0:
		return restored(fmt.Sprintf("%s: %s has another description or other tags than before", image.Group, ruleTexts(other)))
	case len(standIns) > 0:
		return restored(fmt.Sprintf("%s still has %s", image.Group, ruleTexts(standIns)))
	}
	return restored("")
}
