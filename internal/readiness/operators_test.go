package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

const (
	userARN = "arn:aws:iam::" + accountID + ":user/alice"
	opsARN  = "arn:aws:iam::" + accountID + ":role/ops"
)

// trustPeople lets a SAML provider's users assume a role.
const trustPeople = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/idp"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"SAML:aud":"https://signin.aws.amazon.com/saml"}}}]}`

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func statementOf(effect, actions, resources, condition string) string {
	s := `{"Effect":"` + effect + `","Action":` + actions + `,"Resource":` + resources
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return s + "}"
}

// withTags is a snapshot with a host for each given tag set, all in one account
// and Region, whose users are known.
func withTags(tags ...map[string]string) *fleet.Snapshot {
	s := healthy()
	s.Accounts[0].Users = known([]fleet.IAMUser{}, "iam:GetAccountAuthorizationDetails")
	s.Accounts[0].Groups = known([]fleet.IAMGroup{}, "iam:GetAccountAuthorizationDetails")
	s.Hosts = nil
	for i, t := range tags {
		h := healthyHost(fmt.Sprintf("i-%d", i+1))
		h.Tags = t
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

func addUser(s *fleet.Snapshot, policy string) *fleet.IAMUser {
	u := fleet.IAMUser{Name: "alice", ID: "AIDAALICE", ARN: userARN, Tags: map[string]string{"dept": "web"}, Inline: map[string]string{"p": policy}}
	s.Accounts[0].Users.Value = append(s.Accounts[0].Users.Value, u)
	return &s.Accounts[0].Users.Value[len(s.Accounts[0].Users.Value)-1]
}

func addRole(s *fleet.Snapshot, trust, policy string) *fleet.Role {
	r := fleet.Role{Name: "ops", ID: "AROAOPS", ARN: opsARN, Trust: trust, Inline: map[string]string{"p": policy}}
	s.Accounts[0].Roles.Value = append(s.Accounts[0].Roles.Value, r)
	return &s.Accounts[0].Roles.Value[len(s.Accounts[0].Roles.Value)-1]
}

const (
	instances = `"arn:aws:ec2:*:*:instance/*"`
	preferred = `"arn:aws:ssm:*:*:document/SSM-SessionManagerRunShell"`
	sshSesson = `"arn:aws:ssm:*:*:document/AWS-StartSSHSession"`
)

var (
	channel   = statementOf("Allow", `"ssmmessages:OpenDataChannel"`, `"arn:aws:ssm:*:*:session/${aws:userid}-*"`, "")
	documents = statementOf("Allow", `"ssm:StartSession"`, `[`+preferred+`]`, "")
	onWeb     = statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringLike":{"ssm:resourceTag/team":["web"]}}`)
)

// operatorCodes are the findings about an operator.
func operatorCodes(a *fleet.Assessment) []string {
	out := []string{}
	for _, f := range a.Findings {
		if strings.HasPrefix(f.Code, "operator") {
			out = append(out, f.Code)
		}
	}
	return out
}

func TestOperators(t *testing.T) {
	all := statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,`+preferred+`]`, "")
	for _, c := range []struct {
		name   string
		policy string
		role   bool
		start  fleet.Reach
		codes  []string
	}{
		{"the guide's policy by tag, documents apart (getting-started-restrict-access-examples)", policyOf(onWeb, documents, channel), false, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"the same for federated users", policyOf(onWeb, documents, channel), true, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"the guide's policy for the default document (getting-started-default-session-document)", policyOf(all, channel), false, fleet.Reach{Yes: 3}, []string{"operator-unrestricted"}},
		{"one instance by ARN", policyOf(statementOf("Allow", `"ssm:StartSession"`, `["arn:aws:ec2:eu-west-1:111122223333:instance/i-2",`+preferred+`]`, ""), channel), false, fleet.Reach{Yes: 1, No: 2}, []string{}},
		{"another Region's instances", policyOf(statementOf("Allow", `"ssm:StartSession"`, `["arn:aws:ec2:us-east-1:*:instance/*",`+preferred+`]`, ""), channel), false, fleet.Reach{}, []string{}},
		{"instances only: the default document is not named", policyOf(onWeb, channel), false, fleet.Reach{Unknown: 2, No: 1}, []string{"operator-document-implicit"}},
		{"a document only, without the check (AWS SSM Quirks)", policyOf(statementOf("Allow", `"ssm:StartSession"`, `["arn:aws:ec2:*:*:instance/i-1",`+sshSesson+`]`, ""), channel), false, fleet.Reach{Unknown: 1, No: 2}, []string{"operator-document-unchecked"}},
		{"a document only, with the check (getting-started-sessiondocumentaccesscheck)", policyOf(statementOf("Allow", `"ssm:StartSession"`, `["arn:aws:ec2:*:*:instance/i-1",`+sshSesson+`]`, `{"BoolIfExists":{"ssm:SessionDocumentAccessCheck":"true"}}`), channel), false, fleet.Reach{}, []string{}},
		{"a tag condition on documents too (awsome-distributed-ai pull 1137)", policyOf(statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,`+preferred+`]`, `{"StringEquals":{"aws:ResourceTag/team":"web"}}`), channel), false, fleet.Reach{Unknown: 2, No: 1}, []string{"operator-tag-on-document"}},
		{"a tag condition on another document too", policyOf(statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,"arn:aws:ssm:eu-west-1:*:document/Team-Shell"]`, `{"StringEquals":{"aws:ResourceTag/team":"web"}}`), channel), false, fleet.Reach{Unknown: 2, No: 1}, []string{"operator-document-unchecked", "operator-tag-on-document"}},
		{"the default document of another Region", policyOf(onWeb, statementOf("Allow", `"ssm:StartSession"`, `"arn:aws:ssm:us-east-1:*:document/SSM-SessionManagerRunShell"`, ""), channel), false, fleet.Reach{Unknown: 2, No: 1}, []string{"operator-document-implicit"}},
		{"a tag that no host has", policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/squad":"web"}}`), documents, channel, statementOf("Allow", `"ssm:SendCommand"`, `"*"`, "")), false, fleet.Reach{No: 3}, []string{"operator-root-command", "operator-tags-match-nothing"}},
		{"compared with a tag of the principal (IAM User Guide, access_tags)", policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/team":"${aws:PrincipalTag/dept}"}}`), documents, channel), false, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"compared with a tag that the user lacks", policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/team":"${aws:PrincipalTag/squad}"}}`), documents, channel, statementOf("Allow", `"ssm:UpdateDocument"`, `"*"`, "")), false, fleet.Reach{No: 3}, []string{"operator-edits-preferences", "operator-tags-match-nothing"}},
		{"compared with a session tag, which nobody can foresee", policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/team":"${aws:PrincipalTag/squad}"}}`), documents, channel), true, fleet.Reach{Unknown: 3}, []string{}},
		{"tag names in another case (IAM User Guide, reference_policies_condition-keys)", policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/TEAM":"web"}}`), documents, channel), false, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"without the data channel", policyOf(onWeb, documents), false, fleet.Reach{Unknown: 2, No: 1}, []string{"operator-data-channel"}},
		{"own sessions of IAM users", policyOf(onWeb, documents, channel, statementOf("Allow", `["ssm:ResumeSession","ssm:TerminateSession"]`, `"arn:aws:ssm:*:*:session/${aws:username}-*"`, "")), false, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"${aws:username} in a role", policyOf(onWeb, documents, channel, statementOf("Allow", `["ssm:ResumeSession","ssm:TerminateSession"]`, `"arn:aws:ssm:*:*:session/${aws:username}-*"`, "")), true, fleet.Reach{Yes: 2, No: 1}, []string{"operator-username-variable"}},
		{"own sessions of roles by the session's tag", policyOf(onWeb, documents, channel, statementOf("Allow", `["ssm:ResumeSession","ssm:TerminateSession"]`, `"*"`, `{"StringLike":{"ssm:resourceTag/aws:ssmmessages:session-id":["${aws:userid}*"]}}`)), true, fleet.Reach{Yes: 2, No: 1}, []string{}},
		{"everybody's sessions", policyOf(onWeb, documents, channel, statementOf("Allow", `["ssm:ResumeSession","ssm:TerminateSession"]`, `"arn:aws:ssm:*:*:session/*"`, "")), false, fleet.Reach{Yes: 2, No: 1}, []string{"operator-others-sessions"}},
		{"with a second factor only", policyOf(statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,`+preferred+`]`, `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`), channel), false, fleet.Reach{Unknown: 3}, []string{}},
		{"a Deny on some hosts", policyOf(all, channel, statementOf("Deny", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/team":"web"}}`)), false, fleet.Reach{Yes: 1, No: 2}, []string{"operator-unrestricted"}},
		{"a Deny of the default document", policyOf(all, channel, statementOf("Deny", `"ssm:StartSession"`, preferred, "")), false, fleet.Reach{}, []string{}},
		{"administrators are no surprise", policyOf(statementOf("Allow", `"*"`, `"*"`, "")), false, fleet.Reach{Yes: 3}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := withTags(map[string]string{"team": "web"}, map[string]string{"team": "web"}, map[string]string{"team": "db"})
			if c.role {
				addRole(s, trustPeople, c.policy)
			} else {
				addUser(s, c.policy)
			}
			a := judge(s)
			checkFindings(t, a)
			if got := operatorCodes(a); !slices.Equal(got, c.codes) {
				t.Errorf("findings %v, want %v", got, c.codes)
			}
			if c.start == (fleet.Reach{}) {
				for _, o := range a.Operators {
					if o.Start.Yes+o.Start.Unknown > 0 {
						t.Errorf("starts %+v, want none: %s", o.Start, o.Why)
					}
				}
				return
			}
			if len(a.Operators) != 1 || a.Operators[0].Start != c.start {
				t.Fatalf("operators %+v, want one that starts %+v", a.Operators, c.start)
			}
			if o := a.Operators[0]; c.role != (o.Kind == "role") || c.role != o.Federated {
				t.Errorf("kind %s, federated %t", o.Kind, o.Federated)
			}
		})
	}
}

// Evidence names condition keys as the policy writes them.
func TestConditionKeysAreQuotedAsWritten(t *testing.T) {
	s := withTags(map[string]string{"team": "web"})
	addUser(s, policyOf(
		statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,`+preferred+`]`, `{"StringEquals":{"ssm:resourceTag/Team":"web"}}`),
		statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"aws:ResourceTag/Squad":"web"}}`), channel,
		statementOf("Allow", `"ssm:UpdateDocument"`, `"*"`, "")))
	a := judge(s)
	for code, want := range map[string]string{
		"operator-tag-on-document":    "demands ssm:resourceTag/Team of SSM-SessionManagerRunShell",
		"operator-tags-match-nothing": "it demands aws:ResourceTag/Squad, and none of 1 host has that tag",
	} {
		if f := finding(t, a, code); !strings.Contains(factsOf(f), want) {
			t.Errorf("%s does not say %q:\n%s", code, want, factsOf(f))
		}
	}
	if f := finding(t, a, "operator-edits-preferences"); !strings.Contains(f.Fix, "ssm:CreateDocument, ssm:UpdateDocument, ssm:UpdateDocumentDefaultVersion and ssm:DeleteDocument") {
		t.Errorf("the fix does not name the actions: %s", f.Fix)
	}
}

func TestOperatorsDetails(t *testing.T) {
	s := withTags(nil, nil)
	s.Regions[0].Documents = known([]fleet.SessionDocument{{Name: "Team-Ports", Owner: accountID}}, "ssm:ListDocuments")
	addUser(s, policyOf(
		statementOf("Allow", `"ssm:StartSession"`, `[`+instances+`,`+preferred+`,`+sshSesson+`,"arn:aws:ssm:*:*:document/Team-*"]`, ""), channel,
		statementOf("Allow", `"ssm:SendCommand"`, `["arn:aws:ec2:*:*:instance/i-1","arn:aws:ssm:*::document/AWS-RunShellScript"]`, ""),
		statementOf("Allow", `"ssm:*Document"`, `"arn:aws:ssm:*:*:document/SSM-*"`, ""),
	))
	p := readiness.DefaultPolicy()
	p.Owners = []fleet.Owner{{Person: "Alice", Principals: []string{userARN}}}
	a := readiness.Assess(s, p, now)
	want := fleet.Operator{
		ARN: userARN, Kind: "user", People: []string{"Alice"},
		Start: fleet.Reach{Yes: 2}, Resume: fleet.Reach{No: 2}, Terminate: fleet.Reach{No: 2}, Command: fleet.Reach{Yes: 1, No: 1},
		Documents: []string{"AWS-StartSSHSession", "Team-Ports"}, Unrestricted: true, EditPreferences: fleet.TruthYes, Why: "inline policy p allows it",
	}
	if len(a.Operators) != 1 || fmt.Sprint(a.Operators[0]) != fmt.Sprint(want) {
		t.Errorf("operators %+v\nwant %+v", a.Operators, want)
	}
}

// Source: IAM User Guide, reference_policies_elements_principal.
func TestWhoAssumesRoles(t *testing.T) {
	trust := func(principal, action string) string {
		return `{"Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"` + action + `"}]}`
	}
	for _, c := range []struct {
		name, trust string
		is, fed     bool
	}{
		{"a service", trust(`{"Service":"ec2.amazonaws.com"}`, "sts:AssumeRole"), false, false},
		{"the account", trust(`{"AWS":"arn:aws:iam::111122223333:root"}`, "sts:AssumeRole"), true, false},
		{"a service and the account", trust(`{"Service":"ec2.amazonaws.com","AWS":"111122223333"}`, "sts:AssumeRole"), true, false},
		{"SAML", trustPeople, true, true},
		{"OIDC", trust(`{"Federated":"arn:aws:iam::1:oidc-provider/accounts.example"}`, "sts:AssumeRoleWithWebIdentity"), true, true},
		{"another action", trust(`{"AWS":"111122223333"}`, "sts:TagSession"), false, false},
		{"a trust policy that is not understood", `{`, true, false},
		{"none", "", false, false},
	} {
		s := withTags(nil)
		addRole(s, c.trust, policyOf(statementOf("Allow", `"*"`, `"*"`, "")))
		a := judge(s)
		if got := len(a.Operators) == 1; got != c.is {
			t.Errorf("%s: operators %+v", c.name, a.Operators)
		} else if got && a.Operators[0].Federated != c.fed {
			t.Errorf("%s: federated %t", c.name, a.Operators[0].Federated)
		}
	}
	s := withTags(nil)
	r := addRole(s, trust(`{"AWS":"111122223333"}`, "sts:AssumeRole"), policyOf(statementOf("Allow", `"*"`, `"*"`, "")))
	r.ARN = "arn:aws:iam::" + accountID + ":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123"
	if a := judge(s); len(a.Operators) != 1 || !a.Operators[0].Federated {
		t.Errorf("IAM Identity Center's role: %+v", a.Operators)
	}
}

// A user's groups, its boundary and the organization decide as well.
func TestOperatorsWithin(t *testing.T) {
	grant := policyOf(statementOf("Allow", `["ssm:StartSession","ssmmessages:OpenDataChannel"]`, `"*"`, ""))
	for _, c := range []struct {
		name   string
		change func(*fleet.Snapshot, *fleet.IAMUser)
		start  fleet.Reach
	}{
		{"by a group", func(s *fleet.Snapshot, u *fleet.IAMUser) {
			u.Inline, u.Groups = nil, []string{"ops"}
			s.Accounts[0].Groups.Value = []fleet.IAMGroup{{Name: "ops", Inline: map[string]string{"g": grant}}}
		}, fleet.Reach{Yes: 1}},
		{"by a group that was not read", func(s *fleet.Snapshot, u *fleet.IAMUser) {
			u.Inline, u.Groups = nil, []string{"ops"}
		}, fleet.Reach{Unknown: 1}},
		{"a boundary that does not allow it", func(s *fleet.Snapshot, u *fleet.IAMUser) { u.Boundary = coreARN }, fleet.Reach{}},
		{"an organization that denies it", func(s *fleet.Snapshot, u *fleet.IAMUser) {
			s.Accounts[0].ControlLevels = known([]fleet.ControlLevel{{Target: "r-1", Policies: []fleet.Policy{{Name: "deny", Document: known(policyOf(
				statementOf("Allow", `"*"`, `"*"`, ""), statementOf("Deny", `"ssm:StartSession"`, `"*"`, "")), "organizations")}}}}, "organizations")
		}, fleet.Reach{}},
	} {
		s := withTags(nil)
		c.change(s, addUser(s, grant))
		a := judge(s)
		got := fleet.Reach{}
		if len(a.Operators) == 1 {
			got = a.Operators[0].Start
		}
		if got.Yes != c.start.Yes || got.Unknown != c.start.Unknown {
			t.Errorf("%s: %+v, want %+v", c.name, a.Operators, c.start)
		}
	}
}

// Source: AWS Systems Manager User Guide, session-preferences-enable-encryption.
func TestOperatorsNeedTheSessionsKey(t *testing.T) {
	const arn = "arn:aws:kms:" + regionName + ":" + accountID + ":key/k"
	const delegates = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID + `:root"},"Action":"kms:*","Resource":"*"}]}`
	for _, c := range []struct {
		name, more, policy string
		start              fleet.Reach
		code               bool
	}{
		{"with the right", statementOf("Allow", `"kms:GenerateDataKey"`, `"`+arn+`"`, ""), delegates, fleet.Reach{Yes: 1}, false},
		{"without it", channel, delegates, fleet.Reach{}, true},
		{"a key that leaves nothing to policies", statementOf("Allow", `"kms:*"`, `"*"`, ""), `{"Statement":[]}`, fleet.Reach{}, true},
	} {
		s := withTags(map[string]string{"team": "web"})
		prefer(`"kmsKeyId":"`+arn+`"`, sessionKey(fleet.KMSKey{ID: arn, ARN: arn, Exists: true, State: "Enabled", Policy: known(c.policy, "kms:GetKeyPolicy")}))(s, &s.Hosts[0], &s.Regions[0])
		addUser(s, policyOf(onWeb, documents, channel, c.more))
		a := judge(s)
		got := fleet.Reach{}
		if len(a.Operators) == 1 {
			got = a.Operators[0].Start
		}
		if got.Yes != c.start.Yes || got.Unknown != c.start.Unknown || slices.Contains(codes(a), "operator-session-key") != c.code {
			t.Errorf("%s: %+v, findings %v", c.name, a.Operators, codes(a))
		}
	}
}

// Who shall only forward ports needs no key: advice to grant it would open the
// shell that the grant does not mean.
func TestKeyIsNotAdvisedToWhoOnlyForwardsPorts(t *testing.T) {
	const arn = "arn:aws:kms:" + regionName + ":" + accountID + ":key/k"
	s := withTags(nil)
	prefer(`"kmsKeyId":"`+arn+`"`, sessionKey(fleet.KMSKey{ID: arn, ARN: arn, Exists: true, State: "Enabled", Policy: known(ownPolicies, "kms:GetKeyPolicy")}))(s, &s.Hosts[0], &s.Regions[0])
	addUser(s, policyOf(statementOf("Allow", `"ssm:StartSession"`, `["arn:aws:ec2:*:*:instance/*",`+sshSesson+`]`, ""), channel))
	a := judge(s)
	if slices.Contains(codes(a), "operator-session-key") {
		t.Errorf("findings %v", codes(a))
	}
	if f := finding(t, a, "operator-document-unchecked"); !strings.Contains(factsOf(f), "kms:GenerateDataKey") {
		t.Errorf("it does not tell what keeps the shell shut: %s", factsOf(f))
	}
}

func TestUsersThatWereNotReadAreAFinding(t *testing.T) {
	s := withTags(nil)
	s.Accounts[0].Users = lost[[]fleet.IAMUser]("iam:GetAccountAuthorizationDetails", "AccessDenied")
	a := judge(s)
	if f := finding(t, a, "operators-unread"); f.Object != accountID || !strings.Contains(factsOf(f), "AccessDenied") {
		t.Errorf("finding %+v", f)
	}
	checkFindings(t, a)
}

// Hosts that policies cannot tell apart share an answer. That must give what
// looking at each host by itself gives.
func TestClassesOfHostsShareAnswersRightly(t *testing.T) {
	tag := rapid.MapOfN(rapid.SampledFrom([]string{"team", "Env", "Name"}), rapid.SampledFrom([]string{"web", "db", "x"}), 0, 3)
	resource := rapid.SampledFrom([]string{
		`"*"`, instances, `"arn:aws:ec2:eu-west-1:*:instance/i-1"`, `["arn:aws:ec2:*:*:instance/i-?",` + preferred + `]`, `"arn:aws:ec2:us-east-1:*:*"`, preferred,
		`"arn:aws:ec2:*:*:instance/${aws:username}"`,
	})
	condition := rapid.SampledFrom([]string{
		"", `{"StringEquals":{"ssm:resourceTag/team":"web"}}`, `{"StringNotEquals":{"aws:ResourceTag/env":"db"}}`, `{"Null":{"aws:ResourceTag/name":"true"}}`,
		`{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}`, `{"StringLike":{"ssm:resourceTag/team":"${aws:PrincipalTag/dept}"}}`,
	})
	rapid.Check(t, func(t *rapid.T) {
		s := withTags(rapid.SliceOfN(tag, 1, 6).Draw(t, "hosts")...)
		for i := range s.Hosts {
			s.Hosts[i].Region = rapid.SampledFrom([]string{regionName, "us-east-1"}).Draw(t, "Region")
		}
		var statements []string
		for range rapid.IntRange(1, 4).Draw(t, "statements") {
			statements = append(statements, statementOf(rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"),
				rapid.SampledFrom([]string{`"ssm:StartSession"`, `"*"`, `"ssm:SendCommand"`}).Draw(t, "action"), resource.Draw(t, "resource"), condition.Draw(t, "condition")))
		}
		addUser(s, policyOf(statements...))
		together := judge(s)
		var sum fleet.Reach
		for i := range s.Hosts {
			one := *s
			one.Hosts = s.Hosts[i : i+1]
			if a := judge(&one); len(a.Operators) == 1 {
				sum.Yes += a.Operators[0].Start.Yes
				sum.Unknown += a.Operators[0].Start.Unknown
			}
		}
		var got fleet.Reach
		if len(together.Operators) == 1 {
			got = together.Operators[0].Start
		}
		if got.Yes != sum.Yes || got.Unknown != sum.Unknown {
			t.Fatalf("together %+v, one by one %+v", got, sum)
		}
	})
}
