package simfleet_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// TestAWSCLIChangesTheWorld has AWS's own client make changes as an operator
// would by hand.
func TestAWSCLIChangesTheWorld(t *testing.T) {
	w := generate(t, simfleet.Options{Healthy: true, Instances: 24, Seed: 4})
	rg := w.Accounts[0].Regions[0]
	c := newCLI(t, w, rg.Name)
	g := rg.Groups[slices.IndexFunc(rg.Groups, func(g *fleet.SecurityGroup) bool { return strings.HasSuffix(g.Name, "office-ssh") })]
	before := len(fleet.Rules(g.Ingress, false))
	ids := c.strings(t, "ec2", "authorize-security-group-ingress", "--group-id", g.ID, "--protocol", "tcp", "--port", "22", "--cidr", "192.0.2.0/24", "--query", "SecurityGroupRules[].SecurityGroupRuleId")
	if len(ids) != 1 || len(fleet.Rules(g.Ingress, false)) != before+1 {
		t.Errorf("authorizing gave %v", ids)
	}
	_, stderr, err := c.run(t, "ec2", "authorize-security-group-ingress", "--group-id", g.ID, "--protocol", "tcp", "--port", "22", "--cidr", "192.0.2.0/24")
	if err == nil || !strings.Contains(stderr, "InvalidPermission.Duplicate") {
		t.Errorf("authorizing again: %s", stderr)
	}
	if _, stderr, err := c.run(t, "ec2", "revoke-security-group-ingress", "--group-id", g.ID, "--security-group-rule-ids", ids[0]); err != nil || len(fleet.Rules(g.Ingress, false)) != before {
		t.Errorf("revoking: %v %s", err, stderr)
	}
	role := w.Accounts[0].Roles[0]
	role.Trust = `{"Statement":{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	target, _ := json.Marshal(map[string]string{"Arn": "arn:aws:scheduler:::aws-sdk:ec2:authorizeSecurityGroupIngress", "RoleArn": role.ARN, "Input": `{"GroupId":"` + g.ID + `"}`})
	stdout, stderr, err := c.run(t, "scheduler", "create-schedule", "--name", "by-hand", "--schedule-expression", "at(2040-01-01T00:00:00)", "--flexible-time-window", "Mode=OFF", "--target", string(target))
	if err != nil || !strings.Contains(stdout, ":schedule/default/by-hand") {
		t.Errorf("creating a schedule: %v %s%s", err, stdout, stderr)
	}
	if got := c.strings(t, "scheduler", "list-schedules", "--query", "Schedules[].Name"); !slices.Equal(got, []string{"by-hand"}) {
		t.Errorf("schedules: %v", got)
	}
}
