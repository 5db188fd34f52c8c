package recovery_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
)

// sound is a VPC in which all is as it should be.
func sound() (recovery.Seen, recovery.Wanted) {
	name := recovery.GroupName("vpc-1")
	host := fleet.Host{ID: "i-1", Account: "1", Region: "r", VPC: "vpc-1", State: "running", Groups: []string{"sg-web", "sg-ops"}}
	rule := fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: "sg-b"}
	entry := fleet.Rule{Protocol: "tcp", From: 22, To: 22}
	s := recovery.Seen{
		Place: fleet.Place{Account: "1", Region: "r"}, VPC: "vpc-1",
		Group:    fleet.Known(fleet.ScalingGroup{Name: name, Max: 1}, "x", now),
		Template: fleet.Known(fleet.BastionTemplate{ID: "lt-1", Image: "ami-1", UserData: "#cloud-config\nssh_authorized_keys:\n  - \"restrict,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAkey x\"\n"}, "x", now),
		Image:    fleet.Known("available", "x", now),
		Door:     fleet.Known(fleet.SecurityGroup{ID: "sg-b", Name: name}, "x", now),
		Entry:    fleet.Known([]fleet.Rule{entry}, "x", now),
		Hosts:    fleet.Known([]fleet.Host{host}, "x", now),
		Rules:    map[string]fleet.Fact[[]fleet.Rule]{"sg-web": fleet.Known([]fleet.Rule{}, "x", now), "sg-ops": fleet.Known([]fleet.Rule{rule}, "x", now)},
	}
	w := recovery.Wanted{
		Key: "AAAAkey", Keys: []fleet.RecoveryKey{{Line: "ssh-ed25519 AAAAkey x", Made: now.Add(-24 * time.Hour)}}, KeyAge: 90 * 24 * time.Hour,
		Known: map[fleet.HostRef]fleet.Truth{host.Ref(): fleet.TruthYes},
	}
	return s, w
}

// A check holds only as long as what it is about was seen, and was as it should be.
func TestChecksOfTheRecoveryWay(t *testing.T) {
	const yes, no, unknown = fleet.TruthYes, fleet.TruthNo, fleet.TruthUnknown
	fresh := fleet.Host{ID: "i-9", Account: "1", Region: "r", VPC: "vpc-1", State: "running", Groups: []string{"sg-web"}}
	for _, tt := range []struct {
		name   string
		change func(*recovery.Seen, *recovery.Wanted)
		want   map[recovery.Code]fleet.Truth // of those that do not hold
	}{
		{"sound", func(*recovery.Seen, *recovery.Wanted) {}, nil},
		{"a bastion is wanted", func(s *recovery.Seen, _ *recovery.Wanted) { s.Group.Value.Desired = 1 }, map[recovery.Code]fleet.Truth{recovery.CheckZero: no}},
		{"a bastion runs", func(s *recovery.Seen, _ *recovery.Wanted) { s.Group.Value.Instances = []string{"i-b"} }, map[recovery.Code]fleet.Truth{recovery.CheckZero: no}},
		{"kept above zero", func(s *recovery.Seen, _ *recovery.Wanted) { s.Group.Value.Min = 1 }, map[recovery.Code]fleet.Truth{recovery.CheckZero: no}},
		{"cannot start any", func(s *recovery.Seen, _ *recovery.Wanted) { s.Group.Value.Max = 0 }, map[recovery.Code]fleet.Truth{recovery.CheckThere: no}},
		{"no answer of Auto Scaling", func(s *recovery.Seen, _ *recovery.Wanted) {
			s.Group = fleet.Unknown[fleet.ScalingGroup]("x", now, "denied")
		}, map[recovery.Code]fleet.Truth{recovery.CheckZero: unknown, recovery.CheckThere: unknown}},
		{"no template", func(s *recovery.Seen, _ *recovery.Wanted) { s.Template.Value = fleet.BastionTemplate{} }, map[recovery.Code]fleet.Truth{recovery.CheckThere: no}},
		{"image gone", func(s *recovery.Seen, _ *recovery.Wanted) { s.Image.Value = "" }, map[recovery.Code]fleet.Truth{recovery.CheckImage: no}},
		{"image failed", func(s *recovery.Seen, _ *recovery.Wanted) { s.Image.Value = "failed" }, map[recovery.Code]fleet.Truth{recovery.CheckImage: no}},
		{"image not told", func(s *recovery.Seen, _ *recovery.Wanted) { s.Image = fleet.Unknown[string]("x", now, "denied") }, map[recovery.Code]fleet.Truth{recovery.CheckImage: unknown}},
		{"another key", func(_ *recovery.Seen, w *recovery.Wanted) { w.Key = "AAAAkey2" }, map[recovery.Code]fleet.Truth{recovery.CheckTemplate: no, recovery.CheckAge: unknown}},
		{"a part of the key", func(_ *recovery.Seen, w *recovery.Wanted) { w.Key = "AAAAke" }, map[recovery.Code]fleet.Truth{recovery.CheckTemplate: no, recovery.CheckAge: unknown}},
		{"no key known", func(_ *recovery.Seen, w *recovery.Wanted) { w.Key = "" }, map[recovery.Code]fleet.Truth{recovery.CheckTemplate: unknown, recovery.CheckAge: unknown}},
		{"operators shut out", func(s *recovery.Seen, _ *recovery.Wanted) { s.Entry.Value = nil }, map[recovery.Code]fleet.Truth{recovery.CheckEntry: no}},
		{"its group gone", func(s *recovery.Seen, _ *recovery.Wanted) { s.Door.Value = fleet.SecurityGroup{} }, map[recovery.Code]fleet.Truth{recovery.CheckThere: no, recovery.CheckEntry: no, recovery.CheckDoor: no}},
		{"rule gone", func(s *recovery.Seen, _ *recovery.Wanted) {
			s.Rules["sg-ops"] = fleet.Known([]fleet.Rule{{Egress: true, Protocol: "tcp", From: 22, To: 22, Group: "sg-b"}}, "x", now)
		}, map[recovery.Code]fleet.Truth{recovery.CheckDoor: no}},
		{"rules not told", func(s *recovery.Seen, _ *recovery.Wanted) { delete(s.Rules, "sg-ops") }, map[recovery.Code]fleet.Truth{recovery.CheckDoor: unknown}},
		{"a new host", func(s *recovery.Seen, _ *recovery.Wanted) { s.Hosts.Value = append(s.Hosts.Value, fresh) }, map[recovery.Code]fleet.Truth{recovery.CheckDoor: no, recovery.CheckKey: unknown}},
		{"a host without the key", func(_ *recovery.Seen, w *recovery.Wanted) {
			for h := range w.Known {
				w.Known[h] = no
			}
		}, map[recovery.Code]fleet.Truth{recovery.CheckKey: no}},
		{"instances not listed", func(s *recovery.Seen, _ *recovery.Wanted) { s.Hosts = fleet.Unknown[[]fleet.Host]("x", now, "denied") }, map[recovery.Code]fleet.Truth{recovery.CheckDoor: unknown, recovery.CheckKey: unknown}},
		{"key too old", func(_ *recovery.Seen, w *recovery.Wanted) { w.Keys[0].Made = now.Add(-91 * 24 * time.Hour) }, map[recovery.Code]fleet.Truth{recovery.CheckAge: no}},
		{"any age will do", func(_ *recovery.Seen, w *recovery.Wanted) {
			w.Keys[0].Made, w.KeyAge = now.Add(-999*24*time.Hour), 0
		}, nil},
		{"key of tomorrow", func(_ *recovery.Seen, w *recovery.Wanted) { w.Keys[0].Made = now.Add(time.Hour) }, map[recovery.Code]fleet.Truth{recovery.CheckAge: unknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, w := sound()
			tt.change(&s, &w)
			got := map[recovery.Code]fleet.Truth{}
			for _, c := range slices.Concat(s.Checks(w), recovery.KeyChecks(w, now)) {
				if c.Now == "" || c.What == "" && c.Code != recovery.CheckImage {
					t.Errorf("incomplete: %+v", c)
				}
				if c.Holds != yes {
					got[c.Code] = c.Holds
					if c.Do == "" {
						t.Errorf("%s does not say what to do", c.Code)
					}
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLiveLookFillsTheStandingIn(t *testing.T) {
	s, w := sound()
	s.Group.Value.Desired = 1
	ref := s.Hosts.Value[0].Ref()
	v := recovery.VPC{VPC: "vpc-1", Place: s.Place, There: fleet.TruthNo, Zero: fleet.TruthUnknown, Hosts: []recovery.Host{{Host: ref}, {Host: fleet.HostRef{ID: "i-gone"}}}}
	v.See(s, w)
	if v.There != fleet.TruthYes || v.Zero != fleet.TruthNo || v.Hosts[0].Rule != fleet.TruthYes || v.Hosts[1].Rule != fleet.TruthUnknown || len(v.Checks) == 0 {
		t.Errorf("got %+v", v)
	}
}

func TestDrillChecks(t *testing.T) {
	hosts := []fleet.HostRef{{ID: "a"}}
	if c := recovery.DrillChecks(nil, nil, time.Hour, now); c != nil {
		t.Errorf("without hosts: %+v", c)
	}
	for _, tt := range []struct {
		age  time.Duration
		want fleet.Truth
	}{{time.Minute, fleet.TruthYes}, {2 * time.Hour, fleet.TruthNo}} {
		c := recovery.DrillChecks(hosts, []fleet.Proof{proof("a", fleet.TruthYes, tt.age)}, time.Hour, now)
		if len(c) != 1 || c[0].Holds != tt.want || (tt.want == fleet.TruthNo) != (len(c[0].Hosts) == 1) {
			t.Errorf("%s: %+v", tt.age, c)
		}
	}
}

func TestDays(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0m", 59 * time.Minute: "59m", 26 * time.Hour: "26h 0m", 48 * time.Hour: "2 days"} {
		if got := recovery.Days(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}
