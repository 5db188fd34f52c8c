package awsapi_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// operationsCalled reads from this package's source which operations it calls:
// each call makes one value of a type named ACTIONInput.
func operationsCalled(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		services := map[string]bool{}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if path.Dir(p) == "github.com/aws/aws-sdk-go-v2/service" {
				services[path.Base(p)] = true
			}
			if path.Base(p) == "stscreds" {
				out = append(out, "sts:AssumeRole")
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			action, isInput := strings.CutSuffix(sel.Sel.Name, "Input")
			if pkg, ok := sel.X.(*ast.Ident); ok && isInput && services[pkg.Name] {
				out = append(out, pkg.Name+":"+action)
			}
			return true
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestDocumentedPolicyIsWhatIsCalled(t *testing.T) {
	text, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/permissions.md holds no policy")
	}
	var policy struct {
		Statement []struct{ Action []string }
	}
	if err := json.Unmarshal(block[1], &policy); err != nil || len(policy.Statement) != 1 {
		t.Fatalf("the policy is not one statement: %v", err)
	}
	called := operationsCalled(t)
	granted := policy.Statement[0].Action
	if !slices.IsSorted(granted) {
		t.Error("the policy's actions are not sorted")
	}
	notByPolicy := []string{"sts:AssumeRole", "sts:GetCallerIdentity"}
	want := slices.DeleteFunc(slices.Clone(called), func(s string) bool { return slices.Contains(notByPolicy, s) })
	if diff := cmp.Diff(want, granted); diff != "" {
		t.Errorf("policy (-called +granted):\n%s", diff)
	}
	var explained []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\x60.*?) \|`).FindAllSubmatch(text, -1) {
		for _, action := range regexp.MustCompile("`([a-z0-9]+:[A-Za-z]+)`").FindAllSubmatch(row[1], -1) {
			explained = append(explained, string(action[1]))
		}
	}
	slices.Sort(explained)
	if diff := cmp.Diff(called, explained); diff != "" {
		t.Errorf("table (-called +explained):\n%s", diff)
	}
}

// An inventory must not be able to change anything.
func TestOnlyReadingOperationsAreCalled(t *testing.T) {
	for _, op := range operationsCalled(t) {
		_, action, _ := strings.Cut(op, ":")
		if op != "sts:AssumeRole" && !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List") {
			t.Errorf("%s does not sound like reading", op)
		}
	}
}
