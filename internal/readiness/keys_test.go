package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// keyFleet is a snapshot of hosts that hold the given keys each.
func keyFleet(hosts ...[]fleet.Key) *fleet.Snapshot {
	s := healthy()
	s.Hosts = nil
	for i, keys := range hosts {
		h := healthyHost(fmt.Sprintf("i-%d", i+1))
		h.Probe.Value.Keys.Value = keys
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

func key(user, fingerprint string) fleet.Key {
	return fleet.Key{User: user, File: "/home/" + user + "/.ssh/authorized_keys", Line: 1, Type: "ssh-ed25519", Bits: 256, Fingerprint: fingerprint, Blob: "AAAA" + fingerprint, Comment: user + "@example"}
}

// used makes a host's log show a login with a key at a time.
func used(h *fleet.Host, user, fingerprint string, last time.Time) {
	h.Probe.Value.Logins.Value.Logins = append(h.Probe.Value.Logins.Value.Logins,
		fleet.Login{User: user, Method: "publickey", Fingerprint: fingerprint, Count: 1, First: last, Last: last})
}

func judge(s *fleet.Snapshot) *fleet.Assessment {
	return readiness.Assess(s, readiness.DefaultPolicy(), now)
}

func TestKeySharedByHostsIsOneFinding(t *testing.T) {
	k := key("deploy", "SHA256:shared")
	hosts := make([][]fleet.Key, 40)
	for i := range hosts {
		hosts[i] = []fleet.Key{k}
	}
	s := keyFleet(hosts...)
	for i := range s.Hosts {
		used(&s.Hosts[i], "deploy", "SHA256:shared", at)
	}
	a := judge(s)
	if got := codes(a); len(got) != 1 || got[0] != "key-shared" {
		t.Fatalf("findings %v, want key-shared once", got)
	}
	checkFindings(t, a)
	f := a.Findings[0]
	if f.Host != "" || f.Object != "SHA256:shared" || f.Blast != "the key opens 40 hosts" {
		t.Errorf("host %q, object %q, blast %q", f.Host, f.Object, f.Blast)
	}
	if !strings.Contains(factsOf(f), "and 32 more") || !strings.Contains(factsOf(f), "i-1: user \"deploy\"") {
		t.Errorf("evidence:\n%s", factsOf(f))
	}
	if a.Count(fleet.VerdictReady) != 40 {
		t.Errorf("keys changed verdicts: %+v", a.Hosts)
	}
}

// A person's own key on many hosts is no shared one.
func TestSharedKeysAreThoseWithoutOneOwner(t *testing.T) {
	one, both := key("ops", "SHA256:a"), []fleet.Owner{alice, {Person: "Bob", Comments: []string{"ops@*"}}}
	for _, c := range []struct {
		name   string
		owners []fleet.Owner
		says   string // empty: no finding
	}{
		{"nobody claims it", nil, "it opens 2 hosts as \"ops\", and no owner claims it"},
		{"one owner, by fingerprint", []fleet.Owner{alice}, ""},
		{"one owner, by comment", both[1:], ""},
		{"two owners", both, `several owners claim it: "` + alice.Person + `", "Bob"`},
		{"the owner of another key", []fleet.Owner{{Person: "Carol", Fingerprints: []string{"SHA256:c"}}}, "no owner claims it"},
	} {
		p := readiness.DefaultPolicy()
		p.Owners = c.owners
		a := readiness.Assess(keyFleet([]fleet.Key{one}, []fleet.Key{one}), p, now)
		if c.says == "" {
			if slices.Contains(codes(a), "key-shared") {
				t.Errorf("%s: findings %v", c.name, codes(a))
			}
		} else if text := factsOf(finding(t, a, "key-shared")); !strings.Contains(text, c.says) {
			t.Errorf("%s: evidence does not say %q:\n%s", c.name, c.says, text)
		}
	}
}

// Source: cloud-init, ssh_util.py, DISABLE_USER_OPTS.
func TestLinesThatSendPeopleAwayOpenNothing(t *testing.T) {
	const command = `command="echo 'Please login as the user \"ec2-user\" rather than the user \"root\".';echo;sleep 10;exit 142"`
	line := func(options ...string) []fleet.Key {
		k := key("root", "SHA256:pair")
		k.Options = options
		return []fleet.Key{key("ec2-user", "SHA256:pair"), k}
	}
	for _, c := range []struct {
		name string
		keys []fleet.Key
		want []string
	}{
		{"cloud-init's line", line("no-port-forwarding", "no-agent-forwarding", "no-X11-forwarding", command), []string{"key-unused"}},
		{"as early versions wrote it", line("no-port-forwarding", strings.Replace(command, ";exit 142", "", 1)), []string{"key-unused"}},
		{"ports can be forwarded by it", line(command), []string{"key-shared", "key-with-options", "key-unused"}},
		{"something follows", line("no-port-forwarding", strings.Replace(command, "exit 142", "sh", 1)), []string{"key-shared", "key-with-options", "key-unused"}},
		{"no other line", line("no-port-forwarding", command)[1:], []string{}},
	} {
		if got := codes(judge(keyFleet(c.keys))); !slices.Equal(got, c.want) {
			t.Errorf("%s: findings %v, want %v", c.name, got, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	with := func(change func(*fleet.Key)) []fleet.Key {
		k := key("ec2-user", "SHA256:one")
		change(&k)
		return []fleet.Key{k}
	}
	for _, c := range []struct {
		name string
		keys []fleet.Key
		want string
		says string
	}{
		{"a key of one user on one host", with(func(*fleet.Key) {}), "", ""},
		{"one key for two users", append(with(func(*fleet.Key) {}), key("root", "SHA256:one")), "key-shared", `"ec2-user", "root"`},
		{"a certificate authority is meant to be shared", append(with(func(k *fleet.Key) { k.CA = true }), with(func(k *fleet.Key) { k.CA, k.User = true, "root" })...), "", ""},
		{"DSA", with(func(k *fleet.Key) { k.Type, k.Bits = "ssh-dss", 1024 }), "key-weak", "DSA"},
		{"RSA 1024 (NIST SP 800-131A)", with(func(k *fleet.Key) { k.Type, k.Bits = "ssh-rsa", 1024 }), "key-weak", "1024 bits"},
		{"RSA 2048", with(func(k *fleet.Key) { k.Type, k.Bits = "ssh-rsa", 2048 }), "", ""},
		{"RSA of unknown size", with(func(k *fleet.Key) { k.Type, k.Bits = "ssh-rsa", 0 }), "", ""},
		{"ECDSA is not measured as RSA", with(func(k *fleet.Key) { k.Type, k.Bits = "ecdsa-sha2-nistp256", 256 }), "", ""},
		{"a key type of tomorrow", with(func(k *fleet.Key) { k.Type, k.Bits = "ssh-mldsa44-ed25519@openssh.com", 0 }), "", ""},
		{"from= (sessions arrive from loopback)", with(func(k *fleet.Key) { k.Options = []string{`from="10.0.0.0/8"`} }), "key-with-options", `from="10.0.0.0/8"`},
		{"command=", with(func(k *fleet.Key) { k.Options = []string{"restrict", `COMMAND="/bin/backup \"x\""`} }), "key-with-options", "command="},
		{"restrict alone works the same", with(func(k *fleet.Key) { k.Options = []string{"restrict", "no-pty"} }), "", ""},
		{"a line that sshd ignores opens nothing", with(func(k *fleet.Key) { k.Type, k.Problem = "ssh-dss", "bad base64" }), "", ""},
		{"the EC2 key pair is named", with(func(k *fleet.Key) { k.Blob, k.Type, k.Bits = "AAAAprod", "ssh-rsa", 1024 }), "key-weak", `EC2 key pair "prod"`},
		{"comments are made harmless", with(func(k *fleet.Key) { k.Comment, k.Type = "\x1b]0;pwned\x07<script>\xff", "ssh-dss" }), "key-weak", `\x1b]0;pwned\a<script>\xff`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := keyFleet(c.keys)
			used(&s.Hosts[0], "ec2-user", "SHA256:one", at)
			used(&s.Hosts[0], "root", "SHA256:one", at)
			a := judge(s)
			checkFindings(t, a)
			if c.want == "" {
				if len(a.Findings) != 0 {
					t.Fatalf("findings %v, want none", codes(a))
				}
				return
			}
			if f := finding(t, a, c.want); !strings.Contains(factsOf(f), c.says) {
				t.Errorf("evidence does not say %s:\n%s", c.says, factsOf(f))
			}
		})
	}
}

func TestUnusedIsClaimedOnlyWhereTheLogProvesIt(t *testing.T) {
	const fp = "SHA256:one"
	log := func(change func(*fleet.LoginLog)) func(*fleet.Host) {
		return func(h *fleet.Host) { change(&h.Probe.Value.Logins.Value) }
	}
	for _, c := range []struct {
		name   string
		change func(*fleet.Host)
		unused bool
	}{
		{"no login in 200 days", log(func(*fleet.LoginLog) {}), true},
		{"log reaches back 89 days", log(func(l *fleet.LoginLog) { l.From = at.AddDate(0, 0, -89) }), false},
		{"log reaches back 90 days", log(func(l *fleet.LoginLog) { l.From = at.AddDate(0, 0, -90) }), true},
		{"log without a beginning", log(func(l *fleet.LoginLog) { l.From = time.Time{} }), false},
		{"log that nobody writes any more", log(func(l *fleet.LoginLog) { l.To = at.AddDate(0, 0, -2) }), false},
		{"log that was not read", func(h *fleet.Host) {
			h.Probe.Value.Logins = lost[fleet.LoginLog]("probe: journal", "permission denied")
		}, false},
		{"used 89 days ago", func(h *fleet.Host) { used(h, "ec2-user", fp, at.AddDate(0, 0, -89)) }, false},
		{"used 91 days ago", func(h *fleet.Host) { used(h, "ec2-user", fp, at.AddDate(0, 0, -91)) }, true},
		{"used at a time that is not known", func(h *fleet.Host) { used(h, "ec2-user", fp, time.Time{}) }, false},
		{"another user used it", func(h *fleet.Host) { used(h, "root", fp, at) }, true},
		{"a key login whose key the log does not name", func(h *fleet.Host) { used(h, "ec2-user", "", at) }, false},
		{"a password login", func(h *fleet.Host) {
			h.Probe.Value.Logins.Value.Logins = []fleet.Login{{User: "ec2-user", Method: "password", Last: at}}
		}, true},
	} {
		s := keyFleet([]fleet.Key{key("ec2-user", fp)})
		c.change(&s.Hosts[0])
		a := judge(s)
		got := false
		for _, f := range a.Findings {
			got = got || f.Code == "key-unused"
		}
		if got != c.unused {
			t.Errorf("%s: unused %t, want %t (%v)", c.name, got, c.unused, codes(a))
		}
	}
}

func TestUnusedCountsPlaces(t *testing.T) {
	k := []fleet.Key{key("ec2-user", "SHA256:one")}
	s := keyFleet(k, k, k)
	used(&s.Hosts[1], "ec2-user", "SHA256:one", at)
	s.Hosts[2].Probe.Value.Logins.Value.From = at
	f := finding(t, judge(s), "key-unused")
	if want := "in 1 place whose logs reach back that far; of 2 others, 1 saw a login and the rest cannot tell"; !strings.Contains(factsOf(f), want) {
		t.Errorf("evidence does not say %q:\n%s", want, factsOf(f))
	}
}

func TestDoorsBesideKeyFiles(t *testing.T) {
	sshd := func(change func(*fleet.SSHD)) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { change(&h.Probe.Value.SSHD.Value) }
	}
	set := func(pairs ...string) change {
		return sshd(func(s *fleet.SSHD) {
			for i := 0; i < len(pairs); i += 2 {
				s.Settings[pairs[i]] = []string{pairs[i+1]}
			}
		})
	}
	runCases(t, []verdictCase{
		{"key command", []change{set("authorizedkeyscommand", "/usr/bin/iam-keys %u")}, fleet.VerdictReady, "", []string{"key-commands"}},
		{"none is none", []change{set("authorizedkeyscommand", "none", "trustedusercakeys", "none")}, fleet.VerdictReady, "", []string{}},
		{"certificate authority", []change{set("trustedusercakeys", "/etc/ssh/ca.pub")}, fleet.VerdictReady, "", []string{"key-authorities"}},
		{"principals by command", []change{set("authorizedprincipalscommand", "/usr/bin/principals %i")}, fleet.VerdictReady, "", []string{"key-authorities"}},
		{"Instance Connect hides in the arguments (aws-ec2-instance-connect-config)", []change{sshd(func(s *fleet.SSHD) {
			s.Arguments = "-D -o AuthorizedKeysCommand=/opt/aws/bin/eic_run_authorized_keys %u %f"
		})}, fleet.VerdictReady, "", []string{"key-commands"}},
		{"passwords", []change{set("passwordauthentication", "yes")}, fleet.VerdictReady, "", []string{"password-authentication"}},
		{"passwords for one user", []change{sshd(func(s *fleet.SSHD) {
			s.PerUser = map[string]map[string][]string{"sftp": {"passwordauthentication": {"yes"}}}
		})}, fleet.VerdictReady, "", []string{"password-authentication"}},
		{"passwords through PAM's dialogue", []change{set("kbdinteractiveauthentication", "yes", "usepam", "yes")}, fleet.VerdictReady, "", []string{"password-authentication"}},
		{"the dialogue without PAM asks nothing", []change{set("kbdinteractiveauthentication", "yes", "usepam", "no")}, fleet.VerdictReady, "", []string{}},
		{"parts that were not read", []change{func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Probe.Value.SSHD = lost[fleet.SSHD]("probe: sshd -T", "needs root")
			h.Probe.Value.Gaps = []fleet.Gap{{What: "/root/.ssh/authorized_keys", Reason: "permission denied"}}
		}}, fleet.VerdictReady, "", []string{"ssh-partly-scanned"}},
		{"Windows hosts are not probed", []change{unprobed, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Platform = "Windows" }}, fleet.VerdictReady, "", []string{}},
	})
}

func TestKeysOfAnIncompleteListCount(t *testing.T) {
	s := keyFleet([]fleet.Key{key("root", "SHA256:one")}, []fleet.Key{key("root", "SHA256:one")})
	for i := range s.Hosts {
		s.Hosts[i].Probe.Value.Keys.Known, s.Hosts[i].Probe.Value.Keys.Reason = false, "one file was not readable"
	}
	a := judge(s)
	finding(t, a, "key-shared")
	finding(t, a, "ssh-partly-scanned")
}

// Every source of keys is closed by its own means.
func TestFixesOfKeySources(t *testing.T) {
	sshd := func(change func(*fleet.SSHD)) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { change(&h.Probe.Value.SSHD.Value) }
	}
	const connect = "-D -o AuthorizedKeysCommand=/usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f"
	for _, c := range []struct {
		name, code string
		change     change
		says       []string
		not        string
	}{
		{"EC2 Instance Connect in the arguments", "key-commands", sshd(func(s *fleet.SSHD) { s.Arguments = connect }),
			[]string{"EC2 Instance Connect", "ec2-instance-connect:SendSSHPublicKey", "cloudtrail lookup-events", "systemctl restart sshd"}, "iam-keys"},
		{"EC2 Instance Connect, from the next start on", "key-commands", sshd(func(s *fleet.SSHD) { s.UnitArguments = connect }), []string{"EC2 Instance Connect"}, "iam-keys"},
		{"another command", "key-commands", sshd(func(s *fleet.SSHD) { s.Settings["authorizedkeyscommand"] = []string{"/usr/bin/iam-keys %u"} }),
			[]string{`"/usr/bin/iam-keys %u"`, "AuthorizedKeysCommand", "sshd -t"}, "Instance Connect"},
		{"an authority", "key-authorities", sshd(func(s *fleet.SSHD) { s.Settings["trustedusercakeys"] = []string{"/etc/ssh/ca.pub"} }),
			[]string{`"/etc/ssh/ca.pub"`, "TrustedUserCAKeys", "owners file"}, "AuthorizedKeysCommand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fix := finding(t, assess(c.change), c.code).Fix
			for _, want := range c.says {
				if !strings.Contains(fix, want) {
					t.Errorf("the fix does not say %q: %s", want, fix)
				}
			}
			if strings.Contains(fix, c.not) {
				t.Errorf("the fix speaks of %q: %s", c.not, fix)
			}
		})
	}
}
