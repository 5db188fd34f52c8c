package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sqlite"
)

// recoveryInit is what recovery init was told.
type recoveryInit struct {
	place    recoveryConfig
	ca       bool
	caGiven  bool
	bare     bool
	adopt    bool
	replace  bool
	name     string // of a secret that is to be made
	account  string
	region   string
	tellFile bool // a key file was named
}

func (a *app) recoveryInitCommand() *cobra.Command {
	var q recoveryInit
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the recovery key, and put it in a safe place",
		Long: `init makes the recovery key and keeps it, encrypted, in one of four places:

  file              a file in OpenSSH's format, with a passphrase: ssh -i takes it as it is
  age               a file of age's, for the recipients of a file, or with a passphrase
  kms               a file that a KMS key opens (--kms-key, an ARN)
  secrets-manager   a secret of AWS Secrets Manager (--secret, its name)

The last two need AWS when the key is needed: choose a Region that does not go down together with the fleet's.

It is an ed25519 key, or with --ca a user certificate authority: it then signs certificates for one login each, good
for minutes, and never logs in itself. The state file notes the public line, the place and the time; the private
part is in the place alone. Plans take the newest key that is noted where the policy file names none.

On a terminal init asks for what the flags leave out. Without any, a place that migrate.yaml names is taken.
What exists is not overwritten. With --adopt, a key that is at the place already is noted, and none is made.
With --replace, a noted key that no plan has put on a host yet gives way to the new one; its file or secret
stays. On hosts, migrate recovery rotate changes the key.`,
		Example: `  migrate recovery init
  migrate recovery init --store file --file migrate-recovery --passphrase-file /run/secrets/recovery
  migrate recovery init --store age --recipients operators.txt --ca
  migrate recovery init --store kms --kms-key arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab
  migrate recovery init --store secrets-manager --secret migrate/recovery-key --region eu-central-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.caGiven, q.tellFile = cmd.Flags().Changed("ca"), q.place.KeyFile != ""
			return a.recoveryInit(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&q.place.Store, "store", "", "where the key is kept: "+strings.Join(recoveryStores, ", "))
	f.StringVar(&q.place.KeyFile, "file", "", "file to keep it in (default migrate-recovery, with .age or .kms)")
	f.StringVar(&q.place.PassphraseFile, "passphrase-file", "", "file whose first line is the passphrase")
	f.StringVar(&q.place.RecipientsFile, "recipients", "", "file of age recipients (age1…)")
	f.StringArrayVar(&q.place.IdentityFiles, "identity", nil, "file of an age identity that opens it again (may be repeated)")
	f.StringVar(&q.place.KMSKey, "kms-key", "", "ARN of a KMS key; with secrets-manager, of the key that encrypts the secret")
	f.StringVar(&q.name, "secret", "", "name of the secret to make; with --adopt, its ARN")
	f.StringVar(&q.account, "account", "", "ID of the account for the secret (default that of the first access)")
	f.StringVar(&q.region, "region", "", "Region for the secret (default the access's own)")
	f.BoolVar(&q.ca, "ca", false, "make a certificate authority in place of a key that logs in")
	f.BoolVar(&q.bare, "no-passphrase", false, "leave the key in the file unencrypted")
	f.BoolVar(&q.adopt, "adopt", false, "note the key that is there, make none")
	f.BoolVar(&q.replace, "replace", false, "take the place of a noted key that no plan has put on a host")
	return c
}

func (a *app) recoveryInit(ctx context.Context, q recoveryInit) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := a.askInit(&q, cfg.Recovery); err != nil {
		return exitErr{code: exitUsage, err: err}
	}
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	keys, err := replaceable(ctx, db, q.replace)
	if err != nil {
		return err
	}
	vault, err := a.vaultFor(ctx, cfg, &q)
	if err != nil {
		return err
	}
	p := &phrase{ask: func() ([]byte, error) {
		if q.adopt {
			return a.passphrase(q.place.PassphraseFile, "Passphrase of the recovery key: ")
		}
		return a.newPassphrase(q.place.PassphraseFile)
	}}
	defer p.forget()
	store := newRecoveryStore(q.place, vault, p.get)
	switch s := store.(type) {
	case *seal.KeyFile:
		s.Bare = q.bare
	case *seal.Secret:
		s.Name, s.Key, s.At = q.name, q.place.KMSKey, fleet.Place{Account: q.account, Region: q.region}
	}
	k, warning, err := makeRecoveryKey(ctx, db, store, q)
	if err != nil {
		return err
	}
	for _, old := range keys {
		if old.Line == k.Line {
			continue
		}
		old.Retired = k.Made
		if err := db.SaveRecoveryKey(ctx, old); err != nil {
			return fmt.Errorf("the new key is noted; note that the old one is not used any more: %w", err)
		}
	}
	if s, ok := store.(*seal.Secret); ok {
		q.place.Secret, q.place.KMSKey = s.ARN, ""
	}
	return a.printInit(k, q, warning)
}

// replaceable are the noted keys in use that a new one is to replace. There may
// be some only if that is meant, and no plan has put them on a host.
func replaceable(ctx context.Context, db *sqlite.DB, meant bool) ([]fleet.RecoveryKey, error) {
	all, err := db.RecoveryKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys := inUse(all)
	if len(keys) == 0 {
		return nil, nil
	}
	ways, err := recoveryWays(ctx, db)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("there is a recovery key already: %s, made %s. It stays as it is", oneLine(keys[0].Location), keys[0].Made.UTC().Format(time.DateOnly))
	switch {
	case len(ways) > 0:
		return nil, usageErr("%s: hosts have it, and migrate recovery rotate changes it there", what)
	case !meant:
		return nil, usageErr("%s (no host has it yet: --replace makes another)", what)
	}
	return keys, nil
}

// makeRecoveryKey makes a key in the store, or reads the one that is there, and
// notes it. The warning says why it could not be read back from here.
func makeRecoveryKey(ctx context.Context, db *sqlite.DB, store seal.Creator, q recoveryInit) (k fleet.RecoveryKey, warning string, err error) {
	k = fleet.RecoveryKey{CA: q.ca, Made: time.Now().UTC()}
	if !q.adopt {
		var text []byte
		if text, k.Line, err = seal.NewKey(recoveryComment); err != nil {
			return k, "", err
		}
		defer clear(text)
		if err := store.Create(ctx, [][]byte{text}); err != nil {
			if errors.Is(err, seal.ErrExists) {
				return k, "", exitErr{code: exitUsage, err: fmt.Errorf("%w (--adopt notes a recovery key that is there)", err)}
			}
			return k, "", err
		}
	}
	ring, err := store.Load(ctx)
	defer seal.Clear(ring)
	closed := !q.adopt && q.place.RecipientsFile != "" && len(q.place.IdentityFiles) == 0
	switch {
	case closed && errors.Is(err, seal.ErrPassphrase):
		warning = "The file opens with the recipients' identities alone, and none is named: name theirs in recovery.identity_files before the key is needed."
	case err != nil && q.adopt:
		return k, "", err
	case err != nil:
		return k, "", fmt.Errorf("the key is made, but cannot be read back, so that it is of no use yet; see to it and run migrate recovery init --adopt: %w", err)
	default:
		line, err := seal.PublicLine(ring[0])
		if err != nil {
			return k, "", err
		}
		k.Line = line + " " + recoveryComment
	}
	k.Location = store.Location()
	return k, warning, db.SaveRecoveryKey(ctx, k)
}

// vaultFor opens AWS where the place needs it, and completes where a secret is to be.
func (a *app) vaultFor(ctx context.Context, cfg config, q *recoveryInit) (*awsapi.Vault, error) {
	if s := q.place.store(); s != storeKMS && s != storeSecrets {
		return nil, nil
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if q.place.store() == storeSecrets && q.account == "" && !q.adopt {
		who, err := accounts[0].Caller(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask AWS who we are: %w", err)
		}
		if parts := strings.Split(who, ":"); len(parts) > 4 {
			q.account = parts[4]
		}
	}
	return awsapi.NewVault(awsapi.NewChanger(accounts...)), nil
}

// askInit completes what was told: by the configuration, by questions on a
// terminal, by defaults. It refuses what does not go together.
func (a *app) askInit(q *recoveryInit, configured recoveryConfig) error {
	if q.place.Store == "" && !q.told() && configured.set() {
		q.place = configured
	}
	if q.place.Store == "" && q.place.KeyFile == "" && q.place.Secret == "" {
		if !a.terminal() {
			return fmt.Errorf("where shall the key be kept? --store %s", strings.Join(recoveryStores, ", --store "))
		}
		if err := a.askPlace(q); err != nil {
			return err
		}
	}
	r := &q.place
	r.Store = r.store()
	if r.Store == storeSecrets {
		if q.adopt {
			r.Secret = cmp.Or(r.Secret, q.name)
		}
		if r.Secret != "" && !q.adopt {
			return fmt.Errorf("the configuration names secret %s: --adopt notes the key in it", r.Secret)
		}
		q.name = cmp.Or(q.name, "migrate/recovery-key")
		key := r.KMSKey
		r.KMSKey = ""
		defer func() { r.KMSKey = key }()
	} else {
		switch {
		case q.name != "" || q.account != "" || q.region != "":
			return fmt.Errorf("--secret, --account and --region are of no use with --store %s", r.Store)
		case r.KeyFile == "":
			r.KeyFile = map[string]string{storeFile: "migrate-recovery", storeAge: "migrate-recovery.age", storeKMS: "migrate-recovery.kms"}[r.Store]
		}
		var err error
		if r.KeyFile, err = filepath.Abs(r.KeyFile); err != nil {
			return err
		}
	}
	switch {
	case q.bare && r.Store != storeFile:
		return fmt.Errorf("--no-passphrase is of no use with --store %s", r.Store)
	case q.bare && r.PassphraseFile != "":
		return errors.New("--no-passphrase and --passphrase-file exclude each other")
	}
	// What init prints goes into a file whose paths are relative to itself.
	for _, p := range append([]*string{&r.PassphraseFile, &r.RecipientsFile}, pointers(r.IdentityFiles)...) {
		if *p == "" {
			continue
		}
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return r.validate()
}

func pointers(list []string) (out []*string) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// told reports whether any flag says where the key goes.
func (q *recoveryInit) told() bool {
	r := q.place
	return q.tellFile || q.name != "" || r.PassphraseFile != "" || r.RecipientsFile != "" || len(r.IdentityFiles) > 0 || r.KMSKey != "" || q.bare
}

// askPlace asks on the terminal for the kind of key and its place.
func (a *app) askPlace(q *recoveryInit) error {
	in := bufio.NewReader(io.LimitReader(a.in, 1<<16))
	if !q.caGiven && !q.adopt {
		n, err := a.choose(in, "What shall the recovery key be?", "an ed25519 key that logs in", "an authority that signs a certificate of minutes for each login")
		if err != nil {
			return err
		}
		q.ca = n == 1
	}
	n, err := a.choose(in, "Where shall it be kept?", "file: OpenSSH's format, with a passphrase", "age: a file for the recipients of a file, or with a passphrase",
		"kms: a file that a KMS key opens", "secrets-manager: a secret of AWS Secrets Manager")
	if err != nil {
		return err
	}
	q.place.Store = recoveryStores[n]
	switch q.place.Store {
	case storeAge:
		q.place.RecipientsFile, err = a.answer(in, "File of age recipients (empty: a passphrase)")
	case storeKMS:
		q.place.KMSKey, err = a.answer(in, "ARN of the KMS key")
	case storeSecrets:
		q.name, err = a.answer(in, "Name of the secret (empty: migrate/recovery-key)")
	}
	return err
}

// choose asks for one of several; the first is the default.
func (a *app) choose(in *bufio.Reader, question string, choices ...string) (int, error) {
	fmt.Fprintln(a.err, question)
	for i, c := range choices {
		fmt.Fprintf(a.err, "  %d  %s\n", i+1, c)
	}
	text, err := a.answer(in, "Number (empty: 1)")
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(choices) {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", oneLine(text), len(choices))
	}
	return n - 1, nil
}

func (a *app) answer(in *bufio.Reader, prompt string) (string, error) {
	fmt.Fprint(a.err, prompt+": ")
	text, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return strings.TrimSpace(text), nil
}

func (a *app) printInit(k fleet.RecoveryKey, q recoveryInit, warning string) error {
	if a.json {
		return writeJSON(a.out, struct {
			fleet.RecoveryKey
			Store   string `json:"store"`
			Warning string `json:"warning,omitempty"`
		}{k, q.place.store(), warning})
	}
	kind := "key"
	if k.CA {
		kind = "certificate authority"
	}
	fmt.Fprintf(a.out, "The recovery %s is in this place: %s\nIts public line, which plans take unless the policy file names another:\n\n  %s\n\nFor migrate.yaml:\n\nrecovery:\n", kind, oneLine(k.Location), oneLine(k.Line))
	r := q.place
	for _, f := range []struct{ name, value string }{
		{"store", r.store()}, {"key_file", r.KeyFile}, {"passphrase_file", r.PassphraseFile}, {"recipients_file", r.RecipientsFile}, {"kms_key", r.KMSKey}, {"secret", r.Secret},
	} {
		if f.value != "" {
			fmt.Fprintf(a.out, "  %s: %s\n", f.name, oneLine(f.value))
		}
	}
	if len(r.IdentityFiles) > 0 {
		fmt.Fprintf(a.out, "  identity_files: [%s]\n", oneLine(strings.Join(r.IdentityFiles, ", ")))
	}
	if warning != "" {
		fmt.Fprintf(a.err, "\n%s\n", warning)
	}
	return nil
}
