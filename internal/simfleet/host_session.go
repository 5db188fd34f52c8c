package simfleet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// session serves one session channel: at most one exec or shell in it.
func (s *server) session(ctx context.Context, n ssh.NewChannel) {
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	defer func() { _ = ch.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var job sync.WaitGroup
	defer job.Wait()
	started, terminal := false, false
	for r := range requests {
		line, start, ok := "", false, false
		switch r.Type {
		case "pty-req":
			ok = s.grant.terminal
			terminal = terminal || ok
		case "window-change", "signal":
			ok = true
		case "shell":
			start = !started
		case "exec":
			var payload struct{ Line string }
			start = !started && ssh.Unmarshal(r.Payload, &payload) == nil
			line = payload.Line
		}
		// The answer goes out first: a quick job would close the channel under it.
		if r.WantReply {
			_ = r.Reply(ok || start, nil)
		}
		if start {
			started = true
			onTerminal := terminal
			job.Go(func() { s.job(ctx, ch, line, onTerminal) })
		}
	}
	cancel() // the client has closed the channel: nobody waits for the rest
}

// job runs a command or a shell and reports its exit status.
func (s *server) job(ctx context.Context, ch ssh.Channel, line string, terminal bool) {
	tty := "notty"
	if terminal {
		tty = "pts/0"
	}
	s.sessions(1, tty)
	out, errs := newCoalescer(ch), newCoalescer(ch.Stderr())
	c := command{account: s.grant.account, line: line, env: s.environment(), parent: s.login.priv + 1, stdin: ch, stdout: out, stderr: errs}
	if s.grant.command != "" {
		c.line, c.env["SSH_ORIGINAL_COMMAND"] = s.grant.command, line
	}
	if terminal {
		c.env["SSH_TTY"], c.env["TERM"] = "/dev/pts/0", "xterm"
	}
	status := 0
	switch m := s.h.machine(s.inst); {
	case m.Fault == MachineEndless:
		endless(ctx, ch, s.h.opts.EndlessBytes)
	case m.Fault == MachineHang:
		<-ctx.Done()
	case m.Fault == MachineGarbage:
		garbage(out, errs)
	case m.Fault == MachineCut:
		c.stdout = &cutter{w: out, left: 600, cut: func() { out.close(); _ = s.conn.Close() }}
		s.h.run(ctx, m, c)
		out.close()
		_ = s.conn.Close()
	case c.line == "" && terminal:
		s.interactive(ctx, m, ch, c)
	default:
		status = s.h.run(ctx, m, c)
	}
	out.close()
	errs.close()
	s.sessions(-1, "")
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)})) //nolint:gosec // 0 to 255
	_ = ch.Close()
}

// sessions counts the running sessions and shows their terminal in the
// processes' titles while there are any.
func (s *server) sessions(change int, terminal string) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.login.sessions += change
	if change > 0 || s.login.sessions == 0 {
		s.login.terminal = terminal
	}
}

func (s *server) environment() map[string]string {
	from, to := s.from, s.to
	return map[string]string{
		"SSH_CLIENT":     fmt.Sprintf("%s %d %d", from.Addr(), from.Port(), to.Port()),
		"SSH_CONNECTION": fmt.Sprintf("%s %d %s %d", from.Addr(), from.Port(), to.Addr(), to.Port()),
	}
}

// interactive is a shell on a terminal. Each line runs in a shell of its own,
// so that variables and the folder do not last.
func (s *server) interactive(ctx context.Context, m *machine, ch ssh.Channel, c command) {
	sign := "$"
	if c.account.uid == 0 {
		sign = "#"
	}
	t := term.NewTerminal(ch, fmt.Sprintf("%s@%s:~%s ", c.account.name, m.shortHostname(), sign))
	c.stdin, c.stdout, c.stderr = nil, t, t
	for {
		line, err := t.ReadLine()
		if err != nil || strings.TrimSpace(line) == "exit" {
			return
		}
		if c.line = line; strings.TrimSpace(line) != "" {
			s.h.run(ctx, s.h.machine(s.inst), c)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// coalescer gathers small writes while a packet is under way, as sshd does by
// reading from a pipe. Writers wait when it holds too much.
type coalescer struct {
	w    io.Writer
	done chan struct{}

	mu     sync.Mutex
	cond   sync.Cond
	buf    []byte // guarded by mu, as all below
	closed bool
	err    error
}

const coalescerSize = 256 << 10

func newCoalescer(w io.Writer) *coalescer {
	c := &coalescer{w: w, done: make(chan struct{})}
	c.cond.L = &c.mu
	go c.send()
	return c
}

func (c *coalescer) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.buf) > coalescerSize && c.err == nil {
		c.cond.Wait()
	}
	if c.err == nil && c.closed {
		c.err = io.ErrClosedPipe
	}
	if c.err != nil {
		return 0, c.err
	}
	c.buf = append(c.buf, b...)
	c.cond.Broadcast()
	return len(b), nil
}

func (c *coalescer) send() {
	defer close(c.done)
	var spare []byte
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.buf) == 0 && !c.closed {
			c.cond.Wait()
		}
		if len(c.buf) == 0 || c.err != nil {
			return
		}
		full := c.buf
		c.buf = spare[:0]
		c.cond.Broadcast()
		c.mu.Unlock()
		_, err := c.w.Write(full)
		c.mu.Lock()
		spare = full
		if err != nil {
			c.err = err
			c.cond.Broadcast()
			return
		}
	}
}

// close sends what is left and waits until it is gone or the channel has closed.
func (c *coalescer) close() {
	c.mu.Lock()
	c.closed = true
	c.cond.Broadcast()
	c.mu.Unlock()
	<-c.done
}

// endless prints lines until enough was printed or nobody reads.
func endless(ctx context.Context, w io.Writer, most int64) {
	block := []byte(strings.Repeat(strings.Repeat("All work and no play makes Jack a dull boy. ", 3)+"\n", 240))
	for sent := int64(0); sent < most && ctx.Err() == nil; {
		n, err := w.Write(block[:min(int64(len(block)), most-sent)])
		if err != nil {
			return
		}
		sent += int64(n)
	}
}

// garbage prints what no program would: terminal escapes, invalid UTF-8, NULs,
// and lines that look like the frame of a report.
func garbage(out, errs io.Writer) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	_, _ = io.WriteString(out, "migrate-probe 1\nbegin\tsystem\n\x1b[2J\x1b]0;owned\x07\x1b[31m\xff\xfe\x00<script>alert(1)</script>\n")
	_, _ = out.Write(noise)
	_, _ = io.WriteString(errs, "\x1b[2J\x1b[1;1Howned\x07\n")
	_, _ = errs.Write(noise[:4096])
}

// cutter breaks the connection off after a number of bytes.
type cutter struct {
	mu   sync.Mutex
	w    io.Writer
	left int
	cut  func()
}

func (c *cutter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 0 {
		return 0, io.ErrClosedPipe
	}
	n := min(len(b), c.left)
	if _, err := c.w.Write(b[:n]); err != nil {
		return 0, err
	}
	if c.left -= n; c.left == 0 {
		c.cut()
		return n, io.ErrClosedPipe
	}
	return n, nil
}
