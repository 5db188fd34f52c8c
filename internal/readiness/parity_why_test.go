package readiness_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

func TestAccessReasonsNameTheMissingFact(t *testing.T) {
	s := withTags(map[string]string{"team": "db"}, map[string]string{"team": "web"}, map[string]string{"team": "web"}, map[string]string{"team": "web"})
	for i := range s.Hosts {
		s.Hosts[i].Probe.Value.Keys.Value = []fleet.Key{key("ec2-user", "SHA256:a"), key("ec2-user", "SHA256:b")}
	}
	s.Hosts[1].Probe = lost[fleet.Probe]("probe", "connection refused")
	s.Hosts[2].Probe.Value.SSHD = lost[fleet.SSHD]("probe", "sshd -T needs root")
	addUser(s, policyOf(onWeb, documents, channel))
	p := readiness.DefaultPolicy()
	p.Owners = []fleet.Owner{alice, {Person: "Bob", Fingerprints: []string{"SHA256:b"}}}
	why := readiness.AccessReasons(s, p, now)
	for _, c := range []struct {
		person string
		host   int
		want   string
	}{
		{"Alice", 0, "ssm:StartSession for " + userARN},
		{"Alice", 1, "not probed: connection refused"},
		{"Alice", 2, "sshd's settings are not known: sshd -T needs root"},
		{"Bob", 0, "names no IAM principal"},
	} {
		if got := why(c.person, c.host); !strings.Contains(got, c.want) {
			t.Errorf("%s on host %d: %q, want %q", c.person, c.host, got, c.want)
		}
	}
	for _, got := range []string{why("Alice", 3), why("Alice", 9), why("Alice", -1), why("Nobody", 0)} {
		if got != "" {
			t.Errorf("a reason without a cell that needs one: %q", got)
		}
	}
}

func TestEveryDoubtHasItsReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, statements := crowd(t)
		addUser(s, policyOf(statements...))
		p := readiness.DefaultPolicy()
		p.Owners = []fleet.Owner{alice, {Person: "Bob", Fingerprints: []string{"SHA256:b"}}}
		why := readiness.AccessReasons(s, p, now)
		for _, row := range readiness.Assess(s, p, now).Parity.People {
			for i := range row.Cells {
				needs := row.Cells[i] == fleet.ParityLoses || row.Cells[i] == fleet.ParityUnknown
				if got := why(row.Person, i); needs != (got != "") {
					t.Fatalf("%s on host %d is %c because of %q", row.Person, i, row.Cells[i], got)
				}
			}
		}
	})
}
