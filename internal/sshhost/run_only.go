package sshhost

import (
	"context"
	"encoding/base64"
	"errors"

	"ssm-migrate/internal/fleet"
)

// OpenBastionWith is OpenBastion with one key of the ring alone, named by the
// base64 of its public part. It holds for the hosts, too, until closeIt.
func (r *Recovery) OpenBastionWith(ctx context.Context, bastion fleet.Host, user string, hostKeys []string, key string) (closeIt func(), err error) {
	all, err := r.ring(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if base64.StdEncoding.EncodeToString(k.signer.PublicKey().Marshal()) == key {
			return r.openBastion(ctx, bastion, user, hostKeys, []ringKey{k})
		}
	}
	return nil, errors.New("the recovery key that was asked for is not in its store")
}
