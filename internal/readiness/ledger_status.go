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
		c.Why = fleet.Count(c.Open, "session") + " open now"
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
	if c.From.IsLoopback() {
		c.Why += "; it comes from the host itself, which Session Manager does not reach"
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
	names := make([]string, len(c.visits))
	for i, v := range c.visits {
		names[i] = v.host.Name()
	}
	for i := range b.policy.Waivers {
		w := b.policy.Waivers[i]
		if !waives(w, &c.Consumer, names) {
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
// where it names hosts, whose names come in the order of Hosts. One without a
// selector speaks of nobody.
func waives(w fleet.Waiver, c *fleet.Consumer, names []string) bool {
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
	for i, id := range c.Hosts {
		if len(w.Hosts) > 0 && !matchesAny(w.Hosts, id) && !matchesAny(w.Hosts, names[i]) {
			return false
		}
	}
	return true
}

// IdleWaivers lists the positions of waivers that speak of none of a
// snapshot's consumers, such as misspelled ones.
func IdleWaivers(s *fleet.Snapshot, l fleet.Ledger, waivers []fleet.Waiver) []int {
	named := make(map[string]string, len(s.Hosts))
	for i := range s.Hosts {
		named[s.Hosts[i].ID] = s.Hosts[i].Name()
	}
	used := make([]bool, len(waivers))
	for i := range l.Consumers {
		c := &l.Consumers[i]
		names := make([]string, len(c.Hosts))
		for k, id := range c.Hosts {
			names[k] = named[id]
		}
		for k, w := range waivers {
			used[k] = used[k] || waives(w, c, names)
		}
	}
	var out []int
	for k := range waivers {
		if !used[k] {
			out = append(out, k)
		}
	}
	return out
}

// within reports whether an address is the one, or lies in the CIDR, that text says.
func within(text string, addr netip.Addr) bool {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Contains(addr)
	}
	a, err := netip.ParseAddr(text)
	return err == nil && a.Unmap() == addr
}

// silent says whether the logs of all the consumer's hosts prove that it did
// not come for the policy's days; else when it came last, or what is not known.
func (b *book) silent(c *consumer) (why string, is bool) {
	if c.Last.IsZero() || slices.ContainsFunc(c.visits, func(v visit) bool { return v.last.IsZero() }) {
		return "when it came last is not known", false
	}
	last := "came last on " + c.Last.UTC().Format(time.DateOnly)
	if b.policy.SilentDays < 1 {
		return last, false
	}
	short, mute := 0, 0
	for i := range c.visits {
		v := &c.visits[i]
		start := readAt(v.host).AddDate(0, 0, -b.policy.SilentDays)
		if !v.latest().Before(start) {
			return last, false
		}
		if !covers(v.host, start) {
			short++
		} else if !recordsLogins(v.host, c.User) {
			mute++
		}
	}
	if short > 0 {
		return fmt.Sprintf("%s, but the logs of %s do not cover the %d days before they were read", last, fleet.Count(short, "host"), b.policy.SilentDays), false
	}
	if mute > 0 {
		return fmt.Sprintf("%s, but it is not known that %s every login", last, logOf(mute)), false
	}
	return fmt.Sprintf("%s; the logs of %s cover the last %d days", last, everyHost(len(c.visits)), b.policy.SilentDays), true
}

func logOf(n int) string {
	if n == 1 {
		return "the log of 1 host records"
	}
	return fmt.Sprintf("the logs of %d hosts record", n)
}

func everyHost(n int) string {
	if n == 1 {
		return "its only host"
	}
	return "all " + fleet.Count(n, "host")
}

func anyHost(n int) string {
	if n == 1 {
		return "its only host"
	}
	return "any of " + fleet.Count(n, "host")
}

// hint helps to find out whose a consumer is that nobody claims. A key pair's
// or an IAM user's name proves nothing.
func (b *book) hint(c *consumer) string {
	if c.OwnerBy == "recovery" {
		return "a drill, or a repair, by the recovery key"
	}
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
