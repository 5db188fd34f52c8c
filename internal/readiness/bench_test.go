package readiness_test

import (
	"fmt"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
)

// wholeFleet is 10,000 hosts of a generated network with all that is judged
// of them: 500 roles, 200 operators and owners, 10 keys and logins a host, and
// a probe's tests of the endpoints. The condition on the operators' hosts
// takes a number below 40.
func wholeFleet(tb testing.TB, hosts int, condition string) (*fleet.Snapshot, readiness.Policy) {
	tb.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: 7, Instances: hosts, Now: func() time.Time { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	s := observe(w)
	a := &s.Accounts[0]
	a.Users, a.Groups, a.ControlLevels = known([]fleet.IAMUser{}, "iam"), known([]fleet.IAMGroup{}, "iam"), known([]fleet.ControlLevel{}, "organizations")
	p := readiness.DefaultPolicy()
	for i := range 200 {
		name := fmt.Sprint("operator", i)
		arn := fmt.Sprintf("arn:aws:iam::%s:user/%s", a.ID, name)
		a.Users.Value = append(a.Users.Value, fleet.IAMUser{Name: name, ID: "AIDA" + name, ARN: arn, Inline: map[string]string{
			"sessions": policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, fmt.Sprintf(condition, i%40)), documents, channel),
		}})
		p.Owners = append(p.Owners, fleet.Owner{Person: name, Principals: []string{arn}, Fingerprints: []string{fmt.Sprint("SHA256:", i)}})
	}
	for i := range 500 {
		name := fmt.Sprint("app", i)
		a.Roles.Value = append(a.Roles.Value, fleet.Role{Name: name, ID: "AROA" + name, ARN: "arn:aws:iam::" + a.ID + ":role/" + name, Attached: []string{coreARN}, Inline: map[string]string{
			"app": policyOf(statementOf("Allow", `["s3:GetObject","s3:PutObject"]`, `"arn:aws:s3:::data/`+name+`/*"`, "")),
		}})
		a.Profiles.Value = append(a.Profiles.Value, fleet.InstanceProfile{ARN: "arn:aws:iam::" + a.ID + ":instance-profile/" + name, Name: name, Role: name})
	}
	i := 0
	for in := range w.Instances() {
		h := &s.Hosts[i]
		h.ProfileARN = fmt.Sprintf("arn:aws:iam::%s:instance-profile/app%d", a.ID, i%500)
		tags := map[string]string{"shard": fmt.Sprint(i % 40), "Name": fmt.Sprint("host-", i)}
		h.Tags = tags
		h.Probe = known(healthyProbe(), "probe")
		probe := &h.Probe.Value
		for k := range 10 {
			f := fmt.Sprint("SHA256:", i%40+40*(k%5))
			probe.Keys.Value = append(probe.Keys.Value, key("ec2-user", f))
			probe.Logins.Value.Logins = append(probe.Logins.Value.Logins, login("ec2-user", f, fmt.Sprintf("10.0.0.%d", k), fleet.UseShell, k))
		}
		var tests []fleet.EndpointTest
		for _, service := range []string{"ssm", "ssmmessages"} {
			r := w.EgressTo(in, service)
			tests = append(tests, fleet.EndpointTest{Service: service, Host: r.Host, Addresses: known(r.Addresses, "probe"), TCP: known(r.TCP, "probe"), TLS: known(r.TLS, "probe"), Issuer: r.Issuer})
		}
		probe.Endpoints = known(tests, "probe")
		i++
	}
	return s, p
}

// BenchmarkJudgement is the whole judgement: network, IAM, hosts, ledger,
// operators and access. Operators are told hosts by a tag with 40 values, or
// each by a pattern of names, of which every host has its own.
func BenchmarkJudgement(b *testing.B) {
	for name, condition := range map[string]string{"shards": `{"StringEquals":{"ssm:resourceTag/shard":"%d"}}`, "names": `{"StringLike":{"ssm:resourceTag/Name":"*-1%d*"}}`} {
		b.Run(name, func(b *testing.B) {
			s, p := wholeFleet(b, 10_000, condition)
			b.ReportAllocs()
			for b.Loop() {
				if a := readiness.Assess(s, p, now); len(a.Operators) < 200 || len(a.Paths) == 0 || len(a.Ledger.Consumers) == 0 {
					b.Fatalf("%d operators, %d paths, %d consumers", len(a.Operators), len(a.Paths), len(a.Ledger.Consumers))
				}
			}
		})
	}
}
