package seal

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"
)

// KeyFile keeps the ring in a file of OpenSSH's own format: ssh -i takes the
// newest key of it. The public line of that key is beside it, with ".pub" added.
type KeyFile struct {
	Path string
	// Passphrase is asked for when keys are encrypted or are to be; the result
	// is cleared. Nil: there is none.
	Passphrase func() ([]byte, error)
	// Bare leaves the keys of a new file unencrypted. A file that is there stays
	// what its keys are: encrypted, or not.
	Bare bool
	// Comment is what the public line beside the file ends with, and encrypted keys hold.
	Comment string
}

// Location implements Store.
func (k *KeyFile) Location() string { return "key file " + k.Path }

// Load implements Store. A file that others than its owner may read is refused.
func (k *KeyFile) Load(context.Context) ([][]byte, error) {
	ring, _, err := k.load()
	if err != nil {
		return nil, fmt.Errorf("recovery key %s: %w", k.Path, err)
	}
	return ring, nil
}

// load also tells whether all keys of the file are unencrypted.
func (k *KeyFile) load() (ring [][]byte, bare bool, err error) {
	text, mode, err := readFile(k.Path)
	if err != nil {
		return nil, false, err
	}
	defer clear(text)
	if mode.Perm()&0o077 != 0 {
		return nil, false, fmt.Errorf("%w: it can be read by others (mode %04o): run chmod 600 %s", ErrDenied, mode.Perm(), k.Path)
	}
	all, err := blocks(text)
	if err != nil {
		return nil, false, err
	}
	var phrase []byte
	defer func() { clear(phrase) }()
	defer func() {
		if err != nil {
			Clear(ring)
			ring = nil
		}
	}()
	bare = true
	for i, b := range all {
		one := pem.EncodeToMemory(b)
		_, err := ssh.ParseRawPrivateKey(one)
		var encrypted *ssh.PassphraseMissingError
		if errors.As(err, &encrypted) {
			bare = false
			if phrase == nil {
				if phrase, err = k.phrase(); err != nil {
					return ring, false, err
				}
			}
			var plain []byte
			if plain, err = decrypted(one, phrase); err == nil {
				one = plain
			}
		}
		switch {
		case errors.Is(err, ErrPassphrase):
			return ring, false, err
		case err != nil:
			// What the library says may quote the file.
			return ring, false, fmt.Errorf("%w: block %d is not a private key that OpenSSH would read", ErrDamaged, i+1)
		}
		ring = append(ring, one)
	}
	return ring, bare, nil
}

func (k *KeyFile) phrase() ([]byte, error) {
	if k.Passphrase == nil {
		return nil, fmt.Errorf("%w: it is encrypted, and no passphrase is given (recovery.passphrase_file)", ErrPassphrase)
	}
	phrase, err := k.Passphrase()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(phrase) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	return phrase, nil
}

// decrypted opens one encrypted key.
func decrypted(text, phrase []byte) ([]byte, error) {
	key, err := ssh.ParseRawPrivateKeyWithPassphrase(text, phrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, err
	}
	b, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	return encode(b), nil
}

// Create implements Creator.
func (k *KeyFile) Create(_ context.Context, ring [][]byte) error {
	if _, err := os.Lstat(k.Path + ".pub"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s.pub: %w; it is left as it is", k.Path, ErrExists)
	}
	return k.write(ring, k.Bare, createFile)
}

// Save implements Store.
func (k *KeyFile) Save(_ context.Context, ring [][]byte) error {
	text, err := join(ring)
	if err != nil {
		return err
	}
	clear(text)
	old, bare, err := k.load()
	if err != nil {
		return fmt.Errorf("recovery key %s: before it is replaced: %w", k.Path, err)
	}
	Clear(old)
	return k.write(ring, bare, replaceFile)
}

func (k *KeyFile) write(ring [][]byte, bare bool, put func(string, []byte) error) error {
	text, err := join(ring)
	if err != nil {
		return err
	}
	defer func() { clear(text) }()
	line, err := PublicLine(ring[0])
	if err != nil {
		return err
	}
	if !bare {
		phrase, err := k.phrase()
		if err != nil {
			return err
		}
		defer clear(phrase)
		clear(text)
		if text, err = encrypted(ring, phrase, k.Comment); err != nil {
			return err
		}
	}
	// A public line of another key would lead ssh astray; without one it takes
	// the line in the private file.
	if err := os.Remove(k.Path + ".pub"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take the old public line away: %w", err)
	}
	if err := put(k.Path, text); err != nil {
		return err
	}
	if k.Comment != "" {
		line += " " + k.Comment
	}
	if err := os.WriteFile(k.Path+".pub", []byte(line+"\n"), 0o644); err != nil {
		return fmt.Errorf("the key is saved; write its public line: %w", err)
	}
	return nil
}

// encrypted is a ring as text, each key encrypted.
func encrypted(ring [][]byte, phrase []byte, comment string) ([]byte, error) {
	var out []byte
	for _, text := range ring {
		key, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			return nil, errors.New("encrypt the key: it is not a private key")
		}
		b, err := ssh.MarshalPrivateKeyWithPassphrase(key, comment, phrase)
		if err != nil {
			return nil, fmt.Errorf("encrypt the key: %w", err)
		}
		out = append(out, encode(b)...)
	}
	return out, nil
}
