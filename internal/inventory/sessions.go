package inventory

import (
	"net/netip"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

func (p *parser) sessions() {
	s, ok := p.frame["sessions"]
	if !ok {
		p.probe.Sessions = fleet.Unknown[[]fleet.Session](sourceSessions, p.at, p.missing)
		return
	}
	if _, blind := s.first("blind"); blind {
		p.probe.Sessions = fleet.Unknown[[]fleet.Session](sourceSessions, p.at, "the processes of other users are hidden from the login user")
		return
	}
	r, _ := s.first("peers")
	peers := peersByPID(r.lines)
	below := processesBelow(s)
	sessions := []fleet.Session{}
	for _, r := range s.all("session") {
		pid, err1 := strconv.Atoi(r.field(0))
		monitor, err2 := strconv.Atoi(r.field(1))
		if err1 != nil || err2 != nil {
			continue
		}
		title := r.field(2)
		if strings.HasSuffix(title, internalSFTP) {
			continue // a process of another session's, which counts it
		}
		user, tty := splitTitle(title)
		b := below[pid]
		one := fleet.Session{User: user, TTY: tty, PID: pid, From: peers[pid], AgentForwarding: b.agent}
		one.Use = b.use(tty, user == title)
		for _, logger := range []int{monitor, pid} { // a session of root's has no monitor
			if l, ok := p.openers[logger]; ok && l.User == user && samePeer(l.From, one.From) {
				one.Fingerprint = l.Fingerprint
			}
		}
		sessions = append(sessions, one)
	}
	p.probe.Sessions = fleet.Known(sessions, sourceSessions, p.at)
}

// internalSFTP ends the title of the process that serves SFTP within sshd
// (session.c, do_child). Its parent is the session's own process.
const internalSFTP = "@internal-sftp"

// processes is what runs below one session.
type processes struct {
	names   []string
	ansible bool
	agent   bool
}

func processesBelow(s section) map[int]processes {
	below := map[int]processes{}
	change := func(pid string, f func(*processes)) {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return
		}
		b := below[n]
		f(&b)
		below[n] = b
	}
	for _, r := range s.all("child") {
		change(r.field(0), func(b *processes) {
			b.names = append(b.names, r.field(2))
			b.ansible = b.ansible || strings.Contains(r.field(1), "ansible")
			b.agent = b.agent || strings.Contains(r.field(1), "agent")
		})
	}
	for _, r := range s.all("agent") {
		change(r.field(0), func(b *processes) { b.agent = true })
	}
	for _, r := range s.all("session") {
		if strings.HasSuffix(r.field(2), internalSFTP) {
			change(r.field(1), func(b *processes) { b.names = append(b.names, "sftp-server") })
		}
	}
	return below
}

// use tells what a session is used for. Names of processes are cut to 15 bytes
// by the kernel. bare is a connection without a session: its title is the user alone.
func (b processes) use(tty string, bare bool) fleet.Use {
	if b.ansible {
		return fleet.UseAnsible
	}
	if tty == "" {
		for _, name := range b.names {
			switch {
			case name == "sftp-server" || name == "internal-sftp":
				return fleet.UseSFTP
			case name == "rsync":
				return fleet.UseRsync
			case name == "scp":
				return fleet.UseSCP
			case strings.HasPrefix(name, "git"):
				return fleet.UseGit
			}
		}
	}
	switch {
	case tty != "":
		return fleet.UseShell
	case len(b.names) > 0:
		return fleet.UseCommand
	case bare:
		return fleet.UseTunnel
	}
	return ""
}

// samePeer reports whether a log's address and a socket's may be the same.
func samePeer(logged netip.Addr, peer string) bool {
	if peer == "" || !logged.IsValid() {
		return true
	}
	at, err := netip.ParseAddrPort(peer)
	return err == nil && at.Addr().Unmap().WithZone("") == logged
}

// splitTitle reads an sshd process title: "user@pts/0", "user@notty", or "user"
// alone for a connection without a session, such as a tunnel. User names may
// hold an @ themselves.
func splitTitle(s string) (user, tty string) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return s, ""
	}
	switch t := s[i+1:]; {
	case t == "notty":
		return s[:i], ""
	case strings.HasPrefix(t, "pts/"), strings.HasPrefix(t, "tty"):
		return s[:i], t
	}
	return s, ""
}

// peersByPID reads lines of "ss -Htnp" to the peer of each process.
func peersByPID(lines []string) map[int]string {
	peers := map[int]string{}
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 6 {
			continue
		}
		for _, part := range strings.Split(f[5], "pid=")[1:] {
			digits, _, _ := strings.Cut(part, ",")
			if pid, err := strconv.Atoi(digits); err == nil {
				peers[pid] = clean(f[4])
			}
		}
	}
	return peers
}
