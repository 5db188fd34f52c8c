package awsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"ssm-migrate/internal/session"
)

// accountName takes the answer of id -un. It need not be of letters that useradd
// takes: directory services have others.
func accountName(r session.Result) (string, error) {
	name := r.Output
	if r.Exit != 0 || name == "" || len(name) > 256 || strings.ContainsAny(name, "\n\t") {
		return "", &refusedBy{fmt.Sprintf("the session runs, but id -un answers %q (exit code %d)", clean(name), r.Exit)}
	}
	return clean(name), nil
}

// maxGreeting bounds what comes before an SSH server's greeting (RFC 4253,
// section 4.2 lets it write lines before).
const maxGreeting = 8 << 10

// greetedByPort reads the SSH server's greeting by a forwarded port.
func greetedByPort(ctx context.Context, c *session.Channel) error {
	if err := c.Ready(ctx); err != nil {
		return err
	}
	refused := make(chan struct{}, 1)
	port, err := c.Port(func() { refused <- struct{}{} })
	if err != nil {
		return err
	}
	defer port.Close()
	far, err := port.Open(ctx)
	if err != nil {
		return err
	}
	defer far.Close() //nolint:errcheck // nothing is written
	stop := context.AfterFunc(ctx, func() { _ = far.Close() })
	defer stop()
	g := &greeting{done: func() {}}
	_, err = io.Copy(g, io.LimitReader(far, maxGreeting))
	switch {
	case g.found:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	select {
	case <-refused:
		return session.ErrPortRefused
	default:
	}
	return g.missing(err)
}

// greeted reads it by an SSH session.
func greeted(ctx context.Context, c *session.Channel) error {
	if err := c.Ready(ctx); err != nil {
		return err
	}
	enough, cancel := context.WithCancel(ctx)
	defer cancel()
	in, hold := io.Pipe() // the client says nothing
	defer hold.Close()    //nolint:errcheck // never fails
	g := &greeting{done: cancel}
	err := c.Stdio(enough, in, g)
	switch {
	case g.found:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return g.missing(err)
}

// greeting looks for "SSH-" at the beginning of a line.
type greeting struct {
	seen  []byte
	found bool
	done  func()
}

var errGreeted = errors.New("greeted")

func (g *greeting) Write(b []byte) (int, error) {
	g.seen = append(g.seen, b...)
	if bytes.HasPrefix(g.seen, []byte("SSH-")) || bytes.Contains(g.seen, []byte("\nSSH-")) {
		g.found = true
		g.done()
		return 0, errGreeted
	}
	if len(g.seen) > maxGreeting {
		g.done()
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func (g *greeting) missing(err error) error {
	var end *session.EndError
	if err == nil || errors.As(err, &end) && end.Output == "" || errors.Is(err, io.ErrShortWrite) || errors.Is(err, io.EOF) {
		return &refusedBy{fmt.Sprintf("the session carries connections, but no SSH server greets on port 22 (it wrote %q)", clean(string(g.seen)))}
	}
	return err
}
