package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

func TestHostKeyIsVerified(t *testing.T) {
	dir := t.TempDir()
	id, other := newIdentity(t, dir, "id", ""), newIdentity(t, dir, "other", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	name := fmt.Sprintf("[%s]:%d", s.addr, s.port)
	fingerprint, otherFingerprint := ssh.FingerprintSHA256(s.hostKey.public), ssh.FingerprintSHA256(other.public)
	rsa := filepath.Join(dir, "rsa")
	run(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa)
	rsaLine := readFile(t, rsa+".pub")

	for _, test := range []struct {
		what, known string
		kind        error // nil: accepted
		want        []string
	}{
		{what: "known", known: name + " " + s.hostKey.line()},
		{what: "known, after lines that cannot be read", known: "one two\nhost 1024 35 123456\n@weird x ssh-ed25519 AAAA\n" + name + " " + s.hostKey.line()},
		{what: "hashed", known: hashed(t, name+" "+s.hostKey.line())},
		{what: "wildcard", known: "127.* " + s.hostKey.line()},
		{what: "nothing known", known: "", kind: sshhost.ErrHostKeyUnknown, want: []string{fingerprint, "ssh-keyscan -p " + fmt.Sprint(s.port) + " 127.0.0.1", "host_keys: accept-new"}},
		{what: "known at another port only", known: "127.0.0.1 " + s.hostKey.line(), kind: sshhost.ErrHostKeyUnknown},
		{what: "changed", known: "# comment\n" + name + " " + other.line(), kind: sshhost.ErrHostKeyChanged,
			want: []string{fingerprint, otherFingerprint, "known_hosts:2", "WARNING", "ssh-keygen -R '" + name + "' -f '" + filepath.Join(dir, "known_hosts") + "'"}},
		{what: "changed, after a line that cannot be read", known: "bad\n" + name + " " + other.line(), kind: sshhost.ErrHostKeyChanged, want: []string{filepath.Join(dir, "known_hosts:2")}},
		{what: "only another type known", known: name + " " + rsaLine, kind: sshhost.ErrHostKeyChanged, want: []string{"only another type, ssh-rsa"}},
		{what: "revoked", known: name + " " + s.hostKey.line() + "@revoked * " + s.hostKey.line(), kind: sshhost.ErrHostKeyRevoked, want: []string{"known_hosts:2"}},
	} {
		for _, policy := range []string{sshhost.PolicyStrict, sshhost.PolicyAcceptNew} {
			t.Run(test.what+"/"+policy, func(t *testing.T) {
				known := writeFile(t, filepath.Join(dir, "known_hosts"), test.known)
				c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}, HostKeyPolicy: policy})
				_, err := probe(t, c, s.host(), "echo")
				kind := test.kind
				if policy == sshhost.PolicyAcceptNew && errors.Is(kind, sshhost.ErrHostKeyUnknown) {
					kind = nil
				}
				if kind == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, kind) {
					t.Fatalf("got %v, want %v", err, kind)
				}
				for _, w := range test.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%q is not in: %v", w, err)
					}
				}
				if readFile(t, known) != test.known {
					t.Error("known_hosts was changed")
				}
			})
		}
	}
}

func TestServerWithSeveralKeysShowsTheKnownOne(t *testing.T) {
	dir := t.TempDir()
	id, second := newIdentity(t, dir, "id", ""), filepath.Join(dir, "ecdsa")
	run(t, "ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", second)
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, config: "HostKey " + second})
	for _, line := range []string{s.hostKey.line(), readFile(t, second+".pub")} {
		known := writeFile(t, filepath.Join(dir, "known_hosts"), fmt.Sprintf("[%s]:%d %s", s.addr, s.port, line))
		c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
		if _, err := probe(t, c, s.host(), "echo"); err != nil {
			t.Errorf("%.20s: %v", line, err)
		}
	}
}

func TestHostCertificate(t *testing.T) {
	dir := t.TempDir()
	id, ca := newIdentity(t, dir, "id", ""), newIdentity(t, dir, "ca", "")
	host := newIdentity(t, dir, "host", "")
	run(t, "ssh-keygen", "-q", "-s", ca.path, "-h", "-I", "host", "-n", "127.0.0.1", host.path+".pub")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, hostKey: host, config: "HostCertificate " + host.path + "-cert.pub"})
	plain := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	for _, test := range []struct {
		what, known string
		server      *sshd
		kind        error
	}{
		{"CA known", "@cert-authority 127.* " + ca.line(), s, nil},
		{"CA not known", "", s, sshhost.ErrHostKeyUnknown},
		{"the certified key itself is known", fmt.Sprintf("[127.0.0.1]:%d %s", s.port, host.line()), s, nil},
		{"CA revoked", "@cert-authority 127.* " + ca.line() + "@revoked * " + ca.line(), s, sshhost.ErrHostKeyUnknown},
		{"host without a certificate", "@cert-authority 127.* " + ca.line(), plain, sshhost.ErrHostKeyUnknown},
	} {
		t.Run(test.what, func(t *testing.T) {
			known := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), test.known)
			c := newClient(t, sshhost.Config{Users: []string{"root"}, Port: test.server.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}})
			if _, err := probe(t, c, test.server.host(), "echo"); !errors.Is(err, test.kind) {
				t.Errorf("got %v, want %v", err, test.kind)
			}
		})
	}
}

func TestAcceptNewRecordsEachHostOnce(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	addresses := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: addresses})
	known := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "# no newline at the end")
	cfg := sshhost.Config{Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}, KnownHosts: []string{known}, HostKeyPolicy: sshhost.PolicyAcceptNew}
	c := newClient(t, cfg)
	var wg sync.WaitGroup
	for range 5 {
		for _, a := range addresses {
			wg.Go(func() {
				if _, err := c.Prober("sh", func(fleet.Host) string { return "echo" }).Probe(context.Background(), hostAt(a)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if lines := strings.Split(strings.TrimSpace(readFile(t, known)), "\n"); len(lines) != 1+len(addresses) {
		t.Errorf("known_hosts has %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	// What was recorded is what OpenSSH reads.
	for _, a := range addresses {
		out, err := exec.Command("ssh-keygen", "-F", fmt.Sprintf("[%s]:%d", a, s.port), "-f", known).CombinedOutput()
		if err != nil || !strings.Contains(string(out), strings.Fields(s.hostKey.line())[1]) {
			t.Errorf("%s: %v: %s", a, err, out)
		}
	}
	cfg.HostKeyPolicy = sshhost.PolicyStrict
	if _, err := probe(t, newClient(t, cfg), s.host(), "echo"); err != nil {
		t.Errorf("recorded key: %v", err)
	}

	// Another key at a recorded address is refused, within the run and after it.
	s.stop()
	s = startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}, listen: addresses, port: s.port})
	cfg.HostKeyPolicy = sshhost.PolicyAcceptNew
	for _, c := range []*sshhost.Client{c, newClient(t, cfg)} {
		if _, err := probe(t, c, s.host(), "echo"); !errors.Is(err, sshhost.ErrHostKeyChanged) {
			t.Errorf("got %v", err)
		}
	}
}

func TestStrictHostKeyCheckingOfSSHConfig(t *testing.T) {
	id := newIdentity(t, t.TempDir(), "id", "")
	s := startSSHD(t, sshdOptions{keys: map[string]string{"root": id.line()}})
	for value, kind := range map[string]error{"no": nil, "accept-new": nil, "ask": sshhost.ErrHostKeyUnknown, "yes": sshhost.ErrHostKeyUnknown, "perhaps": sshhost.ErrConfig} {
		config := writeFile(t, filepath.Join(t.TempDir(), "config"), "UserKnownHostsFile /dev/null\nStrictHostKeyChecking "+value+"\n")
		cfg := sshhost.Config{ConfigFile: config, Users: []string{"root"}, Port: s.port, IdentityFiles: []string{id.path}}
		if _, err := probe(t, newClient(t, cfg), s.host(), "echo"); !errors.Is(err, kind) {
			t.Errorf("%s: got %v, want %v", value, err, kind)
		}
		cfg.HostKeyPolicy = sshhost.PolicyStrict
		if _, err := probe(t, newClient(t, cfg), s.host(), "echo"); !errors.Is(err, sshhost.ErrHostKeyUnknown) {
			t.Errorf("%s, overruled: got %v", value, err)
		}
	}
}

// hashed rewrites a known_hosts line as ssh-keygen -H does.
func hashed(t *testing.T, line string) string {
	t.Helper()
	path := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), line)
	run(t, "ssh-keygen", "-q", "-H", "-f", path)
	return readFile(t, path)
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
