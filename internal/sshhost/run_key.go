package sshhost

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// NewKeyFile makes an ed25519 key and writes it to a new file in OpenSSH's
// format, readable by its owner alone; its public line goes to the file with
// ".pub" added, and is returned. With a passphrase the private key is encrypted.
// Files that exist are not touched.
func NewKeyFile(path, comment string, passphrase []byte) (line string, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	defer clear(private)
	var block *pem.Block
	if len(passphrase) > 0 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, comment, passphrase)
	} else {
		block, err = ssh.MarshalPrivateKey(private, comment)
	}
	if err != nil {
		return "", fmt.Errorf("write the key: %w", err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return "", fmt.Errorf("write the public key: %w", err)
	}
	line = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	if comment != "" {
		line += " " + comment
	}
	text := pem.EncodeToMemory(block)
	defer clear(text)
	if err := newFile(path, text, 0o600); err != nil {
		return "", err
	}
	if err := newFile(path+".pub", []byte(line+"\n"), 0o644); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return line, nil
}

// newFile writes a file that does not exist, and has it on the disk when it returns.
func newFile(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}
