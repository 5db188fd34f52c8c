package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// usedSession adds a session of Alice's on the first host, hours before the
// snapshot, that ran for some time.
func usedSession(s *fleet.Snapshot, status, document string, hours int, ran time.Duration) {
	start := at.Add(-time.Duration(hours) * time.Hour)
	x := fleet.ManagedSession{ID: "s", Target: "i-1", Owner: userARN, Status: status, Document: document, Start: start}
	if ran > 0 {
		x.End = start.Add(ran)
	}
	s.Regions[0].Sessions = known(append(s.Regions[0].Sessions.Value, x), "ssm:DescribeSessions")
}

// The statuses are those of the Systems Manager API Reference, Session. The
// documents are those of session-manager-working-with-sessions-start.
func TestWhatASessionProves(t *testing.T) {
	const shell, ports = fleet.PreferencesName, "AWS-StartPortForwardingSession"
	service := alice
	service.Service = true
	nightly := func(last, interval time.Duration) func(*fleet.Login) {
		return func(l *fleet.Login) {
			l.Count, l.Last = 11, at.Add(-last)
			l.First = l.Last.Add(-10 * interval)
		}
	}
	for _, c := range []struct {
		name     string
		use      fleet.Use
		login    func(*fleet.Login)
		owner    fleet.Owner
		status   string
		document string
		hours    int
		ran      time.Duration
		want     fleet.ConsumerStatus
	}{
		{"an open shell", fleet.UseShell, nil, alice, "Connected", shell, 1, 0, fleet.ConsumerMigrated},
		{"a shell that ran", fleet.UseShell, nil, alice, "Terminated", shell, 1, time.Minute, fleet.ConsumerMigrated},
		{"a session that failed", fleet.UseShell, nil, alice, "Failed", shell, 1, time.Minute, fleet.ConsumerActive},
		{"a session that is being made", fleet.UseShell, nil, alice, "Connecting", shell, 1, 0, fleet.ConsumerActive},
		{"a shell that ended at once", fleet.UseShell, nil, alice, "Terminated", shell, 1, 2 * time.Second, fleet.ConsumerActive},
		{"a shell for a command", fleet.UseCommand, nil, alice, "Connected", shell, 1, 0, fleet.ConsumerMigrated},
		{"a shell for what the log does not tell", "", nil, alice, "Connected", shell, 1, 0, fleet.ConsumerMigrated},
		{"a shell for what the log does not tell of a service", "", nil, service, "Connected", shell, 1, 0, fleet.ConsumerActive},
		{"a shell for copies", fleet.UseRsync, nil, alice, "Connected", shell, 1, 0, fleet.ConsumerActive},
		{"a shell for a tunnel", fleet.UseTunnel, nil, alice, "Connected", shell, 1, 0, fleet.ConsumerActive},
		{"a forwarded port for a tunnel", fleet.UseTunnel, nil, alice, "Connected", ports, 1, 0, fleet.ConsumerMigrated},
		{"a forwarded port for a shell", fleet.UseShell, nil, alice, "Connected", ports, 1, 0, fleet.ConsumerActive},
		{"SSH over Session Manager for copies", fleet.UseRsync, nil, alice, "Connected", "AWS-StartSSHSession", 1, 0, fleet.ConsumerMigrated},
		{"a nightly copy that may come again", fleet.UseRsync, nightly(10*time.Hour, 24*time.Hour), alice, "Connected", "AWS-StartSSHSession", 9, 0, fleet.ConsumerActive},
		{"a nightly copy that did not come for two nights", fleet.UseRsync, nightly(60*time.Hour, 24*time.Hour), alice, "Connected", "AWS-StartSSHSession", 50, 0, fleet.ConsumerMigrated},
		{"a weekly copy that did not come for two nights", fleet.UseRsync, nightly(60*time.Hour, 7*24*time.Hour), alice, "Connected", "AWS-StartSSHSession", 50, 0, fleet.ConsumerActive},
		{"a regular login that the log does not explain", "", nightly(60*time.Hour, 24*time.Hour), alice, "Connected", shell, 50, 0, fleet.ConsumerActive},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := login("web", "SHA256:a", "10.0.0.1", c.use, 2)
			if c.login != nil {
				c.login(&l)
			}
			s := logging([]fleet.Login{l})
			usedSession(s, c.status, c.document, c.hours, c.ran)
			if got := judgeWith(s, ownedBy(c.owner)).Ledger.Consumers[0]; got.Status != c.want {
				t.Errorf("%s, want %s: %s", got.Status, c.want, got.Why)
			}
		})
	}
}

// sshd logs accepted logins from level INFO on (OpenSSH, sshd_config(5), LogLevel).
func TestSilenceNeedsALogThatRecordsLogins(t *testing.T) {
	level := func(l string) func(*fleet.Probe) {
		return func(p *fleet.Probe) { p.SSHD.Value.Settings["loglevel"] = []string{l} }
	}
	for _, c := range []struct {
		name   string
		change func(*fleet.Probe)
		want   fleet.ConsumerStatus
	}{
		{"INFO by default", func(*fleet.Probe) {}, fleet.ConsumerSilent},
		{"INFO", level("INFO"), fleet.ConsumerSilent},
		{"VERBOSE", level("VERBOSE"), fleet.ConsumerSilent},
		{"ERROR", level("ERROR"), fleet.ConsumerActive},
		{"FATAL", level("FATAL"), fleet.ConsumerActive},
		{"QUIET", level("quiet"), fleet.ConsumerActive},
		{"QUIET for the account", func(p *fleet.Probe) {
			p.SSHD.Value.PerUser = map[string]map[string][]string{"web": {"loglevel": {"QUIET"}}}
		}, fleet.ConsumerActive},
		{"settings are not known", func(p *fleet.Probe) { p.SSHD = lost[fleet.SSHD]("probe", "needs root") }, fleet.ConsumerActive},
		{"logins were left out", func(p *fleet.Probe) { p.Gaps = []fleet.Gap{{What: "logins", Reason: "812 are left out"}} }, fleet.ConsumerActive},
		{"another gap", func(p *fleet.Probe) { p.Gaps = []fleet.Gap{{What: "inotify", Reason: "no grep"}} }, fleet.ConsumerSilent},
	} {
		s := logging([]fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 45)})
		c.change(&s.Hosts[0].Probe.Value)
		if got := judge(s).Ledger.Consumers[0]; got.Status != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got.Status, c.want, got.Why)
		}
	}
	s := logging([]fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 2)})
	if got := judgeWith(s, func(p *readiness.Policy) { p.SilentDays = 0 }).Ledger.Consumers[0]; got.Status != fleet.ConsumerActive {
		t.Errorf("0 days make a consumer %s: %s", got.Status, got.Why)
	}
}

// A log has the host's time, sessions have AWS's.
func TestStatusAllowsForTheHostsClock(t *testing.T) {
	for _, c := range []struct {
		name   string
		offset time.Duration
		login  time.Duration // before the snapshot, by the host's clock
		want   fleet.ConsumerStatus
	}{
		{"right", 0, 5 * time.Hour, fleet.ConsumerMigrated},
		{"3 hours behind: the login came after the session", -3 * time.Hour, 5 * time.Hour, fleet.ConsumerActive},
		{"3 hours behind, and well before the session all the same", -3 * time.Hour, 8 * time.Hour, fleet.ConsumerMigrated},
		{"ahead: it may have been right then", 3 * time.Hour, 2 * time.Hour, fleet.ConsumerActive},
		{"3 days behind: the silence is shorter", -72 * time.Hour, 32 * 24 * time.Hour, fleet.ConsumerActive},
	} {
		l := login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 0)
		l.Last = at.Add(-c.login)
		l.First = l.Last
		s := logging([]fleet.Login{l})
		s.Hosts[0].Probe.Value.HostTime = at.Add(c.offset)
		if c.login < 24*time.Hour {
			usedSession(s, "Connected", fleet.PreferencesName, 4, 0)
		}
		if got := judgeWith(s, ownedBy(alice)).Ledger.Consumers[0]; got.Status != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got.Status, c.want, got.Why)
		}
	}
}

func TestLoopbackLoginsWithoutAnAgentAreConsumers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fleet.Snapshot)
		want   int
	}{
		{"a connected node", func(*fleet.Snapshot) {}, 0},
		{"no agent", func(s *fleet.Snapshot) {
			s.Hosts[0].Node, s.Hosts[0].Connection = known(fleet.Node{ID: "i-1"}, "ssm"), lost[string]("ssm", "not managed")
		}, 1},
		{"an SSH session at that time", func(s *fleet.Snapshot) {
			s.Hosts[0].Node, s.Hosts[0].Connection = known(fleet.Node{ID: "i-1"}, "ssm"), lost[string]("ssm", "not managed")
			usedSession(s, "Terminated", "AWS-StartSSHSession", 24, time.Hour)
		}, 0},
		{"an SSH session at another time", func(s *fleet.Snapshot) {
			s.Hosts[0].Node, s.Hosts[0].Connection = known(fleet.Node{ID: "i-1"}, "ssm"), lost[string]("ssm", "not managed")
			usedSession(s, "Terminated", "AWS-StartSSHSession", 12, time.Hour)
		}, 1},
	} {
		s := logging([]fleet.Login{login("vendor", "SHA256:v", "127.0.0.1", fleet.UseShell, 1)})
		c.change(s)
		got := judge(s).Ledger.Consumers
		if len(got) != c.want {
			t.Fatalf("%s: %+v", c.name, got)
		}
		if c.want > 0 && (got[0].Status != fleet.ConsumerActive || !strings.Contains(got[0].Why, "from the host itself")) {
			t.Errorf("%s: %s: %s", c.name, got[0].Status, got[0].Why)
		}
	}
}

// Taking somebody else's login for the inventory's own would hide them.
func TestTheInventoryHidesNobodyElse(t *testing.T) {
	by := func(fingerprint, from string, seconds int) fleet.Login {
		l := login("ec2-user", fingerprint, from, fleet.UseCommand, 0)
		l.Last = at.Add(-time.Duration(seconds) * time.Second)
		return l
	}
	both := []fleet.Login{by("SHA256:inv", "10.7.7.1", 100), by("SHA256:deploy", "10.7.7.7", 5)}
	for _, c := range []struct {
		name  string
		hosts [][]fleet.Login
		want  []string
	}{
		{"two that could be it", [][]fleet.Login{both}, []string{"SHA256:deploy 1", "SHA256:inv 1"}},
		{"another host tells which key is the inventory's", [][]fleet.Login{both, {by("SHA256:inv", "10.7.7.1", 2)}}, []string{"SHA256:deploy 1"}},
	} {
		var got []string
		for _, x := range judge(logging(c.hosts...)).Ledger.Consumers {
			got = append(got, fmt.Sprint(x.Fingerprint, " ", x.Count))
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestIdleWaivers(t *testing.T) {
	s := logging([]fleet.Login{login("web", "SHA256:a", "10.0.0.1", fleet.UseShell, 1)})
	waivers := []fleet.Waiver{{User: "web"}, {User: "wbe"}, {Hosts: []string{"i-1"}, User: "web"}, {Hosts: []string{"i-2"}}, {}}
	if got := readiness.IdleWaivers(s, judge(s).Ledger, waivers); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("idle waivers %v, want 1, 3 and 4", got)
	}
}
