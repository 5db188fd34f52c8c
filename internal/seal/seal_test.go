package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
)

// keyring is a KMS that knows one key.
type keyring struct {
	sealed map[string][]byte // data keys by what they are under
	fail   error
}

func (k *keyring) sum(key string, about map[string]string, n int) []byte {
	s := sha256.Sum256(fmt.Append(nil, key, about, n))
	return s[:]
}

func (k *keyring) NewDataKey(_ context.Context, key string, about map[string]string) (plain, sealed []byte, err error) {
	if k.fail != nil {
		return nil, nil, k.fail
	}
	plain = make([]byte, 32)
	rand.Read(plain)
	sealed = k.sum(key, about, len(k.sealed))
	if k.sealed == nil {
		k.sealed = map[string][]byte{}
	}
	k.sealed[key+string(sealed)] = bytes.Clone(plain)
	return plain, sealed, nil
}

func (k *keyring) OpenDataKey(_ context.Context, key string, sealed []byte, _ map[string]string) ([]byte, error) {
	if k.fail != nil {
		return nil, k.fail
	}
	plain, ok := k.sealed[key+string(sealed)]
	if !ok {
		return nil, fleet.ErrCiphertext
	}
	return bytes.Clone(plain), nil
}

// vault is a Secrets Manager with one secret.
type vault struct {
	versions []string // texts, the current one last
	ids      []string
	fail     error
	lose     bool // the answer to the next change is lost
}

const secretARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:migrate/recovery-key-AbCdEf"

func (v *vault) Secret(_ context.Context, arn, stage string) ([]byte, string, error) {
	n := len(v.versions) - map[string]int{"AWSCURRENT": 1, "AWSPREVIOUS": 2}[stage]
	switch {
	case v.fail != nil:
		return nil, "", v.fail
	case arn != secretARN || n < 0 || n == len(v.versions):
		return nil, "", fleet.ErrNotFound
	}
	return []byte(v.versions[n]), v.ids[n], nil
}

func (v *vault) PutSecret(_ context.Context, arn string, text []byte, token string) error {
	if arn != secretARN {
		return fleet.ErrNotFound
	}
	if v.fail != nil {
		return v.fail
	}
	v.versions, v.ids = append(v.versions, string(text)), append(v.ids, token)
	if v.lose {
		return errors.New("connection reset")
	}
	return nil
}

func (v *vault) CreateSecret(_ context.Context, _ fleet.Place, _, _ string, text []byte, token string) (string, error) {
	if len(v.versions) > 0 {
		return "", fleet.ErrExists
	}
	v.versions, v.ids = append(v.versions, string(text)), append(v.ids, token)
	return secretARN, nil
}

func said(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

func newKey(t testing.TB) []byte {
	t.Helper()
	text, _, err := seal.NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func lines(t testing.TB, ring [][]byte) string {
	t.Helper()
	var out []string
	for _, text := range ring {
		line, err := seal.PublicLine(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// writeIdentity makes an age identity and gives the files of both its halves.
func writeIdentity(t testing.TB, dir, name string) (private, public string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, name), "# made for a test\n"+id.String()+"\n"), write(t, filepath.Join(dir, name+".pub"), id.Recipient().String()+"\n")
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stores gives a store of every kind, with the file that it keeps the ring in
// ("": none).
func stores(t *testing.T) map[string]struct {
	seal.Creator
	file string
} {
	dir := t.TempDir()
	private, public := writeIdentity(t, dir, "identity")
	path := func(name string) string { return filepath.Join(dir, name) }
	scrypt := &seal.AgeFile{Path: path("phrase.age"), Passphrase: said("correct horse")}
	seal.SetWorkFactor(scrypt, 4)
	type one = struct {
		seal.Creator
		file string
	}
	return map[string]one{
		"OpenSSH":            {&seal.KeyFile{Path: path("key"), Passphrase: said("correct horse"), Comment: "recovery"}, path("key")},
		"OpenSSH, bare":      {&seal.KeyFile{Path: path("bare"), Bare: true}, path("bare")},
		"age for recipients": {&seal.AgeFile{Path: path("to.age"), Recipients: public, Identities: []string{private}}, path("to.age")},
		"age by passphrase":  {scrypt, path("phrase.age")},
		"KMS":                {&seal.KMSFile{Path: path("kms"), Key: "arn:aws:kms:eu-west-1:111122223333:key/k", Keys: &keyring{}}, path("kms")},
		"Secrets Manager":    {&seal.Secret{Secrets: &vault{}}, ""},
	}
}

// Every store keeps what its contract says.
func TestStoresKeepARing(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := s.Load(ctx); !errors.Is(err, seal.ErrMissing) {
				t.Errorf("before the first: %v", err)
			}
			first, second := newKey(t), newKey(t)
			if err := s.Create(ctx, [][]byte{first}); err != nil {
				t.Fatal(err)
			}
			if err := s.Create(ctx, [][]byte{second}); !errors.Is(err, seal.ErrExists) {
				t.Errorf("made once more: %v", err)
			}
			if !strings.Contains(s.Location(), s.file) || s.file == "" && !strings.Contains(s.Location(), secretARN) {
				t.Errorf("location %q", s.Location())
			}
			rings := [][][]byte{{first}, {second, first}, {second}, {first, second}}
			if name == "OpenSSH" {
				rings = rings[3:] // its key derivation takes long
			}
			for _, ring := range rings {
				if err := s.Save(ctx, ring); err != nil {
					t.Fatal(err)
				}
				got, err := s.Load(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if lines(t, got) != lines(t, ring) {
					t.Errorf("got %s, want %s", lines(t, got), lines(t, ring))
				}
			}
			for _, bad := range [][][]byte{nil, {}, {[]byte("no key")}, {append(bytes.Clone(first), second...)}, make([][]byte, 17)} {
				if err := s.Save(ctx, bad); err == nil {
					t.Errorf("saved %d keys that are none", len(bad))
				}
			}
			if got, err := s.Load(ctx); err != nil || lines(t, got) != lines(t, [][]byte{first, second}) {
				t.Errorf("after refusals: %v", err)
			}
			if s.file != "" {
				keptWell(t, s.file, strings.Contains(name, "bare"), first, second)
			}
		})
	}
}

// keptWell checks a store's file: its owner's alone, nothing left beside it, and
// nothing of the private keys in it.
func keptWell(t *testing.T, file string, bare bool, ring ...[]byte) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range ring {
		if found := strings.Contains(string(text), secretOf(t, key)); found != bare {
			t.Errorf("private key in the file: %v", found)
		}
	}
}

// secretOf is a piece of a private key's text as it would be found in a file.
func secretOf(t *testing.T, key []byte) string {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(string(key)), "\n")
	if len(rows) < 5 {
		t.Fatal("not the text of a key")
	}
	return rows[3] // of five rows in base64, the private half is in the third
}

func TestLoadTellsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	ring := [][]byte{newKey(t)}
	private, public := writeIdentity(t, dir, "identity")
	other, _ := writeIdentity(t, dir, "other")
	path := func(name string) string { return filepath.Join(dir, name) }
	made := func(c seal.Creator) {
		t.Helper()
		if err := c.Create(ctx, ring); err != nil {
			t.Fatal(err)
		}
	}
	made(&seal.KeyFile{Path: path("key"), Passphrase: said("correct horse")})
	made(&seal.KeyFile{Path: path("open"), Bare: true})
	if err := os.Chmod(path("open"), 0o640); err != nil {
		t.Fatal(err)
	}
	made(&seal.AgeFile{Path: path("to.age"), Recipients: public})
	scrypt := &seal.AgeFile{Path: path("phrase.age"), Passphrase: said("correct horse")}
	seal.SetWorkFactor(scrypt, 4)
	made(scrypt)
	kms := &keyring{}
	made(&seal.KMSFile{Path: path("kms"), Key: "arn:one", Keys: kms})
	text := write(t, path("text"), "hello\n")
	empty := write(t, path("empty"), "")
	public2 := write(t, path("key.copy.pub"), lines(t, ring)+"\n")
	loose := write(t, path("loose"), "")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	current := &vault{versions: []string{string(ring[0]), "not a key"}, ids: []string{"1", "2"}}
	for name, tt := range map[string]struct {
		store seal.Store
		is    error // nil: none of those
		say   string
	}{
		"OpenSSH, missing":              {&seal.KeyFile{Path: path("none")}, seal.ErrMissing, "does not exist"},
		"OpenSSH, no passphrase":        {&seal.KeyFile{Path: path("key")}, seal.ErrPassphrase, "passphrase_file"},
		"OpenSSH, empty passphrase":     {&seal.KeyFile{Path: path("key"), Passphrase: said("")}, seal.ErrPassphrase, "empty"},
		"OpenSSH, wrong passphrase":     {&seal.KeyFile{Path: path("key"), Passphrase: said("wrong horse")}, seal.ErrPassphrase, "wrong"},
		"OpenSSH, no terminal":          {&seal.KeyFile{Path: path("key"), Passphrase: func() ([]byte, error) { return nil, errors.New("no terminal") }}, nil, "no terminal"},
		"OpenSSH, readable by others":   {&seal.KeyFile{Path: path("open")}, seal.ErrDenied, "chmod 600"},
		"OpenSSH, text":                 {&seal.KeyFile{Path: text}, seal.ErrDamaged, "no private key"},
		"OpenSSH, empty":                {&seal.KeyFile{Path: empty}, seal.ErrDamaged, "empty"},
		"OpenSSH, the public half":      {&seal.KeyFile{Path: public2}, seal.ErrDamaged, "no private key"},
		"OpenSSH, a folder":             {&seal.KeyFile{Path: dir}, seal.ErrDamaged, "not a regular file"},
		"age, missing":                  {&seal.AgeFile{Path: path("none"), Passphrase: said("x")}, seal.ErrMissing, ""},
		"age, wrong passphrase":         {&seal.AgeFile{Path: path("phrase.age"), Passphrase: said("wrong horse")}, seal.ErrPassphrase, ""},
		"age, passphrase for recipient": {&seal.AgeFile{Path: path("to.age"), Passphrase: said("correct horse")}, seal.ErrPassphrase, ""},
		"age, another identity":         {&seal.AgeFile{Path: path("to.age"), Recipients: public, Identities: []string{other}}, seal.ErrPassphrase, ""},
		"age, no identity":              {&seal.AgeFile{Path: path("to.age"), Recipients: public}, seal.ErrPassphrase, "identity_files"},
		"age, identity missing":         {&seal.AgeFile{Path: path("to.age"), Recipients: public, Identities: []string{path("none")}}, seal.ErrPassphrase, "does not exist"},
		"age, identity that is none":    {&seal.AgeFile{Path: path("to.age"), Recipients: public, Identities: []string{text}}, nil, "no age identity"},
		"age, identity for all":         {&seal.AgeFile{Path: path("to.age"), Recipients: public, Identities: []string{loose}}, seal.ErrDenied, "chmod 600"},
		"age, text":                     {&seal.AgeFile{Path: text, Recipients: public, Identities: []string{private}}, seal.ErrDamaged, ""},
		"KMS, missing":                  {&seal.KMSFile{Path: path("none"), Key: "arn:one", Keys: kms}, seal.ErrMissing, ""},
		"KMS, another key":              {&seal.KMSFile{Path: path("kms"), Key: "arn:two", Keys: kms}, seal.ErrDamaged, "arn:two"},
		"KMS, denied":                   {&seal.KMSFile{Path: path("kms"), Key: "arn:one", Keys: &keyring{fail: fmt.Errorf("kms:Decrypt: %w", fleet.ErrDenied)}}, seal.ErrDenied, "kms:Decrypt"},
		"KMS, no network":               {&seal.KMSFile{Path: path("kms"), Key: "arn:one", Keys: &keyring{fail: errors.New("no route to host")}}, nil, "no route"},
		"KMS, text":                     {&seal.KMSFile{Path: text, Key: "arn:one", Keys: kms}, seal.ErrDamaged, ""},
		"secret, none named":            {&seal.Secret{Secrets: &vault{}}, seal.ErrMissing, ""},
		"secret, missing":               {&seal.Secret{Secrets: &vault{}, ARN: secretARN}, seal.ErrMissing, ""},
		"secret, denied":                {&seal.Secret{Secrets: &vault{fail: fleet.ErrDenied}, ARN: secretARN}, seal.ErrDenied, ""},
		"secret, throttled":             {&seal.Secret{Secrets: &vault{fail: errors.New("Rate exceeded")}, ARN: secretARN}, nil, "Rate exceeded"},
		"secret, something else":        {&seal.Secret{Secrets: &vault{versions: []string{"{}"}, ids: []string{"1"}}, ARN: secretARN}, seal.ErrDamaged, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.store.Load(ctx)
			if err == nil || got != nil || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), "horse") {
				t.Fatalf("%d keys, %v; want %q", len(got), err, tt.say)
			}
			for _, e := range []error{seal.ErrMissing, seal.ErrPassphrase, seal.ErrDenied, seal.ErrDamaged} {
				if errors.Is(err, e) != errors.Is(tt.is, e) {
					t.Errorf("%v: is %q: %v", err, e, errors.Is(err, e))
				}
			}
		})
	}
	if got, err := (&seal.Secret{Secrets: current, ARN: secretARN}).Load(ctx); err != nil || lines(t, got) != lines(t, ring) {
		t.Errorf("the version before a damaged one: %v", err)
	}
}

// Whatever happens to a file, it never gives another ring, and is never taken
// for one that is not there.
func TestDamageIsSeen(t *testing.T) {
	ctx := t.Context()
	ring := [][]byte{newKey(t), newKey(t)}
	for name, s := range stores(t) {
		if s.file == "" || strings.HasPrefix(name, "OpenSSH") {
			continue // OpenSSH's formats have no seal over the whole
		}
		t.Run(name, func(t *testing.T) {
			if err := s.Create(ctx, ring); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(s.file)
			if err != nil {
				t.Fatal(err)
			}
			try := func(what string, text []byte) {
				write(t, s.file, string(text))
				got, err := s.Load(ctx)
				switch {
				case err == nil && lines(t, got) != lines(t, ring):
					t.Errorf("%s: another ring", what)
				case err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrPassphrase):
					t.Errorf("%s: %v", what, err)
				}
			}
			for i := 0; i < len(whole); i += 7 {
				text := bytes.Clone(whole)
				text[i] ^= 1 << (i % 7)
				try(fmt.Sprintf("byte %d", i), text)
				try(fmt.Sprintf("cut off at %d", i), whole[:i])
			}
			try("twice", append(bytes.Clone(whole), whole...))
		})
	}
}

// What an answer tells is one thing, what the service did another.
func TestSecretSavedThoughTheAnswerWasLost(t *testing.T) {
	ctx := t.Context()
	v := &vault{versions: []string{string(newKey(t))}, ids: []string{"1"}, lose: true}
	s := &seal.Secret{Secrets: v, ARN: secretARN}
	key := newKey(t)
	if err := s.Save(ctx, [][]byte{key}); err != nil {
		t.Errorf("saved, with the answer lost: %v", err)
	}
	v.fail = fleet.ErrDenied
	if err := s.Save(ctx, [][]byte{newKey(t)}); !errors.Is(err, seal.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	v.fail = nil
	if got, err := s.Load(ctx); err != nil || lines(t, got) != lines(t, [][]byte{key}) {
		t.Errorf("the ring after a denial: %v", err)
	}
	if len(v.ids) != 2 || len(v.ids[1]) < 32 || len(v.ids[1]) > 64 {
		t.Errorf("tokens %q", v.ids)
	}
}

// A key file keeps being what its owner chose, the link to it stays a link, and
// the public line beside it is that of its first key.
func TestKeyFilesStayWhatTheyAre(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	old, fresh := newKey(t), newKey(t)
	bare := &seal.KeyFile{Path: filepath.Join(dir, "bare"), Bare: true}
	if err := bare.Create(ctx, [][]byte{old}); err != nil {
		t.Fatal(err)
	}
	later := &seal.KeyFile{Path: bare.Path, Passphrase: said("not asked for"), Comment: "recovery"}
	if err := later.Save(ctx, [][]byte{fresh, old}); err != nil {
		t.Fatal(err)
	}
	if got, err := (&seal.KeyFile{Path: bare.Path}).Load(ctx); err != nil || lines(t, got) != lines(t, [][]byte{fresh, old}) {
		t.Errorf("an unencrypted file: %v", err)
	}
	if text, err := os.ReadFile(bare.Path + ".pub"); err != nil || string(text) != lines(t, [][]byte{fresh})+" recovery\n" {
		t.Errorf("public line %q (%v)", text, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("bare", link); err != nil {
		t.Fatal(err)
	}
	if err := (&seal.KeyFile{Path: link}).Save(ctx, [][]byte{old}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "bare" {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
	closed := &seal.KeyFile{Path: filepath.Join(dir, "closed"), Passphrase: said("correct horse")}
	if err := closed.Create(ctx, [][]byte{old}); err != nil {
		t.Fatal(err)
	}
	if err := (&seal.KeyFile{Path: closed.Path, Bare: true, Passphrase: said("wrong")}).Save(ctx, [][]byte{fresh}); !errors.Is(err, seal.ErrPassphrase) {
		t.Errorf("replaced without its passphrase: %v", err)
	}
	if got, err := closed.Load(ctx); err != nil || lines(t, got) != lines(t, [][]byte{old}) {
		t.Errorf("after that: %v", err)
	}
	if err := (&seal.KeyFile{Path: filepath.Join(dir, "beside"), Bare: true}).Create(ctx, [][]byte{old}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "beside")); err != nil {
		t.Fatal(err)
	}
	if err := (&seal.KeyFile{Path: filepath.Join(dir, "beside"), Bare: true}).Create(ctx, [][]byte{fresh}); !errors.Is(err, fs.ErrExist) && !errors.Is(err, seal.ErrExists) {
		t.Errorf("somebody's public line is overwritten: %v", err)
	}
}

func TestNewKeysAreWhatOpenSSHMakes(t *testing.T) {
	text, line, err := seal.NewKey("migrate recovery")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " migrate recovery"; line != want || signer.PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Errorf("line %q, want %q", line, want)
	}
	if _, _, err := seal.NewKey("two\nlines"); err == nil {
		t.Error("a comment of two lines is taken")
	}
	seal.Clear([][]byte{text})
	if !bytes.Equal(text, make([]byte, len(text))) {
		t.Error("not cleared")
	}
}
