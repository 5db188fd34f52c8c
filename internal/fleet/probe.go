package fleet

import (
	"net/netip"
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

	Gaps []Gap `json:"gaps,omitempty"` // what else could not be read: single files, single users
}

// Whole reports whether the host told everything that it was asked.
func (p Probe) Whole() bool {
	return len(p.Gaps) == 0 && p.SSHD.Known && p.Users.Known && p.Keys.Known && p.Agent.Known &&
		p.Endpoints.Known && p.Logins.Known && p.Sessions.Known
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
	// PerUser holds, for users whom a Match block may treat differently, only
	// the settings that differ from Settings. Empty without Match blocks.
	PerUser map[string]map[string][]string `json:"perUser,omitempty"`
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

// HostAgent is the SSM Agent as the host itself shows it.
type HostAgent struct {
	Installed bool   `json:"installed"`
	Path      string `json:"path,omitempty"`
	Package   string `json:"package,omitempty"` // "rpm", "deb", "snap"; empty when no package owns it
	Version   string `json:"version,omitempty"` // four numbers; empty when it would not tell
	Unit      string `json:"unit,omitempty"`
	Active    string `json:"active,omitempty"`  // systemd ActiveState: "active", "inactive", "failed"
	Enabled   string `json:"enabled,omitempty"` // systemd UnitFileState: "enabled", "disabled", "masked"
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
}
