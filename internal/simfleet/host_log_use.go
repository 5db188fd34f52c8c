package simfleet

import (
	"fmt"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// loginLines are the messages of one login as sshd's log level has them: what
// an SSH connection is used for shows at INFO only through sudo, at VERBOSE for
// every session (OpenSSH 9.2 source, session.c).
func (m *machine) loginLines(l Login, pid int, conf sshdConfig) []logLine {
	var out []logLine
	at := l.At.UTC().Add(m.Skew)
	add := func(after time.Duration, ident, format string, args ...any) {
		out = append(out, logLine{at.Add(after), ident, pid, fmt.Sprintf(format, args...)})
	}
	accepted := fmt.Sprintf("Accepted %s for %s from %s port %d ssh2", l.Method, l.User, l.From, l.Port)
	if l.Key != "" {
		accepted += ": " + l.Key
	}
	add(0, m.loginProcess(), "%s", accepted)
	if l.Use == "" {
		return out
	}
	if conf.first("usepam") == "yes" {
		add(10*time.Millisecond, m.loginProcess(), "pam_unix(sshd:session): session opened for user %s by (uid=0)", l.User)
	}
	if level := conf.first("loglevel"); level == "verbose" || strings.HasPrefix(level, "debug") {
		if what := startedSession(l.Use); what != "" {
			add(120*time.Millisecond, m.loginProcess(), "Starting session: %s for %s from %s port %d id 0", what, l.User, l.From, l.Port)
		}
	}
	if l.Use == fleet.UseAnsible && m.maySudo(l.User) {
		home := "/home/" + l.User
		add(900*time.Millisecond, "sudo", "%8s : TTY=pts/0 ; PWD=%s ; USER=root ; COMMAND=/bin/sh -c 'echo BECOME-SUCCESS-%s ; /usr/bin/python3 %s/.ansible/tmp/ansible-tmp-%d.%d-%d-%d/AnsiballZ_setup.py'",
			l.User, home, becomeWord(pid), home, l.At.Unix(), pid, pid, pid*7)
	}
	return out
}

// servingPIDs gives, for the logins whose sessions are still open, the process
// that logged them and serves them still.
func (m *machine) servingPIDs() map[int]int {
	out := map[int]int{}
	monitors := m.monitors()
	for i, s := range m.Sessions {
		if s.Key == "" {
			continue
		}
		for j := len(m.Logins) - 1; j >= 0; j-- {
			l := m.Logins[j]
			if _, taken := out[j]; !taken && l.User == s.User && l.Key == s.Key && l.From == s.From {
				out[j] = monitors[i]
				break
			}
		}
	}
	return out
}

// startedSession is what sshd says at VERBOSE that it starts; empty for a
// tunnel, which starts nothing.
func startedSession(use fleet.Use) string {
	switch use {
	case fleet.UseShell:
		return "shell on pts/0"
	case fleet.UseSFTP:
		return "subsystem 'sftp'"
	case fleet.UseTunnel:
		return ""
	}
	return "command"
}

// becomeWord is the random word, lower-case letters, that Ansible waits for.
func becomeWord(seed int) string {
	word := make([]byte, 32)
	for i := range word {
		seed = (seed*1103515245 + 12345) & 0x7fffffff
		word[i] = byte('a' + seed>>8%26)
	}
	return string(word)
}
