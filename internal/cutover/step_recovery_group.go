package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// recoveryGroup makes a VPC's recovery bastion: a security group that lets the
// operators in, a launch template with the recovery key in it, and an Auto
// Scaling group at zero.
type recoveryGroup struct {
	groups    SecurityGroups
	templates Templates
	scaling   ScalingGroups
	// generations of the recovery key, newest first; one of them in use is as good
	// as the plan's own.
	generations []fleet.RecoveryKey
}

type recoveryImage struct {
	Group    string `json:"group,omitempty"` // ID; empty: it is not there
	Template bool   `json:"template"`        // exists
	Scaling  bool   `json:"scaling"`         // exists
}

type recoveryView struct {
	image    recoveryImage
	group    fleet.SecurityGroup
	closed   []fleet.Rule // that the group lacks
	others   string       // what of it was made by others than plans; empty: nothing
	template fleet.BastionTemplate
	scaling  fleet.ScalingGroup
}

// dataKey is the base64 part of the key that user data of plan.BastionData has; empty:
// it is something else.
func dataKey(data string) string {
	_, item, ok := strings.Cut(data, "ssh_authorized_keys:\n  - ")
	var line string
	if !ok || json.Unmarshal([]byte(strings.TrimSpace(item)), &line) != nil {
		return ""
	}
	if same, err := plan.BastionData(line); err != nil || same != data {
		return ""
	}
	return recovery.Blob(line)
}

// current reports whether user data has a generation of the key that is in use.
func (k recoveryGroup) current(data string) bool {
	blob := dataKey(data)
	return blob != "" && slices.ContainsFunc(k.generations, func(g fleet.RecoveryKey) bool {
		return g.Retired.IsZero() && recovery.Blob(g.Line) == blob
	})
}

func (k recoveryGroup) look(ctx context.Context, s plan.Step) (recoveryView, error) {
	var v recoveryView
	c := s.Recovery
	if c == nil || c.VPC == "" || c.Name == "" || c.Image == "" || len(c.Subnets) == 0 || len(c.From) == 0 {
		return v, malformed(s)
	}
	var err error
	v.group, err = k.groups.FindGroup(ctx, s.At, c.VPC, c.Name)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return v, fmt.Errorf("look for the security group %s: %w", c.Name, err)
	}
	v.image.Group = v.group.ID
	v.template, err = k.templates.Template(ctx, s.At, c.Name)
	v.image.Template = err == nil
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return v, fmt.Errorf("look for the launch template %s: %w", c.Name, err)
	}
	v.scaling, err = k.scaling.ScalingGroup(ctx, s.At, c.Name)
	v.image.Scaling = err == nil
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return v, fmt.Errorf("look for the Auto Scaling group %s: %w", c.Name, err)
	}
	return v, k.check(ctx, s, &v)
}

// check refuses what bears the names and is not what they stand for. An image
// of another plan's is none of that: whether it serves is what a drill shows.
// Who made it does not count where it is whole; a part of it that others made
// is not gone on with.
func (k recoveryGroup) check(ctx context.Context, s plan.Step, v *recoveryView) error {
	c := s.Recovery
	foreign := func(what, why string) error {
		return fmt.Errorf("the %s %s %s; roll back the plan that made it, or delete it: %w", what, c.Name, why, ErrForeign)
	}
	data, err := plan.BastionData(c.PublicKey)
	if err != nil {
		return err
	}
	want, err := portFrom(sshPort, c.From, "recovery.from: %q is not a CIDR: correct the policy and make a new plan")
	if err != nil {
		return err
	}
	if v.group.ID != "" {
		actual, err := groupRules(ctx, k.groups, s.At, v.group.ID)
		if err != nil {
			return err
		}
		for _, r := range actual {
			if !r.Egress && !wanted(want, r) {
				return foreign("security group", "lets more in than the plan wants: "+ruleText(r))
			}
		}
		v.closed = missingRules(want, actual)
		v.others = addOther(v.others, "security group", v.group.Tags)
	}
	if t := v.template; v.image.Template {
		switch {
		case t.UserData != data && !k.current(t.UserData) && (!s.Handed || !k.carries(t.UserData, data)):
			return foreign("launch template", "has another recovery key")
		case t.Tokens != "required", t.Image == "":
			return foreign("launch template", "has been changed")
		case v.group.ID != "" && !slices.Equal(t.Groups, []string{v.group.ID}):
			return foreign("launch template", "has another security group")
		}
		v.others = addOther(v.others, "launch template", t.Tags)
	}
	if g := v.scaling; v.image.Scaling {
		switch {
		case g.Min != 0, g.Max < 1, v.image.Template && g.Template.ID != v.template.ID:
			return foreign("Auto Scaling group", "has been changed")
		}
		for _, subnet := range g.Subnets {
			// Hosts take the key from these subnets alone.
			if !slices.Contains(c.Subnets, subnet) && g.Tags[fleet.TagStep] == "" {
				return foreign("Auto Scaling group", "starts bastions in "+subnet+", which is none of "+strings.Join(c.Subnets, ", "))
			}
		}
		v.others = addOther(v.others, "Auto Scaling group", g.Tags)
	}
	if whole := v.group.ID != "" && len(v.closed) == 0 && v.image.Template && v.image.Scaling; v.others != "" && !whole && !s.Handed {
		return fmt.Errorf("the %s %s was made by somebody else, who has to make the rest of it as well; or delete it: %w", v.others, c.Name, ErrForeign)
	}
	return nil
}

// addOther names what no plan has made.
func addOther(others, what string, tags map[string]string) string {
	if others == "" && tags[fleet.TagStep] == "" {
		return what
	}
	return others
}

// carries reports whether user data that others wrote has the line of the key
// in it that is in ours, in whatever form cloud-init takes it.
func (k recoveryGroup) carries(theirs, data string) bool {
	_, item, _ := strings.Cut(data, "ssh_authorized_keys:\n  - ")
	var line string
	if json.Unmarshal([]byte(strings.TrimSpace(item)), &line) != nil || line == "" {
		return false
	}
	return strings.Contains(theirs, line) || strings.Contains(theirs, strings.TrimSpace(item))
}

// Observe holds if the three are there and are what they stand for, whoever made them.
func (k recoveryGroup) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	v, err := k.look(ctx, s)
	if err != nil {
		return theirs(s, Observation{}, err)
	}
	name := s.Recovery.Name
	switch {
	case v.group.ID == "":
		return observed(false, v.image, "there is no security group %s", name)
	case len(v.closed) > 0:
		return observed(false, v.image, "security group %s lacks %s", name, ruleTexts(v.closed))
	case !v.image.Template:
		return observed(false, v.image, "there is no launch template %s", name)
	case !v.image.Scaling:
		return observed(false, v.image, "there is no Auto Scaling group %s", name)
	}
	return observed(true, v.image, "Auto Scaling group %s has %d of at most %d bastions", name, v.scaling.Desired, v.scaling.Max)
}

func (k recoveryGroup) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	return done(settle(ctx, 2*visibleWithin, func() (string, error) {
		v, err := k.look(ctx, s)
		if err != nil {
			return "", err
		}
		c := s.Recovery
		tags := stepTags(map[string]string{"Name": c.Name}, token)
		switch {
		case v.group.ID == "":
			_, err = k.groups.CreateGroup(ctx, s.At, fleet.SecurityGroup{VPC: c.VPC, Name: c.Name, Description: plan.RecoveryGroupText, Tags: tags})
		case len(v.closed) > 0:
			return allow(ctx, k.groups, s.At, v.group.ID, v.closed, token)
		case !v.image.Template:
			data, err := plan.BastionData(c.PublicKey)
			if err != nil {
				return "", err
			}
			t := fleet.BastionTemplate{
				Name: c.Name, Image: c.Image, Type: c.Type, Public: c.Public, Groups: []string{v.group.ID}, UserData: data, Tokens: "required",
				Tags: stepTags(map[string]string{"Name": c.Name, fleet.TagUser: c.User}, token),
			}
			if err := answered(k.templates.CreateTemplate(ctx, s.At, t, clientToken(token, v.group.ID)), fleet.ErrExists); err != nil {
				return "", fmt.Errorf("create the launch template %s: %w", c.Name, err)
			}
			return "launch template " + c.Name, nil
		case !v.image.Scaling:
			err = k.scaling.CreateScalingGroup(ctx, s.At, fleet.ScalingGroup{
				Name: c.Name, Max: 1, Subnets: c.Subnets, Tags: tags,
				Template: fleet.LaunchTemplateRef{ID: v.template.ID, Version: defaultVersion},
			})
		default:
			return "", nil
		}
		if err := answered(err, fleet.ErrExists); err != nil {
			return "", fmt.Errorf("create %s: %w", c.Name, err)
		}
		return "group " + c.Name, nil
	}))
}

func (k recoveryGroup) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	if _, err := imageOf[recoveryImage](before); err != nil {
		return err
	}
	if s.Recovery == nil {
		return malformed(s)
	}
	return unsettle(ctx, builtWithin, after, func() (string, error) {
		left, err := k.removeScaling(ctx, s, token)
		if left != "" || err != nil {
			return left, err
		}
		name := s.Recovery.Name
		t, err := k.templates.Template(ctx, s.At, name)
		if err == nil && t.Tags[fleet.TagStep] == token {
			if err := answered(k.templates.DeleteTemplate(ctx, s.At, name), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("delete the launch template %s: %w", name, err)
			}
			return "launch template " + name, nil
		}
		if err := answered(err, fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("look for the launch template %s: %w", name, err)
		}
		left, err = deleteGroup(ctx, k.groups, s.At, s.Recovery.VPC, name, token)
		if left != "" || err != nil {
			return left, err
		}
		return k.withdraw(ctx, s, token)
	})
}

// removeScaling ends the instances, then the group.
func (k recoveryGroup) removeScaling(ctx context.Context, s plan.Step, token string) (left string, err error) {
	name := s.Recovery.Name
	g, err := k.scaling.ScalingGroup(ctx, s.At, name)
	if errors.Is(err, fleet.ErrNotFound) || err == nil && g.Tags[fleet.TagStep] != token {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for the Auto Scaling group %s: %w", name, err)
	}
	if g.Desired > 0 {
		if err := k.scaling.SetSize(ctx, s.At, name, 0, 0, g.Max); err != nil {
			return "", fmt.Errorf("end the bastions of %s: %w", name, err)
		}
		return "bastions of " + name, nil
	}
	if len(g.Instances) > 0 {
		return "bastion " + g.Instances[0], nil
	}
	err = k.scaling.DeleteScalingGroup(ctx, s.At, name)
	if errors.Is(err, fleet.ErrInUse) {
		return fmt.Sprintf("Auto Scaling group %s: %v", name, err), nil
	}
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return "", fmt.Errorf("delete the Auto Scaling group %s: %w", name, err)
	}
	return "Auto Scaling group " + name, nil
}

// withdraw takes back the rules that the step added to a group that another made.
func (k recoveryGroup) withdraw(ctx context.Context, s plan.Step, token string) (left string, err error) {
	g, rules, err := k.others(ctx, s, token)
	if err != nil || len(rules) == 0 {
		return "", err
	}
	return revoke(ctx, k.groups, s.At, g, rules)
}

// others are the step's rules in the group, whoever made the group.
func (k recoveryGroup) others(ctx context.Context, s plan.Step, token string) (group string, ours []fleet.Rule, err error) {
	g, err := k.groups.FindGroup(ctx, s.At, s.Recovery.VPC, s.Recovery.Name)
	if err != nil || g.ID == "" {
		return "", nil, answered(err, fleet.ErrNotFound)
	}
	actual, err := k.groups.GroupRules(ctx, s.At, g.ID)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return "", nil, fmt.Errorf("read the rules of %s: %w", g.ID, err)
	}
	return g.ID, made(actual, token), nil
}

func (k recoveryGroup) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	if _, err := imageOf[recoveryImage](before); err != nil {
		return Observation{}, err
	}
	if s.Recovery == nil {
		return Observation{}, malformed(s)
	}
	name := s.Recovery.Name
	g, err := k.scaling.ScalingGroup(ctx, s.At, name)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("look for the Auto Scaling group %s: %w", name, err)
	}
	t, err := k.templates.Template(ctx, s.At, name)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("look for the launch template %s: %w", name, err)
	}
	sg, err := k.groups.FindGroup(ctx, s.At, s.Recovery.VPC, name)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("look for the security group %s: %w", name, err)
	}
	_, ours, err := k.others(ctx, s, token)
	switch {
	case err != nil:
		return Observation{}, err
	case g.Tags[fleet.TagStep] == token:
		return restored("Auto Scaling group " + name + " is still there")
	case t.Tags[fleet.TagStep] == token:
		return restored("launch template " + name + " is still there")
	case sg.Tags[fleet.TagStep] == token:
		return restored("security group " + name + " is still there")
	case len(ours) > 0:
		return restored("security group " + name + " still has " + ruleTexts(ours))
	}
	return restored("")
}
