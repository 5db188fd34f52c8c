package simfleet

import (
	"bytes"
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// machine is one instance as one command or login sees it: a copy of the model
// taken under the world's lock, and its files.
type machine struct {
	hosts *Hosts
	inst  *Instance // the original, for identity; its fields may change meanwhile
	Instance
	fs       *vfs
	clock    func() time.Time // host clock
	live     []liveLogin      // logins of real clients
	keyPairs []*fleet.KeyPair // of the Region
	exec     *execution       // the command that runs; nil during authentication
}

// machine copies what an instance is now.
func (h *Hosts) machine(inst *Instance) *machine {
	h.w.Mu.RLock()
	defer h.w.Mu.RUnlock()
	return h.lockedMachine(inst)
}

// lockedMachine is machine for a caller that holds w.Mu, at least for reading.
func (h *Hosts) lockedMachine(inst *Instance) *machine {
	m := &machine{hosts: h, inst: inst, Instance: *inst}
	m.Users = slices.Clone(inst.Users)
	for i, u := range m.Users {
		own := *u
		m.Users[i] = &own
	}
	m.Logins = slices.Clone(inst.Logins)
	m.Sessions = slices.Clone(inst.Sessions)
	m.Files = slices.Clone(inst.Files)
	m.keyPairs = inst.Region.KeyPairs
	now := h.w.Now
	m.clock = func() time.Time { return now().UTC().Add(m.Skew) }
	h.mu.Lock()
	for _, l := range h.live[inst] {
		m.live = append(m.live, *l)
	}
	h.mu.Unlock()
	m.fs = &vfs{
		overlay: func(create bool) *overlay { return h.overlay(inst, create) },
		proc:    m.procNode,
		procDir: m.procNames,
		disk:    h.opts.Disk,
		now:     m.clock,
		full:    m.full,
		fixed:   func(name string) bool { return slices.Contains(m.filesystem(name).Options, "ro") },
	}
	m.fs.base = m.baseFiles()
	return m
}

// full reports whether the file system that holds a path has no room for data,
// or no inode for a further file.
func (m *machine) full(name string, inode bool) bool {
	if strings.HasPrefix(name, "/run/") {
		return false // in memory
	}
	fs := m.filesystem(name)
	if inode {
		return fs.Inodes > 0 && fs.FreeInodes == 0
	}
	return fs.Size > 0 && fs.Free == 0
}

// root is the superuser, as whom the system's own services read files.
var root = cred{}

// version is OpenSSH's as major*100+minor: 906 for "OpenSSH_9.6p1 …".
func (m *machine) version() int {
	v := strings.TrimPrefix(m.OS.SSHDBuild, "OpenSSH_")
	major, rest, _ := strings.Cut(v, ".")
	a, _ := strconv.Atoi(major)
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	b, _ := strconv.Atoi(rest[:digits])
	return a*100 + b
}

// loginProcess is the name under which sshd serves and logs one connection.
func (m *machine) loginProcess() string {
	if m.version() >= 908 {
		return "sshd-session"
	}
	return "sshd"
}

func (m *machine) systemd() bool { return m.OS.Family != "alpine" && m.OS.Family != "windows" }

func (m *machine) rpmBased() bool {
	return m.OS.Family == "amzn" || m.OS.Family == "rhel" || m.OS.Family == "sles"
}

func (m *machine) dpkgBased() bool { return m.OS.Family == "debian" || m.OS.Family == "ubuntu" }

// release is VERSION_ID as major*100+minor.
func (m *machine) release() int {
	major, minor, _ := strings.Cut(m.OS.Version, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a*100 + b
}

// account is a line of /etc/passwd.
type account struct {
	name     string
	uid, gid int
	gecos    string
	home     string
	shell    string
}

func (a account) String() string {
	return strings.Join([]string{a.name, "x", strconv.Itoa(a.uid), strconv.Itoa(a.gid), a.gecos, a.home, a.shell}, ":")
}

// group is a line of /etc/group.
type group struct {
	name    string
	gid     int
	members []string
}

func (g group) String() string {
	return g.name + ":x:" + strconv.Itoa(g.gid) + ":" + strings.Join(g.members, ",")
}

// accounts reads /etc/passwd.
func (m *machine) accounts() []account {
	data, err := m.fs.readFile(root, "/etc/passwd")
	if err != nil {
		return nil
	}
	var out []account
	for line := range bytes.Lines(data) {
		f := strings.Split(strings.TrimRight(string(line), "\n"), ":")
		if len(f) != 7 {
			continue
		}
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if err1 == nil && err2 == nil {
			out = append(out, account{f[0], uid, gid, f[4], f[5], f[6]})
		}
	}
	return out
}

// groups reads /etc/group.
func (m *machine) groups() []group {
	data, err := m.fs.readFile(root, "/etc/group")
	if err != nil {
		return nil
	}
	var out []group
	for line := range bytes.Lines(data) {
		f := strings.Split(strings.TrimRight(string(line), "\n"), ":")
		if len(f) != 4 {
			continue
		}
		gid, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		g := group{name: f[0], gid: gid}
		if f[3] != "" {
			g.members = strings.Split(f[3], ",")
		}
		out = append(out, g)
	}
	return out
}

// account finds an account by name.
func (m *machine) account(name string) (account, bool) {
	all := m.accounts()
	i := slices.IndexFunc(all, func(a account) bool { return a.name == name })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}

// userName is the name of a user ID, or the number where it has none.
func (m *machine) userName(uid int) string {
	for _, a := range m.accounts() {
		if a.uid == uid {
			return a.name
		}
	}
	return strconv.Itoa(uid)
}

// groupName is the name of a group ID, or the number where it has none.
func (m *machine) groupName(gid int) string {
	for _, g := range m.groups() {
		if g.gid == gid {
			return g.name
		}
	}
	return strconv.Itoa(gid)
}

// credOf gives what the kernel knows of an account's processes.
func (m *machine) credOf(a account) cred {
	c := cred{uid: a.uid, gid: a.gid}
	for _, g := range m.groups() {
		if g.gid == a.gid || slices.Contains(g.members, a.name) {
			c.groups = append(c.groups, g.gid)
		}
	}
	return c
}

// maySudo reports whether the account may become root without a password.
func (m *machine) maySudo(name string) bool {
	if name == "root" {
		return true
	}
	if rule, err := m.fs.readFile(root, ssmUserSudoers); err == nil && slices.Contains(lines(rule), name+" ALL=(ALL) NOPASSWD:ALL") {
		return true
	}
	return slices.ContainsFunc(m.Users, func(u *User) bool { return u.Name == name && u.Sudo })
}

// systemAccounts are the accounts that an image has besides the model's users.
func (m *machine) systemAccounts() []account {
	nologin := "/usr/sbin/nologin"
	if m.rpmBased() || m.OS.Family == "alpine" {
		nologin = "/sbin/nologin"
	}
	out := []account{
		{"root", 0, 0, "root", "/root", m.defaultShell()},
		{"daemon", 2, 2, "daemon", "/sbin", nologin},
		{"bin", 1, 1, "bin", "/bin", nologin},
		{"mail", 8, 8, "mail", "/var/mail", nologin},
		{"sshd", 74, 74, "Privilege-separated SSH", "/run/sshd", nologin},
		{"nobody", 65534, 65534, "nobody", "/nonexistent", nologin},
	}
	if strings.Contains(m.SSHD.Arguments, "ec2-instance-connect") {
		out = append(out, account{"ec2-instance-connect", 993, 993, "", "/home/ec2-instance-connect", nologin})
	}
	return out
}

func (m *machine) defaultShell() string {
	if m.OS.Family == "alpine" {
		return "/bin/ash"
	}
	return "/bin/bash"
}

// modelAccounts are all accounts that the model implies, by user ID.
func (m *machine) modelAccounts() []account {
	var out []account
	for _, u := range m.Users {
		out = append(out, account{u.Name, u.UID, u.UID, "", u.Home, cmp.Or(u.Shell, m.defaultShell())})
	}
	if a, ok := m.ssmUser(); ok {
		out = append(out, a)
	}
	for _, a := range m.systemAccounts() {
		if !slices.ContainsFunc(out, func(o account) bool { return o.name == a.name }) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b account) int { return cmp.Compare(a.uid, b.uid) })
	return out
}

// ssmUserName is the account under which sessions run unless Run As says otherwise.
const ssmUserName = "ssm-user"

// ssmUser is that account where there is one besides the model's users: the
// agent made it with useradd -m at its first session.
func (m *machine) ssmUser() (account, bool) {
	there := m.Machine.SSMUser == SSMUserForeign || m.Machine.SSMUser == SSMUserByAgent && m.Agent.Installed
	if !there || m.OS.Family == "windows" || slices.ContainsFunc(m.Users, func(u *User) bool { return u.Name == ssmUserName }) {
		return account{}, false
	}
	id := 1000
	for _, u := range m.Users {
		id = max(id, u.UID)
	}
	shell := m.defaultShell()
	if m.dpkgBased() {
		shell = "/bin/sh" // useradd's default there
	}
	return account{ssmUserName, id + 1, id + 1, "", "/home/" + ssmUserName, shell}, true
}

// administrators is the group whose members may sudo.
func (m *machine) administrators() (string, int) {
	if m.dpkgBased() {
		return "sudo", 27
	}
	return "wheel", 10
}

func (m *machine) modelGroups() []group {
	admin, adminID := m.administrators()
	var sudoers []string
	for _, u := range m.Users {
		if u.Sudo && u.UID != 0 {
			sudoers = append(sudoers, u.Name)
		}
	}
	out := []group{{"adm", 4, sudoers}, {admin, adminID, sudoers}, {"shadow", 42, nil}, {"systemd-journal", 190, nil}}
	for _, a := range m.modelAccounts() {
		out = append(out, group{a.name, a.gid, nil})
	}
	slices.SortStableFunc(out, func(a, b group) int { return cmp.Compare(a.gid, b.gid) })
	return out
}

// keyFiles gives the paths that an AuthorizedKeysFile value names for an
// account, as sshd expands them.
func keyFiles(patterns []string, a account) []string {
	tokens := strings.NewReplacer("%%", "%", "%h", a.home, "%u", a.name, "%U", strconv.Itoa(a.uid))
	var out []string
	for _, p := range patterns {
		if strings.EqualFold(p, "none") {
			continue
		}
		p = tokens.Replace(p)
		if !path.IsAbs(p) {
			p = path.Join(a.home, p)
		}
		out = append(out, p)
	}
	return out
}
