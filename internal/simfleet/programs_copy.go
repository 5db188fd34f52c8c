package simfleet

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

func runMv(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "t", "target-directory")
	sources, dst, status := p.destination(o)
	if status != 0 {
		return status
	}
	return eachOperand(p, sources, "cannot move", func(name string) error {
		to := p.below(o, name, dst)
		if _, err := p.m.fs.stat(p.cred, to, false); err == nil && o.has("n", "no-clobber") {
			return nil
		}
		return p.m.fs.rename(p.cred, p.abs(name), to)
	})
}

// destination takes the operands of mv, cp, ln and install apart.
func (p *process) destination(o options) (sources []string, dst string, status int) {
	if v, ok := o.value("t", "target-directory"); ok {
		return o.operands, v, 0
	}
	n := len(o.operands) - 1
	switch {
	case n < 0:
		return nil, "", p.fail(1, "missing file operand")
	case n == 0:
		return nil, "", p.fail(1, "missing destination file operand after '%s'", o.operands[0])
	}
	dst = o.operands[n]
	if info, err := p.m.fs.stat(p.cred, p.abs(dst), true); n > 1 && (err != nil || !info.IsDir()) {
		return nil, "", p.fail(1, "target '%s' is not a directory", dst)
	}
	return o.operands[:n], dst, 0
}

// below gives where a file of this name goes: into dst if that is a directory,
// unless the options say that it is to be replaced.
func (p *process) below(o options, name, dst string) string {
	if info, err := p.m.fs.stat(p.cred, p.abs(dst), !o.has("n") || path.Base(p.args[0]) != "ln"); err == nil && info.IsDir() && !o.has("T", "no-target-directory") {
		return path.Join(p.abs(dst), path.Base(name))
	}
	return p.abs(dst)
}

// copier is cp with its options.
type copier struct {
	p                          *process
	recursive, keep, noFollow  bool
	force, noClobber, modeOnly bool
}

// runCp knows -p, -a, -r, -R, -d, -P, -f, -n, -T and --preserve.
func runCp(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "t", "target-directory")
	sources, dst, status := p.destination(o)
	if status != 0 {
		return status
	}
	preserve, _ := o.value("preserve")
	c := copier{p: p, recursive: o.has("r", "R", "a", "recursive", "archive"), noFollow: o.has("d", "P", "a", "archive", "no-dereference"),
		keep: o.has("p", "a", "archive") || o.has("preserve") && preserve != "mode", modeOnly: preserve == "mode", force: o.has("f", "force"), noClobber: o.has("n", "no-clobber")}
	return eachOperand(p, sources, "cannot copy", func(name string) error { return c.copy(p.abs(name), p.below(o, name, dst)) })
}

func (c copier) copy(from, to string) error {
	v, who := c.p.m.fs, c.p.cred
	info, err := v.stat(who, from, !c.noFollow)
	if err != nil {
		return err
	}
	if _, err := v.stat(who, to, false); err == nil && c.noClobber {
		return nil
	}
	switch {
	case info.IsDir() && !c.recursive:
		return syscall.EISDIR
	case info.IsDir():
		return c.tree(from, to, info)
	case info.Mode()&fs.ModeSymlink != 0:
		_ = v.remove(who, to)
		if err := v.symlink(who, info.Sys().(*node).target, to); err != nil {
			return err
		}
		return nil
	}
	data, err := v.readFile(who, from)
	if err != nil {
		return err
	}
	err = v.writeFile(who, to, data, info.Mode().Perm()&^c.p.umask)
	if err != nil && c.force && v.remove(who, to) == nil {
		err = v.writeFile(who, to, data, info.Mode().Perm()&^c.p.umask)
	}
	if err != nil {
		return err
	}
	return c.attributes(to, info)
}

func (c copier) tree(from, to string, info fs.FileInfo) error {
	v, who := c.p.m.fs, c.p.cred
	if _, err := v.stat(who, to, true); err != nil {
		if err := v.mkdir(who, to, info.Mode().Perm()&^c.p.umask); err != nil {
			return err
		}
	}
	entries, err := v.readDir(who, from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.copy(path.Join(from, e.Name()), path.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return c.attributes(to, info)
}

// attributes gives the copy the mode, owner (as root) and time of the original
// where the options say so.
func (c copier) attributes(to string, info fs.FileInfo) error {
	if !c.keep && !c.modeOnly {
		return nil
	}
	from, _ := info.Sys().(*node)
	return c.p.m.fs.change(c.p.cred, "copy", to, func(n *node) error {
		n.mode = info.Mode()
		if c.keep {
			n.mtime = info.ModTime()
		}
		if c.keep && c.p.cred.root() {
			n.uid, n.gid = from.uid, from.gid
		}
		return nil
	})
}

// runLn knows -s, -f, -n and -T; a hard link is a second name as vfs.link makes it.
func runLn(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "t", "target-directory")
	sources, dst, status := p.destination(o)
	if status != 0 {
		return status
	}
	kind := "hard"
	if o.has("s", "symbolic") {
		kind = "symbolic"
	}
	for _, target := range sources {
		at := p.below(o, target, dst)
		if o.has("f", "force") {
			_ = p.m.fs.remove(p.cred, at)
		}
		err := p.m.fs.link
		if kind == "symbolic" {
			err = p.m.fs.symlink
		} else {
			target = p.abs(target)
		}
		if err := err(p.cred, target, at); err != nil {
			status = p.fail(1, "failed to create %s link '%s': %s", kind, dst, errorText(err))
		}
	}
	return status
}

// runInstall is install [-d] [-m MODE] [-o OWNER] [-g GROUP] [-p] SOURCE... DEST.
func runInstall(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "mogt", "mode", "owner", "group", "target-directory")
	mode := fs.FileMode(0o755)
	if text, ok := o.value("m", "mode"); ok {
		m, err := fileMode(text, 0)
		if err != nil {
			return p.fail(1, "%v", err)
		}
		mode = m
	}
	owner, _ := o.value("o", "owner")
	group, _ := o.value("g", "group")
	uid, gid, status := p.ownership(owner, group)
	if status != 0 {
		return status
	}
	finish := func(at string) error {
		if err := p.m.fs.chmod(p.cred, at, mode); err != nil || uid < 0 && gid < 0 {
			return err
		}
		return p.m.fs.chown(p.cred, at, true, uid, gid)
	}
	if o.has("d", "directory") {
		return eachOperand(p, o.operands, "cannot create directory", func(name string) error {
			if err := p.makeDirs(p.abs(name), 0o755); err != nil {
				return err
			}
			return finish(p.abs(name))
		})
	}
	sources, dst, status := p.destination(o)
	if status != 0 {
		return status
	}
	return eachOperand(p, sources, "cannot install", func(name string) error {
		data, err := p.readFile(name)
		if err != nil {
			return err
		}
		info, err := p.m.fs.stat(p.cred, p.abs(name), true)
		if err != nil {
			return err
		}
		to := p.below(o, name, dst)
		_ = p.m.fs.remove(p.cred, to) // install makes a file anew
		if err := p.m.fs.writeFile(p.cred, to, data, 0o600); err != nil {
			return err
		}
		if err := finish(to); err != nil || !o.has("p", "preserve-timestamps") {
			return err
		}
		return p.m.fs.touch(p.cred, to, true, info.ModTime())
	})
}

// makeDirs is mkdir -p: those above are made with what the mask leaves.
func (p *process) makeDirs(at string, mode fs.FileMode) error {
	if info, err := p.m.fs.stat(p.cred, at, true); err == nil && info.IsDir() {
		return nil
	}
	for i := 1; i < len(at); i++ {
		if at[i] != '/' {
			continue
		}
		if _, err := p.m.fs.stat(p.cred, at[:i], true); err == nil {
			continue
		}
		if err := p.m.fs.mkdir(p.cred, at[:i], 0o777&^p.umask); err != nil {
			return err
		}
	}
	return p.m.fs.mkdir(p.cred, at, mode)
}

// runTouch knows -c, -m, -a, -r FILE, -d DATE (as date -d takes it) and -t
// [[CC]YY]MMDDhhmm[.ss].
func runTouch(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "rdt", "reference", "date")
	to := p.m.clock()
	if v, ok := o.value("r", "reference"); ok {
		info, err := p.m.fs.stat(p.cred, p.abs(v), !o.has("h", "no-dereference"))
		if err != nil {
			return p.fail(1, "failed to get attributes of '%s': %s", v, errorText(err))
		}
		to = info.ModTime()
	}
	if v, ok := o.value("d", "date"); ok {
		t, err := parseDate(v, p.m.clock())
		if err != nil {
			return p.fail(1, "invalid date format ‘%s’", v)
		}
		to = t
	}
	if v, ok := o.value("t"); ok {
		t, err := touchTime(v, p.m.clock())
		if err != nil {
			return p.fail(1, "invalid date format ‘%s’", v)
		}
		to = t
	}
	return eachOperand(p, o.operands, "cannot touch", func(name string) error {
		_, err := p.m.fs.stat(p.cred, p.abs(name), true)
		switch {
		case err != nil && o.has("c", "no-create"):
			return nil
		case err != nil:
			if err := p.m.fs.writeFile(p.cred, p.abs(name), nil, 0o666&^p.umask); err != nil {
				return err
			}
		}
		return p.m.fs.touch(p.cred, p.abs(name), !o.has("h", "no-dereference"), to)
	})
}

// touchTime reads touch -t's form; the machine's zone is UTC.
func touchTime(s string, now time.Time) (time.Time, error) {
	digits, seconds, _ := strings.Cut(s, ".")
	layout := map[int]string{8: "01021504", 10: "0601021504", 12: "200601021504"}[len(digits)]
	t, err := time.Parse(layout+"05", digits+(seconds + "00")[:2])
	if err == nil && len(digits) == 8 {
		t = t.AddDate(now.Year(), 0, 0)
	}
	return t, err
}

// ownership turns names or numbers into IDs; -1 for an empty one.
func (p *process) ownership(owner, groupText string) (uid, gid, status int) {
	uid, gid = -1, -1
	if owner != "" {
		a, ok := p.m.account(owner)
		n, isNumber := decimal(owner)
		switch {
		case ok:
			uid = a.uid
		case isNumber:
			uid = n
		default:
			return 0, 0, p.fail(1, "invalid user: ‘%s’", owner)
		}
	}
	if groupText != "" {
		all := p.m.groups()
		n, isNumber := decimal(groupText)
		i := slices.IndexFunc(all, func(g group) bool { return g.name == groupText })
		switch {
		case i >= 0:
			gid = all[i].gid
		case isNumber:
			gid = n
		default:
			return 0, 0, p.fail(1, "invalid group: ‘%s’", groupText)
		}
	}
	return uid, gid, 0
}
