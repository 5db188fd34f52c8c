package cutover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Sum is the hash that belongs to an entry: SHA-256, hex, over its JSON without
// Hash, Prev included. A Journal puts it there; Verify compares. An Image that
// is not JSON is an error.
func (e Entry) Sum() (string, error) {
	e.Hash = ""
	e.At = e.At.UTC()
	text, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("hash entry %d: %w", e.Seq, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Chain fills in Seq, Prev and Hash of entries that follow the entry with seq
// and hash; 0 and "" before the first. It is for implementations of Journal.
func Chain(seq int64, hash string, entries []Entry) ([]Entry, error) {
	out := make([]Entry, len(entries))
	for i, e := range entries {
		seq++
		e.Seq, e.Prev, e.At = seq, hash, e.At.UTC()
		var err error
		if hash, err = e.Sum(); err != nil {
			return nil, err
		}
		e.Hash = hash
		out[i] = e
	}
	return out, nil
}
