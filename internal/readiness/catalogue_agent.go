package readiness

import "ssm-migrate/internal/fleet"

const updateAgent = "update the agent with Run Command AWS-UpdateSSMAgent, or with the package manager it came from (snap agents with snap: the two together break it)"

func agentEntries() []Entry {
	return []Entry{{
		Code: "agent-missing", Area: "agent", Severity: fleet.SeverityBlocks,
		Title:    "No SSM Agent is installed",
		Means:    "Without the agent there is nothing for Session Manager to talk to.",
		Detected: "The probe found no agent in any of the places where packages put it, and Systems Manager does not hear one.",
		Fix:      "install the agent from the Region's bucket or the distribution's package, enable it and start it",
		Undo:     "remove the package",
		Sources:  []string{guide + "manually-install-ssm-agent-linux", guide + "ami-preinstalled-agent"},
		Breaks:   []Part{PartAgent},
	}, {
		Code: "agent-stopped", Area: "agent", Severity: fleet.SeverityBlocks,
		Title:    "The SSM Agent does not run",
		Means:    "The agent is installed, but its service is stopped, failed or starts over and over.",
		Detected: "systemd's ActiveState of the agent's unit on the host, and Systems Manager does not hear it.",
		Fix:      "start and enable the service (amazon-ssm-agent; for the snap snap.amazon-ssm-agent.amazon-ssm-agent), and find out who stopped it",
		Undo:     "stop and disable the service",
		Sources:  []string{guide + "ssm-agent-status-and-restart", "aws/amazon-ssm-agent issue 617"},
		Breaks:   []Part{PartAgent},
		Shows:    []Part{PartAgent},
	}, {
		Code: "agent-too-old", Area: "agent", Severity: fleet.SeverityBlocks,
		Title:    "The agent is older than Session Manager",
		Means:    "Session Manager needs agent 2.3.68.0.",
		Detected: "The version that Systems Manager lists while it hears the agent, else the version on the host.",
		Fix:      updateAgent,
		Undo:     "AWS-UpdateSSMAgent with the former version and allowDowngrade",
		Sources:  []string{guide + "session-manager-prerequisites", "amazon-ssm-agent release notes, 2.3.68.0"},
		Breaks:   []Part{PartChannel, PartSession},
	}, {
		Code: "agent-below-functional-floor", Area: "agent", Severity: fleet.SeverityBlocks,
		Title:    "The agent is below the functional floor",
		Means:    "A shell may open, but what people did over SSH will not all work: the default floor 3.1.1374.0 is the first with port forwarding to remote hosts; SSH and port forwarding came with 3.0.222.0.",
		Detected: "The version that Systems Manager lists while it hears the agent, else the version on the host, against the policy's functional floor.",
		Fix:      updateAgent,
		Undo:     "AWS-UpdateSSMAgent with the former version and allowDowngrade",
		Sources:  []string{guide + "session-manager-working-with-sessions-start", "aws/amazon-ssm-agent issue 478", "the readiness policy"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "agent-version-unknown", Area: "agent", Severity: fleet.SeverityUnknown,
		Title:    "The agent's version is not known",
		Means:    "An agent is there, but whether it is new enough is not known.",
		Detected: "Neither Systems Manager nor the host gave a version that can be read.",
		Fix:      "run amazon-ssm-agent -version on the host; reinstall an agent that cannot tell",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "ssm-agent-get-version"},
	}, {
		Code: "agent-below-security-floor", Area: "agent", Severity: fleet.SeverityRisk,
		Title:    "The agent has a known vulnerability",
		Means:    "Before 3.3.4851.0 a session user can make the agent forward to link-local addresses and so take the host role's credentials (CVE-2026-89049). From that version on, forwarding to a remote host refuses localhost: use AWS-StartPortForwardingSession for local ports.",
		Detected: "The agent's version against the policy's security floor. Systems Manager's \"latest version\" flag is not used; it says nothing about security.",
		Fix:      updateAgent + "; the snap's stable channel lags behind",
		Undo:     "AWS-UpdateSSMAgent with the former version and allowDowngrade",
		Sources:  []string{"CVE-2026-89049, GHSA-w9jw-h72g-6hxc, AWS bulletin 2026-107-AWS", "aws/amazon-ssm-agent issue 680"},
	}, {
		Code: "agent-not-enabled", Area: "agent", Severity: fleet.SeverityRisk,
		Title:    "The agent will not start at boot",
		Means:    "Session Manager is lost with the next reboot.",
		Detected: "systemd's UnitFileState of the agent's unit is disabled, masked, or enabled only until the next boot.",
		Fix:      "systemctl enable the agent's unit, and look for the hardening or patch job that disabled it",
		Undo:     "systemctl disable the unit",
		Sources:  []string{guide + "ssm-agent-status-and-restart", "aws/amazon-ssm-agent issue 617"},
	}, {
		Code: "agent-disagreement", Area: "agent", Severity: fleet.SeverityRisk,
		Title:    "Systems Manager hears an agent that the host does not show",
		Means:    "Systems Manager was believed. The agent may run outside of its package (in a container, by hand) or have stopped between the two looks.",
		Detected: "PingStatus is Online, while the probe found no agent or a stopped unit.",
		Fix:      "take the inventory again; find out how the agent is started, and let the package's service do it",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "ssm-agent-status-and-restart"},
	}, {
		Code: "agent-version-disagreement", Area: "agent", Severity: fleet.SeverityNote,
		Title:    "The running agent is not the installed one",
		Means:    "Most often an update waits for a restart. The running version was judged.",
		Detected: "The version that Systems Manager lists differs from the one installed on the host.",
		Fix:      "restart the agent",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "ssm-agent-status-and-restart"},
	}}
}

func nodeEntries() []Entry {
	return []Entry{{
		Code: "node-unknown", Area: "node", Severity: fleet.SeverityUnknown,
		Title:    "Whether the host is a managed node is not known",
		Means:    "Systems Manager did not answer, its list broke off, or its answer was not understood.",
		Detected: "ssm:DescribeInstanceInformation. An instance that an incomplete list leaves out may be a managed node.",
		Fix:      "allow the inventory ssm:DescribeInstanceInformation and take it again",
		Undo:     "take the permission away again",
		Sources:  []string{"AWS Systems Manager API Reference, DescribeInstanceInformation"},
	}, {
		Code: "connection-unknown", Area: "node", Severity: fleet.SeverityUnknown,
		Title:    "Whether the agent holds its control channel is not known",
		Means:    "The heartbeat arrives over ssm; sessions need ssmmessages, and only the connection status tells about it.",
		Detected: "PingStatus is Online; ssm:GetConnectionStatus gave no answer.",
		Fix:      "allow the inventory ssm:GetConnectionStatus and take it again",
		Undo:     "take the permission away again",
		Sources:  []string{"AWS Systems Manager API Reference, GetConnectionStatus"},
	}, {
		Code: "node-disagreement", Area: "node", Severity: fleet.SeverityUnknown,
		Title:    "Systems Manager contradicts itself about the host",
		Means:    "The heartbeat is lost, yet the control channel is open. A session may or may not open.",
		Detected: "PingStatus is not Online, while ssm:GetConnectionStatus says connected.",
		Fix:      "take the inventory again; if it stays, restart the agent",
		Undo:     "nothing to take back",
		Sources:  []string{"AWS Systems Manager API Reference, DescribeInstanceInformation and GetConnectionStatus"},
	}, {
		Code: "node-not-registered", Area: "node", Severity: fleet.SeverityBlocks,
		Title:    "Systems Manager does not know the host",
		Means:    "A symptom: the agent never reached Systems Manager, or not for 30 days. It is named as the cause only when nothing known explains it.",
		Detected: "ssm:DescribeInstanceInformation answered in full and does not list the instance.",
		Fix:      "look at the findings about identity, network and agent; after a repair restart the agent, or wait an hour before calling it failed",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "fleet-manager-troubleshooting-managed-nodes"},
		Breaks:   []Part{PartHeartbeat},
		Shows:    []Part{PartHeartbeat},
	}, {
		Code: "node-connection-lost", Area: "node", Severity: fleet.SeverityBlocks,
		Title:    "The agent has stopped reporting",
		Means:    "A symptom: the agent reached Systems Manager once and does no more.",
		Detected: "PingStatus is ConnectionLost (or the retired Inactive).",
		Fix:      "look at the findings about identity, network and agent; restart the agent",
		Undo:     "nothing to take back",
		Sources:  []string{"AWS Systems Manager API Reference, InstanceInformation", guide + "fleet-manager-troubleshooting-managed-nodes"},
		Breaks:   []Part{PartHeartbeat},
		Shows:    []Part{PartHeartbeat},
	}, {
		Code: "node-not-connected", Area: "node", Severity: fleet.SeverityBlocks,
		Title:    "The agent reports, but holds no control channel",
		Means:    "A symptom: the path to ssmmessages or the permission for it is missing, or the agent hangs after a change of network. StartSession answers TargetNotConnected.",
		Detected: "PingStatus is Online, while ssm:GetConnectionStatus says notconnected.",
		Fix:      "look at the findings about ssmmessages; restart the agent, by Run Command if it still takes it",
		Undo:     "nothing to take back",
		Sources:  []string{"AWS Systems Manager API Reference, GetConnectionStatus", "aws/amazon-ssm-agent issue 266"},
		Breaks:   []Part{PartChannel},
		Shows:    []Part{PartChannel},
	}}
}
