package simfleet

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
)

// output is one program's standard output. Programs and builtins do not look at
// whether their writing works; it does, for all of them.
type output struct {
	io.Writer
	full atomic.Bool // a write found no room
}

// outputOf gives a program an output of its own: what it writes there is not
// its parent's failure.
func outputOf(w io.Writer) *output {
	if of, ok := w.(*output); ok {
		w = of.Writer
	}
	return &output{Writer: w}
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if errors.Is(err, syscall.ENOSPC) {
		o.full.Store(true)
	}
	return n, err
}

// status is a program's exit status once it has ended: cat, printf and all
// others fail where their output found no room, and say so.
func (o *output) status(p *process, status int) int {
	if !o.full.Load() || status != 0 {
		return status
	}
	return p.fail(1, "write error: No space left on device")
}

// shellEcho is echo as the interpreter has it.
func shellEcho(_ context.Context, _ *shell, q *process) int {
	args, end, escapes := q.args[1:], "\n", false
	for len(args) > 0 && (args[0] == "-n" || args[0] == "-e" || args[0] == "-E") {
		switch args[0] {
		case "-n":
			end = ""
		case "-e":
			escapes = true
		}
		args = args[1:]
	}
	line := strings.Join(args, " ")
	if escapes {
		line, _ = unescapeAll(line)
	}
	q.printf("%s%s", line, end)
	return 0
}
