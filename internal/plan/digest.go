package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrDigest says that a plan is not the one that its digest was made of.
var ErrDigest = errors.New("the plan does not match its digest: it was changed or damaged")

// idLength is how many hex digits of the digest name a plan.
const idLength = 12

// digest is SHA-256 over the plan's JSON without ID and Digest: fields in the
// order of their declaration, keys of maps sorted.
func (p *Plan) digest() (string, error) {
	c := *p
	c.ID, c.Digest = "", ""
	text, err := json.Marshal(&c)
	if err != nil {
		return "", fmt.Errorf("digest of the plan: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// seal computes ID and Digest.
func (p *Plan) seal() error {
	d, err := p.digest()
	if err != nil {
		return err
	}
	p.Digest, p.ID = d, d[:idLength]
	return nil
}

// Verify checks ID and Digest against the content; ErrDigest.
func (p *Plan) Verify() error {
	d, err := p.digest()
	if err != nil {
		return err
	}
	if p.Digest != d || p.ID != d[:idLength] {
		return fmt.Errorf("plan %s: %w", clip(p.ID), ErrDigest)
	}
	return nil
}

// Encode writes a plan as JSON.
func Encode(p *Plan) ([]byte, error) { return json.Marshal(p) }

// Decode reads a plan that Encode wrote. It refuses what it does not know
// (another version's plan), plans whose digest does not match (ErrDigest) and
// plans that break the rules of Check.
func Decode(text []byte) (*Plan, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var p Plan
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPlan, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows it", errNoPlan)
	}
	if err := p.Verify(); err != nil {
		return nil, err
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return &p, nil
}
