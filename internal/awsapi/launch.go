package awsapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"ssm-migrate/internal/fleet"
)

func (r *Region) keyPairs(ctx context.Context) fleet.Fact[[]fleet.KeyPair] {
	return collect(ctx, r.account, "ec2:DescribeKeyPairs", func(v fleet.KeyPair) string { return v.ID + "/" + v.Name }, func(ctx context.Context, c *collection[fleet.KeyPair]) error {
		out, err := r.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)}) // knows no pages
		if err != nil {
			return err
		}
		for _, in := range out.KeyPairs {
			c.add(fleet.KeyPair{
				ID:        aws.ToString(in.KeyPairId),
				Name:      aws.ToString(in.KeyName),
				Type:      string(in.KeyType),
				PublicKey: strings.TrimSpace(aws.ToString(in.PublicKey)),
			})
		}
		return nil
	})
}

// templates reads all launch templates, then their default and latest versions:
// in one listing where the endpoint allows it (EC2 does when no template is
// named), else template by template. Templates whose versions could not be read
// stay in the list without them, and the list counts as incomplete.
func (r *Region) templates(ctx context.Context) fleet.Fact[[]fleet.LaunchTemplate] {
	return collect(ctx, r.account, "ec2:DescribeLaunchTemplates", templateID, func(ctx context.Context, c *collection[fleet.LaunchTemplate]) error {
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{MaxResults: page200, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.LaunchTemplates {
				c.add(fleet.LaunchTemplate{
					ID:      aws.ToString(in.LaunchTemplateId),
					Name:    aws.ToString(in.LaunchTemplateName),
					Default: aws.ToInt64(in.DefaultVersionNumber),
					Latest:  aws.ToInt64(in.LatestVersionNumber),
					Tags:    tagMap(in.Tags),
				})
			}
			return out.NextToken, nil
		})
		if err != nil || len(c.seen) == 0 {
			return err
		}
		versions, err := r.templateVersions(ctx, nil, defaultAndLatest)
		if wantsTemplate(err) {
			versions, err = r.versionsOneByOne(ctx, c)
		}
		for id, t := range c.seen {
			t.Versions = versions[id]
			c.seen[id] = t
			if len(t.Versions) == 0 && err == nil {
				c.leaveOut(errors.New("the endpoint listed no version of " + clean(id)))
			}
		}
		if err != nil {
			const source = "ec2:DescribeLaunchTemplateVersions"
			return &failure{api: source, text: "versions: " + r.account.failure(source, err).Error(), err: err}
		}
		return nil
	})
}

func templateID(v fleet.LaunchTemplate) string { return v.ID }

// wantsTemplate reports that the endpoint insists on a template's ID.
func wantsTemplate(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	code := api.ErrorCode()
	return strings.HasPrefix(code, "Missing") || strings.HasPrefix(code, "InvalidParameter") || strings.HasPrefix(code, "InvalidLaunchTemplate")
}

func (r *Region) versionsOneByOne(ctx context.Context, c *collection[fleet.LaunchTemplate]) (map[string][]fleet.TemplateVersion, error) {
	all := map[string][]fleet.TemplateVersion{}
	for id := range c.seen {
		one, err := r.templateVersions(ctx, aws.String(id), defaultAndLatest)
		if err != nil {
			return all, err
		}
		all[id] = one[id]
	}
	return all, nil
}

var defaultAndLatest = []string{"$Default", "$Latest"}

// templateVersions gives versions by template ID, sorted and without the
// repetition of one that is both default and latest; id nil: of all templates.
func (r *Region) templateVersions(ctx context.Context, id *string, which []string) (map[string][]fleet.TemplateVersion, error) {
	all := map[string][]fleet.TemplateVersion{}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
			LaunchTemplateId: id,
			Versions:         which,
			MaxResults:       page200,
			NextToken:        token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.LaunchTemplateVersions {
			id := aws.ToString(in.LaunchTemplateId)
			all[id] = append(all[id], templateVersion(in))
		}
		return out.NextToken, nil
	})
	for id, list := range all {
		all[id] = byNumber(list)
	}
	return all, err
}

func byNumber(list []fleet.TemplateVersion) []fleet.TemplateVersion {
	slices.SortFunc(list, func(a, b fleet.TemplateVersion) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(list, func(a, b fleet.TemplateVersion) bool { return a.Number == b.Number })
}

// addPinned adds the versions that Auto Scaling groups name by number where
// they are neither default nor latest. A version that EC2 no longer has stays
// away: such a group launches nothing.
func (r *Region) addPinned(ctx context.Context, f *fleet.Fact[[]fleet.LaunchTemplate], groups []fleet.ScalingGroup) {
	for i := range f.Value {
		t := &f.Value[i]
		var missing []string
		for _, g := range groups {
			n, err := strconv.ParseInt(g.Template.Version, 10, 64)
			has := slices.ContainsFunc(t.Versions, func(v fleet.TemplateVersion) bool { return v.Number == n })
			if g.Template.ID == t.ID && err == nil && !has && !slices.Contains(missing, g.Template.Version) {
				missing = append(missing, g.Template.Version)
			}
		}
		for _, version := range missing {
			found, err := r.templateVersions(ctx, &t.ID, []string{version})
			t.Versions = byNumber(append(t.Versions, found[t.ID]...))
			var api smithy.APIError
			if err == nil || errors.As(err, &api) && api.ErrorCode() == "InvalidLaunchTemplateId.VersionNotFound" || !f.Known {
				continue
			}
			const source = "ec2:DescribeLaunchTemplateVersions"
			f.Known, f.Reason = false, clean("version "+version+" of "+t.ID+": "+r.account.failure(source, err).Error())
		}
	}
}

func templateVersion(in types.LaunchTemplateVersion) fleet.TemplateVersion {
	v := fleet.TemplateVersion{Number: aws.ToInt64(in.VersionNumber)}
	d := in.LaunchTemplateData
	if d == nil {
		return v
	}
	v.ImageID = aws.ToString(d.ImageId)
	v.KeyName = aws.ToString(d.KeyName)
	v.UserData = aws.ToString(d.UserData) != ""
	v.Groups = d.SecurityGroupIds
	if p := d.IamInstanceProfile; p != nil {
		v.Profile = cmp.Or(aws.ToString(p.Arn), aws.ToString(p.Name))
	}
	for _, n := range d.NetworkInterfaces {
		// A template that configures interfaces names the groups there instead.
		if aws.ToInt32(n.DeviceIndex) == 0 && aws.ToInt32(n.NetworkCardIndex) == 0 && len(v.Groups) == 0 {
			v.Groups = n.Groups
		}
	}
	if m := d.MetadataOptions; m != nil {
		v.Metadata = fleet.MetadataOptions{
			Endpoint: string(m.HttpEndpoint),
			Tokens:   string(m.HttpTokens),
			HopLimit: int(aws.ToInt32(m.HttpPutResponseHopLimit)),
		}
	}
	return v
}

func (r *Region) scalingGroups(ctx context.Context) fleet.Fact[[]fleet.ScalingGroup] {
	return collect(ctx, r.account, "autoscaling:DescribeAutoScalingGroups", func(v fleet.ScalingGroup) string { return v.Name }, func(ctx context.Context, c *collection[fleet.ScalingGroup]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: page100, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.AutoScalingGroups {
				c.add(scalingGroup(in))
			}
			return out.NextToken, nil
		})
	})
}

func scalingGroup(in scaling.AutoScalingGroup) fleet.ScalingGroup {
	g := fleet.ScalingGroup{
		Name:    aws.ToString(in.AutoScalingGroupName),
		Min:     int(aws.ToInt32(in.MinSize)),
		Max:     int(aws.ToInt32(in.MaxSize)),
		Desired: int(aws.ToInt32(in.DesiredCapacity)),
		Config:  aws.ToString(in.LaunchConfigurationName),
	}
	for s := range strings.SplitSeq(aws.ToString(in.VPCZoneIdentifier), ",") {
		if s = strings.TrimSpace(s); s != "" {
			g.Subnets = append(g.Subnets, s)
		}
	}
	for _, i := range in.Instances {
		g.Instances = append(g.Instances, aws.ToString(i.InstanceId))
	}
	slices.Sort(g.Instances)
	spec := in.LaunchTemplate
	if m := in.MixedInstancesPolicy; spec == nil && m != nil && m.LaunchTemplate != nil {
		spec = m.LaunchTemplate.LaunchTemplateSpecification
	}
	if spec != nil {
		g.Template = fleet.LaunchTemplateRef{ID: aws.ToString(spec.LaunchTemplateId), Version: aws.ToString(spec.Version)}
	}
	if len(in.Tags) > 0 {
		g.Tags = make(map[string]string, len(in.Tags))
		for _, t := range in.Tags {
			g.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return g
}
