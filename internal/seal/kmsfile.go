package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"ssm-migrate/internal/fleet"
)

// DataKeys makes and opens data keys under a KMS key. Errors wrap
// fleet.ErrDenied, or fleet.ErrCiphertext where what is to be opened does not
// fit the key or the context.
type DataKeys interface {
	// NewDataKey makes 32 random bytes, plain and under the KMS key with that ARN.
	NewDataKey(ctx context.Context, key string, about map[string]string) (plain, sealed []byte, err error)
	// OpenDataKey is the reverse.
	OpenDataKey(ctx context.Context, key string, sealed []byte, about map[string]string) (plain []byte, err error)
}

// KMSFile keeps the ring in a file under a data key (AES-256-GCM), which is in
// the file itself under a KMS key. Each Save makes another data key.
type KMSFile struct {
	Path string
	Key  string // ARN of the KMS key, or of an alias
	Keys DataKeys
}

// kmsContext is the encryption context: who may use the KMS key for anything
// else cannot open this with it, and a key policy can ask for it.
var kmsContext = map[string]string{"purpose": "migrate-recovery-key"}

// kmsEnvelope is the file: JSON, its bytes in base64.
type kmsEnvelope struct {
	Version    int               `json:"version"` // 1
	Key        string            `json:"kmsKey"`
	Context    map[string]string `json:"encryptionContext"`
	DataKey    []byte            `json:"dataKey"`    // for kms:Decrypt
	Nonce      []byte            `json:"nonce"`      // 12 bytes
	Ciphertext []byte            `json:"ciphertext"` // AES-256-GCM without additional data, the tag at its end
}

// Location implements Store.
func (k *KMSFile) Location() string { return "KMS file " + k.Path + " (key " + k.Key + ")" }

// Load implements Store.
func (k *KMSFile) Load(ctx context.Context) ([][]byte, error) {
	ring, err := k.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("recovery key %s: %w", k.Path, err)
	}
	return ring, nil
}

func (k *KMSFile) load(ctx context.Context) ([][]byte, error) {
	text, _, err := readFile(k.Path)
	if err != nil {
		return nil, err
	}
	e, err := parseEnvelope(text)
	if err != nil {
		return nil, err
	}
	key, err := k.Keys.OpenDataKey(ctx, k.Key, e.DataKey, kmsContext)
	switch {
	case errors.Is(err, fleet.ErrCiphertext):
		return nil, fmt.Errorf("%w: its data key is not of KMS key %s: %w", ErrDamaged, k.Key, err)
	case err != nil:
		return nil, err
	}
	defer clear(key)
	aead, err := gcm(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	plain, err := aead.Open(nil, e.Nonce, e.Ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: its content was changed", ErrDamaged)
	}
	defer clear(plain)
	return split(plain)
}

// parseEnvelope reads a file of KMSFile's. Errors wrap ErrDamaged.
func parseEnvelope(text []byte) (kmsEnvelope, error) {
	var e kmsEnvelope
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err := d.Decode(&e); {
	case err != nil || d.More():
		return e, fmt.Errorf("%w: not an envelope of migrate's", ErrDamaged)
	case e.Version != 1:
		return e, fmt.Errorf("%w: version %d of the envelope is not known to this program", ErrDamaged, e.Version)
	case !maps.Equal(e.Context, kmsContext):
		return e, fmt.Errorf("%w: the envelope is for another purpose", ErrDamaged)
	case len(e.Nonce) != gcmNonce || len(e.DataKey) == 0 || len(e.DataKey) > 6144 || len(e.Ciphertext) < 16:
		return e, fmt.Errorf("%w: parts of the envelope are missing or cut off", ErrDamaged) // 6144: most that kms:Decrypt takes
	}
	return e, nil
}

const gcmNonce = 12

func gcm(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("the data key has %d bytes, not 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Create implements Creator.
func (k *KMSFile) Create(ctx context.Context, ring [][]byte) error {
	return k.write(ctx, ring, createFile)
}

// Save implements Store.
func (k *KMSFile) Save(ctx context.Context, ring [][]byte) error {
	return k.write(ctx, ring, replaceFile)
}

func (k *KMSFile) write(ctx context.Context, ring [][]byte, put func(string, []byte) error) error {
	text, err := join(ring)
	if err != nil {
		return err
	}
	defer clear(text)
	key, sealed, err := k.Keys.NewDataKey(ctx, k.Key, kmsContext)
	if err != nil {
		return fmt.Errorf("encrypt the key: %w", err)
	}
	defer clear(key)
	aead, err := gcm(key)
	if err != nil {
		return fmt.Errorf("encrypt the key: %w", err)
	}
	e := kmsEnvelope{Version: 1, Key: k.Key, Context: kmsContext, DataKey: sealed, Nonce: make([]byte, gcmNonce)}
	_, _ = rand.Read(e.Nonce) // never fails
	e.Ciphertext = aead.Seal(nil, e.Nonce, text, nil)
	out, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write the envelope: %w", err)
	}
	return put(k.Path, append(out, '\n'))
}
