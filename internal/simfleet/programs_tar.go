package simfleet

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// pack writes files of a directory, by their names in it, as an archive.
func (p *process) pack(to io.Writer, dir string, names []string) error {
	w := tar.NewWriter(to)
	for _, name := range names {
		root, n, err := p.m.fs.resolve(p.cred, path.Join(dir, name), false)
		if err == nil && n == nil {
			err = pathError("stat", name, fs.ErrNotExist)
		}
		if err != nil {
			return err
		}
		for _, at := range p.m.fs.tree(root) {
			if err := p.packOne(w, at, name+strings.TrimPrefix(at, root)); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

func (p *process) packOne(w *tar.Writer, at, name string) error {
	info, err := p.m.fs.stat(p.cred, at, false)
	if err != nil {
		return err
	}
	n, _ := info.Sys().(*node)
	h := &tar.Header{Name: name, Mode: int64(octalBits(info.Mode())), Uid: n.uid, Gid: n.gid, ModTime: info.ModTime(), Format: tar.FormatGNU}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.target
		return w.WriteHeader(h)
	}
	data, err := p.m.fs.readFile(p.cred, at)
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// unpack makes the files of an archive below a directory. Names that lead out of it are refused.
func (p *process) unpack(from io.Reader, dir string, exact bool) error {
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.Contains("/"+h.Name+"/", "/../") {
			return errors.New(h.Name + ": Member name contains '..'")
		}
		at := path.Join(dir, h.Name)
		mode := fs.FileMode(h.Mode).Perm() //nolint:gosec // the low bits alone
		if !exact {
			mode &^= p.umask
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if err := p.makeDirs(at, mode); err != nil {
				return err
			}
		case tar.TypeSymlink:
			if err := p.m.fs.symlink(p.cred, h.Linkname, at); err != nil {
				return err
			}
		case tar.TypeReg:
			data, err := io.ReadAll(io.LimitReader(r, int64(p.x.hosts.opts.Disk)))
			if err == nil {
				err = p.m.fs.writeFile(p.cred, at, data, mode)
			}
			if err == nil {
				err = p.m.fs.touch(p.cred, at, true, h.ModTime)
			}
			if err != nil {
				return err
			}
		}
	}
}
