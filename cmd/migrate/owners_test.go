package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

const print43 = "SHA256:4Xi2Jc1iB4QWcSTWxFS1tVv0N0tV6yYJtYvRQ7VqQ0U"

func TestOwnersFile(t *testing.T) {
	owners, waivers, err := parseOwners([]byte(`
owners:
  - person: Alice
    principals: [arn:aws:iam::123456789012:user/team/alice, "arn:aws-cn:iam::123456789012:role/ops"]
    sessions: [alice@example.com]
    fingerprints: [` + print43 + `]
    comments: ["alice@*"]
    certificates: [alice]
    users: [alice]
  - {person: backup, service: true}
waivers:
  - {person: backup, fingerprint: "` + print43 + `=", from: 10.0.0.0/8, user: root, use: rsync, hosts: ["db-*"], by: Carol, why: relay, until: 2027-03-01}
  - {from: "::1", by: Carol, why: relay, until: 2027-03-01T12:00:00+01:00}
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fleet.Owner{{
		Person: "Alice", Principals: []string{"arn:aws:iam::123456789012:user/team/alice", "arn:aws-cn:iam::123456789012:role/ops"}, Sessions: []string{"alice@example.com"},
		Fingerprints: []string{print43}, Comments: []string{"alice@*"}, Certificates: []string{"alice"}, Users: []string{"alice"},
	}, {Person: "backup", Service: true}}, owners); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]fleet.Waiver{{
		Person: "backup", Fingerprint: print43 + "=", From: "10.0.0.0/8", User: "root", Use: fleet.UseRsync, Hosts: []string{"db-*"}, By: "Carol", Why: "relay",
		Until: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC),
	}, {From: "::1", By: "Carol", Why: "relay", Until: time.Date(2027, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))}}, waivers); diff != "" {
		t.Error(diff)
	}
}

func TestOwnersFileWithMistakes(t *testing.T) {
	waiver := func(fields string) string { return "owners: [{person: A}]\nwaivers:\n  - {" + fields + "}" }
	const decided = ", by: b, why: w, until: 2027-01-01"
	for _, c := range []struct{ text, want string }{
		{"owners:\n  - person: A\n    persn: B", "line 3"},
		{"owners:\n  - person: A\n    person: B", "person"},
		{"owners:\n  - users: [a]", "line 2: an owner needs a person"},
		{"owners:\n  - person: A\n  - person: A", "line 3: \"A\" is an owner already, on line 2"},
		{"owners:\n  - {person: A, principals: [alice]}", "not the ARN of an IAM user or role"},
		{"owners:\n  - {person: A, principals: ['arn:aws:sts::1:assumed-role/ops/alice']}", "not the ARN"},
		{"owners:\n  - {person: A, principals: ['arn:aws:iam::1:group/ops']}", "not the ARN"},
		{"owners:\n  - {person: A, fingerprints: ['MD5:aa']}", "not of the form SHA256"},
		{"owners:\n  - {person: A, fingerprints: ['" + print43 + "']}\n  - {person: B, fingerprints: ['" + print43 + "=']}", "line 3: \"B\": fingerprint " + print43 + " is \"A\"'s already"},
		{"owners:\n  - {person: A, comments: ['*']}", "would match anything"},
		{"owners:\n  - {person: A, users: ['']}", "would match anything"},
		{"people: []", "people"},
		{"- A", "line 1"},
		{"owners: []\n---\nowners: []", "document"},
		{waiver("by: b, why: w, until: 2027-01-01"), "line 3: a waiver needs at least one of"},
		{waiver("user: u, why: w, until: 2027-01-01"), "a waiver needs by, why and until"},
		{waiver("user: u, by: b, until: 2027-01-01"), "a waiver needs by, why and until"},
		{waiver("user: u, by: b, why: w"), "a waiver needs by, why and until"},
		{waiver("person: B" + decided), "\"B\" is not among the owners"},
		{waiver("use: telnet" + decided), "\"telnet\" is not one of"},
		{waiver("from: somewhere" + decided), "neither an address nor a CIDR"},
		{waiver("fingerprint: x" + decided), "not of the form"},
		{waiver("hosts: ['']" + decided), "name is empty"},
		{waiver("user: u, by: b, why: w, until: soon"), "\"soon\" is not a date"},
	} {
		if _, _, err := parseOwners([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n%v\nwant %q", c.text, err, c.want)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("owners:\n  - {person: A, fingerprints: ['" + print43 + "']}\nwaivers:\n  - {person: A, by: b, why: w, until: 2027-01-01}")
	f.Add("owners: &a [*a]")
	f.Add("owners:\n  - person: !!binary x\n")
	f.Fuzz(func(t *testing.T, text string) {
		owners, waivers, err := parseOwners([]byte(text))
		if err != nil {
			return
		}
		for _, o := range owners {
			if o.Person == "" {
				t.Errorf("an owner without a name in %q", text)
			}
		}
		for _, w := range waivers {
			if w.By == "" || w.Why == "" || w.Until.IsZero() && !strings.Contains(text, "0001") {
				t.Errorf("a waiver without by, why or until in %q", text)
			}
		}
	})
}
