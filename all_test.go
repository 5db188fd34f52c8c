// Package ssmmigrate_test keeps the rules of the repository: who may import
// whom, what pure code may not do, and what every package must say of itself.
package ssmmigrate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ssm-migrate/"

// mayImport lists, for every package, the packages of ours that it may import.
// A package that is missing here fails the test: adding one is a decision.
var mayImport = map[string][]string{
	"internal/fleet":              {},
	"internal/limit":              {},
	"internal/filter":             {"internal/fleet"},
	"internal/inventory":          {"internal/fleet"},
	"internal/readiness":          {"internal/fleet"},
	"internal/recovery":           {"internal/fleet"},
	"internal/access":             {"internal/fleet", "internal/readiness"},
	"internal/plan":               {"internal/fleet", "internal/readiness"},
	"internal/cutover":            {"internal/fleet", "internal/limit", "internal/plan", "internal/recovery"},
	"internal/cutover/simulation": {},
	"internal/export":             {"internal/fleet", "internal/plan", "internal/access"},
	"internal/report":             {"internal/fleet", "internal/readiness", "internal/plan", "internal/recovery", "internal/cutover"},
	"internal/tui":                {"internal/fleet", "internal/filter", "internal/inventory", "internal/readiness", "internal/plan", "internal/recovery", "internal/cutover"},
	"internal/awsapi":             {"internal/fleet", "internal/limit", "internal/session"},
	"internal/sshhost":            {"internal/fleet"},
	"internal/seal":               {"internal/fleet"},
	"internal/session":            {"internal/fleet"},
	"internal/sqlite":             {"internal/fleet", "internal/plan", "internal/cutover"},
	"internal/simfleet":           {"internal/fleet"},
	"cmd/migrate":                 {"*"},
}

// oneHome lists libraries that only some packages may import. The second home
// of an SSH library reads and writes key files, the third is the simulated host's server.
var oneHome = map[string][]string{
	"github.com/aws/aws-sdk-go-v2": {"internal/awsapi"},
	"golang.org/x/crypto/ssh":      {"internal/sshhost", "internal/seal", "internal/simfleet"},
	"filippo.io/age":               {"internal/seal"},
	"database/sql":                 {"internal/sqlite"},
	"github.com/mattn/go-sqlite3":  {"internal/sqlite"},
	"charm.land/bubbletea":         {"internal/tui"},
	"charm.land/huh":               {"cmd/migrate"},
	"mvdan.cc/sh":                  {"internal/simfleet"},
	"github.com/hashicorp/hcl":     {"internal/export"},
	"testing":                      {},
}

// pure packages compute from their arguments alone.
var pure = []string{"internal/fleet", "internal/filter", "internal/readiness", "internal/plan", "internal/recovery", "internal/access", "internal/export"}

// impureImports would give a pure package I/O, a clock's timers or randomness.
var impureImports = []string{"os", "io/fs", "net", "net/http", "context", "math/rand", "math/rand/v2", "crypto/rand", "os/exec", "syscall", "database/sql"}

type source struct {
	path string // slash-separated, from the repository root
	pkg  string // directory
	file *ast.File
	test bool
}

// sources parses every Go file of the module in this process: a test that asks
// "go list" would be served stale from the test cache.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "tools" || d.Name() == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || filepath.Dir(path) == "." {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(path)
		out = append(out, source{path: slash, pkg: filepath.ToSlash(filepath.Dir(path)), file: f, test: strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found")
	}
	return out
}

func (s source) imports() []string {
	var out []string
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

func TestImportsFollowTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		seen[s.pkg] = true
		allowed, listed := mayImport[s.pkg]
		if !listed {
			t.Errorf("%s: package %s is not in the import table", s.path, s.pkg)
			continue
		}
		if s.test {
			continue
		}
		for _, imp := range s.imports() {
			ours, isOurs := strings.CutPrefix(imp, module)
			if isOurs && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; %s may import only %v", s.path, ours, s.pkg, allowed)
			}
			for lib, homes := range oneHome {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(homes, s.pkg) {
					t.Errorf("%s imports %s, whose home is %v", s.path, imp, homes)
				}
			}
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("the import table names %s, which does not exist", pkg)
		}
	}
}

func TestPurePackagesDoNoIO(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.pkg) {
			continue
		}
		for _, imp := range s.imports() {
			if slices.Contains(impureImports, imp) {
				t.Errorf("%s imports %s", s.path, imp)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker"}, sel.Sel.Name) {
				t.Errorf("%s uses time.%s: time comes in as an argument", s.path, sel.Sel.Name)
			}
			return true
		})
	}
}

// Nothing but tests and the demo command may use the simulated fleet.
func TestOnlyTheDemoUsesTheSimulatedFleet(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.pkg == "internal/simfleet" || strings.HasPrefix(filepath.Base(s.path), "demo") {
			continue
		}
		if slices.Contains(s.imports(), module+"internal/simfleet") {
			t.Errorf("%s imports the simulated fleet", s.path)
		}
	}
}

func TestEveryPackageSaysWhyItExists(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		docs[s.pkg] += 0
		if s.file.Doc != nil {
			docs[s.pkg]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", pkg, n)
		}
	}
}

func TestDecisionsAreIndexed(t *testing.T) {
	index, err := os.ReadFile("docs/decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("docs/decisions/[0-9]*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no decisions found (%v)", err)
	}
	for _, f := range files {
		if !strings.Contains(string(index), filepath.Base(f)) {
			t.Errorf("docs/decisions/README.md does not name %s", filepath.Base(f))
		}
	}
}
