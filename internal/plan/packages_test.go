package plan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// network gives the scene's host i-001 a network that is known: groups and ACLs
// let everything out, and its subnet's route table leads to a target, or nowhere.
func (x *scene) network(target string) {
	r, h := x.region(), &x.s.Hosts[0]
	everywhere := []fleet.Permission{{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{prefix("0.0.0.0/0")}}}
	r.Groups.Value[0].Egress = everywhere
	r.NetworkACLs = known([]fleet.NetworkACL{{ID: "acl-1", VPC: "vpc-1", Default: true, Subnets: []string{"subnet-a", "subnet-b"}, Entries: []fleet.ACLEntry{
		{Number: 100, Protocol: "-1", CIDR: prefix("0.0.0.0/0"), Allow: true},
		{Number: 100, Egress: true, Protocol: "-1", CIDR: prefix("0.0.0.0/0"), Allow: true},
	}}})
	table := &r.RouteTables.Value[1] // of subnet-b, where i-001 is
	table.Routes = table.Routes[:1]
	if target != "" {
		table.Routes = append(table.Routes, fleet.Route{CIDR: prefix("0.0.0.0/0"), Target: target, State: "active"})
	}
	r.Gateways = known([]fleet.Gateway{{ID: "igw-1", VPCs: []string{"vpc-1"}, State: "available"}})
	r.PrefixLists, r.DHCPOptions = known([]fleet.PrefixList{}), known([]fleet.DHCPOptions{{ID: "dopt-1", Servers: []string{"AmazonProvidedDNS"}}})
	r.ResolverRules, r.VPCs.Value[0].DHCPOptions = known([]fleet.ResolverRule{}), "dopt-1"
	x.s.Accounts[0].HostedZones = known([]fleet.HostedZone{})
	h.PublicIP = netip.MustParseAddr("198.51.100.9")
}

// TestAgentPackageNeedsAWayToWhereItComesFrom: rpm and deb come from the Region's
// bucket, snaps from the snap store.
func TestAgentPackageNeedsAWayToWhereItComesFrom(t *testing.T) {
	s3 := func(tls bool) func(*scene) {
		return func(x *scene) {
			x.probe(0).Endpoints = known([]fleet.EndpointTest{{Service: "s3", Host: "s3.eu-west-1.amazonaws.com", TCP: known(tls), TLS: known(tls)}})
		}
	}
	noEndpoints := func(x *scene) { x.p.Fixes = map[string]string{"create-endpoint": "never"} }
	gateway := func(x *scene) {
		x.region().Endpoints = known([]fleet.VPCEndpoint{{ID: "vpce-s3", VPC: "vpc-1", Type: "Gateway", Service: "com.amazonaws." + region + ".s3", State: "available"}})
		table := &x.region().RouteTables.Value[1]
		table.Routes = append(table.Routes, fleet.Route{PrefixList: "pl-s3", Target: "vpce-s3", State: "active"})
	}
	for _, tc := range []struct {
		name, system, target string
		more                 func(*scene)
		refused              string // part of the refusal; empty: the step is planned
		warns                bool
	}{
		{"snap, with a way to the internet", "ubuntu", "igw-1", nil, "", false},
		{"snap, without", "ubuntu", "", nil, "comes from the snap store, which the host does not reach: route table rtb-public has no route to the internet", false},
		{"snap, without, though S3 is reached", "ubuntu", "", s3(true), "comes from the snap store", false},
		{"snap, by a network that is not followed", "ubuntu", "tgw-1", nil, "", true},
		{"rpm, with a way to the internet", "amzn", "igw-1", nil, "", false},
		{"rpm, without", "amzn", "", noEndpoints, "comes from S3 bucket amazon-ssm-" + region + ", which the host does not reach", false},
		{"rpm, by a gateway endpoint", "amzn", "", gateway, "", false},
		{"rpm, by the host's own test", "amzn", "", s3(true), "", false},
		{"rpm, not by the host's own test", "amzn", "igw-1", s3(false), "by the host's own test", false},
		{"deb, without", "debian", "", noEndpoints, "comes from S3 bucket", false},
		{"snap, by a group that the plan opens", "ubuntu", "igw-1", func(x *scene) {
			x.region().Groups.Value[0].Egress = nil
			x.block(0, "group-egress-closed", "sg-app")
		}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := newScene(2)
			x.network(tc.target)
			x.probe(0).Agent.Value = fleet.HostAgent{}
			x.probe(0).OS.ID = tc.system
			x.block(0, "agent-missing", "")
			if tc.more != nil {
				tc.more(x)
			}
			p := x.make(t)
			steps := p.Of(plan.Agent)
			if tc.refused != "" {
				r := refusal(t, p, "not-ready") // besides others: without a way out there is no recovery bastion either
				if len(steps) > 0 || !strings.Contains(r.Text, tc.refused) || !strings.HasPrefix(r.Do, "give the host a way to ") {
					t.Errorf("%d steps, refusal %+v", len(steps), r)
				}
				return
			}
			if len(steps) != 1 {
				t.Fatalf("refused: %+v", p.Refusals)
			}
			if warns := strings.HasPrefix(steps[0].Warning, "whether the host reaches "); warns != tc.warns {
				t.Errorf("warning %q", steps[0].Warning)
			}
		})
	}
}

// TestAgentPackagesComeFromTheMirrorThatThePolicyNames: in the layout of AWS's
// bucket. What no inventory tests is warned of, not refused.
func TestAgentPackagesComeFromTheMirrorThatThePolicyNames(t *testing.T) {
	for system, want := range map[string]string{
		"amzn":   "https://m.example.com/" + region + "/linux_amd64/amazon-ssm-agent.rpm",
		"debian": "https://m.example.com/" + region + "/debian_amd64/amazon-ssm-agent.deb",
		"ubuntu": "",
	} {
		t.Run(system, func(t *testing.T) {
			x := newScene(2)
			x.network("igw-1")
			x.p.AgentSource = "https://m.example.com/{region}/{folder}/{file}"
			if err := x.p.Validate(); err != nil {
				t.Fatal(err)
			}
			x.probe(0).Agent.Value = fleet.HostAgent{}
			x.probe(0).OS.ID = system
			x.block(0, "agent-missing", "")
			s := one(t, x.make(t), plan.Agent)
			if s.Agent.Source != want || (want != "") != strings.Contains(s.Warning, "the mirror of agent_source") {
				t.Errorf("from %q, want %q; warning %q", s.Agent.Source, want, s.Warning)
			}
			if shown := strings.Contains(strings.Join(s.After, "\n"), "from "+want); want != "" && !shown {
				t.Errorf("the preview does not tell: %q", s.After)
			}
		})
	}
}

// TestRoleGetsWhatSessionLogsNeed: with the right to check where logs go, the
// role gets the rights to bring them there, each on its resource, and nothing more.
func TestRoleGetsWhatSessionLogsNeed(t *testing.T) {
	const (
		role   = "arn:aws:iam::" + account + ":role/web"
		key    = "arn:aws:kms:" + region + ":" + account + ":key/one"
		logs   = "arn:aws:logs:" + region + ":" + account + ":log-group:sessions:*"
		inputs = `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{%s}}`
	)
	statement := func(resource string, actions ...string) string {
		return fmt.Sprintf(`{"Effect":"Allow","Action":["%s"],"Resource":["%s"]}`, strings.Join(actions, `","`), resource)
	}
	for _, tc := range []struct {
		name, code, inputs, has string
		bucket                  fleet.Bucket
		want                    []string
	}{
		{"CloudWatch Logs", "log-check-denied", `"cloudWatchLogGroupName":"sessions","cloudWatchEncryptionEnabled":true`, "", fleet.Bucket{},
			[]string{statement("*", "logs:DescribeLogGroups"), statement(logs, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")}},
		{"CloudWatch Logs, of which the role has a part", "log-check-denied", `"cloudWatchLogGroupName":"sessions","cloudWatchEncryptionEnabled":true`,
			statement(logs, "logs:PutLogEvents", "logs:CreateLogStream"), fleet.Bucket{},
			[]string{statement("*", "logs:DescribeLogGroups"), statement(logs, "logs:DescribeLogStreams")}},
		{"S3", "bucket-check-denied", `"s3BucketName":"logs","s3KeyPrefix":"sessions/","s3EncryptionEnabled":true`, "", fleet.Bucket{Name: "logs", Exists: true, Encryption: "AES256"},
			[]string{statement("arn:aws:s3:::logs", "s3:GetEncryptionConfiguration"), statement("arn:aws:s3:::logs/sessions/*", "s3:PutObject")}},
		{"S3, encrypted with a key", "bucket-check-denied", `"s3BucketName":"logs","s3EncryptionEnabled":true`, "", fleet.Bucket{Name: "logs", Exists: true, Encryption: "aws:kms", Key: key},
			[]string{statement(key, "kms:GenerateDataKey"), statement("arn:aws:s3:::logs", "s3:GetEncryptionConfiguration"), statement("arn:aws:s3:::logs/*", "s3:PutObject")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := newScene(1)
			if tc.has != "" {
				x.s.Accounts[0].Roles.Value[0].Inline = map[string]string{"has": `{"Version":"2012-10-17","Statement":` + tc.has + `}`}
			}
			x.region().Preferences = known(fleet.Preferences{Exists: true, Content: fmt.Sprintf(inputs, tc.inputs), Bucket: known(tc.bucket)})
			x.block(0, tc.code, role)
			want := `{"Version":"2012-10-17","Statement":[` + strings.Join(tc.want, ",") + `]}`
			if got := one(t, x.make(t), plan.ExtendRole).Role.Document; got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}
