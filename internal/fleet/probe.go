package fleet

import (
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Probe is what one run of the probe script found on a host. Facts that the
// login user could not read are unknown, each with its reason.
type Probe struct {
	LoginUser string    `json:"loginUser"`
	Root      bool      `json:"root"` // the script ran as root, directly or by sudo -n
	Via       []string  `json:"via"`  // bastions passed, outermost first; empty for a direct connection
	HostTime  time.Time `json:"hostTime,omitzero"`
	Hostname  string    `json:"hostname"`
	OS        OS        `json:"os"`

	SSHD      Fact[SSHD]           `json:"sshd"`
	Users     Fact[[]User]         `json:"users"`
	Keys      Fact[[]Key]          `json:"keys"` // every public key that sshd's configuration reads from files
	Agent     Fact[HostAgent]      `json:"agent"`
	Endpoints Fact[[]EndpointTest] `json:"endpoints"`
	Logins    Fact[LoginLog]       `json:"logins"`
	Sessions  Fact[[]Session]      `json:"sessions"` // SSH sessions open now, the probe's own left out
	Health    Fact[Health]         `json:"health"`
	Metadata  Fact[MetadataTest]   `json:"metadata"`
	CloudInit Fact[CloudInit]      `json:"cloudInit"`
	Traces    Fact[[]Trace]        `json:"traces"` // what uses or needs SSH, as files and settings show it

	Gaps []Gap `json:"gaps,omitempty"` // what else could not be read: single files, single users
}

// Whole reports whether the host told everything that it was asked.
func (p Probe) Whole() bool {
	return len(p.Gaps) == 0 && p.SSHD.Known && p.Users.Known && p.Keys.Known && p.Agent.Known &&
		p.Endpoints.Known && p.Logins.Known && p.Sessions.Known &&
		p.Health.Known && p.Metadata.Known && p.CloudInit.Known && p.Traces.Known
}

// Gap is one thing on a host that could not be read, and why.
type Gap struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// OS is what /etc/os-release and uname say.
type OS struct {
	ID      string `json:"id"`      // os-release ID: "amzn", "ubuntu", "rhel", ...
	Version string `json:"version"` // os-release VERSION_ID
	Name    string `json:"name"`    // os-release PRETTY_NAME
	Kernel  string `json:"kernel"`
	Arch    string `json:"arch"` // uname -m
}

// SSHD is the effective configuration of the running OpenSSH server.
type SSHD struct {
	Version   string              `json:"version"`             // "OpenSSH_9.2p1 ..."
	Arguments string              `json:"arguments,omitempty"` // of the running daemon; Instance Connect hides its key command there
	Settings  map[string][]string `json:"settings"`            // as "sshd -T" prints them: lower-case keyword to its values in order

	// UnitArguments are those that its systemd unit, drop-ins included, gives
	// it at its next start. They are set only where the running daemon has
	// others: it was not restarted since.
	UnitArguments string `json:"unitArguments,omitempty"`

	// PerUser holds, for users whom a Match block may treat differently, only
	// the settings that differ from Settings. Empty without Match blocks.
	PerUser map[string]map[string][]string `json:"perUser,omitempty"`

	// FromLoopback holds, for users whom a Match block treats differently when
	// they come from 127.0.0.1, as SSH through Session Manager does, only the
	// settings that differ from those that For gives.
	FromLoopback map[string]map[string][]string `json:"fromLoopback,omitempty"`
}

// For gives the values of a lower-case keyword as they hold for one user.
func (s SSHD) For(user, keyword string) []string {
	if own, ok := s.PerUser[user]; ok {
		if v, ok := own[keyword]; ok {
			return v
		}
	}
	return s.Settings[keyword]
}

// User is one account of the host.
type User struct {
	Name  string `json:"name"`
	UID   int64  `json:"uid"`
	GID   int64  `json:"gid"`
	Home  string `json:"home"`
	Shell string `json:"shell"`
}

// Key is one public key that opens a host.
type Key struct {
	User        string   `json:"user"`        // the account that it opens; empty for a CA that may open any
	File        string   `json:"file"`        // where sshd reads it
	Line        int      `json:"line"`        // 1-based line in File
	Type        string   `json:"type"`        // "ssh-ed25519", ...; types unknown to us are kept
	Bits        int      `json:"bits"`        // RSA modulus, ECDSA curve or 256 for Ed25519; 0 when not known
	Fingerprint string   `json:"fingerprint"` // "SHA256:…" as OpenSSH prints it, without padding
	Blob        string   `json:"blob"`        // base64 of the public key
	Comment     string   `json:"comment"`
	Options     []string `json:"options,omitempty"` // each as written, in order: "restrict", "from=\"10.0.0.0/8\""
	CA          bool     `json:"ca"`                // a certificate authority: cert-authority option or TrustedUserCAKeys
	Problem     string   `json:"problem,omitempty"` // why sshd would ignore the line; such a key opens nothing
}

// Option gives an option's value (its quotes removed) and whether the key has
// the option. Names are matched without regard to case, as sshd does.
func (k Key) Option(name string) (string, bool) {
	for _, o := range k.Options {
		if len(o) < len(name) || !strings.EqualFold(o[:len(name)], name) {
			continue
		}
		switch rest := o[len(name):]; {
		case rest == "":
			return "", true
		case rest[0] == '=':
			return unquote(rest[1:]), true
		}
	}
	return "", false
}

// sendAway is the command of the line that cloud-init writes for root where
// disable_root holds, and for users that it disables. Source: cloud-init,
// ssh_util.py, DISABLE_USER_OPTS; early versions end without the exit.
var sendAway = regexp.MustCompile(`^echo 'Please login as the user "[^"']*" rather than the user "[^"']*"\.';echo;sleep 10(;exit 142)?$`)

// SendsAway reports whether the key's line only tells whoever uses it to log in
// as another user, as cloud-init's line for root does: it opens nothing.
func (k Key) SendsAway() bool {
	command, _ := k.Option("command")
	_, noForwarding := k.Option("no-port-forwarding")
	_, restrict := k.Option("restrict")
	return sendAway.MatchString(command) && (noForwarding || restrict)
}

// HostAgent is the SSM Agent as the host itself shows it.
type HostAgent struct {
	Installed bool   `json:"installed"`
	Path      string `json:"path,omitempty"`
	Package   string `json:"package,omitempty"` // "rpm", "deb", "snap"; empty when no package owns it
	Version   string `json:"version,omitempty"` // four numbers; empty when it would not tell
	Unit      string `json:"unit,omitempty"`
	Active    string `json:"active,omitempty"`  // systemd ActiveState: "active", "inactive", "failed"
	Enabled   string `json:"enabled,omitempty"` // systemd UnitFileState: "enabled", "disabled", "masked"; empty: not known, as without systemd

	Installs     []AgentInstall     `json:"installs,omitempty"`    // every installation; a snap beside a deb breaks both
	Proxy        map[string]string  `json:"proxy,omitempty"`       // the unit's http_proxy, https_proxy and no_proxy, in lower case, passwords taken out
	Config       AgentConfig        `json:"config,omitzero"`       // amazon-ssm-agent.json, where there is one
	Registration Fact[Registration] `json:"registration,omitzero"` // needs root
	Credentials  Fact[[]string]     `json:"credentials,omitzero"`  // paths of shared credentials files that the agent prefers to the role's; needs root
	Signs        Fact[[]LogSign]    `json:"signs,omitzero"`        // what the end of the agent's log tells; needs root
	Diagnostics  Fact[[]Diagnostic] `json:"diagnostics,omitzero"`  // of ssm-cli get-diagnostics; needs root and agent 3.1.501.0
	SSMUser      Fact[SSMUser]      `json:"ssmUser,omitzero"`      // sudo rights need root
}

// StartsAtBoot reports whether the agent starts when the host boots, by its
// unit's state; unknown as well where the host shows no agent. Source of the
// states: systemctl(1), is-enabled. Units that are static, indirect, alias or
// generated may be started by something else: their state does not tell.
func (a HostAgent) StartsAtBoot() Truth {
	if !a.Installed {
		return TruthUnknown
	}
	switch a.Enabled {
	case "enabled":
		return TruthYes
	case "disabled", "masked", "masked-runtime", "enabled-runtime", "linked", "linked-runtime", "transient":
		return TruthNo
	}
	return TruthUnknown
}

// AgentInstall is one installation of the SSM Agent.
type AgentInstall struct {
	Package string `json:"package"` // "rpm", "deb", "snap"
	Version string `json:"version,omitempty"`
}

// AgentConfig is what amazon-ssm-agent.json sets that decides where the agent connects.
type AgentConfig struct {
	File      string            `json:"file,omitempty"`      // empty: none, the defaults hold
	Problem   string            `json:"problem,omitempty"`   // why it could not be read or understood
	Region    string            `json:"region,omitempty"`    // Agent.Region
	Endpoints map[string]string `json:"endpoints,omitempty"` // "ssm", "mgs", "mds", "s3", "kms" to a host name
	DualStack bool              `json:"dualStack,omitempty"` // Agent.UseDualStackEndpoint
}

// Registration is a hybrid activation's registration in the agent's vault.
type Registration struct {
	ID     string `json:"id,omitempty"` // "mi-…"; empty: none, the agent identifies as the EC2 instance
	Region string `json:"region,omitempty"`
}

// LogSign is a line of the agent's log that tells of its state.
type LogSign struct {
	Kind string    `json:"kind"` // "sleeping", "hibernating", "access denied", "x509", "disk full", "inotify", "proxy", ...
	At   time.Time `json:"at,omitzero"`
	Text string    `json:"text"`
}

// Diagnostic is one check of "ssm-cli get-diagnostics".
type Diagnostic struct {
	Check  string `json:"check"`
	Status string `json:"status"` // "Success", "Skipped", "Failed"
	Note   string `json:"note,omitempty"`
}

// SSMUser is the account under which sessions run unless Run As says otherwise.
type SSMUser struct {
	Exists  bool       `json:"exists"`
	Shell   string     `json:"shell,omitempty"`
	Sudoers bool       `json:"sudoers"` // /etc/sudoers.d/ssm-agent-users is there
	Sudo    Fact[bool] `json:"sudo"`    // may run everything without a password
}

// Health is what about a host's machinery breaks agents and sessions.
type Health struct {
	Filesystems []Filesystem `json:"filesystems"` // those that hold /, /var, /var/lib/amazon, /var/log, /tmp and /home
	Inotify     Inotify      `json:"inotify"`
	Clock       Clock        `json:"clock,omitzero"`
	TrustStore  Fact[bool]   `json:"trustStore"` // Amazon Root CA 1 is among the host's certificate authorities
}

// Filesystem is a mounted file system. Sizes are in bytes.
type Filesystem struct {
	Mount      string   `json:"mount"`
	Type       string   `json:"type,omitempty"`
	Options    []string `json:"options,omitempty"`
	Size       int64    `json:"size"`
	Free       int64    `json:"free"`   // to those who are not root
	Inodes     int64    `json:"inodes"` // 0: the file system does not count them
	FreeInodes int64    `json:"freeInodes"`
}

// Inotify is root's share of the kernel's inotify instances. Zero limits: not known.
type Inotify struct {
	MaxInstances  int `json:"maxInstances"`
	MaxWatches    int `json:"maxWatches"`
	UsedInstances int `json:"usedInstances"` // counted only as root
}

// Clock compares the host's clock with the Date header of an AWS endpoint,
// both read at the same moment.
type Clock struct {
	Host   time.Time `json:"host"`
	Server time.Time `json:"server"`
	Source string    `json:"source"` // the endpoint's host name
}

// MetadataTest is how the instance metadata service answered the host.
type MetadataTest struct {
	Reachable bool   `json:"reachable"`
	Tokens    bool   `json:"tokens"`           // gave an IMDSv2 token
	Status    int    `json:"status,omitempty"` // HTTP status of the last answer; 0: none
	Server    string `json:"server,omitempty"` // Server header: EC2's is "EC2ws"; a proxy's tells on it
	Role      string `json:"role,omitempty"`   // role whose credentials it offers
	Region    string `json:"region,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// CloudInit is how cloud-init treats SSH keys on this host.
type CloudInit struct {
	Present    bool     `json:"present"`
	Disabled   bool     `json:"disabled"`
	AlwaysKeys []string `json:"alwaysKeys,omitempty"` // files that make it add keys at every boot: [ssh, always] or [users-groups, always]
	KeyFiles   []string `json:"keyFiles,omitempty"`   // files with ssh_authorized_keys of their own
	BlocksKeys bool     `json:"blocksKeys"`           // allow_public_ssh_keys: false
}

// Trace is a sign that somebody or something uses SSH with this host.
type Trace struct {
	Use  Use       `json:"use"`
	What string    `json:"what"` // "/home/deploy/.ansible/tmp", "/srv/app/.git/config: git@github.com:acme/app.git"
	User string    `json:"user,omitempty"`
	At   time.Time `json:"at,omitzero"` // last change
}

// EndpointTest is one live test from a host to an endpoint on port 443. The
// stages build on one another: an earlier failure leaves the later ones unknown.
type EndpointTest struct {
	Service   string             `json:"service"` // "ssm", "ssmmessages", "ec2messages"
	Host      string             `json:"host"`
	Addresses Fact[[]netip.Addr] `json:"addresses"` // DNS answer; known and empty: the name does not exist
	TCP       Fact[bool]         `json:"tcp"`
	TLS       Fact[bool]         `json:"tls"` // known true: the chain was verified by the host's own trust store
	Issuer    string             `json:"issuer,omitempty"`
	Detail    string             `json:"detail,omitempty"` // the test program's own words on a failure
}

// LoginLog is what the host's logs tell about SSH logins, and how far back they reach.
// Absence of a login proves nothing outside of [From, To].
type LoginLog struct {
	Source string    `json:"source"` // "/var/log/auth.log", "journal"
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Logins []Login   `json:"logins"`
}

// Login is a group of accepted logins that are alike in all but time.
type Login struct {
	User        string     `json:"user"`
	Method      string     `json:"method"` // "publickey", "password", ...
	KeyType     string     `json:"keyType,omitempty"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	CertID      string     `json:"certId,omitempty"` // certificate's key ID
	CA          string     `json:"ca,omitempty"`     // fingerprint of the certificate's CA
	From        netip.Addr `json:"from,omitzero"`
	Use         Use        `json:"use,omitempty"` // empty: the log does not tell
	Count       int        `json:"count"`
	First       time.Time  `json:"first,omitzero"`
	Last        time.Time  `json:"last,omitzero"`
}

// Session is one open SSH session.
type Session struct {
	User string `json:"user"`
	TTY  string `json:"tty,omitempty"` // empty: no terminal (a command, a copy, a tunnel)
	PID  int    `json:"pid"`
	From string `json:"from,omitempty"` // peer address and port where the host could tell
	Use  Use    `json:"use,omitempty"`

	Fingerprint     string `json:"fingerprint,omitempty"` // key that opened it, where the log tells
	AgentForwarding bool   `json:"agentForwarding,omitempty"`
}

// Use is what an SSH connection is used for. Empty: not known.
type Use string

// The uses.
const (
	UseShell   Use = "shell"   // a terminal
	UseCommand Use = "command" // a command without a terminal
	UseSCP     Use = "scp"
	UseSFTP    Use = "sftp"
	UseRsync   Use = "rsync"
	UseAnsible Use = "ansible"
	UseGit     Use = "git"
	UseTunnel  Use = "tunnel" // port forwarding without a command
)
