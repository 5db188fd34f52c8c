package cutover

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// defaultHost sets Default Host Management Configuration's role.
type defaultHost struct {
	settings Settings
	roles    Roles
}

type settingImage struct {
	Value string `json:"value"`
	Role  bool   `json:"role"` // exists
}

// role takes the setting's value apart: "service-role/NAME".
func (k defaultHost) role(s plan.Step) fleet.RoleState {
	at := strings.LastIndex(s.Setting.Value, "/") + 1
	return fleet.RoleState{Name: s.Setting.Value[at:], Path: "/" + s.Setting.Value[:at], Trust: plan.TrustSSM}
}

func (k defaultHost) policyARN(s plan.Step) string {
	return "arn:" + fleet.Partition(s.At.Region) + ":iam::aws:policy/" + plan.DefaultHostPolicy
}

func (k defaultHost) look(ctx context.Context, s plan.Step) (image settingImage, role fleet.RoleState, err error) {
	if s.Setting == nil || s.Setting.Value == "" {
		return image, role, malformed(s)
	}
	if image.Value, err = k.settings.DefaultRole(ctx, s.At); err != nil {
		return image, role, fmt.Errorf("read Default Host Management Configuration: %w", err)
	}
	if s.Setting.CreateRole {
		role, err = k.roles.Role(ctx, s.At, k.role(s).Name)
		image.Role = err == nil
		if err := answered(err, fleet.ErrNotFound); err != nil {
			return image, role, fmt.Errorf("read role %s: %w", k.role(s).Name, err)
		}
	}
	return image, role, nil
}

func (k defaultHost) check(s plan.Step, image settingImage) error {
	if image.Value != s.Setting.Value && image.Value != s.Setting.Before {
		return fmt.Errorf("the Default Host Management Configuration has the role %q by now: %w", image.Value, ErrStale)
	}
	return nil
}

func (k defaultHost) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	image, _, err := k.look(ctx, s)
	if err == nil && s.Handed {
		return k.elsewhere(ctx, s, image)
	}
	if err == nil {
		err = k.check(s, image)
	}
	if err != nil {
		return Observation{}, err
	}
	holds := image.Value == s.Setting.Value && (image.Role || !s.Setting.CreateRole)
	return observed(holds, image, "Default Host Management Configuration has the role %q", image.Value)
}

// elsewhere holds if a role is set that serves sessions, whatever it is called.
func (k defaultHost) elsewhere(ctx context.Context, s plan.Step, image settingImage) (Observation, error) {
	if image.Value == "" {
		return observed(false, image, "Default Host Management Configuration is off")
	}
	name := image.Value[strings.LastIndex(image.Value, "/")+1:]
	granted, why, err := roleGrants(ctx, k.roles, s.At, name, func(r fleet.Role, p []fleet.Policy) (fleet.Truth, string) {
		return s.Setting.GrantedBy(r, p, s.At, s.Hosts)
	})
	if err != nil {
		return Observation{}, err
	}
	return elsewhere(granted, why, image, "Default Host Management Configuration has the role %q, which serves sessions", image.Value)
}

func (k defaultHost) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	return done(settle(ctx, visibleWithin, func() (string, error) {
		image, role, err := k.look(ctx, s)
		if err == nil {
			err = k.check(s, image)
		}
		if err != nil {
			return "", err
		}
		if s.Setting.CreateRole {
			left, err := k.create(ctx, s, image, role, token)
			if left != "" || err != nil {
				return left, err
			}
		}
		if image.Value == s.Setting.Value {
			return "", nil
		}
		return k.set(ctx, s, s.Setting.Value)
	}))
}

// create makes the role; one that others made is used as it is.
func (k defaultHost) create(ctx context.Context, s plan.Step, image settingImage, role fleet.RoleState, token string) (left string, err error) {
	want := k.role(s)
	if !image.Role {
		want.Tags = stepTags(nil, token)
		if err := answered(k.roles.CreateRole(ctx, s.At, want), fleet.ErrExists); err != nil {
			return "", fmt.Errorf("create role %s: %w", want.Name, err)
		}
		return "role " + want.Name, nil
	}
	if role.Tags[fleet.TagStep] != token {
		return "", nil
	}
	has, err := k.roles.HasPolicy(ctx, s.At, want.Name, k.policyARN(s))
	if err != nil {
		return "", fmt.Errorf("read the policies of role %s: %w", want.Name, err)
	}
	if has {
		return "", nil
	}
	if err := k.roles.AttachPolicy(ctx, s.At, want.Name, k.policyARN(s)); err != nil {
		return "", fmt.Errorf("attach %s to role %s: %w", plan.DefaultHostPolicy, want.Name, err)
	}
	return "policy of role " + want.Name, nil
}

func (k defaultHost) set(ctx context.Context, s plan.Step, value string) (left string, err error) {
	if err := k.settings.SetDefaultRole(ctx, s.At, value); err != nil {
		return "", fmt.Errorf("set Default Host Management Configuration to %q: %w", value, err)
	}
	return "Default Host Management Configuration", nil
}

func (k defaultHost) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	was, err := imageOf[settingImage](before)
	if err != nil {
		return err
	}
	if s.Setting == nil {
		return malformed(s)
	}
	used := false
	err = unsettle(ctx, visibleWithin, after, func() (string, error) {
		image, role, err := k.look(ctx, s)
		switch {
		case err != nil:
			return "", err
		case image.Value != was.Value && image.Value != s.Setting.Value:
			return "", fmt.Errorf("the Default Host Management Configuration has the role %q by now: %w", image.Value, ErrForeign)
		case image.Value != was.Value:
			return k.set(ctx, s, was.Value)
		case !image.Role || was.Role || role.Tags[fleet.TagStep] != token:
			return "", nil
		}
		if err := answered(k.roles.DetachPolicy(ctx, s.At, role.Name, k.policyARN(s)), fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("detach %s from role %s: %w", plan.DefaultHostPolicy, role.Name, err)
		}
		used, err = deleteRole(ctx, k.roles, s.At, role.Name)
		return "role " + role.Name, err
	})
	return stillUsed(err, used, "role "+k.role(s).Name)
}

func (k defaultHost) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	was, err := imageOf[settingImage](before)
	if err != nil {
		return Observation{}, err
	}
	image, role, err := k.look(ctx, s)
	switch {
	case err != nil:
		return Observation{}, err
	case image.Value != was.Value:
		return restored(fmt.Sprintf("Default Host Management Configuration has the role %q, before it had %q", image.Value, was.Value))
	case image.Role && !was.Role && role.Tags[fleet.TagStep] == token:
		return restored("role " + role.Name + " is still there")
	}
	return restored("")
}
