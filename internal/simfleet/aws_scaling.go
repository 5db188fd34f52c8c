package simfleet

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var scalingOperations = map[string]operation{
	"DescribeAutoScalingGroups":    describeScalingGroups,
	"DescribeAutoScalingInstances": describeScalingInstances,
	"DescribeLaunchConfigurations": describeLaunchConfigurations,
	"DescribeScalingActivities":    describeScalingActivities,
}

type scalingTemplate struct {
	ID      string `xml:"LaunchTemplateId"`
	Name    string `xml:"LaunchTemplateName"`
	Version string `xml:"Version"`
}

type scalingInstance struct {
	ID        string           `xml:"InstanceId"`
	Type      string           `xml:"InstanceType"`
	Group     string           `xml:"AutoScalingGroupName,omitempty"`
	AZ        string           `xml:"AvailabilityZone"`
	Lifecycle string           `xml:"LifecycleState"`
	Health    string           `xml:"HealthStatus"`
	Config    string           `xml:"LaunchConfigurationName,omitempty"`
	Template  *scalingTemplate `xml:"LaunchTemplate"`
	Protected bool             `xml:"ProtectedFromScaleIn"`
}

type scalingTag struct {
	Resource  string `xml:"ResourceId"`
	Type      string `xml:"ResourceType"`
	Key       string `xml:"Key"`
	Value     string `xml:"Value"`
	Propagate bool   `xml:"PropagateAtLaunch"`
}

type scalingGroup struct {
	Name      string                      `xml:"AutoScalingGroupName"`
	ARN       string                      `xml:"AutoScalingGroupARN"`
	Config    string                      `xml:"LaunchConfigurationName,omitempty"`
	Template  *scalingTemplate            `xml:"LaunchTemplate"`
	Min       int                         `xml:"MinSize"`
	Max       int                         `xml:"MaxSize"`
	Desired   int                         `xml:"DesiredCapacity"`
	Cooldown  int                         `xml:"DefaultCooldown"`
	Zones     memberList[string]          `xml:"AvailabilityZones"`
	Health    string                      `xml:"HealthCheckType"`
	Instances memberList[scalingInstance] `xml:"Instances"`
	Created   string                      `xml:"CreatedTime"`
	Subnets   string                      `xml:"VPCZoneIdentifier"`
	Status    string                      `xml:"Status,omitempty"`
	Tags      memberList[scalingTag]      `xml:"Tags"`
}

// records takes one page out of rows by MaxRecords and NextToken.
func records[T any](c *call, rows []T, most int) (page []T, next string, err error) {
	size := 50
	if s := c.form.Get("MaxRecords"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return nil, "", refuse("ValidationError", "1 validation error detected: Value '%s' at 'maxRecords' failed to satisfy constraint: Member must have value less than or equal to %d", s, most)
		}
		size = n
	}
	start, err := c.offset(c.form.Get("NextToken"), len(rows), "InvalidNextToken")
	if err != nil {
		return nil, "", err
	}
	end := min(start+size, len(rows))
	if end < len(rows) {
		next = c.pageToken(end)
	}
	return rows[start:end], next, nil
}

func (c *call) templateXML(ref fleet.LaunchTemplateRef) *scalingTemplate {
	if ref.ID == "" {
		return nil
	}
	x := &scalingTemplate{ID: ref.ID, Version: ref.Version}
	if l := find(c.region.Templates, func(l *fleet.LaunchTemplate) bool { return l.ID == ref.ID }); l != nil {
		x.Name = l.Name
	}
	return x
}

func (c *call) scalingInstances(g *fleet.ScalingGroup, index map[string]*Instance) []scalingInstance {
	var out []scalingInstance
	template := c.templateXML(g.Template)
	for _, id := range g.Instances {
		if in := index[id]; in != nil {
			out = append(out, scalingInstance{ID: id, Type: in.Host.InstanceType, AZ: in.Host.AZ, Lifecycle: cmp.Or(in.lifecycle, "InService"), Health: "Healthy", Config: g.Config, Template: template})
		}
	}
	return out
}

func (c *call) instanceIndex() map[string]*Instance {
	index := make(map[string]*Instance, len(c.region.Instances))
	for _, in := range c.region.Instances {
		index[in.Host.ID] = in
	}
	return index
}

func (c *call) groupXML(g *fleet.ScalingGroup, index map[string]*Instance) scalingGroup {
	x := scalingGroup{
		Name: g.Name, ARN: "arn:aws:autoscaling:" + c.region.Name + ":" + c.account.ID + ":autoScalingGroup:51f1ee70-0000-4000-8000-000000000000:autoScalingGroupName/" + g.Name,
		Config: g.Config, Template: c.templateXML(g.Template), Min: g.Min, Max: g.Max, Desired: g.Desired, Cooldown: 300, Health: "EC2",
		Instances: memberList[scalingInstance]{c.scalingInstances(g, index)}, Created: created, Subnets: strings.Join(g.Subnets, ","),
	}
	var quiet map[string]bool
	if s := c.region.scaling[g.Name]; s != nil {
		quiet = s.quiet
		if s.deleting {
			x.Status = "Delete in progress"
		}
		if !s.created.IsZero() {
			x.Created = timestamp(s.created)
		}
	}
	for _, t := range tagSet(g.Tags).Items {
		x.Tags.Items = append(x.Tags.Items, scalingTag{g.Name, "auto-scaling-group", t.Key, t.Value, !quiet[t.Key]})
	}
	for _, s := range c.region.Subnets {
		if slices.Contains(g.Subnets, s.ID) && !slices.Contains(x.Zones.Items, s.AZ) {
			x.Zones.Items = append(x.Zones.Items, s.AZ)
		}
	}
	return x
}

func describeScalingGroups(c *call) (any, error) {
	names := c.list("AutoScalingGroupNames.member")
	rows := filter(c.region.Scaling, func(g *fleet.ScalingGroup) bool { return len(names) == 0 || slices.Contains(names, g.Name) })
	for i := 1; c.form.Has("Filters.member." + strconv.Itoa(i) + ".Name"); i++ {
		prefix := "Filters.member." + strconv.Itoa(i)
		name, want := c.form.Get(prefix+".Name"), c.list(prefix+".Values.member")
		key, byTag := strings.CutPrefix(name, "tag:")
		if !byTag && name != "tag-key" && name != "tag-value" {
			return nil, refuse("ValidationError", "Filter type %s is not correct. Allowed Filter types are: tag-key tag-value tag:<key>", name)
		}
		rows = filter(rows, func(g *fleet.ScalingGroup) bool {
			return slices.ContainsFunc(tagSet(g.Tags).Items, func(t tag) bool {
				return byTag && t.Key == key && slices.Contains(want, t.Value) || name == "tag-key" && slices.Contains(want, t.Key) || name == "tag-value" && slices.Contains(want, t.Value)
			})
		})
	}
	rows, next, err := records(c, rows, 100)
	if err != nil {
		return nil, err
	}
	var out struct {
		Groups memberList[scalingGroup] `xml:"AutoScalingGroups"`
		Next   string                   `xml:"NextToken,omitempty"`
	}
	index := c.instanceIndex()
	out.Next = next
	out.Groups = membersOf(rows, func(g *fleet.ScalingGroup) scalingGroup { return c.groupXML(g, index) })
	return out, nil
}

func describeScalingInstances(c *call) (any, error) {
	ids := c.list("InstanceIds.member")
	index := c.instanceIndex()
	var rows []scalingInstance
	for _, g := range c.region.Scaling {
		for _, x := range c.scalingInstances(g, index) {
			if x.Group = g.Name; len(ids) == 0 || slices.Contains(ids, x.ID) {
				rows = append(rows, x)
			}
		}
	}
	rows, next, err := records(c, rows, 50)
	var out struct {
		Instances memberList[scalingInstance] `xml:"AutoScalingInstances"`
		Next      string                      `xml:"NextToken,omitempty"`
	}
	out.Instances.Items, out.Next = rows, next
	return out, err
}

func describeLaunchConfigurations(c *call) (any, error) {
	type metadata struct {
		Tokens   string `xml:"HttpTokens"`
		HopLimit int    `xml:"HttpPutResponseHopLimit"`
		Endpoint string `xml:"HttpEndpoint"`
	}
	type configuration struct {
		Name     string             `xml:"LaunchConfigurationName"`
		ARN      string             `xml:"LaunchConfigurationARN"`
		ImageID  string             `xml:"ImageId"`
		KeyName  string             `xml:"KeyName"`
		Groups   memberList[string] `xml:"SecurityGroups"`
		UserData string             `xml:"UserData"`
		Type     string             `xml:"InstanceType"`
		Profile  string             `xml:"IamInstanceProfile,omitempty"`
		Created  string             `xml:"CreatedTime"`
		Metadata metadata           `xml:"MetadataOptions"`
	}
	names := c.list("LaunchConfigurationNames.member")
	rows, next, err := records(c, filter(c.region.Configs, func(l *LaunchConfig) bool { return len(names) == 0 || slices.Contains(names, l.Name) }), 100)
	var out struct {
		Configs memberList[configuration] `xml:"LaunchConfigurations"`
		Next    string                    `xml:"NextToken,omitempty"`
	}
	out.Next = next
	out.Configs = membersOf(rows, func(l *LaunchConfig) configuration {
		v := l.Version
		x := configuration{Name: l.Name, ARN: "arn:aws:autoscaling:" + c.region.Name + ":" + c.account.ID + ":launchConfiguration:51f1ee70-0000-4000-8000-000000000001:launchConfigurationName/" + l.Name,
			ImageID: v.ImageID, KeyName: v.KeyName, Groups: memberList[string]{v.Groups}, Type: "t3.small", Profile: v.Profile, Created: created,
			Metadata: metadata{v.Metadata.Tokens, v.Metadata.HopLimit, v.Metadata.Endpoint}}
		if v.UserData {
			x.UserData = userData
		}
		return x
	})
	return out, err
}
