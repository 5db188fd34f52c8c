package simfleet_test

import (
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

func policy(id, document string) fleet.Policy {
	return fleet.Policy{ARN: "arn:aws:organizations::1:policy/o-1/service_control_policy/" + id, Name: id, Document: fleet.Known(document, "", noon)}
}

// control puts a policy on the account's middle level.
func (s scene) control(document string) {
	l := &s.rg.Account.ControlLevels[1]
	l.Policies = append(slices.Clone(l.Policies), policy("p-test", document))
}

func statements(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }

// Sources: IAM User Guide, policy evaluation logic; Organizations User Guide,
// SCP evaluation; the same for each condition operator.
func TestControlPoliciesAndConditions(t *testing.T) {
	const channels = `"Action":"ssmmessages:*","Resource":"*"`
	for name, c := range map[string]struct {
		change    func(scene)
		connected bool
	}{
		"full access":             {func(scene) {}, true},
		"a control policy denies": {func(s scene) { s.control(deny("ssmmessages:OpenControlChannel")) }, false},
		"a level allows nothing":  {func(s scene) { s.rg.Account.ControlLevels[1].Policies = nil }, false},
		"a level allows other things": {func(s scene) {
			s.rg.Account.ControlLevels[2].Policies = []fleet.Policy{policy("p-x", allow("ssm:* s3:*"))}
		}, false},
		"a level allows what is needed": {func(s scene) {
			s.rg.Account.ControlLevels[2].Policies = []fleet.Policy{policy("p-x", allow("ssm:* ssmmessages:* kms:* logs:*"))}
		}, true},
		"no organization":     {func(s scene) { s.rg.Account.ControlLevels = nil }, true},
		"denied by NotAction": {func(s scene) { s.control(statements(`{"Effect":"Deny","NotAction":["ssm:*","s3:*"],"Resource":"*"}`)) }, false},
		"denied elsewhere": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-west-1"]}}}`))
		}, true},
		"denied for this role": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/` + s.role().Name + `"}}}`))
		}, false},
		"denied but for this role": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/` + s.role().Name + `"}}}`))
		}, true},
		"denied without a tag": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"Null":{"aws:PrincipalTag/cleared":"true"}}}`))
		}, false},
		"denied without a tag that it has": {func(s scene) {
			s.role().Tags = map[string]string{"Cleared": "yes"}
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"Null":{"aws:PrincipalTag/cleared":"true"}}}`))
		}, true},
		"denied without TLS": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"Bool":{"aws:SecureTransport":false}}}`))
		}, true},
		"denied off the endpoint": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"StringNotEquals":{"aws:SourceVpce":"` + s.endpoint("ssmmessages").ID + `"}}}`))
		}, true},
		"denied off another endpoint": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-0"}}}`))
		}, false},
		"denied in a range": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}}`))
		}, false},
		"denied out of a range": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"NotIpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}}`))
		}, true},
		"an unknown operator": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"StringSounds":{"aws:RequestedRegion":"eu-west-1"}}}`))
		}, true},
		"only its own host": {func(s scene) {
			s.only(`"Action":["ssm:*","ssmmessages:*","kms:*","logs:*"],"Resource":"*","Condition":{"ArnEquals":{"ec2:SourceInstanceARN":"arn:aws:ec2:*:*:instance/` + s.in.Host.ID + `"}}`)
		}, true},
		"only another host": {func(s scene) {
			s.only(`"Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"ArnEquals":{"ec2:SourceInstanceARN":"arn:aws:ec2:*:*:instance/i-0"}}`)
		}, false},
		"a variable with a default": {func(s scene) {
			s.only(`"Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"${aws:PrincipalTag/home, 'eu-west-1'}"}}`)
		}, true},
		"a variable without a value": {func(s scene) {
			s.only(`"Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"${aws:PrincipalTag/home}"}}`)
		}, false},
		"a variable with a value": {func(s scene) {
			s.role().Tags = map[string]string{"home": "eu-west-1"}
			s.only(`"Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"${aws:PrincipalTag/home}"}}`)
		}, true},
		"a value's star is no wildcard": {func(s scene) {
			s.role().Tags = map[string]string{"home": "*"}
			s.only(`"Action":["ssm:*","ssmmessages:*"],"Resource":"*","Condition":{"StringLike":{"aws:RequestedRegion":"${aws:PrincipalTag/home}"}}`)
		}, false},
		"denied from a date on": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}}`))
		}, false},
		"denied from a later date on": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}}`))
		}, true},
		"denied from a moment on": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"NumericGreaterThanEquals":{"aws:EpochTime":1700000000}}}`))
		}, false},
		"all of several values": {func(s scene) {
			s.control(statements(`{"Effect":"Deny",` + channels + `,"Condition":{"ForAnyValue:StringLike":{"aws:RequestedRegion":["us-*","eu-*"]}}}`))
		}, false},
		"a boundary":      {func(s scene) { s.bound(allow("ssm:*")) }, false},
		"a wide boundary": {func(s scene) { s.bound(allow("*")) }, true},
		"a boundary that denies": {func(s scene) {
			s.bound(statements(`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny",` + channels + `}`))
		}, false},
		"an endpoint for its account": {func(s scene) {
			s.endpoint("ssmmessages").Policy = statements(`{"Effect":"Allow","Principal":{"AWS":"` + s.rg.Account.ID + `"},"Action":"*","Resource":"*"}`)
		}, true},
		"an endpoint for another account": {func(s scene) {
			s.endpoint("ssmmessages").Policy = statements(`{"Effect":"Allow","Principal":{"AWS":["123456789012"]},"Action":"*","Resource":"*"}`)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthyHost(t, "prod")
			c.change(s)
			if got := s.Connected(s.in); got != c.connected {
				t.Errorf("connected %v, want %v: %s", got, c.connected, s.SessionReason(s.in))
			}
		})
	}
}

// only makes one statement all that the host's role has.
func (s scene) only(statement string) {
	r := s.role()
	r.Attached, r.Inline = nil, map[string]string{"only": statements(`{"Effect":"Allow",` + statement + `}`)}
}

func (s scene) bound(document string) {
	a := s.rg.Account
	a.Policies = append(a.Policies, &fleet.Policy{ARN: "arn:aws:iam::" + a.ID + ":policy/bound", Name: "bound", Document: fleet.Known(document, "", noon)})
	s.role().Boundary = "arn:aws:iam::" + a.ID + ":policy/bound"
}

// Source: Systems Manager User Guide, getting-started-restrict-access-examples
// and getting-started-default-session-document.
func TestWhoMayStartSessions(t *testing.T) {
	const (
		hosts    = `{"Effect":"Allow","Action":"ssm:StartSession","Resource":"arn:aws:ec2:*:*:instance/*"}`
		document = `{"Effect":"Allow","Action":"ssm:StartSession","Resource":"arn:aws:ssm:*:*:document/SSM-SessionManagerRunShell"}`
		channel  = `{"Effect":"Allow","Action":"ssmmessages:OpenDataChannel","Resource":"arn:aws:ssm:*:*:session/${aws:username}-*"}`
		key      = `{"Effect":"Allow","Action":"kms:GenerateDataKey","Resource":"*"}`
	)
	tagged := func(tag, value string) string {
		return `{"Effect":"Allow","Action":"ssm:StartSession","Resource":"arn:aws:ec2:*:*:instance/*","Condition":{"StringLike":{"ssm:resourceTag/` + tag + `":"` + value + `"}}}`
	}
	for name, c := range map[string]struct {
		document string
		change   func(scene, *fleet.IAMUser)
		want     bool
	}{
		"all four":                 {document: hosts + "," + document + "," + channel + "," + key, want: true},
		"no document":              {document: hosts + "," + channel + "," + key},
		"no channel":               {document: hosts + "," + document + "," + key},
		"no key":                   {document: hosts + "," + document + "," + channel},
		"no key is needed":         {document: hosts + "," + document + "," + channel, change: func(s scene, _ *fleet.IAMUser) { s.rg.Preferences = "" }, want: true},
		"a tag that fits":          {document: tagged("env", "prod") + "," + document + "," + channel + "," + key, want: true},
		"a tag that does not":      {document: tagged("env", "dev") + "," + document + "," + channel + "," + key},
		"a tag that no host has":   {document: tagged("project", "*") + "," + document + "," + channel + "," + key},
		"ABAC that fits":           {document: tagged("team", "${aws:PrincipalTag/team}") + "," + document + "," + channel + "," + key, change: func(s scene, u *fleet.IAMUser) { u.Tags = map[string]string{"team": s.in.Host.Tags["team"]} }, want: true},
		"ABAC without the own tag": {document: tagged("team", "${aws:PrincipalTag/team}") + "," + document + "," + channel + "," + key},
		"tag on the document too":  {document: strings.Replace(tagged("env", "prod"), `"arn:aws:ec2:*:*:instance/*"`, `"*"`, 1) + "," + channel + "," + key},
		"the key's policy does not leave it to IAM": {document: hosts + "," + document + "," + channel + "," + key, change: func(s scene, _ *fleet.IAMUser) {
			s.rg.Keys[0].Policy.Value = statements(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}`)
		}},
		"the key's policy names the user": {document: hosts + "," + document + "," + channel, change: func(s scene, u *fleet.IAMUser) {
			s.rg.Keys[0].Policy.Value = statements(`{"Effect":"Allow","Principal":{"AWS":"` + u.ARN + `"},"Action":"kms:GenerateDataKey","Resource":"*"}`)
		}, want: true},
		"a control policy": {document: hosts + "," + document + "," + channel + "," + key, change: func(s scene, _ *fleet.IAMUser) { s.control(deny("ssm:StartSession")) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthyHost(t, "prod")
			a := s.rg.Account
			u := &fleet.IAMUser{Name: "eve", ARN: "arn:aws:iam::" + a.ID + ":user/eve", Inline: map[string]string{"p": statements(c.document)}}
			a.Users = append(a.Users, u)
			if c.change != nil {
				c.change(s, u)
			}
			if reason := s.OperatorReason(u.ARN, s.in); (reason == "") != c.want {
				t.Errorf("may %v (%s), want %v", reason == "", reason, c.want)
			}
		})
	}
	if reason := healthyHost(t, "prod").OperatorReason("arn:aws:iam::1:user/x", healthyHost(t, "prod").in); reason == "" {
		t.Error("a stranger may start sessions")
	}
}

// Run As has no way back to ssm-user, and takes root for nobody. Source: Systems
// Manager User Guide, session-preferences-run-as.
func TestRunAsNeedsAnOrdinaryUserOfTheHost(t *testing.T) {
	for user, opens := range map[string]bool{"ops": true, "stranger": false, "root": false} {
		s := healthyHost(t, "prod")
		s.in.Users = append(slices.Clone(s.in.Users), &simfleet.User{Name: "ops", UID: 4711, Home: "/home/ops", Shell: "/bin/sh"})
		s.rg.Preferences = strings.Replace(s.rg.Preferences, `"runAsDefaultUser":"","runAsEnabled":false`, `"runAsDefaultUser":"`+user+`","runAsEnabled":true`, 1)
		if !strings.Contains(s.rg.Preferences, user) {
			t.Fatalf("preferences %s", s.rg.Preferences)
		}
		if s.ServesSessions(s.in) != opens {
			t.Errorf("as %s: serves sessions %v, want %v (%s)", user, !opens, opens, s.SessionReason(s.in))
		}
	}
}

// Source: Systems Manager User Guide, session-manager-troubleshooting (blank
// screen) and getting-started-create-iam-instance-profile.
func TestSessionLogsNeedAWay(t *testing.T) {
	for name, change := range map[string]func(scene){
		"no endpoint for logs": func(s scene) { s.removeEndpoint("logs") },
		"no rights":            func(s scene) { delete(s.role().Inline, "session-logs") },
		"bucket without rights": func(s scene) {
			s.rg.Preferences = strings.Replace(s.rg.Preferences, `"s3BucketName":""`, `"s3BucketName":"corp-logs"`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthyHost(t, "prod")
			change(s)
			if reason := s.LoggingReason(s.in); reason == "" {
				t.Error("the log arrives")
			}
		})
	}
}

// The ordinary world has the mistakes that its identity is there for.
func TestOrdinaryWorldHasIdentityTroubles(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 120, Accounts: 2, Seed: 1})
	a := w.Accounts[0]
	may := map[string]int{}
	hosts := 0
	for in := range w.Instances() {
		if in.Region.Account != a {
			continue
		}
		hosts++
		for _, u := range a.Users {
			if w.OperatorReason(u.ARN, in) == "" {
				may[u.Name]++
			}
		}
		for _, r := range a.Roles {
			if r.Name == "contractors" && w.OperatorReason(r.ARN, in) == "" {
				t.Errorf("a contractor may reach %s", in.Host.Name())
			}
		}
	}
	if may["alice"] != hosts || may["bob"] == 0 || may["bob"] == hosts || may["carol"] != 0 || may["dmitri"] != 0 {
		t.Errorf("of %d hosts: %v", hosts, may)
	}
	strangers := 0
	for _, o := range w.Owners() {
		if !o.Service && len(o.Principals) == 0 {
			strangers++
		}
	}
	if strangers == 0 {
		t.Error("everybody with a key has a principal")
	}
	blocked := 0
	for in := range w.Instances() {
		if in.Region.Account == w.Accounts[1] && strings.HasSuffix(in.Host.ProfileARN, "/legacy-ssm") && w.Online(in) {
			blocked++
			if w.Connected(in) {
				t.Errorf("%s is connected in spite of the control policy", in.Host.Name())
			}
		}
	}
	if blocked == 0 {
		t.Error("the control policy meets no host")
	}
}

// Whatever a policy says, it is evaluated, and a Deny of everything wins.
func FuzzPolicyDocument(f *testing.F) {
	for _, s := range []string{
		allow("*"), deny("ssm:*"), `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:*","Resource":"${aws:PrincipalTag/x, '*'}"}}`,
		statements(`{"Effect":"Allow","NotAction":["iam:*"],"NotResource":"arn:aws:s3:::*","Condition":{"ForAllValues:StringNotLikeIfExists":{"aws:RequestedRegion":["eu-*","${*}${?}${$}${"]},"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"aws:EpochTime":5}}}`),
		statements(`{"Effect":"Allow","Principal":{"AWS":["*"],"Service":"x"},"NotPrincipal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","x"]},"DateLessThan":{"aws:CurrentTime":"2026"},"Null":{"a:b":"true"}}}`),
	} {
		f.Add(s)
	}
	w := generate(f, simfleet.Options{Healthy: true, Instances: 6})
	rg := w.Accounts[0].Regions[0]
	in := rg.Instances[0]
	s := scene{w, rg, in}
	r := s.role()
	f.Fuzz(func(t *testing.T, document string) {
		r.Attached, r.Inline = nil, map[string]string{"fuzz": document}
		_ = w.Permits(in, "ssm:UpdateInstanceInformation")
		_ = w.OperatorReason(r.ARN, in)
		r.Inline["none"] = deny("*")
		if w.Permits(in, "ssm:UpdateInstanceInformation") {
			t.Errorf("%s is stronger than a Deny of everything", document)
		}
	})
}

// Whatever a configuration or a zone holds, names resolve or do not.
func FuzzEndpointNames(f *testing.F) {
	f.Add(dualStack, "amazonaws.com", "*.amazonaws.com", "ssm.eu-west-1.amazonaws.com")
	f.Add(`{"Ssm":{"Endpoint":"https://a.example/"}}`, "example", "a.example", "10.0.0.1")
	f.Add("{", "", "", "")
	w := generate(f, simfleet.Options{Healthy: true, Instances: 6})
	in := w.Accounts[0].Regions[0].Instances[0]
	a := in.Region.Account
	zones := a.Zones
	f.Fuzz(func(t *testing.T, config, zone, name, target string) {
		in.Agent.Config = config
		a.Zones = append(slices.Clone(zones), &fleet.HostedZone{ID: "Z", Name: zone, VPCs: []string{in.Host.VPC},
			Records: []fleet.DNSRecord{{Name: name, Type: "CNAME", Values: []string{target}}, {Name: name, Type: "A", Alias: target}}})
		if p := w.EgressTo(in, "ssm"); p.TLS != (p.Reason == "") || p.TLS && len(p.Addresses) == 0 {
			t.Errorf("%+v", p)
		}
	})
}
