package readiness

import (
	"fmt"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
)

// largeFleet is 10,000 hosts in 4 Regions with 500 roles, each with the
// policies of an application, a boundary and three levels of an organization,
// and preferences with a key, a log group and a bucket.
func largeFleet(hosts, roles int) *fleet.Snapshot {
	const account = "111122223333"
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	fact := func(text string) fleet.Fact[string] { return fleet.Known(text, "iam", at) }
	core := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation","ssm:GetDocument","ssm:DescribeAssociation"],"Resource":"*"},{"Effect":"Allow","Action":["ssmmessages:CreateControlChannel","ssmmessages:CreateDataChannel","ssmmessages:OpenControlChannel","ssmmessages:OpenDataChannel"],"Resource":"*"},{"Effect":"Allow","Action":"ec2messages:*","Resource":"*"}]}`
	regions := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","NotAction":["iam:*","sts:*"],"Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-west-1","eu-west-2","eu-west-3","eu-north-1"]},"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin"}}}]}`
	a := fleet.Account{
		ID: account,
		Policies: fleet.Known([]fleet.Policy{
			{ARN: "core", Document: fact(core)}, {ARN: "limit", Document: fact(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}]}`)},
		}, "iam", at),
		ControlLevels: fleet.Known([]fleet.ControlLevel{
			{Target: "r-1", Policies: []fleet.Policy{{Name: "regions", Document: fact(regions)}}},
			{Target: "ou-1", Policies: []fleet.Policy{{Name: "regions", Document: fact(regions)}}},
			{Target: account, Policies: []fleet.Policy{{Name: "regions", Document: fact(regions)}}},
		}, "organizations", at),
	}
	var all []fleet.Role
	var profiles []fleet.InstanceProfile
	for i := range roles {
		name := fmt.Sprintf("app-%d", i)
		all = append(all, fleet.Role{
			Name: name, ID: "AROA" + name, ARN: "arn:aws:iam::" + account + ":role/" + name, Attached: []string{"core"}, Boundary: "limit",
			Tags: map[string]string{"app": name},
			Inline: map[string]string{
				"app":  `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::data/${aws:PrincipalTag/app}/*"},{"Effect":"Allow","Action":"dynamodb:*","Resource":"arn:aws:dynamodb:*:*:table/` + name + `"}]}`,
				"logs": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"},{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/app":"` + name + `"}}}]}`,
			},
		})
		profiles = append(profiles, fleet.InstanceProfile{ARN: "arn:aws:iam::" + account + ":instance-profile/" + name, Name: name, Role: name})
	}
	a.Roles, a.Profiles = fleet.Known(all, "iam", at), fleet.Known(profiles, "iam", at)
	s := &fleet.Snapshot{SnapshotInfo: fleet.SnapshotInfo{Finished: at}, Accounts: []fleet.Account{a}}
	names := []string{"eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1"}
	for _, r := range names {
		key := "arn:aws:kms:" + r + ":" + account + ":key/1"
		s.Regions = append(s.Regions, fleet.Region{Account: account, Name: r, DefaultRole: fleet.Known("", "ssm", at), Preferences: fleet.Known(fleet.Preferences{
			Exists:   true,
			Content:  `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"` + key + `","cloudWatchLogGroupName":"ssm","s3BucketName":"data","s3EncryptionEnabled":false}}`,
			Key:      fleet.Known(fleet.KMSKey{ARN: key, Exists: true, State: "Enabled", Policy: fact(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"kms:*","Resource":"*"}}`)}, "kms", at),
			LogGroup: fleet.Known(fleet.LogGroup{Name: "ssm", Exists: true, Key: key}, "logs", at),
			Bucket:   fleet.Known(fleet.Bucket{Name: "data", Exists: true, Region: r, Encryption: "AES256"}, "s3", at),
		}, "ssm", at)})
	}
	for i := range hosts {
		s.Hosts = append(s.Hosts, fleet.Host{
			ID: fmt.Sprintf("i-%d", i), Account: account, Region: names[i%len(names)], State: "running", ProfileARN: profiles[i%roles].ARN,
			Metadata: fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required"}, Tags: map[string]string{"team": fmt.Sprintf("t%d", i%20)},
		})
	}
	return s
}

// BenchmarkEvaluatorInstanceRoles judges identity and preferences of every
// host, policies' parsing included.
func BenchmarkEvaluatorInstanceRoles(b *testing.B) {
	s := largeFleet(10_000, 500)
	for b.Loop() {
		a := &assessor{snapshot: s, index: newIndex(s), iam: newAuthority(s), unservedMemo: map[string]string{}, preferred: map[*fleet.Region]*sessionSettings{}}
		a.iam.countUsers(s)
		for i := range s.Hosts {
			j := &judge{assessor: a, h: &s.Hosts[i], r: a.index.region(&s.Hosts[i])}
			j.identity()
			j.preferences()
		}
		if len(a.identityFindings())+len(a.preferencesFindings()) == 0 {
			b.Fatal("no findings")
		}
	}
}

// BenchmarkEvaluatorOperators asks for 200 operators whether they may start a
// session on each of 10,000 hosts, each request for itself.
func BenchmarkEvaluatorOperators(b *testing.B) {
	s := largeFleet(10_000, 500)
	for i := range 200 {
		name := fmt.Sprintf("user-%d", i)
		s.Accounts[0].Users.Value = append(s.Accounts[0].Users.Value, fleet.IAMUser{
			Name: name, ID: "AIDA" + name, ARN: "arn:aws:iam::111122223333:user/" + name, Tags: map[string]string{"team": fmt.Sprintf("t%d", i%20)},
			Inline: map[string]string{"own": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:StartSession","Resource":"arn:aws:ec2:*:*:instance/*","Condition":{"StringLike":{"ssm:resourceTag/team":"${aws:PrincipalTag/team}"}}},{"Effect":"Allow","Action":"ssm:TerminateSession","Resource":"arn:aws:ssm:*:*:session/${aws:username}-*"}]}`},
		})
	}
	for b.Loop() {
		a := newAuthority(s)
		hosts := make([]contextValues, len(s.Hosts))
		arns := make([]string, len(s.Hosts))
		for i := range s.Hosts {
			h := &s.Hosts[i]
			arns[i] = instanceARN("arn:aws:x", h)
			hosts[i] = contextValues{"aws:requestedregion": {h.Region}}
			hosts[i].addTags(h.Tags, "aws:resourcetag/", "ssm:resourcetag/")
		}
		allowed := 0
		for _, u := range a.users {
			for i := range hosts {
				if u.may.decide("ssm:StartSession", arns[i], requestContext{u.context, hosts[i]}).allowed == yes {
					allowed++
				}
			}
		}
		if allowed != 200*10_000/20 {
			b.Fatalf("%d allowed", allowed)
		}
	}
}
