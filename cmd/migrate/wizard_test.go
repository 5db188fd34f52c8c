package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
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
	s.expect("Everywhere")
	s.press("Escape")
	s.expect("n next host") // a key sent at once would read as alt and that key
	s.press("l")
	s.expect("who comes in over SSH")
	s.press("a")
	s.expect("Access: people")
	s.press("q")
	s.expect("exit code 0")
}

// A cutover in the wizard, as somebody begins it who is careful: the canary
// alone, with a pause, and all of it back.
func TestDemoCutoverInATerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("takes tens of seconds")
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := newScreen(t, fmt.Sprintf("%s=1 HOME=%s %s demo --dir %s --no-throttle --pace 1000 --mendable --instances 6 --unreachable 0; echo exit code $?; sleep 600", asMigrate, t.TempDir(), exe, dir))
	s.expect("Press enter to take the inventory")
	s.press("Enter")
	s.expect("6 listed", "Next  Press")
	s.press("5")
	s.expect("✓ recovery key", "Press enter to make a plan")
	s.press("Enter")
	id := regexp.MustCompile("plan ([0-9a-f]{12})").FindStringSubmatch(s.expect("Not begun: nothing has been changed", "canary"))
	if id == nil {
		t.Fatal("the screen names no plan")
	}
	s.press("A")
	s.expect("only up to the end of wave 1, canary")
	s.press("Down")
	s.press("-l", "yes")
	s.press("Enter")
	s.expect("No. Type " + id[1])
	s.press("-l", id[1])
	s.press("Enter")
	s.expect("up to 32 lanes at once")
	s.press("p")
	s.expect("PAUSED: no step begins before r")
	s.press("r")
	s.expect("Done as far as it was asked to go", "keys of 1 of 6 hosts", "✓ canary", "○ wave 2")
	s.press("b")
	s.expect("Roll back?")
	s.press("Down")
	s.expect("● the whole plan")
	s.press("-l", id[1])
	s.press("Enter")
	s.expect("↶ Rolled back.", "keys of 0 of 6 hosts")
	s.press("q")
	s.expect("exit code 0")
}
