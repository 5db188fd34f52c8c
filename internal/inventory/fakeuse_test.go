package inventory_test

import (
	"fmt"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestUseOfSessions looks at what runs below the sessions, and at the log lines
// of the processes that let them in.
func TestUseOfSessions(t *testing.T) {
	inEveryShell(t, func(m machine) {
		process := func(pid, ppid int, comm, title, environ string) {
			dir := fmt.Sprintf("proc/%d/", pid)
			m.file(t, dir+"comm", comm+"\n", 0o644)
			m.file(t, dir+"cmdline", title+"\x00", 0o644)
			m.file(t, dir+"environ", environ, 0o600)
			m.file(t, dir+"stat", fmt.Sprintf("%d (%s) S %d 1 1\n", pid, comm, ppid), 0o644)
		}
		process(1, 0, "systemd", "/sbin/init", "")
		process(50, 1, "sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "")
		for i, s := range []struct{ tty, comm, args, environ string }{
			{"@pts/0", "bash", "-bash", "LANG=C\x00SSH_AUTH_SOCK=@/tmp/ssh-XXXXabcdef/agent.171\x00HOME=/root\x00"},
			{"@notty", "sftp-server", "/usr/lib/openssh/sftp-server", "SSH_AUTH_SOCK=/run/user/0/keyring\x00"},
			{"@notty", "rsync", "rsync --server --sender -logDtpre.iLsfxC . /srv", ""},
			{"@notty", "scp", "scp -t /tmp", ""},
			{"@notty", "git-upload-pack", "git-upload-pack app.git", ""},
			{"@notty", "sh", "/bin/sh -c python3 /home/a/.ansible/tmp/ansible-tmp-1/AnsiballZ_setup.py", ""},
			{"@notty", "mysqldump", "mysqldump --password=secret", ""},
			{"", "", "", ""},
			{"@internal-sftp", "", "", ""},
		} {
			pid, user := 100+10*i, "user"
			process(pid, 50, "sshd", "sshd: "+user+" [priv]", "")
			process(pid+1, pid, "sshd", "sshd: "+user+s.tty, "")
			if s.comm != "" {
				process(pid+2, pid+1, s.comm, s.args, strings.ReplaceAll(s.environ, "@", m.root))
			}
		}
		// The last one belongs to the session of process 171.
		process(181, 171, "sshd", "sshd: user@internal-sftp", "")
		m.file(t, "proc/self/stat", "99 (sh) S 1 1 1\n", 0o644)
		m.program(t, "ss", `echo 'ESTAB 0 0 10.0.0.5:22 192.0.2.8:5555 users:(("sshd",pid=101,fd=4),("sshd",pid=100,fd=4))'`)
		m.file(t, "var/log/auth.log", "Nov 21 09:00:00 h sshd[100]: Accepted publickey for user from 192.0.2.8 port 5555 ssh2: ED25519 "+fingerprint+
			"\nNov 21 09:00:01 h sshd[110]: Accepted publickey for somebody from 192.0.2.8 port 5556 ssh2: ED25519 SHA256:other\n", 0o640)
	}, func(t *testing.T, _ machine, p fleet.Probe) {
		want := []fleet.Session{
			{User: "user", TTY: "pts/0", PID: 101, From: "192.0.2.8:5555", Use: fleet.UseShell, Fingerprint: fingerprint, AgentForwarding: true},
			{User: "user", PID: 111, Use: fleet.UseSFTP},
			{User: "user", PID: 121, Use: fleet.UseRsync},
			{User: "user", PID: 131, Use: fleet.UseSCP},
			{User: "user", PID: 141, Use: fleet.UseGit},
			{User: "user", PID: 151, Use: fleet.UseAnsible},
			{User: "user", PID: 161, Use: fleet.UseCommand},
			{User: "user", PID: 171, Use: fleet.UseSFTP},
		}
		if diff := cmp.Diff(want, p.Sessions.Value, cmpopts.SortSlices(func(a, b fleet.Session) bool { return a.PID < b.PID })); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "secret") {
			t.Error("a command's password is in the probe")
		}
	})
}

// TestUseOfLogins has the lines that OpenSSH writes at LogLevel VERBOSE
// (session.c, do_exec), sftp-server at INFO, and sudo for Ansible's become.
func TestUseOfLogins(t *testing.T) {
	accepted := func(pid int, user string, port int) string {
		return fmt.Sprintf("Nov 21 09:00:%02d h sshd[%d]: Accepted publickey for %s from 192.0.2.8 port %d ssh2: ED25519 %s\n", pid%60, pid, user, port, fingerprint)
	}
	started := func(pid int, what string, port int) string {
		return fmt.Sprintf("Nov 21 09:01:00 h sshd[%d]: Starting session: %s for u from 192.0.2.8 port %d id 0\n", pid, what, port)
	}
	log := accepted(1, "shell", 1001) + accepted(2, "command", 1002) + accepted(3, "sftp", 1003) +
		started(31, "subsystem 'sftp'", 1003) + started(11, "shell on pts/0", 1001) + started(21, "command", 1002) +
		accepted(4, "rsync", 1004) + started(41, "forced-command (key-option) 'rsync --server from 192.0.2.8 port 1001'", 1004) +
		accepted(5, "git", 1005) + started(51, "forced-command (config) '/usr/bin/git-shell'", 1005) +
		accepted(6, "ansible", 1006) + started(61, "command", 1006) +
		"Nov 21 09:02:00 h sudo:  ansible : TTY=pts/1 ; PWD=/home/ansible ; USER=root ; COMMAND=/bin/sh -c echo BECOME-SUCCESS-abc ; PASS=secret python3\n" +
		accepted(7, "copier", 1007) + "Nov 21 09:02:00 h sftp-server[71]: session opened for local user copier from [192.0.2.8]\n" +
		accepted(8, "older", 1008) + "Nov 21 09:02:00 h sshd[81]: subsystem request for sftp by user older\n" +
		accepted(9, "quiet", 1009) +
		"Nov 21 09:02:00 h evil[91]: Starting session: shell on pts/0 for u from 192.0.2.8 port 1009 id 0\n" +
		"Nov 21 09:02:00 h sshd[92]: Starting session: shell on pts/0 for u from 192.0.2.8 port 9999 id 0\n" +
		accepted(10, "shell", 1010) + started(101, "command", 1010)
	want := map[string]int{"shell shell": 1, "shell command": 1, "command command": 1, "sftp sftp": 1, "rsync rsync": 1, "git git": 1, "ansible ansible": 1, "copier sftp": 1, "older sftp": 1, "quiet ": 1}
	for _, awk := range []string{"mawk", "busybox", ""} {
		t.Run("awk="+awk, func(t *testing.T) {
			inEveryShell(t, func(m machine) {
				if awk != "" {
					m.program(t, "awk", "exec "+program(t, awk, awk)+map[string]string{"mawk": "", "busybox": " awk"}[awk]+` "$@"`)
				}
				m.file(t, "var/log/auth.log", log, 0o640)
			}, func(t *testing.T, _ machine, p fleet.Probe) {
				got := map[string]int{}
				for _, l := range p.Logins.Value.Logins {
					got[l.User+" "+string(l.Use)] += l.Count
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if strings.Contains(fmt.Sprintf("%+v", p), "secret") {
					t.Error("a command that sudo logged is in the probe")
				}
			})
		})
	}
}
