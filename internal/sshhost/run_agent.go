package sshhost

import (
	"context"
	"fmt"
	"net"
	"time"

	sshagent "golang.org/x/crypto/ssh/agent"

	"ssm-migrate/internal/fleet"
)

// Agent is an SSH agent that has the recovery keys of the ring, newest first, so
// that OpenSSH logs in with them wherever they are kept. For a key that signs
// certificates it has a key of its own making with a certificate, which is good
// for a login within the next minutes. Serve speaks with one client until it goes,
// and may run concurrently; forget lets go of the keys.
func (r *Recovery) Agent(ctx context.Context) (serve func(net.Conn), forget func(), err error) {
	keys, err := r.ring(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := sshagent.NewKeyring()
	for _, k := range keys {
		added := sshagent.AddedKey{PrivateKey: k.raw, Comment: fleet.RecoveryPrincipal}
		if k.ca {
			private, signer, err := loginKey()
			if err != nil {
				return nil, nil, err
			}
			now := time.Now()
			cert, err := certificate(k.signer, signer.PublicKey(), now, now.Add(certificateAhead))
			if err != nil {
				return nil, nil, err
			}
			added.PrivateKey, added.Certificate = &private, cert
		}
		if err := out.Add(added); err != nil {
			return nil, nil, fmt.Errorf("keep the recovery key for ssh: %w", err)
		}
	}
	serve = func(conn net.Conn) {
		_ = sshagent.ServeAgent(out, conn) // ends when ssh does
	}
	return serve, func() { _ = out.RemoveAll() }, nil
}
