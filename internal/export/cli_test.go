package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(text)
}

// stub stands for the AWS CLI: it notes its arguments and answers what scripts ask for.
const stub = `#!/bin/sh
for a; do printf '%s\0' "$a"; done >>"$CALLS"
printf '\n\0' >>"$CALLS"
case "$*" in
*get-caller-identity*) echo "$ACCOUNT" ;;
*describe-security-groups*) echo sg-found ;;
*create-security-group*) echo sg-made ;;
*describe-vpc-endpoints*) echo 0 ;;
*get-instance-profile*) echo None ;;
*describe-security-group-rules*) printf 'None\tsg-found\n' ;;
*get-connection-status*) echo "$CONNECTED" ;;
*get-document*"$VERSION"*) cat wanted ;;
*describe-document*) echo 7 ;;
esac
`

type ran struct {
	calls [][]string
	text  string
	code  int
}

// of gives the inputs of the calls of an operation.
func (r ran) of(operation string) []map[string]any {
	var out []map[string]any
	for _, c := range r.calls {
		i := slices.Index(c, "--cli-input-json")
		if c[1] != operation || i < 0 {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(c[i+1]), &v); err != nil {
			panic(operation + ": " + c[i+1])
		}
		out = append(out, v)
	}
	return out
}

func runScript(t *testing.T, in export.Input, stage string, env ...string) ran {
	t.Helper()
	dir := t.TempDir()
	wanted := ""
	for _, s := range in.Plan.Of(plan.SessionPreferences) {
		wanted = s.Preferences.Document
	}
	for name, text := range map[string]string{"aws": stub, "script.sh": script(t, in), "wanted": wanted} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("/bin/sh", "script.sh", stage)
	c.Dir = dir
	c.Env = append([]string{"PATH=" + dir + ":/usr/bin:/bin", "CALLS=" + filepath.Join(dir, "calls"), "ACCOUNT=" + account, "CONNECTED=connected", "VERSION=--document-version"}, env...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	r := ran{}
	var exit *exec.ExitError
	if err := c.Run(); errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	r.text = out.String()
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Errorf("stage %s: a foreign text was run as a command", stage)
	}
	notes, _ := os.ReadFile(filepath.Join(dir, "calls")) // a script that calls nothing leaves none
	for _, call := range strings.Split(string(notes), "\x00\n\x00") {
		if call != "" {
			r.calls = append(r.calls, strings.Split(call, "\x00"))
		}
	}
	return r
}

func script(t *testing.T, in export.Input) string {
	t.Helper()
	files, err := export.CLI(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	return files[0].Text
}

func TestScriptCallsWhatThePlanSays(t *testing.T) {
	in := everything(t, "text")
	r := runScript(t, in, "prepare")
	if r.code != 3 || !strings.Contains(r.text, "left out: account "+other) {
		t.Errorf("with the credentials of one of two accounts: exit code %d\n%s", r.code, r.text)
	}
	for operation, want := range map[string]int{
		"create-role": 1, "put-role-policy": 2, "create-instance-profile": 1, "add-role-to-instance-profile": 1, "associate-iam-instance-profile": 2,
		"authorize-security-group-egress": 1, "authorize-security-group-ingress": 1, "create-vpc-endpoint": 2, "update-service-setting": 0, "create-launch-template": 0, "revoke-security-group-ingress": 0,
	} {
		if got := len(r.of(operation)); got != want {
			t.Errorf("prepare: %d calls of %s, want %d\n%s", got, operation, want, r.text)
		}
	}
	if got := r.of("create-vpc-endpoint")[0]["SecurityGroupIds"]; quotedAny(got) != `["sg-found"]` {
		t.Errorf("the endpoint has the groups %v", got)
	}
	if r := runScript(t, in, "prepare", "ACCOUNT="+other); len(r.of("update-service-setting")) != 1 || len(r.of("create-vpc-endpoint")) != 0 {
		t.Errorf("with the other account's credentials:\n%s", r.text)
	}
	r = runScript(t, in, "recovery")
	if r.code != 0 || len(r.of("create-launch-template")) != 1 || len(r.of("create-auto-scaling-group")) != 1 || len(r.of("authorize-security-group-ingress")) != 2 {
		t.Errorf("recovery: exit code %d\n%s", r.code, r.text)
	}
	if tags := quotedAny(r.of("create-auto-scaling-group")[0]["Tags"]); !strings.Contains(tags, fleet.TagStep) {
		t.Errorf("the bastion's group has the tags %s: migrate would take it for somebody else's", tags)
	}
	if r := runScript(t, in, "finish"); r.code != 0 || len(r.of("update-auto-scaling-group")) != 1 {
		t.Errorf("finish: exit code %d\n%s", r.code, r.text)
	}
	if r := runScript(t, in, ""); r.code != 2 || len(r.calls) != 0 || !strings.Contains(r.text, "Stages") {
		t.Errorf("without a stage: exit code %d\n%s", r.code, r.text)
	}
}

func quotedAny(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// The stage that closes closes nothing unless the way back and every host's
// connection are there.
func TestScriptClosesOnlyWhatIsReachable(t *testing.T) {
	in := everything(t, "text")
	r := runScript(t, in, "close")
	if r.code != 0 || len(r.of("revoke-security-group-ingress")) != 2 || len(r.of("authorize-security-group-ingress")) != 2 {
		t.Errorf("all is well: exit code %d\n%s", r.code, r.text)
	}
	r = runScript(t, in, "close", "CONNECTED=notconnected")
	if r.code != 3 || len(r.of("revoke-security-group-ingress")) != 0 {
		t.Errorf("hosts are not connected: exit code %d\n%s", r.code, r.text)
	}
	in = everything(t, "text")
	for i := range in.Plan.Waves[0].Steps {
		if s := &in.Plan.Waves[0].Steps[i]; s.Kind == plan.ClosePort {
			s.Rules.Keep = "sg-absent"
		}
	}
	r = runScript(t, in, "close")
	if r.code != 3 || len(r.of("revoke-security-group-ingress")) != 0 {
		t.Errorf("the bastion is not let in: exit code %d\n%s", r.code, r.text)
	}
}

// Texts of others come through as they are, and as nothing else.
func TestHostileTextsStayTexts(t *testing.T) {
	for _, text := range []string{hostile, "file:///etc/passwd", "--profile=other", "$(touch pwned)", "'; touch pwned; '", "\"\ntouch pwned\n"} {
		in := everything(t, text)
		for _, stage := range []string{"prepare", "recovery", "close", "finish"} {
			r := runScript(t, in, stage)
			if r.code != 0 && r.code != 3 {
				t.Errorf("%q: stage %s: exit code %d\n%s", text, stage, r.code, r.text)
			}
			if stage == "finish" {
				if got := r.of("update-auto-scaling-group")[0]["AutoScalingGroupName"]; got != text {
					t.Errorf("the group's name %q comes through as %q", text, got)
				}
			}
			for _, c := range r.calls {
				for _, word := range c[2:] {
					if word == text {
						t.Errorf("%q is a word of its own in %q: the AWS CLI may take it for a file or an option", text, c)
					}
				}
			}
		}
	}
}

func TestPreferencesBecomeTheDefaultVersion(t *testing.T) {
	in := everything(t, "text")
	change := func(r ran) bool {
		return slices.ContainsFunc(r.calls, func(c []string) bool { return c[1] == "update-document-default-version" })
	}
	// The new version has the wanted text, the default one has not.
	if r := runScript(t, in, "prepare"); len(r.of("update-document")) != 1 || !change(r) {
		t.Errorf("the preferences were not changed:\n%s", r.text)
	}
	if r := runScript(t, in, "prepare", "VERSION=--name"); len(r.of("update-document")) != 0 || change(r) {
		t.Errorf("preferences that are as wanted were changed:\n%s", r.text)
	}
	if r := runScript(t, in, "prepare", "VERSION=none"); r.code != 1 || change(r) {
		t.Errorf("the newest version has another text: exit code %d\n%s", r.code, r.text)
	}
}

func TestOnlyWhatIsHanded(t *testing.T) {
	in := everything(t, "text")
	in.Handed = true
	r := runScript(t, in, "prepare")
	if len(r.of("associate-iam-instance-profile")) != 2 || len(r.of("create-vpc-endpoint")) != 0 || strings.Contains(script(t, in), "create-launch-template") {
		t.Errorf("with --handed:\n%s", r.text)
	}
	in.Plan.Waves = nil
	for name, write := range map[string]func(export.Input) ([]export.File, error){"cli": export.CLI, "terraform": export.Terraform, "json": export.JSON, "automation": export.Automation} {
		if files, err := write(in); !errors.Is(err, export.ErrNothing) {
			t.Errorf("%s of an empty plan: %v %v", name, files, err)
		}
	}
}
