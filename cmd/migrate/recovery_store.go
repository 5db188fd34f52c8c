package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sqlite"
)

// recoveryConfig says where the recovery key is kept (docs/recovery.md). Neither
// the key nor its passphrase is ever stored elsewhere.
type recoveryConfig struct {
	Store          string   `yaml:"store"` // one of recoveryStores; left out: file
	KeyFile        string   `yaml:"key_file"`
	PassphraseFile string   `yaml:"passphrase_file"`
	RecipientsFile string   `yaml:"recipients_file"`
	IdentityFiles  []string `yaml:"identity_files"`
	KMSKey         string   `yaml:"kms_key"`
	Secret         string   `yaml:"secret"`
}

// Where a recovery key can be kept.
const (
	storeFile    = "file"
	storeAge     = "age"
	storeKMS     = "kms"
	storeSecrets = "secrets-manager"
)

var recoveryStores = []string{storeFile, storeAge, storeKMS, storeSecrets}

func (r recoveryConfig) store() string {
	if r.Store == "" {
		return storeFile
	}
	return r.Store
}

// set reports whether the configuration says where the key is.
func (r recoveryConfig) set() bool { return r.KeyFile != "" || r.Secret != "" }

func (r *recoveryConfig) resolve(dir string) {
	for _, p := range []*string{&r.KeyFile, &r.PassphraseFile, &r.RecipientsFile} {
		*p = inFolder(dir, *p)
	}
	for i := range r.IdentityFiles {
		r.IdentityFiles[i] = inFolder(dir, r.IdentityFiles[i])
	}
}

// validate refuses settings that another store than the configured one has:
// they would be passed over in silence.
func (r recoveryConfig) validate() error {
	store := r.store()
	if !slices.Contains(recoveryStores, store) {
		return fmt.Errorf("store %q is none of %s", r.Store, strings.Join(recoveryStores, ", "))
	}
	for _, f := range []struct {
		name string
		set  bool
		of   []string
	}{
		{"key_file", r.KeyFile != "", []string{storeFile, storeAge, storeKMS}},
		{"passphrase_file", r.PassphraseFile != "", []string{storeFile, storeAge}},
		{"recipients_file", r.RecipientsFile != "", []string{storeAge}},
		{"identity_files", len(r.IdentityFiles) > 0, []string{storeAge}},
		{"kms_key", r.KMSKey != "", []string{storeKMS}},
		{"secret", r.Secret != "", []string{storeSecrets}},
	} {
		if f.set && !slices.Contains(f.of, store) {
			return fmt.Errorf("%s is of no use with store: %s", f.name, store)
		}
	}
	switch {
	case store == storeKMS && r.KeyFile != "" && r.KMSKey == "":
		return errors.New("store: kms takes kms_key, the ARN of the KMS key")
	case r.RecipientsFile != "" && r.PassphraseFile != "":
		return errors.New("recipients_file and passphrase_file exclude each other")
	}
	return nil
}

// recoveryComment is what the public line of a recovery key ends with.
const recoveryComment = "migrate-recovery"

// recoveryStore is the store of the recovery key. A passphrase is asked for once,
// and kept until forget is called or it turns out to be wrong.
func (a *app) recoveryStore(r recoveryConfig, changer *awsapi.Changer) (_ seal.Store, forget func()) {
	p := &phrase{ask: func() ([]byte, error) {
		return a.passphrase(r.PassphraseFile, "Passphrase of the recovery key: ")
	}}
	s := newRecoveryStore(r, awsapi.NewVault(changer), p.get)
	return forgetful{s, p}, p.forget
}

// newRecoveryStore makes a store as configured.
func newRecoveryStore(r recoveryConfig, vault *awsapi.Vault, phrase func() ([]byte, error)) seal.Creator {
	switch r.store() {
	case storeAge:
		return &seal.AgeFile{Path: r.KeyFile, Recipients: r.RecipientsFile, Identities: r.IdentityFiles, Passphrase: phrase}
	case storeKMS:
		return &seal.KMSFile{Path: r.KeyFile, Key: r.KMSKey, Keys: vault}
	case storeSecrets:
		return &seal.Secret{Secrets: vault, ARN: r.Secret}
	}
	return &seal.KeyFile{Path: r.KeyFile, Passphrase: phrase, Comment: recoveryComment}
}

// phrase is a passphrase that is asked for when it is needed for the first time.
type phrase struct {
	ask func() ([]byte, error)

	mu   sync.Mutex
	text []byte // guarded by mu
}

// get gives a copy, for the caller to clear.
func (p *phrase) get() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil {
		text, err := p.ask()
		if err != nil {
			return nil, err
		}
		p.text = text
	}
	return bytes.Clone(p.text), nil
}

func (p *phrase) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.text)
	p.text = nil
}

// forgetful is a store that asks again after a wrong passphrase.
type forgetful struct {
	seal.Store
	phrase *phrase
}

func (f forgetful) Load(ctx context.Context) ([][]byte, error) {
	ring, err := f.Store.Load(ctx)
	if errors.Is(err, seal.ErrPassphrase) {
		f.phrase.forget()
	}
	return ring, err
}

// certifies tells which of the keys sign user certificates, by the base64 of
// their public parts.
func certifies(keys []fleet.RecoveryKey) func(blob string) bool {
	return func(blob string) bool {
		return slices.ContainsFunc(keys, func(k fleet.RecoveryKey) bool {
			return k.CA && slices.Contains(strings.Fields(k.Line), blob)
		})
	}
}

// withRecoveryKey fills in the recovery key that the policy leaves out: the
// newest one that is in use.
func withRecoveryKey(ctx context.Context, db *sqlite.DB, p plan.Policy) (plan.Policy, error) {
	if p.Recovery.PublicKey != "" {
		return p, nil
	}
	keys, err := db.RecoveryKeys(ctx)
	if err != nil {
		return p, err
	}
	if k, ok := fleet.CurrentRecoveryKey(keys); ok {
		p.Recovery.PublicKey, p.Recovery.CA = k.Line, k.CA
	}
	return p, nil
}

// keyedPolicy is the policy of the cutover with the recovery key filled in.
func (c config) keyedPolicy(ctx context.Context, db *sqlite.DB, file string) (plan.Policy, error) {
	p, err := c.planPolicy(file)
	if err != nil {
		return p, exitErr{code: exitUsage, err: err}
	}
	return withRecoveryKey(ctx, db, p)
}
