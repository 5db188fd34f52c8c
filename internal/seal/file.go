package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds the files that are read: a ring, sealed and written as text.
const maxFile = 4 * maxRing

// readFile reads a file of the ring's.
func readFile(path string) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("%w: %s does not exist", ErrMissing, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, 0, fmt.Errorf("%w: %s may not be read by this user", ErrDenied, path)
	case err != nil:
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: %s is not a regular file", ErrDamaged, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		clear(text)
		return nil, 0, fmt.Errorf("%w: %s has more than %d bytes", ErrDamaged, path, maxFile)
	}
	return text, info.Mode(), nil
}

// createFile writes a file that does not exist, its owner's alone.
func createFile(path string, text []byte) error {
	// An empty file takes the name, since not every file system can link one into place.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w; it is left as it is", path, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	if err := errors.Join(f.Close(), replaceFile(path, text)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// replaceFile puts a text in place of a file in one step, and has it on the
// disk when it returns. What a symbolic link leads to is replaced, not the link.
func replaceFile(path string, text []byte) (err error) {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	folder := filepath.Dir(path)
	temp := filepath.Join(folder, "."+filepath.Base(path)+"."+rand.Text()[:10])
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(temp))
	}
	return syncFolder(folder)
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("make the change of %s durable: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make the change of %s durable: %w", path, err)
	}
	return nil
}
