package simfleet_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// movable is a world whose clock a test moves, with its AWS side.
type movable struct {
	*simfleet.World
	rg  *simfleet.Region
	cfg aws.Config
	now *time.Time
}

func movableWorld(t *testing.T, o simfleet.AWSOptions) movable {
	t.Helper()
	now := noon
	w := generate(t, simfleet.Options{Healthy: true, Instances: 24, Seed: 4, Now: func() time.Time { return now }})
	_, cfg := serve(t, w, o)
	return movable{w, w.Accounts[0].Regions[0], cfg, &now}
}

// pass lets time pass; nothing is asked meanwhile.
func (m movable) pass(d time.Duration) {
	*m.now = m.now.Add(d)
	m.Advance()
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Errorf("%s: %v; want %q", what, err, code)
	}
}

func fine(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tcp22(ranges ...string) types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22)}
	for _, r := range ranges {
		cidr, description, _ := strings.Cut(r, " ")
		x := types.IpRange{CidrIp: aws.String(cidr)}
		if description != "" {
			x.Description = aws.String(description)
		}
		p.IpRanges = append(p.IpRanges, x)
	}
	return p
}

// sshHost is a host that the operator reaches directly on port 22, and the
// security group that lets the operator in.
func (m movable) sshHost(t *testing.T) (*simfleet.Instance, *fleet.SecurityGroup) {
	t.Helper()
	for _, in := range m.rg.Instances {
		if !m.answers(in) {
			continue
		}
		admitting := slices.DeleteFunc(slices.Clone(m.rg.Groups), func(g *fleet.SecurityGroup) bool {
			return !slices.Contains(in.Host.Groups, g.ID) || !slices.ContainsFunc(fleet.Rules(g.Ingress, false), func(r fleet.Rule) bool {
				return r.Admits(22) && r.CIDR.IsValid() && r.CIDR.Contains(simfleet.OperatorAddr)
			})
		})
		if len(admitting) == 1 {
			return in, admitting[0]
		}
	}
	t.Fatal("no host with a public address and port 22 open")
	return nil, nil
}

// answers reports whether packets of the operator get to port 22 directly.
func (m movable) answers(in *simfleet.Instance) bool {
	m.Mu.RLock()
	defer m.Mu.RUnlock()
	return m.CanReach(simfleet.Origin{Addr: simfleet.OperatorAddr}, in, in.Host.PublicIP, 22).OK
}

func ruleList(t *testing.T, c *ec2.Client, group string) []types.SecurityGroupRule {
	t.Helper()
	return collect(t, pages(t, ec2.NewDescribeSecurityGroupRulesPaginator(c, &ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{eq("group-id", group)}, MaxResults: aws.Int32(5)})),
		func(o *ec2.DescribeSecurityGroupRulesOutput) []types.SecurityGroupRule { return o.SecurityGroupRules })
}

// TestRevokedRulesComeBackAsTheyWere closes port 22 of a host and opens it again.
func TestRevokedRulesComeBackAsTheyWere(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(m.cfg)
	in, g := m.sshHost(t)
	before := sorted(append(fleet.Rules(g.Ingress, false), fleet.Rules(g.Egress, true)...))
	listed := ruleList(t, c, g.ID)
	if len(listed) != len(before) {
		t.Fatalf("%d rules are listed, want %d", len(listed), len(before))
	}
	if again := ruleList(t, c, g.ID); cmp.Diff(mapTo(listed, ruleID), mapTo(again, ruleID)) != "" {
		t.Error("rule IDs are not stable")
	}
	var ids []string
	var gone []types.SecurityGroupRule
	for _, r := range listed {
		if !*r.IsEgress && *r.FromPort == 22 {
			ids, gone = append(ids, *r.SecurityGroupRuleId), append(gone, r)
		}
	}
	out, err := c.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, SecurityGroupRuleIds: ids})
	fine(t, err)
	if !*out.Return || len(out.RevokedSecurityGroupRules) != len(ids) {
		t.Errorf("revoking said %v of %d rules", *out.Return, len(out.RevokedSecurityGroupRules))
	}
	if m.answers(in) {
		t.Error("port 22 still answers")
	}
	_, err = c.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, SecurityGroupRuleIds: ids})
	wantCode(t, "revoking again", err, "InvalidSecurityGroupRuleId.NotFound")
	for _, r := range gone {
		p := types.IpPermission{IpProtocol: r.IpProtocol, FromPort: r.FromPort, ToPort: r.ToPort}
		switch {
		case r.CidrIpv4 != nil:
			p.IpRanges = []types.IpRange{{CidrIp: r.CidrIpv4, Description: r.Description}}
		case r.ReferencedGroupInfo != nil:
			p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: r.ReferencedGroupInfo.GroupId, UserId: r.ReferencedGroupInfo.UserId, Description: r.Description}}
		default:
			t.Fatalf("a rule from elsewhere: %+v", r)
		}
		back, err := c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{p}})
		fine(t, err)
		if id := *back.SecurityGroupRules[0].SecurityGroupRuleId; id == *r.SecurityGroupRuleId {
			t.Errorf("rule %s came back under its old ID", id)
		}
	}
	if !m.answers(in) {
		t.Error("port 22 does not answer again")
	}
	after := sorted(append(fleet.Rules(g.Ingress, false), fleet.Rules(g.Egress, true)...))
	if diff := cmp.Diff(before, after, cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("rules (-before +after):\n%s", diff)
	}
}

func ruleID(r types.SecurityGroupRule) string { return *r.SecurityGroupRuleId }

func TestRuleCallsAreAllOrNothing(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(m.cfg)
	_, g := m.sshHost(t)
	authorize := func(p ...types.IpPermission) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
		return c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: p,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: []types.Tag{{Key: aws.String("by"), Value: aws.String("test")}}}}})
	}
	revoke := func(p ...types.IpPermission) error {
		_, err := c.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: p})
		return err
	}
	v6 := types.IpPermission{IpProtocol: aws.String("6"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("2001:db8::1/32")}}}
	list := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), PrefixListIds: []types.PrefixListId{{PrefixListId: &m.rg.PrefixLists[0].ID, Description: aws.String("S3")}}}
	made, err := authorize(tcp22("192.0.2.7/24 home", "198.51.100.9/32"), v6, list)
	fine(t, err)
	if len(made.SecurityGroupRules) != 4 {
		t.Fatalf("%d rules were made", len(made.SecurityGroupRules))
	}
	if r := made.SecurityGroupRules[0]; *r.CidrIpv4 != "192.0.2.0/24" || *r.Description != "home" || *r.Tags[0].Value != "test" {
		t.Errorf("made %+v", r)
	}
	if r := made.SecurityGroupRules[2]; *r.CidrIpv6 != "2001:db8::/32" || *r.IpProtocol != "tcp" {
		t.Errorf("made %+v", r)
	}
	before := len(ruleList(t, c, g.ID))
	_, err = authorize(tcp22("192.0.2.128/25"), tcp22("198.51.100.9/32 another description"))
	wantCode(t, "one of two is there", err, "InvalidPermission.Duplicate")
	wantCode(t, "one of two is not there", revoke(tcp22("198.51.100.9/32"), tcp22("192.0.2.128/25")), "InvalidPermission.NotFound")
	if now := len(ruleList(t, c, g.ID)); now != before {
		t.Errorf("a call that failed changed the rules: %d, had %d", now, before)
	}
	group := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-0nothing")}}}
	_, err = authorize(group)
	wantCode(t, "a group that is not there", err, "InvalidGroup.NotFound")
	noPorts := tcp22("192.0.2.1/32")
	noPorts.FromPort, noPorts.ToPort = nil, nil
	_, err = authorize(noPorts)
	wantCode(t, "without ports", err, "InvalidParameterValue")
	_, err = authorize(tcp22("192.0.2.1/32 naïve"))
	wantCode(t, "a description with other characters", err, "InvalidParameterValue")
	_, err = c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &g.ID, DryRun: aws.Bool(true), IpPermissions: []types.IpPermission{tcp22("192.0.2.1/32")}})
	wantCode(t, "dry run", err, "DryRunOperation")
	_, err = c.UpdateSecurityGroupRuleDescriptionsIngress(t.Context(), &ec2.UpdateSecurityGroupRuleDescriptionsIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{tcp22("198.51.100.9/32 office")}})
	fine(t, err)
	i := slices.IndexFunc(ruleList(t, c, g.ID), func(r types.SecurityGroupRule) bool {
		return aws.ToString(r.CidrIpv4) == "198.51.100.9/32" && aws.ToString(r.Description) == "office" && ruleID(r) == ruleID(made.SecurityGroupRules[1])
	})
	if i < 0 {
		t.Error("the description did not change, or the rule got another ID")
	}
	fine(t, revoke(tcp22("192.0.2.0/24", "198.51.100.9/32"), v6, list))
	if now := len(ruleList(t, c, g.ID)); now != before-4 {
		t.Errorf("%d rules are left, want %d", now, before-4)
	}
	_, err = c.RevokeSecurityGroupEgress(t.Context(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}})
	fine(t, err)
	if len(g.Egress) != 0 {
		t.Errorf("egress is %+v", g.Egress)
	}
}

func TestSecurityGroupsComeAndGo(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(m.cfg)
	in, g := m.sshHost(t)
	create := func(name string) (string, error) {
		out, err := c.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("recovery"), VpcId: &in.Host.VPC,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: []types.Tag{{Key: aws.String("token"), Value: aws.String("x")}}}}})
		if err != nil {
			return "", err
		}
		return *out.GroupId, nil
	}
	id, err := create("migrate-recovery")
	fine(t, err)
	_, err = create("migrate-recovery")
	wantCode(t, "the same name", err, "InvalidGroup.Duplicate")
	out, err := c.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{eq("tag:token", "x"), eq("vpc-id", in.Host.VPC)}})
	fine(t, err)
	if len(out.SecurityGroups) != 1 || *out.SecurityGroups[0].GroupId != id || len(out.SecurityGroups[0].IpPermissionsEgress) != 1 {
		t.Fatalf("made %+v", out.SecurityGroups)
	}
	remove := func(id string) error {
		_, err := c.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &id})
		return err
	}
	pair := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &id}}}
	_, err = c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{pair}})
	fine(t, err)
	wantCode(t, "deleting a group that a rule names", remove(id), "DependencyViolation")
	wantCode(t, "deleting a group in use", remove(g.ID), "DependencyViolation")
	_, err = c.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{pair}})
	fine(t, err)
	for _, r := range []string{id, in.Host.ID, m.rg.Endpoints[0].ID} {
		_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{r}, Tags: []types.Tag{{Key: aws.String("migrate"), Value: aws.String("yes")}}})
		fine(t, err)
	}
	if in.Host.Tags["migrate"] != "yes" || m.rg.Tags[m.rg.Endpoints[0].ID]["migrate"] != "yes" {
		t.Error("the tags are not there")
	}
	_, err = c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{in.Host.ID}, Tags: []types.Tag{{Key: aws.String("migrate"), Value: aws.String("no")}, {Key: aws.String("team")}}})
	fine(t, err)
	if in.Host.Tags["migrate"] != "yes" || in.Host.Tags["team"] != "" {
		t.Errorf("tags are %v", in.Host.Tags)
	}
	fine(t, remove(id))
	wantCode(t, "deleting it again", remove(id), "InvalidGroup.NotFound")
}

// TestProfileBringsTheAgentOnline takes an instance's profile away and makes
// it a new one, role and policy included.
func TestProfileBringsTheAgentOnline(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{Lag: 8 * time.Second})
	c, id := ec2.NewFromConfig(m.cfg), iam.NewFromConfig(m.cfg)
	var in *simfleet.Instance
	for _, x := range m.rg.Instances {
		if m.Online(x) {
			in = x
		}
	}
	one := func() types.IamInstanceProfileAssociation {
		out, err := c.DescribeIamInstanceProfileAssociations(t.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{Filters: []types.Filter{eq("instance-id", in.Host.ID)}})
		fine(t, err)
		if len(out.IamInstanceProfileAssociations) != 1 {
			return types.IamInstanceProfileAssociation{}
		}
		return out.IamInstanceProfileAssociations[0]
	}
	old := one()
	_, err := c.DisassociateIamInstanceProfile(t.Context(), &ec2.DisassociateIamInstanceProfileInput{AssociationId: old.AssociationId})
	fine(t, err)
	if m.Online(in) {
		t.Error("the agent is online without credentials")
	}
	if a := one(); a.AssociationId == nil {
		t.Error("a read right after the change does not lag behind")
	}
	m.pass(9 * time.Second)
	if a := one(); a.AssociationId != nil {
		t.Error("the association is still there")
	}
	name := aws.String("migrate-ssm")
	_, err = id.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`)})
	fine(t, err)
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"}]}`
	_, err = id.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("agent"), PolicyDocument: &document})
	fine(t, err)
	_, err = id.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: name})
	fine(t, err)
	_, err = id.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	fine(t, err)
	_, err = id.GetRole(t.Context(), &iam.GetRoleInput{RoleName: name})
	wantCode(t, "reading a role right after it was made", err, "NoSuchEntity")
	associate := func() error {
		_, err := c.AssociateIamInstanceProfile(t.Context(), &ec2.AssociateIamInstanceProfileInput{InstanceId: &in.Host.ID, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: name}})
		return err
	}
	wantCode(t, "a profile that EC2 does not see yet", associate(), "InvalidParameterValue")
	m.pass(9 * time.Second)
	fine(t, associate())
	if !m.Online(in) {
		t.Errorf("the agent is not online: %s", m.OfflineReason(in))
	}
	wantCode(t, "a second profile", associate(), "IncorrectState")
	got, err := id.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: name, PolicyName: aws.String("agent")})
	fine(t, err)
	if text, _ := url.PathUnescape(*got.PolicyDocument); text != document {
		t.Errorf("the policy reads %s", text)
	}
	m.pass(9 * time.Second)
	fresh := one()
	if *fresh.AssociationId == *old.AssociationId {
		t.Error("the new association has the old one's ID")
	}
	_, err = c.ReplaceIamInstanceProfileAssociation(t.Context(), &ec2.ReplaceIamInstanceProfileAssociationInput{AssociationId: fresh.AssociationId, IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: old.IamInstanceProfile.Arn}})
	fine(t, err)
	if in.Host.ProfileARN != *old.IamInstanceProfile.Arn {
		t.Errorf("the profile is %s", in.Host.ProfileARN)
	}
	_, err = c.ModifyInstanceMetadataOptions(t.Context(), &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: &in.Host.ID, HttpEndpoint: types.InstanceMetadataEndpointStateDisabled})
	fine(t, err)
	if m.Online(in) {
		t.Error("the agent is online without the metadata service")
	}
	removeRole(t, m, id, *name)
}

// removeRole takes a role and its profile away in the order that IAM wants.
func removeRole(t *testing.T, m movable, id *iam.Client, name string) {
	t.Helper()
	_, err := id.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &name})
	wantCode(t, "a role in a profile", err, "DeleteConflict")
	_, err = id.DeleteInstanceProfile(t.Context(), &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
	wantCode(t, "a profile with a role", err, "DeleteConflict")
	_, err = id.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	fine(t, err)
	_, err = id.DeleteInstanceProfile(t.Context(), &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
	fine(t, err)
	_, err = id.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &name})
	wantCode(t, "a role with a policy", err, "DeleteConflict")
	_, err = id.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: aws.String("agent")})
	fine(t, err)
	core := aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
	_, err = id.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: core})
	fine(t, err)
	_, err = id.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &name})
	wantCode(t, "a role with an attached policy", err, "DeleteConflict")
	_, err = id.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: core})
	fine(t, err)
	_, err = id.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: core})
	wantCode(t, "a policy that is not attached", err, "NoSuchEntity")
	_, err = id.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &name})
	fine(t, err)
	m.pass(9 * time.Second)
	_, err = id.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
	wantCode(t, "a role that was deleted", err, "NoSuchEntity")
}

func TestEndpointsComeAndGo(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(m.cfg)
	in := healthyIn(t, m, "apps")
	ssmName := "com.amazonaws." + m.rg.Name + ".ssm"
	before := m.EgressTo(in, "ssm")
	if before.Endpoint != "" {
		t.Fatalf("%s has an endpoint already", in.Host.VPC)
	}
	group, err := c.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("endpoints-of-migrate"), Description: aws.String("endpoints"), VpcId: &in.Host.VPC})
	fine(t, err)
	input := func(token string) *ec2.CreateVpcEndpointInput {
		return &ec2.CreateVpcEndpointInput{VpcId: &in.Host.VPC, ServiceName: &ssmName, VpcEndpointType: types.VpcEndpointTypeInterface, PrivateDnsEnabled: aws.Bool(true),
			SubnetIds: []string{in.Host.Subnet}, SecurityGroupIds: []string{*group.GroupId}, ClientToken: &token,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpcEndpoint, Tags: []types.Tag{{Key: aws.String("by"), Value: aws.String("migrate")}}}}}
	}
	made, err := c.CreateVpcEndpoint(t.Context(), input("one"))
	fine(t, err)
	again, err := c.CreateVpcEndpoint(t.Context(), input("one"))
	fine(t, err)
	id := *made.VpcEndpoint.VpcEndpointId
	if *again.VpcEndpoint.VpcEndpointId != id || made.VpcEndpoint.State != "pending" {
		t.Errorf("the same token made %s after %s, %s", *again.VpcEndpoint.VpcEndpointId, id, made.VpcEndpoint.State)
	}
	other := input("one")
	other.SecurityGroupIds = nil
	_, err = c.CreateVpcEndpoint(t.Context(), other)
	wantCode(t, "the same token, another request", err, "IdempotentParameterMismatch")
	_, err = c.CreateVpcEndpoint(t.Context(), input("two"))
	wantCode(t, "a second endpoint with private DNS", err, "InvalidParameter")
	if err == nil || !strings.Contains(err.Error(), "conflicting DNS domain for ssm."+m.rg.Name) {
		t.Errorf("the conflict reads %v", err)
	}
	if p := m.EgressTo(in, "ssm"); p.Endpoint != "" {
		t.Error("the endpoint answers while it is pending")
	}
	m.pass(2 * time.Minute)
	out, err := c.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	fine(t, err)
	e := out.VpcEndpoints[0]
	if e.State != "available" || len(e.NetworkInterfaceIds) != 1 || len(e.Tags) != 1 {
		t.Errorf("the endpoint is %+v", e)
	}
	p := m.EgressTo(in, "ssm")
	if p.Endpoint != id || !slices.Equal(p.Addresses, m.rg.Endpoints[len(m.rg.Endpoints)-1].Addresses.Value) {
		t.Errorf("the service is reached by %q at %v", p.Endpoint, p.Addresses)
	}
	// Its group lets nobody in on 443, so the name now leads nowhere.
	if p.TCP {
		t.Error("the endpoint lets in whom its group does not")
	}
	open := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}}}
	_, err = c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: []types.IpPermission{open}})
	fine(t, err)
	if p := m.EgressTo(in, "ssm"); !p.TLS {
		t.Errorf("through the endpoint: %s", p.Reason)
	}
	_, err = c.ModifyVpcEndpoint(t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id, PrivateDnsEnabled: aws.Bool(false)})
	fine(t, err)
	if p := m.EgressTo(in, "ssm"); p.Endpoint != "" {
		t.Error("the name still leads to the endpoint")
	}
	gone, err := c.DeleteVpcEndpoints(t.Context(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id, "vpce-0nothing"}})
	fine(t, err)
	if len(gone.Unsuccessful) != 1 || *gone.Unsuccessful[0].Error.Code != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("deleting said %+v", gone.Unsuccessful)
	}
	m.pass(time.Minute)
	_, err = c.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	wantCode(t, "an endpoint that was deleted", err, "InvalidVpcEndpointId.NotFound")
	if diff := cmp.Diff(before, m.EgressTo(in, "ssm"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the way to ssm (-before +after):\n%s", diff)
	}
}

// healthyIn is a running host in the VPC of that name.
func healthyIn(t *testing.T, m movable, vpc string) *simfleet.Instance {
	t.Helper()
	for _, in := range m.rg.Instances {
		if strings.HasPrefix(in.Host.Tags["Name"], vpc+"-") && in.Host.Running() {
			return in
		}
	}
	t.Fatalf("no host in %s", vpc)
	return nil
}

func TestSessionDocumentsHaveVersions(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ssm.NewFromConfig(m.cfg)
	name := aws.String(fleet.PreferencesName)
	old := m.rg.Preferences
	_, err := c.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: name, Content: &old, DocumentType: ssmtypes.DocumentTypeSession})
	wantCode(t, "a document that is there", err, "DocumentAlreadyExists")
	update := func(content, version string) (*ssm.UpdateDocumentOutput, error) {
		return c.UpdateDocument(t.Context(), &ssm.UpdateDocumentInput{Name: name, Content: &content, DocumentVersion: &version, DocumentFormat: ssmtypes.DocumentFormatJson})
	}
	_, err = update(old, "$LATEST")
	wantCode(t, "the same content", err, "DuplicateDocumentContent")
	next := `{"schemaVersion":"1.0","description":"","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"30"}}`
	out, err := update(next, "$LATEST")
	fine(t, err)
	version := *out.DocumentDescription.DocumentVersion
	if m.rg.Preferences != old {
		t.Error("a version counts that is not the default one")
	}
	_, err = update(next, "1")
	wantCode(t, "an older version", err, "InvalidDocumentVersion")
	_, err = update(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"0"}}`, "$LATEST")
	wantCode(t, "a timeout of 0", err, "InvalidDocumentContent")
	_, err = c.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: name, DocumentVersion: &version})
	fine(t, err)
	if m.rg.Preferences != next {
		t.Error("the default version does not count")
	}
	got, err := c.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: name, DocumentVersion: aws.String("1")})
	fine(t, err)
	if *got.Content != old {
		t.Error("the first version changed")
	}
	_, err = c.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: name, DocumentVersion: aws.String("1")})
	fine(t, err)
	if m.rg.Preferences != old {
		t.Error("the first version does not count again")
	}
	_, err = c.DeleteDocument(t.Context(), &ssm.DeleteDocumentInput{Name: name})
	fine(t, err)
	_, err = c.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: name})
	wantCode(t, "a document that was deleted", err, "InvalidDocument")
}

// TestDefaultHostManagementBringsAgentsOnline sets the account's default role.
func TestDefaultHostManagementBringsAgentsOnline(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := ssm.NewFromConfig(m.cfg)
	in := healthyIn(t, m, "prod")
	in.Host.ProfileARN = ""
	if m.Online(in) {
		t.Fatal("the agent is online without credentials")
	}
	trust, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{"Effect": "Allow", "Principal": map[string]string{"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}})
	id := iam.NewFromConfig(m.cfg)
	name := "MigrateDefaultHostRole"
	_, err := id.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, Path: aws.String("/service-role/"), AssumeRolePolicyDocument: aws.String(string(trust))})
	fine(t, err)
	_, err = id.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy")})
	fine(t, err)
	setting := aws.String("/ssm/managed-instance/default-ec2-instance-management-role")
	_, err = c.UpdateServiceSetting(t.Context(), &ssm.UpdateServiceSettingInput{SettingId: setting, SettingValue: aws.String("service-role/" + name)})
	fine(t, err)
	if !m.Online(in) {
		t.Errorf("the agent is not online: %s", m.OfflineReason(in))
	}
	out, err := c.ResetServiceSetting(t.Context(), &ssm.ResetServiceSettingInput{SettingId: setting})
	fine(t, err)
	if *out.ServiceSetting.SettingValue != "$None" || *out.ServiceSetting.Status != "Default" || m.Online(in) {
		t.Errorf("after the reset: %s, %s", *out.ServiceSetting.SettingValue, *out.ServiceSetting.Status)
	}
	_, err = c.UpdateServiceSetting(t.Context(), &ssm.UpdateServiceSettingInput{SettingId: aws.String("/ssm/nothing"), SettingValue: aws.String("x")})
	wantCode(t, "no such setting", err, "ServiceSettingNotFound")
}

// TestFaultsAroundChanges checks what is left of a change whose answer was
// lost, or that came twice.
func TestFaultsAroundChanges(t *testing.T) {
	faults := &simfleet.Faults{}
	var told []string
	m := movableWorld(t, simfleet.AWSOptions{Faults: faults, Changed: func(api string) { told = append(told, api) }})
	c := ec2.NewFromConfig(m.cfg)
	_, g := m.sshHost(t)
	authorize := func(cidr string) error {
		_, err := c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{tcp22(cidr)}})
		return err
	}
	has := func(cidr string) bool {
		return slices.ContainsFunc(fleet.Rules(g.Ingress, false), func(r fleet.Rule) bool { return r.CIDR.IsValid() && r.CIDR.String() == cidr })
	}
	faults.Set(simfleet.Fault{Action: "AuthorizeSecurityGroupIngress", Kind: simfleet.FaultCut, Times: 1})
	if err := authorize("192.0.2.1/32"); err == nil || !has("192.0.2.1/32") {
		t.Errorf("cut off after the change: %v, rule there: %v", err, has("192.0.2.1/32"))
	}
	faults.Set(simfleet.Fault{Action: "AuthorizeSecurityGroupIngress", Kind: simfleet.FaultTwice, Times: 1})
	err := authorize("192.0.2.2/32")
	wantCode(t, "a request that came twice", err, "InvalidPermission.Duplicate")
	if !has("192.0.2.2/32") {
		t.Error("the first of the two did nothing")
	}
	for _, kind := range []simfleet.FaultKind{simfleet.FaultDeny, simfleet.FaultThrottle} {
		faults.Set(simfleet.Fault{Action: "AuthorizeSecurityGroupIngress", Kind: kind})
		if err := authorize("192.0.2.3/32"); err == nil || has("192.0.2.3/32") {
			t.Errorf("a call that was refused: %v, rule there: %v", err, has("192.0.2.3/32"))
		}
	}
	if want := slices.Repeat([]string{"ec2:AuthorizeSecurityGroupIngress"}, 3); !slices.Equal(told, want) {
		t.Errorf("told of %v", told)
	}
}
