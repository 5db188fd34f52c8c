package cutover_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

var everyCall = flag.Bool("every-call", false, "let the scripts die at every call, not at every 23rd (minutes)")

// changers are the programs by which the scripts change anything.
var changers = []string{"mv", "cp", "rm", "mkdir", "rmdir", "cat", "chmod", "chown", "sync", "touch"}

// tools makes a folder of programs in which the changers kill everything at the
// n-th of their calls: before they do their work if n is odd, after it if even.
func (m *machine) tools() (path, counter string) {
	m.t.Helper()
	dir := m.at("tools")
	counter = m.at("counter")
	must(m.t, os.MkdirAll(dir, 0o755))
	for _, name := range changers {
		real, err := exec.LookPath(name)
		must(m.t, err)
		text := fmt.Sprintf(`#!/bin/dash
if [ -n "$KILL_AT" ]; then
	echo x >>%[1]s
	n=$(($(/usr/bin/wc -l <%[1]s) * 2))
	[ "$n" -ne $((KILL_AT + 1)) ] || kill -9 0
	%[2]s "$@"
	code=$?
	[ "$n" -ne "$KILL_AT" ] || kill -9 0
	exit $code
fi
exec %[2]s "$@"
`, counter, real)
		must(m.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	return dir, counter
}

// killed makes the next scripts die at a call; 0: at none.
func (m *machine) killed(n int, counter string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = func(cmd *exec.Cmd) {
		cmd.Env = os.Environ()
		if n > 0 {
			_ = os.Remove(counter)
			cmd.Env = append(cmd.Env, fmt.Sprintf("KILL_AT=%d", n))
		}
	}
}

// A script that dies anywhere leaves each key file as it was before or as it is
// to be, observation tells which, the recovery key works throughout, and both a repeat and a
// restore get to their end.
func TestScriptsThatDieAnywhereCanGoOnAndBack(t *testing.T) {
	stride := 23
	if *everyCall {
		stride = 1
	}
	for i, shell := range shells {
		for j, way := range []string{"quarantine", "restore"} {
			t.Run(shell[0]+" "+way, func(t *testing.T) {
				t.Parallel()
				dieEverywhere(t, shell, way, 1+(2*i+j)*2*min(1, stride-1), stride)
			})
		}
	}
}

func dieEverywhere(t *testing.T, shell []string, way string, first, stride int) {
	m := newMachine(t, shell...)
	dir, counter := m.tools()
	m.paths.Search = dir + ":" + os.Getenv("PATH")
	m.apply(plan.ArmHostTimer)
	defer m.undo(t, plan.ArmHostTimer)
	k, s := m.kinds()[plan.QuarantineKeys], m.step(plan.QuarantineKeys)
	before := m.files()
	m.apply(plan.QuarantineKeys)
	after := m.files()
	m.undo(t, plan.QuarantineKeys)
	died := 0
	for n := first; ; n += stride {
		if way == "restore" {
			m.apply(plan.QuarantineKeys)
		}
		m.killed(n, counter)
		var err error
		if way == "restore" {
			err = k.Undo(t.Context(), s, nil, nil, "token")
		} else {
			_, err = k.Apply(t.Context(), s, nil, "token")
		}
		m.killed(0, counter)
		if err == nil {
			break // it has fewer calls
		}
		died++
		m.wholeFiles(n, before, after)
		want := fleet.TruthNo
		if allAre(m.files(), after) {
			want = fleet.TruthYes
		}
		if o := m.observe(plan.QuarantineKeys); o.Holds != want {
			t.Fatalf("dead at %d: %+v", n, o)
		}
		if way == "quarantine" && n%4 == 1 {
			m.apply(plan.QuarantineKeys)
			if !allAre(m.files(), after) {
				t.Fatalf("dead at %d, then repeated: %s", n, cmp.Diff(texts(after), texts(m.files())))
			}
		}
		m.undo(t, plan.QuarantineKeys)
		if diff := cmp.Diff(before, m.files()); diff != "" {
			t.Fatalf("dead at %d, then restored (-before +after): %s", n, diff)
		}
	}
	if died*stride < 40 {
		t.Errorf("only %d calls could be cut", died)
	}
}

// wholeFiles wants each file to be one or the other, with its owner and mode.
func (m *machine) wholeFiles(n int, before, after map[string]fileState) {
	m.t.Helper()
	for name, is := range m.files() {
		was, known := before[name]
		if strings.Contains(name, "/.migrate-") {
			continue // the folder in which files are prepared
		}
		if !known || is.Text != was.Text && is.Text != after[name].Text || is.Mode != was.Mode || is.Uid != was.Uid || is.Gid != was.Gid {
			m.t.Fatalf("dead at %d: %s is neither: %+v", n, name, is)
		}
	}
	if !strings.Contains(m.files()["keys/root"].Text, m.rescue.blob) {
		m.t.Fatalf("dead at %d: the recovery key is gone", n)
	}
}

func texts(files map[string]fileState) map[string]string {
	out := map[string]string{}
	for name, f := range files {
		if !strings.Contains(name, "/.migrate-") {
			out[name] = f.Text
		}
	}
	return out
}

func allAre(files, want map[string]fileState) bool { return cmp.Equal(texts(files), texts(want)) }

// The timer of the last resort, a shell in the background, for real.
func TestTimerPutsKeysBack(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, shell...)
			before := m.files()
			m.apply(plan.ArmHostTimer)
			if o := m.observe(plan.ArmHostTimer); o.Holds != fleet.TruthYes || !strings.Contains(o.Detail, "does not outlive a reboot") {
				t.Fatalf("armed: %+v", o)
			}
			m.apply(plan.QuarantineKeys)
			// Somebody writes a file anew meanwhile: both contents must open the door.
			m.write("keys/daemon", "ssh-ed25519 AAAAnew new", 0o644, 1)
			m.goOff()
			after := m.files()
			if got, want := after["keys/daemon"].Text, "ssh-ed25519 AAAAnew new\n"+m.old.line+"\n"; got != want {
				t.Errorf("the file that changed is %q, want %q", got, want)
			}
			delete(before, "keys/daemon")
			delete(after, "keys/daemon")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("-before +after: %s", diff)
			}
			if !m.login(m.old) {
				t.Error("the old key does not work")
			}
			if o := m.observe(plan.ArmHostTimer); o.Holds != fleet.TruthNo || !strings.Contains(o.Detail, "went off at") {
				t.Errorf("after it went off: %+v", o)
			}
			if o := m.observe(plan.QuarantineKeys); o.Holds != fleet.TruthNo || !strings.Contains(o.Detail, "the timer put files back") {
				t.Errorf("keys: %+v", o)
			}
			k, s := m.kinds()[plan.DisarmHostTimer], m.step(plan.DisarmHostTimer)
			if o := m.observe(plan.DisarmHostTimer); o.Holds != fleet.TruthNo {
				t.Errorf("disarm: %+v", o)
			}
			if _, err := k.Apply(t.Context(), s, nil, "token"); err == nil || !strings.Contains(err.Error(), "went off") {
				t.Errorf("disarming a timer that went off: %v", err)
			}
			// It can be done again.
			m.write("keys/daemon", m.old.line+"\n", 0o644, 1)
			m.apply(plan.ArmHostTimer)
			m.apply(plan.QuarantineKeys)
			m.apply(plan.DisarmHostTimer)
			if o := m.observe(plan.DisarmHostTimer); o.Holds != fleet.TruthYes {
				t.Errorf("disarmed: %+v", o)
			}
			if o := m.observe(plan.ArmHostTimer); o.Holds != fleet.TruthNo {
				t.Errorf("armed: %+v", o)
			}
			if left, err := filepath.Glob(filepath.Join(m.paths.Base, "*", "waiting.*")); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// goOff makes the waiting shell's timer due now, as it would become by itself,
// and waits for its trace.
func (m *machine) goOff() {
	m.t.Helper()
	folders, err := filepath.Glob(filepath.Join(m.paths.Base, "migrate-*"))
	if err != nil || len(folders) != 1 {
		m.t.Fatalf("folders %v, %v", folders, err)
	}
	armed, err := os.ReadFile(filepath.Join(folders[0], "armed"))
	must(m.t, err)
	due := strings.Fields(string(armed))[0]
	m.stopWaiting(folders[0], due)
	cmd := exec.Command("sh", filepath.Join(folders[0], "restore"), "timer", due)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("the timer fails: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(folders[0], "fired")); err != nil {
		m.t.Fatal(err)
	}
}

// The shell in the background really waits and then acts; disarmed in time, it
// is gone. A second is the shortest that can be waited for.
func TestWaitingShellActsByItself(t *testing.T) {
	m := newMachine(t, "dash")
	m.apply(plan.ArmHostTimer)
	m.apply(plan.QuarantineKeys)
	folders, err := filepath.Glob(filepath.Join(m.paths.Base, "migrate-*"))
	must(t, err)
	// A further timer of the same kind that is due at once.
	due := time.Now().Unix() + 1
	armed := filepath.Join(folders[0], "armed")
	text, err := os.ReadFile(armed)
	must(t, err)
	cmd := exec.Command("setsid", "sh", filepath.Join(folders[0], "restore"), "wait", fmt.Sprint(due))
	must(t, os.WriteFile(armed, append(text, fmt.Sprintf("%d sh 1\n", due)...), 0o600))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !m.login(m.old) {
		t.Error("the old key does not work after the timer")
	}
	// The other timer is not listed any more: it does nothing.
	m.undo(t, plan.ArmHostTimer)
	m.stopWaiting(folders[0], strings.Fields(string(text))[0])
}

// stopWaiting ends the shell that waits for a timer.
func (m *machine) stopWaiting(folder, due string) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "waiting."+due))
	must(m.t, err)
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	must(m.t, err)
	p, err := os.FindProcess(pid)
	must(m.t, err)
	_ = p.Kill()
}

// What a disarming that died had still to remove is removed by the next one.
func TestDisarmingGoesOn(t *testing.T) {
	m := newMachine(t, "dash")
	m.apply(plan.ArmHostTimer)
	folders, err := filepath.Glob(filepath.Join(m.paths.Base, "migrate-*"))
	must(t, err)
	must(t, os.Rename(filepath.Join(folders[0], "armed"), filepath.Join(folders[0], "disarmed")))
	m.undo(t, plan.ArmHostTimer)
	for _, name := range []string{"armed", "disarmed", "waiting.*"} {
		if left, err := filepath.Glob(filepath.Join(folders[0], name)); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}
