package readiness

import "ssm-migrate/internal/fleet"

func networkEntries() []Entry {
	return append(append(nameEntries(), wayEntries()...), egressEntries()...)
}

// egressEntries are what the comparison of static analysis, the host's test
// and Systems Manager gives, and the clock.
func egressEntries() []Entry {
	return []Entry{{
		Code: "endpoint-policy-denies", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The VPC endpoint's policy refuses the agent",
		Means:    "The endpoint lets the connection through but not the agent's calls. IAM's policy simulation does not see this.",
		Detected: "The endpoint's policy document does not allow a session action to any caller, or denies it. Conditions whose values are not known and named principals count as \"may\". Of a connected host only an open session proves that the data channel is let through.",
		Fix:      "allow the session actions in the endpoint's policy",
		Undo:     "put the former policy document back",
		Sources:  []string{guide + "setup-create-vpc", "AWS PrivateLink Guide, vpc-endpoints-access"},
		Breaks:   []Part{PartHeartbeat, PartChannel, PartSession},
	}, {
		Code: "endpoint-policy-undecided", Area: "network", Severity: fleet.SeverityUnknown,
		Title:    "Whether the VPC endpoint's policy lets sessions through is not known",
		Means:    "The agent's control channel is open, but a session opens a data channel by actions of its own. Whether the endpoint's policy allows those depends on conditions or on who calls, or it is not known whether the host goes by the endpoint, or by any. IAM's policy simulation does not see this.",
		Detected: "The host is connected and no session to it is open. The endpoint's policy document allows or denies ssmmessages:CreateDataChannel or OpenDataChannel under a condition whose value is not known, or to named principals; or it refuses them, and the way there is not known to be open or the policy refuses the control channel as well; or the Region's endpoints were not read.",
		Fix:      "prove it by opening a session on the host, or allow the session actions in the endpoint's policy without a condition, or allow the inventory to call ec2:DescribeVpcEndpoints",
		Undo:     "put the former policy document back",
		Sources:  []string{guide + "setup-create-vpc", "AWS PrivateLink Guide, vpc-endpoints-access"},
	}, {
		Code: "egress-test-failed", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host itself does not reach Systems Manager",
		Means:    "The host's own test of an endpoint failed: the name does not resolve, the connection does not open, or the certificate does not verify, as behind a proxy that inspects TLS.",
		Detected: "The probe resolved the name, connected to port 443 and verified the certificate with the host's own trust store.",
		Fix:      "by stage: name resolution (VPC DNS, forwarders for amazonaws.com), path (security groups, network ACLs, routes, firewalls), or certificate (exempt the Systems Manager endpoints from TLS inspection, or update the host's trust store)",
		Undo:     "take the change of DNS, path or proxy back",
		Sources:  []string{guide + "troubleshooting-ssm-agent", guide + "ssm-agent-technical-details", "aws/amazon-ssm-agent issue 195"},
		Breaks:   []Part{PartNames, PartSSM, PartMessages, PartTrust},
		Shows:    []Part{PartNames, PartSSM, PartMessages, PartTrust},
	}, {
		Code: "egress-unknown", Area: "network", Severity: fleet.SeverityUnknown,
		Title:    "Whether the host reaches Systems Manager is not known",
		Means:    "The way leads through something that is not followed, or that could not be read, and the host did not test it itself.",
		Detected: "Static analysis ends in doubt, there is no live test, and no heartbeat or control channel proves the path. The evidence names the hop.",
		Fix:      "give the probe access to the host, which tests the path itself, or allow the inventory to read what is missing",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "setup-create-vpc"},
	}, {
		Code: "egress-disagreement", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "Static analysis, the host's test and Systems Manager disagree about the path",
		Means:    "One of them is wrong or out of date. The stronger evidence was believed: an open control channel before the host's own test before static analysis. A proxy, a private hosted zone or a change during the inventory explains most cases. A host that works for reasons that nobody sees may stop for reasons that nobody sees.",
		Detected: "Two of the three give opposite answers for ssm or ssmmessages; or the policy of the endpoint that a connected host uses does not allow a session action.",
		Fix:      "find out which is right before the move: take the inventory again, then look at the named hop, the host's proxy settings and its name resolution",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "configure-proxy-ssm-agent", guide + "setup-create-vpc"},
	}, {
		Code: "egress-ec2messages", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "Run Command cannot reach this old agent",
		Means:    "Agents before 3.3.40.0 get Run Command over ec2messages. Sessions work without it; updating the agent by Run Command may not.",
		Detected: "The agent is older than 3.3.40.0, the Region has an ec2messages endpoint (it was launched before 2024), and the host's test or static analysis shows no path to it.",
		Fix:      "update the agent on the host, or give the host a path to ec2messages",
		Undo:     "remove the path again",
		Sources:  []string{guide + "systems-manager-setting-up-messageAPIs"},
	}, {
		Code: "clock-skew", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host's clock is wrong",
		Means:    "AWS refuses requests whose signature is more than 5 minutes off, so the agent's calls fail.",
		Detected: "The host's time in the probe differs from the collector's by more than the policy allows, and Systems Manager does not hear the agent.",
		Fix:      "synchronise the clock (chrony with 169.254.169.123)",
		Undo:     "nothing to take back",
		Sources:  []string{"AWS General Reference, Signature Version 4", "aws/amazon-ecs-agent issue 1513", ec2Book + "set-time"},
		Breaks:   []Part{PartHeartbeat, PartChannel},
	}, {
		Code: "clock-skew-connected", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "The host's clock is wrong, though the agent is heard",
		Means:    "The agent corrects for it or the clock jumped lately. Certificates, logs and timers on the host are still wrong.",
		Detected: "As clock-skew, but Systems Manager hears the agent.",
		Fix:      "synchronise the clock (chrony with 169.254.169.123)",
		Undo:     "nothing to take back",
		Sources:  []string{"AWS General Reference, Signature Version 4", ec2Book + "set-time"},
	}}
}
