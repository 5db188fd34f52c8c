package cutover_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/plan"
)

// exchanges are what a user can put in the place of a key file of theirs, or of
// the folder around it. The last one needs fs.protected_hardlinks=0: root plays it.
var exchanges = []string{"file", "parent", "folder", "nothing", "hard"}

const secret = "root:$6$secret:19000::::::"

// arms makes a folder of programs that let the user games exchange the key file
// at a call that has to do with it: before it, and back after it if FOR is "call".
func (m *machine) arms() (path, counter string) {
	m.t.Helper()
	dir, counter := m.at("arms"), m.at("calls")
	must(m.t, os.MkdirAll(dir, 0o755))
	m.write("exchange", `#!/bin/dash
set -e
PATH=/usr/bin:/bin
home=$1 victims=$2 what=$3
f=$home/.ssh/authorized_keys2
if [ "$4" = back ]; then
	if [ -e "$home/mine.d" ]; then rm -rf "$home/.ssh"; mv -T "$home/mine.d" "$home/.ssh"; fi
	if [ -e "$home/mine" ]; then rm -rf "$f"; mv -T "$home/mine" "$f"; fi
	exit
fi
if [ "$what" = parent ]; then
	[ ! -e "$home/.ssh" ] || mv -T "$home/.ssh" "$home/mine.d"
	ln -s "$victims" "$home/.ssh"
	exit
fi
[ ! -e "$f" ] || mv -T "$f" "$home/mine"
case $what in
file) ln -s "$victims/authorized_keys2" "$f" ;;
folder) ln -s "$victims" "$f" ;;
nothing) ln -s "$victims/new" "$f" ;;
hard) ln "$victims/authorized_keys2" "$f" ;;
esac
`, 0o755, 0)
	programs := []string{"ln", "cp", "mv", "cat", "mkdir", "chown"}
	if *everyCall {
		programs = append([]string{"ln", "sha256sum", "readlink", "stat"}, changers...)
	}
	for _, name := range programs {
		real, err := exec.LookPath(name)
		must(m.t, err)
		must(m.t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, `#!/bin/dash
case "$AT $PWD $*" in
[1-9]*games* | [1-9]*files/* | [1-9]*key-model*)
	echo x >>%[1]s
	if [ "$(/usr/bin/wc -l <%[1]s)" -eq "$AT" ]; then
		as='setpriv --reuid=5 --regid=5 --clear-groups'
		[ "$WHAT" != hard ] || as=''
		$as %[2]s %[3]s %[4]s "$WHAT" </dev/null >/dev/null 2>&1
		%[5]s "$@"
		code=$?
		[ "$FOR" != call ] || $as %[2]s %[3]s %[4]s "$WHAT" back </dev/null >/dev/null 2>&1
		exit $code
	fi ;;
esac
exec %[5]s "$@"
`, counter, m.at("exchange"), m.at("home/games"), m.at("victims"), real), 0o755))
	}
	return dir, counter
}

// everything gives the files below a folder: owner, mode and content.
func (m *machine) everything(dir string) map[string]string {
	m.t.Helper()
	out := map[string]string{}
	must(m.t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			if text, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		sys := info.Sys().(*syscall.Stat_t)
		out[p] = fmt.Sprintf("%d:%d %s %s", sys.Uid, sys.Gid, info.Mode(), text)
		return nil
	}))
	return out
}

// Whatever a user puts in the place of a key file while root works on it: no file
// of root's changes, none comes into being, and none is told to the user.
func TestExchangedKeyFilesLeadRootNowhere(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other programs only, many times")
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Fatal("setpriv is missing: apt-get install util-linux")
	}
	// One exchange at every call; with -every-call, all of them.
	for _, tt := range []struct {
		shell, way, what, during string
	}{
		{"dash", "quarantine", "file", "ever"},
		{"dash", "restore", "parent", "ever"},
		{"dash", "key", "file", "call"},
		{"dash", "first key", "parent", "ever"},
		{"busybox", "quarantine", "hard", "ever"},
		{"busybox", "key", "parent", "call"},
		{"bash", "restore", "folder", "ever"},
		{"bash", "quarantine", "nothing", "ever"},
	} {
		t.Run(tt.shell+" "+tt.way, func(t *testing.T) {
			t.Parallel()
			shell := []string{tt.shell}
			if tt.shell == "busybox" {
				shell = append(shell, "sh")
			}
			if !*everyCall {
				exchangeEverywhere(t, shell, tt.way, tt.what, tt.during)
				return
			}
			for _, what := range exchanges {
				for _, during := range []string{"call", "ever"} {
					exchangeEverywhere(t, shell, tt.way, what, during)
				}
			}
		})
	}
}

func exchangeEverywhere(t *testing.T, shell []string, way, what, during string) {
	m := newMachine(t, shell...)
	dir, counter := m.arms()
	m.paths.Search = dir + ":" + os.Getenv("PATH")
	const file = "home/games/.ssh/authorized_keys2"
	reset := func() {
		must(t, os.RemoveAll(m.at("home/games")))
		must(t, os.MkdirAll(m.at("home/games/.ssh"), 0o700))
		must(t, os.Chown(m.at("home/games"), 5, 5))
		must(t, os.Chown(m.at("home/games/.ssh"), 5, 5))
		m.write(file, m.old.line+"\n", 0o600, 5)
	}
	must(t, os.Chmod(m.at("home"), 0o755))
	must(t, os.Mkdir(m.at("victims"), 0o755))
	m.write("victims/authorized_keys2", secret+"\n", 0o600, 0)
	kind, s := plan.QuarantineKeys, m.step(plan.QuarantineKeys)
	if strings.HasSuffix(way, "key") {
		conf, err := os.ReadFile(m.at("sshd_config"))
		must(t, err)
		must(t, os.WriteFile(m.at("sshd_config"), append(conf, "Match User games\n\tAuthorizedKeysFile "+m.at(file)+"\n"...), 0o600))
		kind, s = plan.RecoveryKey, m.step(plan.RecoveryKey)
		s.Key.User = "games"
	} else {
		m.apply(plan.ArmHostTimer)
		defer m.undo(t, plan.ArmHostTimer)
	}
	k := m.kinds()[kind]
	victims := m.everything(m.at("victims"))
	met := 0
	for at := 1; ; at++ {
		env := append(os.Environ(), fmt.Sprintf("AT=%d", at), "WHAT="+what, "FOR="+during)
		reset()
		_ = os.Remove(counter)
		switch way {
		case "restore":
			m.apply(kind)
			m.write(file, "ssh-ed25519 AAAAnew new\n", 0o600, 5)
			saved, err := filepath.Glob(filepath.Join(m.paths.Base, "migrate-*", "restore"))
			if err != nil || len(saved) != 1 {
				t.Fatalf("saved scripts %v, %v", saved, err)
			}
			cmd := exec.Command(shell[0], append(shell[1:len(shell):len(shell)], saved[0], "now")...)
			cmd.Env = env
			_ = cmd.Run() // it may well fail
		default:
			if way == "first key" {
				must(t, os.RemoveAll(m.at("home/games/.ssh")))
			}
			was := m.observeStep(kind, s)
			m.with(env)
			_, err := k.Apply(t.Context(), s, was, "token")
			if kind == plan.RecoveryKey && err == nil {
				_ = k.Undo(t.Context(), s, was, nil, "token")
			}
			m.with(nil)
		}
		if diff := cmp.Diff(victims, m.everything(m.at("victims"))); diff != "" {
			t.Fatalf("%s for %s at call %d: what is root's changed: %s", what, during, at, diff)
		}
		for p, f := range m.everything(m.at("home/games")) {
			if strings.Contains(f, secret) && !strings.HasPrefix(f, "0:0 -rw------- ") {
				t.Fatalf("%s for %s at call %d: %s tells what is root's: %s", what, during, at, p, f)
			}
		}
		calls, _ := os.ReadFile(counter)
		if strings.Count(string(calls), "x") < at {
			break // it has fewer calls
		}
		met++
		reset()
		if kind == plan.QuarantineKeys {
			_ = m.kinds()[kind].Undo(t.Context(), s, nil, nil, "token")
		}
	}
	if met < 4 {
		t.Errorf("only %d calls were met", met)
	}
}

// with sets the environment of the next scripts.
func (m *machine) with(env []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = func(cmd *exec.Cmd) { cmd.Env = env }
}

func (m *machine) observeStep(kind plan.Kind, s plan.Step) []byte {
	m.t.Helper()
	o, err := m.kinds()[kind].Observe(m.t.Context(), s)
	must(m.t, err)
	return o.Image
}
