package export_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// demo is a plan of migrate demo --mendable, and what of its snapshot an export reads.
func demo(t *testing.T) export.Input {
	t.Helper()
	in := export.Input{Plan: &plan.Plan{}, Snapshot: &fleet.Snapshot{}, Access: &access.Set{}}
	for name, into := range map[string]any{"plan": in.Plan, "snapshot": in.Snapshot, "access": in.Access} {
		text, err := os.ReadFile("testdata/demo/input/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return in
}

// Run with -update to write testdata/demo anew.
func TestDemoFleet(t *testing.T) {
	for format, write := range map[string]func(export.Input) ([]export.File, error){"terraform": export.Terraform, "json": export.JSON, "cli": export.CLI, "automation": export.Automation} {
		t.Run(format, func(t *testing.T) {
			files, err := write(demo(t))
			if err != nil {
				t.Fatal(err)
			}
			root := filepath.Join("testdata", "demo", format)
			if *update {
				if err := os.RemoveAll(root); err != nil {
					t.Fatal(err)
				}
			}
			var names []string
			for _, f := range files {
				if !filepath.IsLocal(filepath.FromSlash(f.Name)) || slices.Contains(names, f.Name) {
					t.Errorf("%q is no name of a file, or not its own", f.Name)
				}
				names = append(names, f.Name)
				path := filepath.Join(root, filepath.FromSlash(f.Name))
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if string(want) != f.Text {
					t.Errorf("%s is not as in %s (-update writes it anew)", f.Name, root)
				}
				if strings.HasSuffix(f.Name, ".json") && !json.Valid([]byte(f.Text)) {
					t.Errorf("%s is no JSON", f.Name)
				}
			}
			var have []string
			err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					rel, _ := filepath.Rel(root, path)
					have = append(have, filepath.ToSlash(rel))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(names)
			slices.Sort(have)
			if !slices.Equal(names, have) {
				t.Errorf("the export has %v, and %s has %v", names, root, have)
			}
		})
	}
	read(t, terraform(t, demo(t))) // it parses, each address once, all references there
}
