package session_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"ssm-migrate/internal/session"
)

// agentPipe is the agent's end of a port session's stream.
type agentPipe struct {
	p    *peer
	ctx  context.Context
	rest []byte
}

func (a *agentPipe) Read(b []byte) (int, error) {
	for len(a.rest) == 0 {
		select {
		case m := <-a.p.in:
			if m.PayloadType == session.PayloadOutput {
				a.rest = m.Payload
			}
		case <-a.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *agentPipe) Write(b []byte) (int, error) {
	for part := b; len(part) > 0; {
		n := min(len(part), 1024)
		a.p.output(session.PayloadOutput, string(part[:n]))
		part = part[n:]
	}
	return len(b), nil
}

func (a *agentPipe) Close() error { return nil }

// multiplex plays an agent that answers each connection by f.
func (p *peer) multiplex(f func(net.Conn)) {
	ctx, cancel := context.WithCancel(context.Background())
	config := smux.DefaultConfig()
	config.KeepAliveDisabled = true
	s, err := smux.Server(&agentPipe{p: p, ctx: ctx}, config)
	if err != nil {
		p.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			stream, err := s.AcceptStream()
			if err != nil {
				return
			}
			all.Go(func() {
				f(stream)
				_ = stream.Close()
			})
		}
	})
	p.t.Cleanup(func() {
		_ = s.Close()
		cancel()
		all.Wait()
	})
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func (p *peer) port(version string, properties any, refused func()) (*session.Channel, *session.Port) {
	p.t.Helper()
	c := p.open()
	p.shake(version, sessionOf(session.KindPort, properties))
	p.complete()
	if err := c.Ready(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	port, err := c.Port(refused)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(port.Close)
	return c, port
}

// listen serves the port on loopback until the test's end.
func listen(t *testing.T, port *session.Port) (addr string, wait func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- port.Serve(ctx, l) }()
	t.Cleanup(cancel)
	return l.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

func TestManyConnectionsAtOnce(t *testing.T) {
	p := newPeer(t)
	_, port := p.port("3.3.0.0", forwarding, nil)
	if !port.Multiplexed() {
		t.Fatal("not multiplexed")
	}
	p.multiplex(echo)
	addr, wait := listen(t, port)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close() //nolint:errcheck // read to its end
			sent := make([]byte, 5000+i)
			_, _ = rand.Read(sent)
			all.Go(func() { _, _ = conn.Write(sent) })
			got := make([]byte, len(sent))
			if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("connection %d: %d of %d bytes came back, %v", i, n, len(sent), err)
			}
		})
	}
	all.Wait()
	if err := wait(); err != nil {
		t.Error(err)
	}
	port.Close()
	if f := <-p.flags; f != session.FlagTerminateSession {
		t.Errorf("flag %d", f)
	}
}

func TestAnswerToAClientThatHasSaidAll(t *testing.T) {
	p := newPeer(t)
	_, port := p.port("3.3.0.0", forwarding, nil)
	want := strings.Repeat("answer ", 10_000)
	p.multiplex(func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 8))
		_, _ = io.WriteString(c, want)
	})
	addr, _ := listen(t, port)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // read to its end
	fmt.Fprint(conn, "question")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
	}
}

// A server that speaks first may do so before smux expects it.
func TestGreetingsOfQuickServersArrive(t *testing.T) {
	p := newPeer(t)
	_, port := p.port("3.3.0.0", forwarding, nil)
	p.multiplex(func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-quick\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	for n := range 300 {
		far, err := port.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(20*time.Second, func() { _ = far.Close() })
		b := make([]byte, 15)
		if _, err := io.ReadFull(far, b); err != nil || string(b) != "SSH-2.0-quick\r\n" {
			t.Fatalf("connection %d: %q, %v", n, b, err)
		}
		late.Stop()
		_ = far.Close()
	}
}

func TestRefusedConnectionsAreTold(t *testing.T) {
	p := newPeer(t)
	told := make(chan struct{}, 1)
	_, port := p.port("3.3.0.0", forwarding, func() { told <- struct{}{} })
	p.multiplex(func(net.Conn) { p.output(session.PayloadFlag, "\x00\x00\x00\x03") })
	conn, err := port.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("read %q", b)
	}
	<-told
}

func TestOldAgentsCarryOneConnectionAfterTheOther(t *testing.T) {
	p := newPeer(t)
	_, port := p.port("2.3.1205.0", forwarding, nil)
	if port.Multiplexed() {
		t.Fatal("multiplexed")
	}
	addr, _ := listen(t, port)
	for _, want := range []string{"first", "second"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, want)
		if got := string(p.receive(session.PayloadOutput).Payload); got != want {
			t.Errorf("got %q", got)
		}
		p.output(session.PayloadOutput, strings.ToUpper(want))
		b := make([]byte, len(want))
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != strings.ToUpper(want) {
			t.Errorf("answer %q, %v", b, err)
		}
		_ = conn.Close()
		if f := <-p.flags; f != session.FlagDisconnectToPort {
			t.Errorf("flag %d", f)
		}
		p.output(session.PayloadOutput, "too late") // belongs to no connection
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the far side closes
	fmt.Fprint(conn, "x")
	p.receive(session.PayloadOutput)
	p.output(session.PayloadFlag, "\x00\x00\x00\x03")
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := io.ReadAll(conn); len(b) != 0 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a refused connection reads %q, %v", b, err)
	}
}

func TestEndOfAPortSessionEndsItsConnections(t *testing.T) {
	p := newPeer(t)
	_, port := p.port("3.3.0.0", forwarding, nil)
	p.multiplex(echo)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- port.Serve(context.Background(), l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the far side closes
	fmt.Fprint(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.closed("the session has reached its longest duration")
	var end *session.EndError
	if err := <-done; !errors.As(err, &end) {
		t.Errorf("end: %v", err)
	}
	if b, _ := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("read %q", b)
	}
	if _, err := port.Open(t.Context()); !errors.As(err, &end) {
		t.Errorf("open: %v", err)
	}
}

func TestStdioCarriesOneStream(t *testing.T) {
	for name, version := range map[string]string{"new agents": "3.3.0.0", "old agents": "2.3.722.0"} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c := p.open()
			p.shake(version, sessionOf(session.KindPort, map[string]any{"portNumber": 22}))
			p.complete()
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Port(nil); err == nil {
				t.Error("an SSH session serves listeners")
			}
			in, typing := input(t)
			out := newOutput()
			done := make(chan error, 1)
			go func() { done <- c.Stdio(t.Context(), in, out) }()
			fmt.Fprint(typing, "SSH-2.0-client\r\n")
			if got := string(p.receive(session.PayloadOutput).Payload); got != "SSH-2.0-client\r\n" {
				t.Errorf("sent %q", got)
			}
			p.output(session.PayloadOutput, "SSH-2.0-server\r\n")
			<-out.new
			_ = typing.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if out.String() != "SSH-2.0-server\r\n" {
				t.Errorf("received %q", out.String())
			}
		})
	}
}

func TestStdioTellsThatThePortIsClosed(t *testing.T) {
	p := newPeer(t)
	c := p.open()
	p.shake("3.3.0.0", sessionOf(session.KindPort, map[string]any{"portNumber": "22"}))
	p.complete()
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	in, _ := input(t)
	p.output(session.PayloadFlag, "\x00\x00\x00\x03")
	if err := c.Stdio(t.Context(), in, io.Discard); !errors.Is(err, session.ErrPortRefused) {
		t.Errorf("end: %v", err)
	}
}

func TestSessionsAreForWhatTheirDocumentSays(t *testing.T) {
	p := newPeer(t)
	c, _ := p.port("3.3.0.0", forwarding, nil)
	if err := c.Shell(t.Context(), strings.NewReader(""), io.Discard, nil); err == nil {
		t.Error("a port session is taken for a shell")
	}
	if err := c.Stdio(t.Context(), strings.NewReader(""), io.Discard); err == nil {
		t.Error("a port session is taken for SSH's")
	}
	shellPeer := newPeer(t)
	s := shellPeer.open()
	if _, err := s.Port(nil); err == nil {
		t.Error("a shell is taken for a port session")
	}
}
