package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	maxRing = 60 << 10 // bytes; a secret of Secrets Manager holds 65,536. Source: its User Guide, quotas
	maxKeys = 16       // generations; two are usual while a key is changed
)

// NewKey makes an ed25519 key. Text is the private part in OpenSSH's format,
// not encrypted: for a Store, and to be cleared. Line is the public part with
// the comment, which is one line.
func NewKey(comment string) (text []byte, line string, err error) {
	if strings.ContainsAny(comment, "\r\n") {
		return nil, "", errors.New("make a key: its comment has several lines")
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	defer clear(private)
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	text = encode(block)
	if line, err = PublicLine(text); err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	if comment != "" {
		line += " " + comment
	}
	return text, line, nil
}

// PublicLine is the public part of a private key's PEM text: type and base64.
func PublicLine(text []byte) (string, error) {
	k, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return "", errors.New("not an unencrypted private key in a format of OpenSSH's")
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey()))), nil
}

// encode writes a block as PEM, and clears it.
func encode(block *pem.Block) []byte {
	defer clear(block.Bytes)
	return pem.EncodeToMemory(block)
}

// join makes one text of a ring whose keys are all fit to be logged in with.
func join(ring [][]byte) ([]byte, error) {
	if len(ring) == 0 || len(ring) > maxKeys {
		return nil, fmt.Errorf("a ring has 1 to %d keys, not %d", maxKeys, len(ring))
	}
	var out []byte
	for i, text := range ring {
		if blocks, err := blocks(text); err != nil || len(blocks) != 1 {
			return nil, fmt.Errorf("key %d of the ring is not the PEM text of one key", i+1)
		}
		if _, err := PublicLine(text); err != nil {
			return nil, fmt.Errorf("key %d of the ring: %w", i+1, err)
		}
		out = append(append(out, bytes.TrimSpace(text)...), '\n')
	}
	if len(out) > maxRing {
		clear(out)
		return nil, fmt.Errorf("a ring has at most %d bytes", maxRing)
	}
	return out, nil
}

// split is the reverse of join. Errors wrap ErrDamaged and hold nothing of the text.
func split(text []byte) ([][]byte, error) {
	all, err := blocks(text)
	if err != nil {
		return nil, err
	}
	ring := make([][]byte, 0, len(all))
	for _, b := range all {
		ring = append(ring, encode(b))
		if _, err := PublicLine(ring[len(ring)-1]); err != nil {
			Clear(ring)
			return nil, fmt.Errorf("%w: key %d is %w", ErrDamaged, len(ring), err)
		}
	}
	return ring, nil
}

// blocks takes a text of nothing but PEM blocks apart.
func blocks(text []byte) ([]*pem.Block, error) {
	if len(text) > maxRing {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrDamaged, maxRing)
	}
	var all []*pem.Block
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("%w: what is there is no private key", ErrDamaged)
		}
		b, after := pem.Decode(rest)
		if b == nil {
			return nil, fmt.Errorf("%w: a private key in it is cut off or garbled", ErrDamaged)
		}
		if all = append(all, b); len(all) > maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys", ErrDamaged, maxKeys)
		}
		rest = after
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	return all, nil
}
