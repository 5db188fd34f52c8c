package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Sources of the facts that a probe gives.
const (
	sourceUsers     = "probe: getent passwd"
	sourceKeys      = "probe: key files"
	sourceAgent     = "probe: amazon-ssm-agent -version, systemctl show"
	sourceEndpoints = "probe: connection test"
	sourceSessions  = "probe: /proc"
	sourceSSHD      = "probe: sshd -T"
	sourceLogins    = "probe: SSH log"
	sourceHealth    = "probe: df, /proc, date"
	sourceMetadata  = "probe: instance metadata"
	sourceCloudInit = "probe: cloud-init's files"
	sourceTraces    = "probe: files"
)

// maxGaps bounds what one host may say of what could not be read.
const maxGaps = 200

// Parse reads the output of a Script. It takes nothing on trust: whatever the
// host printed, Parse returns, in memory proportional to the output, and no
// string in the result holds control characters. Facts of which the output does
// not give a whole account are unknown, with the reason. The error is for output
// that does not come from a Script at all. at is when the output was received.
func Parse(out fleet.ProbeOutput, at time.Time) (fleet.Probe, error) {
	f, ok := unframe(out.Stdout)
	if !ok {
		return fleet.Probe{}, noProbe(out)
	}
	p := &parser{frame: f, at: at, missing: "the probe broke off before it came to this"}
	if out.Truncated || len(out.Stdout) > maxOutput {
		p.missing = "the host printed more than is read of it"
	}
	p.probe.LoginUser = clean(out.User)
	for _, v := range out.Via {
		p.probe.Via = append(p.probe.Via, clean(v))
	}
	p.system(out.Stderr)
	p.sshd()
	p.users()
	p.keys()
	p.agent()
	p.endpoints()
	p.logins()
	p.sessions()
	p.health()
	p.metadata()
	p.cloudInit()
	p.traces()
	return p.probe, nil
}

// noProbe says what came in place of a probe's output.
func noProbe(out fleet.ProbeOutput) error {
	for _, b := range [][]byte{out.Stderr, out.Stdout} {
		if words := clean(strings.TrimSpace(string(b[:min(len(b), 300)]))); words != "" {
			return fmt.Errorf("the host ran something other than the probe, which said %q", words)
		}
	}
	return fmt.Errorf("the host printed nothing: a forced command, or no POSIX shell")
}

// parser holds what one call of Parse works on.
type parser struct {
	frame   frame
	at      time.Time
	missing string // why sections are missing, if they are
	probe   fleet.Probe
	debian  bool                // Debian's OpenSSH lets a user's own group write key files
	perUser map[string]string   // user to variant, from Match blocks
	byVar   map[string][]string // variant to users
	openers map[int]fleet.Login // login by the process that logged it, for sessions that are open
}

func (p *parser) gap(what, reason string) {
	switch n := len(p.probe.Gaps); {
	case n < maxGaps:
		p.probe.Gaps = append(p.probe.Gaps, fleet.Gap{What: what, Reason: reason})
	case n == maxGaps:
		p.probe.Gaps = append(p.probe.Gaps, fleet.Gap{What: "more", Reason: "only the first 200 gaps are kept"})
	}
}

func (p *parser) system(stderr []byte) {
	s := p.frame["system"]
	if uid, ok := s.first("uid"); ok {
		p.probe.Root = uid.field(0) == "0"
	}
	if !p.probe.Root {
		p.gap("root", sudoWords(stderr))
	}
	if t, ok := s.first("time"); ok {
		p.probe.HostTime = hostTime(t.field(0), t.field(1))
	}
	if u, ok := s.first("uname"); ok {
		w := strings.Fields(u.field(0)) // of uname -snrm
		if len(w) == 4 {
			p.probe.Hostname, p.probe.OS.Kernel, p.probe.OS.Arch = w[1], w[2], w[3]
		}
	}
	release, _ := s.first("os")
	for _, l := range release.lines {
		name, value, _ := strings.Cut(l, "=")
		value = clean(unquoteRelease(strings.TrimSpace(value)))
		switch name {
		case "ID":
			p.probe.OS.ID = value
			p.debian = p.debian || value == "debian"
		case "ID_LIKE":
			p.debian = p.debian || strings.Contains(" "+value+" ", " debian ")
		case "VERSION_ID":
			p.probe.OS.Version = value
		case "PRETTY_NAME":
			p.probe.OS.Name = value
		}
	}
}

// sudoWords gives sudo's reason for not running the script.
func sudoWords(stderr []byte) string {
	for line := range strings.Lines(string(stderr[:min(len(stderr), maxText)])) {
		if strings.Contains(line, "sudo") {
			return clean(strings.TrimSpace(line))
		}
	}
	return "the login user is not root, and sudo -n does not run commands"
}

// unquoteRelease undoes the shell quoting of an os-release value.
func unquoteRelease(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// hostTime reads seconds since 1970 and an offset such as +0130.
func hostTime(epoch, zone string) time.Time {
	n, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}
	}
	loc := time.UTC
	if z, err := time.Parse("-0700", zone); err == nil {
		if _, offset := z.Zone(); offset != 0 {
			loc = time.FixedZone("", offset)
		}
	}
	t, _ := sane(time.Unix(n, 0).In(loc))
	return t
}

func (p *parser) users() {
	s, ok := p.frame["users"]
	if !ok {
		p.probe.Users = fleet.Unknown[[]fleet.User](sourceUsers, p.at, p.missing)
		return
	}
	source := sourceUsers
	r, _ := s.first("source")
	if name := r.field(0); name != "" {
		source = "probe: " + name
	}
	users, bad := []fleet.User{}, 0
	for _, l := range r.lines {
		u, ok := parseUser(l)
		if !ok {
			bad++
			continue
		}
		users = append(users, u)
	}
	if bad > 0 {
		p.gap("users", fmt.Sprintf("%d lines of passwd are not understood", bad))
	}
	if code, ok := s.first("exit"); ok {
		p.gap("users", "getent passwd ended with code "+code.field(0))
	}
	if dir, ok := s.first("directory"); ok {
		p.gap("users", "users of the directory ("+dir.field(0)+") are seen only as far as getent lists them")
	}
	if len(users) == 0 {
		p.probe.Users = fleet.Unknown[[]fleet.User](source, p.at, "the host lists no users")
		return
	}
	p.probe.Users = fleet.Known(users, source, p.at)
}

// parseUser reads a line of passwd(5).
func parseUser(line string) (fleet.User, bool) {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" {
		return fleet.User{}, false
	}
	uid, err1 := strconv.ParseInt(f[2], 10, 64)
	gid, err2 := strconv.ParseInt(f[3], 10, 64)
	if err1 != nil || err2 != nil {
		return fleet.User{}, false
	}
	return fleet.User{Name: clean(f[0]), UID: uid, GID: gid, Home: clean(f[5]), Shell: clean(f[6])}, true
}
