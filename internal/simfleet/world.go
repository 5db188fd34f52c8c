// Package simfleet is a simulated fleet: one seeded world model behind real
// AWS wire protocols and real SSH servers on loopback, for the demo and the tests.
package simfleet

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ssm-migrate/internal/fleet"
)

// World is the one truth that the AWS side and the host side are views of.
// Hold Mu for any access once a server runs on it. What can be computed
// (whether an agent is online, whether port 22 answers) is computed from it at
// the time of asking and is stored nowhere.
type World struct {
	Mu       sync.RWMutex
	Seed     uint64
	Now      func() time.Time // the world's clock
	Accounts []*Account

	// Mirrors are HTTPS servers on the internet, by name, with their files by
	// path. It is set before hosts run anything.
	Mirrors map[string]map[string][]byte

	// Happened, where set, is called after everything that happened by itself,
	// with its name ("schedule NAME", "launch i-…"). No lock is held.
	Happened func(what string)

	moves atomic.Int64 // instances that came, went or changed addresses

	agenda  agenda
	hosts   atomic.Pointer[Hosts] // the host side made last; nil: none yet
	made    uint64                // IDs made since
	uses    map[string]use        // client tokens, by account, Region, API and token
	given   map[string]bool       // addresses given to what was made since; none is given twice
	ways    map[*Instance]outway  // guarded by Mu: the networks that causes gave to instances alone
	owners  []*fleet.Owner
	pace    float64 // of AWS's own work, Options.Pace; 0: 1
	healthy bool    // made by Options.Healthy: the operator has a key for each host
}

// Account is a simulated AWS account. Its regions list the network in fleet's
// own words; the facts in them are all known.
type Account struct {
	ID       string
	Profiles []*fleet.InstanceProfile
	Roles    []*fleet.Role
	Policies []*fleet.Policy // managed policies, AWS's own included
	Users    []*fleet.IAMUser
	Groups   []*fleet.IAMGroup
	Regions  []*Region

	// ControlLevels are the service control policies over the account, root
	// first; they bind every role and user of it. The account itself may read
	// them only if OrganizationReadable.
	ControlLevels        []fleet.ControlLevel
	OrganizationReadable bool
	Zones                []*fleet.HostedZone // private Route 53 hosted zones

	Tags map[string]map[string]string // of instance profiles, by ARN

	world *World // that Generate made it for; nil: the account stands alone

	secrets []*secret // of Secrets Manager, in all Regions: also those without instances
}

// Region is one account's share of a Region.
type Region struct {
	Account     *Account
	Name        string
	DefaultRole string // Default Host Management Configuration's role path; empty: off
	Preferences string // content of SSM-SessionManagerRunShell; empty: the document does not exist

	VPCs        []*fleet.VPC
	Subnets     []*fleet.Subnet
	RouteTables []*fleet.RouteTable
	Groups      []*fleet.SecurityGroup
	NetworkACLs []*fleet.NetworkACL
	Endpoints   []*fleet.VPCEndpoint
	Gateways    []*fleet.Gateway
	NATGateways []*fleet.Gateway
	PrefixLists []*fleet.PrefixList
	DHCPOptions []*fleet.DHCPOptions
	Scaling     []*fleet.ScalingGroup
	Templates   []*fleet.LaunchTemplate
	Configs     []*LaunchConfig
	KeyPairs    []*fleet.KeyPair
	ENIs        []*ENI // of endpoints and NAT gateways; an instance's own are in its Host
	Peerings    []*fleet.Peering
	Rules       []*fleet.ResolverRule

	ConnectEndpoints []*fleet.ConnectEndpoint // see AddConnectEndpoint
	SerialConsole    bool                     // the account allows the EC2 serial console here

	Documents       []*fleet.SessionDocument // session documents of the account
	Buckets         []*fleet.Bucket
	LogGroups       []*fleet.LogGroup
	Keys            []*fleet.KMSKey
	ManagedSessions []*fleet.ManagedSession // Session Manager's, open and past
	SessionLogs     []*SessionLog           // in the Region's buckets and log groups

	stored map[string][]*storedObject // by bucket: what was put there

	Deregistered map[string]bool // machine images that nobody can launch any more

	// Dropped names, by route target (a firewall endpoint or transit gateway),
	// the services to which it lets no connection pass; "*" is all of them.
	Dropped map[string][]string

	// Inspected names, by VPC, the issuer of the certificates with which a
	// TLS-inspecting firewall answers for everything on the internet.
	Inspected map[string]string

	// Proxies names, by VPC, the forward proxy ("10.16.0.9:3128") that gets
	// everywhere for those who ask it.
	Proxies map[string]string

	// Outages are the services that are down in this Region: no agent and no
	// caller gets an answer from them.
	Outages map[string]bool

	Instances []*Instance
	Hybrid    []*fleet.Node // managed nodes outside EC2

	// Tags names, by ID, the tags of resources whose own type here has none:
	// launch templates, endpoints, key pairs, security group rules and, by name, documents.
	Tags     map[string]map[string]string
	Launches map[string]LaunchData // by "lt-…/VERSION"
	Imported map[string]bool       // IDs of key pairs that EC2 did not make

	// NoCapacity makes every launch of an instance fail.
	NoCapacity bool

	scaling   map[string]*scalingState // by group name
	schedules []*schedule              // of EventBridge Scheduler
	versions  map[string]versions      // of session documents that changed over the API
	settings  map[string]string        // Systems Manager's service settings but DefaultRole; empty: the default
	rules     map[string]ruleNote      // of rules that were authorized over the API, by group and ruleText
}

// LaunchConfig is a launch configuration, the forerunner of launch templates.
type LaunchConfig struct {
	Name    string
	Version fleet.TemplateVersion // Number is not used
}

// ENI is a network interface that belongs to no instance.
type ENI struct {
	ID        string
	VPC       string
	Subnet    string
	Groups    []string
	PrivateIP netip.Addr
	PublicIP  netip.Addr // NAT gateways' only
	IPv6      netip.Addr // of endpoints that have one
	Owner     string     // vpce-… or nat-…
}

// Instance is one simulated instance: EC2's view of it and the machine inside.
type Instance struct {
	Region *Region
	Host   fleet.Host // EC2's side only; Node, Connection and Probe stay zero
	Role   Role       // what it is in the story: "web", "bastion", "db", ...

	OS       OS
	Hostname string
	Users    []*User
	SSHD     SSHD
	Agent    Agent
	Machine  Machine
	Services []Service     // what listens besides sshd; nil: HTTP on 8080, empty: nothing
	Logins   []Login       // oldest first
	Sessions []OpenSession // open now
	Files    []File        // further files, beyond those that the fields above imply
	Skew     time.Duration // host clock minus world clock
	Down     bool          // runs, but its sshd does not answer
	Fault    MachineFault  // how the machine misbehaves towards those who log in
	HostKey  []byte        // ed25519 seed (32 bytes) of the SSH host key

	lifecycle   string // in its Auto Scaling group: "Pending", "Terminating"; empty: in service
	association string // ID of the profile's association; empty: one that follows from the instance's
}

// MachineFault is a way in which a machine misbehaves. Empty: it does not.
type MachineFault string

// The faults of machines.
const (
	MachineEndless  MachineFault = "endless"   // a command prints until somebody stops it, or up to HostOptions.EndlessBytes
	MachineHang     MachineFault = "hang"      // a command starts, prints nothing and does not end
	MachineGarbage  MachineFault = "garbage"   // a command prints random bytes, invalid UTF-8 and terminal escapes on both streams
	MachineCut      MachineFault = "cut"       // the connection breaks off while a command prints
	MachineHostKey  MachineFault = "host-key"  // the server has another host key than the one that known_hosts lists
	MachineDiskFull MachineFault = "disk-full" // nothing can be written to disk
	MachineSilent   MachineFault = "silent"    // the port accepts connections, and nothing ever answers
)

// Role names an instance's part in the story.
type Role string

// OS is an operating system family as its programs show it.
type OS struct {
	Family    string // "amzn", "ubuntu", "debian", "rhel", "sles", "windows", "alpine"
	Version   string // VERSION_ID
	Pretty    string // PRETTY_NAME
	Kernel    string
	SSHDBuild string // "OpenSSH_9.6p1 Ubuntu-3ubuntu13.5"
	SSHUnit   string // "ssh" or "sshd"
	AuthLog   string // "/var/log/auth.log", "/var/log/secure"; empty: journal only
	User      string // the image's default login user: "ec2-user", "ubuntu", ...
}

// User is an account of the machine.
type User struct {
	Name   string
	UID    int
	Home   string
	Shell  string
	Sudo   bool     // may sudo -n
	Keys   []string // lines of authorized_keys, in the file that sshd's configuration names first
	Locked bool
}

// SSHD is the machine's OpenSSH configuration.
type SSHD struct {
	Settings []Setting            // global, in sshd_config's spelling; what is absent has OpenSSH's default
	Match    map[string][]Setting // "Match User NAME" blocks
	// MatchLoopback is a "Match Address" block for connections from the host itself.
	MatchLoopback []Setting
	Arguments     string // extra daemon arguments, as Instance Connect's drop-in adds
}

// Setting is one line of sshd_config.
type Setting struct{ Keyword, Value string }

// Agent is the SSM Agent on the machine.
type Agent struct {
	Installed bool
	Package   string // "rpm", "deb", "snap"
	Version   string
	Running   bool
	Enabled   bool
	Masked    bool // its unit does not start, at boot or otherwise
	Started   time.Time
	// LastSeen is the last heartbeat that Systems Manager got from an agent
	// which is silent now. Zero: it never registered.
	LastSeen time.Time

	Second       string            // another package that installed it too: "snap" beside "deb"; the two stop one another
	Proxy        map[string]string // of its unit: "https_proxy", "no_proxy", ...
	Config       string            // amazon-ssm-agent.json; empty: none
	Registration string            // "mi-…" of a leftover hybrid registration; empty: none
	SleepsUntil  time.Time         // after refused credentials, though they would do now; zero: awake
	Stale        bool              // its control channel died unnoticed, as after a change of NAT: Online, but not connected
}

// Machine is the state of the machine's parts on which agents and sessions rest.
// The zero value is a sound machine.
type Machine struct {
	Filesystems     map[string]fleet.Filesystem // by mount point, in place of the sound ones
	InotifyUsed     int                         // inotify instances of root; the limit is 128
	NoRootCA        bool                        // Amazon Root CA 1 is not in the trust store
	RootCredentials string                      // principal ARN whose keys /root/.aws/credentials holds; empty: no such file
	SSMUser         SSMUserState
	CloudInitKeys   bool     // cloud-init adds the launch key at every boot
	GitRemotes      []string // remotes over SSH in deployed working copies
	Ansible         bool     // Ansible has left its folder in a home
	Container       bool     // the agent runs in a container, one network hop away from the metadata service
}

// SSMUserState is what there is of the account ssm-user.
type SSMUserState string

// The states of ssm-user. The agent makes it at its first session.
const (
	SSMUserByAgent SSMUserState = ""        // as the agent makes it, sudo rights included
	SSMUserForeign SSMUserState = "foreign" // it was there before the agent, which therefore wrote no sudo rule
	SSMUserAbsent  SSMUserState = "absent"  // no session yet
)

// Login is an accepted login in the machine's log.
type Login struct {
	At     time.Time
	User   string
	Method string // "publickey", "password"
	Key    string // "ED25519 SHA256:…" as the log shows it, certificate details included
	From   netip.Addr
	Port   int
	Use    fleet.Use // what followed it
}

// OpenSession is an SSH session that is open now.
type OpenSession struct {
	User string
	TTY  string // "pts/0"; empty without a terminal
	From netip.Addr
	PID  int

	Key             string    // as Login's
	Use             fleet.Use // what its process is; empty: a shell with, a command without a terminal
	AgentForwarding bool
}

// File is a file of the machine's virtual file system.
type File struct {
	Path     string
	Content  []byte
	Mode     uint32 // permission bits
	UID, GID int
}
