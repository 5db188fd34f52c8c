package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
	"ssm-migrate/internal/simfleet"
)

var _ cutover.Prover = (*awsapi.SessionProver)(nil)

// sessionWorld is a simulated fleet in which sessions run, and our way into it.
type sessionWorld struct {
	*awsapi.Sessions
	w      *simfleet.World
	hosts  *simfleet.Hosts
	aws    *simfleet.AWS
	faults *simfleet.Faults
	frames *simfleet.FrameFaults
}

func newSessionWorld(t *testing.T) *sessionWorld {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: 7, Healthy: true, Instances: 16})
	if err != nil {
		t.Fatal(err)
	}
	s := &sessionWorld{w: w, hosts: simfleet.NewHosts(w, simfleet.HostOptions{}), faults: &simfleet.Faults{}, frames: &simfleet.FrameFaults{}}
	s.aws = simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true, Hosts: s.hosts, Faults: s.faults, Frames: s.frames})
	url := newServer(t, s.aws)
	t.Cleanup(s.hosts.Close)
	isolate(t, url)
	t.Setenv("AWS_ACCESS_KEY_ID", simfleet.AccessKey(w.Accounts[0].ID))
	account, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{MaxAttempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Sessions = awsapi.NewSessions(account)
	return s
}

// sound finds a host on which sessions work.
func (s *sessionWorld) sound(t *testing.T, fits func(*simfleet.Instance) bool) *simfleet.Instance {
	t.Helper()
	for _, rg := range s.w.Accounts[0].Regions {
		for _, in := range rg.Instances {
			if in.OS.Family != "windows" && s.w.ServesSessions(in) && fits(in) {
				return in
			}
		}
	}
	t.Fatal("the world has no such host")
	return nil
}

func anyHost(*simfleet.Instance) bool { return true }

func TestProofsOfEveryKind(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	for _, kind := range []awsapi.ProofKind{awsapi.ProofShell, awsapi.ProofCommand, awsapi.ProofPort, awsapi.ProofSSH} {
		t.Run(string(kind), func(t *testing.T) {
			v := &awsapi.SessionProver{Sessions: s.Sessions, Kind: kind}
			before := time.Now()
			p := v.Prove(t.Context(), in.Host, fleet.WaySessionManager)
			if p.Works != fleet.TruthYes || p.Reason != "" {
				t.Fatalf("%+v", p)
			}
			if p.Host != in.Host.Ref() || p.Kind != string(kind) || p.Way != fleet.WaySessionManager || p.By != "arn:aws:iam::"+in.Host.Account+":user/operator" {
				t.Errorf("%+v", p)
			}
			if p.RoundTrip <= 0 || p.RoundTrip > time.Since(before) || p.At.Before(before) || p.At.Location() != time.UTC {
				t.Errorf("round trip %v at %v", p.RoundTrip, p.At)
			}
			content := kind == awsapi.ProofShell || kind == awsapi.ProofCommand
			if content != (p.RunAs != "") || content != (p.Log == fleet.TruthYes) || content != (p.LogObject != "") {
				t.Errorf("RunAs %q, log %v %q", p.RunAs, p.Log, p.LogObject)
			}
			if status := s.status(in, p.Session); status != "Terminated" {
				t.Errorf("session %s is %s", p.Session, status)
			}
		})
	}
}

func (s *sessionWorld) status(in *simfleet.Instance, id string) string {
	s.w.Mu.RLock()
	defer s.w.Mu.RUnlock()
	for _, m := range in.Region.ManagedSessions {
		if m.ID == id {
			return m.Status
		}
	}
	return "not there"
}

func (s *sessionWorld) open(in *simfleet.Instance) int {
	s.w.Mu.RLock()
	defer s.w.Mu.RUnlock()
	n := 0
	for _, m := range in.Region.ManagedSessions {
		if m.Target == in.Host.ID && m.End.IsZero() {
			n++
		}
	}
	return n
}

func runAs(preferences, user string) string {
	return strings.Replace(preferences, `"runAsDefaultUser":"","runAsEnabled":false`, `"runAsDefaultUser":"`+user+`","runAsEnabled":true`, 1)
}

func TestProofsThatFail(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	healthy := in.Region.Preferences
	tests := []struct {
		name   string
		harm   func()
		works  fleet.Truth
		reason string
	}{
		{"the agent is not connected", func() { in.Agent.Running = false }, fleet.TruthNo, "migrate hosts " + in.Host.ID},
		{"denied", func() { s.faults.Set(simfleet.Fault{Service: "ssm", Action: "StartSession", Kind: simfleet.FaultDeny}) }, fleet.TruthNo, "you need ssm:StartSession"},
		{"the key is denied", func() { s.faults.Set(simfleet.Fault{Service: "kms", Kind: simfleet.FaultDeny}) }, fleet.TruthNo, "kms:GenerateDataKey"},
		{"throttled", func() {
			s.faults.Set(simfleet.Fault{Service: "ssm", Action: "StartSession", Kind: simfleet.FaultThrottle})
		}, fleet.TruthUnknown, "throttled"},
		{"no answer in the protocol", func() { s.faults.Set(simfleet.Fault{Service: "ssm", Action: "StartSession", Kind: simfleet.FaultHTML}) }, fleet.TruthUnknown, "not in AWS's protocol"},
		{"STS does not answer", func() { s.faults.Set(simfleet.Fault{Service: "sts", Kind: simfleet.FaultDeny}) }, fleet.TruthUnknown, "which access is to account"},
		{"the RunAs user is missing", func() {
			in.Region.Preferences = runAs(healthy, "nobody-knows")
		}, fleet.TruthNo, "nobody-knows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.w.Mu.Lock()
			tt.harm()
			s.w.Mu.Unlock()
			t.Cleanup(func() {
				s.faults.Set()
				s.w.Mu.Lock()
				defer s.w.Mu.Unlock()
				in.Agent.Running, in.Region.Preferences = true, healthy
			})
			before := s.open(in)
			sessions := s.Sessions
			if tt.name == "STS does not answer" {
				account, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{MaxAttempts: 1})
				if err != nil {
					t.Fatal(err)
				}
				sessions = awsapi.NewSessions(account)
			}
			p := (&awsapi.SessionProver{Sessions: sessions}).Prove(t.Context(), in.Host, fleet.WaySessionManager)
			if p.Works != tt.works || !strings.Contains(p.Reason, tt.reason) || strings.ContainsAny(p.Reason, "\n\x1b") || p.At.IsZero() {
				t.Errorf("works %v: %q", p.Works, p.Reason)
			}
			// Of a session whose start was answered by something else, nobody knows the ID.
			if n := s.open(in) - before; n != 0 && tt.name != "no answer in the protocol" {
				t.Errorf("%d sessions are left open", n)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p := (&awsapi.SessionProver{Sessions: s.Sessions}).Prove(ctx, in.Host, fleet.WaySessionManager); p.Works != fleet.TruthUnknown || p.Reason == "" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("other ways and Windows", func(t *testing.T) {
		v := &awsapi.SessionProver{Sessions: s.Sessions}
		windows := in.Host
		windows.Platform = "Windows"
		for _, p := range []fleet.Proof{v.Prove(t.Context(), in.Host, fleet.WaySSH), v.Prove(t.Context(), windows, fleet.WaySessionManager)} {
			if p.Works != fleet.TruthUnknown || p.Reason == "" {
				t.Errorf("%+v", p)
			}
		}
	})
	t.Run("another account", func(t *testing.T) {
		h := in.Host
		h.Account = "999999999999"
		if p := (&awsapi.SessionProver{Sessions: s.Sessions}).Prove(t.Context(), h, fleet.WaySessionManager); p.Works != fleet.TruthUnknown || !strings.Contains(p.Reason, "none of the configured accesses") {
			t.Errorf("%+v", p)
		}
	})
}

func TestProofsTellWhoTheyRanAs(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	s.w.Mu.Lock()
	in.Region.Preferences = runAs(in.Region.Preferences, "daemon")
	s.w.Mu.Unlock()
	p := (&awsapi.SessionProver{Sessions: s.Sessions}).Prove(t.Context(), in.Host, fleet.WaySessionManager)
	if p.Works != fleet.TruthYes || p.RunAs != "daemon" {
		t.Errorf("%+v", p)
	}
}

// Every third message of either direction is lost, doubled or late.
func TestSessionsSurviveABadConnection(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	bad := func(n int, kind string) simfleet.FrameFault {
		if n%3 != 1 || kind == "acknowledge" && n%2 == 0 {
			return simfleet.FramePasses
		}
		return []simfleet.FrameFault{simfleet.FrameDrop, simfleet.FrameTwice, simfleet.FrameLater}[n/3%3]
	}
	s.frames.ToAgent, s.frames.ToClient = bad, bad
	p := (&awsapi.SessionProver{Sessions: s.Sessions}).Prove(t.Context(), in.Host, fleet.WaySessionManager)
	if p.Works != fleet.TruthYes {
		t.Errorf("%+v", p)
	}
}

func TestCutConnectionIsResumed(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	s.frames.ToClient = func(n int, _ string) simfleet.FrameFault {
		if n == 2 || n == 5 {
			return simfleet.FrameCut
		}
		return simfleet.FramePasses
	}
	p := (&awsapi.SessionProver{Sessions: s.Sessions}).Prove(t.Context(), in.Host, fleet.WaySessionManager)
	if p.Works != fleet.TruthYes {
		t.Errorf("%+v", p)
	}
	if n := s.aws.Calls()["ssm:ResumeSession"]; n == 0 {
		t.Error("nothing was resumed")
	}
}

func TestSessionThatSomebodyElseTerminates(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	live := s.start(t, in, "", nil)
	done := make(chan error, 1)
	held, hold := io.Pipe()
	defer hold.Close() //nolint:errcheck // never fails
	go func() { done <- live.Shell(t.Context(), held, io.Discard, nil) }()
	account, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := awsapi.NewSessions(account).Terminate(t.Context(), in.Host.Ref().Place(), live.ID); err != nil {
		t.Fatal(err)
	}
	var end *session.EndError
	if err := <-done; err != nil && !errors.As(err, &end) {
		t.Errorf("end: %v", err)
	}
}

func (s *sessionWorld) start(t *testing.T, in *simfleet.Instance, document string, parameters map[string][]string) *awsapi.Session {
	t.Helper()
	before := s.open(in)
	live, err := s.Start(t.Context(), awsapi.SessionRequest{Host: in.Host.Ref(), Document: document, Parameters: parameters})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := live.End(context.Background()); err != nil {
			t.Error(err)
		}
		if n := s.open(in) - before; n != 0 {
			t.Errorf("%d sessions are left open", n)
		}
	})
	if err := live.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return live
}

// get fetches a page through a forwarded port.
func get(ctx context.Context, port *session.Port) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := port.Open(ctx)
		if err != nil {
			return nil, err
		}
		conn, ok := c.(net.Conn)
		if !ok {
			return nil, errors.New("not a connection")
		}
		return conn, nil
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/", nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

func TestForwardedPortCarriesManyConnections(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	s.w.Mu.Lock()
	in.Services = []simfleet.Service{{Port: 9000, Loopback: true, Page: strings.Repeat("the page ", 5000)}}
	s.w.Mu.Unlock()
	live := s.start(t, in, awsapi.DocumentPort, map[string][]string{"portNumber": {"9000"}})
	port, err := live.Port(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if got, err := get(t.Context(), port); err != nil || got != strings.Repeat("the page ", 5000) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}

func TestForwardingToAnotherHost(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, anyHost)
	s.w.Mu.Lock()
	in.Services = []simfleet.Service{{Port: 9000, Page: "its own page"}}
	s.w.Mu.Unlock()
	live := s.start(t, in, awsapi.DocumentRemotePort, map[string][]string{"host": {in.Host.PrivateIP.String()}, "portNumber": {"9000"}})
	port, err := live.Port(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if got, err := get(t.Context(), port); err != nil || got != "its own page" {
		t.Errorf("%q, %v", got, err)
	}
}

// Agents of today refuse the host itself to the document for other hosts
// (CVE-2026-89049).
func TestForwardingToTheHostItselfByTheDocumentForOthersIsRefused(t *testing.T) {
	s := newSessionWorld(t)
	in := s.sound(t, func(in *simfleet.Instance) bool { return !slices.Contains([]string{"", "3.2"}, in.Agent.Version) })
	s.w.Mu.Lock()
	in.Agent.Version = "3.3.4851.0"
	s.w.Mu.Unlock()
	live, err := s.Start(t.Context(), awsapi.SessionRequest{Host: in.Host.Ref(), Document: awsapi.DocumentRemotePort, Parameters: map[string][]string{"host": {"localhost"}, "portNumber": {"22"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer live.End(context.Background()) //nolint:errcheck // refused anyway
	<-live.Done()
	if err := live.Err(); !strings.Contains(fmt.Sprint(err), "127.0.0.1 is forbidden") {
		t.Errorf("end: %v", err)
	}
}
