package simfleet

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// modeString is ls's first column.
func modeString(m fs.FileMode) string {
	out := []byte("-rwxrwxrwx")
	switch {
	case m.IsDir():
		out[0] = 'd'
	case m&fs.ModeSymlink != 0:
		out[0] = 'l'
	case m&fs.ModeCharDevice != 0:
		out[0] = 'c'
	case m&fs.ModeSocket != 0:
		out[0] = 's'
	}
	for i := range 9 {
		if m&(1<<(8-i)) == 0 {
			out[i+1] = '-'
		}
	}
	for _, s := range []struct {
		bit    fs.FileMode
		at     int
		letter byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if m&s.bit == 0 {
			continue
		}
		if out[s.at] == '-' {
			s.letter -= 'a' - 'A'
		}
		out[s.at] = s.letter
	}
	return string(out)
}

// runLs knows -l -n -d -a -A -1 -L. Times are shown in the C locale's form.
func runLs(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	long := o.has("l", "n")
	operands := slices.Sorted(slices.Values(o.operands))
	if len(operands) == 0 {
		operands = []string{"."}
	}
	status := 0
	show := func(name string, info fs.FileInfo) {
		if !long {
			p.printf("%s\n", name)
			return
		}
		n := info.Sys().(*node)
		owner, group := strconv.Itoa(n.uid), strconv.Itoa(n.gid)
		if !o.has("n") {
			owner, group = p.m.userName(n.uid), p.m.groupName(n.gid)
		}
		when := info.ModTime().Format("Jan _2 15:04")
		if age := p.m.clock().Sub(info.ModTime()); age > 182*24*time.Hour || age < -time.Hour {
			when = info.ModTime().Format("Jan _2  2006")
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			target = " -> " + n.target
		}
		p.printf("%s 1 %s %s %d %s %s%s\n", modeString(info.Mode()), owner, group, info.Size(), when, name, target)
	}
	for _, name := range operands {
		info, err := p.m.fs.stat(p.cred, p.abs(name), o.has("L") || !long && !o.has("d"))
		if err != nil {
			status = p.fail(2, "cannot access '%s': %s", name, errorText(err))
			continue
		}
		if !info.IsDir() || o.has("d") {
			show(name, info)
			continue
		}
		entries, err := p.m.fs.readDir(p.cred, p.abs(name))
		if err != nil {
			status = p.fail(2, "cannot open directory '%s': %s", name, errorText(err))
			continue
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && (o.has("a", "A") || !strings.HasPrefix(e.Name(), ".")) {
				show(e.Name(), info)
			}
		}
	}
	return status
}

// runStat is stat -c FORMAT (or --format) with %a %u %g %U %G %s %Y %n %N %F %A, and -L.
func runStat(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "c", "format")
	format, ok := o.value("c", "format")
	if !ok {
		format = "  File: %n\n  Size: %s\nAccess: (0%a/%A)  Uid: (%u/%U)   Gid: (%g/%G)"
	}
	status := 0
	for _, name := range o.operands {
		info, err := p.m.fs.stat(p.cred, p.abs(name), o.has("L"))
		if err != nil {
			status = p.fail(1, "cannot statx '%s': %s", name, errorText(err))
			continue
		}
		n := info.Sys().(*node)
		kind := "regular file"
		switch {
		case info.IsDir():
			kind = "directory"
		case info.Mode()&fs.ModeSymlink != 0:
			kind = "symbolic link"
		case info.Mode()&fs.ModeCharDevice != 0:
			kind = "character special file"
		case info.Size() == 0:
			kind = "regular empty file"
		}
		p.printf("%s\n", strings.NewReplacer("%%", "%", "%a", octal(info.Mode()), "%u", strconv.Itoa(n.uid), "%g", strconv.Itoa(n.gid),
			"%U", p.m.userName(n.uid), "%G", p.m.groupName(n.gid), "%s", strconv.FormatInt(info.Size(), 10),
			"%Y", strconv.FormatInt(info.ModTime().Unix(), 10), "%n", name, "%N", "'"+name+"'", "%F", kind, "%A", modeString(info.Mode())).Replace(format))
	}
	return status
}

func octal(m fs.FileMode) string { return strconv.FormatUint(uint64(octalBits(m)), 8) }

// octalBits are the bits of a mode as chmod writes them.
func octalBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// runReadlink is readlink [-f] FILE...
func runReadlink(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	status := 0
	for _, name := range o.operands {
		at, n, err := p.m.fs.resolve(p.cred, p.abs(name), o.has("f", "e", "m"))
		switch {
		case err != nil || n == nil && !o.has("f"):
			status = 1
		case o.has("f", "e", "m"):
			p.printf("%s\n", at)
		case n.mode&fs.ModeSymlink == 0:
			status = 1
		default:
			p.printf("%s\n", n.target)
		}
	}
	return status
}

func runBasename(_ context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail(1, "missing operand")
	}
	name := path.Base(p.args[1])
	if len(p.args) > 2 && name != p.args[2] {
		name = strings.TrimSuffix(name, p.args[2])
	}
	p.printf("%s\n", name)
	return 0
}

func runDirname(_ context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail(1, "missing operand")
	}
	p.printf("%s\n", path.Dir(p.args[1]))
	return 0
}

// runFind is find PATH... with -maxdepth N, -type f|d|l, -name PATTERN and -xdev.
func runFind(_ context.Context, p *process) int {
	args := p.args[1:]
	var roots []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		roots, args = append(roots, args[0]), args[1:]
	}
	depth, kind, pattern := -1, "", ""
	for i := 0; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch args[i] {
		case "-xdev", "-print":
			continue
		case "-maxdepth":
			depth, _ = strconv.Atoi(value)
		case "-type":
			kind = value
		case "-name":
			pattern = value
		default:
			return p.fail(1, "unknown predicate `%s'", args[i])
		}
		i++
	}
	status := 0
	for _, at := range roots {
		status = max(status, p.find1(at, depth, kind, pattern))
	}
	return status
}

// find1 prints what fits at name and below it, at most depth levels further
// down; negative: any number.
func (p *process) find1(name string, depth int, kind, pattern string) int {
	info, err := p.m.fs.stat(p.cred, p.abs(name), false)
	if err != nil {
		return p.fail(1, "‘%s’: %s", name, errorText(err))
	}
	is := map[string]bool{"": true, "d": info.IsDir(), "f": info.Mode().IsRegular(), "l": info.Mode()&fs.ModeSymlink != 0, "s": info.Mode()&fs.ModeSocket != 0}
	if fits, err := path.Match(pattern, path.Base(name)); is[kind] && (pattern == "" || err == nil && fits) {
		p.printf("%s\n", name)
	}
	if !info.IsDir() || depth == 0 {
		return 0
	}
	entries, err := p.m.fs.readDir(p.cred, p.abs(name))
	if err != nil {
		return p.fail(1, "‘%s’: %s", name, errorText(err))
	}
	status := 0
	for _, e := range entries {
		status = max(status, p.find1(path.Join(name, e.Name()), depth-1, kind, pattern))
	}
	return status
}
