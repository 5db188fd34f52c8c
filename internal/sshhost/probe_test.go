package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sshhost"
)

// The inventory reaches hosts through this package.
var _ inventory.Prober = (*sshhost.Prober)(nil)

// TestProbeOnRealOpenSSH runs the inventory's probe through this client on a
// real sshd, directly and through another one as bastion, and compares what
// it reports with what was set up.
func TestProbeOnRealOpenSSH(t *testing.T) {
	dir := t.TempDir()
	login, games, ca, old := newIdentity(t, dir, "login", ""), newIdentity(t, dir, "games", ""), newIdentity(t, dir, "ca", ""), newIdentity(t, dir, "old", "")
	rsa := filepath.Join(dir, "rsa")
	run(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-C", "robot <b>", "-N", "", "-f", rsa)
	rsaLine := strings.TrimSpace(readFile(t, rsa+".pub"))
	// A pattern without a leading slash is taken relative to the user's home.
	relative, err := filepath.Rel("/root", filepath.Join(dir, "relative"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "relative-root"), "\n# comment\nrestrict,from=\"127.0.0.0/8,10.0.0.0/8\",command=\"echo \\\"a, b\\\"\" "+rsaLine+"\n")
	writeFile(t, filepath.Join(dir, "only-games"), games.line())
	s := startSSHD(t, sshdOptions{
		dir:  dir,
		keys: map[string]string{"root": login.line() + "cert-authority " + old.line(), "daemon": old.line(), "games": old.line()},
		config: fmt.Sprintf(`AuthorizedKeysFile %[1]s/keys-%%u %[2]s-%%u
AuthorizedKeysCommand /bin/false %%u %%f
AuthorizedKeysCommandUser nobody
TrustedUserCAKeys %[3]s.pub
X11Forwarding yes`, dir, relative, ca.path),
		match: fmt.Sprintf("Match User games\n\tAuthorizedKeysFile %s/only-%%u\n\tX11Forwarding no\n", dir),
	})
	bastion := startSSHD(t, sshdOptions{keys: map[string]string{"root": login.line()}, listen: []string{"127.0.0.2"}})
	known := knownHosts(t, s, bastion)
	h := s.host()
	h.Region = "xx-test-1"

	for _, test := range []struct {
		name, config string
		via          []string
	}{
		{"directly", "", nil},
		{"through a bastion", fmt.Sprintf("Host jump\n HostName %s\n Port %d\nHost i-*\n ProxyJump root@jump\n", bastion.addr, bastion.port), []string{"jump"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, sshhost.Config{
				ConfigFile: writeFile(t, filepath.Join(t.TempDir(), "config"), test.config),
				Users:      []string{"root"}, Port: s.port, IdentityFiles: []string{login.path}, KnownHosts: []string{known}, Timeout: 2 * time.Minute,
			})
			out, err := c.Prober(inventory.Command, inventory.Script).Probe(context.Background(), h)
			if err != nil {
				t.Fatal(err)
			}
			p, err := inventory.Parse(out, time.Now())
			if err != nil {
				t.Fatalf("%v\n%s", err, out.Stderr)
			}
			if p.LoginUser != "root" || !p.Root || !slices.Equal(p.Via, test.via) {
				t.Errorf("login as %s, root %t, via %v", p.LoginUser, p.Root, p.Via)
			}
			checkSettings(t, s, p, dir)
			checkKeys(t, p, []fleet.Key{
				{User: "root", File: filepath.Join(dir, "keys-root"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(login)},
				{User: "root", File: filepath.Join(dir, "keys-root"), Line: 2, Type: "ssh-ed25519", Bits: 256, Blob: blob(old), Options: []string{"cert-authority"}, CA: true},
				{User: "root", File: filepath.Join(dir, "relative-root"), Line: 3, Type: "ssh-rsa", Bits: 3072, Blob: strings.Fields(rsaLine)[1], Comment: "robot <b>",
					Options: []string{"restrict", `from="127.0.0.0/8,10.0.0.0/8"`, `command="echo \"a, b\""`}},
				{User: "daemon", File: filepath.Join(dir, "keys-daemon"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(old)},
				{User: "games", File: filepath.Join(dir, "only-games"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(games)},
				{File: ca.path + ".pub", Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(ca), CA: true},
			})
			if diff := cmp.Diff(localUsers(t), userNames(p.Users.Value)); diff != "" {
				t.Errorf("users (-/etc/passwd +probe):\n%s", diff)
			}
		})
	}
}

func blob(i identity) string { return strings.Fields(i.line())[1] }

// checkSettings compares the server's settings, the daemon's arguments and
// what a Match block changes for one user.
func checkSettings(t *testing.T, s *sshd, p fleet.Probe, dir string) {
	t.Helper()
	if !p.SSHD.Known {
		t.Fatalf("settings unknown: %s", p.SSHD.Reason)
	}
	v := p.SSHD.Value
	if !strings.HasPrefix(v.Version, "OpenSSH_") || !strings.Contains(v.Arguments, "-f "+filepath.Join(dir, "sshd_config")) {
		t.Errorf("version %q, arguments %q", v.Version, v.Arguments)
	}
	for keyword, want := range map[string]string{
		"authorizedkeyscommand":     "/bin/false %u %f",
		"authorizedkeyscommanduser": "nobody",
		"trustedusercakeys":         filepath.Join(dir, "ca.pub"),
		"x11forwarding":             "yes",
		"maxstartups":               "2000:30:2000",
		"listenaddress":             s.address(),
	} {
		if got := v.For("root", keyword); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", keyword, got, want)
		}
	}
	if diff := cmp.Diff([]string{"games"}, keysOf(v.PerUser)); diff != "" {
		t.Errorf("users with settings of their own: %s", diff)
	}
	if got := v.For("games", "x11forwarding"); !slices.Equal(got, []string{"no"}) {
		t.Errorf("X11Forwarding of games is %q", got)
	}
	if got := v.For("games", "authorizedkeysfile"); !slices.Equal(got, []string{filepath.Join(dir, "only-%u")}) {
		t.Errorf("AuthorizedKeysFile of games is %q", got)
	}
}

// checkKeys compares all keys of the host, fingerprints included.
func checkKeys(t *testing.T, p fleet.Probe, want []fleet.Key) {
	t.Helper()
	if !p.Keys.Known {
		t.Errorf("keys unknown: %s", p.Keys.Reason)
	}
	for i, w := range want {
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.Type + " " + w.Blob))
		if err != nil {
			t.Fatal(err)
		}
		want[i].Fingerprint = ssh.FingerprintSHA256(k)
	}
	got := slices.Clone(p.Keys.Value)
	for i := range got {
		got[i].File = filepath.Clean(got[i].File)
	}
	order := func(a, b fleet.Key) int {
		return strings.Compare(a.File+strconv.Itoa(a.Line), b.File+strconv.Itoa(b.Line))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-there +reported):\n%s", diff)
	}
}

func keysOf[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func userNames(users []fleet.User) []string {
	var list []string
	for _, u := range users {
		list = append(list, u.Name)
	}
	slices.Sort(list)
	return list
}

func localUsers(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// TestSessionsOnRealOpenSSH opens sessions of several kinds on a real sshd and
// looks whether the probe tells them apart, and compares its account of the
// machine with the kernel's.
func TestSessionsOnRealOpenSSH(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "login", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line(), "games": id.line()}, config: "Subsystem sftp internal-sftp\nSubsystem program " + sftpServer(t)})
	signer, err := ssh.NewSignerFromSigner(id.private)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(user string) *ssh.Client {
		c, err := ssh.Dial("tcp", s.address(), &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(s.hostKey.public)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	open := func(c *ssh.Client, start func(*ssh.Session) error) {
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.StdinPipe(); err != nil { // kept open: so is what reads it
			t.Fatal(err)
		}
		if err := start(session); err != nil {
			t.Fatal(err)
		}
	}
	open(connect("root"), func(s *ssh.Session) error {
		return errors.Join(sshagent.RequestAgentForwarding(s), s.RequestPty("xterm", 24, 80, nil), s.Shell())
	})
	open(connect("root"), func(s *ssh.Session) error { return s.RequestSubsystem("sftp") })
	open(connect("root"), func(s *ssh.Session) error { return s.RequestSubsystem("program") })
	open(connect("root"), func(s *ssh.Session) error { return s.Start("exec cat") })
	connect("root")

	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}, Timeout: 2 * time.Minute})
	want := []string{"root shell agent", "root sftp", "root sftp", "root command", "root tunnel"}
	slices.Sort(want)
	// sshd starts what a session runs after it has answered; ask again until it has.
	var got []string
	var p fleet.Probe
	for range 20 {
		out, err := c.Prober(inventory.Command, inventory.Script).Probe(context.Background(), s.host())
		if err != nil {
			t.Fatal(err)
		}
		if p, err = inventory.Parse(out, time.Now()); err != nil {
			t.Fatalf("%v\n%s", err, out.Stderr)
		}
		if !p.Sessions.Known {
			t.Fatalf("sessions unknown: %s", p.Sessions.Reason)
		}
		if got = s.sessions(t, p.Sessions.Value); slices.Equal(got, want) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-open +reported):\n%s", diff)
	}
	checkHealth(t, p)
}

// sessions shows those that this server serves, in order; other servers of the
// machine have some of their own.
func (s *sshd) sessions(t *testing.T, all []fleet.Session) []string {
	t.Helper()
	var list []string
	for _, one := range all {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", one.PID))
		if err != nil {
			continue // another server's, which has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if w := strings.Fields(after); len(w) < 2 || w[1] != strconv.Itoa(s.cmd.Process.Pid) {
			continue
		}
		text := one.User + " " + string(one.Use)
		if one.AgentForwarding {
			text += " agent"
		}
		if (one.TTY != "") != (one.Use == fleet.UseShell) {
			t.Errorf("terminal %q of a session for %s", one.TTY, one.Use)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func sftpServer(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatal("sftp-server is missing: apt-get install openssh-sftp-server")
	return ""
}

// checkHealth compares the root file system and the limits with the kernel's.
func checkHealth(t *testing.T, p fleet.Probe) {
	t.Helper()
	if !p.Health.Known {
		t.Fatalf("health unknown: %s", p.Health.Reason)
	}
	h := p.Health.Value
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/", &fs); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(h.Filesystems, func(f fleet.Filesystem) bool { return f.Mount == "/" })
	if i < 0 {
		t.Fatalf("no root file system: %+v", h.Filesystems)
	}
	root := h.Filesystems[i]
	if size := int64(fs.Blocks) * fs.Bsize; root.Size > size || root.Size < size-1024 || root.Inodes != int64(fs.Files) {
		t.Errorf("root file system %+v, the kernel says %d bytes and %d inodes", root, size, fs.Files)
	}
	if root.Free <= 0 || root.Free > root.Size || root.Type == "" || len(root.Options) == 0 {
		t.Errorf("root file system %+v", root)
	}
	limit := strings.TrimSpace(readFile(t, "/proc/sys/fs/inotify/max_user_instances"))
	if strconv.Itoa(h.Inotify.MaxInstances) != limit {
		t.Errorf("inotify %+v, the kernel allows %s instances", h.Inotify, limit)
	}
	if !h.TrustStore.Known {
		t.Errorf("trust store unknown: %s", h.TrustStore.Reason)
	}
	if !p.CloudInit.Known || !p.Traces.Known || !p.Metadata.Known {
		t.Errorf("cloud-init %q, traces %q, metadata %q", p.CloudInit.Reason, p.Traces.Reason, p.Metadata.Reason)
	}
}

// The probe asks the server, too, what holds for connections from the host
// itself, as SSH through Session Manager makes them.
func TestProbeAsksForConnectionsFromTheHostItself(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{
		keys: map[string]string{"root": id.line(), "games": id.line()}, listen: []string{"127.0.0.3"},
		match: "Match LocalAddress 127.0.0.3 User games\n\tX11Forwarding no\nMatch LocalAddress 127.0.0.1 User games\n\tPubkeyAuthentication no\n",
	})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}, Timeout: 2 * time.Minute})
	out, err := c.Prober(inventory.Command, inventory.Script).Probe(context.Background(), s.host())
	if err != nil {
		t.Fatal(err)
	}
	p, err := inventory.Parse(out, time.Now())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stderr)
	}
	if diff := cmp.Diff([]string{"games"}, keysOf(p.SSHD.Value.FromLoopback)); diff != "" {
		t.Fatalf("users with other settings from 127.0.0.1: %s", diff)
	}
	if got := p.SSHD.Value.FromLoopback["games"]["pubkeyauthentication"]; !slices.Equal(got, []string{"no"}) {
		t.Errorf("PubkeyAuthentication of games from 127.0.0.1 is %q", got)
	}
	if got := p.SSHD.Value.For("games", "pubkeyauthentication"); !slices.Equal(got, []string{"yes"}) {
		t.Errorf("PubkeyAuthentication of games is %q", got)
	}
}
