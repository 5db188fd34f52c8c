package awsapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// checks are the doctor's answers by name.
func (c *changed) checks(write bool) map[string]fleet.Check {
	c.Helper()
	g, _ := c.openGroup()
	on := fleet.CheckOn{Instance: c.region.Instances[0].Host.ID, Group: g.ID, VPC: g.VPC, TimerRole: "migrate-rule-timer", Write: write}
	out := map[string]fleet.Check{}
	for _, k := range c.changer.Check(c.Context(), c.at, on) {
		if k.Reason == "" || k.At != c.at || (k.Remedy == "") != (k.Holds == fleet.TruthYes) {
			c.Errorf("%+v", k)
		}
		if strings.HasPrefix(k.Name, "reach ssmmessages") {
			continue // answered by no API
		}
		out[k.Name] = k
	}
	return out
}

// allow gives the caller of the simulated AWS a policy.
func (c *changed) allow(document string) {
	c.Helper()
	a := c.world.Accounts[0]
	arn := "arn:aws:iam::" + a.ID + ":user/operator"
	a.Users = slices.DeleteFunc(a.Users, func(u *fleet.IAMUser) bool { return u.ARN == arn })
	a.Users = append(a.Users, &fleet.IAMUser{Name: "operator", ARN: arn, Inline: map[string]string{"all": document}})
}

func TestDoctorSaysWhatIsAllowed(t *testing.T) {
	faults := &simfleet.Faults{}
	inBubble(t, simfleet.AWSOptions{Faults: faults}, func(c *changed) {
		c.allow(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
		for name, k := range c.checks(false) {
			if k.Holds != fleet.TruthYes {
				t.Errorf("%s: %v, %s", name, k.Holds, k.Reason)
			}
		}
		if k := c.checks(true)["make a rule timer"]; k.Holds != fleet.TruthUnknown || !strings.Contains(k.Reason, "migrate-rule-timer") {
			t.Errorf("without the role: %+v", k)
		}
		for _, s := range c.steps() {
			if s.Kind == plan.TimerRole {
				c.apply(s, c.observe(s, fleet.TruthNo).Image)
			}
		}
		was := c.dump()
		if k := c.checks(true)["make a rule timer"]; k.Holds != fleet.TruthYes {
			t.Errorf("with the role: %+v", k)
		}
		if c.dump() != was {
			t.Error("the check left something behind")
		}

		c.allow(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"scheduler:*","Resource":"*"}]}`)
		if k := c.checks(false)["set rule timers"]; k.Holds != fleet.TruthNo || !strings.Contains(k.Reason, "scheduler:CreateSchedule") {
			t.Errorf("denied: %+v", k)
		}
		faults.Set(simfleet.Fault{Service: "iam", Action: "SimulatePrincipalPolicy", Kind: simfleet.FaultDeny})
		if k := c.checks(false)["start sessions"]; k.Holds != fleet.TruthUnknown || !strings.Contains(k.Reason, "SimulatePrincipalPolicy") {
			t.Errorf("nothing simulated: %+v", k)
		}
		faults.Set(simfleet.Fault{Service: "ec2", Action: "AuthorizeSecurityGroupIngress", Kind: simfleet.FaultDeny})
		if k := c.checks(false)["change security groups"]; k.Holds != fleet.TruthNo || !strings.Contains(k.Reason, "dry run") {
			t.Errorf("refused a dry run: %+v", k)
		}
		faults.Set(simfleet.Fault{Service: "scheduler", Action: "DeleteSchedule", Kind: simfleet.FaultDeny})
		if k := c.checks(true)["make a rule timer"]; k.Holds != fleet.TruthNo || !strings.Contains(k.Remedy, "migrate-doctor-") {
			t.Errorf("not deleted: %+v", k)
		}
	})
}

func TestDoctorSeesAWrongClock(t *testing.T) {
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		for off, want := range map[time.Duration]fleet.Truth{0: fleet.TruthYes, 10 * time.Second: fleet.TruthYes, -2 * time.Minute: fleet.TruthNo, 2 * time.Minute: fleet.TruthNo} {
			c.wire.skew = off
			if k := c.checks(false)["clock"]; k.Holds != want {
				t.Errorf("%v: %v, %s", off, k.Holds, k.Reason)
			}
		}
	})
}
