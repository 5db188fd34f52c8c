package simfleet

import (
	"context"
	"slices"
	"strings"
)

// program is what a command does: it works on its process and returns the exit
// status. Programs end soon after ctx does.
type program func(ctx context.Context, p *process) int

// programEntry is a registered program and where it lies on which machines.
type programEntry struct {
	run  program
	dirs func(m *machine) []string
	on   func(m *machine) bool // nil: everywhere
}

// registry lists the programs that simulated machines have. awk is left out on
// purpose: scripts must do without it somewhere.
func programTable() map[string]programEntry {
	core := func(m *machine) []string {
		if isAlpine(m) {
			return []string{"/bin"}
		}
		return []string{"/usr/bin"}
	}
	bin := func(*machine) []string { return []string{"/usr/bin"} }
	sbin := func(*machine) []string { return []string{"/usr/sbin"} }
	out := map[string]programEntry{}
	add := func(dirs func(*machine) []string, on func(*machine) bool, programs map[string]program) {
		for name, run := range programs {
			out[name] = programEntry{run, dirs, on}
		}
	}
	add(core, nil, map[string]program{
		"sh": runShell, "cat": runCat, "ls": runLs, "date": runDate, "uname": runUname, "hostname": runHostname, "sleep": runSleep,
		"mkdir": runMkdir, "rm": runRm, "rmdir": runRm, "mv": runMv, "cp": runCp, "ln": runLn, "chmod": runChmod, "chown": runChown, "touch": runTouch,
		"grep": runGrep, "mktemp": runMktemp, "df": runDf, "chgrp": runChown, "sync": runSync,
		"dd": runDd, "tar": runTar,
	})
	add(bin, nil, map[string]program{
		"sudo": runSudo, "env": runEnv, "nohup": runNohup, "timeout": runTimeout, "id": runID, "whoami": runWhoami, "who": runWho,
		"getent": runGetent, "head": runHead, "tail": runTail, "wc": runWc, "sort": runSort, "uniq": runUniq, "tr": runTr, "cut": runCut,
		"stat": runStat, "find": runFind, "readlink": runReadlink, "basename": runBasename, "dirname": runDirname,
		"sha256sum": runSum, "sha1sum": runSum, "sha512sum": runSum, "md5sum": runSum, "cmp": runCmp, "tee": runTee, "install": runInstall,
		"base64": runBase64, "gzip": runGzip, "chattr": runChattr, "lsattr": runLsattr,
	})
	add(bin, notAlpine, map[string]program{
		"bash": runShell, "curl": runCurl, "setsid": runSetsid,
	})
	add(bin, (*machine).systemd, map[string]program{"systemd-run": runSystemdRun})
	add(bin, hasAt, map[string]program{"at": runAt, "atq": runAt, "atrm": runAt})
	add(bin, nil, map[string]program{"openssl": runOpenSSL})
	add(core, nil, map[string]program{"stty": runStty})
	add(bin, nil, map[string]program{"tty": runTTY})
	add(bin, (*machine).systemd, map[string]program{"systemctl": runSystemctl, "journalctl": runJournalctl})
	add(bin, notAlpine, map[string]program{"ss": runSS})
	add(sbin, nil, map[string]program{"sshd": runSSHD})
	add(bin, (*machine).rpmBased, map[string]program{"rpm": runRPM})
	add(bin, (*machine).dpkgBased, map[string]program{"dpkg-query": runDpkgQuery, "dpkg": runDpkg, "dpkg-deb": runDpkgDeb, "apt-get": runApt, "apt": runApt})
	add(bin, (*machine).hasDNF, map[string]program{"dnf": runYum})
	add(bin, func(m *machine) bool { return m.rpmBased() && m.OS.Family != "sles" }, map[string]program{"yum": runYum})
	add(bin, func(m *machine) bool { return m.OS.Family == "sles" }, map[string]program{"zypper": runYum})
	add(bin, notAlpine, map[string]program{"gpg": runGPG, "gpgv": runGPG})
	add(bin, func(m *machine) bool { return m.dpkgBased() || isAlpine(m) }, map[string]program{"wget": runWget})
	add(bin, func(m *machine) bool { return m.OS.Family == "ubuntu" || slices.Contains(m.agentPackages(), "snap") }, map[string]program{"snap": runSnap})
	// Shells that end a login at once; sshd refuses users whose shell is missing.
	add(func(m *machine) []string {
		if isAlpine(m) {
			return []string{"/sbin"}
		}
		return []string{"/usr/sbin"}
	}, nil, map[string]program{"nologin": runNologin})
	add(core, nil, map[string]program{"false": runFalse, "true": runTrue})
	add(core, isAlpine, map[string]program{"ash": runShell})
	// The agent's files lie where its package puts them; see baseBuilder.agent.
	add(func(*machine) []string { return nil }, nil, map[string]program{
		"amazon-ssm-agent": runAgent, "ssm-cli": runAgentCLI, "ssm-agent-worker": runFalse, "ssm-session-worker": runFalse,
	})
	return out
}

// hasDNF reports whether the machine has dnf: Red Hat's family since 8, and
// Amazon Linux since 2023.
func (m *machine) hasDNF() bool {
	return m.OS.Family == "amzn" && m.OS.Version != "2" || m.OS.Family == "rhel" && m.release() >= 800
}

func notAlpine(m *machine) bool { return m.OS.Family != "alpine" }
func isAlpine(m *machine) bool  { return m.OS.Family == "alpine" }

// options are arguments split into flags and operands. A flag that may be
// given several times has its values in order; one without value has "".
type options struct {
	flags    map[string][]string
	operands []string
}

func (o options) has(names ...string) bool {
	for _, n := range names {
		if _, ok := o.flags[n]; ok {
			return true
		}
	}
	return false
}

// value is the last value of any of the names.
func (o options) value(names ...string) (string, bool) {
	for _, n := range names {
		if v := o.flags[n]; len(v) > 0 {
			return v[len(v)-1], true
		}
	}
	return "", false
}

// parseOptions reads arguments as getopt does; flags may follow operands. It
// knows no wrong flags: programs ignore those that they do not implement.
func parseOptions(args []string, withValue string, longValue ...string) options {
	o := options{flags: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			o.operands = append(o.operands, args[i+1:]...)
			return o
		case strings.HasPrefix(a, "--"):
			name, v, has := strings.Cut(a[2:], "=")
			if !has && slices.Contains(longValue, name) && i+1 < len(args) {
				i++
				v = args[i]
			}
			o.flags[name] = append(o.flags[name], v)
		case len(a) > 1 && a[0] == '-':
			for j := 1; j < len(a); j++ {
				name := a[j : j+1]
				if !strings.Contains(withValue, name) {
					o.flags[name] = append(o.flags[name], "")
					continue
				}
				v := a[j+1:]
				if v == "" && i+1 < len(args) {
					i++
					v = args[i]
				}
				o.flags[name] = append(o.flags[name], v)
				break
			}
		default:
			o.operands = append(o.operands, a)
		}
	}
	return o
}
