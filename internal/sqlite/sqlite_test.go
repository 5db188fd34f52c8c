package sqlite_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

func TestEveryFieldComesBack(t *testing.T) {
	db := open(t)
	info := take(t, db, fullBatch())
	if diff := cmp.Diff(fleet.Join(info, fullBatch()), load(t, db, info.ID), equal); diff != "" {
		t.Errorf("loaded snapshot (-saved +loaded):\n%s", diff)
	}
}

func TestZeroRecordsComeBack(t *testing.T) {
	b := func() fleet.Batch {
		return fleet.Batch{
			Accounts: []fleet.Account{{Label: "a"}},
			Regions:  []fleet.Region{{Label: "a", Name: "r"}},
			Hosts:    []fleet.Host{{ID: "i-1", Region: "r"}, {ID: "i-2"}},
			Nodes:    []fleet.Node{{ID: "i-1"}},
			Probes: []fleet.ProbeResult{
				{Host: "i-1", Probe: fleet.Unknown[fleet.Probe]("probe", day, "timed out")},
				{Host: "i-2", Probe: fleet.Known(fleet.Probe{Keys: fleet.Partial([]fleet.Key{{Blob: "x"}}, "probe", day, "one file unreadable")}, "probe", day)},
			},
			Connections: []fleet.HostStatus{{Host: "i-1"}},
		}
	}
	db := open(t)
	info := take(t, db, b())
	if diff := cmp.Diff(fleet.Join(info, b()), load(t, db, info.ID), equal); diff != "" {
		t.Errorf("loaded snapshot (-saved +loaded):\n%s", diff)
	}
}

func TestHostileTextComesBackUnchanged(t *testing.T) {
	text := "'; DROP TABLE hosts; --\x1b[2J\u202e<script>\x00?%"
	b := func() fleet.Batch {
		return fleet.Batch{
			Hosts: []fleet.Host{{ID: text, Tags: map[string]string{"Name": text}}},
			Probes: []fleet.ProbeResult{{Host: text, Probe: fleet.Known(fleet.Probe{
				Keys: fleet.Known([]fleet.Key{{User: text, File: text, Comment: text, Options: []string{text}}}, text, day),
			}, text, day)}},
		}
	}
	db := open(t)
	info := take(t, db, b())
	if diff := cmp.Diff(fleet.Join(info, b()), load(t, db, info.ID), equal); diff != "" {
		t.Errorf("loaded snapshot (-saved +loaded):\n%s", diff)
	}
}

func TestLaterRecordsReplaceEarlierOnes(t *testing.T) {
	first, second := fleetOf(1, 3), fleetOf(1, 3)
	second.Hosts[0].State = "stopped"
	second.Probes[1].Probe.Value.Keys.Value = second.Probes[1].Probe.Value.Keys.Value[:2]
	second.Probes[2].Probe = fleet.Unknown[fleet.Probe]("probe", day, "connection refused")
	second.Connections[0].Status.Value = "notconnected"
	second.Nodes[0].PingStatus = "ConnectionLost"
	region := fleet.Region{Label: "ops", Name: "eu-west-1", Account: "111122223333", VPCs: fleet.Known([]fleet.VPC{{ID: "vpc-1"}}, "ec2:DescribeVpcs", day)}
	first.Regions = []fleet.Region{region}
	region.Nodes = fleet.Known(3, "ssm:DescribeInstanceInformation", day)
	region.VPCs = fleet.Partial([]fleet.VPC{{ID: "vpc-2"}}, "ec2:DescribeVpcs", day, "throttled")
	second.Regions = []fleet.Region{region}

	db := open(t)
	info := take(t, db, first, second)
	if diff := cmp.Diff(fleet.Join(info, second), load(t, db, info.ID), alike); diff != "" {
		t.Errorf("loaded snapshot (-second batch +loaded):\n%s", diff)
	}
}

func TestSavingLeavesTheBatchAlone(t *testing.T) {
	b := fullBatch()
	take(t, open(t), b)
	if diff := cmp.Diff(fullBatch(), b, equal); diff != "" {
		t.Errorf("batch after Save (-before +after):\n%s", diff)
	}
}

func TestOnlyFinishedSnapshotsAreLatest(t *testing.T) {
	ctx, db := t.Context(), open(t)
	if _, err := db.Latest(ctx); !errors.Is(err, sqlite.ErrNoSnapshot) {
		t.Errorf("Latest of an empty database: %v, want ErrNoSnapshot", err)
	}
	want := take(t, db, fleetOf(1, 2))
	running, err := db.Begin(ctx, fleet.SnapshotInfo{Started: day.Add(time.Hour), Version: "v2"})
	if err != nil {
		t.Fatal(err)
	}
	if running <= want.ID {
		t.Errorf("second snapshot has ID %d, want more than %d", running, want.ID)
	}
	got, err := db.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
	all, err := db.Snapshots(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fleet.SnapshotInfo{{ID: running, Started: day.Add(time.Hour), Version: "v2"}, want}, all); diff != "" {
		t.Errorf("Snapshots (-want +got):\n%s", diff)
	}
}

func TestFinishedSnapshotsTakeNoMore(t *testing.T) {
	ctx, db := t.Context(), open(t)
	info := take(t, db)
	if err := db.Save(ctx, info.ID, fleetOf(1, 1)); !errors.Is(err, sqlite.ErrNotRunning) {
		t.Errorf("Save to a finished snapshot: %v, want ErrNotRunning", err)
	}
	if err := db.Finish(ctx, info); !errors.Is(err, sqlite.ErrNotRunning) {
		t.Errorf("second Finish: %v, want ErrNotRunning", err)
	}
	if err := db.Save(ctx, 99, fleet.Batch{}); !errors.Is(err, sqlite.ErrNotRunning) {
		t.Errorf("Save to no snapshot: %v, want ErrNotRunning", err)
	}
	id, err := db.Begin(ctx, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Finish(ctx, fleet.SnapshotInfo{ID: id}); err == nil {
		t.Error("Finish took running for an end state")
	}
	if n := len(load(t, db, info.ID).Hosts); n != 0 {
		t.Errorf("%d hosts in a snapshot that was finished empty", n)
	}
}

func TestPruneKeepsTheNewestFinished(t *testing.T) {
	ctx, db := t.Context(), open(t)
	take(t, db, fleetOf(1, 2))
	if _, err := db.Begin(ctx, fleet.SnapshotInfo{}); err != nil { // its process died
		t.Fatal(err)
	}
	second, third := take(t, db, fleetOf(1, 2)), take(t, db, fleetOf(1, 3))
	if err := db.SaveAssessment(ctx, &fleet.Assessment{Snapshot: 1, Hosts: []fleet.HostVerdict{{Host: "i-1"}}}); err != nil {
		t.Fatal(err)
	}
	running, err := db.Begin(ctx, fleet.SnapshotInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := db.Prune(ctx, 2); n != 2 || err != nil {
		t.Errorf("Prune(2) = %d, %v; want the two oldest gone", n, err)
	}
	if got, want := ids(t, db), []int64{running, third.ID, second.ID}; !slices.Equal(got, want) {
		t.Errorf("snapshots %v, want %v", got, want)
	}
	if n := len(load(t, db, third.ID).Hosts); n != 3 {
		t.Errorf("%d hosts left in the newest, want 3", n)
	}
	for _, table := range tables(t, db) {
		if slices.Contains([]string{"proofs", "journal", "lease", "control", "recovery_keys", "views", "wizard"}, table) {
			continue // of plans, hosts, keys and the wizard, not of snapshots
		}
		var orphans int
		w, _ := db.Pools()
		column := "snapshot"
		if table == "snapshots" {
			column = "id"
		}
		if err := w.QueryRow("SELECT count(*) FROM " + table + " WHERE " + column + " <= 2").Scan(&orphans); err != nil || orphans != 0 {
			t.Errorf("table %s still has %d rows of deleted snapshots (%v)", table, orphans, err)
		}
	}
	if err := db.Delete(ctx, running); err != nil {
		t.Error(err)
	}
	if err := db.Delete(ctx, running); !errors.Is(err, sqlite.ErrNoSnapshot) {
		t.Errorf("second Delete: %v, want ErrNoSnapshot", err)
	}
	if _, err := db.Load(ctx, running); !errors.Is(err, sqlite.ErrNoSnapshot) {
		t.Errorf("Load of a deleted snapshot: %v, want ErrNoSnapshot", err)
	}
	if _, err := db.Prune(ctx, 0); err == nil {
		t.Error("Prune(0) would delete everything, and did not fail")
	}
	if next := take(t, db); next.ID <= running {
		t.Errorf("ID %d was given again after its snapshot was deleted", next.ID)
	}
}

func TestPruneTellsDeadFromRunning(t *testing.T) {
	ctx, db := t.Context(), open(t)
	begin := func(ago time.Duration) int64 {
		t.Helper()
		id, err := db.Begin(ctx, fleet.SnapshotInfo{Started: time.Now().Add(-ago)})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := take(t, db)
	dead := begin(25 * time.Hour)
	young := begin(23 * time.Hour)
	future := begin(-time.Hour) // by the clock of another machine
	newest := take(t, db)
	last := begin(48 * time.Hour)
	if n, err := db.Prune(ctx, 5); n != 1 || err != nil {
		t.Errorf("Prune(5) = %d, %v; want only snapshot %d gone", n, err, dead)
	}
	if got, want := ids(t, db), []int64{last, newest.ID, future, young, first.ID}; !slices.Equal(got, want) {
		t.Errorf("snapshots %v, want %v", got, want)
	}
	if n, err := db.Prune(ctx, 1); n != 1 || err != nil {
		t.Errorf("Prune(1) = %d, %v; want only snapshot %d gone", n, err, first.ID)
	}
	if got, want := ids(t, db), []int64{last, newest.ID, future, young}; !slices.Equal(got, want) {
		t.Errorf("snapshots %v, want %v", got, want)
	}
}

func ids(t *testing.T, db *sqlite.DB) []int64 {
	t.Helper()
	all, err := db.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []int64
	for _, s := range all {
		out = append(out, s.ID)
	}
	return out
}

func TestAssessmentsComeBackAndReplaceOneAnother(t *testing.T) {
	ctx, db := t.Context(), open(t)
	info := take(t, db)
	if _, err := db.Assessment(ctx, info.ID); !errors.Is(err, sqlite.ErrNoAssessment) {
		t.Errorf("before: %v, want ErrNoAssessment", err)
	}
	first := &fleet.Assessment{Snapshot: info.ID, At: day, Hosts: []fleet.HostVerdict{{Host: "i-9"}, {Host: "i-1"}}}
	second := filled[fleet.Assessment](&filler{})
	second.Snapshot = info.ID
	for i := range second.Hosts {
		second.Hosts[i].Verdict = fleet.Verdict(i + 1)
	}
	for i := range second.Findings {
		second.Findings[i].Severity = fleet.Severity(i + 2)
	}
	for _, want := range []*fleet.Assessment{first, &second} {
		if err := db.SaveAssessment(ctx, want); err != nil {
			t.Fatal(err)
		}
		got, err := db.Assessment(ctx, info.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Errorf("Assessment (-saved +read):\n%s", diff)
		}
	}
	if err := db.SaveAssessment(ctx, &fleet.Assessment{Snapshot: 77}); !errors.Is(err, sqlite.ErrNoSnapshot) {
		t.Errorf("assessment of no snapshot: %v, want ErrNoSnapshot", err)
	}
}

func TestFailedWritesLeaveNoTrace(t *testing.T) {
	ctx, db := t.Context(), open(t)
	info := take(t, db)
	good := &fleet.Assessment{Snapshot: info.ID, At: day, Hosts: []fleet.HostVerdict{{Host: "i-1"}}}
	if err := db.SaveAssessment(ctx, good); err != nil {
		t.Fatal(err)
	}
	twice := &fleet.Assessment{Snapshot: info.ID, At: day, Hosts: []fleet.HostVerdict{{Host: "i-1"}, {Host: "i-1"}}}
	if err := db.SaveAssessment(ctx, twice); err == nil {
		t.Fatal("a host with two verdicts was stored")
	}
	got, err := db.Assessment(ctx, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good, got); diff != "" {
		t.Errorf("after the failure (-before +after):\n%s", diff)
	}

	id, err := db.Begin(ctx, fleet.SnapshotInfo{})
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if err := db.Save(stopped, id, fleetOf(1, 5)); !errors.Is(err, context.Canceled) {
		t.Errorf("Save under a canceled context: %v", err)
	}
	if err := db.Save(ctx, id, fleetOf(9, 1)); err != nil {
		t.Errorf("Save after a canceled one: %v", err)
	}
	if n := len(load(t, db, id).Hosts); n != 1 {
		t.Errorf("%d hosts, want only the one whose Save succeeded", n)
	}
}

func TestFullDiskIsSaidAndLeavesEarlierBatches(t *testing.T) {
	ctx, db := t.Context(), open(t)
	id, err := db.Begin(ctx, fleet.SnapshotInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Save(ctx, id, fleetOf(1, 2)); err != nil {
		t.Fatal(err)
	}
	w, _ := db.Pools()
	if _, err := w.Exec("PRAGMA max_page_count = 1"); err != nil { // SQLite takes the present size for less
		t.Fatal(err)
	}
	err = db.Save(ctx, id, fleetOf(10, 500))
	if !errors.Is(err, sqlite.ErrFull) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Save on a full disk: %v, want ErrFull", err)
	}
	if n := len(load(t, db, id).Hosts); n != 2 {
		t.Errorf("%d hosts, want the 2 from before", n)
	}
}

func TestBusyDatabaseIsSaid(t *testing.T) {
	ctx, path := t.Context(), t.TempDir()+"/migrate.db"
	one, two := openAt(t, path), openAt(t, path)
	w, _ := two.Pools()
	if _, err := w.Exec("PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	w, _ = one.Pools()
	tx, err := w.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Begin(ctx, fleet.SnapshotInfo{}); !errors.Is(err, sqlite.ErrBusy) {
		t.Errorf("Begin while another writes: %v, want ErrBusy", err)
	}
	if _, err := two.Snapshots(ctx); err != nil {
		t.Errorf("reading while another writes: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Begin(ctx, fleet.SnapshotInfo{}); err != nil {
		t.Errorf("Begin afterwards: %v", err)
	}
}
