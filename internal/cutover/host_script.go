package cutover

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
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
	Root     string // stands before the places of the SSM Agent's files; empty: nothing
	SELinux  string // folder that shows whether SELinux is on; /sys/fs/selinux
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
		{"ROOT", p.Root}, {"SELINUX", or(p.SELinux, "/sys/fs/selinux")},
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
// parts of the keys whose lines stay. Those of the recovery key stay in whatever
// generation it is by now, but for one that was retired.
func (h *hostSide) keyVars(keep []string) hostVars {
	later := h.laterThan(h.recoveryKey)
	recoveries := later
	if !h.retired(h.recoveryKey) {
		recoveries = append([]string{h.recoveryKey}, later...)
	} else {
		keep = slices.DeleteFunc(slices.Clone(keep), func(k string) bool { return k == h.recoveryKey })
	}
	return hostVars{
		{"KEEP", strings.Join(append(slices.Clone(keep), later...), " ")}, {"RECOVERY", strings.Join(recoveries, " ")},
		{"MAX_FILES", fmt.Sprint(maxKeyFiles)}, {"MAX_FILE", fmt.Sprint(maxKeyFile)},
		{"MAX_ACCOUNTS", fmt.Sprint(maxAccounts)}, {"MAX_OUTPUT", fmt.Sprint(maxHostOutput)},
	}
}

// laterThan lists the base64 parts of the recovery key's generations in use that
// came after one; after one that is not known, all of them.
func (h *hostSide) laterThan(blob string) []string {
	var out []string
	for _, k := range h.Generations {
		b := recovery.Blob(k.Line)
		if b == blob {
			break
		}
		if k.Retired.IsZero() {
			out = append(out, b)
		}
	}
	return out
}

// retired reports whether a generation of the recovery key is no longer in use.
func (h *hostSide) retired(blob string) bool {
	return slices.ContainsFunc(h.Generations, func(k fleet.RecoveryKey) bool { return !k.Retired.IsZero() && recovery.Blob(k.Line) == blob })
}
