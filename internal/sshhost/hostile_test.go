package sshhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

// startServer serves every connection with handle until the test ends.
func startServer(t testing.TB, handle func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// sshServer is an SSH server that lets everybody in and hands exec requests over.
func sshServer(t testing.TB, adjust func(*ssh.ServerConfig), exec func(ssh.Channel)) (port int, known string) {
	t.Helper()
	key := newIdentity(t, t.TempDir(), "host", "")
	signer, err := ssh.NewSignerFromKey(key.private)
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	conf.AddHostKey(signer)
	if adjust != nil {
		adjust(conf)
	}
	port = startServer(t, func(c net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(c, conf)
		if err != nil {
			return
		}
		defer conn.Close()
		go ssh.DiscardRequests(requests)
		for nc := range channels {
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range reqs {
					_ = r.Reply(r.Type == "exec", nil)
					if r.Type == "exec" {
						go func() {
							exec(ch)
							ch.Close()
						}()
					}
				}
			}()
		}
	})
	return port, writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), fmt.Sprintf("[127.0.0.1]:%d %s", port, key.line()))
}

func exitWith(ch ssh.Channel, code uint32) {
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
}

func TestGigabyteOfOutputIsCutOff(t *testing.T) {
	const limit = 1 << 20
	for name, stream := range map[string]func(ssh.Channel) io.Writer{
		"stdout": func(ch ssh.Channel) io.Writer { return ch },
		"stderr": func(ch ssh.Channel) io.Writer { return ch.Stderr() },
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			ended := make(chan struct{})
			port, known := sshServer(t, nil, func(ch ssh.Channel) {
				defer close(ended)
				block := bytes.Repeat([]byte{'x'}, 32<<10)
				for sent.Load() < 1<<30 {
					n, err := stream(ch).Write(block)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			id := newIdentity(t, t.TempDir(), "id", "")
			c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}, MaxOutput: limit})
			out, err := probe(t, c, hostAt("127.0.0.1"), "")
			if err != nil || !out.Truncated {
				t.Fatalf("truncated %t, %v", out.Truncated, err)
			}
			<-ended
			if name == "stdout" && len(out.Stdout) != limit || len(out.Stderr) > 64<<10 {
				t.Errorf("kept %d and %d bytes", len(out.Stdout), len(out.Stderr))
			}
			// What the server got rid of was either read or lay in a window or a socket.
			if n := sent.Load(); n > 32<<20 {
				t.Errorf("the host could send %d bytes", n)
			}
		})
	}
}

// TestHangEndsOnTime hangs a host at every stage of a connection.
func TestHangEndsOnTime(t *testing.T) {
	block := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	silent := startServer(t, block)
	afterVersion := startServer(t, func(c net.Conn) {
		fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
		block(c)
	})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	slowLogin, loginKnown := sshServer(t, func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			<-release
			return nil, errors.New("no")
		}
	}, nil)
	slowExec, execKnown := sshServer(t, nil, func(ch ssh.Channel) {
		fmt.Fprint(ch, "beginning\n")
		<-release
	})
	id := newIdentity(t, t.TempDir(), "id", "")
	for _, test := range []struct {
		stage string
		port  int
		known string
		want  string
	}{
		{"silence", silent, "", "in the SSH handshake"},
		{"after the version", afterVersion, "", "in the SSH handshake"},
		{"login", slowLogin, loginKnown, "while logging in"},
		{"exec", slowExec, execKnown, "while the command ran"},
	} {
		t.Run(test.stage, func(t *testing.T) {
			if test.known == "" {
				test.known = writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "")
			}
			c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: test.port, IdentityFiles: []string{id.path}, KnownHosts: []string{test.known},
				DialTimeout: 300 * time.Millisecond, Timeout: time.Second})
			out, err := probe(t, c, hostAt("127.0.0.1"), "")
			if !errors.Is(err, sshhost.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.stage == "exec" && string(out.Stdout) != "beginning\n" {
				t.Errorf("output until then: %q", out.Stdout)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: silent, IdentityFiles: []string{id.path}, KnownHosts: []string{execKnown}})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := c.Prober("sh", func(fleet.Host) string { return "" }).Probe(ctx, hostAt("127.0.0.1"))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("agent", func(t *testing.T) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // nobody accepts: the agent never answers
		c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: silent, AgentSocket: l.Addr().String(), KnownHosts: []string{execKnown}, Timeout: 300 * time.Millisecond})
		if _, err := probe(t, c, hostAt("127.0.0.1"), ""); !errors.Is(err, sshhost.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoSSHServer(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	known := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "")
	for _, test := range []struct {
		what string
		port int
		kind error
	}{
		{"nothing listens", freePort(t), sshhost.ErrUnreachable},
		{"closes at once", startServer(t, func(net.Conn) {}), sshhost.ErrHandshake},
		{"speaks HTTP", startServer(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J") }), sshhost.ErrHandshake},
		{"endless banner", startServer(t, func(c net.Conn) {
			for {
				if _, err := fmt.Fprint(c, "this is no version\r\n"); err != nil {
					return
				}
			}
		}), sshhost.ErrHandshake},
		{"garbage", startServer(t, func(c net.Conn) {
			fmt.Fprintf(c, "SSH-2.0-x\r\n%s", bytes.Repeat([]byte{0xff, 0x1b, 0x00}, 100000))
		}), sshhost.ErrHandshake},
	} {
		c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: test.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
		_, err := probe(t, c, hostAt("127.0.0.1"), "")
		if !errors.Is(err, test.kind) {
			t.Errorf("%s: got %v, want %v", test.what, err, test.kind)
		} else if !printable(err.Error()) {
			t.Errorf("%s: not printable: %q", test.what, err)
		}
	}
}

func TestTextOfServersIsSafeToShow(t *testing.T) {
	const evil = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\u202eright\x00 \xff\r\nnext"
	id := newIdentity(t, t.TempDir(), "id", "")
	port, known := sshServer(t, nil, func(ch ssh.Channel) {
		fmt.Fprint(ch.Stderr(), evil)
		exitWith(ch, 1)
	})
	c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
	_, err := probe(t, c, hostAt("127.0.0.1"), "")
	if !errors.Is(err, sshhost.ErrOutput) || !printable(err.Error()) || !strings.HasSuffix(err.Error(), "redright next") {
		t.Errorf("got %q", err)
	}
	h := hostAt("127.0.0.1")
	h.Tags["Name"] = evil
	if _, err = probe(t, c, h, ""); err == nil || !printable(err.Error()) {
		t.Errorf("got %q", err)
	}

	// A bastion's words about a refused channel.
	port = startServer(t, func(net.Conn) {})
	bastion := startServer(t, refusingBastion(t, evil))
	c = newClient(t, sshhost.Config{Users: []string{"root"}, Port: port, IdentityFiles: []string{id.path}, HostKeyPolicy: sshhost.PolicyAcceptNew,
		KnownHosts: []string{filepath.Join(t.TempDir(), "known_hosts")}, Jump: fmt.Sprintf("127.0.0.1:%d", bastion)})
	_, err = probe(t, c, hostAt("127.0.0.9"), "")
	if !errors.Is(err, sshhost.ErrUnreachable) || !printable(err.Error()) || !strings.Contains(err.Error(), "redright next") {
		t.Errorf("got %q", err)
	}
}

func refusingBastion(t testing.TB, words string) func(net.Conn) {
	signer, err := ssh.NewSignerFromKey(newEd25519(t))
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	conf.AddHostKey(signer)
	return func(c net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(c, conf)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for nc := range channels {
			_ = nc.Reject(ssh.ConnectionFailed, words)
		}
	}
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// TestMemoryPerConnection counts what a connection holds while its host is silent.
func TestMemoryPerConnection(t *testing.T) {
	const connections = 100
	s := startSilentSSHD(t)
	c := newClient(t, s.config)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := c.Prober("sh", func(fleet.Host) string { return "echo; echo ready >&2; exec sleep 1000\n" })
	before := liveMemory()
	done := make(chan error, connections)
	for range connections {
		go func() {
			_, err := p.Probe(ctx, hostAt("127.0.0.1"))
			done <- err
		}()
	}
	s.await(connections)
	each := (liveMemory() - before) / connections
	t.Logf("%d bytes per connection", each)
	if each > 100<<10 {
		t.Errorf("%d bytes per connection, want less than 100 KiB", each)
	}
	cancel()
	for range connections {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// silentServer is a real sshd whose sessions tell when they have begun.
type silentServer struct {
	config sshhost.Config
	log    *lockedBuffer
}

func startSilentSSHD(t testing.TB) *silentServer {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	return &silentServer{
		config: sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}, Timeout: 2 * time.Minute, DialTimeout: time.Minute},
		log:    s.log,
	}
}

// await waits until n sessions run a command.
func (s *silentServer) await(n int) {
	for strings.Count(s.log.String(), "Starting session: command") < n {
		runtime.Gosched()
		time.Sleep(10 * time.Millisecond)
	}
}

func liveMemory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
