package awsapi

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

// Template reads a launch template's default version.
func (c *Changer) Template(ctx context.Context, at fleet.Place, name string) (fleet.BastionTemplate, error) {
	t := fleet.BastionTemplate{Name: name}
	p, err := c.in(ctx, at)
	if err != nil {
		return t, err
	}
	found, err := p.ec2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{name}})
	if err != nil {
		return t, p.answer("ec2:DescribeLaunchTemplates", err)
	}
	if len(found.LaunchTemplates) != 1 {
		return t, none("launch template " + name)
	}
	t.ID, t.Tags = aws.ToString(found.LaunchTemplates[0].LaunchTemplateId), tagMap(found.LaunchTemplates[0].Tags)
	out, err := p.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &t.ID, Versions: []string{"$Default"}})
	if err != nil {
		return t, p.answer("ec2:DescribeLaunchTemplateVersions", err)
	}
	if len(out.LaunchTemplateVersions) != 1 || out.LaunchTemplateVersions[0].LaunchTemplateData == nil {
		return t, p.answer("ec2:DescribeLaunchTemplateVersions", errors.New("the answer holds no version"))
	}
	data := out.LaunchTemplateVersions[0].LaunchTemplateData
	text, err := base64.StdEncoding.DecodeString(aws.ToString(data.UserData))
	if err != nil {
		return t, p.answer("ec2:DescribeLaunchTemplateVersions", errors.New("the user data is not in base64"))
	}
	t.Version = aws.ToInt64(out.LaunchTemplateVersions[0].VersionNumber)
	t.Image, t.Type, t.Groups, t.UserData = aws.ToString(data.ImageId), string(data.InstanceType), data.SecurityGroupIds, string(text)
	for _, n := range data.NetworkInterfaces {
		t.Groups, t.Public = append(t.Groups, n.Groups...), t.Public || aws.ToBool(n.AssociatePublicIpAddress)
	}
	if data.MetadataOptions != nil {
		t.Tokens = string(data.MetadataOptions.HttpTokens)
	}
	return t, nil
}

// CreateTemplate makes a launch template.
func (c *Changer) CreateTemplate(ctx context.Context, at fleet.Place, t fleet.BastionTemplate, token string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	data := &types.RequestLaunchTemplateData{
		ImageId: &t.Image, InstanceType: types.InstanceType(t.Type),
		UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(t.UserData))),
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpTokens: types.LaunchTemplateHttpTokensState(t.Tokens), HttpEndpoint: types.LaunchTemplateInstanceMetadataEndpointStateEnabled,
		},
		// Left out, the subnet's setting would decide on the address. With an
		// interface, EC2 takes the groups there only.
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{
			{DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: &t.Public, Groups: t.Groups},
		},
	}
	_, err = p.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: &t.Name, ClientToken: &token, TagSpecifications: tagging(types.ResourceTypeLaunchTemplate, t.Tags), LaunchTemplateData: data,
	})
	return p.answer("ec2:CreateLaunchTemplate", err)
}

// AddTemplateVersion adds a version that differs from the template's Version in
// its user data alone, and gives its number.
func (c *Changer) AddTemplateVersion(ctx context.Context, at fleet.Place, t fleet.BastionTemplate, userData, token string) (int64, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return 0, err
	}
	out, err := p.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: &t.ID, ClientToken: &token, SourceVersion: aws.String(strconv.FormatInt(t.Version, 10)),
		VersionDescription: aws.String("another recovery key"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(userData)))},
	})
	if err != nil {
		return 0, p.answer("ec2:CreateLaunchTemplateVersion", err)
	}
	if out.LaunchTemplateVersion == nil {
		return 0, p.answer("ec2:CreateLaunchTemplateVersion", errors.New("the answer holds no version"))
	}
	return aws.ToInt64(out.LaunchTemplateVersion.VersionNumber), nil
}

// SetTemplateDefault makes a version the default one.
func (c *Changer) SetTemplateDefault(ctx context.Context, at fleet.Place, name string, version int64) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ec2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateName: &name, DefaultVersion: aws.String(strconv.FormatInt(version, 10))})
	return p.answer("ec2:ModifyLaunchTemplate", err)
}

// DeleteTemplate deletes a launch template.
func (c *Changer) DeleteTemplate(ctx context.Context, at fleet.Place, name string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ec2.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateName: &name})
	return p.answer("ec2:DeleteLaunchTemplate", err)
}

// ScalingGroup reads an Auto Scaling group.
func (c *Changer) ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.ScalingGroup{}, err
	}
	out, err := p.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return fleet.ScalingGroup{}, p.answer("autoscaling:DescribeAutoScalingGroups", err)
	}
	for _, g := range out.AutoScalingGroups {
		// One that is being deleted has a status and comes back no more.
		if aws.ToString(g.AutoScalingGroupName) == name && aws.ToString(g.Status) == "" {
			return scalingGroup(g), nil
		}
	}
	return fleet.ScalingGroup{}, none("Auto Scaling group " + name)
}

// SetSize sets all three sizes in one call.
func (c *Changer) SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.scaling.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &name, MinSize: size(minimum), DesiredCapacity: size(desired), MaxSize: size(maximum),
	})
	return p.answer("autoscaling:UpdateAutoScalingGroup", err)
}

// SetTemplateVersion says from which version of a launch template a group starts.
func (c *Changer) SetTemplateVersion(ctx context.Context, at fleet.Place, name, template, version string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.scaling.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &name, LaunchTemplate: &scaling.LaunchTemplateSpecification{LaunchTemplateId: &template, Version: &version},
	})
	return p.answer("autoscaling:UpdateAutoScalingGroup", err)
}

func size(n int) *int32 {
	return aws.Int32(int32(n)) //nolint:gosec // sizes of groups
}

// CreateScalingGroup makes an Auto Scaling group.
func (c *Changer) CreateScalingGroup(ctx context.Context, at fleet.Place, g fleet.ScalingGroup) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	var tags []scaling.Tag
	for _, t := range tagList(g.Tags) {
		tags = append(tags, scaling.Tag{
			Key: t.Key, Value: t.Value, PropagateAtLaunch: aws.Bool(true),
			ResourceId: aws.String(g.Name), ResourceType: aws.String("auto-scaling-group"),
		})
	}
	_, err = p.scaling.CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: &g.Name, MinSize: size(g.Min), DesiredCapacity: size(g.Desired), MaxSize: size(g.Max),
		VPCZoneIdentifier: aws.String(strings.Join(g.Subnets, ",")), Tags: tags,
		LaunchTemplate: &scaling.LaunchTemplateSpecification{LaunchTemplateId: &g.Template.ID, Version: &g.Template.Version},
	})
	return p.answer("autoscaling:CreateAutoScalingGroup", err)
}

// DeleteScalingGroup deletes an Auto Scaling group without instances.
func (c *Changer) DeleteScalingGroup(ctx context.Context, at fleet.Place, name string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.scaling.DeleteAutoScalingGroup(ctx, &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name})
	if code(err) == "ValidationError" {
		// "AutoScalingGroup name not found" is one, and so is anything malformed.
		if _, gone := c.ScalingGroup(ctx, at, name); errors.Is(gone, fleet.ErrNotFound) {
			return gone
		}
	}
	return p.answer("autoscaling:DeleteAutoScalingGroup", err)
}

// InService gives the group's instances that are in service.
func (c *Changer) InService(ctx context.Context, at fleet.Place, name string) ([]fleet.Host, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	out, err := p.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return nil, p.answer("autoscaling:DescribeAutoScalingGroups", err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return nil, none("Auto Scaling group " + name)
	}
	var ids []string
	for _, in := range out.AutoScalingGroups[0].Instances {
		if in.LifecycleState == scaling.LifecycleStateInService {
			ids = append(ids, aws.ToString(in.InstanceId))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		return nil, p.answer("ec2:DescribeInstances", err)
	}
	var hosts []fleet.Host
	for _, r := range found.Reservations {
		for _, in := range r.Instances {
			hosts = append(hosts, host(in, at.Account, at.Region))
		}
	}
	slices.SortFunc(hosts, func(a, b fleet.Host) int { return strings.Compare(a.ID, b.ID) })
	return hosts, nil
}

// maxHostKeys bounds what is taken from a console.
const maxHostKeys = 16

// HostKeys gives the public host keys in an instance's console output, between
// the lines that cloud-init writes around them.
func (c *Changer) HostKeys(ctx context.Context, h fleet.HostRef) ([]string, error) {
	p, err := c.in(ctx, h.Place())
	if err != nil {
		return nil, err
	}
	out, err := p.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &h.ID})
	if err != nil {
		return nil, p.answer("ec2:GetConsoleOutput", err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return nil, p.answer("ec2:GetConsoleOutput", errors.New("the output is not in base64"))
	}
	return ConsoleKeys(string(text)), nil
}

// ConsoleKeys finds the public host keys in an instance's console output. Of
// several boots the last counts; a list that has no end yet counts for nothing.
func ConsoleKeys(console string) []string {
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
	before, _, complete := cutLast(console, end)
	if !complete {
		return nil
	}
	_, list, started := cutLast(before, begin)
	if !started {
		return nil
	}
	var keys []string
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		// Lines may begin with a kernel's time stamp or the like.
		at := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-") })
		if at < 0 || at+1 >= len(f) || len(keys) == maxHostKeys {
			continue
		}
		if _, err := base64.StdEncoding.DecodeString(f[at+1]); err == nil {
			keys = append(keys, f[at]+" "+f[at+1])
		}
	}
	return keys
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
