package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Command is a command whose output is found between two marks with a random
// number in them, whatever a terminal, a shell and its prompts write around it.
type Command struct {
	a, b   string // the mark, in two halves: what echoes the command does not show it whole
	script string // for a POSIX sh
}

// NewCommand prepares a command for Run. Its text is one line for a POSIX sh.
// It must be harmless to run twice, and may hold neither quotes nor anything
// else that csh or fish would see in a quoted word: Run types it into shells
// that it does not know.
func NewCommand(text string) (Command, error) {
	if text == "" || len(text) > 200 {
		return Command{}, fmt.Errorf("a command of %d bytes: it has to have 1 to 200", len(text))
	}
	for _, r := range text {
		if r < ' ' || r > '~' || strings.ContainsRune("'\\!`", r) {
			return Command{}, fmt.Errorf("the command holds %q, which not every shell takes as it is", r)
		}
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	n := hex.EncodeToString(random[:])
	c := Command{a: "m" + n[:12], b: n[12:]}
	c.script = fmt.Sprintf(`echo; echo %[1]s"":begin:%[2]s; %[3]s; x=$?; echo; echo %[1]s"":end:%[2]s:$x:`, c.a, c.b, text)
	return c, nil
}

// Script is the command with its marks, as the parameter of a document that
// runs commands (AWS-StartInteractiveCommand, AWS-StartNonInteractiveCommand).
func (c Command) Script() string { return c.script }

// Result is what came of a command.
type Result struct {
	// Output is what it wrote to the terminal, with LF as line end, without
	// escape sequences and without the blank lines around it. It is hostile.
	Output string
	Exit   int
}

// ErrNoAnswer says that the session was open and the command did not answer.
var ErrNoAnswer = errors.New("no answer to the command")

const (
	// maxOutput bounds what Run reads.
	maxOutput = 256 << 10
	// patience is how long a shell may take to show itself before something
	// is sent to it: one whose prompt is empty shows nothing.
	patience = 5 * time.Second
	// typeAgain is after how long it types again: what starts a shell may
	// throw away what was typed before.
	typeAgain = 10 * time.Second
)

// Run runs a command and gives its output and exit code. In a shell it types
// the command, and exit after it; in a session whose document runs the command
// (Script), it only reads. It fails with ErrNoAnswer when ctx ended before the
// answer came, or more than 256 KiB came without it, and with an *EndError when
// the session ended before.
func (c *Channel) Run(ctx context.Context, command Command) (Result, error) {
	if err := c.begin(ctx); err != nil {
		return Result{}, unanswered(err, nil)
	}
	typed := c.Kind() == KindShell
	if typed {
		if err := c.resize(ctx, Size{Cols: 300, Rows: 100}); err != nil {
			return Result{}, unanswered(err, nil)
		}
	}
	var seen []byte
	for {
		if typed && !command.begun(seen) {
			if err := c.send(ctx, PayloadOutput, []byte(" sh -c '"+command.script+"'; exit\r")); err != nil {
				return Result{}, unanswered(err, seen)
			}
		}
		r, found, err := c.answer(ctx, command, &seen)
		if found || err != nil {
			return r, err
		}
	}
}

// begin waits until the session serves, or a shell has had its time to.
func (c *Channel) begin(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.Ready(short)
	if err != nil && ctx.Err() == nil && c.Err() == nil {
		return nil
	}
	return err
}

// answer reads until the command's end, or until it is time to type again.
func (c *Channel) answer(ctx context.Context, command Command, seen *[]byte) (Result, bool, error) {
	turn, cancel := context.WithTimeout(ctx, typeAgain)
	defer cancel()
	for {
		i, err := c.next(turn)
		switch {
		case err != nil && ctx.Err() == nil && c.Err() == nil:
			return Result{}, false, nil
		case err != nil:
			return Result{}, false, unanswered(err, *seen)
		case i.kind != PayloadOutput && i.kind != PayloadStderr:
			continue
		}
		*seen = append(*seen, i.payload...)
		if r, ok := command.find(*seen); ok {
			return r, true, nil
		}
		if len(*seen) > maxOutput {
			return Result{}, false, fmt.Errorf("%w: %d KiB came without it", ErrNoAnswer, maxOutput>>10)
		}
	}
}

// unanswered tells what was seen instead of an answer.
func unanswered(err error, seen []byte) error {
	var end *EndError
	shown := strings.TrimSpace(plainText(seen))
	if len(shown) > 200 {
		shown = "…" + shown[len(shown)-200:]
	}
	if shown = line(shown); shown != "" {
		shown = "; the session showed: " + shown
	}
	switch {
	case errors.As(err, &end):
		return fmt.Errorf("before the command answered, %w%s", err, shown)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w in time%s", ErrNoAnswer, shown)
	}
	return err
}

func (c Command) begun(seen []byte) bool {
	return strings.Contains(plainText(seen), c.a+":begin:"+c.b)
}

// find looks for the command's answer.
func (c Command) find(seen []byte) (Result, bool) {
	// Cheap before expensive: this is called for every message.
	if !bytes.Contains(seen, []byte(":end:"+c.b)) {
		return Result{}, false
	}
	text := plainText(seen)
	_, rest, ok := strings.Cut(text, c.a+":begin:"+c.b)
	if !ok {
		return Result{}, false
	}
	output, rest, ok := strings.Cut(rest, c.a+":end:"+c.b+":")
	code, _, whole := strings.Cut(rest, ":")
	exit, err := strconv.Atoi(code)
	if !ok || !whole || err != nil || exit < 0 || exit > 255 {
		return Result{}, false
	}
	return Result{Output: strings.Trim(output, "\n"), Exit: exit}, true
}

// escape sequences of terminals: CSI, OSC and the like, and two-byte ones.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\\\)|[ -/]*[0-~])")

// plainText is what a terminal shows, roughly: no escape sequences, no
// carriage returns.
func plainText(b []byte) string {
	return strings.ReplaceAll(escapes.ReplaceAllString(string(b), ""), "\r", "")
}
