package readiness

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// SSH through Session Manager reaches sshd from the host itself, at 127.0.0.1
// or ::1. Source: amazon-ssm-agent, session/plugins/port.
var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// loopback looks for settings of sshd that turn such a connection away.
func (j *judge) loopback(f fleet.Fact[fleet.SSHD]) {
	s := f.Value
	var facts []fleet.Evidence
	var steps []string
	add := func(step, format string, args ...any) {
		facts = append(facts, evidence(f, format, args...))
		if !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	if listens := s.Settings["listenaddress"]; len(listens) > 0 && !slices.ContainsFunc(listens, onLoopback) {
		add("add ListenAddress 127.0.0.1 beside what is there", "sshd listens at %s only, not at the loopback address", quotedList(listens[:min(len(listens), mostListed)]))
	}
	for _, keyword := range []string{"allowusers", "denyusers"} {
		for _, v := range everySetting(s, keyword) {
			for pattern := range strings.FieldsSeq(v) {
				user, from, limited := strings.Cut(pattern, "@")
				if !limited || (keyword == "allowusers") == fromLoopback(from) || keyword == "allowusers" && allowedAnyway(everySetting(s, "allowusers"), user) {
					continue
				}
				add("let AllowUsers and DenyUsers take USER@127.0.0.1 as they take the users' own addresses", "%s %s", keyword, quoted(pattern))
			}
		}
	}
	for _, user := range slices.Sorted(maps.Keys(s.FromLoopback)) {
		for _, keyword := range slices.Sorted(maps.Keys(s.FromLoopback[user])) {
			if values := s.FromLoopback[user][keyword]; turnsAway(keyword, values, user) {
				add("let the Match blocks that look at addresses treat 127.0.0.1 and ::1 as the users' own addresses",
					"a Match block gives user %s, who comes from 127.0.0.1, %s %s instead of %s", quoted(user), quoted(keyword), quotedList(values), quotedList(s.For(user, keyword)))
			}
		}
	}
	if len(facts) > mostListed {
		facts = append(facts[:mostListed], evidence(f, "and %d more", len(facts)-mostListed))
	}
	if facts != nil {
		j.add("sshd-refuses-loopback", j.h.ID, strings.Join(steps, "; ")+"; check with sshd -t, and reload sshd with another session open", facts...)
	}
}

// turnsAway reports whether settings that hold only for connections from the
// loopback address keep a user out, or from what others may do. Whom lists of
// groups leave out is not known; they are taken to.
func turnsAway(keyword string, values []string, user string) bool {
	set := len(values) > 0 && !strings.EqualFold(values[0], "none") && !strings.EqualFold(values[0], "any")
	switch keyword {
	case "pubkeyauthentication":
		return slices.Contains(values, "no")
	case "maxsessions":
		return slices.Contains(values, "0")
	case "authorizedkeysfile":
		return true
	case "allowusers":
		return set && !allowedAnyway(values, user)
	case "denyusers":
		return set && allowedAnyway(values, user) // the patterns match
	case "allowgroups", "denygroups", "authenticationmethods", "forcecommand":
		return set
	}
	return false
}

// onLoopback reports whether a listen address, as "sshd -T" prints it, takes
// connections from the host itself. One that cannot be read is held to.
func onLoopback(listen string) bool {
	at, err := netip.ParseAddrPort(listen)
	return err != nil || at.Addr().IsUnspecified() || at.Addr().IsLoopback()
}

// fromLoopback reports whether the host part of an AllowUsers pattern matches
// a connection from the host itself. Source: OpenSSH, ssh_config(5), PATTERNS;
// sshd_config(5), AllowUsers, which takes CIDR as well.
func fromLoopback(pattern string) bool {
	if p, err := netip.ParsePrefix(pattern); err == nil {
		return slices.ContainsFunc(loopbacks, p.Contains)
	}
	for _, name := range []string{"127.0.0.1", "::1", "localhost"} {
		if glob(pattern, name) {
			return true
		}
	}
	return false
}

// allowedAnyway reports whether a pattern of an AllowUsers list lets a user in
// from the host itself.
func allowedAnyway(lists []string, user string) bool {
	for _, v := range lists {
		for pattern := range strings.FieldsSeq(v) {
			other, from, limited := strings.Cut(pattern, "@")
			if (other == user || glob(other, user)) && (!limited || fromLoopback(from)) {
				return true
			}
		}
	}
	return false
}

// strangers looks for keys that logged in and that no file shows: they come by
// a way that moving key files aside does not close, or were removed since.
func (j *judge) strangers(p *fleet.Probe) {
	unread := slices.ContainsFunc(p.Gaps, func(g fleet.Gap) bool { return strings.Contains(strings.ToLower(g.What), "key") })
	if !p.Keys.Known || !p.Logins.Known || unread {
		return
	}
	shown := map[string]bool{}
	for _, k := range p.Keys.Value {
		shown[k.Fingerprint] = true
	}
	var facts []fleet.Evidence
	more := 0
	for _, l := range p.Logins.Value.Logins {
		name, key := "key", l.Fingerprint
		if l.CertID != "" {
			name, key = "a certificate of CA", l.CA
		}
		if l.Method != "publickey" || !strings.HasPrefix(key, "SHA256:") || shown[key] {
			continue
		}
		if len(facts) == mostListed {
			more++
			continue
		}
		facts = append(facts, evidence(p.Logins, "user %s logged in with %s %s %d times, last %s; no file on the host shows it",
			quoted(l.User), name, quoted(key), l.Count, l.Last.UTC().Format("2006-01-02")))
	}
	if more > 0 {
		facts = append(facts, evidence(p.Logins, "and %d more", more))
	}
	if facts != nil {
		j.add("login-by-unseen-key", j.h.ID, "", facts...)
	}
}

// cloudInit judges what would put keys back that were moved aside.
func (j *judge) cloudInit(f fleet.Fact[fleet.CloudInit]) {
	c := f.Value
	if !f.Known || !c.Present || c.Disabled {
		return
	}
	list := func(files []string) string { return quotedList(files[:min(len(files), mostListed)]) }
	if len(c.AlwaysKeys) > 0 && !c.BlocksKeys {
		j.add("cloud-init-adds-keys", j.h.ID, "", evidence(f, "%s run cloud-init's key modules at every boot", list(c.AlwaysKeys)))
	}
	if len(c.KeyFiles) > 0 {
		j.add("cloud-init-holds-keys", j.h.ID, "", evidence(f, "%s name keys of their own", list(c.KeyFiles)))
	}
}
