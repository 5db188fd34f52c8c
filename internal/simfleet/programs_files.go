package simfleet

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// fileMode reads an octal mode; symbolic ones only in the forms u=…, go=, a+x and the like.
func fileMode(text string, old fs.FileMode) (fs.FileMode, error) {
	if bits, err := strconv.ParseUint(text, 8, 12); err == nil {
		m := fs.FileMode(bits & 0o777)
		if bits&0o4000 != 0 {
			m |= fs.ModeSetuid
		}
		if bits&0o2000 != 0 {
			m |= fs.ModeSetgid
		}
		if bits&0o1000 != 0 {
			m |= fs.ModeSticky
		}
		return m, nil
	}
	m := old
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 {
			return 0, fmt.Errorf("invalid mode: ‘%s’", text)
		}
		who, bits := clause[:i], fs.FileMode(0)
		if who == "" || strings.Contains(who, "a") {
			who = "ugo"
		}
		for _, b := range clause[i+1:] {
			bits |= map[rune]fs.FileMode{'r': 4, 'w': 2, 'x': 1}[b]
		}
		for _, w := range who {
			shift := map[rune]int{'u': 6, 'g': 3, 'o': 0}[w]
			if special := map[rune]fs.FileMode{'u': fs.ModeSetuid, 'g': fs.ModeSetgid}[w]; strings.Contains(clause[i+1:], "s") {
				m &^= special
				if clause[i] != '-' {
					m |= special
				}
			}
			switch clause[i] {
			case '+':
				m |= bits << shift
			case '-':
				m &^= bits << shift
			case '=':
				m = m&^(7<<shift) | bits<<shift
			}
		}
	}
	return m, nil
}

// eachOperand runs f on operands and prints its errors in coreutils' form.
func eachOperand(p *process, operands []string, verb string, f func(name string) error) int {
	status := 0
	for _, name := range operands {
		if err := f(name); err != nil {
			status = p.fail(1, "%s '%s': %s", verb, name, errorText(err))
		}
	}
	return status
}

func runMkdir(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "m", "mode")
	mode := 0o777 &^ p.umask
	if text, ok := o.value("m", "mode"); ok {
		m, err := fileMode(text, 0o777)
		if err != nil {
			return p.fail(1, "%v", err)
		}
		mode = m
	}
	return eachOperand(p, o.operands, "cannot create directory", func(name string) error {
		at := p.abs(name)
		if o.has("p", "parents") {
			return p.makeDirs(at, mode)
		}
		return p.m.fs.mkdir(p.cred, at, mode)
	})
}

func runRm(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	return eachOperand(p, o.operands, "cannot remove", func(name string) error {
		info, err := p.m.fs.stat(p.cred, p.abs(name), false)
		switch {
		case err != nil && o.has("f", "force"):
			return nil
		case err != nil:
			return err
		case !info.IsDir() || path.Base(p.args[0]) == "rmdir":
			return p.m.fs.remove(p.cred, p.abs(name))
		case !o.has("r", "R", "recursive"):
			return syscall.EISDIR
		}
		at, _, err := p.m.fs.resolve(p.cred, p.abs(name), false)
		if err != nil {
			return err
		}
		all := p.m.fs.tree(at)
		slices.Reverse(all)
		for _, each := range all {
			if err := p.m.fs.remove(p.cred, each); err != nil {
				return err
			}
		}
		return nil
	})
}

// below lists operands, with everything below them when recursive.
func below(p *process, name string, recursive bool) []string {
	at, n, err := p.m.fs.resolve(p.cred, p.abs(name), true)
	if !recursive || err != nil || n == nil {
		return []string{p.abs(name)}
	}
	return p.m.fs.tree(at)
}

func runChmod(_ context.Context, p *process) int {
	args := p.args[1:]
	recursive := len(args) > 0 && args[0] == "-R"
	if recursive {
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	like, hasLike := "", false
	if len(args) > 0 {
		like, hasLike = strings.CutPrefix(args[0], "--reference=")
	}
	if len(args) < 2 {
		return p.fail(1, "missing operand")
	}
	if hasLike {
		info, err := p.m.fs.stat(p.cred, p.abs(like), true)
		if err != nil {
			return p.fail(1, "failed to get attributes of '%s': %s", like, errorText(err))
		}
		args = append([]string{octal(info.Mode())}, args[1:]...)
	}
	return eachOperand(p, args[1:], "changing permissions of", func(name string) error {
		for i, at := range below(p, name, recursive) {
			info, err := p.m.fs.stat(p.cred, at, i == 0)
			if err != nil {
				return err
			}
			if info.Mode()&fs.ModeSymlink != 0 {
				continue // of a tree, links are left alone
			}
			mode, err := fileMode(args[0], info.Mode())
			if err != nil {
				return err
			}
			if err := p.m.fs.chmod(p.cred, at, mode); err != nil {
				return err
			}
		}
		return nil
	})
}

// runChown is chown [-R] [-h] OWNER[:GROUP] FILE... and chown --reference=FILE FILE...
func runChown(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	uid, gid := -1, -1
	if like, ok := o.value("reference"); ok {
		info, err := p.m.fs.stat(p.cred, p.abs(like), true)
		if err != nil {
			return p.fail(1, "failed to get attributes of '%s': %s", like, errorText(err))
		}
		n, _ := info.Sys().(*node)
		uid, gid = n.uid, n.gid
		o.operands = append([]string{""}, o.operands...)
	}
	if len(o.operands) < 2 {
		return p.fail(1, "missing operand")
	}
	if uid < 0 {
		owner, groupText, hasGroup := strings.Cut(o.operands[0], ":")
		if path.Base(p.args[0]) == "chgrp" {
			owner, groupText = "", o.operands[0]
		}
		var status int
		if uid, gid, status = p.ownership(owner, groupText); status != 0 {
			return status
		}
		if a, ok := p.m.account(owner); ok && hasGroup && groupText == "" {
			gid = a.gid
		}
	}
	return eachOperand(p, o.operands[1:], "changing ownership of", func(name string) error {
		for _, at := range below(p, name, o.has("R")) {
			if err := p.m.fs.chown(p.cred, at, !o.has("h", "no-dereference"), uid, gid); err != nil {
				return err
			}
		}
		return nil
	})
}

// runMktemp is mktemp [-d] [-p DIR] [TEMPLATE].
func runMktemp(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "p", "tmpdir")
	template := "tmp.XXXXXXXXXX"
	dir, hasDir := o.value("p", "tmpdir")
	if len(o.operands) > 0 {
		template = o.operands[0]
	} else if !hasDir {
		dir, hasDir = "/tmp", true
	}
	if hasDir {
		template = path.Join(dir, template)
	}
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 3 {
		return p.fail(1, "too few X's in template ‘%s’", template)
	}
	name := fmt.Sprintf("%s%0*d", stem, len(template)-len(stem), p.x.hosts.newPIDs(1))
	var err error
	if o.has("d") {
		err = p.m.fs.mkdir(p.cred, p.abs(name), 0o700)
	} else {
		err = p.m.fs.writeFile(p.cred, p.abs(name), nil, 0o600)
	}
	if err != nil {
		return p.fail(1, "failed to create file via template ‘%s’: %s", template, errorText(err))
	}
	p.printf("%s\n", name)
	return 0
}
