package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ssm-migrate/internal/awsapi"
)

// localEnd is this machine.
type localEnd struct {
	path    string // absolute
	query   copyQuery
	objects *awsapi.Objects

	source *os.File // of look
	sum    string

	// At the destination.
	arrival arrival
	dir     *os.Root // in which the file is to be
	at      string   // of dir, for people
	base    string
	whole   *os.File
}

func (e *localEnd) identity() string {
	host, _ := os.Hostname() // without one all copies of this path are the same
	return "local " + host + ":" + e.path
}

// look opens the source, which stays open: another file under its name later
// is not what is copied.
func (e *localEnd) look(ctx context.Context, _ string) (copyItem, error) {
	info, err := os.Stat(e.path)
	if err != nil {
		return copyItem{}, err
	}
	i := copyItem{Directory: info.IsDir(), Mode: uint32(info.Mode().Perm()), Modified: info.ModTime().Unix(), Name: filepath.Base(e.path)}
	switch {
	case i.Directory && !e.query.recursive:
		return copyItem{}, fmt.Errorf("%s is a directory: -r copies directories", e.path)
	case i.Directory:
		if e.source, err = packed(ctx, e.path); err != nil {
			return copyItem{}, fmt.Errorf("pack %s: %w", e.path, err)
		}
	case !info.Mode().IsRegular():
		return copyItem{}, fmt.Errorf("%s is no regular file", e.path)
	default:
		if e.source, err = os.Open(e.path); err != nil {
			return copyItem{}, err
		}
	}
	if i.Size, i.Sum, err = summed(ctx, e.source); err != nil {
		return copyItem{}, fmt.Errorf("read %s: %w", e.path, err)
	}
	return i, nil
}

// packed is an archive of a directory in a file without a name.
func packed(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.CreateTemp("", "migrate-cp-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), packDirectory(ctx, f, dir)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// reading reads until a context ends.
type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// summed reads a file from its beginning to its end.
func summed(ctx context.Context, f *os.File) (int64, string, error) {
	h := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, "", err
	}
	n, err := io.Copy(h, reading{ctx, f})
	return n, hex.EncodeToString(h.Sum(nil)), err
}

func (e *localEnd) send(ctx context.Context, c arrival, parts []part) error {
	for _, p := range parts {
		data := make([]byte, p.size)
		if _, err := e.source.ReadAt(data, int64(p.number)*c.partSize); err != nil {
			return fmt.Errorf("read %s: %w", e.path, err)
		}
		if err := e.objects.Put(ctx, p.key, data); err != nil {
			return err
		}
	}
	return nil
}

func (e *localEnd) forget(context.Context) error { return e.source.Close() }

// place opens the file that gathers the parts, in the directory where the copy
// is to be. The parts arrive in order: its length tells how many it has.
func (e *localEnd) place(_ context.Context, c arrival) (map[int]bool, error) {
	e.arrival = c
	e.at, e.base = filepath.Split(strings.TrimSuffix(e.path, "/"))
	if info, err := os.Stat(e.path); err == nil && info.IsDir() {
		e.at, e.base = e.path, c.Name
	} else if strings.HasSuffix(e.path, "/") {
		return nil, fmt.Errorf("there is no directory %s", e.path)
	}
	e.at = filepath.Clean(e.at)
	var err error
	if e.dir, err = os.OpenRoot(e.at); err != nil {
		return nil, err
	}
	if err := e.free(); err != nil {
		return nil, err
	}
	name := e.temporary()
	e.whole, err = e.dir.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(e.whole.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s: another migrate cp copies the same to there: %w", filepath.Join(e.at, name), err)
	}
	info, err := e.whole.Stat()
	if err != nil {
		return nil, err
	}
	n := int(info.Size() / c.partSize)
	if info.Size() == c.Size {
		n = c.parts
	}
	have := map[int]bool{}
	for i := range min(n, c.parts) {
		have[i] = true
	}
	return have, nil
}

func (e *localEnd) temporary() string { return ".migrate-cp-" + e.arrival.tag }

// free refuses to replace anything but a file by a file.
func (e *localEnd) free() error {
	there := filepath.Join(e.at, e.base)
	info, err := e.dir.Lstat(e.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: name what it leads to", there)
	case e.arrival.Directory || !info.Mode().IsRegular():
		return fmt.Errorf("%s is there already", there)
	}
	return nil
}

func (e *localEnd) receive(ctx context.Context, parts []part) error {
	for _, p := range parts {
		data, err := e.objects.Get(ctx, p.key, p.size)
		if err != nil {
			return err
		}
		if int64(len(data)) != p.size {
			return fmt.Errorf("part %d has another size than was sent", p.number)
		}
		if _, err := e.whole.WriteAt(data, int64(p.number)*e.arrival.partSize); err != nil {
			return fmt.Errorf("write part %d: %w", p.number, err)
		}
	}
	return nil
}

func (e *localEnd) finish(ctx context.Context) (string, error) {
	there := filepath.Join(e.at, e.base)
	n, sum, err := summed(ctx, e.whole)
	switch {
	case err != nil:
		return "", fmt.Errorf("read what has arrived: %w", err)
	case n != e.arrival.Size || sum != e.arrival.Sum:
		return "", errors.Join(errors.New("the checksum of what has arrived differs: the source changed meanwhile, or parts were damaged"), e.dir.Remove(e.temporary()))
	}
	if err := e.free(); err != nil {
		return "", err
	}
	if e.arrival.Directory {
		err = e.unpack(ctx)
	} else {
		err = e.rename()
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", there, err)
	}
	return there, errors.Join(e.whole.Close(), e.dir.Close())
}

// rename gives the file its mode and its name, and waits until both are on disk.
func (e *localEnd) rename() error {
	mode := fs.FileMode(e.arrival.Mode).Perm()
	if !e.query.preserve {
		mode &^= 0o022
		if info, err := e.dir.Lstat(e.base); err == nil {
			mode = info.Mode().Perm()
		}
	}
	if err := e.whole.Chmod(mode); err != nil {
		return err
	}
	if e.query.preserve {
		at := time.Unix(e.arrival.Modified, 0)
		if err := e.dir.Chtimes(e.temporary(), at, at); err != nil {
			return err
		}
	}
	if err := e.whole.Sync(); err != nil {
		return err
	}
	if err := e.dir.Rename(e.temporary(), e.base); err != nil {
		return err
	}
	return e.syncDirectory()
}

func (e *localEnd) syncDirectory() error {
	d, err := e.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unpack makes the directory beside its place and then gives it its name.
func (e *localEnd) unpack(ctx context.Context) error {
	folder := e.temporary() + ".d"
	if err := e.dir.RemoveAll(folder); err != nil {
		return err
	}
	if err := e.dir.Mkdir(folder, 0o700); err != nil {
		return err
	}
	inside, err := e.dir.OpenRoot(folder)
	if err != nil {
		return err
	}
	if _, err = e.whole.Seek(0, io.SeekStart); err == nil {
		err = unpackDirectory(ctx, inside, e.whole, e.query.preserve)
	}
	if err := errors.Join(err, inside.Close()); err != nil {
		return errors.Join(err, e.dir.RemoveAll(folder))
	}
	if err := e.dir.Rename(filepath.Join(folder, e.arrival.Name), e.base); err != nil {
		return err
	}
	return errors.Join(e.dir.RemoveAll(folder), e.dir.Remove(e.temporary()), e.syncDirectory())
}
