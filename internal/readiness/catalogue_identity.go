package readiness

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

func identityEntries() []Entry {
	return slices.Concat(credentialEntries(), roleEntries(), sharedRoleEntries())
}

// credentialEntries are about where an agent gets its credentials from.
func credentialEntries() []Entry {
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
		Code: "imds-unreachable", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The instance metadata service does not answer the host",
		Means:    "The agent gets its identity and its credentials from the instance metadata service. The options say that it is on, but the host does not get at it: a firewall rule on the host, a missing route to 169.254.169.254, or a hop limit that is too low for an agent in a container.",
		Detected: "The probe's own request for an IMDSv2 token failed, and Systems Manager does not hear the agent. The metadata options are named beside it.",
		Fix:      "let the host reach 169.254.169.254 on port 80 (iptables, routes), except the address from the proxy by no_proxy, and raise the hop limit to 2 where the agent runs in a container (aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2); then restart the agent",
		Undo:     "put the rule back, or the hop limit",
		Sources:  []string{guide + "ssm-agent-technical-details", guide + "configure-proxy-ssm-agent", ec2Book + "configuring-instance-metadata-options"},
		Breaks:   []Part{PartMetadata},
		Shows:    []Part{PartMetadata},
	}, {
		Code: "hybrid-registration", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The agent is registered as a hybrid node, not as the instance",
		Means:    "A hybrid activation left its registration on the host, or in the image that it came from. The agent goes by it and reports under an ID that begins with mi-; the instance itself stays unknown to Systems Manager. Hosts from one image share one such ID and push each other aside.",
		Detected: "The agent's own registration on the host names a node, and Systems Manager does not hear the instance.",
		Fix:      "stop the agent, move the registration away (amazon-ssm-agent -register -clear, or /var/lib/amazon/ssm/registration and /var/lib/amazon/ssm/Vault), start it again; then deregister the node (aws ssm deregister-managed-instance), and clean the image",
		Undo:     "put the files back and restart the agent",
		Sources:  []string{"aws/amazon-ssm-agent issue 381", guide + "fleet-manager-troubleshooting-managed-nodes"},
		Breaks:   []Part{PartCredentials, PartHeartbeat},
	}, {
		Code: "credentials-file", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "A credentials file of root's hides the instance's role",
		Means:    "The agent looks for credentials in root's shared credentials file before it asks for those of the instance profile. Keys in it, meant for something else, are what it calls Systems Manager with, and they do not serve.",
		Detected: "The probe, as root, found such a file, and Systems Manager does not hear the agent.",
		Fix:      "move the file away, so that the agent uses its role; then restart the agent",
		Undo:     "move the file back and restart the agent",
		Sources:  []string{guide + "ssm-agent-technical-details", "aws/amazon-ssm-agent issue 526"},
		Breaks:   []Part{PartCredentials},
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
		Code: "default-role-unknown", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "Whether Default Host Management Configuration serves the host is not known",
		Means:    "The instance profile gives nothing, so all depends on Default Host Management Configuration, and a fact about it is missing: the setting, the agent's version (3.2.582.0 is needed), or whether IMDSv2 is in use.",
		Detected: "The evidence names the missing fact. On a host without an agent it follows from that: there is no version yet.",
		Fix:      "allow the inventory to read the setting (ssm:GetServiceSetting), or attach an instance profile with AmazonSSMManagedInstanceCore",
		Undo:     "detach the profile",
		Sources:  []string{guide + "fleet-manager-default-host-management-configuration"},
		Shows:    []Part{PartAgent},
	}, {
		Code: "identity-disagreement", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "The agent works with credentials other than those that were read",
		Means:    "Systems Manager hears the agent, although what was read of its profile and role says that it cannot call. Either something changed a moment ago, or the agent finds credentials elsewhere: in root's shared credentials file, in its environment, in a leftover registration. Whether those may open a session is not known.",
		Detected: "The heartbeat or control channel contradicts the evaluation of profile, role and Default Host Management Configuration.",
		Fix:      "look for /root/.aws/credentials and the agent's environment on the host; give the host one source of credentials",
		Undo:     "put the other credentials back",
		Sources:  []string{guide + "ssm-agent-technical-details", "aws/amazon-ssm-agent issue 526"},
	}, {
		Code: "credentials-file-unproved", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "The agent may run on a credentials file of root's, which need not allow sessions",
		Means:    "Root's shared credentials file goes before the instance profile. The agent is connected, but perhaps by keys of a person or another service. Whether those may open a session's data channel is not known, and what the role allows says nothing of them.",
		Detected: "The probe, as root, found such a file. The host is connected, and no session to it is open.",
		Fix:      "see that the role allows the session actions, then move the file away and restart the agent; or prove the host by opening a session",
		Undo:     "move the file back and restart the agent",
		Sources:  []string{guide + "ssm-agent-technical-details", guide + "getting-started-create-iam-instance-profile", "aws/amazon-ssm-agent issue 526"},
	}, {
		Code: "imds-unreachable-connected", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The instance metadata service did not answer the host's test",
		Means:    "Systems Manager hears the agent, so it has credentials now. When they expire, or the agent restarts, it will need the metadata service again.",
		Detected: "The probe's own request for an IMDSv2 token failed.",
		Fix:      "let the host reach 169.254.169.254 on port 80, and except the address from the proxy by no_proxy",
		Undo:     "put the rule back",
		Sources:  []string{guide + "ssm-agent-technical-details", guide + "configure-proxy-ssm-agent"},
	}, {
		Code: "hybrid-registration-connected", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "A hybrid registration was left on the host",
		Means:    "Systems Manager hears the instance, so the agent does not go by the registration now. After a restart or a move of the files it may.",
		Detected: "The agent's own registration on the host names a node that begins with mi-.",
		Fix:      "clear the registration (amazon-ssm-agent -register -clear) at the next restart of the agent, and clean the image",
		Undo:     "put the files back",
		Sources:  []string{"aws/amazon-ssm-agent issue 381"},
	}, {
		Code: "hybrid-registration-suspected", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "A hybrid node has this host's name",
		Means:    "The instance is not heard, but a node that came by a hybrid activation has its name: the agent may be registered as that node.",
		Detected: "A managed node whose ID begins with mi- has a ComputerName that is the instance's private DNS name. The host's own registration could not be read.",
		Fix:      "let the probe run as root to see the agent's registration",
		Undo:     "nothing to take back",
		Sources:  []string{"aws/amazon-ssm-agent issue 381"},
	}, {
		Code: "credentials-file-connected", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The agent may run on a credentials file of root's",
		Means:    "Root's shared credentials file goes before the instance profile. Systems Manager hears the agent, but perhaps by keys of a person or another service: they end when somebody rotates them, and what the role allows says nothing of them.",
		Detected: "The probe, as root, found such a file. A session to the host is open, or Systems Manager names the role of Default Host Management Configuration as the agent's, or it hears the agent but is not connected to it.",
		Fix:      "move the file away, so that the agent uses its role; then restart the agent",
		Undo:     "move the file back and restart the agent",
		Sources:  []string{guide + "ssm-agent-technical-details", "aws/amazon-ssm-agent issue 526"},
	}}
}

// roleEntries are about what an agent's role allows it.
func roleEntries() []Entry {
	return []Entry{{
		Code: "controls-deny-session-actions", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "Service control policies of the organization stop the session actions",
		Means:    "Every level of the organization has to allow an action, and none may deny it; otherwise no role of the account may use it, whatever its own policies say. Only the organization's administrators can change that.",
		Detected: "The organization's policies for the account, where they could be read, evaluated for the role; otherwise iam:SimulatePrincipalPolicy, which says whether the organization allows an action.",
		Fix:      "have the organization's administrators let ssm:UpdateInstanceInformation and ssmmessages:* through; then restart the agents",
		Undo:     "put the policy back as it was",
		Sources:  []string{"AWS Organizations User Guide, orgs_manage_policies_scps_evaluation", "IAM API Reference, API_EvaluationResult", "awslabs/landing-zone-accelerator-on-aws issue 330"},
		Breaks:   []Part{PartCredentials, PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "boundary-denies-session-actions", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The role's permissions boundary stops the session actions",
		Means:    "A boundary grants nothing, but what it does not allow a role may not do, whatever is attached to it.",
		Detected: "The policy that is the role's boundary, evaluated as IAM does: it does not allow the actions, or denies them.",
		Fix:      "allow the session actions in the boundary; then restart the agent",
		Undo:     "put the boundary's former version back as its default",
		Sources:  []string{iamBook + "access_policies_boundaries", guide + "getting-started-create-iam-instance-profile"},
		Breaks:   []Part{PartCredentials, PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "default-role-shut-out", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The profile's role shuts Default Host Management Configuration out and does not serve sessions itself",
		Means:    "The agent tries its profile first, by calling ssm:UpdateInstanceInformation. As that succeeds, it stays with a role that does not allow the channels, and never asks for the default role, which would.",
		Detected: "Default Host Management Configuration is on; the profile's role allows ssm:UpdateInstanceInformation but not all of the ssmmessages actions.",
		Fix:      "one source of credentials: allow the role all five session actions, or take ssm:UpdateInstanceInformation out of it; then restart the agent",
		Undo:     "take the actions out of the role again",
		Sources:  []string{"aws/amazon-ssm-agent, ec2_role_provider", "aws/amazon-ssm-agent issue 543", guide + "fleet-manager-default-host-management-configuration"},
		Breaks:   []Part{PartCredentials, PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "role-lacks-session-actions", Area: "identity", Severity: fleet.SeverityBlocks,
		Title:    "The role does not allow the session actions",
		Means:    "The agent's role must allow ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel, OpenControlChannel, CreateDataChannel and OpenDataChannel. A role that allows the first but not the others also keeps the agent from Default Host Management Configuration. A connected agent proves the first three; the data channel is opened only when a session starts, so a connected host can still fail here.",
		Detected: "The role's inline and attached policies, evaluated as IAM does: explicit Deny wins, wildcards, conditions and NotAction count. Its permissions boundary and the organization's policies have findings of their own.",
		Fix:      "change what is in the way: attach AmazonSSMManagedInstanceCore to a role whose policies do not allow the actions (add to what it has, do not replace it), or narrow an explicit Deny; then restart the agent",
		Undo:     "detach the policy from the role",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", iamBook + "reference_policies_evaluation-logic", guide + "fleet-manager-default-host-management-configuration"},
		Breaks:   []Part{PartCredentials, PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "role-unreadable", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "What the role allows could not be read",
		Means:    "The profile, the role, one of its policies or one of the organization's was not read, so whether it allows the session actions is not known. An open control channel does not settle it: the data channel needs permissions of its own.",
		Detected: "IAM or the organization did not answer, or a policy document was not understood. The evidence says which and why.",
		Fix:      "allow the inventory to read IAM (iam:GetAccountAuthorizationDetails, iam:ListInstanceProfiles) and take it again",
		Undo:     "take the permission away again",
		Sources:  []string{iamBook + "reference_policies_evaluation-logic"},
	}, {
		Code: "role-undecided", Area: "identity", Severity: fleet.SeverityUnknown,
		Title:    "Whether the role allows the session actions depends on conditions",
		Means:    "A condition or policy variable decides whose value is not known, or it is not clear which of two roles the agent uses.",
		Detected: "An Allow or Deny that concerns a session action carries a Condition or a policy variable on a key whose value is not known, such as the caller's address; or the policies and IAM's simulation differ.",
		Fix:      "prove it by opening a session, or allow the actions without a condition",
		Undo:     "put the condition back",
		Sources:  []string{iamBook + "reference_policies_elements_condition"},
	}, {
		Code: "default-role-runs-commands", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "Run Command works with the default role, not with the profile's",
		Means:    "Under Default Host Management Configuration the agent, and what it runs, calls AWS with the default role. Documents and associations that relied on what the profile's role may do are denied it.",
		Detected: "Systems Manager says that the agent runs under the default role, and the profile's role allows actions that the default role does not. Which documents call AWS is not seen.",
		Fix:      "look through the documents and associations that run here for calls to AWS; give the profile's role AmazonSSMManagedInstanceCore, so that the agent stays with it",
		Undo:     "detach the policy from the role",
		Sources:  []string{"aws/amazon-ssm-agent issue 610", guide + "fleet-manager-default-host-management-configuration"},
	}, {
		Code: "run-command-denied", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The role does not allow what Run Command needs",
		Means:    "Agents before 3.3.40.0 get their commands over ec2messages. Sessions work without it; updates of the agent by Run Command, and steps of this move that use it, do not.",
		Detected: "The agent's version, and the six ec2messages actions evaluated for its role.",
		Fix:      "allow the ec2messages actions, which AmazonSSMManagedInstanceCore has, or update the agent",
		Undo:     "detach the policy from the role",
		Sources:  []string{guide + "systems-manager-setting-up-messageAPIs", "AWS managed policy AmazonSSMManagedInstanceCore (v2)"},
	}, {
		Code: "state-manager-denied", Area: "identity", Severity: fleet.SeverityNote,
		Title:    "The role does not allow what associations need",
		Means:    "An association runs on the host and does not succeed. The role lacks actions by which the agent gets associations and reports on them.",
		Detected: "AssociationStatus in ssm:DescribeInstanceInformation is not Success, and the role is known not to be allowed actions of State Manager.",
		Fix:      "allow the actions, which AmazonSSMManagedInstanceCore has",
		Undo:     "detach the policy from the role",
		Sources:  []string{"AWS managed policy AmazonSSMManagedInstanceCore (v2)"},
	}}
}

// sharedRoleEntries are about roles and accounts rather than hosts.
func sharedRoleEntries() []Entry {
	return []Entry{{
		Code: "role-too-broad", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The role lets anyone on its hosts act on others",
		Means:    "Whoever runs code on one of the hosts can use the role. AmazonEC2RoleforSSM is to be retired and reads and writes every S3 object; ssm:SendCommand or ssm:StartSession on every resource is root on every managed host.",
		Detected: "AmazonEC2RoleforSSM or AdministratorAccess is attached, or the role may ssm:SendCommand, ssm:StartSession or iam:PassRole on \"*\". One finding for each role that hosts use.",
		Fix:      "put AmazonSSMManagedInstanceCore and what the application needs in its place, in that order: first add, then remove",
		Undo:     "attach the old policy again",
		Sources:  []string{guide + "security_iam_service-with-iam", "AWS managed policies AmazonEC2RoleforSSM (v8) and AmazonSSMManagedInstanceCore (v2)"},
	}, {
		Code: "role-serves-application", Area: "identity", Severity: fleet.SeverityNote,
		Title:    "A role that has to be changed serves an application",
		Means:    "Hosts of this role cannot serve sessions as it is, and the role allows actions of services that no agent uses: something else lives on it. Replacing the profile or its policies would break that; adding does not.",
		Detected: "The actions that the role's policies allow, and the instance profiles that hold it.",
		Fix:      "add AmazonSSMManagedInstanceCore to the role; do not replace the profile or its policies",
		Undo:     "detach the policy from the role",
		Sources:  []string{"AWS Cloud Operations blog, automate installing SSM Agent on unmanaged EC2 instances", guide + "setup-instance-permissions"},
	}, {
		Code: "agent-buckets-denied", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "The role is denied the buckets that agents update from",
		Means:    "Updates of the agent and modules of documents come from buckets of AWS, such as amazon-ssm-REGION. An explicit Deny on S3 that leaves out only the company's own buckets hits these as well.",
		Detected: "s3:GetObject on the buckets, evaluated for the role in the Regions of its hosts: an explicit Deny applies.",
		Fix:      "leave the buckets out of the Deny, for example by NotResource",
		Undo:     "put the Deny back as it was",
		Sources:  []string{guide + "ssm-agent-technical-details"},
	}, {
		Code: "simulation-disagreement", Area: "identity", Severity: fleet.SeverityRisk,
		Title:    "IAM's simulation differs from the policies that were read",
		Means:    "iam:SimulatePrincipalPolicy and the evaluation of the role's policies do not say the same. A policy may have changed between the two, or something decides that was not read, such as a policy of the organization. For these actions neither is believed.",
		Detected: "Each action that IAM was asked about for the role, on every resource, where IAM needed no further condition keys.",
		Fix:      "take the inventory again; if it stays, open a session on one of the hosts to see what holds",
		Undo:     "nothing to take back",
		Sources:  []string{iamBook + "access_policies_testing-policies", "IAM API Reference, API_EvaluationResult"},
	}, {
		Code: "controls-unread", Area: "identity", Severity: fleet.SeverityNote,
		Title:    "The organization's policies are not known",
		Means:    "Service control policies can deny what a role's own policies allow. They, or some of them, were not read, and no simulation told of them. A host that Systems Manager hears proves that they let it through; the others are judged without them. Where some were read and others were not, whether they let a session's data channel through stays open until a session is.",
		Detected: "organizations:ListPoliciesForTarget or DescribePolicy gave no answer, or one that is not understood, and iam:SimulatePrincipalPolicy told nothing of the organization.",
		Fix:      "allow the inventory to call iam:SimulatePrincipalPolicy, or to read the organization from its management account",
		Undo:     "take the permission away again",
		Sources:  []string{"AWS Organizations User Guide, orgs_manage_policies_scps"},
	}}
}
