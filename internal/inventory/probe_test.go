package inventory_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// program finds a program or fails the test with the line that installs it.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		p := filepath.Join(dir, name)
		if i, err := os.Stat(p); err == nil && i.Mode()&0o111 != 0 {
			return p
		}
	}
	t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	return ""
}

// testRegion has no endpoints in any DNS: the probe must say so, not hang.
const testRegion = "xx-test-1"

func parse(t *testing.T, stdout, stderr []byte) fleet.Probe {
	t.Helper()
	p, err := inventory.Parse(fleet.ProbeOutput{Stdout: stdout, Stderr: stderr, User: "tester"}, time.Now())
	if err != nil {
		t.Fatalf("%v\nstderr: %s", err, stderr)
	}
	return p
}

// checkHere compares a probe of this machine with what Go knows of it.
func checkHere(t *testing.T, p fleet.Probe) {
	t.Helper()
	if name, _ := os.Hostname(); p.Hostname != name {
		t.Errorf("host name %q, want %q", p.Hostname, name)
	}
	if p.OS.ID == "" || p.OS.Kernel == "" || p.OS.Arch == "" {
		t.Errorf("operating system not known: %+v", p.OS)
	}
	if d := time.Since(p.HostTime).Abs(); d > time.Hour {
		t.Errorf("host time %v is %v away", p.HostTime, d)
	}
	if p.Root != (os.Geteuid() == 0) {
		t.Errorf("root = %v with UID %d", p.Root, os.Geteuid())
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Users.Value, func(u fleet.User) bool { return u.Name == me.Username && u.Home == me.HomeDir }) {
		t.Errorf("user %s is not among %d users", me.Username, len(p.Users.Value))
	}
	if !p.SSHD.Known || len(p.SSHD.Value.Settings["authorizedkeysfile"]) == 0 {
		t.Errorf("sshd settings unknown: %s", p.SSHD.Reason)
	}
	if !p.Agent.Known || !p.Sessions.Known {
		t.Errorf("agent or sessions unknown: %q, %q", p.Agent.Reason, p.Sessions.Reason)
	}
	if len(p.Endpoints.Value) != 6 {
		t.Fatalf("endpoints: %+v", p.Endpoints)
	}
	for _, e := range p.Endpoints.Value {
		if want := e.Service + "." + testRegion + ".amazonaws.com"; e.Host != want {
			t.Errorf("endpoint host %q, want %q", e.Host, want)
		}
		if e.TCP.Known && e.TCP.Value {
			t.Errorf("%s cannot be reachable: %+v", e.Host, e)
		}
	}
}

func TestProbeRunsInEveryShell(t *testing.T) {
	program(t, "sshd", "openssh-server")
	script := inventory.Script(fleet.Host{Region: testRegion})
	for _, tc := range []struct {
		name, pkg string
		args      []string
	}{
		{"dash", "dash", []string{"-s"}},
		{"busybox", "busybox", []string{"sh", "-s"}},
		{"bash", "bash", []string{"-s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program(t, tc.name, tc.pkg), tc.args...)
			stdout, stderr := run(t, cmd, script)
			if len(stderr) > 0 {
				t.Errorf("the script complains: %s", stderr)
			}
			checkHere(t, parse(t, stdout, stderr))
		})
	}
	t.Run(inProcess, func(t *testing.T) {
		stdout, stderr := interpret(t, script)
		checkHere(t, parse(t, stdout, stderr))
	})
}

// TestProbeWithoutRoot runs the whole command as a user who has no sudo.
func TestProbeWithoutRoot(t *testing.T) {
	bin := newDaemon(t).dir
	for name, real := range map[string]string{"sh": "dash", "id": "id"} {
		if err := os.Symlink(program(t, real, real), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "sh"), "-c", inventory.Command)
	cmd.Env = []string{"PATH=" + bin, "SSH_CONNECTION=192.0.2.7 5050 10.0.0.5 22"}
	cmd.Dir = "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	stdout, stderr := run(t, cmd, inventory.Script(fleet.Host{Region: testRegion}))
	p := parse(t, stdout, stderr)
	if p.Root {
		t.Error("the probe says that it is root")
	}
	if len(p.Gaps) == 0 || p.Gaps[0].What != "root" || p.Gaps[0].Reason == "" {
		t.Errorf("gaps %+v", p.Gaps)
	}
	if !p.Users.Known || !p.Agent.Known || len(p.Endpoints.Value) != 6 {
		t.Errorf("users, agent and endpoints need no root: %+v", p)
	}
	if !p.SSHD.Known && p.SSHD.Reason == "" || p.Keys.Known || p.Keys.Reason == "" {
		t.Errorf("sshd %+v, keys %+v", p.SSHD, p.Keys)
	}
	if !slices.ContainsFunc(p.Gaps, func(g fleet.Gap) bool { return g.What == "keys of root" }) {
		t.Errorf("no gap tells of root's keys: %+v", p.Gaps)
	}
}

// run feeds a script to a program.
func run(t *testing.T, cmd *exec.Cmd, script string) (stdout, stderr []byte) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.Bytes())
	}
	return out.Bytes(), errs.Bytes()
}

// inProcess is the shell interpreter that simulated hosts have.
const inProcess = "mvdan.cc/sh"

// locked makes a buffer safe for the endpoint tests, which write side by side.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func interpret(t *testing.T, script string, args ...string) (stdout, stderr []byte) {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "probe")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs locked
	r, err := interp.New(interp.StdIO(nil, &out, &errs), interp.Params(append([]string{"--"}, args...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), file); err != nil {
		t.Fatalf("%v\n%s", err, errs.buf.Bytes())
	}
	return out.buf.Bytes(), errs.buf.Bytes()
}

func TestCommandIsOneWordInAnyLoginShell(t *testing.T) {
	quoted := strings.TrimSuffix(strings.TrimPrefix(inventory.Command, "exec sh -c '"), "'")
	if len(quoted) != len(inventory.Command)-len("exec sh -c '")-1 {
		t.Fatalf("not a single quoted word: %s", inventory.Command)
	}
	// csh expands "!" and ends at a newline even inside quotes; fish takes "\".
	if i := strings.IndexAny(quoted, "'\\!\n"); i >= 0 {
		t.Errorf("%q in the command means different things in different shells", quoted[i])
	}
}

func TestScriptQuotesTheRegion(t *testing.T) {
	s := inventory.Script(fleet.Host{Region: "x'; touch /tmp/owned; '"})
	if want := `REGION='x'\''; touch /tmp/owned; '\'''` + "\n"; !strings.HasPrefix(s, want) {
		t.Errorf("the script begins with %q, want %q", s[:80], want)
	}
}

func TestProbeIsCleanForShellcheck(t *testing.T) {
	// Unquoted words, variables of other parts, bash's own quotes and "local" are meant so.
	cmd := exec.CommandContext(t.Context(), program(t, "shellcheck", "shellcheck"), "-s", "sh", "-e", "SC2016,SC2086,SC2154,SC3043", "-")
	cmd.Stdin = strings.NewReader(inventory.Script(fleet.Host{Region: testRegion}))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// daemon is an OpenSSH server of the test's own on loopback.
type daemon struct {
	dir, port, me string
}

func (d daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d daemon) write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	p := d.path(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func (d daemon) keygen(t *testing.T, name string, args ...string) string {
	t.Helper()
	args = append([]string{"-q", "-N", "", "-C", name, "-f", d.path(name)}, args...)
	if out, err := exec.CommandContext(t.Context(), program(t, "ssh-keygen", "openssh-client"), args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	b, err := os.ReadFile(d.path(name) + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// start runs sshd with a configuration and further arguments, and returns when it answers.
func (d daemon) start(t *testing.T, config string, args ...string) {
	t.Helper()
	if os.Geteuid() == 0 {
		// The privilege separation folder is made by the service's unit otherwise.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.write(t, "sshd_config", config, 0o600)
	args = append([]string{"-D", "-e", "-f", d.path("sshd_config")}, args...)
	cmd := exec.Command(program(t, "sshd", "openssh-server"), args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("sshd said: %s", log.Bytes())
		}
	})
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+d.port)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("sshd ended: %s", log.Bytes())
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// probe runs the script through the ssh client.
func (d daemon) probe(t *testing.T, key string) fleet.Probe {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "ssh", "openssh-client"), "-F", "none", "-p", d.port, "-i", d.path(key),
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile="+d.path("known_hosts"), "-o", "LogLevel=ERROR", d.me+"@127.0.0.1", inventory.Command)
	cmd.Stdin = strings.NewReader(inventory.Script(fleet.Host{Region: testRegion}))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ssh: %v\n%s", err, stderr.Bytes())
	}
	return parse(t, stdout.Bytes(), stderr.Bytes())
}

func newDaemon(t *testing.T) daemon {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	port, err := simfleet.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return daemon{dir: dir, port: strconv.Itoa(port), me: me.Username}
}

// TestProbeFindsTheDaemonThatServesIt is about what "sshd -T" by itself does not
// show: the file and the options on the command line of the daemon that runs,
// where EC2 Instance Connect puts its key command.
func TestProbeFindsTheDaemonThatServesIt(t *testing.T) {
	d := newDaemon(t)
	d.keygen(t, "host", "-t", "ed25519")
	login := d.keygen(t, "login", "-t", "ed25519")
	other := d.keygen(t, "other", "-t", "rsa", "-b", "2048")
	ca := d.keygen(t, "ca", "-t", "ecdsa")
	matched := d.keygen(t, "matched", "-t", "ed25519")
	d.write(t, "ca.pub", ca+"\n", 0o644)
	d.write(t, "keys/"+d.me, "# keys of the test\n\n"+login+"\nrestrict,command=\"echo a, b\" "+other+"\ngarbage\n", 0o600)
	d.write(t, "more/"+d.me+".100%", login+"\n", 0o600)
	d.write(t, "only/nobody", matched+"\n", 0o644)
	d.write(t, "part/match.conf", "Match User nobody\n\tAuthorizedKeysFile "+d.dir+"/only/%u\n\tX11Forwarding no\n", 0o600)
	d.start(t, fmt.Sprintf(`ListenAddress 127.0.0.1:%s
HostKey %[2]s/host
PidFile none
StrictModes no
X11Forwarding yes
AuthorizedKeysFile %[2]s/keys/%%u %[2]s/more/%%u.100%%%% .ssh/of-the-test
TrustedUserCAKeys %[2]s/ca.pub
Include %[2]s/part/*.conf
`, d.port, d.dir), "-o", "AuthorizedKeysCommand=/bin/echo %u %f", "-oAuthorizedKeysCommandUser=nobody")
	p := d.probe(t, "login")
	checkHere(t, p)

	s := p.SSHD.Value
	if !strings.Contains(s.Arguments, "AuthorizedKeysCommand=/bin/echo %u %f") {
		t.Errorf("arguments %q", s.Arguments)
	}
	for keyword, want := range map[string]string{
		"authorizedkeyscommand":     "/bin/echo %u %f",
		"authorizedkeyscommanduser": "nobody",
		"x11forwarding":             "yes",
		"port":                      "22",
	} {
		if got := s.Settings[keyword]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", keyword, got, want)
		}
	}
	if got := s.For("nobody", "x11forwarding"); len(got) != 1 || got[0] != "no" {
		t.Errorf("x11forwarding of nobody is %q, want no", got)
	}
	if got := s.For(d.me, "x11forwarding"); len(got) != 1 || got[0] != "yes" {
		t.Errorf("x11forwarding of %s is %q, want yes", d.me, got)
	}
	if len(s.PerUser) != 1 || len(s.PerUser["nobody"]) != 2 {
		t.Errorf("settings that differ: %v, want two of nobody's", s.PerUser)
	}

	if !p.Keys.Known && p.Root {
		t.Errorf("keys unknown: %s", p.Keys.Reason)
	}
	type key struct {
		user, file string
		line       int
		text       string
	}
	public := func(s string) string { w := strings.Fields(s); return w[0] + " " + w[1] }
	want := []key{
		{d.me, d.path("keys/" + d.me), 3, public(login)},
		{d.me, d.path("keys/" + d.me), 4, public(other)},
		{d.me, d.path("keys/" + d.me), 5, " "},
		{d.me, d.path("more/" + d.me + ".100%"), 1, public(login)},
		{"nobody", d.path("only/nobody"), 1, public(matched)},
		{"", d.path("ca.pub"), 1, public(ca)},
	}
	var got []key
	for _, k := range p.Keys.Value {
		if strings.HasPrefix(k.File, d.dir) {
			got = append(got, key{k.User, k.File, k.Line, k.Type + " " + k.Blob})
		}
	}
	less := func(a, b key) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, less)
	slices.SortFunc(want, less)
	if !slices.Equal(got, want) {
		t.Errorf("keys:\n%+v\nwant:\n%+v", got, want)
	}
	for _, k := range p.Keys.Value {
		if k.File == d.path("ca.pub") != k.CA {
			t.Errorf("CA = %v for %s", k.CA, k.File)
		}
	}
}

// TestLongLineIsJudgedAsSSHDJudgesIt asks the real server.
func TestLongLineIsJudgedAsSSHDJudgesIt(t *testing.T) {
	d := newDaemon(t)
	d.keygen(t, "host", "-t", "ed25519")
	login := d.keygen(t, "login", "-t", "ed25519")
	line := login + " " + strings.Repeat("x", 20_000)
	d.write(t, "keys/"+d.me, line+"\n", 0o600)
	d.start(t, fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s/host\nPidFile none\nStrictModes no\nAuthorizedKeysFile %[2]s/keys/%%u\n", d.port, d.dir))
	p := d.probe(t, "login") // fails unless sshd takes the line
	for _, k := range p.Keys.Value {
		if k.File == d.path("keys/"+d.me) && k.Problem != "" {
			t.Errorf("sshd took the key, but the probe says %q", k.Problem)
		}
	}
}
