package readiness

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

func one(documents ...string) permissions {
	var p permissions
	for _, d := range documents {
		p.identity = append(p.identity, readPolicy("p", d))
	}
	return p
}

// The rules are those of the IAM User Guide: reference_policies_elements_* for
// single elements, reference_policies_evaluation-logic for their weighing.
func TestDecide(t *testing.T) {
	const action = "ssmmessages:OpenDataChannel"
	allow := func(what string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + what + `}]}`
	}
	deny := func(what string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny",` + what + `}]}`
	}
	const everything = `"Action":"*","Resource":"*"`
	for _, c := range []struct {
		name     string
		p        permissions
		action   string
		resource string
		want     answer
	}{
		{"nothing", permissions{}, action, "*", no},
		{"exact", one(allow(`"Action":"ssmmessages:OpenDataChannel","Resource":"*"`)), action, "*", yes},
		{"actions are compared without case", one(allow(`"Action":"SSMMessages:opendatachannel","Resource":"*"`)), action, "*", yes},
		{"list", one(allow(`"Action":["s3:Get*","ssmmessages:*"],"Resource":["*"]`)), action, "*", yes},
		{"star inside", one(allow(`"Action":"ssm*:Open*Channel","Resource":"*"`)), action, "*", yes},
		{"question mark is one character", one(allow(`"Action":"ssmmessages:OpenDataChanne?","Resource":"*"`)), action, "*", yes},
		{"question mark is not none", one(allow(`"Action":"ssmmessages:OpenDataChannel?","Resource":"*"`)), action, "*", no},
		{"another service", one(allow(`"Action":"ssm:*","Resource":"*"`)), action, "*", no},
		{"single statement object", one(`{"Statement":{"Effect":"Allow",` + everything + `}}`), action, "*", yes},
		{"empty statement list", one(`{"Statement":[]}`), action, "*", no},
		{"deny in another policy", one(allow(everything), deny(`"Action":"ssmmessages:Open*","Resource":"*"`)), action, "*", no},
		{"deny of another action", one(allow(everything), deny(`"Action":"ssm:*","Resource":"*"`)), action, "*", yes},
		{"NotAction allows the rest", one(allow(`"NotAction":"iam:*","Resource":"*"`)), action, "*", yes},
		{"NotAction leaves out", one(allow(`"NotAction":["iam:*","ssmmessages:*"],"Resource":"*"`)), action, "*", no},
		{"Deny NotAction denies the rest", one(allow(everything), deny(`"NotAction":"s3:*","Resource":"*"`)), action, "*", no},
		{"an action without resource types needs the star", one(allow(`"Action":"ssmmessages:*","Resource":"arn:aws:ec2:*:*:instance/*"`)), action, "*", no},
		{"resource match", one(allow(`"Action":"ssm:*","Resource":"arn:aws:ec2:*:*:instance/*"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", yes},
		{"resources are compared with case", one(allow(`"Action":"ssm:*","Resource":"arn:aws:ec2:*:*:Instance/*"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", no},
		{"NotResource", one(allow(`"Action":"ssm:*","NotResource":"arn:aws:ec2:*:*:instance/i-2"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", yes},
		{"NotResource leaves out", one(allow(`"Action":"ssm:*","NotResource":"*"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", no},
		{"policy variable", one(allow(`"Action":"ssm:*","Resource":"arn:aws:ec2:*:*:instance/${aws:PrincipalTag/id}"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", maybe},
		{"policy variable that cannot match", one(allow(`"Action":"ssm:*","Resource":"arn:aws:s3:::${aws:username}"`)), "ssm:UpdateInstanceInformation", "arn:aws:ec2:eu-west-1:1:instance/i-1", no},
		{"conditional Allow", one(allow(everything + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)), action, "*", maybe},
		{"conditional Allow beside a plain one", one(allow(everything+`,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), allow(everything)), action, "*", yes},
		{"conditional Deny", one(allow(everything), deny(everything+`,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)), action, "*", maybe},
		{"conditional Deny of nothing allowed", one(deny(everything + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)), action, "*", no},
		{"condition on the Region that holds", one(allow(everything + `,"Condition":{"StringEquals":{"aws:requestedregion":["us-east-1","eu-west-1"]}}`)), action, "*", yes},
		{"condition on the Region that does not hold", one(allow(everything + `,"Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`)), action, "*", no},
		{"condition with wildcards", one(allow(everything + `,"Condition":{"StringLike":{"aws:RequestedRegion":"eu-*"}}`)), action, "*", yes},
		{"StringEquals knows no wildcards", one(allow(everything + `,"Condition":{"StringEquals":{"aws:RequestedRegion":"eu-*"}}`)), action, "*", no},
		{"every key must match", one(allow(everything + `,"Condition":{"StringLike":{"aws:RequestedRegion":"eu-*"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)), action, "*", maybe},
		{"one key that does not hold is enough", one(allow(everything + `,"Condition":{"StringLike":{"aws:RequestedRegion":"us-*"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)), action, "*", no},
		{"Deny outside of Regions", one(allow(everything), deny(everything+`,"Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-west-1","eu-central-1"]}}`)), action, "*", yes},
		{"Deny inside of Regions", one(allow(everything), deny(everything+`,"Condition":{"StringNotEqualsIfExists":{"aws:RequestedRegion":["us-east-1"]}}`)), action, "*", no},
		{"Deny without TLS", one(allow(everything), deny(everything+`,"Condition":{"Bool":{"aws:SecureTransport":false}}`)), action, "*", yes},
		{"a value with a variable", one(allow(everything + `,"Condition":{"StringEquals":{"aws:RequestedRegion":"${aws:PrincipalTag/region}"}}`)), action, "*", maybe},
		{"an operator that is not known", one(allow(everything + `,"Condition":{"StringMatches":{"aws:RequestedRegion":"eu-west-1"}}`)), action, "*", maybe},
		{"empty condition is none", one(allow(everything + `,"Condition":{}`)), action, "*", yes},
		{"an unread policy may allow", one(`{`), action, "*", maybe},
		{"an unread policy may deny", one(allow(everything), `{`), action, "*", maybe},
		{"a Deny outweighs an unread policy", one(deny(everything), `{`), action, "*", no},
	} {
		if got := c.p.decide(c.action, c.resource, requestContext{{"aws:requestedregion": {"eu-west-1"}, "aws:securetransport": {"true"}}}); got.allowed != c.want || got.why == "" {
			t.Errorf("%s: %s (%q), want %s", c.name, got.allowed, got.why, c.want)
		}
	}
}

func TestBoundary(t *testing.T) {
	all := readPolicy("all", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	none := readPolicy("none", `{"Statement":[]}`)
	deny := readPolicy("deny", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ssm:*","Resource":"*"}]}`)
	unread := policyText{name: "unread", gap: "AccessDenied"}
	for _, c := range []struct {
		identity, boundary policyText
		want               answer
	}{
		{all, all, yes}, {all, none, no}, {none, all, no}, {all, deny, no}, {all, unread, maybe}, {none, unread, no}, {unread, all, maybe}, {unread, none, no},
	} {
		p := permissions{identity: []policyText{c.identity}, boundary: &c.boundary}
		if got := p.decide("ssm:X", "*", nil); got.allowed != c.want {
			t.Errorf("identity %s with boundary %s: %s, want %s", c.identity.name, c.boundary.name, got.allowed, c.want)
		}
	}
}

func TestDocumentsThatAreNotUnderstood(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             ``,
		"not an object":     `[]`,
		"null":              `null`,
		"no statement":      `{"Version":"2012-10-17"}`,
		"null statement":    `{"Statement":null}`,
		"text after it":     `{"Statement":[]} x`,
		"effect":            `{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`,
		"no action":         `{"Statement":{"Effect":"Allow","Resource":"*"}}`,
		"both actions":      `{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}`,
		"no resource":       `{"Statement":{"Effect":"Allow","Action":"*"}}`,
		"null action":       `{"Statement":{"Effect":"Allow","Action":null,"Resource":"*"}}`,
		"action of numbers": `{"Statement":{"Effect":"Allow","Action":[1],"Resource":"*"}}`,
		"unknown element":   `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Unless":{}}}`,
		"NotPrincipal":      `{"Statement":{"Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*"}}`,
		"both principals":   `{"Statement":{"Effect":"Deny","Principal":"*","NotPrincipal":"*","Action":"*","Resource":"*"}}`,
		"principal kind":    `{"Statement":{"Effect":"Deny","Principal":"me","Action":"*","Resource":"*"}}`,
		"version":           `{"Version":"2030-01-01","Statement":[]}`,
		"too long":          strings.Repeat(" ", maxDocument+1),
	} {
		if d, err := parseDocument(text); err == nil {
			t.Errorf("%s: parsed as %+v", name, d)
		}
	}
	if p := readPolicy("p", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`); p.gap == "" {
		t.Error("an identity policy with a Principal was accepted")
	}
}

func TestEndpointPolicy(t *testing.T) {
	for _, c := range []struct {
		policy string
		want   answer
	}{
		{``, yes},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, yes},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"ssm:*","Resource":"*"}}`, yes},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:root"},"Action":"*","Resource":"*"}}`, maybe},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`, no},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"ssm:Update*","Resource":"*"}]}`, no},
		{`{"Statement":`, maybe},
	} {
		if got := endpointAllows(c.policy, "ssm:UpdateInstanceInformation", "*", nil); got != c.want {
			t.Errorf("%s: %s, want %s", c.policy, got, c.want)
		}
	}
}

func TestRoleNarrowedToAnInstanceIsJudgedPerHost(t *testing.T) {
	s := &fleet.Snapshot{Accounts: []fleet.Account{{ID: "1", Roles: fleet.Fact[[]fleet.Role]{Known: true, Value: []fleet.Role{{
		Name: "r", ARN: "arn:aws-cn:iam::1:role/r",
		Inline: map[string]string{"p": `{"Statement":{"Effect":"Allow","Action":"ssm:*","Resource":"arn:aws-cn:ec2:cn-north-1:1:instance/i-1"}}`},
	}}}}}}
	v := newAuthority(s).byName("1", "r")
	for id, want := range map[string]answer{"i-1": yes, "i-2": no} {
		if got := v.decide(&fleet.Host{ID: id, Account: "1", Region: "cn-north-1"})[0].allowed; got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestTrust(t *testing.T) {
	for _, c := range []struct {
		policy string
		want   answer
	}{
		{`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, yes},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com","ec2.amazonaws.com.cn"]},"Action":["sts:AssumeRole","sts:TagSession"]}}`, yes},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`, no},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:root"},"Action":"sts:AssumeRole"}}`, no},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:TagSession"}}`, no},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"1"}}}}`, maybe},
		{`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Effect":"Deny","Principal":"*","Action":"sts:*"}]}`, no},
		{`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Effect":"Deny","NotPrincipal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, no},
		{`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Effect":"Deny","NotPrincipal":{"Service":["ssm.amazonaws.com","ec2.amazonaws.com"]},"Action":"sts:AssumeRole"}]}`, yes},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.c2s.ic.gov"},"Action":"sts:AssumeRole"}}`, maybe},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2messages.amazonaws.com"},"Action":"sts:AssumeRole"}}`, no},
		{``, maybe},
	} {
		if got := trusts(c.policy, "ec2"); got != c.want {
			t.Errorf("%s: %s, want %s", c.policy, got, c.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "", false}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false},
		{"**", "x", true}, {"a?c", "abc", true}, {"*a", "aaab", false}, {"*ab", "aab", true},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %t", c.pattern, c.s, got)
		}
	}
}

// statementText draws a statement over a small alphabet, so that statements meet.
func statementText(effect string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		action := rapid.SampledFrom([]string{"Action", "NotAction"}).Draw(t, "element")
		actions := rapid.SampledFrom([]string{`"*"`, `"ssm:*"`, `["ssm:A","ssm:B"]`, `"ssm:?"`, `"s3:*"`}).Draw(t, "actions")
		resource := rapid.SampledFrom([]string{"Resource", "NotResource"}).Draw(t, "resource element")
		resources := rapid.SampledFrom([]string{`"*"`, `"arn:x"`, `["arn:y","arn:x*"]`, `"arn:${aws:username}"`}).Draw(t, "resources")
		condition := rapid.SampledFrom([]string{"", `,"Condition":{"Bool":{"k":"true"}}`}).Draw(t, "condition")
		return `{"Effect":"` + effect + `","` + action + `":` + actions + `,"` + resource + `":` + resources + condition + `}`
	})
}

func TestAddingADenyNeverWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		allows := rapid.SliceOfN(statementText("Allow"), 0, 4).Draw(t, "allows")
		denies := rapid.SliceOfN(statementText("Deny"), 0, 2).Draw(t, "denies")
		extra := statementText("Deny").Draw(t, "extra")
		before := append(append([]string{}, allows...), denies...)
		document := func(s []string) string { return `{"Statement":[` + strings.Join(s, ",") + `]}` }
		for _, resource := range []string{"*", "arn:x", "arn:z"} {
			for _, action := range []string{"ssm:A", "ssm:C", "s3:A"} {
				was := one(document(before)).decide(action, resource, nil).allowed
				is := one(document(append(before, extra))).decide(action, resource, nil).allowed
				if is > was {
					t.Fatalf("%s on %s was %s, is %s", action, resource, was, is)
				}
			}
		}
	})
}

func TestAddingAnAllowNeverNarrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(rapid.OneOf(statementText("Allow"), statementText("Deny")), 0, 4).Draw(t, "statements")
		extra := statementText("Allow").Draw(t, "extra")
		document := func(s []string) string { return `{"Statement":[` + strings.Join(s, ",") + `]}` }
		was := one(document(before)).decide("ssm:A", "*", nil).allowed
		is := one(document(append(before, extra))).decide("ssm:A", "*", nil).allowed
		if is < was {
			t.Fatalf("was %s, is %s", was, is)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:*","Resource":"*"}]}`, "ssm:UpdateInstanceInformation", "*")
	f.Add(`{"Statement":{"Effect":"Deny","NotAction":["a*b?"],"NotResource":"arn:${aws:username}*","Condition":{"Bool":{}}}}`, "ssmmessages:OpenDataChannel", "arn:aws:x")
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"${","Resource":"${*"}]}`, "", "")
	f.Fuzz(func(t *testing.T, text, action, resource string) {
		ctx := requestContext{{"k": {resource}}}
		denied := `{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
		alone := one(text).decide(action, resource, ctx)
		if alone.why == "" {
			t.Errorf("no reason given for %s", alone.allowed)
		}
		if with := one(text, denied).decide(action, resource, ctx); with.allowed != no {
			t.Errorf("allowed (%s) in spite of a Deny of everything", with.allowed)
		}
		endpointAllows(text, action, resource, ctx)
		trusts(text, "ec2")
	})
}
