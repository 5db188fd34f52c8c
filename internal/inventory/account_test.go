package inventory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// simulating is an account that answers to Simulate as a test wants.
type simulating struct {
	account  fleet.Account
	simulate func(ctx context.Context, principals []string) fleet.Fact[[]fleet.Simulation]
}

func (s simulating) Account(context.Context) fleet.Account { return s.account }

func (s simulating) Simulate(ctx context.Context, principals []string) fleet.Fact[[]fleet.Simulation] {
	return s.simulate(ctx, principals)
}

// withRoles is an account of which everything is known.
func withRoles() fleet.Account {
	profile := func(name, role string) fleet.InstanceProfile {
		return fleet.InstanceProfile{ARN: "arn:profile/" + name, Name: name, Role: role}
	}
	role := func(path, name string) fleet.Role { return fleet.Role{Name: name, ARN: "arn:role/" + path + name} }
	return fleet.Account{
		ID: "111122223333", Label: "prod", Caller: fleet.Known("me", "sts", start),
		Profiles: fleet.Known([]fleet.InstanceProfile{profile("web", "web"), profile("spare", "spare"), profile("app", "web"), profile("empty", "")}, "iam:ListInstanceProfiles", start),
		Roles:    fleet.Known([]fleet.Role{role("", "web"), role("", "spare"), role("service-role/", "DefaultHost"), role("", "other")}, "iam:GetAccountAuthorizationDetails", start),
		Policies: fleet.Known[[]fleet.Policy](nil, "iam:GetAccountAuthorizationDetails", start),
	}
}

func TestRolesInUseAreSimulatedOnceTheRegionsAreListed(t *testing.T) {
	defer goleak.VerifyNone(t)
	with := func(id, profile string) fleet.Host {
		h := host(id, "stopped")
		h.ProfileARN = "arn:profile/" + profile
		return h
	}
	one := &cloud{label: "prod", region: "eu-west-1", account: "111122223333", pages: [][]fleet.Host{{with("i-1", "web"), with("i-2", "app")}, {with("i-3", "empty"), with("i-4", "gone")}}}
	two := &cloud{label: "prod", region: "us-east-1", account: "111122223333", defaultRole: "service-role/DefaultHost", pages: [][]fleet.Host{{host("i-5", "running")}}}
	foreign := &cloud{label: "other", region: "us-east-1", account: "444455556666", defaultRole: "other"}
	var asked [][]string
	answer := fleet.Known([]fleet.Simulation{{Principal: "arn:role/web", Action: "ssm:GetDocument", Decision: "allowed"}}, "iam:SimulatePrincipalPolicy", start)
	s, m, events := collect(t, inventory.Config{
		Clouds: []inventory.Cloud{one, two, foreign},
		Accounts: []inventory.Identity{simulating{withRoles(), func(_ context.Context, principals []string) fleet.Fact[[]fleet.Simulation] {
			asked = append(asked, principals)
			return answer
		}}},
	})
	if diff := cmp.Diff([][]string{{"arn:role/service-role/DefaultHost", "arn:role/web"}}, asked); diff != "" {
		t.Errorf("simulated (-want +got):\n%s", diff)
	}
	if s.State != fleet.SnapshotComplete || len(s.Accounts) != 1 || !cmp.Equal(s.Accounts[0].Simulations, answer) || len(s.Accounts[0].Roles.Value) != 4 {
		t.Errorf("%v, accounts %+v", s.State, s.Accounts)
	}
	var told []inventory.Event
	for _, e := range events {
		if e.Source == "iam:SimulatePrincipalPolicy" {
			told = append(told, e)
		}
	}
	want := []inventory.Event{
		{Kind: inventory.SourceProgress, Account: "111122223333", Source: "iam:SimulatePrincipalPolicy", At: start},
		{Kind: inventory.SourceDone, Account: "111122223333", Source: "iam:SimulatePrincipalPolicy", Done: 1, Total: 1, At: start},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	first := slices.IndexFunc(m.batches, func(b fleet.Batch) bool { return len(b.Accounts) > 0 })
	if first < 0 || m.batches[first].Accounts[0].Simulations.Source != "" {
		t.Error("the account waited for its simulations")
	}
}

func TestOptionalSourcesLeaveASnapshotComplete(t *testing.T) {
	a := withRoles()
	a.ControlLevels = fleet.Unknown[[]fleet.ControlLevel]("organizations:ListPoliciesForTarget", start, "AccessDenied: no")
	denied := fleet.Unknown[[]fleet.Simulation]("iam:SimulatePrincipalPolicy", start, "AccessDenied: no")
	s, _, events := collect(t, inventory.Config{
		Clouds:   []inventory.Cloud{&cloud{label: "prod", region: "eu-west-1", account: a.ID, defaultRole: "service-role/DefaultHost"}},
		Accounts: []inventory.Identity{simulating{a, func(context.Context, []string) fleet.Fact[[]fleet.Simulation] { return denied }}},
	})
	if s.State != fleet.SnapshotComplete || s.Unknowns != 0 {
		t.Errorf("%v with %d unknowns", s.State, s.Unknowns)
	}
	reasons := 0
	for _, e := range events {
		if e.Reason == "AccessDenied: no" {
			reasons++
		}
	}
	if reasons != 2 {
		t.Errorf("%d of 2 silent sources were told of", reasons)
	}
	a.Users = fleet.Unknown[[]fleet.IAMUser]("iam:GetAccountAuthorizationDetails", start, "AccessDenied: no")
	if s, _, _ := collect(t, inventory.Config{Accounts: []inventory.Identity{identity(a)}}); s.State != fleet.SnapshotIncomplete || s.Unknowns != 1 {
		t.Errorf("users unknown: %v with %d unknowns", s.State, s.Unknowns)
	}
}

func TestNoRoleInUseIsNotSimulated(t *testing.T) {
	s, _, _ := collect(t, inventory.Config{
		Clouds: []inventory.Cloud{&cloud{label: "prod", region: "eu-west-1", pages: [][]fleet.Host{{host("i-1", "stopped")}}}},
		Accounts: []inventory.Identity{simulating{withRoles(), func(_ context.Context, principals []string) fleet.Fact[[]fleet.Simulation] {
			t.Errorf("asked for %v", principals)
			return fleet.Fact[[]fleet.Simulation]{}
		}}},
	})
	if f := s.Accounts[0].Simulations; f.Known || f.Source != "" {
		t.Errorf("simulations %+v", f)
	}
}

func TestNothingButOptionalSilenceIsNothing(t *testing.T) {
	unknown := fleet.Account{
		Label: "prod", Caller: fleet.Unknown[string]("sts", start, "no credentials"),
		ControlLevels: fleet.Unknown[[]fleet.ControlLevel]("organizations:ListPoliciesForTarget", start, "no credentials"),
	}
	_, err := inventory.Collect(t.Context(), inventory.Config{Store: &memory{}, Accounts: []inventory.Identity{identity(unknown)}}, nil)
	if !errors.Is(err, inventory.ErrNothing) {
		t.Errorf("error %v", err)
	}
}

func TestCancelledSimulationEndsTheInventory(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := &memory{}
	c := &cloud{label: "prod", region: "eu-west-1", account: "111122223333", defaultRole: "service-role/DefaultHost"}
	_, err := inventory.Collect(ctx, inventory.Config{Store: m, Clouds: []inventory.Cloud{c},
		Accounts: []inventory.Identity{simulating{withRoles(), func(ctx context.Context, _ []string) fleet.Fact[[]fleet.Simulation] {
			cancel()
			<-ctx.Done()
			return fleet.Unknown[[]fleet.Simulation]("iam:SimulatePrincipalPolicy", start, "canceled")
		}}}}, nil)
	if !errors.Is(err, context.Canceled) || m.finished != nil {
		t.Errorf("error %v, finished %+v", err, m.finished)
	}
	for _, b := range m.batches {
		for _, a := range b.Accounts {
			if a.Simulations.Source != "" {
				t.Errorf("stored what the cancelling made of simulations: %+v", a.Simulations)
			}
		}
	}
}
