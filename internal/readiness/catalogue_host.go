package readiness

import "ssm-migrate/internal/fleet"

const (
	guide   = "AWS Systems Manager User Guide, "
	vpcBook = "Amazon VPC User Guide, "
	iamBook = "IAM User Guide, "
	ec2Book = "Amazon EC2 User Guide, "
)

func hostEntries() []Entry {
	return []Entry{{
		Code: "instance-not-running", Area: "host", Severity: fleet.SeverityUnknown,
		Title:    "The instance is not running",
		Means:    "An agent that does not run cannot be judged. Nothing else is said about this host.",
		Detected: "The state in ec2:DescribeInstances is not \"running\".",
		Fix:      "start the instance and take the inventory again, or leave it out of the move",
		Undo:     "stop the instance again",
		Sources:  []string{"Amazon EC2 API Reference, InstanceState"},
	}, {
		Code: "snapshot-stale", Area: "snapshot", Severity: fleet.SeverityRisk,
		Title:    "The snapshot is old",
		Means:    "Verdicts speak of the moment at which the snapshot was taken. The fleet may have changed since.",
		Detected: "The inventory ended longer ago than the policy's largest age (7 days by default).",
		Fix:      "take the inventory again",
		Undo:     "nothing to take back",
		Sources:  []string{"the readiness policy"},
	}}
}

func identityEntries() []Entry {
	return []Entry{{
		Code: "imds-disabled", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The instance metadata service is off",
		Means:    "The agent gets its identity and its credentials from the instance metadata service. Without it, neither an instance profile nor Default Host Management Configuration helps.",
		Detected: "The metadata option HttpEndpoint in ec2:DescribeInstances is \"disabled\", and Systems Manager does not hear the agent.",
		Fix:      "enable the metadata endpoint with tokens required (aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required), and in the launch template as well",
		Undo:     "set the endpoint to disabled again",
		Sources:  []string{guide + "ssm-agent-technical-details", ec2Book + "configuring-instance-metadata-options"},
		Breaks:   []Part{PartMetadata},
	}, {
		Code: "profile-missing", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The host has no credentials for Systems Manager",
		Means:    "No instance profile is attached, and Default Host Management Configuration does not serve the host: it is off in this account and Region, or the host does not meet what it needs (agent 3.2.582.0, IMDSv2).",
		Detected: "No profile in ec2:DescribeInstances; the service setting default-ec2-instance-management-role; the agent's version; the metadata options.",
		Fix:      "attach an instance profile whose role has AmazonSSMManagedInstanceCore, or turn on Default Host Management Configuration for the Region; then restart the agent, which may otherwise sleep for up to an hour",
		Undo:     "disassociate the profile, or reset the service setting",
		Sources:  []string{guide + "setup-instance-permissions", guide + "fleet-manager-default-host-management-configuration"},
		Breaks:   []Part{PartCredentials},
	}, {
		Code: "profile-without-role", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The instance profile gives no credentials",
		Means:    "The attached profile holds no role, EC2 may not assume the role, or the profile no longer exists; and Default Host Management Configuration does not serve the host.",
		Detected: "iam:ListInstanceProfiles, read in full, shows the profile without a role or does not show it; or the role's trust policy does not name ec2.amazonaws.com.",
		Fix:      "add a role with AmazonSSMManagedInstanceCore that trusts ec2.amazonaws.com to the profile, or attach a profile that has one; then restart the agent",
		Undo:     "remove the role from the profile",
		Sources:  []string{iamBook + "id_roles_use_switch-role-ec2_instance-profiles", guide + "setup-instance-permissions"},
		Breaks:   []Part{PartCredentials},
	}, {
		Code: "role-lacks-session-actions", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The role does not allow the session actions",
		Means:    "The agent's role must allow ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel, OpenControlChannel, CreateDataChannel and OpenDataChannel. A role that allows the first but not the others also keeps the agent from Default Host Management Configuration. A connected agent proves the first three; the data channel is opened only when a session starts, so a connected host can still fail here.",
		Detected: "The role's inline and attached policies and its permissions boundary, evaluated as IAM does: explicit Deny wins, the boundary must allow too, wildcards and NotAction count. Service control policies are not looked at.",
		Fix:      "change what is in the way: attach AmazonSSMManagedInstanceCore to a role whose policies do not allow the actions (add to what it has, do not replace it), allow them in a permissions boundary that leaves them out, narrow an explicit Deny; then restart the agent",
		Undo:     "detach the policy from the role",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", iamBook + "reference_policies_evaluation-logic", guide + "fleet-manager-default-host-management-configuration"},
		Breaks:   []Part{PartCredentials, PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "default-role-unknown", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "Whether Default Host Management Configuration serves the host is not known",
		Means:    "The instance profile gives nothing, so all depends on Default Host Management Configuration, and a fact about it is missing: the setting, the agent's version (3.2.582.0 is needed), or whether IMDSv2 is in use.",
		Detected: "The evidence names the missing fact.",
		Fix:      "allow the inventory to read the setting (ssm:GetServiceSetting), or attach an instance profile with AmazonSSMManagedInstanceCore",
		Undo:     "detach the profile",
		Sources:  []string{guide + "fleet-manager-default-host-management-configuration"},
	}, {
		Code: "role-unreadable", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "What the role allows could not be read",
		Means:    "The profile, the role or one of its policies was not read, so whether it allows the session actions is not known. An open control channel does not settle it: the data channel needs permissions of its own.",
		Detected: "IAM did not answer, or a policy document was not understood. The evidence says which and why.",
		Fix:      "allow the inventory to read IAM (iam:GetAccountAuthorizationDetails, iam:ListInstanceProfiles) and take it again",
		Undo:     "take the permission away again",
		Sources:  []string{iamBook + "reference_policies_evaluation-logic"},
	}, {
		Code: "role-undecided", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "Whether the role allows the session actions depends on conditions",
		Means:    "A condition or policy variable decides whose value is not known, or it is not clear which of two roles the agent uses.",
		Detected: "An Allow or Deny that concerns a session action carries a policy variable, or a Condition on anything but aws:RequestedRegion, aws:SecureTransport, ec2:SourceInstanceARN and ssm:SourceInstanceARN.",
		Fix:      "prove it by opening a session, or allow the actions without a condition",
		Undo:     "put the condition back",
		Sources:  []string{iamBook + "reference_policies_elements_condition"},
	}, {
		Code: "identity-disagreement", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "The agent works with credentials other than those that were read",
		Means:    "Systems Manager hears the agent, although what was read of its profile and role says that it cannot call. Either something changed a moment ago, or the agent finds credentials elsewhere: in root's shared credentials file, in its environment, in a leftover registration. Whether those may open a session is not known.",
		Detected: "The heartbeat or control channel contradicts the evaluation of profile, role and Default Host Management Configuration.",
		Fix:      "look for /root/.aws/credentials and the agent's environment on the host; give the host one source of credentials",
		Undo:     "put the other credentials back",
		Sources:  []string{guide + "ssm-agent-technical-details", "aws/amazon-ssm-agent issue 526"},
	}, {
		Code: "role-too-broad", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The role lets anyone on its hosts act on others",
		Means:    "Whoever runs code on one of the hosts can use the role. AmazonEC2RoleforSSM is to be retired and reads and writes every S3 object; ssm:SendCommand or ssm:StartSession on every resource is root on every managed host.",
		Detected: "AmazonEC2RoleforSSM or AdministratorAccess is attached, or the role may ssm:SendCommand, ssm:StartSession or iam:PassRole on \"*\". One finding for each role that hosts use.",
		Fix:      "put AmazonSSMManagedInstanceCore and what the application needs in its place, in that order: first add, then remove",
		Undo:     "attach the old policy again",
		Sources:  []string{guide + "security_iam_service-with-iam", "AWS managed policies AmazonEC2RoleforSSM (v8) and AmazonSSMManagedInstanceCore (v2)"},
	}}
}
