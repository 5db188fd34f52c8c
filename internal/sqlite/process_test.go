package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

// The test binary runs itself as a second process that does what this
// variable names, on the database given as its first argument.
const childJob = "SQLITE_TEST_JOB"

const batchSize = 20

func TestMain(m *testing.M) {
	jobs := map[string]func(path string) error{"write": childWrites, "read": childReads, "open": childOpens, "journal": childJournals}
	if job, ok := jobs[os.Getenv(childJob)]; ok {
		if err := job(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childWrites begins a snapshot and saves batches until it is killed, telling
// after each that it is stored.
func childWrites(path string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	id, err := db.Begin(ctx, fleet.SnapshotInfo{Started: day, Version: "child"})
	if err != nil {
		return err
	}
	fmt.Println("began", id)
	for n := 0; ; n++ {
		if err := db.Save(ctx, id, fleetOf(n*batchSize, batchSize)); err != nil {
			return err
		}
		fmt.Println("saved", id)
	}
}

// childReads loads the latest snapshot again and again until its input ends,
// and fails when it is not whole.
func childReads(path string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for n := 0; ; n++ {
		info, err := db.Latest(ctx)
		if err != nil {
			return err
		}
		s, err := db.Load(ctx, info.ID)
		if err != nil {
			return err
		}
		if len(s.Hosts) != info.Hosts {
			return fmt.Errorf("snapshot %d has %d hosts of %d", info.ID, len(s.Hosts), info.Hosts)
		}
		fmt.Println("read", info.ID)
		select {
		case <-ended:
			return db.Close()
		default:
		}
	}
}

// childOpens opens the database, begins a snapshot and says what came of it.
func childOpens(path string) error {
	db, err := sqlite.Open(context.Background(), path)
	if err == nil {
		_, err = db.Begin(context.Background(), fleet.SnapshotInfo{})
	}
	fmt.Printf("%t %t %v\n", errors.Is(err, fs.ErrPermission), errors.Is(err, sqlite.ErrReadOnly), err)
	return nil
}

func child(t *testing.T, job, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, path)
	cmd.Env = append(os.Environ(), childJob+"="+job)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestKilledWriterLeavesTheDatabaseWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "migrate.db")
	db := openAt(t, path)
	before := take(t, db, fleetOf(1, 50))
	want := load(t, db, before.ID)

	for kill := range 12 {
		cmd := child(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// After line number kill the child is somewhere in its next write.
		lines, id := 0, int64(0)
		for in := bufio.NewScanner(out); in.Scan(); {
			var what string
			if _, err := fmt.Sscan(in.Text(), &what, &id); err != nil {
				t.Fatal(err)
			}
			if lines == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			lines++ // lines that were under way count: what they tell is stored
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("writer ended with %v, want it killed", err)
		}
		checkAfterCrash(t, path, want, id, lines-1)
	}
}

func checkAfterCrash(t *testing.T, path string, want *fleet.Snapshot, running int64, batches int) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatalf("after the crash: %v", err)
	}
	defer func() { _ = db.Close() }()
	w, _ := db.Pools()
	var ok string
	if err := w.QueryRow("PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
		t.Errorf("integrity check: %s, %v", ok, err)
	}
	latest, err := db.Latest(t.Context())
	if err != nil || latest.ID != want.ID {
		t.Errorf("Latest is %d (%v), want %d from before the crash", latest.ID, err, want.ID)
	}
	if diff := cmp.Diff(want, load(t, db, latest.ID), equal); diff != "" {
		t.Errorf("previous snapshot changed:\n%s", diff)
	}
	half := load(t, db, running)
	if half.State != fleet.SnapshotRunning {
		t.Errorf("the broken-off snapshot is %s, want running", half.State)
	}
	// One more batch may have been stored without the writer having said so.
	if n := len(half.Hosts); n != batches*batchSize && n != (batches+1)*batchSize {
		t.Errorf("%d hosts stored, want %d batches of %d or one more", n, batches, batchSize)
	}
	for _, h := range half.Hosts {
		if !h.Probe.Known || len(h.Probe.Value.Keys.Value) != 5 {
			t.Errorf("host %s came without its probe or keys", h.ID)
		}
	}
}

func TestProcessesReadWhileOneWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "migrate.db")
	db := openAt(t, path)
	take(t, db, fleetOf(1, 30))
	cmd := child(t, "read", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reads := bufio.NewScanner(out)
	if !reads.Scan() {
		t.Fatal("the reader ended before its first answer")
	}

	// Four savers and four readers in this process beside the other one.
	ctx := t.Context()
	id, err := db.Begin(ctx, fleet.SnapshotInfo{Started: day})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for n := range 5 {
				if err := db.Save(ctx, id, fleetOf((g*5+n)*batchSize, batchSize)); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for range 5 {
				latest, err := db.Latest(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if s, err := db.Load(ctx, latest.ID); err != nil || len(s.Hosts) != 30 {
					t.Errorf("loaded %v while writing (%v)", s, err)
				}
			}
		})
	}
	group.Wait()
	info := fleet.SnapshotInfo{ID: id, Finished: day, State: fleet.SnapshotComplete, Hosts: 20 * batchSize}
	if err := db.Finish(ctx, info); err != nil {
		t.Fatal(err)
	}
	for seen := ""; seen != fmt.Sprint("read ", id); seen = reads.Text() {
		if !reads.Scan() {
			t.Fatal("the reader ended before it saw the new snapshot")
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("reader: %v", err)
	}
	if n := len(load(t, db, id).Hosts); n != 20*batchSize {
		t.Errorf("%d hosts, want %d", n, 20*batchSize)
	}
}

func TestProcessesMayCreateTheDatabaseTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "migrate.db")
	var group sync.WaitGroup
	for range 6 {
		cmd := child(t, "open", path)
		group.Go(func() {
			if out, err := cmd.Output(); err != nil || !strings.HasSuffix(string(out), "<nil>\n") {
				t.Errorf("open: %s, %v", out, err)
			}
		})
	}
	group.Wait()
	if n := len(ids(t, openAt(t, path))); n != 6 {
		t.Errorf("%d snapshots begun, want 6", n)
	}
}

const sayCopy = "false true open database PATH: the database cannot be written: copy it (and its -wal, if there is one) to a folder of yours and name the copy with --db"

func TestMissingPermissionsAreSaid(t *testing.T) {
	dir, err := os.MkdirTemp("", "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stored := func(name string, dirMode, mode os.FileMode) string {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(sub, "migrate.db")
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		own(t, dir, sub, path)
		if err := errors.Join(os.Chmod(path, mode), os.Chmod(sub, dirMode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	type deniedOpen struct{ path, want string }
	cases := []deniedOpen{
		{stored("unreadable", 0o700, 0), "true false open database "},
		{stored("closed", 0, 0o600), "true false open database "},
		{stored("read-only", 0o700, 0o400), "false true the database cannot be written"},
		// As on a read-only mount: SQLite reads no WAL database beside which it may put nothing.
		{stored("sealed", 0o500, 0o600), sayCopy},
		{stored("sealed read-only", 0o500, 0o400), sayCopy},
	}
	if os.Geteuid() == 0 { // nobody else can make another user's file
		path := stored("foreign", 0o755, 0o644)
		if err := errors.Join(os.Chown(path, 0, 0), os.Chown(filepath.Dir(path), 0, 0)); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, deniedOpen{path, sayCopy})
	}
	for _, c := range cases {
		out := runUnprivileged(t, dir, c.path)
		if !strings.HasPrefix(out, strings.ReplaceAll(c.want, "PATH", c.path)) {
			t.Errorf("%s: %s, want %s…", c.path, out, c.want)
		}
	}
}

// nobody is a user without rights, for tests that run as root: root may read
// and write everything.
const nobody = 65534

func own(t *testing.T, paths ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, p := range paths {
		if err := os.Chown(p, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

func runUnprivileged(t *testing.T, dir, path string) string {
	t.Helper()
	cmd := child(t, "open", path)
	if os.Geteuid() == 0 {
		// The folder of the test binary is root's alone.
		exe := filepath.Join(dir, "exe")
		binary, err := os.ReadFile(cmd.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(exe, binary, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(exe, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path = exe
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
