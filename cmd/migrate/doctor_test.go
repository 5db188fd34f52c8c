package main

import (
	"path/filepath"
	"testing"

	"ssm-migrate/internal/fleet"
)

func TestDoctorWantsRoomForTheJournal(t *testing.T) {
	dir := t.TempDir()
	if c := checkStateFile(filepath.Join(dir, "migrate.db")); c.Holds != fleet.TruthYes || c.Remedy != "" {
		t.Errorf("%+v", c)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if c := checkStateFile(filepath.Join(dir, "gone", "migrate.db")); c.Holds != fleet.TruthNo || c.Reason == "" || c.Remedy == "" {
		t.Errorf("%+v", c)
	}
}

func TestDoctorsWorstAnswerDecides(t *testing.T) {
	yes, no, unknown := fleet.Check{Holds: fleet.TruthYes}, fleet.Check{Holds: fleet.TruthNo}, fleet.Check{}
	for _, tt := range []struct {
		checks []fleet.Check
		want   fleet.Truth
	}{
		{[]fleet.Check{yes, yes}, fleet.TruthYes},
		{[]fleet.Check{yes, unknown, yes}, fleet.TruthUnknown},
		{[]fleet.Check{unknown, no, yes}, fleet.TruthNo},
	} {
		if got := worst(tt.checks); got != tt.want {
			t.Errorf("%v of %v, want %v", got, tt.checks, tt.want)
		}
	}
}
