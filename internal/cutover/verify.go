package cutover

import (
	"fmt"
)

// Verify checks a whole journal, all plans in order: that every hash fits its
// entry and the one before, that no number is missing, that the events of each
// step come in an order that the executor writes, that what was there before us is never undone, and that
// no before-image is replaced while it may still be needed. The error names the first
// entry that is wrong.
func Verify(entries []Entry) error {
	hash := ""
	steps := map[[2]string]record{}
	digests := map[string]string{}
	for i, e := range entries {
		sum, err := e.Sum()
		switch {
		case e.Seq != int64(i+1):
			return fmt.Errorf("journal entry %d stands where %d belongs: entries are missing", e.Seq, i+1)
		case e.Prev != hash:
			return fmt.Errorf("journal entry %d does not follow the one before: that one was changed", e.Seq)
		case err != nil:
			return fmt.Errorf("journal entry %d: %w", e.Seq, err)
		case sum != e.Hash:
			return fmt.Errorf("journal entry %d was changed: its hash does not fit", e.Seq)
		}
		hash = e.Hash
		if d, ok := digests[e.Plan]; ok && d != e.Digest {
			return fmt.Errorf("journal entry %d: %w", e.Seq, ErrDigest)
		}
		digests[e.Plan] = e.Digest
		if e.Step == "" {
			continue
		}
		key := [2]string{e.Plan, e.Step}
		if steps[key], err = steps[key].advance(e); err != nil {
			return fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
	}
	return nil
}
