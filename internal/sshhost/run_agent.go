package sshhost

import (
	"context"
	"fmt"
	"time"

	sshagent "golang.org/x/crypto/ssh/agent"

	"ssm-migrate/internal/fleet"
)

// Agent is an SSH agent that has the recovery keys of the ring, newest first, so
// that OpenSSH logs in with them wherever they are kept. For a key that signs
// certificates it has a key of its own making with a certificate, which is good
// for a login within the next minutes.
func (r *Recovery) Agent(ctx context.Context) (sshagent.Agent, error) {
	keys, err := r.ring(ctx)
	if err != nil {
		return nil, err
	}
	out := sshagent.NewKeyring()
	for _, k := range keys {
		added := sshagent.AddedKey{PrivateKey: k.raw, Comment: fleet.RecoveryPrincipal}
		if k.ca {
			private, cert, err := certificate(k.signer, time.Now())
			if err != nil {
				return nil, err
			}
			added.PrivateKey, added.Certificate = &private, cert
		}
		if err := out.Add(added); err != nil {
			return nil, fmt.Errorf("keep the recovery key for ssh: %w", err)
		}
	}
	return out, nil
}
