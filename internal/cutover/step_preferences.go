package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// sessionPreferences sets the content of Session Manager's preferences document.
type sessionPreferences struct{ documents Documents }

// documentImage is the default version; without a number, there is no document.
type documentImage struct {
	Number  string `json:"number,omitempty"`
	Content string `json:"content,omitempty"`
}

func (k sessionPreferences) look(ctx context.Context, s plan.Step) (documentImage, error) {
	if s.Preferences == nil {
		return documentImage{}, malformed(s)
	}
	d, err := k.documents.Document(ctx, s.At, fleet.PreferencesName, "")
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return documentImage{}, fmt.Errorf("read %s: %w", fleet.PreferencesName, err)
	}
	return documentImage{Number: d.Number, Content: d.Content}, nil
}

func (k sessionPreferences) check(s plan.Step, now documentImage) error {
	c := s.Preferences
	switch {
	case now.Number != "" && sameJSON(now.Content, c.Document):
		return nil
	case now.Number == "" && c.Before == "", now.Number != "" && c.Before != "" && sameJSON(now.Content, c.Before):
		return nil
	}
	return fmt.Errorf("%s is not as the plan found it: %w", fleet.PreferencesName, ErrStale)
}

func (k sessionPreferences) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	now, err := k.look(ctx, s)
	if err == nil && s.Handed {
		missing := s.Preferences.Unmet(now.Content)
		if now.Number == "" || missing != "" {
			return observed(false, now, "%s: %s", fleet.PreferencesName, cmp.Or(missing, "there is no such document"))
		}
		return observed(true, now, "version %s of %s asks for nothing that the account cannot give", now.Number, fleet.PreferencesName)
	}
	if err == nil {
		err = k.check(s, now)
	}
	if err != nil {
		return Observation{}, err
	}
	switch {
	case now.Number == "":
		return observed(false, now, "there is no document %s", fleet.PreferencesName)
	case !sameJSON(now.Content, s.Preferences.Document):
		return observed(false, now, "version %s of %s says otherwise", now.Number, fleet.PreferencesName)
	}
	return observed(true, now, "version %s of %s says so", now.Number, fleet.PreferencesName)
}

func (k sessionPreferences) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	return done(settle(ctx, visibleWithin, func() (string, error) {
		now, err := k.look(ctx, s)
		if err == nil {
			err = k.check(s, now)
		}
		switch {
		case err != nil:
			return "", err
		case now.Number == "":
			err := k.documents.CreateDocument(ctx, s.At, fleet.PreferencesName, s.Preferences.Document, token)
			if err := answered(err, fleet.ErrExists); err != nil {
				return "", fmt.Errorf("create %s: %w", fleet.PreferencesName, err)
			}
			return "document " + fleet.PreferencesName, nil
		case sameJSON(now.Content, s.Preferences.Document):
			return "", nil
		}
		return k.makeDefault(ctx, s, s.Preferences.Document)
	}))
}

// makeDefault makes a content the default version: that of the newest version
// that says exactly so, or of a new one.
func (k sessionPreferences) makeDefault(ctx context.Context, s plan.Step, content string) (left string, err error) {
	err = k.documents.AddDocumentVersion(ctx, s.At, fleet.PreferencesName, content)
	if err := answered(err, fleet.ErrExists); err != nil {
		return "", fmt.Errorf("add a version to %s: %w", fleet.PreferencesName, err)
	}
	versions, err := k.documents.DocumentVersions(ctx, s.At, fleet.PreferencesName)
	if err != nil {
		return "", fmt.Errorf("list the versions of %s: %w", fleet.PreferencesName, err)
	}
	for _, v := range versions {
		d, err := k.documents.Document(ctx, s.At, fleet.PreferencesName, v.Number)
		if err != nil {
			return "", fmt.Errorf("read version %s of %s: %w", v.Number, fleet.PreferencesName, err)
		}
		if d.Content == content {
			return k.setDefault(ctx, s, v.Number)
		}
	}
	return "a new version of " + fleet.PreferencesName, nil
}

func (k sessionPreferences) setDefault(ctx context.Context, s plan.Step, number string) (left string, err error) {
	if err := k.documents.SetDefaultVersion(ctx, s.At, fleet.PreferencesName, number); err != nil {
		return "", fmt.Errorf("make version %s of %s the default: %w", number, fleet.PreferencesName, err)
	}
	return "version " + number + " of " + fleet.PreferencesName, nil
}

func (k sessionPreferences) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, _ string) error {
	was, err := imageOf[documentImage](before)
	if err != nil {
		return err
	}
	return unsettle(ctx, visibleWithin, after, func() (string, error) {
		now, err := k.look(ctx, s)
		switch {
		case err != nil, now.Number == "" && was.Number == "":
			return "", err
		case now.Number == "":
			return "", fmt.Errorf("%s is gone: %w", fleet.PreferencesName, ErrForeign)
		case was.Number != "" && now.Content == was.Content:
			return "", nil
		case !sameJSON(now.Content, s.Preferences.Document):
			return "", fmt.Errorf("%s has another content than the step gave it: %w", fleet.PreferencesName, ErrForeign)
		case was.Number == "":
			if err := answered(k.documents.DeleteDocument(ctx, s.At, fleet.PreferencesName), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("delete %s: %w", fleet.PreferencesName, err)
			}
			return "document " + fleet.PreferencesName, nil
		}
		return k.restore(ctx, s, was)
	})
}

// restore makes the version the default that was it, or its content, where
// somebody has deleted it.
func (k sessionPreferences) restore(ctx context.Context, s plan.Step, was documentImage) (left string, err error) {
	old, err := k.documents.Document(ctx, s.At, fleet.PreferencesName, was.Number)
	switch {
	case err == nil && old.Content == was.Content:
		return k.setDefault(ctx, s, was.Number)
	case err == nil, errors.Is(err, fleet.ErrNotFound):
		return k.makeDefault(ctx, s, was.Content)
	}
	return "", fmt.Errorf("read version %s of %s: %w", was.Number, fleet.PreferencesName, err)
}

// Undone compares the default version's content; a version that the step has
// added stays, out of use.
func (k sessionPreferences) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	was, err := imageOf[documentImage](before)
	if err != nil {
		return Observation{}, err
	}
	now, err := k.look(ctx, s)
	switch {
	case err != nil:
		return Observation{}, err
	case now.Number == "" != (was.Number == "") || now.Content != was.Content:
		return restored(fleet.PreferencesName + " is not as before")
	}
	return restored("")
}
