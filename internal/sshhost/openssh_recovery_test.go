package sshhost_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sshhost"
)

// rescue is a recovery way by real servers: one is the bastion, the other a
// host that sees the bastion's logins come from 127.0.0.1.
type rescue struct {
	bastion, host *sshd
	way           *sshhost.Recovery
	ring          [][]byte        // what the store holds
	authorities   map[string]bool // base64 of keys that sign certificates
}

// generation is a key of the ring: its private text and its public line.
type generation struct {
	text []byte
	line string
}

func newGeneration(t *testing.T) generation {
	t.Helper()
	text, line, err := seal.NewKey("recovery")
	if err != nil {
		t.Fatal(err)
	}
	return generation{text, line}
}

func (g generation) blob() string { return strings.Fields(g.line)[1] }

// startRescue starts both servers with these lines in root's key files.
func startRescue(t *testing.T, onBastion, onHost string) *rescue {
	t.Helper()
	r := &rescue{authorities: map[string]bool{}}
	r.bastion = startSSHD(t, sshdOptions{keys: map[string]string{"root": onBastion}, listen: []string{"127.0.0.2"}})
	r.host = startSSHD(t, sshdOptions{keys: map[string]string{"root": onHost}, listen: []string{"127.0.0.3"}, port: r.bastion.port})
	way, err := sshhost.NewRecovery(sshhost.RecoveryConfig{
		Config: sshhost.Config{ConfigFile: "none", Port: r.bastion.port, KnownHosts: []string{knownHosts(t, r.host)}},
		Keys: func(context.Context) ([][]byte, error) {
			var all [][]byte
			for _, text := range r.ring {
				all = append(all, bytes.Clone(text))
			}
			return all, nil
		},
		CA:   func(blob string) bool { return r.authorities[blob] },
		User: func(fleet.Host) string { return "root" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { way.Close() })
	r.way = way
	return r
}

func (r *rescue) target(addr string) fleet.Host {
	h := hostAt(addr)
	h.VPC, h.ID = "vpc-1", "i-"+addr
	return h
}

// open logs in to the bastion with what the ring holds by then.
func (r *rescue) open(t *testing.T) error {
	t.Helper()
	_, err := r.way.OpenBastion(t.Context(), r.target(r.bastion.addr), "root", []string{r.bastion.hostKey.line()})
	return err
}

// place puts lines into root's key file on a server.
func place(t *testing.T, s *sshd, lines ...string) {
	t.Helper()
	writeFile(t, filepath.Join(s.dir, "keys-root"), strings.Join(lines, "\n")+"\n")
}

func (r *rescue) logsIn(t *testing.T) fleet.Proof {
	t.Helper()
	return r.way.Prove(t.Context(), r.target(r.host.addr), fleet.WayRecovery)
}

func (r *rescue) refuses(t *testing.T, key string, want fleet.Truth) {
	t.Helper()
	if got, why := r.way.Refuses(t.Context(), r.target(r.host.addr), key); got != want {
		t.Errorf("refused: %v (%s), want %v", got, why, want)
	}
}

// fromElsewhere tries a login by OpenSSH's client whose address is 127.0.0.9.
func (r *rescue) fromElsewhere(t *testing.T, source string, args ...string) (string, error) {
	t.Helper()
	args = append(args, "-F", "none", "-b", source, "-p", strconv.Itoa(r.host.port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile="+knownHosts(t, r.host), "root@"+r.host.addr, "echo in")
	out, err := exec.Command("ssh", args...).CombinedOutput()
	return string(out), err
}

const onlyBastion = `restrict,pty,from="127.0.0.1/32" `

func TestRecoveryKeyByRealServers(t *testing.T) {
	g := newGeneration(t)
	r := startRescue(t, g.line+"\n", onlyBastion+g.line+"\n")
	r.ring = [][]byte{g.text}
	if err := r.open(t); err != nil {
		t.Fatal(err)
	}
	if p := r.logsIn(t); p.Works != fleet.TruthYes || p.RunAs != "root" {
		t.Errorf("by the bastion: %+v", p)
	}
	if got := r.way.Run(t.Context(), r.target(r.host.addr), fleet.WayRecovery, fleet.Script{Text: "id -u"}); string(got.Stdout) != "0\n" {
		t.Errorf("a command as root: %+v", got)
	}
	r.refuses(t, g.line, fleet.TruthNo)

	key := writeFile(t, filepath.Join(t.TempDir(), "key"), string(g.text))
	if out, err := r.fromElsewhere(t, "127.0.0.9", "-i", key); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("from elsewhere: %v: %s", err, out)
	}
	if !strings.Contains(r.host.log.String(), "correct key but not from a permitted host") {
		t.Error("the server has not looked at where the login came from")
	}
	if out, err := r.fromElsewhere(t, "127.0.0.1", "-i", key); err != nil || out != "in\n" {
		t.Errorf("from the bastion's address: %v: %s", err, out)
	}
	place(t, r.host, `restrict,pty,from="127.0.0.9/32" `+g.line)
	if p := r.logsIn(t); p.Works != fleet.TruthNo {
		t.Errorf("where the bastion is no permitted source: %+v", p)
	}
	r.refuses(t, g.line, fleet.TruthYes)
}

func TestRecoveryAuthorityByRealServers(t *testing.T) {
	ca, stranger := newGeneration(t), newGeneration(t)
	trusted := `cert-authority,principals="` + fleet.RecoveryPrincipal + `",`
	r := startRescue(t, trusted+`restrict,port-forwarding `+ca.line+"\n", trusted+onlyBastion+ca.line+"\n")
	r.ring, r.authorities[ca.blob()] = [][]byte{ca.text}, true
	if err := r.open(t); err != nil {
		t.Fatal(err)
	}
	if p := r.logsIn(t); p.Works != fleet.TruthYes || p.RunAs != "root" {
		t.Errorf("by the bastion: %+v", p)
	}
	if log := r.host.log.String(); !strings.Contains(log, "ED25519-CERT") || !strings.Contains(log, "ID "+fleet.RecoveryPrincipal) {
		t.Errorf("the login was not by a certificate:\n%s", log)
	}
	r.refuses(t, ca.line, fleet.TruthNo)

	// The same certificate from elsewhere, and one for somebody else.
	dir := t.TempDir()
	authority := writeFile(t, filepath.Join(dir, "ca"), string(ca.text))
	once := newIdentity(t, dir, "once", "")
	sign := func(principal string) {
		run(t, "ssh-keygen", "-q", "-s", authority, "-I", "x", "-n", principal, "-V", "-5m:+5m", once.path+".pub")
	}
	sign(fleet.RecoveryPrincipal)
	if out, err := r.fromElsewhere(t, "127.0.0.9", "-i", once.path); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("from elsewhere: %v: %s", err, out)
	}
	if out, err := r.fromElsewhere(t, "127.0.0.1", "-i", once.path); err != nil || out != "in\n" {
		t.Errorf("from the bastion's address: %v: %s", err, out)
	}
	sign("root")
	if out, err := r.fromElsewhere(t, "127.0.0.1", "-i", once.path); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("for another principal: %v: %s", err, out)
	}

	// An authority logs in with certificates alone, and another's are not taken.
	if out, err := r.fromElsewhere(t, "127.0.0.1", "-i", authority); err == nil {
		t.Errorf("the authority's own key logs in: %s", out)
	}
	r.ring, r.authorities[stranger.blob()] = [][]byte{stranger.text, ca.text}, true
	r.refuses(t, stranger.line, fleet.TruthYes)
	r.ring = [][]byte{stranger.text}
	r.refuses(t, ca.line, fleet.TruthUnknown) // without its private part there is no asking
	if err := r.open(t); !errors.Is(err, sshhost.ErrAuth) {
		t.Errorf("by another authority: %v", err)
	}
}

// Everything that a rotation shows on the way, on real servers.
func TestRotationByRealServers(t *testing.T) {
	old, fresh := newGeneration(t), newGeneration(t)
	r := startRescue(t, old.line+"\n", onlyBastion+old.line+"\n")
	r.ring = [][]byte{fresh.text, old.text} // saved before any host has it
	if err := r.open(t); err != nil {
		t.Fatalf("by the old key while the new one is nowhere: %v", err)
	}
	r.refuses(t, fresh.blob(), fleet.TruthYes)
	r.refuses(t, old.blob(), fleet.TruthNo)
	place(t, r.host, onlyBastion+fresh.line, onlyBastion+old.line)
	place(t, r.bastion, fresh.line)
	if err := r.open(t); err != nil {
		t.Fatal(err)
	}
	r.refuses(t, fresh.blob(), fleet.TruthNo)
	place(t, r.host, onlyBastion+fresh.line)
	if p := r.logsIn(t); p.Works != fleet.TruthYes {
		t.Errorf("by the new key: %+v", p)
	}
	r.refuses(t, old.blob(), fleet.TruthYes)
	if n := strings.Count(r.host.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins at the host, want the one proof: asking is no login", n)
	}
	r.ring = [][]byte{old.text}
	if err := r.open(t); !errors.Is(err, sshhost.ErrAuth) {
		t.Errorf("by the old key at the bastion: %v", err)
	}
}

func TestWhetherAKeyIsRefusedCanBeUnknown(t *testing.T) {
	g := newGeneration(t)
	r := startRescue(t, g.line+"\n", g.line+"\n")
	r.ring = [][]byte{g.text}
	r.refuses(t, g.line, fleet.TruthUnknown) // no bastion is open
	if err := r.open(t); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "ssh-ed25519", "AAAA", "ssh-ed25519 not-base64 x"} {
		r.refuses(t, key, fleet.TruthUnknown)
	}
	for name, h := range map[string]fleet.Host{"nobody answers": r.target("127.0.0.9"), "another host key": r.target(r.bastion.addr)} {
		if got, why := r.way.Refuses(t.Context(), h, g.line); got != fleet.TruthUnknown || why == "" {
			t.Errorf("%s: %v, %q", name, got, why)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, why := r.way.Refuses(ctx, r.target(r.host.addr), g.line); got != fleet.TruthUnknown || why == "" {
		t.Errorf("interrupted: %v, %q", got, why)
	}
	// Keys of other types are asked about with signatures that servers take.
	rsa := filepath.Join(t.TempDir(), "rsa")
	run(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa)
	line, err := os.ReadFile(rsa + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	r.refuses(t, string(line), fleet.TruthYes)
	place(t, r.host, g.line, strings.TrimSpace(string(line)))
	r.refuses(t, string(line), fleet.TruthNo)
}

func TestRecoveryKeysOfTheStore(t *testing.T) {
	for name, tt := range map[string]struct {
		keys func(context.Context) ([][]byte, error)
		want string
	}{
		"none configured": {nil, "migrate recovery init"},
		"store fails":     {func(context.Context) ([][]byte, error) { return nil, errors.New("no network") }, "no network"},
		"empty":           {func(context.Context) ([][]byte, error) { return nil, nil }, "holds none"},
		"garbled":         {func(context.Context) ([][]byte, error) { return [][]byte{[]byte("secret text")}, nil }, "not an unencrypted private key"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := sshhost.NewRecovery(sshhost.RecoveryConfig{Config: sshhost.Config{ConfigFile: "none"}, Keys: tt.keys})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_, err = r.OpenBastion(t.Context(), hostAt("127.0.0.1"), "root", []string{newIdentity(t, t.TempDir(), "x", "").line()})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret text") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What is made for one login is good for minutes, for one principal, and says
// nothing of where it may come from.
func TestCertificatesAreForOneLogin(t *testing.T) {
	g := newGeneration(t)
	authority, err := ssh.ParsePrivateKey(g.text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var keys []string
	for range 2 {
		signer, err := sshhost.Certified(authority, now)
		if err != nil {
			t.Fatal(err)
		}
		c := signer.PublicKey().(*ssh.Certificate)
		if c.CertType != ssh.UserCert || len(c.ValidPrincipals) != 1 || c.ValidPrincipals[0] != fleet.RecoveryPrincipal || len(c.CriticalOptions) != 0 {
			t.Errorf("certificate %+v", c)
		}
		if from, to := now.Unix()-int64(c.ValidAfter), int64(c.ValidBefore)-now.Unix(); from < 300 || from > 3600 || to < 60 || to > 600 {
			t.Errorf("valid from %d s before to %d s after", from, to)
		}
		if _, ok := c.Extensions["permit-agent-forwarding"]; ok {
			t.Error("agent forwarding is permitted")
		}
		keys = append(keys, string(c.Key.Marshal()))
	}
	if keys[0] == keys[1] {
		t.Error("two logins with one key")
	}
}
