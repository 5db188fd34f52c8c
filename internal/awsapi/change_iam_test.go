package awsapi_test

import (
	"errors"
	"net/http"
	"testing"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// IAM is the same in all Regions: whoever counts a profile's users counts those of
// all Regions that the accesses to the account name.
func TestUsersOfAProfileAreCountedInAllRegions(t *testing.T) {
	w, err := simfleet.Generate(simfleet.Options{Seed: 3, Instances: 12, Accounts: 1, Regions: []string{"eu-west-1", "us-east-1", "ap-south-1"}, Healthy: true})
	if err != nil {
		t.Fatal(err)
	}
	account := w.Accounts[0]
	t.Setenv("AWS_ACCESS_KEY_ID", simfleet.AccessKey(account.ID))
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	arn := "arn:aws:iam::" + account.ID + ":instance-profile/shared"
	for _, r := range account.Regions {
		r.Instances[0].Host.ProfileARN = arn
	}
	wire := &inProcess{handler: simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true}), lose: -1}
	open := func(label string, transport http.RoundTripper, regions ...string) *awsapi.Account {
		a, err := awsapi.Open(t.Context(), awsapi.Access{Label: label, Regions: regions}, awsapi.Options{Transport: transport, MaxAttempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	at := fleet.Place{Account: account.ID, Region: "eu-west-1"}
	one := open("one", wire, "eu-west-1")
	for _, c := range []struct {
		name  string
		with  *awsapi.Account
		users int
	}{
		{"one Region", one, 1},
		{"another access to two Regions", open("two", wire, "us-east-1", "eu-west-1"), 2},
		{"another access to a third", open("three", wire, "ap-south-1"), 2},
	} {
		if n, err := awsapi.NewChanger(one, c.with).Associated(t.Context(), at, "shared"); err != nil || n != c.users {
			t.Errorf("%s: %d users, want %d; %v", c.name, n, c.users, err)
		}
	}
	lost := open("lost", &inProcess{lose: 0}, "us-east-1")
	if n, err := awsapi.NewChanger(one, lost).Associated(t.Context(), at, "shared"); !errors.Is(err, errLost) {
		t.Errorf("an access that may lead there gives no answer, and %d users are counted; %v", n, err)
	}
}
