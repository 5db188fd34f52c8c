package sqlite_test

import "testing"

func TestTheLastStageIsKept(t *testing.T) {
	db := open(t)
	if got, err := db.Stage(t.Context()); got != "" || err != nil {
		t.Errorf("before the first: %q, %v", got, err)
	}
	for _, want := range []string{"Readiness", "Cutover", "Cutover"} {
		if err := db.KeepStage(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Stage(t.Context()); got != want || err != nil {
			t.Errorf("kept %q (%v), want %q", got, err, want)
		}
	}
}
