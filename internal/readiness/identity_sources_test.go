package readiness_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// level is one level of the organization with its policies.
func level(target string, documents ...string) fleet.ControlLevel {
	l := fleet.ControlLevel{Target: target}
	for _, d := range documents {
		l.Policies = append(l.Policies, fleet.Policy{Name: "p-" + target, Document: known(d, "organizations:DescribePolicy")})
	}
	return l
}

func organization(levels ...fleet.ControlLevel) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		s.Accounts[0].ControlLevels = known(levels, "organizations:ListPoliciesForTarget")
	}
}

func organizationDenied(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
	s.Accounts[0].ControlLevels = lost[[]fleet.ControlLevel]("organizations:ListPoliciesForTarget", "AccessDeniedException")
}

// simulated sets what IAM says of one action of the host's role.
func simulates(action, decision string, more ...func(*fleet.Simulation)) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		x := fleet.Simulation{Principal: roleARN, Action: action, Resource: "*", Decision: decision}
		for _, f := range more {
			f(&x)
		}
		all := append(s.Accounts[0].Simulations.Value, x)
		s.Accounts[0].Simulations = known(all, "iam:SimulatePrincipalPolicy")
	}
}

func stoppedByOrganization(x *fleet.Simulation) { x.Organizations = fleet.TruthNo }

func asksFor(keys ...string) func(*fleet.Simulation) {
	return func(x *fleet.Simulation) { x.Missing = keys }
}

func TestServiceControlPolicies(t *testing.T) {
	const stops, unread = "controls-deny-session-actions", "controls-unread"
	denyMessages := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ssmmessages:*","Resource":"*"}]}`
	elsewhere := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","NotAction":"iam:*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":"us-east-1"}}}]}`
	butAdmins := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ssmmessages:*","Resource":"*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/web"}}}]}`
	serviceLinked := func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		s.Accounts[0].Roles.Value[0].ARN = "arn:aws:iam::" + accountID + ":role/aws-service-role/x.amazonaws.com/web"
	}
	unreadDocument := organization(fleet.ControlLevel{Target: "r-1", Policies: []fleet.Policy{
		{Name: "FullAWSAccess", Document: known(everything, "organizations:DescribePolicy")},
		{Name: "p", Document: lost[string]("organizations:DescribePolicy", "throttled")},
	}})
	letThrough := func(x *fleet.Simulation) { x.Organizations = fleet.TruthYes }
	runCases(t, []verdictCase{
		{"every level allows (orgs_manage_policies_scps_evaluation)", []change{offline, organization(level("r-1", everything), level(accountID, everything))},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a level without an Allow (scenario 2)", []change{offline, organization(level("r-1", everything), level("ou-1", allowing(`"ec2:*"`)), level(accountID, everything))},
			fleet.VerdictBlocked, stops, []string{stops, onlyNode}},
		{"a Deny at any level wins (scenario 6)", []change{offline, organization(level("r-1", everything, denyMessages), level(accountID, everything))},
			fleet.VerdictBlocked, stops, []string{stops, onlyNode}},
		{"a Deny outside of Regions", []change{offline, organization(level("r-1", everything, elsewhere))}, fleet.VerdictBlocked, stops, []string{stops, onlyNode}},
		{"a Deny with an exception for the role", []change{offline, organization(level("r-1", everything, butAdmins))}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"the management account is bound by none (orgs_manage_policies_scps)", []change{offline, organization()}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a service-linked role is not bound (orgs_manage_policies_scps)", []change{offline, serviceLinked, organization(level("r-1", everything, denyMessages))},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"not readable is a note", []change{organizationDenied}, fleet.VerdictReady, "", []string{unread}},
		{"not readable, and the simulation is content", []change{organizationDenied, simulates("ssmmessages:OpenDataChannel", "allowed", func(x *fleet.Simulation) { x.Organizations = fleet.TruthYes })},
			fleet.VerdictReady, "", []string{}},
		{"not readable, and the simulation names the organization", []change{offline, organizationDenied, simulates("ssmmessages:OpenDataChannel", "implicitDeny", stoppedByOrganization)},
			fleet.VerdictBlocked, stops, []string{stops, onlyNode}},
		{"role and organization are both in the way", []change{offline, role(allowing(`"s3:*"`)), organization(level("r-1", everything, denyMessages))},
			fleet.VerdictBlocked, stops, []string{stops, lacks, onlyNode}},
		{"one document that was not read leaves its level's silence open", []change{organization(fleet.ControlLevel{Target: "r-1", Policies: []fleet.Policy{
			{Name: "p", Document: lost[string]("organizations:DescribePolicy", "throttled")},
		}})}, fleet.VerdictUnknown, "role-unreadable", []string{"role-unreadable", unread}},
		{"a document that was not read may deny the data channel, whatever others allow", []change{unreadDocument}, fleet.VerdictUnknown, "role-unreadable", []string{"role-unreadable", unread}},
		{"an open session proves that it does not", []change{unreadDocument, openPort}, fleet.VerdictReady, "", []string{unread}},
		{"so does the simulation of both actions", []change{unreadDocument, simulates("ssmmessages:CreateDataChannel", "allowed", letThrough), simulates("ssmmessages:OpenDataChannel", "allowed", letThrough)}, fleet.VerdictReady, "", []string{}},
		{"but not that of one", []change{unreadDocument, simulates("ssmmessages:OpenDataChannel", "allowed", letThrough)}, fleet.VerdictUnknown, "role-unreadable", []string{"role-unreadable"}},
		{"a service-linked role is not bound by what was not read", []change{serviceLinked, unreadDocument}, fleet.VerdictReady, "", []string{unread}},
	})
	a := assess(offline, organization(level("r-1", everything, denyMessages)))
	f := finding(t, a, stops)
	if !strings.Contains(f.Fix, "p-r-1") || !strings.Contains(f.Fix, "at r-1") || strings.Contains(f.Fix, "UpdateInstanceInformation") || f.Object != accountID {
		t.Errorf("object %s, fix %s", f.Object, f.Fix)
	}
}

func TestSimulation(t *testing.T) {
	const differ, undecided = "simulation-disagreement", "role-undecided"
	const data = "ssmmessages:OpenDataChannel"
	runCases(t, []verdictCase{
		{"agreement says nothing", []change{simulates(data, "allowed")}, fleet.VerdictReady, "", []string{}},
		{"policies allow, IAM denies: neither is believed", []change{simulates(data, "explicitDeny")},
			fleet.VerdictUnknown, undecided, []string{undecided, differ}},
		{"IAM allows, policies do not", []change{role(allowing(heartbeat + "," + channels + `,"ssmmessages:CreateDataChannel"`)), simulates(data, "allowed")},
			fleet.VerdictUnknown, undecided, []string{undecided, differ}},
		{"a live channel outweighs IAM's answer for it", []change{simulates("ssmmessages:OpenControlChannel", "explicitDeny")},
			fleet.VerdictReady, "", []string{differ}},
		{"an answer for want of condition keys is none (API_EvaluationResult)", []change{simulates(data, "implicitDeny", asksFor("aws:SourceIp"))},
			fleet.VerdictReady, "", []string{}},
		{"IAM settles a document that was not read", []change{role(`{`), simulates(data, "allowed"), simulates("ssmmessages:CreateDataChannel", "allowed")},
			fleet.VerdictReady, "", []string{}},
		{"IAM denies where a document was not read", []change{role(`{`), simulates(data, "implicitDeny"), simulates("ssmmessages:CreateDataChannel", "allowed")},
			fleet.VerdictBlocked, lacks, []string{lacks}},
		{"IAM is asked on every resource: silence there says nothing of one instance", []change{offline, simulates("ssm:UpdateInstanceInformation", "implicitDeny")},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"IAM is asked on every resource: it does not see a Deny on one instance", []change{offline, role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Deny","Action":"ssm:UpdateInstanceInformation","Resource":"arn:aws:ec2:*:*:instance/i-1"}]}`),
			simulates("ssm:UpdateInstanceInformation", "allowed")}, fleet.VerdictBlocked, lacks, []string{lacks, onlyNode}},
		{"IAM does not see that a grant leaves one instance out", []change{offline, role(`{"Statement":[{"Effect":"Allow","Action":"ssmmessages:*","Resource":"*"},{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","NotResource":"arn:aws:ec2:*:*:instance/i-1"}]}`),
			simulates("ssm:UpdateInstanceInformation", "allowed")}, fleet.VerdictBlocked, lacks, []string{lacks, onlyNode}},
		{"nor whether a condition denies it on one instance", []change{offline, role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Deny","Action":"ssm:UpdateInstanceInformation","Resource":"arn:aws:ec2:*:*:instance/i-1","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}]}`),
			simulates("ssm:UpdateInstanceInformation", "allowed")}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, undecided}},
		{"IAM allows on every resource what policies allow on none", []change{offline, role(allowing(`"ssmmessages:*"`)), simulates("ssm:UpdateInstanceInformation", "allowed")},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode, undecided, differ}},
		{"IAM does not see a grant on one instance", []change{role(`{"Statement":[{"Effect":"Allow","Action":[` + channels + `,"ssmmessages:CreateDataChannel","ssmmessages:OpenDataChannel"],"Resource":"*"},{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","Resource":"arn:aws:ec2:*:*:instance/i-1"}]}`),
			simulates("ssm:UpdateInstanceInformation", "implicitDeny")}, fleet.VerdictReady, "", []string{}},
		{"IAM does not see an organization's policy that was read", []change{offline, organization(level("r-1", everything, `{"Statement":{"Effect":"Deny","Action":"ssmmessages:OpenDataChannel","Resource":"*"}}`)), simulates(data, "allowed")},
			fleet.VerdictBlocked, "controls-deny-session-actions", []string{"controls-deny-session-actions", onlyNode}},
	})
}

func agentHas(f func(a *fleet.HostAgent)) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { f(&h.Probe.Value.Agent.Value) }
}

func TestCredentialsThatHideTheRole(t *testing.T) {
	file := agentHas(func(a *fleet.HostAgent) { a.Credentials = known([]string{"/root/.aws/credentials"}, "probe: files") })
	noFile := agentHas(func(a *fleet.HostAgent) { a.Credentials = known([]string{}, "probe: files") })
	leftover := agentHas(func(a *fleet.HostAgent) {
		a.Registration = known(fleet.Registration{ID: "mi-0123", Region: regionName}, "probe: registration")
	})
	clean := agentHas(func(a *fleet.HostAgent) { a.Registration = known(fleet.Registration{}, "probe: registration") })
	twin := func(_ *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		h.PrivateDNS = "ip-10-0-1-10.ec2.internal"
		r.HybridNodes = []fleet.Node{{ID: "mi-0123", PingStatus: "Online", ComputerName: "ip-10-0-1-10"}}
	}
	imds := func(m fleet.MetadataTest) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Probe.Value.Metadata = known(m, "probe: metadata")
		}
	}
	runCases(t, []verdictCase{
		{"root's credentials file (ssm-agent-technical-details)", []change{offline, file}, fleet.VerdictBlocked, "credentials-file", []string{"credentials-file", onlyNode}},
		{"without root's credentials file the role decides, which has to be fixed as well", []change{offline, file, role(allowing(`"s3:*"`))}, fleet.VerdictBlocked, "credentials-file", []string{"credentials-file", lacks, onlyNode}},
		{"root's credentials file of a connected agent need not allow the data channel", []change{file}, fleet.VerdictUnknown, "credentials-file-unproved", []string{"credentials-file-unproved"}},
		{"nor is what the role lacks held against it", []change{file, role(allowing(heartbeat + "," + channels))}, fleet.VerdictUnknown, "credentials-file-unproved", []string{"credentials-file-unproved"}},
		{"an open session proves it", []change{file, openPort}, fleet.VerdictReady, "", []string{"credentials-file-connected"}},
		{"but not that it may use the session key", []change{file, openPort, role(allowing(core + `,"kms:Decrypt"`)), prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(ownPolicies))},
			fleet.VerdictUnknown, "preferences-undecided", []string{"preferences-undecided", "credentials-file-connected"}},
		{"which an open shell proves", []change{file, openSession, prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(ownPolicies))}, fleet.VerdictReady, "", []string{"credentials-file-connected"}},
		{"no credentials file", []change{offline, noFile}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a leftover registration (issue 381)", []change{offline, leftover}, fleet.VerdictBlocked, "hybrid-registration", []string{"hybrid-registration", onlyNode}},
		{"a leftover registration of a heard agent", []change{leftover}, fleet.VerdictReady, "", []string{"hybrid-registration-connected"}},
		{"no registration, though a hybrid node has its name", []change{offline, clean, twin}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "nodes-without-instance"}},
		{"a hybrid node has the name of a silent host", []change{offline, unprobed, twin}, fleet.VerdictBlocked, onlyNode,
			[]string{onlyNode, "hybrid-registration-suspected", "ssh-not-scanned", "nodes-without-instance"}},
		{"the metadata service does not answer", []change{offline, imds(fleet.MetadataTest{Detail: "timed out"})}, fleet.VerdictBlocked, "imds-unreachable", []string{"imds-unreachable", onlyNode}},
		{"a proxy answers in its place (issue 134)", []change{offline, imds(fleet.MetadataTest{Reachable: true, Status: 403, Server: "squid"})}, fleet.VerdictBlocked, "proxy-answers-metadata", []string{"proxy-answers-metadata", onlyNode}},
		{"the metadata service answers", []change{offline, imds(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "EC2ws"})}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a heard agent has what it needs for now", []change{imds(fleet.MetadataTest{})}, fleet.VerdictReady, "", []string{"imds-unreachable-connected"}},
	})
}

func TestDefaultRole(t *testing.T) {
	underDefault := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Node.Value.IAMRole = "service-role/" + hostRole
	}
	trust := func(document string) change {
		return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) { s.Accounts[0].Roles.Value[1].Trust = document }
	}
	app := role(allowing(`"dynamodb:*","s3:GetObject"`))
	runCases(t, []verdictCase{
		{"commands change their credentials (issue 610)", []change{defaultRoleOn, underDefault, app}, fleet.VerdictReady, "", []string{"default-role-runs-commands"}},
		{"a bucket for backups is lost too", []change{defaultRoleOn, underDefault, role(`{"Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::backup/*"}}`)},
			fleet.VerdictReady, "", []string{"default-role-runs-commands"}},
		{"a profile that serves nothing else loses nothing", []change{defaultRoleOn, underDefault, role(allowing(`"ssm:GetParameter"`))}, fleet.VerdictReady, "", []string{}},
		{"what the default role allows as well is not lost", []change{defaultRoleOn, underDefault, app, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles.Value[1].Inline = map[string]string{"all": everything}
		}}, fleet.VerdictReady, "", []string{}},
		{"a role that Systems Manager may not assume serves nobody", []change{offline, noProfile, defaultRoleOn, trust(`{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`)},
			fleet.VerdictBlocked, "profile-missing", []string{"profile-missing", onlyNode}},
		{"a role that Systems Manager may assume", []change{offline, noProfile, defaultRoleOn, trust(`{"Statement":{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}}`)},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"an application's role that has to change", []change{offline, role(allowing(`"dynamodb:*"`))}, fleet.VerdictBlocked, lacks, []string{lacks, onlyNode, "role-serves-application"}},
	})
}

func TestRunCommand(t *testing.T) {
	const denied, risk = "run-command-denied", "agent-below-security-floor"
	sessions := role(allowing(heartbeat + `,"ssmmessages:*"`))
	association := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Node.Value.Association = "Failed" }
	runCases(t, []verdictCase{
		{"agents from 3.3.40.0 on need no ec2messages (systems-manager-setting-up-messageAPIs)", []change{sessions, agentVersion("3.3.40.0")}, fleet.VerdictReady, "", []string{risk}},
		{"older agents do", []change{sessions, agentVersion("3.3.39.0")}, fleet.VerdictReady, "", []string{denied, risk}},
		{"and have it from AmazonSSMManagedInstanceCore", []change{agentVersion("3.3.39.0")}, fleet.VerdictReady, "", []string{risk}},
		{"an association that fails for want of rights", []change{sessions, association}, fleet.VerdictReady, "", []string{"state-manager-denied"}},
		{"a Deny on S3 hits the agent's buckets", []change{role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::acme-*"}]}`)},
			fleet.VerdictReady, "", []string{"agent-buckets-denied"}},
	})
}
