package sshhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Classes of failure. Every *Error wraps one of them, or context.Canceled.
var (
	ErrConfig         = errors.New("configuration")      // ssh_config or known_hosts cannot be used for this host
	ErrUnreachable    = errors.New("not reachable")      // no connection, or it broke before login
	ErrHandshake      = errors.New("no SSH handshake")   // connected, but no common protocol
	ErrHostKeyUnknown = errors.New("host key not known") // no key is recorded for the host
	ErrHostKeyChanged = errors.New("host key changed")   // another key is recorded for the host
	ErrHostKeyRevoked = errors.New("host key revoked")   // known_hosts marks the key as revoked
	ErrAuth           = errors.New("login refused")      // no user and key was accepted
	ErrTimeout        = errors.New("timed out")          // a time limit passed
	ErrOutput         = errors.New("no complete output") // the command could not be run, or broke off
)

// Error says why a host, or a bastion on the way to it, did not do what was
// asked. Its text is one printable line.
type Error struct {
	Kind   error  // one of the classes of this package, or context.Canceled
	Host   string // the host's address, or its ID as long as that is not known
	Hop    string // the bastion at which it failed; empty: the host itself
	Detail string // what happened and what to do, printable
	Err    error  // the cause, for errors.Is; may be nil
}

// Error is "HOST: via HOP: KIND: DETAIL".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Host)
	if e.Hop != "" {
		b.WriteString(": bastion ")
		b.WriteString(e.Hop)
	}
	b.WriteString(": ")
	b.WriteString(e.Kind.Error())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

// Unwrap gives class and cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// fail makes an error of the target. An error that already is one keeps its
// class and gets this host's name; otherwise an ended ctx decides the class,
// and stage says what it ended.
func (t *target) fail(ctx context.Context, kind error, stage string, err error) *Error {
	var inner *Error
	if errors.As(err, &inner) {
		e := *inner
		if e.Host != t.label {
			if e.Hop == "" {
				e.Hop = e.Host
			}
			e.Host = t.label
		}
		return &e
	}
	e := &Error{Kind: kind, Host: t.label, Detail: stage, Err: err}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Err = context.Canceled, nil
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Err = ErrTimeout, context.DeadlineExceeded
	case err != nil:
		e.Detail = clean(err.Error(), 300)
	}
	e.Detail = joinDetail(e.Detail, t.note)
	return e
}

func joinDetail(parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, ": ")
}

// clean makes foreign text fit for one line of a screen: terminal escape
// sequences, control and formatting characters and invalid UTF-8 go, white space shrinks
// to single spaces, and at most limit bytes stay.
func clean(s string, limit int) string {
	var b strings.Builder
	space := false
	for i := 0; i < len(s) && b.Len() < limit; {
		if n := escapeLen(s[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
		default:
			if space {
				b.WriteByte(' ')
				space = false
			}
			b.WriteRune(r)
		}
	}
	if b.Len() >= limit {
		b.WriteString("…")
	}
	return b.String()
}

// escapeLen is the length of the terminal escape sequence that s begins with, or 0.
func escapeLen(s string) int {
	if len(s) < 2 || s[0] != 0x1b {
		return 0
	}
	switch s[1] {
	case '[': // CSI: up to a final byte
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_': // strings: up to BEL or ESC \
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	}
	return 2
}

func quantity(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
