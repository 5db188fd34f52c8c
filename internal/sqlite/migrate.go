package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var files embed.FS

// applicationID marks the file as ours in SQLite's header ("SSMm").
const applicationID = 0x53534d6d

// How long to wait for other processes, and between tries.
const (
	busyTimeout = 5 * time.Second
	markAgain   = 5 * time.Millisecond
)

// waiting is the pragma that makes SQLite wait.
var waiting = fmt.Sprintf("_busy_timeout=%d", busyTimeout.Milliseconds())

// inspect gives the version of the file's schema, 0 for a new file, and
// refuses what must not be touched. It opens the file for reading only, since
// opening it for writing would already turn somebody else's database to WAL.
func inspect(ctx context.Context, path string) (version int64, err error) {
	db := pool(path, "mode=ro&"+waiting, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	// One transaction: another process may be making the database just now, and
	// its tables without its mark would be those of another program.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	var id, tables, versioned int
	if err := tx.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, err
	}
	const count = "SELECT count(*), count(*) FILTER (WHERE name = 'goose_db_version') FROM sqlite_schema"
	if err := tx.QueryRowContext(ctx, count).Scan(&tables, &versioned); err != nil {
		return 0, err
	}
	switch {
	case id != applicationID && (id != 0 || tables > 0):
		return 0, fmt.Errorf("%w: another program made it", ErrNotDatabase)
	case versioned == 0:
		return 0, nil
	}
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version); err != nil {
		return 0, err
	}
	if knows := schema(); version > knows {
		return 0, fmt.Errorf("%w (schema %d, this program knows %d): update the program or use another --db", ErrNewerSchema, version, knows)
	}
	return version, nil
}

// schema is the version of the schema that this program works with.
func schema() int64 {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	return int64(len(names)) // migrations are numbered without gaps
}

// migrate brings the schema up to this program's version, each migration in a
// transaction of its own. Several processes may do so at once: one that lost
// the race to a step goes on from where the winner is.
func migrate(ctx context.Context, db *sql.DB) error {
	if err := mark(ctx, db); err != nil {
		return err
	}
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		return err
	}
	for last := int64(-1); ; {
		p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
		if err != nil {
			return err
		}
		_, failed := p.Up(ctx)
		if failed == nil {
			return nil
		}
		at, err := p.GetDBVersion(ctx)
		if err != nil || at <= last {
			return fmt.Errorf("migrate its schema: %w", failed)
		}
		last = at
	}
}

// mark turns the file to WAL, which the first connection does, and marks it as
// ours. Turning to WAL takes a read lock and then a write lock, and where
// another process is about to do the same SQLite says that it is busy instead
// of waiting: neither could go on before the other. So this is where we wait.
func mark(ctx context.Context, db *sql.DB) error {
	for until := time.Now().Add(busyTimeout); ; {
		_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
		if !errors.Is(translate(err), ErrBusy) || !time.Now().Before(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(markAgain):
		}
	}
}
