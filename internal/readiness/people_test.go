package readiness_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
)

// sameAddress compares addresses, whose fields are not exported.
var sameAddress = cmpopts.EquateComparable(netip.Addr{})

// inArea lists the codes of an area's findings.
func inArea(a *fleet.Assessment, area string) []string {
	of := map[string]string{}
	for _, e := range readiness.Catalogue() {
		of[e.Code] = e.Area
	}
	return slices.DeleteFunc(codes(a), func(code string) bool { return of[code] != area })
}

// observePeople adds to a snapshot what the APIs tell of people.
func observePeople(w *simfleet.World, s *fleet.Snapshot) {
	i := 0
	for k, a := range w.Accounts {
		acct := &s.Accounts[k]
		acct.Users, acct.Groups = known(values(a.Users), "iam"), known(values(a.Groups), "iam")
		acct.ControlLevels = known(a.ControlLevels, "organizations")
		for _, r := range a.Regions {
			region := &s.Regions[i]
			i++
			region.Documents, region.Sessions = known(values(r.Documents), "ssm"), known(values(r.ManagedSessions), "ssm")
			p := fleet.Preferences{Exists: r.Preferences != "", Content: r.Preferences}
			if in, err := fleet.ParseSessionDocument(r.Preferences); err == nil && in.Key != "" {
				for _, key := range r.Keys {
					if key.ID == in.Key || key.ARN == in.Key {
						p.Key = known(*key, "kms")
					}
				}
			}
			region.Preferences = known(p, "ssm")
		}
	}
}

// The simulated fleet decides for itself who may start a shell where.
func TestOperatorsAgreeWithTheSimulatedFleet(t *testing.T) {
	for _, o := range []simfleet.Options{{Seed: 1}, {Seed: 2, Accounts: 2}, {Seed: 3, Accounts: 2, Healthy: true}} {
		o.Instances, o.Now = 200, simClock
		w, err := simfleet.Generate(o)
		if err != nil {
			t.Fatal(err)
		}
		s := observe(w)
		observePeople(w, s)
		compared, allowed := 0, 0
		for _, x := range judgeWith(s, ownedBy(w.Owners()...)).Operators {
			var yes, no int
			for in := range w.Instances() {
				if w.OperatorReason(x.ARN, in) == "" {
					yes++
				} else {
					no++
				}
			}
			compared++
			allowed += x.Start.Yes
			if x.Start.Yes > yes || x.Start.Yes+x.Start.Unknown < yes {
				t.Errorf("seed %d: %s starts sessions on %d hosts; computed %+v: %s", o.Seed, x.ARN, yes, x.Start, x.Why)
			}
		}
		if compared < 3 || allowed == 0 {
			t.Errorf("seed %d: %d operators, allowed on %d hosts", o.Seed, compared, allowed)
		}
		if o.Healthy {
			if got := operatorCodes(judge(s)); len(got) > 0 {
				t.Errorf("the healthy world's operators: %v", got)
			}
		}
	}
}

func simClock() time.Time { return now }
