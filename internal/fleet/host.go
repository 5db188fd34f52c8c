package fleet

import (
	"net/netip"
	"time"
)

// Host is one EC2 instance. The fields up to KeyName are what
// ec2:DescribeInstances said; the facts after them come from other sources and
// may be unknown.
type Host struct {
	ID               string             `json:"id"` // EC2 instance ID, unique over accounts and Regions
	Account          string             `json:"account"`
	Region           string             `json:"region"`
	AZ               string             `json:"az"`
	Tags             map[string]string  `json:"tags,omitempty"`
	State            string             `json:"state"`        // EC2 instance state name: "running", "stopped", ...
	Architecture     string             `json:"architecture"` // "x86_64", "arm64"
	Platform         string             `json:"platform"`     // EC2 PlatformDetails: "Linux/UNIX", "Windows", ...
	ImageID          string             `json:"imageId"`
	InstanceType     string             `json:"instanceType"`
	LaunchTime       time.Time          `json:"launchTime,omitzero"`
	VPC              string             `json:"vpc"`
	Subnet           string             `json:"subnet"`
	PrivateIP        netip.Addr         `json:"privateIp,omitzero"`
	PublicIP         netip.Addr         `json:"publicIp,omitzero"`
	PrivateDNS       string             `json:"privateDns,omitempty"`
	Interfaces       []NetworkInterface `json:"interfaces,omitempty"`
	Groups           []string           `json:"groups,omitempty"`     // security group IDs of the primary interface
	ProfileARN       string             `json:"profileArn,omitempty"` // instance profile; empty: none attached
	AutoScalingGroup string             `json:"autoScalingGroup,omitempty"`
	LaunchTemplate   LaunchTemplateRef  `json:"launchTemplate,omitzero"`
	Metadata         MetadataOptions    `json:"metadata"`
	KeyName          string             `json:"keyName,omitempty"` // key pair named at launch: history, not what sshd accepts today

	Node       Fact[Node]   `json:"node"`       // what Systems Manager says of it
	Connection Fact[string] `json:"connection"` // ssm:GetConnectionStatus: "connected" or "notconnected"
	Probe      Fact[Probe]  `json:"probe"`      // what the host said of itself over SSH
}

// Name is the host's Name tag, or its ID without one.
func (h Host) Name() string {
	if n := h.Tags["Name"]; n != "" {
		return n
	}
	return h.ID
}

// Running reports whether EC2 says that the instance runs.
func (h Host) Running() bool { return h.State == "running" }

// Windows reports whether EC2 lists the instance as a Windows one.
func (h Host) Windows() bool { return len(h.Platform) >= 7 && h.Platform[:7] == "Windows" }

// NetworkInterface is one elastic network interface of a host.
type NetworkInterface struct {
	ID        string       `json:"id"`
	Subnet    string       `json:"subnet"`
	PrivateIP netip.Addr   `json:"privateIp,omitzero"`
	PublicIP  netip.Addr   `json:"publicIp,omitzero"`
	IPv6      []netip.Addr `json:"ipv6,omitempty"`
	Groups    []string     `json:"groups,omitempty"`
	Index     int          `json:"index"` // device index; 0 is the primary interface
}

// LaunchTemplateRef names the launch template version that an instance came from.
type LaunchTemplateRef struct {
	ID      string `json:"id,omitempty"`
	Version string `json:"version,omitempty"`
}

// MetadataOptions are the instance metadata service's settings, in EC2's words.
type MetadataOptions struct {
	Endpoint string `json:"endpoint,omitempty"` // "enabled" or "disabled"
	Tokens   string `json:"tokens,omitempty"`   // "optional" or "required" (IMDSv2 only)
	HopLimit int    `json:"hopLimit,omitempty"`
}

// Node is what ssm:DescribeInstanceInformation lists of one managed node.
type Node struct {
	ID              string    `json:"id"` // i-… or mi-…
	Account         string    `json:"account"`
	Region          string    `json:"region"`
	Registered      bool      `json:"registered"`           // false: Systems Manager answered in full and does not list the instance
	PingStatus      string    `json:"pingStatus,omitempty"` // "Online", "ConnectionLost", "Inactive"
	LastPing        time.Time `json:"lastPing,omitzero"`
	AgentVersion    string    `json:"agentVersion,omitempty"`
	LatestVersion   bool      `json:"latestVersion,omitempty"` // IsLatestVersion; says nothing about security
	PlatformType    string    `json:"platformType,omitempty"`  // "Linux", "Windows", "MacOS"
	PlatformName    string    `json:"platformName,omitempty"`
	PlatformVersion string    `json:"platformVersion,omitempty"`
	ResourceType    string    `json:"resourceType,omitempty"` // "EC2Instance", "ManagedInstance"
	IAMRole         string    `json:"iamRole,omitempty"`      // hybrid activation's or DHMC's role
	ComputerName    string    `json:"computerName,omitempty"`
	Association     string    `json:"association,omitempty"` // AssociationStatus: "Success", "Pending", "Failed"
}
