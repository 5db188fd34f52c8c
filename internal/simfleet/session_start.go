package simfleet

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"path"

	"ssm-migrate/internal/fleet"
)

// sessionTasks begin and end sessions.
var sessionTasks = map[string]operation{"StartSession": startSession, "ResumeSession": resumeSession, "TerminateSession": terminateSession}

// dataChannelPath is where data channels are, below the server's root.
const dataChannelPath = "/v1/data-channel/"

// channelOrigin is the WebSocket side of where the request went to.
func channelOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "wss://" + r.Host
	}
	return "ws://" + r.Host
}

// startSession begins a session: by the caller's rights, by the document, by
// the agent's connection. What else keeps it from working shows in the session.
func startSession(c *call) (any, error) {
	var in struct {
		Target     string
		Document   string              `json:"DocumentName"`
		Reason     string              `json:"Reason"`
		Parameters map[string][]string `json:"Parameters"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Target == "" || len(in.Target) > 400 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'target' failed to satisfy constraint: Member must have length between 1 and 400")
	}
	if c.server.o.Hosts == nil {
		return nil, &apiError{http.StatusInternalServerError, "InternalServerError", "the simulated AWS has no machines to run sessions on"}
	}
	c.w.Mu.Lock()
	defer c.w.Mu.Unlock()
	inst := find(c.region.Instances, func(i *Instance) bool { return i.Host.ID == in.Target })
	spec, err := c.startable(inst, in.Target, in.Document, in.Parameters)
	if err != nil {
		return nil, err
	}
	ls := newSession(c, inst, spec)
	c.region.ManagedSessions = append(c.region.ManagedSessions, ls.record)
	c.server.mu.Lock()
	c.server.sessions[ls.record.ID] = ls
	c.server.mu.Unlock()
	ls.awaitClient()
	return sessionAnswer{ls.record.ID, ls.url(c), ls.renew()}, nil
}

type sessionAnswer struct {
	ID    string `json:"SessionId"`
	URL   string `json:"StreamUrl,omitempty"`
	Token string `json:"TokenValue,omitempty"`
}

// startable checks all that StartSession itself looks at. The instance may be
// nil: none of the Region's.
func (c *call) startable(inst *Instance, target, document string, parameters map[string][]string) (*sessionSpec, error) {
	d, err := c.sessionDocument(document)
	if err != nil {
		return nil, err
	}
	if p, session, known := c.principal(); known {
		subject := inst
		if subject == nil {
			subject = &Instance{Region: c.region, Host: fleet.Host{ID: target}}
		}
		if resource := c.account.startRefused(p, session, subject, documentARN(c.region, d)); resource != "" {
			return nil, c.deniedOn("ssm:StartSession", resource)
		}
	}
	spec, err := c.region.specOf(d, parameters)
	switch {
	case err != nil:
		return nil, err
	case inst == nil || !c.w.Connected(inst):
		return nil, refuse("TargetNotConnected", "%s is not connected.", target)
	case spec.port.Host != "" && versionLess(inst.Agent.Version, firstWithRemoteHosts):
		return nil, refuse("BadRequest", "Currently, port forwarding sessions to remote hosts are not supported.")
	}
	return spec, nil
}

// sessionID begins with who starts the session, as AWS's do.
func (c *call) sessionID() string {
	arn := c.callerARN()
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return path.Base(arn) + "-0" + hex.EncodeToString(random)
}

// newToken is what opens a data channel.
func newToken() string {
	random := make([]byte, 96)
	_, _ = rand.Read(random)
	return base64.StdEncoding.EncodeToString(random)
}

func (ls *liveSession) url(c *call) string {
	return c.origin + dataChannelPath + ls.record.ID + "?role=publish_subscribe"
}

// managedSession is the session that a request names.
func (c *call) managedSession(action string) (*fleet.ManagedSession, *liveSession, error) {
	var in struct {
		ID string `json:"SessionId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, nil, err
	}
	s := find(c.region.ManagedSessions, func(s *fleet.ManagedSession) bool { return s.ID == in.ID })
	if s == nil {
		return nil, nil, refuse("DoesNotExistException", "Session %s does not exist.", in.ID)
	}
	if err := c.mayTouch(action, s); err != nil {
		return nil, nil, err
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return s, c.server.sessions[in.ID], nil
}

// resumeSession gives a new token for an open session; for one that is over
// there is none.
func resumeSession(c *call) (any, error) {
	c.w.Mu.RLock()
	defer c.w.Mu.RUnlock()
	s, ls, err := c.managedSession("ssm:ResumeSession")
	switch {
	case err != nil:
		return nil, err
	case ls == nil:
		return sessionAnswer{ID: s.ID}, nil
	}
	return sessionAnswer{s.ID, ls.url(c), ls.renew()}, nil
}

func terminateSession(c *call) (any, error) {
	c.w.Mu.Lock()
	s, ls, err := c.managedSession("ssm:TerminateSession")
	if err == nil && ls == nil && s.End.IsZero() {
		s.Status, s.End = "Terminated", c.w.Now().UTC() // one of the world's story
	}
	c.w.Mu.Unlock()
	if err != nil {
		return nil, err
	}
	if ls != nil {
		ls.end("")
		<-ls.done
	}
	return sessionAnswer{ID: s.ID}, nil
}
