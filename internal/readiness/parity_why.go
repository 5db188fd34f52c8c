package readiness

import (
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// AccessReasons tells why cells of the parity table that Assess gives for the
// same snapshot, policy and time are lost or unknown: which fact is missing, or
// what keeps the person from sessions. The result takes the row's person and
// the host's position in the snapshot; it is empty for other cells and for rows
// that stand for many. It is not safe for concurrent use.
func AccessReasons(s *fleet.Snapshot, p Policy, now time.Time) func(person string, host int) string {
	a := newAssessor(s, p, now)
	for i := range s.Hosts {
		a.host(&s.Hosts[i]) // which gathers the keys
	}
	a.operators()
	a.ledger()
	g := newGate(a)
	rows := map[string]*entrant{}
	for _, e := range g.rows() {
		rows[e.name] = e
	}
	return func(person string, host int) string {
		e := rows[person]
		if e == nil || host < 0 || host >= len(e.cells) || e.ssh == nil && e.actors == nil {
			return ""
		}
		switch e.cells[host] {
		case fleet.ParityLoses:
			return g.whyNoSession(e, host)
		case fleet.ParityUnknown:
			var why []string
			for _, text := range []string{g.whySSHUnknown(e, host), g.whySessionUnknown(e, host)} {
				if text != "" {
					why = append(why, text)
				}
			}
			return strings.Join(why, "; ")
		}
		return ""
	}
}

// whyNoSession says what keeps somebody from sessions on a host.
func (g *gate) whyNoSession(e *entrant, host int) string {
	switch {
	case len(e.principals) == 0 && e.claimed:
		return "the owners file names no IAM principal"
	case !e.claimed && len(e.actors) == 0:
		return "no principal that could be theirs may start sessions"
	case len(e.actors) == 0:
		return "no account has the principals that the owners file names"
	}
	for _, x := range e.actors {
		if c := x.where.classOf[host]; c >= 0 {
			return "ssm:StartSession for " + x.arn + ": " + x.reach[c].why
		}
	}
	return "no principal of theirs is of account " + g.snapshot.Hosts[host].Account
}

// whySSHUnknown says which fact about SSH is missing; empty when none is.
func (g *gate) whySSHUnknown(e *entrant, host int) string {
	h := &g.snapshot.Hosts[host]
	p := &h.Probe.Value
	ssh := no
	if e.ssh != nil {
		ssh = e.ssh[host]
	}
	switch {
	case ssh == yes:
		return ""
	case !h.Probe.Known:
		return "SSH: the host was not probed" + because(h.Probe.Reason)
	case !p.SSHD.Known:
		return "SSH: sshd's settings are not known" + because(p.SSHD.Reason)
	case !p.Keys.Known:
		return "SSH: not all keys are known" + because(p.Keys.Reason)
	case g.doubt[host]:
		return "SSH: keys come from a command of the host's own, AuthorizedKeysCommand"
	case ssh == maybe:
		return "SSH: it is not known that sshd lets them in: the account's groups or shell, a second factor, a certificate's principals, or a login that no file explains decide"
	case e.ssh == nil && g.nobodys[host] > no:
		return "SSH: a key or certificate that nobody claims may be theirs"
	case g.connect[host]:
		return "SSH: whether they may push a key by EC2 Instance Connect is not known"
	}
	return ""
}

// whySessionUnknown says why it is not known whether somebody may start
// sessions; empty when it is known.
func (g *gate) whySessionUnknown(e *entrant, host int) string {
	text := ""
	for _, x := range e.actors {
		switch x.start(host) {
		case yes:
			return ""
		case maybe:
			text = "Session Manager: " + x.arn + ": " + x.reach[x.where.classOf[host]].why
		}
	}
	if text != "" {
		return text
	}
	for _, x := range e.assumes {
		if x.start(host) > no {
			return "Session Manager: they may assume " + x.arn + ", which the owners file does not name"
		}
	}
	switch {
	case e.lost:
		return "Session Manager: what they may do is not known: one of their principals was not read, or no role is named"
	case !e.claimed && e.ssh != nil && g.stranger[host] > no:
		return "Session Manager: a principal that nobody claims may be theirs"
	}
	return ""
}
