package sqlite_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// planOf is a plan of a stored snapshot. Nothing is known in it, so that it
// refuses all hosts.
func planOf(t *testing.T, info fleet.SnapshotInfo, made time.Time) *plan.Plan {
	t.Helper()
	s := &fleet.Snapshot{SnapshotInfo: info, Hosts: []fleet.Host{{ID: "i-1", State: "stopped"}}}
	p, err := plan.Make(s, &fleet.Assessment{Snapshot: info.ID, Hosts: []fleet.HostVerdict{{Host: "i-1"}}}, plan.DefaultPolicy(), made)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlansComeBackAsTheyWere(t *testing.T) {
	db := open(t)
	info := take(t, db, fleetOf(1, 1))
	old, newer := planOf(t, info, day), planOf(t, info, day.Add(time.Hour))
	for _, p := range []*plan.Plan{newer, old, old} { // the order of saving does not matter, nor does saving twice
		if err := db.SavePlan(t.Context(), p, "ops"); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]*plan.Plan{old.ID: old, old.ID[:6]: old, newer.ID: newer, "": newer} {
		got, err := db.Plan(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, alike); diff != "" {
			t.Errorf("plan %q:\n%s", id, diff)
		}
	}
	list, err := db.Plans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := func(p *plan.Plan) plan.Info {
		return plan.Info{ID: p.ID, Digest: p.Digest, Snapshot: info.ID, Made: p.Made, By: "ops"}
	}
	if diff := cmp.Diff([]plan.Info{of(newer), of(old)}, list); diff != "" {
		t.Error(diff)
	}
}

func TestPlansThatAreNotThere(t *testing.T) {
	db := open(t)
	for _, id := range []string{"", "0123", "%", "_"} {
		if p, err := db.Plan(t.Context(), id); !errors.Is(err, sqlite.ErrNoPlan) {
			t.Errorf("plan %q: %v, %v", id, p, err)
		}
	}
	if err := db.SavePlan(t.Context(), planOf(t, fleet.SnapshotInfo{ID: 99, State: fleet.SnapshotComplete}, day), "ops"); !errors.Is(err, sqlite.ErrNoSnapshot) {
		t.Errorf("a plan of a snapshot that is not there: %v", err)
	}
	info := take(t, db, fleetOf(1, 1))
	first := map[byte]bool{}
	for n := 0; ; n++ { // until two IDs begin alike
		p := planOf(t, info, day.Add(time.Duration(n)*time.Second))
		if err := db.SavePlan(t.Context(), p, "ops"); err != nil {
			t.Fatal(err)
		}
		if first[p.ID[0]] {
			if _, err := db.Plan(t.Context(), p.ID[:1]); !errors.Is(err, sqlite.ErrNoPlan) {
				t.Errorf("the beginning of two IDs: %v", err)
			}
			return
		}
		first[p.ID[0]] = true
	}
}

func TestChangedPlansAreNotRead(t *testing.T) {
	db := open(t)
	p := planOf(t, take(t, db, fleetOf(1, 1)), day)
	if err := db.SavePlan(t.Context(), p, "ops"); err != nil {
		t.Fatal(err)
	}
	w, _ := db.Pools()
	if _, err := w.Exec(`UPDATE plans SET content = json_set(content, '$.policy.canary', 9)`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Plan(t.Context(), p.ID); !errors.Is(err, plan.ErrDigest) {
		t.Errorf("a changed plan: %v", err)
	}
	p.Policy.Canary = 9
	if err := db.SavePlan(t.Context(), p, "ops"); !errors.Is(err, plan.ErrDigest) {
		t.Errorf("a changed plan was saved: %v", err)
	}
}
