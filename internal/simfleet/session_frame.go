package simfleet

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The types of messages on a data channel.
// Source: session-manager-plugin, src/message/clientmessage.go.
const (
	messageInput    = "input_stream_data"
	messageOutput   = "output_stream_data"
	messageAck      = "acknowledge"
	messageClosed   = "channel_closed"
	messageStart    = "start_publication"
	messagePause    = "pause_publication"
	headerLength    = 116 // up to the payload's length, which is not counted
	lengthField     = 4
	messageTypeSize = 32
	maxFrame        = 1 << 20
	streamPayload   = 1024 // what the agent puts into one message
)

// payloadType says what a stream message carries.
type payloadType uint32

const (
	payloadOutput            payloadType = 1
	payloadSize              payloadType = 3
	payloadHandshakeRequest  payloadType = 5
	payloadHandshakeResponse payloadType = 6
	payloadHandshakeComplete payloadType = 7
	payloadChallengeRequest  payloadType = 8
	payloadChallengeResponse payloadType = 9
	payloadFlag              payloadType = 10
	payloadStderr            payloadType = 11
	payloadExitCode          payloadType = 12
)

// The flags of port sessions.
const (
	flagDisconnectPort uint32 = 1
	flagTerminate      uint32 = 2
	flagConnectFailed  uint32 = 3
)

// frame is one binary message on a data channel.
type frame struct {
	kind     string
	created  uint64 // milliseconds since 1970
	sequence int64
	flags    uint64
	id       [16]byte
	payload  payloadType
	data     []byte
}

var errFrame = errors.New("malformed message")

// newFrame makes a message with an ID of its own.
func newFrame(kind string, data []byte) frame {
	f := frame{kind: kind, created: uint64(time.Now().UnixMilli()), data: data} //nolint:gosec // after 1970
	_, _ = rand.Read(f.id[:])                                                   // never fails
	f.id[6], f.id[8] = f.id[6]&0x0f|0x40, f.id[8]&0x3f|0x80
	return f
}

// encode writes the message: a header of fixed fields, big-endian, the length
// of the payload, the payload. The halves of the ID are swapped.
func (f frame) encode() []byte {
	b := make([]byte, headerLength+lengthField+len(f.data))
	binary.BigEndian.PutUint32(b[0:], headerLength)
	copy(b[4:4+messageTypeSize], bytes.Repeat([]byte{' '}, messageTypeSize))
	copy(b[4:4+messageTypeSize], f.kind)
	binary.BigEndian.PutUint32(b[36:], 1) // schema version
	binary.BigEndian.PutUint64(b[40:], f.created)
	binary.BigEndian.PutUint64(b[48:], uint64(f.sequence)) //nolint:gosec // never negative
	binary.BigEndian.PutUint64(b[56:], f.flags)
	copy(b[64:72], f.id[8:])
	copy(b[72:80], f.id[:8])
	sum := sha256.Sum256(f.data)
	copy(b[80:112], sum[:])
	binary.BigEndian.PutUint32(b[112:], uint32(f.payload))
	binary.BigEndian.PutUint32(b[headerLength:], uint32(len(f.data))) //nolint:gosec // below maxFrame
	copy(b[headerLength+lengthField:], f.data)
	return b
}

// decodeFrame reads a message and checks lengths and digest.
func decodeFrame(b []byte) (frame, error) {
	if len(b) < headerLength+lengthField || len(b) > maxFrame {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	header := binary.BigEndian.Uint32(b)
	if header != headerLength {
		return frame{}, fmt.Errorf("%w: header of %d bytes", errFrame, header)
	}
	f := frame{
		kind:     string(bytes.Trim(b[4:4+messageTypeSize], "\x00 ")),
		created:  binary.BigEndian.Uint64(b[40:]),
		sequence: int64(binary.BigEndian.Uint64(b[48:])), //nolint:gosec // checked below
		flags:    binary.BigEndian.Uint64(b[56:]),
		payload:  payloadType(binary.BigEndian.Uint32(b[112:])),
		data:     b[headerLength+lengthField:],
	}
	copy(f.id[8:], b[64:72])
	copy(f.id[:8], b[72:80])
	sum := sha256.Sum256(f.data)
	switch {
	case f.sequence < 0:
		return frame{}, fmt.Errorf("%w: sequence number %d", errFrame, f.sequence)
	case int(binary.BigEndian.Uint32(b[headerLength:])) != len(f.data):
		return frame{}, fmt.Errorf("%w: the payload has another length than it says", errFrame)
	case !bytes.Equal(sum[:], b[80:112]):
		return frame{}, fmt.Errorf("%w: the payload's digest does not match", errFrame)
	}
	return f, nil
}

// uuid is the message's ID as text.
func (f frame) uuid() string {
	h := hex.EncodeToString(f.id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// acknowledgement is the payload of an acknowledge message.
type acknowledgement struct {
	Type       string `json:"AcknowledgedMessageType"`
	ID         string `json:"AcknowledgedMessageId"`
	Sequence   int64  `json:"AcknowledgedMessageSequenceNumber"`
	Sequential bool   `json:"IsSequentialMessage"`
}

// acknowledge makes the answer to a stream message.
func (f frame) acknowledge() frame {
	a := newFrame(messageAck, must(json.Marshal(acknowledgement{f.kind, f.uuid(), f.sequence, true})))
	a.flags = 3
	return a
}

// closedFrame tells the client that the session is over. The output is why; it
// is empty when there is nothing to say.
func closedFrame(session, target, output string) frame {
	f := newFrame(messageClosed, nil)
	f.flags = 3
	f.data = must(json.Marshal(map[string]any{
		"MessageType": messageClosed, "MessageId": f.uuid(), "DestinationId": target, "SessionId": session, "SchemaVersion": 1,
		"CreatedDate": fmt.Sprint(f.created), "Output": output,
	}))
	return f
}
