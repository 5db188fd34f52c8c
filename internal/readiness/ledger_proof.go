package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// leastRun is how long a session that has ended must have lasted to prove
// anything: one whose shell cannot be started ends within seconds, and is
// listed as Terminated as well.
const leastRun = 10 * time.Second

// migrated says whether the owner has used Session Manager on every one of the
// consumer's hosts since its last login there, for what the consumer does;
// else on how many not.
func (b *book) migrated(c *consumer) (why string, done bool) {
	i := slices.IndexFunc(b.people.owners, func(o fleet.Owner) bool { return o.Person == c.Owner })
	if i < 0 {
		return "", false
	}
	missing, early := 0, 0
	for k := range c.visits {
		v := &c.visits[k]
		switch since, used := b.moved(c, v, b.people.owners[i]); {
		case !used:
			missing++
		case v.regular && !v.stayedAway(since, c.User):
			early++
		}
	}
	used := "used Session Manager since"
	if c.Use != "" && c.Use != fleet.UseShell && c.Use != fleet.UseCommand {
		used = "used Session Manager for it since"
	}
	switch {
	case missing == len(c.visits):
		return fmt.Sprintf("%s has not %s on %s", c.Owner, used, anyHost(missing)), false
	case missing > 0:
		return fmt.Sprintf("%s has not %s on %d of %s", c.Owner, used, missing, fleet.Count(len(c.visits), "host")), false
	case early > 0:
		return fmt.Sprintf("%s has %s, but it came regularly, and that it has stopped is not known on %d of %s", c.Owner, used, early, fleet.Count(len(c.visits), "host")), false
	}
	return fmt.Sprintf("%s has %s on %s", c.Owner, used, everyHost(len(c.visits))), true
}

// moved finds the owner's first session on a host after the consumer's last
// login there that proves that it can do there what the consumer did.
func (b *book) moved(c *consumer, v *visit, o fleet.Owner) (since time.Time, used bool) {
	if v.last.IsZero() {
		return since, false
	}
	for _, s := range b.sessions[v.host.ID] {
		if s.Start.After(v.latest()) && ran(s) && replaces(s, c) && b.people.started(o, s.Owner) && (!used || s.Start.Before(since)) {
			since, used = s.Start, true
		}
	}
	return since, used
}

// ran reports whether a session was really used: it is open, or it ended after
// a while. One that failed to connect has the status Failed.
// Source: AWS Systems Manager API Reference, Session, Status.
func ran(s *fleet.ManagedSession) bool {
	return s.Status == "Connected" || s.Status == "Terminated" && !s.End.IsZero() && s.End.Sub(s.Start) >= leastRun
}

// replaces reports whether a session does what a consumer uses SSH for. A shell
// tells nothing of copies, tunnels and programs. Uses that the log does not
// tell are taken for a person's shell, unless they come like a program's.
// Source: AWS Systems Manager User Guide, session-manager-working-with-sessions-start.
func replaces(s *fleet.ManagedSession, c *consumer) bool {
	switch {
	case s.Document == sshDocument:
		return true
	case strings.HasPrefix(s.Document, "AWS-StartPortForwardingSession"):
		return c.Use == fleet.UseTunnel
	}
	return c.Use == fleet.UseShell || c.Use == fleet.UseCommand || c.Use == "" && !c.service && !c.regular
}

// stayedAway reports whether the log proves that a regular consumer has not
// come for longer than it used to since a moment.
func (v *visit) stayedAway(since time.Time, user string) bool {
	interval := regularSpan
	if v.count > 1 {
		interval = max(interval, v.last.Sub(v.first)/time.Duration(v.count-1))
	}
	return covers(v.host, since) && recordsLogins(v.host, user) && readAt(v.host).Sub(since) > interval
}

// latest is the latest moment at which the consumer's last login on the host
// may have been: its clock may have been off then as it is now, or not.
func (v *visit) latest() time.Time {
	return later(v.last, v.last.Add(-clockOffset(v.host)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clockOffset is how far a host's clock was ahead when it was probed, by an
// AWS endpoint's clock, else by the collector's; 0 when that is not known.
func clockOffset(h *fleet.Host) time.Duration {
	if c, ok := serverClock(h); ok {
		return c.Host.Sub(c.Server)
	}
	p := &h.Probe.Value
	if p.HostTime.IsZero() || h.Probe.At.IsZero() {
		return 0
	}
	return p.HostTime.Sub(h.Probe.At)
}

// serverClock is the host's clock beside an AWS endpoint's, where it read that.
func serverClock(h *fleet.Host) (c fleet.Clock, ok bool) {
	health := h.Probe.Value.Health
	c = health.Value.Clock
	return c, health.Known && !c.Server.IsZero() && !c.Host.IsZero()
}

// readAt is when a host's log of logins was read, by the collector's clock.
func readAt(h *fleet.Host) time.Time {
	if at := h.Probe.Value.Logins.At; !at.IsZero() {
		return at
	}
	return h.Probe.At
}

// covers reports whether a host's log reaches from a moment to when it was
// read. One that ended a day or more before is no longer written to.
func covers(h *fleet.Host, start time.Time) bool {
	log, end, offset := h.Probe.Value.Logins, readAt(h), clockOffset(h)
	if !log.Known || end.IsZero() || log.Value.From.IsZero() {
		return false
	}
	from := later(log.Value.From, log.Value.From.Add(-offset))
	stale := max(end.Sub(log.Value.To), end.Sub(log.Value.To.Add(-offset)))
	return !from.After(start) && stale < 24*time.Hour
}

// recordsLogins reports whether a host's log is known to have a line for every
// login to an account: sshd writes them from level INFO on, and none was left
// out of what was read.
// Source: OpenSSH, sshd_config(5), LogLevel.
func recordsLogins(h *fleet.Host, user string) bool {
	p := &h.Probe.Value
	if !p.SSHD.Known || slices.ContainsFunc(p.Gaps, func(g fleet.Gap) bool { return g.What == "logins" || g.What == "more" }) {
		return false
	}
	switch strings.ToUpper(first(p.SSHD.Value.For(user, "loglevel"))) {
	case "QUIET", "FATAL", "ERROR":
		return false
	}
	return true
}
