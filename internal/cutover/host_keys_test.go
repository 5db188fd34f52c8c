package cutover_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// The whole way on a real server, in the shells that hosts have.
func TestQuarantineAndRestoreOnARealServer(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, shell...)
			before := m.files()
			if !m.login(m.old) || !m.login(m.rescue) {
				t.Fatal("the keys do not work to begin with")
			}
			o := m.observe(plan.QuarantineKeys)
			if o.Holds != fleet.TruthNo || !strings.Contains(o.Detail, "3 of 3 key files") {
				t.Fatalf("before: %+v", o)
			}
			m.apply(plan.ArmHostTimer)
			m.apply(plan.QuarantineKeys)
			if o := m.observe(plan.QuarantineKeys); o.Holds != fleet.TruthYes {
				t.Errorf("after: %+v", o)
			}
			if m.login(m.old) || !m.login(m.rescue) || !m.login(m.waived) {
				t.Error("after the quarantine the old key works, or one that stays does not")
			}
			after := m.files()
			for name, was := range before {
				is := after[name]
				was.Text, is.Text = "", ""
				was.Time = is.Time
				if diff := cmp.Diff(was, is); diff != "" {
					t.Errorf("%s: owner or mode changed: %s", name, diff)
				}
			}
			if got, want := after["keys/root"].Text, m.rescue.line+"\nfrom=\"127.0.0.1\" "+m.waived.line+" waived\n"; got != want {
				t.Errorf("root's file is %q, want %q", got, want)
			}
			if after["keys/daemon"].Text != "" || after["home/games/.ssh/authorized_keys2"].Text != "" {
				t.Error("a key that does not stay is still there")
			}
			m.undo(t, plan.QuarantineKeys)
			if diff := cmp.Diff(before, m.files()); diff != "" {
				t.Errorf("after the restore (-before +after): %s", diff)
			}
			if !m.login(m.old) {
				t.Error("the old key does not work after the restore")
			}
			m.undo(t, plan.QuarantineKeys) // again
			m.undo(t, plan.ArmHostTimer)
			if diff := cmp.Diff(before, m.files()); diff != "" {
				t.Errorf("after a second restore (-before +after): %s", diff)
			}
		})
	}
}

// undo undoes a step and wants it undone.
func (m *machine) undo(t *testing.T, kind plan.Kind) {
	t.Helper()
	k := m.kinds()[kind]
	if err := k.Undo(t.Context(), m.step(kind), nil, nil, "token"); err != nil {
		t.Errorf("undo %s: %v", kind, err)
	}
	if o, err := k.Undone(t.Context(), m.step(kind), nil, nil, "token"); err != nil || o.Holds != fleet.TruthYes {
		t.Errorf("%s is not undone: %+v, %v", kind, o, err)
	}
}

func TestQuarantineRefusesBeforeItsFirstChange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		timer  bool
		change func(m *machine)
		want   string
	}{
		{"no timer", false, func(*machine) {}, "no timer is armed"},
		{"recovery key nowhere", true, func(m *machine) { m.write("keys/root", m.old.line+"\n", 0o600, 0) }, "no file that sshd reads"},
		{"file that sshd ignores", true, func(m *machine) { must(m.t, os.Chmod(m.at("keys/root"), 0o666)) }, "can be written by others"},
		{"folder that sshd ignores", true, func(m *machine) { must(m.t, os.Chmod(m.at("keys"), 0o777)) }, "can be written by others"},
		{"recovery key only in a comment", true, func(m *machine) {
			m.write("keys/root", m.old.line+" "+m.rescue.blob+"\n", 0o600, 0)
		}, "no file that sshd reads"},
		{"before-images cannot be saved", true, func(m *machine) {
			full := m.at("full")
			must(m.t, os.Mkdir(full, 0o700))
			must(m.t, exec.Command("cp", "-a", m.paths.Base+"/.", full).Run())
			must(m.t, exec.Command("mount", "-t", "tmpfs", "-o", "size=28k,mode=700", "tmpfs", m.paths.Base).Run())
			m.t.Cleanup(func() { _ = exec.Command("umount", m.paths.Base).Run() })
			must(m.t, exec.Command("cp", "-a", full+"/.", m.paths.Base).Run())
			m.write("keys/daemon", strings.Repeat(m.old.line+"\n", 300), 0o644, 1)
		}, "cannot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "dash")
			if tt.timer {
				m.apply(plan.ArmHostTimer)
				defer m.undo(t, plan.ArmHostTimer)
			}
			tt.change(m)
			before := m.files()
			_, err := m.kinds()[plan.QuarantineKeys].Apply(t.Context(), m.step(plan.QuarantineKeys), nil, "token")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(before, m.files()); diff != "" {
				t.Errorf("it changed something: %s", diff)
			}
		})
	}
}

// A user may link the name of a key file to any file: only what sshd would read as
// that user is touched.
func TestForeignFilesBehindLinksAreLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		owner  int // of the file behind the link
		change bool
	}{{"root's", 0, false}, {"another user's", 1, false}, {"the user's own", 5, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "dash")
			m.write("precious", m.old.line+"\n", 0o644, tt.owner)
			link := m.at("home/games/.ssh/authorized_keys2")
			must(t, os.Remove(link))
			must(t, os.Symlink(m.at("precious"), link))
			must(t, os.Lchown(link, 5, 5))
			m.apply(plan.ArmHostTimer)
			defer m.undo(t, plan.ArmHostTimer)
			m.apply(plan.QuarantineKeys)
			text, err := os.ReadFile(m.at("precious"))
			if err != nil || (string(text) == "") != tt.change {
				t.Errorf("the file behind the link is %q, %v", text, err)
			}
			if to, err := os.Readlink(link); err != nil || to != m.at("precious") {
				t.Errorf("the link leads to %q, %v", to, err)
			}
			m.undo(t, plan.QuarantineKeys)
			if text, err := os.ReadFile(m.at("precious")); err != nil || string(text) != m.old.line+"\n" {
				t.Errorf("afterwards it is %q, %v", text, err)
			}
		})
	}
}

// Match blocks give single accounts other files.
func TestFilesOfMatchBlocksAreFound(t *testing.T) {
	m := newMachine(t, "busybox", "sh")
	conf, err := os.ReadFile(m.at("sshd_config"))
	must(t, err)
	must(t, os.WriteFile(m.at("sshd_config"), []byte(string(conf)+"Match User games\n\tAuthorizedKeysFile "+m.at("keys")+"/only-%u\n"), 0o600))
	m.write("keys/only-games", m.old.line+"\n", 0o600, 5)
	m.apply(plan.ArmHostTimer)
	defer m.undo(t, plan.ArmHostTimer)
	m.apply(plan.QuarantineKeys)
	files := m.files()
	if files["keys/only-games"].Text != "" || files["home/games/.ssh/authorized_keys2"].Text == "" {
		t.Errorf("the Match block's file was not found, or one that sshd does not read was taken for one: %+v", files)
	}
	m.undo(t, plan.QuarantineKeys)
}

func TestRestoreKeepsWhatOthersChanged(t *testing.T) {
	m := newMachine(t, "dash")
	m.apply(plan.ArmHostTimer)
	m.apply(plan.QuarantineKeys)
	const theirs = "ssh-ed25519 AAAAtheirs somebody\n"
	m.write("keys/daemon", theirs, 0o644, 1)
	k := m.kinds()[plan.QuarantineKeys]
	err := k.Undo(t.Context(), m.step(plan.QuarantineKeys), nil, nil, "token")
	if !errors.Is(err, cutover.ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
	if o, err := k.Undone(t.Context(), m.step(plan.QuarantineKeys), nil, nil, "token"); err != nil || o.Holds != fleet.TruthNo || !strings.Contains(o.Detail, "somebody changed 1") {
		t.Errorf("undone: %+v, %v", o, err)
	}
	if got := m.files()["keys/daemon"].Text; got != theirs {
		t.Errorf("their file became %q", got)
	}
	if !m.login(m.old) {
		t.Error("the other files were not put back")
	}
	m.undo(t, plan.ArmHostTimer)
}

func TestRecoveryKeyComesAndGoes(t *testing.T) {
	for _, shell := range shells {
		for name, text := range map[string]*string{"no file": nil, "empty": ptr(""), "no newline at the end": ptr("# x\nssh-ed25519 AAAA someone"), "others": ptr("\n# x\nssh-ed25519 AAAA someone\n\n")} {
			t.Run(shell[0]+" "+name, func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, shell...)
				if text == nil {
					must(t, os.Remove(m.at("keys/root")))
				} else {
					m.write("keys/root", *text, 0o640, 0)
				}
				before := m.files()
				k, s := m.kinds()[plan.RecoveryKey], m.step(plan.RecoveryKey)
				was := m.observe(plan.RecoveryKey)
				if was.Holds != fleet.TruthNo {
					t.Fatalf("before: %+v", was)
				}
				for range 2 { // a repeat changes nothing
					if _, err := k.Apply(t.Context(), s, was.Image, "token"); err != nil {
						t.Fatal(err)
					}
				}
				if o := m.observe(plan.RecoveryKey); o.Holds != fleet.TruthYes {
					t.Errorf("after: %+v", o)
				}
				if !m.login(m.rescue) {
					t.Error("the recovery key does not open the host")
				}
				if n := strings.Count(m.files()["keys/root"].Text, m.rescue.line); n != 1 {
					t.Errorf("the line is there %d times", n)
				}
				if err := k.Undo(t.Context(), s, was.Image, nil, "token"); err != nil {
					t.Fatal(err)
				}
				if o, err := k.Undone(t.Context(), s, was.Image, nil, "token"); err != nil || o.Holds != fleet.TruthYes {
					t.Errorf("undone: %+v, %v", o, err)
				}
				after := m.files()
				for f := range after {
					a, b := after[f], before[f]
					a.Time = b.Time
					after[f] = a
				}
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("-before +after: %s", diff)
				}
			})
		}
	}
}

func ptr[T any](v T) *T { return &v }
