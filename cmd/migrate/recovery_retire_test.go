package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sqlite"
)

// brokenStore is a ring whose next saves fail.
type brokenStore struct {
	ring  [][]byte
	fails int
}

func (s *brokenStore) Load(context.Context) ([][]byte, error) {
	var out [][]byte
	for _, k := range s.ring {
		out = append(out, append([]byte(nil), k...))
	}
	return out, nil
}

func (s *brokenStore) Save(_ context.Context, ring [][]byte) error {
	if s.fails > 0 {
		s.fails--
		return errors.New("the disk is full")
	}
	s.ring = nil
	for _, k := range ring {
		s.ring = append(s.ring, append([]byte(nil), k...))
	}
	return nil
}

func (s *brokenStore) Location() string { return "here" }

// A key is noted as retired before its private part goes: whoever comes after a
// crash in between must not put it back on hosts. The next run lets it go.
func TestKeysAreNotedBeforeTheyGo(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "migrate.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := &brokenStore{fails: 1}
	var keys []fleet.RecoveryKey
	for i := range 2 {
		text, line, err := seal.NewKey("recovery")
		if err != nil {
			t.Fatal(err)
		}
		k := fleet.RecoveryKey{Line: line, Location: "here", Made: time.Now().Add(time.Duration(i) * time.Second)}
		if err := db.SaveRecoveryKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		store.ring = append([][]byte{text}, store.ring...)
		keys = append([]fleet.RecoveryKey{k}, keys...)
	}
	p := &plan.Plan{ID: "0123456789ab", Purpose: plan.Rotation, Waves: []plan.Wave{{Steps: []plan.Step{{
		Kind: plan.RetireKey, Key: &plan.KeyChange{Line: keys[0].Line, Old: []string{recovery.Blob(keys[1].Line)}},
	}}}}}
	p.Policy.Recovery.PublicKey = keys[0].Line
	b := &recoveryBase{db: db}
	if _, err := retireGenerations(t.Context(), b, store, p); err == nil {
		t.Fatal("a key that stays where it is has gone")
	}
	noted, err := db.RecoveryKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(store.ring) != 2 || len(inUse(noted)) != 1 || inUse(noted)[0].Line != keys[0].Line || inUse(noted)[0].Plan != p.ID {
		t.Errorf("%d keys are kept, in use are %+v", len(store.ring), inUse(noted))
	}
	dropped, err := dropRetired(t.Context(), b, store)
	if err != nil || len(dropped) != 1 || dropped[0] != keys[1].Line || len(store.ring) != 1 {
		t.Errorf("dropped %q, %v; %d keys are kept", dropped, err, len(store.ring))
	}
	if line, err := seal.PublicLine(store.ring[0]); err != nil || recovery.Blob(line) != recovery.Blob(keys[0].Line) {
		t.Errorf("kept is %q, %v", line, err)
	}
}
