package readiness

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// holds evaluates one Condition element of a current document.
func holds(t *testing.T, text string, ctx requestContext) answer {
	t.Helper()
	var raw map[string]map[string]conditionValues
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return newCondition(raw, languageVersion).holds(ctx)
}

// The cases are those of the tables in the IAM User Guide,
// reference_policies_elements_condition_operators (operators),
// reference_policies_condition-single-vs-multi-valued-context-keys (sets) and
// reference_policies_condition-logic-multiple-context-keys-or-values (logic).
func TestConditionOperators(t *testing.T) {
	is := func(key string, values ...string) requestContext { return requestContext{{key: values}} }
	lacks := func(key string) requestContext { return requestContext{{key: nil}} }
	const job, org, tags, typ = "aws:principaltag/job-category", "aws:resourceorgpaths", "aws:tagkeys", "ec2:instancetype"
	const onlyTags = `{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]},"Null":{"aws:TagKeys":"false"}}`
	const anyTag = `{"ForAnyValue:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`
	const outside = `{"ForAllValues:StringNotLike":{"aws:ResourceOrgPaths":["o-a/r-a/ou-media/","o-a/r-a/ou-sports/*"]}}`
	const small = `{"StringLikeIfExists":{"ec2:InstanceType":["t1.*","t2.*","m3.*"]}}`
	const topic = `{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-west-2:123456789012:TOPIC-ID"}}`
	for _, c := range []struct {
		name, condition string
		ctx             requestContext
		want            answer
	}{
		{"operators: StringEquals matches", `{"StringEquals":{"aws:PrincipalTag/job-category":"iamuser-admin"}}`, is(job, "iamuser-admin"), yes},
		{"operators: StringEquals differs", `{"StringEquals":{"aws:PrincipalTag/job-category":"iamuser-admin"}}`, is(job, "dev-ops"), no},
		{"operators: StringEquals without the key", `{"StringEquals":{"aws:PrincipalTag/job-category":"iamuser-admin"}}`, lacks(job), no},
		{"operators: StringEquals of a key that is not known", `{"StringEquals":{"aws:PrincipalTag/job-category":"iamuser-admin"}}`, nil, maybe},
		{"operators: StringEquals is case sensitive", `{"StringEquals":{"k":"A"}}`, is("k", "a"), no},
		{"operators: StringEqualsIgnoreCase", `{"StringEqualsIgnoreCase":{"k":"A"}}`, is("k", "a"), yes},
		{"operators: StringNotEqualsIgnoreCase", `{"StringNotEqualsIgnoreCase":{"k":"A"}}`, is("k", "a"), no},
		{"operators: a negated one without the key", `{"StringNotEquals":{"k":"A"}}`, lacks("k"), yes},
		{"operators: StringNotLike without the key", `{"StringNotLike":{"k":"A*"}}`, lacks("k"), yes},
		{"operators: StringNotLike", `{"StringNotLike":{"k":["A*","B?"]}}`, is("k", "B1"), no},
		{"operators: NumericLessThanEquals at the limit", `{"NumericLessThanEquals":{"s3:max-keys":"10"}}`, is("s3:max-keys", "10"), yes},
		{"operators: NumericLessThanEquals above", `{"NumericLessThanEquals":{"s3:max-keys":10}}`, is("s3:max-keys", "11"), no},
		{"operators: numbers are no strings", `{"NumericEquals":{"k":"1.0"}}`, is("k", "1"), yes},
		{"operators: NumericNotEquals", `{"NumericNotEquals":{"k":["1","2"]}}`, is("k", "2"), no},
		{"operators: NumericGreaterThan", `{"NumericGreaterThan":{"k":"2"}}`, is("k", "10"), yes},
		{"operators: NumericLessThan", `{"NumericLessThan":{"k":"2"}}`, is("k", "10"), no},
		{"operators: NumericGreaterThanEquals without the key", `{"NumericGreaterThanEquals":{"k":"2"}}`, lacks("k"), no},
		{"operators: what is no number stays open", `{"NumericEquals":{"k":"ten"}}`, is("k", "10"), maybe},
		{"operators: DateGreaterThan", `{"DateGreaterThan":{"aws:TokenIssueTime":"2020-01-01T00:00:01Z"}}`, is("aws:tokenissuetime", "2026-11-01T00:00:00Z"), yes},
		{"operators: DateGreaterThan without the key", `{"DateGreaterThan":{"aws:TokenIssueTime":"2020-01-01T00:00:01Z"}}`, lacks("aws:tokenissuetime"), no},
		{"operators: dates take seconds since 1970", `{"DateLessThan":{"aws:CurrentTime":"1577836801"}}`, is("aws:currenttime", "2019-12-31T23:59:59Z"), yes},
		{"operators: DateNotEquals", `{"DateNotEquals":{"k":"2020-01-01"}}`, is("k", "2020-01-01T00:00:00Z"), no},
		{"operators: DateEquals over time zones", `{"DateEquals":{"k":"2020-01-01T01:00+01:00"}}`, is("k", "2020-01-01T00:00:00Z"), yes},
		{"operators: Bool matches", `{"Bool":{"aws:SecureTransport":"false"}}`, is("aws:securetransport", "false"), yes},
		{"operators: Bool differs", `{"Bool":{"aws:SecureTransport":"false"}}`, is("aws:securetransport", "true"), no},
		{"operators: Bool without the key", `{"Bool":{"aws:SecureTransport":"false"}}`, lacks("aws:securetransport"), no},
		{"operators: BoolIfExists without the key", `{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}`, lacks("aws:multifactorauthpresent"), yes},
		{"operators: BinaryEquals matches", `{"BinaryEquals":{"key":"QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}`, is("key", "QmluYXJ5VmFsdWVJbkJhc2U2NA=="), yes},
		{"operators: BinaryEquals differs", `{"BinaryEquals":{"key":"QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}`, is("key", "b3RoZXI="), no},
		{"operators: BinaryEquals without the key", `{"BinaryEquals":{"key":"QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}`, lacks("key"), no},
		{"operators: IpAddress in the range", `{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, is("aws:sourceip", "203.0.113.1"), yes},
		{"operators: IpAddress outside", `{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, is("aws:sourceip", "198.51.100.1"), no},
		{"operators: IpAddress through an endpoint has no key", `{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, lacks("aws:sourceip"), no},
		{"operators: IpAddress of IPv6", `{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:DB8:1234:5678::/64"]}}`, is("aws:sourceip", "2001:db8:1234:5678::1"), yes},
		{"operators: one address stands for itself", `{"IpAddress":{"aws:SourceIp":"203.0.113.7"}}`, is("aws:sourceip", "203.0.113.7"), yes},
		{"operators: NotIpAddress", `{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, is("aws:sourceip", "203.0.113.1"), no},
		{"operators: ArnEquals matches", topic, is("aws:sourcearn", "arn:aws:sns:us-west-2:123456789012:TOPIC-ID"), yes},
		{"operators: ArnEquals of another account", topic, is("aws:sourcearn", "arn:aws:sns:us-west-2:777788889999:TOPIC-ID"), no},
		{"operators: ArnEquals without the key", topic, lacks("aws:sourcearn"), no},
		{"operators: ArnEquals takes wildcards", `{"ArnEquals":{"k":"arn:aws:iam::*:role/ops-*"}}`, is("k", "arn:aws:iam::1:role/ops-1"), yes},
		{"operators: a wildcard of an ARN stays within its part", `{"ArnLike":{"k":"arn:aws:*:role/a"}}`, is("k", "arn:aws:iam::1:role/a"), maybe},
		{"operators: parts are compared for themselves", `{"ArnLike":{"k":"arn:aws:s*:us:1:a"}}`, is("k", "arn:aws:sns:eu:us:1:a"), no},
		{"operators: ArnNotLike", `{"ArnNotLike":{"k":"arn:aws:iam::*:role/ops"}}`, is("k", "arn:aws:iam::1:role/ops"), no},
		{"operators: StringLikeIfExists matches", small, is(typ, "t1.micro"), yes},
		{"operators: StringLikeIfExists differs", small, is(typ, "m2.micro"), no},
		{"operators: StringLikeIfExists without the key", small, lacks(typ), yes},
		{"operators: StringNotEqualsIfExists of a Deny without the key", `{"StringNotEqualsIfExists":{"k":"a"}}`, lacks("k"), yes},
		{"operators: Null true without the key", `{"Null":{"aws:TokenIssueTime":"true"}}`, lacks("aws:tokenissuetime"), yes},
		{"operators: Null false without the key", `{"Null":{"aws:TokenIssueTime":"false"}}`, lacks("aws:tokenissuetime"), no},
		{"operators: Null false with the key", `{"Null":{"aws:TokenIssueTime":false}}`, is("aws:tokenissuetime", "x"), yes},
		{"operators: Null of a key that is not known", `{"Null":{"aws:TokenIssueTime":"false"}}`, nil, maybe},
		{"operators: an operator that is not known", `{"StringMatches":{"k":"a"}}`, is("k", "a"), maybe},
		{"operators: Null takes no IfExists", `{"NullIfExists":{"k":"true"}}`, is("k", "a"), maybe},

		{"sets: ForAllValues, one of them", onlyTags, is(tags, "environment"), yes},
		{"sets: ForAllValues, both", onlyTags, is(tags, "environment", "cost-center"), yes},
		{"sets: ForAllValues, another as well", onlyTags, is(tags, "environment", "dept"), no},
		{"sets: ForAllValues and Null, no key", onlyTags, lacks(tags), no},
		{"sets: ForAllValues is true without the key", `{"ForAllValues:StringEquals":{"k":"a"}}`, lacks("k"), yes},
		{"sets: ForAnyValue, one of them", anyTag, is(tags, "cost-center"), yes},
		{"sets: ForAnyValue, another as well", anyTag, is(tags, "environment", "dept"), yes},
		{"sets: ForAnyValue, another", anyTag, is(tags, "dept"), no},
		{"sets: ForAnyValue without the key", anyTag, lacks(tags), no},
		{"operators: ForAllValues:StringNotLike, none of them", outside, is(org, "o-a/r-a/ou-hr/"), yes},
		{"operators: ForAllValues:StringNotLike, one of them", outside, is(org, "o-a/r-a/ou-hr/", "o-a/r-a/ou-sports/costcenter/"), no},
		{"operators: ForAllValues:StringNotLike without the key is told in two ways", outside, lacks(org), maybe},
		{"operators: ForAnyValue:StringNotEquals", `{"ForAnyValue:StringNotEquals":{"k":"a"}}`, is("k", "a", "b"), yes},
		{"operators: ForAllValues:ArnLike without the key", `{"ForAllValues:ArnLike":{"k":"arn:aws:cloudfront::1:distribution/*"}}`, lacks("k"), yes},
		{"operators: ForAnyValue:Bool", `{"ForAnyValue:Bool":{"k":"true"}}`, is("k", "false", "true"), yes},
		{"sets: several values without a set operator that agree", `{"StringLike":{"k":"a*"}}`, is("k", "a1", "a2"), yes},
		{"sets: several values without a set operator that differ", `{"StringLike":{"k":"a*"}}`, is("k", "a1", "b"), maybe},

		{"logic: values are alternatives", `{"StringEquals":{"k":["a","b"]}}`, is("k", "b"), yes},
		{"logic: negated values are none of them", `{"StringNotEquals":{"k":["a","b"]}}`, is("k", "b"), no},
		{"logic: keys all have to match", `{"StringEquals":{"k":"a","l":"b"}}`, requestContext{{"k": {"a"}, "l": {"c"}}}, no},
		{"logic: operators all have to match", `{"StringEquals":{"k":"a"},"ArnNotLike":{"l":["arn:aws:iam::2:user/Ana","arn:aws:iam::2:user/Mary"]}}`,
			requestContext{{"k": {"a"}, "l": {"arn:aws:iam::2:user/Nikki"}}}, yes},
		{"logic: one of them does not", `{"StringEquals":{"k":"a"},"ArnNotLike":{"l":["arn:aws:iam::2:user/Ana","arn:aws:iam::2:user/Mary"]}}`,
			requestContext{{"k": {"a"}, "l": {"arn:aws:iam::2:user/Mary"}}}, no},
		{"logic: a no outweighs what is not known", `{"StringEquals":{"k":"a"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, is("k", "b"), no},
		{"logic: no values match nothing", `{"StringEquals":{"k":[]}}`, is("k", "b"), no},
	} {
		if got := holds(t, c.condition, c.ctx); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The cases are those of the IAM User Guide, reference_policies_variables.
func TestPolicyVariables(t *testing.T) {
	david := requestContext{{"aws:username": {"David"}, "aws:userid": {"AIDA1"}, "aws:principaltag/team": {"yellow"}, "aws:principaltag/": nil, "aws:tagkeys": {"a", "b"}}}
	starred := requestContext{{"aws:username": {"*"}}}
	for _, c := range []struct {
		name, version, resource, on string
		ctx                         requestContext
		want                        answer
	}{
		{"a user's own", languageVersion, "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/David/x", david, yes},
		{"somebody else's", languageVersion, "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/Ann/x", david, no},
		{"names of keys have no case", languageVersion, "arn:aws:s3:::b/${AWS:UserName}/*", "arn:aws:s3:::b/David/x", david, yes},
		{"a principal's tag", languageVersion, "arn:aws:s3:::b-${aws:PrincipalTag/team, 'company-wide'}", "arn:aws:s3:::b-yellow", david, yes},
		{"a default of a tag that is there", languageVersion, "arn:aws:s3:::b-${aws:PrincipalTag/team, 'company-wide'}", "arn:aws:s3:::b-company-wide", david, no},
		{"a default of a tag that is not there", languageVersion, "arn:aws:s3:::b-${aws:PrincipalTag/dept, 'company-wide'}", "arn:aws:s3:::b-company-wide", david, yes},
		{"a variable without a value matches nothing", languageVersion, "arn:aws:s3:::b-${aws:PrincipalTag/dept}", "arn:aws:s3:::b-", david, no},
		{"a variable that is not known", languageVersion, "arn:aws:s3:::b-${aws:SourceIdentity}", "arn:aws:s3:::b-x", david, maybe},
		{"a variable that is not known and cannot match", languageVersion, "arn:aws:s3:::b-${aws:SourceIdentity}", "arn:aws:s3:::c", david, no},
		{"a key with several values is no variable", languageVersion, "arn:aws:s3:::b-${aws:TagKeys}", "arn:aws:s3:::b-a", david, maybe},
		{"${*} is a star", languageVersion, "arn:aws:s3:::b/${*}", "arn:aws:s3:::b/*", david, yes},
		{"${*} is no wildcard", languageVersion, "arn:aws:s3:::b/${*}", "arn:aws:s3:::b/x", david, no},
		{"${?} is a question mark", languageVersion, "arn:aws:s3:::b/${?}", "arn:aws:s3:::b/x", david, no},
		{"${$} is a dollar", languageVersion, "arn:aws:s3:::b/${$}{x}", "arn:aws:s3:::b/${x}", david, yes},
		{"a value's star is no wildcard", languageVersion, "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/David", starred, no},
		{"the old language has none", oldLanguageVersion, "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/David", david, no},
		{"there they are plain text", oldLanguageVersion, "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/${aws:username}", david, yes},
		{"without a version it is the old language", "", "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/${aws:username}", david, yes},
		{"a variable without an end", languageVersion, "arn:aws:s3:::b/${aws:username", "arn:aws:s3:::b/David", david, maybe},
	} {
		if got := newPattern(c.resource, c.version).matches(c.on, c.ctx); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name, condition string
		ctx             requestContext
		want            answer
	}{
		{"a tag of the resource and the principal's", `{"StringEquals":{"ssm:resourceTag/team":"${aws:PrincipalTag/team}"}}`, append(requestContext{{"ssm:resourcetag/team": {"yellow"}}}, david...), yes},
		{"another team's", `{"StringEquals":{"ssm:resourceTag/team":"${aws:PrincipalTag/team}"}}`, append(requestContext{{"ssm:resourcetag/team": {"red"}}}, david...), no},
		{"a positive operator and a variable without a value", `{"StringLike":{"k":"${aws:PrincipalTag/dept}"}}`, append(requestContext{{"k": {"x"}}}, david...), no},
		{"an inverted operator and a variable without a value", `{"StringNotEquals":{"k":"${aws:PrincipalTag/dept}"}}`, append(requestContext{{"k": {"x"}}}, david...), yes},
		{"own sessions", `{"StringLike":{"ssm:resourceTag/aws:ssmmessages:session-id":"${aws:userid}*"}}`, append(requestContext{{"ssm:resourcetag/aws:ssmmessages:session-id": {"AIDA1"}}}, david...), yes},
		{"a variable in a range is none", `{"IpAddress":{"k":"${aws:username}"}}`, append(requestContext{{"k": {"10.0.0.1"}}}, david...), maybe},
	} {
		if got := holds(t, c.condition, c.ctx); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Sources: IAM User Guide, reference_policies_elements_principal and
// reference_policies_elements_notprincipal; AWS KMS Developer Guide,
// key-policy-default; IAM User Guide, reference_policies_evaluation-logic.
func TestResourcePolicies(t *testing.T) {
	const own, other = "111122223333", "444455556666"
	ann := caller{arn: "arn:aws:iam::" + own + ":user/ann", account: own, id: "AIDA1"}
	web := caller{arn: "arn:aws:iam::" + own + ":role/web", account: own, session: "arn:aws:sts::" + own + ":assumed-role/web/i-1"}
	ops := caller{arn: "arn:aws:iam::" + own + ":role/team/ops", account: own}
	statement := func(effect, who string) string {
		return `{"Effect":"` + effect + `",` + who + `,"Action":"kms:*","Resource":"*"}`
	}
	allow := func(who string) string { return statement("Allow", `"Principal":`+who) }
	deny := func(who string) string { return statement("Deny", `"Principal":`+who) }
	notDeny := func(who string) string { return statement("Deny", `"NotPrincipal":`+who) }
	root := `{"AWS":"arn:aws:iam::` + own + `:root"}`
	all := one(`{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`)
	bound := readPolicy("limit", `{"Statement":{"Effect":"Allow","Action":"ssm:*","Resource":"*"}}`)
	bounded := permissions{identity: all.identity, boundary: &bound}
	bars := readPolicy("limit", `{"Statement":{"Effect":"Deny","Action":"kms:*","Resource":"*"}}`)
	denying := permissions{identity: all.identity, boundary: &bars}
	for _, c := range []struct {
		name  string
		may   permissions
		who   caller
		owner string
		text  []string
		want  answer
	}{
		{"key: a policy that names nobody of the account", all, ann, own, []string{allow(`{"Service":"logs.amazonaws.com"}`)}, no},
		{"key: the account's policies decide", all, ann, own, []string{allow(root)}, yes},
		{"key: the short form of the account", all, ann, own, []string{allow(`{"AWS":"` + own + `"}`)}, yes},
		{"key: the account's policies say nothing", permissions{}, ann, own, []string{allow(root)}, no},
		{"key: the user is named", permissions{}, ann, own, []string{allow(`{"AWS":["` + ann.arn + `"]}`)}, yes},
		{"key: the user is named by its ID", permissions{}, ann, own, []string{allow(`{"AWS":"AIDA1"}`)}, yes},
		{"key: another user is named", all, ann, own, []string{allow(`{"AWS":"` + ann.arn + `2"}`)}, no},
		{"key: no wildcards within a principal", all, ann, own, []string{allow(`{"AWS":"arn:aws:iam::` + own + `:user/*"}`)}, no},
		{"key: anyone", permissions{}, ann, own, []string{allow(`"*"`)}, yes},
		{"key: anyone, as AWS principal", permissions{}, ann, own, []string{allow(`{"AWS":"*"}`)}, yes},
		{"key: the role is named", permissions{}, web, own, []string{allow(`{"AWS":"` + web.arn + `"}`)}, yes},
		{"key: the role's session is named", permissions{}, web, own, []string{allow(`{"AWS":"` + web.session + `"}`)}, yes},
		{"key: a session of a role whose sessions are not known", permissions{}, ops, own, []string{allow(`{"AWS":"arn:aws:sts::` + own + `:assumed-role/ops/ann"}`)}, maybe},
		{"key: a session of another role", permissions{}, ops, own, []string{allow(`{"AWS":"arn:aws:sts::` + own + `:assumed-role/dev/ann"}`)}, no},
		{"key: a canonical user may be anybody", permissions{}, ann, own, []string{allow(`{"CanonicalUser":"79a5"}`)}, maybe},
		{"key: a Deny of the account is a Deny of everybody in it", all, ann, own, []string{allow(root), deny(root)}, no},
		{"key: a Deny of somebody else", all, ann, own, []string{allow(root), deny(`{"AWS":"` + web.arn + `"}`)}, yes},
		{"key: NotPrincipal spares whom it names", all, ann, own, []string{allow(root), notDeny(`{"AWS":["` + ann.arn + `","arn:aws:iam::` + own + `:root"]}`)}, yes},
		{"key: NotPrincipal denies whom it does not name", all, ann, own, []string{allow(root), notDeny(`{"AWS":"arn:aws:iam::` + other + `:root"}`)}, no},
		{"key: NotPrincipal that names the account only", all, ann, own, []string{allow(root), notDeny(root)}, maybe},
		{"key: NotPrincipal that names a role but not its session", all, web, own, []string{allow(root), notDeny(`{"AWS":"` + web.arn + `"}`)}, maybe},
		{"key: NotPrincipal denies whoever has a boundary", all, caller{arn: ann.arn, account: own, bounded: true}, own, []string{allow(root), notDeny(`{"AWS":"` + ann.arn + `"}`)}, no},
		{"key: a boundary must allow it too", bounded, web, own, []string{allow(root)}, no},
		{"key: a boundary's silence limits a grant to the role", bounded, web, own, []string{allow(`{"AWS":"` + web.arn + `"}`)}, no},
		{"key: it does not limit a grant to the role's session (access_policies_boundaries)", bounded, web, own, []string{allow(`{"AWS":"` + web.session + `"}`)}, yes},
		{"key: nor one to a session that may be this one", bounded, ops, own, []string{allow(`{"AWS":"arn:aws:sts::` + own + `:assumed-role/ops/ann"}`)}, maybe},
		{"key: nor one to the user (access_policies_boundaries)", bounded, ann, own, []string{allow(`{"AWS":"` + ann.arn + `"}`)}, yes},
		{"key: it limits one to the account", bounded, ann, own, []string{allow(root)}, no},
		{"key: a boundary's Deny stops a grant to the user", denying, ann, own, []string{allow(`{"AWS":"` + ann.arn + `"}`)}, no},
		{"key of another account: a boundary's silence limits a grant to the user", bounded, ann, other, []string{allow(`{"AWS":"` + ann.arn + `"}`)}, no},
		{"key of another account: both must allow it", all, ann, other, []string{allow(root)}, yes},
		{"key of another account: its policy alone", permissions{}, ann, other, []string{allow(root)}, no},
		{"key of another account: the own policies alone", all, ann, other, []string{allow(`{"AWS":"arn:aws:iam::` + other + `:root"}`)}, no},
	} {
		doc, err := parseDocument(`{"Version":"2012-10-17","Statement":[` + strings.Join(c.text, ",") + `]}`)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		d := c.may.decideWith(resourcePolicy{name: "the key's policy", account: c.owner, needsPolicy: true, doc: doc}, c.who, "kms:Decrypt", "arn:aws:kms:eu-west-1:"+c.owner+":key/1", nil)
		if d.allowed != c.want || d.why == "" {
			t.Errorf("%s: %s (%q), want %s", c.name, d.allowed, d.why, c.want)
		}
	}
	bucket := resourcePolicy{name: "the bucket's policy", account: own}
	if d := one(`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`).decideWith(bucket, ann, "s3:PutObject", "arn:aws:s3:::b/x", nil); d.allowed != yes {
		t.Errorf("a bucket of the account without a policy: %s (%s)", d.allowed, d.why)
	}
	if d := (permissions{}).decideWith(bucket, ann, "s3:PutObject", "arn:aws:s3:::b/x", nil); d.allowed != no || !d.ungranted {
		t.Errorf("a bucket without a policy grants: %s (%s)", d.allowed, d.why)
	}
	unread := resourcePolicy{name: "the key's policy", account: own, needsPolicy: true, gap: "AccessDenied"}
	if d := all.decideWith(unread, ann, "kms:Decrypt", "*", nil); d.allowed != maybe || !d.unread || !strings.Contains(d.why, "AccessDenied") {
		t.Errorf("a key whose policy was not read: %s (%s)", d.allowed, d.why)
	}
}

// user's permissions: its own policies, its groups', its boundary, its organization's.
func TestUserPermissions(t *testing.T) {
	doc := func(action string) fleet.Fact[string] {
		return fleet.Fact[string]{Known: true, Value: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"arn:aws:ssm:*:*:session/${aws:username}-*"}}`}
	}
	s := &fleet.Snapshot{Accounts: []fleet.Account{{
		ID:       "1",
		Policies: fleet.Fact[[]fleet.Policy]{Known: true, Value: []fleet.Policy{{ARN: "arn:aws:iam::1:policy/own", Document: doc("ssm:ResumeSession")}}},
		Groups: fleet.Fact[[]fleet.IAMGroup]{Known: true, Value: []fleet.IAMGroup{
			{Name: "ops", Inline: map[string]string{"x": doc("ssm:TerminateSession").Value}},
		}},
		Users: fleet.Fact[[]fleet.IAMUser]{Known: true, Value: []fleet.IAMUser{
			{Name: "ann", ID: "AIDA1", ARN: "arn:aws:iam::1:user/ann", Groups: []string{"ops"}, Attached: []string{"arn:aws:iam::1:policy/own"}},
			{Name: "bob", ID: "AIDA2", ARN: "arn:aws:iam::1:user/bob", Groups: []string{"gone"}},
		}},
		ControlLevels: fleet.Fact[[]fleet.ControlLevel]{Known: true, Value: []fleet.ControlLevel{{Target: "r-1", Policies: []fleet.Policy{
			{Name: "p", Document: fleet.Fact[string]{Known: true, Value: `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ssm:SendCommand","Resource":"*"}]}`}},
		}}}},
	}}}
	a := newAuthority(s)
	for _, c := range []struct {
		user             int
		action, resource string
		want             answer
	}{
		{0, "ssm:ResumeSession", "arn:aws:ssm:eu-west-1:1:session/ann-1", yes},
		{0, "ssm:TerminateSession", "arn:aws:ssm:eu-west-1:1:session/ann-1", yes},
		{0, "ssm:TerminateSession", "arn:aws:ssm:eu-west-1:1:session/bob-1", no},
		{0, "ssm:SendCommand", "*", no},
		{1, "ssm:ResumeSession", "arn:aws:ssm:eu-west-1:1:session/bob-1", maybe},
		{1, "ssm:SendCommand", "*", no},
	} {
		v := a.users[c.user]
		if d := v.may.decide(c.action, c.resource, requestContext{v.context}); d.allowed != c.want {
			t.Errorf("%s %s on %s: %s (%s), want %s", v.user.Name, c.action, c.resource, d.allowed, d.why, c.want)
		}
	}
}

// The file holds, for each shape of statement that occurs in AWS's managed
// policies (elements, operators, variables, lists and single values), the
// shortest statement that has it, long lists cut to three entries.
// Source: zoph-io/MAMIP of 2026-03-07, 1,523 policies.
func TestManagedPoliciesParse(t *testing.T) {
	text, err := os.ReadFile("testdata/managed_policies.json")
	if err != nil {
		t.Fatal(err)
	}
	var policies map[string]json.RawMessage
	if err := json.Unmarshal(text, &policies); err != nil || len(policies) < 20 {
		t.Fatalf("%d policies, %v", len(policies), err)
	}
	for name, document := range policies {
		p := readPolicy(name, string(document))
		if p.gap != "" || len(p.doc.statements) == 0 {
			t.Errorf("%s: %s", name, p.gap)
		}
		for i, s := range p.doc.statements {
			for _, c := range s.condition {
				if c.operator == "" {
					t.Errorf("%s: statement %d has an operator that is not known", name, i+1)
				}
			}
		}
	}
}

// conditionText draws a Condition on two keys, over a small alphabet.
func conditionText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		set := rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "set")
		op := rapid.SampledFrom([]string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "ArnLike", "ArnNotLike", "Bool", "NumericLessThan", "DateGreaterThan", "NotIpAddress", "StringEqualsIgnoreCase"}).Draw(t, "operator")
		exists := rapid.SampledFrom([]string{"", "IfExists"}).Draw(t, "exists")
		key := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")
		value := rapid.SampledFrom([]string{`"a"`, `"*"`, `["a","1"]`, `"${l}"`, `"arn:a:b:c:d:e"`, `"10.0.0.0/8"`, `"true"`}).Draw(t, "value")
		return `{"` + set + op + exists + `":{"` + key + `":` + value + `}}`
	})
}

func someContext() *rapid.Generator[requestContext] {
	return rapid.Custom(func(t *rapid.T) requestContext {
		v := contextValues{}
		for _, key := range []string{"k", "l"} {
			switch rapid.IntRange(0, 2).Draw(t, key) {
			case 0:
				v[key] = nil
			case 1:
				v[key] = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "1", "true", "arn:a:b:c:d:e", "10.0.0.1"}), 1, 2).Draw(t, "values")
			}
		}
		return requestContext{v}
	})
}

// What is known settles answers and never turns one around: an evaluation that
// knows more agrees with one that knew less and was sure.
func TestKnowingMoreNeverContradicts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var raw map[string]map[string]conditionValues
		if err := json.Unmarshal([]byte(conditionText().Draw(t, "condition")), &raw); err != nil {
			t.Fatal(err)
		}
		c := newCondition(raw, languageVersion)
		full := someContext().Draw(t, "context")
		less := contextValues{}
		for key, v := range full[0] {
			if rapid.Bool().Draw(t, "keep "+key) {
				less[key] = v
			}
		}
		was, is := c.holds(requestContext{less}), c.holds(full)
		if was != maybe && is != was {
			t.Fatalf("%v: %s when less was known, %s now", raw, was, is)
		}
	})
}

func TestLimitsNeverWiden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statements := func(name string) string {
			return `{"Version":"2012-10-17","Statement":[` + strings.Join(rapid.SliceOfN(rapid.OneOf(statementText("Allow"), statementText("Deny")), 0, 4).Draw(t, name), ",") + `]}`
		}
		own := one(statements("own"))
		bound := readPolicy("b", statements("boundary"))
		limited := map[string]permissions{
			"boundary": {identity: own.identity, boundary: &bound},
			"level":    {identity: own.identity, levels: []controls{{target: "r-1", policies: []policyText{readPolicy("c", statements("control"))}}}},
		}
		ctx := someContext().Draw(t, "context")
		for name, p := range limited {
			for _, resource := range []string{"*", "arn:x"} {
				if was, is := own.decide("ssm:A", resource, ctx).allowed, p.decide("ssm:A", resource, ctx).allowed; is > was {
					t.Fatalf("%s turns %s into %s", name, was, is)
				}
			}
		}
	})
}

func TestNotActionIsTheComplement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom([]string{`"*"`, `"ssm:*"`, `"ssm:A"`, `"ssm:?"`, `"s3:*"`, `"*:A"`}), 1, 3).Draw(t, "actions")
		action := rapid.SampledFrom([]string{"ssm:A", "ssm:AB", "s3:A", "s3:B"}).Draw(t, "action")
		decide := func(element string) answer {
			return one(`{"Statement":{"Effect":"Allow","`+element+`":[`+strings.Join(list, ",")+`],"Resource":"*"}}`).decide(action, "*", nil).allowed
		}
		if decide("Action") == decide("NotAction") {
			t.Fatalf("%s is named by Action and NotAction of %v alike", action, list)
		}
	})
}

func TestActionsHaveNoCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := one(`{"Statement":[` + rapid.OneOf(statementText("Allow"), statementText("Deny")).Draw(t, "statement") + `,{"Effect":"Allow","Action":"SSM:a*","Resource":"*"}]}`)
		action := rapid.StringMatching(`(ssm|s3):[AaBb]{1,3}`).Draw(t, "action")
		if x, y := p.decide(action, "*", nil).allowed, p.decide(strings.ToUpper(action), "*", nil).allowed; x != y {
			t.Fatalf("%s: %s, in upper case %s", action, x, y)
		}
	})
}

// A memo must not change an answer.
func TestMemoChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := one(`{"Version":"2012-10-17","Statement":[` + strings.Join(rapid.SliceOfN(rapid.OneOf(statementText("Allow"), statementText("Deny")), 1, 4).Draw(t, "statements"), ",") + `]}`)
		kept := p
		kept.memo = map[string]*relevant{}
		for range 2 {
			for _, action := range []string{"ssm:A", "SSM:A", "s3:B"} {
				ctx := someContext().Draw(t, "context")
				if a, b := p.decide(action, "arn:x", ctx), kept.decide(action, "arn:x", ctx); fmt.Sprint(a) != fmt.Sprint(b) {
					t.Fatalf("%+v, remembered %+v", a, b)
				}
			}
		}
	})
}

func FuzzResourcePolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:root"},"Action":"kms:*","Resource":"*"}]}`, "arn:aws:iam::1:role/x")
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["*"],"Service":"x"},"Action":"kms:*","Resource":"${a"}}`, "arn:aws:sts::1:assumed-role/x/y")
	f.Fuzz(func(t *testing.T, text, arn string) {
		doc, err := parseDocument(text)
		r := resourcePolicy{name: "policy", account: "1", needsPolicy: true, doc: doc}
		if err != nil {
			r.gap = err.Error()
		}
		who := caller{arn: arn, account: "1"}
		nobody := (permissions{}).decideWith(r, who, "kms:Decrypt", "arn:aws:kms:x:1:key/1", nil)
		denied := one(`{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`).decideWith(r, who, "kms:Decrypt", "arn:aws:kms:x:1:key/1", nil)
		if nobody.why == "" || denied.allowed != no {
			t.Errorf("nobody %+v, denied %+v", nobody, denied)
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add("ForAllValues:StringNotLikeIfExists", "${aws:PrincipalTag/team, 'x'}*", "value")
	f.Add("DateLessThan", "2020-01-01T00:00:00Z", "1577836800")
	f.Add("IpAddress", "10.0.0.0/8", "::ffff:10.0.0.1")
	f.Add("ArnLike", "arn:aws:iam::*:role/${*}", "arn:aws:iam::1:role/*")
	f.Fuzz(func(t *testing.T, operator, want, got string) {
		raw := map[string]map[string]conditionValues{operator: {"k": {want}}}
		for _, version := range []string{languageVersion, oldLanguageVersion} {
			c := newCondition(raw, version)
			for _, ctx := range []requestContext{nil, {{"k": nil}}, {{"k": {got}}}, {{"k": {got, want}}}} {
				if a := c.holds(ctx); a < no || a > yes {
					t.Errorf("answer %d", a)
				}
			}
			if a := c.holds(nil); a != maybe {
				t.Errorf("%s of a key that is not known: %s", strconv.Quote(operator), a)
			}
		}
	})
}
