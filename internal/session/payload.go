package session

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
)

// The JSON payloads, checked against src/message/clientmessage.go,
// handshakemessage.go and src/service of session-manager-plugin.

// openRequest is the first frame on the WebSocket, a text frame.
type openRequest struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// ClientVersion is what agents take us for: the plugin of the sources that this
// package was checked against. An agent multiplexes port sessions for clients
// from 1.1.70 on, and does without keep-alives in them after 1.2.331.0
// (amazon-ssm-agent, agent/session/plugins/port/port.go).
const ClientVersion = "1.3.0.0"

type acknowledgement struct {
	Type       string `json:"AcknowledgedMessageType"`
	ID         string `json:"AcknowledgedMessageId"`
	Sequence   int64  `json:"AcknowledgedMessageSequenceNumber"`
	Sequential bool   `json:"IsSequentialMessage"`
}

type channelClosed struct{ Output string }

// Size is that of a terminal in characters.
type Size struct {
	Cols uint32 `json:"cols"`
	Rows uint32 `json:"rows"`
}

type handshakeRequest struct {
	AgentVersion           string
	RequestedClientActions []struct {
		ActionType       string
		ActionParameters json.RawMessage
	}
}

// What an agent may ask for in a handshake.
const (
	actionEncryption  = "KMSEncryption"
	actionSessionType = "SessionType"
)

type actionStatus int

const (
	actionDone        actionStatus = 1
	actionFailed      actionStatus = 2
	actionUnsupported actionStatus = 3
)

type processedAction struct {
	ActionType   string
	ActionStatus actionStatus
	ActionResult any
	Error        string
}

type handshakeResponse struct {
	ClientVersion          string
	ProcessedClientActions []processedAction
	Errors                 []string
}

type encryptionRequest struct {
	Key string `json:"KMSKeyId"`
}

type encryptionResult struct {
	Sealed []byte `json:"KMSCipherTextKey"`
	Hash   []byte `json:"KMSCipherTextHash"`
}

// Kinds of sessions, as session documents name them.
const (
	KindShell          = "Standard_Stream"
	KindInteractive    = "InteractiveCommands"
	KindNonInteractive = "NonInteractiveCommands"
	KindPort           = "Port"
)

type sessionType struct {
	Type       string `json:"SessionType"`
	Properties portProperties
}

// portProperties are those of a port session; agents write the number as text.
type portProperties struct {
	PortNumber text   `json:"portNumber"`
	Type       string `json:"type"`
}

// UnmarshalJSON takes properties of other forms for none: other kinds of
// sessions have others.
func (p *portProperties) UnmarshalJSON(b []byte) error {
	type plain portProperties
	var v plain
	if json.Unmarshal(b, &v) == nil {
		*p = portProperties(v)
	}
	return nil
}

// text is a JSON string or number.
type text string

// UnmarshalJSON takes both.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = text(strings.Trim(string(b), `"`))
	return nil
}

// localForwarding is the type of the port sessions that are for a listener;
// the others, AWS-StartSSHSession's, are for one stream.
const localForwarding = "LocalPortForwarding"

type challenge struct{ Challenge []byte }

type handshakeComplete struct{ CustomerMessage string }

func flagPayload(f Flag) []byte { return binary.BigEndian.AppendUint32(nil, uint32(f)) }

func flagOf(payload []byte) Flag {
	if len(payload) != 4 {
		return 0
	}
	return Flag(binary.BigEndian.Uint32(payload))
}

// Agents after these versions know how to multiplex connections, to do so
// without keep-alives, and to end a session by a flag. Checked against
// src/config/config.go and src/version/versionutil.go of session-manager-plugin.
const (
	multiplexingAfter    = "3.0.196.0"
	noKeepAliveAfter     = "3.1.1511.0"
	terminationFlagAfter = "2.3.722.0"
)

// after reports whether an agent's version is later than another of four
// numbers; one that is not of this form is not.
func after(version, other string) bool {
	v, o := strings.Split(version, "."), strings.Split(other, ".")
	if len(v) != len(o) {
		return false
	}
	for i := range v {
		a, errA := strconv.Atoi(v[i])
		b, errB := strconv.Atoi(o[i])
		switch {
		case errA != nil || errB != nil || a < b:
			return false
		case a > b:
			return true
		}
	}
	return false
}
