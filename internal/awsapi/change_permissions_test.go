package awsapi_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
)

// besides are actions that AWS asks for on the way of another call. Source:
// Service Authorization Reference, "Dependent actions"; Systems Manager User
// Guide, quickstart for operators' policies.
var besides = []string{
	"autoscaling:CreateOrUpdateTags", "ec2:CreateTags", "ec2:RunInstances", "iam:PassRole", "iam:TagInstanceProfile", "iam:TagRole",
	"ssm:AddTagsToResource", "ssmmessages:OpenDataChannel",
}

// elsewhere are actions of other files than those that change_ begins.
var elsewhere = []string{
	"ec2-instance-connect:OpenTunnel", "kms:GenerateDataKey", "logs:DescribeLogStreams", "s3:ListBucket", "ssm:GetCommandInvocation", "ssm:ListCommandInvocations", "ssm:ResumeSession",
	"ssm:SendCommand", "ssm:StartSession", "ssm:TerminateSession",
}

// operationsOf reads which operations the files call whose names begin so.
func operationsOf(t *testing.T, prefix string) []string {
	t.Helper()
	return operationsIn(t, prefix+"*.go", "ec2", "iam", "ssm", "scheduler", "autoscaling", "sts")
}

// operationsIn reads which operations of these services files call.
func operationsIn(t *testing.T, pattern string, packages ...string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
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
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if action, isInput := strings.CutSuffix(sel.Sel.Name, "Input"); ok && isInput && slices.Contains(packages, pkg.Name) {
				out = append(out, pkg.Name+":"+action)
			}
			return true
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// policies are the documented policies' actions: an inventory's, a cutover's.
func policies(t *testing.T) (inventory, cutover []string, text string) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, _, _ = bytes.Cut(raw, []byte("# Permissions of the recovery key"))
	before, rest, _ := bytes.Cut(raw, []byte("# Hosts by Run Command"))
	raw = append(bytes.Clone(before), rest[max(0, bytes.Index(rest, []byte("# Permissions of a cutover"))):]...)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(raw, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d policies", len(blocks))
	}
	var all [2][]string
	for i, b := range blocks {
		var policy struct{ Statement []struct{ Action []string } }
		if err := json.Unmarshal(b[1], &policy); err != nil || len(policy.Statement) != 1 {
			t.Fatalf("policy %d is not one statement: %v", i, err)
		}
		all[i] = policy.Statement[0].Action
	}
	_, text, _ = strings.Cut(string(raw), "# Permissions of a cutover")
	return all[0], all[1], text
}

func TestDocumentedPolicyOfACutoverIsWhatIsCalled(t *testing.T) {
	inventory, cutover, text := policies(t)
	called := slices.Concat(operationsOf(t, "change_"), besides, elsewhere)
	called = slices.DeleteFunc(called, func(a string) bool { return slices.Contains(inventory, a) || a == "sts:GetCallerIdentity" })
	slices.Sort(called)
	if diff := gocmp.Diff(slices.Compact(called), cutover); diff != "" {
		t.Errorf("policy (-called +granted):\n%s", diff)
	}
	var explained []string
	for _, a := range regexp.MustCompile("`([a-z0-9-]+:[A-Za-z]+)`").FindAllStringSubmatch(text, -1) {
		explained = append(explained, a[1])
	}
	slices.Sort(explained)
	if diff := gocmp.Diff(cutover, slices.Compact(explained)); diff != "" {
		t.Errorf("table (-granted +explained):\n%s", diff)
	}
}

// What the doctor asks for is what the policy grants.
func TestDoctorChecksTheDocumentedPolicy(t *testing.T) {
	_, cutover, _ := policies(t)
	checked := awsapi.CheckedActions()
	unneeded := []string{"autoscaling:DescribeScalingActivities", "ec2-instance-connect:OpenTunnel", "kms:GenerateDataKey", "logs:DescribeLogStreams", "s3:ListBucket", "scheduler:ListSchedules", "ssm:ResumeSession"}
	want := slices.DeleteFunc(slices.Clone(cutover), func(a string) bool { return slices.Contains(unneeded, a) })
	if diff := gocmp.Diff(want, checked); diff != "" {
		t.Errorf("(-granted +checked):\n%s", diff)
	}
}

// The page of copies grants the calls on objects that are made.
func TestDocumentedPolicyOfCopiesIsWhatIsCalled(t *testing.T) {
	raw, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, raw, _ = bytes.Cut(raw, []byte("# Permissions of copies"))
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(regexp.MustCompile("(?s)```\n(\\{.*?)```").FindSubmatch(raw)[1], &policy); err != nil {
		t.Fatal(err)
	}
	var granted []string
	for _, s := range policy.Statement {
		for _, a := range s.Action {
			if strings.HasPrefix(a, "s3:") && a != "s3:GetBucketLocation" { // asked for the bucket's Region, as an inventory does
				granted = append(granted, a)
			}
		}
	}
	called := operationsIn(t, "objects*.go", "s3")
	for i, op := range called {
		if op == "s3:ListObjectsV2" {
			called[i] = "s3:ListBucket"
		}
	}
	slices.Sort(granted)
	slices.Sort(called)
	if diff := gocmp.Diff(slices.Compact(called), granted); diff != "" {
		t.Errorf("policy (-called +granted):\n%s", diff)
	}
}
