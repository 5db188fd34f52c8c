package inventory

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// ParseLogLine reads one line of an SSH log in the traditional syslog format,
// syslog's RFC 3339 format, or journalctl's short-unix format. It is false for
// anything but an accepted login that sshd itself reports. hostTime, the host's
// clock when the line was read, gives the year and zone that the traditional
// format leaves out.
func ParseLogLine(line string, hostTime time.Time) (fleet.Login, bool) {
	stamp, rest, ok := cutStamp(line)
	if !ok {
		return fleet.Login{}, false
	}
	_, rest = word(rest) // host name
	tag, message := word(rest)
	accepted, ok := strings.CutPrefix(message, "Accepted ")
	if !ok || !sshdTag(tag) {
		return fleet.Login{}, false
	}
	l, ok := parseAccepted(accepted)
	if !ok {
		return fleet.Login{}, false
	}
	at, _ := parseStamp(stamp, hostTime)
	l.Count, l.First, l.Last = 1, at, at
	return l, true
}

// sshdTag reports whether a syslog tag is that of an OpenSSH server process:
// "sshd[123]:", and from 9.8 on "sshd-session[123]:".
func sshdTag(tag string) bool {
	rest, ok := strings.CutPrefix(tag, "sshd")
	if !ok {
		return false
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "-session"), "-auth")
	if !strings.HasPrefix(rest, "[") || !strings.HasSuffix(rest, "]:") || len(rest) < 4 {
		return false
	}
	_, err := strconv.ParseUint(rest[1:len(rest)-2], 10, 32)
	return err == nil
}

// cutStamp cuts the time off the front of a log line.
func cutStamp(line string) (stamp, rest string, ok bool) {
	first, rest := word(line)
	if first == "" {
		return "", "", false
	}
	if first[0] >= '0' && first[0] <= '9' {
		return first, rest, true
	}
	day, rest := word(rest)
	clock, rest := word(rest)
	return first + " " + day + " " + clock, rest, clock != ""
}

// parseStamp reads a time in any of the three formats.
func parseStamp(s string, hostTime time.Time) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return sane(t)
	}
	if sec, frac, _ := strings.Cut(s, "."); sec != "" && sec[0] >= '0' && sec[0] <= '9' {
		n, err := strconv.ParseInt(sec, 10, 64)
		if err != nil {
			return time.Time{}, false
		}
		nano, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		return sane(time.Unix(n, nano).UTC())
	}
	// A leap year, so that 29 February parses.
	t, err := time.Parse("2006 Jan 2 15:04:05", "2000 "+s)
	if err != nil {
		return time.Time{}, false
	}
	year := hostTime.Year()
	at := func() time.Time {
		return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, hostTime.Location())
	}
	// Lines are older than the clock, but for a clock that was set back a little.
	if at().After(hostTime.Add(24 * time.Hour)) {
		year--
	}
	return sane(at())
}

// sane refuses times that no database or report could hold.
func sane(t time.Time) (time.Time, bool) {
	if y := t.Year(); y < 1970 || y > 9999 {
		return time.Time{}, false
	}
	return t, true
}

// parseAccepted reads what sshd logs after "Accepted ":
//
//	publickey for USER from IP port N ssh2: ED25519 SHA256:...
//	publickey for USER from IP port N ssh2: ED25519-CERT SHA256:... ID NAME (serial N) CA RSA SHA256:...
//	password for USER from IP port N ssh2
func parseAccepted(s string) (fleet.Login, bool) {
	method, rest, ok := strings.Cut(s, " for ")
	if !ok || method == "" || strings.ContainsAny(method, " \t") {
		return fleet.Login{}, false
	}
	user, rest, ok := strings.Cut(rest, " from ")
	if !ok || user == "" {
		return fleet.Login{}, false
	}
	l := fleet.Login{User: clean(user), Method: clean(method)}
	from, rest := word(rest)
	if a, err := netip.ParseAddr(from); err == nil {
		l.From = a.Unmap().WithZone("")
	}
	if _, key, ok := strings.Cut(rest, "ssh2: "); ok {
		l.KeyType, key = word(key)
		l.KeyType = clean(l.KeyType)
		l.Fingerprint, key = word(key)
		l.Fingerprint = clean(l.Fingerprint)
		l.CertID, l.CA = certDetails(key)
	}
	return l, true
}

// certDetails reads "ID NAME (serial N) CA TYPE SHA256:...". The name may hold
// anything, blanks and parentheses included, so it ends at the last serial.
func certDetails(s string) (id, ca string) {
	s, ok := strings.CutPrefix(s, "ID ")
	if !ok {
		return "", ""
	}
	i := strings.LastIndex(s, " (serial ")
	if i < 0 {
		return "", ""
	}
	if _, after, ok := strings.Cut(s[i:], ") CA "); ok {
		_, ca = word(after)
		ca, _ = word(ca)
	}
	return clean(s[:i]), clean(ca)
}
