package readiness

import (
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ssh judges what is known of the host's SSH side. None of it decides whether
// Session Manager works; all of it matters to the move.
func (j *judge) ssh() {
	if j.h.Windows() {
		return // Windows hosts are not probed
	}
	probe := j.h.Probe
	if !probe.Known {
		j.add("ssh-not-scanned", j.h.ID, "", evidence(probe, "the host was not probed%s", because(probe.Reason)))
		return
	}
	j.keys.add(j.h, j.policy)
	p := &probe.Value
	gaps := slices.Concat(
		gap("sshd's settings", p.SSHD),
		gap("the users", p.Users),
		gap("the keys", p.Keys),
		gap("the agent", p.Agent),
		gap("the endpoint tests", p.Endpoints),
		gap("the logins", p.Logins),
		gap("the open sessions", p.Sessions),
		asked("the machine's health", p.Health),
		asked("the metadata service", p.Metadata),
		asked("cloud-init", p.CloudInit),
		asked("what uses SSH", p.Traces),
	)
	for i, g := range p.Gaps {
		if i == mostListed {
			gaps = append(gaps, evidence(probe, "and %d more", len(p.Gaps)-i))
			break
		}
		gaps = append(gaps, evidence(probe, "%s: %s", quoted(g.What), quoted(g.Reason)))
	}
	if gaps != nil {
		j.add("ssh-partly-scanned", j.h.ID, scanFix(p, len(gaps)), gaps...)
	}
	if p.SSHD.Known {
		j.daemon(p.SSHD)
		j.loopback(p.SSHD)
	}
	j.strangers(p)
	j.cloudInit(p.CloudInit)
}

// noLog is the collector's reason for unknown logins on a host that keeps no log of SSH.
const noLog = "no SSH log file and no journal on the host"

// scanFix says what would fill n gaps of a probe. No right to read brings back
// a log that is not kept, and root has every right already.
func scanFix(p *fleet.Probe, n int) string {
	var steps []string
	if !p.Logins.Known && p.Logins.Reason == noLog {
		steps = append(steps, "keep a log of SSH on the host (the journal or rsyslog); until it covers some weeks, who logs in is not known")
		n--
	}
	switch {
	case n > 0 && p.Root:
		steps = append(steps, "see to what the evidence names, which even root could not read, and take the inventory again")
	case n > 0:
		steps = append(steps, "let the login user run the probe with sudo -n and take the inventory again")
	}
	return strings.Join(steps, "; ")
}

func gap[T any](what string, f fleet.Fact[T]) []fleet.Evidence {
	if f.Known {
		return nil
	}
	return []fleet.Evidence{evidence(f, "%s: not known%s", what, because(f.Reason))}
}

// asked is gap for what probes of earlier versions did not ask for.
func asked[T any](what string, f fleet.Fact[T]) []fleet.Evidence {
	if f.Source == "" && f.Reason == "" {
		return nil
	}
	return gap(what, f)
}

// daemon judges sshd's effective settings.
func (j *judge) daemon(f fleet.Fact[fleet.SSHD]) {
	s := f.Value
	var outside []fleet.Evidence
	for _, keyword := range []string{"authorizedkeyscommand", "trustedusercakeys", "authorizedprincipalscommand"} {
		for _, v := range everySetting(s, keyword) {
			outside = append(outside, evidence(f, "%s %s", keyword, quoted(v)))
		}
	}
	if a := strings.ToLower(s.Arguments); strings.Contains(a, "authorizedkeyscommand") || strings.Contains(a, "trustedusercakeys") {
		outside = append(outside, evidence(f, "sshd runs with the arguments %s", quoted(s.Arguments)))
	}
	if outside != nil {
		j.add("key-commands", j.h.ID, "", outside...)
	}
	on := func(keyword string) bool { return slices.Contains(everySetting(s, keyword), "yes") }
	switch {
	case on("passwordauthentication"):
		j.add("password-authentication", j.h.ID, "", evidence(f, "passwordauthentication yes"))
	case on("kbdinteractiveauthentication") && on("usepam"):
		// PAM asks for the password in its own dialogue.
		j.add("password-authentication", j.h.ID, "", evidence(f, "kbdinteractiveauthentication yes and usepam yes"))
	}
	if on("permitrootlogin") {
		facts := []fleet.Evidence{evidence(f, "permitrootlogin yes")}
		if on("passwordauthentication") {
			facts = append(facts, evidence(f, "passwordauthentication yes"))
		}
		j.add("root-login", j.h.ID, "", facts...)
	}
	var tunnels []fleet.Evidence
	for _, keyword := range []string{"gatewayports", "permittunnel"} {
		for _, v := range everySetting(s, keyword) {
			if v != "no" {
				tunnels = append(tunnels, evidence(f, "%s %s", keyword, quoted(v)))
			}
		}
	}
	if tunnels != nil {
		j.add("sshd-serves-tunnels", j.h.ID, "", tunnels...)
	}
}

// everySetting lists the values of a keyword for all users, once each, "none"
// left out.
func everySetting(s fleet.SSHD, keyword string) []string {
	all := slices.Clone(s.Settings[keyword])
	for _, user := range slices.Sorted(maps.Keys(s.PerUser)) {
		all = append(all, s.PerUser[user][keyword]...)
	}
	var out []string
	for _, v := range all {
		if v != "" && !strings.EqualFold(v, "none") && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
