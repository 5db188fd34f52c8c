package sshhost

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// nowhere is the remote address given to the known_hosts library, which looks
// at it only where a host has no name.
var nowhere net.Addr = &net.TCPAddr{IP: net.IPv4zero}

// hostKeys holds known_hosts, parsed once per set of files.
type hostKeys struct {
	mu  sync.Mutex
	dbs map[string]*keyFiles // guarded by mu; by file names
}

// keyFiles is the content of a set of known_hosts files, and what was recorded since.
type keyFiles struct {
	files  []string
	record string // where new keys go; empty: they are only remembered
	once   sync.Once

	// Set by once.
	db    *knownhosts.HostKeyDB
	names map[string]string // of files that were copied, by the copy's name
	err   error

	mu    sync.Mutex
	added map[string][]ssh.PublicKey // guarded by mu; by address, keys recorded by this Client
}

// keyCheck checks the host key of one handshake.
type keyCheck struct {
	files      *keyFiles
	addresses  []string // names under which the key may be recorded, the decisive one first
	algorithms []string
	acceptNew  bool
	hash       bool // record the host's name hashed
	refused    *Error
}

// checker prepares the check of a target's host key.
func (h *hostKeys) checker(c *Client, t *target, login string) (*keyCheck, error) {
	files, err := h.files(c, t, login)
	if err != nil {
		return nil, err
	}
	k := &keyCheck{files: files, hash: strings.EqualFold(t.opts.first("hashknownhosts"), "yes")}
	if k.acceptNew, err = acceptsNew(c.cfg.HostKeyPolicy, t.opts.first("stricthostkeychecking")); err != nil {
		return nil, err
	}
	k.addresses = []string{t.address()}
	if t.keyAlias != "" {
		k.addresses = []string{net.JoinHostPort(t.keyAlias, "22")}
	} else if t.alias != t.name {
		k.addresses = append(k.addresses, net.JoinHostPort(t.alias, strconv.Itoa(t.port)))
	}
	k.algorithms = k.order()
	return k, nil
}

// acceptsNew is whether unknown keys are recorded. A changed key is never
// accepted, not even by StrictHostKeyChecking=no.
func acceptsNew(policy, strict string) (bool, error) {
	if policy != "" {
		return policy == PolicyAcceptNew, nil
	}
	switch strings.ToLower(strict) {
	case "", "yes", "ask", "true":
		return false, nil
	case "accept-new", "no", "off", "false":
		return true, nil
	}
	return false, fmt.Errorf("StrictHostKeyChecking %q of ssh_config is no known value", clean(strict, 40))
}

// files finds the known_hosts files that count for a target.
func (h *hostKeys) files(c *Client, t *target, login string) (*keyFiles, error) {
	list := c.cfg.KnownHosts
	if len(list) == 0 {
		list = append(words(withDefault(t.opts.first("userknownhostsfile"), "~/.ssh/known_hosts ~/.ssh/known_hosts2")),
			words(withDefault(t.opts.first("globalknownhostsfile"), "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"))...)
	}
	paths := make([]string, 0, len(list))
	for _, f := range list {
		p, err := t.expandPath(f, login, c.env)
		if err != nil {
			return nil, fmt.Errorf("known_hosts: %w", err)
		}
		if p == "none" {
			p = os.DevNull
		}
		paths = append(paths, p)
	}
	key := strings.Join(paths, "\x00")
	h.mu.Lock()
	k := h.dbs[key]
	if k == nil {
		k = &keyFiles{files: paths, names: map[string]string{}, added: map[string][]ssh.PublicKey{}}
		if len(paths) > 0 && paths[0] != os.DevNull {
			k.record = paths[0]
		}
		h.dbs[key] = k
	}
	h.mu.Unlock()
	k.once.Do(k.load)
	return k, k.err
}

func withDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// load parses the files that exist.
func (k *keyFiles) load() {
	var there []string
	for _, f := range k.files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		}
	}
	if k.db, k.err = knownhosts.NewDB(there...); k.err == nil {
		return
	}
	// The library refuses a whole file for one line that it cannot read;
	// OpenSSH skips such lines.
	for i, f := range there {
		tmp, err := k.sanitized(f)
		if err != nil {
			k.err = err
			return
		}
		defer func() { _ = os.Remove(tmp) }()
		there[i] = tmp
	}
	k.db, k.err = knownhosts.NewDB(there...)
}

// sanitized writes a copy of a file in which unreadable lines are empty, so
// that line numbers stay the same.
func (k *keyFiles) sanitized(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read known_hosts: %w", err)
	}
	tmp, err := os.CreateTemp("", "known_hosts-*")
	if err != nil {
		return "", fmt.Errorf("copy %s: %w", file, err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		b.WriteString(readableKeyLine(line) + "\n")
	}
	_, err = tmp.WriteString(b.String())
	if err = errors.Join(err, tmp.Close()); err != nil {
		_ = os.Remove(tmp.Name())
		return "", fmt.Errorf("copy %s: %w", file, err)
	}
	k.names[tmp.Name()] = file
	return tmp.Name(), nil
}

// order lists the host key algorithms to ask for: of the recorded keys first,
// so that the server shows a key that can be compared. The others follow, so
// that a key of another type is seen and refused with a clear message.
func (k *keyCheck) order() []string {
	var list []string
	for _, a := range k.addresses {
		list = append(list, k.files.db.HostKeyAlgorithms(a)...)
		for _, key := range k.files.recorded(a) {
			list = append(list, key.Type())
		}
	}
	// Without a CA for the host a certificate cannot be judged.
	for _, a := range plainAlgorithms() {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

var plainAlgorithms = sync.OnceValue(func() []string {
	return slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return strings.Contains(a, "-cert-") })
})

// verify checks the key that the server proved to hold.
func (k *keyCheck) verify(key ssh.PublicKey) error {
	var want []xknownhosts.KnownKey
	for i, a := range k.addresses {
		err := k.files.db.HostKeyCallback()(a, nowhere, key)
		var keyErr *xknownhosts.KeyError
		var revoked *xknownhosts.RevokedError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &revoked):
			k.refused = &Error{Kind: ErrHostKeyRevoked, Err: err, Detail: fmt.Sprintf("%s is marked @revoked at %s", describe(key), k.files.where(revoked.Revoked))}
			return k.refused
		case !errors.As(err, &keyErr):
			k.refused = &Error{Kind: ErrHostKeyUnknown, Err: err, Detail: "host certificate: " + clean(err.Error(), 200)}
			return k.refused
		}
		// Several hosts may share a further name, so another key there proves nothing.
		if i == 0 {
			want = k.hostsOwn(a, keyErr.Want)
		}
	}
	if len(want) == 0 {
		return k.unknown(key)
	}
	known := want[max(0, slices.IndexFunc(want, func(w xknownhosts.KnownKey) bool { return w.Key.Type() == key.Type() }))]
	k.refused = k.changed(key, k.addresses[0], k.files.where(known), known.Key, known.Filename)
	return k.refused
}

// hostsOwn leaves out the keys of CAs: a host that shows a plain key instead of
// a certificate is unknown, not changed.
func (k *keyCheck) hostsOwn(address string, want []xknownhosts.KnownKey) []xknownhosts.KnownKey {
	if len(want) == 0 {
		return nil
	}
	known := k.files.db.HostKeys(address)
	return slices.DeleteFunc(want, func(w xknownhosts.KnownKey) bool {
		return slices.ContainsFunc(known, func(p knownhosts.PublicKey) bool {
			return p.Cert && string(p.Marshal()) == string(w.Key.Marshal())
		})
	})
}

// unknown records a key on first use if that is allowed.
func (k *keyCheck) unknown(key ssh.PublicKey) error {
	at := k.addresses[0]
	if !k.acceptNew {
		host, port, _ := net.SplitHostPort(at)
		k.refused = &Error{Kind: ErrHostKeyUnknown, Detail: fmt.Sprintf(
			"it showed %s, and known_hosts has no key for %s; compare the fingerprint with the instance's console output, then add the line that \"ssh-keyscan -p %s %s\" prints to %s, or set host_keys: accept-new",
			describe(key), knownhosts.Normalize(at), port, host, withDefault(k.files.record, "known_hosts"))}
		return k.refused
	}
	before, err := k.files.add(at, key, k.hash)
	switch {
	case err != nil:
		k.refused = &Error{Kind: ErrConfig, Err: err, Detail: clean(err.Error(), 300)}
	case before != nil:
		k.refused = k.changed(key, at, withDefault(k.files.record, "this run"), before, k.files.record)
	default:
		return nil
	}
	return k.refused
}

// changed is the refusal of a key that differs from the recorded one.
func (k *keyCheck) changed(key ssh.PublicKey, at, where string, known ssh.PublicKey, file string) *Error {
	what := "it showed %s, but %s has %s"
	if key.Type() != known.Type() {
		what = "it showed %s, but %s has only another type, %s"
	}
	if f, ok := k.files.names[file]; ok {
		file = f
	}
	detail := fmt.Sprintf(what+"; WARNING: someone may be listening in, or the host was rebuilt or its address given to another one: compare the fingerprint with the instance's console output",
		describe(key), where, describe(known))
	if file != "" {
		detail += fmt.Sprintf("; only if it is right, run: ssh-keygen -R '%s' -f '%s'", knownhosts.Normalize(at), file)
	}
	return &Error{Kind: ErrHostKeyChanged, Detail: detail}
}

func describe(k ssh.PublicKey) string { return k.Type() + " " + ssh.FingerprintSHA256(k) }

func (k *keyFiles) where(known xknownhosts.KnownKey) string {
	file := known.Filename
	if f, ok := k.names[file]; ok {
		file = f
	}
	return file + ":" + strconv.Itoa(known.Line)
}

func (k *keyFiles) recorded(address string) []ssh.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.added[address])
}

// add records a key for an address. If this Client recorded another key for it
// before, that one is returned and nothing changes.
func (k *keyFiles) add(address string, key ssh.PublicKey, hash bool) (before ssh.PublicKey, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.added[address] {
		if string(known.Marshal()) == string(key.Marshal()) {
			return nil, nil
		}
		before = known
	}
	if before != nil {
		return before, nil
	}
	if k.record != "" {
		name := knownhosts.Normalize(address)
		if hash {
			name = xknownhosts.HashHostname(name)
		}
		if err := appendLine(k.record, name+" "+string(ssh.MarshalAuthorizedKey(key))); err != nil {
			return nil, fmt.Errorf("record the host key: %w", err)
		}
	}
	k.added[address] = append(k.added[address], key)
	return nil, nil
}

// appendLine adds a line in one write, so that programs that do the same at
// the same time do not mix their lines.
func appendLine(path, line string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
