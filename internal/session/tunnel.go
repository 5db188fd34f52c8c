package session

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// tunnelFrame is the most that one message of a tunnel carries, as the AWS CLI
// sends them (its websocket.py, version 2).
const tunnelFrame = 65_000

// Tunnel opens a WebSocket whose binary messages are the bytes of one
// connection, as EC2 Instance Connect Endpoints carry them. The URL is signed.
// The connection outlives ctx. What the far side says when it refuses is in the error.
func Tunnel(ctx context.Context, address string, client *http.Client) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "wss" && (u.Scheme != "ws" || !isLoopback(u.Hostname())) {
		return nil, protocolError("the tunnel's address is neither TLS nor on loopback")
	}
	conn, answer, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // never needed, says Dial
	if err != nil {
		return nil, dialError(answer, err)
	}
	return tunnel{websocket.NetConn(context.Background(), conn, websocket.MessageBinary)}, nil
}

type tunnel struct{ net.Conn }

// Write sends the bytes in messages of bounded size.
func (t tunnel) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		most := min(len(p), tunnelFrame)
		m, err := t.Conn.Write(p[:most])
		n += m
		if err != nil {
			return n, fmt.Errorf("send through the tunnel: %w", err)
		}
		p = p[most:]
	}
	return n, nil
}
