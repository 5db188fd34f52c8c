package cutover_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

const (
	trustsEC2  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	trustsSSM  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["ssm.amazonaws.com"]},"Action":"sts:*"}]}`
	asksFor    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation","ssmmessages:OpenDataChannel"],"Resource":["*"]}]}`
	coreARN    = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
	coreText   = `{"Version":"2012-10-17","Statement":[{"Sid":"Core","Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"}]}`
	selfOnly   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"},{"Effect":"Deny","Action":"ssmmessages:*","Resource":"*"}]}`
	onlyOne    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","Resource":"*"}]}`
	fromSource = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"StringEquals":{"ssm:SourceInstanceARN":"arn:aws:ec2:eu-west-1:111122223333:instance/i-2"}}}]}`
	opensAny   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Authorize*","Resource":"*"},{"Effect":"Allow","Action":["autoscaling:*","ec2:CreateTags"],"Resource":"*"}]}`
	opensOther = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Authorize*","Resource":"arn:aws:ec2:eu-west-1:111122223333:security-group/sg-other"},{"Effect":"Allow","Action":["autoscaling:*","ec2:CreateTags"],"Resource":"*"}]}`
)

func role(name, trust string, policies map[string]string) func(*cloud) {
	return func(c *cloud) {
		c.Roles[name] = fleet.RoleState{Name: name, Path: "/", Trust: trust}
		for k, text := range policies {
			c.Policies[name+k] = text // "/NAME" is inline, " ARN" a managed one
		}
	}
}

func associated(profile, with string, more func(*cloud)) func(*cloud) {
	return func(c *cloud) {
		c.Profiles[profile] = fleet.ProfileState{Name: profile, Role: with}
		c.Associations["i-1"] = fleet.ProfileAssociation{ID: "iip-1", Profile: profile, State: "associated"}
		if more != nil {
			more(c)
		}
	}
}

func rule(r fleet.Rule, id string) fleet.Rule { r.ID = id; return r }

// endpoint adds an interface endpoint of others, with its own group.
func endpoint(service, group string, rules ...fleet.Rule) func(*cloud) {
	return func(c *cloud) {
		c.Groups[group] = fleet.SecurityGroup{ID: group, Name: "tf-" + group, VPC: "vpc-1"}
		c.Rules[group] = rules
		id := "vpce-" + service
		c.Endpoints[id] = fleet.VPCEndpoint{ID: id, VPC: "vpc-1", Service: "com.amazonaws.eu-west-1." + service, Type: "Interface", PrivateDNS: true, State: "available", Groups: []string{group}}
	}
}

func both(all ...func(*cloud)) func(*cloud) {
	return func(c *cloud) {
		for _, f := range all {
			f(c)
		}
	}
}

// madeByOthers adds a recovery bastion of somebody's code.
func madeByOthers(data string, change func(c *cloud, t *fleet.BastionTemplate, g *fleet.ScalingGroup)) func(*cloud) {
	return func(c *cloud) {
		name := plan.RecoveryName("vpc-2")
		tags := map[string]string{"managed-by": "terraform"}
		c.Groups["sg-tf"] = fleet.SecurityGroup{ID: "sg-tf", Name: name, VPC: "vpc-2", Tags: tags}
		c.Rules["sg-tf"] = []fleet.Rule{rule(sshRule("198.51.100.0/24"), "sgr-1"), rule(sshRule("2001:db8:1::/48"), "sgr-2")}
		t := fleet.BastionTemplate{ID: "lt-tf", Name: name, Version: 4, Image: "ami-9", Type: "t4g.nano", Tokens: "required", UserData: data, Groups: []string{"sg-tf"}, Tags: tags}
		g := fleet.ScalingGroup{Name: name, Max: 1, Subnets: []string{"subnet-2"}, Template: fleet.LaunchTemplateRef{ID: "lt-tf", Version: "$Latest"}, Tags: tags}
		if change != nil {
			change(c, &t, &g)
		}
		c.Templates[name], c.Scaling[name] = t, g
	}
}

// What others made with their tools and names is recognised by what it does; what
// does less is waited for, and never an error that would end the run.
func TestStepsOfOthersAreRecognised(t *testing.T) {
	host := []fleet.HostRef{{Account: here.Account, Region: here.Region, ID: "i-1"}}
	attach := plan.Step{Kind: plan.AttachProfile, Hosts: host, Profile: &plan.ProfileChange{Name: "migrate-session-manager", Create: true, Policy: asksFor}}
	attachNamed := plan.Step{Kind: plan.AttachProfile, Hosts: host, Profile: &plan.ProfileChange{Name: "corp"}}
	extend := plan.Step{Kind: plan.ExtendRole, Hosts: host, Role: &plan.RoleChange{Name: "app", Policy: "migrate-1", Document: asksFor}}
	group := "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-web"
	timers := plan.Step{Kind: plan.TimerRole, Role: &plan.RoleChange{
		Name: "migrate-rule-timer", Trust: plan.TimerTrust(here.Account), Policy: "migrate-rule-timer-1",
		Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:AuthorizeSecurityGroupIngress"],"Resource":["` + group + `"]},{"Effect":"Allow","Action":["ec2:CreateTags"],"Resource":["arn:aws:ec2:*:111122223333:security-group-rule/*"],"Condition":{"StringEquals":{"ec2:CreateAction":"AuthorizeSecurityGroupIngress"}}}]}`,
	}}
	scheduler := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"` + condition + `}]}`
	}
	setting := plan.Step{Kind: plan.DefaultHostManagement, Hosts: host, Setting: &plan.SettingChange{Value: "service-role/Default", CreateRole: true}}
	egress := plan.Step{Kind: plan.AllowEgress, Rules: &plan.RuleChange{Group: "sg-web", Rules: []fleet.Rule{{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: cidr("10.0.0.0/16"), Description: "Systems Manager"}}}}
	out := func(r fleet.Rule) func(*cloud) {
		return func(c *cloud) { r.ID, r.Egress = "sgr-x", true; c.Rules["sg-web"] = append(c.Rules["sg-web"], r) }
	}
	endpoints := plan.Step{Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{
		VPC: "vpc-1", Services: []string{"com.amazonaws.eu-west-1.ssm", "com.amazonaws.eu-west-1.ssmmessages"}, Subnets: []string{"subnet-1"}, Group: "migrate-endpoints-vpc-1", Sources: []string{"10.0.0.0/16"},
	}}
	https := func(from string) fleet.Rule { return fleet.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: cidr(from)} }
	toRecovery := fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: "migrate-recovery-vpc-1", Description: "migrate: recovery bastion"}
	recoveryRule := plan.Step{Kind: plan.RecoveryRule, Rules: &plan.RuleChange{Group: "sg-web", Rules: []fleet.Rule{toRecovery}}}
	preferences := plan.Step{Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{
		Before: `{"schemaVersion":"1.0","inputs":{"kmsKeyId":"alias/x","runAsEnabled":true,"s3EncryptionEnabled":true}}`, Document: `{"schemaVersion":"1.0","inputs":{"kmsKeyId":"","runAsEnabled":true,"s3EncryptionEnabled":false}}`,
	}}
	says := func(content string) func(*cloud) {
		return func(c *cloud) {
			c.Documents[fleet.PreferencesName] = []fleet.DocumentVersion{{Number: "9", Default: true, Content: content}}
		}
	}
	bastion := plan.Step{Kind: plan.RecoveryGroup, Recovery: recovery("vpc-2")}
	line := bastion.Recovery.PublicKey
	quoted, _ := json.Marshal(line)
	users := "#cloud-config\nusers:\n  - name: ops\n    ssh_authorized_keys:\n      - " + string(quoted) + "\n"

	for name, test := range map[string]struct {
		step   plan.Step
		change func(*cloud)
		want   fleet.Truth
	}{
		"another profile, a managed policy":        {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{" " + coreARN: coreText})), fleet.TruthYes},
		"another profile, an inline policy":        {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{"/x": asksFor})), fleet.TruthYes},
		"another profile, half of it":              {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{"/x": onlyOne})), fleet.TruthNo},
		"another profile, denied":                  {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{"/x": selfOnly})), fleet.TruthNo},
		"another profile, for another instance":    {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{"/x": fromSource})), fleet.TruthNo},
		"another profile, a policy not read":       {attach, associated("corp", "corp-role", role("corp-role", trustsEC2, map[string]string{" " + coreARN: ""})), fleet.TruthNo},
		"another profile, of no instances":         {attach, associated("corp", "corp-role", role("corp-role", trustsSSM, map[string]string{"/x": coreText})), fleet.TruthNo},
		"another profile without a role":           {attach, associated("corp", "", nil), fleet.TruthNo},
		"another profile whose role is gone":       {attach, associated("corp", "gone", nil), fleet.TruthNo},
		"no profile":                               {attach, nil, fleet.TruthNo},
		"the profile that the policy names":        {attachNamed, associated("corp", "r", role("r", trustsEC2, map[string]string{"/x": coreText})), fleet.TruthYes},
		"the named profile is not made yet":        {attachNamed, nil, fleet.TruthNo},
		"a role that another policy extends":       {extend, role("app", trustsEC2, map[string]string{"/from-terraform": asksFor}), fleet.TruthYes},
		"a role that a wider policy extends":       {extend, role("app", trustsEC2, map[string]string{" " + coreARN: coreText}), fleet.TruthYes},
		"a role that a narrower policy extends":    {extend, role("app", trustsEC2, map[string]string{"/from-terraform": onlyOne}), fleet.TruthNo},
		"a role that is still as it was":           {extend, nil, fleet.TruthNo},
		"a timers' role":                           {timers, role("migrate-rule-timer", scheduler(`,"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}`), map[string]string{"/tf": opensAny}), fleet.TruthYes},
		"a timers' role that trusts more":          {timers, role("migrate-rule-timer", scheduler(""), map[string]string{"/tf": opensAny}), fleet.TruthYes},
		"a timers' role of another account":        {timers, role("migrate-rule-timer", scheduler(`,"Condition":{"StringEquals":{"aws:SourceAccount":"444455556666"}}`), map[string]string{"/tf": opensAny}), fleet.TruthNo},
		"a timers' role for other groups":          {timers, role("migrate-rule-timer", scheduler(""), map[string]string{"/tf": opensOther}), fleet.TruthNo},
		"no timers' role":                          {timers, nil, fleet.TruthNo},
		"another default role":                     {setting, both(role("corp-default", trustsSSM, map[string]string{" " + coreARN: coreText}), func(c *cloud) { c.DefaultRole = "corp/corp-default" }), fleet.TruthYes},
		"another default role that serves nothing": {setting, both(role("corp-default", trustsSSM, nil), func(c *cloud) { c.DefaultRole = "corp-default" }), fleet.TruthNo},
		"no default role":                          {setting, nil, fleet.TruthNo},
		"all egress":                               {egress, out(fleet.Rule{Protocol: "-1", From: -1, To: -1, CIDR: cidr("0.0.0.0/0")}), fleet.TruthYes},
		"wider ports":                              {egress, out(fleet.Rule{Protocol: "tcp", From: 80, To: 1024, CIDR: cidr("10.0.0.0/8")}), fleet.TruthYes},
		"narrower addresses":                       {egress, out(fleet.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: cidr("10.0.0.0/17")}), fleet.TruthNo},
		"another protocol":                         {egress, out(fleet.Rule{Protocol: "udp", From: 443, To: 443, CIDR: cidr("10.0.0.0/8")}), fleet.TruthNo},
		"the recovery group's rule in other words": {recoveryRule, nil, fleet.TruthYes},
		"endpoints with a group of their own":      {endpoints, both(endpoint("ssm", "sg-e", https("10.0.0.0/8")), endpoint("ssmmessages", "sg-e", https("10.0.0.0/8"))), fleet.TruthYes},
		"endpoints for both halves of the VPC":     {endpoints, both(endpoint("ssm", "sg-e", https("10.0.0.0/17"), https("10.0.128.0/17")), endpoint("ssmmessages", "sg-e", https("10.0.0.0/17"), https("10.0.128.0/17"))), fleet.TruthYes},
		"endpoints for half of the VPC":            {endpoints, both(endpoint("ssm", "sg-e", https("10.0.0.0/17")), endpoint("ssmmessages", "sg-e", https("10.0.0.0/17"))), fleet.TruthNo},
		"one endpoint":                             {endpoints, endpoint("ssm", "sg-e", https("10.0.0.0/8")), fleet.TruthNo},
		"preferences, otherwise different":         {preferences, says(`{"schemaVersion":"1.0","inputs":{"idleSessionTimeout":"7","s3EncryptionEnabled":false}}`), fleet.TruthYes},
		"preferences, half of it":                  {preferences, says(`{"schemaVersion":"1.0","inputs":{"kmsKeyId":""}}`), fleet.TruthNo},
		"preferences as they were":                 {preferences, says(preferences.Preferences.Before), fleet.TruthNo},
		"no preferences":                           {preferences, func(c *cloud) { clear(c.Documents) }, fleet.TruthNo},
		"a bastion":                                {bastion, madeByOthers(users, nil), fleet.TruthYes},
		"a bastion with another key":               {bastion, madeByOthers("#cloud-config\n", nil), fleet.TruthNo},
		"a bastion in another subnet":              {bastion, madeByOthers(users, func(_ *cloud, _ *fleet.BastionTemplate, g *fleet.ScalingGroup) { g.Subnets = []string{"subnet-9"} }), fleet.TruthNo},
		"a bastion that runs":                      {bastion, madeByOthers(users, func(_ *cloud, _ *fleet.BastionTemplate, g *fleet.ScalingGroup) { g.Min = 1 }), fleet.TruthNo},
		"a bastion without IMDSv2":                 {bastion, madeByOthers(users, func(_ *cloud, t *fleet.BastionTemplate, _ *fleet.ScalingGroup) { t.Tokens = "optional" }), fleet.TruthNo},
		"a bastion open to all": {bastion, madeByOthers(users, func(c *cloud, _ *fleet.BastionTemplate, _ *fleet.ScalingGroup) {
			c.Rules["sg-tf"] = append(c.Rules["sg-tf"], rule(sshRule("0.0.0.0/0"), "sgr-3"))
		}), fleet.TruthNo},
		"a bastion for some operators": {bastion, madeByOthers(users, func(c *cloud, _ *fleet.BastionTemplate, _ *fleet.ScalingGroup) {
			c.Rules["sg-tf"] = c.Rules["sg-tf"][:1]
		}), fleet.TruthNo},
		"no bastion": {bastion, nil, fleet.TruthNo},
	} {
		t.Run(name, func(t *testing.T) {
			c := town()
			if test.change != nil {
				test.change(&c)
			}
			s := test.step
			s.ID, s.At, s.Handed = "w0/"+name, here, true
			if s.Kind == plan.TimerRole {
				s.At.Region = ""
			}
			aws := newFakeAWS(c)
			before := aws.now.dump(t)
			k := cutover.AWSKinds(aws)[s.Kind]
			o, err := k.Observe(t.Context(), s)
			if err != nil || o.Holds != test.want || o.Detail == "" {
				t.Fatalf("observed %v (%s), %v; want %v", o.Holds, o.Detail, err, test.want)
			}
			if test.want != fleet.TruthYes {
				return
			}
			// A rollback leaves it alone, even if the journal took it for ours.
			if err := k.Undo(t.Context(), s, o.Image, json.RawMessage(`{"visible":true}`), token); err != nil && !strings.Contains(err.Error(), cutover.ErrForeign.Error()) {
				t.Errorf("undo: %v", err)
			}
			if aws.now.dump(t) != before {
				t.Error("the undo touched what others made")
			}
		})
	}
}

// A timer counts as armed by a role that its owner wrote, with policies of other names.
func TestTimersMayUseARoleOfOthers(t *testing.T) {
	for text, want := range map[string]fleet.Truth{opensAny: fleet.TruthYes, opensOther: fleet.TruthNo} {
		c := town()
		role("timers", plan.TimerTrust(here.Account), map[string]string{"/terraform": text})(&c)
		aws := newFakeAWS(c)
		k := cutover.AWSKinds(aws)[plan.ArmRuleTimer]
		s := plan.Step{ID: "arm", At: here, Kind: plan.ArmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers", Policy: "migrate-rule-timer-1"}}
		o, err := k.Observe(t.Context(), s)
		if err != nil || o.Holds != fleet.TruthNo {
			t.Fatalf("%v, %v", o, err)
		}
		if _, err := k.Apply(t.Context(), s, o.Image, token); (err == nil) != (want == fleet.TruthYes) {
			t.Errorf("armed with %s: %v", text, err)
		}
		if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != want {
			t.Errorf("%s: armed %v (%s), %v; want %v", text, o.Holds, o.Detail, err, want)
		}
	}
}
