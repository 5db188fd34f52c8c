package sshhost

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"
)

// agent is one ssh-agent. Its protocol takes one question at a time, so all
// connections share one, which is replaced when it breaks.
type agent struct {
	socket string
	turn   chan struct{} // holds one token; whoever has it may use conn
	conn   net.Conn
	client sshagent.ExtendedAgent
}

// agent gives the one agent of a socket.
func (s *identities) agent(socket string) *agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[socket]
	if a == nil {
		a = &agent{socket: socket, turn: make(chan struct{}, 1)}
		a.turn <- struct{}{}
		s.agents[socket] = a
	}
	return a
}

// keys lists the keys and certificates that the agent holds.
func (a *agent) keys(ctx context.Context) ([]*key, error) {
	var list []*key
	err := a.ask(ctx, func(c sshagent.ExtendedAgent) error {
		held, err := c.List()
		if err != nil {
			return err
		}
		for _, h := range held {
			public, err := ssh.ParsePublicKey(h.Blob)
			if err != nil {
				continue // a type that this client cannot offer
			}
			list = append(list, &key{name: agentName(h), public: public, blob: string(h.Blob), sign: a.signer(public)})
		}
		return nil
	})
	return list, err
}

func agentName(k *sshagent.Key) string {
	name := clean(k.Comment, 60)
	if name == "" {
		name = ssh.FingerprintSHA256(k)
	}
	return name + " (agent)"
}

func (a *agent) signer(public ssh.PublicKey) signFunc {
	return func(ctx context.Context, data []byte, algorithm string) (sig *ssh.Signature, err error) {
		var flags sshagent.SignatureFlags
		switch algorithm {
		case ssh.KeyAlgoRSASHA256:
			flags = sshagent.SignatureFlagRsaSha256
		case ssh.KeyAlgoRSASHA512:
			flags = sshagent.SignatureFlagRsaSha512
		}
		err = a.ask(ctx, func(c sshagent.ExtendedAgent) error {
			sig, err = c.SignWithFlags(public, data, flags)
			return err
		})
		return sig, err
	}
}

// ask waits for its turn and asks the agent. A broken connection is replaced
// once; an agent that does not answer loses its connection when ctx ends.
func (a *agent) ask(ctx context.Context, question func(sshagent.ExtendedAgent) error) error {
	select {
	case <-a.turn:
		defer func() { a.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reused := a.conn != nil
	for {
		if a.conn == nil {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", a.socket)
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			a.conn, a.client = conn, sshagent.NewClient(conn)
		}
		conn := a.conn
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		err := question(a.client)
		if stop() && err == nil {
			return nil
		}
		// After an error the state of the connection is not known.
		conn.Close()
		a.conn = nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || !reused {
			return err
		}
		reused = false
	}
}

func (a *agent) close() {
	<-a.turn
	defer func() { a.turn <- struct{}{} }()
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}
