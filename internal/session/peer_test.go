package session_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssm-migrate/internal/session"
)

// peer is the service and the agent in one: it takes WebSockets and lets a test
// say what goes over them.
type peer struct {
	t      *testing.T
	url    string
	tokens chan string          // first frames' tokens
	in     chan session.Message // messages of the client, acknowledgements and flags apart
	flags  chan session.Flag
	acks   chan int64 // sequence numbers that the client acknowledged
	accept func(w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	conn *websocket.Conn // the latest; guarded by mu
	seq  int64           // of the next output; guarded by mu
	deaf int             // so many stream messages are lost; guarded by mu
	mute bool            // acknowledges nothing; guarded by mu
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{t: t, tokens: make(chan string, 16), in: make(chan session.Message, 4096), flags: make(chan session.Flag, 64), acks: make(chan int64, 4096)}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = "ws" + strings.TrimPrefix(srv.URL, "http") + "/v1/data-channel/s-1?role=publish_subscribe"
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.accept != nil && !p.accept(w, r) {
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer conn.CloseNow() //nolint:errcheck // the other end may have closed it
	_, b, err := conn.Read(r.Context())
	if err != nil {
		return
	}
	var hello struct{ MessageSchemaVersion, RequestId, TokenValue, ClientId, ClientVersion string } //nolint:revive // the wire's names
	if err := json.Unmarshal(b, &hello); err != nil || hello.MessageSchemaVersion != "1.0" || len(hello.RequestId) != 36 || len(hello.ClientId) != 36 || hello.ClientVersion == "" {
		p.t.Errorf("first frame: %s", b)
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	p.tokens <- hello.TokenValue
	for {
		_, b, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		m, err := session.Decode(b)
		if err != nil {
			p.t.Errorf("the client sent: %v", err)
			return
		}
		p.got(m)
	}
}

func (p *peer) got(m session.Message) {
	if m.Type == session.TypeAcknowledge {
		var a struct {
			AcknowledgedMessageSequenceNumber int64
			AcknowledgedMessageType           string
			IsSequentialMessage               bool
		}
		if err := json.Unmarshal(m.Payload, &a); err != nil || !a.IsSequentialMessage || a.AcknowledgedMessageType != session.TypeOutput || m.Flags != 3 {
			p.t.Errorf("acknowledgement: %s", m.Payload)
		}
		p.acks <- a.AcknowledgedMessageSequenceNumber
		return
	}
	p.mu.Lock()
	lost, mute := p.deaf > 0, p.mute
	if lost {
		p.deaf--
	}
	p.mu.Unlock()
	if lost {
		return
	}
	if m.PayloadType == session.PayloadFlag {
		p.flags <- session.Flag(binary.BigEndian.Uint32(m.Payload))
	} else {
		p.in <- m
	}
	if !mute {
		p.ack(m)
	}
}

func (p *peer) ack(m session.Message) {
	payload, _ := json.Marshal(map[string]any{
		"AcknowledgedMessageType": m.Type, "AcknowledgedMessageId": m.ID.String(),
		"AcknowledgedMessageSequenceNumber": m.Sequence, "IsSequentialMessage": true,
	})
	p.write(session.Message{Type: session.TypeAcknowledge, Schema: 1, Created: time.Now(), Flags: 3, Payload: payload}.Encode())
}

func (p *peer) write(b []byte) {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	_ = conn.Write(context.Background(), websocket.MessageBinary, b) // a client that has gone is for the test to see
}

// hangUp cuts the connection.
func (p *peer) hangUp() {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	_ = conn.CloseNow()
}

// output sends stream messages in their order.
func (p *peer) output(kind session.PayloadType, payloads ...string) {
	for _, s := range payloads {
		p.mu.Lock()
		seq := p.seq
		p.seq++
		p.mu.Unlock()
		p.at(seq, kind, s)
	}
}

// at sends one stream message with any sequence number.
func (p *peer) at(seq int64, kind session.PayloadType, payload string) {
	p.write(session.Message{Type: session.TypeOutput, Schema: 1, Created: time.Now(), Sequence: seq, PayloadType: kind, Payload: []byte(payload)}.Encode())
}

func (p *peer) control(kind string, payload string) {
	p.write(session.Message{Type: kind, Schema: 1, Created: time.Now(), Payload: []byte(payload)}.Encode())
}

func (p *peer) closed(output string) {
	b, _ := json.Marshal(map[string]string{"Output": output})
	p.control(session.TypeClosed, string(b))
}

// receive is the next message of the client of a kind; others are passed over.
func (p *peer) receive(kind session.PayloadType) session.Message {
	p.t.Helper()
	for {
		select {
		case m := <-p.in:
			if m.PayloadType == kind {
				return m
			}
		case <-time.After(20 * time.Second):
			p.t.Fatalf("no message of type %d", kind)
		}
	}
}

type action struct {
	ActionType       string
	ActionParameters any
}

// shake performs the handshake of a session of some type.
func (p *peer) shake(version string, actions ...action) map[string]any {
	p.t.Helper()
	b, _ := json.Marshal(map[string]any{"AgentVersion": version, "RequestedClientActions": actions})
	p.output(session.PayloadHandshakeRequest, string(b))
	var response map[string]any
	if err := json.Unmarshal(p.receive(session.PayloadHandshakeResponse).Payload, &response); err != nil {
		p.t.Fatal(err)
	}
	return response
}

func (p *peer) complete() {
	p.output(session.PayloadHandshakeComplete, `{"HandshakeTimeToComplete":1}`)
}

func sessionOf(kind string, properties any) action {
	return action{"SessionType", map[string]any{"SessionType": kind, "Properties": properties}}
}

var forwarding = map[string]string{"portNumber": "22", "type": "LocalPortForwarding"}

// open opens a channel to the peer.
func (p *peer) open(change ...func(*session.Options)) *session.Channel {
	p.t.Helper()
	o := session.Options{ID: "ops-1", URL: p.url, Token: "token-1", Target: "i-1"}
	for _, f := range change {
		f(&o)
	}
	c, err := session.Open(p.t.Context(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	if got := <-p.tokens; got != o.Token {
		p.t.Errorf("token %q, want %q", got, o.Token)
	}
	return c
}

// agentCiphers are the agent's side of an encrypted session.
type agentCiphers struct{ out, in cipher.AEAD }

func newAgentCiphers(t *testing.T, key []byte) agentCiphers {
	t.Helper()
	gcm := func(k []byte) cipher.AEAD {
		b, err := aes.NewCipher(k)
		if err != nil {
			t.Fatal(err)
		}
		g, err := cipher.NewGCM(b)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	return agentCiphers{out: gcm(key[:32]), in: gcm(key[32:])}
}

func (a agentCiphers) seal(plain string) string {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce, uint64(time.Now().UnixNano()))
	return string(a.out.Seal(nonce, nonce, []byte(plain), nil))
}

func (a agentCiphers) open(t *testing.T, sealed []byte) string {
	t.Helper()
	plain, err := a.in.Open(nil, sealed[:12], sealed[12:], nil)
	if err != nil {
		t.Fatalf("what the client sent does not decrypt: %v", err)
	}
	return string(plain)
}
