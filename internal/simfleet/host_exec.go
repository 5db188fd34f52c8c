package simfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// errOutputLimit is why a program that prints too much is ended.
var errOutputLimit = errors.New("output limit reached")

// command is one command line to be run on a machine.
type command struct {
	account account
	line    string        // for the account's shell, as -c gives it; empty: the shell reads standard input
	script  []byte        // in place of line: a script of this text
	dir     string        // where it runs; empty: the account's home
	limit   time.Duration // simulated time that it may wait in all; 0: any
	env     map[string]string
	parent  int // process ID of what starts it; 0: the service manager
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	tty     *terminal // its terminal; nil: none
}

// Run runs a command line on an instance as one of its accounts, the way a
// service on the machine would: no login, no SSH. It returns the exit status;
// the error says why there is none (no such account, ctx ended).
func (h *Hosts) Run(ctx context.Context, inst *Instance, user, line string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	m := h.machine(inst)
	a, ok := m.account(user)
	if !ok {
		return 0, fmt.Errorf("running a command on %s: no account %s", inst.Host.ID, user)
	}
	status := h.run(ctx, m, command{account: a, line: line, parent: 1, stdin: stdin, stdout: stdout, stderr: stderr})
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("running a command on %s: %w", inst.Host.ID, err)
	}
	return status, nil
}

// run runs a command on a machine that was copied for it, and gives its exit
// status, statusTimedOut beyond its limit. Jobs that the command leaves in the background end with
// it, unless setsid or nohup starts them. The machine's shutdown ends it.
func (h *Hosts) run(ctx context.Context, m *machine, c command) int {
	ctx, cancel := context.WithTimeout(ctx, max(h.opts.ExecTimeout, c.limit))
	defer cancel()
	ended, err := h.started(m.inst, cancel)
	if err != nil {
		return 137
	}
	defer ended()
	p := &process{
		x: newExecution(h, m), m: m, pid: c.parent, cred: m.credOf(c.account), user: c.account.name, dir: "/", args: []string{"init"}, umask: 0o022, tty: c.tty,
		env:    map[string]string{"HOME": c.account.home, "USER": c.account.name, "LOGNAME": c.account.name, "SHELL": c.account.shell, "PATH": m.defaultPath(c.account)},
		stdout: &limited{w: c.stdout, left: h.opts.MaxOutput, stop: cancel},
		stderr: &limited{w: c.stderr, left: h.opts.MaxOutput, stop: cancel},
	}
	for k, v := range c.env {
		p.env[k] = v
	}
	if _, err := m.fs.readDir(p.cred, c.account.home); err == nil {
		p.dir = c.account.home
	}
	if c.dir != "" {
		p.dir = c.dir
	}
	if c.limit > 0 {
		p.allowance = &allowance{left: c.limit}
	}
	if c.stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return p.fail(126, "%v", err)
		}
		// The goroutine ends when the reader does, or when r is closed.
		go func() {
			_, _ = io.Copy(w, c.stdin)
			_ = w.Close()
		}()
		defer func() { _ = r.Close() }()
		p.stdin = r
	}
	args := []string{c.account.shell, "-c", c.line}
	switch {
	case c.script != nil:
		args[2] = string(c.script)
	case c.line == "":
		args = args[:1]
	}
	status := p.start(ctx, args, nil)
	if c.limit > 0 && status == statusTimedOut {
		return status
	}
	if status < 0 || status > 255 {
		status = 255
	}
	return status
}

// defaultPath is the search path that sshd gives to commands.
func (m *machine) defaultPath(a account) string {
	switch {
	case m.rpmBased():
		return "/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin"
	case a.uid == 0 || m.OS.Family == "alpine":
		return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return "/usr/local/bin:/usr/bin:/bin:/usr/games"
}

// limited passes on a bounded amount and then stops what writes to it. It
// makes one writer safe for a shell's concurrent jobs.
type limited struct {
	mu   sync.Mutex
	w    io.Writer
	left int64
	stop func()
}

func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(b), nil
	}
	if int64(len(b)) > l.left {
		l.stop()
		return 0, errOutputLimit
	}
	l.left -= int64(len(b))
	n, err := l.w.Write(b)
	if err != nil {
		l.stop() // nobody reads any more
	}
	return n, err
}
