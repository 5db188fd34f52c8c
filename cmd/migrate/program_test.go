package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the migrate program as a process of its own.
func program(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), asMigrate+"=1")
	return c
}

// longestRun is when a program counts as one that hangs; it ends then, and tells
// what its goroutines do.
const longestRun = 4 * time.Minute

// output runs the program and gives its standard output; the exit code must be
// one of those allowed.
func output(t testing.TB, c *exec.Cmd, allowed ...int) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Start()
	if err == nil {
		hangs := time.AfterFunc(longestRun, func() { _ = c.Process.Signal(syscall.SIGQUIT) })
		err = c.Wait()
		hangs.Stop()
	}
	if code := c.ProcessState.ExitCode(); err != nil && !contains(allowed, code) {
		t.Fatalf("%s: %v (allowed exit codes: %v)\n%s%s", strings.Join(c.Args[1:], " "), err, allowed, out.Bytes(), errs.Bytes())
	}
	return out.Bytes()
}

func contains(all []int, n int) bool {
	for _, a := range all {
		if a == n {
			return true
		}
	}
	return false
}

func decode[T any](t testing.TB, text []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in:\n%.2000s", err, text)
	}
	return v
}

// served is a simulated fleet that a process of its own serves.
type served struct {
	env []string
	cmd *exec.Cmd
	out io.ReadCloser
}

// serve starts "migrate demo --serve" and reads the exports that it prints, as
// an operator's shell would.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	c := program(append([]string{"demo", "--serve", "--dir", t.TempDir()}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := &served{cmd: c, out: out}
	t.Cleanup(func() { s.stop(t) })
	var exports strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		exports.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	// A real shell evaluates the lines, so that their quoting is tested too.
	sh := exec.Command("sh", "-c", exports.String()+"\nexec env -0")
	sh.Env = append(os.Environ(), "AWS_PROFILE=elsewhere")
	text, err := sh.Output()
	if err != nil {
		t.Fatalf("the exports do not evaluate: %v\n%s", err, exports.String())
	}
	s.env = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	return s
}

// stop interrupts the server as Ctrl-C does and expects it to end well.
func (s *served) stop(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Errorf("interrupt the simulated fleet: %v", err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the simulated fleet did not end well: %v", err)
	}
}

func (s *served) program(t *testing.T, args ...string) *exec.Cmd {
	c := program(args...)
	c.Env = append(s.env, asMigrate+"=1", "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
	return c
}

// usage is what a finished program used.
type usage struct {
	CPU      time.Duration
	Peak     int64 // bytes of memory
	ExitCode int
}

// measured runs the program and gives its standard output and what it used; the
// exit code must be one of those allowed. A process between this one and the
// program takes the measurement: Linux counts the memory of the process that
// starts a program as the program's own.
func measured(t testing.TB, c *exec.Cmd, allowed ...int) ([]byte, usage) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usage")
	c.Env = append(c.Env, asMeasurer+"="+file, "GOGC=") // memory as with users
	out := output(t, c, allowed...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return out, decode[usage](t, text)
}

// asMeasurer makes the test binary run its command line as the program and
// write the program's usage to the file that it names.
const asMeasurer = "MIGRATE_TEST_MEASURE"

func measure(file string) int {
	c := program(os.Args[1:]...)
	c.Env = append(c.Env, asMeasurer+"=")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run()
	if c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	u := usage{
		CPU:      c.ProcessState.UserTime() + c.ProcessState.SystemTime(),
		Peak:     c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024,
		ExitCode: c.ProcessState.ExitCode(),
	}
	text, err := json.Marshal(u)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	return u.ExitCode
}
