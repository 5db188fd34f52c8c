package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
)

// shell joins the terminal to a session.
func (a *app) shell(ctx context.Context, sessions *awsapi.Sessions, h fleet.Host, q connectQuery) error {
	given, err := parameters(q.parameters)
	if err != nil {
		return err
	}
	s, err := a.start(ctx, sessions, awsapi.SessionRequest{Host: h.Ref(), Document: q.document, Parameters: given})
	if err != nil {
		return err
	}
	defer a.end(ctx, s)
	fmt.Fprintf(a.err, "Session %s on %s (%s).\n", oneLine(s.ID), h.ID, cell(h.Name()))
	in := cancelable(a.in)
	defer in.Cancel()
	var from io.Reader = in
	var sizes chan session.Size
	if stdin, ok := a.in.(*os.File); ok && term.IsTerminal(int(stdin.Fd())) {
		before, err := term.MakeRaw(int(stdin.Fd()))
		if err != nil {
			return fmt.Errorf("set the terminal to raw mode: %w", err)
		}
		defer func() {
			_ = term.Restore(int(stdin.Fd()), before)
			fmt.Fprintf(a.err, "\nThe session has ended.\n")
		}()
		// Inside the terminal's raw mode, Ctrl-C is the session's.
		var leave context.CancelFunc
		ctx, leave = context.WithCancel(ctx)
		defer leave()
		from = &escapeReader{from: in, leave: leave, fresh: true}
		sizes = make(chan session.Size, 1)
		defer watchSize(stdin, sizes)()
	}
	err = s.Shell(ctx, from, a.out, sizes)
	if errors.Is(err, context.Canceled) {
		return nil // ended as people end it
	}
	return err
}

// cancelable makes a read end when nobody waits for it any more; files that
// cannot be waited for give what they have at once anyway.
func cancelable(in io.Reader) cancelreader.CancelReader {
	r, err := cancelreader.NewReader(in)
	if err != nil {
		r, _ = cancelreader.NewReader(struct{ io.Reader }{in}) // never fails on what is no file
	}
	return r
}

// watchSize sends the terminal's size, now and when it changes. The function
// that it gives ends that.
func watchSize(terminal *os.File, sizes chan session.Size) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	changed <- syscall.SIGWINCH
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-changed:
			}
			cols, rows, err := term.GetSize(int(terminal.Fd()))
			if err != nil || cols <= 0 || rows <= 0 {
				continue
			}
			select {
			case sizes <- session.Size{Cols: uint32(cols), Rows: uint32(rows)}: //nolint:gosec // positive and small
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
		<-ended
	}
}

// escapeReader looks for "~." at the beginning of a line, as ssh does: the way
// out of a session that no longer answers.
type escapeReader struct {
	from  io.Reader
	leave func()
	fresh bool // at the beginning of a line
	tilde bool // a tilde at the beginning of a line has been seen, and passed on
}

func (e *escapeReader) Read(b []byte) (int, error) {
	n, err := e.from.Read(b)
	for _, c := range b[:n] {
		if e.tilde && c == '.' {
			e.leave()
			return 0, io.EOF
		}
		e.tilde = e.fresh && c == '~'
		e.fresh = c == '\r' || c == '\n'
	}
	return n, err
}
