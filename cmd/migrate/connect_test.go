package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// connectable is a fleet, and a host of it on which sessions work.
func connectable(t *testing.T) (*ownFleet, *simfleet.Instance) {
	t.Helper()
	return connectableIn(t, demoOptions{instances: 12, seed: 7, healthy: true, noThrottle: true}, "")
}

func connectableIn(t *testing.T, o demoOptions, name string) (*ownFleet, *simfleet.Instance) {
	t.Helper()
	t.Parallel()
	d := ownSim(t, o)
	for _, rg := range d.world.Accounts[0].Regions {
		for _, in := range rg.Instances {
			if in.OS.Family != "windows" && d.world.ServesSessions(in) && (name == "" || in.Host.Name() == name) {
				return d, in
			}
		}
	}
	t.Fatal("the fleet has no host that serves sessions")
	return nil, nil
}

// openSessionsOn counts the sessions on a host that have not ended.
func openSessionsOn(d *ownFleet, in *simfleet.Instance) int {
	d.world.Mu.RLock()
	defer d.world.Mu.RUnlock()
	n := 0
	for _, s := range in.Region.ManagedSessions {
		if s.Target == in.Host.ID && s.End.IsZero() {
			n++
		}
	}
	return n
}

// onTerminal runs the program on a terminal of its own.
type onTerminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
	news chan struct{}
}

func startOnTerminal(t *testing.T, c *exec.Cmd) *onTerminal {
	t.Helper()
	tty, err := pty.StartWithSize(c, &pty.Winsize{Cols: 90, Rows: 30})
	if err != nil {
		t.Fatal(err)
	}
	o := &onTerminal{t: t, cmd: c, tty: tty, news: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(o, tty) // ends with an error when the program has
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // has mostly ended
		_ = tty.Close()
		<-done
	})
	return o
}

func (o *onTerminal) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.Write(b)
	select {
	case o.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

// expect waits until the terminal has shown what matches, and forgets what came
// before.
func (o *onTerminal) expect(pattern string) {
	o.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		at := re.FindIndex(o.seen.Bytes())
		if at != nil {
			o.seen.Next(at[1])
		}
		text := o.seen.String()
		o.mu.Unlock()
		if at != nil {
			return
		}
		select {
		case <-o.news:
		case <-deadline:
			o.t.Fatalf("the terminal does not show %q:\n%q", pattern, text)
		}
	}
}

func (o *onTerminal) typed(s string) {
	o.t.Helper()
	if _, err := io.WriteString(o.tty, s); err != nil {
		o.t.Fatal(err)
	}
}

func TestConnectOnATerminal(t *testing.T) {
	d, in := connectable(t)
	before := openSessionsOn(d, in)
	o := startOnTerminal(t, d.program("connect", "--region", in.Region.Name, in.Host.ID))
	o.expect(`Session operator-\S+ on ` + in.Host.ID)
	o.expect(`[$#] $`)
	o.typed("id -un\r")
	o.expect(`id -un\r\nssm-user\r\n`)
	// The size travels by itself; the shell says when it is there.
	o.typed("until stty size | grep -q '^30 90'; do :; done; echo measured\r")
	o.expect(`measured\r\n.*measured\r\n`)
	if err := pty.Setsize(o.tty, &pty.Winsize{Cols: 132, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	o.typed("until stty size | grep -q '^50 132'; do :; done; echo resized\r")
	o.expect(`resized\r\n.*resized\r\n`)
	// Ctrl-C is the session's, not ours.
	o.typed("echo unfinished\x03")
	o.expect(`[$#] $`)
	o.typed("echo still $((40+2))\r")
	o.expect(`still 42`)
	o.typed("exit\r")
	o.expect("The session has ended")
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if n := openSessionsOn(d, in); n != before {
		t.Errorf("%d sessions are open, %d were before", n, before)
	}
}

func TestConnectIsLeftByTildeAndDot(t *testing.T) {
	d, in := connectable(t)
	before := openSessionsOn(d, in)
	o := startOnTerminal(t, d.program("connect", "--region", in.Region.Name, in.Host.ID))
	o.expect(`[$#] $`)
	o.typed("cat\r~.")
	o.expect("The session has ended")
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if n := openSessionsOn(d, in); n != before {
		t.Errorf("%d sessions are open, %d were before", n, before)
	}
}

func TestConnectWithoutATerminal(t *testing.T) {
	d, in := connectable(t)
	c := d.program("connect", "--region", in.Region.Name, in.Host.ID)
	c.Stdin = strings.NewReader("id -un\nexit\n")
	if got := string(output(t, c)); !strings.Contains(got, "ssm-user") {
		t.Errorf("output %q", got)
	}
	c = d.program("connect", "--region", in.Region.Name, in.Host.ID, "--document", "AWS-StartInteractiveCommand", "--parameter", "command=echo one two; id -un")
	if got := string(output(t, c)); got != "one two\r\nssm-user\r\n" {
		t.Errorf("output of a command %q", got)
	}
}

func TestConnectForwardsPorts(t *testing.T) {
	d, in := connectable(t)
	before := openSessionsOn(d, in)
	d.world.Mu.Lock()
	in.Services = []simfleet.Service{{Port: 9000, Loopback: true, Page: "loopback"}, {Port: 9001, Page: "everywhere"}}
	d.world.Mu.Unlock()
	c := d.program("connect", "--region", in.Region.Name, in.Host.ID, "--json", "-L", "0:localhost:9000", "-L", fmt.Sprintf("0:%s:9001", in.Host.PrivateIP))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	var ports []forwardResult
	if err := json.NewDecoder(out).Decode(&ports); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i, want := range []string{"loopback", "everywhere"} {
		if host, _, err := net.SplitHostPort(ports[i].Listen); err != nil || host != "127.0.0.1" {
			t.Errorf("bound to %s", ports[i].Listen)
		}
		for range 8 {
			all.Go(func() {
				if got, err := fetch(t.Context(), "http://"+ports[i].Listen); err != nil || got != want {
					t.Errorf("%s: %q, %v", ports[i].Target, got, err)
				}
			})
		}
	}
	all.Wait()
	if n := openSessionsOn(d, in) - before; n != 2 {
		t.Errorf("%d sessions for two ports", n)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if n := openSessionsOn(d, in); n != before {
		t.Errorf("%d sessions are open, %d were before", n, before)
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

// OpenSSH's own client through our ProxyCommand.
func TestConnectAsProxyCommand(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("install the SSH client: apt-get install openssh-client")
	}
	d, in := connectableIn(t, demoOptions{instances: 30, seed: 7, noThrottle: true}, "prod-ci-01")
	before := openSessionsOn(d, in)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, ssh, "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known"),
		"-o", "BatchMode=yes", "-i", filepath.Join(d.dir, simfleet.OperatorKeyFile),
		"-o", "ProxyCommand="+exe+" connect --ssh --region "+in.Region.Name+" --port %p %h", simfleet.OperatorUser+"@"+in.Host.ID, "echo through; id -un")
	c.Env = d.env
	got, err := c.Output()
	if err != nil || string(got) != "through\n"+simfleet.OperatorUser+"\n" {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Logf("%s", failed.Stderr)
		}
		t.Errorf("%q, %v", got, err)
	}
	waitFor(t, "the end of the session", func() bool { return openSessionsOn(d, in) == before })
}

// waitFor waits for a condition that another process brings about.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 300 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("no sign of %s", what)
}

func TestParseForward(t *testing.T) {
	tests := []struct {
		text, bind string
		want       forward
		err        string
	}{
		{"8080:localhost:80", "127.0.0.1", forward{listen: "127.0.0.1:8080", port: 80}, ""},
		{"8080:127.0.0.1:80", "127.0.0.1", forward{listen: "127.0.0.1:8080", port: 80}, ""},
		{"8080:[::1]:80", "::1", forward{listen: "[::1]:8080", port: 80}, ""},
		{"0:db.internal:5432", "0.0.0.0", forward{listen: "0.0.0.0:0", host: "db.internal", port: 5432}, ""},
		{"1:[fd00::5]:2", "127.0.0.1", forward{listen: "127.0.0.1:1", host: "fd00::5", port: 2}, ""},
		{"8080", "127.0.0.1", forward{}, "PORT:HOST:HOSTPORT"},
		{"8080:80", "127.0.0.1", forward{}, "PORT:HOST:HOSTPORT"},
		{"0.0.0.0:8080:localhost:80", "127.0.0.1", forward{}, "not a port"},
		{"8080::80", "127.0.0.1", forward{}, "PORT:HOST:HOSTPORT"},
		{"8080:db:0", "127.0.0.1", forward{}, "not a port"},
		{"8080:db:65536", "127.0.0.1", forward{}, "not a port"},
		{"8080:d b:1", "127.0.0.1", forward{}, "no name"},
		{"8080:db:1", "everywhere", forward{}, "--bind"},
	}
	for _, tt := range tests {
		got, err := parseForward(tt.text, tt.bind)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
	}
}

// slowProver proves nothing until its context ends.
type slowProver struct{ begun chan struct{} }

func (p slowProver) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	p.begun <- struct{}{}
	<-ctx.Done()
	return fleet.Proof{Host: h.Ref(), Way: way, Reason: "canceled"}
}

type proofList struct {
	mu   sync.Mutex
	list []fleet.Proof
	err  error
}

func (l *proofList) SaveProof(_ context.Context, p fleet.Proof) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, p)
	return l.err
}

func TestInterruptedProofsAreNotStored(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v := slowProver{begun: make(chan struct{}, 2)}
	store := &proofList{}
	go func() { <-v.begun; <-v.begun; cancel() }()
	_, err := proveAll(ctx, v, store, make([]fleet.Host, 5), 2)
	if !errors.Is(err, context.Canceled) || len(store.list) != 0 {
		t.Errorf("%v, %d stored", err, len(store.list))
	}
}

// yesProver proves at once.
type yesProver struct{}

func (yesProver) Prove(_ context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	return fleet.Proof{Host: h.Ref(), Way: way, Works: fleet.TruthYes}
}

func TestProofsThatCannotBeStoredAreAnError(t *testing.T) {
	full := errors.New("disk full")
	if _, err := proveAll(t.Context(), yesProver{}, &proofList{err: full}, make([]fleet.Host, 5), 2); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	store := &proofList{}
	got, err := proveAll(t.Context(), yesProver{}, store, []fleet.Host{{ID: "i-1"}, {ID: "i-2"}, {ID: "i-3"}}, 2)
	if err != nil || len(store.list) != 3 || got[0].Host.ID != "i-1" || got[2].Host.ID != "i-3" {
		t.Errorf("%+v, %v, %d stored", got, err, len(store.list))
	}
}
