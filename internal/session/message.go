package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// Message is one message of a data channel. Numbers are big-endian on the wire:
//
//	offset  length
//	     0       4  length of the header, without the payload's length: 116
//	     4      32  type, padded with blanks or zeros
//	    36       4  schema version: 1
//	    40       8  time of creation, milliseconds since 1970
//	    48       8  sequence number
//	    56       8  flags: 1 for the first message of a stream, 2 for the last
//	    64      16  ID: a UUID, its second half first
//	    80      32  SHA-256 of the payload
//	   112       4  payload type
//	   116       4  length of the payload
//	   120          payload
//
// Checked against src/message/clientmessage.go and messageparser.go of
// session-manager-plugin.
type Message struct {
	Type        string
	Schema      uint32
	Created     time.Time // whole milliseconds
	Sequence    int64
	Flags       uint64
	ID          UUID
	PayloadType PayloadType
	Payload     []byte
}

// Types of messages.
const (
	TypeInput       = "input_stream_data"
	TypeOutput      = "output_stream_data"
	TypeAcknowledge = "acknowledge"
	TypeClosed      = "channel_closed"
	TypeStart       = "start_publication"
	TypePause       = "pause_publication"
)

// PayloadType says what the payload of a stream message is.
type PayloadType uint32

// Payload types.
const (
	PayloadOutput            PayloadType = 1
	PayloadError             PayloadType = 2
	PayloadSize              PayloadType = 3
	PayloadParameter         PayloadType = 4
	PayloadHandshakeRequest  PayloadType = 5
	PayloadHandshakeResponse PayloadType = 6
	PayloadHandshakeComplete PayloadType = 7
	PayloadChallengeRequest  PayloadType = 8
	PayloadChallengeResponse PayloadType = 9
	PayloadFlag              PayloadType = 10
	PayloadStderr            PayloadType = 11
	PayloadExitCode          PayloadType = 12
)

// Flag is the payload of a message of type PayloadFlag: 4 bytes, big-endian.
type Flag uint32

// Flags.
const (
	FlagDisconnectToPort   Flag = 1
	FlagTerminateSession   Flag = 2
	FlagConnectToPortError Flag = 3
)

const (
	offsetType    = 4
	offsetSchema  = 36
	offsetCreated = 40
	offsetSeq     = 48
	offsetFlags   = 56
	offsetID      = 64
	offsetDigest  = 80
	offsetKind    = 112
	offsetLength  = 116
	offsetPayload = 120
)

// MaxMessage bounds one message of the far side in bytes. Agents put 1,024
// bytes into one; what the service says itself is longer.
const MaxMessage = 256 << 10

// Encode writes a message in wire format. A type longer than 32 bytes is cut.
func (m Message) Encode() []byte {
	out := make([]byte, offsetPayload+len(m.Payload))
	binary.BigEndian.PutUint32(out, offsetLength)
	kind := out[offsetType:offsetSchema]
	for i := range kind {
		kind[i] = ' '
	}
	copy(kind, m.Type)
	binary.BigEndian.PutUint32(out[offsetSchema:], m.Schema)
	binary.BigEndian.PutUint64(out[offsetCreated:], uint64(m.Created.UnixMilli())) //nolint:gosec // as the format has it
	binary.BigEndian.PutUint64(out[offsetSeq:], uint64(m.Sequence))                //nolint:gosec // as the format has it
	binary.BigEndian.PutUint64(out[offsetFlags:], m.Flags)
	copy(out[offsetID:], m.ID[8:])
	copy(out[offsetID+8:], m.ID[:8])
	digest := sha256.Sum256(m.Payload)
	copy(out[offsetDigest:], digest[:])
	binary.BigEndian.PutUint32(out[offsetKind:], uint32(m.PayloadType))
	binary.BigEndian.PutUint32(out[offsetLength:], uint32(len(m.Payload))) //nolint:gosec // far below
	copy(out[offsetPayload:], m.Payload)
	return out
}

// Decode reads a message in wire format; it fails with ErrProtocol on anything
// that is none. The payload is a part of b. Start and pause messages come from
// the service itself, which does not fill in all of their fields: they are
// taken by their type alone.
func Decode(b []byte) (Message, error) {
	if len(b) < offsetPayload {
		return Message{}, protocolError("a message of %d bytes", len(b))
	}
	if len(b) > MaxMessage {
		return Message{}, protocolError("a message of more than %d bytes", MaxMessage)
	}
	m := Message{
		Type:        strings.TrimSpace(string(bytes.Trim(b[offsetType:offsetSchema], "\x00"))),
		Schema:      binary.BigEndian.Uint32(b[offsetSchema:]),
		Created:     time.UnixMilli(int64(binary.BigEndian.Uint64(b[offsetCreated:]))).UTC(), //nolint:gosec // any value is a time
		Sequence:    int64(binary.BigEndian.Uint64(b[offsetSeq:])),                           //nolint:gosec // checked by who uses it
		Flags:       binary.BigEndian.Uint64(b[offsetFlags:]),
		PayloadType: PayloadType(binary.BigEndian.Uint32(b[offsetKind:])),
	}
	copy(m.ID[8:], b[offsetID:])
	copy(m.ID[:8], b[offsetID+8:offsetDigest])
	if m.Type == TypeStart || m.Type == TypePause {
		return m, nil
	}
	header := binary.BigEndian.Uint32(b)
	if header < offsetLength || uint64(header)+4 > uint64(len(b)) {
		return Message{}, protocolError("a header of %d bytes in a message of %d", header, len(b))
	}
	m.Payload = b[header+4:]
	switch {
	case m.Type == "":
		return Message{}, protocolError("a message without a type")
	case uint64(binary.BigEndian.Uint32(b[offsetLength:])) != uint64(len(m.Payload)):
		return Message{}, protocolError("a payload of %d bytes is said to have %d", len(m.Payload), binary.BigEndian.Uint32(b[offsetLength:]))
	case len(m.Payload) > 0 && sha256.Sum256(m.Payload) != [sha256.Size]byte(b[offsetDigest:offsetKind]):
		return Message{}, protocolError("the payload's digest is wrong")
	}
	return m, nil
}

// UUID is a universally unique identifier in the order of its text.
type UUID [16]byte

// newUUID makes a random one (version 4).
func newUUID() UUID {
	var u UUID
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// String is the UUID as text, with hyphens.
func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
