package simfleet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sealer is AES-GCM with a random nonce in front of what it seals.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) sealer {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("simfleet: " + err.Error()) // the keys here have 16 to 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("simfleet: " + err.Error())
	}
	return sealer{aead}
}

func (s sealer) seal(plain, context []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return s.aead.Seal(nonce, nonce, plain, context)
}

func (s sealer) open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < s.aead.NonceSize() {
		return nil, errors.New("the ciphertext is too short")
	}
	n := s.aead.NonceSize()
	return s.aead.Open(nil, sealed[:n], sealed[n:], context)
}

// sessionCipher encrypts a session: the client's data key gives one key for
// each direction. Source: session-manager-plugin, src/encryption/encrypter.go.
type sessionCipher struct{ toClient, fromClient sealer }

const sessionKeySize = 64

func newSessionCipher(key []byte) (*sessionCipher, error) {
	if len(key) != sessionKeySize {
		return nil, fmt.Errorf("the data key has %d bytes in place of %d", len(key), sessionKeySize)
	}
	return &sessionCipher{toClient: newSealer(key[:sessionKeySize/2]), fromClient: newSealer(key[sessionKeySize/2:])}, nil
}

// keySealer is a KMS key's own material.
func (w *World) keySealer(arn string) sealer {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", w.Seed, arn))
	return newSealer(sum[:])
}

// blob is a data key under a KMS key; like KMS's, it names its key.
type blob struct {
	Key    string
	Sealed []byte
}

func encryptionContext(of map[string]string) []byte { return must(json.Marshal(of)) } // keys in order

// decryptKey opens a data key. The caller has looked at permissions.
func (w *World) decryptKey(ciphertext []byte, context map[string]string) (arn string, plain []byte, err error) {
	var b blob
	if err := json.Unmarshal(ciphertext, &b); err != nil {
		return "", nil, errors.New("InvalidCiphertextException: ")
	}
	plain, err = w.keySealer(b.Key).open(b.Sealed, encryptionContext(context))
	if err != nil {
		return "", nil, errors.New("InvalidCiphertextException: ")
	}
	return b.Key, plain, nil
}

// usableKey finds the key of a cryptographic operation and asks all policies
// whether the caller may use it so.
func (c *call) usableKey(id, action string, context map[string]string) (*fleet.KMSKey, error) {
	rg, k := c.w.key(c.region, id)
	if k == nil && strings.HasPrefix(id, "alias/") {
		return nil, refuse("NotFoundException", "Alias arn:aws:kms:%s:%s:%s is not found.", c.region.Name, c.account.ID, id)
	}
	if k == nil {
		return nil, refuse("NotFoundException", "Key '%s' does not exist", id)
	}
	p, session, known := c.principal()
	q := c.request(session, action, k.ARN)
	for name, v := range context {
		q.context["kms:encryptioncontext:"+strings.ToLower(name)] = []string{v}
	}
	if known && !c.account.judgeWith(p, q, rg.Account.ID, keyPolicy(rg, k), true) {
		return nil, refuse("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", c.callerARN(), action, k.ARN, action)
	}
	switch k.State {
	case "", "Enabled":
		return k, nil
	case "Disabled":
		return nil, refuse("DisabledException", "%s is disabled.", k.ARN)
	}
	return nil, refuse("KMSInvalidStateException", "%s is pending deletion.", k.ARN)
}

func keyPolicy(rg *Region, k *fleet.KMSKey) string {
	if k.Policy.Value != "" {
		return k.Policy.Value
	}
	return defaultKeyPolicy(rg.Account.ID)
}

func generateDataKey(c *call) (any, error) {
	var in struct {
		KeyID   string            `json:"KeyId"`
		Bytes   int               `json:"NumberOfBytes"`
		Spec    string            `json:"KeySpec"`
		Context map[string]string `json:"EncryptionContext"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	switch in.Spec {
	case "AES_256":
		in.Bytes = 32
	case "AES_128":
		in.Bytes = 16
	}
	if in.Bytes < 1 || in.Bytes > 1024 {
		return nil, refuse("ValidationException", "Please specify either number of bytes or key spec.")
	}
	k, err := c.usableKey(in.KeyID, "kms:GenerateDataKey", in.Context)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, in.Bytes)
	_, _ = rand.Read(plain)
	sealed := must(json.Marshal(blob{k.ARN, c.w.keySealer(k.ARN).seal(plain, encryptionContext(in.Context))}))
	return map[string]any{"KeyId": k.ARN, "Plaintext": plain, "CiphertextBlob": sealed}, nil
}

func kmsDecrypt(c *call) (any, error) {
	var in struct {
		KeyID   string            `json:"KeyId"`
		Blob    []byte            `json:"CiphertextBlob"`
		Context map[string]string `json:"EncryptionContext"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	arn, plain, err := c.w.decryptKey(in.Blob, in.Context)
	if err != nil {
		return nil, refuse("InvalidCiphertextException", "")
	}
	if in.KeyID != "" {
		if _, k := c.w.key(c.region, in.KeyID); k == nil || k.ARN != arn {
			return nil, refuse("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
		}
	}
	if _, err := c.usableKey(arn, "kms:Decrypt", in.Context); err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": arn, "Plaintext": plain, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, nil
}
