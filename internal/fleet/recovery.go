package fleet

import (
	"errors"
	"time"
)

// ErrDenied says that the caller may not do what it asked for.
var ErrDenied = errors.New("access denied")

// ErrCiphertext says that a key did not make the ciphertext that it was to
// open, or not for this purpose.
var ErrCiphertext = errors.New("the ciphertext does not fit")

// ErrNoKey says that the private part of the recovery key cannot be had from
// where it is kept: trying again soon does not help.
var ErrNoKey = errors.New("the recovery key cannot be used")

// RecoveryKey is one generation of the recovery key: public facts only. The
// private part is where Location says, and nowhere else.
type RecoveryKey struct {
	Line string `json:"line"`         // public key: "ssh-ed25519 AAAA… comment", one line without options
	CA   bool   `json:"ca,omitempty"` // the key signs user certificates, and does not log in itself
	// Location says where the private part is kept, for people: a file's path,
	// a secret's ARN.
	Location string    `json:"location"`
	Made     time.Time `json:"made"`
	Retired  time.Time `json:"retired,omitzero"` // when no host took it any more; zero: in use
	Plan     string    `json:"plan,omitempty"`   // ID of the plan that brought it; empty: made by itself
}

// RecoveryPrincipal is the one principal in the certificates that the recovery
// key signs when it is a certificate authority.
const RecoveryPrincipal = "migrate-recovery"

// CurrentRecoveryKey is the newest generation in use of keys, which stand newest
// first.
func CurrentRecoveryKey(keys []RecoveryKey) (k RecoveryKey, ok bool) {
	for _, k := range keys {
		if k.Retired.IsZero() {
			return k, true
		}
	}
	return RecoveryKey{}, false
}
