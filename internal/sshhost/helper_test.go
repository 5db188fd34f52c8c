package sshhost_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sshhost"
)

// relayTo makes the test binary a program that connects its standard input and
// output to an address: something to name in ProxyCommand.
const relayTo = "SSHHOST_TEST_RELAY"

func TestMain(m *testing.M) {
	if address := os.Getenv(relayTo); address != "" {
		os.Exit(relay(address))
	}
	// Nothing of the machine's own configuration may reach the tests.
	home, err := os.MkdirTemp("", "sshhost-home-")
	if err != nil {
		panic(err)
	}
	os.Setenv("HOME", home)
	os.Unsetenv("SSH_AUTH_SOCK")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(home)
		os.Exit(code)
	}))
}

func relay(address string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		os.Exit(0)
	}()
	_, _ = io.Copy(os.Stdout, conn)
	return 0
}

// sshd is a running OpenSSH server.
type sshd struct {
	addr    string // IP address
	port    int
	dir     string
	hostKey identity
	log     *lockedBuffer
	cmd     *exec.Cmd
	done    chan struct{}
}

func (s *sshd) address() string { return net.JoinHostPort(s.addr, strconv.Itoa(s.port)) }

// sshdOptions says how a test's server differs from the plain one.
type sshdOptions struct {
	dir     string            // of %u files; empty: a new one
	config  string            // lines before the defaults: the first value wins
	match   string            // lines at the end
	keys    map[string]string // authorized_keys by user
	listen  []string          // addresses; empty: 127.0.0.1
	port    int               // 0: a free one
	hostKey identity          // zero: a new one
}

// startSSHD runs Debian's sshd on loopback until the test ends.
func startSSHD(t testing.TB, o sshdOptions) *sshd {
	t.Helper()
	const program = "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("OpenSSH's server is missing: apt-get install openssh-server")
	}
	if os.Geteuid() != 0 {
		t.Fatal("OpenSSH's server lets users log in only when it runs as root: run the tests as root")
	}
	// Without PAM and systemd nobody else makes this directory, which sshd needs.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	s := &sshd{dir: o.dir, log: &lockedBuffer{}, port: o.port, hostKey: o.hostKey, addr: "127.0.0.1", done: make(chan struct{})}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	if s.hostKey.path == "" {
		s.hostKey = newIdentity(t, s.dir, "host_key", "")
	}
	if len(o.listen) > 0 {
		s.addr = o.listen[0]
	} else {
		o.listen = []string{s.addr}
	}
	if s.port == 0 {
		s.port = freePort(t)
	}
	var conf strings.Builder
	conf.WriteString(o.config + "\n")
	for _, a := range o.listen {
		fmt.Fprintf(&conf, "ListenAddress %s:%d\n", a, s.port)
	}
	fmt.Fprintf(&conf, "HostKey %s\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
		s.hostKey.path)
	// Bash reads ~/.bashrc when sshd starts it; the real one may take its time.
	fmt.Fprintf(&conf, "AuthorizedKeysFile %s\nMaxStartups 2000\nLogLevel VERBOSE\nSetEnv HOME=%s\n", filepath.Join(s.dir, "keys-%u"), s.dir)
	conf.WriteString(o.match)
	for user, lines := range o.keys {
		writeFile(t, filepath.Join(s.dir, "keys-"+user), lines)
	}
	path := writeFile(t, filepath.Join(s.dir, "sshd_config"), conf.String())
	s.start(t, program, path, len(o.listen))
	return s
}

// start runs the daemon and waits until it listens everywhere.
func (s *sshd) start(t testing.TB, program, config string, listeners int) {
	t.Helper()
	s.cmd = exec.Command(program, "-D", "-e", "-f", config)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(stderr)
		seen := 0
		for lines.Scan() {
			fmt.Fprintln(s.log, lines.Text())
			if strings.Contains(lines.Text(), "Server listening on") {
				if seen++; seen == listeners {
					close(ready)
				}
			}
		}
	}()
	t.Cleanup(s.stop)
	select {
	case <-ready:
	case <-s.done:
		t.Fatalf("sshd ended:\n%s", s.log)
	}
}

// stop ends the daemon and the connections that it serves.
func (s *sshd) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.cmd.Process.Pid, s.cmd.Process.Pid))
	_ = s.cmd.Process.Kill()
	for _, c := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(c); err == nil {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	}
	<-s.done
	_ = s.cmd.Wait()
}

// knownHosts writes a known_hosts file for the servers.
func knownHosts(t testing.TB, servers ...*sshd) string {
	t.Helper()
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "[%s]:%d %s", s.addr, s.port, s.hostKey.line())
	}
	return writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), b.String())
}

func (s *sshd) host() fleet.Host { return hostAt(s.addr) }

func hostAt(addr string) fleet.Host {
	return fleet.Host{ID: "i-0123456789abcdef0", Tags: map[string]string{"Name": "web-1"}, PrivateIP: netip.MustParseAddr(addr)}
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := simfleet.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// identity is a key pair in a file.
type identity struct {
	path    string
	private ed25519.PrivateKey
	public  ssh.PublicKey
}

func (i identity) line() string { return string(ssh.MarshalAuthorizedKey(i.public)) }

// newIdentity writes a key pair; a passphrase encrypts it.
func newIdentity(t testing.TB, dir, name, passphrase string) identity {
	t.Helper()
	private := newEd25519(t)
	block, err := ssh.MarshalPrivateKey(private, name)
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, name, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block)))
	writeFile(t, path+".pub", string(ssh.MarshalAuthorizedKey(public)))
	return identity{path: path, private: private, public: public}
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newClient makes a client with test-sized limits; ssh_config is "none" unless given.
func newClient(t testing.TB, cfg sshhost.Config) *sshhost.Client {
	t.Helper()
	if cfg.ConfigFile == "" {
		cfg.ConfigFile = "none"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	c, err := sshhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// probe runs "sh" with a script on a host.
func probe(t testing.TB, c *sshhost.Client, h fleet.Host, script string) (fleet.ProbeOutput, error) {
	t.Helper()
	return c.Prober("sh", func(fleet.Host) string { return script }).Probe(context.Background(), h)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
