package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	bastionTries = 3                // connection attempts to a bastion before its hosts are given up
	bastionPause = time.Second      // after the first failed attempt; doubles
	bastionRest  = 30 * time.Second // for how long a failure stands before another host may try
)

// bastion is a chain of hops and the shared connection to its end.
type bastion struct {
	client *Client
	hops   []hop    // as written, outermost first; the last is this one
	path   []string // hosts between this bastion and the targets, for loops of ProxyJump
	slots  chan struct{}

	mu     sync.Mutex
	target *target     // guarded by mu; nil until resolved
	conn   *ssh.Client // guarded by mu; nil without a live connection
	call   *dialing    // guarded by mu; nil when no attempt is under way
	failed *Error      // guarded by mu; why the last attempts failed
	until  time.Time   // guarded by mu; failed stands until then
}

// dialing is an attempt that several hosts wait for.
type dialing struct {
	done chan struct{}
	conn *ssh.Client // set before done is closed
	err  error       // likewise
}

// bastion gives the one bastion for a chain of hops.
func (c *Client) bastion(hops []hop, path []string) (*bastion, error) {
	if len(path)+len(hops) > maxHops {
		return nil, fmt.Errorf("more than %d bastions in a row: %s", maxHops, clean(strings.Join(path, ", "), 200))
	}
	var key strings.Builder
	for _, h := range hops {
		key.WriteString(h.String() + ",")
	}
	key.WriteString(">" + strings.Join(path, ","))
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.bastions[key.String()]
	if b == nil {
		b = &bastion{client: c, hops: hops, path: path, slots: make(chan struct{}, c.cfg.BastionOpens)}
		c.bastions[key.String()] = b
	}
	return b, nil
}

// resolve works out how to reach the bastion, once.
func (b *bastion) resolve(ctx context.Context) (*target, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.target != nil {
		return b.target, nil
	}
	last := len(b.hops) - 1
	t, err := b.client.hopTarget(ctx, b.hops[last], b.hops[:last], append(slices.Clone(b.path), b.hops[last].host))
	if err == nil {
		b.target = t
	}
	return t, err
}

func (b *bastion) names() []string {
	b.mu.Lock()
	t := b.target
	b.mu.Unlock()
	var list []string
	if t != nil {
		list = t.viaNames()
	}
	return append(list, b.hops[len(b.hops)-1].host)
}

// connection gives the shared connection, and opens it if there is none. Many
// may wait for one attempt; ctx ends only the waiting.
func (b *bastion) connection(ctx context.Context) (*ssh.Client, error) {
	if _, err := b.resolve(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if b.conn != nil {
		defer b.mu.Unlock()
		return b.conn, nil
	}
	if b.failed != nil && time.Now().Before(b.until) {
		defer b.mu.Unlock()
		return nil, b.failed
	}
	call := b.call
	if call == nil {
		call = &dialing{done: make(chan struct{})}
		if !b.client.background(func() { b.open(call) }) {
			b.mu.Unlock()
			return nil, net.ErrClosed
		}
		b.call = call
	}
	b.mu.Unlock()
	select {
	case <-call.done:
		return call.conn, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open connects and tells all who wait.
func (b *bastion) open(call *dialing) {
	conn, err := b.try()
	b.mu.Lock()
	b.call = nil
	if err != nil {
		var e *Error
		errors.As(err, &e)
		call.err, b.failed, b.until = err, e, time.Now().Add(bastionRest)
	} else {
		call.conn, b.conn, b.failed = conn, conn, nil
	}
	b.mu.Unlock()
	close(call.done)
	if err == nil {
		b.client.background(func() {
			_ = conn.Wait()
			b.drop(conn)
		})
		if b.client.life.Err() != nil {
			conn.Close()
		}
	}
}

// try connects; what may pass is tried again.
func (b *bastion) try() (*ssh.Client, error) {
	ctx := b.client.life
	pause := bastionPause
	for attempt := 1; ; attempt++ {
		conn, err := b.client.connect(ctx, b.target)
		if err == nil {
			return ssh.NewClient(conn.Conn, conn.channels, conn.requests), nil
		}
		passing := errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrHandshake)
		if attempt == bastionTries || ctx.Err() != nil || !passing {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause *= 2
	}
}

// drop forgets a connection that is dead.
func (b *bastion) drop(conn *ssh.Client) {
	conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn {
		b.conn = nil
	}
}

func (b *bastion) close() {
	b.mu.Lock()
	conn := b.conn
	b.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// dial opens a TCP connection from the bastion to an address that it resolves
// itself. A shared connection that turns out to be dead is replaced once.
func (b *bastion) dial(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	for attempt := 1; ; attempt++ {
		conn, err := b.connection(ctx)
		if err != nil {
			return nil, err
		}
		raw, err := b.dialOn(ctx, conn, address, timeout)
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			return raw, nil
		case errors.As(err, &refused):
			return nil, b.explain(refused)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			b.client.background(func() { b.check(conn) })
			return nil, err
		case ctx.Err() != nil || attempt == 2:
			return nil, err
		}
		b.drop(conn)
	}
}

func (b *bastion) dialOn(ctx context.Context, conn *ssh.Client, address string, timeout time.Duration) (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return conn.DialContext(ctx, "tcp", address)
}

// explain says what a bastion's refusal of a connection means.
func (b *bastion) explain(e *ssh.OpenChannelError) error {
	label := b.hops[len(b.hops)-1].host
	said := clean(e.Message, 150)
	if e.Reason == ssh.Prohibited {
		return fmt.Errorf("bastion %s forbids forwarding (%s): see AllowTcpForwarding and PermitOpen in its sshd_config", label, said)
	}
	return fmt.Errorf("bastion %s cannot connect to it: %s", label, said)
}

// check closes a connection that has gone silent, so that the next host gets a new one.
func (b *bastion) check(conn *ssh.Client) {
	alive := make(chan bool, 1)
	go func() {
		_, _, err := conn.SendRequest("keepalive@openssh.com", true, nil)
		alive <- err == nil
	}()
	timer := time.NewTimer(b.target.dialTimeout)
	defer timer.Stop()
	select {
	case ok := <-alive:
		if !ok {
			b.drop(conn)
		}
		return
	case <-timer.C:
	case <-b.client.life.Done():
	}
	b.drop(conn)
	<-alive
}
