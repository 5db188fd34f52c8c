package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// What callers branch on. Every method of this package wraps them.
var (
	ErrNoSnapshot   = errors.New("no such snapshot")
	ErrNoAssessment = errors.New("the snapshot has not been judged")
	ErrNotRunning   = errors.New("the snapshot is not open for writing") // finished, deleted or never begun
	ErrPlanned      = errors.New("a plan was made from the snapshot")
	ErrNoPlan       = errors.New("no such plan")
	ErrNewerSchema  = errors.New("made by a newer migrate")
	ErrNotDatabase  = errors.New("not a database of migrate")
	ErrBusy         = errors.New("another process is writing to the database")
	ErrFull         = errors.New("no space left for the database")
	ErrReadOnly     = errors.New("the database cannot be written")
	ErrDamaged      = errors.New("the database is damaged")
)

// translate turns the driver's result codes into this package's errors. Both
// stay in the chain. Only it and sealed know the driver's codes.
func translate(err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	var is error
	switch e.SystemErrno {
	case syscall.ENOSPC, syscall.EDQUOT:
		is = ErrFull
	case syscall.EROFS:
		is = ErrReadOnly
	case syscall.EACCES, syscall.EPERM:
		is = fs.ErrPermission
	default:
		is = ofCode(e)
	}
	if is == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", is, err)
}

func ofCode(e sqlite3.Error) error {
	switch e.Code {
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return ErrBusy
	case sqlite3.ErrFull:
		return ErrFull
	case sqlite3.ErrReadonly:
		return ErrReadOnly
	case sqlite3.ErrNotADB:
		return ErrNotDatabase
	case sqlite3.ErrCorrupt:
		return ErrDamaged
	}
	if e.ExtendedCode == sqlite3.ErrConstraintForeignKey {
		return ErrNoSnapshot // every reference leads to a snapshot, directly or through its assessment
	}
	return nil
}
