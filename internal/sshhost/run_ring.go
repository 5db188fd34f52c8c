package sshhost

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// A certificate is good for one login: it begins early enough for hosts whose
// clocks are behind, and ends late enough for those whose clocks are ahead.
const (
	certificateBehind = 15 * time.Minute
	certificateAhead  = 5 * time.Minute
)

// ringKey is a key of the recovery ring.
type ringKey struct {
	raw    any // the private key, as package ssh parses it
	signer ssh.Signer
	ca     bool // it signs certificates, and does not log in itself
}

// ring loads the keys to log in with, newest first.
func (r *Recovery) ring(ctx context.Context) ([]ringKey, error) {
	if r.cfg.Keys == nil {
		return nil, errors.New("no recovery key is configured: make one with migrate recovery init, and name its place under recovery in the configuration")
	}
	texts, err := r.cfg.Keys(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, t := range texts {
			clear(t)
		}
	}()
	var keys []ringKey
	for i, text := range texts {
		if len(keys) == maxTries {
			break // servers let nobody try more
		}
		raw, err := ssh.ParseRawPrivateKey(text)
		var signer ssh.Signer
		if err == nil {
			signer, err = ssh.NewSignerFromKey(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("recovery key %d is not an unencrypted private key", i+1) // the library's words may quote it
		}
		keys = append(keys, ringKey{raw, signer, r.signs(signer.PublicKey())})
	}
	if len(keys) == 0 {
		return nil, errors.New("the store of the recovery key holds none")
	}
	return keys, nil
}

func (r *Recovery) signs(k ssh.PublicKey) bool {
	return r.cfg.CA != nil && r.cfg.CA(base64.StdEncoding.EncodeToString(k.Marshal()))
}

// auth logs in with the keys of the ring: with a key itself, or with a
// certificate of the moment for a key that is thrown away.
func auth(keys []ringKey) ssh.AuthMethod {
	return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		var all []ssh.Signer
		for _, k := range keys {
			signer := k.signer
			if k.ca {
				var err error
				if signer, err = certified(k.signer, time.Now()); err != nil {
					return nil, err
				}
			}
			all = append(all, signer)
		}
		return all, nil
	})
}

// certified makes a key for one login, with a certificate of the authority.
func certified(authority ssh.Signer, now time.Time) (ssh.Signer, error) {
	_, signer, err := loginKey()
	if err != nil {
		return nil, err
	}
	cert, err := certificate(authority, signer.PublicKey(), now, now.Add(certificateAhead))
	if err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(cert, signer)
}

// modern keeps an RSA key from signing with SHA-1, which servers refuse.
func modern(s ssh.Signer) ssh.Signer {
	if a, ok := s.(ssh.AlgorithmSigner); ok && s.PublicKey().Type() == ssh.KeyAlgoRSA {
		if m, err := ssh.NewSignerWithAlgorithms(a, []string{ssh.KeyAlgoRSASHA512}); err == nil {
			return m
		}
	}
	return s
}

// Refuses asks a host, by the open bastion of its VPC, whether it would take a
// key: the base64 of its public part, or a line with it. Nobody logs in: SSH lets
// a client ask before it signs, so that the private part is not needed, except
// for a key that signs certificates, which must be in the ring. No means
// that the host takes it; unknown, with the reason, that it could not be asked.
func (r *Recovery) Refuses(ctx context.Context, h fleet.Host, key string) (refused fleet.Truth, reason string) {
	public, err := publicKey(key)
	if err != nil {
		return fleet.TruthUnknown, err.Error()
	}
	if r.signs(public) {
		signer, err := r.certificateOf(ctx, public)
		if err != nil {
			return fleet.TruthUnknown, clean(err.Error(), 300)
		}
		public = signer.PublicKey()
	}
	question := &question{public: public}
	conn, err := r.loginWith(ctx, h, ssh.PublicKeys(question))
	switch {
	case question.accepted:
		return fleet.TruthNo, ""
	case err == nil:
		_ = conn.Close()
		return fleet.TruthUnknown, "the host lets everybody in without a key"
	case errors.Is(err, ErrAuth):
		return fleet.TruthYes, ""
	}
	return fleet.TruthUnknown, clean(err.Error(), 300)
}

// certificateOf makes a certificate of an authority in the ring.
func (r *Recovery) certificateOf(ctx context.Context, authority ssh.PublicKey) (ssh.Signer, error) {
	keys, err := r.ring(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if string(k.signer.PublicKey().Marshal()) == string(authority.Marshal()) {
			return certified(k.signer, time.Now())
		}
	}
	return nil, errors.New("whether certificates of " + describe(authority) + " are taken can be asked only with its private part, which is not in the store")
}

// publicKey reads base64, or a line with it.
func publicKey(text string) (ssh.PublicKey, error) {
	fields := strings.Fields(text)
	for _, f := range fields {
		if blob, err := base64.StdEncoding.DecodeString(f); err == nil {
			if k, err := ssh.ParsePublicKey(blob); err == nil {
				return k, nil
			}
		}
	}
	return nil, errors.New("what is to be asked about is not a public key")
}

// question offers a key and never signs. When the server wants a signature, it
// would take the key.
type question struct {
	public   ssh.PublicKey
	accepted bool
}

var errNoSignature = errors.New("only asked")

// PublicKey implements ssh.Signer.
func (q *question) PublicKey() ssh.PublicKey { return q.public }

// Sign implements ssh.Signer.
func (q *question) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	q.accepted = true
	return nil, errNoSignature
}

// SignWithAlgorithm implements ssh.AlgorithmSigner.
func (q *question) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	return q.Sign(nil, nil)
}

// Algorithms implements ssh.MultiAlgorithmSigner.
func (q *question) Algorithms() []string {
	k := q.public
	if c, ok := k.(*ssh.Certificate); ok {
		k = c.Key
	}
	return algorithmsOf([]ssh.PublicKey{k})
}
