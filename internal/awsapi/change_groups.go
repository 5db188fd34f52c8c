package awsapi

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// tagList is tags in EC2's form, sorted: the same call twice is the same bytes.
// Tags of AWS's own cannot be set.
func tagList(tags map[string]string) []types.Tag {
	out := make([]types.Tag, 0, len(tags))
	for k, v := range tags {
		if !strings.HasPrefix(k, "aws:") {
			out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(v)})
		}
	}
	slices.SortFunc(out, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// tagging is nil without tags: EC2 refuses an empty list.
func tagging(kind types.ResourceType, tags map[string]string) []types.TagSpecification {
	list := tagList(tags)
	if len(list) == 0 {
		return nil
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: list}}
}

// FindGroup gives a security group by its name, without its rules.
func (c *Changer) FindGroup(ctx context.Context, at fleet.Place, vpc, name string) (fleet.SecurityGroup, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.SecurityGroup{}, err
	}
	out, err := p.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter("vpc-id", vpc), filter("group-name", name)}})
	if err != nil {
		return fleet.SecurityGroup{}, p.answer("ec2:DescribeSecurityGroups", err)
	}
	for _, g := range out.SecurityGroups {
		// The filter takes wildcards, and a name may hold one.
		if aws.ToString(g.GroupName) == name && aws.ToString(g.VpcId) == vpc {
			return fleet.SecurityGroup{ID: aws.ToString(g.GroupId), Name: name, VPC: vpc, Description: aws.ToString(g.Description), Tags: tagMap(g.Tags)}, nil
		}
	}
	return fleet.SecurityGroup{}, none("security group " + name)
}

// GroupRules lists all rules of a group, exactly as they are.
func (c *Changer) GroupRules(ctx context.Context, at fleet.Place, group string) ([]fleet.Rule, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	var rules []fleet.Rule
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.ec2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{
			Filters: []types.Filter{filter("group-id", group)}, MaxResults: page1000, NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.SecurityGroupRules {
			r, err := rule(in)
			if err != nil {
				return nil, err
			}
			rules = append(rules, r)
		}
		return out.NextToken, nil
	})
	if err != nil {
		return nil, p.answer("ec2:DescribeSecurityGroupRules", err)
	}
	if len(rules) > 0 {
		return rules, nil
	}
	// A filter matches nothing in a group without rules, and without the group.
	_, err = p.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	return nil, p.answer("ec2:DescribeSecurityGroups", err)
}

// GroupMembers lists the instances that carry a group on any interface.
func (c *Changer) GroupMembers(ctx context.Context, at fleet.Place, group string) ([]string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	var out []string
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		// instance.group-id would say nothing of further interfaces.
		page, err := p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{
			Filters: []types.Filter{filter("network-interface.group-id", group), filter("instance-state-name", liveStates...)}, MaxResults: page1000, NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, res := range page.Reservations {
			for _, in := range res.Instances {
				out = append(out, aws.ToString(in.InstanceId))
			}
		}
		return page.NextToken, nil
	})
	if err != nil {
		return nil, p.answer("ec2:DescribeInstances", err)
	}
	slices.Sort(out)
	return out, nil
}

func rule(in types.SecurityGroupRule) (fleet.Rule, error) {
	r := fleet.Rule{
		ID: aws.ToString(in.SecurityGroupRuleId), Egress: aws.ToBool(in.IsEgress), Protocol: aws.ToString(in.IpProtocol),
		From: port(in.FromPort), To: port(in.ToPort), PrefixList: aws.ToString(in.PrefixListId),
		Description: aws.ToString(in.Description), Tags: tagMap(in.Tags),
	}
	if g := in.ReferencedGroupInfo; g != nil {
		r.Group = aws.ToString(g.GroupId)
		if owner := aws.ToString(g.UserId); owner != aws.ToString(in.GroupOwnerId) {
			r.GroupAccount = owner
		}
	}
	if cidr := aws.ToString(in.CidrIpv4) + aws.ToString(in.CidrIpv6); cidr != "" {
		var err error
		if r.CIDR, err = netip.ParsePrefix(cidr); err != nil {
			return r, &failure{api: "ec2:DescribeSecurityGroupRules", text: "rule " + clean(r.ID) + " has no readable CIDR: " + clean(cidr), err: err}
		}
	}
	return r, nil
}

// permission is a rule in EC2's form.
func permission(r fleet.Rule) types.IpPermission {
	out := types.IpPermission{IpProtocol: aws.String(r.Protocol)}
	if r.Protocol != "-1" {
		out.FromPort, out.ToPort = aws.Int32(int32(r.From)), aws.Int32(int32(r.To)) //nolint:gosec // at most 65535
	}
	var words *string
	if r.Description != "" {
		words = aws.String(r.Description)
	}
	switch {
	case r.Group != "":
		pair := types.UserIdGroupPair{GroupId: aws.String(r.Group), Description: words}
		if r.GroupAccount != "" {
			pair.UserId = aws.String(r.GroupAccount)
		}
		out.UserIdGroupPairs = []types.UserIdGroupPair{pair}
	case r.PrefixList != "":
		out.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String(r.PrefixList), Description: words}}
	case r.CIDR.Addr().Is4():
		out.IpRanges = []types.IpRange{{CidrIp: aws.String(r.CIDR.String()), Description: words}}
	default:
		out.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.CIDR.String()), Description: words}}
	}
	return out
}

// CreateGroup makes a security group.
func (c *Changer) CreateGroup(ctx context.Context, at fleet.Place, g fleet.SecurityGroup) (string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return "", err
	}
	out, err := p.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: &g.Name, Description: &g.Description, VpcId: &g.VPC, TagSpecifications: tagging(types.ResourceTypeSecurityGroup, g.Tags),
	})
	if err != nil {
		return "", p.answer("ec2:CreateSecurityGroup", err)
	}
	return aws.ToString(out.GroupId), nil
}

// DeleteGroup deletes a security group.
func (c *Changer) DeleteGroup(ctx context.Context, at fleet.Place, group string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &group})
	return p.answer("ec2:DeleteSecurityGroup", err)
}

// Authorize adds one rule.
func (c *Changer) Authorize(ctx context.Context, at fleet.Place, group string, r fleet.Rule) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	tags := tagging(types.ResourceTypeSecurityGroupRule, r.Tags)
	if r.Egress {
		_, err = p.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
			GroupId: &group, IpPermissions: []types.IpPermission{permission(r)}, TagSpecifications: tags,
		})
		return p.answer("ec2:AuthorizeSecurityGroupEgress", err)
	}
	_, err = p.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &group, IpPermissions: []types.IpPermission{permission(r)}, TagSpecifications: tags,
	})
	return p.answer("ec2:AuthorizeSecurityGroupIngress", err)
}

// Revoke removes rules by ID.
func (c *Changer) Revoke(ctx context.Context, at fleet.Place, group string, egress bool, ids []string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	if egress {
		_, err = p.ec2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, SecurityGroupRuleIds: ids})
		return p.answer("ec2:RevokeSecurityGroupEgress", err)
	}
	_, err = p.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, SecurityGroupRuleIds: ids})
	return p.answer("ec2:RevokeSecurityGroupIngress", err)
}
