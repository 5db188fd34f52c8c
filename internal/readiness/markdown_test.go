package readiness_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite docs/findings and the golden files")

// TestCatalogueDocs keeps docs/findings equal to the catalogue. Rewrite the
// pages with: go test ./internal/readiness -run TestCatalogueDocs -update
func TestCatalogueDocs(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "findings")
	want := readiness.CatalogueMarkdown()
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	got := map[string]string{}
	for _, f := range old {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(f)] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("docs/findings/%s differs from the catalogue; run this test with -update:\n%s", name, diff)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("docs/findings/%s is not in the catalogue; remove it", name)
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	code := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, e := range readiness.Catalogue() {
		if !code.MatchString(e.Code) || seen[e.Code] {
			t.Errorf("code %q is malformed or there twice", e.Code)
		}
		seen[e.Code] = true
		for name, text := range map[string]string{
			"area": e.Area, "title": e.Title, "meaning": e.Means, "detection": e.Detected, "fix": e.Fix, "undo": e.Undo,
		} {
			if text == "" {
				t.Errorf("%s has no %s", e.Code, name)
			}
		}
		if len(e.Sources) == 0 {
			t.Errorf("%s names no source", e.Code)
		}
		if e.Severity < fleet.SeverityNote || e.Severity > fleet.SeverityBlocks {
			t.Errorf("%s has severity %s", e.Code, e.Severity)
		}
	}
}
