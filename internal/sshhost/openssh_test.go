package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

func TestScriptRunsWithItsInput(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}})

	// Longer than a channel's packet, so that it is sent in pieces.
	script := strings.Repeat("# "+strings.Repeat("x", 100)+"\n", 1000) + "echo out; echo err >&2; exit 3\n"
	out, err := probe(t, c, s.host(), script)
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.ProbeOutput{Stdout: []byte("out\n"), Stderr: []byte("err\n"), User: "root"}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(s.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestCommandThatPrintsNothingFails(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}})
	for script, want := range map[string]string{
		"echo no such thing >&2; exit 127": "status 127: no such thing",
		"kill -9 $PPID":                    "the connection broke",
		"kill -9 $$":                       "signal KILL",
	} {
		_, err := probe(t, c, s.host(), script)
		if !errors.Is(err, sshhost.ErrOutput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", script, err, want)
		}
	}
}

func TestBastionsShareOneConnection(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	outer := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	inner := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: []string{"127.0.0.2"}})
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: []string{"127.0.0.3"}})
	config := writeFile(t, filepath.Join(t.TempDir(), "config"), fmt.Sprintf(`
Host *
  User root
  IdentityFile %s
  UserKnownHostsFile %s
  StrictHostKeyChecking yes
Host outer
  HostName %s
  Port %d
Host inner
  HostName %s
  Port %d
  ProxyJump outer
Host 127.0.0.3
  Port %d
  ProxyJump inner
`, id.path, knownHosts(t, outer, inner, s), outer.addr, outer.port, inner.addr, inner.port, s.port))
	c := newClient(t, sshhost.Config{ConfigFile: config})

	const runs = 20
	errs := make(chan error, runs)
	for range runs {
		go func() {
			out, err := c.Prober("sh", func(fleet.Host) string { return "echo $SSH_CLIENT" }).Probe(context.Background(), s.host())
			if err == nil && (!strings.HasPrefix(string(out.Stdout), "127.0.0.1 ") || !cmp.Equal(out.Via, []string{"outer", "inner"})) {
				err = fmt.Errorf("got %q via %v", out.Stdout, out.Via)
			}
			errs <- err
		}()
	}
	for range runs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for name, d := range map[string]*sshd{"outer": outer, "inner": inner} {
		if n := strings.Count(d.log.String(), "Accepted publickey"); n != 1 {
			t.Errorf("%d logins at %s, want 1", n, name)
		}
	}

	// A bastion that went away is connected to again.
	outer.stop()
	again := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, port: outer.port, hostKey: outer.hostKey})
	if _, err := probe(t, c, s.host(), "echo back"); err != nil {
		t.Errorf("after the bastion's restart: %v", err)
	}
	if n := strings.Count(again.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins at the new bastion, want 1", n)
	}
}

func TestBastionProblemsNameTheBastion(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	closed := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, config: "AllowTcpForwarding no"})
	foreign := startSSHD(t, sshdOptions{})
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: []string{"127.0.0.3"}})
	known := knownHosts(t, closed, foreign, s)
	for _, test := range []struct {
		name, jump string
		port       int
		kind       error
		want       string
	}{
		{"forwarding is forbidden", closed.address(), s.port, sshhost.ErrUnreachable, "AllowTcpForwarding"},
		{"login is refused", foreign.address(), s.port, sshhost.ErrAuth, "bastion root@" + foreign.address()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: test.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}, Jump: "root@" + test.jump})
			_, err := probe(t, c, s.host(), "echo")
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), s.address()+": ") {
				t.Errorf("got %v, want %v with %q", err, test.kind, test.want)
			}
		})
	}
}

func TestHostThatIsItsOwnBastionIsReachedDirectly(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}, Jump: s.address()})
	out, err := probe(t, c, s.host(), "echo hello")
	if err != nil || string(out.Stdout) != "hello\n" || len(out.Via) != 0 {
		t.Errorf("got %q via %v, %v", out.Stdout, out.Via, err)
	}
}

func TestProxyCommand(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	known := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "i-* "+s.hostKey.line())
	config := func(command string) string {
		return writeFile(t, filepath.Join(t.TempDir(), "config"), fmt.Sprintf(`
Host i-*
  User root
  Port 22
  IdentityFile %s
  UserKnownHostsFile %s
  ProxyCommand %s
`, id.path, known, command))
	}
	// The token for the host is the instance ID, as with "aws ssm start-session".
	c := newClient(t, sshhost.Config{ConfigFile: config(fmt.Sprintf(`sh -c "test %%h:%%p:%%r = i-0123456789abcdef0:22:root && %s=%s exec %s"`, relayTo, s.address(), self))})
	out, err := probe(t, c, hostAt("192.0.2.1"), "echo hello")
	if err != nil || string(out.Stdout) != "hello\n" {
		t.Errorf("got %q, %v", out.Stdout, err)
	}

	c = newClient(t, sshhost.Config{ConfigFile: config(`sh -c "echo 'no such tunnel' >&2; exit 1"`)})
	if _, err = probe(t, c, hostAt("192.0.2.1"), "echo"); !errors.Is(err, sshhost.ErrHandshake) || !strings.Contains(err.Error(), "ProxyCommand: no such tunnel") {
		t.Errorf("got %v", err)
	}
}

func TestAgentKeys(t *testing.T) {
	dir := t.TempDir()
	plain, encrypted := newIdentity(t, dir, "plain", ""), newIdentity(t, dir, "encrypted", "secret")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": plain.line() + encrypted.line()}})
	known := knownHosts(t, s)
	socket := startAgent(t, plain, encrypted)
	for _, test := range []struct {
		name string
		cfg  sshhost.Config
		want string // in the error; empty: success
	}{
		{"agent alone", sshhost.Config{AgentSocket: socket}, ""},
		{"encrypted file, key in the agent", sshhost.Config{AgentSocket: socket, IdentityFiles: []string{encrypted.path}}, ""},
		{"public half of a key in the agent", sshhost.Config{AgentSocket: socket, IdentityFiles: []string{encrypted.path + ".pub"}}, ""},
		{"encrypted file alone", sshhost.Config{IdentityFiles: []string{encrypted.path}}, "ssh-add " + encrypted.path},
		{"agent does not run", sshhost.Config{AgentSocket: filepath.Join(dir, "none")}, "ssh-agent: connect"},
		{"agent does not run, but a file does", sshhost.Config{AgentSocket: filepath.Join(dir, "none"), IdentityFiles: []string{plain.path}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := test.cfg
			cfg.Users, cfg.Port, cfg.KnownHosts = []string{"root"}, s.port, []string{known}
			_, err := probe(t, newClient(t, cfg), s.host(), "echo")
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.Is(err, sshhost.ErrAuth) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNoMoreThanSixKeysAreOffered(t *testing.T) {
	dir := t.TempDir()
	var all []identity
	for i := range 9 {
		all = append(all, newIdentity(t, dir, fmt.Sprintf("id%d", i), ""))
	}
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": all[8].line()}})
	known := knownHosts(t, s)
	socket := startAgent(t, all...)
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, KnownHosts: []string{known}, AgentSocket: socket})
	_, err := probe(t, c, s.host(), "echo")
	if !errors.Is(err, sshhost.ErrAuth) || !strings.Contains(err.Error(), "3 further keys were not tried, since servers allow 6 tries") {
		t.Errorf("got %v", err)
	}
	// A named identity goes before all that the agent holds.
	c = newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, KnownHosts: []string{known}, AgentSocket: socket, IdentityFiles: []string{all[8].path}})
	if _, err := probe(t, c, s.host(), "echo"); err != nil {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, other := newIdentity(t, dir, "ca", ""), newIdentity(t, dir, "other", "")
	beside, named, expired, held := newIdentity(t, dir, "beside", ""), newIdentity(t, dir, "named", ""), newIdentity(t, dir, "expired", ""), newIdentity(t, dir, "held", "")
	for _, args := range [][]string{
		{"-I", "beside", "-n", "root", beside.path + ".pub"},
		{"-I", "named", "-n", "root", named.path + ".pub"},
		{"-I", "expired", "-n", "root", "-V", "20200101:20200102", expired.path + ".pub"},
		{"-I", "held", "-n", "root", held.path + ".pub"},
	} {
		run(t, "ssh-keygen", append([]string{"-q", "-s", ca.path}, args...)...)
	}
	elsewhere := filepath.Join(dir, "elsewhere.pub")
	if err := os.Rename(named.path+"-cert.pub", elsewhere); err != nil {
		t.Fatal(err)
	}
	s := startSSHD(t, sshdOptions{config: "TrustedUserCAKeys " + ca.path + ".pub"})
	known := knownHosts(t, s)
	for _, test := range []struct {
		name, config, want string
		agent              []identity
	}{
		{name: "next to the key", config: "IdentityFile " + beside.path},
		{name: "CertificateFile", config: "IdentityFile " + named.path + "\nCertificateFile " + elsewhere},
		{name: "in the agent", config: "", agent: []identity{held}},
		{name: "expired", config: "IdentityFile " + expired.path, want: "expired on 2020-01-0"},
		{name: "none", config: "IdentityFile " + other.path, want: "1 key refused (" + other.path + ")"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := sshhost.Config{Users: []string{"root"}, Port: s.port, KnownHosts: []string{known}}
			cfg.ConfigFile = writeFile(t, filepath.Join(t.TempDir(), "config"), "Host *\n"+test.config+"\n")
			if len(test.agent) > 0 {
				cfg.AgentSocket = startAgent(t, test.agent...)
			}
			_, err := probe(t, newClient(t, cfg), s.host(), "echo")
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.Is(err, sshhost.ErrAuth) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestUsersAreTriedInOrder(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	known := knownHosts(t, s)
	c := newClient(t, sshhost.Config{Users: []string{"ec2-user", "nobody", "root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
	out, err := probe(t, c, s.host(), "id -un")
	if err != nil || out.User != "root" || string(out.Stdout) != "root\n" {
		t.Errorf("got user %q, %q, %v", out.User, out.Stdout, err)
	}
	c = newClient(t, sshhost.Config{Users: []string{"ec2-user", "nobody"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
	if _, err = probe(t, c, s.host(), "echo"); !errors.Is(err, sshhost.ErrAuth) || !strings.Contains(err.Error(), "as ec2-user, nobody") {
		t.Errorf("got %v", err)
	}
}

func TestMatchThatOnlyOpenSSHUnderstands(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	config := writeFile(t, filepath.Join(t.TempDir(), "config"), fmt.Sprintf(`
Match originalhost web-* exec "true"
  Port %d
  User root
Match final all
  IdentityFile %s
  UserKnownHostsFile %s
`, s.port, id.path, knownHosts(t, s)))
	c := newClient(t, sshhost.Config{ConfigFile: config, Users: []string{"ec2-user"}})
	out, err := probe(t, c, s.host(), "echo hello")
	if err != nil || string(out.Stdout) != "hello\n" || out.User != "root" {
		t.Errorf("got %q as %s, %v", out.Stdout, out.User, err)
	}
}

// startAgent serves keys, and certificates that lie next to them, as ssh-agent does.
func startAgent(t testing.TB, ids ...identity) string {
	t.Helper()
	ring := sshagent.NewKeyring()
	for _, id := range ids {
		added := sshagent.AddedKey{PrivateKey: id.private, Comment: filepath.Base(id.path)}
		if text, err := os.ReadFile(id.path + "-cert.pub"); err == nil {
			k, _, _, _, err := ssh.ParseAuthorizedKey(text)
			if err != nil {
				t.Fatal(err)
			}
			added.Certificate = k.(*ssh.Certificate)
		}
		if err := ring.Add(added); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = sshagent.ServeAgent(ring, conn)
			}()
		}
	}()
	return socket
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
