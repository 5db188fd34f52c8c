package cutover

import (
	"crypto/sha256"
	"encoding/hex"
)

func token(digest, step string) string {
	sum := sha256.Sum256([]byte(digest + "\x00" + step))
	return "migrate-" + hex.EncodeToString(sum[:16])
}
