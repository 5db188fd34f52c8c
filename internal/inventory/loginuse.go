package inventory

import (
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// connections tells what logins were used for, from the lines that follow them.
// It does on raw lines what the probe's awk program does on the host.
type connections struct {
	logins []*fleet.Login
	byPeer map[string]*fleet.Login // "192.0.2.1 50123": address and port
	byUser map[string]*fleet.Login // the newest
	opened map[int]*fleet.Login    // by the process that logged it
}

// logEntry is a log line taken apart.
type logEntry struct {
	stamp, program, message string
	pid                     int
}

// parseEntry reads "STAMP HOST PROGRAM[PID]: MESSAGE".
func parseEntry(line string) (logEntry, bool) {
	stamp, rest, ok := cutStamp(line)
	if !ok {
		return logEntry{}, false
	}
	_, rest = word(rest) // host name
	tag, message := word(rest)
	name, ok := strings.CutSuffix(tag, ":")
	if !ok {
		return logEntry{}, false
	}
	e := logEntry{stamp: stamp, program: name, message: message}
	if i := strings.IndexByte(name, '['); i >= 0 && strings.HasSuffix(name, "]") {
		e.program = name[:i]
		e.pid, _ = strconv.Atoi(name[i+1 : len(name)-1])
	}
	return e, true
}

// follow takes a line; l is the login that it reports, nil for another line.
func (c *connections) follow(line string, l *fleet.Login) {
	e, ok := parseEntry(line)
	if !ok {
		return
	}
	if l != nil {
		if c.byPeer == nil {
			c.byPeer, c.byUser, c.opened = map[string]*fleet.Login{}, map[string]*fleet.Login{}, map[int]*fleet.Login{}
		}
		c.logins = append(c.logins, l)
		c.byUser[l.User], c.opened[e.pid] = l, l
		if peer := peerIn(e.message); peer != "" {
			c.byPeer[peer] = l
		}
		return
	}
	daemon := e.pid > 0 && (e.program == "sshd" || e.program == "sshd-session" || e.program == "sshd-auth")
	switch {
	case daemon && strings.HasPrefix(e.message, "Starting session: "):
		mark(c.byPeer[peerIn(e.message)], startedUse(strings.TrimPrefix(e.message, "Starting session: ")))
	case daemon && strings.HasPrefix(e.message, "subsystem request for sftp by user "):
		user, _ := word(strings.TrimPrefix(e.message, "subsystem request for sftp by user "))
		mark(c.byUser[user], fleet.UseSFTP)
	case (e.program == "sftp-server" || e.program == "internal-sftp") && strings.HasPrefix(e.message, "session opened for local user "):
		user, _ := word(strings.TrimPrefix(e.message, "session opened for local user "))
		mark(c.byUser[user], fleet.UseSFTP)
	case e.program == "sudo" && strings.Contains(e.message, "BECOME-SUCCESS-"):
		user, _ := word(e.message)
		if l := c.byUser[user]; l != nil {
			l.Use = fleet.UseAnsible // what it runs by itself looks like a command
		}
	}
}

func mark(l *fleet.Login, use fleet.Use) {
	if l != nil && l.Use == "" {
		l.Use = use
	}
}

// peerIn gives the address and port at the end of a message of sshd's: "... from
// 192.0.2.1 port 50123 ...". What goes before may be foreign text.
func peerIn(message string) string {
	w := strings.Fields(message)
	for i := len(w) - 2; i > 0; i-- {
		if w[i] == "port" {
			return w[i-1] + " " + w[i+1]
		}
	}
	return ""
}

// startedUse reads what sshd logs at LogLevel VERBOSE (session.c, do_exec):
// "shell on pts/0 for ...", "command for ...", "subsystem 'sftp' for ...",
// "forced-command (key-option) 'rsync --server ...' for ...".
func startedUse(s string) fleet.Use {
	kind, rest := word(s)
	switch kind {
	case "shell":
		return fleet.UseShell
	case "subsystem":
		if name, _ := word(rest); strings.Contains(name, "sftp") {
			return fleet.UseSFTP
		}
	case "forced-command":
		switch {
		case strings.Contains(rest, "sftp"):
			return fleet.UseSFTP
		case strings.Contains(rest, "rsync"):
			return fleet.UseRsync
		case strings.Contains(rest, "git-"), strings.Contains(rest, "gitolite"), strings.Contains(rest, "gitlab-shell"):
			return fleet.UseGit
		case strings.Contains(rest, "scp "):
			return fleet.UseSCP
		}
	}
	return fleet.UseCommand
}

// useNamed gives the use that the host's awk program names.
func useNamed(s string) fleet.Use {
	switch u := fleet.Use(s); u {
	case fleet.UseShell, fleet.UseCommand, fleet.UseSCP, fleet.UseSFTP, fleet.UseRsync, fleet.UseAnsible, fleet.UseGit:
		return u
	}
	return ""
}
