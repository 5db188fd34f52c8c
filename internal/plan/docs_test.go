package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssm-migrate/internal/plan"
)

func readDoc(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "docs"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every kind of step has a page with all of its parts, and no page is left over.
func TestEveryKindHasAPage(t *testing.T) {
	index := readDoc(t, "steps", "README.md")
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "steps", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(plan.Kinds()) + 1; len(pages) != want {
		t.Errorf("%d pages, want one for each of %d kinds and an index", len(pages), want-1)
	}
	for _, k := range plan.Kinds() {
		page := readDoc(t, "steps", string(k)+".md")
		for _, part := range []string{"# ", "`" + string(k) + "`", "## What it does", "## What it observes", "## How it is undone", "## Permissions", "## What can go wrong"} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s has no %q", k, part)
			}
		}
		if !strings.Contains(index, "("+string(k)+".md)") {
			t.Errorf("docs/steps/README.md does not name %s", k)
		}
	}
}

func TestEveryRefusalAndKeyIsDocumented(t *testing.T) {
	page := readDoc(t, "plan.md")
	for _, code := range plan.Codes() {
		if !strings.Contains(page, "`"+code+"`") {
			t.Errorf("docs/plan.md does not tell what %s means", code)
		}
	}
	for line := range strings.Lines(plan.PolicyTemplate()) {
		key, _, ok := strings.Cut(line, ":")
		if ok && key == strings.Trim(key, " #") && !strings.Contains(page, "`"+key+"`") {
			t.Errorf("docs/plan.md does not tell what %s means", key)
		}
	}
}
