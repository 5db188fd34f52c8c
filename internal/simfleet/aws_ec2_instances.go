package simfleet

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

var ec2Operations = map[string]operation{
	"DescribeInstances":                      describeInstances,
	"DescribeInstanceStatus":                 describeInstanceStatus,
	"DescribeIamInstanceProfileAssociations": describeProfileAssociations,
	"GetConsoleOutput":                       getConsoleOutput,
	"DescribeImages":                         describeImages,
	"DescribeRegions":                        describeRegions,
	"DescribeKeyPairs":                       describeKeyPairs,
	"DescribeLaunchTemplates":                describeLaunchTemplates,
	"DescribeLaunchTemplateVersions":         describeTemplateVersions,
	"DescribeVpcs":                           describeVPCs,
	"DescribeVpcAttribute":                   describeVPCAttribute,
	"DescribeSubnets":                        describeSubnets,
	"DescribeRouteTables":                    describeRouteTables,
	"DescribeSecurityGroups":                 describeSecurityGroups,
	"DescribeSecurityGroupRules":             describeSecurityGroupRules,
	"DescribeNetworkAcls":                    describeNetworkACLs,
	"DescribeVpcEndpoints":                   describeEndpoints,
	"DescribeInternetGateways":               describeInternetGateways,
	"DescribeNatGateways":                    describeNATGateways,
	"DescribeManagedPrefixLists":             describePrefixLists,
	"GetManagedPrefixListEntries":            prefixListEntries,
	"DescribeDhcpOptions":                    describeDHCPOptions,
	"DescribeNetworkInterfaces":              describeInterfaces,
	"DescribeVpcPeeringConnections":          describePeerings,
	"DescribeInstanceConnectEndpoints":       describeConnectEndpoints,
	"GetSerialConsoleAccessStatus":           serialConsoleStatus,
}

// stateCodes are EC2's numbers for instance states.
var stateCodes = map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

type xmlState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

type xmlGroup struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type xmlProfile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type xmlAssociation struct {
	IP    string `xml:"publicIp"`
	DNS   string `xml:"publicDnsName"`
	Owner string `xml:"ipOwnerId"`
}

type xmlPrivateIP struct {
	IP          string          `xml:"privateIpAddress"`
	Primary     bool            `xml:"primary"`
	Association *xmlAssociation `xml:"association"`
}

type xmlIPv6 struct {
	IP string `xml:"ipv6Address"`
}

type xmlAttachment struct {
	ID     string `xml:"attachmentId"`
	Index  int    `xml:"deviceIndex"`
	Status string `xml:"status"`
	Time   string `xml:"attachTime"`
	Delete bool   `xml:"deleteOnTermination"`
	Owner  string `xml:"instanceOwnerId,omitempty"`
	Host   string `xml:"instanceId,omitempty"`
}

type xmlInterface struct {
	ID          string                `xml:"networkInterfaceId"`
	Subnet      string                `xml:"subnetId"`
	VPC         string                `xml:"vpcId"`
	AZ          string                `xml:"availabilityZone,omitempty"`
	Description string                `xml:"description"`
	Owner       string                `xml:"ownerId"`
	Status      string                `xml:"status"`
	Type        string                `xml:"interfaceType"`
	MAC         string                `xml:"macAddress"`
	PrivateIP   string                `xml:"privateIpAddress"`
	Groups      itemSet[xmlGroup]     `xml:"groupSet"`
	Attachment  *xmlAttachment        `xml:"attachment"`
	Association *xmlAssociation       `xml:"association"`
	PrivateIPs  itemSet[xmlPrivateIP] `xml:"privateIpAddressesSet"`
	IPv6        itemSet[xmlIPv6]      `xml:"ipv6AddressesSet"`
}

type xmlMetadata struct {
	State    string `xml:"state,omitempty"`
	Tokens   string `xml:"httpTokens"`
	HopLimit int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
}

type xmlPlacement struct {
	AZ      string `xml:"availabilityZone"`
	Tenancy string `xml:"tenancy"`
}

type xmlInstance struct {
	ID              string                `xml:"instanceId"`
	ImageID         string                `xml:"imageId"`
	State           xmlState              `xml:"instanceState"`
	PrivateDNS      string                `xml:"privateDnsName"`
	PublicDNS       string                `xml:"dnsName"`
	KeyName         string                `xml:"keyName,omitempty"`
	LaunchIndex     int                   `xml:"amiLaunchIndex"`
	Type            string                `xml:"instanceType"`
	LaunchTime      string                `xml:"launchTime"`
	Placement       xmlPlacement          `xml:"placement"`
	Platform        string                `xml:"platform,omitempty"`
	PlatformDetails string                `xml:"platformDetails"`
	Subnet          string                `xml:"subnetId"`
	VPC             string                `xml:"vpcId"`
	PrivateIP       string                `xml:"privateIpAddress,omitempty"`
	PublicIP        string                `xml:"ipAddress,omitempty"`
	Groups          itemSet[xmlGroup]     `xml:"groupSet"`
	Architecture    string                `xml:"architecture"`
	RootType        string                `xml:"rootDeviceType"`
	RootName        string                `xml:"rootDeviceName"`
	Virtualization  string                `xml:"virtualizationType"`
	Hypervisor      string                `xml:"hypervisor"`
	Tags            itemSet[tag]          `xml:"tagSet"`
	Interfaces      itemSet[xmlInterface] `xml:"networkInterfaceSet"`
	Profile         *xmlProfile           `xml:"iamInstanceProfile"`
	Metadata        xmlMetadata           `xml:"metadataOptions"`
}

type xmlReservation struct {
	ID        string               `xml:"reservationId"`
	Owner     string               `xml:"ownerId"`
	Groups    itemSet[xmlGroup]    `xml:"groupSet"`
	Instances itemSet[xmlInstance] `xml:"instancesSet"`
}

func (c *call) instances() table[*Instance] {
	host := func(f func(*fleet.Host) string) func(*Instance) []string {
		return func(in *Instance) []string { return []string{f(&in.Host)} }
	}
	return table[*Instance]{
		rows: c.region.Instances, id: func(in *Instance) string { return in.Host.ID }, ids: "InstanceId", absent: "InvalidInstanceID.NotFound",
		tags: func(in *Instance) map[string]string { return in.Host.Tags },
		filter: map[string]func(*Instance) []string{
			"instance-state-name":      host(func(h *fleet.Host) string { return h.State }),
			"instance-state-code":      host(func(h *fleet.Host) string { return strconv.Itoa(stateCodes[h.State]) }),
			"vpc-id":                   host(func(h *fleet.Host) string { return h.VPC }),
			"subnet-id":                host(func(h *fleet.Host) string { return h.Subnet }),
			"instance-id":              host(func(h *fleet.Host) string { return h.ID }),
			"private-ip-address":       host(func(h *fleet.Host) string { return h.PrivateIP.String() }),
			"ip-address":               host(func(h *fleet.Host) string { return addressText(h.PublicIP) }),
			"image-id":                 host(func(h *fleet.Host) string { return h.ImageID }),
			"availability-zone":        host(func(h *fleet.Host) string { return h.AZ }),
			"key-name":                 host(func(h *fleet.Host) string { return h.KeyName }),
			"instance-type":            host(func(h *fleet.Host) string { return h.InstanceType }),
			"architecture":             host(func(h *fleet.Host) string { return h.Architecture }),
			"platform-details":         host(func(h *fleet.Host) string { return h.Platform }),
			"platform":                 host(platform),
			"private-dns-name":         host(func(h *fleet.Host) string { return h.PrivateDNS }),
			"iam-instance-profile.arn": host(func(h *fleet.Host) string { return h.ProfileARN }),
			"instance.group-id":        func(in *Instance) []string { return in.Host.Groups },
			"network-interface.group-id": func(in *Instance) []string {
				all := slices.Clone(in.Host.Groups)
				for _, n := range in.Host.Interfaces {
					all = append(all, n.Groups...)
				}
				return all
			},
		},
	}
}

// addressText is empty for the zero address, which would print as "invalid IP".
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func platform(h *fleet.Host) string {
	if h.Windows() {
		return "windows"
	}
	return ""
}

func describeInstances(c *call) (any, error) {
	rows, next, err := c.instances().page(c)
	if err != nil {
		return nil, err
	}
	var out struct {
		Reservations itemSet[xmlReservation] `xml:"reservationSet"`
		Next         string                  `xml:"nextToken,omitempty"`
	}
	names := c.groupNames()
	out.Reservations = itemsOf(rows, func(in *Instance) xmlReservation {
		return xmlReservation{
			ID: "r-" + in.Host.ID[2:], Owner: c.account.ID,
			Instances: itemSet[xmlInstance]{[]xmlInstance{c.instance(in, names)}},
		}
	})
	out.Next = next
	return out, nil
}

func (c *call) groupNames() map[string]string {
	names := make(map[string]string, len(c.region.Groups))
	for _, g := range c.region.Groups {
		names[g.ID] = g.Name
	}
	return names
}

func groupSet(ids []string, names map[string]string) itemSet[xmlGroup] {
	return itemsOf(ids, func(id string) xmlGroup { return xmlGroup{id, names[id]} })
}

func (c *call) instance(in *Instance, names map[string]string) xmlInstance {
	h := &in.Host
	x := xmlInstance{
		ID: h.ID, ImageID: h.ImageID, State: xmlState{stateCodes[h.State], h.State}, PrivateDNS: h.PrivateDNS, KeyName: h.KeyName, Type: h.InstanceType,
		LaunchTime: timestamp(h.LaunchTime), Placement: xmlPlacement{h.AZ, "default"}, Platform: platform(h), PlatformDetails: h.Platform,
		Subnet: h.Subnet, VPC: h.VPC, PrivateIP: addressText(h.PrivateIP), PublicIP: addressText(h.PublicIP), Groups: groupSet(h.Groups, names),
		Architecture: h.Architecture, RootType: "ebs", RootName: "/dev/xvda", Virtualization: "hvm", Hypervisor: "xen", Tags: tagSet(h.Tags),
		Metadata: xmlMetadata{"applied", h.Metadata.Tokens, h.Metadata.HopLimit, h.Metadata.Endpoint},
	}
	for i := range h.Interfaces {
		n := c.instanceInterface(h, &h.Interfaces[i], names)
		n.AZ, n.Attachment.Host, n.Attachment.Owner = "", "", ""
		x.Interfaces.Items = append(x.Interfaces.Items, n)
	}
	if h.ProfileARN != "" {
		x.Profile = &xmlProfile{h.ProfileARN, uniqueID("AIPA", h.ProfileARN)}
	}
	return x
}

func (c *call) instanceInterface(h *fleet.Host, n *fleet.NetworkInterface, names map[string]string) xmlInterface {
	x := c.networkInterface(n.ID, n.Subnet, h.VPC, n.PrivateIP, n.PublicIP)
	x.AZ, x.Type, x.Groups = h.AZ, "interface", groupSet(n.Groups, names)
	x.Attachment = &xmlAttachment{ID: "eni-attach-" + n.ID[4:], Index: n.Index, Status: "attached", Time: timestamp(h.LaunchTime), Delete: true, Host: h.ID, Owner: c.account.ID}
	x.IPv6 = itemsOf(n.IPv6, func(a netip.Addr) xmlIPv6 { return xmlIPv6{a.String()} })
	return x
}

// networkInterface fills what interfaces of all kinds have in common.
func (c *call) networkInterface(id, subnet, vpc string, private, public netip.Addr) xmlInterface {
	x := xmlInterface{ID: id, Subnet: subnet, VPC: vpc, Owner: c.account.ID, Status: "in-use", MAC: hardwareAddress(private), PrivateIP: addressText(private)}
	if public.IsValid() {
		x.Association = &xmlAssociation{IP: public.String(), Owner: "amazon"}
	}
	x.PrivateIPs.Items = []xmlPrivateIP{{x.PrivateIP, true, x.Association}}
	return x
}

func hardwareAddress(a netip.Addr) string {
	if !a.Is4() {
		return "02:00:00:00:00:00"
	}
	b := a.As4()
	return fmt.Sprintf("02:5a:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// uniqueID makes an IAM-style unique ID for a name.
func uniqueID(prefix, of string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of))
	id := strings.ToUpper(strconv.FormatUint(h.Sum64(), 36))
	return prefix + strings.Repeat("A", 17-min(17, len(id))) + id
}

func describeInstanceStatus(c *call) (any, error) {
	t := c.instances()
	if c.form.Get("IncludeAllInstances") != "true" {
		t.rows = filter(t.rows, func(in *Instance) bool { return in.Host.Running() })
	}
	rows, next, err := t.page(c)
	if err != nil {
		return nil, err
	}
	type summary struct {
		Status string `xml:"status"`
	}
	type status struct {
		ID       string   `xml:"instanceId"`
		AZ       string   `xml:"availabilityZone"`
		State    xmlState `xml:"instanceState"`
		System   summary  `xml:"systemStatus"`
		Instance summary  `xml:"instanceStatus"`
	}
	var out struct {
		Statuses itemSet[status] `xml:"instanceStatusSet"`
		Next     string          `xml:"nextToken,omitempty"`
	}
	out.Next = next
	out.Statuses = itemsOf(rows, func(in *Instance) status {
		ok := summary{"ok"}
		if !in.Host.Running() {
			ok.Status = "not-applicable"
		}
		return status{in.Host.ID, in.Host.AZ, xmlState{stateCodes[in.Host.State], in.Host.State}, ok, ok}
	})
	return out, nil
}

func filter[T any](in []T, keep func(T) bool) []T {
	var out []T
	for _, x := range in {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}

func describeProfileAssociations(c *call) (any, error) {
	rows, next, err := table[*Instance]{
		rows: filter(c.region.Instances, func(in *Instance) bool { return in.Host.ProfileARN != "" }), id: (*Instance).associationID, ids: "AssociationId", absent: "InvalidAssociationID.NotFound",
		filter: map[string]func(*Instance) []string{
			"instance-id": one(func(in *Instance) string { return in.Host.ID }),
			"state":       one(func(*Instance) string { return "associated" }),
		},
	}.page(c)
	if err != nil {
		return nil, err
	}
	var out struct {
		Set  itemSet[profileAssociation] `xml:"iamInstanceProfileAssociationSet"`
		Next string                      `xml:"nextToken,omitempty"`
	}
	out.Next = next
	out.Set = itemsOf(rows, func(in *Instance) profileAssociation { return in.profileXML("associated") })
	return out, nil
}

func getConsoleOutput(c *call) (any, error) {
	id := c.form.Get("InstanceId")
	in := find(c.region.Instances, func(in *Instance) bool { return in.Host.ID == id })
	if in == nil {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	}
	var out struct {
		ID     string `xml:"instanceId"`
		Time   string `xml:"timestamp"`
		Output string `xml:"output,omitempty"`
	}
	out.ID, out.Time = id, timestamp(in.Host.LaunchTime.Add(fiveMinutes))
	// What the console shows now is there as soon as cloud-init wrote it; the
	// copy that EC2 keeps is made later.
	ready := in.Host.LaunchTime.Add(c.w.takes(untilConsole))
	if c.form.Get("Latest") == "true" {
		ready = in.Host.LaunchTime.Add(c.w.takes(untilSSH))
	}
	if text := in.consoleOutput(); text != "" && !c.w.Now().Before(ready) {
		out.Output = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return out, nil
}

// consoleOutput is what cloud-init's write-ssh-key-fingerprints left on the
// console at first boot. Systems without cloud-init left nothing.
func (in *Instance) consoleOutput() string {
	if in.OS.Family == "windows" || in.OS.Family == "alpine" {
		return ""
	}
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(in.HostKey).Public())
	if err != nil {
		return ""
	}
	var b strings.Builder
	log := func(line string) {
		fmt.Fprintf(&b, "<14>%s ec2: %s\r\n", in.Host.LaunchTime.Add(fiveMinutes/10).Format("Jan _2 15:04:05"), line)
	}
	rule := strings.Repeat("#", 61)
	log(rule)
	log("-----BEGIN SSH HOST KEY FINGERPRINTS-----")
	log("256 " + ssh.FingerprintSHA256(public) + " root@" + in.Hostname + " (ED25519)")
	log("-----END SSH HOST KEY FINGERPRINTS-----")
	log(rule)
	fmt.Fprintf(&b, "-----BEGIN SSH HOST KEY KEYS-----\r\n%s root@%s\r\n-----END SSH HOST KEY KEYS-----\r\n", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), in.Hostname)
	fmt.Fprintf(&b, "\r\n%s\r\nKernel %s on an %s\r\n\r\n%s login: ", in.OS.Pretty, in.OS.Kernel, in.Host.Architecture, in.Hostname)
	return b.String()
}
