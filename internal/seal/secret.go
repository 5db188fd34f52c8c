package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"ssm-migrate/internal/fleet"
)

// Secrets reads and writes secrets of AWS Secrets Manager. Errors wrap
// fleet.ErrNotFound, fleet.ErrDenied or fleet.ErrExists where one fits.
type Secrets interface {
	// Secret reads the version of a secret that has a staging label, and its ID.
	Secret(ctx context.Context, arn, stage string) (text []byte, version string, err error)
	// PutSecret makes a version, with the token as its ID, and moves AWSCURRENT
	// to it. The same token and text again do nothing.
	PutSecret(ctx context.Context, arn string, text []byte, token string) error
	// CreateSecret makes a secret. Key is a KMS key's ARN; empty: AWS's own.
	CreateSecret(ctx context.Context, at fleet.Place, name, key string, text []byte, token string) (arn string, err error)
}

// Staging labels. Source: Secrets Manager User Guide, "What's in a secret?".
const (
	stageCurrent  = "AWSCURRENT"
	stagePrevious = "AWSPREVIOUS"
)

// Secret keeps the ring in a secret of Secrets Manager, as its text.
type Secret struct {
	Secrets Secrets
	// ARN is the secret. Empty: none is there yet, and Create makes it.
	ARN string

	// What Create makes.
	At   fleet.Place
	Name string
	Key  string // KMS key's ARN; empty: AWS's own key for secrets

	mu sync.Mutex // guards ARN once the store is in use
}

// Location implements Store.
func (s *Secret) Location() string { return "secret " + s.arn() }

func (s *Secret) arn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ARN
}

// Load implements Store. Where the current version is damaged, as when somebody
// put something else there, the one before it counts.
func (s *Secret) Load(ctx context.Context) ([][]byte, error) {
	arn := s.arn()
	if arn == "" {
		return nil, fmt.Errorf("%w: no secret is named (recovery.secret)", ErrMissing)
	}
	ring, err := s.version(ctx, arn, stageCurrent)
	if errors.Is(err, ErrDamaged) {
		if before, err := s.version(ctx, arn, stagePrevious); err == nil {
			return before, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("recovery key, secret %s: %w", arn, err)
	}
	return ring, nil
}

func (s *Secret) version(ctx context.Context, arn, stage string) ([][]byte, error) {
	text, _, err := s.Secrets.Secret(ctx, arn, stage)
	defer clear(text)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	case err != nil:
		return nil, err
	}
	return split(text)
}

// Create implements Creator. The secret's ARN is known afterwards.
func (s *Secret) Create(ctx context.Context, ring [][]byte) error {
	if arn := s.arn(); arn != "" {
		return fmt.Errorf("secret %s: %w; it is left as it is", arn, ErrExists)
	}
	text, err := join(ring)
	if err != nil {
		return err
	}
	defer clear(text)
	arn, err := s.Secrets.CreateSecret(ctx, s.At, s.Name, s.Key, text, token())
	if err != nil {
		return fmt.Errorf("make secret %s: %w", s.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ARN = arn
	return nil
}

// Save implements Store.
func (s *Secret) Save(ctx context.Context, ring [][]byte) error {
	text, err := join(ring)
	if err != nil {
		return err
	}
	defer clear(text)
	arn, id := s.arn(), token()
	failed := s.Secrets.PutSecret(ctx, arn, text, id)
	if failed == nil {
		return nil
	}
	// The answer may have been lost after the version was made.
	now, version, err := s.Secrets.Secret(ctx, arn, stageCurrent)
	clear(now)
	if err == nil && version == id {
		return nil
	}
	return fmt.Errorf("save the recovery key in secret %s: %w", arn, failed)
}

// token is an idempotency token: not derived from the ring, since a ring that
// comes back, as after a rotation that was given up, must become current again.
func token() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
