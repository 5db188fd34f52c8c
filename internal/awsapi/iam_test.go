package awsapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

const (
	trustEC2  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	trustSSM  = `{"Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	inlineDoc = `{"Statement":[{"Effect":"Deny","Action":"ssm:*","Resource":"*","Condition":{"StringLike":{"aws:RequestTag/a+b":"50%* ü"}}}]}`
	coreDoc   = `{"Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation"],"Resource":"*"}]}`
	corePol   = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
	limitPol  = "arn:aws:iam::111122223333:policy/limit"
)

func iamEncode(doc string) string { return url.PathEscape(doc) }

func roleARN(name string) string { return "arn:aws:iam::111122223333:role/" + name }

func result(op, inner string) http.HandlerFunc {
	return xmlAnswer(fmt.Sprintf("<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", op, inner))
}

func profilesAnswer() http.HandlerFunc {
	return result("ListInstanceProfiles", `<IsTruncated>false</IsTruncated><InstanceProfiles>
<member><Arn>arn:aws:iam::111122223333:instance-profile/web</Arn><InstanceProfileName>web</InstanceProfileName><Roles><member><RoleName>web-role</RoleName></member></Roles></member>
<member><Arn>arn:aws:iam::111122223333:instance-profile/empty</Arn><InstanceProfileName>empty</InstanceProfileName><Roles/></member></InstanceProfiles>`)
}

var wantProfiles = []fleet.InstanceProfile{
	{ARN: "arn:aws:iam::111122223333:instance-profile/empty", Name: "empty"},
	{ARN: "arn:aws:iam::111122223333:instance-profile/web", Name: "web", Role: "web-role"},
}

var wantWeb = fleet.Role{
	Name: "web-role", ARN: roleARN("web-role"), Trust: trustEC2, Inline: map[string]string{"deny": inlineDoc},
	Attached: []string{corePol}, Boundary: limitPol, Tags: map[string]string{"team": "web"},
}

func wantPolicies(source string) []fleet.Policy {
	return []fleet.Policy{
		{ARN: limitPol, Name: "limit", Document: fleet.Known(coreDoc, source, time.Time{})},
		{ARN: corePol, Name: "AmazonSSMManagedInstanceCore", Document: fleet.Known(coreDoc, source, time.Time{})},
	}
}

func detailsAnswer(truncated bool) http.HandlerFunc {
	policy := func(arn, name string, used int) string {
		return fmt.Sprintf(`<member><Arn>%s</Arn><PolicyName>%s</PolicyName><DefaultVersionId>v2</DefaultVersionId><AttachmentCount>%d</AttachmentCount><PolicyVersionList>
<member><VersionId>v1</VersionId><IsDefaultVersion>false</IsDefaultVersion><Document>%s</Document></member>
<member><VersionId>v2</VersionId><IsDefaultVersion>true</IsDefaultVersion><Document>%s</Document></member></PolicyVersionList></member>`, arn, name, used, iamEncode(`{"old":true}`), iamEncode(coreDoc))
	}
	return result("GetAccountAuthorizationDetails", fmt.Sprintf(`<IsTruncated>%v</IsTruncated><Marker>m2</Marker><RoleDetailList><member>
<RoleName>web-role</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument>
<RolePolicyList><member><PolicyName>deny</PolicyName><PolicyDocument>%s</PolicyDocument></member></RolePolicyList>
<AttachedManagedPolicies><member><PolicyArn>%s</PolicyArn><PolicyName>x</PolicyName></member></AttachedManagedPolicies>
<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType><PermissionsBoundaryArn>%s</PermissionsBoundaryArn></PermissionsBoundary>
<InstanceProfileList><member><Arn>arn:aws:iam::111122223333:instance-profile/web</Arn><InstanceProfileName>web</InstanceProfileName><Roles><member><RoleName>web-role</RoleName></member></Roles></member></InstanceProfileList>
<Tags><member><Key>team</Key><Value>web</Value></member></Tags></member></RoleDetailList><Policies>%s%s%s</Policies>`,
		truncated, roleARN("web-role"), iamEncode(trustEC2), iamEncode(inlineDoc), corePol, limitPol,
		policy(corePol, "AmazonSSMManagedInstanceCore", 1), policy(limitPol, "limit", 0), policy("arn:aws:iam::aws:policy/Unused", "Unused", 0)))
}

// roleByRole answers all that is asked about single roles and policies.
func roleByRole(more map[string]http.HandlerFunc) map[string]http.HandlerFunc {
	answers := map[string]http.HandlerFunc{
		"sts:GetCallerIdentity":              xmlAnswer(callerIdentity),
		"iam:GetAccountAuthorizationDetails": queryError(403, "AccessDenied", "no details"),
		"iam:ListInstanceProfiles":           profilesAnswer(),
		"iam:ListRoles": result("ListRoles", fmt.Sprintf(`<IsTruncated>false</IsTruncated><Roles>
<member><RoleName>web-role</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></member>
<member><RoleName>dhmc</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></member>
<member><RoleName>lambda</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></member></Roles>`,
			roleARN("web-role"), iamEncode(trustEC2), roleARN("dhmc"), iamEncode(trustSSM), roleARN("lambda"), iamEncode(`{}`))),
		"iam:GetRole": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("RoleName") == "dhmc" {
				result("GetRole", fmt.Sprintf(`<Role><RoleName>dhmc</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></Role>`, roleARN("dhmc"), iamEncode(trustSSM)))(w, r)
				return
			}
			result("GetRole", fmt.Sprintf(`<Role><RoleName>web-role</RoleName><Arn>%s</Arn><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument>
<PermissionsBoundary><PermissionsBoundaryArn>%s</PermissionsBoundaryArn></PermissionsBoundary><Tags><member><Key>team</Key><Value>web</Value></member></Tags></Role>`, roleARN("web-role"), iamEncode(trustEC2), limitPol))(w, r)
		},
		"iam:ListAttachedRolePolicies": func(w http.ResponseWriter, r *http.Request) {
			var one string
			if r.FormValue("RoleName") == "web-role" {
				one = "<member><PolicyArn>" + corePol + "</PolicyArn></member>"
			}
			result("ListAttachedRolePolicies", "<IsTruncated>false</IsTruncated><AttachedPolicies>"+one+"</AttachedPolicies>")(w, r)
		},
		"iam:ListRolePolicies": func(w http.ResponseWriter, r *http.Request) {
			var one string
			if r.FormValue("RoleName") == "web-role" {
				one = "<member>deny</member>"
			}
			result("ListRolePolicies", "<IsTruncated>false</IsTruncated><PolicyNames>"+one+"</PolicyNames>")(w, r)
		},
		"iam:GetRolePolicy":    result("GetRolePolicy", "<RoleName>web-role</RoleName><PolicyName>deny</PolicyName><PolicyDocument>"+iamEncode(inlineDoc)+"</PolicyDocument>"),
		"iam:GetPolicy":        result("GetPolicy", "<Policy><DefaultVersionId>v2</DefaultVersionId></Policy>"),
		"iam:GetPolicyVersion": result("GetPolicyVersion", "<PolicyVersion><VersionId>v2</VersionId><IsDefaultVersion>true</IsDefaultVersion><Document>"+iamEncode(coreDoc)+"</Document></PolicyVersion>"),
	}
	for api, answer := range more {
		answers[api] = answer
	}
	return answers
}

func TestAccountFromOneListing(t *testing.T) {
	s := &script{answers: roleByRole(map[string]http.HandlerFunc{"iam:GetAccountAuthorizationDetails": detailsAnswer(false)})}
	got := serve(t, s, awsapi.Access{Label: "prod"}, awsapi.Options{}).Account(t.Context())
	checkAccount(t, got, []fleet.Role{wantWeb}, wantPolicies("iam:GetAccountAuthorizationDetails"))
	if s.count("iam:GetRole")+s.count("iam:ListRoles") != 0 {
		t.Error("roles were read one by one all the same")
	}
}

func TestAccountRoleByRoleWhereDetailsAreDenied(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"denied":          queryError(403, "AccessDenied", "no details"),
		"not implemented": queryError(501, "NotImplemented", "not here"),
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{answers: roleByRole(map[string]http.HandlerFunc{"iam:GetAccountAuthorizationDetails": answer})}
			got := serve(t, s, awsapi.Access{Label: "prod"}, awsapi.Options{}).Account(t.Context())
			dhmc := fleet.Role{Name: "dhmc", ARN: roleARN("dhmc"), Trust: trustSSM}
			checkAccount(t, got, []fleet.Role{dhmc, wantWeb}, wantPolicies("iam:GetPolicyVersion"))
		})
	}
}

func checkAccount(t *testing.T, got fleet.Account, roles []fleet.Role, policies []fleet.Policy) {
	t.Helper()
	if got.ID != "111122223333" || got.Caller.Value != "arn:aws:iam::111122223333:user/ops" || !got.Caller.Known || got.Label != "prod" {
		t.Errorf("account %q, %+v, %q", got.ID, got.Caller, got.Label)
	}
	if diff := cmp.Diff(wantProfiles, got.Profiles.Value, untimed); diff != "" || !got.Profiles.Known {
		t.Errorf("profiles: known %v %s (-want +got):\n%s", got.Profiles.Known, got.Profiles.Reason, diff)
	}
	if diff := cmp.Diff(roles, got.Roles.Value, untimed); diff != "" || !got.Roles.Known {
		t.Errorf("roles: known %v %s (-want +got):\n%s", got.Roles.Known, got.Roles.Reason, diff)
	}
	if diff := cmp.Diff(policies, got.Policies.Value, untimed); diff != "" || !got.Policies.Known {
		t.Errorf("policies: known %v %s (-want +got):\n%s", got.Policies.Known, got.Policies.Reason, diff)
	}
}

func TestAccountThatIsPartlyReadable(t *testing.T) {
	denied := func(what string) http.HandlerFunc { return queryError(403, "AccessDenied", what) }
	read := func(t *testing.T, more map[string]http.HandlerFunc) fleet.Account {
		t.Helper()
		return serve(t, &script{answers: roleByRole(more)}, awsapi.Access{}, awsapi.Options{}).Account(t.Context())
	}
	t.Run("the listing breaks off", func(t *testing.T) {
		got := read(t, map[string]http.HandlerFunc{"iam:GetAccountAuthorizationDetails": inTurn(detailsAnswer(true), denied("page 2"))})
		if len(got.Roles.Value) != 1 || got.Roles.Known || got.Roles.Reason != "AccessDenied: page 2" || len(got.Policies.Value) != 2 || got.Policies.Known {
			t.Errorf("roles %+v\npolicies %+v", got.Roles, got.Policies)
		}
	})
	t.Run("everything is denied", func(t *testing.T) {
		got := read(t, map[string]http.HandlerFunc{"iam:ListInstanceProfiles": denied("profiles"), "iam:ListRoles": denied("roles"), "sts:GetCallerIdentity": denied("who"), "route53:ListHostedZones": denied("zones")})
		for _, s := range got.Sources() {
			if s.Known || s.Count != 0 || s.Reason == "" {
				t.Errorf("%+v", s)
			}
		}
		if c := got.Caller; c.Source != "sts:GetCallerIdentity" || c.Reason != "AccessDenied: who" || c.At.IsZero() {
			t.Errorf("caller %+v", c)
		}
		if want := "AccessDenied: roles (and iam:GetAccountAuthorizationDetails: AccessDenied: no details)"; got.Roles.Reason != want || got.ID != "" {
			t.Errorf("reason %q, ID %q", got.Roles.Reason, got.ID)
		}
	})
	t.Run("profiles come from roles", func(t *testing.T) {
		got := read(t, map[string]http.HandlerFunc{"iam:ListInstanceProfiles": denied("profiles"), "iam:GetAccountAuthorizationDetails": detailsAnswer(false), "sts:GetCallerIdentity": denied("who")})
		if diff := cmp.Diff(wantProfiles[1:], got.Profiles.Value, untimed); diff != "" || got.Profiles.Known || !got.Roles.Known || got.ID != "111122223333" {
			t.Errorf("ID %q, known %v, (-want +got):\n%s", got.ID, got.Profiles.Known, diff)
		}
	})
	t.Run("one role and one policy are denied", func(t *testing.T) {
		got := read(t, map[string]http.HandlerFunc{
			"iam:GetRolePolicy": denied("inline"),
			"iam:ListAttachedRolePolicies": result("ListAttachedRolePolicies", "<IsTruncated>false</IsTruncated><AttachedPolicies><member><PolicyArn>"+
				corePol+"</PolicyArn></member></AttachedPolicies>"),
			"iam:GetPolicyVersion": denied("version"),
		})
		if len(got.Roles.Value) != 1 || got.Roles.Value[0].Name != "dhmc" || got.Roles.Known || !strings.HasPrefix(got.Roles.Reason, "role web-role: AccessDenied: inline") {
			t.Errorf("roles %+v", got.Roles)
		}
		if p := got.Policies.Value; len(p) != 1 || p[0].Document.Known || p[0].Document.Reason != "AccessDenied: version" {
			t.Errorf("policies %+v", got.Policies)
		}
	})
	t.Run("there is more, but no marker", func(t *testing.T) {
		got := read(t, map[string]http.HandlerFunc{"iam:ListInstanceProfiles": result("ListInstanceProfiles", "<IsTruncated>true</IsTruncated><InstanceProfiles/>")})
		if got.Profiles.Known || got.Profiles.Reason != "the endpoint says that there is more, but not where" {
			t.Errorf("profiles %+v", got.Profiles)
		}
	})
}

func FuzzPolicyDocuments(f *testing.F) {
	for _, doc := range []string{"", "{}", " {\"a\":\"%zz\"}", inlineDoc, "%", "%7B%7D", "100%"} {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		awsapi.Document(doc) // must not panic, whatever IAM says
		if got := awsapi.Document(iamEncode(doc)); !strings.HasPrefix(strings.TrimSpace(iamEncode(doc)), "{") && got != doc {
			t.Errorf("%q came back as %q", doc, got)
		}
	})
}
