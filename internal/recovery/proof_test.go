package recovery_test

import (
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func proof(id string, works fleet.Truth, ago time.Duration) fleet.Proof {
	return fleet.Proof{Host: fleet.HostRef{ID: id}, Way: fleet.WayRecovery, Works: works, Reason: "refused", At: now.Add(-ago)}
}

func TestOnlyTheNewestFreshProofCounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		proofs []fleet.Proof
		holds  bool
		why    string
	}{
		{"none", nil, false, "never tried"},
		{"fresh", []fleet.Proof{proof("a", fleet.TruthYes, time.Hour)}, true, ""},
		{"just old enough", []fleet.Proof{proof("a", fleet.TruthYes, 24*time.Hour)}, true, ""},
		{"too old", []fleet.Proof{proof("a", fleet.TruthYes, 24*time.Hour+time.Second)}, false, "at most 24h0m0s counts"},
		{"failed since", []fleet.Proof{proof("a", fleet.TruthNo, time.Minute), proof("a", fleet.TruthYes, time.Hour)}, false, "says no: refused"},
		{"unknown since", []fleet.Proof{proof("a", fleet.TruthYes, time.Hour), proof("a", fleet.TruthUnknown, time.Minute)}, false, "says unknown"},
		{"works again", []fleet.Proof{proof("a", fleet.TruthNo, time.Hour), proof("a", fleet.TruthYes, time.Minute)}, true, ""},
		{"another host", []fleet.Proof{proof("b", fleet.TruthYes, time.Minute)}, false, "never tried"},
		{"from the future", []fleet.Proof{proof("a", fleet.TruthYes, -time.Hour)}, false, "from the future"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := recovery.Judge([]fleet.HostRef{{ID: "a"}}, tt.proofs, fleet.WayRecovery, 24*time.Hour, now)
			if j.Holds() != tt.holds || !strings.Contains(j.String(), tt.why) {
				t.Errorf("got %s", j)
			}
			if recovery.Judge([]fleet.HostRef{{ID: "a"}}, tt.proofs, fleet.WaySSH, 24*time.Hour, now).Holds() {
				t.Error("it counts for another way, too")
			}
		})
	}
	if recovery.Judge(nil, nil, fleet.WayRecovery, time.Hour, now).Holds() {
		t.Error("a way into no host is proved")
	}
}

func TestGroupsHaveThePlansNames(t *testing.T) {
	if got, want := recovery.GroupName("vpc-1"), plan.RecoveryName("vpc-1"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStatusOfKeyRuleGroupAndLogin(t *testing.T) {
	const key = "AAAAkey"
	host := func(id, group string, blob string) fleet.Host {
		h := fleet.Host{ID: id, Account: "1", Region: "r", VPC: "vpc-1", State: "running", Groups: []string{group}}
		if blob != "" {
			h.Probe = fleet.Known(fleet.Probe{Keys: fleet.Known([]fleet.Key{{Blob: blob}}, "probe", now)}, "probe", now)
		}
		return h
	}
	bastion := host("i-b", "sg-b", "")
	bastion.AutoScalingGroup = recovery.GroupName("vpc-1")
	windows := host("i-w", "sg-1", "")
	windows.Platform = "Windows"
	stopped := host("i-s", "sg-1", "")
	stopped.State = "stopped"
	s := &fleet.Snapshot{
		Hosts: []fleet.Host{host("i-2", "sg-2", "AAAAother"), host("i-1", "sg-1", key), host("i-3", "sg-1", ""), bastion, windows, stopped},
		Regions: []fleet.Region{{
			Account: "1", Name: "r",
			ScalingGroups: fleet.Known([]fleet.ScalingGroup{{Name: recovery.GroupName("vpc-1"), Desired: 1}}, "x", now),
			Groups: fleet.Known([]fleet.SecurityGroup{
				{ID: "sg-b", Name: recovery.GroupName("vpc-1"), VPC: "vpc-1"},
				{ID: "sg-1", VPC: "vpc-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 22, To: 22, Groups: []string{"sg-b"}}}},
				{ID: "sg-2", VPC: "vpc-1", Ingress: []fleet.Permission{{Protocol: "tcp", From: 80, To: 80, Groups: []string{"sg-b"}}}},
			}, "x", now),
		}},
	}
	works := proof("i-1", fleet.TruthYes, time.Hour)
	works.Host = s.Hosts[1].Ref()
	fails := proof("i-2", fleet.TruthNo, time.Hour)
	fails.Host = s.Hosts[0].Ref()
	got := recovery.Status(s, []fleet.Proof{works, fails}, fleet.RecoveryKey{Line: "ssh-ed25519 " + key}, 24*time.Hour, now)
	if len(got) != 1 || len(got[0].Hosts) != 3 || got[0].There != fleet.TruthYes || got[0].Zero != fleet.TruthNo || got[0].Proved() {
		t.Fatalf("got %+v", got)
	}
	const yes, no, unknown = fleet.TruthYes, fleet.TruthNo, fleet.TruthUnknown
	for i, want := range [][3]fleet.Truth{{yes, yes, yes}, {no, no, no}, {unknown, yes, unknown}} {
		h := got[0].Hosts[i]
		if [3]fleet.Truth{h.Key, h.Rule, h.Login} != want {
			t.Errorf("%s: key %s, rule %s, login %s (%s), want %v", h.Host.ID, h.Key, h.Rule, h.Login, h.Why, want)
		}
	}
	// A login from before an inventory that saw no key proves nothing any more; a
	// key that logs in is not an authority.
	s.Started = now.Add(-30 * time.Minute)
	for _, tt := range []struct {
		key  fleet.RecoveryKey
		on   bool // the host's line is an authority's
		want [2]fleet.Truth
	}{
		{fleet.RecoveryKey{Line: "ssh-ed25519 " + key}, true, [2]fleet.Truth{no, unknown}},
		{fleet.RecoveryKey{Line: "ssh-ed25519 " + key, CA: true}, true, [2]fleet.Truth{yes, yes}},
		{fleet.RecoveryKey{Line: "ssh-ed25519 " + key, CA: true}, false, [2]fleet.Truth{no, unknown}},
	} {
		s.Hosts[1].Probe.Value.Keys.Value[0].CA = tt.on
		h := recovery.Status(s, []fleet.Proof{works, fails}, tt.key, 24*time.Hour, now)[0].Hosts[0]
		if [2]fleet.Truth{h.Key, h.Login} != tt.want || (h.Why == "") != (h.Login == yes) {
			t.Errorf("%+v, authority on the host %t: key %s, login %s (%s), want %v", tt.key, tt.on, h.Key, h.Login, h.Why, tt.want)
		}
	}
	s.Regions = nil
	if got := recovery.Status(s, nil, fleet.RecoveryKey{}, 24*time.Hour, now); got[0].There != unknown || got[0].Hosts[0].Rule != unknown || got[0].Hosts[0].Key != unknown {
		t.Errorf("without answers: %+v", got)
	}
}

func TestBlob(t *testing.T) {
	for line, want := range map[string]string{
		"ssh-ed25519 AAAA me": "AAAA", "restrict ecdsa-sha2-nistp256 BBBB": "BBBB", "": "", "ssh-ed25519": "", "hello world": "",
	} {
		if got := recovery.Blob(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
