package fleet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

func TestGroupsOfTheLedger(t *testing.T) {
	day := func(n int) time.Time { return at.AddDate(0, 0, -n) }
	from := netip.MustParseAddr
	ann := fleet.Consumer{Owner: "Ann", Method: "publickey", Fingerprint: "SHA256:a", User: "ops", Use: fleet.UseShell}
	home, office, laptop, root := ann, ann, ann, ann
	home.From, home.Hosts, home.Count, home.First, home.Last, home.Status = from("203.0.113.7"), []string{"i-1"}, 1, day(80), day(70), fleet.ConsumerSilent
	office.From, office.Hosts, office.Count, office.First, office.Last, office.Open, office.Why = from("10.0.0.5"), []string{"i-2", "i-1"}, 4, day(20), day(2), 1, "came 2 days ago"
	laptop.Fingerprint, laptop.Hosts, laptop.Count, laptop.Last = "SHA256:b", []string{"i-3"}, 1, day(3)
	root.User, root.Hosts = "root", []string{"i-1"}
	bob := fleet.Consumer{Method: "publickey", Fingerprint: "SHA256:z", User: "ops", Use: fleet.UseShell, Hosts: []string{"i-9"}, Status: fleet.ConsumerWaived}

	got := fleet.Ledger{Consumers: []fleet.Consumer{bob, home, office, laptop, root}}.Groups()
	if len(got) != 3 || got[0].User != "ops" || got[1].User != "root" || got[2].Fingerprint != "SHA256:z" {
		t.Fatalf("groups %+v", got)
	}
	g := got[0]
	if g.Members != 3 || g.Status != fleet.ConsumerActive || g.Count != 6 || g.Open != 1 || g.Fingerprint != "" || !g.First.Equal(day(80)) || !g.Last.Equal(day(2)) {
		t.Errorf("Ann's group %+v", g)
	}
	if diff := cmp.Diff([]string{"i-1", "i-2", "i-3"}, g.Hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if g.Why != "from 10.0.0.5: came 2 days ago" {
		t.Errorf("why: %q", g.Why)
	}
	if g.Where() != "2 addresses" || got[1].Where() != "" {
		t.Errorf("from %q and %q", g.Where(), got[1].Where())
	}
}

// Bringing consumers together loses no login, no session and no host, and never
// calls somebody done who is not.
func TestGroupsLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l fleet.Ledger
		count, open := 0, 0
		active := map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "consumers") {
			c := fleet.Consumer{
				Owner: rapid.SampledFrom([]string{"", "Ann", "Bob"}).Draw(t, "owner"), User: rapid.SampledFrom([]string{"ops", "root"}).Draw(t, "user"),
				Fingerprint: rapid.SampledFrom([]string{"SHA256:a", "SHA256:b"}).Draw(t, "key"), Count: rapid.IntRange(0, 9).Draw(t, "count"), Open: rapid.IntRange(0, 2).Draw(t, "open"),
				Hosts: []string{rapid.SampledFrom([]string{"i-1", "i-2"}).Draw(t, "host")}, Status: fleet.ConsumerStatus(rapid.IntRange(0, 3).Draw(t, "status")),
			}
			l.Consumers = append(l.Consumers, c)
			count, open = count+c.Count, open+c.Open
			if c.Status == fleet.ConsumerActive {
				active[c.Hosts[0]] = true
			}
		}
		for _, g := range l.Groups() {
			count, open = count-g.Count, open-g.Open
			for _, h := range g.Hosts {
				if g.Status == fleet.ConsumerActive {
					delete(active, h)
				}
			}
		}
		if count != 0 || open != 0 || len(active) != 0 {
			t.Errorf("%d logins, %d sessions and active hosts %v are lost", count, open, active)
		}
	})
}
