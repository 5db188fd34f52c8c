package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"ssm-migrate/internal/seal"
)

// check holds for every text that is read: keys, or damage that is named
// without quoting the text.
func check(t *testing.T, text []byte, ring [][]byte, err error) {
	t.Helper()
	switch {
	case err == nil && (len(ring) == 0 || len(ring) > 16):
		t.Errorf("%d keys", len(ring))
	case err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrPassphrase):
		t.Errorf("neither keys nor damage: %v", err)
	case err != nil && ring != nil:
		t.Error("keys with an error")
	case err != nil && len(text) > 100 && strings.Contains(err.Error(), string(text[len(text)/2:][:24])):
		t.Errorf("%v quotes the text", err)
	}
	for _, key := range ring {
		if _, err := seal.PublicLine(key); err != nil {
			t.Error(err)
		}
	}
}

func FuzzRing(f *testing.F) {
	one, two := newKey(f), newKey(f)
	f.Add([]byte(nil))
	f.Add(one)
	f.Add(append(append([]byte("\n"), one...), two...))
	f.Add(one[:len(one)/2])
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ring, err := seal.Split(text)
		check(t, text, ring, err)
	})
}

func FuzzKeyFile(f *testing.F) {
	dir := f.TempDir()
	file := &seal.KeyFile{Path: filepath.Join(dir, "key"), Passphrase: said("x")}
	if err := file.Create(f.Context(), [][]byte{newKey(f)}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(newKey(f))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		write(t, file.Path, string(text))
		ring, err := file.Load(t.Context())
		check(t, text, ring, err)
	})
}

func FuzzAge(f *testing.F) {
	dir := f.TempDir()
	private, public := writeIdentity(f, dir, "identity")
	file := &seal.AgeFile{Path: filepath.Join(dir, "age"), Recipients: public}
	if err := file.Create(f.Context(), [][]byte{newKey(f)}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		f.Fatal(err)
	}
	secret, err := os.Open(private)
	if err != nil {
		f.Fatal(err)
	}
	defer secret.Close()
	identities, err := age.ParseIdentities(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-40])
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ring, err := seal.OpenAge(text, identities)
		check(t, text, ring, err)
	})
}

func FuzzEnvelope(f *testing.F) {
	file := &seal.KMSFile{Path: filepath.Join(f.TempDir(), "kms"), Key: "arn:one", Keys: &keyring{}}
	if err := file.Create(f.Context(), [][]byte{newKey(f)}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := seal.ParseEnvelope(text)
		if err != nil && !errors.Is(err, seal.ErrDamaged) {
			t.Error(err)
		}
		if err == nil && (len(e.Nonce) != 12 || len(e.DataKey) == 0 || len(e.Ciphertext) < 16) {
			t.Errorf("taken: %+v", e)
		}
	})
}
