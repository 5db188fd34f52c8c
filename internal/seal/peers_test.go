package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssm-migrate/internal/seal"
)

// asSaver makes the test binary save rings in a folder until it is killed.
const asSaver = "SEAL_TEST_SAVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asSaver); dir != "" {
		saveForEver(dir)
	}
	os.Exit(m.Run())
}

// saved are the stores of a folder that processes of their own save.
func saved(dir string) []seal.Creator {
	return []seal.Creator{
		&seal.KeyFile{Path: filepath.Join(dir, "key"), Bare: true},
		&seal.AgeFile{Path: filepath.Join(dir, "age"), Recipients: filepath.Join(dir, "identity.pub"), Identities: []string{filepath.Join(dir, "identity")}},
	}
}

func saveForEver(dir string) {
	ctx, stores := context.Background(), saved(dir)
	for {
		for _, s := range stores {
			text, _, err := seal.NewKey("")
			if err == nil {
				err = s.Save(ctx, [][]byte{text, text})
			}
			if err != nil {
				panic(err)
			}
		}
		os.Stdout.WriteString("x")
	}
}

// A process that is killed while it saves leaves the old ring or the new one.
func TestKilledWhileSaving(t *testing.T) {
	dir := t.TempDir()
	writeIdentity(t, dir, "identity")
	for _, s := range saved(dir) {
		if err := s.Create(t.Context(), [][]byte{newKey(t)}); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		c := exec.Command(exe)
		c.Env = append(os.Environ(), asSaver+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range n%4 + 1 { // rounds that were saved to their end
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		for _, s := range saved(dir) {
			if ring, err := s.Load(t.Context()); err != nil || len(ring) == 0 {
				t.Errorf("after kill %d: %d keys, %v", n, len(ring), err)
			}
		}
	}
}

// tool runs a program with a text as its input.
func tool(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install openssh-client openssl", err)
	}
	c := exec.Command(name, args...)
	c.Stdin = bytes.NewReader(in)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.Bytes())
	}
	return out
}

// OpenSSH takes the newest key of a ring from its file, with what stands beside it.
func TestOpenSSHReadsKeyFiles(t *testing.T) {
	ring := [][]byte{newKey(t), newKey(t)}
	file := &seal.KeyFile{Path: filepath.Join(t.TempDir(), "key"), Passphrase: said("correct horse"), Comment: "recovery"}
	if err := file.Create(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(tool(t, nil, "ssh-keygen", "-y", "-P", "correct horse", "-f", file.Path)))
	if len(got) < 2 || strings.Join(got[:2], " ") != lines(t, ring[:1]) {
		t.Errorf("ssh-keygen reads %q", got)
	}
	// What ssh-keygen makes is read too, in all its formats.
	for _, args := range [][]string{{"-t", "ed25519"}, {"-t", "rsa", "-b", "2048", "-m", "PEM"}, {"-t", "ecdsa", "-m", "PKCS8"}} {
		for _, phrase := range []string{"", "correct horse"} {
			path := filepath.Join(t.TempDir(), "id")
			tool(t, nil, "ssh-keygen", append(args, "-q", "-N", phrase, "-f", path)...)
			public, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			got, err := (&seal.KeyFile{Path: path, Passphrase: said(phrase)}).Load(t.Context())
			if phrase != "" && args[len(args)-1] == "PKCS8" {
				continue // encrypted PKCS #8 is not read by the library
			}
			if err != nil || !strings.HasPrefix(string(public), lines(t, got)) {
				t.Errorf("%v with passphrase %q: %v", args, phrase, err)
			}
		}
	}
}

// The way without this program that docs/recovery.md gives: the data key opened
// by the AWS CLI, and OpenSSL for the rest. AES-GCM encrypts as AES-CTR does from
// counter 2 on. Source: NIST SP 800-38D, section 7.1.
func TestOpenSSLOpensTheEnvelope(t *testing.T) {
	ring := [][]byte{newKey(t), newKey(t)}
	kms := &keyring{}
	file := &seal.KMSFile{Path: filepath.Join(t.TempDir(), "kms"), Key: "arn:one", Keys: kms}
	if err := file.Create(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	var e struct{ DataKey, Nonce, Ciphertext string }
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	bytesOf := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := kms.OpenDataKey(t.Context(), "arn:one", bytesOf(e.DataKey), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := tool(t, bytesOf(e.Ciphertext), "openssl", "enc", "-d", "-aes-256-ctr", "-K", hex.EncodeToString(key), "-iv", hex.EncodeToString(bytesOf(e.Nonce))+"00000002")
	if got, err := seal.Split(out[:len(out)-16]); err != nil || lines(t, got) != lines(t, ring) {
		t.Errorf("openssl reads another text: %v", err)
	}
}
