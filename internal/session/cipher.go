package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
)

// DataKey is what kms:GenerateDataKey gave.
type DataKey struct {
	Plain  []byte // DataKeySize bytes, the secret
	Sealed []byte // CiphertextBlob: the same for who may kms:Decrypt it
}

// DataKeySize is how many bytes a session's data key has. The first half is the
// agent's key, the second the client's, each for AES-256 in GCM with the nonce
// in front. Checked against src/encryption/kmsservice.go and encrypter.go of
// session-manager-plugin.
const DataKeySize = 64

// EncryptionContext is the context that a session's data key is bound to.
func EncryptionContext(session, target string) map[string]string {
	return map[string]string{"aws:ssm:SessionId": session, "aws:ssm:TargetId": target}
}

// ciphers are the two directions of an encrypted session.
type ciphers struct{ in, out cipher.AEAD }

func newCiphers(plain []byte) (*ciphers, error) {
	if len(plain) != DataKeySize {
		return nil, fmt.Errorf("%w: a data key of %d bytes, not %d", ErrEncryption, len(plain), DataKeySize)
	}
	in, err := gcm(plain[:DataKeySize/2])
	if err != nil {
		return nil, err
	}
	out, err := gcm(plain[DataKeySize/2:])
	if err != nil {
		return nil, err
	}
	return &ciphers{in: in, out: out}, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncryption, err)
	}
	return cipher.NewGCM(block)
}

func (c *ciphers) encrypt(plain []byte) []byte {
	nonce := make([]byte, c.out.NonceSize(), c.out.NonceSize()+len(plain)+c.out.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return c.out.Seal(nonce, nonce, plain, nil)
}

func (c *ciphers) decrypt(sealed []byte) ([]byte, error) {
	n := c.in.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("%w: %d bytes are too few to be encrypted", ErrEncryption, len(sealed))
	}
	plain, err := c.in.Open(nil, sealed[:n], sealed[n:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: what the agent sent does not decrypt", ErrEncryption)
	}
	return plain, nil
}
