package simfleet

import (
	"encoding/json"
	"slices"

	"ssm-migrate/internal/fleet"
)

// defaultHostRole is the role that AWS's console makes for Default Host
// Management Configuration.
const defaultHostRole = "AWSSystemsManagerDefaultEC2InstanceManagementRole"

// sessionActions are the five that an agent needs to serve sessions.
// Source: Systems Manager User Guide, "Create an IAM role for Session Manager".
var sessionActions = []string{
	"ssm:UpdateInstanceInformation",
	"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
	"ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
}

// The actions of AWS's own policies. Source: text of the managed policies, July 2026.
var (
	coreSSM = []string{
		"ssm:DescribeAssociation", "ssm:GetDeployablePatchSnapshotForInstance", "ssm:GetDocument", "ssm:DescribeDocument",
		"ssm:GetManifest", "ssm:GetParameter", "ssm:GetParameters", "ssm:ListAssociations", "ssm:ListInstanceAssociations",
		"ssm:PutInventory", "ssm:PutComplianceItems", "ssm:PutConfigurePackageResult", "ssm:UpdateAssociationStatus",
		"ssm:UpdateInstanceAssociationStatus", "ssm:UpdateInstanceInformation",
	}
	channelActions = sessionActions[1:]
	messageActions = []string{
		"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage",
		"ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
	}
)

const (
	corePolicy    = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
	defaultPolicy = "arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy"
	oldPolicy     = "arn:aws:iam::aws:policy/service-role/AmazonEC2RoleforSSM"
	s3ReadPolicy  = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)

type statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal any `json:",omitempty"`
	Action    any `json:",omitempty"`
	NotAction any `json:",omitempty"`
	Resource  any `json:",omitempty"`
	Condition any `json:",omitempty"`
}

func document(s ...statement) string {
	out, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", s})
	if err != nil {
		panic("simfleet: writing a policy: " + err.Error())
	}
	return string(out)
}

func allow(actions ...string) statement {
	return statement{Effect: "Allow", Action: actions, Resource: "*"}
}

func trust(service string) string {
	return document(statement{Effect: "Allow", Principal: map[string]string{"Service": service}, Action: "sts:AssumeRole"})
}

// identity fills the account's IAM side: roles of every kind that decides
// differently, each with its instance profile.
func (g *generator) identity(a *Account) {
	customer := "arn:aws:iam::" + a.ID + ":policy/"
	policy := func(arn, name, doc string) {
		a.Policies = append(a.Policies, &fleet.Policy{ARN: arn, Name: name, Document: fleet.Known(doc, "", g.base)})
	}
	policy(corePolicy, "AmazonSSMManagedInstanceCore", document(allow(coreSSM...), allow(channelActions...), allow(messageActions...)))
	policy(defaultPolicy, "AmazonSSMManagedEC2InstanceDefaultPolicy", document(
		allow(slices.DeleteFunc(slices.Clone(coreSSM), func(s string) bool { return s == "ssm:GetParameter" || s == "ssm:GetParameters" })...),
		allow(channelActions...), allow(messageActions...)))
	policy(oldPolicy, "AmazonEC2RoleforSSM", document(
		allow(slices.DeleteFunc(slices.Clone(coreSSM), func(s string) bool { return s == "ssm:GetParameter" })...),
		allow(channelActions...), allow(messageActions...), allow("cloudwatch:PutMetricData"), allow("ec2:DescribeInstanceStatus"),
		allow("ds:CreateComputer", "ds:DescribeDirectories"),
		allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"),
		allow("s3:GetBucketLocation", "s3:PutObject", "s3:GetObject", "s3:GetEncryptionConfiguration", "s3:AbortMultipartUpload",
			"s3:ListMultipartUploadParts", "s3:ListBucket", "s3:ListBucketMultipartUploads")))
	policy(s3ReadPolicy, "AmazonS3ReadOnlyAccess", document(allow("s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*")))
	policy(customer+"corp-baseline", "corp-baseline", document(allow("logs:PutLogEvents", "logs:CreateLogStream", "cloudwatch:PutMetricData", "ec2:DescribeTags")))
	policy(customer+"corp-boundary", "corp-boundary", document(
		statement{Sid: "Workloads", Effect: "Allow", Action: []string{"s3:*", "logs:*", "cloudwatch:*", "ec2:Describe*", "ssm:*"}, Resource: "*"}))

	bucket := document(statement{Effect: "Allow", Action: []string{"s3:GetObject", "s3:PutObject"}, Resource: "arn:aws:s3:::corp-app-data/*"})
	role := func(name string, r fleet.Role) {
		r.Name, r.ARN = name, "arn:aws:iam::"+a.ID+":role/"+name
		if r.Trust == "" {
			r.Trust = trust("ec2.amazonaws.com")
		}
		r.ID = uniqueID("AROA", r.ARN)
		a.Roles = append(a.Roles, &r)
		if r.Trust == trust("ec2.amazonaws.com") {
			a.Profiles = append(a.Profiles, &fleet.InstanceProfile{ARN: "arn:aws:iam::" + a.ID + ":instance-profile/" + name, Name: name, Role: name})
		}
	}
	defer g.operators(a)
	if g.healthy {
		g.healthyRoles(a, role)
		return
	}
	role("bastion", fleet.Role{Attached: []string{corePolicy}})
	role("web", fleet.Role{Attached: []string{corePolicy, customer + "corp-baseline"}, Inline: map[string]string{"assets": bucket}, Tags: map[string]string{"team": "web"}})
	role("app", fleet.Role{Attached: []string{corePolicy}, Inline: map[string]string{"data": bucket}})
	role("db", fleet.Role{Attached: []string{customer + "corp-baseline"}, Inline: map[string]string{"session-manager": document(allow(sessionActions...))}})
	role("ci-runner", fleet.Role{Inline: map[string]string{"all-of-ssm": document(allow("ssm:*", "ssmmessages:*", "ec2messages:*", "s3:*"))}})
	role("legacy-ssm", fleet.Role{Attached: []string{oldPolicy}})
	role("worker", fleet.Role{Inline: map[string]string{"ssm": document(allow("ssm:*"))}})
	role("locked", fleet.Role{Attached: []string{corePolicy}, Inline: map[string]string{"no-sessions": document(
		statement{Sid: "NoShells", Effect: "Deny", Action: "ssmmessages:*", Resource: "*"})}})
	role("bounded", fleet.Role{Attached: []string{corePolicy}, Boundary: customer + "corp-boundary"})
	role("app-only", fleet.Role{Attached: []string{s3ReadPolicy}, Inline: map[string]string{"data": bucket}})
	role("scoped", fleet.Role{Inline: map[string]string{"sessions-in-region": document(statement{Effect: "Allow", Action: sessionActions, Resource: "*",
		Condition: map[string]any{"StringEquals": map[string]any{"aws:RequestedRegion": []string{"eu-west-1", "us-east-1", "eu-central-1"}}}})}})
	role(defaultHostRole, fleet.Role{Trust: trust("ssm.amazonaws.com"), Attached: []string{defaultPolicy}})
	host := a.Roles[len(a.Roles)-1]
	host.ARN = "arn:aws:iam::" + a.ID + ":role/service-role/" + defaultHostRole
	host.ID = uniqueID("AROA", host.ARN)
	role("deploy-lambda", fleet.Role{Trust: trust("lambda.amazonaws.com"), Attached: []string{s3ReadPolicy}})
	role("audit", fleet.Role{Trust: document(statement{Effect: "Allow", Principal: map[string]string{"AWS": "arn:aws:iam::" + g.home + ":root"}, Action: "sts:AssumeRole"}), Attached: []string{s3ReadPolicy}})
	a.Profiles = append(a.Profiles, &fleet.InstanceProfile{ARN: "arn:aws:iam::" + a.ID + ":instance-profile/empty", Name: "empty"})
}
