package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

var alice = fleet.Owner{Person: "Alice", Fingerprints: []string{"SHA256:a"}, Principals: []string{userARN}}

// rowOf finds a person's row.
func rowOf(t *testing.T, a *fleet.Assessment, person string) fleet.PersonParity {
	t.Helper()
	p := personRow(a, person)
	if p.Person == "" {
		t.Fatalf("no row for %s among %+v", person, a.Parity.People)
	}
	return p
}

// personRow is a person's row, or none.
func personRow(a *fleet.Assessment, person string) fleet.PersonParity {
	for _, p := range a.Parity.People {
		if p.Person == person {
			return p
		}
	}
	return fleet.PersonParity{}
}

func TestParityLetters(t *testing.T) {
	s := withTags(map[string]string{"team": "web"}, map[string]string{"team": "db"}, map[string]string{"team": "web"}, map[string]string{"team": "db"}, map[string]string{"team": "web"})
	for _, i := range []int{0, 1, 4} {
		s.Hosts[i].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
	}
	s.Hosts[4].Probe.Value.Keys.Known = false // one file of it could not be read
	s.Hosts = append(s.Hosts, healthyHost("i-6"))
	s.Hosts[5].Probe = lost[fleet.Probe]("probe", "connection refused")
	addUser(s, policyOf(onWeb, documents, channel))
	a := judgeWith(s, ownedBy(alice))
	want := fleet.PersonParity{
		Person: "Alice", Claimed: true, Principals: []string{userARN}, Keys: []string{"SHA256:a"},
		Cells: "klg-ku", Keeps: 2, Loses: 1, Gains: 1, Unknown: 1,
	}
	if diff := cmp.Diff([]fleet.PersonParity{want}, a.Parity.People); diff != "" {
		t.Error(diff)
	}
	if f := finding(t, a, "access-lost"); f.Object != "Alice" || !strings.Contains(factsOf(f), "on 1 host: i-2") {
		t.Errorf("finding %+v", f)
	}
	checkFindings(t, a)
}

// What sshd accepts: OpenSSH, sshd_config(5) and sshd(8).
func TestWhatSSHDAccepts(t *testing.T) {
	set := func(keyword string, values ...string) func(*fleet.Probe, *fleet.Key) {
		return func(p *fleet.Probe, _ *fleet.Key) { p.SSHD.Value.Settings[keyword] = values }
	}
	with := func(options ...string) func(*fleet.Probe, *fleet.Key) {
		return func(_ *fleet.Probe, k *fleet.Key) { k.Options = options }
	}
	root := func(p *fleet.Probe, k *fleet.Key) {
		k.User = "root"
		p.Users.Value = append(p.Users.Value, fleet.User{Name: "root", Shell: "/bin/bash"})
	}
	type changes []func(*fleet.Probe, *fleet.Key)
	for _, c := range []struct {
		name    string
		changes changes
		want    string // k: the key opens the host; g: it does not; u: not known
	}{
		{"a key of the account", nil, "k"},
		{"a line that sshd ignores", changes{func(_ *fleet.Probe, k *fleet.Key) { k.Problem = "bad base64" }}, "g"},
		{"PubkeyAuthentication no", changes{set("pubkeyauthentication", "no")}, "g"},
		{"PubkeyAuthentication no for others", changes{func(p *fleet.Probe, _ *fleet.Key) {
			p.SSHD.Value.PerUser = map[string]map[string][]string{"web": {"pubkeyauthentication": {"no"}}}
		}}, "k"},
		{"PubkeyAuthentication no in a Match block", changes{func(p *fleet.Probe, _ *fleet.Key) {
			p.SSHD.Value.PerUser = map[string]map[string][]string{"ec2-user": {"pubkeyauthentication": {"no"}}}
		}}, "g"},
		{"AllowUsers with the account", changes{set("allowusers", "ec2-*", "web")}, "k"},
		{"AllowUsers without it", changes{set("allowusers", "web")}, "g"},
		{"AllowUsers from some addresses only", changes{set("allowusers", "ec2-user@10.0.0.0/8")}, "u"},
		{"AllowUsers from anywhere", changes{set("allowusers", "ec2-user@*")}, "k"},
		{"DenyUsers", changes{set("denyusers", "ec2-user")}, "g"},
		{"DenyUsers wins", changes{set("denyusers", "ec2-*"), set("allowusers", "ec2-user")}, "g"},
		{"DenyUsers of others", changes{set("denyusers", "web root")}, "k"},
		{"AllowGroups: groups are not known", changes{set("allowgroups", "wheel")}, "u"},
		{"DenyGroups likewise", changes{set("denygroups", "guests")}, "u"},
		{"no such account", changes{func(p *fleet.Probe, k *fleet.Key) { k.User = "gone" }}, "g"},
		{"accounts are not known", changes{func(p *fleet.Probe, _ *fleet.Key) { p.Users = lost[[]fleet.User]("probe", "x") }}, "u"},
		{"no shell: ports and copies may be served", changes{func(p *fleet.Probe, _ *fleet.Key) { p.Users.Value[0].Shell = "/usr/sbin/nologin" }}, "u"},
		{"a directory's account that getent does not list", changes{func(p *fleet.Probe, k *fleet.Key) {
			k.User, p.Gaps = "ldapalice", []fleet.Gap{{What: "users", Reason: "users of the directory (sss) are seen only as far as getent lists them"}}
		}}, "u"},
		{"settings are not known", changes{func(p *fleet.Probe, _ *fleet.Key) { p.SSHD = lost[fleet.SSHD]("probe", "needs root") }}, "u"},
		{"from= is a way in from somewhere", changes{with(`from="10.0.0.0/8"`)}, "k"},
		{"command= is a way in", changes{with("restrict", `command="/bin/backup"`)}, "k"},
		{"expiry-time in the future", changes{with(`expiry-time="20301231"`)}, "k"},
		{"expiry-time in the past", changes{with(`expiry-time="202601011200Z"`)}, "g"},
		{"expiry-time of today without a zone, which may have passed", changes{with(`expiry-time="202611010930"`)}, "u"},
		{"expiry-time of today in UTC", changes{with(`expiry-time="202611012359Z"`)}, "k"},
		{"expiry-time of two days ago without a zone", changes{with(`expiry-time="20261030"`)}, "g"},
		{"expiry-time that is none", changes{with(`expiry-time="soon"`)}, "g"},
		{"root", changes{root, set("permitrootlogin", "without-password")}, "k"},
		{"root, PermitRootLogin no", changes{root, set("permitrootlogin", "no")}, "g"},
		{"root, forced-commands-only without one", changes{root, set("permitrootlogin", "forced-commands-only")}, "g"},
		{"root, forced-commands-only with one", changes{root, set("permitrootlogin", "forced-commands-only"), with(`command="/bin/backup"`)}, "k"},
		{"PermitRootLogin no is not about others", changes{set("permitrootlogin", "no")}, "k"},
		{"a key and a second factor", changes{set("authenticationmethods", "publickey,keyboard-interactive")}, "u"},
		{"a key alone is one of two ways", changes{set("authenticationmethods", "password", "publickey")}, "k"},
		{"DSA by default", changes{func(_ *fleet.Probe, k *fleet.Key) { k.Type = "ssh-dss" }}, "g"},
		{"DSA switched on", changes{func(_ *fleet.Probe, k *fleet.Key) { k.Type = "ssh-dss" }, set("pubkeyacceptedalgorithms", "ssh-ed25519,ssh-dss")}, "k"},
		{"an algorithm that is not accepted", changes{set("pubkeyacceptedalgorithms", "rsa-sha2-512")}, "g"},
		{"RSA by its newer signatures", changes{func(_ *fleet.Probe, k *fleet.Key) { k.Type, k.Bits = "ssh-rsa", 3072 }, set("pubkeyacceptedalgorithms", "rsa-sha2-512")}, "k"},
		{"RSA below RequiredRSASize", changes{func(_ *fleet.Probe, k *fleet.Key) { k.Type, k.Bits = "ssh-rsa", 1024 }, set("requiredrsasize", "2048")}, "g"},
		{"a key command of one's own", changes{set("authorizedkeyscommand", "/usr/bin/iam-keys %u"), func(_ *fleet.Probe, k *fleet.Key) { k.Problem = "x" }}, "u"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := withTags(nil)
			p := &s.Hosts[0].Probe.Value
			k := key("ec2-user", "SHA256:a")
			for _, change := range c.changes {
				change(p, &k)
			}
			p.Keys.Value = []fleet.Key{k}
			addUser(s, policyOf(statementOf("Allow", `"*"`, `"*"`, "")))
			if got := rowOf(t, judgeWith(s, ownedBy(alice)), "Alice").Cells; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// What a log shows is a way in, whatever files and settings say.
func TestWhoCameInLatelyHasAWayIn(t *testing.T) {
	by := func(user, method, fingerprint string, days int) fleet.Login {
		l := login(user, fingerprint, "10.9.9.9", fleet.UseShell, days)
		l.Method = method
		return l
	}
	cert := by("ec2-user", "publickey", "SHA256:k", 1)
	cert.CertID, cert.CA = "alice", "SHA256:ca"
	owner := alice
	owner.Users, owner.Certificates = []string{"alice"}, []string{"alice"}
	tunnel := func(p *fleet.Probe) {
		p.Users.Value = append(p.Users.Value, fleet.User{Name: "tunnel", Shell: "/usr/sbin/nologin"})
		p.Keys.Value = []fleet.Key{key("tunnel", "SHA256:a")}
	}
	for _, c := range []struct {
		name   string
		login  fleet.Login
		change func(*fleet.Probe)
		want   string
	}{
		{"a key that no file shows", by("ec2-user", "publickey", "SHA256:a", 1), nil, "u"},
		{"such a key long ago", by("ec2-user", "publickey", "SHA256:a", 60), nil, "-"},
		{"a certificate whose authority no file shows", cert, nil, "u"},
		{"Kerberos", by("alice", "gssapi-with-mic", "", 1), nil, "u"},
		{"a trusted host", by("alice", "hostbased", "", 1), nil, "u"},
		{"somebody else's Kerberos", by("bob", "gssapi-with-mic", "", 1), nil, "-"},
		{"an account without a shell, by a key that is still there", by("tunnel", "publickey", "SHA256:a", 1), tunnel, "l"},
		{"another key for that account", by("tunnel", "publickey", "SHA256:b", 1), tunnel, "u"},
		{"AllowGroups, and the key has opened it", by("ec2-user", "publickey", "SHA256:a", 1), func(p *fleet.Probe) {
			p.SSHD.Value.Settings["allowgroups"] = []string{"wheel"}
			p.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
		}, "l"},
	} {
		s := withTags(nil)
		p := &s.Hosts[0].Probe.Value
		p.Logins.Value.Logins = []fleet.Login{c.login}
		if c.change != nil {
			c.change(p)
		}
		if got := rowOf(t, judgeWith(s, ownedBy(owner)), "Alice").Cells; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	s := withTags(nil)
	s.Hosts[0].Probe.Value.Logins.Value.Logins = []fleet.Login{by("bob", "gssapi-with-mic", "", 1)}
	if got := rowOf(t, judge(s), "gssapi-with-mic of bob"); got.Cells != "u" || got.Claimed {
		t.Errorf("a login that nobody claims: %+v", got)
	}
}

// IAM User Guide, reference_policies_evaluation-logic-cross-account: both sides must allow it.
func TestOwnersMayAssumeRolesOfOtherAccounts(t *testing.T) {
	const identity = "999999999999"
	const arn = "arn:aws:iam::" + identity + ":user/alice"
	trust := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`
	}
	for _, c := range []struct{ name, trust, policy, want string }{
		{"named", trust(arn), statementOf("Allow", `"sts:AssumeRole"`, `"*"`, ""), "u"},
		{"her account, and her policy allows it", trust("arn:aws:iam::" + identity + ":root"), statementOf("Allow", `"sts:AssumeRole"`, `"`+opsARN+`"`, ""), "u"},
		{"a trust policy that is not understood", `{`, statementOf("Allow", `"sts:AssumeRole"`, `"*"`, ""), "u"},
		{"her account, and her policy does not", trust("arn:aws:iam::" + identity + ":root"), statementOf("Allow", `"sts:AssumeRole"`, `"`+opsARN+`2"`, ""), "l"},
		{"somebody else", trust(arn + "2"), statementOf("Allow", `"sts:AssumeRole"`, `"*"`, ""), "l"},
	} {
		s := withTags(nil)
		s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
		addRole(s, c.trust, policyOf(statementOf("Allow", `["ssm:*","ssmmessages:*"]`, `"*"`, "")))
		s.Accounts = append(s.Accounts, fleet.Account{
			ID: identity, Roles: known([]fleet.Role{}, "iam"),
			Users: known([]fleet.IAMUser{{Name: "alice", ARN: arn, Inline: map[string]string{"p": policyOf(c.policy)}}}, "iam"),
		})
		owner := alice
		owner.Principals = []string{arn}
		if got := rowOf(t, judgeWith(s, ownedBy(owner)), "Alice").Cells; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Newer plugins need ssmmessages:OpenDataChannel in the session's own Region.
func TestTheDataChannelIsAskedInEveryRegion(t *testing.T) {
	for _, c := range []struct{ name, statement, want string }{
		{"everywhere", channel, "kg"},
		{"in one Region", statementOf("Allow", `"ssmmessages:OpenDataChannel"`, `"*"`, `{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`), "ug"},
		{"perhaps", statementOf("Allow", `"ssmmessages:OpenDataChannel"`, `"*"`, `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`), "uu"},
		{"nowhere", statementOf("Allow", `"ec2:DescribeInstances"`, `"*"`, ""), "uu"},
	} {
		s := withTags(map[string]string{"team": "web"}, map[string]string{"team": "web"})
		s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
		s.Hosts[1].Region = "us-east-1"
		addUser(s, policyOf(onWeb, documents, c.statement))
		a := judgeWith(s, ownedBy(alice))
		if got := rowOf(t, a, "Alice").Cells; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if got := slices.Contains(codes(a), "operator-data-channel"); got != (c.name == "nowhere" || c.name == "in one Region") {
			t.Errorf("%s: findings %v", c.name, codes(a))
		}
	}
}

// Session tags go before the role's (IAM User Guide, id_session-tags).
func TestSessionTagsGoBeforeTheRoles(t *testing.T) {
	for _, c := range []struct {
		name, action string
		want         fleet.Reach
	}{
		{"the provider passes no tags", `"sts:AssumeRoleWithSAML"`, fleet.Reach{Yes: 1}},
		{"the provider may pass tags", `["sts:AssumeRoleWithSAML","sts:TagSession"]`, fleet.Reach{Unknown: 1}},
	} {
		s := withTags(nil)
		r := addRole(s, strings.Replace(trustPeople, `"sts:AssumeRoleWithSAML"`, c.action, 1), policyOf(
			statementOf("Allow", `"ssm:StartSession"`, `"*"`, `{"StringEquals":{"aws:PrincipalTag/team":"ops"}}`), channel))
		r.Tags = map[string]string{"team": "ops"}
		if got := judge(s).Operators; len(got) != 1 || got[0].Start != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// EC2 Instance Connect lets in whoever may push a key
// (aws-ec2-instance-connect-config; EC2 User Guide, ec2-instance-connect-configure-IAM-role).
func TestInstanceConnectIsAWayIn(t *testing.T) {
	for _, c := range []struct{ name, action, want string }{
		{"who may push a key", "ec2-instance-connect:SendSSHPublicKey", "l"},
		{"who may not", "ec2:DescribeInstances", "-"},
	} {
		s := withTags(nil)
		s.Hosts[0].Probe.Value.SSHD.Value.Arguments = "-D -o AuthorizedKeysCommand=/opt/aws/bin/eic_run_authorized_keys %u %f"
		addUser(s, policyOf(statementOf("Allow", `"`+c.action+`"`, `"*"`, "")))
		if got := rowOf(t, judgeWith(s, ownedBy(alice)), "Alice").Cells; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCertificatesAreAWayIn(t *testing.T) {
	elena := fleet.Owner{Person: "Elena", Certificates: []string{"elena"}}
	seen := login("ec2-user", "SHA256:k", "10.0.0.1", fleet.UseShell, 1)
	seen.CertID, seen.CA = "elena", "SHA256:ca"
	for _, c := range []struct {
		name   string
		ca     string
		logins []fleet.Login
		change func(*fleet.Probe)
		want   string
	}{
		{"no authority", "", nil, nil, "-"},
		{"an authority, no login seen", "SHA256:ca", nil, nil, "u"},
		{"a login with this authority", "SHA256:ca", []fleet.Login{seen}, nil, "l"},
		{"a login with another authority", "SHA256:other", []fleet.Login{seen}, nil, "u"},
		{"principals by a file", "SHA256:ca", []fleet.Login{seen}, func(p *fleet.Probe) {
			p.SSHD.Value.Settings["authorizedprincipalsfile"] = []string{"/etc/ssh/principals/%u"}
		}, "u"},
	} {
		s := withTags(nil, nil)
		for i := range s.Hosts {
			p := &s.Hosts[i].Probe.Value
			if c.ca != "" {
				p.Keys.Value = []fleet.Key{{File: "/etc/ssh/ca.pub", Fingerprint: c.ca, CA: true}}
			}
			if c.change != nil {
				c.change(p)
			}
		}
		s.Hosts[1].Probe.Value.Logins.Value.Logins = c.logins // seen there, and so possible here
		if got := rowOf(t, judgeWith(s, ownedBy(elena)), "Elena").Cells[:1]; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWhatNobodyClaims(t *testing.T) {
	s := withTags(nil, nil, nil)
	shared := key("ec2-user", "SHA256:a")
	shared.Comment = "web team"
	other := key("ec2-user", "SHA256:b")
	other.Comment = "web team"
	s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{shared}
	s.Hosts[1].Probe.Value.Keys.Value = []fleet.Key{other}
	if got := rowOf(t, judge(s), "key web team"); got.Cells != "ll-" || len(got.Keys) != 2 || got.Claimed {
		t.Errorf("no principal may start sessions, so whoever has the key loses: %+v", got)
	}
	addUser(s, policyOf(statementOf("Allow", `["ssm:StartSession","ssmmessages:*"]`, `["arn:aws:ec2:*:*:instance/i-1",`+preferred+`,"*"]`, "")))
	a := judge(s)
	if got := rowOf(t, a, "key web team").Cells; got != "uu-" && got != "uuu" {
		t.Errorf("the principal may be the key's owner: %s", got)
	}
	if got := rowOf(t, a, userARN); got.Cells != "uug" || got.Claimed || !slices.Equal(got.Principals, []string{userARN}) {
		t.Errorf("a key that nobody claims may be the principal's: %+v", got)
	}
	s.Accounts[0].Users = lost[[]fleet.IAMUser]("iam", "AccessDenied")
	if got := rowOf(t, judge(s), "key web team").Cells; got != "uuu" && got != "uu-" {
		t.Errorf("principals that were not read may be anybody's: %s", got)
	}
}

func TestPrincipalsOfOwnersThatAreNotThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		owner  fleet.Owner
		change func(*fleet.Snapshot)
		want   string
	}{
		{"the user does not exist", alice, func(*fleet.Snapshot) {}, "l"},
		{"users were not read", alice, func(s *fleet.Snapshot) { s.Accounts[0].Users = lost[[]fleet.IAMUser]("iam", "x") }, "u"},
		{"an account that was not looked at", fleet.Owner{Person: "Alice", Fingerprints: alice.Fingerprints, Principals: []string{"arn:aws:iam::999999999999:role/x"}}, func(*fleet.Snapshot) {}, "u"},
		{"no principal at all", fleet.Owner{Person: "Alice", Fingerprints: alice.Fingerprints}, func(*fleet.Snapshot) {}, "l"},
		{"a federated person whose role is not named", fleet.Owner{Person: "Alice", Fingerprints: alice.Fingerprints, Sessions: []string{"a@example.com"}}, func(*fleet.Snapshot) {}, "u"},
	} {
		s := withTags(nil)
		s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
		c.change(s)
		if got := rowOf(t, judgeWith(s, ownedBy(c.owner)), "Alice").Cells; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestGainingWidelyIsAFinding(t *testing.T) {
	for _, n := range []int{9, 10} {
		s := withTags(make([]map[string]string, n)...)
		addUser(s, policyOf(statementOf("Allow", `["ssm:StartSession","ssmmessages:*"]`, `"*"`, "")))
		a := judgeWith(s, ownedBy(alice))
		if got := slices.Contains(codes(a), "access-gained"); got != (n == 10) {
			t.Errorf("%d hosts gained: finding %t", n, got)
		}
		checkFindings(t, a)
	}
}

func TestManyUnclaimedKeysShareARow(t *testing.T) {
	s := withTags(make([]map[string]string, 260)...)
	for i := range s.Hosts {
		k := key("ec2-user", fmt.Sprintf("SHA256:%03d", i))
		k.Comment = ""
		s.Hosts[i].Probe.Value.Keys.Value = []fleet.Key{k}
	}
	a := judge(s)
	if len(a.Parity.People) != 201 {
		t.Fatalf("%d rows, want 201", len(a.Parity.People))
	}
	last := a.Parity.People[200]
	if last.Person != "60 more keys that nobody claims" || last.Loses != 60 || len(last.Keys) != 60 {
		t.Errorf("the last row: %q loses %d with %d keys", last.Person, last.Loses, len(last.Keys))
	}
}

func TestParityBy(t *testing.T) {
	s := withTags(map[string]string{"team": "web"}, map[string]string{"team": "db"}, map[string]string{"team": "web"}, nil)
	s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a")}
	addUser(s, policyOf(onWeb, documents, channel))
	a := judgeWith(s, ownedBy(alice))
	got := readiness.ParityBy(a, s, func(h *fleet.Host) string { return h.Tags["team"] })
	row := func(cells string, keeps, gains int) []fleet.PersonParity {
		return []fleet.PersonParity{{Person: "Alice", Claimed: true, Principals: []string{userARN}, Keys: []string{"SHA256:a"}, Cells: cells, Keeps: keeps, Gains: gains}}
	}
	want := []readiness.ParityGroup{
		{Label: "db", Hosts: 1, People: []fleet.PersonParity{}},
		{Label: "web", Hosts: 2, People: row("kg", 1, 1)},
		{Label: "", Hosts: 1, People: []fleet.PersonParity{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// crowd draws a fleet with keys and an operator.
func crowd(t *rapid.T) (*fleet.Snapshot, []string) {
	tag := rapid.MapOfN(rapid.Just("team"), rapid.SampledFrom([]string{"web", "db"}), 0, 1)
	s := withTags(rapid.SliceOfN(tag, 1, 5).Draw(t, "hosts")...)
	for i := range s.Hosts {
		h := &s.Hosts[i]
		for _, f := range rapid.SliceOfN(rapid.SampledFrom([]string{"SHA256:a", "SHA256:b", "SHA256:c"}), 0, 2).Draw(t, "keys") {
			h.Probe.Value.Keys.Value = append(h.Probe.Value.Keys.Value, key("ec2-user", f))
		}
		h.Probe.Value.Keys.Known = rapid.IntRange(0, 4).Draw(t, "keys read") > 0
		h.Probe.Known = rapid.IntRange(0, 6).Draw(t, "probed") > 0
	}
	statements := []string{channel, documents}
	for range rapid.IntRange(0, 3).Draw(t, "statements") {
		statements = append(statements, statementOf("Allow", rapid.SampledFrom([]string{`"ssm:StartSession"`, `"*"`}).Draw(t, "action"),
			rapid.SampledFrom([]string{instances, `"*"`, `"arn:aws:ec2:*:*:instance/i-1"`}).Draw(t, "resource"),
			rapid.SampledFrom([]string{"", `{"StringEquals":{"ssm:resourceTag/team":"web"}}`, `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`}).Draw(t, "condition")))
	}
	return s, statements
}

func TestParityCountsItsLetters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, statements := crowd(t)
		addUser(s, policyOf(statements...))
		a := judgeWith(s, ownedBy(alice, fleet.Owner{Person: "Bob", Fingerprints: []string{"SHA256:b"}}))
		for _, p := range a.Parity.People {
			none := strings.Count(p.Cells, string(fleet.ParityNone))
			if len(p.Cells) != len(s.Hosts) || none+p.Keeps+p.Loses+p.Gains+p.Unknown != len(s.Hosts) {
				t.Fatalf("%d hosts: %+v", len(s.Hosts), p)
			}
		}
		sum := map[string]int{}
		for _, g := range readiness.ParityBy(a, s, func(h *fleet.Host) string { return h.Tags["team"] }) {
			for _, p := range g.People {
				sum[p.Person] += p.Keeps + p.Loses + p.Gains + p.Unknown
			}
		}
		for _, p := range a.Parity.People {
			if sum[p.Person] != p.Keeps+p.Loses+p.Gains+p.Unknown {
				t.Fatalf("groups count %d for %+v", sum[p.Person], p)
			}
		}
	})
}

func TestADenyNeverGivesAccess(t *testing.T) {
	better := func(before, after byte) bool {
		session := map[byte]int{'l': 0, '-': 0, 'u': 1, 'k': 2, 'g': 2}
		return session[after] > session[before] && before != 'u'
	}
	rapid.Check(t, func(t *rapid.T) {
		s, statements := crowd(t)
		denied := *s
		denied.Accounts = slices.Clone(s.Accounts)
		addUser(s, policyOf(statements...))
		addUser(&denied, policyOf(append(slices.Clone(statements), statementOf("Deny", rapid.SampledFrom([]string{`"ssm:StartSession"`, `"ssm:*"`, `"ssmmessages:*"`}).Draw(t, "denied"),
			rapid.SampledFrom([]string{instances, `"*"`, preferred}).Draw(t, "denied resource"),
			rapid.SampledFrom([]string{"", `{"StringEquals":{"ssm:resourceTag/team":"web"}}`, `{"Bool":{"aws:MultiFactorAuthPresent":"false"}}`}).Draw(t, "denied condition")))...))
		before, after := personRow(judgeWith(s, ownedBy(alice)), "Alice"), personRow(judgeWith(&denied, ownedBy(alice)), "Alice")
		for i := range before.Cells {
			if better(before.Cells[i], after.Cells[i]) || before.Cells[i] == 'l' && after.Cells[i] == 'k' {
				t.Fatalf("host %d was %c, is %c with a Deny more", i, before.Cells[i], after.Cells[i])
			}
		}
	})
}

// BenchmarkPeople judges 10,000 hosts in 40 teams with 200 operators, 200
// owners and 500 roles.
func BenchmarkPeople(b *testing.B) {
	tags := make([]map[string]string, 10_000)
	for i := range tags {
		tags[i] = map[string]string{"team": fmt.Sprint(i % 40), "Name": fmt.Sprint("host-", i)}
	}
	s := withTags(tags...)
	var owners []fleet.Owner
	for i := range 200 {
		arn := fmt.Sprintf("arn:aws:iam::%s:user/u%d", accountID, i)
		condition := fmt.Sprintf(`{"StringEquals":{"ssm:resourceTag/team":"%d"}}`, i%40)
		s.Accounts[0].Users.Value = append(s.Accounts[0].Users.Value, fleet.IAMUser{Name: fmt.Sprint("u", i), ID: fmt.Sprint("AIDA", i), ARN: arn, Inline: map[string]string{
			"p": policyOf(statementOf("Allow", `"ssm:StartSession"`, instances, condition), documents, channel),
		}})
		owners = append(owners, fleet.Owner{Person: fmt.Sprint("u", i), Principals: []string{arn}, Fingerprints: []string{fmt.Sprint("SHA256:", i)}})
	}
	for i := range 500 {
		s.Accounts[0].Roles.Value = append(s.Accounts[0].Roles.Value, fleet.Role{Name: fmt.Sprint("r", i), ARN: fmt.Sprintf("arn:aws:iam::%s:role/r%d", accountID, i), Trust: trustPeople, Inline: map[string]string{"p": policyOf(onWeb, documents)}})
	}
	for i := range s.Hosts {
		p := &s.Hosts[i].Probe.Value
		for k := range 10 {
			f := fmt.Sprint("SHA256:", (i%40)+40*(k%5))
			p.Keys.Value = append(p.Keys.Value, key("ec2-user", f))
			p.Logins.Value.Logins = append(p.Logins.Value.Logins, login("ec2-user", f, fmt.Sprintf("10.0.0.%d", k), fleet.UseShell, k))
		}
	}
	for b.Loop() {
		if a := judgeWith(s, ownedBy(owners...)); len(a.Operators) < 200 {
			b.Fatalf("%d operators", len(a.Operators))
		}
	}
}
