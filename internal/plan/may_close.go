package plan

import (
	"cmp"

	"ssm-migrate/internal/fleet"
)

// mayClose refuses to close what somebody still needs, what is not known well
// enough, and everything where the policy names no way back in.
func (m *maker) mayClose() {
	c := claims{needed: m.consumers(), unread: map[string]bool{}}
	c.lost, c.doubt = m.losers()
	for _, id := range m.judged.Ledger.Unread {
		c.unread[id] = true
	}
	for _, h := range m.closers() {
		if code, text, do := m.obstacle(h, c); code != "" {
			m.refuse(h, Quarantine, code, text, do)
		}
	}
}

// claims are, by host, who has something against closing it.
type claims struct {
	needed      map[string][]string // consumers of SSH
	unread      map[string]bool     // logins are not known
	lost, doubt map[string][]string // people who lose access, or may
}

// obstacle is the first thing that keeps a host's doors open; what the policy
// lacks comes before what the host does.
func (m *maker) obstacle(h *member, c claims) (code, text, do string) {
	p := m.policy
	switch {
	case p.Recovery.PublicKey == "":
		return "no-recovery-key", "there is no recovery key: there would be no second way in", "migrate recovery init makes one; or give the public half of yours in the policy's recovery.public_key"
	case len(p.Recovery.From) == 0:
		return "no-operator-range", "the policy does not say from where operators come: the recovery bastion would let nobody in", "give their addresses in recovery.from"
	}
	if gap := unseen(h.Host); gap != "" {
		return "partly-scanned", "closing it would be blind: " + gap, "let the inventory's login user run the probe with sudo -n and take it again"
	}
	if code, text, do := m.noBoot(h); code != "" {
		return code, text, do
	}
	switch {
	case p.RequireSilent && c.needed[h.ID] != nil:
		return "consumer-active", "SSH to it is still in use: " + some(c.needed[h.ID]), "move them (migrate ledger), waive them in the owners file, or set require_silent: false"
	case p.RequireSilent && c.unread[h.ID]:
		return "logins-unknown", "whether anybody still uses SSH is not known: its logins were not read", "let the inventory read its logs, or set require_silent: false"
	case p.RequireAccess && c.lost[h.ID] != nil:
		return "access-lost", "no session for people who get in today: " + some(c.lost[h.ID]), "let their IAM principals start sessions (migrate access), or set require_access: false"
	case p.RequireAccess && c.doubt[h.ID] != nil:
		return "access-unknown", "whether people who get in today may start sessions is not known: " + some(c.doubt[h.ID]), "let the inventory read IAM (migrate access), or set require_access: false"
	}
	return "", "", ""
}

// unseen says what of a host is not known without which nothing may be closed.
func unseen(h *fleet.Host) string {
	p := h.Probe.Value
	switch {
	case !p.SSHD.Known:
		return "sshd's settings were not read: " + clip(p.SSHD.Reason)
	case !p.Keys.Known:
		return "its authorized keys were not all read: " + clip(p.Keys.Reason)
	case !p.Users.Known:
		return "its users were not read: " + clip(p.Users.Reason)
	case len(p.Gaps) > 0:
		return "not read: " + clip(p.Gaps[0].What) + " (" + clip(p.Gaps[0].Reason) + ")"
	}
	return ""
}

// consumers names, for each host, who still uses SSH to it. The inventory's own
// logins do not count. Waived consumers are noted with their hosts.
func (m *maker) consumers() map[string][]string {
	active := map[string][]string{}
	for _, c := range m.judged.Ledger.Consumers {
		if c.Own() {
			continue
		}
		for _, id := range c.Hosts {
			h := m.byID[id]
			switch {
			case h == nil:
			case c.Status == fleet.ConsumerWaived:
				h.waived = append(h.waived, c)
			case c.Status == fleet.ConsumerActive:
				active[id] = addOnce(active[id], consumerName(c))
			}
		}
	}
	return active
}

func consumerName(c fleet.Consumer) string {
	name := cmp.Or(c.Owner, c.CertID, c.Comment, c.Fingerprint, c.Method, "somebody")
	if c.User != "" {
		name += " as " + c.User
	}
	return clip(name)
}

// losers names, for each host, the people of the owners file who get in over
// SSH today and may not start a session, or of whom that is not known.
func (m *maker) losers() (lost, doubt map[string][]string) {
	lost, doubt = map[string][]string{}, map[string][]string{}
	for _, p := range m.judged.Parity.People {
		if !p.Claimed {
			continue // keys and principals that nobody claims are the ledger's matter
		}
		for i := range min(len(p.Cells), len(m.hosts)) {
			id := m.hosts[i].ID
			switch p.Cells[i] {
			case fleet.ParityLoses:
				lost[id] = append(lost[id], clip(p.Person))
			case fleet.ParityUnknown:
				doubt[id] = append(doubt[id], clip(p.Person))
			}
		}
	}
	return lost, doubt
}
