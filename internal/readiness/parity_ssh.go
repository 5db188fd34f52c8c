package readiness

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// sshdoor judges whom sshd on one host would let in. Whether the port can be
// reached is not asked.
type sshdoor struct {
	h    *fleet.Host
	sshd fleet.Fact[fleet.SSHD]
	now  time.Time // the moment that expiry times are held against
}

func newDoor(h *fleet.Host, now time.Time) sshdoor {
	return sshdoor{h: h, sshd: h.Probe.Value.SSHD, now: now}
}

// key says whether sshd takes a key from its files, from anywhere. A key whose
// options allow one command or some addresses only is a way in as well.
// Source: OpenSSH, sshd(8), AUTHORIZED_KEYS FILE FORMAT.
func (d sshdoor) key(k *fleet.Key) answer {
	valid := d.valid(k)
	if k.Problem != "" || valid == no {
		return no
	}
	if !d.sshd.Known {
		return min(maybe, d.account(k.User))
	}
	if d.off(k.User, "pubkeyauthentication") || !d.algorithm(k) {
		return no
	}
	a := min(valid, d.account(k.User), d.listed(k.User), d.root(k))
	if !d.alone(k.User, "publickey") {
		a = min(a, maybe)
	}
	return a
}

// farthestZone is how far the zones of hosts are from UTC at most.
const farthestZone = 14 * time.Hour

// valid says whether a key's expiry-time has not passed. A time without Z is
// in the host's own zone, which is not known.
func (d sshdoor) valid(k *fleet.Key) answer {
	text, ok := k.Option("expiry-time")
	if !ok {
		return yes
	}
	text, utc := strings.CutSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		t, err := time.Parse(layout, text)
		if err != nil || len(layout) != len(text) {
			continue
		}
		zone := farthestZone
		if utc {
			zone = 0
		}
		switch {
		case t.Add(zone).Before(d.now):
			return no
		case t.Add(-zone).Before(d.now):
			return maybe
		}
		return yes
	}
	return no // sshd refuses a key whose expiry-time it cannot read
}

// account says whether the host has an account that may log in. Without a
// shell it can still forward ports, and copy where sshd's own SFTP server
// serves it. A directory may know accounts that getent does not list.
// Source: OpenSSH, sshd_config(5), AllowTcpForwarding and ForceCommand internal-sftp.
func (d sshdoor) account(user string) answer {
	users := d.h.Probe.Value.Users
	i := slices.IndexFunc(users.Value, func(u fleet.User) bool { return u.Name == user })
	switch {
	case i >= 0 && noShell(users.Value[i].Shell):
		return maybe
	case i >= 0:
		return yes
	case users.Known && !slices.ContainsFunc(d.h.Probe.Value.Gaps, func(g fleet.Gap) bool { return g.What == "users" || g.What == "more" }):
		return no
	}
	return maybe
}

func noShell(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return name == "nologin" || name == "false"
}

// algorithm reports whether sshd takes keys of this type and size.
// Source: OpenSSH, sshd_config(5), PubkeyAcceptedAlgorithms and RequiredRSASize.
func (d sshdoor) algorithm(k *fleet.Key) bool {
	if least, err := strconv.Atoi(first(d.sshd.Value.For(k.User, "requiredrsasize"))); err == nil && k.Type == "ssh-rsa" && k.Bits > 0 && k.Bits < least {
		return false
	}
	accepted := d.sshd.Value.For(k.User, "pubkeyacceptedalgorithms")
	if len(accepted) == 0 {
		accepted = d.sshd.Value.For(k.User, "pubkeyacceptedkeytypes") // before OpenSSH 8.5
	}
	if len(accepted) == 0 {
		return k.Type != "ssh-dss"
	}
	names := []string{k.Type}
	if k.Type == "ssh-rsa" {
		names = append(names, "rsa-sha2-256", "rsa-sha2-512")
	}
	for _, list := range accepted {
		for _, a := range strings.Split(list, ",") {
			if slices.ContainsFunc(names, func(n string) bool { return glob(strings.TrimSpace(a), n) }) {
				return true
			}
		}
	}
	return false
}

// listed says whether the lists of users and groups let an account in. Groups
// of accounts are not known.
// Source: OpenSSH, sshd_config(5), AllowUsers, DenyUsers, AllowGroups, DenyGroups.
func (d sshdoor) listed(user string) answer {
	a := yes - d.names("denyusers", user)
	if len(d.patterns("allowusers", user)) > 0 {
		a = min(a, d.names("allowusers", user))
	}
	if len(d.patterns("allowgroups", user)) > 0 || len(d.patterns("denygroups", user)) > 0 {
		a = min(a, maybe)
	}
	return a
}

func (d sshdoor) patterns(keyword, user string) []string {
	return strings.Fields(strings.Join(d.sshd.Value.For(user, keyword), " "))
}

// names says whether a list of users names one. From which address somebody
// would come is not known, and a negated pattern is not judged.
func (d sshdoor) names(keyword, user string) answer {
	a := no
	for _, p := range d.patterns(keyword, user) {
		name, host, bound := strings.Cut(p, "@")
		rest, negated := strings.CutPrefix(name, "!")
		switch {
		case !glob(rest, user):
		case bound && host != "*" || negated:
			a = max(a, maybe)
		default:
			a = yes
		}
	}
	return a
}

// root says whether sshd lets root in by a key.
func (d sshdoor) root(k *fleet.Key) answer {
	if k.User != "root" {
		return yes
	}
	switch first(d.sshd.Value.For("root", "permitrootlogin")) {
	case "no":
		return no
	case "forced-commands-only":
		if _, ok := k.Option("command"); !ok {
			return no
		}
	}
	return yes
}

// alone reports whether one method of authentication is enough.
func (d sshdoor) alone(user, method string) bool {
	lists := d.patterns("authenticationmethods", user)
	return len(lists) == 0 || slices.Contains(lists, "any") || slices.Contains(lists, method)
}

func (d sshdoor) off(user, keyword string) bool {
	return first(d.sshd.Value.For(user, keyword)) == "no"
}

// password says whether an account may come in by its password, if it has one.
func (d sshdoor) password(user string) answer {
	if !d.sshd.Known {
		return maybe
	}
	on := func(keyword string) bool { return first(d.sshd.Value.For(user, keyword)) == "yes" }
	if dialogue := on("kbdinteractiveauthentication") && on("usepam"); !dialogue && !on("passwordauthentication") {
		return no
	}
	if user == "root" && first(d.sshd.Value.For(user, "permitrootlogin")) != "yes" {
		return no
	}
	return min(d.account(user), d.listed(user))
}

// authorities are the fingerprints of the certificate authorities that sshd
// trusts, by the account that they open; "" is any.
func (d sshdoor) authorities() map[string][]string {
	out := map[string][]string{}
	for i := range d.h.Probe.Value.Keys.Value {
		if k := &d.h.Probe.Value.Keys.Value[i]; k.CA && k.Problem == "" {
			out[k.User] = append(out[k.User], k.Fingerprint)
		}
	}
	return out
}

// byPrincipals reports whether a list of the host decides which principals of
// a certificate open an account, rather than the account's name alone.
func (d sshdoor) byPrincipals() bool {
	return len(everySetting(d.sshd.Value, "authorizedprincipalsfile")) > 0 || len(everySetting(d.sshd.Value, "authorizedprincipalscommand")) > 0
}

// keyCommand says whether keys come from a command: instanceConnect when it is
// EC2 Instance Connect's, other when it is somebody else's.
// Source: aws/aws-ec2-instance-connect-config.
func (d sshdoor) keyCommand() (instanceConnect, other bool) {
	all := everySetting(d.sshd.Value, "authorizedkeyscommand")
	if a := d.sshd.Value.Arguments; strings.Contains(strings.ToLower(a), "authorizedkeyscommand") {
		all = append(all, a)
	}
	for _, c := range all {
		if strings.Contains(c, "eic_run_authorized_keys") {
			instanceConnect = true
		} else {
			other = true
		}
	}
	return instanceConnect, other
}

// certified is a certificate login that logs show: whoever has it opens the
// account wherever the same authority is trusted.
type certified struct {
	ca, user string
}

// certificate says whether an owner of certificates gets in: yes where one of
// the accounts that logs saw opened by this authority is there, maybe where
// any authority is trusted.
func (d sshdoor) certificate(seen []certified) answer {
	trusted := d.authorities()
	if len(trusted) == 0 {
		return no
	}
	if !d.sshd.Known || d.byPrincipals() {
		return maybe
	}
	for _, s := range seen {
		if slices.Contains(trusted[""], s.ca) || slices.Contains(trusted[s.user], s.ca) {
			if a := min(d.account(s.user), d.listed(s.user)); a == yes {
				return yes
			}
		}
	}
	return maybe
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
