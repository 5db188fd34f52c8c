package simfleet_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"
)

// BenchmarkProbe is one login to a simulated host and one run of the probe,
// without simulated waits: what the simulation itself costs a scan.
func BenchmarkProbe(b *testing.B) {
	w, err := simfleet.Generate(simfleet.Options{Instances: 300, Seed: 7})
	if err != nil {
		b.Fatal(err)
	}
	h := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	defer h.Close()
	var hosts []*simfleet.Instance
	for in := range w.Instances() {
		if in.Host.Running() && in.OS.Family != "windows" && !in.Down && len(in.Users) > 2 && in.Users[2].Name == simfleet.OperatorUser {
			hosts = append(hosts, in)
		}
	}
	private, _ := w.OperatorKey()
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		b.Fatal(err)
	}
	conf := &ssh.ClientConfig{User: simfleet.OperatorUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()} //nolint:gosec // a benchmark
	for i := 0; b.Loop(); i++ {
		in := hosts[i%len(hosts)]
		near, far, err := socketPair()
		if err != nil {
			b.Fatal(err)
		}
		go h.ServeConn(in, far, addrPort("203.0.113.10", 50001), addrPort(in.Host.PrivateIP.String(), 22))
		c, channels, requests, err := ssh.NewClientConn(near, "host:22", conf)
		if err != nil {
			b.Fatal(err)
		}
		client := ssh.NewClient(c, channels, requests)
		s, err := client.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		s.Stdin = strings.NewReader(inventory.Script(in.Host))
		out, err := s.Output(inventory.Command)
		if err != nil || !bytes.HasSuffix(out, []byte("\ndone\n")) {
			b.Fatalf("%s: %v", in.Host.ID, err)
		}
		_ = client.Close()
	}
}
