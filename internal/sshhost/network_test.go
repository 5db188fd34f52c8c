package sshhost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

func TestFirstHopGoesThroughTheProxy(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	bastion := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: []string{"127.0.0.2"}})
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	var asked lockedBuffer
	proxy := startServer(t, func(c net.Conn) { serveSOCKS(c, &asked) })
	cfg := sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s, bastion)},
		Proxy: fmt.Sprintf("socks5://127.0.0.1:%d", proxy)}
	for _, jump := range []string{"", bastion.address()} {
		cfg.Jump = jump
		out, err := probe(t, newClient(t, cfg), s.host(), "echo hello")
		if err != nil || string(out.Stdout) != "hello\n" {
			t.Errorf("jump %q: got %q, %v", jump, out.Stdout, err)
		}
	}
	if want := s.address() + "\n" + bastion.address() + "\n"; asked.String() != want {
		t.Errorf("the proxy was asked for %q, want %q", asked.String(), want)
	}
}

// serveSOCKS is a SOCKS 5 server (RFC 1928) for IPv4 addresses without login.
func serveSOCKS(c net.Conn, asked io.Writer) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[1])); err != nil {
		return
	}
	_, _ = c.Write([]byte{5, 0})
	request := make([]byte, 10)
	if _, err := io.ReadFull(c, request); err != nil || request[3] != 1 {
		return
	}
	address := net.JoinHostPort(net.IP(request[4:8]).String(), fmt.Sprint(binary.BigEndian.Uint16(request[8:])))
	fmt.Fprintln(asked, address)
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() {
		_, _ = io.Copy(far, c)
		far.Close()
	}()
	_, _ = io.Copy(c, far)
}

// relayServer passes connections on to an address; frozen ones keep silent.
type relayServer struct {
	port   int
	frozen atomic.Bool
	count  atomic.Int32
}

func startRelay(t *testing.T, to string) *relayServer {
	r := &relayServer{}
	r.port = startServer(t, func(c net.Conn) {
		r.count.Add(1)
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer far.Close()
		frozen := &atomic.Bool{}
		pass := func(dst, src net.Conn) {
			buf := make([]byte, 4096)
			for {
				n, err := src.Read(buf)
				if err != nil {
					dst.Close()
					return
				}
				// A connection that was frozen once stays so.
				if r.frozen.Load() {
					frozen.Store(true)
				}
				if !frozen.Load() {
					_, _ = dst.Write(buf[:n])
				}
			}
		}
		go pass(c, far)
		pass(far, c)
	})
	return r
}

func TestBastionThatWentSilentIsReplaced(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	bastion := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: []string{"127.0.0.2"}})
	relay := startRelay(t, bastion.address())
	known := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), fmt.Sprintf("[127.0.0.1]:%d %s[127.0.0.2]:%d %s", relay.port, bastion.hostKey.line(), s.port, s.hostKey.line()))
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known},
		Jump: fmt.Sprintf("127.0.0.1:%d", relay.port), DialTimeout: 2 * time.Second})
	if _, err := probe(t, c, s.host(), "echo"); err != nil {
		t.Fatal(err)
	}
	relay.frozen.Store(true)
	if _, err := probe(t, c, s.host(), "echo"); !errors.Is(err, sshhost.ErrTimeout) {
		t.Fatalf("got %v", err)
	}
	relay.frozen.Store(false)
	// The dead connection is found out in the background.
	var err error
	for range 20 {
		if _, err = probe(t, c, s.host(), "echo"); err == nil {
			break
		}
	}
	if err != nil || relay.count.Load() != 2 {
		t.Errorf("%d connections to the bastion, %v", relay.count.Load(), err)
	}
}

func TestBastionThatIsDownFailsItsHostsTogether(t *testing.T) {
	var dials atomic.Int32
	port := startServer(t, func(net.Conn) { dials.Add(1) })
	id := newIdentity(t, t.TempDir(), "id", "")
	c := newClient(t, sshhost.Config{Users: []string{"root"}, IdentityFiles: []string{id.path}, KnownHosts: []string{writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "")}, Jump: fmt.Sprintf("127.0.0.1:%d", port)})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := c.Prober("sh", func(fleet.Host) string { return "" }).Probe(context.Background(), hostAt("192.0.2.1"))
			var e *sshhost.Error
			if !errors.As(err, &e) || !errors.Is(e.Kind, sshhost.ErrHandshake) || e.Hop == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections to the bastion, want 3 attempts for all", n)
	}
}

func TestCloseEndsProbes(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}})
	ended := make(chan error)
	go func() {
		_, err := c.Prober("sh", func(fleet.Host) string { return "exec sleep 1000" }).Probe(context.Background(), s.host())
		ended <- err
	}()
	for !strings.Contains(s.log.String(), "Starting session: command") {
		time.Sleep(5 * time.Millisecond)
	}
	c.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := probe(t, c, s.host(), "echo"); !errors.Is(err, context.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}

func TestKeyThatAHostTookGoesFirst(t *testing.T) {
	dir := t.TempDir()
	var ids []identity
	for i := range 5 {
		ids = append(ids, newIdentity(t, dir, fmt.Sprintf("id%d", i), ""))
	}
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": ids[4].line()}})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, AgentSocket: startAgent(t, ids...), KnownHosts: []string{knownHosts(t, s)}})
	for range 3 {
		if _, err := probe(t, c, s.host(), "echo"); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(s.log.String(), "Failed publickey"); n != 4 {
		t.Errorf("%d keys were refused in all, want the 4 of the first connection", n)
	}
}

func TestHashKnownHosts(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	known := filepath.Join(t.TempDir(), "new", "known_hosts")
	cfg := sshhost.Config{ConfigFile: writeFile(t, filepath.Join(t.TempDir(), "config"), "HashKnownHosts yes\n"), Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path},
		KnownHosts: []string{known}, HostKeyPolicy: sshhost.PolicyAcceptNew}
	for _, policy := range []string{sshhost.PolicyAcceptNew, sshhost.PolicyStrict} {
		cfg.HostKeyPolicy = policy
		if _, err := probe(t, newClient(t, cfg), s.host(), "echo"); err != nil {
			t.Fatal(err)
		}
	}
	if text := readFile(t, known); !strings.HasPrefix(text, "|1|") || strings.Count(text, "\n") != 1 {
		t.Errorf("recorded %q", text)
	}
}
