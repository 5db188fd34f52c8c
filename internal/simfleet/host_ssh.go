package simfleet

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// server is sshd for one connection.
type server struct {
	h    *Hosts
	inst *Instance
	from netip.AddrPort
	to   netip.AddrPort
	m    *machine // as it was when the connection came
	conf sshdConfig

	conn  *ssh.ServerConn
	grant *grant
	login *liveLogin // guarded by h.mu
}

// addrConn is a stream that a simulated connection runs on, with the addresses
// that its ends have in the world.
type addrConn struct {
	net.Conn
	from, to netip.AddrPort
}

func (c addrConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }
func (c addrConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.to) }

// hostKey is the private key that the instance's server shows.
func (m *machine) hostKey() ssh.Signer {
	seed := m.HostKey
	if m.Fault == MachineHostKey {
		other := sha256.Sum256(seed)
		seed = other[:]
	}
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		panic(fmt.Sprintf("simfleet: host key of %s: %v", m.Host.ID, err)) // Ed25519 always works
	}
	return signer
}

// ServeConn is the SSH server of an instance for one connection that comes
// from the given address, as the instance sees it, to one of its own. It
// returns when the connection ends; c is closed then. Whether the connection
// could have been made is not asked here; see Dial.
func (h *Hosts) ServeConn(inst *Instance, c net.Conn, from, to netip.AddrPort) {
	if !h.track(c) {
		return
	}
	defer h.untrack(c)
	s := &server{h: h, inst: inst, from: from, to: to, m: h.machine(inst)}
	if s.m.Fault == MachineSilent {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	conf, err := s.m.sshdEffective(root, s.m.sshdArguments()[1:], nil)
	if err != nil {
		return // a daemon with such a configuration would not have started
	}
	s.conf = conf
	conn, channels, requests, err := ssh.NewServerConn(addrConn{c, from, to}, s.config())
	if err != nil {
		return
	}
	s.conn = conn
	s.grant, _ = conn.Permissions.ExtraData[grantKey{}].(*grant)
	if s.grant == nil {
		return
	}
	s.begin()
	defer s.end()
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	h.wg.Go(func() { ssh.DiscardRequests(requests) })
	s.channels(ctx, channels)
}

type grantKey struct{}

func (s *server) config() *ssh.ServerConfig {
	j := &judge{m: s.m, from: s.from, to: s.to}
	tries, err := strconv.Atoi(s.conf.first("maxauthtries"))
	if err != nil || tries < 1 {
		tries = 6
	}
	c := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-" + s.m.OS.SSHDBuild,
		MaxAuthTries:  tries,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			g, err := j.publicKey(meta.User(), key)
			if err != nil {
				return nil, err
			}
			return &ssh.Permissions{ExtraData: map[any]any{grantKey{}: g}}, nil
		},
		// As with sshd, the login is in the log before the client hears of it.
		VerifiedPublicKeyCallback: func(_ ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			if g, ok := p.ExtraData[grantKey{}].(*grant); ok {
				s.logLogin(g)
			}
			return p, nil
		},
	}
	if s.conf.first("passwordauthentication") == "yes" {
		c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			return nil, errors.New("no account here has a password")
		}
	}
	c.AddHostKey(s.m.hostKey())
	return c
}

// logLogin adds an accepted login to the machine's log.
func (s *server) logLogin(g *grant) {
	s.h.w.Mu.Lock()
	defer s.h.w.Mu.Unlock()
	s.inst.Logins = append(s.inst.Logins, Login{
		At: s.h.w.Now().UTC(), User: g.account.name, Method: "publickey", Key: g.logKey, From: s.from.Addr(), Port: int(s.from.Port()),
	})
}

// begin shows the login among the processes.
func (s *server) begin() {
	h := s.h
	s.login = &liveLogin{user: s.grant.account, from: s.from.String(), local: s.to.String(), priv: h.newPIDs(2), cut: func() { _ = s.conn.Close() }}
	h.mu.Lock()
	h.live[s.inst] = append(h.live[s.inst], s.login)
	h.mu.Unlock()
}

func (s *server) end() {
	_ = s.conn.Close()
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := slices.DeleteFunc(h.live[s.inst], func(l *liveLogin) bool { return l == s.login })
	if len(rest) == 0 {
		delete(h.live, s.inst)
		return
	}
	h.live[s.inst] = rest
}

// channels serves what the client opens, each in a goroutine, until the
// connection ends; it returns when all of them have.
func (s *server) channels(ctx context.Context, channels <-chan ssh.NewChannel) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{}, 1)
	running := 0
	finish := func() { done <- struct{}{} }
	defer func() {
		cancel()
		for ; running > 0; running-- {
			<-done
		}
	}()
	for {
		select {
		case <-done:
			running--
		case n, ok := <-channels:
			if !ok {
				return
			}
			switch n.ChannelType() {
			case "session":
				running++
				s.h.wg.Go(func() { defer finish(); s.session(ctx, n) })
			case "direct-tcpip":
				running++
				s.h.wg.Go(func() { defer finish(); s.tunnel(ctx, n) })
			default:
				_ = n.Reject(ssh.UnknownChannelType, "unknown channel type")
			}
		}
	}
}

// Errors of Dial, in the kernel's words.
var (
	ErrRefused     = errors.New("connection refused")
	ErrTimedOut    = errors.New("connection timed out")
	ErrUnreachable = errors.New("no route to host")
)

// target finds the instance at an address, decides whether a connection from
// an origin gets there, and gives the source address that the instance sees.
// It does not wait.
func (h *Hosts) target(from Origin, dst netip.AddrPort) (*Instance, netip.Addr, error) {
	inst := h.instanceAt(dst.Addr())
	if inst == nil {
		return nil, netip.Addr{}, ErrTimedOut
	}
	h.w.Mu.RLock()
	reach := h.w.CanReach(from, inst, dst.Addr().Unmap(), int(dst.Port()))
	private := dst.Addr().Unmap() == inst.Host.PrivateIP
	listens := inst.OS.Family != "windows" && !inst.Down
	h.w.Mu.RUnlock()
	switch {
	case !reach.OK && private && from.Instance == nil:
		return nil, netip.Addr{}, ErrUnreachable // nobody routes private addresses over the internet
	case !reach.OK:
		return nil, netip.Addr{}, ErrTimedOut
	case !listens:
		return nil, netip.Addr{}, ErrRefused
	}
	m := h.machine(inst)
	conf, err := m.sshdEffective(root, m.sshdArguments()[1:], nil)
	if err != nil || conf.port() != int(dst.Port()) {
		return nil, netip.Addr{}, ErrRefused
	}
	return inst, reach.Source, nil
}

// Dial connects from an origin to an address of the world, as far as its
// network lets it, and serves SSH on the other end. The error wraps
// ErrRefused, ErrTimedOut (after a scaled wait) or ErrUnreachable.
func (h *Hosts) Dial(ctx context.Context, from Origin, dst netip.AddrPort) (net.Conn, error) {
	inst, source, err := h.target(from, dst)
	if err != nil {
		if errors.Is(err, ErrTimedOut) {
			if err := h.wait(ctx, connectPatience); err != nil {
				return nil, fmt.Errorf("connecting to %s: %w", dst, err)
			}
		}
		return nil, fmt.Errorf("connecting to %s: %w", dst, err)
	}
	near, far := net.Pipe()
	go h.ServeConn(inst, far, netip.AddrPortFrom(source, h.ephemeralPort()), dst)
	return near, nil
}

// ephemeralPort makes up the client's port.
func (h *Hosts) ephemeralPort() uint16 {
	return uint16(32768 + h.newPIDs(1)%28000) //nolint:gosec // below 60768
}

// tunnel serves a direct-tcpip channel: another instance, seen from this one.
func (s *server) tunnel(ctx context.Context, n ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &to); err != nil || to.Port > 65535 {
		_ = n.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	if !s.grant.mayOpen(to.Host, to.Port) {
		_ = n.Reject(ssh.Prohibited, "open failed")
		return
	}
	addr, ok := s.h.resolve(s.inst, to.Host)
	if !ok {
		_ = n.Reject(ssh.ConnectionFailed, "Name or service not known")
		return
	}
	dst := netip.AddrPortFrom(addr, uint16(to.Port)) //nolint:gosec // checked above
	inst, source, err := s.h.target(Origin{Instance: s.inst}, dst)
	switch {
	case errors.Is(err, ErrTimedOut):
		if s.h.wait(ctx, connectPatience) == nil {
			_ = n.Reject(ssh.ConnectionFailed, "Connection timed out")
		}
		return
	case err != nil:
		_ = n.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	s.h.wg.Go(func() { ssh.DiscardRequests(requests) })
	stop := context.AfterFunc(ctx, func() { _ = ch.Close() })
	defer stop()
	s.h.ServeConn(inst, channelConn{Channel: ch}, netip.AddrPortFrom(source, s.h.ephemeralPort()), dst)
}

// resolve turns the target of a tunnel into an address, by what an instance's
// resolver knows of its own VPC.
func (h *Hosts) resolve(from *Instance, name string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap(), true
	}
	h.w.Mu.RLock()
	defer h.w.Mu.RUnlock()
	for _, inst := range from.Region.Instances {
		if inst.Host.PrivateDNS == name && inst.Host.VPC == from.Host.VPC {
			return inst.Host.PrivateIP, true
		}
	}
	return netip.Addr{}, false
}

// channelConn lets an SSH connection run inside of another one's channel. It
// has no deadlines: the outer connection's end ends it.
type channelConn struct{ ssh.Channel }

func (channelConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (channelConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (channelConn) SetDeadline(time.Time) error      { return nil }
func (channelConn) SetReadDeadline(time.Time) error  { return nil }
func (channelConn) SetWriteDeadline(time.Time) error { return nil }
