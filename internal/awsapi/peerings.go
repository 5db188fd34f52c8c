package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

func (r *Region) peerings(ctx context.Context) fleet.Fact[[]fleet.Peering] {
	return collect(ctx, r.account, "ec2:DescribeVpcPeeringConnections", func(v fleet.Peering) string { return v.ID }, func(ctx context.Context, c *collection[fleet.Peering]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeVpcPeeringConnections(ctx, &ec2.DescribeVpcPeeringConnectionsInput{MaxResults: page1000, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.VpcPeeringConnections {
				var p prefixes
				v := fleet.Peering{
					ID:        aws.ToString(in.VpcPeeringConnectionId),
					Requester: peeringEnd(in.RequesterVpcInfo, &p),
					Accepter:  peeringEnd(in.AccepterVpcInfo, &p),
				}
				if in.Status != nil {
					v.State = string(in.Status.Code)
				}
				keep(c, v, p)
			}
			return out.NextToken, nil
		})
	})
}

// peeringEnd is one side. EC2 leaves the address ranges of the other side out
// until the connection is active.
func peeringEnd(in *types.VpcPeeringConnectionVpcInfo, p *prefixes) fleet.PeeringEnd {
	if in == nil {
		return fleet.PeeringEnd{}
	}
	end := fleet.PeeringEnd{VPC: aws.ToString(in.VpcId), Account: aws.ToString(in.OwnerId), Region: aws.ToString(in.Region)}
	for _, v := range in.CidrBlockSet {
		end.CIDRs = append(end.CIDRs, p.read(v.CidrBlock))
	}
	if len(end.CIDRs) == 0 && aws.ToString(in.CidrBlock) != "" {
		end.CIDRs = append(end.CIDRs, p.read(in.CidrBlock))
	}
	for _, v := range in.Ipv6CidrBlockSet {
		end.CIDRs = append(end.CIDRs, p.read(v.Ipv6CidrBlock))
	}
	return end
}
