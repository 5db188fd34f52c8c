package simfleet_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// sessionWorld is a world that real clients have sessions in.
type sessionWorld struct {
	w     *simfleet.World
	hosts *simfleet.Hosts
	rg    *simfleet.Region
	url   string

	patience time.Duration // of peers; 0: 20 s
	client   *http.Client
}

func serveSessions(t *testing.T, w *simfleet.World, o simfleet.AWSOptions) *sessionWorld {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = simfleet.NewHosts(w, simfleet.HostOptions{})
	}
	o.NoThrottle = true
	s := &sessionWorld{w: w, hosts: o.Hosts, rg: w.Accounts[0].Regions[0], client: http.DefaultClient}
	server := httptest.NewServer(simfleet.ServeAWS(w, o))
	t.Cleanup(func() { s.hosts.Close(); server.Close() })
	s.url = server.URL
	return s
}

// sound finds a host on which sessions and their logs work.
func (s *sessionWorld) sound(t *testing.T, fits func(*simfleet.Instance) bool) *simfleet.Instance {
	t.Helper()
	return findInstance(t, s.w, "a sound host", func(in *simfleet.Instance) bool {
		return in.Region == s.rg && in.OS.Family != "windows" && s.w.ServesSessions(in) && fits(in)
	})
}

// plugin is the AWS CLI with the real session-manager-plugin on its PATH.
type plugin struct {
	*sessionWorld
	env []string
}

const pluginPath = "../../bin/session-manager-plugin"

func newPlugin(t *testing.T, s *sessionWorld) plugin {
	t.Helper()
	if testing.Short() {
		t.Skip("other programs' sessions show the race detector nothing that ours do not")
	}
	for path, line := range map[string]string{pluginPath: "make setup", "/usr/bin/aws": "apt-get install awscli"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; install with: %s", err, line)
		}
	}
	dir, err := filepath.Abs(filepath.Dir(pluginPath))
	if err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(strings.ToUpper(v), "HTTP_PROXY=") || strings.HasPrefix(v, "PATH=")
	})
	home := t.TempDir()
	sockets, err := os.MkdirTemp("", "plugin-") // t.TempDir's names are too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	return plugin{s, append(env, "PATH="+dir+":/usr/bin:/bin", "HOME="+home, "TMPDIR="+sockets,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_REGION="+s.rg.Name, "AWS_DEFAULT_REGION="+s.rg.Name, "AWS_ENDPOINT_URL="+s.url,
		"AWS_ACCESS_KEY_ID="+simfleet.AccessKey(s.w.Accounts[0].ID), "AWS_SECRET_ACCESS_KEY=secret", "AWS_MAX_ATTEMPTS=1")}
}

func (p plugin) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/usr/bin/aws", append([]string{"--endpoint-url", p.url, "ssm"}, args...)...)
	cmd.Env = p.env
	return cmd
}

// session runs start-session with what is typed, until the session ends.
func (p plugin) session(t *testing.T, typed string, args ...string) string {
	t.Helper()
	cmd := p.command(t, append([]string{"start-session"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, typed)
	_ = cmd.Wait() // the plugin's status says nothing; its output does
	return out.String()
}

// lines starts start-session and gives its output line by line.
func (p plugin) lines(t *testing.T, args ...string) *bufio.Scanner {
	t.Helper()
	cmd := p.command(t, append([]string{"start-session"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the CLI leaves the plugin behind when it is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Cancel()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

// until reads lines up to one that has the text.
func until(t *testing.T, lines *bufio.Scanner, text string) string {
	t.Helper()
	var all []string
	for lines.Scan() {
		all = append(all, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return lines.Text()
		}
	}
	t.Fatalf("%q does not come:\n%s", text, strings.Join(all, "\n"))
	return ""
}

// ended is the session that an output names, which has to be in the history.
func (s *sessionWorld) ended(t *testing.T, out string) *fleet.ManagedSession {
	t.Helper()
	s.w.Mu.RLock()
	defer s.w.Mu.RUnlock()
	i := slices.IndexFunc(s.rg.ManagedSessions, func(m *fleet.ManagedSession) bool { return strings.Contains(out, m.ID) })
	if i < 0 || s.rg.ManagedSessions[i].Status != "Terminated" || s.rg.ManagedSessions[i].End.IsZero() {
		t.Fatalf("the session is not in the history:\n%s", out)
	}
	return s.rg.ManagedSessions[i]
}

func contains(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing:\n%s", text, out)
		}
	}
}

// TestPlugin has AWS's own clients work with the simulated Session Manager.
func TestPlugin(t *testing.T) {
	s := serveSessions(t, generate(t, simfleet.Options{Healthy: true, Instances: 12}), simfleet.AWSOptions{})
	p := newPlugin(t, s)
	any := func(*simfleet.Instance) bool { return true }
	in := s.sound(t, any)
	t.Run("encrypted shell", func(t *testing.T) {
		t.Parallel()
		out := p.session(t, "whoami\nx=4; cd /tmp\necho $x $PWD\nexit\n", "--target", in.Host.ID)
		contains(t, out, "Starting session", "This session is encrypted using AWS KMS.", "ssm-user\r\n", "4 /tmp\r\n", "Exiting session")
		m := s.ended(t, out)
		if m.Document != fleet.PreferencesName || !strings.HasSuffix(m.Owner, ":user/operator") {
			t.Errorf("the history tells %+v", m)
		}
	})
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		out := p.session(t, "", "--target", in.Host.ID, "--document-name", "AWS-StartNonInteractiveCommand", "--parameters", `{"command":["sh -c \"id -un; uname\""]}`)
		contains(t, out, "ssm-user\n", "Linux\n", "Exiting session")
	})
	t.Run("SSH", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		files := s.w.OperatorFiles("127.0.0.1:1", dir)
		key := filepath.Join(dir, "key")
		for path, text := range map[string][]byte{key: files.HostKeys["operator_key_"+in.Host.ID], filepath.Join(dir, "known_hosts"): []byte(files.KnownHosts)} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+filepath.Join(dir, "known_hosts"),
			"-o", "HostKeyAlias="+in.Host.PrivateIP.String(), "-o", "ProxyCommand=/usr/bin/aws --endpoint-url "+p.url+" ssm start-session --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p",
			simfleet.OperatorUser+"@"+in.Host.ID, "echo $SSH_CONNECTION; id -un")
		cmd.Env = p.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		contains(t, string(out), "127.0.0.1 ", " 127.0.0.1 22\n", simfleet.OperatorUser+"\n")
	})
	t.Run("port", func(t *testing.T) {
		t.Parallel()
		lines := p.lines(t, "--target", in.Host.ID, "--document-name", "AWS-StartPortForwardingSession", "--parameters", `{"portNumber":["8080"],"localPortNumber":["0"]}`)
		opened := until(t, lines, " opened for sessionId")
		until(t, lines, "Waiting for connections")
		port := strings.Fields(opened)[1]
		for range 3 {
			r, err := http.Get("http://127.0.0.1:" + port + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || !strings.HasPrefix(string(body), in.Hostname) {
				t.Errorf("the page is %q, %v", body, err)
			}
			http.DefaultClient.CloseIdleConnections() // the next request has a connection of its own
		}
	})
	t.Run("terminate", func(t *testing.T) {
		t.Parallel()
		lines := p.lines(t, "--target", in.Host.ID, "--document-name", "AWS-StartPortForwardingSession", "--parameters", `{"portNumber":["22"],"localPortNumber":["0"]}`)
		id := strings.TrimPrefix(until(t, lines, "Starting session with"), "Starting session with SessionId: ")
		port := strings.Fields(until(t, lines, " opened for sessionId"))[1]
		until(t, lines, "Waiting for connections")
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		banner, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(banner, "SSH-2.0-"+in.OS.SSHDBuild) {
			t.Errorf("port 22 says %q, %v", banner, err)
		}
		if out, err := p.command(t, "terminate-session", "--session-id", id).CombinedOutput(); err != nil {
			t.Fatalf("terminate-session: %v\n%s", err, out)
		}
		until(t, lines, "Exiting session with sessionId: "+id)
		s.ended(t, id)
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		platform := s.sound(t, func(in *simfleet.Instance) bool { return in.Host.Tags["team"] == "platform" })
		alice := p
		alice.env = append(slices.Clone(p.env), "AWS_ACCESS_KEY_ID="+simfleet.UserAccessKey(s.w.Accounts[0].ID, "alice"))
		contains(t, alice.session(t, "", "--target", platform.Host.ID), "An error occurred (AccessDeniedException) when calling the StartSession operation", ": User: arn:aws:iam::"+s.w.Accounts[0].ID+":user/alice is not authorized to perform: ssm:StartSession on resource: arn:aws:ec2:")
		off := s.sound(t, func(other *simfleet.Instance) bool { return other != in && other != platform })
		s.w.Mu.Lock()
		off.Agent.Running = false
		s.w.Mu.Unlock()
		contains(t, p.session(t, "", "--target", off.Host.ID), "An error occurred (TargetNotConnected)", off.Host.ID+" is not connected.")
	})
}

// TestPluginUnencrypted is a plain shell, which makes no handshake, over a data
// channel that loses, doubles and reorders what the plugin can make up for: it
// acknowledges a message once.
func TestPluginUnencrypted(t *testing.T) {
	faults := &simfleet.FrameFaults{ToAgent: every(3, simfleet.FrameTwice), ToClient: func(n int, _ string) simfleet.FrameFault {
		return []simfleet.FrameFault{simfleet.FramePasses, simfleet.FrameLater, simfleet.FramePasses, simfleet.FrameDrop, simfleet.FrameTwice}[n%5]
	}}
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{Frames: faults})
	p := newPlugin(t, s)
	in := s.sound(t, anyHost)
	t.Run("shell", func(t *testing.T) {
		t.Parallel()
		out := p.session(t, "i=0; while [ $i -lt 200 ]; do echo number $i is here; i=$((i+1)); done; id -un\nexit\n", "--target", in.Host.ID)
		want := ""
		for i := range 200 {
			want += fmt.Sprintf("number %d is here\r\n", i)
		}
		contains(t, out, want+"ssm-user\r\n", "Exiting session")
		s.ended(t, out)
	})
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		out := p.session(t, "", "--target", in.Host.ID, "--document-name", "AWS-StartInteractiveCommand", "--parameters", `{"command":["tty; hostname"]}`)
		contains(t, out, "/dev/pts/0\r\n", in.Hostname+"\r\n", "Exiting session")
	})
	t.Run("old agent's port", func(t *testing.T) {
		t.Parallel()
		old := s.sound(t, func(other *simfleet.Instance) bool { return other != in })
		s.w.Mu.Lock()
		old.Agent.Version = "2.3.1000.0"
		s.w.Mu.Unlock()
		lines := p.lines(t, "--target", old.Host.ID, "--document-name", "AWS-StartPortForwardingSession", "--parameters", `{"portNumber":["8080"]}`)
		port := strings.Fields(until(t, lines, " opened for sessionId"))[1]
		for range 2 {
			r, err := http.Get("http://127.0.0.1:" + port + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || !strings.HasPrefix(string(body), old.Hostname) {
				t.Errorf("the page is %q, %v", body, err)
			}
		}
	})
}
