package readiness_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

func noProfile(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.ProfileARN = "" }

func defaultRoleOn(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
	r.DefaultRole.Value = "service-role/" + hostRole
}

// role replaces the policies of the host's role by one inline policy.
func role(document string) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		r := &s.Accounts[0].Roles.Value[0]
		r.Attached, r.Inline = nil, map[string]string{"own": document}
	}
}

func boundary(document string) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		const arn = "arn:aws:iam::" + accountID + ":policy/limit"
		s.Accounts[0].Roles.Value[0].Boundary = arn
		s.Accounts[0].Policies.Value = append(s.Accounts[0].Policies.Value, fleet.Policy{ARN: arn, Document: known(document, "iam:GetPolicyVersion")})
	}
}

const (
	onlyNode    = "node-not-registered"
	lacks       = "role-lacks-session-actions"
	bounded     = "boundary-denies-session-actions"
	shutOut     = "default-role-shut-out"
	denyChannel = `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ssmmessages:Open*","Resource":"*"}]}`
	conditional = `{"Statement":{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`
)

func TestCredentials(t *testing.T) {
	oldAgent := agentVersion("3.2.581.0")
	runCases(t, []verdictCase{
		{"no profile and no default role", []change{offline, noProfile},
			fleet.VerdictBlocked, "profile-missing", []string{"profile-missing", onlyNode}},
		{"no profile, default role serves (fleet-manager-default-host-management-configuration)", []change{offline, noProfile, defaultRoleOn},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"default role needs agent 3.2.582.0", []change{offline, noProfile, defaultRoleOn, oldAgent},
			fleet.VerdictBlocked, "profile-missing", []string{"profile-missing", onlyNode, "agent-below-security-floor"}},
		{"default role needs IMDSv2; with tokens optional nobody can tell", []change{offline, noProfile, defaultRoleOn, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Metadata.Tokens = "optional"
		}}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "default-role-unknown"}},
		{"default role with an unknown agent", []change{offline, noProfile, defaultRoleOn, unprobed},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode, "default-role-unknown", "ssh-not-scanned"}},
		{"default role's setting was not read", []change{silent, noProfile, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DefaultRole = lost[string]("ssm:GetServiceSetting", "AccessDenied")
		}}, fleet.VerdictUnknown, "node-unknown", []string{"default-role-unknown", "node-unknown"}},
		{"metadata off leaves no credentials at all", []change{offline, noProfile, defaultRoleOn, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Metadata.Endpoint = "disabled"
		}}, fleet.VerdictBlocked, "imds-disabled", []string{"imds-disabled", "profile-missing", onlyNode}},
		{"profile without a role", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Profiles.Value[0].Role = ""
		}}, fleet.VerdictBlocked, "profile-without-role", []string{"profile-without-role", onlyNode}},
		{"EC2 may not assume the role", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles.Value[0].Trust = `{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`
		}}, fleet.VerdictBlocked, "profile-without-role", []string{"profile-without-role", onlyNode}},
		{"EC2 may not assume the role, default role serves", []change{offline, defaultRoleOn, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles.Value[0].Trust = `{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`
		}}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"profile that no longer exists", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Profiles.Value = nil
		}}, fleet.VerdictBlocked, "profile-without-role", []string{"profile-without-role", onlyNode}},
		{"profile that an incomplete list leaves out", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Profiles = fleet.Partial[fleet.InstanceProfile](nil, "iam:ListInstanceProfiles", at, "throttled")
		}}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "role-unreadable"}},
		{"profile that an incomplete list shows", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Profiles.Known = false
		}}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"connected under the default role", []change{noProfile, defaultRoleOn, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Node.Value.IAMRole = "service-role/" + hostRole
		}}, fleet.VerdictReady, "", []string{}},
		{"connected without any credentials that were read", []change{noProfile},
			fleet.VerdictUnknown, "identity-disagreement", []string{"identity-disagreement"}},
	})
}

func TestRole(t *testing.T) {
	runCases(t, []verdictCase{
		{"nothing allowed", []change{offline, role(allowing(`"s3:GetObject"`))}, fleet.VerdictBlocked, lacks, []string{lacks, onlyNode}},
		{"heartbeat alone", []change{offline, role(allowing(heartbeat))}, fleet.VerdictBlocked, lacks, []string{lacks, onlyNode}},
		{"heartbeat alone shuts the default role out", []change{offline, defaultRoleOn, role(allowing(heartbeat))},
			fleet.VerdictBlocked, shutOut, []string{shutOut, onlyNode}},
		{"without heartbeat the default role serves", []change{offline, defaultRoleOn, role(allowing(`"s3:GetObject"`))},
			fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"explicit Deny wins (reference_policies_evaluation-logic)", []change{offline, role(denyChannel)},
			fleet.VerdictBlocked, lacks, []string{lacks, onlyNode, "role-too-broad", "role-serves-application"}},
		{"a boundary must allow as well", []change{offline, boundary(allowing(`"s3:*"`))}, fleet.VerdictBlocked, bounded, []string{bounded, onlyNode}},
		{"a boundary that allows", []change{offline, boundary(allowing(`"*"`))}, fleet.VerdictBlocked, onlyNode, []string{onlyNode}},
		{"a boundary that was not read", []change{offline, func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles.Value[0].Boundary = "arn:aws:iam::1:policy/gone"
		}}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "role-unreadable"}},
		{"a condition on a key that is not known", []change{offline, role(conditional)}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "role-undecided"}},
		{"a broken document is unknown", []change{offline, role(`{"Statement":`)}, fleet.VerdictBlocked, onlyNode, []string{onlyNode, "role-unreadable"}},
		{"an open channel settles three actions, not the data channel", []change{role(allowing(heartbeat + "," + channels))},
			fleet.VerdictBlocked, lacks, []string{lacks}},
		{"a connected host's data channel under a condition", []change{role(conditional)},
			fleet.VerdictUnknown, "role-undecided", []string{"role-undecided"}},
		{"a connected host whose role was not read", []change{func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles = lost[[]fleet.Role]("iam:GetAccountAuthorizationDetails", "AccessDenied")
		}}, fleet.VerdictUnknown, "role-unreadable", []string{"role-unreadable"}},
		{"a connected host whose role says it cannot be", []change{role(allowing(`"s3:GetObject"`))},
			fleet.VerdictUnknown, "identity-disagreement", []string{"identity-disagreement"}},
		{"a heartbeat without the channel actions", []change{role(allowing(heartbeat)), func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Connection.Value = "notconnected"
		}}, fleet.VerdictBlocked, lacks, []string{lacks, "node-not-connected"}},
		{"a heartbeat that the role forbids comes from other credentials", []change{role(allowing(channels)), func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Connection.Value = "notconnected"
		}}, fleet.VerdictBlocked, "node-not-connected", []string{"node-not-connected", "identity-disagreement"}},
		{"a wide role is a risk for others", []change{role(allowing(`"*"`))}, fleet.VerdictReady, "", []string{"role-too-broad"}},
		{"AmazonEC2RoleforSSM is too broad", []change{func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			const arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2RoleforSSM"
			s.Accounts[0].Roles.Value[0].Attached = []string{arn}
			s.Accounts[0].Policies.Value = append(s.Accounts[0].Policies.Value, fleet.Policy{ARN: arn, Document: known(allowing(core+`,"s3:*"`), "iam")})
		}}, fleet.VerdictReady, "", []string{"role-too-broad"}},
	})
}

func TestRoleFindingNamesWhatIsMissingAndWhoShares(t *testing.T) {
	a := assess(offline, defaultRoleOn, role(allowing(heartbeat)), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		for _, id := range []string{"i-2", "i-3"} {
			s.Hosts = append(s.Hosts, healthyHost(id))
		}
	})
	f := finding(t, a, shutOut)
	if f.Object != roleARN || f.Blast != "role web is used by 3 hosts through instance profiles" {
		t.Errorf("object %q, blast %q", f.Object, f.Blast)
	}
	for _, action := range []string{"CreateControlChannel", "OpenControlChannel", "CreateDataChannel", "OpenDataChannel"} {
		if !strings.Contains(factsOf(f), action) || !strings.Contains(f.Fix, action) {
			t.Errorf("%s is missing from facts or fix:\n%s%s", action, factsOf(f), f.Fix)
		}
	}
	if strings.Contains(factsOf(f), "does not allow ssm:UpdateInstanceInformation") {
		t.Errorf("the heartbeat is allowed:\n%s", factsOf(f))
	}
	if !strings.Contains(f.Fix, "take ssm:UpdateInstanceInformation out of the role") {
		t.Errorf("the fix does not offer the default role: %s", f.Fix)
	}
}

func TestBroadRoleIsOneFindingForAllHosts(t *testing.T) {
	a := assess(role(allowing(`"*"`)), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		for _, id := range []string{"i-2", "i-3", "i-4"} {
			s.Hosts = append(s.Hosts, healthyHost(id))
		}
	})
	if len(a.Findings) != 1 || a.Findings[0].Host != "" || !strings.Contains(a.Findings[0].Blast, "4 hosts") {
		t.Errorf("findings %+v", a.Findings)
	}
}
