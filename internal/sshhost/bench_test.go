package sshhost_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sshhost"
)

const scanConcurrency = 64

// BenchmarkScan compares a scan through this package with bare x/crypto/ssh
// connections that run the same command and script on the same sshd. Hosts
// share the 16 loopback addresses that one daemon can listen on. "probe" runs the inventory's probe, "echo"
// a script that does nothing, so that the client's own share shows.
//
// Both sides of a pair run in turns within each iteration, since the machine
// may change its pace; ratio is our wall time over the bare one's.
func BenchmarkScan(b *testing.B) {
	for _, kind := range []struct {
		name    string
		command string
		script  func(fleet.Host) string
	}{
		{"echo", "sh", func(fleet.Host) string { return "echo hello\n" }},
		{"probe", inventory.Command, inventory.Script},
	} {
		for _, n := range []int{100, 500} {
			b.Run(fmt.Sprintf("%s/hosts=%d", kind.name, n), func(b *testing.B) {
				benchmarkScan(b, n, kind.command, kind.script)
			})
		}
	}
}

func benchmarkScan(b *testing.B, n int, command string, script func(fleet.Host) string) {
	id := newIdentity(b, b.TempDir(), "id", "")
	hosts := make([]fleet.Host, n)
	listen := make([]string, 16)
	for i := range listen {
		listen[i] = fmt.Sprintf("127.1.0.%d", i+1)
	}
	for i := range hosts {
		hosts[i] = hostAt(listen[i%len(listen)])
		hosts[i].ID, hosts[i].Region = fmt.Sprintf("i-%017x", i), "xx-test-1"
	}
	s := startSSHD(b, sshdOptions{keys: map[string]string{"root": id.line()}, listen: listen})
	// As many lines as a file for so many hosts has, theirs at the end.
	var known strings.Builder
	for i := range n {
		fmt.Fprintf(&known, "10.1.%d.%d %s", i/250, i%250+1, s.hostKey.line())
	}
	for _, a := range listen {
		fmt.Fprintf(&known, "[%s]:%d %s", a, s.port, s.hostKey.line())
	}
	cfg := sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, DialTimeout: time.Minute, Timeout: 5 * time.Minute,
		KnownHosts: []string{writeFile(b, filepath.Join(b.TempDir(), "known_hosts"), known.String())}}
	signer, err := ssh.NewSignerFromKey(id.private)
	if err != nil {
		b.Fatal(err)
	}
	var oursWall, bareWall, oursCPU, bareCPU time.Duration
	ours := func() {
		start, cpu := time.Now(), cpuTime(b)
		c := newClient(b, cfg)
		p := c.Prober(command, script)
		forEach(b, hosts, func(h fleet.Host) error {
			out, err := p.Probe(context.Background(), h)
			if err == nil && len(out.Stdout) == 0 {
				err = fmt.Errorf("%s printed nothing", h.ID)
			}
			return err
		})
		oursWall, oursCPU = oursWall+time.Since(start), oursCPU+cpuTime(b)-cpu
	}
	bare := func() {
		start, cpu := time.Now(), cpuTime(b)
		forEach(b, hosts, func(h fleet.Host) error {
			return bareRun(net.JoinHostPort(h.PrivateIP.String(), fmt.Sprint(s.port)), signer, s.hostKey.public, command, script(h))
		})
		bareWall, bareCPU = bareWall+time.Since(start), bareCPU+cpuTime(b)-cpu
	}
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			ours()
			bare()
		} else {
			bare()
			ours()
		}
	}
	scanned := float64(b.N * n)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(scanned/oursWall.Seconds(), "hosts/s")
	b.ReportMetric(scanned/bareWall.Seconds(), "bare-hosts/s")
	b.ReportMetric(oursWall.Seconds()/bareWall.Seconds(), "ratio")
	b.ReportMetric(oursCPU.Seconds()*1000/scanned, "cpu-ms/host")
	b.ReportMetric(bareCPU.Seconds()*1000/scanned, "bare-cpu-ms/host")
}

// bareRun is the least that x/crypto/ssh needs for one command.
func bareRun(address string, signer ssh.Signer, hostKey ssh.PublicKey, command, script string) error {
	client, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey), Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(script)
	session.Stderr = io.Discard
	_, err = session.Output(command)
	return err
}

func forEach(b *testing.B, hosts []fleet.Host, f func(fleet.Host) error) {
	b.Helper()
	var wg sync.WaitGroup
	next := make(chan fleet.Host)
	for range scanConcurrency {
		wg.Go(func() {
			for h := range next {
				if err := f(h); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, h := range hosts {
		next <- h
	}
	close(next)
	wg.Wait()
}

// cpuTime is the processor time of this process, sshd left out.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
