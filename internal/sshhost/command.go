package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// killDelay is how long a program's pipes may stay open after its end.
const killDelay = time.Second

// commandConn is a connection over a ProxyCommand's standard input and output.
type commandConn struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr tail
	once   sync.Once
}

// startCommand runs line in the shell, in a process group of its own.
func startCommand(line string) (*commandConn, error) {
	c := &commandConn{cmd: exec.Command("/bin/sh", "-c", "exec "+line)}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = killDelay
	c.cmd.Stderr = &c.stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("ProxyCommand: %w", err)
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("ProxyCommand: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("ProxyCommand: %w", err)
	}
	return c, nil
}

// Read reads what the command prints.
func (c *commandConn) Read(b []byte) (int, error) { return c.out.Read(b) }

// Write writes to the command's standard input.
func (c *commandConn) Write(b []byte) (int, error) { return c.in.Write(b) }

// Close kills the command and all that it started in its process group, and
// waits for its end. It may be called more than once and concurrently.
func (c *commandConn) Close() error {
	c.once.Do(func() {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		_ = c.in.Close()
		_ = c.cmd.Wait()
	})
	return nil
}

// LocalAddr names the kind of connection.
func (c *commandConn) LocalAddr() net.Addr { return commandAddr{} }

// RemoteAddr names the kind of connection.
func (c *commandConn) RemoteAddr() net.Addr { return commandAddr{} }

// said is the end of what the command wrote to standard error.
func (c *commandConn) said() string {
	_ = c.Close()
	return clean(c.stderr.String(), 200)
}

type commandAddr struct{}

func (commandAddr) Network() string { return "command" }
func (commandAddr) String() string  { return "ProxyCommand" }

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxTail = 1024

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if n > maxTail {
		b = b[n-maxTail:]
	}
	t.buf.Write(b)
	if over := t.buf.Len() - maxTail; over > 0 {
		t.buf.Next(over)
	}
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

var errNoDeadline = errors.New("deadlines are not supported on a ProxyCommand")

func (c *commandConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *commandConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *commandConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
