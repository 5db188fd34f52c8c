package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// attachProfile gives an instance without instance profile one. It never
// replaces a profile.
type attachProfile struct {
	profiles InstanceProfiles
	roles    Roles
}

type profileImage struct {
	Association fleet.ProfileAssociation `json:"association,omitzero"`
	Profile     bool                     `json:"profile"` // exists
	Role        bool                     `json:"role"`    // exists; not looked for without Create

	// Tokens of the steps that made the two; empty: others did, or nobody.
	ProfileMade string `json:"profileMade,omitempty"`
	RoleMade    string `json:"roleMade,omitempty"`
}

// goes reports whether the last step that uses a thing takes it away: the step that
// made what is there now is this one, or the one that had made it before this began.
func goes(existed bool, made, now, token string) bool {
	if existed {
		return made != "" && now == made
	}
	return now == token
}

func (k attachProfile) instance(s plan.Step) (string, error) {
	if s.Profile == nil || len(s.Hosts) != 1 {
		return "", malformed(s)
	}
	return s.Hosts[0].ID, nil
}

// association is that of the instance; none is no error.
func (k attachProfile) association(ctx context.Context, s plan.Step, instance string) (fleet.ProfileAssociation, error) {
	a, err := k.profiles.Association(ctx, s.At, instance)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return a, fmt.Errorf("read the instance profile of %s: %w", instance, err)
	}
	return a, nil
}

func (k attachProfile) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	instance, err := k.instance(s)
	if err != nil {
		return Observation{}, err
	}
	var image profileImage
	if image.Association, err = k.association(ctx, s, instance); err != nil {
		return Observation{}, err
	}
	if s.Handed {
		return k.elsewhere(ctx, s, image)
	}
	if got := image.Association.Profile; got != "" && got != s.Profile.Name {
		return Observation{}, fmt.Errorf("%s has the instance profile %s by now: %w", instance, got, ErrStale)
	}
	p, err := k.profiles.Profile(ctx, s.At, s.Profile.Name)
	image.Profile, image.ProfileMade = err == nil, p.Tags[fleet.TagStep]
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("read instance profile %s: %w", s.Profile.Name, err)
	}
	if !image.Profile && !s.Profile.Create {
		return Observation{}, fmt.Errorf("instance profile %s is gone: %w", s.Profile.Name, ErrStale)
	}
	if s.Profile.Create {
		r, err := k.roles.Role(ctx, s.At, s.Profile.Name)
		image.Role, image.RoleMade = err == nil, r.Tags[fleet.TagStep]
		if err := answered(err, fleet.ErrNotFound); err != nil {
			return Observation{}, fmt.Errorf("read role %s: %w", s.Profile.Name, err)
		}
	}
	if image.Association.Profile == "" {
		return observed(false, image, "%s has no instance profile", instance)
	}
	return observed(true, image, "%s has the instance profile %s", instance, image.Association.Profile)
}

// elsewhere holds if the instance has a profile whose role serves sessions,
// whatever the two are called.
func (k attachProfile) elsewhere(ctx context.Context, s plan.Step, image profileImage) (Observation, error) {
	host, got := s.Hosts[0], image.Association.Profile
	if got == "" {
		return observed(false, image, "%s has no instance profile", host.ID)
	}
	p, err := k.profiles.Profile(ctx, s.At, got)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return Observation{}, fmt.Errorf("read instance profile %s: %w", got, err)
	}
	if p.Role == "" {
		return observed(false, image, "instance profile %s of %s holds no role", got, host.ID)
	}
	granted, why, err := roleGrants(ctx, k.roles, s.At, p.Role, func(r fleet.Role, policies []fleet.Policy) (fleet.Truth, string) {
		return s.Profile.GrantedBy(r, policies, host)
	})
	if err != nil {
		return Observation{}, err
	}
	return elsewhere(granted, why, image, "%s has the instance profile %s, whose role %s serves sessions", host.ID, got, p.Role)
}

func (k attachProfile) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	instance, err := k.instance(s)
	if err != nil {
		return nil, err
	}
	if s.Profile.Create {
		if err := k.create(ctx, s, token); err != nil {
			return nil, err
		}
	}
	return done(settle(ctx, 2*visibleWithin, func() (string, error) {
		a, err := k.association(ctx, s, instance)
		switch {
		case err != nil, a.Profile == s.Profile.Name:
			return "", err
		case a.Profile != "":
			return "", fmt.Errorf("%s has the instance profile %s by now: %w", instance, a.Profile, ErrStale)
		}
		err = k.profiles.Associate(ctx, s.At, instance, s.Profile.Name)
		if s.Profile.Create && errors.Is(err, fleet.ErrNotFound) {
			err = nil // EC2 learns of new profiles later than IAM
		}
		if err := answered(err, fleet.ErrExists); err != nil {
			return "", fmt.Errorf("attach instance profile %s to %s: %w", s.Profile.Name, instance, err)
		}
		return "instance profile of " + instance, nil
	}))
}

// create makes the role and the profile of the same name.
func (k attachProfile) create(ctx context.Context, s plan.Step, token string) error {
	name := s.Profile.Name
	role := roleStep{roles: k.roles}
	made := s
	made.Role = &plan.RoleChange{Name: name, Trust: plan.TrustEC2, Policy: plan.ProfilePolicy, Document: s.Profile.Policy}
	if _, err := role.Apply(ctx, made, nil, token); err != nil {
		return err
	}
	return settle(ctx, visibleWithin, func() (string, error) {
		p, err := k.profiles.Profile(ctx, s.At, name)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			if err := answered(k.profiles.CreateProfile(ctx, s.At, name, token), fleet.ErrExists); err != nil {
				return "", fmt.Errorf("create instance profile %s: %w", name, err)
			}
			return "instance profile " + name, nil
		case err != nil:
			return "", fmt.Errorf("read instance profile %s: %w", name, err)
		case p.Role == name:
			return "", nil
		case p.Role != "":
			return "", fmt.Errorf("instance profile %s holds the role %s: %w", name, p.Role, ErrForeign)
		}
		if err := answered(k.profiles.SetProfileRole(ctx, s.At, name, name), fleet.ErrExists); err != nil {
			return "", fmt.Errorf("put role %s into the instance profile: %w", name, err)
		}
		return "role of instance profile " + name, nil
	})
}

func (k attachProfile) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	was, err := imageOf[profileImage](before)
	if err != nil {
		return err
	}
	instance, err := k.instance(s)
	if err != nil {
		return err
	}
	if was.Association.Profile != "" {
		return nil // others attached it
	}
	err = unsettle(ctx, 2*visibleWithin, after, func() (string, error) {
		a, err := k.association(ctx, s, instance)
		switch {
		case err != nil, a.Profile == "":
			return "", err
		case a.Profile != s.Profile.Name:
			return "", fmt.Errorf("%s has the instance profile %s by now: %w", instance, a.Profile, ErrForeign)
		}
		if err := answered(k.profiles.Disassociate(ctx, s.At, a.ID), fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("detach instance profile %s from %s: %w", a.Profile, instance, err)
		}
		return "instance profile of " + instance, nil
	})
	if err != nil || !s.Profile.Create {
		return err
	}
	return k.remove(ctx, s, was, after, token)
}

// remove deletes the profile and the role that a step made, unless other
// instances of the account use them by now: IAM would delete them under their feet.
func (k attachProfile) remove(ctx context.Context, s plan.Step, was profileImage, after json.RawMessage, token string) error {
	// The steps of other hosts may be giving it back at this moment.
	users := 0
	err := settle(ctx, visibleWithin, func() (string, error) {
		var err error
		if users, err = k.profiles.Associated(ctx, s.At, s.Profile.Name); err != nil {
			return "", fmt.Errorf("count the users of instance profile %s: %w", s.Profile.Name, err)
		}
		if users > 0 {
			return "other instances use it", nil
		}
		return "", nil
	})
	if err != nil {
		if users > 0 && ctx.Err() == nil {
			return nil
		}
		return err
	}
	err = unsettle(ctx, visibleWithin, after, func() (string, error) {
		p, err := k.profiles.Profile(ctx, s.At, s.Profile.Name)
		if errors.Is(err, fleet.ErrNotFound) || err == nil && !goes(was.Profile, was.ProfileMade, p.Tags[fleet.TagStep], token) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("read instance profile %s: %w", s.Profile.Name, err)
		}
		if err := answered(k.profiles.DeleteProfile(ctx, s.At, p), fleet.ErrNotFound); err != nil {
			return "", fmt.Errorf("delete instance profile %s: %w", s.Profile.Name, err)
		}
		return "instance profile " + s.Profile.Name, nil
	})
	if err != nil {
		return err
	}
	r, err := k.roles.Role(ctx, s.At, s.Profile.Name)
	if errors.Is(err, fleet.ErrNotFound) || err == nil && !goes(was.Role, was.RoleMade, r.Tags[fleet.TagStep], token) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read role %s: %w", s.Profile.Name, err)
	}
	made := s
	made.Role = &plan.RoleChange{Name: s.Profile.Name, Trust: plan.TrustEC2, Policy: plan.ProfilePolicy, Document: s.Profile.Policy}
	raw, err := json.Marshal(roleImage{})
	if err != nil {
		return err
	}
	return roleStep{roles: k.roles}.Undo(ctx, made, raw, after, r.Tags[fleet.TagStep])
}

func (k attachProfile) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	was, err := imageOf[profileImage](before)
	if err != nil {
		return Observation{}, err
	}
	instance, err := k.instance(s)
	if err != nil {
		return Observation{}, err
	}
	a, err := k.association(ctx, s, instance)
	if err != nil {
		return Observation{}, err
	}
	if a.Profile != was.Association.Profile {
		return restored(instance + " has the instance profile " + a.Profile)
	}
	if a.Profile != "" || !s.Profile.Create {
		return restored("")
	}
	users, err := k.profiles.Associated(ctx, s.At, s.Profile.Name)
	if err != nil {
		return Observation{}, fmt.Errorf("count the users of instance profile %s: %w", s.Profile.Name, err)
	}
	if users > 0 {
		return restored("") // others need what was made by now
	}
	p, err := k.profiles.Profile(ctx, s.At, s.Profile.Name)
	switch {
	case err != nil && !errors.Is(err, fleet.ErrNotFound):
		return Observation{}, fmt.Errorf("read instance profile %s: %w", s.Profile.Name, err)
	case err == nil && goes(was.Profile, was.ProfileMade, p.Tags[fleet.TagStep], token):
		return restored("instance profile " + s.Profile.Name + " is still there")
	}
	r, err := k.roles.Role(ctx, s.At, s.Profile.Name)
	switch {
	case err != nil && !errors.Is(err, fleet.ErrNotFound):
		return Observation{}, fmt.Errorf("read role %s: %w", s.Profile.Name, err)
	case err == nil && goes(was.Role, was.RoleMade, r.Tags[fleet.TagStep], token):
		return restored("role " + s.Profile.Name + " is still there")
	}
	return restored("")
}
