package fleet

import (
	"net/netip"
	"slices"
	"strconv"
)

// Region is one account in one Region: everything around the hosts that
// decides whether they can reach Systems Manager. A collection that is unknown
// may still hold what was seen before its source broke off (see Partial).
type Region struct {
	Account string `json:"account"` // account ID; empty when neither STS nor EC2 could tell
	Name    string `json:"name"`    // "eu-west-1"
	Label   string `json:"label"`   // the operator's name for the access used: profile or role ARN

	Instances     Fact[int]              `json:"instances"`               // how many instances EC2 listed
	Nodes         Fact[int]              `json:"nodes"`                   // how many managed nodes Systems Manager listed
	HybridNodes   []Node                 `json:"hybridNodes"`             // managed nodes that are no EC2 instance of this account and Region
	UnplacedNodes []Node                 `json:"unplacedNodes,omitempty"` // managed nodes with an instance's ID that match no host while Instances is unknown: instances or hybrid nodes, nobody can tell
	DefaultRole   Fact[string]           `json:"defaultRole"`             // Default Host Management Configuration's role path; known and empty: off
	ScalingGroups Fact[[]ScalingGroup]   `json:"scalingGroups"`
	Templates     Fact[[]LaunchTemplate] `json:"templates"`
	KeyPairs      Fact[[]KeyPair]        `json:"keyPairs"`

	VPCs        Fact[[]VPC]           `json:"vpcs"`
	Subnets     Fact[[]Subnet]        `json:"subnets"`
	RouteTables Fact[[]RouteTable]    `json:"routeTables"`
	Groups      Fact[[]SecurityGroup] `json:"groups"`
	NetworkACLs Fact[[]NetworkACL]    `json:"networkAcls"`
	Endpoints   Fact[[]VPCEndpoint]   `json:"endpoints"`
	Gateways    Fact[[]Gateway]       `json:"gateways"` // internet gateways
	NATGateways Fact[[]Gateway]       `json:"natGateways"`
	PrefixLists Fact[[]PrefixList]    `json:"prefixLists"`
	DHCPOptions Fact[[]DHCPOptions]   `json:"dhcpOptions"`

	Peerings      Fact[[]Peering]      `json:"peerings"`
	ResolverRules Fact[[]ResolverRule] `json:"resolverRules"`

	ConnectEndpoints Fact[[]ConnectEndpoint] `json:"connectEndpoints,omitzero"`
	SerialConsole    Fact[bool]              `json:"serialConsole,omitzero"` // whether the account allows the EC2 serial console in the Region

	Preferences Fact[Preferences]       `json:"preferences"` // Session Manager's preferences document
	Documents   Fact[[]SessionDocument] `json:"documents"`   // the account's own session documents, the preferences left out
	Sessions    Fact[[]ManagedSession]  `json:"sessions"`    // Session Manager sessions, open and of the last 30 days
}

// Peering is a VPC peering connection.
type Peering struct {
	ID        string     `json:"id"`
	State     string     `json:"state"` // "active", "pending-acceptance", ...
	Requester PeeringEnd `json:"requester"`
	Accepter  PeeringEnd `json:"accepter"`
}

// PeeringEnd is one side of a peering connection.
type PeeringEnd struct {
	VPC     string         `json:"vpc"`
	Account string         `json:"account"`
	Region  string         `json:"region"`
	CIDRs   []netip.Prefix `json:"cidrs,omitempty"`
}

// ResolverRule is a Route 53 Resolver rule: which name servers answer for a
// domain in the VPCs that it is associated with.
type ResolverRule struct {
	ID      string   `json:"id"`
	Domain  string   `json:"domain"` // without the final dot; "" is the root
	Type    string   `json:"type"`   // "FORWARD", "SYSTEM", "RECURSIVE"
	VPCs    []string `json:"vpcs,omitempty"`
	Targets []string `json:"targets,omitempty"` // addresses of the name servers
}

// HostedZone is a private Route 53 hosted zone.
type HostedZone struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"` // without the final dot
	VPCs    []string    `json:"vpcs,omitempty"`
	Records []DNSRecord `json:"records,omitempty"` // A, AAAA and CNAME records, aliases among them
}

// DNSRecord is a record set of a hosted zone.
type DNSRecord struct {
	Name   string   `json:"name"` // without the final dot
	Type   string   `json:"type"` // "A", "AAAA", "CNAME"
	Values []string `json:"values,omitempty"`
	Alias  string   `json:"alias,omitempty"` // DNS name that an alias record stands for
}

// VPC is a virtual private cloud.
type VPC struct {
	ID           string            `json:"id"`
	Tags         map[string]string `json:"tags,omitempty"`
	CIDRs        []netip.Prefix    `json:"cidrs"` // IPv4 and IPv6
	DHCPOptions  string            `json:"dhcpOptions,omitempty"`
	DNSSupport   Fact[bool]        `json:"dnsSupport"`
	DNSHostnames Fact[bool]        `json:"dnsHostnames"`
}

// Subnet is a subnet of a VPC.
type Subnet struct {
	ID   string            `json:"id"`
	VPC  string            `json:"vpc"`
	AZ   string            `json:"az"`
	CIDR netip.Prefix      `json:"cidr,omitzero"` // zero in an IPv6-only subnet
	IPv6 []netip.Prefix    `json:"ipv6,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// RouteTable is a VPC route table.
type RouteTable struct {
	ID      string   `json:"id"`
	VPC     string   `json:"vpc"`
	Main    bool     `json:"main"`    // used by subnets without an association of their own
	Subnets []string `json:"subnets"` // explicitly associated
	Routes  []Route  `json:"routes"`
}

// Route is one route. Exactly one of CIDR and PrefixList is set.
type Route struct {
	CIDR       netip.Prefix `json:"cidr,omitzero"`
	PrefixList string       `json:"prefixList,omitempty"`
	Target     string       `json:"target"` // "local", igw-…, nat-…, vpce-…, tgw-…, pcx-…, eni-…, i-…, eigw-…, vgw-…
	State      string       `json:"state"`  // "active" or "blackhole"
}

// SecurityGroup is a security group with both its rule sets.
type SecurityGroup struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	VPC         string            `json:"vpc"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Ingress     []Permission      `json:"ingress"`
	Egress      []Permission      `json:"egress"`
}

// Permission is one IpPermission of a security group, in EC2's words.
type Permission struct {
	Protocol    string         `json:"protocol"` // "tcp", "udp", "icmp", a number, or "-1" for all
	From        int            `json:"from"`     // first port; -1 for all
	To          int            `json:"to"`       // last port; -1 for all
	CIDRs       []netip.Prefix `json:"cidrs,omitempty"`
	PrefixLists []string       `json:"prefixLists,omitempty"`
	Groups      []string       `json:"groups,omitempty"`
	Description string         `json:"description,omitempty"`
}

// NetworkACL is a network access control list.
type NetworkACL struct {
	ID      string     `json:"id"`
	VPC     string     `json:"vpc"`
	Default bool       `json:"default"`
	Subnets []string   `json:"subnets"`
	Entries []ACLEntry `json:"entries"`
}

// ACLEntry is one numbered rule. The lowest matching number decides.
type ACLEntry struct {
	Number   int          `json:"number"`
	Egress   bool         `json:"egress"`
	Allow    bool         `json:"allow"`
	Protocol string       `json:"protocol"` // a number, or "-1" for all
	CIDR     netip.Prefix `json:"cidr"`
	From     int          `json:"from"` // 0 with To 0 for all
	To       int          `json:"to"`
}

// VPCEndpoint is a VPC endpoint of any type.
type VPCEndpoint struct {
	ID          string   `json:"id"`
	VPC         string   `json:"vpc"`
	Service     string   `json:"service"` // "com.amazonaws.eu-west-1.ssm"
	Type        string   `json:"type"`    // "Interface", "Gateway", ...
	State       string   `json:"state"`   // "available", "pending", ...
	PrivateDNS  bool     `json:"privateDns"`
	Subnets     []string `json:"subnets,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	RouteTables []string `json:"routeTables,omitempty"`
	DNSNames    []string `json:"dnsNames,omitempty"`
	IPType      string   `json:"ipType,omitempty"` // "ipv4", "ipv6", "dualstack"

	// Addresses are those of its network interfaces, one or two for each subnet.
	Addresses Fact[[]netip.Addr] `json:"addresses,omitzero"`
	Policy    string             `json:"policy,omitempty"` // JSON document

	Tags map[string]string `json:"tags,omitempty"`
}

// ConnectEndpoint is an EC2 Instance Connect Endpoint: a way for TCP
// connections into a VPC that needs no instance to be launched.
type ConnectEndpoint struct {
	ID      string   `json:"id"` // eice-…
	VPC     string   `json:"vpc"`
	Subnet  string   `json:"subnet"`
	State   string   `json:"state"`   // "create-complete", ...
	DNSName string   `json:"dnsName"` // where tunnels are opened
	Groups  []string `json:"groups"`  // security group IDs
	// PreserveClientIP: hosts see the operator's own address; otherwise one of
	// the endpoint's subnet.
	PreserveClientIP bool `json:"preserveClientIp,omitempty"`
}

// ConnectEndpointTunnels is how many tunnels one EC2 Instance Connect Endpoint
// carries at once; it cannot be raised. Source: EC2 User Guide, "Quotas for EC2
// Instance Connect Endpoint", August 2026.
const ConnectEndpointTunnels = 20

// Usable reports whether the endpoint takes tunnels. Those are the states in
// which the AWS CLI uses one, too (its eicefetcher.py, version 2).
func (e ConnectEndpoint) Usable() bool {
	switch e.State {
	case "create-complete", "update-in-progress", "update-complete", "update-failed":
		return true
	}
	return false
}

// Gateway is an internet or NAT gateway.
type Gateway struct {
	ID     string   `json:"id"`
	VPCs   []string `json:"vpcs"`
	Subnet string   `json:"subnet,omitempty"` // NAT gateways only
	State  string   `json:"state"`            // "available", "attached", "failed", ...
	Public bool     `json:"public"`
}

// PrefixList is a managed prefix list and its entries.
type PrefixList struct {
	ID    string         `json:"id"`
	Name  string         `json:"name"`
	CIDRs []netip.Prefix `json:"cidrs"`
}

// DHCPOptions is a DHCP option set; only its name servers matter here.
type DHCPOptions struct {
	ID      string   `json:"id"`
	Servers []string `json:"servers"` // addresses, or "AmazonProvidedDNS"
}

// ScalingGroup is an EC2 Auto Scaling group.
type ScalingGroup struct {
	Name      string            `json:"name"`
	Min       int               `json:"min"`
	Max       int               `json:"max"`
	Desired   int               `json:"desired"`
	Subnets   []string          `json:"subnets,omitempty"`
	Instances []string          `json:"instances,omitempty"`
	Template  LaunchTemplateRef `json:"template,omitzero"`
	Config    string            `json:"config,omitempty"` // launch configuration name, where it still has one
	Tags      map[string]string `json:"tags,omitempty"`
}

// LaunchTemplate is a launch template with its default and latest versions, and
// those that Auto Scaling groups name by number.
type LaunchTemplate struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Default  int64             `json:"default"`
	Latest   int64             `json:"latest"`
	Tags     map[string]string `json:"tags,omitempty"`
	Versions []TemplateVersion `json:"versions"`
}

// TemplateVersion is what a new instance of one version would start with.
type TemplateVersion struct {
	Number   int64           `json:"number"`
	ImageID  string          `json:"imageId,omitempty"`
	Profile  string          `json:"profile,omitempty"` // instance profile name or ARN
	KeyName  string          `json:"keyName,omitempty"`
	Groups   []string        `json:"groups,omitempty"`
	UserData bool            `json:"userData"` // has user data; its text may hold secrets and is not stored
	Metadata MetadataOptions `json:"metadata"`
}

// Template finds a launch template and the version of it that a reference
// means; nil what was not read.
func (r *Region) Template(ref LaunchTemplateRef) (*LaunchTemplate, *TemplateVersion) {
	i := slices.IndexFunc(r.Templates.Value, func(t LaunchTemplate) bool { return ref.ID != "" && t.ID == ref.ID })
	if i < 0 {
		return nil, nil
	}
	t := &r.Templates.Value[i]
	number := t.Default // also what an empty version means (Auto Scaling API Reference, LaunchTemplateSpecification)
	switch ref.Version {
	case "", "$Default":
	case "$Latest":
		number = t.Latest
	default:
		number, _ = strconv.ParseInt(ref.Version, 10, 64)
	}
	for k := range t.Versions {
		if t.Versions[k].Number == number {
			return t, &t.Versions[k]
		}
	}
	return t, nil
}

// KeyPair is an EC2 key pair. PublicKey is what matches it to keys on hosts:
// AWS's fingerprint of an RSA pair cannot be derived from the public key.
type KeyPair struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	PublicKey string `json:"publicKey,omitempty"` // "ssh-ed25519 AAAA…", as EC2 gives it
}
