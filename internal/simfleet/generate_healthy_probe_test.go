package simfleet_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sshhost"
)

// The product's own client gets to every host of a healthy world with the
// host's own key.
func TestHealthyWorldAnswersTheProbe(t *testing.T) {
	w, err := simfleet.Generate(simfleet.Options{Healthy: true, Instances: 8, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	h := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	defer h.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
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
	all := maps.Clone(files.HostKeys)
	all["config"], all[simfleet.OperatorKnownHostsFile] = []byte(files.SSHConfig), []byte(files.KnownHosts)
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := sshhost.New(sshhost.Config{ConfigFile: filepath.Join(dir, "config"), Proxy: "socks5://" + ln.Addr().String(), AgentSocket: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	prober := c.Prober(inventory.Command, inventory.Script)
	for in := range w.Instances() {
		out, err := prober.Probe(ctx, in.Host)
		if err != nil {
			t.Errorf("%s: %v", in.Host.Name(), err)
			continue
		}
		p, err := inventory.Parse(out, time.Now())
		if err != nil {
			t.Errorf("%s: %v", in.Host.Name(), err)
		}
		if !p.Keys.Known || len(p.Keys.Value) != 2 || !p.Logins.Known || len(p.Logins.Value.Logins) < 2 {
			t.Errorf("%s: keys %+v, logins %+v", in.Host.Name(), p.Keys, p.Logins)
		}
	}
}
