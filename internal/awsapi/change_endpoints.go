package awsapi

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

// EndpointsOf lists a VPC's endpoints.
func (c *Changer) EndpointsOf(ctx context.Context, at fleet.Place, vpc string) ([]fleet.VPCEndpoint, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	var all []fleet.VPCEndpoint
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{
			Filters: []types.Filter{filter("vpc-id", vpc)}, MaxResults: page1000, NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.VpcEndpoints {
			state := strings.ToLower(string(in.State))
			if state == "deleting" || state == "deleted" {
				continue
			}
			e := fleet.VPCEndpoint{
				ID: aws.ToString(in.VpcEndpointId), VPC: aws.ToString(in.VpcId), Service: aws.ToString(in.ServiceName), Type: string(in.VpcEndpointType),
				State: state, PrivateDNS: aws.ToBool(in.PrivateDnsEnabled), Subnets: in.SubnetIds, RouteTables: in.RouteTableIds, Tags: tagMap(in.Tags),
			}
			for _, g := range in.Groups {
				e.Groups = append(e.Groups, aws.ToString(g.GroupId))
			}
			all = append(all, e)
		}
		return out.NextToken, nil
	})
	return all, p.answer("ec2:DescribeVpcEndpoints", err)
}

// CreateEndpoint makes an interface endpoint with private DNS, or a gateway
// endpoint in route tables.
func (c *Changer) CreateEndpoint(ctx context.Context, at fleet.Place, e fleet.VPCEndpoint, token string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	in := ec2.CreateVpcEndpointInput{
		VpcId: &e.VPC, ServiceName: &e.Service, ClientToken: &token, TagSpecifications: tagging(types.ResourceTypeVpcEndpoint, e.Tags),
	}
	if e.Type == "Gateway" {
		in.VpcEndpointType, in.RouteTableIds = types.VpcEndpointTypeGateway, e.RouteTables
	} else {
		in.VpcEndpointType, in.SubnetIds, in.SecurityGroupIds, in.PrivateDnsEnabled = types.VpcEndpointTypeInterface, e.Subnets, e.Groups, aws.Bool(true)
	}
	if e.Policy != "" {
		in.PolicyDocument = &e.Policy
	}
	_, err = p.ec2.CreateVpcEndpoint(ctx, &in)
	conflict := code(err) == "InvalidParameter" // "there is already a conflicting DNS domain"
	if err = p.answer("ec2:CreateVpcEndpoint", err); conflict {
		return &answer{err, fleet.ErrExists}
	}
	return err
}

// DeleteEndpoint deletes an endpoint. EC2 answers for each ID apart.
func (c *Changer) DeleteEndpoint(ctx context.Context, at fleet.Place, id string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	const api = "ec2:DeleteVpcEndpoints"
	out, err := p.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return p.answer(api, err)
	}
	for _, u := range out.Unsuccessful {
		if u.Error == nil {
			continue
		}
		word := aws.ToString(u.Error.Code)
		err := p.answer(api, errors.New(word+": "+aws.ToString(u.Error.Message)))
		if means := meanings[word]; means != nil {
			return &answer{err, means}
		}
		return err
	}
	return nil
}
