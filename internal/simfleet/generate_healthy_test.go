package simfleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/simfleet"
)

// In a healthy world everything works, whatever its size and seed.
func TestHealthyWorldServesSessionsEverywhere(t *testing.T) {
	for _, o := range []simfleet.Options{
		{Instances: 6}, {Instances: 8, Seed: 1}, {Instances: 12, Seed: 2}, {Instances: 9, Seed: 3, Regions: []string{"eu-west-1"}}, {Instances: 40, Accounts: 2, Seed: 4}, {Instances: 200, Seed: 5},
	} {
		o.Healthy = true
		t.Run(fmt.Sprintf("%d instances, seed %d", o.Instances, o.Seed), func(t *testing.T) {
			w := generate(t, o)
			if c := w.Counts(); c.Instances != o.Instances || c.Online != o.Instances || c.Connected != o.Instances || c.Sessions != o.Instances || c.Reachable != o.Instances || c.Hybrid != 0 {
				t.Errorf("%+v", c)
			}
			keys := map[string]string{}
			for in := range w.Instances() {
				if reason := w.SessionReason(in); reason != "" {
					t.Errorf("%s: %s", in.Host.Name(), reason)
				}
				if reason := w.LoggingReason(in); reason != "" {
					t.Errorf("%s: %s", in.Host.Name(), reason)
				}
				for _, service := range []string{"ssm", "ssmmessages", "ec2messages", "s3", "kms", "logs"} {
					if p := w.EgressTo(in, service); !p.TLS {
						t.Errorf("%s to %s: %s", in.Host.Name(), service, p.Reason)
					}
				}
				for _, u := range in.Users {
					for _, line := range u.Keys {
						key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
						if err != nil {
							t.Fatal(err)
						}
						sum := ssh.FingerprintSHA256(key)
						if keys[sum] != "" {
							t.Errorf("%s opens %s and %s", sum, keys[sum], in.Host.ID)
						}
						keys[sum] = in.Host.ID
						if !claimed(w, sum) {
							t.Errorf("nobody claims %s on %s", line, in.Host.ID)
						}
						if !slices.ContainsFunc(in.Logins, func(l simfleet.Login) bool { return strings.HasSuffix(l.Key, sum) && l.User == u.Name }) {
							t.Errorf("%s on %s was never used", sum, in.Host.ID)
						}
					}
				}
			}
			if want := 2 * o.Instances; len(keys) != want {
				t.Errorf("%d keys, want %d", len(keys), want)
			}
		})
	}
}

func claimed(w *simfleet.World, fingerprint string) bool {
	for _, o := range w.Owners() {
		if slices.Contains(o.Fingerprints, fingerprint) {
			return true
		}
	}
	return false
}

// Whoever has a key to a host may start sessions there, and nobody may by IAM
// alone who has none.
func TestHealthyWorldGivesTheSamePeopleSessions(t *testing.T) {
	w := generate(t, simfleet.Options{Healthy: true, Instances: 30, Accounts: 2, Seed: 6})
	allowed := 0
	for in := range w.Instances() {
		for _, o := range w.Owners() {
			may := false
			for _, arn := range o.Principals {
				may = may || strings.Contains(arn, in.Region.Account.ID) && w.OperatorReason(arn, in) == ""
			}
			if may {
				allowed++
			}
			for _, u := range in.Users {
				if u.Name == o.Person && !may {
					t.Errorf("%s has a key to %s and may start no session: %s", o.Person, in.Host.Name(), w.OperatorReason(o.Principals[0], in))
				}
			}
		}
	}
	if allowed == 0 || allowed > 30*5 {
		t.Errorf("%d pairs of a person and a host", allowed)
	}
}
