package sshhost

import (
	"context"
	"net"
	"sync"

	"ssm-migrate/internal/fleet"
)

// keyMemo keeps the ring once it was loaded: its store may ask a person for a
// passphrase.
type keyMemo struct {
	mu   sync.Mutex
	keys []ringKey // guarded by mu
}

func (m *keyMemo) get(ctx context.Context, r *Recovery) ([]ringKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys != nil {
		return m.keys, nil
	}
	keys, err := r.ring(ctx)
	if err == nil {
		m.keys = keys
	}
	return keys, err
}

// loginByEndpoint logs in to a host by an EC2 Instance Connect Endpoint.
func (r *Recovery) loginByEndpoint(ctx context.Context, h fleet.Host) (*connection, error) {
	if r.cfg.Tunnel == nil {
		return nil, &Error{Kind: ErrUnreachable, Host: h.ID, Detail: "no EC2 Instance Connect Endpoint is set up"}
	}
	keys, err := r.keys.get(ctx, r)
	if err != nil {
		return nil, err
	}
	// Outside of the login's time: an endpoint that is busy makes it wait.
	tunnel, err := r.cfg.Tunnel(ctx, h)
	if err != nil {
		return nil, &Error{Kind: ErrUnreachable, Host: h.ID, Detail: clean(err.Error(), 400), Err: err}
	}
	conn, err := r.loginOver(ctx, h, auth(keys), "by EC2 Instance Connect Endpoint", func(context.Context, string) (net.Conn, error) {
		return tunnel, nil
	})
	if err != nil {
		_ = tunnel.Close()
	}
	return conn, err
}
