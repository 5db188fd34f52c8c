package simfleet

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"ssm-migrate/internal/fleet"
)

// liveSession is one open session: Session Manager's side of it, and the
// agent's.
type liveSession struct {
	server *AWS
	hosts  *Hosts
	inst   *Instance
	record *fleet.ManagedSession // guarded by World.Mu once it is listed
	spec   *sessionSpec
	owner  principal
	named  string // session name of an assumed role
	known  bool   // the owner is known to IAM
	region string

	channel *agentChannel
	ctx     context.Context // ends with the session
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when the session is over
	waits   *time.Timer   // for the first client
	client  string        // version of the plugin, by the handshake
	cipher  *sessionCipher

	logMu sync.Mutex
	log   bytes.Buffer // guarded by logMu: what the session printed

	mu      sync.Mutex
	token   string // guarded by mu
	started bool   // guarded by mu: the agent has begun
}

// How long Session Manager waits for the client's first connection, and how
// often a session looks at its limits.
const (
	clientPatience = 60 * time.Second
	limitsInterval = time.Second
)

// sessionEnd is why a session was ended from outside; its text is for the
// client.
type sessionEnd string

func (e sessionEnd) Error() string { return string(e) }

func newSession(c *call, inst *Instance, spec *sessionSpec) *liveSession {
	ls := &liveSession{server: c.server, hosts: c.server.o.Hosts, inst: inst, spec: spec, region: c.region.Name,
		channel: newAgentChannel(c.server.o.Frames), done: make(chan struct{})}
	ls.owner, ls.named, ls.known = c.principal()
	ls.ctx, ls.cancel = context.WithCancelCause(ls.hosts.ctx)
	ls.record = &fleet.ManagedSession{ID: c.sessionID(), Target: inst.Host.ID, Owner: c.callerARN(), Status: "Connected", Document: spec.document.Name, Start: c.w.Now().UTC()}
	return ls
}

// renew gives a token that supersedes the last one.
func (ls *liveSession) renew() string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.token = newToken()
	return ls.token
}

func (ls *liveSession) admits(token string) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return subtle.ConstantTimeCompare([]byte(token), []byte(ls.token)) == 1
}

// end ends the session from outside. The text is for the client.
func (ls *liveSession) end(output string) {
	ls.cancel(sessionEnd(output))
	ls.begin() // a session that no client has opened ends through it as well
}

// awaitClient ends a session that no client opens.
func (ls *liveSession) awaitClient() {
	ls.waits = time.AfterFunc(clientPatience, func() { ls.end("") })
	context.AfterFunc(ls.ctx, func() { ls.waits.Stop() })
}

// begin starts the agent's side, once.
func (ls *liveSession) begin() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.started {
		return
	}
	ls.started = true
	if !ls.hosts.spawn(ls.run) {
		close(ls.done)
	}
}

// spawn runs f in a goroutine that Close waits for; false: Close came first.
func (h *Hosts) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}

// run is the session from the agent's start to its end.
func (ls *liveSession) run() {
	defer close(ls.done)
	// A reboot ends the session's worker at once.
	if ended, err := ls.hosts.started(ls.inst, ls.gone); err == nil {
		defer ended()
	} else {
		ls.gone()
	}
	ls.hosts.wg.Go(ls.limits)
	output := ls.serve(ls.ctx)
	var ended sessionEnd
	if errors.As(context.Cause(ls.ctx), &ended) {
		output = string(ended)
	}
	ls.channel.flush(ls.hosts.ctx)
	ls.cancel(nil)
	ls.finish()
	ls.channel.close(closedFrame(ls.record.ID, ls.record.Target, output))
}

// finish stores the log and enters the end of the session.
func (ls *liveSession) finish() {
	w := ls.server.w
	w.Mu.Lock()
	ls.storeLog()
	ls.record.Status, ls.record.End = "Terminated", w.Now().UTC()
	w.Mu.Unlock()
	ls.server.mu.Lock()
	delete(ls.server.sessions, ls.record.ID)
	ls.server.mu.Unlock()
}

// gone ends the session because the machine is no longer there: the service
// pauses the client, and then closes the channel.
func (ls *liveSession) gone() {
	ls.channel.control(newFrame(messagePause, nil))
	ls.cancel(sessionEnd(""))
}

// limits ends the session when its client was idle for too long, when its time
// is up, or when the instance no longer runs. Idle is who sends nothing, which
// is our reading of "inactive".
func (ls *liveSession) limits() {
	start := time.Now()
	idle, most := time.Duration(ls.spec.inputs.IdleTimeout)*time.Minute, time.Duration(ls.spec.inputs.MaxDuration)*time.Minute
	tick := time.NewTicker(limitsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ls.ctx.Done():
			return
		case <-tick.C:
		}
		w := ls.server.w
		w.Mu.RLock()
		runs := ls.inst.Host.Running()
		w.Mu.RUnlock()
		switch {
		case !runs:
			ls.gone()
		case ls.channel.idle() > idle, most > 0 && time.Since(start) > most:
			ls.cancel(sessionEnd(""))
		}
	}
}

// serveDataChannel is the client's end of a session: a WebSocket whose first
// message, a text, carries the token.
func (s *AWS) serveDataChannel(rw http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	ls := s.sessions[id]
	s.mu.Unlock()
	if ls == nil {
		http.Error(rw, "there is no open session "+id, http.StatusNotFound)
		return
	}
	s.w.Mu.RLock()
	allowed := !ls.known || ls.inst.Region.Account.opensDataChannel(ls.owner, ls.named, ls.region)
	s.w.Mu.RUnlock()
	if !allowed {
		http.Error(rw, `{"message":"User: `+ls.record.Owner+` is not authorized to perform: ssmmessages:OpenDataChannel"}`, http.StatusForbidden)
		return
	}
	conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the token admits, not the origin
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxFrame)
	if !ls.opens(conn) {
		_ = conn.Close(websocket.StatusPolicyViolation, "the token is not valid")
		return
	}
	l := ls.channel.attach(conn)
	if l == nil {
		return
	}
	defer ls.channel.detach(l)
	if !ls.hosts.spawn(func() { ls.channel.writer(l) }) {
		return
	}
	ls.waits.Stop()
	ls.begin()
	ls.read(conn)
}

// opens reads the first message.
func (ls *liveSession) opens(conn *websocket.Conn) bool {
	ctx, cancel := context.WithTimeout(ls.ctx, clientPatience)
	defer cancel()
	kind, text, err := conn.Read(ctx)
	var first struct {
		Schema string `json:"MessageSchemaVersion"`
		Token  string `json:"TokenValue"`
		Client string `json:"ClientVersion"`
	}
	return err == nil && kind == websocket.MessageText && json.Unmarshal(text, &first) == nil && ls.admits(first.Token)
}

// read takes the client's messages until the connection or the session ends.
// Those that are malformed are passed over, as by the agent.
func (ls *liveSession) read(conn *websocket.Conn) {
	closing := context.AfterFunc(ls.hosts.ctx, func() { _ = conn.CloseNow() })
	defer closing()
	for {
		kind, b, err := conn.Read(context.Background()) // ends with the connection
		if err != nil {
			return
		}
		if kind != websocket.MessageBinary {
			continue
		}
		if err := ls.channel.receive(b); errors.Is(err, errCut) {
			return
		}
	}
}
