package simfleet

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// vfs is the file system of one machine as one command sees it: a base layer
// that the model implies, made anew for each command, under the machine's
// overlay of what was written to it, which lives as long as its Hosts.
// All paths are absolute. It is safe for concurrent use.
type vfs struct {
	base    map[string]*node                   // never changed once commands run
	overlay func(create bool) *overlay         // nil while nobody wrote and create is false
	proc    func(name string) (*node, bool)    // answers for everything below /proc
	procDir func(name string) []string         // names in a directory below /proc
	disk    int                                // what the overlay may hold, in bytes
	now     func() time.Time                   // host clock, for modification times
	full    func(name string, inode bool) bool // the file system that holds a path has no room, or no inode
	fixed   func(name string) bool             // the file system that holds a path is mounted read-only
}

// node is a file, directory or symbolic link. Nodes are replaced, not changed,
// once they are in a layer.
type node struct {
	mode     fs.FileMode // type and permission bits
	uid, gid int
	mtime    time.Time
	data     []byte
	lazy     func() []byte // content that is made when read; data is not used then
	target   string        // of a symbolic link
	program  string        // registered program that runs when it is executed

	immutable bool // chattr +i
	own       bool // the room behind data is this path's alone, to be appended to
}

func (n *node) content() []byte {
	if n.lazy != nil {
		return n.lazy()
	}
	return n.data
}

// overlay holds the changes of one machine's files. A nil node hides a base file.
type overlay struct {
	mu    sync.RWMutex
	nodes map[string]*node
	size  int
}

// cred is who asks: the kernel's idea of a user.
type cred struct {
	uid    int
	gid    int
	groups []int
}

func (c cred) root() bool { return c.uid == 0 }

// may reports whether the permission bits of n allow want (4 read, 2 write, 1 execute).
func (c cred) may(n *node, want fs.FileMode) bool {
	perm := n.mode.Perm()
	switch {
	case c.root():
		return want&1 == 0 || n.mode.IsDir() || perm&0o111 != 0
	case c.uid == n.uid:
		perm >>= 6
	case c.gid == n.gid || slices.Contains(c.groups, n.gid):
		perm >>= 3
	}
	return perm&want == want
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// node finds the node at a clean path without following links or asking for permission.
func (v *vfs) node(name string) *node {
	if name == "/proc" || strings.HasPrefix(name, "/proc/") {
		n, _ := v.proc(name)
		return n
	}
	if o := v.overlay(false); o != nil {
		o.mu.RLock()
		n, ok := o.nodes[name]
		o.mu.RUnlock()
		if ok {
			return n
		}
	}
	return v.base[name]
}

// resolve walks a path as c, following symbolic links (the last one only on
// request), and gives the clean path and its node; nil with a nil error means
// that only the last element does not exist.
func (v *vfs) resolve(c cred, name string, follow bool) (string, *node, error) {
	todo := strings.Split(path.Clean("/"+name), "/")[1:]
	at, n := "/", v.node("/")
	for links := 0; len(todo) > 0; {
		if todo[0] == "" {
			todo = todo[1:]
			continue
		}
		if n == nil {
			return "", nil, syscall.ENOENT
		}
		if !n.mode.IsDir() {
			return "", nil, syscall.ENOTDIR
		}
		if !c.may(n, 1) {
			return "", nil, syscall.EACCES
		}
		next := path.Join(at, todo[0])
		child := v.node(next)
		last := len(todo) == 1
		todo = todo[1:]
		if child != nil && child.mode&fs.ModeSymlink != 0 && (follow || !last) {
			if links++; links > 40 {
				return "", nil, syscall.ELOOP
			}
			target := child.target
			if !path.IsAbs(target) {
				target = path.Join(at, target)
			}
			todo = append(strings.Split(path.Clean(target), "/")[1:], todo...)
			at, n = "/", v.node("/")
			continue
		}
		at, n = next, child
	}
	return at, n, nil
}

// stat gives the node at a path as c may see it.
func (v *vfs) stat(c cred, name string, follow bool) (fs.FileInfo, error) {
	at, n, err := v.resolve(c, name, follow)
	if err == nil && n == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return fileInfo{name: path.Base(at), n: n}, nil
}

// access checks permission bits as access(2) does for c.
func (v *vfs) access(c cred, name string, want fs.FileMode) error {
	_, n, err := v.resolve(c, name, true)
	switch {
	case err == nil && n == nil:
		err = syscall.ENOENT
	case err == nil && !c.may(n, want):
		err = syscall.EACCES
	}
	if err != nil {
		return pathError("access", name, err)
	}
	return nil
}

// readFile gives the content of a file that c may read. The caller must not change it.
func (v *vfs) readFile(c cred, name string) ([]byte, error) {
	_, n, err := v.resolve(c, name, true)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case n.mode.IsDir():
		err = syscall.EISDIR
	case !c.may(n, 4):
		err = syscall.EACCES
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return n.content(), nil
}

// readDir lists a directory that c may read, sorted by name.
func (v *vfs) readDir(c cred, name string) ([]fs.DirEntry, error) {
	at, n, err := v.resolve(c, name, true)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case !n.mode.IsDir():
		err = syscall.ENOTDIR
	case !c.may(n, 4):
		err = syscall.EACCES
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	var out []fs.DirEntry
	for _, child := range v.children(at) {
		if n := v.node(path.Join(at, child)); n != nil {
			out = append(out, fs.FileInfoToDirEntry(fileInfo{name: child, n: n}))
		}
	}
	return out, nil
}

// children names what may lie in a directory, hidden names included, sorted.
func (v *vfs) children(dir string) []string {
	if dir == "/proc" || strings.HasPrefix(dir, "/proc/") {
		return v.procDir(dir)
	}
	seen := map[string]bool{}
	collect := func(name string) {
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/"); ok && rest != "" && !strings.Contains(rest, "/") {
			seen[rest] = true
		}
	}
	for name := range v.base {
		collect(name)
	}
	if o := v.overlay(false); o != nil {
		o.mu.RLock()
		for name := range o.nodes {
			collect(name)
		}
		o.mu.RUnlock()
	}
	return slices.Sorted(maps.Keys(seen))
}

// fileInfo shows a node as fs.FileInfo. Its Sys is the *node.
type fileInfo struct {
	name string
	n    *node
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Mode() fs.FileMode  { return i.n.mode }
func (i fileInfo) ModTime() time.Time { return i.n.mtime }
func (i fileInfo) IsDir() bool        { return i.n.mode.IsDir() }
func (i fileInfo) Sys() any           { return i.n }

func (i fileInfo) Size() int64 {
	switch {
	case i.n.mode.IsDir():
		return 4096
	case i.n.mode&fs.ModeSymlink != 0:
		return int64(len(i.n.target))
	}
	return int64(len(i.n.content()))
}
