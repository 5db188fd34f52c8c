package awsapi

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

func (r *Region) securityGroups(ctx context.Context) fleet.Fact[[]fleet.SecurityGroup] {
	return collect(ctx, r.account, "ec2:DescribeSecurityGroups", func(v fleet.SecurityGroup) string { return v.ID }, func(ctx context.Context, c *collection[fleet.SecurityGroup]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.SecurityGroups {
				var p prefixes
				keep(c, fleet.SecurityGroup{
					ID:          aws.ToString(in.GroupId),
					Name:        aws.ToString(in.GroupName),
					VPC:         aws.ToString(in.VpcId),
					Description: aws.ToString(in.Description),
					Tags:        tagMap(in.Tags),
					Ingress:     permissions(in.IpPermissions, &p),
					Egress:      permissions(in.IpPermissionsEgress, &p),
				}, p)
			}
			return out.NextToken, nil
		})
	})
}

// permissions reads a rule set. EC2 shows all sources of one protocol and port
// range together, each with a description of its own; here every description
// gets a permission of its own, so that none is lost.
func permissions(list []types.IpPermission, p *prefixes) []fleet.Permission {
	var out []fleet.Permission
	for _, in := range list {
		first := len(out)
		at := func(description *string) *fleet.Permission {
			text := aws.ToString(description)
			for i := first; i < len(out); i++ {
				if out[i].Description == text {
					return &out[i]
				}
			}
			out = append(out, fleet.Permission{Protocol: aws.ToString(in.IpProtocol), From: port(in.FromPort), To: port(in.ToPort), Description: text})
			return &out[len(out)-1]
		}
		for _, v := range in.UserIdGroupPairs {
			perm := at(v.Description)
			perm.Groups = append(perm.Groups, aws.ToString(v.GroupId))
		}
		for _, v := range in.IpRanges {
			perm := at(v.Description)
			perm.CIDRs = append(perm.CIDRs, p.read(v.CidrIp))
		}
		for _, v := range in.Ipv6Ranges {
			perm := at(v.Description)
			perm.CIDRs = append(perm.CIDRs, p.read(v.CidrIpv6))
		}
		for _, v := range in.PrefixListIds {
			perm := at(v.Description)
			perm.PrefixLists = append(perm.PrefixLists, aws.ToString(v.PrefixListId))
		}
	}
	return out
}

// port is -1 where EC2 leaves the ports out: the rule is for all of them.
func port(p *int32) int {
	if p == nil {
		return -1
	}
	return int(*p)
}

func (r *Region) endpoints(ctx context.Context) fleet.Fact[[]fleet.VPCEndpoint] {
	return collect(ctx, r.account, "ec2:DescribeVpcEndpoints", func(v fleet.VPCEndpoint) string { return v.ID }, func(ctx context.Context, c *collection[fleet.VPCEndpoint]) error {
		interfaces := map[string][]string{} // by endpoint
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.VpcEndpoints {
				v := fleet.VPCEndpoint{
					ID:      aws.ToString(in.VpcEndpointId),
					VPC:     aws.ToString(in.VpcId),
					Service: aws.ToString(in.ServiceName),
					Type:    string(in.VpcEndpointType),
					// EC2 answers in lower case, its reference spells states with a capital.
					State:       strings.ToLower(string(in.State)),
					PrivateDNS:  aws.ToBool(in.PrivateDnsEnabled),
					Subnets:     in.SubnetIds,
					RouteTables: in.RouteTableIds,
					IPType:      string(in.IpAddressType),
					Policy:      aws.ToString(in.PolicyDocument),
					Tags:        tagMap(in.Tags),
				}
				for _, g := range in.Groups {
					v.Groups = append(v.Groups, aws.ToString(g.GroupId))
				}
				for _, d := range in.DnsEntries {
					v.DNSNames = append(v.DNSNames, aws.ToString(d.DnsName))
				}
				c.add(v)
				if in.VpcEndpointType == types.VpcEndpointTypeInterface {
					interfaces[v.ID] = in.NetworkInterfaceIds
				}
			}
			return out.NextToken, nil
		})
		r.addAddresses(ctx, c, interfaces)
		return err
	})
}

func (r *Region) internetGateways(ctx context.Context) fleet.Fact[[]fleet.Gateway] {
	return collect(ctx, r.account, "ec2:DescribeInternetGateways", gatewayID, func(ctx context.Context, c *collection[fleet.Gateway]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.InternetGateways {
				v := fleet.Gateway{ID: aws.ToString(in.InternetGatewayId), Public: true}
				for _, a := range in.Attachments {
					v.VPCs = append(v.VPCs, aws.ToString(a.VpcId))
					v.State = string(a.State)
				}
				c.add(v)
			}
			return out.NextToken, nil
		})
	})
}

func (r *Region) natGateways(ctx context.Context) fleet.Fact[[]fleet.Gateway] {
	return collect(ctx, r.account, "ec2:DescribeNatGateways", gatewayID, func(ctx context.Context, c *collection[fleet.Gateway]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.NatGateways {
				v := fleet.Gateway{
					ID:     aws.ToString(in.NatGatewayId),
					Subnet: aws.ToString(in.SubnetId),
					State:  string(in.State),
					// Older answers lack the type; NAT gateways were all public then.
					Public: in.ConnectivityType != types.ConnectivityTypePrivate,
				}
				if in.VpcId != nil {
					v.VPCs = []string{*in.VpcId}
				}
				c.add(v)
			}
			return out.NextToken, nil
		})
	})
}

func gatewayID(v fleet.Gateway) string { return v.ID }

func (r *Region) prefixLists(ctx context.Context) fleet.Fact[[]fleet.PrefixList] {
	return collect(ctx, r.account, "ec2:DescribeManagedPrefixLists", func(v fleet.PrefixList) string { return v.ID }, func(ctx context.Context, c *collection[fleet.PrefixList]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{MaxResults: page100, NextToken: token})
			if err != nil {
				return nil, err
			}
			each(out.PrefixLists, parallel, func(in types.ManagedPrefixList) { r.prefixList(ctx, c, in) })
			return out.NextToken, nil
		})
	})
}

// prefixList leaves a list out whose entries it cannot read: an empty list
// would say that a rule or route matches nothing.
func (r *Region) prefixList(ctx context.Context, c *collection[fleet.PrefixList], in types.ManagedPrefixList) {
	var p prefixes
	v := fleet.PrefixList{ID: aws.ToString(in.PrefixListId), Name: aws.ToString(in.PrefixListName)}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.ec2.GetManagedPrefixListEntries(ctx, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: in.PrefixListId, MaxResults: page100, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, e := range out.Entries {
			v.CIDRs = append(v.CIDRs, p.read(e.Cidr))
		}
		return out.NextToken, nil
	})
	if err != nil {
		const source = "ec2:GetManagedPrefixListEntries"
		c.leaveOut(&failure{api: source, text: "entries of " + clean(v.ID) + ": " + r.account.failure(source, err).Error(), err: err})
		return
	}
	slices.SortFunc(v.CIDRs, comparePrefix)
	v.CIDRs = slices.Compact(v.CIDRs)
	keep(c, v, p)
}

func (r *Region) dhcpOptions(ctx context.Context) fleet.Fact[[]fleet.DHCPOptions] {
	return collect(ctx, r.account, "ec2:DescribeDhcpOptions", func(v fleet.DHCPOptions) string { return v.ID }, func(ctx context.Context, c *collection[fleet.DHCPOptions]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeDhcpOptions(ctx, &ec2.DescribeDhcpOptionsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.DhcpOptions {
				v := fleet.DHCPOptions{ID: aws.ToString(in.DhcpOptionsId)}
				for _, o := range in.DhcpConfigurations {
					if aws.ToString(o.Key) != "domain-name-servers" {
						continue
					}
					for _, s := range o.Values {
						v.Servers = append(v.Servers, aws.ToString(s.Value))
					}
				}
				c.add(v)
			}
			return out.NextToken, nil
		})
	})
}
