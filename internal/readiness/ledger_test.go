package readiness_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

func address(s string) netip.Addr { return netip.MustParseAddr(s) }

// login is one login with a key, days before the probe.
func login(user, fingerprint, from string, use fleet.Use, days int) fleet.Login {
	l := fleet.Login{User: user, Method: "publickey", KeyType: "ED25519", Fingerprint: fingerprint, Use: use, Count: 1, Last: at.AddDate(0, 0, -days)}
	l.First = l.Last
	if from != "" {
		l.From = address(from)
	}
	return l
}

// logging is a snapshot with a host for each list of logins.
func logging(hosts ...[]fleet.Login) *fleet.Snapshot {
	s := withTags(make([]map[string]string, len(hosts))...)
	for i, logins := range hosts {
		s.Hosts[i].Probe.Value.Logins.Value.Logins = logins
	}
	return s
}

func judgeWith(s *fleet.Snapshot, change func(*readiness.Policy)) *fleet.Assessment {
	p := readiness.DefaultPolicy()
	change(&p)
	return readiness.Assess(s, p, now)
}

func ownedBy(owners ...fleet.Owner) func(*readiness.Policy) {
	return func(p *readiness.Policy) { p.Owners = owners }
}

func TestLedgerGroupsByWhoFromWhereAsWhomAndForWhat(t *testing.T) {
	a, b := login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 1), login("web", "SHA256:b", "10.0.0.1", fleet.UseShell, 2)
	older := a
	older.Count, older.First, older.Last = 4, at.AddDate(0, 0, -9), at.AddDate(0, 0, -3)
	scp, root, elsewhere := a, a, a
	scp.Use, root.User, elsewhere.From = fleet.UseSCP, "root", address("10.0.0.2")
	mapped := a
	mapped.From = address("::ffff:10.0.0.1")
	s := logging([]fleet.Login{older, b, scp}, []fleet.Login{a, root, elsewhere, mapped}, nil)
	s.Hosts[2].Probe.Value.Logins = lost[fleet.LoginLog]("probe: journal", "permission denied")
	l := judge(s).Ledger
	if l.Hosts != 3 || !slices.Equal(l.Unread, []string{"i-3"}) {
		t.Errorf("hosts %d, unread %v", l.Hosts, l.Unread)
	}
	if len(l.Consumers) != 5 {
		t.Fatalf("%d consumers, want 5: %+v", len(l.Consumers), l.Consumers)
	}
	i := slices.IndexFunc(l.Consumers, func(c fleet.Consumer) bool { return c.Count == 6 })
	if i < 0 {
		t.Fatalf("no consumer has all 6 logins: %+v", l.Consumers)
	}
	want := fleet.Consumer{
		Method: "publickey", Fingerprint: "SHA256:a", KeyType: "ED25519", User: "web", From: address("10.0.0.1"), Use: fleet.UseShell,
		Hosts: []string{"i-1", "i-2"}, Count: 6, First: at.AddDate(0, 0, -9), Last: at.AddDate(0, 0, -1), Why: "came last on 2026-10-31; nobody claims it",
	}
	if diff := cmp.Diff(want, l.Consumers[i], sameAddress); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSortedFunc(l.Consumers, func(x, y fleet.Consumer) int { return y.Last.Compare(x.Last) }) {
		t.Error("the latest are not first")
	}
}

func TestCertificatesOfOnePersonAreOneConsumer(t *testing.T) {
	one, two := login("web", "SHA256:monday", "10.0.0.1", fleet.UseShell, 1), login("web", "SHA256:tuesday", "10.0.0.1", fleet.UseShell, 2)
	one.CertID, one.CA, two.CertID, two.CA = "elena", "SHA256:ca", "elena", "SHA256:ca"
	l := judgeWith(logging([]fleet.Login{one, two}), ownedBy(fleet.Owner{Person: "Elena", Certificates: []string{"el*"}})).Ledger
	if len(l.Consumers) != 1 || l.Consumers[0].Count != 2 || l.Consumers[0].Owner != "Elena" || l.Consumers[0].OwnerBy != "certificate" || l.Consumers[0].Fingerprint != "" {
		t.Errorf("consumers %+v", l.Consumers)
	}
}

// SSH over Session Manager arrives from loopback (Nebulaworks, "Minimal IAM
// permissions for Session Manager", shows ::1): it does not need port 22.
func TestSSHThroughSessionManagerIsNoConsumer(t *testing.T) {
	s := logging([]fleet.Login{login("web", "SHA256:a", "127.0.0.1", "", 1), login("web", "SHA256:a", "::1", "", 1)})
	s.Hosts[0].Probe.Value.Sessions.Value = []fleet.Session{{User: "web", PID: 7, From: "[::1]:50000"}, {User: "web", PID: 8, From: "127.0.0.1:50000"}}
	a := judge(s)
	if len(a.Ledger.Consumers) != 0 {
		t.Errorf("consumers %+v", a.Ledger.Consumers)
	}
	if f := finding(t, a, "ssh-through-session-manager"); f.Object != "SHA256:a" {
		t.Errorf("finding %+v", f)
	}
	checkFindings(t, a)
}

func TestOpenSessionsBelongToTheirLogins(t *testing.T) {
	s := logging([]fleet.Login{
		login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 3), login("web", "SHA256:b", "10.0.0.1", fleet.UseShell, 1), login("web", "SHA256:a", "10.0.0.2", "", 1),
	})
	s.Hosts[0].Probe.Value.Sessions.Value = []fleet.Session{
		{User: "web", PID: 1, From: "10.0.0.1:40000", Fingerprint: "SHA256:a"},                    // the key decides
		{User: "web", PID: 2, From: "10.0.0.1:40001", Use: fleet.UseShell},                        // the latest from there
		{User: "web", PID: 3, From: "[::ffff:10.0.0.2]:40002", Use: fleet.UseSFTP},                // whose use the log does not tell
		{User: "nobody", PID: 4, From: "10.0.0.9:40003", TTY: "pts/3", Fingerprint: "SHA256:new"}, // which no log explains
		{User: "web", PID: 5}, // whose address the host does not tell
	}
	got := map[string]int{}
	for _, c := range judge(s).Ledger.Consumers {
		got[fmt.Sprint(c.User, " ", c.Fingerprint, " ", c.From, " ", c.Count)] = c.Open
	}
	want := map[string]int{
		"web SHA256:a 10.0.0.1 1": 1, "web SHA256:b 10.0.0.1 1": 2, "web SHA256:a 10.0.0.2 1": 1, "nobody SHA256:new 10.0.0.9 0": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOwners(t *testing.T) {
	byKey := fleet.Owner{Person: "key", Fingerprints: []string{"SHA256:a="}}
	byComment := fleet.Owner{Person: "comment", Comments: []string{"*@laptop"}}
	byUser := fleet.Owner{Person: "user", Users: []string{"web"}}
	for _, c := range []struct {
		name   string
		owners []fleet.Owner
		want   string
		by     string
	}{
		{"nobody", nil, "", ""},
		{"the fingerprint counts more than comment and account", []fleet.Owner{byUser, byComment, byKey}, "key", "fingerprint"},
		{"the comment counts more than the account", []fleet.Owner{byUser, byComment}, "comment", "comment"},
		{"the account", []fleet.Owner{byUser}, "user", "user"},
		{"a comment must match as a whole", []fleet.Owner{{Person: "x", Comments: []string{"@laptop", "alice"}}}, "", ""},
		{"? is a character like others", []fleet.Owner{{Person: "x", Comments: []string{"alice?laptop"}}}, "", ""},
		{"the first of two owners", []fleet.Owner{{Person: "first", Comments: []string{"alice*"}}, byComment}, "first", "comment"},
	} {
		s := logging([]fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 1)})
		k := key("web", "SHA256:a")
		k.Comment = "alice@laptop"
		s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{k}
		got := judgeWith(s, ownedBy(c.owners...)).Ledger.Consumers[0]
		if got.Owner != c.want || got.OwnerBy != c.by || got.Comment != "alice@laptop" {
			t.Errorf("%s: owner %q by %q, comment %q", c.name, got.Owner, got.OwnerBy, got.Comment)
		}
	}
}

// TestRecoveryKeyIsNoConsumer: it is on every host on purpose, and drills log in
// with it. It may also be the authority of the certificates that they bring.
func TestRecoveryKeyIsNoConsumer(t *testing.T) {
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f migrate-recovery"
	blob, err := base64.StdEncoding.DecodeString(strings.Fields(line)[1])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(blob)
	print := "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	signed := login("web", "SHA256:throwaway", "10.0.0.7", fleet.UseCommand, 2)
	signed.CertID, signed.CA = "migrate-recovery", print
	s := logging([]fleet.Login{login("web", print, "10.0.0.7", fleet.UseCommand, 3), signed, login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 1)})
	s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{key("web", print), key("root", print)}
	for _, tc := range []struct {
		keys          []string
		own, consumer int
		shared        bool
	}{
		{nil, 0, 3, true},
		{[]string{"ssh-ed25519", "garbage !", line}, 2, 1, false},
	} {
		a := judgeWith(s, func(p *readiness.Policy) { p.RecoveryKeys = tc.keys })
		own, others := 0, 0
		for _, c := range a.Ledger.Consumers {
			if c.Own() {
				own++
			} else {
				others++
			}
		}
		if own != tc.own || others != tc.consumer {
			t.Errorf("with keys %q: %d of migrate's own, %d others; want %d and %d", tc.keys, own, others, tc.own, tc.consumer)
		}
		shared := slices.ContainsFunc(a.Findings, func(f fleet.Finding) bool { return f.Code == "key-shared" })
		if shared != tc.shared {
			t.Errorf("with keys %q: shared %v", tc.keys, shared)
		}
	}
}

func TestKeyPairsAndUserNamesAreHintsOnly(t *testing.T) {
	s := logging([]fleet.Login{login("ec2-user", "SHA256:a", "10.0.0.1", fleet.UseShell, 1)})
	k := key("ec2-user", "SHA256:a")
	k.Blob, k.Comment = "AAAAprod", "alice@laptop"
	s.Hosts[0].Probe.Value.Keys.Value = []fleet.Key{k}
	addUser(s, policyOf())
	got := judge(s).Ledger.Consumers[0]
	if want := `came last on 2026-10-31; nobody claims it; the key is EC2 key pair "prod"; there is an IAM user of that name, ` + userARN; got.Why != want || got.Owner != "" {
		t.Errorf("owner %q, why %q\nwant %q", got.Owner, got.Why, want)
	}
}

// The states are those of fleet.ConsumerStatus.
func TestConsumerStatus(t *testing.T) {
	alice := fleet.Owner{Person: "Alice", Fingerprints: []string{"SHA256:a"}, Principals: []string{userARN}}
	session := func(target, owner string, days int) func(*fleet.Snapshot) {
		return func(s *fleet.Snapshot) {
			s.Regions[0].Sessions.Value = append(s.Regions[0].Sessions.Value, fleet.ManagedSession{Target: target, Owner: owner, Status: "Connected", Start: at.AddDate(0, 0, -days)})
		}
	}
	open := func(s *fleet.Snapshot) {
		s.Hosts[0].Probe.Value.Sessions.Value = []fleet.Session{{User: "web", From: "10.0.0.1:4000", Fingerprint: "SHA256:a"}}
	}
	log := func(change func(*fleet.LoginLog)) func(*fleet.Snapshot) {
		return func(s *fleet.Snapshot) { change(&s.Hosts[1].Probe.Value.Logins.Value) }
	}
	for _, c := range []struct {
		name   string
		days   int // since the last login on both hosts
		owner  fleet.Owner
		change []func(*fleet.Snapshot)
		want   fleet.ConsumerStatus
		why    string
	}{
		{"came lately", 5, alice, nil, fleet.ConsumerActive, "Alice has not used Session Manager since on any of 2 hosts"},
		{"a session on one host only", 5, alice, []func(*fleet.Snapshot){session("i-1", userARN, 4)}, fleet.ConsumerActive, "on 1 of 2 hosts"},
		{"sessions on both", 5, alice, []func(*fleet.Snapshot){session("i-1", userARN, 4), session("i-2", userARN, 1)}, fleet.ConsumerMigrated, "since on all 2 hosts"},
		{"sessions before the last login", 5, alice, []func(*fleet.Snapshot){session("i-1", userARN, 6), session("i-2", userARN, 6)}, fleet.ConsumerActive, ""},
		{"somebody else's sessions", 5, alice, []func(*fleet.Snapshot){session("i-1", userARN+"2", 4), session("i-2", userARN+"2", 4)}, fleet.ConsumerActive, ""},
		{"sessions on both, and SSH open now", 5, alice, []func(*fleet.Snapshot){session("i-1", userARN, 4), session("i-2", userARN, 1), open}, fleet.ConsumerActive, "1 session open now"},
		{"29 days ago", 29, alice, nil, fleet.ConsumerActive, ""},
		{"31 days ago, in logs that reach back", 31, alice, nil, fleet.ConsumerSilent, "the logs of all 2 hosts cover the last 30 days"},
		{"31 days ago, and SSH open now", 31, alice, []func(*fleet.Snapshot){open}, fleet.ConsumerActive, ""},
		{"one log does not reach back", 31, alice, []func(*fleet.Snapshot){log(func(l *fleet.LoginLog) { l.From = at.AddDate(0, 0, -29) })}, fleet.ConsumerActive, "the logs of 1 host do not cover"},
		{"nobody writes one log any more", 31, alice, []func(*fleet.Snapshot){log(func(l *fleet.LoginLog) { l.To = at.AddDate(0, 0, -2) })}, fleet.ConsumerActive, "do not cover"},
		{"one log has no beginning", 31, alice, []func(*fleet.Snapshot){log(func(l *fleet.LoginLog) { l.From = time.Time{} })}, fleet.ConsumerActive, "do not cover"},
		{"a login at a time that is not known", 31, alice, []func(*fleet.Snapshot){log(func(l *fleet.LoginLog) { l.Logins[0].Last = time.Time{} })}, fleet.ConsumerActive, "not known"},
		{"nobody's sessions migrate nobody", 5, fleet.Owner{Person: "x"}, []func(*fleet.Snapshot){session("i-1", userARN, 4), session("i-2", userARN, 1)}, fleet.ConsumerActive, "nobody claims it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := []fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, c.days)}
			s := logging(slices.Clone(l), slices.Clone(l))
			for _, change := range c.change {
				change(s)
			}
			got := judgeWith(s, ownedBy(c.owner)).Ledger.Consumers[0]
			if got.Status != c.want || !strings.Contains(got.Why, c.why) {
				t.Errorf("%s: %s, want %s: %s", got.Status, got.Why, c.want, c.why)
			}
		})
	}
}

// Whose a session is: IAM User Guide, reference_identifiers; the session name
// of a federated user is what the identity provider says.
func TestSessionsBelongToOwners(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Ops_0123"
	const assumed = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Ops_0123/alice@example.com"
	other := fleet.Owner{Person: "Bob", Principals: []string{role}, Sessions: []string{"bob@example.com"}}
	for _, c := range []struct {
		name  string
		alice fleet.Owner
		with  []fleet.Owner
		arn   string
		want  bool
	}{
		{"an IAM user", fleet.Owner{Principals: []string{userARN}}, nil, userARN, true},
		{"another IAM user", fleet.Owner{Principals: []string{userARN}}, nil, userARN + "x", false},
		{"a role of hers alone, whatever the session's name", fleet.Owner{Principals: []string{role}}, nil, assumed, true},
		{"a role that she shares, by her session name", fleet.Owner{Principals: []string{role}, Sessions: []string{"alice@example.com"}}, []fleet.Owner{other}, assumed, true},
		{"a role that she shares, without session names", fleet.Owner{Principals: []string{role}}, []fleet.Owner{other}, assumed, false},
		{"somebody else's session name", fleet.Owner{Principals: []string{role}, Sessions: []string{"a@example.com"}}, nil, assumed, false},
		{"her session name alone", fleet.Owner{Sessions: []string{"alice@example.com"}}, nil, assumed, true},
		{"her session name in another role", fleet.Owner{Principals: []string{opsARN}, Sessions: []string{"alice@example.com"}}, nil, assumed, false},
		{"a role of that name in another account", fleet.Owner{Principals: []string{strings.Replace(role, accountID, "999999999999", 1)}}, nil, assumed, false},
		{"the role itself starts nothing", fleet.Owner{Principals: []string{role}}, nil, role, false},
	} {
		s := logging([]fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 5)})
		s.Regions[0].Sessions.Value = []fleet.ManagedSession{{Target: "i-1", Owner: c.arn, Status: "Connected", Start: at}}
		c.alice.Person, c.alice.Fingerprints = "Alice", []string{"SHA256:a"}
		got := judgeWith(s, ownedBy(append(c.with, c.alice)...)).Ledger.Consumers[0]
		if is := got.Status == fleet.ConsumerMigrated; is != c.want {
			t.Errorf("%s: %s (%s)", c.name, got.Status, got.Why)
		}
	}
}

func TestWaivers(t *testing.T) {
	soon, past := now.AddDate(0, 1, 0), now.AddDate(0, 0, -1)
	for _, c := range []struct {
		name   string
		waiver fleet.Waiver
		want   bool
	}{
		{"by person", fleet.Waiver{Person: "Alice"}, true},
		{"by another person", fleet.Waiver{Person: "Bob"}, false},
		{"by fingerprint", fleet.Waiver{Fingerprint: "SHA256:a"}, true},
		{"by address", fleet.Waiver{From: "10.0.0.1"}, true},
		{"by CIDR", fleet.Waiver{From: "10.0.0.0/8"}, true},
		{"by another CIDR", fleet.Waiver{From: "10.1.0.0/16"}, false},
		{"by account", fleet.Waiver{User: "web"}, true},
		{"by use", fleet.Waiver{Use: fleet.UseRsync}, true},
		{"by another use", fleet.Waiver{Use: fleet.UseSCP}, false},
		{"by all its hosts", fleet.Waiver{Hosts: []string{"i-*"}}, true},
		{"by one of its two hosts", fleet.Waiver{Hosts: []string{"i-1"}}, false},
		{"by several things that agree", fleet.Waiver{Person: "Alice", Use: fleet.UseRsync, Hosts: []string{"i-1", "i-2"}}, true},
		{"by several things of which one does not", fleet.Waiver{Person: "Alice", User: "root"}, false},
		{"by nothing", fleet.Waiver{}, false},
	} {
		for _, until := range []time.Time{soon, past} {
			ended := until.Before(now)
			l := []fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseRsync, 1)}
			c.waiver.By, c.waiver.Why, c.waiver.Until = "Carol", "until the new relay works", until
			got := judgeWith(logging(slices.Clone(l), slices.Clone(l)), func(p *readiness.Policy) {
				p.Owners = []fleet.Owner{{Person: "Alice", Fingerprints: []string{"SHA256:a"}}}
				p.Waivers = []fleet.Waiver{c.waiver}
			}).Ledger.Consumers[0]
			switch {
			case (got.Status == fleet.ConsumerWaived) != (c.want && !ended):
				t.Errorf("%s until %s: %s", c.name, until, got.Status)
			case c.want && !ended && got.Why != "waived by Carol until 2026-12-01: until the new relay works":
				t.Errorf("%s: why %q", c.name, got.Why)
			case c.want && ended && !strings.HasPrefix(got.Why, "the waiver by Carol ended on 2026-10-31; "):
				t.Errorf("%s: why %q", c.name, got.Why)
			case c.want != (got.Waiver != nil):
				t.Errorf("%s: waiver %+v", c.name, got.Waiver)
			}
		}
	}
}

func TestTheProbesOwnLogin(t *testing.T) {
	mine := func(seconds int, count int) fleet.Login {
		l := login("ec2-user", "SHA256:ops", "10.0.0.1", "", 0)
		l.Last, l.Count = at.Add(-time.Duration(seconds)*time.Second), count
		return l
	}
	shell := mine(2, 1)
	shell.Use = fleet.UseShell
	tunnel := mine(30, 9)
	tunnel.Use = fleet.UseTunnel
	for _, c := range []struct {
		name   string
		logins []fleet.Login
		want   []string // consumers: owner, count
	}{
		{"the first inventory", []fleet.Login{mine(2, 1)}, nil},
		{"a later one: earlier logins may be inventories too", []fleet.Login{mine(2, 4)}, []string{"migrate inventory 3"}},
		{"the latest of two is its own", []fleet.Login{login("ec2-user", "SHA256:x", "10.0.0.9", "", 3), mine(2, 1)}, []string{" 1"}},
		{"a login long before the probe", []fleet.Login{mine(200, 1)}, []string{" 1"}},
		{"a terminal is not the probe's", []fleet.Login{shell}, []string{" 1"}},
		{"its passage through a bastion", []fleet.Login{tunnel, mine(2, 1)}, []string{"migrate inventory 9"}},
	} {
		s := logging(c.logins)
		s.Hosts[0].Probe.Value.LoginUser = "ec2-user"
		a := judge(s)
		var got []string
		for _, x := range a.Ledger.Consumers {
			got = append(got, fmt.Sprint(x.Owner, " ", x.Count))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	s := logging([]fleet.Login{mine(2, 4)})
	got := judgeWith(s, ownedBy(fleet.Owner{Person: "Ops", Fingerprints: []string{"SHA256:ops"}})).Ledger.Consumers[0]
	if got.Owner != "Ops" || got.Count != 3 {
		t.Errorf("the owners file does not win: %+v", got)
	}
}

func TestUsesThatNeedAnotherWay(t *testing.T) {
	often := func(use fleet.Use) fleet.Login {
		l := login("backup", "SHA256:a", "10.0.0.1", use, 1)
		l.Count, l.First = 20, at.AddDate(0, 0, -20)
		return l
	}
	trace := func(use fleet.Use, what string) fleet.Trace {
		return fleet.Trace{Use: use, What: what, User: "deploy", At: at.AddDate(0, 0, -2)}
	}
	open := func(use fleet.Use) *fleet.Session {
		return &fleet.Session{User: "backup", From: "10.0.0.1:4000", Fingerprint: "SHA256:a", Use: use}
	}
	for _, c := range []struct {
		name   string
		login  *fleet.Login
		trace  *fleet.Trace
		open   *fleet.Session
		owner  bool
		code   string // empty: none
		object string
	}{
		{name: "scp", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseSCP, 1)), code: "ssh-copies", object: "SHA256:a"},
		{name: "sftp", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseSFTP, 1)), code: "ssh-copies", object: "SHA256:a"},
		{name: "rsync of an owner", login: ptr(often(fleet.UseRsync)), owner: true, code: "ssh-copies", object: "Backup"},
		{name: "Ansible", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseAnsible, 1)), code: "ssh-ansible", object: "SHA256:a"},
		{name: "git", login: ptr(login("git", "SHA256:a", "10.0.0.1", fleet.UseGit, 1)), code: "ssh-git", object: "SHA256:a"},
		{name: "a tunnel", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseTunnel, 1)), code: "ssh-tunnels", object: "SHA256:a"},
		{name: "a tunnel that has ended", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseTunnel, 40)), code: ""},
		{name: "a shell", login: ptr(often(fleet.UseShell)), code: ""},
		{name: "a script that nobody claims", login: ptr(often(fleet.UseCommand)), code: "consumer-forgotten", object: "SHA256:a"},
		{name: "a script of an owner", login: ptr(often(fleet.UseCommand)), owner: true, code: ""},
		{name: "one command", login: ptr(login("u", "SHA256:a", "10.0.0.1", fleet.UseCommand, 1)), code: ""},
		{name: "Ansible's folder", trace: ptr(trace(fleet.UseAnsible, "/home/deploy/.ansible/tmp")), code: "ssh-ansible", object: "user deploy"},
		{name: "Ansible's old folder", trace: ptr(fleet.Trace{Use: fleet.UseAnsible, What: "/x", At: at.AddDate(0, 0, -60)}), code: ""},
		{name: "a git remote", trace: ptr(trace(fleet.UseGit, "/srv/app/.git/config: git@github.com:acme/app.git")), code: "ssh-git", object: "github.com"},
		{name: "a git remote by URL", trace: ptr(trace(fleet.UseGit, "/srv/app/.git/config: ssh://git@git.example.com:2222/app.git")), code: "ssh-git", object: "git.example.com"},
		{name: "a log that does not tell, and an open rsync", login: ptr(often("")), open: open(fleet.UseRsync), code: "ssh-copies", object: "SHA256:a"},
		{name: "a log that does not tell, and an open command", login: ptr(often("")), open: open(fleet.UseCommand), code: "consumer-forgotten", object: "SHA256:a"},
		{name: "a log that does not tell, and an open shell", login: ptr(often("")), open: open(fleet.UseShell), code: ""},
		{name: "a log that does not tell, and somebody else's rsync", login: ptr(often("")), open: &fleet.Session{User: "backup", From: "10.0.0.2:4000", Fingerprint: "SHA256:a", Use: fleet.UseShell}, code: ""},
		{name: "a log that tells outweighs what is open", login: ptr(often(fleet.UseShell)), open: open(fleet.UseCommand), code: ""},
		{name: "agent forwarding", open: &fleet.Session{User: "u", From: "10.0.0.1:4000", AgentForwarding: true, Fingerprint: "SHA256:a"}, code: "ssh-agent-forwarding", object: "SHA256:a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := logging(nil)
			p := &s.Hosts[0].Probe.Value
			p.Traces = known([]fleet.Trace{}, "probe: traces")
			if c.login != nil {
				p.Logins.Value.Logins = []fleet.Login{*c.login}
			}
			if c.trace != nil {
				p.Traces.Value = []fleet.Trace{*c.trace}
			}
			if c.open != nil {
				p.Sessions.Value = []fleet.Session{*c.open}
			}
			a := judgeWith(s, func(p *readiness.Policy) {
				if c.owner {
					p.Owners = []fleet.Owner{{Person: "Backup", Service: true, Fingerprints: []string{"SHA256:a"}}}
				}
			})
			checkFindings(t, a)
			got := inArea(a, "people")
			if c.code == "" && len(got) > 0 || c.code != "" && !slices.Contains(got, c.code) {
				t.Fatalf("findings %v, want %q", got, c.code)
			}
			if c.code != "" && finding(t, a, c.code).Object != c.object {
				t.Errorf("object %q, want %q", finding(t, a, c.code).Object, c.object)
			}
		})
	}
}

// One consumer's use of SSH is one finding, whatever shows it.
func TestOneFindingForOneUse(t *testing.T) {
	ansible := login("deploy", "SHA256:a", "10.0.0.1", fleet.UseAnsible, 1)
	ansible.Count, ansible.First = 20, at.AddDate(0, 0, -20)
	s := logging([]fleet.Login{ansible})
	s.Hosts[0].Probe.Value.Traces = known([]fleet.Trace{{Use: fleet.UseAnsible, What: "/home/deploy/.ansible/tmp", User: "deploy", At: at.AddDate(0, 0, -2)}}, "probe: files")
	a := judge(s)
	if got := inArea(a, "people"); !slices.Equal(got, []string{"ssh-ansible"}) {
		t.Errorf("findings %v, want ssh-ansible alone", got)
	}
	if text := factsOf(finding(t, a, "ssh-ansible")); !strings.Contains(text, "20 logins") || !strings.Contains(text, ".ansible/tmp") {
		t.Errorf("evidence:\n%s", text)
	}
}

func ptr[T any](v T) *T { return &v }

// logins draws a fleet's logins over a small alphabet, so that they meet.
func logins(t *rapid.T) *fleet.Snapshot {
	one := rapid.Custom(func(t *rapid.T) fleet.Login {
		l := login(rapid.SampledFrom([]string{"web", "root"}).Draw(t, "user"), rapid.SampledFrom([]string{"SHA256:a", "SHA256:b", ""}).Draw(t, "key"),
			rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "::1", ""}).Draw(t, "from"), rapid.SampledFrom([]fleet.Use{"", fleet.UseShell, fleet.UseRsync}).Draw(t, "use"), rapid.IntRange(0, 60).Draw(t, "days"))
		l.Count = rapid.IntRange(1, 5).Draw(t, "count")
		return l
	})
	return logging(rapid.SliceOfN(rapid.SliceOfN(one, 0, 6), 1, 4).Draw(t, "hosts")...)
}

func totals(a *fleet.Assessment) (count, hosts, consumers int) {
	for _, c := range a.Ledger.Consumers {
		count += c.Count
		hosts += len(c.Hosts)
	}
	return count, hosts, len(a.Ledger.Consumers)
}

func TestOwnersAndWaiversChangeNoCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := logins(t)
		c1, h1, n1 := totals(judge(s))
		a := judgeWith(s, func(p *readiness.Policy) {
			p.Owners = []fleet.Owner{{Person: "A", Fingerprints: []string{"SHA256:a"}, Users: []string{rapid.SampledFrom([]string{"web", "x"}).Draw(t, "account")}}}
			p.Waivers = []fleet.Waiver{{Person: "A", By: "b", Why: "c", Until: now.AddDate(0, 0, rapid.IntRange(-3, 3).Draw(t, "until"))}}
		})
		if c2, h2, n2 := totals(a); c1 != c2 || h1 != h2 || n1 != n2 {
			t.Fatalf("counts were %d %d %d, are %d %d %d", c1, h1, n1, c2, h2, n2)
		}
		for _, c := range a.Ledger.Consumers {
			if c.Status == fleet.ConsumerWaived && !now.Before(c.Waiver.Until) {
				t.Fatalf("a waiver that has ended holds: %+v", c)
			}
			if c.Why == "" {
				t.Fatalf("no reason: %+v", c)
			}
		}
	})
}

func TestEveryLoginFromOutsideIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := logins(t)
		want := 0
		for i := range s.Hosts {
			s.Hosts[i].Probe.Value.LoginUser = "somebody"
			for _, l := range s.Hosts[i].Probe.Value.Logins.Value.Logins {
				if !l.From.IsLoopback() {
					want += l.Count
				}
			}
		}
		if got, _, _ := totals(judge(s)); got != want {
			t.Fatalf("%d logins counted, want %d", got, want)
		}
	})
}
