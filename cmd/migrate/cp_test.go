package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
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
	if !*long {
		t.Skip("it takes a minute or more: make long runs it")
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

func TestCleanRemovesWhatBrokenCopiesLeft(t *testing.T) {
	d, in := connectable(t)
	local, _ := randomFile(t, 3*leastPart)
	copying := []string{"cp", "--region", in.Region.Name, local, in.Host.ID + ":/srv/data.bin"}
	d.faults.Set(simfleet.Fault{Service: "s3", Action: "GetObject", Kind: simfleet.FaultDeny})
	d.run(t, []int{exitError}, copying...)
	d.faults.Set()
	if keys := d.world.ObjectKeys(demoCopyBucket); len(keys) == 0 {
		t.Fatal("nothing is in the bucket")
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
	// What was cleaned away is sent again.
	d.run(t, nil, copying...)
	nothingLeft(t, d, in, t.TempDir(), "/srv")
}

func TestStaleCopies(t *testing.T) {
	now := time.Now()
	one, two := "0123456789abcdef-00000000000000000000000000000001/", "0123456789abcdef-00000000000000000000000000000002/"
	list := []awsapi.StoredObject{
		{Key: "p/" + one + "000000", Modified: now.Add(-2 * time.Hour)},
		{Key: "p/" + one + "000001", Modified: now.Add(-time.Minute)},
		{Key: "p/" + two + "000000", Modified: now.Add(-2 * time.Hour)},
		{Key: "p/" + two + "000001", Modified: now.Add(-3 * time.Hour)},
		{Key: "p/somebody's", Modified: now.Add(-100 * time.Hour)},
		{Key: "p/" + two + "000001/more", Modified: now.Add(-100 * time.Hour)},
	}
	stale, kept := staleCopies(list, "p/", now.Add(-time.Hour))
	if len(stale) != 2 || !strings.HasPrefix(stale[0].Key, "p/"+two) || !strings.HasPrefix(stale[1].Key, "p/"+two) || kept != 4 {
		t.Errorf("%+v, %d kept", stale, kept)
	}
}

func TestHostPath(t *testing.T) {
	for spec, want := range map[string][3]string{
		"web-1:/etc/hosts": {"web-1", "/etc/hosts", "yes"},
		"web-1:":           {"web-1", ".", "yes"},
		"web-1:a:b":        {"web-1", "a:b", "yes"},
		"./web-1:x":        {"", "./web-1:x", ""},
		"/a:b":             {"", "/a:b", ""},
		":x":               {"", ":x", ""},
		"file":             {"", "file", ""},
	} {
		host, path, remote := hostPath(spec)
		if host != want[0] || path != want[1] || remote != (want[2] == "yes") {
			t.Errorf("%s: %q, %q, %v", spec, host, path, remote)
		}
	}
	for path, want := range map[string]string{"a": "./a", "-rf": "./-rf", "/a/../b": "/b", "/a/": "/a/", ".": "./.", "/": "/"} {
		if got, err := checkHostPath(path); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"a\nb", "a\x00b", "\xff", "/x/{{ssm:secret}}", strings.Repeat("a", 2000)} {
		if got, err := checkHostPath(path); err == nil {
			t.Errorf("%q is taken as %q", path, got)
		}
	}
}

// A host's answer is the host's: it names no place and makes no promise that we keep.
func FuzzParseItem(f *testing.F) {
	f.Add("file 12 1700000000 644 " + strings.Repeat("a", 64) + " name with blanks")
	f.Add("directory 12 1700000000 2755 " + strings.Repeat("0", 64) + " ..")
	f.Add("file -1 0 777 x /etc/passwd")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := parseItem(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(i.Name, "/\n\x00") || i.Name == ".." || i.Name == "." || i.Name == "" || i.Size < 0 || len(i.Sum) != 64 || i.Mode > 0o7777 {
			t.Errorf("%+v of %q", i, text)
		}
	})
}

// What a foreign archive names stays in the directory.
func TestHostileArchivesStayInside(t *testing.T) {
	for name, write := range map[string]func(w *tar.Writer) error{
		"parent":   func(w *tar.Writer) error { return tarEntry(w, "../out", "x") },
		"absolute": func(w *tar.Writer) error { return tarEntry(w, "/tmp/migrate-cp-out", "x") },
		"link": func(w *tar.Writer) error {
			return errors.Join(w.WriteHeader(&tar.Header{Name: "d/l", Linkname: "../..", Typeflag: tar.TypeSymlink}), tarEntry(w, "d/l/out", "x"))
		},
		"hard link": func(w *tar.Writer) error {
			return w.WriteHeader(&tar.Header{Name: "d/l", Linkname: "../secret", Typeflag: tar.TypeLink})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			inside := filepath.Join(dir, "in")
			if err := errors.Join(os.Mkdir(inside, 0o700), os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600)); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := errors.Join(w.WriteHeader(&tar.Header{Name: "d/", Mode: 0o755, Typeflag: tar.TypeDir}), write(w), w.Close()); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(inside)
			if err != nil {
				t.Fatal(err)
			}
			if err := unpackDirectory(t.Context(), root, &b, true); err == nil {
				t.Error("it is unpacked")
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
				t.Errorf("%v, %v: something got out", left, err)
			}
		})
	}
}

func tarEntry(w *tar.Writer, name, content string) error {
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o4755, Size: int64(len(content)), Typeflag: tar.TypeReg})
	_, errWrite := io.WriteString(w, content)
	return errors.Join(err, errWrite)
}

func TestRemainingTimeIsOfThisRun(t *testing.T) {
	for _, tt := range []struct {
		left, moved int64
		took        time.Duration
		want        string
	}{
		{100 << 20, 50 << 20, 10 * time.Second, ", 5.0 MiB/s, about 20s left"},
		{0, 50 << 20, 10 * time.Second, ", 5.0 MiB/s"},
		{100 << 20, 0, 10 * time.Second, ""},
		{100 << 20, 8 << 20, time.Second, ""}, // too early to tell
	} {
		if got := paceText(tt.left, tt.moved, tt.took); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
