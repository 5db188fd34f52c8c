package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// groupImage is a security group with all its rules.
type groupImage struct {
	Group string       `json:"group"`
	Rules []fleet.Rule `json:"rules"`
}

// resolveGroup gives the ID of a group that a plan names. The recovery group's
// ID is not known to a plan; its name stands in its place.
func resolveGroup(ctx context.Context, g SecurityGroups, at fleet.Place, name string) (string, error) {
	vpc, recovery := strings.CutPrefix(name, plan.RecoveryName(""))
	if !recovery {
		return name, nil
	}
	found, err := g.FindGroup(ctx, at, vpc, name)
	if err != nil {
		return "", fmt.Errorf("find the recovery bastion's security group %s: %w", name, err)
	}
	return found.ID, nil
}

func resolveRules(ctx context.Context, g SecurityGroups, at fleet.Place, rules []fleet.Rule) ([]fleet.Rule, error) {
	out := make([]fleet.Rule, 0, len(rules))
	for _, r := range rules {
		if r.Group != "" {
			id, err := resolveGroup(ctx, g, at, r.Group)
			if err != nil {
				return nil, err
			}
			r.Group = id
		}
		out = append(out, r)
	}
	return out, nil
}

// groupRules reads a group; one that is not there is not what the plan found.
func groupRules(ctx context.Context, g SecurityGroups, at fleet.Place, group string) ([]fleet.Rule, error) {
	rules, err := g.GroupRules(ctx, at, group)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, fmt.Errorf("security group %s is gone (%w): %w", group, err, ErrStale)
	}
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", group, err)
	}
	return rules, nil
}

// wants reports whether a rule of the plan means a rule of the world. A plan
// that was made without the accounts of groups names none; IDs of groups are unique over accounts.
func wants(planned, actual fleet.Rule) bool {
	if planned.GroupAccount == "" {
		actual.GroupAccount = ""
	}
	return planned.Same(actual)
}

func wanted(planned []fleet.Rule, actual fleet.Rule) bool {
	for _, p := range planned {
		if wants(p, actual) {
			return true
		}
	}
	return false
}

func findRule(actual []fleet.Rule, planned fleet.Rule) (fleet.Rule, bool) {
	for _, r := range actual {
		if wants(planned, r) {
			return r, true
		}
	}
	return fleet.Rule{}, false
}

// missingRules are the rules of the plan that the world does not have.
func missingRules(planned, actual []fleet.Rule) []fleet.Rule {
	var out []fleet.Rule
	for _, p := range planned {
		if _, ok := findRule(actual, p); !ok {
			out = append(out, p)
		}
	}
	return out
}

// identical compares rules in everything but the ID, which EC2 gives anew, and
// tags of AWS's own, which nobody else can set.
func identical(a, b fleet.Rule) bool {
	return a.Same(b) && a.Description == b.Description && maps.Equal(ownTags(a), ownTags(b))
}

func ownTags(r fleet.Rule) map[string]string {
	out := maps.Clone(r.Tags)
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(k, "aws:") })
	return out
}

func ruleIDs(rules []fleet.Rule) []string {
	out := make([]string, 0, len(rules))
	for _, r := range rules {
		out = append(out, r.ID)
	}
	return out
}

// ruleText is a rule in one short line.
func ruleText(r fleet.Rule) string {
	from := r.PrefixList + r.Group
	if r.CIDR.IsValid() {
		from = r.CIDR.String()
	}
	ports := fmt.Sprintf(" %d-%d", r.From, r.To)
	switch r.From {
	case -1:
		ports = ""
	case r.To:
		ports = fmt.Sprintf(" %d", r.From)
	}
	protocol := r.Protocol
	if protocol == "-1" {
		protocol = "all traffic"
	}
	direction := " from "
	if r.Egress {
		direction = " to "
	}
	return protocol + ports + direction + from
}

func ruleTexts(rules []fleet.Rule) string {
	texts := make([]string, 0, len(rules))
	for _, r := range rules {
		texts = append(texts, ruleText(r))
	}
	return strings.Join(texts, ", ")
}

// allowRules adds rules to a security group: AllowEgress and RecoveryRule.
type allowRules struct{ groups SecurityGroups }

func (k allowRules) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	if s.Rules == nil {
		return Observation{}, malformed(s)
	}
	group, err := resolveGroup(ctx, k.groups, s.At, s.Rules.Group)
	if err != nil {
		return Observation{}, err
	}
	actual, err := groupRules(ctx, k.groups, s.At, group)
	if err != nil {
		return Observation{}, err
	}
	image := groupImage{Group: group, Rules: actual}
	planned, err := resolveRules(ctx, k.groups, s.At, s.Rules.Rules)
	if errors.Is(err, fleet.ErrNotFound) {
		return observed(false, image, "%s: the source of the rules is not there: %v", group, err)
	}
	if err != nil {
		return Observation{}, err
	}
	missing := missingRules(planned, actual)
	if s.Handed && s.Kind == plan.AllowEgress {
		// Not so for the recovery group's rule: closing keeps exactly that one.
		missing = lacking(planned, actual)
	}
	if len(missing) > 0 {
		return observed(false, image, "%s lacks %s", group, ruleTexts(missing))
	}
	return observed(true, image, "%s lets %s through", group, ruleTexts(planned))
}

func (k allowRules) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	if s.Rules == nil {
		return nil, malformed(s)
	}
	group, err := resolveGroup(ctx, k.groups, s.At, s.Rules.Group)
	if err != nil {
		return nil, err
	}
	planned, err := resolveRules(ctx, k.groups, s.At, s.Rules.Rules)
	if err != nil {
		return nil, err
	}
	err = settle(ctx, visibleWithin, func() (string, error) {
		actual, err := groupRules(ctx, k.groups, s.At, group)
		if err != nil {
			return "", err
		}
		return allow(ctx, k.groups, s.At, group, missingRules(planned, actual), token)
	})
	return done(err)
}

// allow authorizes rules one by one: one that is there already would fail a
// call with several. It gives what a read has to show yet.
func allow(ctx context.Context, g SecurityGroups, at fleet.Place, group string, missing []fleet.Rule, token string) (left string, err error) {
	for _, r := range missing {
		if token != "" {
			r.Tags = stepTags(r.Tags, token)
		}
		if err := answered(g.Authorize(ctx, at, group, r), fleet.ErrExists); err != nil {
			return "", fmt.Errorf("authorize %s in %s: %w", ruleText(r), group, err)
		}
	}
	if len(missing) > 0 {
		left = group + " gets " + ruleTexts(missing)
	}
	return left, nil
}

// revoke removes rules and gives what a read has to stop showing.
func revoke(ctx context.Context, g SecurityGroups, at fleet.Place, group string, rules []fleet.Rule) (left string, err error) {
	for _, egress := range []bool{false, true} {
		var some []fleet.Rule
		for _, r := range rules {
			if r.Egress == egress {
				some = append(some, r)
			}
		}
		if len(some) == 0 {
			continue
		}
		// One of them may be gone since the read: the next read tells which are left.
		if err := answered(g.Revoke(ctx, at, group, egress, ruleIDs(some)), fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("revoke %s in %s: %w", ruleTexts(some), group, err)
		}
		left = group + " loses " + ruleTexts(some)
	}
	return left, nil
}

// made are the rules that a step has added.
func made(actual []fleet.Rule, token string) []fleet.Rule {
	var out []fleet.Rule
	for _, r := range actual {
		if r.Tags[fleet.TagStep] == token {
			out = append(out, r)
		}
	}
	return out
}

func (k allowRules) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	image, err := imageOf[groupImage](before)
	if err != nil {
		return err
	}
	return unsettle(ctx, visibleWithin, after, func() (string, error) {
		actual, err := k.groups.GroupRules(ctx, s.At, image.Group)
		if errors.Is(err, fleet.ErrNotFound) {
			return "", nil // and the rules with it
		}
		if err != nil {
			return "", fmt.Errorf("read the rules of %s: %w", image.Group, err)
		}
		return revoke(ctx, k.groups, s.At, image.Group, made(actual, token))
	})
}

func (k allowRules) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	image, err := imageOf[groupImage](before)
	if err != nil {
		return Observation{}, err
	}
	actual, err := k.groups.GroupRules(ctx, s.At, image.Group)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("read the rules of %s: %w", image.Group, err)
	}
	if ours := made(actual, token); len(ours) > 0 {
		return restored(fmt.Sprintf("%s still has %s", image.Group, ruleTexts(ours)))
	}
	return restored("")
}

// portFrom are the rules that let one TCP port in from CIDRs. Refusal is the
// format of the error about a source that is none.
func portFrom(port int, sources []string, refusal string) ([]fleet.Rule, error) {
	out := make([]fleet.Rule, 0, len(sources))
	for _, c := range sources {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, fmt.Errorf(refusal, c)
		}
		out = append(out, fleet.Rule{Protocol: "tcp", From: port, To: port, CIDR: p.Masked()})
	}
	return out, nil
}
