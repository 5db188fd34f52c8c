package awsapi

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"ssm-migrate/internal/fleet"
)

// need is something that a cutover does, with the actions that it takes.
type need struct {
	name   string
	grants []grant
}

// grant is an action on a kind of resource.
type grant struct {
	action string
	on     resourceKind
	to     string // iam:PassRole: the service
}

func (g grant) key() string { return g.action + " " + string(g.on) }

// resourceKind says which resource of a place an action is tried on.
type resourceKind string

const (
	onAll          resourceKind = "all"
	onInstance     resourceKind = "instance"
	onShell        resourceKind = "shell"      // the session document
	onCommand      resourceKind = "command"    // the command document
	onSession      resourceKind = "session"    // of our own
	onGroup        resourceKind = "group"      // a security group
	onTimerRole    resourceKind = "timer role" // as one that is changed and passed
	onProfile      resourceKind = "profile"
	onSchedule     resourceKind = "schedule"
	onDefaultRole  resourceKind = "default role"
	onSetting      resourceKind = "setting"
	onScalingGroup resourceKind = "scaling group"
)

func grants(on resourceKind, actions ...string) []grant {
	var out []grant
	for _, a := range actions {
		out = append(out, grant{action: a, on: on})
	}
	return out
}

func join(lists ...[]grant) []grant {
	var out []grant
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// needs are what the steps call, less what only reads, which an inventory
// shows. Source of resources: Service Authorization Reference.
var needs = []need{
	{"start sessions", join(
		grants(onInstance, "ssm:StartSession"), grants(onShell, "ssm:StartSession"), grants(onSession, "ssm:TerminateSession"),
		grants(onAll, "ssmmessages:OpenDataChannel"),
	)},
	{"run commands", join(grants(onInstance, "ssm:SendCommand"), grants(onCommand, "ssm:SendCommand"), grants(onAll, "ssm:GetCommandInvocation", "ssm:ListCommandInvocations"))},
	{"change security groups", join(
		grants(onGroup, "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"),
		grants(onAll, "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:DescribeSecurityGroupRules"),
	)},
	{"attach instance profiles", join(
		grants(onInstance, "ec2:AssociateIamInstanceProfile", "ec2:DisassociateIamInstanceProfile"),
		grants(onAll, "ec2:DescribeIamInstanceProfileAssociations"),
		grants(onProfile, "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile", "iam:GetInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile"),
	)},
	{"change roles", grants(onTimerRole,
		"iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy", "iam:TagRole")},
	{"set rule timers", join(
		grants(onSchedule, "scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule"),
		[]grant{{action: "iam:PassRole", on: onTimerRole, to: "scheduler.amazonaws.com"}},
	)},
	{"make recovery bastions", join(
		grants(onAll, "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate", "ec2:ModifyLaunchTemplate", "ec2:RunInstances"), grants(onInstance, "ec2:GetConsoleOutput"), grants(onAll, "ec2:DescribeImages"),
		grants(onScalingGroup, "autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"),
	)},
	{"make endpoints", grants(onAll, "ec2:CreateVpcEndpoint", "ec2:DeleteVpcEndpoints")},
	{"change session preferences", grants(onShell, "ssm:AddTagsToResource", "ssm:CreateDocument", "ssm:DeleteDocument", "ssm:ListDocumentVersions", "ssm:UpdateDocument", "ssm:UpdateDocumentDefaultVersion")},
	{"change default host management", join(
		grants(onSetting, "ssm:ResetServiceSetting", "ssm:UpdateServiceSetting"),
		[]grant{{action: "iam:PassRole", on: onDefaultRole, to: "ssm.amazonaws.com"}},
	)},
}

// resource is what a grant is tried on; empty: the place has none.
func (g grant) resource(p *changing, at fleet.Place, on fleet.CheckOn) string {
	arn := func(service, rest string) string {
		return "arn:" + fleet.Partition(at.Region) + ":" + service + ":" + at.Region + ":" + at.Account + ":" + rest
	}
	global := "arn:" + fleet.Partition(at.Region) + ":iam::" + at.Account + ":"
	named := func(name, value string) string {
		if name == "" {
			return ""
		}
		return value
	}
	switch g.on {
	case onInstance:
		return named(on.Instance, arn("ec2", "instance/"+on.Instance))
	case onShell:
		return arn("ssm", "document/"+fleet.PreferencesName)
	case onCommand:
		return "arn:" + fleet.Partition(at.Region) + ":ssm:" + at.Region + "::document/AWS-RunShellScript"
	case onSession:
		return arn("ssm", "session/"+p.sessionName()+"-0123456789abcdef0")
	case onGroup:
		return named(on.Group, arn("ec2", "security-group/"+on.Group))
	case onTimerRole:
		return named(on.TimerRole, global+"role/"+on.TimerRole)
	case onProfile:
		return global + "instance-profile/migrate-session-manager"
	case onSchedule:
		return arn("scheduler", "schedule/default/migrate-timer-0123456789abcdef")
	case onDefaultRole:
		return global + "role/service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole"
	case onSetting:
		return arn("ssm", "servicesetting"+settingDefaultRole)
	case onScalingGroup:
		return arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/migrate-recovery-"+on.VPC)
	}
	return "*"
}

// sessionName is what our sessions' IDs begin with: the user's name or the
// role session's.
func (p *changing) sessionName() string {
	arn := p.arn
	return arn[strings.LastIndex(arn, "/")+1:]
}

type iamContext = types.ContextEntry

func contextEntry(key, value string) iamContext {
	return iamContext{ContextKeyName: aws.String(key), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{value}}
}
