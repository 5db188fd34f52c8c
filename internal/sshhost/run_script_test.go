package sshhost_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sshhost"
)

// The ports that this package fills.
var (
	_ cutover.Hosts    = (*sshhost.Runner)(nil)
	_ cutover.Prover   = (*sshhost.Runner)(nil)
	_ cutover.Hosts    = (*sshhost.Recovery)(nil)
	_ cutover.Prover   = (*sshhost.Recovery)(nil)
	_ cutover.Bastions = (*sshhost.Recovery)(nil)
)

func newRunner(t *testing.T, cfg sshhost.Config) *sshhost.Runner {
	t.Helper()
	cfg.ConfigFile = "none"
	r, err := sshhost.NewRunner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestScriptsRunAsRootAndTellHowTheyEnded(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	sent := newIdentity(t, t.TempDir(), "sent", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line() + "command=\"echo go away\" " + sent.line()}})
	r := newRunner(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{knownHosts(t, s)}})
	for _, tt := range []struct {
		name, text string
		timeout    time.Duration
		started    fleet.Truth
		ended      bool
		exit       int
		stdout     string
		cut        bool
		reason     string
	}{
		{name: "fine", text: "id -u; exit 0", started: fleet.TruthYes, ended: true, stdout: "0\n"},
		{name: "fails", text: "echo x; exit 3", started: fleet.TruthYes, ended: true, exit: 3, stdout: "x\n"},
		{name: "says nothing", text: "exit 9", started: fleet.TruthYes, ended: true, exit: 9},
		{name: "killed", text: "echo x; kill -9 $$", started: fleet.TruthYes, stdout: "x\n", reason: "signal KILL"},
		{name: "no end", text: "echo x; sleep 60", timeout: 500 * time.Millisecond, started: fleet.TruthYes, stdout: "x\n", reason: "no end within"},
		{name: "connection lost", text: "kill -9 $PPID", started: fleet.TruthUnknown, reason: "the connection broke"},
		{name: "endless", text: "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", started: fleet.TruthYes, cut: true, stdout: strings.Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 1000)[:24000], reason: "the connection broke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.Run(t.Context(), s.host(), fleet.WaySSH, fleet.Script{Name: "x", Text: tt.text, Timeout: tt.timeout})
			if got.Started != tt.started || got.Ended != tt.ended || got.Exit != tt.exit || string(got.Stdout) != tt.stdout || got.Cut != tt.cut || !strings.Contains(got.Reason, tt.reason) || got.User != "root" {
				t.Errorf("got %+v", got)
			}
		})
	}
	if got := r.Run(t.Context(), s.host(), fleet.WayRecovery, fleet.Script{Text: "echo"}); got.Started != fleet.TruthNo {
		t.Errorf("another way: %+v", got)
	}
	if p := r.Prove(t.Context(), s.host(), fleet.WaySSH); p.Works != fleet.TruthYes || p.RunAs != "root" || p.RoundTrip <= 0 || !p.Fresh(time.Now(), time.Minute) {
		t.Errorf("proof: %+v", p)
	}
	// A key that sends people away: login works, commands do not.
	away := newRunner(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{sent.path}, KnownHosts: []string{knownHosts(t, s)}})
	if p := away.Prove(t.Context(), s.host(), fleet.WaySSH); p.Works != fleet.TruthNo || !strings.Contains(p.Reason, "did not answer") {
		t.Errorf("proof: %+v", p)
	}
	dead := s.host()
	dead.PrivateIP = netip.MustParseAddr("127.0.0.9")
	if got := r.Run(t.Context(), dead, fleet.WaySSH, fleet.Script{Text: "echo"}); got.Started != fleet.TruthNo || got.Reason == "" {
		t.Errorf("no server: %+v", got)
	}
	if p := r.Prove(t.Context(), dead, fleet.WaySSH); p.Works != fleet.TruthUnknown {
		t.Errorf("no server: %+v", p)
	}
}

func TestRecoveryWay(t *testing.T) {
	dir := t.TempDir()
	rescue, other := newIdentity(t, dir, "rescue", "correct horse"), newIdentity(t, dir, "other", "")
	bastion := startSSHD(t, sshdOptions{keys: map[string]string{"root": rescue.line()}, listen: []string{"127.0.0.2"}})
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": rescue.line()}, listen: []string{"127.0.0.3"}, port: bastion.port})
	closed := startSSHD(t, sshdOptions{keys: map[string]string{"root": other.line()}, listen: []string{"127.0.0.4"}, port: bastion.port})
	stranger := startSSHD(t, sshdOptions{keys: map[string]string{"root": rescue.line()}, listen: []string{"127.0.0.5"}, port: bastion.port})
	at := func(addr string) fleet.Host {
		h := hostAt(addr)
		h.VPC, h.ID = "vpc-1", "i-"+addr
		return h
	}
	asked := 0
	config := sshhost.RecoveryConfig{
		Config: sshhost.Config{ConfigFile: "none", Port: bastion.port, KnownHosts: []string{knownHosts(t, s, closed)}, IdentityFiles: []string{other.path}},
		Keys:   (&seal.KeyFile{Path: rescue.path, Passphrase: func() ([]byte, error) { asked++; return []byte("correct horse"), nil }}).Load,
		User:   func(fleet.Host) string { return "root" },
	}
	r, err := sshhost.NewRecovery(config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	run := func() fleet.ScriptResult {
		return r.Run(t.Context(), at(s.addr), fleet.WayRecovery, fleet.Script{Text: "id -u; exit 4"})
	}
	if got := run(); got.Started != fleet.TruthNo || !strings.Contains(got.Reason, "no recovery bastion is open") {
		t.Errorf("before the bastion is open: %+v", got)
	}
	if p := r.Prove(t.Context(), at(s.addr), fleet.WayRecovery); p.Works != fleet.TruthUnknown {
		t.Errorf("before the bastion is open: %+v", p)
	}
	// Another machine at the bastion's address is not trusted with anything.
	if _, err := r.OpenBastion(t.Context(), at(bastion.addr), "root", []string{s.hostKey.line()}); !errors.Is(err, sshhost.ErrHostKeyChanged) {
		t.Errorf("foreign host key: %v", err)
	}
	closeIt, err := r.OpenBastion(t.Context(), at(bastion.addr), "root", []string{"ssh-unheard-of AAAA", bastion.hostKey.line()})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(); got.Started != fleet.TruthYes || got.Exit != 4 || string(got.Stdout) != "0\n" || got.Way != fleet.WayRecovery {
		t.Errorf("run: %+v", got)
	}
	for addr, want := range map[string]fleet.Truth{s.addr: fleet.TruthYes, closed.addr: fleet.TruthNo, stranger.addr: fleet.TruthNo, "127.0.0.9": fleet.TruthNo} {
		if p := r.Prove(t.Context(), at(addr), fleet.WayRecovery); p.Works != want || want != fleet.TruthYes && p.Reason == "" || p.Way != fleet.WayRecovery {
			t.Errorf("%s: %+v", addr, p)
		}
	}
	elsewhere := at(s.addr)
	elsewhere.VPC = "vpc-2"
	if p := r.Prove(t.Context(), elsewhere, fleet.WayRecovery); p.Works != fleet.TruthUnknown {
		t.Errorf("another VPC: %+v", p)
	}
	if n := strings.Count(bastion.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins at the bastion, want 1", n)
	}
	closeIt()
	closeIt()
	if got := run(); got.Started != fleet.TruthNo {
		t.Errorf("after the bastion was closed: %+v", got)
	}
	if asked == 0 {
		t.Error("nobody asked for the passphrase")
	}
}
