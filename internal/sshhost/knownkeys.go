package sshhost

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// KnownKeys gives the public keys ("ssh-ed25519 AAAA…") that known_hosts has of a
// host, under the name or address by which its logins are checked. None means that
// known_hosts does not have the host. Nothing is sent to the host.
func (c *Client) KnownKeys(ctx context.Context, h fleet.Host) ([]string, error) {
	t, err := c.target(ctx, h)
	if err != nil {
		return nil, err
	}
	own := *t
	own.via, own.command = nil, ""
	if h.PrivateIP.IsValid() {
		own.name = h.PrivateIP.String()
	}
	var out []string
	for _, one := range []*target{&own, t} {
		check, err := c.hostKeys.checker(c, one, "")
		if err != nil {
			return nil, fmt.Errorf("known_hosts of %s: %w", clean(h.ID, 40), err)
		}
		for _, a := range check.addresses {
			for _, k := range check.files.db.HostKeys(a) {
				if k.Cert {
					continue // a CA, which says nothing of this host alone
				}
				line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(k.PublicKey)), "\n")
				if !slices.Contains(out, line) {
					out = append(out, line)
				}
			}
		}
	}
	return out, nil
}
