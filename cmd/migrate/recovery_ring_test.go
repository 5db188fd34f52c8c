package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sqlite"
)

// askingStore is a ring behind somebody who is asked for a passphrase: meanwhile
// is what happens until the answer of each time.
type askingStore struct {
	*brokenStore
	asked     int
	meanwhile map[int]func()
}

func (s *askingStore) Load(ctx context.Context) ([][]byte, error) {
	ring, err := s.brokenStore.Load(ctx) // the file is read before somebody is asked
	s.asked++
	if f := s.meanwhile[s.asked]; f != nil {
		f()
	}
	return ring, err
}

func (s *brokenStore) blobs(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, text := range s.ring {
		line, err := seal.PublicLine(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, recovery.Blob(line))
	}
	return out
}

// oneKey is a state file with one recovery key, and the place of that key.
func oneKey(t *testing.T) (*recoveryBase, *brokenStore) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "migrate.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	text, line, err := seal.NewKey("recovery")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SaveRecoveryKey(t.Context(), fleet.RecoveryKey{Line: line, Location: "here", Made: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return &recoveryBase{db: db}, &brokenStore{ring: [][]byte{text}}
}

// rotated carries out a whole rotation of somebody else, but for the hosts.
func rotated(t *testing.T, b *recoveryBase, store *brokenStore) (newest string) {
	t.Helper()
	if err := (&app{}).nextGeneration(t.Context(), b, store); err != nil {
		t.Fatal(err)
	}
	keys, err := b.db.RecoveryKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range inUse(keys)[1:] {
		k.Retired = time.Now()
		if err := b.db.SaveRecoveryKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dropRetired(t.Context(), b, store); err != nil {
		t.Fatal(err)
	}
	return recovery.Blob(keys[0].Line)
}

// While one operator is asked for the passphrase, another one rotates the key. The
// key that hosts take then must not be overwritten.
func TestAnotherRotationWhileThePassphraseIsAskedFor(t *testing.T) {
	b, store := oneKey(t)
	var theirs string
	slow := &askingStore{brokenStore: store, meanwhile: map[int]func(){1: func() { theirs = rotated(t, b, store) }}}
	if err := (&app{}).nextGeneration(t.Context(), b, slow); err != nil {
		t.Error(err)
	}
	got := store.blobs(t)
	if len(got) != 2 || got[1] != theirs {
		t.Errorf("kept are %q; the key on hosts is %s", got, theirs)
	}
	keys, err := b.db.RecoveryKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now := inUse(keys); len(now) != 2 || recovery.Blob(now[0].Line) != got[0] || recovery.Blob(now[1].Line) != theirs {
		t.Errorf("in use: %+v", now)
	}
}

// Who lost the lease under way keeps and notes nothing.
func TestNothingIsKeptWithoutTheLease(t *testing.T) {
	for name, work := range map[string]func(*recoveryBase, seal.Store) error{
		"a new generation": func(b *recoveryBase, s seal.Store) error { return (&app{}).nextGeneration(t.Context(), b, s) },
		"a retired one": func(b *recoveryBase, s seal.Store) error {
			_, err := dropRetired(t.Context(), b, s)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, store := oneKey(t)
			if err := (&app{}).nextGeneration(t.Context(), b, store); err != nil {
				t.Fatal(err)
			}
			keys, err := b.db.RecoveryKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			keys[1].Retired = time.Now()
			if err := b.db.SaveRecoveryKey(t.Context(), keys[1]); err != nil {
				t.Fatal(err)
			}
			before := store.blobs(t)
			slow := &askingStore{brokenStore: store, meanwhile: map[int]func(){2: func() {
				for fence := range int64(9) {
					if err := b.db.Release(t.Context(), fence); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := b.db.Acquire(t.Context(), "somebody else", time.Hour); err != nil {
					t.Fatal(err)
				}
			}}}
			if err := work(b, slow); !errors.Is(err, cutover.ErrLease) {
				t.Errorf("got %v", err)
			}
			if got := store.blobs(t); !slices.Equal(got, before) {
				t.Errorf("kept are %q, before %q", got, before)
			}
			if after, err := b.db.RecoveryKeys(t.Context()); err != nil || len(after) != 2 {
				t.Errorf("noted: %+v, %v", after, err)
			}
		})
	}
}

func keyStep(id string, k plan.Kind, h fleet.HostRef, c plan.KeyChange) plan.Step {
	return plan.Step{ID: id, Kind: k, Hosts: []fleet.HostRef{h}, Key: &c}
}

// A rotation that stopped midway is gone on with only while it is about all hosts.
func TestRotationsThatAreTakenUpAgain(t *testing.T) {
	host := func(id string) fleet.HostRef { return fleet.HostRef{Account: "1", Region: "r", ID: id} }
	const old, next = "ssh-ed25519 AAAAold recovery", "ssh-ed25519 AAAAnext recovery"
	rotation := func(id string, hosts ...string) *plan.Plan {
		p := &plan.Plan{ID: id, Purpose: plan.Rotation, Waves: []plan.Wave{{}}}
		for _, h := range hosts {
			p.Waves[0].Steps = append(p.Waves[0].Steps, keyStep("retire "+h, plan.RetireKey, host(h), plan.KeyChange{Line: next, Old: []string{"AAAAold"}}))
		}
		return p
	}
	begun := rotation("begun", "i-1", "i-2")
	for _, test := range []struct {
		name string
		next *plan.Plan
		want bool
	}{
		{"the same", rotation("next", "i-2", "i-1"), true},
		{"a host more", rotation("next", "i-1", "i-2", "i-3"), false},
		{"a host less", rotation("next", "i-1"), false},
		{"another host", rotation("next", "i-1", "i-3"), false},
	} {
		if got := sameRotation(begun, test.next); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	refused := rotation("next", "i-1", "i-2")
	refused.Refusals = []plan.Refusal{{Host: host("i-3"), Code: "not-running"}}
	if sameRotation(begun, refused) {
		t.Error("a host that does not run is passed over")
	}

	cut := &plan.Plan{ID: "cutover", Waves: []plan.Wave{{Steps: []plan.Step{
		keyStep("put i-1", plan.RecoveryKey, host("i-1"), plan.KeyChange{Line: old}), keyStep("put i-3", plan.RecoveryKey, host("i-3"), plan.KeyChange{Line: next}),
	}}}}
	entry := func(p, step string) cutover.Entry { return cutover.Entry{Plan: p, Step: step, Event: cutover.Intended} }
	for _, test := range []struct {
		name    string
		entries []cutover.Entry
		want    []fleet.HostRef
	}{
		{"before", []cutover.Entry{entry("cutover", "put i-1"), entry("begun", "retire i-1")}, nil},
		{"after", []cutover.Entry{entry("begun", "retire i-1"), entry("cutover", "put i-1")}, []fleet.HostRef{host("i-1")}},
		{"the new key", []cutover.Entry{entry("begun", "retire i-1"), entry("cutover", "put i-3")}, nil},
	} {
		if got := putBack(begun, []*plan.Plan{begun, cut}, test.entries); !slices.Equal(got, test.want) {
			t.Errorf("put back %s: %v, want %v", test.name, got, test.want)
		}
	}
}

// What a run does to hosts goes by the generations that it was opened with: one
// that waited for a person meanwhile does not begin.
func TestRunsDoNotBeginWithStaleKeys(t *testing.T) {
	b, store := oneKey(t)
	keys, err := b.db.RecoveryKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &execution{db: b.db, world: &changeWorld{keys: keys}}
	called := 0
	begin := e.sameKeys(func(context.Context) error { called++; return nil })
	if err := begin(t.Context()); err != nil || called != 1 {
		t.Errorf("%v, called %d times", err, called)
	}
	rotated(t, b, store)
	if err := begin(t.Context()); err == nil || called != 1 {
		t.Errorf("it begins, called %d times", called)
	}
}

// A rotation is not rolled back to a key that nobody has.
func TestRotationIsRolledBackOnlyToAKeyThatIsKept(t *testing.T) {
	b, store := oneKey(t)
	if err := (&app{}).nextGeneration(t.Context(), b, store); err != nil {
		t.Fatal(err)
	}
	blobs := store.blobs(t)
	p := &plan.Plan{ID: "rotation", Purpose: plan.Rotation, Waves: []plan.Wave{{Steps: []plan.Step{
		keyStep("a", plan.RetireKey, fleet.HostRef{ID: "i-1"}, plan.KeyChange{Line: "ssh-ed25519 " + blobs[0], Old: blobs[1:]}),
	}}}}
	if err := oldKeyKept(t.Context(), b.db, store, p); err != nil {
		t.Error(err)
	}
	store.ring = store.ring[:1]
	if err := oldKeyKept(t.Context(), b.db, store, p); err == nil {
		t.Error("hosts would get a key back that is not kept")
	}
}
