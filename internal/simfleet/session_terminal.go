package simfleet

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"
	"unicode/utf8"
)

// terminal is the line discipline of a pseudo terminal in canonical mode: it
// echoes, edits lines, turns keys into signals, and turns line ends of output
// into those of a terminal. Source: termios(3).
type terminal struct {
	out   io.Writer // to the client; safe for concurrent use
	limit int       // bytes of a line; further ones are lost, as in Linux's canonical mode

	mu        sync.Mutex
	quiet     bool   // guarded by mu, as all below: echo is off
	line      []byte // typed and not yet entered
	events    []terminalEvent
	ready     chan struct{}
	interrupt func() // ends the command that runs; nil: none does
	size      struct{ Cols, Rows uint16 }
}

// terminalEvent is a line, or a key that means something.
type terminalEvent struct {
	line        string
	eof         bool // Ctrl-D on an empty line
	interrupted bool // Ctrl-C while nothing runs
}

// Keys, and the longest line that canonical mode takes.
const (
	keyInterrupt  = 3
	keyEOF        = 4
	keyErase      = 8
	keyNewline    = 10
	keyReturn     = 13
	keyKill       = 21
	keyWordErase  = 23
	keyDelete     = 127
	canonicalLine = 4095
	editedLine    = 1 << 20 // of shells that edit lines themselves
	maxEvents     = 10_000
)

func newTerminal(out io.Writer, limit int) *terminal {
	return &terminal{out: out, limit: limit, ready: make(chan struct{}, 1)}
}

// Write is output of a program.
func (t *terminal) Write(b []byte) (int, error) {
	if _, err := t.out.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// input takes what the client's keyboard sends.
func (t *terminal) input(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var echo []byte
	interrupted := false
	for _, k := range b {
		interrupted = interrupted || k == keyInterrupt
		echo = append(echo, t.keyLocked(k)...)
	}
	if len(echo) > 0 {
		_, _ = t.out.Write(echo)
	}
	// Last: what the command's end prints comes behind the echo.
	if interrupted && t.interrupt != nil {
		t.interrupt()
	}
}

// keyLocked takes one byte and gives its echo.
func (t *terminal) keyLocked(k byte) []byte {
	var echo []byte
	switch k {
	case keyReturn, keyNewline:
		t.pushLocked(terminalEvent{line: string(t.line)})
		t.line = t.line[:0]
		echo = []byte("\r\n")
	case keyInterrupt:
		t.line, t.events = t.line[:0], nil // the kernel drops what was typed ahead
		echo = []byte("^C")
		if t.interrupt == nil {
			t.pushLocked(terminalEvent{interrupted: true})
		}
	case keyEOF:
		if len(t.line) == 0 {
			t.pushLocked(terminalEvent{eof: true})
		}
		return nil
	case keyErase, keyDelete:
		echo = t.eraseLocked(1)
	case keyKill:
		echo = t.eraseLocked(len(t.line))
	case keyWordErase:
		rest := bytes.TrimRight(t.line, " ")
		echo = t.eraseLocked(len(t.line) - 1 - bytes.LastIndexByte(rest, ' '))
	default:
		if len(t.line) >= t.limit {
			return []byte{7}
		}
		t.line = append(t.line, k)
		echo = []byte{k}
		if k < ' ' && k != '\t' {
			echo = []byte{'^', k + 64}
		}
	}
	if t.quiet {
		return nil
	}
	return echo
}

// eraseLocked takes bytes off the line, and what is left of a character with
// them.
func (t *terminal) eraseLocked(n int) []byte {
	var echo []byte
	for end := len(t.line) - n; len(t.line) > 0 && len(t.line) > end; {
		_, size := utf8.DecodeLastRune(t.line)
		t.line = t.line[:len(t.line)-size]
		echo = append(echo, "\b \b"...)
	}
	return echo
}

func (t *terminal) pushLocked(e terminalEvent) {
	if len(t.events) >= maxEvents {
		return
	}
	t.events = append(t.events, e)
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// next waits for a line or a key.
func (t *terminal) next(ctx context.Context) (terminalEvent, error) {
	for {
		t.mu.Lock()
		if len(t.events) > 0 {
			e := t.events[0]
			t.events = t.events[1:]
			t.mu.Unlock()
			return e, nil
		}
		t.mu.Unlock()
		select {
		case <-t.ready:
		case <-ctx.Done():
			return terminalEvent{}, ctx.Err()
		}
	}
}

// during makes stop what Ctrl-C does until the returned function is called. One
// that came since the command was read is for the command.
func (t *terminal) during(stop func()) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupt = stop
	if len(t.events) > 0 && t.events[0].interrupted {
		t.events = t.events[1:]
		stop()
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.interrupt = nil
	}
}

// echo turns the echo on or off.
func (t *terminal) echo(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quiet = !on
}

// resize takes a message of the client about its window.
func (t *terminal) resize(message []byte) {
	var size struct{ Cols, Rows uint16 }
	if json.Unmarshal(message, &size) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size.Cols, t.size.Rows = size.Cols, size.Rows
}

func (t *terminal) window() (cols, rows uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size.Cols, t.size.Rows
}
