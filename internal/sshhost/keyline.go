package sshhost

import (
	"bufio"
	"encoding/base64"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// readableKeyLine is a line of known_hosts as the library can read it; "" for
// a comment and for a line that it cannot read.
func readableKeyLine(line string) string {
	if len(line) >= bufio.MaxScanTokenSize {
		return ""
	}
	fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) })
	at := 0
	if len(fields) > 0 && (fields[0] == "@cert-authority" || fields[0] == "@revoked") {
		at = 1
	}
	if len(fields) < at+3 || fields[0][0] == '#' || !readableHosts(fields[at]) {
		return ""
	}
	blob, err := base64.StdEncoding.DecodeString(fields[at+2])
	if err != nil {
		return ""
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != fields[at+1] {
		return ""
	}
	return strings.Join(fields[:at+3], " ")
}

// readableHosts checks the host patterns of a line.
func readableHosts(s string) bool {
	if s[0] == '@' {
		return false
	}
	if s[0] == '|' {
		parts := strings.Split(s, "|")
		if len(parts) != 4 || parts[1] != "1" {
			return false
		}
		_, saltErr := base64.StdEncoding.DecodeString(parts[2])
		_, hashErr := base64.StdEncoding.DecodeString(parts[3])
		return saltErr == nil && hashErr == nil
	}
	for _, p := range strings.Split(s, ",") {
		bare := strings.TrimPrefix(p, "!")
		if p != "" && bare == "" {
			return false
		}
		if strings.HasPrefix(bare, "[") {
			if _, _, err := net.SplitHostPort(bare); err != nil {
				return false
			}
		}
	}
	return true
}
