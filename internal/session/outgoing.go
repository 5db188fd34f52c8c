package session

import (
	"context"
	"slices"
	"time"
)

// sent is a message that the agent has not acknowledged yet.
type sent struct {
	sequence int64
	bytes    []byte
	first    time.Time // when it was sent, or could have been
	last     time.Time // when it was sent last
	again    bool      // sent more than once
	slot     bool      // takes up a slot of the window
}

// timing estimates how long an acknowledgement takes, as TCP does, with the
// constants of src/config/config.go and the formula of src/datachannel/streaming.go
// of session-manager-plugin.
type timing struct {
	mean      time.Duration
	variation time.Duration
	timeout   time.Duration // after which a message is sent again
}

const (
	firstRoundTrip = 100 * time.Millisecond
	firstTimeout   = 200 * time.Millisecond
	leastVariation = 10 * time.Millisecond
	mostTimeout    = time.Second
	resendInterval = 100 * time.Millisecond // at least, between two sendings
	giveUp         = 5 * time.Minute
)

func newTiming() timing { return timing{mean: firstRoundTrip, timeout: firstTimeout} }

func (t *timing) measured(d time.Duration) {
	t.variation = (3*t.variation + (t.mean - d).Abs()) / 4
	t.mean = (7*t.mean + d) / 8
	t.timeout = min(t.mean+max(leastVariation, 4*t.variation), mostTimeout)
}

// maxPayload is how many bytes of a stream go into one message.
const maxPayload = 1024

// send sends one message; it waits while too many are under way. What is sent
// while the far side has paused goes out later.
func (c *Channel) send(ctx context.Context, kind PayloadType, payload []byte) error {
	select {
	case c.window <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return c.Err()
	}
	c.post(kind, payload, true)
	return nil
}

// post sends one message without a look at how many are under way.
func (c *Channel) post(kind PayloadType, payload []byte, slot bool) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	if c.ciphers != nil && kind == PayloadOutput {
		payload = c.ciphers.encrypt(payload)
	}
	now := time.Now()
	m := Message{Type: TypeInput, Schema: 1, Created: now, Sequence: c.sequence, ID: newUUID(), PayloadType: kind, Payload: payload}
	b := m.Encode()
	c.unacked = append(c.unacked, &sent{sequence: c.sequence, bytes: b, first: now, last: now, slot: slot})
	c.sequence++
	held := c.paused
	c.mu.Unlock()
	if !held {
		c.write(b)
	}
	notify(c.kick)
}

// acknowledged takes a message off the list of those to send again.
func (c *Channel) acknowledged(sequence int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.unacked, func(s *sent) bool { return s.sequence == sequence })
	if i < 0 {
		return
	}
	s := c.unacked[i]
	// The answer to a message that was sent twice may be to either.
	if !s.again {
		c.timing.measured(time.Since(s.last))
	}
	c.unacked = slices.Delete(c.unacked, i, i+1)
	if s.slot {
		<-c.window
	}
	notify(c.kick)
}

// resend sends the oldest message again as long as it is not acknowledged.
func (c *Channel) resend() {
	for {
		wait, due := c.due(time.Now())
		if due != nil {
			c.write(due)
			continue
		}
		if wait < 0 {
			select {
			case <-c.kick:
			case <-c.life.Done():
				return
			}
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-c.kick:
		case <-t.C:
		case <-c.life.Done():
		}
		t.Stop()
		if c.life.Err() != nil {
			return
		}
	}
}

// due gives the oldest message if it is time to send it again, or else how long
// that is away; negative: there is nothing to wait for.
func (c *Channel) due(now time.Time) (time.Duration, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unacked) == 0 || c.paused || c.conn == nil {
		return -1, nil
	}
	s := c.unacked[0]
	if now.Sub(s.first) > giveUp {
		c.end(ErrUnanswered)
		return -1, nil
	}
	if wait := s.last.Add(max(c.timing.timeout, resendInterval)).Sub(now); wait > 0 {
		return wait, nil
	}
	s.last, s.again = now, true
	return 0, s.bytes
}

// sendAgain sends all that is not acknowledged, in its order: over a new
// connection, or after a pause.
func (c *Channel) sendAgain() {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	now := time.Now()
	all := make([][]byte, 0, len(c.unacked))
	for _, s := range c.unacked {
		s.first, s.last, s.again = now, now, true
		all = append(all, s.bytes)
	}
	c.mu.Unlock()
	for _, b := range all {
		c.write(b)
	}
	notify(c.kick)
}
