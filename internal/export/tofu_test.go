package export_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssm-migrate/internal/export"
)

var tofuBin = flag.String("tofu", "", "run OpenTofu over exports; the folder has tofu and schema/terraform-provider-aws (make hcl)")

// tofu runs OpenTofu in a folder, with a provider that has the arguments of the
// list and no others.
func tofu(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	list, err := filepath.Abs("testdata/resources.json")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "tofu.rc")
	text := "provider_installation {\n  dev_overrides {\n    \"hashicorp/aws\" = \"" + filepath.Join(*tofuBin, "schema") + "\"\n  }\n  direct {}\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(*tofuBin, "tofu"), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "RESOURCES="+list)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// OpenTofu itself finds nothing to format, and nothing that its language or the
// provider's arguments forbid.
func TestTofu(t *testing.T) {
	if *tofuBin == "" {
		t.Skip("make hcl runs it")
	}
	folder := func(t *testing.T, in export.Input) string {
		t.Helper()
		dir := t.TempDir()
		for _, f := range terraform(t, in) {
			if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	rewrite := func(t *testing.T, file, before, after string) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), before) {
			t.Fatalf("%s has no %q: %v", file, before, err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), before, after, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	passes := func(t *testing.T, dir string) {
		t.Helper()
		for _, args := range [][]string{{"fmt", "-check", "-diff", "-recursive"}, {"validate", "-no-color"}} {
			if out, err := tofu(t, dir, args...); err != nil {
				t.Errorf("tofu %v: %v\n%s", args, err, out)
			}
		}
	}
	t.Run("golden", func(t *testing.T) { passes(t, "testdata/demo/terraform") })
	t.Run("everything", func(t *testing.T) { passes(t, folder(t, everything(t, "text"))) })
	t.Run("hostile", func(t *testing.T) { passes(t, folder(t, everything(t, hostile))) })
	t.Run("all of it there", func(t *testing.T) { passes(t, folder(t, there(t))) })

	for name, tt := range map[string]struct{ file, before, after, command, want string }{
		"format":    {"iam.tf", "  name ", "   name ", "fmt -check -diff", "iam.tf"},
		"argument":  {"recovery.tf", "min_size ", "mim_size ", "validate -no-color", `An argument named "mim_size" is not expected here`},
		"required":  {"iam.tf", "assume_role_policy ", "description ", "validate -no-color", `The argument "assume_role_policy" is required`},
		"reference": {"recovery.tf", "aws_launch_template.migrate_", "aws_launch_template.imgrate_", "validate -no-color", "Reference to undeclared resource"},
		"ignored":   {"recovery.tf", "ignore_changes = [user_data, ", "ignore_changes = [usr_data, ", "validate -no-color", "usr_data"},
	} {
		t.Run("broken "+name, func(t *testing.T) {
			dir := folder(t, everything(t, "text"))
			rewrite(t, filepath.Join(dir, tt.file), tt.before, tt.after)
			out, err := tofu(t, dir, strings.Fields(tt.command)...)
			if _, failed := err.(*exec.ExitError); !failed || !strings.Contains(strings.Join(strings.Fields(out), " "), tt.want) { //nolint:errorlint // Run's own error
				t.Errorf("tofu %s does not say %q: %v\n%s", tt.command, tt.want, err, out)
			}
		})
	}
}
