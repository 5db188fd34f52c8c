// Package seal keeps the private parts of the recovery key. They leave memory
// only encrypted: into a file that OpenSSH or age opens, a file that a KMS key
// opens, or AWS Secrets Manager.
//
// What is kept is a ring: the keys of all generations in use, newest first.
// As text it is their PEM blocks one after the other, so that ssh-add and
// ssh -i, which read the first block of what they get, take the newest.
package seal

import (
	"context"
	"errors"

	"ssm-migrate/internal/fleet"
)

// Store keeps one ring. Its methods may be called concurrently; of two
// processes that save at once the later wins.
type Store interface {
	// Load gives the private keys, newest first, each as the PEM text of an
	// unencrypted key. The caller clears them after use (Clear).
	// Errors wrap ErrMissing, ErrPassphrase, ErrDenied or ErrDamaged where
	// one fits; any other says nothing about the ring (no network, throttled).
	Load(ctx context.Context) ([][]byte, error)
	// Save puts a ring in place of the one before. When it returns nil, the new
	// one is durable; on an error, or after a crash, either the old or the new one is
	// there, whole. The texts stay the caller's.
	Save(ctx context.Context, ring [][]byte) error
	// Location says where the ring is, for people and for the state file.
	Location() string
}

// Creator is a store whose first ring can be made.
type Creator interface {
	Store
	// Create saves a ring where none is; where something is, it is left as it
	// is, and the error wraps ErrExists.
	Create(ctx context.Context, ring [][]byte) error
}

// What can be wrong with a ring.
var (
	ErrMissing = errors.New("no recovery key is there")
	// ErrPassphrase: so far as can be told, since damage of the part that a
	// passphrase opens looks the same.
	ErrPassphrase = errors.New("the passphrase is wrong, or no identity fits")
	ErrDenied     = fleet.ErrDenied
	ErrDamaged    = errors.New("damaged")
	ErrExists     = fleet.ErrExists
)

// Clear overwrites the texts of a ring. Go may have copied them while it worked
// with them; what it copied stays until the memory is used again.
func Clear(ring [][]byte) {
	for _, text := range ring {
		clear(text)
	}
}
