package session

import (
	"context"
	"encoding/json"
	"time"
)

// take handles one message of the far side. It is called by the reader alone.
func (c *Channel) take(m Message) error {
	switch m.Type {
	case TypeOutput:
		c.resumed()
		return c.stream(m)
	case TypeAcknowledge:
		c.resumed()
		var a acknowledgement
		if err := json.Unmarshal(m.Payload, &a); err != nil {
			return protocolError("an acknowledgement cannot be read")
		}
		c.acknowledged(a.Sequence)
	case TypeClosed:
		var closed channelClosed
		_ = json.Unmarshal(m.Payload, &closed) // the channel is closed whatever it says
		c.fail(&EndError{Output: line(closed.Output)})
	case TypePause:
		c.mu.Lock()
		c.paused = true
		c.mu.Unlock()
	case TypeStart:
		c.resumed()
	}
	// Messages of other types are not for clients, or of a later protocol.
	return nil
}

// resumed ends a pause: the agent's own messages show as well as the service's
// that it is there.
func (c *Channel) resumed() {
	c.mu.Lock()
	was := c.paused
	c.paused = false
	c.mu.Unlock()
	if was {
		c.sendAgain()
	}
}

// stream brings the agent's messages into their order.
func (c *Channel) stream(m Message) error {
	switch {
	case m.Sequence < c.expected:
		c.acknowledge(m) // the first acknowledgement was lost
		return nil
	case !c.room(len(m.Payload)):
		return nil
	case m.Sequence > c.expected:
		if _, here := c.ahead[m.Sequence]; !here {
			c.ahead[m.Sequence] = m
			c.aheadBytes += len(m.Payload)
		}
		c.acknowledge(m)
		return nil
	}
	c.acknowledge(m)
	for {
		c.expected++
		if err := c.inOrder(m); err != nil {
			return err
		}
		next, ok := c.ahead[c.expected]
		if !ok {
			return nil
		}
		delete(c.ahead, c.expected)
		c.aheadBytes -= len(next.Payload)
		m = next
	}
}

// room reports whether a message may be kept until its consumer wants it.
func (c *Channel) room(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)+len(c.ahead) < maxHeld && c.held+c.aheadBytes+size <= maxHeldBytes
}

func (c *Channel) acknowledge(m Message) {
	payload, err := json.Marshal(acknowledgement{Type: m.Type, ID: m.ID.String(), Sequence: m.Sequence, Sequential: true})
	if err != nil {
		panic("session: " + err.Error()) // strings and numbers always marshal
	}
	c.write(Message{Type: TypeAcknowledge, Schema: 1, Created: time.Now(), Flags: 3, ID: newUUID(), Payload: payload}.Encode())
}

// inOrder handles the next message of the stream.
func (c *Channel) inOrder(m Message) error {
	switch m.PayloadType {
	case PayloadHandshakeRequest:
		return c.shake(m.Payload)
	case PayloadChallengeRequest:
		return c.challenged(m.Payload)
	case PayloadHandshakeComplete:
		return c.shakenHands(m.Payload)
	}
	payload := m.Payload
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ciphers != nil {
		switch m.PayloadType {
		case PayloadOutput, PayloadStderr, PayloadExitCode:
			var err error
			if payload, err = c.ciphers.decrypt(payload); err != nil {
				return err
			}
		}
	}
	if m.PayloadType == PayloadOutput {
		c.serves()
	}
	c.push(item{kind: m.PayloadType, payload: payload})
	return nil
}

// push queues an item for the consumer; c.mu is held.
func (c *Channel) push(i item) {
	c.queue = append(c.queue, i)
	c.held += len(i.payload)
	notify(c.arrived)
}

// serves notes that the far side serves the session; only the reader calls it.
func (c *Channel) serves() {
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// next waits for the next item. When the channel is over it gives what came
// before, and then why.
func (c *Channel) next(ctx context.Context) (item, error) {
	for {
		err := c.Err() // before the queue is looked at: its last items come before the end
		c.mu.Lock()
		if len(c.queue) > 0 {
			i := c.queue[0]
			c.queue = c.queue[1:]
			c.held -= len(i.payload)
			c.mu.Unlock()
			return i, nil
		}
		c.mu.Unlock()
		if err != nil {
			return item{}, err
		}
		select {
		case <-c.arrived:
		case <-c.life.Done():
			// Once more around: the last items came before the end.
		case <-ctx.Done():
			return item{}, ctx.Err()
		}
	}
}
