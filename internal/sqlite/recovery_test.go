package sqlite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

func TestRecoveryKeysComeBackNewestFirst(t *testing.T) {
	db := open(t)
	if got, err := db.RecoveryKeys(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("before the first: %v, %v", got, err)
	}
	old := fleet.RecoveryKey{Line: "ssh-ed25519 AAAAold recovery", Location: "/keys/recovery", Made: day}
	mid := fleet.RecoveryKey{Line: "ssh-ed25519 AAAAmid recovery", CA: true, Location: "arn:aws:secretsmanager:eu-west-1:1:secret:r", Made: day.Add(500 * time.Microsecond), Plan: "0123456789ab"}
	late := fleet.RecoveryKey{Line: "ssh-ed25519 AAAAlate", Location: "/keys/recovery", Made: day.Add(time.Hour)}
	for _, k := range []fleet.RecoveryKey{late, old, mid} {
		if err := db.SaveRecoveryKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	late.Retired, late.Line = day.Add(2*time.Hour), "ssh-ed25519 AAAAlate another comment"
	if err := db.SaveRecoveryKey(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	got, err := db.RecoveryKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fleet.RecoveryKey{late, mid, old}, got); diff != "" {
		t.Error(diff)
	}
	if k, ok := fleet.CurrentRecoveryKey(got); !ok || k != mid {
		t.Errorf("the current one is %+v, %v; the newest is retired", k, ok)
	}
	if _, ok := fleet.CurrentRecoveryKey(got[:1]); ok {
		t.Error("a retired key is taken for one in use")
	}
}

func TestOnlyPublicKeysAreKept(t *testing.T) {
	db := open(t)
	for _, line := range []string{
		"", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAC3Nz\n-----END OPENSSH PRIVATE KEY-----\n",
		"ssh-ed25519 AAAAone\nssh-ed25519 AAAAtwo", "from=\"10.0.0.0/8\" ssh-ed25519 AAAAone", "OPENSSH AAAA PRIVATE KEY",
	} {
		err := db.SaveRecoveryKey(t.Context(), fleet.RecoveryKey{Line: line, Made: day})
		if err == nil || line != "" && strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if got, err := db.RecoveryKeys(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("kept: %v, %v", got, err)
	}
}
