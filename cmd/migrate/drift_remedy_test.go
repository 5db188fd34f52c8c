package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// What the check says to do about drift is run as it is printed, and repairs it.
func TestDriftRemediesRepair(t *testing.T) {
	if testing.Short() {
		t.Skip("it carries out a whole plan in real time")
	}
	if ownProcess(t) {
		return
	}
	c := carryOut(t, demoOptions{instances: 2, seed: 7, noThrottle: true, healthy: true, pace: 500})
	ctx := t.Context()
	text, err := os.ReadFile(c.sim.config())
	c.must(err)
	mine := bytes.ReplaceAll(text, []byte("key_file: "+demoRecoveryKey), []byte("key_file: rescue"))
	if bytes.Equal(mine, text) {
		t.Fatalf("the demo's configuration does not name %s:\n%s", demoRecoveryKey, text)
	}
	c.must(os.WriteFile(c.sim.config(), mine, 0o600))
	first := func(k plan.Kind) plan.Step { return c.plan.Of(k)[0] }
	port, arm, armRule := first(plan.ClosePort), first(plan.ArmHostTimer), first(plan.ArmRuleTimer)
	host := arm.Hosts[0]
	everyone := fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	const stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHj2Pp6HGJ9bZ7mBqQ0c3yY5vq1mXvV3t2m0Jm0m0m0m someone"
	for _, tt := range []struct {
		code   cutover.DriftCode
		change func()
	}{
		{cutover.DriftPortOpen, func() { c.must(c.aws.Authorize(ctx, port.At, port.Rules.Group, everyone)) }},
		{cutover.DriftHostTimerArmed, func() {
			_, err := c.kinds[plan.ArmHostTimer].Apply(ctx, arm, nil, "x")
			c.must(err)
		}},
		{cutover.DriftRuleTimerArmed, func() {
			_, err := c.kinds[plan.ArmRuleTimer].Apply(ctx, armRule, c.before(armRule.ID), "x")
			c.must(err)
		}},
		{cutover.DriftKeysBack, func() {
			c.script(host, "mkdir -p /root/.ssh; echo '"+stranger+"' >/root/.ssh/authorized_keys")
		}},
	} {
		tt.change()
		report, names := c.drift(driftQuery{}, 3)
		if len(names) != 1 || report.Items[0].Code != tt.code {
			t.Fatalf("%s: drift is %q", tt.code, names)
		}
		said := c.follow(report.Items[0].Do)
		if _, names := c.drift(driftQuery{}, 0); len(names) > 0 {
			t.Errorf("%s: after %q there is still %q\n%s", tt.code, report.Items[0].Do, names, said)
		}
	}
	c.warned()
}

// follow runs the commands of a remedy by the shell, and gives what they print.
func (c *carried) follow(do string) string {
	c.t.Helper()
	var said strings.Builder
	do, _, _ = strings.Cut(do, ": it moves them aside again; or")
	for _, command := range strings.Split(do, "; ") {
		command = strings.TrimPrefix(strings.TrimPrefix(command, "then "), "if sessions work: ")
		if command == "migrate apply the new plan" {
			p, err := findPlan(c.t.Context(), c.db, "")
			c.must(err)
			command = "migrate apply " + p.ID + " --yes"
		}
		cmd := exec.CommandContext(c.t.Context(), "sh", "-c", command)
		cmd.Dir = c.sim.dir
		cmd.Env = append(os.Environ(), "AWS_PAGER=")
		out, err := cmd.CombinedOutput()
		fmt.Fprintf(&said, "%s\n%s%v\n", command, out, err)
	}
	return said.String()
}

// warned goes on with a plan that was begun, though a newer snapshot speaks
// against it: that is said, and no more.
func (c *carried) warned() {
	c.t.Helper()
	c.sim.faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeInstances", Kind: simfleet.FaultDeny})
	c.must(c.app.inventory(c.t.Context(), []string{hostsByNothing}), exitIncomplete)
	c.sim.faults.Set()
	_, err := c.db.Acquire(c.t.Context(), "a colleague", time.Hour) // so that nothing is done
	c.must(err)
	c.errs.Reset()
	var held *cutover.HeldError
	if err := c.app.apply(c.t.Context(), applyQuery{plan: c.plan.ID, yes: true, wave: -1}); !errors.As(err, &held) {
		c.t.Errorf("apply: %v", err)
	}
	if want := "Warning: plan " + c.plan.ID + " is stale by snapshot "; !strings.Contains(c.errs.String(), want) || !strings.Contains(c.errs.String(), "not known") {
		c.t.Errorf("apply says %q, want %q", c.errs, want)
	}
}
