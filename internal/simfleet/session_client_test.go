package simfleet_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssm-migrate/internal/simfleet"
)

// caller makes API calls by hand, as any user of an account.
type caller struct {
	*sessionWorld
	key string
}

func (s *sessionWorld) operator() caller {
	return caller{s, simfleet.AccessKey(s.w.Accounts[0].ID)}
}

func (s *sessionWorld) as(user string) caller {
	return caller{s, simfleet.UserAccessKey(s.w.Accounts[0].ID, user)}
}

// call gives the answer, or the error's code and message.
func (c caller) call(t *testing.T, service, target string, in, out any) string {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.key+"/20261121/"+c.rg.Name+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	a, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	var answer json.RawMessage
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if a.StatusCode == http.StatusOK {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		t.Fatal(err)
	}
	return e.Type + ": " + e.Message
}

type started struct {
	SessionID  string `json:"SessionId"`
	StreamURL  string `json:"StreamUrl"`
	TokenValue string
}

func (c caller) start(t *testing.T, target, document string, parameters map[string][]string) (s started, refusal string) {
	t.Helper()
	in := map[string]any{"Target": target}
	if document != "" {
		in["DocumentName"] = document
	}
	if parameters != nil {
		in["Parameters"] = parameters
	}
	refusal = c.call(t, "ssm", "AmazonSSM.StartSession", in, &s)
	return s, refusal
}

// peer is a client of a data channel that is written from the wire format
// alone. It acknowledges what it gets and puts it into order.
type peer struct {
	t    *testing.T
	c    caller
	s    started
	conn *websocket.Conn

	mu     sync.Mutex
	next   int64            // guarded by mu, as all below
	expect int64            // of the server's messages
	early  map[int64][]byte // messages
	out    bytes.Buffer     // what was printed
	stderr bytes.Buffer
	exit   string
	sent   map[int64][]byte // not acknowledged
	closed *string          // the output of channel_closed
	paused bool
	agent  string
	greet  string        // message of the handshake's end
	keys   []byte        // data key
	broken int           // connections that ended
	news   chan struct{} // closed and renewed when something came
}

func (c caller) open(t *testing.T, target, document string, parameters map[string][]string) *peer {
	t.Helper()
	s, refusal := c.start(t, target, document, parameters)
	if refusal != "" {
		t.Fatal(refusal)
	}
	p := &peer{t: t, c: c, s: s, early: map[int64][]byte{}, sent: map[int64][]byte{}, news: make(chan struct{})}
	p.connect(s.TokenValue)
	t.Cleanup(func() { _ = p.conn.CloseNow() })
	return p
}

// connect opens the WebSocket, shows the token, and sends again what was not
// acknowledged.
func (p *peer) connect(token string) {
	p.t.Helper()
	conn, _, err := websocket.Dial(p.t.Context(), p.s.StreamURL, &websocket.DialOptions{HTTPClient: p.c.client}) //nolint:bodyclose // the library's
	if err != nil {
		p.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	first := fmt.Sprintf(`{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":%q,"ClientId":"c","ClientVersion":"1.2.764.0"}`, token)
	if err := conn.Write(p.t.Context(), websocket.MessageText, []byte(first)); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	go p.read(conn)
	go p.resend(conn)
}

func (p *peer) resend(conn *websocket.Conn) {
	for p.t.Context().Err() == nil {
		time.Sleep(150 * time.Millisecond)
		p.mu.Lock()
		if p.conn != conn || p.closed != nil {
			p.mu.Unlock()
			return
		}
		for n := range p.next {
			if b := p.sent[n]; b != nil {
				_ = conn.Write(p.t.Context(), websocket.MessageBinary, b)
			}
		}
		p.mu.Unlock()
	}
}

func (p *peer) read(conn *websocket.Conn) {
	for {
		_, b, err := conn.Read(context.Background())
		if err != nil {
			p.mu.Lock()
			p.broken++
			p.changed()
			p.mu.Unlock()
			return
		}
		p.mu.Lock()
		p.take(conn, b)
		p.changed()
		p.mu.Unlock()
	}
}

func (p *peer) changed() {
	close(p.news)
	p.news = make(chan struct{})
}

// message writes the wire format.
func message(kind string, sequence int64, payload uint32, data []byte) []byte {
	b := make([]byte, 120, 120+len(data))
	binary.BigEndian.PutUint32(b, 116)
	copy(b[4:36], kind+strings.Repeat(" ", 32))
	binary.BigEndian.PutUint32(b[36:], 1)
	binary.BigEndian.PutUint64(b[40:], 1_700_000_000_000)
	binary.BigEndian.PutUint64(b[48:], uint64(sequence))
	_, _ = rand.Read(b[64:80])
	sum := sha256.Sum256(data)
	copy(b[80:], sum[:])
	binary.BigEndian.PutUint32(b[112:], payload)
	binary.BigEndian.PutUint32(b[116:], uint32(len(data)))
	return append(b, data...)
}

func (p *peer) take(conn *websocket.Conn, b []byte) {
	kind, sequence, data := strings.TrimSpace(string(b[4:36])), int64(binary.BigEndian.Uint64(b[48:])), b[120:]
	switch kind {
	case "acknowledge":
		var a struct {
			N int64 `json:"AcknowledgedMessageSequenceNumber"`
		}
		_ = json.Unmarshal(data, &a)
		delete(p.sent, a.N)
	case "channel_closed":
		var c struct{ Output string }
		_ = json.Unmarshal(data, &c)
		p.closed = &c.Output
	case "pause_publication":
		p.paused = true
	case "output_stream_data":
		ack := fmt.Sprintf(`{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"x","AcknowledgedMessageSequenceNumber":%d,"IsSequentialMessage":true}`, sequence)
		_ = conn.Write(context.Background(), websocket.MessageBinary, message("acknowledge", 0, 0, []byte(ack)))
		if sequence < p.expect {
			return
		}
		p.early[sequence] = b
		for next := p.early[p.expect]; next != nil; next = p.early[p.expect] {
			delete(p.early, p.expect)
			p.expect++
			p.payload(conn, binary.BigEndian.Uint32(next[112:]), next[120:])
		}
	default:
		p.t.Errorf("a message of type %q", kind)
	}
}

func (p *peer) payload(conn *websocket.Conn, kind uint32, data []byte) {
	if p.keys != nil && (kind == 1 || kind == 11 || kind == 12) {
		data = p.unseal(data)
	}
	switch kind {
	case 1:
		p.out.Write(data)
	case 11:
		p.stderr.Write(data)
	case 12:
		p.exit = string(data)
	case 5:
		p.shake(conn, data)
	case 7:
		var done struct{ CustomerMessage string }
		_ = json.Unmarshal(data, &done)
		p.greet = done.CustomerMessage
	case 8:
		var c struct{ Challenge []byte }
		_ = json.Unmarshal(data, &c)
		c.Challenge = p.seal(p.unseal(c.Challenge))
		answer, _ := json.Marshal(c)
		p.sendLocked(conn, 9, answer)
	case 10:
		p.out.Write(append([]byte("flag"), data[3]+'0'))
	}
}

// shake answers the handshake's request.
func (p *peer) shake(conn *websocket.Conn, data []byte) {
	var r struct {
		AgentVersion           string
		RequestedClientActions []struct {
			ActionType       string
			ActionParameters struct {
				Key string `json:"KMSKeyId"`
			}
		}
	}
	_ = json.Unmarshal(data, &r)
	p.agent = r.AgentVersion
	var done []map[string]any
	for _, a := range r.RequestedClientActions {
		result := map[string]any{"ActionType": a.ActionType, "ActionStatus": 1}
		if a.ActionType == "KMSEncryption" {
			var key struct{ Plaintext, CiphertextBlob []byte }
			refusal := p.c.call(p.t, "kms", "TrentService.GenerateDataKey", map[string]any{"KeyId": a.ActionParameters.Key, "NumberOfBytes": 64,
				"EncryptionContext": map[string]string{"aws:ssm:SessionId": p.s.SessionID, "aws:ssm:TargetId": p.target()}}, &key)
			if refusal != "" {
				result["ActionStatus"], result["Error"] = 2, refusal
			} else {
				p.keys = key.Plaintext
				result["ActionResult"] = map[string][]byte{"KMSCipherTextKey": key.CiphertextBlob}
			}
		}
		done = append(done, result)
	}
	answer, _ := json.Marshal(map[string]any{"ClientVersion": "1.2.764.0", "ProcessedClientActions": done})
	p.sendLocked(conn, 6, answer)
}

func (p *peer) target() string {
	for _, m := range p.c.rg.ManagedSessions {
		if m.ID == p.s.SessionID {
			return m.Target
		}
	}
	return ""
}

func gcm(key []byte) cipher.AEAD {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic(err)
	}
	return a
}

func (p *peer) unseal(b []byte) []byte {
	plain, err := gcm(p.keys[:32]).Open(nil, b[:12], b[12:], nil)
	if err != nil {
		p.t.Error(err)
	}
	return plain
}

func (p *peer) seal(b []byte) []byte {
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return gcm(p.keys[32:]).Seal(nonce, nonce, b, nil)
}

func (p *peer) sendLocked(conn *websocket.Conn, payload uint32, data []byte) {
	b := message("input_stream_data", p.next, payload, data)
	p.sent[p.next] = b
	p.next++
	_ = conn.Write(context.Background(), websocket.MessageBinary, b)
}

// send puts a message on its way; output is encrypted where the session is.
func (p *peer) send(payload uint32, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if payload == 1 && p.keys != nil {
		data = p.seal(data)
	}
	p.sendLocked(p.conn, payload, data)
}

func (p *peer) typed(text string) { p.send(1, []byte(text)) }

// wait waits until a condition, asked under the lock, holds.
func (p *peer) wait(what string, holds func() bool) {
	p.t.Helper()
	late := time.After(cmp.Or(p.c.patience, 20*time.Second))
	for {
		p.mu.Lock()
		ok, news := holds(), p.news
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-news:
		case <-late:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%s does not come; printed: %q, closed: %v", what, p.out.String(), p.closed)
		}
	}
}

// prints waits for a text in the output.
func (p *peer) prints(text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%q", text), func() bool { return strings.Contains(p.out.String(), text) })
}

// ends waits for the session's end and gives what the service says to it.
func (p *peer) ends() string {
	p.t.Helper()
	p.wait("the end", func() bool { return p.closed != nil })
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.closed
}

func (p *peer) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// pipeListener is a network inside of the test.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
