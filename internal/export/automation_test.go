package export_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// schema lists the fields of a runbook's parts.
type schema map[string]any

// check compares the fields of a part with those that are listed.
func (s schema) check(t *testing.T, part string, v any) map[string]any {
	t.Helper()
	fields, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is a %T", part, v)
	}
	listed := map[string]bool{}
	for _, l := range s[part].([]any) {
		name, must := strings.CutSuffix(l.(string), "*")
		listed[name] = true
		if _, there := fields[name]; must && !there {
			t.Errorf("a %s lacks %s", part, name)
		}
	}
	for name := range fields {
		if !listed[name] {
			t.Errorf("a %s has a field %s, which AWS does not list", part, name)
		}
	}
	return fields
}

// Runbooks have the fields that AWS lists, all hosts of the plan once, and no
// more targets in a step than a target takes.
func TestRunbooksFitTheSchema(t *testing.T) {
	text, err := os.ReadFile("testdata/runbook.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	in := everything(t, hostile)
	const many = 1234
	var hosts []fleet.HostRef
	for i := range many {
		hosts = append(hosts, fleet.HostRef{Account: account, Region: "eu-west-1", ID: fmt.Sprintf("i-%017x", i)})
	}
	w := &in.Plan.Waves[0]
	for _, action := range []plan.AgentAction{plan.UpgradeAgent, plan.EnableAgent, plan.RestartAgent} {
		for _, h := range hosts {
			w.Steps = append(w.Steps, plan.Step{ID: "agent-" + string(action) + h.ID, Kind: plan.Agent, At: h.Place(), Hosts: []fleet.HostRef{h}, Agent: &plan.AgentChange{Action: action}})
		}
	}
	files, err := export.Automation(in)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	runbooks, name := 0, regexp.MustCompile(`^[a-zA-Z0-9_.\-]{3,128}$`)
	for _, f := range files {
		if !strings.HasSuffix(f.Name, ".yaml") {
			if out, err := exec.Command("/bin/sh", "-n", "-c", f.Text).CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", f.Name, err, out)
			}
			continue
		}
		runbooks++
		if !name.MatchString(strings.TrimSuffix(f.Name, ".yaml")) {
			t.Errorf("%s is no name of a document", f.Name)
		}
		if len(f.Text) > 64<<10 {
			t.Errorf("%s has %d bytes; a document takes 64 KB", f.Name, len(f.Text))
		}
		var v any
		if err := yaml.Unmarshal([]byte(f.Text), &v); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		action := strings.Split(f.Name, "-")[2]
		seen[action] += checkRunbook(t, s, v)
	}
	// The fixture has one more host whose agent is upgraded, to another version.
	if want := map[string]int{"upgrade": many + 1, "enable": many, "restart": many, "prove": 1}; !cmp.Equal(want, seen) {
		t.Errorf("hosts (-plan +runbooks):\n%s", cmp.Diff(want, seen))
	}
	if runbooks < 5 {
		t.Errorf("%d runbooks", runbooks)
	}
}

func checkRunbook(t *testing.T, s schema, v any) (hosts int) {
	t.Helper()
	doc := s.check(t, "document", v)
	if doc["schemaVersion"] != "0.3" {
		t.Errorf("schema version %v", doc["schemaVersion"])
	}
	parameters := doc["parameters"].(map[string]any)
	for name, p := range parameters {
		fields := s.check(t, "parameter", p)
		if allowed, ok := fields["allowedPattern"].(string); ok && !regexp.MustCompile(allowed).MatchString(fields["default"].(string)) {
			t.Errorf("parameter %s does not allow its own default: %v", name, fields)
		}
	}
	for _, used := range regexp.MustCompile(`{{ *(\w+) *}}`).FindAllStringSubmatch(fmt.Sprint(v), -1) {
		if parameters[used[1]] == nil {
			t.Errorf("parameter %s is used and not there", used[1])
		}
	}
	names, ids := map[any]bool{}, map[any]bool{}
	steps := doc["mainSteps"].([]any)
	for i, x := range steps {
		step := s.check(t, "step", x)
		if names[step["name"]] {
			t.Errorf("two steps are called %v", step["name"])
		}
		names[step["name"]] = true
		if end := step["isEnd"] == true; end != (i == len(steps)-1) || step["action"] != "aws:runCommand" {
			t.Errorf("step %v of %d: %v", i, len(steps), step)
		}
		inputs := s.check(t, "inputs", step["inputs"])
		if inputs["MaxConcurrency"] == nil || inputs["MaxErrors"] == nil {
			t.Errorf("step %v has no rate control", step["name"])
		}
		for _, y := range inputs["Targets"].([]any) {
			values := s.check(t, "target", y)["Values"].([]any)
			if len(values) > 50 {
				t.Errorf("step %v has %d targets, more than a target takes", step["name"], len(values))
			}
			for _, id := range values {
				if ids[id] {
					t.Errorf("%v is there twice", id)
				}
				ids[id] = true
			}
		}
	}
	return len(ids)
}

// Only what reaches hosts whose agent answers is in runbooks.
func TestRunbooksInstallNothing(t *testing.T) {
	files, err := export.Automation(everything(t, "text"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	want := []string{
		"migrate-0123456789ab-upgrade-3.3.40.0-111122223333-eu-west-1.yaml", "migrate-0123456789ab-upgrade-3.3.40.0-111122223333-eu-west-1.sh",
		"migrate-0123456789ab-prove-111122223333-eu-west-1.yaml", "migrate-0123456789ab-prove-111122223333-eu-west-1.sh",
	}
	if !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}
