// Package session is the client side of Session Manager's data channel: a
// WebSocket that carries a shell, a command or TCP connections to a managed
// node. It follows the wire format of AWS's session-manager-plugin, so that no
// plugin is needed. Starting and ending sessions by the API is the caller's.
package session

import (
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// Errors of a channel. Callers tell them apart with errors.Is and errors.As.
var (
	// ErrRefused says that the service did not let the channel be opened.
	ErrRefused = errors.New("the service refused the data channel")
	// ErrTooMany says that the service carries as many connections, or was asked
	// as often, as it lets be: later it may answer otherwise.
	ErrTooMany = errors.New("too many connections or requests")
	// ErrProtocol says that the far side does not keep to the protocol.
	ErrProtocol = errors.New("the far side does not keep to the data channel's protocol")
	// ErrExpired says that a session which lost its connection could not be resumed.
	ErrExpired = errors.New("the session has ended meanwhile")
	// ErrUnanswered says that what was sent was not acknowledged for minutes.
	ErrUnanswered = errors.New("the agent acknowledged nothing for 5 minutes")
	// ErrClosed says that this side closed the channel.
	ErrClosed = errors.New("the channel is closed")
	// ErrEncryption says that the session's encryption could not be set up.
	ErrEncryption = errors.New("the session's encryption failed")
)

// EndError says that the far side ended the session.
type EndError struct {
	// Output is what it said: empty when a shell or command ended by itself.
	Output string
}

func (e *EndError) Error() string {
	if e.Output == "" {
		return "the far side ended the session"
	}
	return "the far side ended the session: " + e.Output
}

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// line makes foreign text harmless.
func line(s string) string { return fleet.OneLine(s, 500) }
