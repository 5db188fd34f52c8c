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
		j.add("ssh-not-scanned", j.h.ID, "", evidence(probe, "the host was not probed%s", because(probe.Reason)), j.unseenHealth())
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

// unseenHealth says what it means that nobody saw the machine's health: only
// an open shell shows that it lets sessions open.
func (j *judge) unseenHealth() fleet.Evidence {
	if shell := j.iam.openShell[j.h.ID]; shell != nil && j.connected {
		return evidence(j.r.Sessions, "the machine's health was not seen either, but let session %s open at %s", quoted(shell.ID), shell.Start.UTC().Format("2006-01-02 15:04Z"))
	}
	return evidence(j.h.Probe, "the machine's health was not seen: a full disk or spent inotify instances would stop the sessions of a connected agent")
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
	j.keySources(f)
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

// instanceConnect is in the path of EC2 Instance Connect's key command.
// Source: aws/aws-ec2-instance-connect-config.
const instanceConnect = "eic_run_authorized_keys"

// keySources judges what lets people in whom no key file names: commands and
// authorities, in the settings or, as EC2 Instance Connect does it, in the
// daemon's arguments.
func (j *judge) keySources(f fleet.Fact[fleet.SSHD]) {
	s := f.Value
	facts := func(keywords ...string) []fleet.Evidence {
		var out []fleet.Evidence
		for _, keyword := range keywords {
			for _, v := range everySetting(s, keyword) {
				out = append(out, evidence(f, "%s %s", keyword, quoted(v)))
			}
			if strings.Contains(strings.ToLower(s.Arguments), keyword) {
				out = append(out, evidence(f, "sshd runs with the arguments %s", quoted(s.Arguments)))
			}
			if strings.Contains(strings.ToLower(s.UnitArguments), keyword) {
				out = append(out, evidence(f, "sshd's unit gives it at its next start the arguments %s", quoted(s.UnitArguments)))
			}
		}
		return out
	}
	if commands := facts("authorizedkeyscommand"); commands != nil {
		j.add("key-commands", j.h.ID, j.commandsFix(s), commands...)
	}
	if authorities := facts("trustedusercakeys", "authorizedprincipalscommand"); authorities != nil {
		j.add("key-authorities", j.h.ID, authoritiesFix(s), authorities...)
	}
}

// commandsFix says how to close the commands that a host's sshd asks for keys.
func (j *judge) commandsFix(s fleet.SSHD) string {
	var steps []string
	if strings.Contains(s.Arguments+s.UnitArguments+strings.Join(everySetting(s, "authorizedkeyscommand"), " "), instanceConnect) {
		steps = append(steps, "EC2 Instance Connect: see who uses it (aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=SendSSHPublicKey) and give them a way by Session Manager; "+
			"then deny ec2-instance-connect:SendSSHPublicKey in IAM, or on the host "+j.removeInstanceConnect())
	}
	for _, v := range everySetting(s, "authorizedkeyscommand") {
		if !strings.Contains(v, instanceConnect) {
			steps = append(steps, "list whom "+quoted(v)+" lets in, and give those who stay a way by Session Manager; then take AuthorizedKeysCommand out of sshd's configuration, check with sshd -t, and reload sshd with another session open")
		}
	}
	return strings.Join(steps, "; ")
}

// removeInstanceConnect takes away the package that brought the drop-in for
// sshd's unit, whose name is another on Debian and Ubuntu.
// Source: aws/aws-ec2-instance-connect-config.
func (j *judge) removeInstanceConnect() string {
	remove, unit := "remove the package ec2-instance-connect with its drop-in for sshd's unit", "sshd"
	switch j.family() {
	case familyDebian, familyUbuntu:
		remove, unit = "apt-get purge -y ec2-instance-connect", "ssh"
	case familyRPM:
		remove = j.installer() + " remove -y ec2-instance-connect"
	}
	return remove + " && systemctl daemon-reload && systemctl restart " + unit + ", with another session open"
}

// authoritiesFix names the files of authorities that a host's sshd trusts.
func authoritiesFix(s fleet.SSHD) string {
	files := everySetting(s, "trustedusercakeys")
	if len(files) == 0 {
		return ""
	}
	return "ask whoever runs the authority in " + quotedList(files[:min(len(files), mostListed)]) + " for the certificates that it has issued, and name their holders in the owners file; " +
		"when they have moved, take TrustedUserCAKeys out of sshd's configuration, check with sshd -t, and reload sshd with another session open"
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
