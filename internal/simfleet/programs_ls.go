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

func octal(m fs.FileMode) string {
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
	return strconv.FormatUint(uint64(bits), 8)
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
