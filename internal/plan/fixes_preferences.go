package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// preferences answers for session preferences that the account cannot meet.
func (m *maker) preferences(h *member) ([]want, string) {
	at := h.Ref().Place()
	r := m.world.region(at)
	if !r.Preferences.Known || !r.Preferences.Value.Exists {
		return nil, "the session preferences are not known"
	}
	if _, _, err := relaxed(r.Preferences.Value.Content, nil); err != nil {
		return nil, clip(err.Error())
	}
	return []want{{kind: SessionPreferences, key: "session-preferences-" + at.Account + "-" + at.Region}}, ""
}

// relaxed takes out of the preferences what the findings say cannot be met, and
// tells in lines what went and what came. All else stays as it is.
func relaxed(content string, codes []string) (document string, lines [2][]string, err error) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(content), &doc); err != nil {
		return "", lines, fmt.Errorf("the session preferences are not understood: %w", err)
	}
	in, ok := doc["inputs"].(map[string]any)
	if !ok {
		return "", lines, fmt.Errorf("the session preferences have no inputs")
	}
	set := func(name string, value any) {
		before, ok := in[name]
		if !ok {
			before = "(default)"
		}
		in[name] = value
		lines[0] = append(lines[0], clip(fmt.Sprintf("%s: %v", name, before)))
		lines[1] = append(lines[1], fmt.Sprintf("%s: %v", name, value))
	}
	done := map[string]bool{}
	for _, code := range codes {
		name, value := "runAsEnabled", any(false)
		switch code {
		case "log-group-unverifiable":
			name = "cloudWatchEncryptionEnabled"
		case "bucket-unverifiable":
			name = "s3EncryptionEnabled"
		case "kms-key-unusable":
			name, value = "kmsKeyId", ""
		}
		if !done[name] {
			done[name] = true
			set(name, value)
		}
	}
	text, err := json.Marshal(doc)
	return string(text), lines, err
}

// Unmet says which of the inputs that the change sets preferences have
// otherwise; empty: none, whatever else they say.
func (c *PreferencesChange) Unmet(content string) string {
	var docs [3]struct {
		Inputs map[string]any `json:"inputs"`
	}
	for i, text := range []string{c.Before, c.Document, content} {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &docs[i]); err != nil {
			return "the document is not understood"
		}
	}
	// What stands for nothing is as good as nothing, but for what is on unless it
	// is turned off. Source: AWS Systems Manager User Guide, session-manager-schema.
	said := func(name string, v any) string {
		switch on := strings.HasSuffix(name, "EncryptionEnabled"); {
		case v == nil && on:
			return "true"
		case v == nil, v == false && !on:
			return ""
		}
		return fmt.Sprint(v)
	}
	was, want, now := docs[0].Inputs, docs[1].Inputs, docs[2].Inputs
	for _, name := range sortedKeys(want) {
		if said(name, was[name]) != said(name, want[name]) && said(name, now[name]) != said(name, want[name]) {
			return clip(fmt.Sprintf("%s is %v", name, now[name]))
		}
	}
	return ""
}

func (m *maker) preferencesStep(f *sharedFix, s *Step) {
	before := m.world.region(f.at).Preferences.Value.Content
	text, lines, err := relaxed(before, f.codes)
	if err != nil {
		panic("plan: " + err.Error()) // preferences read it already
	}
	s.Preferences = &PreferencesChange{Before: before, Document: text}
	s.Title = fmt.Sprintf("Change %s in account %s, %s", fleet.PreferencesName, f.at.Account, f.at.Region)
	s.Before, s.After = lines[0], lines[1]
	s.Warning = "it weakens what the preferences ask of every session"
	all := slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return h.Ref().Place() != f.at || gone(h.Host) })
	s.Blast = beyond("the preferences hold for every session in the account and Region, with", all)
}
