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
)

// roleStep gives a role an inline policy and makes the role first where the
// step may: ExtendRole and TimerRole.
type roleStep struct{ roles Roles }

type roleImage struct {
	Exists bool   `json:"exists"`
	Policy string `json:"policy,omitempty"` // document of the policy of that name; empty: there is none
	Made   string `json:"made,omitempty"`   // token of the step that made the role; empty: others did
}

// shared tells whether the step found the timers' role that an earlier plan made,
// which leaves it to the last plan that uses it.
func (i roleImage) shared(s plan.Step) bool {
	return s.Kind == plan.TimerRole && i.Made != "" && i.Policy == ""
}

// look reads the role; foreign says what is there that is not the step's.
func (k roleStep) look(ctx context.Context, s plan.Step) (image roleImage, role fleet.RoleState, err error) {
	c := s.Role
	if c == nil {
		return image, role, malformed(s)
	}
	role, err = k.roles.Role(ctx, s.At, c.Name)
	if errors.Is(err, fleet.ErrNotFound) {
		return image, role, nil
	}
	if err != nil {
		return image, role, fmt.Errorf("read role %s: %w", c.Name, err)
	}
	image.Exists, image.Made = true, role.Tags[fleet.TagStep]
	image.Policy, err = k.roles.RolePolicy(ctx, s.At, c.Name, c.Policy)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return image, role, fmt.Errorf("read policy %s of role %s: %w", c.Policy, c.Name, err)
	}
	return image, role, nil
}

// check refuses to take what others have made for the step's. The role itself
// may be an earlier plan's: each plan's policy has its own name beside the others.
func (k roleStep) check(s plan.Step, image roleImage, role fleet.RoleState) error {
	c := s.Role
	switch {
	case !image.Exists && c.Trust == "":
		return fmt.Errorf("role %s is gone: %w", c.Name, ErrStale)
	case image.Exists && c.Trust != "" && !sameJSON(role.Trust, c.Trust):
		return fmt.Errorf("a role %s is there and trusts others than the plan wants; delete or rename it: %w", c.Name, ErrForeign)
	case image.Policy != "" && !sameJSON(image.Policy, c.Document) && role.Tags[fleet.TagStep] == "":
		return fmt.Errorf("role %s has a policy %s with another text; delete or rename it: %w", c.Name, c.Policy, ErrForeign)
	}
	return nil
}

// Observe holds if the role has the step's policy or, where it is left to
// others, may do what the policy would let it do, by whatever policies.
func (k roleStep) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	image, role, err := k.look(ctx, s)
	if err == nil && s.Handed {
		return k.elsewhere(ctx, s, image)
	}
	if err == nil {
		err = k.check(s, image, role)
	}
	if err != nil {
		return Observation{}, err
	}
	switch {
	case !image.Exists:
		return observed(false, image, "there is no role %s", s.Role.Name)
	case !sameJSON(image.Policy, s.Role.Document):
		return observed(false, image, "role %s lacks policy %s, or has that of another plan", s.Role.Name, s.Role.Policy)
	}
	return observed(true, image, "role %s has policy %s", s.Role.Name, s.Role.Policy)
}

func (k roleStep) elsewhere(ctx context.Context, s plan.Step, image roleImage) (Observation, error) {
	granted, why, err := roleGrants(ctx, k.roles, s.At, s.Role.Name, func(r fleet.Role, p []fleet.Policy) (fleet.Truth, string) {
		if s.Kind == plan.TimerRole && !strings.HasSuffix(r.ARN, ":role/"+s.Role.Name) {
			return fleet.TruthNo, fmt.Sprintf("role %s has a path: timers assume %s", r.ARN, roleARN(s.At, s.Role.Name))
		}
		return s.Role.GrantedBy(r, p, s.At, s.Hosts)
	})
	if err != nil {
		return Observation{}, err
	}
	return elsewhere(granted, why, image, "role %s may do what policy %s would let it do", s.Role.Name, s.Role.Policy)
}

func (k roleStep) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	return done(settle(ctx, visibleWithin, func() (string, error) {
		image, role, err := k.look(ctx, s)
		if err == nil {
			err = k.check(s, image, role)
		}
		if err != nil {
			return "", err
		}
		c := s.Role
		if !image.Exists {
			err := k.roles.CreateRole(ctx, s.At, fleet.RoleState{Name: c.Name, Path: "/", Trust: c.Trust, Tags: stepTags(nil, token)})
			if err := answered(err, fleet.ErrExists); err != nil {
				return "", fmt.Errorf("create role %s: %w", c.Name, err)
			}
			return "role " + c.Name, nil
		}
		if !sameJSON(image.Policy, c.Document) {
			if err := k.roles.PutRolePolicy(ctx, s.At, c.Name, c.Policy, c.Document); err != nil {
				return "", fmt.Errorf("give role %s the policy %s: %w", c.Name, c.Policy, err)
			}
			return "policy " + c.Policy, nil
		}
		return "", nil
	}))
}

func (k roleStep) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	was, err := imageOf[roleImage](before)
	if err != nil {
		return err
	}
	if s.Role == nil {
		return malformed(s)
	}
	used := false
	err = unsettle(ctx, visibleWithin, after, func() (string, error) {
		image, _, err := k.look(ctx, s)
		if err != nil || !image.Exists {
			return "", err
		}
		c := s.Role
		switch {
		case image.Policy == was.Policy:
		case !sameJSON(image.Policy, c.Document):
			return "", fmt.Errorf("policy %s of role %s has another text than the step gave it: %w", c.Policy, c.Name, ErrForeign)
		case was.Policy != "":
			if err := k.roles.PutRolePolicy(ctx, s.At, c.Name, c.Policy, was.Policy); err != nil {
				return "", fmt.Errorf("give role %s its former policy %s: %w", c.Name, c.Policy, err)
			}
			return "policy " + c.Policy, nil
		default:
			if err := answered(k.roles.DeleteRolePolicy(ctx, s.At, c.Name, c.Policy), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("delete policy %s of role %s: %w", c.Policy, c.Name, err)
			}
			return "policy " + c.Policy, nil
		}
		if !image.goes(s, was, token) {
			return "", nil
		}
		if others, err := k.others(ctx, s); err != nil || len(others) > 0 {
			return "", err
		}
		used, err = deleteRole(ctx, k.roles, s.At, c.Name)
		return "role " + c.Name, err
	})
	return stillUsed(err, used, "role "+s.Role.Name)
}

// goes tells whether the role goes with the last policy of a plan.
func (i roleImage) goes(s plan.Step, was roleImage, token string) bool {
	if was.Exists && !was.shared(s) {
		return false
	}
	return goes(was.Exists, was.Made, i.Made, token)
}

// others are the policies by which other plans use the role.
func (k roleStep) others(ctx context.Context, s plan.Step) ([]string, error) {
	names, err := k.roles.RolePolicies(ctx, s.At, s.Role.Name)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return nil, fmt.Errorf("list the policies of role %s: %w", s.Role.Name, err)
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return n == s.Role.Policy || !strings.HasPrefix(n, s.Role.Name+"-")
	}), nil
}

// deleteRole deletes a role that a step made. IAM may know of its policies for
// a while after they are gone; used tells that it refused for something like that.
func deleteRole(ctx context.Context, roles Roles, at fleet.Place, name string) (used bool, err error) {
	err = roles.DeleteRole(ctx, at, name)
	if errors.Is(err, fleet.ErrInUse) {
		return true, nil
	}
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return false, fmt.Errorf("delete role %s: %w", name, err)
	}
	return false, nil
}

// stillUsed says why something that a plan made does not go away.
func stillUsed(err error, used bool, what string) error {
	if err != nil && used {
		return fmt.Errorf("%s was made by a plan and is used for more by now (%w): %w", what, err, ErrForeign)
	}
	return err
}

func (k roleStep) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	was, err := imageOf[roleImage](before)
	if err != nil {
		return Observation{}, err
	}
	image, _, err := k.look(ctx, s)
	switch {
	case err != nil:
		return Observation{}, err
	case !image.Exists && was.Exists && !was.shared(s):
		return restored("role " + s.Role.Name + " is gone")
	case image.Policy != was.Policy:
		return restored("policy " + s.Role.Policy + " of role " + s.Role.Name + " is not as before")
	case image.Exists && image.goes(s, was, token):
		others, err := k.others(ctx, s)
		if err != nil {
			return Observation{}, err
		}
		if len(others) > 0 {
			o, err := restored("")
			o.Detail = "role " + s.Role.Name + " stays for other plans: policy " + others[0]
			return o, err
		}
		return restored("role " + s.Role.Name + " is still there")
	}
	return restored("")
}
