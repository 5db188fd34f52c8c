package readiness_test

import (
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

func TestGrantsTellWhatToAddAndWhenThatWouldNotDo(t *testing.T) {
	const boundary = "arn:aws:iam::" + accountID + ":policy/boundary"
	for _, test := range []struct {
		name    string
		change  func(*fleet.Account, *fleet.Role)
		role    string
		missing int
		stop    string
	}{
		{"all there", func(*fleet.Account, *fleet.Role) {}, roleARN, 0, ""},
		{"no policy", func(_ *fleet.Account, r *fleet.Role) { r.Attached = nil }, roleARN, 5, ""},
		{"the heartbeat alone", func(_ *fleet.Account, r *fleet.Role) {
			r.Attached, r.Inline = nil, map[string]string{"beat": allowing(heartbeat)}
		}, roleARN, 4, ""},
		{"a Deny beside it", func(_ *fleet.Account, r *fleet.Role) {
			r.Inline = map[string]string{"stop": strings.Replace(allowing(channels), "Allow", "Deny", 1)}
		}, roleARN, 0, "stop denies it"},
		{"a boundary", func(a *fleet.Account, r *fleet.Role) {
			r.Attached, r.Boundary = nil, boundary
			a.Policies.Value = append(a.Policies.Value, fleet.Policy{ARN: boundary, Name: "boundary", Document: known(allowing(`"s3:*"`), "iam")})
		}, roleARN, 0, "the permissions boundary"},
		{"the organization", func(a *fleet.Account, r *fleet.Role) {
			r.Attached = nil
			a.ControlLevels = known([]fleet.ControlLevel{{Target: "r-1", Policies: []fleet.Policy{{Name: "only-s3", Document: known(allowing(`"s3:*"`), "org")}}}}, "org")
		}, roleARN, 0, "service control policy"},
		{"a role that was not read", func(*fleet.Account, *fleet.Role) {}, "arn:aws:iam::" + accountID + ":role/other", 0, "was not read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := healthy()
			test.change(&s.Accounts[0], &s.Accounts[0].Roles.Value[0])
			g := readiness.NewGrants(s)
			missing, stop := g.Lacks(test.role, &s.Hosts[0], "*", readiness.SessionActions())
			if stop == "" && len(missing) != test.missing || !strings.Contains(stop, test.stop) || test.stop == "" && stop != "" {
				t.Errorf("missing %v, stop %q", missing, stop)
			}
			if r := g.RoleOf(&s.Hosts[0]); r == nil || r.ARN != roleARN {
				t.Errorf("the host's role is %v", r)
			}
		})
	}
}

func TestBelow(t *testing.T) {
	for _, test := range []struct {
		agent, floor string
		below, ok    bool
	}{
		{"3.1.1374.0", "3.3.40.0", true, true}, {"3.3.40.0", "3.3.40.0", false, true}, {"3.10.0.0", "3.9.0.0", false, true}, {"", "3.0.0.0", false, false}, {"3.0", "new", false, false},
	} {
		if below, ok := readiness.Below(test.agent, test.floor); ok != test.ok || ok && below != test.below {
			t.Errorf("%s below %s: %v, %v", test.agent, test.floor, below, ok)
		}
	}
	if !slices.Contains(readiness.CommandActions(), "ec2messages:GetMessages") {
		t.Error("the actions of Run Command lack GetMessages")
	}
}
