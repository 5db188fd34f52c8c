package main

import (
	"bytes"
	"context"
	_ "embed" // cp.sh
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

//go:embed cp.sh
var copyFunctions string

// hostRunner runs scripts as root on hosts.
type hostRunner interface {
	Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult
}

// hostEnd is a host, by Run Command.
type hostEnd struct {
	commands hostRunner
	objects  *awsapi.Objects
	host     fleet.Host
	path     string
	query    copyQuery
	id       string  // of what look leaves on the host
	arrival  arrival // at the destination
	spooled  bool
}

func (e *hostEnd) identity() string { return e.host.ID + ":" + e.path }

const (
	// lookTimeout bounds the reading, packing and unpacking of everything.
	lookTimeout = time.Hour
	// stepTimeout bounds one step; its URLs are valid a little longer, since
	// Run Command may take a minute to deliver it.
	stepTimeout = 10 * time.Minute
	linkExpires = 15 * time.Minute
	// mostCommand is how large a script may be: AWS does not publish what
	// Run Command takes in all, and refuses more than some 50 KB.
	mostCommand = 44_000
)

// quote makes a word of a text for a POSIX sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// script is what runs on the host: settings, the functions, and calls of them.
func (e *hostEnd) script(calls string) string {
	flag := map[bool]string{true: "1", false: "0"}
	kind := map[bool]string{true: "directory", false: "file"}
	mode := e.arrival.Mode & 0o777
	if !e.query.preserve {
		mode &^= 0o022
	}
	region := ""
	if e.objects != nil {
		region = e.objects.Region
	}
	var b strings.Builder
	for _, s := range [][2]string{
		{"f", e.path}, {"id", e.id}, {"by", e.query.by}, {"bucket", e.query.bucket}, {"region", region}, {"recursive", flag[e.query.recursive]},
		{"preserve", flag[e.query.preserve]}, {"tag", e.arrival.tag}, {"kind", kind[e.arrival.Directory]}, {"name", e.arrival.Name}, {"sum", e.arrival.Sum},
		{"size", strconv.FormatInt(e.arrival.Size, 10)}, {"count", strconv.Itoa(e.arrival.parts)}, {"mode", strconv.FormatUint(uint64(mode), 8)},
		{"mtime", strconv.FormatInt(e.arrival.Modified, 10)}, {"mib", strconv.FormatInt(max(e.arrival.partSize, leastPart)/mebibyte, 10)},
	} {
		b.WriteString(s[0] + "=" + quote(s[1]) + "\n")
	}
	text := b.String() + copyFunctions + "\n" + calls
	if e.query.as == "" {
		return text
	}
	// What Run Command starts as root becomes the user before it touches anything.
	const end = "END-OF-MIGRATE-CP"
	return "user=" + quote(e.query.as) + `
id "$user" >/dev/null 2>&1 || { echo "failed there is no user $user on the host"; exit 7; }
cd /
if command -v runuser >/dev/null 2>&1; then set -- runuser -u "$user" -- sh -s
elif command -v sudo >/dev/null 2>&1; then set -- sudo -n -H -u "$user" sh -s
else set -- su -s /bin/sh "$user" -c 'sh -s'
fi
"$@" <<'` + end + "'\n" + text + "\n" + end + "\n"
}

// do runs calls on the host and gives the lines that they printed: a word and the rest.
func (e *hostEnd) do(ctx context.Context, name, calls string, timeout time.Duration) ([][2]string, error) {
	r := e.commands.Run(ctx, e.host, fleet.WaySessionManager, fleet.Script{Name: "cp " + name, Text: e.script(calls), Timeout: timeout})
	if r.Started != fleet.TruthYes {
		return nil, fmt.Errorf("%s on %s: %s", name, e.host.ID, oneLine(r.Reason))
	}
	var out [][2]string
	for line := range bytes.Lines(r.Stdout) {
		word, rest, _ := strings.Cut(strings.TrimRight(string(line), "\n"), " ")
		if word == "failed" {
			return nil, fmt.Errorf("%s: %s", e.host.ID, oneLine(rest))
		}
		out = append(out, [2]string{word, rest})
	}
	switch {
	case !r.Ended:
		return nil, fmt.Errorf("%s on %s: %s", name, e.host.ID, oneLine(r.Reason))
	case r.Exit != 0:
		return nil, fmt.Errorf("%s on %s: exit code %d: %s", name, e.host.ID, r.Exit, oneLine(string(r.Stderr)))
	case r.Cut:
		return nil, fmt.Errorf("%s on %s: the answer is too long", name, e.host.ID)
	}
	return out, nil
}

// answered finds what follows a word in the answer.
func (e *hostEnd) answered(lines [][2]string, word string) (string, error) {
	for _, l := range lines {
		if l[0] == word {
			return l[1], nil
		}
	}
	return "", fmt.Errorf("%s did not answer what was asked", e.host.ID)
}

func (e *hostEnd) look(ctx context.Context, id string) (copyItem, error) {
	e.id = id
	e.path = strings.TrimSuffix(e.path, "/")
	if e.path == "" {
		e.path = "/"
	}
	lines, err := e.do(ctx, "look", "look\n", lookTimeout)
	if err != nil {
		return copyItem{}, err
	}
	text, err := e.answered(lines, "item")
	if err != nil {
		return copyItem{}, err
	}
	i, err := parseItem(text)
	e.spooled = i.Directory
	return i, err
}

// parseItem reads "KIND SIZE TIME MODE SUM NAME".
func parseItem(text string) (copyItem, error) {
	f := strings.SplitN(text, " ", 6)
	if len(f) != 6 || f[0] != "file" && f[0] != "directory" {
		return copyItem{}, errors.New("the host's answer makes no sense")
	}
	size, errSize := strconv.ParseInt(f[1], 10, 64)
	at, errAt := strconv.ParseInt(f[2], 10, 64)
	mode, errMode := strconv.ParseUint(f[3], 8, 12)
	if err := errors.Join(errSize, errAt, errMode); err != nil {
		return copyItem{}, fmt.Errorf("the host's answer makes no sense: %s", oneLine(err.Error()))
	}
	i := copyItem{Directory: f[0] == "directory", Size: size, Modified: at, Mode: uint32(mode), Sum: f[4], Name: f[5]}
	return i, i.check()
}

// steps runs a call for each part, as many in one command as go into it.
func (e *hostEnd) steps(ctx context.Context, name, begin, call, done string, parts []part, link func(context.Context, string, time.Duration) (string, error)) error {
	for len(parts) > 0 {
		calls, n := begin+"\n", 0
		for _, p := range parts {
			where := p.key
			if e.query.by == copyByURLs {
				var err error
				if where, err = link(ctx, p.key, linkExpires); err != nil {
					return err
				}
			}
			line := fmt.Sprintf("%s %d %s\n", call, p.number, quote(where))
			if n > 0 && len(copyFunctions)+len(calls)+len(line)+4096 > mostCommand {
				break
			}
			calls += line
			n++
		}
		lines, err := e.do(ctx, name, calls, stepTimeout)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, l := range lines {
			if l[0] == done {
				seen[l[1]] = true
			}
		}
		for _, p := range parts[:n] {
			if !seen[strconv.Itoa(p.number)] {
				return fmt.Errorf("%s did not answer for part %d", e.host.ID, p.number)
			}
		}
		parts = parts[n:]
	}
	return nil
}

func (e *hostEnd) send(ctx context.Context, c arrival, parts []part) error {
	e.arrival.partSize = c.partSize
	return e.steps(ctx, "send", "open_source", "send", "sent", parts, e.objects.PutURL)
}

func (e *hostEnd) forget(ctx context.Context) error {
	if !e.spooled {
		return nil
	}
	_, err := e.do(ctx, "forget", "forget\n", stepTimeout)
	return err
}

func (e *hostEnd) place(ctx context.Context, c arrival) (map[int]bool, error) {
	e.arrival = c
	lines, err := e.do(ctx, "place", "place\n", stepTimeout)
	if err != nil {
		return nil, err
	}
	text, err := e.answered(lines, "have")
	if err != nil && c.parts > 0 {
		return nil, err
	}
	have := map[int]bool{}
	for word := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n >= c.parts {
			return nil, fmt.Errorf("%s says that it has part %s", e.host.ID, oneLine(word))
		}
		have[n] = true
	}
	return have, nil
}

func (e *hostEnd) receive(ctx context.Context, parts []part) error {
	return e.steps(ctx, "receive", "open_place", "receive", "received", parts, e.objects.GetURL)
}

func (e *hostEnd) finish(ctx context.Context) (string, error) {
	lines, err := e.do(ctx, "finish", "finish\n", lookTimeout)
	if err != nil {
		return "", err
	}
	at, err := e.answered(lines, "done")
	return e.host.ID + ":" + at, err
}
