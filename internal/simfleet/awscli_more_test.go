package simfleet_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// Debian's AWS CLI reads what the world holds of identity, names, keys and
// sessions, page by page.
func TestAWSCLIListsWhatSessionsRestOn(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 90, Seed: 7})
	a := w.Accounts[0]
	rg := a.Regions[0]
	c := newCLI(t, w, rg.Name)
	var ended []string
	for _, s := range rg.ManagedSessions {
		if !s.End.IsZero() {
			ended = append(ended, s.ID)
		}
	}
	zone, key, group, bucket := a.Zones[0], rg.Keys[0], rg.LogGroups[0], rg.Buckets[0]
	var interfaces []string
	for _, n := range rg.ENIs {
		if strings.HasPrefix(n.Owner, "vpce-") && n.VPC == rg.VPCs[0].ID {
			interfaces = append(interfaces, n.PrivateIP.String())
		}
	}
	for name, check := range map[string]struct {
		args []string
		want []string
	}{
		"peering ends": {[]string{"ec2", "describe-vpc-peering-connections", "--query", "VpcPeeringConnections[0].[RequesterVpcInfo.CidrBlock, AccepterVpcInfo.CidrBlockSet[0].CidrBlock, AccepterVpcInfo.VpcId, RequesterVpcInfo.OwnerId]"},
			[]string{rg.Peerings[0].Requester.CIDRs[0].String(), rg.Peerings[0].Accepter.CIDRs[0].String(), rg.Peerings[0].Accepter.VPC, a.ID}},
		"endpoint interfaces": {[]string{"ec2", "describe-network-interfaces", "--page-size", "5", "--filters", "Name=interface-type,Values=vpc_endpoint", "Name=vpc-id,Values=" + rg.VPCs[0].ID,
			"--query", "NetworkInterfaces[].PrivateIpAddress"}, interfaces},
		"users": {[]string{"iam", "get-account-authorization-details", "--filter", "User", "Group", "--page-size", "3", "--query", "[UserDetailList[].UserName, GroupDetailList[].GroupName][]"},
			append(mapTo(a.Users, func(u *fleet.IAMUser) string { return u.Name }), mapTo(a.Groups, func(g *fleet.IAMGroup) string { return g.Name })...)},
		"own documents": {[]string{"ssm", "list-documents", "--page-size", "1", "--filters", "Key=DocumentType,Values=Session", "Key=Owner,Values=Self", "--query", "DocumentIdentifiers[].Name"},
			[]string{fleet.PreferencesName, "Corp-PortForward-DB"}},
		"a document":       {[]string{"ssm", "get-document", "--name", "Corp-PortForward-DB", "--query", "[DocumentVersion, DocumentType, Content]"}, []string{"3", "Session", rg.Documents[0].Content.Value}},
		"past sessions":    {[]string{"ssm", "describe-sessions", "--state", "History", "--page-size", "7", "--query", "Sessions[].SessionId"}, ended},
		"organization":     {[]string{"organizations", "describe-organization", "--query", "[Organization.FeatureSet]"}, []string{"ALL"}},
		"root":             {[]string{"organizations", "list-parents", "--child-id", a.ControlLevels[1].Target, "--query", "Parents[].[Id, Type][]"}, []string{a.ControlLevels[0].Target, "ROOT"}},
		"control policies": {[]string{"organizations", "list-policies-for-target", "--target-id", a.ControlLevels[0].Target, "--filter", "SERVICE_CONTROL_POLICY", "--page-size", "1", "--query", "Policies[].Name"}, []string{"FullAWSAccess", "regions"}},
		"zones":            {[]string{"route53", "list-hosted-zones", "--page-size", "1", "--query", "HostedZones[].Id"}, mapTo(a.Zones, func(z *fleet.HostedZone) string { return "/hostedzone/" + z.ID })},
		"zones of a VPC":   {[]string{"route53", "list-hosted-zones-by-vpc", "--vpc-id", zone.VPCs[0], "--vpc-region", rg.Name, "--query", "HostedZoneSummaries[].Name"}, []string{zone.Name + "."}},
		"records":          {[]string{"route53", "list-resource-record-sets", "--hosted-zone-id", zone.ID, "--page-size", "1", "--query", "ResourceRecordSets[?Type=='A'].ResourceRecords[].Value[]"}, zone.Records[0].Values},
		"Resolver rules":   {[]string{"route53resolver", "list-resolver-rules", "--page-size", "1", "--query", "ResolverRules[?RuleType=='FORWARD'].DomainName"}, []string{rg.Rules[0].Domain + "."}},
		"log groups":       {[]string{"logs", "describe-log-groups", "--log-group-name-prefix", "/ssm", "--query", "logGroups[].[logGroupName, arn][]"}, []string{group.Name, group.ARN + ":*"}},
		"a key":            {[]string{"kms", "describe-key", "--key-id", key.ARN[strings.LastIndex(key.ARN, "/")+1:], "--query", "KeyMetadata.[Arn, KeyState, KeyManager]"}, []string{key.ARN, "Enabled", "CUSTOMER"}},
		"a key's policy":   {[]string{"kms", "get-key-policy", "--key-id", key.ARN, "--policy-name", "default", "--query", "[Policy]"}, []string{key.Policy.Value}},
		"a bucket's encryption": {[]string{"s3api", "get-bucket-encryption", "--bucket", bucket.Name, "--query", "ServerSideEncryptionConfiguration.Rules[].ApplyServerSideEncryptionByDefault.[SSEAlgorithm, KMSMasterKeyID][]"},
			[]string{"aws:kms", key.ARN}},
		"a bucket's policy": {[]string{"s3api", "get-bucket-policy", "--bucket", bucket.Name, "--query", "[Policy]"}, []string{bucket.Policy}},
	} {
		t.Run(name, func(t *testing.T) {
			if len(check.want) == 0 {
				t.Fatal("the world has none: nothing would be tested")
			}
			slices.Sort(check.want)
			if diff := cmp.Diff(check.want, c.strings(t, check.args...)); diff != "" {
				t.Errorf("(-world +aws):\n%s", diff)
			}
		})
	}
}

// simulation is what SimulatePrincipalPolicy says of one action.
type simulation struct {
	EvalActionName, EvalResourceName, EvalDecision string
	MissingContextValues                           []string
	OrganizationsDecisionDetail                    *struct{ AllowedByOrganizations bool }
	PermissionsBoundaryDecisionDetail              *struct{ AllowedByPermissionsBoundary bool }
	ResourceSpecificResults                        []struct {
		EvalResourceName, EvalResourceDecision string
		MissingContextValues                   []string
	}
}

func TestAWSCLISimulatesPolicies(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 20, Accounts: 2})
	simulate := func(t *testing.T, a *simfleet.Account, role string, args ...string) []simulation {
		t.Helper()
		c := newCLI(t, w, "us-east-1")
		c.env = append(c.env, "AWS_ACCESS_KEY_ID="+simfleet.AccessKey(a.ID))
		stdout, stderr, err := c.run(t, append([]string{"iam", "simulate-principal-policy", "--policy-source-arn", "arn:aws:iam::" + a.ID + ":role/" + role, "--action-names", "ssm:UpdateInstanceInformation",
			"ssmmessages:OpenDataChannel", "s3:GetObject", "--page-size", "2"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		var out struct{ EvaluationResults []simulation }
		if err := json.Unmarshal([]byte(stdout), &out); err != nil {
			t.Fatal(err)
		}
		return out.EvaluationResults
	}
	for name, c := range map[string]struct {
		account  int
		role     string
		args     []string
		want     string // decisions on the three actions
		org, bar string // what organization and boundary say: y, n, or - for nothing
		missing  string // by the first action
	}{
		"a boundary":       {0, "bounded", nil, "allowed implicitDeny implicitDeny", "yyy", "yny", ""},
		"a condition":      {0, "scoped", nil, "implicitDeny implicitDeny implicitDeny", "yyy", "---", "aws:RequestedRegion"},
		"a control policy": {1, "legacy-ssm", nil, "allowed explicitDeny allowed", "yny", "---", ""},
		"a resource":       {0, "app", []string{"--resource-arns", "arn:aws:s3:::corp-app-data/x"}, "allowed allowed allowed", "yyy", "---", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var decisions []string
			org, bar, missing := "", "", ""
			for i, r := range simulate(t, w.Accounts[c.account], c.role, c.args...) {
				decisions = append(decisions, r.EvalDecision)
				org += letter(r.OrganizationsDecisionDetail != nil, r.OrganizationsDecisionDetail != nil && r.OrganizationsDecisionDetail.AllowedByOrganizations)
				bar += letter(r.PermissionsBoundaryDecisionDetail != nil, r.PermissionsBoundaryDecisionDetail != nil && r.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary)
				if i == 0 {
					missing = strings.Join(r.MissingContextValues, " ")
				}
				if len(c.args) > 0 && c.args[0] == "--resource-arns" && (len(r.ResourceSpecificResults) != 1 || r.ResourceSpecificResults[0].EvalResourceDecision != r.EvalDecision || r.EvalResourceName != c.args[1]) {
					t.Errorf("specific results: %+v", r)
				}
			}
			// The region guard's own key is missing from every request without it.
			missing = strings.TrimSpace(missing)
			if strings.Join(decisions, " ") != c.want || org != c.org || bar != c.bar || c.missing != "" && missing != c.missing {
				t.Errorf("decisions %v, organization %s, boundary %s, missing %q; want %s, %s, %s, %q", decisions, org, bar, missing, c.want, c.org, c.bar, c.missing)
			}
		})
	}
}

func letter(there, yes bool) string {
	switch {
	case !there:
		return "-"
	case yes:
		return "y"
	}
	return "n"
}
