package sqlite_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestEveryConnectionHasThePragmas(t *testing.T) {
	db := open(t)
	w, r := db.Pools()
	for _, c := range []struct {
		pool     *sql.DB
		size     int
		readOnly string
	}{{w, 1, "0"}, {r, 3, "1"}} {
		want := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": c.readOnly}
		for range c.size {
			conn, err := c.pool.Conn(t.Context()) // held until the end, so that each round makes a new one
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for name, value := range want {
				var got string
				if err := conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got); err != nil || got != value {
					t.Errorf("pragma %s = %q (%v), want %q", name, got, err, value)
				}
			}
		}
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "strange name?#%41&.db")
	db := openAt(t, path)
	take(t, db, fleetOf(1, 1))
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), info.Mode().Perm())
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("an existing file's mode was not tightened: %v, %v", info.Mode(), err)
	}
}

func TestOpenRefusesWhatIsNotItsDatabase(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	foreign := filepath.Join(dir, "foreign.db")
	execAll(t, foreign, "CREATE TABLE bookmarks (url TEXT)")
	before, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db, err := sqlite.Open(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	execAll(t, newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9, 1)")

	for _, c := range []struct {
		name, path string
		is         error
		say        string
	}{
		{"text", file("text.db", strings.Repeat("not a database\n", 100)), sqlite.ErrNotDatabase, "not a database of migrate"},
		{"another program's", foreign, sqlite.ErrNotDatabase, "another program made it"},
		{"newer", newer, sqlite.ErrNewerSchema, "made by a newer migrate (schema 9, this program knows 7): update the program or use another --db"},
		{"directory", dir, nil, "it is a directory"},
		{"device", "/dev/null", nil, "it is not a regular file"},
		{"missing folder", filepath.Join(dir, "no", "such.db"), os.ErrNotExist, "no such file or directory"},
		{"no name", "", nil, "no file name given"},
	} {
		_, err := sqlite.Open(t.Context(), c.path)
		if err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), "open database "+c.path) {
			t.Errorf("%s: %v, want %q", c.name, err, c.say)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
	}
	after, err := os.ReadFile(foreign)
	if err != nil || string(before) != string(after) {
		t.Errorf("another program's database was changed (%v)", err)
	}
}

// execAll runs SQL on a file without this package.
func execAll(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// The fixture is a database of schema 1, written by the program of that time.
func TestOlderSchemasAreMigrated(t *testing.T) {
	text, err := os.ReadFile("testdata/schema1.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.db")
	execAll(t, path, string(text))
	db := openAt(t, path)
	got, err := json.MarshalIndent(load(t, db, 1), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/schema1.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("snapshot of schema 1 (-want +got):\n%s", diff)
	}
	if err := db.SaveAssessment(t.Context(), &fleet.Assessment{Snapshot: 1, At: day}); err != nil {
		t.Errorf("a table of a later schema: %v", err)
	}
	w, _ := db.Pools()
	var version int64
	if err := w.QueryRow("SELECT max(version_id) FROM goose_db_version").Scan(&version); err != nil || version != sqlite.Schema() {
		t.Errorf("schema %d (%v), want %d", version, err, sqlite.Schema())
	}
}

// A judgement of schema 2 has neither ways back nor causes nor parts.
func TestOlderAssessmentsAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	for _, file := range []string{"testdata/schema1.sql", "migrations/00002_assessments.sql"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		execAll(t, path, string(text))
	}
	execAll(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (2, 1);
		INSERT INTO assessments (snapshot, at) VALUES (1, '2026-03-01T12:00:00.123456789Z');
		INSERT INTO verdicts (snapshot, position, host, verdict, cause) VALUES (1, 1, 'i-1', 'blocked', 'agent-missing');
		INSERT INTO findings (snapshot, position, code, host, object, severity, title, evidence, fix, blast)
			VALUES (1, 1, 'agent-missing', 'i-1', '', 'blocks', 'no agent', '[{"fact":"f","source":"probe"}]', 'install it', 'nobody else')`)
	got, err := openAt(t, path).Assessment(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := &fleet.Assessment{
		Snapshot: 1, At: day, Hosts: []fleet.HostVerdict{{Host: "i-1", Verdict: fleet.VerdictBlocked, Cause: "agent-missing"}},
		Findings: []fleet.Finding{{Code: "agent-missing", Host: "i-1", Severity: fleet.SeverityBlocks, Title: "no agent",
			Evidence: []fleet.Evidence{{Fact: "f", Source: "probe"}}, Fix: "install it", Blast: "nobody else"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("assessment of schema 2 (-want +got):\n%s", diff)
	}
}

func tables(t *testing.T, db *sqlite.DB) []string {
	t.Helper()
	w, _ := db.Pools()
	rows, err := w.Query("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version' ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "-- Owner: ") {
			t.Errorf("the schema does not say who owns table %s:\n%s", name, text)
		}
		if !strings.Contains(text, "STRICT") {
			t.Errorf("table %s is not STRICT", name)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil || len(out) == 0 {
		t.Fatalf("no tables found (%v)", err)
	}
	return out
}

// SQLite before 3.45 has json_valid(NULL) = 0, and an operator's sqlite3 may be
// that old: to it, a CHECK that leans on NULL would call good rows broken.
func TestChecksOfJSONAllowForNull(t *testing.T) {
	db := open(t)
	w, _ := db.Pools()
	call := regexp.MustCompile(`(?i)(\w+\s+IS\s+NULL\s+OR\s+)?json_valid\s*\(\s*(\w+)\s*\)`)
	checked := 0
	for _, table := range tables(t, db) {
		var text string
		if err := w.QueryRow("SELECT sql FROM sqlite_schema WHERE name = ?", table).Scan(&text); err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(text, -1) {
			checked++
			var notNull bool
			if err := w.QueryRow(`SELECT "notnull" FROM pragma_table_info(?) WHERE name = ?`, table, m[2]).Scan(&notNull); err != nil {
				t.Fatalf("column %s of %s: %v", m[2], table, err)
			}
			if guard, _, _ := strings.Cut(m[1], " "); !notNull && guard != m[2] {
				t.Errorf("table %s: CHECK (json_valid(%s)) of a column that may be NULL", table, m[2])
			}
		}
	}
	if checked < 5 {
		t.Errorf("only %d checks of JSON found", checked)
	}
}

func TestStateDocumentNamesEveryTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/state.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			sections[strings.TrimSpace(name)] = true
		}
	}
	db := open(t)
	for _, name := range append(tables(t, db), "goose_db_version") {
		if !sections[name] {
			t.Errorf("docs/state.md has no section %q", "### "+name)
		}
		delete(sections, name)
	}
	for name := range sections {
		t.Errorf("docs/state.md describes table %s, which the schema does not have", name)
	}
	_, after, _ := strings.Cut(string(text), "```sql\n")
	queries, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/state.md shows no query")
	}
	take(t, db, fleetOf(1, 3))
	shown := 0
	for _, q := range strings.Split(queries, ";\n") {
		if strings.TrimSpace(q) != "" {
			shown += rowsOf(t, db, q)
		}
	}
	if shown == 0 {
		t.Error("no query of docs/state.md answers anything on a filled database")
	}
}

func rowsOf(t *testing.T, db *sqlite.DB, query string) int {
	t.Helper()
	_, r := db.Pools()
	rows, err := r.Query(query)
	if err != nil {
		t.Errorf("query from docs/state.md: %v\n%s", err, query)
		return 0
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		t.Errorf("query from docs/state.md: %v\n%s", err, query)
	}
	return n
}
