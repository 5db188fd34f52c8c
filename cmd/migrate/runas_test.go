package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// The tags that IAM users and roles carry decide as whom their sessions run
// (Systems Manager User Guide, session-preferences-run-as): an account that a
// host does not have must show, by the ordinary APIs and the probe.
func TestRunAsTagsOfOperatorsAreHeldAgainstTheHosts(t *testing.T) {
	const user, role = "ann-ops", "data-ops"
	r := judgeInjected(t, simfleet.Cause{Inject: func(_ *simfleet.World, in *simfleet.Instance) error {
		a := in.Region.Account
		i := slices.IndexFunc(a.Roles, func(r *fleet.Role) bool { return strings.HasPrefix(r.Name, "data-operators") })
		on := strings.Replace(in.Region.Preferences, `"runAsEnabled":false`, `"runAsEnabled":true`, 1)
		if i < 0 || len(a.Users) == 0 || on == in.Region.Preferences {
			return errors.New("the sound fleet has no operators, or no preferences")
		}
		in.Region.Preferences = on
		a.Users[0].Tags = map[string]string{"SSMSessionRunAs": user}
		a.Roles[i].Tags = map[string]string{"SSMSessionRunAs": role, "team": "data"}
		in.Users = append(slices.Clone(in.Users), &simfleet.User{Name: role, UID: 4711, Home: "/home/" + role, Shell: "/bin/sh"})
		return nil
	}})
	if r.err != nil {
		t.Fatal(r.err)
	}
	f := r.naming([]string{"runas-tag-user-missing"})
	if f == nil {
		t.Fatalf("the host lacks %s; findings %v", user, codesOf(r.judged.Findings))
	}
	if fact := f.Evidence[0].Fact; f.Host != r.target || !strings.Contains(fact, user) || strings.Contains(fact, role) {
		t.Errorf("host %s: %s", f.Host, fact)
	}
	elsewhere := slices.IndexFunc(r.judged.Findings, func(f fleet.Finding) bool {
		return f.Code == "runas-tag-user-missing" && f.Host != r.target && strings.Contains(f.Evidence[0].Fact, role)
	})
	if elsewhere < 0 {
		t.Errorf("no other host lacks %s", role)
	}
	if r.naming([]string{"runas-user-unset-untagged"}) == nil {
		t.Errorf("who has no tag gets no session; findings %v", codesOf(r.judged.Findings))
	}
}
