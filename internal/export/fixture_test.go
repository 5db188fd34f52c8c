package export_test

import (
	"net/netip"
	"testing"
	"time"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

const (
	account   = "111122223333"
	other     = "444455556666"
	publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3v2Yq2m0lqVQHcPbZ4b8Hc3l0nYVb3vVQ0m0lqVQHc recovery"
	// hostile would break out of quotes, templates, comments and lines.
	hostile = "a'b\"c$(touch pwned)`touch pwned`${x}%{y}\n; touch pwned #\\ \u202e*/ '\\'' $$ --x"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func policy(action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + action + `"],"Resource":["*"],"Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:username}"}}}]}`
}

// everything is a plan with every kind of step that an export knows, in two
// accounts; text stands wherever somebody else's text may come in.
func everything(t testing.TB, text string) export.Input {
	t.Helper()
	here, there := fleet.Place{Account: account, Region: "eu-west-1"}, fleet.Place{Account: other, Region: "us-east-1"}
	host := func(at fleet.Place, id string) fleet.HostRef {
		return fleet.HostRef{Account: at.Account, Region: at.Region, ID: id}
	}
	step := func(id string, k plan.Kind, at fleet.Place, hosts ...fleet.HostRef) plan.Step {
		return plan.Step{ID: id, Kind: k, Phase: plan.Prepare, At: at, Hosts: hosts, Title: "Do " + id + " " + text, Why: "finding-" + id, Before: []string{"before " + text}, After: []string{"after " + text}, Blast: text, Warning: text}
	}
	with := func(s plan.Step, set func(*plan.Step)) plan.Step { set(&s); return s }
	recovery := plan.RecoveryName("vpc-1")
	profile := &plan.ProfileChange{Name: "migrate-session-manager", Create: true, Policy: policy("ssm:UpdateInstanceInformation")}
	door := fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: prefix("10.0.0.0/8"), Description: text}
	wide := fleet.Rule{Protocol: "tcp", From: 0, To: 1023, CIDR: prefix("2001:db8::/32"), Description: text}
	steps := []plan.Step{
		with(step("timer", plan.TimerRole, fleet.Place{Account: account}), func(s *plan.Step) {
			s.Role = &plan.RoleChange{Name: "migrate-rule-timer", Trust: policy("sts:AssumeRole"), Policy: "migrate-rule-timer-1", Document: policy("ec2:AuthorizeSecurityGroupIngress")}
		}),
		with(step("extend", plan.ExtendRole, fleet.Place{Account: account}, host(here, "i-1")), func(s *plan.Step) {
			s.Role, s.Handed = &plan.RoleChange{Name: "web", Policy: "migrate-session-manager-1", Document: policy("ssmmessages:OpenDataChannel")}, true
		}),
		with(step("default", plan.DefaultHostManagement, there, host(there, "i-9")), func(s *plan.Step) {
			s.Setting = &plan.SettingChange{Value: "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole", CreateRole: true}
		}),
		with(step("egress", plan.AllowEgress, here, host(here, "i-1")), func(s *plan.Step) {
			s.Rules = &plan.RuleChange{Group: "sg-1", Rules: []fleet.Rule{{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: prefix("0.0.0.0/0"), Description: text}}}
		}),
		with(step("endpoint", plan.CreateEndpoint, here, host(here, "i-1")), func(s *plan.Step) {
			s.Endpoint = &plan.EndpointChange{VPC: "vpc-1", Services: []string{"com.amazonaws.eu-west-1.ssm", "com.amazonaws.eu-west-1.ssmmessages"}, Subnets: []string{"subnet-a", "subnet-b"}, Group: "migrate-endpoints-vpc-1", Sources: []string{"10.0.0.0/16"}}
		}),
		with(step("preferences", plan.SessionPreferences, here), func(s *plan.Step) {
			s.Preferences = &plan.PreferencesChange{Before: `{"inputs":{}}`, Document: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":false,"shellProfile":{"linux":` + quoted(text) + `}}}`}
		}),
		with(step("group", plan.RecoveryGroup, here, host(here, "i-1")), func(s *plan.Step) {
			s.Recovery = &plan.RecoveryChange{VPC: "vpc-1", Name: recovery, Image: "ami-1", Type: "t3.micro", Subnets: []string{"subnet-a", "subnet-b"}, Public: true, From: []string{"198.51.100.0/24"}, PublicKey: publicKey, User: "ec2-user"}
		}),
		with(step("rule", plan.RecoveryRule, here, host(here, "i-1")), func(s *plan.Step) {
			s.Rules = &plan.RuleChange{Group: "sg-1", Rules: []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, Group: recovery, Description: "migrate: recovery bastion"}}}
		}),
		with(step("attach-1", plan.AttachProfile, here, host(here, "i-1")), func(s *plan.Step) { s.Profile, s.Handed = profile, true }),
		with(step("attach-2", plan.AttachProfile, here, host(here, "i-2")), func(s *plan.Step) { s.Profile, s.Handed = profile, true }),
		with(step("upgrade", plan.Agent, here, host(here, "i-1")), func(s *plan.Step) { s.Agent = &plan.AgentChange{Action: plan.UpgradeAgent, Floor: "3.3.40.0"} }),
		with(step("install", plan.Agent, here, host(here, "i-2")), func(s *plan.Step) { s.Agent = &plan.AgentChange{Action: plan.InstallAgent, Floor: "3.3.40.0"} }),
		with(step("prove", plan.ProveSession, here, host(here, "i-1")), func(s *plan.Step) { s.Phase = plan.Prove }),
		with(step("close", plan.ClosePort, here, host(here, "i-1"), host(here, "i-2")), func(s *plan.Step) {
			s.Phase = plan.Close
			s.Rules = &plan.RuleChange{Group: "sg-1", Rules: []fleet.Rule{door, wide}, Keep: recovery, Port: 22, Add: []fleet.Rule{
				{Protocol: "tcp", From: 0, To: 21, CIDR: wide.CIDR, Description: text}, {Protocol: "tcp", From: 23, To: 1023, CIDR: wide.CIDR, Description: text},
			}}
		}),
		with(step("finish", plan.ScaleIn, here), func(s *plan.Step) {
			s.Phase, s.Scaling = plan.Finish, &plan.ScalingChange{Group: text, Max: 2}
		}),
	}
	made := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	known := func(v []fleet.Role) fleet.Fact[[]fleet.Role] { return fleet.Known(v, "test", made) }
	return export.Input{
		Plan: &plan.Plan{ID: "0123456789ab", Snapshot: 1, Made: made, Waves: []plan.Wave{{Name: "foundation", Steps: steps}}},
		Snapshot: &fleet.Snapshot{
			Accounts: []fleet.Account{{ID: account, Roles: known([]fleet.Role{{Name: "web", Inline: map[string]string{"migrate-session-manager-1": "{}"}}})}, {ID: other}},
			Regions: []fleet.Region{
				{Account: account, Name: "eu-west-1", Preferences: fleet.Known(fleet.Preferences{Exists: true}, "test", made), Groups: fleet.Known([]fleet.SecurityGroup{{ID: "sg-1", Name: text, VPC: "vpc-1"}}, "test", made)},
				{Account: other, Name: "us-east-1"},
			},
			Hosts: []fleet.Host{{ID: "i-1", Account: account, Region: "eu-west-1", Tags: map[string]string{"Name": text}}},
		},
		Rules: map[string][]fleet.Rule{"sg-1": {withID(door, "sgr-1"), withID(wide, "sgr-2")}},
	}
}

func withID(r fleet.Rule, id string) fleet.Rule {
	r.ID = id
	return r
}

// there is everything with what it makes there already, with the access set-up
// that stays, and with a rule for a recovery bastion that another plan made.
func there(t testing.TB) export.Input {
	t.Helper()
	in := everything(t, "text")
	at := in.Plan.Made
	here := fleet.Place{Account: account, Region: "eu-west-1"}
	recovery, endpoints := plan.RecoveryName("vpc-1"), "migrate-endpoints-vpc-1"
	in.Access = setUp("text")
	in.Plan.Waves[0].Steps = append(in.Plan.Waves[0].Steps, plan.Step{ID: "elsewhere", Kind: plan.RecoveryRule, At: here, Rules: &plan.RuleChange{
		Group: "sg-2", Rules: []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, Group: plan.RecoveryName("vpc-2")}},
	}})
	s := in.Snapshot
	s.Accounts[0].Roles = fleet.Known([]fleet.Role{
		{Name: "web", Inline: map[string]string{"migrate-session-manager-1": "{}"}},
		{Name: "migrate-rule-timer", Inline: map[string]string{"migrate-rule-timer-1": "{}"}},
		{Name: "migrate-session-manager", Inline: map[string]string{plan.ProfilePolicy: "{}"}},
	}, "test", at)
	s.Accounts[0].Profiles = fleet.Known([]fleet.InstanceProfile{{Name: "migrate-session-manager"}}, "test", at)
	s.Accounts[0].Policies = fleet.Known([]fleet.Policy{{Name: "migrate-operators", ARN: "arn:aws:iam::" + account + ":policy/migrate-operators"}}, "test", at)
	s.Accounts[1].Roles = fleet.Known([]fleet.Role{{Name: "AWSSystemsManagerDefaultEC2InstanceManagementRole"}}, "test", at)
	s.Regions[0].Groups = fleet.Known([]fleet.SecurityGroup{
		{ID: "sg-1", Name: "web", VPC: "vpc-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 22, To: 22, Groups: []string{"sg-3"}}}},
		{ID: "sg-3", Name: recovery, VPC: "vpc-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 22, To: 22, CIDRs: []netip.Prefix{prefix("198.51.100.0/24")}}}},
		{ID: "sg-4", Name: endpoints, VPC: "vpc-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}}}},
	}, "test", at)
	s.Regions[0].Templates = fleet.Known([]fleet.LaunchTemplate{{ID: "lt-1", Name: recovery}}, "test", at)
	s.Regions[0].ScalingGroups = fleet.Known([]fleet.ScalingGroup{{Name: recovery}}, "test", at)
	return in
}

// setUp is an access set-up with a policy for a role, a user and a group, and
// with a session document.
func setUp(text string) *access.Set {
	arn := "arn:aws:iam::" + account + ":"
	return &access.Set{
		Policies: []access.Policy{
			{Name: "migrate-operators", Account: account, Who: text, Why: text, Attach: []string{arn + "role/team/ops", arn + "user/ann", arn + "group/admins"}, Document: policy("ssm:StartSession"), Proof: access.Proof{Holds: true, Text: []string{text}}},
			{Name: "migrate-unproved", Account: account, Document: policy("*"), Proof: access.Proof{Problems: []string{text}}},
		},
		Documents: []access.Document{{Name: "migrate-port-5432", Type: "Session", At: fleet.Place{Account: account, Region: "eu-west-1"}, Content: `{"schemaVersion":"1.0","description":` + quoted(text) + `}`, Why: text}},
	}
}
