package sshhost_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sshhost"
)

// The inventory reaches hosts through this package.
var _ inventory.Prober = (*sshhost.Prober)(nil)

// TestProbeOnRealOpenSSH runs the inventory's probe through this client on a
// real sshd, directly and through another one as bastion, and compares what
// it reports with what was set up.
func TestProbeOnRealOpenSSH(t *testing.T) {
	dir := t.TempDir()
	login, games, ca, old := newIdentity(t, dir, "login", ""), newIdentity(t, dir, "games", ""), newIdentity(t, dir, "ca", ""), newIdentity(t, dir, "old", "")
	rsa := filepath.Join(dir, "rsa")
	run(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-C", "robot <b>", "-N", "", "-f", rsa)
	rsaLine := strings.TrimSpace(readFile(t, rsa+".pub"))
	// A pattern without a leading slash is taken relative to the user's home.
	relative, err := filepath.Rel("/root", filepath.Join(dir, "relative"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "relative-root"), "\n# comment\nrestrict,from=\"127.0.0.0/8,10.0.0.0/8\",command=\"echo \\\"a, b\\\"\" "+rsaLine+"\n")
	writeFile(t, filepath.Join(dir, "only-games"), games.line())
	s := startSSHD(t, sshdOptions{
		dir:  dir,
		keys: map[string]string{"root": login.line() + "cert-authority " + old.line(), "daemon": old.line(), "games": old.line()},
		config: fmt.Sprintf(`AuthorizedKeysFile %[1]s/keys-%%u %[2]s-%%u
AuthorizedKeysCommand /bin/false %%u %%f
AuthorizedKeysCommandUser nobody
TrustedUserCAKeys %[3]s.pub
X11Forwarding yes`, dir, relative, ca.path),
		match: fmt.Sprintf("Match User games\n\tAuthorizedKeysFile %s/only-%%u\n\tX11Forwarding no\n", dir),
	})
	bastion := startSSHD(t, sshdOptions{keys: map[string]string{"root": login.line()}, listen: []string{"127.0.0.2"}})
	known := knownHosts(t, s, bastion)
	h := s.host()
	h.Region = "xx-test-1"

	for _, test := range []struct {
		name, config string
		via          []string
	}{
		{"directly", "", nil},
		{"through a bastion", fmt.Sprintf("Host jump\n HostName %s\n Port %d\nHost i-*\n ProxyJump root@jump\n", bastion.addr, bastion.port), []string{"jump"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, sshhost.Config{
				ConfigFile: writeFile(t, filepath.Join(t.TempDir(), "config"), test.config),
				Users:      []string{"root"}, Port: s.port, IdentityFiles: []string{login.path}, KnownHosts: []string{known}, Timeout: 2 * time.Minute,
			})
			out, err := c.Prober(inventory.Command, inventory.Script).Probe(context.Background(), h)
			if err != nil {
				t.Fatal(err)
			}
			p, err := inventory.Parse(out, time.Now())
			if err != nil {
				t.Fatalf("%v\n%s", err, out.Stderr)
			}
			if p.LoginUser != "root" || !p.Root || !slices.Equal(p.Via, test.via) {
				t.Errorf("login as %s, root %t, via %v", p.LoginUser, p.Root, p.Via)
			}
			checkSettings(t, s, p, dir)
			checkKeys(t, p, []fleet.Key{
				{User: "root", File: filepath.Join(dir, "keys-root"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(login)},
				{User: "root", File: filepath.Join(dir, "keys-root"), Line: 2, Type: "ssh-ed25519", Bits: 256, Blob: blob(old), Options: []string{"cert-authority"}, CA: true},
				{User: "root", File: filepath.Join(dir, "relative-root"), Line: 3, Type: "ssh-rsa", Bits: 3072, Blob: strings.Fields(rsaLine)[1], Comment: "robot <b>",
					Options: []string{"restrict", `from="127.0.0.0/8,10.0.0.0/8"`, `command="echo \"a, b\""`}},
				{User: "daemon", File: filepath.Join(dir, "keys-daemon"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(old)},
				{User: "games", File: filepath.Join(dir, "only-games"), Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(games)},
				{File: ca.path + ".pub", Line: 1, Type: "ssh-ed25519", Bits: 256, Blob: blob(ca), CA: true},
			})
			if diff := cmp.Diff(localUsers(t), userNames(p.Users.Value)); diff != "" {
				t.Errorf("users (-/etc/passwd +probe):\n%s", diff)
			}
		})
	}
}

func blob(i identity) string { return strings.Fields(i.line())[1] }

// checkSettings compares the server's settings, the daemon's arguments and
// what a Match block changes for one user.
func checkSettings(t *testing.T, s *sshd, p fleet.Probe, dir string) {
	t.Helper()
	if !p.SSHD.Known {
		t.Fatalf("settings unknown: %s", p.SSHD.Reason)
	}
	v := p.SSHD.Value
	if !strings.HasPrefix(v.Version, "OpenSSH_") || !strings.Contains(v.Arguments, "-f "+filepath.Join(dir, "sshd_config")) {
		t.Errorf("version %q, arguments %q", v.Version, v.Arguments)
	}
	for keyword, want := range map[string]string{
		"authorizedkeyscommand":     "/bin/false %u %f",
		"authorizedkeyscommanduser": "nobody",
		"trustedusercakeys":         filepath.Join(dir, "ca.pub"),
		"x11forwarding":             "yes",
		"maxstartups":               "2000:30:2000",
		"listenaddress":             s.address(),
	} {
		if got := v.For("root", keyword); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", keyword, got, want)
		}
	}
	if diff := cmp.Diff([]string{"games"}, keysOf(v.PerUser)); diff != "" {
		t.Errorf("users with settings of their own: %s", diff)
	}
	if got := v.For("games", "x11forwarding"); !slices.Equal(got, []string{"no"}) {
		t.Errorf("X11Forwarding of games is %q", got)
	}
	if got := v.For("games", "authorizedkeysfile"); !slices.Equal(got, []string{filepath.Join(dir, "only-%u")}) {
		t.Errorf("AuthorizedKeysFile of games is %q", got)
	}
}

// checkKeys compares all keys of the host, fingerprints included.
func checkKeys(t *testing.T, p fleet.Probe, want []fleet.Key) {
	t.Helper()
	if !p.Keys.Known {
		t.Errorf("keys unknown: %s", p.Keys.Reason)
	}
	for i, w := range want {
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.Type + " " + w.Blob))
		if err != nil {
			t.Fatal(err)
		}
		want[i].Fingerprint = ssh.FingerprintSHA256(k)
	}
	got := slices.Clone(p.Keys.Value)
	for i := range got {
		got[i].File = filepath.Clean(got[i].File)
	}
	order := func(a, b fleet.Key) int {
		return strings.Compare(a.File+strconv.Itoa(a.Line), b.File+strconv.Itoa(b.Line))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-there +reported):\n%s", diff)
	}
}

func keysOf[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func userNames(users []fleet.User) []string {
	var list []string
	for _, u := range users {
		list = append(list, u.Name)
	}
	slices.Sort(list)
	return list
}

func localUsers(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
