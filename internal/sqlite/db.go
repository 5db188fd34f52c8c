// Package sqlite keeps snapshots and their assessments in one SQLite file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/mattn/go-sqlite3" // also the driver "sqlite3"
)

// Pragmas stand in the data source name, where every pooled connection gets
// them. WAL alone would mean synchronous=NORMAL, which may lose the last
// transactions on a power cut.
var (
	common  = waiting + "&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on"
	writing = common + "&_txlock=immediate"
	reading = common + "&_txlock=deferred&_query_only=on"
)

// DB is an open database. Its methods may be called concurrently, and other
// processes may have the same file open: one transaction writes at a time,
// readers see the state before or after it and wait for nobody.
type DB struct {
	w *sql.DB // one connection: writers of this process queue in Go, not in SQLite's busy loop
	r *sql.DB

	mu         sync.Mutex
	statements map[string]*sql.Stmt // of w, by their text; guarded by mu
}

// Open opens the database at path, or makes it, with a schema of this
// program's version. Only the file's owner may read it: the permissions of an
// existing file are tightened. A file that can be read but not written is
// ErrReadOnly, here or at the first write; the error says what to do. Errors wrap ErrNewerSchema, ErrNotDatabase,
// ErrBusy, ErrFull, ErrReadOnly, ErrDamaged or fs.ErrPermission where one fits.
func Open(ctx context.Context, path string) (*DB, error) {
	db, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, translate(err))
	}
	return db, nil
}

func open(ctx context.Context, path string) (*DB, error) {
	if path == "" {
		return nil, errors.New("no file name given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := private(path); err != nil {
		return nil, err
	}
	version, err := inspect(ctx, path)
	if err != nil {
		return nil, sealed(path, err)
	}
	db := &DB{w: pool(path, writing, 1), r: pool(path, reading, max(4, runtime.NumCPU()))}
	if version == schema() {
		return db, nil // nothing is written, so that a read-only file in a folder of its owner's can be looked at
	}
	if err := migrate(ctx, db.w); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// prepared is a statement for writing that is compiled once. It waits for the
// writing connection, and so must be asked for outside of transactions.
func (d *DB) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.statements[text]; s != nil {
		return s, nil
	}
	s, err := d.w.PrepareContext(ctx, text) //nolint:sqlclosecheck // kept until Close
	if err != nil {
		return nil, translate(err)
	}
	if d.statements == nil {
		d.statements = map[string]*sql.Stmt{}
	}
	d.statements[text] = s
	return s, nil
}

// Close ends all connections.
func (d *DB) Close() error { return errors.Join(d.r.Close(), d.w.Close()) }

// private makes sure that the file exists and is its owner's alone; SQLite
// gives -wal and -shm the same permissions. An existing file is not opened:
// closing it here would drop the locks that SQLite holds on it in this process.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	info, statErr := os.Stat(path)
	if statErr != nil {
		return reasonOf(err)
	}
	switch {
	case info.IsDir():
		return errors.New("it is a directory")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		err := os.Chmod(path, m&^0o077)
		if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EPERM) {
			return errCopy
		}
		if err != nil {
			return fmt.Errorf("make it its owner's alone: %w", reasonOf(err))
		}
	}
	return nil
}

// errCopy says what to do with a database that can only be read: on a
// read-only mount, in a folder that is not ours, or another user's. Without
// the files that SQLite keeps beside a WAL database, it could be read only by
// taking for granted that nobody writes it meanwhile, and without its -wal.
var errCopy = fmt.Errorf("%w: copy it (and its -wal, if there is one) to a folder of yours and name the copy with --db", ErrReadOnly)

// sealed gives errCopy for what SQLite says when it can put nothing beside the
// existing file at path, and other errors as they are.
func sealed(path string, err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	missing := e.Code == sqlite3.ErrCantOpen && e.SystemErrno == syscall.ENOENT
	if _, statErr := os.Stat(path); e.Code == sqlite3.ErrReadonly || missing && statErr == nil {
		return errCopy
	}
	return err
}

// reasonOf drops the operation and path from an error of package os: the
// caller says both already.
func reasonOf(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// pool only prepares: connections are made when they are needed.
func pool(path, params string, size int) *sql.DB {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params)
	if err != nil {
		panic(err) // the driver is not registered
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// write runs fn in a transaction that is on disk when write returns nil, and
// left no trace when it returns an error.
func (d *DB) write(ctx context.Context, fn func(*sql.Tx) error) error {
	return transaction(ctx, d.w, fn)
}

// read runs fn on one consistent state of the database.
func (d *DB) read(ctx context.Context, fn func(*sql.Tx) error) error {
	return transaction(ctx, d.r, fn)
}

func transaction(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := fn(tx); err != nil {
		return translate(err)
	}
	return translate(tx.Commit())
}
