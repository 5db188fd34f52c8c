package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ssm-migrate/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a writer that a test reads from another goroutine.
type output struct {
	mu  sync.Mutex
	b   bytes.Buffer
	new chan struct{}
}

func newOutput() *output { return &output{new: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(b)
	select {
	case o.new <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// shell runs Shell in the background; the function that it gives waits for its end.
func shell(t *testing.T, c *session.Channel, in io.Reader, out io.Writer, sizes <-chan session.Size) func() error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Shell(t.Context(), in, out, sizes) }()
	return func() error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("the shell does not end")
			return nil
		}
	}
}

// pipe is an input that ends with the test.
func input(t *testing.T) (*io.PipeReader, *io.PipeWriter) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return r, w
}

func TestShellWithoutHandshake(t *testing.T) {
	p := newPeer(t)
	c := p.open()
	p.output(session.PayloadOutput, "$ ")
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	in, typing := input(t)
	out := newOutput()
	sizes := make(chan session.Size, 1)
	wait := shell(t, c, in, out, sizes)
	sizes <- session.Size{Cols: 120, Rows: 40}
	if got := string(p.receive(session.PayloadSize).Payload); got != `{"cols":120,"rows":40}` {
		t.Errorf("size %s", got)
	}
	fmt.Fprint(typing, "ls\r")
	m := p.receive(session.PayloadOutput)
	if string(m.Payload) != "ls\r" || m.Sequence != 1 || m.Type != session.TypeInput {
		t.Errorf("%+v", m)
	}
	p.output(session.PayloadOutput, "ls\r\n", "file\r\n")
	p.closed("")
	if err := wait(); err != nil {
		t.Errorf("the end of a shell is %v", err)
	}
	if got := out.String(); got != "$ ls\r\nfile\r\n" {
		t.Errorf("output %q", got)
	}
	if c.Kind() != session.KindShell || c.Agent() != "" || c.Encrypted() {
		t.Errorf("kind %s, agent %s, encrypted %v", c.Kind(), c.Agent(), c.Encrypted())
	}
}

func TestEndOfInputIsTheEndOfFileCharacter(t *testing.T) {
	p := newPeer(t)
	wait := shell(t, p.open(), strings.NewReader("exit\r"), io.Discard, nil)
	p.output(session.PayloadOutput, "$ ")
	if got := string(p.receive(session.PayloadOutput).Payload) + string(p.receive(session.PayloadOutput).Payload); got != "exit\r\x04" {
		t.Errorf("input %q", got)
	}
	p.closed("the idle timeout\x1b[2J has passed")
	var end *session.EndError
	if err := wait(); !errors.As(err, &end) || end.Output != `the idle timeout\x1b[2J has passed` {
		t.Errorf("end: %v", err)
	}
}

// What is sent before the keys are there would go in the clear, and before the
// answer that the agent waits for.
func TestNothingIsSentBeforeTheHandshakeIsComplete(t *testing.T) {
	p := newPeer(t)
	sizes := make(chan session.Size, 1)
	sizes <- session.Size{Cols: 80, Rows: 24}
	wait := shell(t, p.open(), strings.NewReader("secret"), io.Discard, sizes)
	b, _ := json.Marshal(map[string]any{"AgentVersion": "3.3.0.0", "RequestedClientActions": []action{sessionOf(session.KindShell, nil)}})
	p.output(session.PayloadHandshakeRequest, string(b))
	if m := <-p.in; m.PayloadType != session.PayloadHandshakeResponse || m.Sequence != 0 {
		t.Errorf("first came %+v", m)
	}
	p.complete()
	if got := string(p.receive(session.PayloadOutput).Payload); got != "secret" {
		t.Errorf("input %q", got)
	}
	p.closed("")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

func TestOutputComesInOrderAndOnce(t *testing.T) {
	p := newPeer(t)
	out := newOutput()
	in, _ := input(t)
	wait := shell(t, p.open(), in, out, nil)
	for _, n := range []int64{2, 1, 2, 4, 0, 0, 3, 1, 5} {
		p.at(n, session.PayloadOutput, fmt.Sprint(n))
	}
	var acked []int64
	for range 9 {
		acked = append(acked, <-p.acks)
	}
	p.closed("")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "012345" {
		t.Errorf("output %s", out.String())
	}
	// Each is acknowledged each time it comes, or the agent would send it for ever.
	if diff := cmp.Diff([]int64{2, 1, 2, 4, 0, 0, 3, 1, 5}, acked); diff != "" {
		t.Errorf("acknowledged (-want +got):\n%s", diff)
	}
}

func TestLostInputIsSentAgain(t *testing.T) {
	p := newPeer(t)
	p.deaf = 3
	in, typing := input(t)
	wait := shell(t, p.open(), in, io.Discard, nil)
	p.output(session.PayloadOutput, "$ ")
	fmt.Fprint(typing, "a")
	if m := p.receive(session.PayloadOutput); m.Sequence != 0 || string(m.Payload) != "a" {
		t.Errorf("%+v", m)
	}
	p.closed("")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

func TestPausedChannelSendsLater(t *testing.T) {
	p := newPeer(t)
	in, typing := input(t)
	out := newOutput()
	wait := shell(t, p.open(), in, out, nil)
	p.output(session.PayloadOutput, "x")
	<-p.acks
	p.control(session.TypePause, "")
	// The pause has been read once what comes behind it has been.
	p.at(100, session.PayloadError, "")
	<-p.acks
	p.control(session.TypePause, "")
	fmt.Fprint(typing, "a")
	fmt.Fprint(typing, "b")
	p.control(session.TypeStart, "")
	got := map[string]bool{}
	for len(got) < 2 {
		got[string(p.receive(session.PayloadOutput).Payload)] = true
	}
	if !got["a"] || !got["b"] {
		t.Errorf("got %v", got)
	}
	p.closed("")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

func TestLostConnectionIsResumed(t *testing.T) {
	p := newPeer(t)
	c := p.open(func(o *session.Options) {
		o.Resume = func(context.Context) (string, error) { return "token-2", nil }
	})
	in, typing := input(t)
	out := newOutput()
	wait := shell(t, c, in, out, nil)
	p.output(session.PayloadOutput, "before ")
	<-p.acks
	p.mu.Lock()
	p.mute = true
	p.mu.Unlock()
	fmt.Fprint(typing, "typed")
	p.receive(session.PayloadOutput)
	p.hangUp()
	if got := <-p.tokens; got != "token-2" {
		t.Errorf("token %s", got)
	}
	if m := p.receive(session.PayloadOutput); string(m.Payload) != "typed" || m.Sequence != 0 {
		t.Errorf("what was not acknowledged: %+v", m)
	}
	p.output(session.PayloadOutput, "after")
	<-p.acks
	p.closed("")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "before after" {
		t.Errorf("output %q", out.String())
	}
}

func TestSessionThatCannotBeResumedEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		resume func(context.Context) (string, error)
		want   error
	}{
		"it has ended":     {func(context.Context) (string, error) { return "", nil }, session.ErrExpired},
		"nobody may":       {nil, io.EOF},
		"it fails for now": {func(context.Context) (string, error) { return "", io.ErrNoProgress }, io.ErrNoProgress},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			c := p.open(func(o *session.Options) { o.Resume = tt.resume })
			in, _ := input(t)
			wait := shell(t, c, in, io.Discard, nil)
			p.hangUp()
			if err := wait(); !errors.Is(err, tt.want) {
				t.Errorf("end: %v", err)
			}
		})
	}
}

func TestOpenTellsRefusalsApart(t *testing.T) {
	for name, tt := range map[string]struct {
		status  int
		refused bool
	}{"no permission": {403, true}, "a bad token": {400, true}, "too many": {429, false}, "out of order": {503, false}} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.accept = func(w http.ResponseWriter, _ *http.Request) bool {
				http.Error(w, "not authorized to perform: ssmmessages:OpenDataChannel\x1b[2J", tt.status)
				return false
			}
			_, err := session.Open(t.Context(), session.Options{ID: "ops-1", URL: p.url})
			if err == nil || errors.Is(err, session.ErrRefused) != tt.refused || strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOpenSignsTheRequest(t *testing.T) {
	p := newPeer(t)
	seen := make(chan string, 2)
	p.accept = func(_ http.ResponseWriter, r *http.Request) bool {
		seen <- r.Header.Get("Authorization")
		return true
	}
	sign := func(o *session.Options) {
		o.Sign = func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "signed "+r.URL.Path)
			return nil
		}
	}
	p.open(sign)
	if got := <-seen; got != "signed /v1/data-channel/s-1" {
		t.Errorf("header %q", got)
	}
	p.open(sign, func(o *session.Options) { o.URL += "&X-Amz-Signature=0" })
	if got := <-seen; got != "" {
		t.Errorf("a URL that is signed already was signed again: %q", got)
	}
}

func TestOpenRefusesUnprotectedURLs(t *testing.T) {
	for _, u := range []string{"ws://example.org/x", "http://127.0.0.1/", "file:///etc/passwd", "://"} {
		if _, err := session.Open(t.Context(), session.Options{URL: u}); !errors.Is(err, session.ErrProtocol) {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestHostilePeersEndTheChannel(t *testing.T) {
	shaken := func(p *peer) { p.shake("3.3.0.0", sessionOf(session.KindShell, nil)) }
	for name, attack := range map[string]func(p *peer){
		"no message":              func(p *peer) { p.write([]byte("GET / HTTP/1.1")) },
		"a wrong digest":          func(p *peer) { b := sample.Encode(); b[80]++; p.write(b) },
		"an endless message":      func(p *peer) { p.write(make([]byte, session.MaxMessage+1)) },
		"an acknowledgement of ?": func(p *peer) { p.control(session.TypeAcknowledge, "?") },
		"two handshakes":          func(p *peer) { shaken(p); p.output(session.PayloadHandshakeRequest, "{}") },
		"a handshake of ?":        func(p *peer) { p.output(session.PayloadHandshakeRequest, "[]") },
		"a challenge for nothing": func(p *peer) { p.output(session.PayloadChallengeRequest, `{"Challenge":"AAAA"}`) },
		"an unknown session type": func(p *peer) { p.shake("3.3.0.0", sessionOf("Teleport", nil)) },
		"a thousand actions": func(p *peer) {
			b, _ := json.Marshal(map[string]any{"RequestedClientActions": make([]action, 1000)})
			p.output(session.PayloadHandshakeRequest, string(b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			resumed := func(o *session.Options) {
				o.Resume = func(context.Context) (string, error) { return "", errors.New("a hostile peer must not be resumed") }
			}
			c := p.open(resumed)
			in, _ := input(t)
			wait := shell(t, c, in, io.Discard, nil)
			attack(p)
			if err := wait(); !errors.Is(err, session.ErrProtocol) {
				t.Errorf("end: %v", err)
			}
		})
	}
}

func TestUnreadOutputIsBounded(t *testing.T) {
	p := newPeer(t)
	c := p.open()
	// Nobody reads: what does not fit is not acknowledged.
	big := strings.Repeat("x", 100<<10)
	const sent = 200 // 20 MB
	for range sent {
		p.output(session.PayloadOutput, big)
	}
	p.control(session.TypeStart, "")
	c.Close()
	acked := len(p.acks)
	if acked == 0 || acked > 170 {
		t.Errorf("%d of %d messages of 100 KiB were kept, want about 160 (16 MiB)", acked, sent)
	}
}

func TestEncryptedSession(t *testing.T) {
	key := []byte(strings.Repeat("agent's half of the key, 32 byte", 1) + "client's half of the key, 32 byt")
	p := newPeer(t)
	asked := make(chan string, 1)
	c := p.open(func(o *session.Options) {
		o.DataKey = func(_ context.Context, id string, bound map[string]string) (session.DataKey, error) {
			asked <- id + " " + bound["aws:ssm:SessionId"] + " " + bound["aws:ssm:TargetId"]
			return session.DataKey{Plain: key, Sealed: []byte("sealed")}, nil
		}
	})
	response := p.shake("3.3.0.0", action{"KMSEncryption", map[string]string{"KMSKeyId": "arn:key"}}, sessionOf(session.KindShell, nil), action{"Dance", nil})
	if got := <-asked; got != "arn:key ops-1 i-1" {
		t.Errorf("data key for %s", got)
	}
	text, _ := json.Marshal(response)
	for _, want := range []string{
		`"ActionResult":{"KMSCipherTextHash":null,"KMSCipherTextKey":"c2VhbGVk"},"ActionStatus":1,"ActionType":"KMSEncryption"`,
		`"ActionStatus":1,"ActionType":"SessionType"`, `"ActionStatus":3,"ActionType":"Dance"`, `"ClientVersion":"` + session.ClientVersion + `"`,
		`"Errors":["unsupported action Dance"]`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the response lacks %s: %s", want, text)
		}
	}
	agent := newAgentCiphers(t, key)
	challenge, _ := json.Marshal(map[string][]byte{"Challenge": []byte(agent.seal("prove it"))})
	p.output(session.PayloadChallengeRequest, string(challenge))
	var answer struct{ Challenge []byte }
	if err := json.Unmarshal(p.receive(session.PayloadChallengeResponse).Payload, &answer); err != nil {
		t.Fatal(err)
	}
	if got := agent.open(t, answer.Challenge); got != "prove it" {
		t.Errorf("challenge answered by %q", got)
	}
	p.output(session.PayloadHandshakeComplete, `{"HandshakeTimeToComplete":1,"CustomerMessage":"encrypted\u001b[2J with arn:key"}`)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.Encrypted() || c.Agent() != "3.3.0.0" || c.Notice() != `encrypted\x1b[2J with arn:key` {
		t.Errorf("encrypted %v, agent %s, notice %q", c.Encrypted(), c.Agent(), c.Notice())
	}
	in, typing := input(t)
	out := newOutput()
	wait := shell(t, c, in, out, nil)
	fmt.Fprint(typing, "id")
	if got := agent.open(t, p.receive(session.PayloadOutput).Payload); got != "id" {
		t.Errorf("input %q", got)
	}
	p.output(session.PayloadOutput, agent.seal("root\n"))
	p.output(session.PayloadOutput, "in the clear")
	if err := wait(); !errors.Is(err, session.ErrEncryption) {
		t.Errorf("output in the clear: %v", err)
	}
	if out.String() != "root\n" {
		t.Errorf("output %q", out.String())
	}
}

func TestEncryptionThatFails(t *testing.T) {
	denied := errors.New("AccessDeniedException: kms:GenerateDataKey")
	for name, key := range map[string]func(context.Context, string, map[string]string) (session.DataKey, error){
		"no way to get a key": nil,
		"denied": func(context.Context, string, map[string]string) (session.DataKey, error) {
			return session.DataKey{}, denied
		},
		"a key of 32 bytes": func(context.Context, string, map[string]string) (session.DataKey, error) {
			return session.DataKey{Plain: make([]byte, 32)}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c := p.open(func(o *session.Options) { o.DataKey = key })
			response := p.shake("3.3.0.0", action{"KMSEncryption", map[string]string{"KMSKeyId": "k"}})
			text, _ := json.Marshal(response)
			if !strings.Contains(string(text), `"ActionStatus":2`) {
				t.Errorf("the agent is told %s", text)
			}
			err := c.Ready(t.Context())
			if !errors.Is(err, session.ErrEncryption) || name == "denied" && !errors.Is(err, denied) {
				t.Errorf("end: %v", err)
			}
		})
	}
}

func TestCloseEndsWhoeverWaits(t *testing.T) {
	p := newPeer(t)
	c := p.open()
	in, _ := input(t)
	wait := shell(t, c, in, io.Discard, nil)
	c.Close()
	if err := wait(); !errors.Is(err, session.ErrClosed) {
		t.Errorf("end: %v", err)
	}
	if err := c.Ready(t.Context()); !errors.Is(err, session.ErrClosed) {
		t.Errorf("ready: %v", err)
	}
	c.Close()
}
