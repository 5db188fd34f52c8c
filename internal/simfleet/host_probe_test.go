package simfleet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"
)

// newWorld makes a world and its host side, in which nobody waits unless
// options say so, and checks at the end that nothing of it goes on running.
func newWorld(t *testing.T, instances int, o simfleet.HostOptions) (*simfleet.World, *simfleet.Hosts) {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Instances: instances, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	if o.TimeScale == 0 {
		o.TimeScale = -1
	}
	running := goleak.IgnoreCurrent()
	h := simfleet.NewHosts(w, o)
	t.Cleanup(func() {
		h.Close()
		goleak.VerifyNone(t, running)
	})
	return w, h
}

// findInstance gives the first running instance that fits.
func findInstance(t *testing.T, w *simfleet.World, what string, fits func(*simfleet.Instance) bool) *simfleet.Instance {
	t.Helper()
	for in := range w.Instances() {
		if in.Host.Running() && fits(in) {
			return in
		}
	}
	t.Fatalf("the world has no %s", what)
	return nil
}

// clientConfig logs in as user with the operator's key.
func clientConfig(t *testing.T, w *simfleet.World, user string) *ssh.ClientConfig {
	t.Helper()
	private, _ := w.OperatorKey()
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()} //nolint:gosec // what is tested is the server
}

// login connects a client straight to an instance's SSH server.
func login(t *testing.T, h *simfleet.Hosts, in *simfleet.Instance, from string, conf *ssh.ClientConfig) (*ssh.Client, error) {
	t.Helper()
	near, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	go h.ServeConn(in, far, netip.MustParseAddrPort(from), netip.AddrPortFrom(in.Host.PrivateIP, 22))
	conn, channels, requests, err := ssh.NewClientConn(near, "host:22", conf)
	if err != nil {
		_ = near.Close()
		return nil, err
	}
	client := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() { _ = client.Close() })
	return client, nil
}

// socketPair is two ends of a loopback connection.
func socketPair() (near, far net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			c = nil
		}
		accepted <- c
	}()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	return near, <-accepted, nil
}

// probe runs the product's probe on a host as the operator and reads its output.
func probe(t *testing.T, client *ssh.Client, in *simfleet.Instance) fleet.Probe {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(inventory.Script(in.Host)), &out, &errs
	if err := s.Run(inventory.Command); err != nil {
		t.Fatalf("%s %s: %v\n%s", in.OS.Family, in.OS.Version, err, errs.String())
	}
	p, err := inventory.Parse(fleet.ProbeOutput{Stdout: out.Bytes(), Stderr: errs.Bytes(), User: client.User()}, time.Now())
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", in.OS.Family, in.OS.Version, err, out.String())
	}
	return p
}

// TestProbeTellsTheTruth runs the probe over SSH, unchanged, on a host of every
// system and compares what it says with the model.
func TestProbeTellsTheTruth(t *testing.T) {
	w, h := newWorld(t, 300, simfleet.HostOptions{})
	seen := map[string]int{}
	for in := range w.Instances() {
		system := in.OS.Family + " " + in.OS.Version
		ops := slices.IndexFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser })
		if in.OS.Family == "windows" || !in.Host.Running() || ops < 0 || !in.Users[ops].Sudo || seen[system] >= 2 {
			continue
		}
		seen[system]++
		before := slices.Clone(in.Logins)
		t.Run(fmt.Sprintf("%s %s", system, in.Host.ID), func(t *testing.T) {
			client, err := login(t, h, in, "203.0.113.10:50001", clientConfig(t, w, simfleet.OperatorUser))
			if err != nil {
				t.Fatal(err)
			}
			p := probe(t, client, in)
			compareMachine(t, in, p)
			compareKeys(t, in, p)
			compareLogins(t, in, before, p)
			compareEndpoints(t, w, in, p)
			compareState(t, in, p)
		})
	}
	if len(seen) < 10 {
		t.Errorf("only %d systems were probed: %v", len(seen), seen)
	}
}

func compareMachine(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	if !p.Root || p.LoginUser != simfleet.OperatorUser {
		t.Errorf("root %v, login user %q", p.Root, p.LoginUser)
	}
	arch := map[string]string{"arm64": "aarch64", "x86_64": "x86_64"}[in.Host.Architecture]
	want := fleet.OS{ID: in.OS.Family, Version: in.OS.Version, Name: in.OS.Pretty, Kernel: in.OS.Kernel, Arch: arch}
	if d := cmp.Diff(want, p.OS); d != "" {
		t.Errorf("system (-model +probe):\n%s", d)
	}
	if p.Hostname != in.Hostname {
		t.Errorf("hostname %q, want %q", p.Hostname, in.Hostname)
	}
	if skew := time.Until(p.HostTime) - in.Skew; skew.Abs() > time.Minute {
		t.Errorf("host time is off by %v from the model's", skew)
	}
	if !p.SSHD.Known {
		t.Fatalf("sshd is unknown: %s", p.SSHD.Reason)
	}
	for _, s := range in.SSHD.Settings {
		if got := strings.Join(p.SSHD.Value.Settings[strings.ToLower(s.Keyword)], " "); got != s.Value {
			t.Errorf("%s is %q, want %q", s.Keyword, got, s.Value)
		}
	}
	for user, settings := range in.SSHD.Match {
		for _, s := range settings {
			if !slices.ContainsFunc(in.Users, func(u *simfleet.User) bool { return u.Name == user }) {
				continue
			}
			if got := strings.Join(p.SSHD.Value.For(user, strings.ToLower(s.Keyword)), " "); got != s.Value {
				t.Errorf("for %s, %s is %q, want %q", user, s.Keyword, got, s.Value)
			}
		}
	}
	if strings.Contains(in.SSHD.Arguments, "eic_run_authorized_keys") && !strings.Contains(strings.Join(p.SSHD.Value.Settings["authorizedkeyscommand"], " ")+p.SSHD.Value.Arguments, "eic_run_authorized_keys") {
		t.Errorf("Instance Connect's command is not found: %q", p.SSHD.Value.Arguments)
	}
	agent := fleet.HostAgent{}
	if a := in.Agent; a.Installed {
		agent = fleet.HostAgent{Installed: true, Package: a.Package, Version: a.Version, Active: "inactive", Enabled: "disabled"}
		if a.Running {
			agent.Active = "active"
		}
		if a.Enabled {
			agent.Enabled = "enabled"
		}
	}
	v := p.Agent.Value
	got := fleet.HostAgent{Installed: v.Installed, Package: v.Package, Version: v.Version, Active: v.Active, Enabled: v.Enabled}
	if d := cmp.Diff(agent, got); !p.Agent.Known || d != "" {
		t.Errorf("agent %v %s (-model +probe):\n%s", p.Agent.Known, p.Agent.Reason, d)
	}
	var sessions, model []string
	for _, s := range p.Sessions.Value {
		sessions = append(sessions, fmt.Sprintf("%s %s %d", s.User, s.TTY, s.PID))
	}
	for _, s := range in.Sessions {
		model = append(model, fmt.Sprintf("%s %s %d", s.User, s.TTY, s.PID))
	}
	slices.Sort(sessions)
	slices.Sort(model)
	if d := cmp.Diff(model, sessions); !p.Sessions.Known || d != "" {
		t.Errorf("sessions (-model +probe):\n%s", d)
	}
}

// compareKeys compares every key line that OpenSSH can read with the probe's keys.
func compareKeys(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	var users []string
	for _, u := range p.Users.Value {
		users = append(users, u.Name)
	}
	var model, got []string
	for _, u := range in.Users {
		if !slices.Contains(users, u.Name) {
			t.Errorf("user %s is missing in %v", u.Name, users)
		}
		for _, line := range u.Keys {
			if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && len(line) < 8192 {
				model = append(model, u.Name+" "+ssh.FingerprintSHA256(key))
			}
		}
	}
	for _, f := range in.Files {
		for line := range strings.Lines(string(f.Content)) {
			owner := ""
			if strings.HasPrefix(f.Path, "/etc/ssh/authorized_keys/") {
				owner = strings.TrimPrefix(f.Path, "/etc/ssh/authorized_keys/")
			}
			if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
				model = append(model, owner+" "+ssh.FingerprintSHA256(key))
			}
		}
	}
	for _, k := range p.Keys.Value {
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Type + " " + k.Blob)); err == nil && k.Problem == "" {
			got = append(got, k.User+" "+k.Fingerprint)
		}
	}
	slices.Sort(model)
	slices.Sort(got)
	if d := cmp.Diff(model, got); !p.Keys.Known || d != "" {
		t.Errorf("keys %v %s (-model +probe):\n%s", p.Keys.Known, p.Keys.Reason, d)
	}
}

// compareLogins compares counts by account and key; the probe's own login counts too.
func compareLogins(t *testing.T, in *simfleet.Instance, before []simfleet.Login, p fleet.Probe) {
	t.Helper()
	if in.OS.Family == "alpine" {
		if p.Logins.Known && len(p.Logins.Value.Logins) > 0 {
			t.Errorf("logins from a log that the probe does not read: %+v", p.Logins.Value)
		}
		return
	}
	if !p.Logins.Known {
		t.Errorf("logins are unknown: %s", p.Logins.Reason)
		return
	}
	model, got := map[string]int{simfleet.OperatorUser: 1}, map[string]int{}
	for _, l := range before {
		model[l.User]++
	}
	for _, l := range p.Logins.Value.Logins {
		got[l.User] += l.Count
	}
	if d := cmp.Diff(model, got); d != "" {
		t.Errorf("logins by account (-model +probe):\n%s", d)
	}
	for _, l := range p.Logins.Value.Logins {
		if !slices.ContainsFunc(in.Logins, func(m simfleet.Login) bool {
			return m.User == l.User && m.From == l.From && strings.Contains(m.Key, l.Fingerprint) && m.At.Add(in.Skew).Sub(l.Last).Abs() <= time.Second
		}) {
			t.Errorf("no login of the model is the last of %+v", l)
		}
	}
}

func compareEndpoints(t *testing.T, w *simfleet.World, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	if !p.Endpoints.Known || len(p.Endpoints.Value) < len(fleet.Services) {
		t.Fatalf("endpoints: %+v", p.Endpoints)
	}
	for _, e := range p.Endpoints.Value {
		want := w.AgentEgress(in, e.Service)
		if e.Host != want.Host {
			t.Errorf("%s is tested as %s, want %s", e.Service, e.Host, want.Host)
		}
		proxied := len(in.Agent.Proxy) > 0
		if !proxied && e.Addresses.Known && !slices.Equal(e.Addresses.Value, want.Addresses) {
			t.Errorf("%s resolves to %v, want %v", e.Service, e.Addresses.Value, want.Addresses)
		}
		if !proxied && len(want.Addresses) == 0 && !e.TCP.Known {
			continue // without an address there is nothing to connect to
		}
		if !e.TCP.Known || e.TCP.Value != want.TCP {
			t.Errorf("%s: TCP %+v, want %v (%s)", e.Service, e.TCP, want.TCP, want.Reason)
		}
		if want.TCP && (!e.TLS.Known || e.TLS.Value != want.TLS) {
			t.Errorf("%s: TLS %+v, want %v (%s)", e.Service, e.TLS, want.TLS, want.Reason)
		}
		if cn := want.Issuer[strings.LastIndex(want.Issuer, "CN=")+1:]; want.TCP && !strings.Contains(strings.ReplaceAll(e.Issuer, " = ", "="), cn[:8]) {
			t.Errorf("%s: issuer %q, want %q", e.Service, e.Issuer, want.Issuer)
		}
	}
}

// TestProbeWithoutSudoSeesOnlyItsOwn checks that the machine's permissions hold
// for the probe.
func TestProbeWithoutSudoSeesOnlyItsOwn(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "RHEL host", func(in *simfleet.Instance) bool { return in.OS.Family == "rhel" && !in.Down })
	in.Users = append(slices.DeleteFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser }), operator(w, 1500, false))
	client, err := login(t, h, in, "203.0.113.10:50001", clientConfig(t, w, simfleet.OperatorUser))
	if err != nil {
		t.Fatal(err)
	}
	p := probe(t, client, in)
	if p.Root || p.SSHD.Known || p.Logins.Known {
		t.Errorf("root %v, sshd known %v, logins known %v; want none", p.Root, p.SSHD.Known, p.Logins.Known)
	}
	for _, k := range p.Keys.Value {
		if k.User != simfleet.OperatorUser {
			t.Errorf("key of %s was read: %+v", k.User, k)
		}
	}
	if !slices.ContainsFunc(p.Keys.Value, func(k fleet.Key) bool { return k.User == simfleet.OperatorUser }) || p.Keys.Known {
		t.Errorf("keys: want the own one, and unknown as a whole: %+v", p.Keys)
	}
}

// operator is the operator's account.
func operator(w *simfleet.World, uid int, sudo bool) *simfleet.User {
	_, line := w.OperatorKey()
	return &simfleet.User{Name: simfleet.OperatorUser, UID: uid, Home: "/home/ops", Shell: "/bin/bash", Sudo: sudo, Keys: []string{line}}
}

// signerOf makes a key pair from a number.
func signerOf(t *testing.T, n uint64) (ssh.Signer, string) {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, n)
	return signerFromSeed(t, seed)
}

// signerFromSeed makes a key pair and its public line.
func signerFromSeed(t *testing.T, seed []byte) (ssh.Signer, string) {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return signer, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// shell runs a command line on a machine without SSH.
func shell(t *testing.T, h *simfleet.Hosts, in *simfleet.Instance, user, line string) (out, errs string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	status, err := h.Run(context.Background(), in, user, line, nil, &o, &e)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o.String(), e.String(), status
}

func addrPort(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}
