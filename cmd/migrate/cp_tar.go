package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// packDirectory writes a directory as a tar archive: files, directories and
// symbolic links below its own name. The same content makes the same archive.
func packDirectory(ctx context.Context, to io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read from
	w := tar.NewWriter(to)
	top := filepath.Base(dir)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return packEntry(w, root, name, path.Join(top, name), d)
	})
	if err != nil {
		return err
	}
	return w.Close()
}

func packEntry(w *tar.Writer, root *os.Root, name, as string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: as, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second), Format: tar.FormatGNU}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, as+"/"
		return w.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		if h.Linkname, err = root.Readlink(name); err != nil {
			return err
		}
		h.Typeflag = tar.TypeSymlink
		return w.WriteHeader(h)
	case !info.Mode().IsRegular():
		return nil // sockets, pipes and devices are of this machine
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if _, err = io.CopyN(w, f, h.Size); err != nil {
		return fmt.Errorf("%s changed while it was read: %w", as, err)
	}
	return nil
}

// unpackDirectory makes what a foreign archive holds. Nothing gets out of the
// root, whatever names and links it has: os.Root sees to that.
func unpackDirectory(ctx context.Context, root *os.Root, from io.Reader, preserve bool) error {
	r := tar.NewReader(reading{ctx, from})
	type made struct {
		name string
		mode fs.FileMode
		at   time.Time
	}
	var dirs []made // their modes come last: one may forbid writing
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		name := strings.TrimSuffix(path.Clean(h.Name), "/")
		if !filepath.IsLocal(name) || len(name) > 4096 {
			return fmt.Errorf("the archive holds %q, which leads out of it", oneLine(h.Name))
		}
		mode := fs.FileMode(h.Mode).Perm() //nolint:gosec // the low bits alone
		if !preserve {
			mode &^= 0o022
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(name, 0o700); err != nil {
				return err
			}
			dirs = append(dirs, made{name, mode, h.ModTime})
		case tar.TypeSymlink:
			if err := root.Symlink(h.Linkname, name); err != nil {
				return err
			}
		case tar.TypeLink:
			if err := root.Link(path.Clean(h.Linkname), name); err != nil {
				return err
			}
		case tar.TypeReg:
			if err := unpackFile(root, name, mode, h.ModTime, r, preserve); err != nil {
				return err
			}
		}
	}
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := root.Chmod(d.name, d.mode); err != nil {
			return err
		}
		if preserve {
			if err := root.Chtimes(d.name, d.at, d.at); err != nil {
				return err
			}
		}
	}
	return nil
}

func unpackFile(root *os.Root, name string, mode fs.FileMode, at time.Time, from io.Reader, preserve bool) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil || !preserve {
		return err
	}
	return root.Chtimes(name, at, at)
}
