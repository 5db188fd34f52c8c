package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sshhost"
)

// longestLogin is how long the certificate of an opening is good at most.
const longestLogin = time.Hour

// openLogin is with what ssh logs in by an opening.
type openLogin struct {
	config string    // lines for ssh_config(5)
	file   string    // the key that was made for it; empty: none
	until  time.Time // when its certificates end
}

// openingPath is what the names of an opening's files begin with.
func openingPath(dir, id string) (string, error) {
	return filepath.Abs(filepath.Join(dir, "migrate-recovery-"+id))
}

// certifyLogin has the recovery authorities sign a key that is made for this opening,
// which goes into files beside its configuration. It is good until then at most.
func (a *app) certifyLogin(ctx context.Context, b *recoveryBase, id string, until time.Time) (openLogin, error) {
	keys, err := b.db.RecoveryKeys(ctx)
	if err != nil {
		return openLogin{}, err
	}
	accounts, err := openAccounts(ctx, b.cfg)
	if err != nil {
		return openLogin{}, err
	}
	store, forget := a.recoveryStore(b.cfg.Recovery, awsapi.NewChanger(accounts...))
	defer forget()
	ring, err := store.Load(ctx)
	if err != nil {
		return openLogin{}, err
	}
	defer seal.Clear(ring)
	now := time.Now()
	k, err := sshhost.CertifyLogin(authoritiesOf(ring, certifies(keys)), now, min(until.Sub(now), longestLogin))
	if err != nil {
		return openLogin{}, err
	}
	defer clear(k.Private)
	path, err := openingPath(b.cfg.dir, id)
	if err != nil {
		return openLogin{}, err
	}
	l := openLogin{file: path + ".key", until: k.Until.UTC()}
	l.config = "Match all\n  IdentityFile " + sshWord(l.file) + "\n"
	for i, c := range k.Certificates {
		name := fmt.Sprintf("%s.key-%d-cert.pub", path, i+1)
		l.config += "  CertificateFile " + sshWord(name) + "\n"
		if err := writePrivate(name, c); err != nil {
			return openLogin{}, err
		}
	}
	l.config += "  IdentitiesOnly yes\n"
	return l, writePrivate(l.file, k.Private)
}

// authoritiesOf are the keys of a ring that sign certificates.
func authoritiesOf(ring [][]byte, signs func(blob string) bool) [][]byte {
	var out [][]byte
	for _, text := range ring {
		if line, err := seal.PublicLine(text); err == nil && signs(recovery.Blob(line)) {
			out = append(out, text)
		}
	}
	return out
}

// writePrivate writes a new file that nobody else may read.
func writePrivate(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write what ssh logs in with: %w", err)
	}
	_, err = f.Write(bytes.TrimLeft(text, "\n"))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write what ssh logs in with: %w", err)
	}
	return nil
}

// removeOpening removes the files that an opening has left: key, certificates,
// configuration, host keys. It reports whether there were any.
func removeOpening(dir, id string) (bool, error) {
	path, err := openingPath(dir, id)
	if err != nil {
		return false, err
	}
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return false, fmt.Errorf("look for the files of opening %s: %w", id, err)
	}
	some := false
	for _, f := range all {
		if !strings.HasPrefix(f.Name(), filepath.Base(path)+".") {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return some, fmt.Errorf("remove a file of opening %s: %w", id, err)
		}
		some = true
	}
	return some, nil
}
