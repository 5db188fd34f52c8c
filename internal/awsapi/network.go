package awsapi

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

// Page sizes are the largest that the EC2 API reference allows (checked
// October 2026): 1,000 for most listings, less where a call says so.
var page1000, page200, page100 = aws.Int32(1000), aws.Int32(200), aws.Int32(100)

// prefixes reads CIDRs and remembers the first that is none. An element with
// such a CIDR is left out: its other rules alone would tell a wrong story.
type prefixes struct{ err error }

func (p *prefixes) read(s *string) netip.Prefix {
	cidr, err := netip.ParsePrefix(aws.ToString(s))
	if err != nil {
		if p.err == nil {
			p.err = fmt.Errorf("%q is not a CIDR", clean(aws.ToString(s)))
		}
		return netip.Prefix{}
	}
	return cidr.Masked()
}

// keep adds v, or notes why it is left out.
func keep[T any](c *collection[T], v T, p prefixes) {
	if p.err != nil {
		c.leaveOut(fmt.Errorf("%s: %w", clean(c.key(v)), p.err))
		return
	}
	c.add(v)
}

func (r *Region) vpcs(ctx context.Context) fleet.Fact[[]fleet.VPC] {
	return collect(ctx, r.account, "ec2:DescribeVpcs", func(v fleet.VPC) string { return v.ID }, func(ctx context.Context, c *collection[fleet.VPC]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			each(out.Vpcs, parallel, func(in types.Vpc) { r.vpc(ctx, c, in) })
			return out.NextToken, nil
		})
	})
}

func (r *Region) vpc(ctx context.Context, c *collection[fleet.VPC], in types.Vpc) {
	var p prefixes
	v := fleet.VPC{ID: aws.ToString(in.VpcId), Tags: tagMap(in.Tags), DHCPOptions: aws.ToString(in.DhcpOptionsId)}
	for _, a := range in.CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			v.CIDRs = append(v.CIDRs, p.read(a.CidrBlock))
		}
	}
	if len(v.CIDRs) == 0 && in.CidrBlock != nil {
		v.CIDRs = append(v.CIDRs, p.read(in.CidrBlock))
	}
	for _, a := range in.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			v.CIDRs = append(v.CIDRs, p.read(a.Ipv6CidrBlock))
		}
	}
	v.DNSSupport = r.vpcAttribute(ctx, in.VpcId, types.VpcAttributeNameEnableDnsSupport)
	v.DNSHostnames = r.vpcAttribute(ctx, in.VpcId, types.VpcAttributeNameEnableDnsHostnames)
	keep(c, v, p)
}

func (r *Region) vpcAttribute(ctx context.Context, vpc *string, name types.VpcAttributeName) fleet.Fact[bool] {
	const source = "ec2:DescribeVpcAttribute"
	out, err := r.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: vpc, Attribute: name})
	at := time.Now().UTC()
	if err != nil {
		return fleet.Unknown[bool](source, at, r.account.failure(source, err).Error())
	}
	value := out.EnableDnsSupport
	if name == types.VpcAttributeNameEnableDnsHostnames {
		value = out.EnableDnsHostnames
	}
	if value == nil || value.Value == nil {
		return fleet.Unknown[bool](source, at, "the answer lacks "+string(name))
	}
	return fleet.Known(*value.Value, source, at)
}

func (r *Region) subnets(ctx context.Context) fleet.Fact[[]fleet.Subnet] {
	return collect(ctx, r.account, "ec2:DescribeSubnets", func(v fleet.Subnet) string { return v.ID }, func(ctx context.Context, c *collection[fleet.Subnet]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.Subnets {
				var p prefixes
				v := fleet.Subnet{ID: aws.ToString(in.SubnetId), VPC: aws.ToString(in.VpcId), AZ: aws.ToString(in.AvailabilityZone), Tags: tagMap(in.Tags)}
				if aws.ToString(in.CidrBlock) != "" {
					v.CIDR = p.read(in.CidrBlock)
				}
				for _, a := range in.Ipv6CidrBlockAssociationSet {
					if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State == types.SubnetCidrBlockStateCodeAssociated {
						v.IPv6 = append(v.IPv6, p.read(a.Ipv6CidrBlock))
					}
				}
				keep(c, v, p)
			}
			return out.NextToken, nil
		})
	})
}

func (r *Region) routeTables(ctx context.Context) fleet.Fact[[]fleet.RouteTable] {
	return collect(ctx, r.account, "ec2:DescribeRouteTables", func(v fleet.RouteTable) string { return v.ID }, func(ctx context.Context, c *collection[fleet.RouteTable]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{MaxResults: page100, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.RouteTables {
				v, p := routeTable(in)
				keep(c, v, p)
			}
			return out.NextToken, nil
		})
	})
}

func routeTable(in types.RouteTable) (fleet.RouteTable, prefixes) {
	var p prefixes
	t := fleet.RouteTable{ID: aws.ToString(in.RouteTableId), VPC: aws.ToString(in.VpcId)}
	for _, a := range in.Associations {
		if a.AssociationState != nil && a.AssociationState.State != types.RouteTableAssociationStateCodeAssociated {
			continue
		}
		t.Main = t.Main || aws.ToBool(a.Main)
		if a.SubnetId != nil {
			t.Subnets = append(t.Subnets, *a.SubnetId)
		}
	}
	slices.Sort(t.Subnets)
	for _, in := range in.Routes {
		route := fleet.Route{PrefixList: aws.ToString(in.DestinationPrefixListId), Target: routeTarget(in), State: string(in.State)}
		if route.PrefixList == "" {
			route.CIDR = p.read(cmp.Or(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock))
		}
		t.Routes = append(t.Routes, route)
	}
	slices.SortStableFunc(t.Routes, func(a, b fleet.Route) int {
		return cmp.Or(strings.Compare(a.PrefixList, b.PrefixList), comparePrefix(a.CIDR, b.CIDR))
	})
	return t, p
}

// routeTarget is the one of a route's targets that EC2 has set. A route to an
// instance names its network interface as well.
func routeTarget(in types.Route) string {
	for _, t := range []*string{
		in.GatewayId, in.NatGatewayId, in.TransitGatewayId, in.VpcPeeringConnectionId, in.EgressOnlyInternetGatewayId,
		in.InstanceId, in.NetworkInterfaceId, in.LocalGatewayId, in.CarrierGatewayId, in.CoreNetworkArn, in.OdbNetworkArn,
	} {
		if aws.ToString(t) != "" {
			return *t
		}
	}
	return ""
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func (r *Region) networkACLs(ctx context.Context) fleet.Fact[[]fleet.NetworkACL] {
	return collect(ctx, r.account, "ec2:DescribeNetworkAcls", func(v fleet.NetworkACL) string { return v.ID }, func(ctx context.Context, c *collection[fleet.NetworkACL]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.NetworkAcls {
				v, p := networkACL(in)
				keep(c, v, p)
			}
			return out.NextToken, nil
		})
	})
}

func networkACL(in types.NetworkAcl) (fleet.NetworkACL, prefixes) {
	var p prefixes
	n := fleet.NetworkACL{ID: aws.ToString(in.NetworkAclId), VPC: aws.ToString(in.VpcId), Default: aws.ToBool(in.IsDefault)}
	for _, a := range in.Associations {
		n.Subnets = append(n.Subnets, aws.ToString(a.SubnetId))
	}
	slices.Sort(n.Subnets)
	for _, e := range in.Entries {
		entry := fleet.ACLEntry{
			Number:   int(aws.ToInt32(e.RuleNumber)),
			Egress:   aws.ToBool(e.Egress),
			Allow:    e.RuleAction == types.RuleActionAllow,
			Protocol: aws.ToString(e.Protocol),
			CIDR:     p.read(cmp.Or(e.CidrBlock, e.Ipv6CidrBlock)),
		}
		if e.PortRange != nil {
			entry.From, entry.To = int(aws.ToInt32(e.PortRange.From)), int(aws.ToInt32(e.PortRange.To))
		}
		n.Entries = append(n.Entries, entry)
	}
	slices.SortStableFunc(n.Entries, func(a, b fleet.ACLEntry) int {
		return cmp.Or(compareBool(a.Egress, b.Egress), cmp.Compare(a.Number, b.Number))
	})
	return n, p
}

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
