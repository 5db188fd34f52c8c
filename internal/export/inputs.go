package export

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// The inputs of AWS's calls, in the fields' own names: what --cli-input-json
// takes, and what the JSON export writes.

type tag struct{ Key, Value string }

type tagSpec struct {
	ResourceType string
	Tags         []tag
}

// mark is the tag of what an export makes, as EC2 takes it at creation.
func (w *work) mark(resource string, more ...tag) []tagSpec {
	return []tagSpec{{ResourceType: resource, Tags: w.tags(more...)}}
}

func (w *work) tags(more ...tag) []tag { return append(more, tag{fleet.TagStep, Tag(w.Plan)}) }

type createRole struct {
	RoleName, Path, AssumeRolePolicyDocument string
	Tags                                     []tag
}

type putRolePolicy struct{ RoleName, PolicyName, PolicyDocument string }

// role is a role that a step may make, with what it gets.
type role struct {
	name, path string
	trust      string // empty: it must be there
	policy     string // inline policy's name; empty: none
	document   string
	managed    string // ARN of a managed policy; empty: none
}

// roleOf is the role that a job makes or extends; ok tells whether there is one.
func roleOf(j job) (r role, ok bool) {
	switch {
	case j.Role != nil:
		return role{name: j.Role.Name, path: "/", trust: j.Role.Trust, policy: j.Role.Policy, document: j.Role.Document}, true
	case j.Profile != nil && j.Profile.Create:
		return role{name: j.Profile.Name, path: "/", trust: plan.TrustEC2, policy: plan.ProfilePolicy, document: j.Profile.Policy}, true
	case j.Setting != nil && j.Setting.CreateRole:
		at := strings.LastIndex(j.Setting.Value, "/") + 1
		return role{
			name: j.Setting.Value[at:], path: "/" + j.Setting.Value[:at], trust: plan.TrustSSM,
			managed: "arn:" + fleet.Partition(j.at.Region) + ":iam::aws:policy/" + plan.DefaultHostPolicy,
		}, true
	}
	return role{}, false
}

// defaultRoleSetting is the service setting of Default Host Management
// Configuration. Source: AWS Systems Manager User Guide,
// fleet-manager-default-host-management-configuration.
const defaultRoleSetting = "/ssm/managed-instance/default-ec2-instance-management-role"

type serviceSetting struct{ SettingId, SettingValue string }

type ipRange struct {
	CidrIp      string `json:",omitempty"`
	CidrIpv6    string `json:",omitempty"`
	Description string `json:",omitempty"`
}

type prefixList struct {
	PrefixListId string
	Description  string `json:",omitempty"`
}

type groupPair struct {
	GroupId     string
	UserId      string `json:",omitempty"`
	Description string `json:",omitempty"`
}

type permission struct {
	IpProtocol       string
	FromPort         *int         `json:",omitempty"`
	ToPort           *int         `json:",omitempty"`
	IpRanges         []ipRange    `json:",omitempty"`
	Ipv6Ranges       []ipRange    `json:",omitempty"`
	PrefixListIds    []prefixList `json:",omitempty"`
	UserIdGroupPairs []groupPair  `json:",omitempty"`
}

// permissionOf is a rule as EC2 takes it. A group that the plan knows by name
// alone is a reference.
func permissionOf(r fleet.Rule) permission {
	p := permission{IpProtocol: r.Protocol}
	if r.Protocol != "-1" {
		p.FromPort, p.ToPort = &r.From, &r.To
	}
	switch {
	case r.Group != "":
		p.UserIdGroupPairs = []groupPair{{GroupId: reference(r.Group), UserId: r.GroupAccount, Description: r.Description}}
	case r.PrefixList != "":
		p.PrefixListIds = []prefixList{{PrefixListId: r.PrefixList, Description: r.Description}}
	case r.CIDR.Addr().Is4():
		p.IpRanges = []ipRange{{CidrIp: r.CIDR.String(), Description: r.Description}}
	default:
		p.Ipv6Ranges = []ipRange{{CidrIpv6: r.CIDR.String(), Description: r.Description}}
	}
	return p
}

type ruleChange struct {
	GroupId           string
	IpPermissions     []permission
	TagSpecifications []tagSpec `json:",omitempty"`
}

func (w *work) authorize(group string, r fleet.Rule) ruleChange {
	return ruleChange{GroupId: reference(group), IpPermissions: []permission{permissionOf(r)}, TagSpecifications: w.mark("security-group-rule")}
}

// revoke leaves the description out: EC2 finds the rule by what it lets through.
func revoke(group string, r fleet.Rule) ruleChange {
	r.Description = ""
	return ruleChange{GroupId: reference(group), IpPermissions: []permission{permissionOf(r)}}
}

func direction(verb string, r fleet.Rule) string {
	if r.Egress {
		return verb + "-security-group-egress"
	}
	return verb + "-security-group-ingress"
}

type createGroup struct {
	VpcId             string
	GroupName         string
	Description       string
	TagSpecifications []tagSpec
}

type createEndpoint struct {
	VpcEndpointType   string
	VpcId             string
	ServiceName       string
	SubnetIds         []string `json:",omitempty"`
	SecurityGroupIds  []string `json:",omitempty"`
	RouteTableIds     []string `json:",omitempty"`
	PrivateDnsEnabled bool     `json:",omitempty"`
	PolicyDocument    string   `json:",omitempty"`
	TagSpecifications []tagSpec
}

func (w *work) endpoint(j job, service string) createEndpoint {
	c := j.Endpoint
	if c.Tables != nil {
		return createEndpoint{VpcEndpointType: "Gateway", VpcId: c.VPC, ServiceName: service, RouteTableIds: c.Tables, PolicyDocument: c.Policies[service], TagSpecifications: w.mark("vpc-endpoint")}
	}
	return createEndpoint{
		VpcEndpointType: "Interface", VpcId: c.VPC, ServiceName: service, SubnetIds: c.Subnets, PolicyDocument: c.Policies[service],
		SecurityGroupIds: []string{reference(c.Group)}, PrivateDnsEnabled: true, TagSpecifications: w.mark("vpc-endpoint"),
	}
}

// https are the rules of the endpoints' group.
func https(c *plan.EndpointChange) []fleet.Rule { return fromCIDRs(443, c.Sources) }

// fromOperators are the rules of the recovery bastion's group.
func fromOperators(c *plan.RecoveryChange) []fleet.Rule { return fromCIDRs(22, c.From) }

func fromCIDRs(port int, sources []string) []fleet.Rule {
	var out []fleet.Rule
	for _, s := range sources {
		p, err := parsePrefix(s)
		if err != nil {
			continue // the plan's policy was validated
		}
		out = append(out, fleet.Rule{Protocol: "tcp", From: port, To: port, CIDR: p})
	}
	return out
}

type networkInterface struct {
	DeviceIndex              int
	AssociatePublicIpAddress bool
	Groups                   []string
}

type templateData struct {
	ImageId           string
	InstanceType      string
	UserData          string // base64
	MetadataOptions   struct{ HttpTokens, HttpEndpoint string }
	NetworkInterfaces []networkInterface
}

type createTemplate struct {
	LaunchTemplateName string
	LaunchTemplateData templateData
	TagSpecifications  []tagSpec
}

func (w *work) template(c *plan.RecoveryChange) (createTemplate, error) {
	data, err := plan.BastionData(c.PublicKey)
	if err != nil {
		return createTemplate{}, err
	}
	t := createTemplate{LaunchTemplateName: c.Name, TagSpecifications: w.mark("launch-template", tag{"Name", c.Name}, tag{fleet.TagUser, c.User})}
	t.LaunchTemplateData = templateData{
		ImageId: c.Image, InstanceType: c.Type, UserData: base64.StdEncoding.EncodeToString([]byte(data)),
		NetworkInterfaces: []networkInterface{{AssociatePublicIpAddress: c.Public, Groups: []string{reference(c.Name)}}},
	}
	t.LaunchTemplateData.MetadataOptions.HttpTokens, t.LaunchTemplateData.MetadataOptions.HttpEndpoint = "required", "enabled"
	return t, nil
}

type groupTag struct {
	Key, Value, ResourceId, ResourceType string
	PropagateAtLaunch                    bool
}

type createScaling struct {
	AutoScalingGroupName              string
	LaunchTemplate                    struct{ LaunchTemplateName, Version string }
	MinSize, MaxSize, DesiredCapacity int
	VPCZoneIdentifier                 string
	Tags                              []groupTag
}

func (w *work) scaling(c *plan.RecoveryChange) createScaling {
	s := createScaling{AutoScalingGroupName: c.Name, MaxSize: 1, VPCZoneIdentifier: strings.Join(c.Subnets, ",")}
	s.LaunchTemplate.LaunchTemplateName, s.LaunchTemplate.Version = c.Name, "$Default"
	for _, t := range w.tags(tag{"Name", c.Name}) {
		s.Tags = append(s.Tags, groupTag{Key: t.Key, Value: t.Value, ResourceId: c.Name, ResourceType: "auto-scaling-group", PropagateAtLaunch: true})
	}
	return s
}

type updateScaling struct {
	AutoScalingGroupName              string
	MinSize, MaxSize, DesiredCapacity int
}

type document struct {
	Name            string
	Content         string
	DocumentVersion string `json:",omitempty"`
	DocumentType    string `json:",omitempty"`
	DocumentFormat  string
	Tags            []tag `json:",omitempty"`
}

// A reference stands for the ID of a security group that the plan knows by its
// name only. No text that AWS keeps has the letter that sets it off.
const refMark = "\x00"

func reference(group string) string {
	if strings.HasPrefix(group, "sg-") {
		return group
	}
	return refMark + group + refMark
}

// compact writes JSON in one line; & < > stay as they are.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("export: " + err.Error()) // structs of strings, numbers and lists always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// vpcOf is the VPC of a group that the plan knows by name.
func vpcOf(j job, group string) string {
	if j.Endpoint != nil && j.Endpoint.Group == group {
		return j.Endpoint.VPC
	}
	vpc, _ := strings.CutPrefix(group, plan.RecoveryName(""))
	return cmp.Or(vpc, group)
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

type profileName struct{ Name string }

type association struct {
	IamInstanceProfile profileName
	InstanceId         string
}

func associate(profile, instance string) association {
	return association{profileName{profile}, instance}
}
