package simfleet_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/simfleet"
)

// An agent that cannot reach its service tries again after every sleep: the
// last one of which its log tells is not over.
func TestTheLastSleepInTheAgentsLogLasts(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "host without a way to ssm whose agent runs", func(in *simfleet.Instance) bool {
		ops := slices.IndexFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser })
		return in.OS.Family != "windows" && ops >= 0 && in.Users[ops].Sudo && in.Agent.Running && in.Agent.Registration == "" && !w.AgentEgress(in, "ssm").TLS
	})
	in.Agent.Started = time.Now().AddDate(0, 0, -3)
	client, err := login(t, h, in, "203.0.113.10:50001", clientConfig(t, w, simfleet.OperatorUser))
	if err != nil {
		t.Fatal(err)
	}
	p := probe(t, client, in)
	for _, s := range p.Agent.Value.Signs.Value {
		_, text, sleeps := strings.Cut(s.Text, "Sleeping for ")
		if !sleeps {
			continue
		}
		length, err := time.ParseDuration(strings.Fields(text)[0])
		if err != nil {
			t.Fatal(err)
		}
		// The log writes whole seconds.
		if over := s.At.Add(length + time.Second); over.Before(p.HostTime) {
			t.Errorf("%q at %s was over at %s, %s before the probe", s.Text, s.At, over, p.HostTime.Sub(over))
		}
		return
	}
	t.Fatalf("no sleep among %+v", p.Agent.Value.Signs)
}
