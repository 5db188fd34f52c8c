package awsapi

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

// Nodes lists every managed node, hybrid ones included, in pages of up to 50,
// the most that Systems Manager gives; they come one after the other, so 10,000
// nodes are 200 calls. Errors are as with Instances.
func (r *Region) Nodes(ctx context.Context, page func([]fleet.Node) error) error {
	account := r.accountID(ctx)
	seen := map[string]bool{}
	var consumer error
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.ssm.DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(50), NextToken: token})
		if err != nil {
			return nil, err
		}
		var nodes []fleet.Node
		for _, in := range out.InstanceInformationList {
			if n := node(in, account, r.name); n.ID != "" && !seen[n.ID] {
				seen[n.ID] = true
				nodes = append(nodes, n)
			}
		}
		if len(nodes) > 0 {
			consumer = page(nodes)
		}
		return out.NextToken, consumer
	})
	if consumer != nil {
		return consumer
	}
	return r.account.failure("ssm:DescribeInstanceInformation", err)
}

func node(in types.InstanceInformation, account, region string) fleet.Node {
	return fleet.Node{
		ID:              aws.ToString(in.InstanceId),
		Account:         account,
		Region:          region,
		Registered:      true,
		PingStatus:      string(in.PingStatus),
		LastPing:        aws.ToTime(in.LastPingDateTime).UTC(),
		AgentVersion:    aws.ToString(in.AgentVersion),
		LatestVersion:   aws.ToBool(in.IsLatestVersion),
		PlatformType:    string(in.PlatformType),
		PlatformName:    aws.ToString(in.PlatformName),
		PlatformVersion: aws.ToString(in.PlatformVersion),
		ResourceType:    string(in.ResourceType),
		IAMRole:         aws.ToString(in.IamRole),
		ComputerName:    aws.ToString(in.ComputerName),
		Association:     aws.ToString(in.AssociationStatus),
	}
}

// Connection asks whether a node holds its control channel open: "connected"
// or "notconnected". Calls queue for Options.ConnectionRate.
func (r *Region) Connection(ctx context.Context, node string) (string, error) {
	out, err := r.ssm.GetConnectionStatus(ctx, &ssm.GetConnectionStatusInput{Target: aws.String(node)})
	if err != nil {
		return "", r.account.failure(apiConnection, err)
	}
	switch out.Status {
	case types.ConnectionStatusConnected, types.ConnectionStatusNotConnected:
		return string(out.Status), nil
	}
	return "", &failure{api: apiConnection, text: "unexpected status " + clean(string(out.Status)), err: errors.New("unexpected status")}
}

const (
	settingDefaultRole = "/ssm/managed-instance/default-ec2-instance-management-role"
	// settingNone is what Systems Manager gives while nobody has set a role; seen
	// in steampipe-plugin-aws, pull request 2611.
	settingNone = "$None"
)

func (r *Region) defaultRole(ctx context.Context) fleet.Fact[string] {
	const source = "ssm:GetServiceSetting"
	out, err := r.ssm.GetServiceSetting(ctx, &ssm.GetServiceSettingInput{SettingId: aws.String(settingDefaultRole)})
	at := time.Now().UTC()
	var unset *types.ServiceSettingNotFound
	switch {
	case errors.As(err, &unset):
		// The Region does not offer the setting, so it is in force for nobody.
		return fleet.Known("", source, at)
	case err != nil:
		return fleet.Unknown[string](source, at, r.account.failure(source, err).Error())
	case out.ServiceSetting == nil:
		return fleet.Unknown[string](source, at, "the answer holds no setting")
	}
	value := aws.ToString(out.ServiceSetting.SettingValue)
	if value == settingNone {
		value = ""
	}
	return fleet.Known(value, source, at)
}
