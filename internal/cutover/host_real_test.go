package cutover_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// machine is a real OpenSSH server with accounts and key files of its own in a
// scratch folder. The scripts run here, as root, led to that folder.
type machine struct {
	t     *testing.T
	root  string
	port  int
	shell []string
	paths cutover.HostPaths

	rescue, old, waived key
	plan                *plan.Plan

	mu     sync.Mutex
	before func(cmd *exec.Cmd) // guarded by mu; changes how the next script runs
	runs   []string            // guarded by mu; names of scripts that ran
}

type key struct{ path, line, blob string }

var host = fleet.Host{ID: "i-0123456789abcdef0", Account: "111122223333", Region: "eu-west-1", VPC: "vpc-1"}

// shells are those that hosts may have as sh.
var shells = [][]string{{"dash"}, {"busybox", "sh"}}

func newMachine(t *testing.T, shell ...string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("key files of several accounts need root: run the tests as root")
	}
	// StrictModes wants a folder that only root may write to, which /tmp is not.
	root, err := os.MkdirTemp("/run", "migrate-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, root: root, shell: shell}
	m.rescue, m.old, m.waived = m.newKey("rescue"), m.newKey("old"), m.newKey("waived")
	m.accounts()
	m.startSSHD()
	m.plan = &plan.Plan{Digest: t.Name() + root, Policy: plan.DefaultPolicy()}
	m.plan.Policy.Recovery.PublicKey = m.rescue.line
	return m
}

func (m *machine) at(path ...string) string {
	return filepath.Join(append([]string{m.root}, path...)...)
}

// accounts makes three accounts: root's and two others' key files lie where the
// server's configuration says.
func (m *machine) accounts() {
	m.t.Helper()
	var passwd strings.Builder
	for name, id := range map[string]int{"root": 0, "daemon": 1, "games": 5} {
		home := m.at("home", name)
		for _, d := range []string{home, filepath.Join(home, ".ssh")} {
			must(m.t, os.MkdirAll(d, 0o700))
			must(m.t, os.Chown(d, id, id))
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d::%s:/bin/sh\n", name, id, id, home)
	}
	m.paths = cutover.HostPaths{
		Base: m.at("var-lib-migrate"), Accounts: m.at("passwd"), Search: os.Getenv("PATH"),
		Systemd: m.at("no-systemd"), Units: m.at("units"), Daemon: "/usr/sbin/sshd\n-f\n" + m.at("sshd_config"),
	}
	m.write("passwd", passwd.String(), 0o644, 0)
	must(m.t, os.MkdirAll(m.at("keys"), 0o755))
	m.write("keys/root", "# mine\n"+m.rescue.line+"\n"+m.old.line+"\n\nfrom=\"127.0.0.1\" "+m.waived.line+" waived\n", 0o600, 0)
	m.write("keys/daemon", m.old.line+"\n", 0o644, 1)
	m.write("home/games/.ssh/authorized_keys2", "command=\"echo "+m.rescue.blob+"\" "+m.old.line, 0o640, 5)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) write(name, text string, mode os.FileMode, owner int) {
	m.t.Helper()
	p := m.at(name)
	must(m.t, os.WriteFile(p, []byte(text), mode))
	must(m.t, os.Chmod(p, mode))
	must(m.t, os.Chown(p, owner, owner))
	past := time.Date(2024, 2, 3, 4, 5, 6, 789, time.UTC)
	must(m.t, os.Chtimes(p, past, past))
}

func (m *machine) newKey(name string) key {
	m.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(m.t, err)
	block, err := xssh.MarshalPrivateKey(private, name)
	must(m.t, err)
	k, err := xssh.NewPublicKey(public)
	must(m.t, err)
	must(m.t, os.WriteFile(m.at(name), pem.EncodeToMemory(block), 0o600))
	line := strings.TrimSpace(string(xssh.MarshalAuthorizedKey(k)))
	return key{path: m.at(name), line: line, blob: strings.Fields(line)[1]}
}

func (m *machine) startSSHD() {
	m.t.Helper()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		m.t.Fatal("OpenSSH's server is missing: apt-get install openssh-server")
	}
	must(m.t, os.MkdirAll("/run/sshd", 0o755))
	port, err := simfleet.FreePort()
	must(m.t, err)
	m.port = port
	hostKey := m.newKey("host_key")
	m.write("sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s
PidFile none
UsePAM no
StrictModes yes
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
SetEnv HOME=%s
AuthorizedKeysFile %s/keys/%%u %s/home/%%u/.ssh/authorized_keys2
`, m.port, hostKey.path, m.root, m.root, m.root), 0o600, 0)
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", m.at("sshd_config"))
	stderr, err := cmd.StderrPipe()
	must(m.t, err)
	must(m.t, cmd.Start())
	ready, done := make(chan struct{}), make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "Server listening on") {
				close(ready)
			}
		}
	}()
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	select {
	case <-ready:
	case <-done:
		m.t.Fatalf("sshd ended: %s", &log)
	}
}

// login tells whether the server lets root in with a key.
func (m *machine) login(k key) bool {
	m.t.Helper()
	cmd := exec.Command("ssh", "-F", "none", "-i", k.path, "-p", strconv.Itoa(m.port), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1", "echo in")
	out, err := cmd.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("Permission denied")) {
		m.t.Fatalf("ssh: %v: %s", err, out)
	}
	return err == nil
}

// Run runs a script in the machine's shell. Only the SSH way is open.
func (m *machine) Run(ctx context.Context, _ fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	if way != fleet.WaySSH {
		return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "closed"}
	}
	program, err := exec.LookPath(m.shell[0])
	if err != nil {
		m.t.Errorf("%s is missing: apt-get install %s", m.shell[0], m.shell[0])
		return fleet.ScriptResult{}
	}
	cmd := exec.CommandContext(ctx, program, append(append([]string{}, m.shell[1:]...), "-s", "192.0.2.7 5050 127.0.0.1 22")...)
	cmd.Stdin = strings.NewReader(s.Text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	m.mu.Lock()
	before := m.before
	m.runs = append(m.runs, s.Name)
	m.mu.Unlock()
	if before != nil {
		before(cmd)
	}
	err = cmd.Run()
	if testing.Verbose() {
		m.t.Logf("%s: %v\n%s%s", s.Name, err, &stdout, &stderr)
	}
	r := fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Way: way, Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: cmd.ProcessState.ExitCode()}
	if cmd.ProcessState.ExitCode() < 0 {
		r.Started, r.Ended, r.Reason = fleet.TruthUnknown, false, "the answer was lost"
	}
	return r
}

func (m *machine) kinds() cutover.Kinds {
	return cutover.HostKinds(cutover.HostWorld{
		Hosts: m, Plan: m.plan, Paths: m.paths,
		Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true },
	})
}

func (m *machine) step(kind plan.Kind) plan.Step {
	return plan.Step{
		ID: "w1/" + string(kind), Kind: kind, Phase: plan.Quarantine, Hosts: []fleet.HostRef{host.Ref()},
		Keys:  &plan.KeysChange{Keep: []string{m.rescue.blob, m.waived.blob}},
		Key:   &plan.KeyChange{User: "root", Line: m.rescue.line},
		Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute)},
	}
}

// observe fails the test on an error.
func (m *machine) observe(kind plan.Kind) cutover.Observation {
	m.t.Helper()
	o, err := m.kinds()[kind].Observe(m.t.Context(), m.step(kind))
	if err != nil {
		m.t.Fatalf("observe %s: %v", kind, err)
	}
	return o
}

// apply fails the test on an error.
func (m *machine) apply(kind plan.Kind) {
	m.t.Helper()
	if _, err := m.kinds()[kind].Apply(m.t.Context(), m.step(kind), nil, "token"); err != nil {
		m.t.Fatalf("apply %s: %v", kind, err)
	}
}

// fileState is everything about a file that must come back.
type fileState struct {
	Text     string
	Mode     os.FileMode
	Uid, Gid uint32
	Time     time.Time
}

// files gives the state of all key files.
func (m *machine) files() map[string]fileState {
	m.t.Helper()
	out := map[string]fileState{}
	for _, dir := range []string{"keys", "home/root/.ssh", "home/daemon/.ssh", "home/games/.ssh"} {
		entries, err := os.ReadDir(m.at(dir))
		must(m.t, err)
		for _, e := range entries {
			p := filepath.Join(dir, e.Name())
			info, err := os.Stat(m.at(p))
			must(m.t, err)
			sys := info.Sys().(*syscall.Stat_t)
			state := fileState{Mode: info.Mode(), Uid: sys.Uid, Gid: sys.Gid, Time: info.ModTime()}
			if info.IsDir() {
				state.Time = time.Time{}
			} else {
				text, err := os.ReadFile(m.at(p))
				must(m.t, err)
				state.Text = string(text)
			}
			out[p] = state
		}
	}
	return out
}
