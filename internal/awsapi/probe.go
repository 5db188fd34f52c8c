package awsapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Prober runs one script on instances by Run Command, as root, and gives what it
// prints. It can run nothing else: what it is made with is all that it sends, but
// for the fetching of long answers. Its method may run concurrently; instances of
// one Region that are asked at the same time are asked in one call.
type Prober struct {
	commands *Commands
	script   func(fleet.Host) string
	timeout  time.Duration
}

// NewProber prepares runs of a script with the accounts' credentials. Systems
// Manager ends a run that takes longer than the timeout.
func NewProber(script func(fleet.Host) string, timeout time.Duration, accounts ...*Account) *Prober {
	return &Prober{commands: NewCommands(NewChanger(accounts...)), script: script, timeout: timeout}
}

const (
	// partSize is how much of a packed answer is fetched at once, in characters of
	// base64: with the line before it, it stays below mostOutput.
	partSize = 23_000
	// mostParts bounds what is fetched of one host: each part takes a second or two.
	mostParts = 24
	// mostAnswer bounds an answer that was unpacked, in bytes.
	mostAnswer = 16 << 20
)

//go:embed probe_pack.sh
var packScript string

// Probe runs the script on an instance that Systems Manager lists as Online. Of an
// answer that broke off, what arrived comes with the error; one that is longer
// than what is fetched is cut, with Truncated set and no error.
func (p *Prober) Probe(ctx context.Context, h fleet.Host) (fleet.ProbeOutput, error) {
	out := fleet.ProbeOutput{Way: fleet.WaySessionManager}
	first, err := p.run(ctx, h, "inventory", packed(p.script(h)))
	out.Stderr = first.Stderr
	if err != nil {
		return out, err
	}
	a, err := readAnswer(first.Stdout)
	if err != nil {
		return out, err
	}
	fetchErr := a.fetch(func(script string) ([]byte, error) {
		r, err := p.run(ctx, h, "inventory, more of the answer", script)
		return r.Stdout, err
	})
	out.Stdout, out.Truncated, err = a.unpack()
	return out, cmp.Or(fetchErr, err)
}

// packed is the script with what packs its answer.
func packed(script string) string {
	return fmt.Sprintf("PART=%d\nprobe() (\n%s\n)\n%s", partSize, script, packScript)
}

func (p *Prober) run(ctx context.Context, h fleet.Host, name, script string) (fleet.ScriptResult, error) {
	r := p.commands.Run(ctx, h, fleet.WaySessionManager, fleet.Script{Name: name, Text: script, Timeout: p.timeout})
	switch {
	case r.Ended && r.Exit == 0:
		return r, nil
	case r.Ended:
		return r, fmt.Errorf("by Run Command: the script ended with code %d: %s", r.Exit, clean(clip(string(bytes.TrimSpace(r.Stderr)), 300)))
	case r.Reason != "":
		return r, errors.New("by Run Command: " + r.Reason)
	}
	return r, errors.New("by Run Command: the host gave no answer")
}

// packedAnswer is an answer in parts, as far as it has been fetched.
type packedAnswer struct {
	form string // "gzip" or "plain"
	size int    // in characters of base64
	kept string // the folder on the host that holds all of it; empty: nothing is left to fetch
	text []byte // what has been fetched, in base64
}

// keptFolder is what the folder of a kept answer can be: it goes into a script.
var keptFolder = regexp.MustCompile(`^(/run|/dev/shm|/tmp)/migrate-probe\.[A-Za-z0-9]+$`)

// readAnswer reads the first part of an answer.
func readAnswer(stdout []byte) (*packedAnswer, error) {
	line, text, _ := strings.Cut(string(stdout), "\n")
	f := strings.Split(line, "\t")
	if len(f) != 4 || f[0] != "migrate-answer 1" {
		return nil, fmt.Errorf("the host ran something other than the probe, which said %q", clean(clip(line, 300)))
	}
	size, err := strconv.Atoi(f[2])
	if err != nil || size < 0 || f[1] != "gzip" && f[1] != "plain" {
		return nil, fmt.Errorf("the host's answer begins with a line that is not understood: %q", clean(clip(line, 300)))
	}
	a := &packedAnswer{form: f[1], size: size, text: []byte(strings.TrimSpace(text))}
	if f[3] != "-" {
		if !keptFolder.MatchString(f[3]) {
			return nil, fmt.Errorf("the host says that it keeps its answer in %q, where it should not be", clean(clip(f[3], 300)))
		}
		a.kept = f[3]
	}
	return a, nil
}

// fetch fetches what is left, part by part.
func (a *packedAnswer) fetch(run func(script string) ([]byte, error)) error {
	if a.kept == "" {
		return nil
	}
	parts := min((a.size+partSize-1)/partSize, mostParts)
	for n := 1; n < parts; n++ {
		script := fmt.Sprintf("tail -c +%d '%s/answer' | head -c %d\n", n*partSize+1, a.kept, partSize)
		if n == parts-1 {
			script += fmt.Sprintf("rm -rf '%s'\n", a.kept)
		}
		part, err := run(script)
		if err != nil {
			return fmt.Errorf("fetch part %d of %d of the answer: %w", n+1, parts, err)
		}
		part = bytes.TrimSpace(part)
		if want := min(partSize, a.size-n*partSize); len(part) != want {
			return fmt.Errorf("fetch part %d of %d of the answer: %d characters came in place of %d", n+1, parts, len(part), want)
		}
		a.text = append(a.text, part...)
	}
	return nil
}

// unpack gives the answer, as much of it as there is; cut tells that there is more.
func (a *packedAnswer) unpack() (text []byte, cut bool, err error) {
	whole := len(a.text) == a.size
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(a.text)))
	if !whole {
		a.text = a.text[:len(a.text)/4*4] // base64 can be cut after any four characters
	}
	n, err := base64.StdEncoding.Decode(raw, a.text)
	if err != nil {
		return nil, !whole, fmt.Errorf("unpack the host's answer: %w", err)
	}
	var r io.Reader = bytes.NewReader(raw[:n])
	if a.form == "gzip" {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, !whole, fmt.Errorf("unpack the host's answer: %w", err)
		}
	}
	text, err = io.ReadAll(io.LimitReader(r, mostAnswer+1))
	if len(text) > mostAnswer {
		return text[:mostAnswer], true, nil
	}
	if err != nil && whole {
		return text, false, fmt.Errorf("unpack the host's answer: %w", err)
	}
	return text, !whole, nil
}
