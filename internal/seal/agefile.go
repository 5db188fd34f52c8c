package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// AgeFile keeps the ring in a file of age's format, as text: age --decrypt
// opens it. It is encrypted to the recipients of a file, or without one with
// a passphrase (scrypt).
type AgeFile struct {
	Path string
	// Recipients is a file of age's public keys ("age1…"), one a line; empty: the passphrase.
	Recipients string
	// Identities are files of age's private keys ("AGE-SECRET-KEY-…"), which
	// open what is for recipients. A file that others may read is refused.
	Identities []string
	// Passphrase is asked for where there are no recipients; the result is cleared.
	Passphrase func() ([]byte, error)

	// workFactor is scrypt's, as a power of two; 0: age's own.
	workFactor int
}

// Location implements Store.
func (a *AgeFile) Location() string { return "age file " + a.Path }

// Load implements Store.
func (a *AgeFile) Load(context.Context) ([][]byte, error) {
	ring, err := a.load()
	if err != nil {
		return nil, fmt.Errorf("recovery key %s: %w", a.Path, err)
	}
	return ring, nil
}

func (a *AgeFile) load() ([][]byte, error) {
	sealed, _, err := readFile(a.Path)
	if err != nil {
		return nil, err
	}
	identities, err := a.identities()
	if err != nil {
		return nil, err
	}
	return openAge(sealed, identities)
}

// openAge opens a text of age's.
func openAge(sealed []byte, identities []age.Identity) ([][]byte, error) {
	var in io.Reader = bytes.NewReader(sealed)
	if bytes.HasPrefix(bytes.TrimLeft(sealed, " \t\r\n"), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	out, err := age.Decrypt(in, identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not a file of age's, or not whole", ErrDamaged)
	}
	plain, err := io.ReadAll(io.LimitReader(out, maxRing+1))
	defer clear(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: its content was changed or cut off", ErrDamaged)
	}
	return split(plain)
}

// identities are what opens the file.
func (a *AgeFile) identities() ([]age.Identity, error) {
	if a.Recipients == "" {
		phrase, err := a.phrase()
		if err != nil {
			return nil, err
		}
		defer clear(phrase)
		one, err := age.NewScryptIdentity(string(phrase))
		if err != nil {
			return nil, errors.New("passphrase: age does not take it")
		}
		return []age.Identity{one}, nil
	}
	if len(a.Identities) == 0 {
		return nil, fmt.Errorf("%w: it is encrypted to recipients, and none of their identities is named (recovery.identity_files)", ErrPassphrase)
	}
	var all []age.Identity
	for _, path := range a.Identities {
		text, mode, err := readFile(path)
		if errors.Is(err, ErrMissing) {
			return nil, fmt.Errorf("%w: identity file %s does not exist", ErrPassphrase, path)
		}
		if err != nil {
			return nil, fmt.Errorf("identity file: %w", err)
		}
		list, err := age.ParseIdentities(bytes.NewReader(text))
		clear(text)
		switch {
		case mode.Perm()&0o077 != 0:
			return nil, fmt.Errorf("%w: identity file %s can be read by others (mode %04o): run chmod 600 %s", ErrDenied, path, mode.Perm(), path)
		case err != nil:
			// What the library says may quote the file.
			return nil, fmt.Errorf("identity file %s: a line of it is no age identity (AGE-SECRET-KEY-…)", path)
		}
		all = append(all, list...)
	}
	return all, nil
}

func (a *AgeFile) phrase() ([]byte, error) {
	if a.Passphrase == nil {
		return nil, fmt.Errorf("%w: it takes one, and none is given (recovery.passphrase_file)", ErrPassphrase)
	}
	phrase, err := a.Passphrase()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(phrase) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	return phrase, nil
}

// Create implements Creator.
func (a *AgeFile) Create(_ context.Context, ring [][]byte) error { return a.write(ring, createFile) }

// Save implements Store.
func (a *AgeFile) Save(_ context.Context, ring [][]byte) error { return a.write(ring, replaceFile) }

func (a *AgeFile) write(ring [][]byte, put func(string, []byte) error) error {
	text, err := join(ring)
	if err != nil {
		return err
	}
	defer clear(text)
	to, err := a.recipients()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to...)
	if err != nil {
		return fmt.Errorf("encrypt the key: %w", err)
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close(), armored.Close()); err != nil {
		return fmt.Errorf("encrypt the key: %w", err)
	}
	return put(a.Path, out.Bytes())
}

func (a *AgeFile) recipients() ([]age.Recipient, error) {
	if a.Recipients == "" {
		phrase, err := a.phrase()
		if err != nil {
			return nil, err
		}
		defer clear(phrase)
		one, err := age.NewScryptRecipient(string(phrase))
		if err != nil {
			return nil, errors.New("passphrase: age does not take it")
		}
		if a.workFactor != 0 {
			one.SetWorkFactor(a.workFactor)
		}
		return []age.Recipient{one}, nil
	}
	text, _, err := readFile(a.Recipients)
	if err != nil {
		return nil, fmt.Errorf("recipients of %s: %w", filepath.Base(a.Path), err)
	}
	list, err := age.ParseRecipients(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("recipients file %s: a line of it is no age recipient (age1…)", a.Recipients)
	}
	return list, nil
}
