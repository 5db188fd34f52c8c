package readiness

import "ssm-migrate/internal/fleet"

// wayEntries are the causes that lie on the way to the endpoints.
func wayEntries() []Entry {
	return append(append(hopEntries(), hostWayEntries()...), sharedWayEntries()...)
}

// hopEntries are the hops that stop a connection.
func hopEntries() []Entry {
	return []Entry{{
		Code: "endpoint-missing", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The VPC has no endpoint for Systems Manager, and no way to the internet",
		Means:    "The agent must reach ssm and ssmmessages. The VPC has no interface endpoint for the service, no zone leads to one elsewhere, and the route table has no way out.",
		Detected: "The VPC's endpoints, the answer of its resolver, and the route table of the host's subnet. Where routes lead on to networks that were not read, the way is \"unknown\" instead.",
		Fix:      "add interface endpoints for ssm and ssmmessages with private DNS, or a route to a NAT gateway",
		Undo:     "delete the endpoints or the route again",
		Sources:  []string{guide + "setup-create-vpc", guide + "fleet-manager-troubleshooting-managed-nodes", linkBook + "privatelink-access-aws-services"},
		Breaks:   eitherWay(),
	}, {
		Code: "endpoint-not-available", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The endpoint is not available",
		Means:    "The VPC has the endpoint, but it is not in the state available, or has no address of the kind that the host uses, and the host has no other way.",
		Detected: "The endpoint's state and addresses.",
		Fix:      "bring the endpoint into the state available, or create it anew",
		Undo:     "nothing to take back",
		Sources:  []string{linkBook + "privatelink-access-aws-services"},
		Breaks:   eitherWay(),
	}, {
		Code: "endpoint-group-closed", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The endpoint's security group does not let the host in",
		Means:    "The service's name leads to the endpoint for every host of the VPC, but the endpoint's security group does not admit this one on port 443.",
		Detected: "The union of the ingress rules of all groups of the endpoint (CIDR blocks, prefix lists, references to the host's groups) against the host's address and groups.",
		Fix:      "allow TCP 443 into the endpoint's security group from the host's security group or subnet",
		Undo:     "remove the added rule",
		Sources:  []string{guide + "setup-create-vpc", vpcBook + "vpc-security-groups", peerBook + "vpc-peering-security-groups"},
		Breaks:   eitherWay(),
	}, {
		Code: "group-egress-closed", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host's security groups do not let it out",
		Means:    "No rule of the host's security groups allows TCP 443 to where the service's name leads.",
		Detected: "The union of the egress rules of all groups of the primary interface (CIDR blocks of both families, prefix lists, references to the endpoint's groups). Groups only allow: one more group never narrows.",
		Fix:      "allow TCP 443 out of the host's security group to the endpoints",
		Undo:     "remove the added rule",
		Sources:  []string{guide + "setup-create-vpc", vpcBook + "vpc-security-groups"},
		Breaks:   eitherWay(),
	}, {
		Code: "acl-closed", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "A network ACL stops the connection",
		Means:    "A network ACL of the host's subnet, of the endpoint's or of the NAT gateway's denies the connection or its answers. Network ACLs keep no state: the ports to which answers return must be open too.",
		Detected: "The lowest-numbered entry that matches decides, in each direction: TCP 443 one way, the ephemeral ports (32768-60999 on Linux, 49152-65535 on Windows, 1024-65535 at a NAT gateway) the other way. Nothing is asked inside one subnet.",
		Fix:      "allow the ports in the network ACL with a lower number than the rule that denies them",
		Undo:     "remove the added entry",
		Sources:  []string{vpcBook + "vpc-network-acls", vpcBook + "custom-network-acl (ephemeral ports)", vpcBook + "nat-gateway-basics"},
		Breaks:   eitherWay(),
	}, {
		Code: "route-missing", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The route to Systems Manager is missing or dead",
		Means:    "The most specific route of the host's subnet ends in a blackhole, a detached gateway or a peering connection that carries no such traffic, or there is none.",
		Detected: "The subnet's own route table or the VPC's main one; the longest prefix wins, a static route before a prefix list's before a propagated one.",
		Fix:      "add a route to a NAT gateway, or interface endpoints with private DNS",
		Undo:     "delete the added route",
		Sources:  []string{vpcBook + "route-tables-priority", vpcBook + "VPC_Route_Tables", peerBook + "vpc-peering-basics"},
		Breaks:   eitherWay(),
	}, {
		Code: "no-public-address", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The route leads to an internet gateway, but the host has no public address",
		Means:    "An internet gateway serves only hosts with a public IPv4 address or an IPv6 one.",
		Detected: "The route of the host's subnet and the addresses of its primary interface.",
		Fix:      "route the subnet through a NAT gateway, add interface endpoints, or give the host a public address",
		Undo:     "take the route, the endpoints or the address back",
		Sources:  []string{vpcBook + "VPC_Internet_Gateway"},
		Breaks:   eitherWay(),
	}, {
		Code: "nat-broken", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The NAT gateway does not lead to the internet",
		Means:    "The host's route leads to a NAT gateway that is not available, or whose own subnet has no route to an internet gateway.",
		Detected: "The gateway's state, and the route table of its subnet.",
		Fix:      "replace the NAT gateway, or give its subnet a route to an internet gateway",
		Undo:     "lead the routes back",
		Sources:  []string{vpcBook + "vpc-nat-gateway", vpcBook + "nat-gateway-basics"},
		Breaks:   eitherWay(),
	}, {
		Code: "peering-broken", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The peering connection does not lead to the endpoint and back",
		Means:    "The name leads to an endpoint in another VPC. The peering connection is not active, leads to a third VPC, or the endpoint's subnet has no route back.",
		Detected: "The connection's state and ends, and the route tables of both subnets. Peering carries nothing on to a third VPC or a gateway.",
		Fix:      "accept the connection, peer the VPCs directly, or add the route back",
		Undo:     "delete the added route or connection",
		Sources:  []string{peerBook + "vpc-peering-basics", peerBook + "vpc-peering-routing"},
		Breaks:   eitherWay(),
	}, {
		Code: "firewall-drops", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "What the route leads through drops the connection",
		Means:    "The way to Systems Manager leads through a firewall, an appliance or a transit gateway, and the host's connections do not come through. Once SSH is closed nobody could reach the host to repair it.",
		Detected: "The most specific route leads to a firewall endpoint, network interface, transit or virtual private gateway whose rules are not listed, everything before it is open, and the host's own test of the connection fails.",
		Fix:      "let TCP 443 to ssm and ssmmessages pass, or add interface endpoints off the firewall's path",
		Undo:     "take the rule or the endpoints back",
		Sources:  []string{"PaloAltoNetworks/lab-aws-gwlb-vmseries issue 60", vpcBook + "route-tables-priority", guide + "setup-create-vpc"},
		Breaks:   eitherWay(),
	}}
}

// hostWayEntries are the causes that concern how a host or its agent connects.
func hostWayEntries() []Entry {
	return []Entry{{
		Code: "ipv6-only", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host has IPv6 only, and its agent asks for IPv4 endpoints",
		Means:    "The default endpoints have IPv4 addresses only. The agent does not find out by itself that it needs the dual-stack ones.",
		Detected: "The primary interface has no IPv4 address; the agent is older than 3.3.3270.0, or UseDualStackEndpoint is not set in amazon-ssm-agent.json. A subnet that routes 64:ff9b::/96 to a NAT gateway may have DNS64: unknown.",
		Fix:      "update the agent to 3.3.3270.0 or later and set UseDualStackEndpoint, or give the host an IPv4 address",
		Undo:     "take the setting out again and restart the agent",
		Sources:  []string{"amazon-ssm-agent release 3.3.3270.0", "aws/amazon-ecs-agent issue 4708", vpcBook + "nat-gateway-nat64-dns64"},
		Breaks:   eitherWay(),
	}, {
		Code: "tls-intercepted", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "TLS to Systems Manager is intercepted",
		Means:    "A firewall or proxy answers in place of AWS with certificates of its own, which the agent does not trust: \"x509: certificate signed by unknown authority\".",
		Detected: "The host's own test reached the endpoint, the certificate did not verify, and its issuer is not Amazon.",
		Fix:      "exempt the Systems Manager endpoints from TLS inspection",
		Undo:     "take the exemption back",
		Sources:  []string{"aws/amazon-ssm-agent issue 195", guide + "troubleshooting-ssm-agent"},
		Breaks:   []Part{PartTrust},
	}, {
		Code: "root-ca-missing", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host does not trust Amazon's certificates",
		Means:    "The agent needs Amazon Root CA 1, Starfield Services Root Certificate Authority G2 or Starfield Class 2 in the host's trust store.",
		Detected: "The certificate did not verify in the host's own test, nothing shows an issuer other than Amazon, and Amazon Root CA 1 is not in the trust store.",
		Fix:      "install or update the distribution's ca-certificates package, or add Amazon Root CA 1 to the trust store, and restart the agent",
		Undo:     "remove the added certificate",
		Sources:  []string{guide + "ssm-agent-technical-details"},
		Breaks:   []Part{PartTrust},
	}, {
		Code: "proxy-missing", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The agent lacks the proxy that its neighbours use",
		Means:    "The host has no direct way to Systems Manager. Other hosts of the VPC get there through a proxy; this host's agent is not set to use it.",
		Detected: "The way is closed, the agent's unit has no proxy settings, and an agent of the same VPC that is heard has them.",
		Fix:      "give the agent's unit a drop-in with http_proxy, https_proxy and no_proxy=169.254.169.254, and restart the agent",
		Undo:     "remove the drop-in and restart the agent",
		Sources:  []string{guide + "configure-proxy-ssm-agent", "aws/amazon-ssm-agent issue 134"},
		Breaks:   eitherWay(),
	}, {
		Code: "proxy-fails", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The agent's proxy does not let it through",
		Means:    "The agent connects through a proxy, its log tells of failures there, and Systems Manager does not hear it.",
		Detected: "The unit's https_proxy, and the end of the agent's log.",
		Fix:      "let the proxy pass ssm and ssmmessages (CONNECT to port 443 and long-lived WebSockets), or correct the proxy's address in the agent's unit",
		Undo:     "take the proxy's rule or the setting back",
		Sources:  []string{guide + "configure-proxy-ssm-agent"},
		Breaks:   eitherWay(),
	}, {
		Code: "proxy-answers-metadata", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "A proxy stands between the agent and the metadata service",
		Means:    "The agent asks 169.254.169.254 for its identity and credentials. Through a proxy it gets the proxy's answer, or the proxy's own host's.",
		Detected: "The unit's http_proxy is set and its no_proxy does not exempt 169.254.169.254, or another server than EC2ws answered there; Systems Manager does not hear the agent.",
		Fix:      "add 169.254.169.254 to no_proxy of the agent's unit and restart the agent",
		Undo:     "take the address out of no_proxy again and restart the agent",
		Sources:  []string{guide + "configure-proxy-ssm-agent", "aws/amazon-ssm-agent issue 134"},
		Breaks:   []Part{PartMetadata},
	}, {
		Code: "channel-stale", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The agent's control channel has died unnoticed",
		Means:    "The agent reports and nothing is in its way, but it holds no control channel: StartSession answers TargetNotConnected. A change of the NAT gateway or of another hop that keeps connections leaves agents so.",
		Detected: "PingStatus is Online, the connection status is notconnected, the way to ssmmessages is open by static analysis or the host's own test, and nothing else on the host explains it.",
		Fix:      "restart the agent, by Run Command (AWS-RunShellScript: systemctl restart amazon-ssm-agent) while it still takes commands, or over SSH",
		Undo:     "nothing to take back",
		Sources:  []string{"aws/amazon-ssm-agent issue 266"},
		Breaks:   []Part{PartChannel},
	}}
}

// sharedWayEntries are about endpoints that many hosts share, and about what
// sessions need beyond Systems Manager.
func sharedWayEntries() []Entry {
	return []Entry{{
		Code: "session-target-no-path", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host does not reach what the session preferences name",
		Means:    "The preferences send session logs to S3 or CloudWatch Logs, or encrypt sessions with a KMS key. Without a way there the session opens to a blank screen or not at all.",
		Detected: "The way to s3, logs or kms, computed like that to Systems Manager: gateway endpoints with the routes of their prefix lists, interface endpoints with their policies, or the internet; or the host's own test.",
		Fix:      "add a gateway endpoint for S3 or interface endpoints for logs and kms, or a route to a NAT gateway",
		Undo:     "remove what was added",
		Sources:  []string{guide + "session-manager-troubleshooting", guide + "session-manager-logging", linkBook + "gateway-endpoints"},
		Breaks:   []Part{PartSession},
		Shows:    []Part{PartNames, PartSSM, PartTrust},
	}, {
		Code: "session-target-undecided", Area: "network", Severity: fleet.SeverityUnknown,
		Title:    "Whether the host reaches what a shell does not open without is not known",
		Means:    "The preferences encrypt sessions with a KMS key, or demand that their logs are encrypted, and the agent refuses a shell when it cannot use the key or see the encryption. Whether the way there is open is not known; the agent's own connection does not prove it.",
		Detected: "Static analysis of the way to kms, or to the s3 or logs of which encryption is demanded, ends in doubt, there is no test of it, and no shell is open.",
		Fix:      "prove the host by opening a session, or give the probe access to the host, which tests the way itself, or allow the inventory to read what is missing",
		Undo:     "take the access or the permission away again",
		Sources:  []string{guide + "session-manager-troubleshooting", guide + "session-preferences-enable-encryption", "aws/amazon-ssm-agent, session shell plugin"},
	}, {
		Code: "session-target-unproved", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "Whether the host reaches the place for session logs is not known",
		Means:    "Sessions open, but their logs may be lost. The agent's own connection does not prove this way.",
		Detected: "Static analysis of the way to s3 or logs, of which no encryption is demanded, ends in doubt, and there is no test of it.",
		Fix:      "start a session on one such host and look for its log before the move",
		Undo:     "nothing to take back",
		Sources:  []string{guide + "session-manager-troubleshooting"},
	}, {
		Code: "endpoint-shuts-out-neighbours", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "The endpoint answers for the whole VPC, but does not let all of it in",
		Means:    "With private DNS every host of the VPC connects to the endpoint. Hosts that its security group does not admit lose Systems Manager, though they reached it over the internet before.",
		Detected: "The endpoint's ingress rules against every running host of its VPC: some are let in or still heard, others are not let in.",
		Fix:      "allow TCP 443 into the endpoint's security group from every subnet of the VPC",
		Undo:     "remove the added rule",
		Sources:  []string{"zscaler/terraform-aws-cloud-connector-modules issue 83", linkBook + "privatelink-access-aws-services", guide + "setup-create-vpc"},
	}, {
		Code: "endpoint-policy-denies-buckets", Area: "network", Severity: fleet.SeverityRisk,
		Title:    "The S3 endpoint's policy refuses the agent's buckets",
		Means:    "Sessions work, but agents cannot read AWS's own buckets: updates of the agent, documents' modules, Distributor and patching fail. IAM's policy simulation does not see this.",
		Detected: "The policy of the VPC's S3 endpoint does not allow s3:GetObject on the buckets that AWS lists for the Region.",
		Fix:      "allow s3:GetObject on the agent's buckets in the endpoint's policy",
		Undo:     "put the former policy document back",
		Sources:  []string{guide + "ssm-agent-technical-details", guide + "setup-create-vpc"},
	}}
}
