package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// realShell runs the host's script on this machine.
type realShell struct {
	shell []string
	env   []string
	log   *sharedLog
}

// sharedLog is written by both ends of a copy.
type sharedLog struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *sharedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (r realShell) Run(ctx context.Context, _ fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	file, err := os.CreateTemp("", "script-")
	if err == nil {
		_, err = file.WriteString(s.Text)
	}
	if err != nil {
		return fleet.ScriptResult{Started: fleet.TruthNo, Reason: err.Error()}
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }()
	c := exec.CommandContext(ctx, r.shell[0], append(r.shell[1:len(r.shell):len(r.shell)], file.Name())...)
	var out, errs bytes.Buffer
	c.Env, c.Stdout, c.Stderr = r.env, &out, &errs
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fleet.ScriptResult{Started: fleet.TruthNo, Reason: err.Error()}
	}
	_, _ = r.log.Write(errs.Bytes())
	return fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Exit: c.ProcessState.ExitCode(), Stdout: out.Bytes(), Stderr: errs.Bytes(), Way: way}
}

// tools is a folder that programs are found in: those named, and no others.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		at := filepath.Join("/usr/bin", name) // Debian's: others in PATH may be scripts
		if _, err := os.Stat(at); err != nil {
			t.Fatalf("install %s: apt-get install dash bash busybox curl wget python3 awscli", name)
		}
		if err := os.Symlink(at, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// awsTools is a folder with the AWS CLI, whose version may not know AWS_ENDPOINT_URL.
func awsTools(t *testing.T, more []string) string {
	t.Helper()
	dir := tools(t, append([]string{"aws"}, more...)...)
	at := filepath.Join(dir, "aws")
	if err := errors.Join(os.Remove(at), os.WriteFile(at, []byte("#!/bin/sh\nexec /usr/bin/aws --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"\n"), 0o755)); err != nil { //nolint:gosec // it is to be executable
		t.Fatal(err)
	}
	return dir
}

// busyboxTools is a folder with all of busybox's programs.
func busyboxTools(t *testing.T, more ...string) string {
	t.Helper()
	dir := tools(t, append(more, "busybox")...)
	if out, err := exec.Command("busybox", "--install", "-s", dir).CombinedOutput(); err != nil && !strings.Contains(string(out), "File exists") {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// The script of hosts on real shells, with each program that it knows to carry
// parts, against the simulated S3.
func TestCopyScriptOnRealShells(t *testing.T) {
	if ownProcess(t) {
		return
	}
	d := ownSim(t, demoOptions{instances: 3, seed: 7, healthy: true, noThrottle: true})
	for _, v := range d.env {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value)
		}
	}
	ctx := context.Background()
	account, err := awsapi.Open(ctx, awsapi.Access{Regions: []string{d.world.Accounts[0].Regions[0].Name}}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := awsapi.OpenObjects(ctx, []*awsapi.Account{account}, "", demoCopyBucket)
	if err != nil {
		t.Fatal(err)
	}
	core := []string{"sh", "id", "getent", "cut", "rm", "sha256sum", "mktemp", "tail", "grep", "mkdir", "stat", "tar", "dirname", "basename", "dd", "rmdir", "df", "du", "mv", "cat", "chown", "chmod", "touch", "sync", "sleep"}
	withTools := func(more ...string) string { return tools(t, append(more, core...)...) }
	tests := []struct {
		name, by, up, down string // the folders with programs, for the source and for the destination
		shell              []string
	}{
		{"dash-curl", copyByURLs, withTools("curl"), withTools("curl"), []string{"dash"}},
		{"bash-wget", copyByURLs, withTools("wget"), withTools("wget"), []string{"bash", "--posix"}},
		{"dash-python", copyByURLs, withTools("python3"), withTools("python3"), []string{"dash"}},
		{"busybox", copyByURLs, busyboxTools(t, "curl"), busyboxTools(t), []string{"busybox", "sh"}},
		{"role", copyByRole, awsTools(t, core), awsTools(t, core), []string{"dash"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.name != tests[0].name {
				t.Skip("other programs show the race detector nothing that these do not")
			}
			dir := t.TempDir()
			size := int64(2*leastPart + 12345)
			if tt.by == copyByRole {
				size = 12345 // the AWS CLI takes seconds to begin
			}
			source, sum := randomFile(t, size)
			if err := os.Chmod(source, 0o640); err != nil {
				t.Fatal(err)
			}
			then := time.Unix(1_700_000_000, 0)
			if err := os.Chtimes(source, then, then); err != nil {
				t.Fatal(err)
			}
			var log sharedLog
			end := func(id, path, bin string, q copyQuery) *hostEnd {
				q.by, q.bucket = tt.by, demoCopyBucket
				run := realShell{tt.shell, append(os.Environ(), "PATH="+bin, "TMPDIR="+dir), &log}
				return &hostEnd{commands: run, objects: objects, host: fleet.Host{ID: id}, path: path, query: q}
			}
			copied := func(from, to string, q copyQuery) (copyResult, error) {
				q.prefix, q.by = defaultCopyPrefix, tt.by
				c := transfer{query: q, from: end("i-1", from, tt.up, q), to: end("i-2", to, tt.down, q), objects: objects, progress: newCopyProgress(&log)}
				return c.run(ctx)
			}

			t.Cleanup(func() {
				if keys := d.world.ObjectKeys(demoCopyBucket); len(keys) > 0 {
					t.Errorf("left in the bucket: %q", keys)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "*migrate-cp*")); len(left) > 0 {
					t.Errorf("left beside the destination: %q", left)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, ".*migrate-cp*")); len(left) > 0 {
					t.Errorf("left beside the destination: %q", left)
				}
				if strings.Contains(log.String(), "X-Amz-") {
					t.Errorf("a URL shows:\n%s", log.String())
				}
			})

			// A name that a shell or curl would read as something else.
			odd := filepath.Join(dir, `it's "odd" $(id) \ name`)
			got, err := copied(source, odd, copyQuery{preserve: true})
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			info, err := os.Stat(odd)
			if err != nil || got.Sum != sum || sumOfFile(t, odd) != sum {
				t.Fatalf("%+v, %v: the sum is not %s", got, err, sum)
			}
			if info.Mode().Perm() != 0o640 || !info.ModTime().Equal(then) {
				t.Errorf("mode %v and time %v are not kept", info.Mode(), info.ModTime())
			}

			if tt.by == copyByRole {
				return
			}
			// A directory, with what is in directories.
			tree := filepath.Join(dir, "tree")
			makeTree(t, tree)
			if _, err := copied(tree, filepath.Join(dir, "copy"), copyQuery{recursive: true, preserve: true}); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			sameTree(t, tree, filepath.Join(dir, "copy"))
			if _, err := copied(tree, filepath.Join(dir, "copy"), copyQuery{recursive: true}); err != nil {
				t.Errorf("into a directory: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "copy", "tree", "sub", "empty")); err != nil {
				t.Error(err)
			}

			if tt.name != tests[0].name {
				return // the rest is no different where programs differ
			}
			// An empty file, and what is refused.
			empty := filepath.Join(tree, "sub", "empty")
			if _, err := copied(empty, filepath.Join(dir, "empty"), copyQuery{}); err != nil {
				t.Errorf("an empty file: %v", err)
			}
			link := filepath.Join(dir, "link")
			if err := os.Symlink(odd, link); err != nil {
				t.Fatal(err)
			}
			for _, no := range []struct{ from, to, want string }{
				{tree, filepath.Join(dir, "new"), "-r copies directories"},
				{filepath.Join(dir, "missing"), filepath.Join(dir, "new"), "there is no"},
				{source, link, "is a symbolic link"},
				{source, filepath.Join(dir, "nowhere", "new"), "there is no directory"},
				{source, filepath.Join(dir, "nowhere") + "/", "there is no directory"},
			} {
				if _, err := copied(no.from, no.to, copyQuery{}); err == nil || !strings.Contains(err.Error(), no.want) {
					t.Errorf("%s to %s: %v, want %q", no.from, no.to, err, no.want)
				}
			}
			if sumOfFile(t, odd) != sum {
				t.Error("the link's target was written")
			}
		})
	}
}

// makeTree makes a directory with files, links and modes of all kinds.
func makeTree(t *testing.T, at string) {
	t.Helper()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(at, "sub", "deep"), 0o755),
		os.WriteFile(filepath.Join(at, "file"), []byte("content\n"), 0o644),
		os.WriteFile(filepath.Join(at, "sub", "run.sh"), []byte("#!/bin/sh\n"), 0o755), //nolint:gosec // it is to be executable
		os.WriteFile(filepath.Join(at, "sub", "empty"), nil, 0o600),
		os.WriteFile(filepath.Join(at, "sub", "deep", "-n blank"), []byte("x"), 0o600),
		os.Symlink("../file", filepath.Join(at, "sub", "link")),
		os.Symlink("/nowhere", filepath.Join(at, "dangling")),
	); err != nil {
		t.Fatal(err)
	}
}

// sameTree compares names, kinds, modes, links and content.
func sameTree(t *testing.T, a, b string) {
	t.Helper()
	describe := func(root string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			text := info.Mode().String()
			switch {
			case info.Mode().IsRegular():
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text += " " + string(content)
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(path)
				if err != nil {
					return err
				}
				text += " " + target
			}
			out[strings.TrimPrefix(path, root)] = text
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want, got := describe(a), describe(b)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}
