package inventory

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strings"

	"ssm-migrate/internal/fleet"
)

const (
	maxKeyLine    = 64 << 10 // longer lines are not looked into
	maxKeyOptions = 64
)

// ParseKeyLine reads one line of an authorized_keys or CA file by the grammar of
// sshd(8). It is false for a line without meaning: blank, or a comment. A line
// that sshd could not use gives a key with Problem; of such a line no text is
// kept, since a file that is none of authorized_keys may hold secrets. User,
// File and Line are left to the caller.
func ParseKeyLine(line string) (fleet.Key, bool) {
	line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
	if line == "" || line[0] == '#' || line[0] == 0 {
		return fleet.Key{}, false
	}
	if len(line) > maxKeyLine {
		return fleet.Key{Problem: "the line is longer than 64 KB"}, true
	}
	if k, ok := readKey(line); ok {
		return k, true
	}
	end, ok := optionsEnd(line)
	if !ok {
		return fleet.Key{Problem: "the options have an unbalanced quote"}, true
	}
	k, ok := readKey(strings.TrimLeft(line[end:], " \t"))
	if !ok {
		return fleet.Key{Problem: "not a key line"}, true
	}
	for i, o := range splitOptions(line[:end]) {
		if i == maxKeyOptions {
			k.Problem = "more than 64 options"
			break
		}
		k.Options = append(k.Options, clean(o))
	}
	_, k.CA = k.Option("cert-authority")
	return k, true
}

// optionsEnd finds the first blank outside of quotes.
func optionsEnd(s string) (int, bool) {
	quoted := false
	i := 0
	for ; i < len(s) && (quoted || s[i] != ' ' && s[i] != '\t'); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	return min(i, len(s)), !quoted
}

// splitOptions cuts options at the commas outside of quotes.
func splitOptions(s string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// readKey reads "type base64 [comment]". It is false where that is not a key at
// all; a key of a known type that is damaged has a Problem.
func readKey(s string) (fleet.Key, bool) {
	typ, rest := word(s)
	blob64, comment := word(rest)
	if typ == "" || blob64 == "" || strings.ContainsAny(typ, `"=,`) {
		return fleet.Key{}, false
	}
	blob, err := base64.StdEncoding.DecodeString(blob64)
	inner, body, framed := readString(blob)
	if err != nil || !framed {
		if !knownKeyType(typ) {
			return fleet.Key{}, false
		}
		return fleet.Key{Type: typ, Problem: "the key's base64 text is damaged"}, true
	}
	if string(inner) != typ && !knownKeyType(typ) {
		return fleet.Key{}, false
	}
	sum := sha256.Sum256(blob)
	k := fleet.Key{
		Type:        clean(typ),
		Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
		Blob:        base64.StdEncoding.EncodeToString(blob),
		Comment:     clean(comment),
	}
	if string(inner) != typ {
		k.Problem = "the key is of another type than its line says"
		return k, true
	}
	n, ok := keyBits(typ, body)
	k.Bits = n
	if !ok {
		k.Problem = "the key is damaged"
	}
	return k, true
}

// word cuts the first word off s.
func word(s string) (first, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

const certSuffix = "-cert-v01@openssh.com"

// keyShapes gives the number of wire strings in the body of a plain key of each
// type (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f).
var keyShapes = map[string]int{
	"ssh-rsa":                            2, // e, n
	"ssh-dss":                            4, // p, q, g, y
	"ssh-ed25519":                        1,
	"ecdsa-sha2-nistp256":                2, // curve, point
	"ecdsa-sha2-nistp384":                2,
	"ecdsa-sha2-nistp521":                2,
	"sk-ssh-ed25519@openssh.com":         2, // key, application
	"sk-ecdsa-sha2-nistp256@openssh.com": 3, // curve, point, application
}

// plainType gives the key type that a certificate type is for.
func plainType(typ string) (string, bool) {
	base, cert := strings.CutSuffix(typ, certSuffix)
	if !cert {
		return typ, false
	}
	if strings.HasPrefix(base, "sk-") {
		base += "@openssh.com"
	}
	return base, true
}

func knownKeyType(typ string) bool {
	base, _ := plainType(typ)
	_, ok := keyShapes[base]
	return ok
}

// keyBits gives the size of a key from the wire form behind its type name, and
// whether that is whole. The size of an unknown type is 0.
func keyBits(typ string, body []byte) (int, bool) {
	base, cert := plainType(typ)
	shape, known := keyShapes[base]
	if !known {
		return 0, true
	}
	ok := true
	if cert {
		_, body, ok = readString(body) // nonce
	}
	parts := make([][]byte, shape)
	for i := range parts {
		if !ok {
			return 0, false
		}
		parts[i], body, ok = readString(body)
	}
	ok = ok && (cert || len(body) == 0)
	switch base {
	case "ssh-rsa":
		return mpintBits(parts[1]), ok
	case "ssh-dss":
		return mpintBits(parts[0]), ok
	case "ecdsa-sha2-nistp384":
		return 384, ok && string(parts[0]) == "nistp384"
	case "ecdsa-sha2-nistp521":
		return 521, ok && string(parts[0]) == "nistp521"
	case "ssh-ed25519", "sk-ssh-ed25519@openssh.com":
		return 256, ok && len(parts[0]) == 32
	}
	return 256, ok && string(parts[0]) == "nistp256"
}

// readString reads one length-prefixed string of SSH's wire format (RFC 4251 section 5).
func readString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// mpintBits gives the length in bits of a positive number.
func mpintBits(b []byte) int {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0
	}
	return (len(b)-1)*8 + bits.Len8(b[0])
}
