package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// randomFile makes a file of so many bytes that no compression makes smaller.
func randomFile(t *testing.T, size int64) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "data.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{1}), size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(h.Sum(nil))
}

func sumOfFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// onHost runs a command line on a simulated host as root.
func onHost(t *testing.T, d *ownFleet, in *simfleet.Instance, line string) string {
	t.Helper()
	var out, errs bytes.Buffer
	status, err := d.hosts.Run(context.Background(), in, "root", line, nil, &out, &errs)
	if err != nil || status != 0 {
		t.Fatalf("%s: status %d, %v\n%s", line, status, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// killedHalfway runs the program and kills it once a third has arrived.
func killedHalfway(t *testing.T, d *ownFleet, args ...string) {
	t.Helper()
	c := d.program(args...)
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(errs)
	seen := ""
	for lines.Scan() {
		seen += lines.Text() + "\n"
		if halfway.MatchString(lines.Text()) {
			_ = c.Process.Kill()
			break
		}
	}
	_, _ = io.Copy(io.Discard, errs)
	if err := c.Wait(); err == nil || !halfway.MatchString(seen) {
		t.Fatalf("the copy was not killed (%v):\n%s", err, seen)
	}
}

var halfway = regexp.MustCompile(`(?m)^(\d[5-9]|1[0-4]\d)(\.\d)? MiB of 200\.0 MiB`)

func TestCopyGoesOnAfterAKill(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 800 MB")
	}
	d, in := connectable(t)
	local, sum := randomFile(t, 200<<20)
	host := in.Host.ID + ":/srv/data.bin"
	region := []string{"--region", in.Region.Name, "--json"}

	there := slices.Concat([]string{"cp", local, host}, region)
	killedHalfway(t, d, there...)
	got := decode[copyResult](t, d.run(t, nil, there...))
	if got.Sum != sum || got.Bytes != 200<<20 || got.Resumed == 0 {
		t.Errorf("to the host: %+v, want the sum %s and some resumed", got, sum)
	}
	if at := onHost(t, d, in, "sha256sum /srv/data.bin"); !strings.HasPrefix(at, sum) {
		t.Errorf("on the host: %s", at)
	}

	back := filepath.Join(t.TempDir(), "back.bin")
	here := slices.Concat([]string{"cp", "-p", host, back}, region)
	killedHalfway(t, d, here...)
	if _, err := os.Stat(back); !os.IsNotExist(err) {
		t.Errorf("a part of the file has its name already: %v", err)
	}
	got = decode[copyResult](t, d.run(t, nil, here...))
	if got.Sum != sum || got.Resumed == 0 || sumOfFile(t, back) != sum {
		t.Errorf("from the host: %+v, want the sum %s and some resumed", got, sum)
	}
	nothingLeft(t, d, in, filepath.Dir(back), "/srv")
}

// nothingLeft looks for what copies may have left: in the bucket, beside the destinations.
func nothingLeft(t *testing.T, d *ownFleet, in *simfleet.Instance, here, there string) {
	t.Helper()
	if keys := d.world.ObjectKeys(demoCopyBucket); len(keys) > 0 {
		t.Errorf("left in the bucket: %q", keys)
	}
	if left, _ := filepath.Glob(filepath.Join(here, ".migrate-cp*")); len(left) > 0 {
		t.Errorf("left here: %q", left)
	}
	if left := onHost(t, d, in, "ls -a "+there+" /tmp /var/tmp"); strings.Contains(left, "migrate-cp") {
		t.Errorf("left on the host: %s", left)
	}
}

// Small copies of all kinds on simulated hosts: users, directories, host to
// host, and what root must not do.
func TestCopyOnHosts(t *testing.T) {
	d, in := connectable(t)
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	makeTree(t, tree)
	id, region, user := in.Host.ID, in.Region.Name, in.OS.User
	cp := func(code int, args ...string) string {
		t.Helper()
		c := d.program(append([]string{"cp", "--region", region}, args...)...)
		var out, errs bytes.Buffer
		c.Stdout, c.Stderr = &out, &errs
		_ = c.Run() // the exit code tells
		if got := c.ProcessState.ExitCode(); got != code {
			t.Fatalf("cp %q: exit code %d, want %d\n%s%s", args, got, code, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	file := filepath.Join(tree, "file")

	// Into the home of a user: not as root, but as the user.
	if got := cp(1, file, id+":/home/"+user+"/"); !strings.Contains(got, "is not root's: copy as its owner (--as USER)") {
		t.Errorf("as root: %s", got)
	}
	cp(0, "--as", user, file, id+":")
	if got := onHost(t, d, in, "stat -c '%U %a' /home/"+user+"/file; cat /home/"+user+"/file"); got != user+" 644\ncontent" {
		t.Errorf("as the user: %q", got)
	}
	if got := cp(1, "--as", user, id+":/etc/shadow", dir); !strings.Contains(got, "cannot be read by this user") {
		t.Errorf("the shadow file: %s", got)
	}
	if got := cp(1, "--as", user, file, id+":/etc/"); !strings.Contains(got, "cannot be written by this user") {
		t.Errorf("into /etc: %s", got)
	}
	if got := cp(1, "--as", "nobody-such", file, id+":"); !strings.Contains(got, "there is no user nobody-such") {
		t.Errorf("as nobody: %s", got)
	}

	// Links at the destination.
	onHost(t, d, in, "ln -s /etc/passwd /srv/link; ln -s /home/"+user+" /srv/home")
	if got := cp(1, file, id+":/srv/link"); !strings.Contains(got, "is a symbolic link") {
		t.Errorf("to a link: %s", got)
	}
	if got := cp(1, file, id+":/srv/home/x"); !strings.Contains(got, "is not root's") {
		t.Errorf("through a link: %s", got)
	}

	// A directory there, to another place there, and back.
	cp(0, "-r", "-p", tree, id+":/srv")
	cp(0, "-r", "-p", id+":/srv/tree", id+":/srv/second")
	cp(0, "-r", "-p", id+":/srv/second", filepath.Join(dir, "back"))
	sameTree(t, tree, filepath.Join(dir, "back"))
	if got := cp(1, "-r", tree, id+":/srv"); !strings.Contains(got, "is there already") {
		t.Errorf("over a directory: %s", got)
	}

	// A file that is replaced keeps owner and mode.
	onHost(t, d, in, "echo old >/srv/kept; chmod 640 /srv/kept; chown "+user+" /srv/kept")
	cp(0, file, id+":/srv/kept")
	if got := onHost(t, d, in, "stat -c '%U %a' /srv/kept; cat /srv/kept"); got != user+" 640\ncontent" {
		t.Errorf("replaced: %q", got)
	}
	nothingLeft(t, d, in, dir, "/srv /home/"+user)
}

func TestCleanRemovesWhatKilledCopiesLeft(t *testing.T) {
	d, in := connectable(t)
	local, _ := randomFile(t, 200<<20)
	killedHalfway(t, d, "cp", "--region", in.Region.Name, local, in.Host.ID+":/srv/data.bin")
	// A part may still have been on its way into the bucket.
	if len(d.world.ObjectKeys(demoCopyBucket)) == 0 {
		t.Skip("the copy was killed while nothing was in the bucket")
	}
	type cleaned struct{ Removed, Kept int }
	if got := decode[cleaned](t, d.run(t, nil, "cp", "--clean", "--json")); got.Removed != 0 || got.Kept == 0 {
		t.Errorf("what may be under way: %+v", got)
	}
	if got := decode[cleaned](t, d.run(t, nil, "cp", "--clean", "--older-than", "0s", "--json")); got.Removed == 0 || got.Kept != 0 {
		t.Errorf("all: %+v", got)
	}
	if keys := d.world.ObjectKeys(demoCopyBucket); len(keys) > 0 {
		t.Errorf("left in the bucket: %q", keys)
	}
}
