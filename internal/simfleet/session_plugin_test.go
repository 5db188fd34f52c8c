package simfleet_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
}

func serveSessions(t *testing.T, w *simfleet.World, o simfleet.AWSOptions) *sessionWorld {
	t.Helper()
	s := &sessionWorld{w: w, hosts: simfleet.NewHosts(w, simfleet.HostOptions{}), rg: w.Accounts[0].Regions[0]}
	o.Hosts, o.NoThrottle = s.hosts, true
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
	return plugin{s, append(env, "PATH="+dir+":/usr/bin:/bin", "HOME="+home,
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

func TestPluginShell(t *testing.T) {
	s := serveSessions(t, generate(t, simfleet.Options{Healthy: true, Instances: 12}), simfleet.AWSOptions{})
	p := newPlugin(t, s)
	in := s.sound(t, func(*simfleet.Instance) bool { return true })
	out := p.session(t, "whoami\nx=4; cd /tmp\necho $x $PWD\nexit\n", "--target", in.Host.ID)
	for _, want := range []string{"Starting session", "This session is encrypted using AWS KMS.", "ssm-user\r\n", "4 /tmp\r\n", "Exiting session"} {
		if !strings.Contains(out, want) {
			t.Errorf("the session does not show %q:\n%s", want, out)
		}
	}
	s.w.Mu.RLock()
	defer s.w.Mu.RUnlock()
	i := slices.IndexFunc(s.rg.ManagedSessions, func(m *fleet.ManagedSession) bool { return strings.Contains(out, m.ID) })
	if i < 0 || s.rg.ManagedSessions[i].Status != "Terminated" || s.rg.ManagedSessions[i].End.IsZero() {
		t.Errorf("the session is not in the history")
	}
}
