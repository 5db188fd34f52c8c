package main

import (
	"errors"
	"fmt"
)

// Exit codes. They are part of the command line's contract (docs/cli.md).
const (
	exitFine       = 0
	exitError      = 1
	exitUsage      = 2
	exitNotReady   = 3
	exitIncomplete = 4
)

// exitErr is an error that chooses the exit code.
type exitErr struct {
	code int
	err  error
}

func (e exitErr) Error() string { return e.err.Error() }
func (e exitErr) Unwrap() error { return e.err }

func usageErr(format string, args ...any) error {
	return exitErr{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// verdict ends a command that did its work, with a code that tells what came
// of it. The command has said everything already: nothing more is printed.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

func codeOf(err error) int {
	var v verdict
	var e exitErr
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &v):
		return int(v)
	case errors.As(err, &e):
		return e.code
	}
	return exitError
}
