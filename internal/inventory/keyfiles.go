package inventory

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

const maxKeys = 50_000 // keys of one host, one for each user that a line opens

// keyFile is a file of public keys as the probe printed it.
type keyFile struct {
	status string // "read", "special", "unreadable", "skipped", "upto N"
	keys   []fleet.Key
	cut    bool
}

// inode is what ls shows of a file or folder.
type inode struct {
	mode string
	uid  int64
	gid  int64
}

// keyReader builds the key list of one host.
type keyReader struct {
	*parser
	files  map[string]keyFile
	inodes map[string]inode
	users  map[string]fleet.User
	keys   []fleet.Key
	lacks  int    // files that could not be read
	first  string // the first of them, and why
}

func (p *parser) keys() {
	s, ok := p.frame["keys"]
	if !ok || !p.probe.Users.Known {
		reason := p.missing
		if ok {
			reason = "the host's users are not known"
		}
		p.probe.Keys = fleet.Unknown[[]fleet.Key](sourceKeys, p.at, reason)
		return
	}
	k := &keyReader{parser: p, files: readFiles(s), inodes: readListing(s), users: map[string]fleet.User{}, keys: []fleet.Key{}}
	for _, u := range p.probe.Users.Value {
		if _, again := k.users[u.Name]; !again {
			k.users[u.Name] = u
		}
	}
	for _, r := range s.all("key") {
		k.add(r.field(0), r.field(1), false)
	}
	k.authorities(s)
	for _, r := range s.all("shut") {
		k.lack("keys of "+r.field(0), r.field(1), "the login user may not look into the folder")
	}
	if cut, ok := s.first("cut"); ok {
		k.lack("keys", "the rest", "there are more than "+cut.field(0)+" key files")
	}
	_, defaults := s.first("default")
	switch {
	case defaults:
		p.probe.Keys = fleet.Partial(k.keys, sourceKeys, p.at, "sshd's settings are not known; only its default files were looked for")
	case k.lacks > 0:
		p.probe.Keys = fleet.Partial(k.keys, sourceKeys, p.at, fmt.Sprintf("%d key files could not be read, the first: %s", k.lacks, k.first))
	default:
		p.probe.Keys = fleet.Known(k.keys, sourceKeys, p.at)
	}
}

// lack notes a file whose keys are missing from the list.
func (k *keyReader) lack(what, file, reason string) {
	k.gap(what, file+": "+reason)
	if k.lacks == 0 {
		k.first = file + ": " + reason
	}
	k.lacks++
}

// authorities adds the CA keys: the global ones, and those that hold for the
// users of a Match block alone.
func (k *keyReader) authorities(s section) {
	global := map[string]bool{}
	for _, r := range s.all("ca") {
		variant, file := r.field(0), r.field(1)
		switch {
		case variant == "0":
			global[file] = true
			k.add("", file, true)
		case !global[file]:
			for _, user := range k.byVar[variant] {
				k.add(user, file, true)
			}
		}
	}
	for _, r := range s.all("lost") {
		k.lack("TrustedUserCAKeys", r.field(1), "not there, or hidden from the login user")
	}
}

// add enters all keys of a file for one user.
func (k *keyReader) add(user, file string, ca bool) {
	f, ok := k.files[file]
	what := "keys of " + user
	if ca {
		what = "TrustedUserCAKeys"
	}
	switch {
	case !ok:
		k.lack(what, file, "the probe did not show it")
		return
	case f.status == "special":
		k.gap(what, file+": not a regular file, which sshd refuses")
		return
	case f.status == "unreadable":
		k.lack(what, file, "permission denied")
		return
	case f.status == "skipped":
		k.lack(what, file, "the host's key files are too large to be read whole")
		return
	case f.cut:
		k.lack(what, file, "too large; only its beginning was read")
	}
	problem := ""
	if !ca {
		problem = k.refused(user, file)
	}
	for _, key := range f.keys {
		if len(k.keys) == maxKeys {
			k.lack(what, file, "the host has more than 50,000 keys")
			return
		}
		key.User, key.CA = user, key.CA || ca
		if key.Problem == "" {
			key.Problem = problem
		}
		k.keys = append(k.keys, key)
	}
}

// refused tells why sshd's StrictModes would not use the user's file, or gives
// an empty string. It follows OpenSSH's safe_path: the file and every folder
// from it up to the home directory (or the root) must belong to the user or
// root and be writable by nobody else. What was not listed is not judged.
func (k *keyReader) refused(user, file string) string {
	u, ok := k.users[user]
	if !ok || !k.probe.SSHD.Known {
		return ""
	}
	if v := k.probe.SSHD.Value.For(user, "strictmodes"); len(v) == 1 && v[0] == "no" {
		return ""
	}
	home := path.Clean(u.Home)
	for name := file; ; name = path.Dir(name) {
		if i, ok := k.inodes[name]; ok {
			if why := k.unsafe(i, u); why != "" {
				return "sshd refuses the file: " + name + " " + why
			}
		}
		if name == home || name == "/" || name == "." {
			return ""
		}
	}
}

func (k *keyReader) unsafe(i inode, u fleet.User) string {
	if len(i.mode) < 10 {
		return ""
	}
	// Debian's OpenSSH allows writing by the user's own group if the user is
	// alone in it; who is in it is not known here.
	ownGroup := k.debian && i.gid == u.GID
	switch {
	case i.uid != 0 && i.uid != u.UID:
		return fmt.Sprintf("belongs to another user (UID %d)", i.uid)
	case i.mode[8] == 'w':
		return "is writable by everybody"
	case i.mode[5] == 'w' && !ownGroup:
		return "is writable by its group"
	}
	return ""
}

// readFiles parses each printed file once, however many users it serves.
func readFiles(s section) map[string]keyFile {
	out := map[string]keyFile{}
	left := maxKeys
	for _, r := range s.all("file") {
		f := keyFile{status: r.field(0)}
		name, lines := r.field(1), r.lines
		if limit, ok := strings.CutPrefix(f.status, "upto "); ok && textSize(lines) >= atoi(limit) {
			f.cut = true
			lines = lines[:max(len(lines)-1, 0)] // the last one may be a piece
		}
		for i, l := range lines {
			key, ok := ParseKeyLine(l)
			if !ok {
				continue
			}
			if left == 0 {
				f.cut = true
				break
			}
			left--
			key.File, key.Line = name, i+1
			f.keys = append(f.keys, key)
		}
		out[name] = f
	}
	return out
}

// readListing reads the output of "ls -ldn".
func readListing(s section) map[string]inode {
	out := map[string]inode{}
	r, _ := s.first("list")
	for _, l := range r.lines {
		f := strings.Fields(l)
		slash := strings.IndexByte(l, '/')
		if len(f) < 6 || slash < 0 {
			continue
		}
		uid, err1 := strconv.ParseInt(f[2], 10, 64)
		gid, err2 := strconv.ParseInt(f[3], 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		out[clean(l[slash:])] = inode{mode: f[0], uid: uid, gid: gid}
	}
	return out
}

func textSize(lines []string) int {
	n := 0
	for _, l := range lines {
		n += len(l) + 1
	}
	return n
}
