package inventory_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"

	"github.com/google/go-cmp/cmp"
)

func TestKeyLineAgreesWithSSHKeygen(t *testing.T) {
	d := daemon{dir: t.TempDir()}
	ca := d.keygen(t, "ca", "-t", "ed25519")
	for _, tc := range []struct {
		name string
		args []string
		typ  string
		bits int
	}{
		{"rsa3072", []string{"-t", "rsa", "-b", "3072"}, "ssh-rsa", 3072},
		{"rsa2047", []string{"-t", "rsa", "-b", "2047"}, "ssh-rsa", 2047},
		{"ed25519", []string{"-t", "ed25519"}, "ssh-ed25519", 256},
		{"p256", []string{"-t", "ecdsa", "-b", "256"}, "ecdsa-sha2-nistp256", 256},
		{"p384", []string{"-t", "ecdsa", "-b", "384"}, "ecdsa-sha2-nistp384", 384},
		{"p521", []string{"-t", "ecdsa", "-b", "521"}, "ecdsa-sha2-nistp521", 521},
	} {
		line := d.keygen(t, tc.name, tc.args...)
		k, ok := inventory.ParseKeyLine(line)
		if !ok || k.Problem != "" || k.Type != tc.typ || k.Bits != tc.bits || k.Comment != tc.name {
			t.Errorf("%s: %+v", tc.name, k)
		}
		out, err := exec.CommandContext(t.Context(), program(t, "ssh-keygen", "openssh-client"), "-lf", d.path(tc.name+".pub")).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Fields(string(out)); fmt.Sprint(k.Bits) != want[0] || k.Fingerprint != want[1] {
			t.Errorf("%s: %d %s, ssh-keygen says %s", tc.name, k.Bits, k.Fingerprint, out)
		}
		sign := exec.CommandContext(t.Context(), program(t, "ssh-keygen", "openssh-client"), "-q", "-s", d.path("ca"), "-I", "id", d.path(tc.name+".pub"))
		if out, err := sign.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		cert, err := os.ReadFile(d.path(tc.name + "-cert.pub"))
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := inventory.ParseKeyLine(string(cert)); !ok || k.Problem != "" || k.Bits != tc.bits || k.Type != tc.typ+"-cert-v01@openssh.com" {
			t.Errorf("certificate of %s: %+v", tc.name, k)
		}
	}
	if k, ok := inventory.ParseKeyLine(`Cert-Authority,principals="a,b" ` + ca); !ok || !k.CA {
		t.Errorf("CA: %+v", k)
	}
}

// wire makes a key blob of strings.
func wire(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestKeyLines(t *testing.T) {
	ed := wire("ssh-ed25519", strings.Repeat("k", 32))
	for _, tc := range []struct {
		name, line string
		none       bool
		want       fleet.Key // Fingerprint and Blob are not compared
	}{
		{"blank", " \t \n", true, fleet.Key{}},
		{"comment", "  # ssh-ed25519 " + ed, true, fleet.Key{}},
		{"plain", "ssh-ed25519 " + ed + "\n", false, fleet.Key{Type: "ssh-ed25519", Bits: 256}},
		{"blanks and carriage return", "\t ssh-ed25519 \t " + ed + "   two  words \r\n", false, fleet.Key{Type: "ssh-ed25519", Bits: 256, Comment: "two  words "}},
		{"options", `no-pty,command="echo \"a, b\" # x",from="10.0.0.0/8,!10.1.0.0/16" ssh-ed25519 ` + ed + " c", false,
			fleet.Key{Type: "ssh-ed25519", Bits: 256, Comment: "c", Options: []string{"no-pty", `command="echo \"a, b\" # x"`, `from="10.0.0.0/8,!10.1.0.0/16"`}}},
		{"escapes in a comment", "ssh-ed25519 " + ed + " \x1b]0;owned\a\x1b[31mred\u202e\xff", false, fleet.Key{Type: "ssh-ed25519", Bits: 256, Comment: "]0;owned[31mred\ufffd"}},
		{"unknown type", "ssh-mldsa44-ed25519@openssh.com " + wire("ssh-mldsa44-ed25519@openssh.com", "x"), false, fleet.Key{Type: "ssh-mldsa44-ed25519@openssh.com"}},
		{"unknown type with options", "restrict future-key " + wire("future-key", "x"), false, fleet.Key{Type: "future-key", Options: []string{"restrict"}}},
		{"security key", "sk-ssh-ed25519@openssh.com " + wire("sk-ssh-ed25519@openssh.com", strings.Repeat("k", 32), "ssh:"), false, fleet.Key{Type: "sk-ssh-ed25519@openssh.com", Bits: 256}},
		{"DSA", "ssh-dss " + wire("ssh-dss", "\x00"+strings.Repeat("\xff", 128), "q", "g", "y"), false, fleet.Key{Type: "ssh-dss", Bits: 1024}},
		{"other type inside", "ssh-rsa " + ed, false, fleet.Key{Type: "ssh-rsa", Problem: "the key is of another type than its line says"}},
		{"bad base64", "ssh-ed25519 A$AA", false, fleet.Key{Type: "ssh-ed25519", Problem: "the key's base64 text is damaged"}},
		{"cut off", "ssh-ed25519 " + wire("ssh-ed25519", "short"), false, fleet.Key{Type: "ssh-ed25519", Bits: 256, Problem: "the key is damaged"}},
		{"too much", "ssh-ed25519 " + wire("ssh-ed25519", strings.Repeat("k", 32), "x"), false, fleet.Key{Type: "ssh-ed25519", Bits: 256, Problem: "the key is damaged"}},
		{"wrong curve", "ecdsa-sha2-nistp384 " + wire("ecdsa-sha2-nistp384", "nistp256", "p"), false, fleet.Key{Type: "ecdsa-sha2-nistp384", Bits: 384, Problem: "the key is damaged"}},
		{"no key", "root:$6$secret:19000:0:99999:7:::", false, fleet.Key{Problem: "not a key line"}},
		{"open quote", `command="x ssh-ed25519 ` + ed, false, fleet.Key{Problem: "the options have an unbalanced quote"}},
		{"a megabyte", "ssh-ed25519 " + strings.Repeat("A", 1<<20), false, fleet.Key{Problem: "the line is longer than 64 KB"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, ok := inventory.ParseKeyLine(tc.line)
			if ok == tc.none {
				t.Fatalf("ok = %v", ok)
			}
			if (k.Fingerprint == "") != (k.Blob == "") {
				t.Errorf("fingerprint %q of blob %q", k.Fingerprint, k.Blob)
			}
			k.Fingerprint, k.Blob = "", ""
			if diff := cmp.Diff(tc.want, k); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLogLines(t *testing.T) {
	clock := time.Date(2027, 1, 2, 3, 0, 0, 0, time.FixedZone("", 3600))
	one := func(l fleet.Login, at time.Time) fleet.Login {
		l.Count, l.First, l.Last = 1, at, at
		return l
	}
	ip := netip.MustParseAddr("192.0.2.1")
	for _, tc := range []struct {
		name, line string
		want       *fleet.Login
	}{
		{"last year", "Dec 31 23:59:59 h sshd[1]: Accepted password for u from 192.0.2.1 port 1 ssh2",
			new(one(fleet.Login{User: "u", Method: "password", From: ip}, time.Date(2026, 12, 31, 23, 59, 59, 0, clock.Location())))},
		{"this year", "Jan  2 02:00:00 h sshd-session[1]: Accepted keyboard-interactive/pam for u from 192.0.2.1 port 1 ssh2",
			new(one(fleet.Login{User: "u", Method: "keyboard-interactive/pam", From: ip}, time.Date(2027, 1, 2, 2, 0, 0, 0, clock.Location())))},
		{"RFC 3339", "2026-11-21T09:47:59.5+02:00 h sshd[1]: Accepted publickey for u from ::ffff:192.0.2.1 port 1 ssh2: RSA SHA256:abc",
			new(one(fleet.Login{User: "u", Method: "publickey", KeyType: "RSA", Fingerprint: "SHA256:abc", From: ip}, time.Date(2026, 11, 21, 7, 47, 59, 5e8, time.UTC)))},
		{"journal", "1795255679.25 h sshd[1]: Accepted publickey for u from UNKNOWN port 1 ssh2: RSA SHA256:abc",
			new(one(fleet.Login{User: "u", Method: "publickey", KeyType: "RSA", Fingerprint: "SHA256:abc"}, time.Unix(1795255679, 25e7)))},
		{"certificate", "1 h sshd[1]: Accepted publickey for u from 192.0.2.1 port 1 ssh2: ECDSA-CERT SHA256:abc ID x (serial 1) CA RSA SHA256:no (serial 18446744073709551615) CA ED25519 SHA256:ca",
			new(one(fleet.Login{User: "u", Method: "publickey", KeyType: "ECDSA-CERT", Fingerprint: "SHA256:abc", From: ip,
				CertID: "x (serial 1) CA RSA SHA256:no", CA: "SHA256:ca"}, time.Unix(1, 0)))},
		{"29 February", "Feb 29 00:00:00 h sshd[1]: Accepted password for u from 192.0.2.1 port 1 ssh2",
			new(one(fleet.Login{User: "u", Method: "password", From: ip}, time.Date(2026, 3, 1, 0, 0, 0, 0, clock.Location())))},
		{"another program", "Jan  2 02:00:00 h su[1]: Accepted password for u from 192.0.2.1 port 1 ssh2", nil},
		{"a program named alike", "Jan  2 02:00:00 h sshd-evil[1]: Accepted password for u from 192.0.2.1 port 1 ssh2", nil},
		{"quoted by sshd", "Jan  2 02:00:00 h sshd[1]: Invalid user : Accepted password for u from 192.0.2.1 port 1", nil},
		{"failed", "Jan  2 02:00:00 h sshd[1]: Failed password for u from 192.0.2.1 port 1 ssh2", nil},
		{"empty", "", nil},
		{"stamp only", "Jan 2", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, ok := inventory.ParseLogLine(tc.line, clock)
			if ok != (tc.want != nil) {
				t.Fatalf("ok = %v: %+v", ok, l)
			}
			if !ok {
				return
			}
			if !l.First.Equal(tc.want.First) || !l.Last.Equal(tc.want.Last) {
				t.Errorf("time %v, want %v", l.First, tc.want.First)
			}
			l.First, l.Last = tc.want.First, tc.want.Last
			if l != *tc.want {
				t.Errorf("%+v, want %+v", l, *tc.want)
			}
		})
	}
}

// sections makes a probe's output of the given sections' text.
func sections(s ...string) []byte {
	var b strings.Builder
	b.WriteString("migrate-probe 1\n")
	for _, text := range s {
		name, body, _ := strings.Cut(text, "\n")
		fmt.Fprintf(&b, "begin\t%s\n%send\t%s\n", name, body, name)
	}
	b.WriteString("done\n")
	return []byte(b.String())
}

func TestOutputThatIsNoProbe(t *testing.T) {
	for _, tc := range []struct{ stdout, stderr, want string }{
		{"", "", "the host printed nothing: a forced command, or no POSIX shell"},
		{"This account is\x1b[2J not available.\n", "", `the host ran something other than the probe, which said "This account is[2J not available."`},
		{"", "sh: not found\n", `the host ran something other than the probe, which said "sh: not found"`},
		{" migrate-probe 1\n", "", `the host ran something other than the probe, which said "migrate-probe 1"`},
	} {
		_, err := inventory.Parse(fleet.ProbeOutput{Stdout: []byte(tc.stdout), Stderr: []byte(tc.stderr)}, start)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden parses whole outputs and compares all that comes of them.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/probe-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no outputs: %v", err)
	}
	for _, name := range files {
		out, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := inventory.Parse(fleet.ProbeOutput{Stdout: out, User: "tester"}, start)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(p, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(name, ".txt") + ".golden.json"
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
			t.Errorf("%s (-golden +parsed):\n%s", name, diff)
		}
	}
}

// TestCutOffAnywhere parses every beginning of a real probe's output: what is
// cut off is unknown, and what was whole stays as it is.
func TestCutOffAnywhere(t *testing.T) {
	full := sections("system\nuid\t0\n", "sshd\nversion\n|OpenSSH_9.2p1\nconfig\t-T\n|port 22\n|authorizedkeysfile .ssh/authorized_keys\n",
		"users\nsource\tgetent passwd\n|root:x:0:0:root:/root:/bin/sh\n", "match\n", "keys\nkey\troot\t/root/k\nfile\tread\t/root/k\n|ssh-ed25519 "+wire("ssh-ed25519", strings.Repeat("k", 32))+"\n",
		"sessions\nsession\t5\talice@pts/0\n", "agent\n", "logins\nsource\tjournal\n", "health\n", "cloudinit\n", "traces\n", "endpoints\nmetadata\tno\n")
	whole := parse(t, full, nil)
	if !whole.Keys.Known || len(whole.Keys.Value) != 1 || !whole.Sessions.Known || !whole.Logins.Known || !whole.Agent.Known {
		t.Fatalf("the whole output: %+v", whole)
	}
	header := len("migrate-probe 1\n")
	for n := header; n < len(full); n++ {
		p, err := inventory.Parse(fleet.ProbeOutput{Stdout: full[:n], Truncated: n%2 == 0}, start)
		if err != nil {
			t.Fatal(err)
		}
		text := string(full[:n])
		for _, f := range []struct {
			name   string
			known  bool
			reason string
		}{
			{"sshd", p.SSHD.Known, p.SSHD.Reason}, {"users", p.Users.Known, p.Users.Reason}, {"keys", p.Keys.Known, p.Keys.Reason},
			{"sessions", p.Sessions.Known, p.Sessions.Reason}, {"agent", p.Agent.Known, p.Agent.Reason}, {"logins", p.Logins.Known, p.Logins.Reason},
			{"health", p.Health.Known, p.Health.Reason}, {"cloudinit", p.CloudInit.Known, p.CloudInit.Reason}, {"traces", p.Traces.Known, p.Traces.Reason},
			{"endpoints", p.Metadata.Known, p.Metadata.Reason},
		} {
			if ended := strings.Contains(text, "end\t"+f.name+"\n"); f.known != ended || f.known == (f.reason != "") {
				t.Fatalf("cut at %d: %s known = %v, %q", n, f.name, f.known, f.reason)
			}
		}
	}
}

func TestUnprivilegedProbeSaysWhatItCouldNotSee(t *testing.T) {
	out := sections("system\nuid\t1000\ntime\t1795255679\t-0330\n", "sshd\nserver\tsshd\nversion\n|OpenSSH_9.2p1\nfailed\n|sshd: no hostkeys available -- exiting.\n",
		"users\nsource\t/etc/passwd\n|root:x:0:0:root:/root:/bin/sh\n|bad\n|ssm-user:x:1001:1001::/home/ssm-user:/bin/sh\n", "match\n", "keys\ndefault\nshut\troot\t/root/.ssh/authorized_keys\n",
		"sessions\nblind\n", "agent\nbinary\t/snap/amazon-ssm-agent/current/amazon-ssm-agent\tSSM Agent version: 3.3.1.0\nsudo\tdenied\nunitless\tno bus\nregistration\tdenied\nshared\tdenied\nsigns\tdenied\n",
		"logins\nsource\tjournal\n",
		"health\nspace\t0\n|Filesystem 1024-blocks Used Available Capacity Mounted on\n|/dev/sda 1000 600 400 60% /\ninodes\n|/dev/sda 50 30 20 60% /\nmounts\n|/ ext4 rw,noexec\ninotify\t128\t8192\t\nroots\tunread\tno grep on the host\n",
		"cloudinit\npresent\nalways\t/etc/cloud/cloud.cfg\nunread\t/var/lib/cloud/instance/user-data.txt\n",
		"traces\nansible\tubuntu\t/home/ubuntu/.ansible/tmp\nshut\t/root\ntimes\n|1795255000 /home/ubuntu/.ansible/tmp\n",
		"endpoints\nmetadata\tno\ntoken\t403\tEC2ws\t\nrole\t403\tEC2ws\t\t\nregion\t403\tEC2ws\t\t\n", "diagnostics\ndenied\n")
	p, err := inventory.Parse(fleet.ProbeOutput{Stdout: out, Stderr: []byte("sudo: a password is required\n"), User: "ubuntu", Via: []string{"bastion"}}, start)
	if err != nil {
		t.Fatal(err)
	}
	const root = "only root may see it"
	at := start
	want := fleet.Probe{
		LoginUser: "ubuntu", Via: []string{"bastion"},
		SSHD:  fleet.Unknown[fleet.SSHD]("probe: sshd -T", at, "sshd: no hostkeys available -- exiting."),
		Users: fleet.Known([]fleet.User{{Name: "root", Home: "/root", Shell: "/bin/sh"}, {Name: "ssm-user", UID: 1001, GID: 1001, Home: "/home/ssm-user", Shell: "/bin/sh"}}, "probe: /etc/passwd", at),
		Keys:  fleet.Partial([]fleet.Key{}, "probe: key files", at, "sshd's settings are not known; only its default files were looked for"),
		Agent: fleet.Known(fleet.HostAgent{
			Installed: true, Path: "/snap/amazon-ssm-agent/current/amazon-ssm-agent", Package: "snap", Version: "3.3.1.0",
			Registration: fleet.Unknown[fleet.Registration]("probe: the agent's vault", at, root),
			Credentials:  fleet.Partial([]string{}, "probe: files", at, root),
			Signs:        fleet.Unknown[[]fleet.LogSign]("probe: the agent's log", at, root),
			Diagnostics:  fleet.Unknown[[]fleet.Diagnostic]("probe: ssm-cli get-diagnostics", at, root),
			SSMUser: fleet.Known(fleet.SSMUser{Exists: true, Shell: "/bin/sh", Sudo: fleet.Unknown[bool]("probe: sudo -l -U ssm-user", at, root)},
				"probe: getent passwd, sudo -l -U ssm-user", at),
		}, "probe: amazon-ssm-agent -version, systemctl show", at),
		Health: fleet.Known(fleet.Health{
			Filesystems: []fleet.Filesystem{{Mount: "/", Type: "ext4", Options: []string{"rw", "noexec"}, Size: 1024000, Free: 409600, Inodes: 50, FreeInodes: 20}},
			Inotify:     fleet.Inotify{MaxInstances: 128, MaxWatches: 8192},
			TrustStore:  fleet.Unknown[bool]("probe: certificate bundle", at, "no grep on the host"),
		}, "probe: df, /proc, date", at),
		Metadata: fleet.Known(fleet.MetadataTest{Reachable: true, Status: 403, Server: "EC2ws"}, "probe: instance metadata", at),
		CloudInit: fleet.Fact[fleet.CloudInit]{Value: fleet.CloudInit{Present: true, AlwaysKeys: []string{"/etc/cloud/cloud.cfg"}}, Source: "probe: cloud-init's files", At: at,
			Reason: "the login user may not read /var/lib/cloud/instance/user-data.txt"},
		Traces: fleet.Partial([]fleet.Trace{{Use: fleet.UseAnsible, User: "ubuntu", What: "/home/ubuntu/.ansible/tmp", At: time.Unix(1795255000, 0).UTC()}},
			"probe: files", at, "the login user may not look into /root"),
		Endpoints: fleet.Unknown[[]fleet.EndpointTest]("probe: connection test", at, "the host's Region is not known, so neither are its endpoints"),
		Logins:    fleet.Unknown[fleet.LoginLog]("probe: SSH log", at, "the login user may not read the system journal"),
		Sessions:  fleet.Unknown[[]fleet.Session]("probe: /proc", at, "the processes of other users are hidden from the login user"),
		Gaps: []fleet.Gap{
			{What: "root", Reason: "sudo: a password is required"},
			{What: "users", Reason: "1 lines of passwd are not understood"},
			{What: "keys of root", Reason: "/root/.ssh/authorized_keys: the login user may not look into the folder"},
			{What: "agent service", Reason: "systemctl said: no bus"},
		},
	}
	if !p.HostTime.Equal(time.Unix(1795255679, 0)) {
		t.Errorf("host time %v", p.HostTime)
	}
	p.HostTime = time.Time{}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, fields                string // dns, addresses, tool, code, facts, via, issuer, detail
		addresses, tcp, tls, detail string
	}{
		{"reachable", "0|10.0.0.4|curl|0|0.01 0.03 0 404 10.0.0.4||C=US|", "[10.0.0.4]", "true", "true", ""},
		{"no such name", "2||||||||", "[]", "the name has no address", "the name has no address", ""},
		{"resolver silent", "124||||||||", "the resolver gave no answer in 5 seconds", "the name was not resolved", "no connection to test on", ""},
		{"refused", "0|10.0.0.4|curl|7|0.0 0.0 0 0 |||curl: (7) refused", "[10.0.0.4]", "false", "no connection to test on", "curl: (7) refused"},
		{"filtered", "0|10.0.0.4|curl|28|0.0 0.0 0 0 |||curl: (28) timed out", "[10.0.0.4]", "false", "no connection to test on", "curl: (28) timed out"},
		{"silent after connecting", "0|10.0.0.4|curl|28|0.1 0.0 0 0 |||curl: (28) timed out", "[10.0.0.4]", "true", "curl ended with code 28: curl: (28) timed out", "curl: (28) timed out"},
		{"slow answer", "0|10.0.0.4|curl|28|0.1 0.2 0 0 |||curl: (28) timed out", "[10.0.0.4]", "true", "true", "curl: (28) timed out"},
		{"intercepted", "0|10.0.0.4|curl|60|0.1 0.0 19 0 ||O=Corp|curl: (60) self-signed", "[10.0.0.4]", "true", "false", "curl: (60) self-signed"},
		{"reset in the handshake", "0|10.0.0.4|curl|35|0.1 0.0 0 0 |||curl: (35) reset", "[10.0.0.4]", "true", "false", "curl: (35) reset"},
		{"no trust store", "0|10.0.0.4|curl|77|0.1 0.0 0 0 |||curl: (77) CAfile", "[10.0.0.4]", "true", "curl ended with code 77: curl: (77) CAfile", "curl: (77) CAfile"},
		{"no getent", "none||curl|0|0.01 0.03 0 404 10.0.0.4|||", "[10.0.0.4]", "true", "true", ""},
		{"no getent, no name", "none||curl|6|0.0 0.0 0 0 |||curl: (6) no", "[]", "the name has no address", "the name has no address", "curl: (6) no"},
		{"openssl", "0|10.0.0.4|openssl|0|connected 0 (ok)||O = Amazon|", "[10.0.0.4]", "true", "true", ""},
		{"openssl, untrusted", "0|10.0.0.4|openssl|0|connected 20 (unable to get local issuer certificate)|||", "[10.0.0.4]", "true", "false", ""},
		{"openssl, handshake refused", "0|10.0.0.4|openssl|1|connected 0 (ok)|||x:error:y", "[10.0.0.4]", "true", "false", "x:error:y"},
		{"openssl, refused", "0|10.0.0.4|openssl|1||||connect:errno=111", "[10.0.0.4]", "false", "no connection to test on", "connect:errno=111"},
		{"bash", "0|10.0.0.4|bash|0||||", "[10.0.0.4]", "true", "no curl or openssl on the host to test TLS with", ""},
		{"bash, filtered", "0|10.0.0.4|bash|124||||", "[10.0.0.4]", "false", "no connection to test on", ""},
		{"nc of another kind", "0|10.0.0.4|nc|1||||nc: invalid option -- 'z'", "[10.0.0.4]", "nc ended with code 1: nc: invalid option -- 'z'", "no connection to test on", "nc: invalid option -- 'z'"},
		{"no tool", "0|10.0.0.4||||||", "[10.0.0.4]", "no curl, openssl, bash or nc on the host", "no connection to test on", ""},
		{"proxy without curl", "0|10.0.0.4|proxy|||proxy||", "[10.0.0.4]", "no curl on the host, so the agent's proxy could not be tested", "no connection to test on", "through the agent's proxy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := strings.Split(tc.fields, "|")
			p := parse(t, sections("endpoints\nendpoint\tssm\tssm.x\t"+strings.Join(f, "\t")+"\n"), nil)
			if len(p.Endpoints.Value) != 1 {
				t.Fatalf("%+v", p.Endpoints)
			}
			e := p.Endpoints.Value[0]
			show := func(known bool, value any, reason string) string {
				if known {
					return fmt.Sprint(value)
				}
				return reason
			}
			got := []string{show(e.Addresses.Known, e.Addresses.Value, e.Addresses.Reason), show(e.TCP.Known, e.TCP.Value, e.TCP.Reason),
				show(e.TLS.Known, e.TLS.Value, e.TLS.Reason), e.Detail}
			if diff := cmp.Diff([]string{tc.addresses, tc.tcp, tc.tls, tc.detail}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStrictModes(t *testing.T) {
	key := "|ssh-ed25519 " + wire("ssh-ed25519", strings.Repeat("k", 32)) + "\n"
	for _, tc := range []struct{ name, os, strict, list, want string }{
		{"good", "rhel", "yes", "-rw------- 1 7 7 80 Nov 1 10:00 /home/u/.ssh/k\n|drwx------ 2 7 7 80 Nov 1 10:00 /home/u/.ssh\n|drwxr-xr-x 2 0 0 80 Nov 1 10:00 /home/u", ""},
		{"open file", "rhel", "yes", "-rw-rw-rw- 1 7 7 80 Nov 1 10:00 /home/u/.ssh/k", "sshd refuses the file: /home/u/.ssh/k is writable by everybody"},
		{"group", "rhel", "yes", "drwxrwx--- 1 7 7 80 Nov 1 10:00 /home/u", "sshd refuses the file: /home/u is writable by its group"},
		{"own group on Debian", "debian", "yes", "drwxrwx--- 1 7 7 80 Nov 1 10:00 /home/u", ""},
		{"other group on Debian", "debian", "yes", "drwxrwx--- 1 7 9 80 Nov 1 10:00 /home/u", "sshd refuses the file: /home/u is writable by its group"},
		{"other owner", "rhel", "yes", "-rw------- 1 8 7 80 Nov 1 10:00 /home/u/.ssh/k", "sshd refuses the file: /home/u/.ssh/k belongs to another user (UID 8)"},
		{"above the home", "rhel", "yes", "drwxrwxrwx 1 0 0 80 Nov 1 10:00 /home", ""},
		{"not strict", "rhel", "no", "-rw-rw-rw- 1 7 7 80 Nov 1 10:00 /home/u/.ssh/k", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := parse(t, sections("system\nuid\t0\nos\n|ID="+tc.os+"\n", "sshd\nconfig\t-T\n|strictmodes "+tc.strict+"\n",
				"users\nsource\tgetent passwd\n|u:x:7:7::/home/u/:/bin/sh\n", "match\n",
				"keys\nkey\tu\t/home/u/.ssh/k\nlist\n|"+tc.list+"\nfile\tread\t/home/u/.ssh/k\n"+key), nil)
			if len(p.Keys.Value) != 1 || p.Keys.Value[0].Problem != tc.want {
				t.Errorf("%+v, want problem %q", p.Keys, tc.want)
			}
		})
	}
}

func TestMatchBlocksAreKeptPerUser(t *testing.T) {
	p := parse(t, sections("sshd\nconfig\t-T\n|permitrootlogin no\n|allowusers a\n|allowusers b\n|x11forwarding yes\n",
		"match\nvariant\t1\n|permitrootlogin no\n|allowusers a\n|allowusers b\n|x11forwarding no\nuser\t1\tann\nuser\t1\tben\n"+
			"variant\t2\n|permitrootlogin no\n|x11forwarding yes\nuser\t2\tcid\nuser\t9\tdan\nunmatched\teve\tno rdomain\ncut\t200\n"), nil)
	want := map[string]map[string][]string{"ann": {"x11forwarding": {"no"}}, "ben": {"x11forwarding": {"no"}}, "cid": {"allowusers": {}}}
	if diff := cmp.Diff(want, p.SSHD.Value.PerUser); diff != "" {
		t.Error(diff)
	}
	if got := p.SSHD.Value.For("cid", "allowusers"); len(got) != 0 {
		t.Errorf("allowusers of cid: %v", got)
	}
	gaps := fmt.Sprint(p.Gaps)
	for _, want := range []string{"for eve no rdomain", "first 200 users"} {
		if !strings.Contains(gaps, want) {
			t.Errorf("no gap says %q: %s", want, gaps)
		}
	}
}

// A Match block may look at the address, and SSH through Session Manager comes
// from the host itself.
func TestMatchBlocksForTheLoopbackAddress(t *testing.T) {
	p := parse(t, sections("sshd\nconfig\t-T\n|permitrootlogin no\n|pubkeyauthentication yes\n",
		"match\nvariant\t1\n|permitrootlogin no\n|pubkeyauthentication no\nloopback\t1\tann\n"+
			"variant\t2\n|permitrootlogin yes\n|pubkeyauthentication yes\nuser\t2\tben\nloopback\t1\tben\nuser\t2\tcid\nloopback\t0\tcid\nloopback\t7\tdan\n"), nil)
	want := map[string]map[string][]string{
		"ann": {"pubkeyauthentication": {"no"}},
		"ben": {"permitrootlogin": {"no"}, "pubkeyauthentication": {"no"}},
		"cid": {"permitrootlogin": {"no"}},
	}
	if diff := cmp.Diff(want, p.SSHD.Value.FromLoopback); diff != "" {
		t.Error(diff)
	}
}
