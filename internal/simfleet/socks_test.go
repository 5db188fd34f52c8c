package simfleet_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/simfleet"
)

// TestSOCKS checks the proxy's answers, byte by byte.
func TestSOCKS(t *testing.T) {
	w, h := newWorld(t, 300, simfleet.HostOptions{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.ServeSOCKS(ctx, ln) }()
	linux := findInstance(t, w, "public Linux host", func(in *simfleet.Instance) bool {
		return in.Host.PublicIP.IsValid() && w.OperatorReaches(in) && in.OS.Family != "windows" && !in.Down
	})
	private := findInstance(t, w, "private host", func(in *simfleet.Instance) bool { return !in.Host.PublicIP.IsValid() })
	closed := findInstance(t, w, "public host without sshd", func(in *simfleet.Instance) bool {
		return in.Host.PublicIP.IsValid() && w.OperatorReaches(in) && in != linux
	})
	closed.Down = true
	request := func(command, kind byte, addr []byte, port uint16) string {
		return "\x05\x01\x00" + string(append(append([]byte{5, command, 0, kind}, addr...), byte(port>>8), byte(port)))
	}
	ip := func(a netip.Addr) []byte { return a.AsSlice() }
	for _, c := range []struct {
		what, send string
		reply      byte // 0xff: the connection closes without one
		banner     string
	}{
		{"an address", request(1, 1, ip(linux.Host.PublicIP), 22), 0, "SSH-2.0-" + linux.OS.SSHDBuild},
		{"an address as a name", request(1, 3, append([]byte{byte(len(linux.Host.PublicIP.String()))}, linux.Host.PublicIP.String()...), 22), 0, "SSH-2.0-"},
		{"an address in IPv6 form", request(1, 4, netip.AddrFrom16(linux.Host.PublicIP.As16()).AsSlice(), 22), 0, "SSH-2.0-"},
		{"a private address", request(1, 1, ip(private.Host.PrivateIP), 22), 4, ""},
		{"no such host", request(1, 1, []byte{198, 19, 255, 254}, 22), 6, ""},
		{"a port that is filtered", request(1, 1, ip(linux.Host.PublicIP), 9999), 6, ""},
		{"nothing listens", request(1, 1, ip(closed.Host.PublicIP), 22), 5, ""},
		{"a name", request(1, 3, []byte("\x07example"), 22), 4, ""},
		{"BIND", request(2, 1, ip(linux.Host.PublicIP), 22), 7, ""},
		{"an unknown kind of address", request(1, 9, nil, 22), 8, ""},
		{"SOCKS 4", "\x04\x01\x00\x16\x00\x00\x00\x01\x00", 0xff, ""},
		{"half a request", "\x05\x01\x00\x05\x01", 0xff, ""},
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.send); err != nil {
			t.Fatal(err)
		}
		// A server that refused the request may have closed the connection already.
		if err := conn.(*net.TCPConn).CloseWrite(); c.reply == 0xff && err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		if !strings.HasPrefix(c.send, "\x04") {
			greeting := make([]byte, 2)
			if _, err := io.ReadFull(r, greeting); err != nil || string(greeting) != "\x05\x00" {
				t.Fatalf("%s: greeting %q: %v", c.what, greeting, err)
			}
		}
		answer := make([]byte, 10)
		n, _ := io.ReadFull(r, answer)
		switch {
		case c.reply == 0xff:
			if n == 10 && answer[1] == 0 {
				t.Errorf("%s: accepted", c.what)
			}
		case n != 10 || answer[0] != 5 || answer[1] != c.reply:
			t.Errorf("%s: answer %v, want reply %d", c.what, answer[:n], c.reply)
		case c.banner != "":
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, c.banner) {
				t.Errorf("%s: banner %q: %v", c.what, line, err)
			}
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("the proxy ended with %v", err)
	}
}

// TestTerminal runs commands in an interactive shell.
func TestTerminal(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" && !in.Down })
	in.Users = []*simfleet.User{operator(w, 1400, true)}
	client, err := login(t, h, in, "203.0.113.10:50001", clientConfig(t, w, "ops"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s.Stdin, s.Stdout = strings.NewReader("echo $((40+2)) $SSH_TTY\rsudo -n whoami\rexit\r"), &out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ops@" + in.Hostname + ":~$ ", "42 /dev/pts/0\r\n", "root\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q does not show %q", out.String(), want)
		}
	}
}

// TestDialWaitsForDroppedPackets checks that a dropped packet costs scaled time,
// and that the wait can be cut short.
func TestDialWaitsForDroppedPackets(t *testing.T) {
	_, h := newWorld(t, 60, simfleet.HostOptions{TimeScale: 1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := h.Dial(ctx, simfleet.Origin{Addr: simfleet.OperatorAddr}, netip.MustParseAddrPort("198.19.255.254:22"))
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Errorf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("canceled: %v", err)
	}
}
