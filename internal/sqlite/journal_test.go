package sqlite_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

var (
	_ cutover.Journal = (*sqlite.DB)(nil)
	_ cutover.Proofs  = (*sqlite.DB)(nil)
	_ cutover.Leases  = (*sqlite.DB)(nil)
	_ cutover.Control = (*sqlite.DB)(nil)
)

func entry(step string, event cutover.Event) cutover.Entry {
	return cutover.Entry{
		At: day, Plan: "p1", Digest: "d1", Wave: 2, Step: step, Event: event, Result: fleet.TruthNo,
		Hosts: []fleet.HostRef{{Account: "1", Region: "r", ID: "i-1"}}, Detail: "<why> & \xff\x00", Operator: "ops",
		Image: json.RawMessage(`{"rules": [1, "<&>"]}`),
	}
}

func acquire(t *testing.T, db *sqlite.DB, holder string) int64 {
	t.Helper()
	fence, err := db.Acquire(t.Context(), holder, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return fence
}

func TestJournalComesBackAsItWasWritten(t *testing.T) {
	db := open(t)
	fence := acquire(t, db, "a")
	first, err := db.Append(t.Context(), fence, entry("s1", cutover.Intended), entry("s2", cutover.Intended))
	if err != nil {
		t.Fatal(err)
	}
	bare := cutover.Entry{At: day.In(time.FixedZone("x", 3600)), Plan: "p2", Event: cutover.Note}
	second, err := db.Append(t.Context(), fence, bare)
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Entries(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	want := append(first, second...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-written +read):\n%s", diff)
	}
	hash := ""
	for i, e := range got {
		sum, err := e.Sum()
		if err != nil || e.Hash != sum || e.Prev != hash || e.Seq != int64(i+1) {
			t.Errorf("entry %d: seq %d, prev %s, hash %s; want prev %s, hash %s (%v)", i, e.Seq, e.Prev, e.Hash, hash, sum, err)
		}
		hash = e.Hash
	}
	if got, err := db.Entries(t.Context(), "p2"); err != nil || len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("entries of p2: %v, %v", got, err)
	}
}

// Every field is part of the hash: changing any one shows.
func TestHashCoversEveryField(t *testing.T) {
	e := entry("s", cutover.Ours)
	before, err := e.Sum()
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		old := reflect.New(v.Field(i).Type()).Elem()
		old.Set(v.Field(i))
		v.Field(i).SetZero()
		if name == "Seq" || name == "Prev" {
			(&filler{n: 7}).fill(v.Field(i))
		}
		after, err := e.Sum()
		if err != nil {
			t.Fatal(err)
		}
		if changed := after != before; changed == (name == "Hash") {
			t.Errorf("without %s the hash changed: %t", name, changed)
		}
		v.Field(i).Set(old)
	}
}

func TestJournalIsAppendOnly(t *testing.T) {
	db := open(t)
	fence := acquire(t, db, "a")
	if _, err := db.Append(t.Context(), fence, entry("s1", cutover.Intended), entry("s2", cutover.Intended)); err != nil {
		t.Fatal(err)
	}
	w, _ := db.Pools()
	for _, text := range []string{
		"UPDATE journal SET detail = 'other' WHERE seq = 1",
		"DELETE FROM journal WHERE seq = 2",
		"DELETE FROM journal",
		"INSERT OR REPLACE INTO journal SELECT 1, at, plan, digest, wave, step, event, result, hosts, 'other', operator, image, prev, hash FROM journal WHERE seq = 1",
		"INSERT INTO journal SELECT 9, at, plan, digest, wave, step, event, result, hosts, detail, operator, image, prev, hash FROM journal WHERE seq = 1",
	} {
		if _, err := w.Exec(text); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want it refused", text, err)
		}
	}
	if got, err := db.Entries(t.Context(), ""); err != nil || len(got) != 2 || got[0].Detail != entry("", "").Detail {
		t.Errorf("entries after all that: %v, %v", got, err)
	}
}

func TestAppendIsAllOrNothing(t *testing.T) {
	db := open(t)
	fence := acquire(t, db, "a")
	bad := entry("s2", cutover.Intended)
	bad.Image = json.RawMessage(`{"cut`)
	if _, err := db.Append(t.Context(), fence, entry("s1", cutover.Intended), bad); err == nil {
		t.Error("an image that is no JSON was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Append(ctx, fence, entry("s1", cutover.Intended)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append on a cancelled context: %v", err)
	}
	if got, err := db.Entries(t.Context(), ""); err != nil || len(got) != 0 {
		t.Errorf("entries: %v, %v; want none", got, err)
	}
}

func TestOnlyTheHolderOfTheLeaseWrites(t *testing.T) {
	db := open(t)
	refused := func(what string, fence int64) {
		t.Helper()
		if _, err := db.Append(t.Context(), fence, entry("s", cutover.Intended)); !errors.Is(err, cutover.ErrLease) {
			t.Errorf("%s: Append gave %v, want ErrLease", what, err)
		}
		if err := db.Renew(t.Context(), fence, time.Minute); !errors.Is(err, cutover.ErrLease) {
			t.Errorf("%s: Renew gave %v, want ErrLease", what, err)
		}
	}
	refused("nobody ever had it", 0)
	first := acquire(t, db, "a")
	refused("a wrong fence", first+1)
	var held *cutover.HeldError
	if _, err := db.Acquire(t.Context(), "b", time.Minute); !errors.As(err, &held) || held.Holder != "a" || time.Until(held.Until) <= 0 {
		t.Errorf("a second operator got %v", err)
	}
	if who, _, err := db.Holder(t.Context()); err != nil || who != "a" {
		t.Errorf("holder %q, %v", who, err)
	}
	if err := db.Release(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	refused("released", first)
	if who, until, err := db.Holder(t.Context()); err != nil || who != "" || !until.IsZero() {
		t.Errorf("holder after release %q until %s, %v", who, until, err)
	}
	second := acquire(t, db, "b")
	if second <= first {
		t.Errorf("fence %d after %d", second, first)
	}
	if err := db.Release(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	refused("another's", first)
	if _, err := db.Append(t.Context(), second, entry("s", cutover.Intended)); err != nil {
		t.Errorf("the holder was refused: %v", err)
	}
}

func TestLeaseRunsOut(t *testing.T) {
	db := open(t)
	w, _ := db.Pools()
	fence := acquire(t, db, "a")
	if _, err := w.Exec("UPDATE lease SET until = ?", time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), fence, entry("s", cutover.Intended)); !errors.Is(err, cutover.ErrLease) {
		t.Errorf("Append after the end: %v", err)
	}
	if err := db.Renew(t.Context(), fence, time.Minute); !errors.Is(err, cutover.ErrLease) {
		t.Errorf("Renew after the end: %v", err)
	}
	if who, _, err := db.Holder(t.Context()); err != nil || who != "" {
		t.Errorf("holder %q, %v", who, err)
	}
	if next := acquire(t, db, "b"); next <= fence {
		t.Errorf("fence %d after %d", next, fence)
	}
}

func TestOneOfManyGetsTheLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "migrate.db")
	a, b := openAt(t, path), openAt(t, path)
	var group sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int64{}
	for n := range 16 {
		group.Go(func() {
			db, name := a, fmt.Sprint("run ", n)
			if n%2 == 1 {
				db = b
			}
			fence, err := db.Acquire(t.Context(), name, time.Minute)
			var held *cutover.HeldError
			switch {
			case err == nil:
				mu.Lock()
				got[name] = fence
				mu.Unlock()
			case !errors.As(err, &held):
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	group.Wait()
	if len(got) != 1 {
		t.Errorf("%d runs hold the lease: %v", len(got), got)
	}
}

func TestWishesComeBack(t *testing.T) {
	db := open(t)
	if w, err := db.Control(t.Context(), "p"); err != nil || w != (cutover.Wish{}) {
		t.Errorf("nothing wished: %v, %v", w, err)
	}
	for _, want := range []cutover.Wish{{Pause: true, Stop: true, Concurrency: 3, By: "ops", At: day, Reason: "lunch"}, {}} {
		if err := db.SetControl(t.Context(), "p", want); err != nil {
			t.Fatal(err)
		}
		if w, err := db.Control(t.Context(), "p"); err != nil || w != want {
			t.Errorf("wish %v, %v; want %v", w, err, want)
		}
	}
	if w, err := db.Control(t.Context(), "q"); err != nil || w != (cutover.Wish{}) {
		t.Errorf("another plan's wish: %v, %v", w, err)
	}
}

func TestLatestProofIsTheNewest(t *testing.T) {
	db := open(t)
	host := fleet.HostRef{Account: "1", Region: "r", ID: "i-1"}
	if _, ok, err := db.LatestProof(t.Context(), host, fleet.WaySSH); ok || err != nil {
		t.Errorf("a proof out of nothing: %t, %v", ok, err)
	}
	var want fleet.Proof
	(&filler{}).fill(reflect.ValueOf(&want).Elem())
	want.Host, want.Way = host, fleet.WayRecovery
	at := day.Truncate(time.Second)
	save := func(change func(*fleet.Proof)) {
		t.Helper()
		p := want
		change(&p)
		if err := db.SaveProof(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	want.At = at.Add(500 * time.Millisecond)
	save(func(*fleet.Proof) {})
	save(func(p *fleet.Proof) { p.At = at }) // as text it would sort behind
	save(func(p *fleet.Proof) { p.At, p.Way = at.Add(time.Hour), fleet.WaySSH })
	save(func(p *fleet.Proof) { p.At, p.Host.ID = at.Add(time.Hour), "i-2" })
	save(func(p *fleet.Proof) { p.At, p.Host.Account = at.Add(time.Hour), "2" })
	save(func(p *fleet.Proof) { p.At, p.Host.Region = at.Add(time.Hour), "s" })
	got, ok, err := db.LatestProof(t.Context(), host, fleet.WayRecovery)
	if err != nil || !ok {
		t.Fatalf("latest proof: %t, %v", ok, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("latest proof (-want +got):\n%s", diff)
	}
}

func TestSnapshotsOfPlansStay(t *testing.T) {
	db := open(t)
	planned := take(t, db, fleetOf(1, 1))
	free := take(t, db, fleetOf(1, 1))
	newest := take(t, db, fleetOf(1, 1))
	w, _ := db.Pools()
	if _, err := w.Exec("INSERT INTO plans (id, digest, snapshot, by, content) VALUES ('p', 'd', ?, 'ops', '{}')", planned.ID); err != nil {
		t.Fatal(err)
	}
	if err := db.Delete(t.Context(), planned.ID); !errors.Is(err, sqlite.ErrPlanned) {
		t.Errorf("Delete of a planned snapshot: %v", err)
	}
	if n, err := db.Prune(t.Context(), 1); err != nil || n != 1 {
		t.Errorf("Prune deleted %d (%v), want 1", n, err)
	}
	left := ids(t, db)
	if diff := cmp.Diff([]int64{newest.ID, planned.ID}, left); diff != "" {
		t.Errorf("snapshots left (snapshot %d should be gone):\n%s", free.ID, diff)
	}
}

// childJournals takes the lease and appends pairs of entries until it is
// killed, telling after each how many are on disk.
func childJournals(path string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	fence, err := db.Acquire(ctx, "child", time.Minute)
	for err == nil {
		var done []cutover.Entry
		if done, err = db.Append(ctx, fence, entry("s", cutover.Intended), entry("s", cutover.Ours)); err == nil {
			fmt.Println(done[1].Seq)
		}
	}
	return err
}

func TestKilledRunLeavesAWholeJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "migrate.db")
	last := int64(0)
	for kill := range 5 {
		cmd := child(t, "journal", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for in := bufio.NewScanner(out); in.Scan(); lines++ {
			if _, err := fmt.Sscan(in.Text(), &last); err != nil {
				t.Fatal(err)
			}
			if lines == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the run ended with %v, want it killed", err)
		}
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.Entries(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if n := int64(len(got)); n != last && n != last+2 {
			t.Errorf("%d entries, want the %d that were told of, or a pair more", n, last)
		}
		hash := ""
		for i, e := range got {
			if sum, err := e.Sum(); err != nil || sum != e.Hash || e.Prev != hash || e.Seq != int64(i+1) {
				t.Fatalf("entry %d does not follow (%v)", i, err)
			}
			hash = e.Hash
		}
		// The dead run's lease has not run out yet; the next one is not to wait for that.
		w, _ := db.Pools()
		if _, err := w.Exec("UPDATE lease SET until = 0"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if last < 10 {
		t.Errorf("only %d entries were written", last)
	}
}
