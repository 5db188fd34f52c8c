package readiness

import (
	"strings"

	"ssm-migrate/internal/fleet"
)

// opened is an account with a key that opened it.
type opened struct{ user, fingerprint string }

// logins notes who has come in lately, whatever files and settings say: keys
// come from commands and directories too, and Kerberos needs none. It tells
// which keys have opened which accounts.
func (g *gate) logins(host int, h *fleet.Host) map[opened]bool {
	lately := map[opened]bool{}
	start := readAt(h).AddDate(0, 0, -g.policy.SilentDays)
	for _, l := range h.Probe.Value.Logins.Value.Logins {
		if l.Last.IsZero() || l.Last.Before(start) || l.Method == "password" || strings.HasPrefix(l.Method, "keyboard-interactive") {
			continue
		}
		g.opens(host, g.ofLogin(l), maybe)
		if l.Fingerprint != "" && l.CertID == "" {
			lately[opened{l.User, l.Fingerprint}] = true
		}
	}
	return lately
}

// ofLogin finds the row of whoever came in.
func (g *gate) ofLogin(l fleet.Login) *entrant {
	if l.CertID != "" {
		owner, _ := g.people.ofCertificate(l.CertID)
		if owner == nobody {
			owner, _ = g.people.ofUser(l.User)
		}
		return g.of(owner, "certificate "+l.CertID)
	}
	if l.Fingerprint != "" {
		return g.ofKey(&fleet.Key{User: l.User, Fingerprint: l.Fingerprint})
	}
	owner, _ := g.people.ofUser(l.User)
	return g.of(owner, l.Method+" of "+l.User)
}
