package sshhost

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// LoginKey is a key for people's own ssh, and its certificates.
type LoginKey struct {
	Private      []byte   // unencrypted, in OpenSSH's format; to be cleared
	Certificates [][]byte // a line for a file each, one of each authority
	Until        time.Time
}

// CertifyLogin makes a key, and certificates for it from the authorities: the PEM
// texts of unencrypted private keys. They are good for the bastions and for all hosts
// that trust one of the authorities, and end when length is over, counted from now.
func CertifyLogin(authorities [][]byte, now time.Time, length time.Duration) (LoginKey, error) {
	if len(authorities) == 0 || length <= 0 {
		return LoginKey{}, errors.New("certify a login: no authority, or no time")
	}
	private, signer, err := loginKey()
	if err != nil {
		return LoginKey{}, err
	}
	k := LoginKey{Until: now.Add(length)}
	for i, text := range authorities {
		authority, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return LoginKey{}, fmt.Errorf("authority %d is not an unencrypted private key", i+1) // the library's words may quote it
		}
		cert, err := certificate(authority, signer.PublicKey(), now, k.Until)
		if err != nil {
			return LoginKey{}, err
		}
		k.Certificates = append(k.Certificates, ssh.MarshalAuthorizedKey(cert))
	}
	block, err := ssh.MarshalPrivateKey(private, fleet.RecoveryPrincipal)
	if err != nil {
		return LoginKey{}, fmt.Errorf("write a key for logins: %w", err)
	}
	k.Private = pem.EncodeToMemory(block)
	return k, nil
}

func loginKey() (ed25519.PrivateKey, ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key for a login: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key for a login: %w", err)
	}
	return private, signer, nil
}

// certificate signs key. The critical option source-address is left out: from where
// hosts see the login is not known here.
func certificate(authority ssh.Signer, key ssh.PublicKey, now, until time.Time) (*ssh.Certificate, error) {
	var serial [8]byte
	_, _ = rand.Read(serial[:]) // never fails
	cert := &ssh.Certificate{
		Key: key, CertType: ssh.UserCert,
		Serial: binary.BigEndian.Uint64(serial[:]), KeyId: fleet.RecoveryPrincipal,
		ValidPrincipals: []string{fleet.RecoveryPrincipal},
		ValidAfter:      uint64(now.Add(-certificateBehind).Unix()),
		ValidBefore:     uint64(until.Unix()),
		Permissions:     ssh.Permissions{Extensions: map[string]string{"permit-pty": "", "permit-port-forwarding": ""}},
	}
	if err := cert.SignCert(rand.Reader, modern(authority)); err != nil {
		return nil, fmt.Errorf("sign a certificate for a login: %w", err)
	}
	return cert, nil
}
