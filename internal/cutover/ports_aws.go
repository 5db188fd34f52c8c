package cutover

import (
	"context"

	"ssm-migrate/internal/fleet"
)

// AWS is what the steps on AWS's side change. What is not there is
// fleet.ErrNotFound, what is there already fleet.ErrExists, and what others
// still use fleet.ErrInUse. Every other error may be a lost answer: the change may have
// been made. Reads may lag behind changes. All methods may run concurrently.
type AWS interface {
	SecurityGroups
	InstanceProfiles
	Roles
	Settings
	Documents
	Endpoints
	Templates
	ScalingGroups
	Schedules
}

// AWSReader is the half of AWS that reads: nothing can be changed by it.
type AWSReader interface {
	SecurityGroupReader
	InstanceProfileReader
	RoleReader
	SettingReader
	DocumentReader
	EndpointReader
	TemplateReader
	ScalingGroupReader
	ScheduleReader
}

// SecurityGroups changes security groups.
type SecurityGroups interface {
	SecurityGroupReader

	// CreateGroup makes a group from VPC, Name, Description and Tags; EC2 gives
	// it a rule that lets everything out.
	CreateGroup(ctx context.Context, at fleet.Place, g fleet.SecurityGroup) (id string, err error)
	DeleteGroup(ctx context.Context, at fleet.Place, group string) error
	// Authorize adds one rule with its description and tags. A rule that lets
	// the same through is fleet.ErrExists, whatever its description.
	Authorize(ctx context.Context, at fleet.Place, group string, r fleet.Rule) error
	// Revoke removes rules by ID, all or none.
	Revoke(ctx context.Context, at fleet.Place, group string, egress bool, ids []string) error
}

// SecurityGroupReader reads security groups.
type SecurityGroupReader interface {
	// FindGroup gives the group of a VPC by its name, without its rules.
	FindGroup(ctx context.Context, at fleet.Place, vpc, name string) (fleet.SecurityGroup, error)
	// GroupRules lists all rules of a group, with IDs, descriptions and tags.
	// GroupAccount is empty where the group's own account is meant.
	GroupRules(ctx context.Context, at fleet.Place, group string) ([]fleet.Rule, error)
	// GroupMembers lists the IDs of the Region's instances that carry a group on
	// any interface, those that are terminated or being terminated left out.
	GroupMembers(ctx context.Context, at fleet.Place, group string) ([]string, error)
}

// InstanceProfiles changes instance profiles and which instances have them.
type InstanceProfiles interface {
	InstanceProfileReader

	// Associate is fleet.ErrNotFound also while EC2 does not know a new profile yet.
	Associate(ctx context.Context, at fleet.Place, instance, profile string) error
	Disassociate(ctx context.Context, at fleet.Place, id string) error
	CreateProfile(ctx context.Context, at fleet.Place, name, token string) error
	SetProfileRole(ctx context.Context, at fleet.Place, profile, role string) error
	// DeleteProfile takes the role out first.
	DeleteProfile(ctx context.Context, at fleet.Place, p fleet.ProfileState) error
}

// InstanceProfileReader reads instance profiles.
type InstanceProfileReader interface {
	// Association gives what profile an instance has, or is about to have.
	Association(ctx context.Context, at fleet.Place, instance string) (fleet.ProfileAssociation, error)
	// Associated counts the instances of the place's account that have a profile,
	// in all Regions that are migrated: IAM is the same in all of them.
	Associated(ctx context.Context, at fleet.Place, profile string) (int, error)
	Profile(ctx context.Context, at fleet.Place, name string) (fleet.ProfileState, error)
}

// Roles changes IAM roles.
type Roles interface {
	RoleReader

	CreateRole(ctx context.Context, at fleet.Place, r fleet.RoleState) error
	// DeleteRole is fleet.ErrInUse while the role has policies or is in a profile.
	DeleteRole(ctx context.Context, at fleet.Place, name string) error
	PutRolePolicy(ctx context.Context, at fleet.Place, role, policy, document string) error
	DeleteRolePolicy(ctx context.Context, at fleet.Place, role, policy string) error
	AttachPolicy(ctx context.Context, at fleet.Place, role, arn string) error
	DetachPolicy(ctx context.Context, at fleet.Place, role, arn string) error
}

// RoleReader reads IAM roles.
type RoleReader interface {
	Role(ctx context.Context, at fleet.Place, name string) (fleet.RoleState, error)
	// RolePolicy gives an inline policy's document, byte for byte.
	RolePolicy(ctx context.Context, at fleet.Place, role, policy string) (string, error)
	// RolePolicies gives the names of the inline policies.
	RolePolicies(ctx context.Context, at fleet.Place, role string) ([]string, error)
	// HasPolicy reports whether a managed policy is attached.
	HasPolicy(ctx context.Context, at fleet.Place, role, arn string) (bool, error)
	// RoleInFull gives a role with all that decides what it may do, and the
	// documents of its managed policies and boundary; a document that could not
	// be read is unknown.
	RoleInFull(ctx context.Context, at fleet.Place, role string) (fleet.Role, []fleet.Policy, error)
}

// Settings changes Systems Manager's service settings.
type Settings interface {
	SettingReader

	SetDefaultRole(ctx context.Context, at fleet.Place, path string) error // empty: off
}

// SettingReader reads service settings.
type SettingReader interface {
	// DefaultRole gives Default Host Management Configuration's role path;
	// empty: it is off.
	DefaultRole(ctx context.Context, at fleet.Place) (string, error)
}

// Documents changes Systems Manager's session documents.
type Documents interface {
	DocumentReader

	CreateDocument(ctx context.Context, at fleet.Place, name, content, token string) error
	// AddDocumentVersion adds a version, not yet the default. It is
	// fleet.ErrExists where there is one with the same content.
	AddDocumentVersion(ctx context.Context, at fleet.Place, name, content string) error
	SetDefaultVersion(ctx context.Context, at fleet.Place, name, number string) error
	DeleteDocument(ctx context.Context, at fleet.Place, name string) error
}

// DocumentReader reads session documents.
type DocumentReader interface {
	// Document gives a version with its content; an empty number: the default version.
	Document(ctx context.Context, at fleet.Place, name, number string) (fleet.DocumentVersion, error)
	// DocumentVersions lists all versions, newest first, without content.
	DocumentVersions(ctx context.Context, at fleet.Place, name string) ([]fleet.DocumentVersion, error)
}

// Endpoints changes VPC endpoints.
type Endpoints interface {
	EndpointReader

	// CreateEndpoint makes an endpoint from VPC, Service, Type, Policy (empty: one
	// that lets everything through) and Tags: of type Interface with private DNS from
	// Subnets and Groups, of type Gateway from RouteTables. The same token twice makes one.
	CreateEndpoint(ctx context.Context, at fleet.Place, e fleet.VPCEndpoint, token string) error
	DeleteEndpoint(ctx context.Context, at fleet.Place, id string) error
}

// EndpointReader reads VPC endpoints.
type EndpointReader interface {
	// EndpointsOf lists a VPC's endpoints, those that are being deleted left out.
	EndpointsOf(ctx context.Context, at fleet.Place, vpc string) ([]fleet.VPCEndpoint, error)
}

// Templates changes launch templates.
type Templates interface {
	TemplateReader

	CreateTemplate(ctx context.Context, at fleet.Place, t fleet.BastionTemplate, token string) error
	DeleteTemplate(ctx context.Context, at fleet.Place, name string) error
	// AddTemplateVersion adds a version that differs from the template's Version
	// in its user data alone. The same token twice makes one.
	AddTemplateVersion(ctx context.Context, at fleet.Place, t fleet.BastionTemplate, userData, token string) (version int64, err error)
	SetTemplateDefault(ctx context.Context, at fleet.Place, name string, version int64) error
}

// TemplateReader reads launch templates.
type TemplateReader interface {
	// Template gives the default version.
	Template(ctx context.Context, at fleet.Place, name string) (fleet.BastionTemplate, error)
}

// ScalingGroups makes Auto Scaling groups and changes their sizes.
type ScalingGroups interface {
	ScalingGroupReader
	Launches

	SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error
	// InService gives the group's instances that are in service.
	InService(ctx context.Context, at fleet.Place, name string) ([]fleet.Host, error)
	// CreateScalingGroup makes a group from Name, sizes, Subnets, Template and
	// Tags, which its instances get, too.
	CreateScalingGroup(ctx context.Context, at fleet.Place, g fleet.ScalingGroup) error
	// DeleteScalingGroup is fleet.ErrInUse while the group has instances.
	DeleteScalingGroup(ctx context.Context, at fleet.Place, name string) error
	// SetTemplateVersion says from which version of a launch template the group
	// starts: a number, or "$Default".
	SetTemplateVersion(ctx context.Context, at fleet.Place, name, template, version string) error
}

// ScalingGroupReader reads Auto Scaling groups.
type ScalingGroupReader interface {
	ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error)
}

// Schedules changes one-time schedules.
type Schedules interface {
	ScheduleReader

	// CreateSchedule makes an enabled schedule from Name, At, Role, and Group and
	// Rule or ScaleIn, that deletes itself when it has fired.
	CreateSchedule(ctx context.Context, at fleet.Place, s fleet.Schedule, token string) error
	DeleteSchedule(ctx context.Context, at fleet.Place, name string) error
}

// ScheduleReader reads one-time schedules.
type ScheduleReader interface {
	// Schedule reads a schedule back. Of one that is not as CreateSchedule
	// makes them, At or Rule are zero.
	Schedule(ctx context.Context, at fleet.Place, name string) (fleet.Schedule, error)
}
