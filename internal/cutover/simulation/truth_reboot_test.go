package simulation_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/simfleet"
)

// TestWhoLocksOut closes port 22 of a host by hand, so that Session Manager is its last way, and takes that
// way: only the change that does it may be blamed, and only if it is the operator's process's,
// also while the host reboots and cannot be got into for a moment anyway.
func TestWhoLocksOut(t *testing.T) {
	notUnderRace(t)
	setCredentials(t)
	goDown := func(s *simulation, in *simfleet.Instance) {
		s.downForGood = true
		outage(s, in)
	}
	for _, tc := range []struct {
		name    string
		enabled bool // the agent starts when the host does
		reboots bool
		takes   func(*simulation, *simfleet.Instance) // the last way
		ours    bool                                  // that was the operator's process
		blamed  bool
	}{
		{name: "an outage", enabled: true, takes: goDown},
		{name: "the process", enabled: true, takes: goDown, ours: true, blamed: true},
		{name: "an outage while it reboots", enabled: true, reboots: true, takes: goDown},
		{name: "the process while it reboots", enabled: true, reboots: true, takes: goDown, ours: true, blamed: true},
		{name: "an agent that does not come up", reboots: true, takes: func(*simulation, *simfleet.Instance) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, 1)
				defer s.close()
				s.turns.take("test")
				h := shutByHand(t, s)
				s.t = &quietTest{TB: t}
				s.change(func() { h.in.Agent.Enabled = tc.enabled })
				if tc.reboots {
					s.check(change{what: reboot(s, h.in)})
				}
				tc.takes(s, h.in)
				s.check(change{what: "the last way goes", ours: tc.ours})
				time.Sleep(2 * time.Minute)
				s.turns.take("test")
				s.check(change{what: "something else", ours: true})
				if w := s.waysOf(h); w.Open() {
					t.Fatalf("the host is still open: %+v", w)
				}
				if s.failed != tc.blamed {
					t.Errorf("blamed: %v, want %v; trace: %q", s.failed, tc.blamed, s.lines)
				}
			})
		})
	}
}

// shutByHand is a host of which somebody else has closed port 22.
func shutByHand(t *testing.T, s *simulation) *watched {
	t.Helper()
	for _, h := range s.hosts {
		for closesByHand(s, h.in) != "" {
			time.Sleep(10 * time.Second) // until reads have caught up
			s.turns.take("test")
		}
		if w := s.waysOf(h); h.byHand && w.SessionManager == "" && w.SSH != "" && w.Recovery != "" {
			return h
		}
	}
	t.Fatal("no host has port 22 closed by hand and Session Manager as its last way")
	return nil
}

// waysOf is truth for a caller that holds no lock.
func (s *simulation) waysOf(h *watched) simfleet.Ways {
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	return s.truth(h.in)
}

// quietTest is a test that a lock-out does not fail.
type quietTest struct{ testing.TB }

func (*quietTest) Errorf(string, ...any) {}
