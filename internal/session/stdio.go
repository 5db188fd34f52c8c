package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Shell joins a terminal to a shell or command session until the far side ends
// it, which is no error, or ctx ends. What is read from in goes to the session
// as it is; its end is sent as the end-of-file character. Sizes of the terminal
// are sent as they come; the channel may be nil. A shell that shows nothing is
// given 5 s before anything is sent to it.
//
// A goroutine reads from in. It ends with its next read after Shell has
// returned: give a reader whose Read can be canceled.
func (c *Channel) Shell(ctx context.Context, in io.Reader, out io.Writer, sizes <-chan Size) error {
	// What is sent before a handshake is complete would break it.
	if err := c.begin(ctx); err != nil {
		return ended(err)
	}
	if kind := c.Kind(); kind == KindPort {
		return fmt.Errorf("the session is of type %s, which is no shell", kind)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if c.pump(ctx, in) == nil {
			_ = c.send(ctx, PayloadOutput, []byte{endOfFile})
		}
	}()
	if sizes != nil {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s, ok := <-sizes:
					if !ok || c.resize(ctx, s) != nil {
						return
					}
				}
			}
		}()
	}
	for {
		i, err := c.next(ctx)
		if err != nil {
			return ended(err)
		}
		switch i.kind {
		case PayloadOutput, PayloadStderr:
			if _, err := out.Write(i.payload); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
		}
	}
}

// endOfFile is what Ctrl-D sends.
const endOfFile = 4

func (c *Channel) resize(ctx context.Context, s Size) error {
	payload, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("send the terminal's size: %w", err)
	}
	return c.send(ctx, PayloadSize, payload)
}

// Stdio joins in and out to the one stream of an SSH session, until either
// side ends. The channel has to be ready. Its goroutine ends as Shell's does.
func (c *Channel) Stdio(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := c.isStream(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := c.pump(ctx, in); err != nil {
			cancel(err)
			return
		}
		cancel(io.EOF)
	}()
	for {
		i, err := c.next(ctx)
		switch {
		case err != nil && errors.Is(context.Cause(ctx), io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return ended(err)
		case i.kind == PayloadFlag && flagOf(i.payload) == FlagConnectToPortError:
			return ErrPortRefused
		case i.kind != PayloadOutput:
			continue
		}
		if _, err := out.Write(i.payload); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
}

func (c *Channel) isStream() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind.Type != KindPort || c.kind.Properties.Type == localForwarding {
		return fmt.Errorf("the session's document is not for SSH (use AWS-StartSSHSession)")
	}
	return nil
}

// pump sends what it reads until its end.
func (c *Channel) pump(ctx context.Context, in io.Reader) error {
	b := make([]byte, maxPayload)
	for {
		n, err := in.Read(b)
		if n > 0 {
			if err := c.send(ctx, PayloadOutput, append([]byte(nil), b[:n]...)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read input: %w", err)
		}
	}
}

// ended is no error for a session that ended by itself.
func ended(err error) error {
	var end *EndError
	if errors.As(err, &end) && end.Output == "" {
		return nil
	}
	return err
}
