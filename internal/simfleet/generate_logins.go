package simfleet

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"ssm-migrate/internal/fleet"
)

// loginHabit is somebody who logs in to a host every now and then.
type loginHabit struct {
	user string
	key  publicKey
	who  string // person, "ci", or "cert" for certificate logins
	use  fleet.Use
	n    int
}

func (h *hostBuilder) habit(user string, key publicKey, who string, use fleet.Use, n int) {
	h.logged = append(h.logged, loginHabit{user, key, who, use, n})
}

// logins writes the log of the last weeks: people come through the bastion or
// from home, machines from the CI host. A quarter of the habits died out long ago.
func (h *hostBuilder) logins() {
	if h.Host.State != "running" {
		return
	}
	days := 60 + h.r.IntN(30)
	since := h.base.AddDate(0, 0, -days)
	if h.Host.LaunchTime.After(since) {
		since = h.Host.LaunchTime
	}
	for _, habit := range h.logged {
		until := h.base
		if h.r.IntN(4) == 0 {
			until = since.Add(h.base.Sub(since) / 3)
		}
		for range habit.n {
			h.Logins = append(h.Logins, h.login(habit, since, until))
		}
	}
	slices.SortStableFunc(h.Logins, func(a, b Login) int { return a.At.Compare(b.At) })
	for i := range h.r.IntN(3) {
		if h.r.IntN(4) == 0 && len(h.Logins) > 0 {
			l := h.Logins[len(h.Logins)-1-i%len(h.Logins)]
			h.Sessions = append(h.Sessions, OpenSession{User: l.User, TTY: []string{"pts/0", ""}[i%2], From: l.From, PID: 2000 + h.r.IntN(30000), Key: l.Key})
		}
	}
}

func (h *hostBuilder) login(habit loginHabit, since, until time.Time) Login {
	span := max(until.Sub(since), time.Minute)
	l := Login{
		At: since.Add(time.Duration(h.r.Int64N(int64(span)))).Truncate(time.Second), User: habit.user, Method: "publickey", Key: habit.key.fingerprint,
		From: h.vpc.bastion, Port: 32768 + h.r.IntN(28000), Use: habit.use,
	}
	switch {
	case habit.who == "ci":
		l.From = cmp.Or(h.vpc.ci, h.vpc.bastion)
	case habit.who == "cert":
		l.Key = "ED25519-CERT " + h.certificateOf(pick(h.r, h.people.staff)) + " CA " + habit.key.fingerprint
	case h.Role == "bastion" || !h.vpc.bastion.IsValid():
		l.From = addressAt(pick(h.r, []netip.Prefix{officeNet, homesNet}), 20+h.r.IntN(100))
	}
	if !l.From.IsValid() {
		l.From = addressAt(officeNet, 20+h.r.IntN(100))
	}
	return l
}

// certificateOf is how sshd logs a person's certificate: fingerprint, key ID and serial.
func (h *hostBuilder) certificateOf(p person) string {
	k := makeKey(h.rng("certificate", p.name), "ed25519", p.name)
	serial := 1000 + slices.IndexFunc(h.people.staff, func(q person) bool { return q.name == p.name })
	return k.fingerprint[len("ED25519 "):] + " ID " + p.name + " (serial " + strconv.Itoa(serial) + ")"
}

// findSources notes where people and machines come from inside of each VPC:
// its bastion, and its CI host where it has one.
func findSources(all []placed) {
	for _, p := range all {
		switch p.Role {
		case "bastion":
			p.vpc.bastion = cmp.Or(p.vpc.bastion, p.Host.PrivateIP)
		case "ci":
			p.vpc.ci = cmp.Or(p.vpc.ci, p.Host.PrivateIP)
		}
	}
}
