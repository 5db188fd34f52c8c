package simfleet

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// FrameFault is what becomes of one message on its way.
type FrameFault int

// The faults of messages.
const (
	FramePasses FrameFault = iota
	FrameDrop              // it is lost
	FrameTwice             // it arrives twice
	FrameLater             // it arrives after the one that follows it
	FrameCut               // the connection breaks in its place
)

// FrameFaults make stream messages and acknowledgements of data channels go
// wrong. The functions get the number of the message in its session and
// direction, from 0 and resent ones counted, and its type ("output_stream_data",
// "input_stream_data", "acknowledge"). A nil function lets everything pass.
// They are called under a lock of the session.
type FrameFaults struct {
	ToClient func(n int, messageType string) FrameFault
	ToAgent  func(n int, messageType string) FrameFault
}

// The agent's figures for its end of a data channel.
// Source: amazon-ssm-agent, agent/session/config/config.go.
const (
	resendAfter    = 200 * time.Millisecond
	resendMost     = time.Second // between two attempts at one message
	resendInterval = 100 * time.Millisecond
	resendBatch    = 16     // messages sent again at a time
	earlyCapacity  = 10_000 // messages kept that came before their turn
	sendWindow     = 512    // messages under way before a sender waits
	inboxSize      = 1_024
	flushPatience  = 2 * time.Second
	writePatience  = 30 * time.Second
	mostQueued     = 32_768 // messages that wait for the network before a client counts as gone
)

// Errors of a data channel.
var (
	errChannelOver = errors.New("the data channel is closed")
	errCut         = errors.New("the connection is cut")
)

// agentChannel is the agent's end of a data channel: numbered messages in both
// directions, each acknowledged, sent again until they are. It outlives the
// connections of the client.
type agentChannel struct {
	faults *FrameFaults
	ready  chan struct{} // the inbox has something, or the channel is over

	mu     sync.Mutex
	inbox  []frame // guarded by mu: input in order
	link   *link   // guarded by mu, as all below; nil: no client
	over   bool
	next   int64 // number of the next message to the client
	sent   []*sentFrame
	space  chan struct{} // closed and renewed when sent shrinks
	expect int64         // number of the next message from the client
	early  map[int64]frame
	armed  bool // the resend timer runs
	toN    int  // messages to the client so far
	fromN  int
	held   []byte // a message that FrameLater keeps back
	heldIn *frame
	active time.Time // of the last stream message from the client
}

type sentFrame struct {
	sequence int64
	bytes    []byte
	kind     string
	last     time.Time
	wait     time.Duration // before it is sent again
}

func newAgentChannel(faults *FrameFaults) *agentChannel {
	if faults == nil {
		faults = &FrameFaults{}
	}
	return &agentChannel{faults: faults, ready: make(chan struct{}, 1), space: make(chan struct{}), early: map[int64]frame{}, active: time.Now()}
}

// link is one connection of the client. Its writer alone writes to it, so that
// nobody who holds the channel's lock waits for the network.
type link struct {
	conn  *websocket.Conn
	queue [][]byte // guarded by the channel's mu
	last  bool     // guarded by the channel's mu: the connection ends after the queue
	ready chan struct{}
	gone  chan struct{} // closed by detach
}

// attach makes conn the client's connection; one before it is closed. The
// caller runs the writer. It gives nil when the session is over.
func (c *agentChannel) attach(conn *websocket.Conn) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	if c.link != nil {
		_ = c.link.conn.CloseNow()
	}
	c.link = &link{conn: conn, ready: make(chan struct{}, 1), gone: make(chan struct{})}
	// What is under way was lost with the old connection.
	for _, s := range c.sent {
		s.last = time.Time{}
	}
	c.armLocked()
	return c.link
}

// detach forgets a connection that has ended.
func (c *agentChannel) detach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(l.gone)
	if c.link == l {
		c.link = nil
	}
}

// writer writes what is queued until the connection ends.
func (c *agentChannel) writer(l *link) {
	for {
		c.mu.Lock()
		var b []byte
		if len(l.queue) > 0 {
			b, l.queue = l.queue[0], l.queue[1:]
		}
		last := l.last
		c.mu.Unlock()
		switch {
		case b != nil:
			ctx, cancel := context.WithTimeout(context.Background(), writePatience)
			err := l.conn.Write(ctx, websocket.MessageBinary, b)
			cancel()
			if err != nil {
				_ = l.conn.CloseNow() // the reader notices and detaches it
				return
			}
		case last:
			_ = l.conn.Close(websocket.StatusNormalClosure, "")
			return
		default:
			select {
			case <-l.ready:
			case <-l.gone:
				return
			}
		}
	}
}

// writeLocked sends bytes to the client, if there is one. What does not arrive
// is sent again later.
func (c *agentChannel) writeLocked(kind string, b []byte) {
	if c.link == nil {
		return
	}
	n := c.toN
	c.toN++
	fault := FramePasses
	if c.faults.ToClient != nil && (kind == messageOutput || kind == messageAck) {
		fault = c.faults.ToClient(n, kind)
	}
	switch fault {
	case FrameDrop:
		return
	case FrameLater:
		if c.held == nil {
			c.held = b
			return
		}
	case FrameCut:
		_ = c.link.conn.CloseNow()
		return
	case FrameTwice:
		c.transmitLocked(b)
	case FramePasses:
	}
	c.transmitLocked(b)
	if c.held != nil {
		held := c.held
		c.held = nil
		c.transmitLocked(held)
	}
}

func (c *agentChannel) transmitLocked(b []byte) {
	l := c.link
	if len(l.queue) >= mostQueued {
		_ = l.conn.CloseNow()
		return
	}
	l.queue = append(l.queue, b)
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// send puts a stream message on its way to the client. It waits while too many
// are.
func (c *agentChannel) send(ctx context.Context, payload payloadType, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	c.mu.Lock()
	for len(c.sent) >= sendWindow && !c.over {
		space := c.space
		c.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	if c.over {
		return errChannelOver
	}
	f := newFrame(messageOutput, data)
	f.payload, f.sequence = payload, c.next
	if c.next == 0 {
		f.flags = 1 // the first of the stream
	}
	c.next++
	s := &sentFrame{sequence: f.sequence, bytes: f.encode(), kind: f.kind, last: time.Now(), wait: resendAfter}
	c.sent = append(c.sent, s)
	c.writeLocked(s.kind, s.bytes)
	c.armLocked()
	return nil
}

// armLocked starts the timer for resending while there is something that the
// client has not acknowledged.
func (c *agentChannel) armLocked() {
	if c.armed || c.over || len(c.sent) == 0 {
		return
	}
	c.armed = true
	time.AfterFunc(resendInterval, c.resend)
}

func (c *agentChannel) resend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if c.link == nil {
		return // attach begins anew
	}
	now, left := time.Now(), resendBatch
	for _, s := range c.sent {
		if left == 0 || c.over || c.link == nil {
			break
		}
		if now.Sub(s.last) > s.wait {
			s.last, s.wait = now, min(2*s.wait, resendMost)
			left--
			c.writeLocked(s.kind, s.bytes)
		}
	}
	c.armLocked()
}

// control sends a message that is neither numbered nor acknowledged.
func (c *agentChannel) control(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeLocked(f.kind, f.encode())
}

// receive takes one message from the client.
func (c *agentChannel) receive(b []byte) error {
	f, err := decodeFrame(b)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.fromN
	c.fromN++
	fault := FramePasses
	if c.faults.ToAgent != nil && (f.kind == messageInput || f.kind == messageAck) {
		fault = c.faults.ToAgent(n, f.kind)
	}
	switch fault {
	case FrameDrop:
		return nil
	case FrameLater:
		if c.heldIn == nil {
			c.heldIn = &f
			return nil
		}
	case FrameCut:
		return errCut
	case FrameTwice:
		c.takeLocked(f)
	case FramePasses:
	}
	c.takeLocked(f)
	if c.heldIn != nil {
		held := *c.heldIn
		c.heldIn = nil
		c.takeLocked(held)
	}
	return nil
}

func (c *agentChannel) takeLocked(f frame) {
	switch f.kind {
	case messageAck:
		var a acknowledgement
		if json.Unmarshal(f.data, &a) == nil {
			c.ackedLocked(a.Sequence)
		}
	case messageInput:
		c.active = time.Now()
		c.inputLocked(f)
	}
}

func (c *agentChannel) ackedLocked(sequence int64) {
	for i, s := range c.sent {
		if s.sequence == sequence {
			c.sent = append(c.sent[:i], c.sent[i+1:]...)
			if !c.over {
				close(c.space)
				c.space = make(chan struct{})
			}
			return
		}
	}
}

// inputLocked acknowledges what it takes. What comes before its turn is kept;
// what there is no room for is left for the client to send again.
func (c *agentChannel) inputLocked(f frame) {
	switch {
	case f.sequence < c.expect:
		// The client has missed the acknowledgement. Over a connection that
		// loses nothing that does not happen, and the agent keeps silent.
		c.ackLocked(f)
		return
	case f.sequence > c.expect:
		if len(c.early) < earlyCapacity {
			c.early[f.sequence] = f
			c.ackLocked(f)
		}
		return
	case len(c.inbox) >= inboxSize:
		return
	}
	c.ackLocked(f)
	for ok := true; ok; f, ok = c.early[c.expect] {
		delete(c.early, f.sequence)
		c.expect++
		c.inbox = append(c.inbox, f)
	}
	c.wake()
}

func (c *agentChannel) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// input waits for the next message from the client. Only one goroutine may
// wait at a time.
func (c *agentChannel) input(ctx context.Context) (frame, error) {
	for {
		c.mu.Lock()
		if len(c.inbox) > 0 {
			f := c.inbox[0]
			c.inbox = c.inbox[1:]
			c.mu.Unlock()
			return f, nil
		}
		over := c.over
		c.mu.Unlock()
		if over {
			return frame{}, errChannelOver
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return frame{}, ctx.Err()
		}
	}
}

func (c *agentChannel) ackLocked(f frame) {
	a := f.acknowledge()
	c.writeLocked(a.kind, a.encode())
}

// flush waits until the client has acknowledged everything, or for
// flushPatience.
func (c *agentChannel) flush(ctx context.Context) {
	t := time.NewTimer(flushPatience)
	defer t.Stop()
	for {
		c.mu.Lock()
		space, done := c.space, len(c.sent) == 0 || c.link == nil
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-space:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// close tells the client that the session is over and why, and then ends its
// connection.
func (c *agentChannel) close(last frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	close(c.space)
	c.wake()
	if c.link != nil {
		c.link.last = true
		c.writeLocked(last.kind, last.encode())
	}
}

// idle is for how long the client has sent nothing.
func (c *agentChannel) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.active)
}
