package simfleet

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// put stores nodes in the overlay at once: readers see all of them or none.
// A nil node removes its path.
func (v *vfs) put(nodes map[string]*node) {
	o := v.overlay(true)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(nodes)
}

// put is vfs.put for a caller that holds mu.
func (o *overlay) put(nodes map[string]*node) {
	for name, n := range nodes {
		if old := o.nodes[name]; old != nil {
			o.size -= len(old.data)
		}
		if n != nil {
			o.size += len(n.data)
		}
		o.nodes[name] = n
	}
}

// parent resolves the directory that holds name and checks that c may change it.
func (v *vfs) parent(c cred, name string) (string, *node, error) {
	dir, n, err := v.resolve(c, path.Dir(path.Clean("/"+name)), true)
	switch {
	case err != nil:
		return "", nil, err
	case n == nil:
		return "", nil, syscall.ENOENT
	case !n.mode.IsDir():
		return "", nil, syscall.ENOTDIR
	case strings.HasPrefix(dir+"/", "/proc/"):
		return "", nil, syscall.EPERM
	case v.fixed(dir):
		return "", nil, syscall.EROFS
	case !c.may(n, 2|1):
		return "", nil, syscall.EACCES
	case n.immutable:
		return "", nil, syscall.EPERM
	}
	return dir, n, nil
}

// entryChanged adds to changes what happens to a directory in which an entry
// comes or goes: its modification time.
func (v *vfs) entryChanged(changes map[string]*node, dir string) map[string]*node {
	if n := v.node(dir); n != nil {
		d := *n
		d.mtime = v.now()
		changes[dir] = &d
	}
	return changes
}

// mayUnlink applies the sticky bit.
func mayUnlink(c cred, dir, n *node) bool {
	return dir.mode&fs.ModeSticky == 0 || c.root() || c.uid == dir.uid || c.uid == n.uid
}

// create makes a file ready for writing, as open(2) with O_CREAT would, and
// gives its clean path. flag knows os.O_TRUNC, os.O_EXCL and os.O_CREATE.
func (v *vfs) create(c cred, name string, flag int, perm fs.FileMode) (string, error) {
	at, n, err := v.resolve(c, name, true)
	if err != nil {
		return "", pathError("open", name, err)
	}
	if n == nil {
		if flag&os.O_CREATE == 0 {
			return "", pathError("open", name, syscall.ENOENT)
		}
		// at is where a dangling link points to, or the name itself.
		dir, _, err := v.parent(c, at)
		if err == nil && v.full(at, true) {
			err = syscall.ENOSPC
		}
		if err == nil {
			at = path.Join(dir, path.Base(at))
			v.put(v.entryChanged(map[string]*node{at: {mode: perm.Perm(), uid: c.uid, gid: c.gid, mtime: v.now()}}, dir))
			return at, nil
		}
		return "", pathError("open", name, err)
	}
	switch {
	case flag&os.O_EXCL != 0:
		err = syscall.EEXIST
	case n.mode.IsDir():
		err = syscall.EISDIR
	case n.mode&fs.ModeDevice == 0 && v.fixed(at):
		err = syscall.EROFS
	case strings.HasPrefix(at, "/proc/"), !c.may(n, 2):
		err = syscall.EACCES
	case n.immutable:
		err = syscall.EPERM
	case n.mode&fs.ModeDevice == 0 && flag&os.O_TRUNC != 0:
		m := *n
		m.data, m.lazy, m.mtime = nil, nil, v.now()
		v.put(map[string]*node{at: &m})
	}
	if err != nil {
		return "", pathError("open", name, err)
	}
	return at, nil
}

// appendTo adds data to the file at a clean path that create gave. It alone
// fails on a full disk: what only moves or renames needs no space.
func (v *vfs) appendTo(at string, data []byte) error {
	o := v.overlay(true)
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.nodes[at]
	if !ok {
		n = v.base[at]
	}
	if n == nil || n.mode&fs.ModeDevice != 0 {
		return nil // /dev/null, or unlinked while open: nobody can read it any more
	}
	if len(data) > 0 && (v.full(at, false) || o.size+len(data) > v.disk) {
		return syscall.ENOSPC
	}
	m := *n
	if n.own {
		m.data = append(n.data, data...) // nobody looks beyond the length that it has seen
	} else {
		m.data, m.own = slices.Concat(n.content(), data), true
	}
	m.lazy, m.mtime = nil, v.now()
	o.put(map[string]*node{at: &m})
	return nil
}

// writeFile replaces the content of a file, making it if need be.
func (v *vfs) writeFile(c cred, name string, data []byte, perm fs.FileMode) error {
	at, err := v.create(c, name, os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if err := v.appendTo(at, data); err != nil {
		return pathError("write", name, err)
	}
	return nil
}

// mkdir makes one directory.
func (v *vfs) mkdir(c cred, name string, perm fs.FileMode) error {
	return v.make(c, "mkdir", name, &node{mode: fs.ModeDir | perm.Perm()})
}

// symlink makes name point to target.
func (v *vfs) symlink(c cred, target, name string) error {
	return v.make(c, "symlink", name, &node{mode: fs.ModeSymlink | 0o777, target: target})
}

func (v *vfs) make(c cred, op, name string, n *node) error {
	dir, _, err := v.parent(c, name)
	if err != nil {
		return pathError(op, name, err)
	}
	at := path.Join(dir, path.Base(path.Clean("/"+name)))
	if v.node(at) != nil {
		return pathError(op, name, syscall.EEXIST)
	}
	if v.full(at, true) {
		return pathError(op, name, syscall.ENOSPC)
	}
	n.uid, n.gid, n.mtime = c.uid, c.gid, v.now()
	v.put(v.entryChanged(map[string]*node{at: n}, dir))
	return nil
}

// link gives a file a second name. Both have the same content, owner, mode and
// time then; what is written to one later does not show in the other.
func (v *vfs) link(c cred, from, to string) error {
	old, n, err := v.resolve(c, from, false)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case n.mode.IsDir(), n.immutable:
		err = syscall.EPERM
	}
	if err != nil {
		return pathError("link", from, err)
	}
	dir, _, err := v.parent(c, to)
	if err != nil {
		return pathError("link", to, err)
	}
	at := path.Join(dir, path.Base(path.Clean("/"+to)))
	if v.node(at) != nil {
		return pathError("link", to, syscall.EEXIST)
	}
	m := *n
	m.data, m.lazy, m.own = m.content(), nil, false
	shared := *n
	shared.own = false
	v.put(v.entryChanged(map[string]*node{at: &m, old: &shared}, dir))
	return nil
}

// tree names at and everything below it that exists.
func (v *vfs) tree(at string) []string {
	out := []string{at}
	if n := v.node(at); n == nil || !n.mode.IsDir() {
		return out
	}
	for _, child := range v.children(at) {
		if name := path.Join(at, child); v.node(name) != nil {
			out = append(out, v.tree(name)...)
		}
	}
	return out
}

// unlinkable finds the entry at name (not following a link) and checks that c may take it away.
func (v *vfs) unlinkable(c cred, name string) (string, *node, error) {
	dir, parent, err := v.parent(c, name)
	if err != nil {
		return "", nil, err
	}
	at := path.Join(dir, path.Base(path.Clean("/"+name)))
	n := v.node(at)
	switch {
	case n == nil:
		return "", nil, syscall.ENOENT
	case at == "/" || n.immutable || !mayUnlink(c, parent, n):
		return "", nil, syscall.EPERM
	}
	return at, n, nil
}

// remove takes one file, link or empty directory away.
func (v *vfs) remove(c cred, name string) error {
	at, n, err := v.unlinkable(c, name)
	if err == nil && n.mode.IsDir() && len(v.tree(at)) > 1 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	v.put(v.entryChanged(map[string]*node{at: nil}, path.Dir(at)))
	return nil
}

// rename moves a file or directory in one step. A file in the way is replaced.
func (v *vfs) rename(c cred, from, to string) error {
	old, n, err := v.unlinkable(c, from)
	if err != nil {
		return pathError("rename", from, err)
	}
	dir, parent, err := v.parent(c, to)
	if err != nil {
		return pathError("rename", to, err)
	}
	at := path.Join(dir, path.Base(path.Clean("/"+to)))
	there := v.node(at)
	switch {
	case at == old:
		return nil
	case strings.HasPrefix(at+"/", old+"/"):
		err = syscall.EINVAL
	case there == nil:
	case there.immutable, !mayUnlink(c, parent, there):
		err = syscall.EPERM
	case there.mode.IsDir() && !n.mode.IsDir():
		err = syscall.EISDIR
	case !there.mode.IsDir() && n.mode.IsDir():
		err = syscall.ENOTDIR
	case there.mode.IsDir() && len(v.tree(at)) > 1:
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("rename", to, err)
	}
	moved := map[string]*node{}
	for _, name := range v.tree(old) {
		m := *v.node(name)
		// The base would go on changing the content under the old name.
		m.data, m.lazy = m.content(), nil
		moved[at+strings.TrimPrefix(name, old)] = &m
		moved[name] = nil
	}
	v.put(v.entryChanged(v.entryChanged(moved, path.Dir(old)), dir))
	return nil
}

// change applies edit to a copy of the node at name if c owns it.
func (v *vfs) change(c cred, op, name string, edit func(n *node) error) error {
	return v.changeAt(c, op, name, true, edit)
}

// changeAt is change; without follow a symbolic link is itself what changes.
func (v *vfs) changeAt(c cred, op, name string, follow bool, edit func(n *node) error) error {
	at, n, err := v.resolve(c, name, follow)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case v.fixed(at):
		err = syscall.EROFS
	case strings.HasPrefix(at+"/", "/proc/"), !c.root() && c.uid != n.uid, n.immutable && op != "chattr":
		err = syscall.EPERM
	default:
		m := *n
		// The overlay outlives this command, and with it what the closure holds.
		m.data, m.lazy = m.content(), nil
		if err = edit(&m); err == nil {
			v.put(map[string]*node{at: &m})
		}
	}
	if err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// chmod sets the permission and sticky bits.
func (v *vfs) chmod(c cred, name string, mode fs.FileMode) error {
	const bits = fs.ModePerm | fs.ModeSticky | fs.ModeSetuid | fs.ModeSetgid
	return v.change(c, "chmod", name, func(n *node) error {
		n.mode = n.mode&^bits | mode&bits
		return nil
	})
}

// chown sets owner and group; -1 leaves one as it is. Only root may give files away.
func (v *vfs) chown(c cred, name string, follow bool, uid, gid int) error {
	return v.changeAt(c, "chown", name, follow, func(n *node) error {
		if !c.root() && (uid >= 0 && uid != n.uid || gid >= 0 && gid != c.gid && !slices.Contains(c.groups, gid)) {
			return syscall.EPERM
		}
		if uid >= 0 {
			n.uid = uid
		}
		if gid >= 0 {
			n.gid = gid
		}
		return nil
	})
}

// touch sets the modification time.
func (v *vfs) touch(c cred, name string, follow bool, to time.Time) error {
	return v.changeAt(c, "touch", name, follow, func(n *node) error {
		n.mtime = to
		return nil
	})
}
