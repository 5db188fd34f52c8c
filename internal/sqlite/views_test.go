package sqlite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

func TestViewsComeBackByName(t *testing.T) {
	db := open(t)
	if got, err := db.Views(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("before the first: %v, %v", got, err)
	}
	a := fleet.View{Name: "a\x1b[2J", Filter: `status:blocked team="x y"`, Sort: "az", Reverse: true, Group: "tag:cost center"}
	b := fleet.View{Name: "b"}
	for _, v := range []fleet.View{b, {Name: a.Name, Filter: "old"}, a} {
		if err := db.SaveView(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.Views(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fleet.View{a, b}, got); diff != "" {
		t.Error(diff)
	}
	for range 2 { // what is forgotten can be forgotten again
		if err := db.DropView(t.Context(), a.Name); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = db.Views(t.Context()); err != nil || len(got) != 1 || got[0] != b {
		t.Errorf("after forgetting one: %v, %v", got, err)
	}
	if err := db.SaveView(t.Context(), fleet.View{}); err == nil {
		t.Error("a view without a name is saved")
	}
}
