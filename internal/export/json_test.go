package export_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// documents lists an export's documents by file, with their calls.
func documents(t *testing.T, in export.Input) (texts, call map[string]string) {
	t.Helper()
	files, err := export.JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	texts, call = map[string]string{}, map[string]string{}
	for _, f := range files {
		texts[f.Name] = f.Text
	}
	var index struct {
		Steps []struct {
			Documents []struct{ File, Call string }
		}
	}
	if err := json.Unmarshal([]byte(texts["index.json"]), &index); err != nil {
		t.Fatal(err)
	}
	for _, s := range index.Steps {
		for _, d := range s.Documents {
			call[d.File] = d.Call
		}
	}
	return texts, call
}

func preferences(content string) *access.Set {
	return &access.Set{Documents: []access.Document{{Name: fleet.PreferencesName, Type: "Session", At: fleet.Place{Account: account, Region: "eu-west-1"}, Content: content}}}
}

// Preferences that are there are not created; where a step of the plan changes
// them, they are as the step wants them in every format.
func TestPreferencesOfTheAccessSetUp(t *testing.T) {
	const content, file = `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"59"}}`, account + "/eu-west-1/ssm/SSM-SessionManagerRunShell.json"
	without := func() export.Input {
		in := everything(t, "text")
		w := &in.Plan.Waves[0]
		w.Steps = slices.DeleteFunc(w.Steps, func(s plan.Step) bool { return s.Kind == plan.SessionPreferences })
		in.Access = preferences(content)
		return in
	}
	in := without()
	if texts, call := documents(t, in); call[file] != "" || !sameJSON(t, texts[file], content) {
		t.Errorf("preferences that are there: call %q, %s", call[file], texts[file])
	}
	in = without()
	in.Snapshot.Regions[0].Preferences.Value.Exists = false
	if texts, call := documents(t, in); call[file] != "ssm create-document" || !strings.Contains(texts[file], `"DocumentType": "Session"`) {
		t.Errorf("preferences that are not there: call %q, %s", call[file], texts[file])
	}

	in = everything(t, "text")
	in.Access = preferences(content)
	for name, write := range map[string]func(export.Input) ([]export.File, error){"terraform": export.Terraform, "json": export.JSON, "cli": export.CLI} {
		files, err := write(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.Contains(f.Text, "idleSessionTimeout") {
				t.Errorf("%s: %s undoes the step that changes the preferences", name, f.Name)
			}
		}
	}
}
