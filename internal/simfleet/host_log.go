package simfleet

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// logLine is one message of the machine's log.
type logLine struct {
	at    time.Time // host clock
	ident string
	pid   int
	text  string
}

// logRetention is how far back an idle machine's log reaches.
const logRetention = 28 * 24 * time.Hour

// logStart is when the oldest message that is still there was written.
func (m *machine) logStart() time.Time {
	start := m.clock().Add(-logRetention).Truncate(time.Hour)
	if len(m.Logins) > 0 {
		if first := m.Logins[0].At.Add(m.Skew - time.Minute); first.Before(start) {
			return first
		}
	}
	if up := m.Host.LaunchTime.Add(m.Skew + time.Minute); up.After(start) && up.Before(m.clock()) {
		return up
	}
	return start
}

// rotated is when the log was rotated last: the past Sunday at midnight, host clock.
func (m *machine) rotated() time.Time {
	now := m.clock()
	day := now.Truncate(24 * time.Hour)
	return day.AddDate(0, 0, -int(day.Weekday()))
}

// rotatedLog names the file that holds what was written before the last
// rotation: Red Hat's logrotate puts the date in the name, Debian's a number.
func (m *machine) rotatedLog(cut time.Time) string {
	switch {
	case m.rpmBased():
		return m.OS.AuthLog + "-" + cut.Format("20060102")
	case m.OS.Family == "alpine":
		return m.OS.AuthLog + ".0"
	}
	return m.OS.AuthLog + ".1"
}

// logLines are the messages of sshd and sudo, oldest first: sshd's start, each
// accepted login and what followed it, and as a last sign of life a failed
// attempt, which logs are full of.
func (m *machine) logLines() []logLine {
	ident := m.loginProcess()
	conf, err := m.sshdEffective(root, m.sshdArguments()[1:], nil)
	if err != nil {
		conf = sshdConfig{}
	}
	out := []logLine{{m.logStart(), "sshd", m.listenerPID(), "Server listening on 0.0.0.0 port 22."}}
	for _, l := range m.Logins {
		out = append(out, m.loginLines(l, conf)...)
	}
	if last := m.clock().Truncate(time.Hour); last.After(out[0].at) {
		out = append(out, logLine{last, ident, 4711, "Connection closed by 203.0.113.99 port 41022 [preauth]"})
	}
	slices.SortStableFunc(out, func(a, b logLine) int { return a.at.Compare(b.at) })
	return out
}

// loginPID gives a past login's process a number that stays the same.
func loginPID(l Login) int {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, l.At.UnixNano(), l.User, l.Port)
	return 1000 + int(h.Sum32()%30000)
}

// stampRFC3339 reports whether the distribution's syslog daemon writes RFC 3339
// time stamps: Debian since 12, Ubuntu since 24.04 (release notes of both).
func (m *machine) stampRFC3339() bool {
	return m.OS.Family == "debian" && m.release() >= 1200 || m.OS.Family == "ubuntu" && m.release() >= 2404
}

// logText is the text log from from (inclusive) to to (exclusive); a zero time is open.
func (m *machine) logText(from, to time.Time) []byte {
	var b strings.Builder
	for _, l := range m.logLines() {
		if l.at.Before(from) || !to.IsZero() && !l.at.Before(to) {
			continue
		}
		stamp := l.at.Format(time.Stamp)
		if m.stampRFC3339() {
			stamp = l.at.Format("2006-01-02T15:04:05.000000-07:00")
		}
		priority := ""
		if m.OS.Family == "alpine" {
			priority = "auth.info "
		}
		tag := fmt.Sprintf("%s[%d]", l.ident, l.pid)
		if l.ident == "sudo" {
			tag = l.ident // sudo gives syslog no process ID
		}
		fmt.Fprintf(&b, "%s %s %s%s: %s\n", stamp, m.shortHostname(), priority, tag, l.text)
	}
	return []byte(b.String())
}

func (m *machine) shortHostname() string {
	name, _, _ := strings.Cut(m.Hostname, ".")
	return name
}
