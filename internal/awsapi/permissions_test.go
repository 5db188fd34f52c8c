package awsapi_test

import (
	"cmp"
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

	gocmp "github.com/google/go-cmp/cmp"
)

// changing are the beginnings of the names of files that an inventory has no
// part in: what they call is granted apart.
var changing = []string{"change_", "runcommand", "session_", "vault", "objects"}

// operationsCalled reads from this package's source which operations an
// inventory calls: each call makes one value of a type named ACTIONInput.
func operationsCalled(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || slices.ContainsFunc(changing, func(p string) bool { return strings.HasPrefix(name, p) }) {
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

// actionOf are the IAM actions of operations that go by another name. Source:
// Service Authorization Reference.
var actionOf = map[string]string{
	"cloudwatchlogs:DescribeLogGroups": "logs:DescribeLogGroups",
	"s3:GetBucketEncryption":           "s3:GetEncryptionConfiguration",
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
	for i, op := range called {
		called[i] = cmp.Or(actionOf[op], op)
	}
	slices.Sort(called)
	granted := policy.Statement[0].Action
	if !slices.IsSorted(granted) {
		t.Error("the policy's actions are not sorted")
	}
	notByPolicy := []string{"sts:AssumeRole", "sts:GetCallerIdentity"}
	want := slices.DeleteFunc(slices.Clone(called), func(s string) bool { return slices.Contains(notByPolicy, s) })
	if diff := gocmp.Diff(want, granted); diff != "" {
		t.Errorf("policy (-called +granted):\n%s", diff)
	}
	var explained []string
	table, lost, _ := strings.Cut(string(text), "## When something is denied")
	for _, row := range regexp.MustCompile(`(?m)^\| (\x60.*?) \|`).FindAllStringSubmatch(table, -1) {
		for _, action := range regexp.MustCompile("`([a-z0-9]+:[A-Za-z]+)`").FindAllStringSubmatch(row[1], -1) {
			explained = append(explained, action[1])
		}
	}
	slices.Sort(explained)
	if diff := gocmp.Diff(called, explained); diff != "" {
		t.Errorf("table (-called +explained):\n%s", diff)
	}
	for _, action := range granted {
		if action != "ec2:DescribeRegions" && !losesSomething(lost, action) {
			t.Errorf("the document does not say what is lost without %s", action)
		}
	}
}

// losesSomething reports whether a row of the last table is about an action, by
// its name or by the beginning of it.
func losesSomething(table, action string) bool {
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \|`).FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if prefix, some := strings.CutSuffix(name[1], "…"); name[1] == action || some && strings.HasPrefix(action, prefix) {
				return true
			}
		}
	}
	return false
}

// An inventory must not be able to change anything.
func TestOnlyReadingOperationsAreCalled(t *testing.T) {
	for _, op := range operationsCalled(t) {
		_, action, _ := strings.Cut(op, ":")
		reads := []string{"sts:AssumeRole", "iam:SimulatePrincipalPolicy"}
		if !slices.Contains(reads, op) && !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List") {
			t.Errorf("%s does not sound like reading", op)
		}
	}
}
