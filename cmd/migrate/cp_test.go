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

// copyable is a fleet, and a host of it on which Run Command runs and curl is.
func copyable(t *testing.T) (*ownFleet, *simfleet.Instance) {
	t.Helper()
	d, in := connectable(t)
	return d, in
}

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
	d, in := copyable(t)
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
