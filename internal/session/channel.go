package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Options say which session a channel is for. ID, URL and Token are what
// ssm:StartSession answered.
type Options struct {
	ID     string
	URL    string // StreamUrl: wss, or ws on loopback
	Token  string // a secret: it is sent in the first frame and nowhere else
	Target string // the managed node's ID

	// HTTP dials the WebSocket; default http.DefaultClient. It must not have a timeout.
	HTTP *http.Client
	// Sign signs the request that opens the WebSocket, which the service
	// authorizes as ssmmessages:OpenDataChannel. Nil, or a URL that is signed
	// already: the request goes as it is.
	Sign func(ctx context.Context, r *http.Request) error
	// Resume gets a new token after a lost connection (ssm:ResumeSession); an
	// empty one says that the session has ended. Nil: a lost connection ends
	// the channel.
	Resume func(ctx context.Context) (token string, err error)
	// DataKey makes the key of an encrypted session (kms:GenerateDataKey with
	// DataKeySize bytes). Nil: encrypted sessions fail with ErrEncryption.
	DataKey func(ctx context.Context, key string, encryptionContext map[string]string) (DataKey, error)
}

// Channel is an open data channel. What comes in is read by one consumer at a
// time (Shell, Stdio, Run or a Port); Close may be called at any time.
type Channel struct {
	o      Options
	client UUID

	life    context.Context // ends when the channel is over
	end     context.CancelCauseFunc
	workers sync.WaitGroup
	kick    chan struct{} // wakes the resender
	arrived chan struct{} // wakes the consumer
	ready   chan struct{} // closed when the far side is known to serve the session
	window  chan struct{} // a slot for each message that is not acknowledged
	sending sync.Mutex    // keeps messages on the wire in their order

	mu       sync.Mutex
	conn     *websocket.Conn // guarded by mu; nil between connections
	stopRead context.CancelFunc
	paused   bool
	sequence int64   // of the next message that we send
	unacked  []*sent // in their order
	timing   timing
	ciphers  *ciphers
	agent    string // agent version, from the handshake
	kind     sessionType
	message  string // the session is to tell this to its user
	queue    []item // for the consumer, in their order
	held     int    // bytes in queue and ahead

	// Of the reader alone:
	expected   int64             // sequence number of the next message in
	ahead      map[int64]Message // acknowledged, before their turn
	aheadBytes int
	shaken     bool // a handshake was asked for
}

// item is what the far side sent, in order and decrypted.
type item struct {
	kind    PayloadType
	payload []byte
}

// Times of a channel. The pauses between tries are those of
// src/config/config.go of session-manager-plugin.
const (
	openTimeout    = 30 * time.Second
	writeTimeout   = 30 * time.Second
	closeTimeout   = time.Second // for the far side's part of a close
	pingInterval   = 5 * time.Minute
	connectTries   = 5
	connectBackoff = 100 * time.Millisecond // and up to as much again
	connectMost    = 5 * time.Second
)

// Bounds of what waits for the consumer. What goes beyond is not acknowledged,
// so that the agent sends it again.
const (
	maxHeld      = 10_000 // messages
	maxHeldBytes = 16 << 20
)

// maxUnacked is how many messages are under way at once.
const maxUnacked = 256

// Open connects to a session's data channel. It returns when the service has
// taken the connection; ctx bounds that alone. The channel must be closed.
func Open(ctx context.Context, o Options) (*Channel, error) {
	c := &Channel{
		o:       o,
		client:  newUUID(),
		kick:    make(chan struct{}, 1),
		arrived: make(chan struct{}, 1),
		ready:   make(chan struct{}),
		window:  make(chan struct{}, maxUnacked),
		timing:  newTiming(),
		ahead:   map[int64]Message{},
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	reading, err := c.connect(ctx, o.Token)
	if err != nil {
		c.end(err)
		return nil, fmt.Errorf("open the data channel of session %s: %w", line(o.ID), err)
	}
	c.workers.Go(func() { c.read(reading) })
	c.workers.Go(c.resend)
	c.workers.Go(c.ping)
	return c, nil
}

// Close closes the channel and waits until nothing of it runs any more. It does
// not end the session: ssm:TerminateSession does.
func (c *Channel) Close() {
	c.end(ErrClosed)
	c.hangUp(websocket.StatusNormalClosure)
	c.workers.Wait()
}

// Err says why the channel is over; nil as long as it is not.
func (c *Channel) Err() error { return context.Cause(c.life) }

// Done is closed when the channel is over.
func (c *Channel) Done() <-chan struct{} { return c.life.Done() }

// Agent is the agent's version; empty when there was no handshake.
func (c *Channel) Agent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agent
}

// Kind is what the session is, one of the Kind constants; a session without a
// handshake is a shell.
func (c *Channel) Kind() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind.Type == "" {
		return KindShell
	}
	return c.kind.Type
}

// Encrypted reports whether the session is encrypted with a KMS key.
func (c *Channel) Encrypted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ciphers != nil
}

// Notice is what the far side has to tell the user at the beginning, in one
// line; mostly nothing.
func (c *Channel) Notice() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.message
}

// Ready waits until the far side serves the session: until the handshake is
// complete or the first output has come.
func (c *Channel) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
	}
	select {
	case <-c.ready: // a short session may be over already; its output is still there
		return nil
	default:
		return c.Err()
	}
}

// connect opens a WebSocket, sends the token and makes it the channel's
// connection. The context that it gives ends with the connection.
func (c *Channel) connect(ctx context.Context, token string) (context.Context, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	header, err := c.header(ctx)
	if err != nil {
		return nil, err
	}
	conn, answer, err := websocket.Dial(ctx, c.o.URL, &websocket.DialOptions{HTTPClient: c.o.HTTP, HTTPHeader: header}) //nolint:bodyclose // never needed, says Dial
	if err != nil {
		return nil, dialError(answer, err)
	}
	conn.SetReadLimit(MaxMessage)
	hello, err := json.Marshal(openRequest{
		MessageSchemaVersion: "1.0",
		RequestID:            newUUID().String(),
		TokenValue:           token,
		ClientID:             c.client.String(),
		ClientVersion:        ClientVersion,
	})
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, hello)
	}
	if err != nil {
		_ = conn.CloseNow()
		return nil, fmt.Errorf("send the token: %w", short(err))
	}
	reading, stop := context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		stop()
		_ = conn.CloseNow()
		return nil, c.Err()
	}
	c.conn, c.stopRead, c.paused = conn, stop, false
	return reading, nil
}

// header is that of the request that opens the WebSocket.
func (c *Channel) header(ctx context.Context) (http.Header, error) {
	u, err := url.Parse(c.o.URL)
	if err != nil {
		return nil, fmt.Errorf("the stream URL cannot be read: %w", ErrProtocol)
	}
	if u.Scheme != "wss" && (u.Scheme != "ws" || !isLoopback(u.Hostname())) {
		return nil, protocolError("the stream URL %s is neither TLS nor on loopback", line(u.Redacted()))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("the stream URL cannot be used: %w", ErrProtocol)
	}
	if c.o.Sign == nil || u.Query().Has("X-Amz-Signature") {
		return r.Header, nil
	}
	if err := c.o.Sign(ctx, r); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return r.Header, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// dialError tells a refusal of the service from a network that fails.
func dialError(answer *http.Response, err error) error {
	if answer == nil || answer.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("connect: %w", short(err))
	}
	text := http.StatusText(answer.StatusCode)
	if answer.Body != nil {
		if b, _ := io.ReadAll(io.LimitReader(answer.Body, 512)); len(b) > 0 {
			text = string(b)
		}
	}
	switch {
	case answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: the service answered %d %s", ErrTooMany, answer.StatusCode, line(text))
	case answer.StatusCode >= 400 && answer.StatusCode < 500:
		return fmt.Errorf("%w: %d %s", ErrRefused, answer.StatusCode, line(text))
	}
	return fmt.Errorf("the service answered %d %s", answer.StatusCode, line(text))
}

// short leaves away the URL, which the library's errors repeat.
func short(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// hangUp closes the connection, if there is one, in an orderly way as far as
// the other end takes part in that.
func (c *Channel) hangUp(status websocket.StatusCode) {
	c.mu.Lock()
	conn, stop := c.conn, c.stopRead
	c.conn = nil
	c.mu.Unlock()
	if conn == nil {
		return
	}
	late := time.AfterFunc(closeTimeout, stop)
	_ = conn.Close(status, "")
	late.Stop()
	stop()
}

// read takes messages in, over one connection after the other.
func (c *Channel) read(reading context.Context) {
	for c.life.Err() == nil {
		err := c.readAll(reading)
		if c.life.Err() != nil {
			return
		}
		if errors.Is(err, ErrProtocol) || errors.Is(err, ErrEncryption) {
			c.fail(err)
			return
		}
		if reading, err = c.reconnect(err); err != nil {
			c.fail(err)
			return
		}
	}
}

// fail ends the channel and its connection from inside.
func (c *Channel) fail(err error) {
	c.end(err)
	c.mu.Lock()
	conn, stop := c.conn, c.stopRead
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		stop()
		_ = conn.CloseNow()
	}
	notify(c.arrived)
}

func (c *Channel) readAll(reading context.Context) error {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return ErrClosed
	}
	for {
		_, b, err := conn.Read(reading)
		if err != nil {
			if errors.Is(err, websocket.ErrMessageTooBig) {
				return protocolError("a message of more than %d bytes", MaxMessage)
			}
			return err
		}
		m, err := Decode(b)
		if err != nil {
			return err
		}
		if err := c.take(m); err != nil {
			return err
		}
		if c.life.Err() != nil {
			return c.Err()
		}
	}
}

// reconnect resumes the session after its connection was lost.
func (c *Channel) reconnect(lost error) (context.Context, error) {
	c.mu.Lock()
	if c.conn != nil {
		c.stopRead()
		_ = c.conn.CloseNow()
		c.conn = nil
	}
	c.mu.Unlock()
	if c.o.Resume == nil {
		return nil, fmt.Errorf("the connection was lost: %w", short(lost))
	}
	pause := connectBackoff + rand.N(connectBackoff)
	var err error
	for range connectTries {
		if !sleep(c.life, pause) {
			return nil, c.Err()
		}
		pause = min(2*pause, connectMost)
		var token string
		if token, err = c.o.Resume(c.life); err != nil {
			continue
		}
		if token == "" {
			return nil, ErrExpired
		}
		var reading context.Context
		if reading, err = c.connect(c.life, token); err == nil {
			c.sendAgain()
			return reading, nil
		}
		if errors.Is(err, ErrRefused) {
			break
		}
	}
	return nil, fmt.Errorf("the connection was lost and the session could not be resumed: %w", err)
}

// sleep reports whether the pause was not cut short.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ping keeps the connection alive through what stands between.
func (c *Channel) ping() {
	for sleep(c.life, pingInterval) {
		c.mu.Lock()
		conn := c.conn
		c.mu.Unlock()
		if conn == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(c.life, writeTimeout)
		if conn.Ping(ctx) != nil && c.life.Err() == nil {
			_ = conn.CloseNow() // the reader connects anew
		}
		cancel()
	}
}

// write puts a message on the wire. Errors show in the reader; what was lost
// is sent again.
func (c *Channel) write(b []byte) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_ = conn.Write(ctx, websocket.MessageBinary, b)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
