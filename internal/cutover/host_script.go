package cutover

import (
	"embed"
	"fmt"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

//go:embed scripts/*.sh
var scriptFiles embed.FS

// scriptPart gives a part of the scripts without comments and indentation:
// Run Command bounds the size of what it carries.
func scriptPart(name string) string {
	text, err := scriptFiles.ReadFile("scripts/" + name + ".sh")
	if err != nil {
		panic(err) // embedded: only a renamed file
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimLeft(line, "\t")
		if line == "\n" || strings.HasPrefix(line, "#") {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// Limits of the scripts on hosts.
const (
	maxKeyFiles   = 500     // key files; a host with more is refused
	maxKeyFile    = 4 << 20 // bytes of one key file
	maxAccounts   = 500     // accounts to ask sshd about where there are Match blocks
	maxHostOutput = 18_000  // bytes of listed files: Run Command cuts at 24,000 characters
)

// hostFolder holds the before-images on hosts, in a folder for each plan.
const hostFolder = "/var/lib/migrate"

// HostPaths lead the scripts to other places of a host than the real ones. The
// zero value means the real ones; tests set it.
type HostPaths struct {
	Base     string // root-only folder of before-images; /var/lib/migrate
	Accounts string // passwd file in place of the host's accounts
	Daemon   string // arguments of the SSH daemon, one per line; the daemon that runs
	Search   string // PATH of the scripts
	Systemd  string // folder that is there while systemd runs; /run/systemd/system
	Units    string // folder of units; /etc/systemd/system
}

// hostVars are the shell variables that a script finds set.
type hostVars [][2]string

func (v hostVars) String() string {
	var b strings.Builder
	for _, p := range v {
		fmt.Fprintf(&b, "%s=%s\n", p[0], shellQuote(p[1]))
	}
	return b.String()
}

// shellQuote makes one shell word of s.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// scriptHead is what every script on a host begins with.
func (h *hostSide) scriptHead() string {
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	p := h.paths
	return hostVars{
		{"BASE", or(p.Base, hostFolder)}, {"TOKEN", h.folder}, {"ACCOUNTS", p.Accounts}, {"DAEMON", p.Daemon}, {"SEARCH", p.Search},
		{"SYSTEMD", or(p.Systemd, "/run/systemd/system")}, {"UNITS", or(p.Units, "/etc/systemd/system")},
	}.String()
}

// script puts a script together: its variables, the parts that it is made of and
// the function of theirs that does it. Only a text that arrived whole runs, since
// its last line is what calls the function.
func (h *hostSide) script(name, function string, timeout time.Duration, vars hostVars, parts ...string) fleet.Script {
	var b strings.Builder
	b.WriteString(h.scriptHead())
	b.WriteString(vars.String())
	b.WriteString("CONNECTION=${1:-$SSH_CONNECTION}\n")
	for _, p := range parts {
		b.WriteString(scriptPart(p))
	}
	fmt.Fprintf(&b, "main() {\nprintf '%s\\n'\n%s\nsay 'done'\n}\nmain </dev/null\nexit 0\n", hostHeader, function)
	return fleet.Script{Name: name, Text: b.String(), Timeout: timeout, Reads: strings.HasPrefix(function, "observe_")}
}

// saved makes a shell function that prints a script which is to lie on the host.
func (h *hostSide) saved(function, call string, vars hostVars, parts ...string) string {
	var b strings.Builder
	const mark = "MIGRATE-END-OF-SAVED-SCRIPT"
	fmt.Fprintf(&b, "%s() {\ncat <<'%s'\n", function, mark)
	b.WriteString("#!/bin/sh\n")
	b.WriteString(h.scriptHead())
	b.WriteString(vars.String())
	for _, p := range parts {
		b.WriteString(scriptPart(p))
	}
	fmt.Fprintf(&b, "%s\n%s\n}\n", call, mark)
	return b.String()
}

// keyVars are what the scripts about key files need to know. Keep are the base64
// parts of the keys whose lines stay.
func (h *hostSide) keyVars(keep []string) hostVars {
	return hostVars{
		{"KEEP", strings.Join(keep, " ")}, {"RECOVERY", h.recoveryKey},
		{"MAX_FILES", fmt.Sprint(maxKeyFiles)}, {"MAX_FILE", fmt.Sprint(maxKeyFile)},
		{"MAX_ACCOUNTS", fmt.Sprint(maxAccounts)}, {"MAX_OUTPUT", fmt.Sprint(maxHostOutput)},
	}
}
