package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// commented are lines of the template that taking "#" away makes settings of.
var commented = regexp.MustCompile(`(?m)^#( {2,}|[^ \n])`)

// settingsOf lists the keys that a type of the configuration has, with dots.
func settingsOf(t reflect.Type, prefix string) []string {
	var out []string
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" {
			continue
		}
		out = append(out, prefix+key)
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			out = append(out, settingsOf(inner, prefix+key+".")...)
		}
	}
	return out
}

// settingsIn lists the keys of what YAML says, with dots.
func settingsIn(v any, prefix string) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			out = append(out, prefix+k)
			out = append(out, settingsIn(inner, prefix+k+".")...)
		}
	case []any:
		for _, inner := range v {
			out = append(out, settingsIn(inner, prefix)...)
		}
	}
	return out
}

// A signal between two forms leaves init, too, and init says so.
func TestASignalLeavesTheForms(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if _, err := (formAsker{in: in, out: io.Discard}).yes(ctx, "Go on?", "", true); !errors.Is(err, errLeft) {
		t.Errorf("it was left with: %v", err)
	}
}

// Whichever of its questions init is left at, it has written nothing.
func TestInitIsLeftAtEachQuestion(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program in a terminal, which shows the race detector nothing")
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := ownSim(t, demoOptions{instances: 3, seed: 7, healthy: true, noThrottle: true})
	// They come one after the other; between two of them the terminal is no form's.
	questions := []string{"Which Regions?", "How does migrate read hosts today?", "Is there a bastion", "Read hosts by Run Command"}
	var s *screen
	for answered := 0; answered <= len(questions); answered++ {
		dir := t.TempDir()
		command := "cd " + dir + " && exec env -u MIGRATE_CONFIG HOME=" + dir + " " + asMigrate + "=1"
		for _, v := range d.env {
			if strings.HasPrefix(v, "AWS_") {
				command += " " + shellWord(v)
			}
		}
		command = "sh -c " + shellWord(command+" "+exe+" init") + "; echo exit code $?"
		if s == nil {
			s = newScreen(t, command)
		} else {
			s.tmux("respawn-pane", "-k", "-t", "w", command)
			s.gone("exit code ")
		}
		for n, question := range questions[:min(answered+1, len(questions))] {
			s.until("no question "+question, func(shown string) bool {
				lines := strings.Split(strings.TrimSpace(shown), "\n")
				return strings.Contains(shown, "┃ "+question) && strings.Contains(lines[len(lines)-1], "enter submit")
			})
			if n < answered {
				s.press("Enter")
			} else {
				s.press("C-c")
			}
		}
		if answered < len(questions) {
			s.expect("exit code 1", "left before the last question: nothing was written")
		} else {
			s.expect("exit code 0", "Wrote migrate.yaml.")
		}
		written, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if wrote := len(written) > 0; wrote != (answered == len(questions)) {
			t.Errorf("init was left after %d answers, and has written %v:\n%s", answered, written, s.now())
		}
	}
}

// The template has every setting that the parser knows and no other, whatever is
// chosen, and each of them is explained.
func TestConfigTemplateKeepsStep(t *testing.T) {
	t.Parallel()
	whole := choices{
		accounts: []accountConfig{{Label: "default"}, {Profile: "prod", Regions: []string{"eu-west-1", "us-east-1"}}},
		sshOff:   true, sshConfig: "none", jump: "ops@10.0.0.1:22", runCommand: true,
	}
	want := settingsOf(reflect.TypeFor[config](), "")
	slices.Sort(want)
	for name, c := range map[string]choices{"nothing": {}, "everything": whole} {
		text := c.text()
		if strings.Contains(text, "%") {
			t.Errorf("%s: something was not filled in:\n%s", name, text)
		}
		if _, err := parseConfig([]byte(text)); err != nil {
			t.Errorf("%s: the parser refuses it: %v\n%s", name, err, text)
		}
		all := commented.ReplaceAllString(text, "$1")
		var strict config
		if err := yaml.Load([]byte(all), &strict, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
			t.Errorf("%s: with all settings the parser refuses it: %v\n%s", name, err, all)
		}
		var loose map[string]any
		if err := yaml.Load([]byte(all), &loose); err != nil {
			t.Fatal(err)
		}
		got := settingsIn(loose, "")
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s: settings\n%q, the parser knows\n%q", name, got, want)
		}
	}
}

// Every setting in comments may be taken into use alone, with the value shown.
func TestConfigTemplateDefaultsAreValid(t *testing.T) {
	t.Parallel()
	lines := strings.Split(choices{}.text(), "\n")
	tried := 0
	for i, l := range lines {
		// Those of the recovery key and of an account by a role go together.
		if !commented.MatchString(l) || strings.HasPrefix(l, "#    ") || strings.Contains(l, "recipients_file") || strings.Contains(l, "identity_files") || strings.Contains(l, "kms_key") || strings.Contains(l, "secret") {
			continue
		}
		one := slices.Clone(lines)
		one[i] = strings.TrimPrefix(l, "#")
		if _, err := parseConfig([]byte(strings.Join(one, "\n"))); err != nil {
			t.Errorf("%s: %v", one[i], err)
		}
		tried++
	}
	if tried < 20 {
		t.Errorf("only %d settings were tried", tried)
	}
}

// Whatever a profile or a bastion is called, the file says it again.
func TestConfigTemplateTakesAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		profile, jump := rapid.String().Draw(t, "profile"), rapid.String().Draw(t, "jump")
		if profile == "" || jump == "" {
			return
		}
		c, err := parseConfig([]byte(choices{accounts: []accountConfig{{Profile: profile}}, jump: jump}.text()))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Accounts) != 1 || c.Accounts[0].Profile != profile || c.SSH.Jump != jump {
			t.Fatalf("%q and %q became %q and %q", profile, jump, c.Accounts, c.SSH.Jump)
		}
	})
}
