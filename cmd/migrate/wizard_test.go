package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"ssm-migrate/internal/simfleet"
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

// expect waits until the screen shows every text and gives the screen.
func (s *screen) expect(texts ...string) string {
	s.t.Helper()
	var now string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now = s.tmux("capture-pane", "-p", "-t", "w")
		missing := false
		for _, text := range texts {
			missing = missing || !strings.Contains(now, text)
		}
		if !missing {
			return now
		}
	}
	s.t.Fatalf("the screen never showed %q:\n%s", texts, now)
	return ""
}

// A newcomer's first minutes: the real program, the simulated fleet, a real
// terminal of 80 by 24.
func TestDemoWizardInATerminal(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(t, fmt.Sprintf("%s=1 HOME=%s %s demo --dir %s --instances 24 --no-throttle; echo exit code $?", asMigrate, t.TempDir(), exe, t.TempDir()))
	s.expect("DEMO", "Press enter to take the inventory", "6 Done", "after 5")
	s.press("Enter")
	s.expect("24 listed", "for Readiness")
	s.press("2")
	s.expect("What stands in the way", "ready", "blocked", "writes the report")
	s.press("f")
	s.expect("Fleet: 24 hosts", "VERDICT")
	s.press("/")
	s.press("-l", "status:ready")
	s.press("Enter")
	s.expect("status:ready", "✓ ready")
	if now := s.tmux("capture-pane", "-p", "-t", "w"); strings.Contains(now, "✗ blocked ") {
		t.Errorf("the filter lets blocked hosts through:\n%s", now)
	}
	s.press("Enter")
	s.expect("host 1 of", "Findings")
	s.tmux("resize-window", "-t", "w", "-x", "120", "-y", "40")
	s.expect(strings.Repeat("─", 90), "subnet-")
	s.press("r")
	s.expect("report.html")
	s.press("?")
	s.expect("The language of filters")
	s.press("Escape")
	s.expect("n next host") // a key sent at once would read as alt and that key
	s.press("l")
	s.expect("who comes in over SSH")
	s.press("a")
	s.expect("Access: people")
	s.press("q")
	s.expect("exit code 0")
}

// lead is a wizard in a terminal on a simulated fleet that outlives it.
type lead struct {
	*screen
	command string
	demo    *demoFleet
}

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
	command := "exec env " + asMigrate + "=1 HOME=" + t.TempDir()
	for _, v := range d.env() {
		command += " " + v.name + "=" + shellWord(v.value)
	}
	command += " " + exe + " wizard"
	return &lead{newScreen(t, command), command, d}
}

// killed kills the wizard as a lost power supply would, and starts it anew.
func (l *lead) killed() {
	l.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(l.tmux("display-message", "-p", "-t", "w", "#{pane_pid}")))
	if err != nil || pid <= 1 {
		l.t.Fatalf("the wizard's process: %d, %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.ended("#{?pane_dead,dead,}")
	l.tmux("respawn-pane", "-t", "w", l.command)
}

// ended waits until tmux knows how the wizard's process has ended, and gives that.
func (l *lead) ended(how string) string {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if state := strings.TrimSpace(l.tmux("display-message", "-p", "-t", "w", how)); state != "" {
			return state
		}
	}
	l.t.Fatalf("the wizard's process does not end:\n%s", l.tmux("capture-pane", "-p", "-t", "w"))
	return ""
}

// dialog opens something that asks, and says no to it.
func (l *lead) dialog(key, no string, texts ...string) {
	l.t.Helper()
	l.press(key)
	l.expect(texts...)
	l.press(no)
	l.gone(texts[0])
}

// gone waits until a text is not on the screen any more.
func (l *lead) gone(text string) {
	l.t.Helper()
	now := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if now = l.tmux("capture-pane", "-p", "-t", "w"); !strings.Contains(now, text) {
			return
		}
	}
	l.t.Fatalf("the screen goes on showing %q:\n%s", text, now)
}

// stage goes to a stage. A key may come together with the terminal's own answers to
// a program that just started, and be lost among them; to press it again does no harm.
func (l *lead) stage(key, text string) {
	l.t.Helper()
	now := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		l.press(key)
		for again := time.Now().Add(2 * time.Second); time.Now().Before(again); time.Sleep(20 * time.Millisecond) {
			if now = l.tmux("capture-pane", "-p", "-t", "w"); strings.Contains(now, text) {
				return
			}
		}
	}
	l.t.Fatalf("the key %s never led to %q:\n%s", key, text, now)
}

// agree types what a dialog asks for.
func (l *lead) agree(word string) {
	l.t.Helper()
	l.expect("Type " + word)
	l.press("-l", word)
	l.press("Enter")
	l.gone("Type " + word)
}

// The whole way: from the inventory to the end and back by a rollback, through
// every dialog's no, with a wizard that is killed in each stage.
func TestTheWholeWayInATerminal(t *testing.T) {
	if !*long {
		t.Skip("it takes a minute or more: make long runs it")
	}
	t.Parallel()
	l := newLead(t, 3)
	l.expect("Press enter to take the inventory", "Risk  no host closed")
	l.dialog(":", "Escape", "Do: ", "Inventory: show it")
	l.dialog("?", "Escape", "Everywhere")

	// Stage 1. One source does not answer as long as the dialogs are tried.
	l.demo.faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeVpcs", Delay: time.Hour})
	l.press("Enter")
	l.expect("running for")
	l.dialog("x", "n", "Stop the inventory?")
	l.dialog("q", "n", "Stop it and leave?")
	l.killed()
	l.expect("none yet", "Press enter to take the inventory")
	l.demo.faults.Set()
	l.press("Enter")
	l.expect("3 listed", "for Readiness")

	for _, stage := range [][2]string{{"2", "What stands in the way"}, {"3", "The fixes that Readiness names"}, {"4", "no bastion group yet"}, {"6", "Nothing has been done yet"}, {"5", "Press enter to make a plan"}} {
		l.stage(stage[0], stage[1])
		l.killed()
		l.expect(stage[1])
	}

	// Stage 5: the canary, with a pause in which the wizard dies.
	l.press("Enter")
	id := regexp.MustCompile("plan ([0-9a-f]{12})").FindStringSubmatch(l.expect("Not begun: nothing has been changed", "canary"))
	if id == nil {
		t.Fatal("the screen names no plan")
	}
	l.dialog("A", "Escape", "Apply plan "+id[1], "$ migrate apply "+id[1])
	l.press("A")
	l.press("-l", "yes")
	l.press("Enter")
	l.expect("No. Type " + id[1])
	l.press("Down")
	l.agree("canary")
	l.press("p")
	l.expect("PAUSED: no step begins before r")
	l.dialog("S", "n", "Stop the run?")
	l.dialog("B", "Escape", "Roll back?")
	l.dialog("q", "n", "Stop it and")
	l.killed()
	l.expect("aused; run by", "Next  Watch") // until the lease of the dead has run out
	l.leaseOut()
	l.stage("5", "broken off")
	l.expect("Press A to go on, or B to take it back")
	l.press("A")
	l.agree(id[1])
	l.press("r") // the pause was wished, whoever runs it
	l.expect("Press 6 for what has been reached")

	// Stage 4: a drill, live.
	l.press("4")
	l.expect("4 Recovery", "all proved")
	l.press("D")
	drill := regexp.MustCompile("Type ([0-9a-f]{12})").FindStringSubmatch(l.expect("Rehearse the way back?", "migrate recovery drill --yes", "Type "))
	l.press("Escape")
	l.gone("Rehearse")
	l.press("D")
	second := regexp.MustCompile("Type ([0-9a-f]{12})").FindStringSubmatch(l.expect("Rehearse the way back?", "Type "))
	if drill == nil || second == nil {
		t.Fatal("the dialog names no plan")
	}
	l.agree(second[1])
	l.expect("The drill is done in")

	// Stage 6, and all the way back.
	l.press("6")
	l.expect("at its end", "hosts closed")
	l.killed()
	l.expect("at its end", "hosts closed")
	l.stage("5", "Press 6 for what has been reached")
	l.press("B")
	l.expect("Roll back?")
	for range 3 {
		l.press("Down")
	}
	l.expect("● the whole plan", "--all")
	l.agree(id[1])
	l.expect("↶ Rolled back.", "keys of 0 of 3 hosts", "no host closed")
	l.press("q")
	if code := l.ended("#{pane_dead_status}"); code != "0" {
		t.Errorf("exit code %s", code)
	}
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

// A terminal that can only write gets the wizard line by line, and is told so.
func TestADumbTerminalGetsLines(t *testing.T) {
	t.Parallel()
	c := program("wizard", "--db", filepath.Join(t.TempDir(), "m.db"))
	c.Env = append(os.Environ(), asMigrate+"=1", "TERM=dumb", "MIGRATE_CONFIG=", "HOME="+t.TempDir())
	c.Dir = t.TempDir()
	terminal, err := pty.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if _, err := io.WriteString(terminal, "2\nq\n"); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(terminal) // a pty whose other end is closed gives an error on Linux
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"This terminal (TERM=dumb) cannot show the wizard's screens", "Stage 1 of 6, Inventory", "Stage 2 of 6, Readiness"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if strings.ContainsRune(string(out), '\x1b') {
		t.Errorf("the output has escape sequences: %q", out)
	}
}
