package inventory

import (
	"embed"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Command is the remote command line that runs a Script given on its standard
// input. It works in any login shell, csh and fish included: one quoted word
// without backslash, newline or exclamation mark.
//
// It runs the script as root where it can without a password. sudo runs the
// script itself rather than a test command first, which costs the host one sudo
// less; sudo's own failures end with 1, a missing sudo with 127, and the
// script with neither. A refused sudo leaves standard input unread.
const Command = `exec sh -c 'c=$SSH_CONNECTION; u=; ` +
	`while read -r k x u y; do [ "$k" = Uid: ] && break; done 2>/dev/null </proc/self/status; ` +
	`[ -n "$u" ] || u=$(id -u); ` +
	`[ "$u" = 0 ] && exec sh -s "$c"; ` +
	`sudo -n sh -s "$c"; ` +
	`case $? in 1|126|127) exec sh -s "$c";; esac'`

// Limits of the probe script: what a host may print at most.
const (
	maxKeyFile      = 1 << 20   // bytes read of one key file
	maxKeyFiles     = 2 << 20   // bytes read of all key files
	maxFiles        = 500       // key files
	maxMatchUsers   = 200       // users asked about when there are Match blocks
	maxLog          = 64 << 20  // bytes of logs read, newest first
	maxPlainLog     = 256 << 10 // the same, where there is no awk
	maxJournalLines = 50_000    // lines of the journal read, newest first
	maxLoginGroups  = 5_000     // groups of alike logins
)

//go:embed probe*.sh
var probeParts embed.FS

// probeScript is all parts. The one that calls the others comes last: only a
// script that arrived whole runs.
var probeScript = func() string {
	var b strings.Builder
	for _, name := range []string{"sshd", "keys", "sessions", "agent", "logins", "health", "traces", "network"} {
		b.WriteString(strip(part("probe_" + name + ".sh")))
	}
	b.WriteString(strip(part("probe.sh")))
	return b.String()
}()

func part(name string) string {
	text, err := probeParts.ReadFile(name)
	if err != nil {
		panic(err) // embedded: only a renamed file
	}
	return string(text)
}

// Script gives the probe script for a host, to be fed to Command on standard
// input. It tests the endpoints of the host's Region.
func Script(h fleet.Host) string {
	var b strings.Builder
	b.Grow(len(probeScript) + 256)
	suffix := ""
	if h.Region != "" {
		suffix = fleet.DNSSuffix(h.Region)
	}
	fmt.Fprintf(&b, "REGION=%s\nSUFFIX=%s\nDUAL_SUFFIX=%s\n", quote(h.Region), quote(suffix), quote(fleet.DualStackSuffix(h.Region)))
	fmt.Fprintf(&b, "MAX_FILE=%d\nMAX_TOTAL=%d\nMAX_FILES=%d\nMAX_MATCH_USERS=%d\n", maxKeyFile, maxKeyFiles, maxFiles, maxMatchUsers)
	fmt.Fprintf(&b, "MAX_LOG=%d\nMAX_PLAIN_LOG=%d\nMAX_JOURNAL=%d\nMAX_LOGIN_GROUPS=%d\n", maxLog, maxPlainLog, maxJournalLines, maxLoginGroups)
	b.WriteString(probeScript)
	return b.String()
}

// quote makes one shell word of s.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// strip drops indentation and comment lines. bash reads a script from a pipe
// byte by byte, so that every byte left out saves the host a system call.
func strip(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(line, "\t")
		if line == "\n" || strings.HasPrefix(line, "#") {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}
