package simfleet_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sshhost"
)

// TestOperatorReachesWhatTheModelSays probes a whole fleet at once with the
// product's own client, through the proxy and the bastions, and compares who
// answered with the model.
func TestOperatorReachesWhatTheModelSays(t *testing.T) {
	size := 120
	if testing.Short() {
		size = 30 // as many at once, which is what the race detector looks at
	}
	w, h := newWorld(t, size, simfleet.HostOptions{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.ServeSOCKS(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	files := w.OperatorFiles(ln.Addr().String(), dir)
	for name, text := range map[string]string{
		"config": files.SSHConfig, simfleet.OperatorKnownHostsFile: files.KnownHosts, simfleet.OperatorKeyFile: string(files.PrivateKey),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := sshhost.New(sshhost.Config{ConfigFile: filepath.Join(dir, "config"), Proxy: "socks5://" + ln.Addr().String(), AgentSocket: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	prober := c.Prober(inventory.Command, inventory.Script)
	var all sync.WaitGroup
	places := make(chan struct{}, 12)
	var mu sync.Mutex
	answered := 0
	for in := range w.Instances() {
		if !in.Host.Running() {
			continue
		}
		want := w.OperatorReaches(in) && !in.Down && in.OS.Family != "windows" &&
			slices.ContainsFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser })
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			out, err := prober.Probe(ctx, in.Host)
			if err == nil {
				_, err = inventory.Parse(out, time.Now())
			}
			mu.Lock()
			defer mu.Unlock()
			if (err == nil) != want {
				t.Errorf("%s (%s, %s): %v; the model says that it answers: %v", in.Host.ID, in.OS.Family, in.Role, err, want)
			}
			if err == nil {
				answered++
			}
		})
	}
	all.Wait()
	if answered < size/2 {
		t.Errorf("only %d hosts answered", answered)
	}
}
