package simfleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var scalingChanges = map[string]operation{
	"CreateAutoScalingGroup":              createScalingGroup,
	"UpdateAutoScalingGroup":              updateScalingGroup,
	"SetDesiredCapacity":                  setDesiredCapacity,
	"DeleteAutoScalingGroup":              deleteScalingGroup,
	"CreateOrUpdateTags":                  tagScalingGroup,
	"DeleteTags":                          untagScalingGroup,
	"TerminateInstanceInAutoScalingGroup": terminateMember,
}

func invalid(format string, args ...any) *apiError {
	return refuse("ValidationError", format, args...)
}

func (c *call) scalingGroup() (*fleet.ScalingGroup, error) {
	name := c.form.Get("AutoScalingGroupName")
	g := c.region.scalingNamed(name)
	switch {
	case g == nil:
		return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", name)
	case c.region.scalingOf(g).deleting:
		return nil, invalid("AutoScalingGroup '%s' is pending delete", name)
	}
	return g, nil
}

// number reads a count that may be absent.
func (c *call) number(name string, otherwise int) (int, error) {
	s := c.form.Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must have value greater than or equal to 0", s, name)
	}
	return n, nil
}

// scalingSource reads what a group launches from: over what it had, if any.
func (c *call) scalingSource(g *fleet.ScalingGroup) error {
	id, name := c.form.Get("LaunchTemplate.LaunchTemplateId"), c.form.Get("LaunchTemplate.LaunchTemplateName")
	if config := c.form.Get("LaunchConfigurationName"); config != "" {
		if find(c.region.Configs, func(l *LaunchConfig) bool { return l.Name == config }) == nil {
			return invalid("Launch configuration name not found - %s", config)
		}
		g.Config, g.Template = config, fleet.LaunchTemplateRef{}
		return nil
	}
	if id == "" && name == "" {
		return nil
	}
	l, err := c.template(id, name)
	if err != nil {
		return invalid("You must use a valid fully-formed launch template. %v", err)
	}
	version := c.form.Get("LaunchTemplate.Version")
	if version == "" {
		version = "$Default"
	}
	if _, ok := versionOf(l, version); !ok {
		return invalid("You must use a valid fully-formed launch template. The specified launch template version %s does not exist.", version)
	}
	g.Config, g.Template = "", fleet.LaunchTemplateRef{ID: l.ID, Version: version}
	return nil
}

func (c *call) scalingSubnets(g *fleet.ScalingGroup) error {
	list := c.form.Get("VPCZoneIdentifier")
	if list == "" {
		return nil
	}
	g.Subnets = nil
	for id := range strings.SplitSeq(list, ",") {
		id = strings.TrimSpace(id)
		if find(c.region.Subnets, func(s *fleet.Subnet) bool { return s.ID == id }) == nil {
			return invalid("The subnet ID '%s' does not exist", id)
		}
		g.Subnets = append(g.Subnets, id)
	}
	return nil
}

func checkSizes(minimum, desired, maximum int) error {
	switch {
	case minimum > maximum:
		return invalid("Max bound, %d, must be greater than or equal to min bound, %d", maximum, minimum)
	case desired < minimum || desired > maximum:
		return invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, minimum, maximum)
	}
	return nil
}

func createScalingGroup(c *call) (any, error) {
	if err := c.missing("AutoScalingGroupName", "MinSize", "MaxSize"); err != nil {
		return nil, err
	}
	name := c.form.Get("AutoScalingGroupName")
	if c.region.scalingNamed(name) != nil {
		return nil, refuse("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", name)
	}
	g := &fleet.ScalingGroup{Name: name, Tags: map[string]string{}}
	var err error
	if g.Min, err = c.number("MinSize", 0); err != nil {
		return nil, err
	}
	if g.Max, err = c.number("MaxSize", 0); err != nil {
		return nil, err
	}
	if g.Desired, err = c.number("DesiredCapacity", g.Min); err != nil {
		return nil, err
	}
	if err := checkSizes(g.Min, g.Desired, g.Max); err != nil {
		return nil, err
	}
	if err := c.scalingSource(g); err != nil {
		return nil, err
	}
	if g.Config == "" && g.Template.ID == "" {
		return nil, invalid("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	if err := c.scalingSubnets(g); err != nil {
		return nil, err
	}
	if len(g.Subnets) == 0 {
		return nil, invalid("At least one Availability Zone or VPC Subnet is required.")
	}
	c.region.Scaling = append(c.region.Scaling, g)
	delete(c.region.scaling, name)
	c.region.scalingOf(g).created = c.w.Now()
	c.setScalingTags(g)
	c.w.reconcile(c.region, g)
	return nothing{}, nil
}

// setScalingTags puts a request's tags on a group.
func (c *call) setScalingTags(g *fleet.ScalingGroup) {
	s := c.region.scalingOf(g)
	tags := maps.Clone(g.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, p := range c.members("Tags.member") {
		if id := c.form.Get(p + ".ResourceId"); id != "" && id != g.Name {
			continue
		}
		key := c.form.Get(p + ".Key")
		tags[key] = c.form.Get(p + ".Value")
		if s.quiet == nil {
			s.quiet = map[string]bool{}
		}
		s.quiet[key] = c.form.Get(p+".PropagateAtLaunch") != "true"
	}
	g.Tags = tags
}

func updateScalingGroup(c *call) (any, error) {
	g, err := c.scalingGroup()
	if err != nil {
		return nil, err
	}
	next := *g
	if next.Min, err = c.number("MinSize", g.Min); err != nil {
		return nil, err
	}
	if next.Max, err = c.number("MaxSize", g.Max); err != nil {
		return nil, err
	}
	// Without a desired capacity, it follows the new bounds.
	if next.Desired, err = c.number("DesiredCapacity", max(next.Min, min(next.Max, g.Desired))); err != nil {
		return nil, err
	}
	if err := checkSizes(next.Min, next.Desired, next.Max); err != nil {
		return nil, err
	}
	if err := c.scalingSource(&next); err != nil {
		return nil, err
	}
	if err := c.scalingSubnets(&next); err != nil {
		return nil, err
	}
	*g = next
	c.w.reconcile(c.region, g)
	return nothing{}, nil
}

func setDesiredCapacity(c *call) (any, error) {
	if err := c.missing("AutoScalingGroupName", "DesiredCapacity"); err != nil {
		return nil, err
	}
	g, err := c.scalingGroup()
	if err != nil {
		return nil, err
	}
	n, err := c.number("DesiredCapacity", 0)
	switch {
	case err != nil:
		return nil, err
	case n > g.Max:
		return nil, invalid("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", n, g.Max)
	case n < g.Min:
		return nil, invalid("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", n, g.Min)
	}
	g.Desired = n
	c.w.reconcile(c.region, g)
	return nothing{}, nil
}

func deleteScalingGroup(c *call) (any, error) {
	g, err := c.scalingGroup()
	if err != nil {
		return nil, err
	}
	if len(g.Instances) > 0 && c.form.Get("ForceDelete") != "true" {
		return nil, refuse("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	}
	c.region.scalingOf(g).deleting = true
	g.Min, g.Desired, g.Max = 0, 0, 0
	c.w.reconcile(c.region, g)
	c.w.settleDeletion(c.region, g)
	return nothing{}, nil
}

// taggedGroups gives the groups that a tagging request names.
func (c *call) taggedGroups() ([]*fleet.ScalingGroup, error) {
	var out []*fleet.ScalingGroup
	for _, p := range c.members("Tags.member") {
		name := c.form.Get(p + ".ResourceId")
		g := c.region.scalingNamed(name)
		if g == nil {
			return nil, invalid("No AutoScalingGroup found with name %s", name)
		}
		if !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	if len(out) == 0 {
		return nil, c.missing("Tags")
	}
	return out, nil
}

func tagScalingGroup(c *call) (any, error) {
	groups, err := c.taggedGroups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		c.setScalingTags(g)
	}
	return nothing{}, nil
}

func untagScalingGroup(c *call) (any, error) {
	groups, err := c.taggedGroups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		g.Tags = maps.Clone(g.Tags)
		for _, p := range c.members("Tags.member") {
			if c.form.Get(p+".ResourceId") == g.Name {
				delete(g.Tags, c.form.Get(p+".Key"))
			}
		}
	}
	return nothing{}, nil
}

type activityXML struct {
	ID          string `xml:"ActivityId"`
	Group       string `xml:"AutoScalingGroupName"`
	Description string `xml:"Description"`
	Cause       string `xml:"Cause"`
	Start       string `xml:"StartTime"`
	Status      string `xml:"StatusCode"`
	Message     string `xml:"StatusMessage,omitempty"`
	Progress    int    `xml:"Progress"`
}

func (a scalingActivity) xml(group string) activityXML {
	return activityXML{a.id, group, a.description, "At " + timestamp(a.start) + " " + a.cause, timestamp(a.start), a.status, a.message, 100}
}

func terminateMember(c *call) (any, error) {
	id := c.form.Get("InstanceId")
	g := find(c.region.Scaling, func(g *fleet.ScalingGroup) bool { return slices.Contains(g.Instances, id) })
	if g == nil {
		return nil, invalid("Instance Id not found - No managed instance found for instance ID: %s", id)
	}
	in, err := c.instanceNamed(id)
	if err != nil {
		return nil, err
	}
	if c.form.Get("ShouldDecrementDesiredCapacity") == "true" {
		if g.Desired <= g.Min {
			return nil, invalid("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.Min)
		}
		g.Desired--
	}
	a := c.w.scalingActivity(c.region, g, "Terminating EC2 instance: "+id, fmt.Sprintf("instance %s was taken out of service in response to a user request.", id), "InProgress", "")
	c.w.terminate(in)
	c.w.reconcile(c.region, g)
	return struct {
		Activity activityXML `xml:"Activity"`
	}{a.xml(g.Name)}, nil
}

func describeScalingActivities(c *call) (any, error) {
	name := c.form.Get("AutoScalingGroupName")
	var rows []activityXML
	for _, g := range c.region.Scaling {
		if s := c.region.scaling[g.Name]; s != nil && (name == "" || name == g.Name) {
			for _, a := range slices.Backward(s.activities) {
				rows = append(rows, a.xml(g.Name))
			}
		}
	}
	rows, next, err := records(c, rows, 100)
	var out struct {
		Activities memberList[activityXML] `xml:"Activities"`
		Next       string                  `xml:"NextToken,omitempty"`
	}
	out.Activities.Items, out.Next = rows, next
	return out, err
}
