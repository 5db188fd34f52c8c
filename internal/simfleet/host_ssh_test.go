package simfleet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/simfleet"
)

// certificate signs a user certificate for a key.
func certificate(t *testing.T, authority, holder ssh.Signer, edit func(*ssh.Certificate)) ssh.Signer {
	t.Helper()
	c := &ssh.Certificate{
		Key: holder.PublicKey(), Serial: 7, CertType: ssh.UserCert, KeyId: "alice", ValidPrincipals: []string{"ops"},
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()), //nolint:gosec // after 1970
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": "", "permit-port-forwarding": ""}},
	}
	if edit != nil {
		edit(c)
	}
	if err := c.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(c, holder)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// TestLogins checks who gets in, by everything that sshd looks at.
func TestLogins(t *testing.T) {
	key, line := signerOf(t, 1)
	other, _ := signerOf(t, 2)
	authority, authorityLine := signerOf(t, 3)
	cert := func(edit func(*ssh.Certificate)) ssh.Signer { return certificate(t, authority, key, edit) }
	set := func(settings ...string) simfleet.SSHD {
		var out simfleet.SSHD
		for i := 0; i < len(settings); i += 2 {
			out.Settings = append(out.Settings, simfleet.Setting{Keyword: settings[i], Value: settings[i+1]})
		}
		return out
	}
	file := func(path, text string) []simfleet.File {
		return []simfleet.File{{Path: path, Content: []byte(text), Mode: 0o644}}
	}
	for _, c := range []struct {
		what   string
		keys   string // of the account ops; default: line
		signer ssh.Signer
		sshd   simfleet.SSHD
		files  []simfleet.File
		user   string // default: ops
		before string // command run as root before
		locked bool
		shell  string
		refuse bool
		out    string // of "echo $SSH_ORIGINAL_COMMAND ok"; default: ok
	}{
		{what: "the listed key"},
		{what: "another key", signer: other, refuse: true},
		{what: "an account that does not exist", user: "nobody-here", refuse: true},
		{what: "an account without keys", user: "root", refuse: true},
		{what: "from= that matches", keys: `from="203.0.113.*,!203.0.113.99" ` + line},
		{what: "from= as a block", keys: `from="203.0.112.0/23" ` + line},
		{what: "from= elsewhere", keys: `from="10.0.0.0/8" ` + line, refuse: true},
		{what: "from= that is negated", keys: `from="*,!203.0.113.10" ` + line, refuse: true},
		{what: "expired", keys: `expiry-time="20200101" ` + line, refuse: true},
		{what: "not expired", keys: `expiry-time="209901011200Z" ` + line},
		{what: "forced command", keys: `command="echo forced: $SSH_ORIGINAL_COMMAND" ` + line, out: "forced: echo $SSH_ORIGINAL_COMMAND ok\n"},
		{what: "ForceCommand beats command=", keys: `command="echo key" ` + line, sshd: set("ForceCommand", "echo daemon"), out: "daemon\n"},
		{what: "a broken line before the key", keys: "command=\"x ssh-ed25519 AAAA\n# comment\n\n" + line},
		{what: "AllowUsers with it", sshd: set("AllowUsers", "alice ops@203.0.113.0/24")},
		{what: "AllowUsers without it", sshd: set("AllowUsers", "alice bob"), refuse: true},
		{what: "AllowUsers from elsewhere", sshd: set("AllowUsers", "ops@10.0.0.0/8"), refuse: true},
		{what: "DenyUsers", sshd: set("DenyUsers", "o*"), refuse: true},
		{what: "AllowGroups with its group", sshd: set("AllowGroups", "staff ops")},
		{what: "AllowGroups without", sshd: set("AllowGroups", "staff"), refuse: true},
		{what: "DenyGroups", sshd: set("DenyGroups", "ops"), refuse: true},
		{what: "PubkeyAuthentication no", sshd: set("PubkeyAuthentication", "no"), refuse: true},
		{what: "AuthorizedKeysFile elsewhere", sshd: set("AuthorizedKeysFile", "/etc/ssh/keys/%u")},
		{what: "AuthorizedKeysFile, second of two", sshd: set("AuthorizedKeysFile", ".ssh/none %h/.ssh/%u"), keys: " ", files: file("/home/ops/.ssh/ops", line+"\n")},
		{what: "AuthorizedKeysFile none", sshd: set("AuthorizedKeysFile", "none"), refuse: true},
		{what: "Match for this user", sshd: simfleet.SSHD{Match: map[string][]simfleet.Setting{"ops": {{Keyword: "PubkeyAuthentication", Value: "no"}}}}, refuse: true},
		{what: "Match for another user", sshd: simfleet.SSHD{Match: map[string][]simfleet.Setting{"alice": {{Keyword: "PubkeyAuthentication", Value: "no"}}}}},
		{what: "an argument of the daemon", sshd: simfleet.SSHD{Arguments: "-o PubkeyAuthentication=no"}, refuse: true},
		{what: "a key file that everybody may write", before: "chmod 666 /home/ops/.ssh/authorized_keys", refuse: true},
		{what: "the same without StrictModes", before: "chmod 666 /home/ops/.ssh/authorized_keys", sshd: set("StrictModes", "no")},
		{what: "a home that everybody may write", before: "chmod 777 /home/ops", refuse: true},
		{what: "somebody else's key file", before: "chown daemon /home/ops/.ssh/authorized_keys", refuse: true},
		{what: "a key file that was moved aside", before: "mv /home/ops/.ssh/authorized_keys /home/ops/.ssh/aside", refuse: true},
		{what: "and put back", before: "cd /home/ops/.ssh && mv authorized_keys aside && mv aside authorized_keys"},
		{what: "a key added by hand", keys: " ", before: "echo '" + line + "' >>/home/ops/.ssh/authorized_keys"},
		{what: "a drop-in file", before: "echo 'DenyUsers ops' >/etc/ssh/sshd_config.d/deny.conf", refuse: true},
		{what: "locked without PAM", locked: true, refuse: true},
		{what: "locked with PAM", locked: true, sshd: set("UsePAM", "yes")},
		{what: "a shell that ends at once", shell: "/usr/sbin/nologin", out: "This account is currently not available.\n"},
		{what: "a shell that does not exist", shell: "/bin/fish", refuse: true},
		{what: "a revoked key", sshd: set("RevokedKeys", "/etc/ssh/revoked"), files: file("/etc/ssh/revoked", line+"\n"), refuse: true},
		{what: "another revoked key", sshd: set("RevokedKeys", "/etc/ssh/revoked"), files: file("/etc/ssh/revoked", authorityLine+"\n")},
		{what: "a list of revoked keys that is missing", sshd: set("RevokedKeys", "/etc/ssh/revoked"), refuse: true},
		{what: "certificate of a trusted authority", keys: " ", signer: cert(nil), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n")},
		{what: "certificate for somebody else", keys: " ", signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob"} }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n"), refuse: true},
		{what: "certificate for nobody in particular", keys: " ", signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n"), refuse: true},
		{what: "certificate that is over", keys: " ", signer: cert(func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter + 60 }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n"), refuse: true},
		{what: "certificate from elsewhere", keys: " ", signer: cert(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"source-address": "10.0.0.0/8"} }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n"), refuse: true},
		{what: "certificate with a command", keys: " ", signer: cert(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "echo cert"} }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca"), files: file("/etc/ssh/ca", authorityLine+"\n"), out: "cert\n"},
		{what: "certificate of an unknown authority", keys: " ", signer: cert(nil), refuse: true},
		{what: "certificate by cert-authority", keys: "cert-authority " + authorityLine, signer: cert(nil)},
		{what: "certificate by cert-authority and principals", keys: `cert-authority,principals="oncall,x" ` + authorityLine, signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"oncall"} })},
		{what: "certificate without that principal", keys: `cert-authority,principals="oncall" ` + authorityLine, signer: cert(nil), refuse: true},
		{what: "the authority's own key", keys: "cert-authority " + authorityLine, signer: authority, refuse: true},
		{what: "AuthorizedPrincipalsFile", keys: " ", signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"sre"} }), sshd: set("TrustedUserCAKeys", "/etc/ssh/ca", "AuthorizedPrincipalsFile", "/etc/ssh/principals/%u"), files: append(file("/etc/ssh/ca", authorityLine+"\n"), file("/etc/ssh/principals/ops", "# who\nsre\n")...)},
	} {
		t.Run(c.what, func(t *testing.T) {
			w, h := newWorld(t, 60, simfleet.HostOptions{})
			in := findInstance(t, w, "Debian host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" && !in.Down })
			u := &simfleet.User{Name: "ops", UID: 1400, Home: "/home/ops", Shell: "/bin/bash", Locked: c.locked, Keys: []string{line}}
			if c.keys != "" {
				u.Keys = []string{c.keys}
			}
			if c.shell != "" {
				u.Shell = c.shell
			}
			in.Users, in.SSHD, in.Files = []*simfleet.User{u}, c.sshd, c.files
			if c.before != "" {
				if out, errs, status := shell(t, h, in, "root", c.before); status != 0 {
					t.Fatal(out, errs)
				}
			}
			conf := clientConfig(t, w, "ops")
			if c.user != "" {
				conf.User = c.user
			}
			signer := key
			if c.signer != nil {
				signer = c.signer
			}
			conf.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
			logged := len(in.Logins)
			client, err := login(t, h, in, "203.0.113.10:50001", conf)
			if (err != nil) != c.refuse {
				t.Fatalf("login: %v; refused is expected to be %v", err, c.refuse)
			}
			w.Mu.RLock()
			logged = len(in.Logins) - logged
			w.Mu.RUnlock()
			if err != nil {
				if logged != 0 {
					t.Error("a refused login was logged as accepted")
				}
				return
			}
			if logged != 1 {
				t.Errorf("%d logins were logged", logged)
			}
			if c.out == "" {
				c.out = "ok\n"
			}
			if out := output(t, client, "echo $SSH_ORIGINAL_COMMAND ok"); out != c.out {
				t.Errorf("output %q, want %q", out, c.out)
			}
		})
	}
}

// output runs a command over SSH and gives what it prints, whatever its status.
func output(t *testing.T, client *ssh.Client, line string) string {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	out, err := s.Output(line)
	var status *ssh.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// TestLoginIsLoggedAndShown checks that a login by certificate is logged in
// sshd's words, and shows among the processes as long as it lasts.
func TestLoginIsLoggedAndShown(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	authority, authorityLine := signerOf(t, 3)
	holder, _ := signerOf(t, 1)
	in := findInstance(t, w, "Debian host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" && !in.Down })
	in.Users = []*simfleet.User{{Name: "ops", UID: 1400, Home: "/home/ops", Shell: "/bin/bash", Keys: []string{"cert-authority " + authorityLine}}}
	in.Sessions = nil
	conf := clientConfig(t, w, "ops")
	conf.Auth = []ssh.AuthMethod{ssh.PublicKeys(certificate(t, authority, holder, nil))}
	client, err := login(t, h, in, "203.0.113.10:50001", conf)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Accepted publickey for ops from 203.0.113.10 port 50001 ssh2: ED25519-CERT %s ID alice (serial 7) CA ED25519 %s\n",
		ssh.FingerprintSHA256(holder.PublicKey()), ssh.FingerprintSHA256(authority.PublicKey()))
	if out, errs, _ := shell(t, h, in, "root", "journalctl -q -u ssh -n 1 -o cat"); out != want {
		t.Errorf("log %q, want %q %s", out, want, errs)
	}
	sessions := func() string {
		out, _, _ := shell(t, h, in, "root", `for d in /proc/[0-9]*; do read -r c <$d/comm; read -r t <$d/cmdline; case $c in sshd) echo "${t%% 0 of*}";; esac; done; ss -Htn`)
		return out
	}
	if got, want := output(t, client, "echo $SSH_CONNECTION; tr '\\0' '\\n' </proc/$PPID/cmdline"), fmt.Sprintf("203.0.113.10 50001 %s 22\nsshd: ops@notty", in.Host.PrivateIP); got != want {
		t.Errorf("the session sees %q, want %q", got, want)
	}
	if got, want := sessions(), fmt.Sprintf("sshd: ops [priv]\nsshd: ops\nsshd: /usr/sbin/sshd -D [listener]\nESTAB 0      0      %s:22 203.0.113.10:50001\n", in.Host.PrivateIP); got != want {
		t.Errorf("with a connection: %q, want %q", got, want)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	h.Close() // waits for the server's side to end
	if got, want := sessions(), "sshd: /usr/sbin/sshd -D [listener]\n"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
}

// TestRestrictedKey checks that a restricted key gives neither terminal nor tunnel.
func TestRestrictedKey(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	bastion := findInstance(t, w, "bastion", func(in *simfleet.Instance) bool { return in.Role == "bastion" && !in.Down })
	_, line := w.OperatorKey()
	target := findInstance(t, w, "host behind it", func(in *simfleet.Instance) bool {
		return w.Bastion(in) == bastion && in.OS.Family != "windows" && !in.Down && w.OperatorReaches(in)
	})
	for _, c := range []struct {
		options          string
		terminal, tunnel bool
	}{
		{"", true, true},
		{"restrict ", false, false},
		{"restrict,pty ", true, false},
		{"no-pty ", false, true},
		{"no-port-forwarding ", true, false},
		{`permitopen="192.0.2.1:22" `, true, false},
		{fmt.Sprintf(`permitopen="%s:22" `, target.Host.PrivateIP), true, true},
	} {
		bastion.Users = []*simfleet.User{{Name: "ops", UID: 1400, Home: "/home/ops", Shell: "/bin/bash", Keys: []string{c.options + line}}}
		client, err := login(t, h, bastion, "203.0.113.10:50001", clientConfig(t, w, "ops"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.RequestPty("xterm", 24, 80, nil); (err == nil) != c.terminal {
			t.Errorf("%q: terminal: %v", c.options, err)
		}
		conn, err := client.Dial("tcp", netip.AddrPortFrom(target.Host.PrivateIP, 22).String())
		if (err == nil) != c.tunnel {
			t.Errorf("%q: tunnel: %v", c.options, err)
		}
		if err == nil {
			_ = conn.Close()
		}
		_ = client.Close()
	}
}

// TestBastion checks that a tunnel reaches what the network lets it, and how it fails.
func TestBastion(t *testing.T) {
	w, h := newWorld(t, 300, simfleet.HostOptions{})
	target := findInstance(t, w, "host behind a bastion", func(in *simfleet.Instance) bool {
		return w.Bastion(in) != nil && w.OperatorReaches(in) && in.Role != "bastion" && !in.Down && in.OS.Family != "windows" &&
			slices.ContainsFunc(in.Users, func(u *simfleet.User) bool { return u.Name == "ops" })
	})
	bastion := w.Bastion(target)
	client, err := login(t, h, bastion, "203.0.113.10:50001", clientConfig(t, w, "ops"))
	if err != nil {
		t.Fatal(err)
	}
	through := func(addr string) (*ssh.Client, error) {
		conn, err := client.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		c, channels, requests, err := ssh.NewClientConn(conn, addr, clientConfig(t, w, "ops"))
		if err != nil {
			return nil, err
		}
		return ssh.NewClient(c, channels, requests), nil
	}
	address := netip.AddrPortFrom(target.Host.PrivateIP, 22).String()
	inner, err := through(address)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s\n%s\n", target.Hostname, bastion.Host.PrivateIP)
	if got := output(t, inner, "hostname; echo ${SSH_CLIENT%% *}"); got != want {
		t.Errorf("through the bastion: %q, want %q", got, want)
	}
	_ = inner.Close()
	if inner, err = through(net.JoinHostPort(target.Host.PrivateDNS, "22")); err != nil {
		t.Errorf("by private DNS name: %v", err)
	} else {
		_ = inner.Close()
	}
	change := func(f func()) {
		w.Mu.Lock()
		defer w.Mu.Unlock()
		f()
	}
	groups := target.Host.Groups
	for _, c := range []struct {
		what, addr, want string
		change, back     func()
	}{
		{"a port on which nothing listens", net.JoinHostPort(target.Host.PrivateIP.String(), "2222"), "Connection timed out", nil, nil},
		{"an address without a host", "10.255.255.1:22", "Connection timed out", nil, nil},
		{"a name that does not exist", "nowhere.internal:22", "Name or service not known", nil, nil},
		{"a host whose sshd is down", address, "Connection refused", func() { target.Down = true }, func() { target.Down = false }},
		{"a host without a group that lets it in", address, "Connection timed out", func() { target.Host.Groups = nil }, func() { target.Host.Groups = groups }},
		{"a stopped host", address, "Connection timed out", func() { target.Host.State = "stopped" }, func() { target.Host.State = "running" }},
	} {
		if c.change != nil {
			change(c.change)
		}
		if inner, err := through(c.addr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
			if err == nil {
				_ = inner.Close()
			}
		}
		if c.back != nil {
			change(c.back)
		}
	}
	change(func() {
		bastion.SSHD.Settings = append([]simfleet.Setting{{Keyword: "AllowTcpForwarding", Value: "no"}}, bastion.SSHD.Settings...)
	})
	if client, err = login(t, h, bastion, "203.0.113.10:50002", clientConfig(t, w, "ops")); err != nil {
		t.Fatal(err)
	}
	if _, err := through(address); err == nil || !strings.Contains(err.Error(), "administratively prohibited") {
		t.Errorf("with AllowTcpForwarding no: %v", err)
	}
}

// TestMachineFaults checks how a host can misbehave.
func TestMachineFaults(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" && !in.Down })
	in.Users = []*simfleet.User{operator(w, 1400, true)}
	start := func(fault simfleet.MachineFault) (*ssh.Client, error) {
		w.Mu.Lock()
		in.Fault = fault
		w.Mu.Unlock()
		conf := clientConfig(t, w, "ops")
		conf.HostKeyCallback = ssh.FixedHostKey(hostKey(t, in))
		return login(t, h, in, "203.0.113.10:50001", conf)
	}
	session := func(fault simfleet.MachineFault) (*ssh.Client, *ssh.Session) {
		client, err := start(fault)
		if err != nil {
			t.Fatal(fault, err)
		}
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(fault, err)
		}
		return client, s
	}

	if client, err := start(simfleet.MachineHostKey); err == nil || !strings.Contains(err.Error(), "host key mismatch") {
		t.Errorf("another host key: %v", err)
		_ = client.Close()
	}

	// A client that stops reading stops the host: what was sent stays within the window.
	client, s := session(simfleet.MachineEndless)
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("true"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, out, 50<<20); err != nil || n != 50<<20 {
		t.Errorf("an endless host printed %d bytes: %v", n, err)
	}
	_ = client.Close()

	client, s = session(simfleet.MachineHang)
	if err := s.Start("echo hi"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Wait() }()
	select {
	case err := <-done:
		t.Errorf("a command that hangs ended: %v", err)
	default:
	}
	_ = client.Close()
	<-done

	client, s = session(simfleet.MachineGarbage)
	got, err := s.Output("true")
	if err != nil || !bytes.Contains(got, []byte("\x1b[2J")) || bytes.IndexByte(got, 0xff) < 0 {
		t.Errorf("garbage: %d bytes, %v", len(got), err)
	}
	_ = client.Close()

	client, s = session(simfleet.MachineCut)
	got, err = s.Output("cat /etc/ssh/ssh_host_ed25519_key.pub /etc/passwd /etc/group /etc/ssh/sshd_config")
	var missing *ssh.ExitMissingError
	if !errors.As(err, &missing) || len(got) > 600 {
		t.Errorf("a cut connection: %d bytes, %v", len(got), err)
	}
	_ = client.Close()

	w.Mu.Lock()
	in.Fault = simfleet.MachineSilent
	w.Mu.Unlock()
	near, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	go h.ServeConn(in, far, netip.MustParseAddrPort("203.0.113.10:50001"), netip.AddrPortFrom(in.Host.PrivateIP, 22))
	if err := near.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent host sent %d bytes: %v", n, err)
	}
	_ = near.Close()
}

// hostKey is the key that known_hosts lists for an instance.
func hostKey(t *testing.T, in *simfleet.Instance) ssh.PublicKey {
	t.Helper()
	_, line := signerFromSeed(t, in.HostKey)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestOpenSSHReachesAPrivateHost runs Debian's own client through the SOCKS
// proxy and a bastion, with the operator's files as they are.
func TestOpenSSHReachesAPrivateHost(t *testing.T) {
	for _, program := range []string{"ssh", "nc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is needed: apt-get install openssh-client netcat-openbsd", program)
		}
	}
	w, h := newWorld(t, 300, simfleet.HostOptions{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- h.ServeSOCKS(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	files := w.OperatorFiles(ln.Addr().String(), dir)
	for name, text := range map[string]string{
		"config": files.OpenSSHConfig, simfleet.OperatorKnownHostsFile: files.KnownHosts, simfleet.OperatorKeyFile: string(files.PrivateKey),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(host, line string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(dir, "config"), "-o", "BatchMode=yes", host, line)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, errs.String())
		}
		return string(out), err
	}
	hasOps := func(in *simfleet.Instance) bool {
		return slices.ContainsFunc(in.Users, func(u *simfleet.User) bool { return u.Name == "ops" })
	}
	private := findInstance(t, w, "private host", func(in *simfleet.Instance) bool {
		return !in.Host.PublicIP.IsValid() && w.OperatorReaches(in) && !in.Down && in.OS.Family != "windows" && hasOps(in)
	})
	bastion := w.Bastion(private)
	public := findInstance(t, w, "public host", func(in *simfleet.Instance) bool {
		return in.Host.PublicIP.IsValid() && in.Role != "bastion" && w.Bastion(in) == nil && w.OperatorReaches(in) && !in.Down && in.OS.Family != "windows" && hasOps(in)
	})
	for _, in := range []*simfleet.Instance{private, bastion, public} {
		if out, err := run(in.Host.PrivateIP.String(), "hostname; cat - </dev/null"); err != nil || out != in.Hostname+"\n" {
			t.Errorf("%s: %q, want %q: %v", in.Host.ID, out, in.Hostname, err)
		}
	}
	if _, err := run(private.Host.PrivateIP.String(), "exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("exit status: %v", err)
	}
	w.Mu.Lock()
	private.Fault = simfleet.MachineHostKey
	w.Mu.Unlock()
	if _, err := run(private.Host.PrivateIP.String(), "true"); err == nil || !strings.Contains(err.Error(), "REMOTE HOST IDENTIFICATION HAS CHANGED") {
		t.Errorf("a changed host key: %v", err)
	}
	// The first hop is refused by the proxy when no packet would get through.
	w.Mu.Lock()
	bastion.Host.Groups = nil
	w.Mu.Unlock()
	if _, err := run(bastion.Host.PrivateIP.String(), "true"); err == nil || !strings.Contains(err.Error(), "Connection closed") {
		t.Errorf("a bastion that lets nobody in: %v", err)
	}
}
