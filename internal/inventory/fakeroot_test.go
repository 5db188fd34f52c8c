package inventory_test

import (
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
	"github.com/google/go-cmp/cmp/cmpopts"
)

// machine is a folder that the probe takes for the host's file system, with
// programs of the test's own.
type machine struct{ root string }

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t.TempDir()}
	m.program(t, "date", `case $1 in +%s) echo 1795255679 ;; *) printf 'time\t1795255679\t+0000\n' ;; esac`) // 21 November 2026
	m.program(t, "uname", "echo Linux web-1 6.1.0 x86_64")
	m.program(t, "id", "echo 0")
	return m
}

func (m machine) file(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	p := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
}

func (m machine) program(t *testing.T, name, text string) {
	t.Helper()
	m.file(t, "bin/"+name, "#!/bin/sh\n"+text+"\n", 0o755)
}

// link makes a real program available.
func (m machine) link(t *testing.T, name, pkg string) {
	t.Helper()
	m.file(t, "bin/.keep", "", 0o644)
	if err := os.Symlink(program(t, name, pkg), filepath.Join(m.root, "bin", name)); err != nil {
		t.Fatal(err)
	}
}

// script is the real script with its absolute paths led into the machine.
func (m machine) script() string {
	s := inventory.Script(fleet.Host{Region: "eu-west-1"})
	for _, p := range []string{"/etc/", "/var/", "/proc/", "/snap/", "/usr/lib/", "/usr/bin/", "/usr/sbin", "/usr/local/", "/run/", "/sbin", "/root/", "/home ", "/tmp/ssh-", "/srv ", "/opt "} {
		s = strings.ReplaceAll(s, p, "\x01"+p)
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "PATH=") {
			lines[i] = "PATH=\x01/bin"
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(lines, "\n"), "\x01/usr\x01/", "\x01/usr/"), "\x01", m.root)
}

// probe runs the script in one shell.
func (m machine) probe(t *testing.T, shell ...string) fleet.Probe {
	t.Helper()
	const connection = "192.0.2.7 5050 10.0.0.5 22"
	var stdout, stderr []byte
	if shell[0] == inProcess {
		stdout, stderr = interpret(t, m.script(), connection)
	} else {
		cmd := exec.CommandContext(t.Context(), program(t, shell[0], shell[0]), append(shell[1:], "-s", connection)...)
		stdout, stderr = run(t, cmd, m.script())
	}
	if len(stderr) > 0 {
		t.Errorf("the script complains: %s", stderr)
	}
	p := parse(t, stdout, stderr)
	if t.Failed() || testing.Verbose() {
		t.Logf("%s", stdout)
	}
	return p
}

var shells = [][]string{{"dash"}, {"busybox", "sh"}, {"bash"}, {inProcess}}

const fingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"

func authLog(host string) (rotated, current string) {
	line := func(stamp, tag, text string) string { return fmt.Sprintf("%s %s %s %s\n", stamp, host, tag, text) }
	key := "Accepted publickey for alice from 192.0.2.9 port 40%02d ssh2: ED25519 " + fingerprint
	rotated = line("Nov  9 03:00:00", "CRON[1]:", "session opened") +
		line("Nov  9 04:00:00", "sshd[11]:", fmt.Sprintf(key, 1)) +
		line("Nov 10 04:00:00", "sshd[12]:", fmt.Sprintf(key, 2))
	current = line("Nov 20 08:00:00", "sshd-session[13]:", fmt.Sprintf(key, 3)) +
		line("Nov 20 09:00:00", "sshd[14]:", "Accepted password for bob from 2001:db8::1 port 9 ssh2") +
		line("Nov 20 09:30:00", "sshd[15]:", "Invalid user x: Accepted password for eve from 192.0.2.1 port 9 ssh2") +
		line("Nov 20 09:31:00", "su[16]:", "Accepted password for eve from 192.0.2.1 port 9 ssh2") +
		line("Nov 20 10:00:00", "sshd[17]:", "Accepted publickey for carol from 192.0.2.2 port 7 ssh2: ED25519-CERT "+fingerprint+" ID carol (laptop) key (serial 12) CA RSA SHA256:caca") +
		line("Nov 21 09:00:00", "sshd[18]:", "Server listening")
	return rotated, current
}

func TestLoginsAreCountedWithAndWithoutAwk(t *testing.T) {
	stamp := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	want := fleet.LoginLog{
		From: stamp(11, 9, 3), To: stamp(11, 21, 9),
		Logins: []fleet.Login{
			{User: "alice", Method: "publickey", KeyType: "ED25519", Fingerprint: fingerprint, From: netip.MustParseAddr("192.0.2.9"), Count: 3, First: stamp(11, 9, 4), Last: stamp(11, 20, 8)},
			{User: "bob", Method: "password", From: netip.MustParseAddr("2001:db8::1"), Count: 1, First: stamp(11, 20, 9), Last: stamp(11, 20, 9)},
			{User: "carol", Method: "publickey", KeyType: "ED25519-CERT", Fingerprint: fingerprint, CertID: "carol (laptop) key", CA: "SHA256:caca", From: netip.MustParseAddr("192.0.2.2"), Count: 1, First: stamp(11, 20, 10), Last: stamp(11, 20, 10)},
		},
	}
	for _, shell := range shells {
		for _, awk := range []string{"mawk", "busybox", ""} {
			for _, journal := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s awk=%s journal=%v", shell[0], awk, journal), func(t *testing.T) {
					m := newMachine(t)
					m.link(t, "ls", "coreutils")
					if awk != "" {
						m.program(t, "awk", "exec "+program(t, awk, awk)+map[string]string{"mawk": "", "busybox": " awk"}[awk]+` "$@"`)
					}
					rotated, current := authLog("web-1")
					if journal {
						m.file(t, "journal", rotated+current, 0o644)
						m.program(t, "journalctl", "while IFS= read -r l; do printf '%s\\n' \"$l\"; done <"+m.root+"/journal")
					} else {
						m.file(t, "var/log/auth.log.1", rotated, 0o640)
						m.file(t, "var/log/auth.log", current, 0o640)
						m.file(t, "var/log/auth.log.2.gz", "x", 0o640)
					}
					p := m.probe(t, shell...)
					if !p.Logins.Known {
						t.Fatalf("logins unknown: %s", p.Logins.Reason)
					}
					want := want
					want.Source = m.root + "/var/log/auth.log"
					if journal {
						want.Source = "journal"
					}
					same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
					if diff := cmp.Diff(want, p.Logins.Value, same); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}

func TestLogLargerThanTheLimitIsReadFromItsEnd(t *testing.T) {
	for _, shell := range shells {
		m := newMachine(t)
		m.link(t, "ls", "coreutils")
		m.link(t, "tail", "coreutils")
		var log strings.Builder
		for i := range 20_000 { // 1.5 MB; one day for every 2,000 lines
			fmt.Fprintf(&log, "Nov %2d 04:00:00 web-1 sshd[%5d]: pam_unix(sshd:session): session closed\n", 1+i/2000, i)
		}
		m.file(t, "var/log/secure", log.String(), 0o600)
		p := m.probe(t, shell...)
		if !p.Logins.Known || len(p.Logins.Value.Logins) != 0 {
			t.Fatalf("%s: %+v", shell[0], p.Logins)
		}
		from := p.Logins.Value.From
		if from.Day() < 2 || from.Day() > 9 || p.Logins.Value.To.Day() != 10 {
			t.Errorf("%s: evidence from %v to %v", shell[0], from, p.Logins.Value.To)
		}
	}
}

const agentUnits = `Environment=LANG=C "HTTPS_PROXY=http://u:secret@proxy.corp:3128" NO_PROXY=169.254.169.254
Id=amazon-ssm-agent.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

Environment=
Id=snap.amazon-ssm-agent.amazon-ssm-agent.service
LoadState=not-found
ActiveState=inactive
UnitFileState=`

func TestAgentAndEndpointsByTheAgentsOwnProxy(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			m := newMachine(t)
			m.file(t, "usr/bin/amazon-ssm-agent", "#!/bin/sh\necho 'SSM Agent version: 3.3.987.0'\n", 0o755)
			m.file(t, "var/lib/dpkg/info/amazon-ssm-agent.list", "", 0o644)
			m.program(t, "dpkg-query", "echo install ok installed 3.3.987.0-1")
			m.program(t, "systemctl", "echo '"+agentUnits+"'")
			m.program(t, "getent", `case $1.$2 in
ahosts.ssm.*) echo "10.0.3.4  STREAM $2"; echo "10.0.3.4  DGRAM"; echo "10.0.3.5  STREAM";;
ahosts.ssmm*) echo "10.0.3.6  STREAM $2";;
*) exit 2;; esac`)
			m.program(t, "curl", `echo "proxy $https_proxy" >&2
for u; do :; done
case $u in
https://ssm.*) printf '\n*  issuer: C=US; O=Amazon; CN=Amazon RSA 2048 M02\nfacts 0.01 0.05 0 404 10.0.3.4\n';;
*ssmmess*-kv*) ;;
*ssmmess*) case $* in *-kv*) printf '*  issuer: O=Evil\tCorp\n';; *) printf 'curl: (60) SSL certificate problem\nfacts 0.01 0.0 20 0 x\n'; exit 60;; esac;;
*) printf 'curl: (56) CONNECT tunnel failed, response 403\nfacts 0.01 0.0 0 0 x\n'; exit 56;; esac`)
			p := m.probe(t, shell...)
			want := fleet.HostAgent{Installed: true, Path: m.root + "/usr/bin/amazon-ssm-agent", Package: "deb", Version: "3.3.987.0",
				Unit: "amazon-ssm-agent.service", Active: "active", Enabled: "enabled",
				Installs: []fleet.AgentInstall{{Package: "deb", Version: "3.3.987.0"}},
				Proxy:    map[string]string{"https_proxy": "http://u@proxy.corp:3128", "no_proxy": "169.254.169.254"}}
			if diff := cmp.Diff(want, p.Agent.Value, cmpopts.IgnoreFields(fleet.HostAgent{}, "Registration", "Credentials", "Signs", "Diagnostics", "SSMUser")); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(fmt.Sprintf("%+v", p), "secret") {
				t.Error("the proxy's password is in the probe")
			}
			type answer struct {
				addrs      string
				tcp, tls   string
				issuer, of string
			}
			show := func(f fleet.Fact[bool]) string {
				if !f.Known {
					return "unknown"
				}
				return fmt.Sprint(f.Value)
			}
			refused := answer{"[]", "false", "unknown", "", "through the agent's proxy curl: (56) CONNECT tunnel failed, response 403"}
			var got []answer
			for _, e := range p.Endpoints.Value {
				got = append(got, answer{fmt.Sprint(e.Addresses.Value), show(e.TCP), show(e.TLS), e.Issuer, e.Detail})
			}
			if diff := cmp.Diff([]answer{
				{"[10.0.3.4 10.0.3.5]", "true", "true", "C=US; O=Amazon; CN=Amazon RSA 2048 M02", "through the agent's proxy"},
				{"[10.0.3.6]", "true", "false", "O=Evil", "through the agent's proxy curl: (60) SSL certificate problem"},
				refused, refused, refused, refused,
			}, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSessionsLeaveOutOurOwn(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			m := newMachine(t)
			process := func(pid, ppid int, comm, title string) {
				dir := fmt.Sprintf("proc/%d/", pid)
				m.file(t, dir+"comm", comm+"\n", 0o644)
				m.file(t, dir+"cmdline", title+"\x00", 0o644)
				m.file(t, dir+"stat", fmt.Sprintf("%d (%s) S %d 1 1\n", pid, comm, ppid), 0o644)
			}
			process(1, 0, "systemd", "/sbin/init")
			process(50, 1, "sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
			process(60, 50, "sshd-session", "sshd-session: ec2-user [priv]")
			process(61, 60, "sshd-session", "sshd-session: ec2-user@notty")
			process(70, 50, "sshd", "sshd: alice [priv]")
			process(71, 70, "sshd", "sshd: alice@pts/0")
			process(72, 50, "sshd", "sshd: bob@corp.example")
			process(73, 50, "sshd", "sshd: carol@notty")
			process(74, 50, "sshd", "sshd: [accepted]")
			process(80, 1, "vi", "sshd: eve@pts/9")
			m.file(t, "proc/self/stat", "99 (sh) S 61 1 1\n", 0o644)
			m.program(t, "ss", `echo 'ESTAB 0 0 10.0.0.5:22 192.0.2.8:5555 users:(("sshd",pid=71,fd=4),("sshd",pid=70,fd=4))'`)
			p := m.probe(t, shell...)
			want := []fleet.Session{
				{User: "alice", TTY: "pts/0", PID: 71, From: "192.0.2.8:5555", Use: fleet.UseShell},
				{User: "bob@corp.example", PID: 72, Use: fleet.UseTunnel},
				{User: "carol", PID: 73},
			}
			if diff := cmp.Diff(want, p.Sessions.Value, cmpopts.SortSlices(func(a, b fleet.Session) bool { return a.PID < b.PID })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDaemonArguments runs a fake sshd that shows how it was asked.
func TestDaemonArguments(t *testing.T) {
	for _, tc := range []struct{ name, cmdline, given, asked string }{
		{"title", "sshd: @/usr/sbin/sshd -D -o AuthorizedKeysCommand /opt/aws/bin/eic_run_authorized_keys %u %f -o AuthorizedKeysCommandUser ec2-instance-connect -f @/etc/other -p2222 [listener] 0 of 10-100 startups\x00",
			"-D -o AuthorizedKeysCommand /opt/aws/bin/eic_run_authorized_keys %u %f -o AuthorizedKeysCommandUser ec2-instance-connect -f @/etc/other -p2222",
			"<-T><-o><AuthorizedKeysCommand /opt/aws/bin/eic_run_authorized_keys %u %f><-o><AuthorizedKeysCommandUser ec2-instance-connect><-f><@/etc/other><-p><2222>"},
		{"arguments", "@/usr/sbin/sshd\x00-D\x00-E\x00/log\x00-o\x00AuthorizedKeysCommand /x -y %u\x00", "-D -E /log -o AuthorizedKeysCommand /x -y %u", "<-T><-o><AuthorizedKeysCommand /x -y %u>"},
		{"none", "sshd: @/usr/sbin/sshd -D [listener] 1 of 10-100 startups\x00", "-D", "<-T>"},
	} {
		for _, shell := range shells {
			t.Run(tc.name+" "+shell[0], func(t *testing.T) {
				m := newMachine(t)
				here := func(s string) string { return strings.ReplaceAll(s, "@", m.root) }
				m.file(t, "usr/sbin/sshd", "#!/bin/sh\ncase $1 in -V) echo OpenSSH_9.6p1 >&2; exit 1;; esac\nprintf 'asked '\nprintf '<%s>' \"$@\"\necho\n", 0o755)
				m.file(t, "proc/self/stat", "99 (sh) S 50 1 1\n", 0o644)
				m.file(t, "proc/50/stat", "50 (sshd) S 1 1 1\n", 0o644)
				m.file(t, "proc/50/cmdline", here(tc.cmdline), 0o644)
				m.link(t, "tr", "coreutils")
				p := m.probe(t, shell...)
				if got := p.SSHD.Value.Arguments; got != here(tc.given) {
					t.Errorf("arguments %q, want %q", got, here(tc.given))
				}
				if got := p.SSHD.Value.Settings["asked"]; len(got) != 1 || got[0] != here(tc.asked) {
					t.Errorf("sshd was asked %q, want %q", got, here(tc.asked))
				}
				if p.SSHD.Value.Version != "OpenSSH_9.6p1" {
					t.Errorf("version %q", p.SSHD.Value.Version)
				}
			})
		}
	}
}

// TestDaemonWhereNoneServesTheProbe: Systems Manager's agent runs the probe, so
// that the daemon has to be looked for.
func TestDaemonWhereNoneServesTheProbe(t *testing.T) {
	const title = "sshd: @/usr/sbin/sshd -D -o AuthorizedKeysCommand /bin/keys [listener] 0 of 10-100 startups"
	type process struct {
		pid, parent int
		title       string
	}
	session, container := process{70, 50, "sshd: alice [priv]"}, process{80, 77, "sshd: /usr/sbin/sshd -D -p 2222 [listener] 0 of 10-100 startups"}
	for _, tc := range []struct {
		name      string
		processes []process
		given     string
		gap       string
	}{
		{"one", []process{{50, 1, title}, session, container}, "-D -o AuthorizedKeysCommand /bin/keys", ""},
		{"none", []process{container}, "", "no sshd listens; systemd may start one for each connection: settings given on its command line are not known"},
		{"two", []process{{50, 1, title}, {51, 1, title}, session}, "", "2 sshd listen, and the probe came through none of them: settings given on its command line are not known"},
	} {
		for _, shell := range shells {
			t.Run(tc.name+" "+shell[0], func(t *testing.T) {
				m := newMachine(t)
				m.file(t, "usr/sbin/sshd", "#!/bin/sh\necho port 22\n", 0o755)
				m.file(t, "proc/self/stat", "99 (sh) S 98 1 1\n", 0o644)
				m.file(t, "proc/98/stat", "98 (ssm-document-wo) S 1 1 1\n", 0o644)
				m.file(t, "proc/98/comm", "ssm-document-wo\n", 0o644)
				for _, p := range tc.processes {
					dir := fmt.Sprintf("proc/%d/", p.pid)
					m.file(t, dir+"stat", fmt.Sprintf("%d (sshd) S %d 1 1\n", p.pid, p.parent), 0o644)
					m.file(t, dir+"comm", "sshd\n", 0o644)
					m.file(t, dir+"cmdline", strings.ReplaceAll(p.title, "@", m.root)+"\x00", 0o644)
				}
				p := m.probe(t, shell...)
				if !p.SSHD.Known || p.SSHD.Value.Arguments != tc.given {
					t.Errorf("known %v (%s), arguments %q, want %q", p.SSHD.Known, p.SSHD.Reason, p.SSHD.Value.Arguments, tc.given)
				}
				gap := ""
				for _, g := range p.Gaps {
					if g.What == "sshd arguments" {
						gap = g.Reason
					}
				}
				if gap != tc.gap {
					t.Errorf("gap %q, want %q", gap, tc.gap)
				}
			})
		}
	}
}

func TestFilesOfTheUsers(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			m := newMachine(t)
			m.link(t, "ls", "coreutils")
			m.link(t, "head", "coreutils")
			if shell[0] != "bash" { // reads a megabyte without it
				m.link(t, "awk", "mawk")
			}
			m.file(t, "usr/sbin/sshd", "#!/bin/sh\nprintf 'authorizedkeysfile .ssh/authorized_keys "+m.root+"/shared %%h/%%u-%%U.keys\\ntrustedusercakeys "+m.root+"/missing-ca\\nstrictmodes yes\\n'\n", 0o755)
			m.file(t, "etc/passwd", fmt.Sprintf("root:x:0:0::/root-of-nobody:/bin/sh\nann:x:%d:5000::%s/home/ann:/bin/sh\nbad line\nben:x:77:77::%[2]s/home/ben/:/usr/sbin/nologin\n", os.Geteuid(), m.root), 0o644)
			m.file(t, "home/ann/.ssh/authorized_keys", strings.Repeat(key+" ann\n", 30_000), 0o600)
			m.file(t, "home/ann/"+fmt.Sprintf("ann-%d.keys", os.Geteuid()), key+" open", 0o622)
			m.file(t, "home/ben/ben-77.keys", key+" |end\tkeys\x1b[2J\r\ndone\n|x\n", 0o600)
			m.file(t, "shared", "# for all\n\n"+key+" shared\n", 0o644)
			if err := os.MkdirAll(filepath.Join(m.root, "home/ben/.ssh/authorized_keys"), 0o755); err != nil {
				t.Fatal(err)
			}
			p := m.probe(t, shell...)
			count := map[string]int{}
			for _, k := range p.Keys.Value {
				if !strings.Contains(k.Problem, m.root) && strings.Contains(k.Problem, "is writable by everybody") {
					k.Problem = "" // the temporary folder is, and sshd minds
				}
				count[k.User+" "+strings.TrimPrefix(k.File, m.root)+" "+k.Comment+" "+strings.ReplaceAll(k.Problem, m.root, "")]++
			}
			open := fmt.Sprintf("/home/ann/ann-%d.keys", os.Geteuid())
			want := map[string]int{
				"ann /home/ann/.ssh/authorized_keys ann ":                                            count["ann /home/ann/.ssh/authorized_keys ann "],
				"ann " + open + " open sshd refuses the file: " + open + " is writable by everybody": 1,
				"ann /shared shared ":                       1,
				"ben /shared shared ":                       1,
				"ben /home/ben/ben-77.keys |end keys[2J ":   1,
				"ben /home/ben/ben-77.keys  not a key line": 2,
				"root /shared shared ":                      1,
			}
			if os.Geteuid() == 0 {
				// What belongs to root suits every user; so does the temporary folder.
				if diff := cmp.Diff(want, count); diff != "" {
					t.Error(diff)
				}
			}
			if n := count["ann /home/ann/.ssh/authorized_keys ann "]; n < 10_000 || n > 14_000 {
				t.Errorf("%d keys of the first megabyte", n)
			}
			if p.Keys.Known || !strings.Contains(p.Keys.Reason, "2 key files could not be read") {
				t.Errorf("keys known=%v: %s", p.Keys.Known, p.Keys.Reason)
			}
			gaps := fmt.Sprint(p.Gaps)
			for _, want := range []string{"missing-ca: not there", "authorized_keys: too large", "authorized_keys: not a regular file", "1 lines of passwd"} {
				if !strings.Contains(gaps, want) {
					t.Errorf("no gap says %q: %s", want, gaps)
				}
			}
		})
	}
}
