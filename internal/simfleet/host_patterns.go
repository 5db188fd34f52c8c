package simfleet

import (
	"errors"
	"net/netip"
	"path"
	"strings"
	"syscall"
)

// matchGlob is OpenSSH's pattern: * and ? only.
func matchGlob(s, pattern string) bool {
	escaped := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(pattern)
	// path.Match would not let * match a slash; names and addresses with one
	// are compared under another letter.
	ok, err := path.Match(strings.ReplaceAll(escaped, "/", "\x01"), strings.ReplaceAll(s, "/", "\x01"))
	return err == nil && ok
}

// matchList matches a comma-separated pattern list; a negated match decides against.
func matchList(s, list string) bool {
	found := false
	for p := range strings.SplitSeq(list, ",") {
		if rest, negated := strings.CutPrefix(p, "!"); negated {
			if matchGlob(s, rest) {
				return false
			}
			continue
		}
		found = found || matchGlob(s, p)
	}
	return found
}

// matchAddress matches an address against a list of patterns and CIDR blocks.
func matchAddress(addr, list string) bool {
	ip, err := netip.ParseAddr(addr)
	found := false
	for p := range strings.SplitSeq(list, ",") {
		rest, negated := strings.CutPrefix(p, "!")
		ok := matchGlob(addr, rest)
		if block, perr := netip.ParsePrefix(rest); perr == nil && err == nil {
			ok = block.Contains(ip.Unmap())
		}
		switch {
		case ok && negated:
			return false
		case ok:
			found = true
		}
	}
	return found
}

// errorText is the C library's wording of an error.
func errorText(err error) string {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		switch n {
		case syscall.ENOENT:
			return "No such file or directory"
		case syscall.EACCES:
			return "Permission denied"
		case syscall.EPERM:
			return "Operation not permitted"
		case syscall.EEXIST:
			return "File exists"
		case syscall.EISDIR:
			return "Is a directory"
		case syscall.ENOTDIR:
			return "Not a directory"
		case syscall.ENOTEMPTY:
			return "Directory not empty"
		case syscall.ENOSPC:
			return "No space left on device"
		case syscall.EROFS:
			return "Read-only file system"
		case syscall.EINVAL:
			return "Invalid argument"
		}
	}
	return err.Error()
}
