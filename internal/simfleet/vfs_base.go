package simfleet

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// baseBuilder collects the files that the model of one machine implies.
type baseBuilder struct {
	m     *machine
	nodes map[string]*node
	since time.Time
}

// baseFiles makes the base layer of a machine's file system.
func (m *machine) baseFiles() map[string]*node {
	b := &baseBuilder{m: m, nodes: map[string]*node{}, since: m.Host.LaunchTime}
	b.system()
	b.programs()
	b.accounts()
	b.sshd()
	b.agent()
	b.trustStore()
	b.cloudInit()
	b.traces()
	b.logs()
	for _, f := range m.Files {
		b.file(f.Path, fs.FileMode(f.Mode), f.UID, f.GID, f.Content)
	}
	return b.nodes
}

// dir makes a directory, and those above it as root's where they are missing.
func (b *baseBuilder) dir(name string, mode fs.FileMode, uid, gid int) {
	if name != "/" {
		b.parents(name)
	}
	b.nodes[name] = &node{mode: fs.ModeDir | mode, uid: uid, gid: gid, mtime: b.since}
}

func (b *baseBuilder) parents(name string) {
	for dir := path.Dir(name); b.nodes[dir] == nil; dir = path.Dir(dir) {
		b.nodes[dir] = &node{mode: fs.ModeDir | 0o755, mtime: b.since}
		if dir == "/" {
			break
		}
	}
}

func (b *baseBuilder) file(name string, mode fs.FileMode, uid, gid int, data []byte) {
	name = path.Clean("/" + name)
	b.parents(name)
	b.nodes[name] = &node{mode: mode.Perm(), uid: uid, gid: gid, mtime: b.since, data: data}
}

func (b *baseBuilder) text(name string, mode fs.FileMode, text string) {
	b.file(name, mode, 0, 0, []byte(text))
}

// lazy makes a file of root's whose content is made when it is read.
func (b *baseBuilder) lazy(name string, mode fs.FileMode, gid int, content func() []byte) {
	b.file(name, mode, 0, gid, nil)
	b.nodes[path.Clean("/"+name)].lazy = content
}

func (b *baseBuilder) link(name, target string) {
	b.parents(name)
	b.nodes[name] = &node{mode: fs.ModeSymlink | 0o777, mtime: b.since, target: target}
}

func (b *baseBuilder) system() {
	m := b.m
	for _, d := range []string{"/", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin", "/usr/local/sbin", "/etc/ssh/sshd_config.d",
		"/home", "/srv", "/var/log", "/var/lib", "/run", "/opt", "/snap"} {
		b.dir(d, 0o755, 0, 0)
	}
	for _, d := range []string{"/tmp", "/var/tmp"} {
		b.dir(d, 0o777|fs.ModeSticky, 0, 0)
	}
	if m.OS.Family == "alpine" {
		b.dir("/bin", 0o755, 0, 0)
		b.dir("/sbin", 0o755, 0, 0)
	} else {
		b.link("/bin", "usr/bin")
		b.link("/sbin", "usr/sbin")
		b.link("/lib", "usr/lib")
	}
	b.link("/var/run", "/run")
	if m.systemd() {
		b.dir("/run/systemd/system", 0o755, 0, 0)
		b.dir("/etc/systemd/system", 0o755, 0, 0)
		b.dir("/etc/systemd/system/timers.target.wants", 0o755, 0, 0)
		b.dir("/var/lib/systemd/timers", 0o755, 0, 0)
	}
	b.dir("/dev", 0o755, 0, 0)
	for _, d := range []string{"/dev/null", "/dev/zero", "/dev/tty"} {
		b.nodes[d] = &node{mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, mtime: b.since}
	}
	release := "/etc/os-release"
	if m.OS.Family != "alpine" {
		release = "/usr/lib/os-release"
		b.link("/etc/os-release", "../usr/lib/os-release")
	}
	name, _, _ := strings.Cut(m.OS.Pretty, " "+m.OS.Version)
	b.text(release, 0o644, fmt.Sprintf("PRETTY_NAME=%q\nNAME=%q\nVERSION_ID=%q\nVERSION=%q\nID=%s\n",
		m.OS.Pretty, name, m.OS.Version, m.OS.Version, quotedID(m.OS.Family)))
	b.text("/etc/hostname", 0o644, m.Hostname+"\n")
	b.text("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	b.text("/etc/nsswitch.conf", 0o644, "passwd:         files systemd\ngroup:          files systemd\nshadow:         files\nhosts:          files dns\n")
}

// quotedID is ID= of os-release as the distribution writes it.
func quotedID(family string) string {
	switch family {
	case "amzn", "rhel", "sles":
		return `"` + family + `"`
	}
	return family
}

// programs makes an entry for each registered program that the machine has.
func (b *baseBuilder) programs() {
	for name, p := range b.m.hosts.programs {
		if p.on != nil && !p.on(b.m) {
			continue
		}
		for _, dir := range p.dirs(b.m) {
			at := path.Join(dir, name)
			b.file(at, 0o755, 0, 0, []byte("\x7fELF\x02\x01\x01\x00"))
			b.nodes[at].program = name
			if name == "sudo" {
				b.nodes[at].mode |= fs.ModeSetuid
			}
		}
	}
}

func (b *baseBuilder) accounts() {
	m := b.m
	var passwd, shadow, groups strings.Builder
	for _, a := range m.modelAccounts() {
		fmt.Fprintln(&passwd, a)
	}
	for _, g := range m.modelGroups() {
		fmt.Fprintln(&groups, g)
	}
	for _, a := range m.modelAccounts() {
		password := "*"
		for _, u := range m.Users {
			if u.Name == a.name && u.Locked {
				password = "!"
			}
		}
		fmt.Fprintf(&shadow, "%s:%s:19700:0:99999:7:::\n", a.name, password)
	}
	b.text("/etc/passwd", 0o644, passwd.String())
	b.text("/etc/group", 0o644, groups.String())
	b.file("/etc/shadow", 0o640, 0, 42, []byte(shadow.String()))
	b.dir("/root", 0o700, 0, 0)
	for _, u := range m.Users {
		mode := fs.FileMode(0o700)
		switch {
		case m.OS.Family == "debian", m.OS.Family == "ubuntu" && m.release() < 2104:
			mode = 0o755
		case m.OS.Family == "ubuntu":
			mode = 0o750
		}
		if u.Home != "/root" && strings.HasPrefix(u.Home, "/") && u.Home != "/" {
			b.dir(path.Clean(u.Home), mode, u.UID, u.UID)
		}
	}
	if a, ok := m.ssmUser(); ok {
		b.dir(a.home, 0o700, a.uid, a.gid)
	}
}

func (b *baseBuilder) sshd() {
	m := b.m
	if m.OS.Family == "windows" {
		return
	}
	mode := fs.FileMode(0o644)
	if m.rpmBased() {
		mode = 0o600
	}
	b.text("/etc/ssh/sshd_config", mode, m.sshdConfigText())
	key := sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(m.HostKey) })
	b.lazy("/etc/ssh/ssh_host_ed25519_key", 0o600, 0, func() []byte {
		block, err := ssh.MarshalPrivateKey(key(), "root@"+m.Hostname)
		if err != nil {
			return nil
		}
		// Two equal numbers, which are random, tell whether it was deciphered well
		// (OpenSSH's PROTOCOL.key). A file's content does not change by reading it.
		const check = 98
		copy(block.Bytes[check:check+8], "ownsowns")
		return pem.EncodeToMemory(block)
	})
	b.lazy("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, 0, func() []byte {
		public, err := ssh.NewPublicKey(key().Public())
		if err != nil {
			return nil
		}
		return ssh.MarshalAuthorizedKey(public)
	})
	for _, u := range m.Users {
		b.authorizedKeys(u)
	}
}

// authorizedKeys writes a user's keys to the first file that sshd reads for them.
func (b *baseBuilder) authorizedKeys(u *User) {
	if len(u.Keys) == 0 {
		return
	}
	a := account{name: u.Name, uid: u.UID, gid: u.UID, home: u.Home}
	files := keyFiles(b.m.modelSetting(u.Name, "AuthorizedKeysFile", ".ssh/authorized_keys"), a)
	if len(files) == 0 {
		return
	}
	data := []byte(strings.Join(u.Keys, "\n") + "\n")
	at := path.Clean(files[0])
	if rest, ok := strings.CutPrefix(at, path.Clean(u.Home)+"/"); ok {
		if dir := path.Dir(rest); dir != "." {
			b.dir(path.Join(u.Home, dir), 0o700, u.UID, u.UID)
		}
		b.file(at, 0o600, u.UID, u.UID, data)
		return
	}
	b.file(at, 0o644, 0, 0, data)
}

// modelSetting looks a keyword up in the model's configuration, as it holds for a user.
func (m *machine) modelSetting(user, keyword, otherwise string) []string {
	find := func(settings []Setting) ([]string, bool) {
		for _, s := range settings {
			if strings.EqualFold(s.Keyword, keyword) {
				return splitArguments(s.Value), true
			}
		}
		return nil, false
	}
	// In sshd_config the first value wins within the global section, but a
	// Match block that applies overrides the global section.
	if v, ok := find(m.SSHD.Match[user]); ok {
		return v
	}
	if v, ok := find(m.SSHD.Settings); ok {
		return v
	}
	return splitArguments(otherwise)
}

func (b *baseBuilder) binary(name, program string) {
	b.file(name, 0o755, 0, 0, []byte("\x7fELF\x02\x01\x01\x00"))
	b.nodes[name].program = program
}

// logs makes the text logs that sshd's lines end up in.
func (b *baseBuilder) logs() {
	m := b.m
	if m.OS.AuthLog == "" || m.OS.Family == "windows" {
		return
	}
	mode, gid := fs.FileMode(0o600), 0
	if m.dpkgBased() {
		mode, gid = 0o640, 4
	}
	cut := m.rotated()
	b.lazy(m.OS.AuthLog, mode, gid, func() []byte { return m.logText(cut, time.Time{}) })
	b.nodes[m.OS.AuthLog].mtime = m.clock()
	if m.logStart().Before(cut) {
		b.lazy(m.rotatedLog(cut), mode, gid, func() []byte { return m.logText(time.Time{}, cut) })
	}
}
