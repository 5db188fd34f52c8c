package simfleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/xtaci/smux"

	"ssm-migrate/internal/fleet"
)

// Service is something that listens on a machine besides its SSH server.
type Service struct {
	Port     int
	Loopback bool   // it listens on 127.0.0.1 alone
	Page     string // it speaks HTTP, and this is the body of every answer; empty: it sends back what it gets
}

// services are what listens on the machine: the model's, or what its part in
// the story implies.
func (in *Instance) services() []Service {
	switch {
	case in.OS.Family == "windows" || in.Down:
		return nil
	case in.Services != nil:
		return in.Services
	}
	all := []Service{{Port: 8080, Page: in.Hostname + " " + string(in.Role) + "\n"}}
	if in.Role == "db" {
		all = append(all, Service{Port: 5432})
	}
	return all
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// dialLoopback connects a program on the machine to one of its own ports.
func (h *Hosts) dialLoopback(inst *Instance, port int) (net.Conn, error) {
	to := netip.AddrPortFrom(loopback, uint16(port)) //nolint:gosec // checked by portOf
	return h.accept(inst, to, loopback)
}

// accept gives a connection to what listens at an address of the instance.
func (h *Hosts) accept(inst *Instance, to netip.AddrPort, from netip.Addr) (net.Conn, error) {
	m := h.machine(inst)
	source := netip.AddrPortFrom(from, h.ephemeralPort())
	conf, err := m.sshdEffective(root, m.sshdArguments()[1:], nil)
	if err == nil && conf.port() == int(to.Port()) && !m.Down && m.OS.Family != "windows" {
		near, far := net.Pipe()
		if !h.spawn(func() { h.ServeConn(inst, far, source, to) }) {
			return nil, net.ErrClosed
		}
		return near, nil
	}
	all := m.services()
	i := slices.IndexFunc(all, func(s Service) bool { return s.Port == int(to.Port()) && (!s.Loopback || from == loopback) })
	if i < 0 {
		return nil, fmt.Errorf("dial tcp %s: connect: %w", to, ErrRefused)
	}
	near, far := net.Pipe()
	if !h.spawn(func() { h.servePage(far, all[i].Page) }) {
		return nil, net.ErrClosed
	}
	return near, nil
}

// servePage is a service on one connection.
func (h *Hosts) servePage(c net.Conn, page string) {
	if !h.track(c) {
		return
	}
	defer h.untrack(c)
	if page == "" {
		_, _ = io.Copy(c, c)
		return
	}
	for r := bufio.NewReader(c); ; {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(q.Body, maxRequest))
		a := http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: q, Close: q.Close, ContentLength: int64(len(page)),
			Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(page))}
		if a.Write(c) != nil || q.Close {
			return
		}
	}
}

// deniedRemotes are the addresses to which the agent forwards nothing. Source:
// amazon-ssm-agent, appconfig, Mgs.DeniedPortForwardingRemoteIPs.
var deniedRemotes = []string{"169.254.169.254", "169.254.169.253", "169.254.169.123", "169.254.169.250", "169.254.169.251", "fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::123", "fd00:ec2::240"}

// remote finds the address of a host that a port session names, as the agent
// does; the error is what it tells the client.
func (ls *liveSession) remote(host string) (netip.Addr, error) {
	addr, ok := ls.hosts.resolve(ls.inst, host)
	if host == "localhost" {
		addr, ok = loopback, true
	}
	if !ok {
		return netip.Addr{}, fmt.Errorf("Unable to resolve host %s", host) //nolint:staticcheck // for people
	}
	denied := slices.Contains(deniedRemotes, addr.String()) || ls.vpcResolver(addr)
	if addr.IsLoopback() && !versionLess(ls.agentVersion(), firstWithLoopbackDenied) {
		denied = true
	}
	if denied {
		return netip.Addr{}, fmt.Errorf("Forwarding to IP address %s is forbidden.", addr) //nolint:staticcheck,revive // the agent's words
	}
	return addr, nil
}

// vpcResolver reports whether an address is that of the VPC's DNS server.
func (ls *liveSession) vpcResolver(addr netip.Addr) bool {
	w := ls.server.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	vpc := find(ls.inst.Region.VPCs, func(v *fleet.VPC) bool { return v.ID == ls.inst.Host.VPC })
	return vpc != nil && slices.ContainsFunc(vpc.CIDRs, func(p netip.Prefix) bool { return p.Masked().Addr().Next().Next() == addr })
}

// dialer gives what connects to the session's target.
func (ls *liveSession) dialer() (func(context.Context) (net.Conn, error), error) {
	port, err := strconv.ParseUint(ls.spec.port.Port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("Port number %q is invalid", ls.spec.port.Port) //nolint:staticcheck // for people
	}
	if ls.spec.port.Host == "" {
		return func(context.Context) (net.Conn, error) { return ls.hosts.dialLoopback(ls.inst, int(port)) }, nil //nolint:gosec // 16 bits
	}
	addr, err := ls.remote(ls.spec.port.Host)
	if err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(addr, uint16(port))
	return func(ctx context.Context) (net.Conn, error) {
		if addr.IsLoopback() || addr == ls.inst.Host.PrivateIP {
			return ls.hosts.accept(ls.inst, to, loopback)
		}
		return ls.hosts.dialFrom(ctx, ls.inst, to)
	}, nil
}

// dialFrom connects a program on the machine to an address of the world, over
// its network.
func (h *Hosts) dialFrom(ctx context.Context, inst *Instance, to netip.AddrPort) (net.Conn, error) {
	other := h.instanceAt(to.Addr())
	var reach ReachResult
	if other != nil {
		h.w.Mu.RLock()
		reach = h.w.CanReach(Origin{Instance: inst}, other, to.Addr().Unmap(), int(to.Port()))
		h.w.Mu.RUnlock()
	}
	if !reach.OK {
		if err := h.wait(ctx, connectPatience); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("dial tcp %s: connect: %w", to, ErrTimedOut)
	}
	return h.accept(other, to, reach.Source)
}

// servePort is a port session: many connections in one by smux, or one at a
// time on old agents and for SSH.
func (ls *liveSession) servePort(ctx context.Context) string {
	dial, err := ls.dialer()
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if ls.spec.port.Type == localPortForwarding && !versionLess(ls.agentVersion(), firstWithMultiplexing) {
		ls.multiplex(ctx, dial)
		return ""
	}
	if err := ls.plain(ctx, dial); err != nil {
		return "Unable to connect to specified port: " + err.Error()
	}
	return ""
}

// multiplex serves the client's streams, each with a connection of its own.
func (ls *liveSession) multiplex(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	near, far := net.Pipe()
	conf := smux.DefaultConfig()
	conf.KeepAliveDisabled = !versionLess(ls.agentVersion(), firstWithoutKeepAlive)
	mux, err := smux.Server(far, conf)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer func() { cancel(); _ = mux.Close(); _ = near.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = mux.Close(); _ = near.Close() })
	defer stop()
	all.Go(func() { _ = ls.pump(ctx, near); cancel() })
	all.Go(func() {
		for {
			s, err := mux.AcceptStream()
			if err != nil {
				return
			}
			all.Go(func() { ls.forward(ctx, s, dial) })
		}
	})
	ls.portInput(ctx, func(b []byte) error {
		_, err := near.Write(b)
		return err
	}, nil)
}

// forward joins one of the client's streams to the target.
func (ls *liveSession) forward(ctx context.Context, s *smux.Stream, dial func(context.Context) (net.Conn, error)) {
	defer func() { _ = s.Close() }()
	c, err := dial(ctx)
	if err != nil {
		_ = ls.flag(ctx, flagConnectFailed)
		return
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close(); _ = s.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(s, c); _ = s.Close() })
	both.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
	both.Wait()
}

// pump sends what a connection says to the client.
func (ls *liveSession) pump(ctx context.Context, c net.Conn) error {
	b := make([]byte, streamPayload)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if err := ls.stream(ctx, payloadOutput, bytes.Clone(b[:n])); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// portInput takes the client's messages until it ends the session, write
// fails, or ctx ends.
func (ls *liveSession) portInput(ctx context.Context, write func([]byte) error, disconnect func()) {
	for {
		f, err := ls.take(ctx)
		if err != nil {
			return
		}
		switch f.payload {
		case payloadOutput:
			if write(f.data) != nil {
				return
			}
		case payloadFlag:
			switch {
			case len(f.data) < 4:
			case binary.BigEndian.Uint32(f.data) == flagTerminate:
				return
			case binary.BigEndian.Uint32(f.data) == flagDisconnectPort && disconnect != nil:
				disconnect()
			}
		}
	}
}

// plain serves one connection at a time. A forwarded port is connected anew
// with the client's next bytes; SSH's session ends with its connection. The
// error is why the first connection could not be made.
// Source: amazon-ssm-agent, agent/session/plugins/port/port_basic.go.
func (ls *liveSession) plain(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &plainPort{ls: ls, dial: dial, again: ls.spec.port.Type == localPortForwarding, over: cancel}
	defer p.all.Wait()
	defer p.close()
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	if err := p.connect(ctx); err != nil {
		return err
	}
	ls.portInput(ctx, func(b []byte) error { return p.write(ctx, b) }, p.close)
	return nil
}

// plainPort is the one connection of a session without multiplexing.
type plainPort struct {
	ls    *liveSession
	dial  func(context.Context) (net.Conn, error)
	again bool // connects anew
	over  func()
	all   sync.WaitGroup

	mu   sync.Mutex
	conn net.Conn // guarded by mu; nil: none
}

func (p *plainPort) connect(ctx context.Context) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.conn = c
	p.mu.Unlock()
	p.all.Go(func() {
		_ = p.ls.pump(ctx, c)
		p.mu.Lock()
		if p.conn == c {
			p.conn = nil
		}
		p.mu.Unlock()
		_ = c.Close()
		if !p.again {
			p.over()
		}
	})
	return nil
}

func (p *plainPort) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

func (p *plainPort) write(ctx context.Context, b []byte) error {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	if c == nil {
		if !p.again {
			return io.ErrClosedPipe
		}
		if err := p.connect(ctx); err != nil {
			return err
		}
		return p.write(ctx, b)
	}
	_, err := c.Write(b)
	if err != nil && p.again && errors.Is(err, io.ErrClosedPipe) {
		return nil // the far side has closed; the next bytes connect anew
	}
	return err
}
