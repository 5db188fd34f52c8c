package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// recoveryTemplate lets bastions start with another recovery key: a new version
// of their launch template differs in it alone.
type recoveryTemplate struct {
	templates Templates
	scaling   ScalingGroups
	// generations of the recovery key; where the step's is the only one in use,
	// it is not undone.
	generations []fleet.RecoveryKey
}

type templateImage struct {
	Version int64  `json:"version"` // the default one
	Key     bool   `json:"key"`     // it has the key
	Starts  string `json:"starts"`  // version from which the Auto Scaling group starts
}

// defaultVersion lets a group start from a template's default version,
// whichever that is.
const defaultVersion = "$Default"

func (k recoveryTemplate) look(ctx context.Context, s plan.Step) (t fleet.BastionTemplate, v templateImage, data string, err error) {
	c := s.Recovery
	if c == nil || c.Name == "" {
		return t, v, "", malformed(s)
	}
	if data, err = plan.BastionData(c.PublicKey); err != nil {
		return t, v, "", err
	}
	t, err = k.templates.Template(ctx, s.At, c.Name)
	if errors.Is(err, fleet.ErrNotFound) {
		return t, v, "", fmt.Errorf("the launch template %s is gone (%w): %w", c.Name, err, ErrStale)
	}
	if err != nil {
		return t, v, "", fmt.Errorf("look for the launch template %s: %w", c.Name, err)
	}
	g, err := k.scaling.ScalingGroup(ctx, s.At, c.Name)
	if errors.Is(err, fleet.ErrNotFound) {
		return t, v, "", fmt.Errorf("the Auto Scaling group %s is gone (%w): %w", c.Name, err, ErrStale)
	}
	if err != nil {
		return t, v, "", fmt.Errorf("look for the Auto Scaling group %s: %w", c.Name, err)
	}
	switch {
	case t.Tags[fleet.TagStep] == "":
		return t, v, "", fmt.Errorf("the launch template %s was made by somebody else: %w", c.Name, ErrForeign)
	case t.Tokens != "required" || dataKey(t.UserData) == "":
		return t, v, "", fmt.Errorf("the launch template %s has been changed: roll back the plan that made it, or put it right: %w", c.Name, ErrForeign)
	case g.Template.ID != t.ID:
		return t, v, "", fmt.Errorf("the Auto Scaling group %s starts from another launch template: %w", c.Name, ErrForeign)
	}
	return t, templateImage{Version: t.Version, Key: t.UserData == data, Starts: g.Template.Version}, data, nil
}

func (v templateImage) holds() bool {
	return v.Key && (v.Starts == defaultVersion || v.Starts == fmt.Sprint(v.Version))
}

// Observe holds if the version from which bastions start has the key.
func (k recoveryTemplate) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	_, v, _, err := k.look(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	return observed(v.holds(), v, "bastions of %s start from version %s; the default one is %d, and has the key: %v", s.Recovery.Name, v.Starts, v.Version, v.Key)
}

// Apply makes the version, then the default of it, and lets the group start from
// the default. Each is one change: at no moment has the group nothing to start from.
func (k recoveryTemplate) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	return done(settle(ctx, 2*visibleWithin, func() (string, error) {
		t, v, data, err := k.look(ctx, s)
		switch {
		case err != nil || v.holds():
			return "", err
		case !v.Key:
			number, err := k.templates.AddTemplateVersion(ctx, s.At, t, data, clientToken(token, data, fmt.Sprint(v.Version)))
			if err != nil {
				return "", fmt.Errorf("add a version to the launch template %s: %w", t.Name, err)
			}
			if err := k.templates.SetTemplateDefault(ctx, s.At, t.Name, number); err != nil {
				return "", fmt.Errorf("make version %d the default of launch template %s: %w", number, t.Name, err)
			}
			return "launch template " + t.Name, nil
		}
		if err := k.scaling.SetTemplateVersion(ctx, s.At, s.Recovery.Name, t.ID, defaultVersion); err != nil {
			return "", fmt.Errorf("let %s start from the default version: %w", s.Recovery.Name, err)
		}
		return "Auto Scaling group " + s.Recovery.Name, nil
	}))
}

// only reports whether a key is the only generation in use.
func (k recoveryTemplate) only(blob string) bool {
	others, retired := 0, 0
	for _, g := range k.generations {
		switch {
		case recovery.Blob(g.Line) == blob:
		case g.Retired.IsZero():
			others++
		default:
			retired++
		}
	}
	return others == 0 && retired > 0
}

// Undo makes the version the default again that it was before, and lets the
// group start from it.
func (k recoveryTemplate) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, _ string) error {
	was, err := imageOf[templateImage](before)
	if err != nil {
		return err
	}
	if s.Recovery != nil && k.only(recovery.Blob(s.Recovery.PublicKey)) {
		return fmt.Errorf("all older recovery keys were retired: bastions of %s go on starting with the new one: %w", s.Recovery.Name, ErrForeign)
	}
	return unsettle(ctx, visibleWithin, after, func() (string, error) {
		t, v, _, err := k.look(ctx, s)
		switch {
		case err != nil:
			return "", err
		case v.Starts != was.Starts:
			if err := k.scaling.SetTemplateVersion(ctx, s.At, s.Recovery.Name, t.ID, was.Starts); err != nil {
				return "", fmt.Errorf("let %s start from version %s again: %w", s.Recovery.Name, was.Starts, err)
			}
			return "Auto Scaling group " + s.Recovery.Name, nil
		case v.Version != was.Version:
			if err := k.templates.SetTemplateDefault(ctx, s.At, t.Name, was.Version); err != nil {
				return "", fmt.Errorf("make version %d the default of launch template %s again: %w", was.Version, t.Name, err)
			}
			return "launch template " + t.Name, nil
		}
		return "", nil
	})
}

// Undone holds if bastions start from the version of before.
func (k recoveryTemplate) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	was, err := imageOf[templateImage](before)
	if err != nil {
		return Observation{}, err
	}
	_, v, _, err := k.look(ctx, s)
	switch {
	case err != nil:
		return Observation{}, err
	case v.Version != was.Version || v.Starts != was.Starts:
		return restored(fmt.Sprintf("bastions of %s start from version %s, the default is %d", s.Recovery.Name, v.Starts, v.Version))
	}
	return restored("")
}
