package simfleet

import (
	"io/fs"
	"slices"
	"strings"
	"time"
)

// FileState is exactly what lies at one path of a machine.
type FileState struct {
	Path     string
	Kind     string // "file", "directory", "link", "other"
	Mode     uint32 // permission bits; setuid, setgid and sticky as chmod writes them
	UID, GID int
	// ModTime is by the host's clock. It is the zero time for directories:
	// every file that comes or goes moves theirs.
	ModTime   time.Time
	Content   string // of a file; of a link its target
	Immutable bool   // chattr +i
}

// FileStates gives what lies at and below the paths on an instance, sorted by
// path; what does not exist is left out. The caller holds w.Mu, at least for reading.
func (w *World) FileStates(in *Instance, paths ...string) []FileState {
	m := w.hostSide().lockedMachine(in)
	var out []FileState
	for _, p := range paths {
		at, n, err := m.fs.resolve(root, p, false)
		if err != nil || n == nil {
			continue
		}
		for _, name := range m.fs.tree(at) {
			out = append(out, m.fs.state(name))
		}
	}
	slices.SortFunc(out, func(a, b FileState) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(out, func(a, b FileState) bool { return a.Path == b.Path })
}

func (v *vfs) state(name string) FileState {
	n := v.node(name)
	s := FileState{Path: name, Kind: "other", Mode: octalBits(n.mode), UID: n.uid, GID: n.gid, ModTime: n.mtime, Immutable: n.immutable}
	switch {
	case n.mode.IsDir():
		s.Kind, s.ModTime = "directory", time.Time{}
	case n.mode.IsRegular():
		s.Kind, s.Content = "file", string(n.content())
	case n.mode&fs.ModeSymlink != 0:
		s.Kind, s.Content = "link", n.target
	}
	return s
}
