package plan_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type allowed struct {
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]any `json:",omitempty"`
}

func policyOf(t *rapid.T, statements ...allowed) string {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A role with a step's own policy does what the step wants, however it is cut
// into policies; one that lacks any action, or has any denied, does not.
func TestRolesAreJudgedByWhatTheyMayDo(t *testing.T) {
	actions := []string{"ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:OpenDataChannel", "kms:Decrypt", "s3:PutObject", "ec2:CreateTags"}
	resources := []string{"*", "arn:aws:s3:::logs/*", "arn:aws:ec2:*:" + account + ":security-group-rule/*", "arn:aws:kms:eu-west-1:" + account + ":key/1"}
	rapid.Check(t, func(t *rapid.T) {
		var want []allowed
		for range rapid.IntRange(1, 3).Draw(t, "statements") {
			s := allowed{Effect: "Allow", Action: rapid.SliceOfNDistinct(rapid.SampledFrom(actions), 1, 4, func(s string) string { return s }).Draw(t, "actions"), Resource: []string{rapid.SampledFrom(resources).Draw(t, "resource")}}
			if rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
				s.Condition = map[string]any{"StringEquals": map[string]any{"ec2:CreateAction": "AuthorizeSecurityGroupIngress"}}
			}
			want = append(want, s)
		}
		hosts := []fleet.HostRef{{Account: account, Region: region, ID: "i-001"}, {Account: account, Region: region, ID: "i-002"}}
		if rapid.Bool().Draw(t, "for a service") {
			hosts = nil
		}
		c := plan.RoleChange{Name: "app", Policy: "migrate-1", Document: policyOf(t, want...)}
		judge := func(inline map[string]string) fleet.Truth {
			r := fleet.Role{Name: "app", ARN: "arn:aws:iam::" + account + ":role/app", Inline: inline}
			got, why := c.GrantedBy(r, nil, fleet.Place{Account: account, Region: region}, hosts)
			if (got == fleet.TruthYes) != (why == "") {
				t.Fatalf("%v, and why is %q", got, why)
			}
			return got
		}
		apart := map[string]string{}
		for i, s := range want {
			apart["theirs-"+string(rune('a'+i))] = policyOf(t, s)
		}
		if got := judge(map[string]string{"migrate-1": c.Document}); got != fleet.TruthYes {
			t.Fatalf("its own policy %s: %v", c.Document, got)
		}
		if got := judge(apart); got != fleet.TruthYes {
			t.Fatalf("cut into %v: %v", apart, got)
		}
		i := rapid.IntRange(0, len(want)-1).Draw(t, "which")
		action := rapid.SampledFrom(want[i].Action).Draw(t, "action")
		denied := map[string]string{"theirs": c.Document, "denies": policyOf(t, allowed{Effect: "Deny", Action: []string{action}, Resource: []string{"*"}})}
		if got := judge(denied); got != fleet.TruthNo {
			t.Fatalf("%s is denied: %v", action, got)
		}
		var less []allowed
		for _, s := range want {
			s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == action })
			if len(s.Action) > 0 {
				less = append(less, s)
			}
		}
		if got := judge(map[string]string{"theirs": policyOf(t, append(less, allowed{Effect: "Allow", Action: []string{"s3:ListBucket"}, Resource: []string{"*"}})...)}); got != fleet.TruthNo {
			t.Fatalf("without %s: %v", action, got)
		}
		if got := judge(map[string]string{"theirs": `{"Statement":`}); got == fleet.TruthYes {
			t.Fatalf("a policy that nobody understands: %v", got)
		}
	})
}
