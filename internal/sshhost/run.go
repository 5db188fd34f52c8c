package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// maxStderr is how much standard error is kept; the rest is read and dropped.
const maxStderr = 64 << 10

// run executes command once with script on its standard input, and closes conn.
func run(ctx context.Context, conn *connection, command, script string, limit int64) (fleet.ProbeOutput, error) {
	out, status, err := execute(ctx, conn, command, script, limit)
	if err != nil {
		return out, err
	}
	return out, status.judge(ctx, out)
}

// execute is run without a judgement. After an error nothing has begun.
func execute(ctx context.Context, conn *connection, command, script string, limit int64) (fleet.ProbeOutput, exitStatus, error) {
	go conn.serve()
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	var out fleet.ProbeOutput
	ch, reqs, err := conn.OpenChannel("session", nil)
	if err != nil {
		return out, exitStatus{}, fmt.Errorf("open a session: %w", err)
	}
	exit := make(chan exitStatus, 1)
	go func() { exit <- awaitExit(reqs) }()
	ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{command}))
	if err == nil && !ok {
		err = errors.New("the server refused to run a command")
	}
	if err != nil {
		conn.Close()
		<-exit
		return out, exitStatus{}, err
	}
	// A failed write shows up as a missing end of the output: the command
	// may end before it has read all of its input.
	written := make(chan struct{})
	go func() {
		defer close(written)
		// Small pieces keep the packet buffers of the connection small.
		if _, err := io.CopyBuffer(ch, chunks{strings.NewReader(script)}, make([]byte, 8<<10)); err == nil {
			_ = ch.CloseWrite()
		}
	}()
	type capped struct {
		data []byte
		over bool
	}
	stderr := make(chan capped, 1)
	go func() {
		data, over := readCapped(ch.Stderr(), maxStderr, limit)
		if over {
			conn.Close()
		}
		stderr <- capped{data, over}
	}()

	out.Stdout, out.Truncated = readCapped(ch, limit, limit)
	if out.Truncated {
		conn.Close()
	}
	errs := <-stderr
	out.Stderr, out.Truncated = errs.data, out.Truncated || errs.over
	status := <-exit
	conn.Close()
	<-written
	return out, status, nil
}

// chunks hides a reader's WriteTo, so that a script is copied piece by piece
// and not as a whole.
type chunks struct{ io.Reader }

// readCapped reads up to its end or to more than total bytes, and returns the
// first keep bytes. Over says that the end was not reached.
func readCapped(r io.Reader, keep, total int64) (data []byte, over bool) {
	data = make([]byte, 0, 1024)
	var seen int64
	var spill []byte
	for {
		room := data[len(data):cap(data)]
		if int64(len(data)) >= keep {
			if spill == nil {
				spill = make([]byte, 4096)
			}
			room = spill
		} else if len(room) == 0 {
			data = slices.Grow(data, min(len(data), int(keep)-len(data)))
			continue
		}
		n, err := r.Read(room)
		seen += int64(n)
		if int64(len(data)) < keep {
			data = data[:min(len(data)+n, int(keep))]
		}
		if seen > total {
			return data, true
		}
		if err != nil {
			return data, false
		}
	}
}

// exitStatus is how a command ended.
type exitStatus struct {
	known  bool // the server told a status or a signal
	code   uint32
	signal string
}

// awaitExit answers the channel's requests until it is closed.
func awaitExit(reqs <-chan *ssh.Request) exitStatus {
	var s exitStatus
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			var m struct{ Code uint32 }
			if ssh.Unmarshal(r.Payload, &m) == nil {
				s.known, s.code = true, m.Code
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Message    string
				Language   string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				s.known, s.signal = true, m.Signal
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
	return s
}

// judge says whether the output can be taken as what the command printed.
func (s exitStatus) judge(ctx context.Context, out fleet.ProbeOutput) error {
	switch {
	case out.Truncated:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !s.known:
		return fmt.Errorf("the connection broke after %s", quantity(len(out.Stdout), "byte", "bytes"))
	case s.signal != "":
		return fmt.Errorf("the command was ended by signal %s", s.signal)
	case len(out.Stdout) == 0 && s.code != 0:
		return errors.New(joinDetail(fmt.Sprintf("the command printed nothing and ended with status %d", s.code), clean(string(out.Stderr), 200)))
	}
	return nil
}
