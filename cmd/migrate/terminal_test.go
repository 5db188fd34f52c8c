package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"ssm-migrate/internal/sqlite"
)

// screen is the program in a real terminal: tmux, 80 columns by 24 lines.
type screen struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, command string) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is missing; install it with: apt-get install tmux")
	}
	s := &screen{t: t, socket: fmt.Sprintf("migrate-test-%d-%s", os.Getpid(), t.Name())}
	s.tmux("-f", "/dev/null", "new-session", "-d", "-s", "w", "-x", "80", "-y", "24", command)
	s.tmux("set-option", "-g", "remain-on-exit", "on")
	t.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	c := exec.Command("tmux", append([]string{"-L", s.socket}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *screen) press(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys", "-t", "w"}, keys...)...)
}

func (s *screen) now() string {
	s.t.Helper()
	return s.tmux("capture-pane", "-p", "-t", "w")
}

var (
	// spans are durations, which go on by themselves.
	spans  = regexp.MustCompile(`\d[\d:]*(\.\d)? ?(s|min|h)\b( ago)?|just now`)
	blanks = regexp.MustCompile(`[ ─]+`)
)

// calm is a screen without what changes by itself with time: durations, and what
// they leave of the line.
func calm(shown string) string {
	var out []string
	for l := range strings.Lines(shown) {
		if !strings.HasPrefix(l, " Risk ") {
			out = append(out, strings.TrimSpace(blanks.ReplaceAllString(spans.ReplaceAllString(l, ""), " ")))
		}
	}
	return strings.Join(out, "\n")
}

// until waits until the screen is as it should be, and gives it. However slow the
// machine is, it waits as long as something goes on; a screen on which for a minute
// nothing but the clock has moved will not change any more.
func (s *screen) until(what string, holds func(shown string) bool) string {
	s.t.Helper()
	for last, moved := "", time.Now(); ; time.Sleep(20 * time.Millisecond) {
		shown := s.now()
		if holds(shown) {
			return shown
		}
		if c := calm(shown); c != last {
			last, moved = c, time.Now()
		}
		if time.Since(moved) > time.Minute {
			s.t.Fatalf("%s:\n%s", what, shown)
		}
	}
}

// expect waits until the screen shows every text and gives the screen.
func (s *screen) expect(texts ...string) string {
	s.t.Helper()
	return s.until(fmt.Sprintf("the screen never showed %q", texts), func(shown string) bool { return showsAll(shown, texts) })
}

func showsAll(shown string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(shown, text) })
}

// gone waits until a text is not on the screen any more.
func (s *screen) gone(text string) {
	s.t.Helper()
	s.until(fmt.Sprintf("the screen goes on showing %q", text), func(shown string) bool { return !strings.Contains(shown, text) })
}

// dialog opens something by a key that is on the screen then, leaves it again, and
// waits until the screen is what it was before.
func (s *screen) dialog(key, no string, texts ...string) {
	s.t.Helper()
	before := s.now()
	s.press(key)
	s.until(fmt.Sprintf("the key %s never opened %q", key, texts), func(shown string) bool { return calm(shown) != calm(before) && showsAll(shown, texts) })
	s.press(no)
	s.until(fmt.Sprintf("%s, left by %s, leaves another screen than\n%s", key, no, before), func(shown string) bool { return calm(shown) == calm(before) })
}

// lead is a wizard in a terminal on a simulated fleet that outlives it.
type lead struct {
	*screen
	command string
	demo    *demoFleet
	pid     string // of the file that has the wizard's
}

// endedWith is what the terminal says when the wizard has ended. It is not asked of
// tmux: version 3.3 at times does not take notice of a pane's end before another of
// its processes ends.
const endedWith = "The wizard has ended with "

func newLead(t *testing.T, instances int) *lead {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := startDemo(demoOptions{instances: instances, seed: 7, addr: "127.0.0.1:0", noThrottle: true, pace: 1000, mendable: true, dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	pid := filepath.Join(t.TempDir(), "pid")
	wizard := "echo $$ > " + shellWord(pid) + "; exec env " + asMigrate + "=1 HOME=" + t.TempDir()
	for _, v := range d.env() {
		wizard += " " + v.name + "=" + shellWord(v.value)
	}
	wizard += " " + exe + " wizard"
	command := "sh -c " + shellWord(wizard) + `; printf '\r\n` + endedWith + `%s\r\n' $?` // the terminal may still be raw
	return &lead{newScreen(t, command), command, d, pid}
}

// killed kills the wizard as a lost power supply would, and starts it anew.
func (l *lead) killed() {
	l.t.Helper()
	text, err := os.ReadFile(l.pid)
	if err != nil {
		l.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		l.t.Fatalf("the wizard's process: %q", text)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.expect(fmt.Sprintf("%s%d", endedWith, 128+int(syscall.SIGKILL)))
	l.tmux("respawn-pane", "-k", "-t", "w", l.command)
	l.gone(endedWith)
}

// stage goes to a stage. A key may come together with the terminal's own answers to
// a program that just started, and be lost among them; to press it again does no harm.
func (l *lead) stage(key, text string) {
	l.t.Helper()
	pressed := time.Time{}
	l.until(fmt.Sprintf("the key %s never led to %q", key, text), func(shown string) bool {
		if strings.Contains(shown, text) {
			return true
		}
		if time.Since(pressed) > 2*time.Second {
			l.press(key)
			pressed = time.Now()
		}
		return false
	})
}

// agree types what a dialog asks for.
func (l *lead) agree(word string) {
	l.t.Helper()
	l.expect("Type " + word)
	l.press("-l", word)
	l.press("Enter")
	l.gone("Type " + word)
}

// leaseOut lets the lease of a dead run end before its minute is over.
func (l *lead) leaseOut() {
	l.t.Helper()
	db, err := sqlite.Open(l.t.Context(), l.demo.db())
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	for fence := range int64(100) {
		if err := db.Release(l.t.Context(), fence); err != nil {
			l.t.Fatal(err)
		}
	}
	if holder, _, err := db.Holder(l.t.Context()); holder != "" || err != nil {
		l.t.Fatalf("%q holds the lease (%v)", holder, err)
	}
}

// onPTY runs the program on a terminal of a kind that answers nothing, and
// gives what it shows.
func onPTY(t *testing.T, kind, input string, args ...string) (string, error) {
	t.Helper()
	c := program(args...)
	c.Env = append(os.Environ(), asMigrate+"=1", "TERM="+kind, "MIGRATE_CONFIG=", "HOME="+t.TempDir())
	c.Dir = t.TempDir()
	terminal, err := pty.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if _, err := io.WriteString(terminal, input); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(terminal) // a pty whose other end is closed gives an error on Linux
	return string(out), c.Wait()
}

// Where something fails, nobody asks the terminal anything: a form or a shell that
// has just left it may take the answer, and the error would never be shown.
func TestErrorsAskTheTerminalNothing(t *testing.T) {
	t.Parallel()
	out, err := onPTY(t, "xterm-256color", "", "hosts", "--db", "missing.db")
	if exitCode(err) != exitError {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "there is no state file") || strings.Contains(out, "\x1b]") {
		t.Errorf("it prints %q", out)
	}
}
