package awsapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"ssm-migrate/internal/fleet"
)

// connectEndpoints lists the EC2 Instance Connect Endpoints.
func (r *Region) connectEndpoints(ctx context.Context) fleet.Fact[[]fleet.ConnectEndpoint] {
	return collect(ctx, r.account, "ec2:DescribeInstanceConnectEndpoints", func(e fleet.ConnectEndpoint) string { return e.ID }, func(ctx context.Context, c *collection[fleet.ConnectEndpoint]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeInstanceConnectEndpoints(ctx, &ec2.DescribeInstanceConnectEndpointsInput{NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.InstanceConnectEndpoints {
				c.add(fleet.ConnectEndpoint{
					ID: aws.ToString(in.InstanceConnectEndpointId), VPC: aws.ToString(in.VpcId), Subnet: aws.ToString(in.SubnetId),
					State: string(in.State), DNSName: aws.ToString(in.DnsName), Groups: in.SecurityGroupIds, PreserveClientIP: aws.ToBool(in.PreserveClientIp),
				})
			}
			return out.NextToken, nil
		})
	})
}

// serialConsole asks whether the account allows the EC2 serial console.
func (r *Region) serialConsole(ctx context.Context) fleet.Fact[bool] {
	const source = "ec2:GetSerialConsoleAccessStatus"
	out, err := r.ec2.GetSerialConsoleAccessStatus(ctx, &ec2.GetSerialConsoleAccessStatusInput{})
	at := time.Now().UTC()
	switch {
	case err != nil:
		return fleet.Unknown[bool](source, at, r.account.failure(source, err).Error())
	case out.SerialConsoleAccessEnabled == nil:
		return fleet.Unknown[bool](source, at, "the answer does not say")
	}
	return fleet.Known(*out.SerialConsoleAccessEnabled, source, at)
}
