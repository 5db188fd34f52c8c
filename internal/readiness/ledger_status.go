package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// settleStatus says whether a consumer still needs SSH. A waiver that holds
// comes first: somebody decided. One that has ended is shown, and changes nothing.
func (b *book) settleStatus(c *consumer) {
	ended := b.waive(c)
	if c.Status == fleet.ConsumerWaived {
		return
	}
	switch why, migrated := b.migrated(c); {
	case c.Open > 0:
		c.Why = plural(c.Open, "session") + " open now"
	case migrated:
		c.Status, c.Why = fleet.ConsumerMigrated, why
	default:
		if text, silent := b.silent(c); silent {
			c.Status, c.Why = fleet.ConsumerSilent, text
		} else {
			c.Why = text
			if why != "" {
				c.Why += "; " + why
			}
		}
	}
	if hint := b.hint(c); hint != "" {
		c.Why += "; " + hint
	}
	if ended != "" {
		c.Why = ended + "; " + c.Why
	}
}

// waive applies the first waiver that matches, one that holds before one that
// has ended. It tells of one that has.
func (b *book) waive(c *consumer) (ended string) {
	for i := range b.policy.Waivers {
		w := b.policy.Waivers[i]
		if !b.waives(w, c) {
			continue
		}
		if b.now.Before(w.Until) {
			c.Status, c.Waiver = fleet.ConsumerWaived, &w
			c.Why = fmt.Sprintf("waived by %s until %s: %s", w.By, w.Until.UTC().Format(time.DateOnly), w.Why)
			return ""
		}
		if ended == "" {
			c.Waiver = &w
			ended = fmt.Sprintf("the waiver by %s ended on %s", w.By, w.Until.UTC().Format(time.DateOnly))
		}
	}
	return ended
}

// waives reports whether a waiver speaks of the consumer: of all its hosts,
// where it names hosts. One without a selector speaks of nobody.
func (b *book) waives(w fleet.Waiver, c *consumer) bool {
	if w.Person == "" && w.Fingerprint == "" && w.From == "" && w.User == "" && w.Use == "" && len(w.Hosts) == 0 {
		return false
	}
	switch {
	case w.Person != "" && w.Person != c.Owner,
		w.Fingerprint != "" && plainFingerprint(w.Fingerprint) != plainFingerprint(c.Fingerprint),
		w.User != "" && w.User != c.User,
		w.Use != "" && w.Use != c.Use,
		w.From != "" && !within(w.From, c.From):
		return false
	}
	return len(w.Hosts) == 0 || !slices.ContainsFunc(c.visits, func(v visit) bool {
		return !matchesAny(w.Hosts, v.host.ID) && !matchesAny(w.Hosts, v.host.Name())
	})
}

// within reports whether an address is the one, or lies in the CIDR, that text says.
func within(text string, addr netip.Addr) bool {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Contains(addr)
	}
	a, err := netip.ParseAddr(text)
	return err == nil && a.Unmap() == addr
}

// migrated says whether the owner has used Session Manager on every one of the
// consumer's hosts since its last login there; else on how many not.
func (b *book) migrated(c *consumer) (why string, done bool) {
	i := slices.IndexFunc(b.people.owners, func(o fleet.Owner) bool { return o.Person == c.Owner })
	if i < 0 {
		return "", false
	}
	missing := 0
	for _, v := range c.visits {
		if v.last.IsZero() || !slices.ContainsFunc(b.sessions[v.host.ID], func(s *fleet.ManagedSession) bool {
			return s.Start.After(v.last) && b.people.started(b.people.owners[i], s.Owner)
		}) {
			missing++
		}
	}
	if missing == len(c.visits) {
		return fmt.Sprintf("%s has not used Session Manager since on %s", c.Owner, anyHost(missing)), false
	}
	if missing > 0 {
		return fmt.Sprintf("%s has not used Session Manager since on %d of %s", c.Owner, missing, plural(len(c.visits), "host")), false
	}
	return fmt.Sprintf("%s has used Session Manager since on %s", c.Owner, everyHost(len(c.visits))), true
}

// silent says whether the logs of all the consumer's hosts prove that it did
// not come for the policy's days; else when it came last, or what is not known.
func (b *book) silent(c *consumer) (why string, is bool) {
	if c.Last.IsZero() || slices.ContainsFunc(c.visits, func(v visit) bool { return v.last.IsZero() }) {
		return "when it came last is not known", false
	}
	last := "came last on " + c.Last.UTC().Format(time.DateOnly)
	short := 0
	for _, v := range c.visits {
		log := v.host.Probe.Value.Logins
		end := log.At
		if end.IsZero() {
			end = v.host.Probe.At
		}
		start := end.AddDate(0, 0, -b.policy.SilentDays)
		if !v.last.Before(start) {
			return last, false
		}
		// A log that ended a day or more before it was read is no longer written to.
		if !log.Known || end.IsZero() || log.Value.From.IsZero() || log.Value.From.After(start) || end.Sub(log.Value.To) >= 24*time.Hour {
			short++
		}
	}
	if short > 0 {
		return fmt.Sprintf("%s, but the logs of %s do not cover the %d days before they were read", last, plural(short, "host"), b.policy.SilentDays), false
	}
	return fmt.Sprintf("%s; the logs of %s cover the last %d days", last, everyHost(len(c.visits)), b.policy.SilentDays), true
}

func everyHost(n int) string {
	if n == 1 {
		return "its only host"
	}
	return "all " + plural(n, "host")
}

func anyHost(n int) string {
	if n == 1 {
		return "its only host"
	}
	return "any of " + plural(n, "host")
}

// hint helps to find out whose a consumer is that nobody claims. A key pair's
// or an IAM user's name proves nothing.
func (b *book) hint(c *consumer) string {
	if c.OwnerBy == "probe" {
		return "its last logins are the inventory's own, and earlier ones may be"
	}
	if c.Owner != "" {
		return ""
	}
	text := "nobody claims it"
	if u := b.keys.byFingerprint[c.Fingerprint]; u != nil {
		if pair, ok := b.keys.pairs[u.key.Blob]; ok && u.key.Blob != "" {
			text += "; the key is EC2 key pair " + quoted(pair)
		}
	}
	for _, name := range []string{commentName(c.Comment), c.CertID, c.User} {
		if arn := b.people.users[name]; name != "" && arn != "" {
			return text + "; there is an IAM user of that name, " + arn
		}
	}
	return text
}
