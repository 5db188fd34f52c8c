package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xtaci/smux"
)

// ErrPortRefused says that the agent could not connect to the far port.
var ErrPortRefused = errors.New("the agent could not connect to the far port (nothing listens there, or the host does not let it)")

// Port is a port session: connections to one port on or behind the managed node.
// Agents since 3.0.222 carry many at once (smux version 1, checked against
// src/sessionmanagerplugin/session/portsession/muxportforwarding.go of
// session-manager-plugin), older ones one after the other (basicportforwarding.go).
type Port struct {
	c       *Channel
	refused func()
	mux     *smux.Session // nil: the plain form
	pipe    *pipe
	one     chan struct{} // the plain form's turn
}

// Port makes the channel, which has to be ready, a port session. When the agent tells that a
// connection could not be made, refused is called; the protocol does not say
// which one that was. It may be nil. The Port must be closed before the channel.
func (c *Channel) Port(refused func()) (*Port, error) {
	c.mu.Lock()
	kind, agent := c.kind, c.agent
	c.mu.Unlock()
	if kind.Type != KindPort || kind.Properties.Type != localForwarding {
		return nil, errors.New("the session's document is not for port forwarding (use AWS-StartPortForwardingSession)")
	}
	if refused == nil {
		refused = func() {}
	}
	p := &Port{c: c, refused: refused, one: make(chan struct{}, 1)}
	p.pipe = newPipe(c, refused)
	if !after(agent, multiplexingAfter) {
		return p, nil
	}
	config := smux.DefaultConfig()
	// Keep-alives would keep Session Manager from ending idle sessions.
	config.KeepAliveDisabled = after(agent, noKeepAliveAfter)
	var err error
	if p.mux, err = smux.Client(p.pipe, config); err != nil {
		return nil, fmt.Errorf("multiplex connections: %w", err)
	}
	return p, nil
}

// Multiplexed reports whether the agent carries many connections at once.
func (p *Port) Multiplexed() bool { return p.mux != nil }

// Close ends all connections and asks the agent to end the session.
func (p *Port) Close() {
	if p.mux != nil {
		_ = p.mux.Close()
	}
	_ = p.pipe.Close()
	if after(p.c.Agent(), terminationFlagAfter) && p.c.Err() == nil {
		p.c.post(PayloadFlag, flagPayload(FlagTerminateSession), false)
	}
}

// Open makes a connection. In the plain form it waits until the one before is
// closed. A connection to a port on which nothing listens is closed by the
// agent at once.
func (p *Port) Open(ctx context.Context) (io.ReadWriteCloser, error) {
	if p.mux != nil {
		p.pipe.gate.Lock()
		s, err := p.mux.OpenStream()
		p.pipe.gate.Unlock()
		if err != nil {
			if over := p.c.Err(); over != nil {
				err = over
			}
			return nil, fmt.Errorf("open a connection through the session: %w", err)
		}
		return s, nil
	}
	select {
	case p.one <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.c.Done():
		return nil, p.c.Err()
	}
	return &single{pipe: newPipe(p.c, p.refused), port: p}, nil
}

// Serve forwards the connections of a listener until ctx or the session ends,
// and closes them and the listener. It returns nil when ctx ended.
func (p *Port) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	over := context.AfterFunc(p.c.life, func() { _ = l.Close() })
	defer over()
	defer func() { _ = l.Close() }()
	for {
		near, err := l.Accept()
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return nil
			case p.c.Err() != nil:
				return ended(p.c.Err())
			}
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				continue
			}
			return fmt.Errorf("accept connections on %s: %w", l.Addr(), err)
		}
		connections.Go(func() {
			far, err := p.Open(ctx)
			if err != nil {
				_ = near.Close()
				return
			}
			if p.mux == nil {
				join(ctx, near, far, 0) // the next connection waits
				return
			}
			join(ctx, near, far, linger)
		})
	}
}

// linger is how long a far side that says nothing more is kept after the near
// side has ended. Agents take the end of one direction for that of both, and so
// would cut off an answer that is under way; smux cannot tell it either.
const linger = 5 * time.Second

// join copies between a connection of this side and one of the far side until
// the far side has ended, the near side has and the far one is silent, or ctx
// has; it closes both.
func join(ctx context.Context, near, far io.ReadWriteCloser, linger time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
		close(closed)
	})
	out := &counter{Writer: near}
	var both sync.WaitGroup
	both.Go(func() {
		defer cancel()
		if _, err := io.Copy(far, near); err != nil || linger == 0 {
			return
		}
		for before := int64(-1); before != out.n.Load(); {
			before = out.n.Load()
			if !sleep(ctx, linger) {
				return
			}
		}
	})
	both.Go(func() {
		defer cancel()
		_, _ = io.Copy(out, far) // either way it is over
	})
	both.Wait()
	<-closed
}

// counter counts what is written.
type counter struct {
	io.Writer
	n atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// pipe is the stream of a port session's output payloads.
type pipe struct {
	c       *Channel
	refused func()
	ctx     context.Context
	cancel  context.CancelFunc
	rest    []byte // of the reader
	// gate holds back what comes in while a stream is being opened: smux tells
	// the other end of it before it takes data for it, and would lose the
	// greeting of a server that is quick.
	gate sync.Mutex
}

func newPipe(c *Channel, refused func()) *pipe {
	ctx, cancel := context.WithCancel(context.Background())
	return &pipe{c: c, refused: refused, ctx: ctx, cancel: cancel}
}

func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		i, err := p.c.next(p.ctx)
		if err != nil {
			return 0, io.EOF
		}
		switch {
		case i.kind == PayloadOutput:
			p.rest = i.payload
		case i.kind == PayloadFlag && flagOf(i.payload) == FlagConnectToPortError:
			p.refused()
		}
	}
	p.gate.Lock()
	defer p.gate.Unlock()
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	for n := 0; n < len(b); n += maxPayload {
		part := append([]byte(nil), b[n:min(n+maxPayload, len(b))]...)
		if err := p.c.send(p.ctx, PayloadOutput, part); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func (p *pipe) Close() error {
	p.cancel()
	return nil
}

// single is a connection in the plain form.
type single struct {
	*pipe
	port *Port
	once sync.Once
}

// Read ends the connection when the agent could not make it: there is but one,
// so it is known which.
func (s *single) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		i, err := s.c.next(s.ctx)
		switch {
		case err != nil:
			return 0, io.EOF
		case i.kind == PayloadOutput:
			s.rest = i.payload
		case i.kind == PayloadFlag && flagOf(i.payload) == FlagConnectToPortError:
			s.refused()
			return 0, ErrPortRefused
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// lateAnswers is how long the plain form waits, after a connection was closed,
// for what the agent had sent on it: nothing in the protocol tells it from what
// belongs to the next one.
const lateAnswers = 300 * time.Millisecond

func (s *single) Close() error {
	s.once.Do(func() {
		_ = s.pipe.Close()
		ctx, cancel := context.WithTimeout(s.c.life, lateAnswers)
		defer cancel()
		_ = s.c.send(ctx, PayloadFlag, flagPayload(FlagDisconnectToPort))
		for {
			if _, err := s.c.next(ctx); err != nil {
				break
			}
		}
		<-s.port.one
	})
	return nil
}
