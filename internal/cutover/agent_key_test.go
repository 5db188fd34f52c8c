package cutover

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // OpenPGP's fingerprints are SHA-1
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// TestBuiltInKeyIsTheOneWithAWSsFingerprint: a fingerprint is the SHA-1 of the
// key's packet with a two-byte length (RFC 4880, 12.2).
func TestBuiltInKeyIsTheOneWithAWSsFingerprint(t *testing.T) {
	_, body, _ := strings.Cut(agentKey, "\n\n")
	body, _, _ = strings.Cut(body, "\n=")
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil || len(raw) < 3 || raw[0] != 0x99 {
		t.Fatalf("no public key packet: %v", err)
	}
	packet := raw[:3+int(binary.BigEndian.Uint16(raw[1:]))]
	if got := fmt.Sprintf("%X", sha1.Sum(packet)); got != agentSigner { //nolint:gosec // the same
		t.Errorf("fingerprint %s, want %s", got, agentSigner)
	}
	if !bytes.Contains(raw, []byte("SSM Agent <ssm-agent-signer@amazon.com>")) {
		t.Error("the key is not the agent's signer's")
	}
}
