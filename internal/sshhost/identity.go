package sshhost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

const maxKeyFile = 1 << 20

// key is a key, or a certificate for one, that can be offered to servers.
type key struct {
	name     string // for messages
	public   ssh.PublicKey
	blob     string // public, in wire format
	sign     signFunc
	accepted atomic.Int64 // how many servers took it
}

type signFunc func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error)

// keyFile is an identity file, read once.
type keyFile struct {
	once   sync.Once
	public ssh.PublicKey    // nil if it cannot be told
	sign   signFunc         // nil if the file does not hold a usable private key
	cert   *ssh.Certificate // from the -cert.pub file next to it
	note   string           // why it is of no use by itself
	absent bool
}

// identities holds what can be offered to servers: keys read from files and
// agents, once per Client.
type identities struct {
	mu     sync.Mutex
	files  map[string]*keyFile // guarded by mu
	agents map[string]*agent   // guarded by mu; by socket
	sets   map[string]*keySet  // guarded by mu; by what they were made from
}

// keySet is a list of keys for a kind of target, in the order of trying.
type keySet struct {
	once  sync.Once
	keys  []*key
	notes []string
	err   error // such a set is not kept
}

func newIdentities() *identities {
	return &identities{files: map[string]*keyFile{}, agents: map[string]*agent{}, sets: map[string]*keySet{}}
}

func (s *identities) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.agents {
		a.close()
	}
}

// request is what decides which keys a target is offered.
type request struct {
	explicit []string // identity files that the operator named
	fallback []string // default identity files
	certs    []string // CertificateFile
	socket   string   // agent; empty: none
	only     bool     // IdentitiesOnly
}

func (r request) key() string {
	return fmt.Sprintf("%q %q %q %q %t", r.explicit, r.fallback, r.certs, r.socket, r.only)
}

// keys lists the keys to offer to a target, at most maxTries, and what to tell
// the operator if none is accepted. Keys that other hosts accepted come first,
// then those of named identity files, the agent's, and those of default files.
func (c *Client) keys(ctx context.Context, t *target, login string) ([]*key, []string, error) {
	r, err := c.request(t, login)
	if err != nil {
		return nil, nil, err
	}
	set := c.identities.set(ctx, r, t.dialTimeout)
	var silent []string
	if set.err != nil {
		// The agent is only one source of keys; without it the others count.
		silent = append(silent, "ssh-agent: "+clean(set.err.Error(), 150))
		r.socket = ""
		set = c.identities.set(ctx, r, t.dialTimeout)
	}
	keys, notes := set.order()
	return keys, slices.Concat(notes, silent), nil
}

// set gives the keys for a request, made once. One that fails is made again
// for the next target, and when it failed only because another's ctx ended.
func (s *identities) set(ctx context.Context, r request, limit time.Duration) *keySet {
	id := r.key()
	for {
		s.mu.Lock()
		set := s.sets[id]
		if set == nil {
			set = &keySet{}
			s.sets[id] = set
		}
		s.mu.Unlock()
		mine := false
		set.once.Do(func() {
			mine = true
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			set.err = s.build(ctx, set, r)
		})
		if set.err == nil {
			return set
		}
		s.mu.Lock()
		if s.sets[id] == set {
			delete(s.sets, id)
		}
		s.mu.Unlock()
		if mine || ctx.Err() != nil || !errors.Is(set.err, context.Canceled) {
			return set
		}
	}
}

// order puts the keys that servers accepted first and cuts the list.
func (s *keySet) order() ([]*key, []string) {
	keys, notes := slices.Clone(s.keys), s.notes
	slices.SortStableFunc(keys, func(a, b *key) int {
		return int(min(b.accepted.Load(), 1) - min(a.accepted.Load(), 1))
	})
	if over := len(keys) - maxTries; over > 0 {
		keys = keys[:maxTries]
		notes = append(slices.Clone(notes), fmt.Sprintf("%s not tried, since servers allow %d tries: set IdentitiesOnly and IdentityFile in ssh_config", quantity(over, "further key was", "further keys were"), maxTries))
	}
	return keys, notes
}

// request expands the settings that decide the keys of a target.
func (c *Client) request(t *target, login string) (request, error) {
	var r request
	var err error
	expand := func(list []string) (paths []string) {
		for _, f := range list {
			if strings.EqualFold(f, "none") {
				continue
			}
			p, e := t.expandPath(f, login, c.env)
			err = errors.Join(err, e)
			paths = append(paths, p)
		}
		return paths
	}
	named := t.opts.values["identityfile"]
	r.explicit = expand(slices.Concat(c.cfg.IdentityFiles, named))
	if len(named) == 0 {
		r.fallback = expand(defaultIdentities)
	}
	r.certs = expand(t.opts.values["certificatefile"])
	r.only = strings.EqualFold(t.opts.first("identitiesonly"), "yes")
	r.socket = c.cfg.AgentSocket
	switch a := t.opts.first("identityagent"); {
	case a == "" || a == "SSH_AUTH_SOCK":
	case strings.HasPrefix(a, "$") && !strings.HasPrefix(a, "${"):
		r.socket = strings.Join(expand([]string{"${" + a[1:] + "}"}), "")
	default:
		r.socket = strings.Join(expand([]string{a}), "") // empty for "none"
	}
	if r.socket == "none" {
		r.socket = ""
	}
	return r, err
}

// build lists the keys that a request asks for.
func (s *identities) build(ctx context.Context, set *keySet, r request) error {
	var held []*key
	if r.socket != "" {
		var err error
		if held, err = s.agent(r.socket).keys(ctx); err != nil {
			return err
		}
	}
	var certs []*ssh.Certificate
	for _, f := range r.certs {
		cert, err := readCertificate(f)
		if err != nil {
			set.note("%s: %s", f, clean(err.Error(), 150))
			continue
		}
		certs = append(certs, cert)
	}
	set.fromFiles(s, r.explicit, certs, held, true)
	if !r.only {
		for _, k := range held {
			set.add(k)
		}
	}
	set.fromFiles(s, r.fallback, certs, held, false)
	return nil
}

func (s *keySet) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (s *keySet) add(k *key) {
	if !slices.ContainsFunc(s.keys, func(o *key) bool { return o.blob == k.blob }) {
		s.keys = append(s.keys, k)
	}
}

// fromFiles adds the keys of identity files, with the certificates for them in
// front. A key that the file alone does not give may be held by the agent.
func (s *keySet) fromFiles(ids *identities, paths []string, certs []*ssh.Certificate, held []*key, named bool) {
	for _, path := range paths {
		f := ids.file(path)
		if f.absent {
			if named {
				s.note("%s does not exist", path)
			}
			continue
		}
		sign := f.sign
		if sign == nil && f.public != nil {
			blob := string(f.public.Marshal())
			if i := slices.IndexFunc(held, func(k *key) bool { return k.blob == blob }); i >= 0 {
				sign = held[i].sign
			}
		}
		if sign == nil {
			s.note("%s: %s", path, f.note)
			continue
		}
		blob := string(f.public.Marshal())
		for _, cert := range append(slices.Clone(certs), f.cert) {
			if cert == nil || string(cert.Key.Marshal()) != blob {
				continue
			}
			if problem := expiry(cert); problem != "" {
				s.note("certificate for %s %s", path, problem)
				continue
			}
			s.add(&key{name: path + " (certificate)", public: cert, blob: string(cert.Marshal()), sign: sign})
		}
		s.add(&key{name: path, public: f.public, blob: blob, sign: sign})
	}
}

// expiry says why a certificate cannot be accepted now.
func expiry(c *ssh.Certificate) string {
	now := uint64(time.Now().Unix())
	switch {
	case c.CertType != ssh.UserCert:
		return "is no user certificate"
	case c.ValidBefore != ssh.CertTimeInfinity && now >= c.ValidBefore:
		return "expired on " + time.Unix(int64(c.ValidBefore), 0).UTC().Format(time.RFC3339)
	case now < c.ValidAfter:
		return "is not valid before " + time.Unix(int64(c.ValidAfter), 0).UTC().Format(time.RFC3339)
	}
	return ""
}

// file reads an identity file, once.
func (s *identities) file(path string) *keyFile {
	s.mu.Lock()
	f := s.files[path]
	if f == nil {
		f = &keyFile{}
		s.files[path] = f
	}
	s.mu.Unlock()
	f.once.Do(func() { f.read(path) })
	return f
}

func (f *keyFile) read(path string) {
	text, err := readSmall(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		// The private key may be in an agent, with only its public half here.
		if f.public = readPublic(path + ".pub"); f.public == nil {
			f.absent = true
		}
		f.note = "the file does not exist, and the agent does not hold the key of " + path + ".pub"
		return
	}
	if err != nil {
		f.note = clean(err.Error(), 150)
		return
	}
	f.cert, _ = readCertificate(path + "-cert.pub")
	signer, err := ssh.ParsePrivateKey(text)
	if err == nil {
		f.public, f.sign = signer.PublicKey(), signerFunc(signer)
		return
	}
	var encrypted *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &encrypted):
		if f.public = encrypted.PublicKey; f.public == nil {
			f.public = readPublic(path + ".pub")
		}
		f.note = "the key is encrypted and not in the agent: run ssh-add " + path
	default:
		if f.public, _, _, _, _ = ssh.ParseAuthorizedKey(text); f.public == nil {
			f.public = readPublic(path + ".pub")
		}
		f.note = "no usable private key: " + clean(err.Error(), 150)
	}
}

func readPublic(path string) ssh.PublicKey {
	text, err := readSmall(path, maxKeyFile)
	if err != nil {
		return nil
	}
	k, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return k
}

func readCertificate(path string) (*ssh.Certificate, error) {
	text, err := readSmall(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	k, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, err
	}
	cert, ok := k.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("no certificate")
	}
	return cert, nil
}

func signerFunc(s ssh.Signer) signFunc {
	return func(_ context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		if as, ok := s.(ssh.AlgorithmSigner); ok && algorithm != "" {
			return as.SignWithAlgorithm(rand.Reader, data, algorithm)
		}
		return s.Sign(rand.Reader, data)
	}
}
