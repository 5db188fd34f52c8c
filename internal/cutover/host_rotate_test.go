package cutover_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// rotation is a machine whose keys a cutover has quarantined, and the plan that
// gives it another recovery key.
type rotation struct {
	*machine
	next    key
	first   *plan.Plan // the cutover
	second  *plan.Plan // the rotation
	retired bool       // the first generation is out of use
	images  map[string]json.RawMessage
}

const restricted = `restrict,pty,from="127.0.0.0/8" `

// newRotation makes a machine that never had a recovery key, gives it one, and
// quarantines the others.
func newRotation(t *testing.T, shell ...string) (r *rotation, before map[string]fileState) {
	t.Helper()
	m := newMachine(t, shell...)
	r = &rotation{machine: m, next: m.newKey("next"), first: m.plan, images: map[string]json.RawMessage{}}
	r.second = &plan.Plan{Digest: "rotation " + m.root, Purpose: plan.Rotation, Policy: plan.DefaultPolicy()}
	r.second.Policy.Recovery.PublicKey = r.next.line
	m.write("keys/root", "# mine\n"+m.old.line+"\n\nfrom=\"127.0.0.1\" "+m.waived.line+" waived", 0o600, 0)
	before = m.files()
	r.do(r.first, plan.RecoveryKey)
	r.do(r.first, plan.ArmHostTimer)
	r.do(r.first, plan.QuarantineKeys)
	return r, before
}

func (r *rotation) kindsOf(p *plan.Plan) cutover.Kinds {
	generations := []fleet.RecoveryKey{{Line: r.rescue.line}}
	if p == r.second || r.images["new key"] != nil {
		generations = []fleet.RecoveryKey{{Line: r.next.line}, {Line: r.rescue.line}}
	}
	if r.retired {
		generations[1].Retired = generations[1].Retired.AddDate(2000, 0, 0)
	}
	return cutover.HostKinds(cutover.HostWorld{
		Hosts: r.machine, Plan: p, Paths: r.paths, Generations: generations,
		Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true },
	})
}

func (r *rotation) stepOf(p *plan.Plan, kind plan.Kind) plan.Step {
	s := r.step(kind)
	s.Key = &plan.KeyChange{User: "root", Line: restricted + r.rescue.line}
	if p == r.second {
		s.Key = &plan.KeyChange{User: "root", Line: restricted + r.next.line, Old: []string{r.rescue.blob}}
	}
	return s
}

func (r *rotation) look(p *plan.Plan, kind plan.Kind) cutover.Observation {
	r.t.Helper()
	o, err := r.kindsOf(p)[kind].Observe(r.t.Context(), r.stepOf(p, kind))
	if err != nil {
		r.t.Fatalf("observe %s: %v", kind, err)
	}
	return o
}

func imageKey(p *plan.Plan, kind plan.Kind) string { return p.Digest + string(kind) }

// do brings a condition about, and keeps its before-image.
func (r *rotation) do(p *plan.Plan, kind plan.Kind) {
	r.t.Helper()
	if _, again := r.images[imageKey(p, kind)]; !again {
		r.images[imageKey(p, kind)] = r.look(p, kind).Image
	}
	if p == r.second {
		r.images["new key"] = json.RawMessage("{}")
	}
	if err := r.try(p, kind); err != nil {
		r.t.Fatalf("%s: %v", kind, err)
	}
	if o := r.look(p, kind); o.Holds != fleet.TruthYes {
		r.t.Fatalf("%s does not hold: %+v", kind, o)
	}
}

func (r *rotation) try(p *plan.Plan, kind plan.Kind) error {
	_, err := r.kindsOf(p)[kind].Apply(r.t.Context(), r.stepOf(p, kind), r.images[imageKey(p, kind)], "token")
	return err
}

func (r *rotation) tryBack(p *plan.Plan, kind plan.Kind) error {
	return r.kindsOf(p)[kind].Undo(r.t.Context(), r.stepOf(p, kind), r.images[imageKey(p, kind)], nil, "token")
}

func (r *rotation) takeBack(p *plan.Plan, kind plan.Kind) {
	r.t.Helper()
	if err := r.tryBack(p, kind); err != nil {
		r.t.Fatalf("undo %s: %v", kind, err)
	}
	o, err := r.kindsOf(p)[kind].Undone(r.t.Context(), r.stepOf(p, kind), r.images[imageKey(p, kind)], nil, "token")
	if err != nil || o.Holds != fleet.TruthYes {
		r.t.Fatalf("%s is not undone: %+v, %v", kind, o, err)
	}
	if p == r.second && kind == plan.RecoveryKey {
		delete(r.images, "new key")
	}
}

// saved gives every file below the root-only folders, those of the timer left out.
func (r *rotation) saved() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(r.paths.Base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, r.paths.Base)] = string(text)
		return err
	})
	must(r.t, err)
	return out
}

// noKey wants no file, live or saved, to have a key in a line.
func (r *rotation) noKey(k key) {
	r.t.Helper()
	for name, f := range r.files() {
		if strings.Contains(f.Text, k.line) {
			r.t.Errorf("%s still has the key", name)
		}
	}
	for name, text := range r.saved() {
		if strings.Contains(text, k.blob) && !strings.Contains(name, "new-key") && !strings.Contains(text, `command="echo `+k.blob) {
			r.t.Errorf("%s still has the key:\n%s", name, text)
		}
	}
}

// same wants all key files to be as they were, whenever they were written.
func (r *rotation) same(what string, want map[string]fileState) {
	r.t.Helper()
	got := r.files()
	for name, f := range got {
		if strings.Contains(name, "/.migrate-") {
			delete(got, name) // the folder in which a script that died prepared files
			continue
		}
		if w, ok := want[name]; ok {
			f.Time = w.Time
			got[name] = f
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s (-want +got): %s", what, diff)
	}
}

// A rotation on a real server, and what a rollback of the cutover makes of it.
func TestRotationOnARealServer(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			r, before := newRotation(t, shell...)
			defer r.takeBack(r.first, plan.ArmHostTimer)
			if r.login(r.old) || !r.login(r.rescue) || r.login(r.next) {
				t.Fatal("after the cutover")
			}
			r.do(r.second, plan.RecoveryKey)
			if !r.login(r.rescue) || !r.login(r.next) {
				t.Fatal("one of the two generations does not work")
			}
			for _, k := range []plan.Kind{plan.RecoveryKey, plan.QuarantineKeys} {
				if o := r.look(r.first, k); o.Holds != fleet.TruthYes {
					t.Errorf("for the cutover, %s holds no longer: %+v", k, o)
				}
			}
			r.do(r.second, plan.RetireKey)
			if r.login(r.rescue) || !r.login(r.next) {
				t.Error("after the rotation the old key works, or the new one does not")
			}
			r.noKey(r.rescue)
			r.retired = true
			for _, k := range []plan.Kind{plan.RecoveryKey, plan.QuarantineKeys} {
				if o := r.look(r.first, k); o.Holds != fleet.TruthYes {
					t.Errorf("for the cutover, %s holds no longer: %+v", k, o)
				}
			}
			r.takeBack(r.first, plan.QuarantineKeys)
			if !r.login(r.old) || !r.login(r.next) || r.login(r.rescue) {
				t.Error("after the rollback of the quarantine")
			}
			if got, want := r.files()["keys/root"].Text, before["keys/root"].Text+"\n"+restricted+r.next.line+"\n"; got != want {
				t.Errorf("root's file is %q, want %q", got, want)
			}
			r.takeBack(r.first, plan.RecoveryKey)
			r.same("after the rollback of the cutover", before)
		})
	}
}

// A rotation that is rolled back leaves what it found, saved files included.
func TestRotationBackOnARealServer(t *testing.T) {
	r, before := newRotation(t, "dash")
	defer r.takeBack(r.first, plan.ArmHostTimer)
	closed := r.files()
	r.do(r.second, plan.RecoveryKey)
	both := r.files()
	r.do(r.second, plan.RetireKey)
	r.takeBack(r.second, plan.RetireKey)
	r.same("with the old key back", both)
	if !r.login(r.rescue) || !r.login(r.next) {
		t.Error("one of the two generations does not work")
	}
	r.takeBack(r.second, plan.RecoveryKey)
	r.same("after the rotation's rollback", closed)
	r.noKey(r.next)
	r.takeBack(r.first, plan.QuarantineKeys)
	r.takeBack(r.first, plan.RecoveryKey)
	r.same("after the cutover's rollback", before)

	// What was retired for good is not brought back.
	r.do(r.first, plan.RecoveryKey)
	r.do(r.second, plan.RecoveryKey)
	r.do(r.second, plan.RetireKey)
	r.retired = true
	if err := r.tryBack(r.second, plan.RetireKey); err == nil {
		t.Error("a key whose private part is gone was put back")
	}
}

// The old key stays where sshd would not take the new one.
func TestOldKeyStaysWithoutTheNewOne(t *testing.T) {
	for name, change := range map[string]func(*rotation){
		"it is not there": func(r *rotation) {
			r.write("keys/root", restricted+r.rescue.line+"\n", 0o600, 0)
		},
		"sshd ignores its file": func(r *rotation) { must(r.t, os.Chmod(r.at("keys/root"), 0o666)) },
		"its file has other bytes": func(r *rotation) {
			text := r.files()["keys/root"].Text
			r.write("keys/root", text+"# \x00\n", 0o600, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRotation(t, "dash")
			defer r.takeBack(r.first, plan.ArmHostTimer)
			r.do(r.second, plan.RecoveryKey)
			change(r)
			if o := r.look(r.second, plan.RetireKey); o.Holds != fleet.TruthNo {
				t.Errorf("observed: %+v", o)
			}
			if err := r.try(r.second, plan.RetireKey); err == nil {
				t.Error("it was retired")
			}
			if !strings.Contains(r.files()["keys/root"].Text, r.rescue.blob) {
				t.Error("the old key is gone")
			}
		})
	}
}

// A rotation that dies anywhere leaves a host that a recovery key opens, that
// goes on and back, and whose cutover a rollback takes back byte for byte.
func TestRotationsThatDieAnywhereCanGoOnAndBack(t *testing.T) {
	stride := 97
	first := 20
	if *everyCall {
		stride, first = 1, 1
	}
	for i, kind := range []plan.Kind{plan.RecoveryKey, plan.RetireKey} {
		for j, shell := range shells {
			t.Run(fmt.Sprintf("%s %s", kind, shell[0]), func(t *testing.T) {
				t.Parallel()
				for n := first + 29*(2*i+j)*min(1, stride-1); ; n += stride {
					if !dieInRotation(t, kind, n, shell) {
						break
					}
				}
			})
		}
	}
}

func dieInRotation(t *testing.T, kind plan.Kind, n int, shell []string) (died bool) {
	t.Helper()
	r, before := newRotation(t, shell...)
	defer r.takeBack(r.first, plan.ArmHostTimer)
	dir, counter := r.tools()
	r.paths.Search = dir + ":" + os.Getenv("PATH")
	if kind == plan.RetireKey {
		r.do(r.second, plan.RecoveryKey)
	}
	r.images[imageKey(r.second, kind)] = r.look(r.second, kind).Image
	r.images["new key"] = json.RawMessage("{}")
	r.killed(n, counter)
	err := r.try(r.second, kind)
	r.killed(0, counter)
	if err == nil {
		return false
	}
	if !slices.ContainsFunc([]key{r.rescue, r.next}, r.login) {
		t.Fatalf("dead at %d: no recovery key works", n)
	}
	if r.login(r.old) {
		t.Fatalf("dead at %d: the quarantine is open", n)
	}
	switch n % 3 {
	case 0: // it goes on
		r.do(r.second, kind)
		if kind == plan.RetireKey {
			r.noKey(r.rescue)
		}
	case 1: // it goes back
		r.takeBack(r.second, kind)
	} // or somebody rolls the cutover back, without knowing
	r.takeBack(r.first, plan.QuarantineKeys)
	if !slices.ContainsFunc([]key{r.rescue, r.next}, r.login) || !r.login(r.old) {
		t.Fatalf("dead at %d, then rolled back: a key does not work", n)
	}
	r.images["new key"] = json.RawMessage("{}")
	r.takeBack(r.first, plan.RecoveryKey)
	r.same(fmt.Sprintf("dead at %d, then rolled back", n), before)
	return true
}

// What is made new gets the SELinux context that the host's policy has for it;
// what is there keeps its own.
func TestNewKeyFilesGetTheirContext(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		there                 bool // the key file
		restorecon, chcon, on bool
		want                  string // called with
		refused               bool
	}{
		{name: "new, with restorecon", on: true, restorecon: true, want: "restorecon /%s/keys/root\n"},
		{name: "new, with chcon alone", on: true, chcon: true, want: "chcon -h --reference=/%s/keys /%[1]s/keys/root\n"},
		{name: "new, with neither", on: true, refused: true},
		{name: "new, without SELinux", restorecon: true},
		{name: "there already", there: true, on: true, restorecon: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "dash")
			if !tt.there {
				must(t, os.Remove(m.at("keys/root")))
			}
			tools, log := m.at("selinux-tools"), m.at("called")
			must(t, os.MkdirAll(tools, 0o755))
			for name, works := range map[string]bool{"restorecon": tt.restorecon, "chcon": tt.chcon} {
				text := "#!/bin/sh\nexit 1\n"
				if works {
					text = "#!/bin/sh\necho " + name + " \"$@\" >>" + log + "\n"
				}
				must(t, os.WriteFile(filepath.Join(tools, name), []byte(text), 0o755))
			}
			m.paths.Search, m.paths.SELinux = tools+":"+os.Getenv("PATH"), m.at("selinuxfs")
			if tt.on {
				must(t, os.MkdirAll(m.paths.SELinux, 0o755))
				must(t, os.WriteFile(filepath.Join(m.paths.SELinux, "enforce"), []byte("1"), 0o644))
			}
			_, err := m.kinds()[plan.RecoveryKey].Apply(t.Context(), m.step(plan.RecoveryKey), nil, "token")
			if (err != nil) != tt.refused {
				t.Errorf("apply: %v", err)
			}
			called, _ := os.ReadFile(log)
			want := tt.want
			if want != "" {
				want = fmt.Sprintf(want, strings.TrimPrefix(m.root, "/"))
			}
			if string(called) != want {
				t.Errorf("called %q, want %q", called, want)
			}
		})
	}
}

// A cutover that goes on after a rotation does not bring the retired key to
// hosts that the rotation did not know.
func TestRetiredKeyIsNotPutOnHosts(t *testing.T) {
	r, before := newRotation(t, "dash")
	defer r.takeBack(r.first, plan.ArmHostTimer)
	r.takeBack(r.first, plan.QuarantineKeys)
	r.takeBack(r.first, plan.RecoveryKey)
	r.images["new key"], r.retired = json.RawMessage("{}"), true // rotated elsewhere
	kinds, s := r.kindsOf(r.first), r.stepOf(r.first, plan.RecoveryKey)
	for name, f := range map[string]func() error{
		"observe": func() error { _, err := kinds[plan.RecoveryKey].Observe(t.Context(), s); return err },
		"apply":   func() error { return r.try(r.first, plan.RecoveryKey) },
	} {
		if err := f(); !errors.Is(err, cutover.ErrStale) || !strings.Contains(err.Error(), "its recovery key was retired: make a new plan") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.same("after the try", before)

	// Nor does it count where it is.
	r.write("keys/root", restricted+r.rescue.line+"\n", 0o600, 0)
	if _, err := kinds[plan.RecoveryKey].Observe(t.Context(), s); !errors.Is(err, cutover.ErrStale) {
		t.Errorf("the retired key counts: %v", err)
	}
}
