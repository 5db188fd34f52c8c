package simfleet

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"ssm-migrate/internal/fleet"
)

// reachTroubles is what may keep the operator from a look at a host, in
// percent of the hosts.
func reachTroubles(unreachable int) []share {
	const noSudo = 6
	down := unreachable / 2
	return []share{{"fine", 100 - noSudo - unreachable}, {"down", down}, {"no-ops", unreachable - down}, {"ops-no-sudo", noSudo}}
}

// sshdStyles is how the hosts' OpenSSH servers are set up.
var sshdStyles = []share{
	{"default", 50}, {"two-files", 10}, {"match", 8}, {"command", 6}, {"ca", 9}, {"instance-connect", 14}, {"hardened", 3},
}

// access fills the inside of the Linux hosts: sshd, users, keys, logins.
func (b *regionBuilder) access(all []placed) {
	reach := deal(b.rng("reach", b.Account.ID, b.Name), len(all), reachTroubles(b.unreachable))
	styles := deal(b.rng("sshd", b.Account.ID, b.Name), len(all), sshdStyles)
	findSources(all)
	hostile := 0
	for i, p := range all {
		if p.OS.Family == "windows" {
			p.SSHD.Match = map[string][]Setting{}
			continue
		}
		if p.Role == "bastion" {
			reach[i] = "fine"
		}
		if p.Host.AutoScalingGroup != "" && styles[i] != "instance-connect" {
			styles[i] = "default"
		}
		h := &hostBuilder{regionBuilder: b, placed: p, style: styles[i], r: b.rng("access", p.Host.ID)}
		h.sshd()
		h.users(reach[i])
		if p.Role == "app" && hostile < 2 && reach[i] == "fine" {
			h.hostileKeys(hostile)
			hostile++
		}
		p.Down = reach[i] == "down"
		h.logins()
	}
}

// hostBuilder fills the inside of one host.
type hostBuilder struct {
	*regionBuilder
	placed
	style  string
	r      *rand.Rand
	logged []loginHabit
}

func (h *hostBuilder) file(path string, mode uint32, content string) {
	h.Files = append(h.Files, File{Path: path, Content: []byte(content), Mode: mode})
}

func (h *hostBuilder) sshd() {
	h.SSHD.Settings = []Setting{{"PasswordAuthentication", "no"}, {"KbdInteractiveAuthentication", "no"}, {"UsePAM", "yes"}, {"X11Forwarding", "yes"}}
	if h.OS.Family == "alpine" {
		h.SSHD.Settings = []Setting{{"AllowTcpForwarding", "no"}, {"PasswordAuthentication", "no"}}
	}
	h.SSHD.Match = map[string][]Setting{}
	set := func(keyword, value string) { h.SSHD.Settings = append(h.SSHD.Settings, Setting{keyword, value}) }
	if h.style != "hardened" && h.rng("log level", h.Host.ID).IntN(3) == 0 {
		set("LogLevel", "VERBOSE")
	}
	switch h.style {
	case "two-files":
		set("AuthorizedKeysFile", ".ssh/authorized_keys /etc/ssh/authorized_keys/%u")
		h.file("/etc/ssh/authorized_keys/"+h.OS.User, 0o644, "# managed by puppet\n"+h.people.shared.key.line()+"\n"+pick(h.r, h.people.staff).key.line()+"\n")
	case "match":
		h.SSHD.Match["backup"] = []Setting{{"AuthorizedKeysFile", "/etc/ssh/keys/%u"}, {"ForceCommand", "/usr/local/bin/backup-only"}}
		h.SSHD.Match["deploy"] = []Setting{{"AllowTcpForwarding", "no"}, {"X11Forwarding", "no"}}
	case "command":
		set("AuthorizedKeysCommand", "/usr/local/bin/ldap-keys %u")
		set("AuthorizedKeysCommandUser", "nobody")
		h.file("/usr/local/bin/ldap-keys", 0o755, "#!/bin/sh\nexec ldapsearch -LLL -x -H ldaps://ldap.corp.example \"(uid=$1)\" sshPublicKey\n")
	case "ca":
		set("TrustedUserCAKeys", "/etc/ssh/user_ca.pub")
		h.file("/etc/ssh/user_ca.pub", 0o644, h.people.ca.line()+"\n")
	case "hardened":
		set("PermitRootLogin", "no")
		set("AllowTcpForwarding", "local")
		set("LogLevel", "VERBOSE")
		set("MaxAuthTries", "3")
	case "instance-connect":
		dir := "/usr/share/ec2-instance-connect"
		if h.OS.Family == "amzn" || h.OS.Family == "rhel" {
			dir = "/opt/aws/bin"
		}
		h.SSHD.Arguments = "-o AuthorizedKeysCommand=" + dir + "/eic_run_authorized_keys %u %f -o AuthorizedKeysCommandUser=ec2-instance-connect"
		unit := h.OS.SSHUnit
		h.file("/usr/lib/systemd/system/"+unit+".service.d/ec2-instance-connect.conf", 0o644,
			"[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand "+dir+"/eic_run_authorized_keys %%u %%f\" -o \"AuthorizedKeysCommandUser ec2-instance-connect\" $SSHD_OPTS\n")
	}
}

// user adds an account with its keys; UIDs count up from 1000 as adduser gives them.
func (h *hostBuilder) user(name string, sudo bool, keys ...string) *User {
	u := &User{Name: name, UID: 1000 + len(h.Users) - 1, Home: "/home/" + name, Shell: "/bin/bash", Sudo: sudo, Keys: keys}
	if h.OS.Family == "alpine" {
		u.Shell = "/bin/ash"
	}
	h.Users = append(h.Users, u)
	return u
}

// person adds an account for one of the people.
func (h *hostBuilder) person(p person) {
	h.user(p.name, h.r.IntN(3) > 0, p.key.line())
	if !p.left {
		h.habit(p.name, p.key, p.name, fleet.UseShell, 1+h.r.IntN(6))
	}
}

func (h *hostBuilder) users(reach string) {
	blocked := fmt.Sprintf(`no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"%s\" rather than the user \"root\".';echo;sleep 10;exit 142" %s`, h.OS.User, h.keyPair())
	h.Users = []*User{{Name: "root", Home: "/root", Shell: "/bin/bash", Sudo: true, Keys: []string{blocked}}}
	if h.OS.Family == "alpine" {
		h.Users[0].Shell, h.Users[0].Keys = "/bin/ash", nil
	}
	h.defaultUser()
	if reach != "no-ops" {
		h.user(OperatorUser, reach != "ops-no-sudo", h.operator)
	}
	switch h.Role {
	case "bastion":
		for _, p := range h.people.staff {
			h.person(p)
		}
		h.person(h.people.leavers[0])
	case "web", "edge", "app":
		h.user("deploy", false, `from="10.0.0.0/8,203.0.113.0/24",no-pty `+h.people.ci.key.line())
		h.habit("deploy", h.people.ci.key, "ci", fleet.UseRsync, 20)
	case "db":
		h.user("backup", false, `restrict,command="/usr/local/bin/backup-only" `+h.people.backup.key.line())
		h.habit("backup", h.people.backup.key, "ci", fleet.UseSFTP, 40)
	}
	if h.Role == "app" || h.Role == "db" || h.Role == "worker" {
		for _, i := range h.r.Perm(len(h.people.staff))[:1+h.r.IntN(4)] {
			h.person(h.people.staff[i])
		}
	}
	if h.old() && h.r.IntN(2) == 0 {
		h.person(h.people.leavers[1+h.r.IntN(len(h.people.leavers)-1)])
	}
	if h.r.IntN(8) == 0 {
		h.user("contractor", false, `expiry-time="20260301" `+h.people.leavers[1].key.line()).Locked = true
	}
	if h.style == "ca" && h.r.IntN(2) == 0 {
		h.user("oncall", true, `cert-authority,principals="oncall" `+h.people.ca.line())
		h.habit("oncall", h.people.ca, "cert", fleet.UseShell, 4)
	}
}

// defaultUser is the image's login user with all that has gathered in its file.
func (h *hostBuilder) defaultUser() {
	lines := []string{h.keyPair(), h.people.ansible.key.line()}
	if h.Host.Tags["team"] == "web" || h.r.IntN(3) == 0 {
		lines = append(lines, h.people.shared.key.line())
		h.habit(h.OS.User, h.people.shared.key, "alice", fleet.UseShell, 3)
	}
	if h.old() {
		lines = append(lines, "# --- added by hand ---", pick(h.r, h.people.leavers).key.line())
	}
	if h.old() && h.r.IntN(4) == 0 {
		lines = append(lines, pick(h.r, h.people.weak).key.line())
	}
	h.user(h.OS.User, true, lines...)
	h.habit(h.OS.User, h.people.ansible.key, "ci", fleet.UseAnsible, 25)
}

// old tells hosts that have seen people come and go.
func (h *hostBuilder) old() bool {
	return h.Host.AutoScalingGroup == "" && h.Host.LaunchTime.Before(h.base.AddDate(0, 0, -250))
}

func (h *hostBuilder) keyPair() string {
	for _, k := range h.KeyPairs {
		if k.Name == h.Host.KeyName {
			return k.PublicKey
		}
	}
	return ""
}

// hostileKeys puts lines into the default user's file that attack whoever
// shows, parses or keeps them.
func (h *hostBuilder) hostileKeys(which int) {
	for _, u := range h.Users {
		if u.Name != h.OS.User {
			continue
		}
		if which == 0 {
			for _, k := range h.people.hostile {
				u.Keys = append(u.Keys, k.line())
			}
			return
		}
		u.Keys = append(u.Keys, "ssh-ed25519 AAAAthis-is-not-base64 broken", "no-such-option ssh-ed25519", `command="unclosed ssh-ed25519 AAAA`, strings.Repeat("A", 20_000))
	}
}
