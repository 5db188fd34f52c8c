package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/seal"
)

func (a *app) recoveryKeyCommand() *cobra.Command {
	var phraseFile, comment string
	var bare bool
	c := &cobra.Command{
		Use:   "key FILE",
		Short: "Make a recovery key in a file, and nothing else",
		Long: `key makes an ed25519 key and writes it to FILE (mode 0600) in OpenSSH's format, encrypted with a passphrase,
and its public line to FILE.pub. It prints the line for the policy file. A file that exists is not touched.

The state file does not learn of the key: migrate recovery init makes one that it keeps track of.

Keep the key where an outage of AWS does not block it, and tell migrate.yaml where it is
(recovery: key_file). Nobody but its owner may read the file; migrate never stores the key or its passphrase.`,
		Example: `  migrate recovery key migrate-recovery
  migrate recovery key migrate-recovery --passphrase-file /run/secrets/recovery`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if bare && phraseFile != "" {
				return usageErr("--no-passphrase and --passphrase-file exclude each other")
			}
			return a.recoveryKey(args[0], comment, phraseFile, bare)
		},
	}
	c.Flags().StringVar(&phraseFile, "passphrase-file", "", "file whose first line is the passphrase")
	c.Flags().BoolVar(&bare, "no-passphrase", false, "leave the private key unencrypted")
	c.Flags().StringVar(&comment, "comment", recoveryComment, "comment of the public line")
	return c
}

func (a *app) recoveryKey(path, comment, phraseFile string, bare bool) error {
	if strings.ContainsAny(comment, "\r\n") {
		return usageErr("--comment: one line only")
	}
	file := &seal.KeyFile{Path: path, Bare: bare, Comment: comment}
	if !bare {
		phrase, err := a.newPassphrase(phraseFile)
		if err != nil {
			return exitErr{code: exitUsage, err: fmt.Errorf("passphrase: %w (--passphrase-file FILE, or --no-passphrase for a key that is not encrypted)", err)}
		}
		defer clear(phrase)
		file.Passphrase = func() ([]byte, error) { return bytes.Clone(phrase), nil }
	}
	line, err := newKeyFile(file)
	if err != nil {
		return err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, map[string]any{"file": full, "publicKey": line, "encrypted": !bare})
	}
	fmt.Fprintf(a.out, `The recovery key is in %s, its public line in %s.pub.

For the policy file (migrate plan --policy-template shows one):

recovery:
  public_key: %s

For migrate.yaml:

recovery:
  key_file: %s
`, oneLine(full), oneLine(full), line, oneLine(full))
	return nil
}

// newKeyFile makes a key and gives its public line.
func newKeyFile(file *seal.KeyFile) (string, error) {
	text, line, err := seal.NewKey(file.Comment)
	if err != nil {
		return "", err
	}
	defer clear(text)
	return line, file.Create(context.Background(), [][]byte{text})
}

// newPassphrase reads a passphrase; on a terminal twice.
func (a *app) newPassphrase(file string) ([]byte, error) {
	phrase, err := a.passphrase(file, "Passphrase for the new key: ")
	if err != nil || file != "" {
		return phrase, err
	}
	again, err := a.passphrase("", "Once more: ")
	switch {
	case err != nil:
		return nil, err
	case len(phrase) == 0:
		return nil, errors.New("it is empty")
	case !bytes.Equal(phrase, again):
		return nil, errors.New("the two differ")
	}
	clear(again)
	return phrase, nil
}
