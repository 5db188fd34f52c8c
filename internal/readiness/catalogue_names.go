package readiness

import "ssm-migrate/internal/fleet"

const (
	linkBook  = "AWS PrivateLink Guide, "
	zoneBook  = "Amazon Route 53 Developer Guide, "
	peerBook  = "Amazon VPC Peering Guide, "
	conflicts = "https://dev.classmethod.jp/articles/when-creating-a-vpc-endpoint-a-conflict-occurs-what-is-the-problem/"
)

// eitherWay are the parts that a stop on the way may break; a finding says
// which of the two it does.
func eitherWay() []Part { return []Part{PartSSM, PartMessages} }

// nameEntries are the causes that lie in what the endpoints' names give.
func nameEntries() []Entry {
	return []Entry{{
		Code: "dns-off", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "A DNS attribute of the VPC is off",
		Means:    "Without enableDnsSupport the VPC's resolver answers nothing; without enableDnsHostnames the private DNS of interface endpoints and private hosted zones have no effect, and names give public addresses that the hosts may not reach.",
		Detected: "The VPC's attributes, where its DHCP options name Amazon's name servers. enableDnsHostnames counts only where the VPC has an endpoint whose private DNS it silences and the public addresses are out of reach.",
		Fix:      "set the attribute that is off, enableDnsSupport or enableDnsHostnames, to true on the VPC",
		Undo:     "set the attribute back to false",
		Sources:  []string{vpcBook + "vpc-dns", linkBook + "privatelink-access-aws-services (private DNS)", zoneBook + "hosted-zone-private-considerations"},
		Breaks:   eitherWay(),
	}, {
		Code: "dns-split", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "One service's name leads to an endpoint, the other's to the internet",
		Means:    "Of ssm and ssmmessages one name gives an endpoint's addresses and the other public ones, which the host does not reach: the agent reports, but no session opens, or the other way round.",
		Detected: "Name resolution as computed (private DNS of endpoints, private hosted zones of the VPC), or the host's own answers: one leads to an endpoint, the other does not though its endpoint is there.",
		Fix:      "turn on private DNS of the other endpoint, or associate the private hosted zone of its name with the VPC",
		Undo:     "turn private DNS off again, or end the zone's association",
		Sources:  []string{"ministryofjustice/modernisation-platform issue 13725", zoneBook + "hosted-zone-private-considerations", guide + "setup-create-vpc"},
		Breaks:   eitherWay(),
	}, {
		Code: "dns-zone-conflict", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "A private hosted zone answers for the service's name and leads nowhere",
		Means:    "The zone bears the service's own name and wins over public DNS. It has no record, or one that leads to addresses which no endpoint has. While it is associated, EC2 refuses private DNS of a new endpoint (\"conflicting DNS domain\").",
		Detected: "The zones associated with the VPC, their records, and the addresses of all endpoints of the VPCs in which the records' addresses lie.",
		Fix:      "make the record an alias of a working endpoint, or end the association and then turn on the endpoint's private DNS",
		Undo:     "put the former records back and associate the zone again",
		Sources:  []string{zoneBook + "hosted-zone-private-considerations", conflicts},
		Breaks:   eitherWay(),
	}, {
		Code: "dns-zone-hides", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "A private hosted zone hides the service's public name",
		Means:    "A zone for a parent domain, such as amazonaws.com, is associated with the VPC and has no record for the service. Resolver answers NXDOMAIN and asks nobody else.",
		Detected: "The zone with the most specific domain among those associated with the VPC; an endpoint's private DNS is more specific and would win, and so would a Resolver rule that forwards the same or a longer domain.",
		Fix:      "add the record, or create the interface endpoint with private DNS, or end the zone's association",
		Undo:     "take the record or the endpoint back, or associate the zone again",
		Sources:  []string{zoneBook + "hosted-zone-private-considerations", zoneBook + "resolver-overview-forward-vpc-to-network-autodefined-rules"},
		Breaks:   eitherWay(),
	}, {
		Code: "dns-custom-resolver", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The VPC's own name servers do not know the endpoints",
		Means:    "Hosts ask name servers of yours, by DHCP options or by a Resolver rule, and those do not resolve the service's name, or give public addresses that are out of reach while an endpoint is there.",
		Detected: "DHCP options or a Resolver rule (the most specific domain; FORWARD wins over a private zone of the same domain) send the name to other name servers, and the host's own test shows what they answer. Without a test the way is \"unknown\".",
		Fix:      "make the name servers forward amazonaws.com to the VPC's resolver",
		Undo:     "take the forwarder or the rule back",
		Sources:  []string{zoneBook + "hosted-zone-private-considerations (custom DNS servers)", zoneBook + "resolver-overview-forward-vpc-to-network-domain-name-matches", guide + "setup-create-vpc"},
		Breaks:   eitherWay(),
	}, {
		Code: "dns-answer-differs", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The host resolves the service's name otherwise than its VPC",
		Means:    "The VPC's resolver leads to an endpoint, but the host got other addresses, and does not reach them: name servers of its own in /etc/resolv.conf, or an entry in /etc/hosts.",
		Detected: "The answer that the probe saw against the addresses of the endpoint that static analysis expects; the connection failed.",
		Fix:      "make the host ask its VPC's resolver",
		Undo:     "put the host's own name servers or hosts entry back",
		Sources:  []string{vpcBook + "vpc-dns", guide + "setup-create-vpc"},
		Breaks:   eitherWay(),
	}, {
		Code: "private-dns-off", Area: "network", Severity: fleet.SeverityBlocks,
		Title:    "The endpoint's private DNS is off",
		Means:    "The VPC has an interface endpoint, but the service's name still gives public addresses, which the host does not reach.",
		Detected: "The endpoint's setting; no private hosted zone that was listed answers for the name instead (those of other accounts cannot be seen), and the way to the internet is closed. Where zones were not read, the way is \"unknown\", unless the host itself was seen to get public addresses.",
		Fix:      "turn on private DNS of the endpoint, after opening its security group to every host of the VPC",
		Undo:     "turn private DNS off again",
		Sources:  []string{linkBook + "privatelink-access-aws-services (private DNS)", guide + "setup-create-vpc"},
		Breaks:   eitherWay(),
	}}
}
