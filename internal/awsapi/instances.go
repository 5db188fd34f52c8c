package awsapi

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

// liveStates leaves out "terminated" and "shutting-down": an instance that is
// being terminated cannot come back, and there is nothing left to move.
var liveStates = []string{"pending", "running", "stopping", "stopped"}

// Tags that EC2 Auto Scaling and EC2 set themselves; nobody else can set tags
// whose names begin with "aws:".
const (
	tagScalingGroup    = "aws:autoscaling:groupName"
	tagTemplate        = "aws:ec2launchtemplate:id"
	tagTemplateVersion = "aws:ec2launchtemplate:version"
)

// Instances lists every instance that is not terminated or being terminated,
// in pages of up to 1,000. Pages that were handed over before an error stay
// valid. An error of page ends the listing and is returned as it is; any other
// error's text is a short clean reason.
func (r *Region) Instances(ctx context.Context, page func([]fleet.Host) error) error {
	seen := map[string]bool{}
	var consumer error
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{
			Filters:    []types.Filter{{Name: aws.String("instance-state-name"), Values: liveStates}},
			MaxResults: aws.Int32(1000), // allowed with filters, refused with instance IDs
			NextToken:  token,
		})
		if err != nil {
			return nil, err
		}
		n := 0
		for _, res := range out.Reservations {
			n += len(res.Instances)
		}
		hosts := make([]fleet.Host, 0, n)
		for _, res := range out.Reservations {
			owner := aws.ToString(res.OwnerId)
			if owner == "" {
				owner = r.accountID(ctx)
			}
			for _, in := range res.Instances {
				h := host(in, owner, r.name)
				if h.ID != "" && !seen[h.ID] {
					seen[h.ID] = true
					hosts = append(hosts, h)
				}
			}
		}
		if len(hosts) > 0 {
			consumer = page(hosts)
		}
		return out.NextToken, consumer
	})
	if consumer != nil {
		return consumer
	}
	return r.account.failure("ec2:DescribeInstances", err)
}

func host(in types.Instance, account, region string) fleet.Host {
	tags := tagMap(in.Tags)
	h := fleet.Host{
		ID:               aws.ToString(in.InstanceId),
		Account:          account,
		Region:           region,
		Tags:             tags,
		Architecture:     string(in.Architecture),
		Platform:         aws.ToString(in.PlatformDetails),
		ImageID:          aws.ToString(in.ImageId),
		InstanceType:     string(in.InstanceType),
		LaunchTime:       aws.ToTime(in.LaunchTime).UTC(),
		VPC:              aws.ToString(in.VpcId),
		Subnet:           aws.ToString(in.SubnetId),
		PrivateIP:        addr(in.PrivateIpAddress),
		PublicIP:         addr(in.PublicIpAddress),
		PrivateDNS:       aws.ToString(in.PrivateDnsName),
		AutoScalingGroup: tags[tagScalingGroup],
		LaunchTemplate:   fleet.LaunchTemplateRef{ID: tags[tagTemplate], Version: tags[tagTemplateVersion]},
		KeyName:          aws.ToString(in.KeyName),
	}
	if in.State != nil {
		h.State = string(in.State.Name)
	}
	if in.Placement != nil {
		h.AZ = aws.ToString(in.Placement.AvailabilityZone)
	}
	if in.IamInstanceProfile != nil {
		h.ProfileARN = aws.ToString(in.IamInstanceProfile.Arn)
	}
	if m := in.MetadataOptions; m != nil {
		h.Metadata = fleet.MetadataOptions{
			Endpoint: string(m.HttpEndpoint),
			Tokens:   string(m.HttpTokens),
			HopLimit: int(aws.ToInt32(m.HttpPutResponseHopLimit)),
		}
	}
	h.Interfaces = interfaces(in.NetworkInterfaces)
	if len(h.Interfaces) > 0 {
		h.Groups = h.Interfaces[0].Groups
	} else {
		h.Groups = groupIDs(in.SecurityGroups)
	}
	return h
}

// interfaces come sorted, the primary one (network card 0, device 0) first.
func interfaces(list []types.InstanceNetworkInterface) []fleet.NetworkInterface {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b types.InstanceNetworkInterface) int {
		ac, ad := position(a)
		bc, bd := position(b)
		return cmp.Or(cmp.Compare(ac, bc), cmp.Compare(ad, bd), cmp.Compare(aws.ToString(a.NetworkInterfaceId), aws.ToString(b.NetworkInterfaceId)))
	})
	var out []fleet.NetworkInterface
	for _, n := range list {
		_, device := position(n)
		i := fleet.NetworkInterface{
			ID:        aws.ToString(n.NetworkInterfaceId),
			Subnet:    aws.ToString(n.SubnetId),
			PrivateIP: addr(n.PrivateIpAddress),
			Groups:    groupIDs(n.Groups),
			Index:     int(device),
		}
		if n.Association != nil {
			i.PublicIP = addr(n.Association.PublicIp)
		}
		for _, a := range n.Ipv6Addresses {
			if ip := addr(a.Ipv6Address); ip.IsValid() {
				i.IPv6 = append(i.IPv6, ip)
			}
		}
		out = append(out, i)
	}
	return out
}

func position(n types.InstanceNetworkInterface) (card, device int32) {
	if n.Attachment == nil {
		return 0, 0
	}
	return aws.ToInt32(n.Attachment.NetworkCardIndex), aws.ToInt32(n.Attachment.DeviceIndex)
}

func groupIDs(list []types.GroupIdentifier) []string {
	var out []string
	for _, g := range list {
		out = append(out, aws.ToString(g.GroupId))
	}
	return out
}

func tagMap(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

// addr is the zero address for text that is none: a host without a readable
// address is still a host.
func addr(s *string) netip.Addr {
	a, err := netip.ParseAddr(aws.ToString(s))
	if err != nil {
		return netip.Addr{}
	}
	return a
}
