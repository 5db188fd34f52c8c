package simfleet

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unit is a systemd unit of the machine.
type unit struct {
	id, file, active, sub, enabled string
	environment                    string // as systemctl shows it
	pid                            int
	since                          time.Time
	result                         string    // of a service of the machine's files
	status                         int       // its exit status
	next, last                     time.Time // of a timer, by the host's clock
}

// unit finds a unit by any of its names; ok is false for one that the machine does not have.
func (m *machine) unit(name string) (unit, bool) {
	name = unitName(name)
	main := m.OS.SSHUnit + ".service"
	switch {
	case name == main, name == "sshd.service" && m.dpkgBased():
		u := unit{id: main, active: "active", sub: "running", enabled: "enabled", pid: m.listenerPID(), since: m.started()}
		if m.Down {
			u.active, u.sub, u.pid = "failed", "failed", 0
		}
		u.file = "/usr/lib/systemd/system/" + main
		return u, true
	}
	for _, kind := range m.agentPackages() {
		if name == agentUnit(kind) {
			return m.agentService(kind), true
		}
	}
	return m.fileUnit(name)
}

// unitName completes a name without a unit's suffix.
func unitName(name string) string {
	if !slices.Contains([]string{".service", ".socket", ".timer", ".target", ".path", ".mount"}, path.Ext(name)) {
		name += ".service"
	}
	return name
}

// agentService is the unit that one of the agent's packages brings. Of two that
// stop one another, the second waits to be started again.
func (m *machine) agentService(kind string) unit {
	u := unit{id: agentUnit(kind), active: "inactive", sub: "dead", enabled: "disabled", environment: m.proxyEnvironment()}
	switch {
	case m.Agent.Running && m.Agent.Second == "":
		u.active, u.sub, u.pid, u.since = "active", "running", m.agentPID(), m.Agent.Started.UTC().Add(m.Skew)
	case m.Agent.Running && kind == m.Agent.Second:
		u.active, u.sub = "activating", "auto-restart"
	case m.Agent.Running:
		u.active, u.sub = "failed", "failed"
	}
	switch {
	case m.Agent.Masked:
		u.enabled = "masked"
	case m.Agent.Enabled:
		u.enabled = "enabled"
	}
	u.file = "/usr/lib/systemd/system/" + u.id
	if kind == "snap" {
		u.file = "/etc/systemd/system/" + u.id
	}
	return u
}

// agentUnit names the unit that a package of the agent brings.
func agentUnit(kind string) string {
	if kind == "snap" {
		return "snap.amazon-ssm-agent.amazon-ssm-agent.service"
	}
	return "amazon-ssm-agent.service"
}

// unitFiles are the unit files that the model implies.
func (m *machine) unitFiles() map[string]string {
	out := map[string]string{}
	if !m.systemd() {
		return out
	}
	if u, ok := m.unit(m.OS.SSHUnit); ok {
		alias := ""
		if m.dpkgBased() {
			alias = "Alias=sshd.service\n"
		}
		out[u.file] = "[Unit]\nDescription=OpenBSD Secure Shell server\nAfter=network.target\n\n[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\nRestart=on-failure\n\n[Install]\nWantedBy=multi-user.target\n" + alias
	}
	for _, kind := range m.agentPackages() {
		u := m.agentService(kind)
		out[u.file] = "[Unit]\nDescription=amazon-ssm-agent\nAfter=network-online.target\n\n[Service]\nExecStart=" + m.agentPath(kind) +
			"\nRestart=always\nRestartSec=90\n\n[Install]\nWantedBy=multi-user.target\n"
		if text := m.proxyDropIn(); text != "" {
			out["/etc/systemd/system/"+u.id+".d/override.conf"] = text
		}
	}
	return out
}

// runSystemctl knows show [-p NAME...] [--value], is-active, is-enabled, is-failed,
// cat, status, list-timers, daemon-reload, and the verbs of changeUnits.
func runSystemctl(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "p", "property")
	if len(o.operands) == 0 {
		return p.fail(1, "Too few arguments.")
	}
	// Time may have passed since the shell began.
	p.m = p.x.current()
	units := o.operands[1:]
	switch o.operands[0] {
	case "show":
		wanted := slices.Concat(o.flags["p"], o.flags["property"])
		for i, name := range units {
			if i > 0 {
				p.printf("\n")
			}
			p.showUnit(name, strings.Split(strings.Join(wanted, ","), ","), o.has("value"))
		}
		return 0
	case "is-active", "is-enabled", "is-failed":
		good := false
		for _, name := range units {
			u, ok := p.m.unit(name)
			word := u.active
			if o.operands[0] == "is-enabled" {
				if word = u.enabled; !ok {
					_, _ = fmt.Fprintf(p.stderr, "Failed to get unit file state for %s: No such file or directory\n", u.id)
				}
			}
			switch o.operands[0] {
			case "is-active":
				good = good || word == "active"
			case "is-enabled":
				good = good || word == "enabled" || word == "static" || word == "transient"
			case "is-failed":
				good = good || word == "failed"
			}
			if word != "" && !o.has("q", "quiet") {
				p.printf("%s\n", word)
			}
		}
		switch {
		case good:
			return 0
		case o.operands[0] == "is-active":
			return 3
		}
		return 1
	case "cat":
		return p.catUnits(units)
	case "status":
		return p.unitStatus(units)
	case "list-timers":
		return p.listTimers(o, units)
	case "daemon-reload", "daemon-reexec":
		return 0 // files are read whenever they are asked for
	case "start", "stop", "restart", "try-restart", "reload", "enable", "disable", "reenable", "mask", "unmask", "reset-failed":
		return p.changeUnits(ctx, o.operands[0], units, o)
	}
	return p.fail(1, "Unknown command verb %s.", o.operands[0])
}

// property is one of a unit as "systemctl show" prints it.
type property struct{ name, value string }

// unitStatus is systemctl status, in short.
func (p *process) unitStatus(names []string) int {
	status := 0
	for _, name := range names {
		u, ok := p.m.unit(name)
		if !ok {
			status = p.fail(4, "Unit %s could not be found.", u.id)
			continue
		}
		p.printf("● %s\n     Loaded: loaded (%s; %s)\n     Active: %s (%s)\n", u.id, u.file, u.enabled, u.active, u.sub)
		if u.active != "active" {
			status = max(status, 3)
		}
	}
	return status
}

func (p *process) showUnit(name string, wanted []string, valueOnly bool) {
	u, ok := p.m.unit(name)
	load, since := "loaded", ""
	if !ok {
		load = "not-found"
	} else if u.enabled == "masked" {
		load = "masked"
	}
	if !u.since.IsZero() {
		since = u.since.Format("Mon 2006-01-02 15:04:05 UTC")
	}
	dropIns := strings.Join(p.dropIns(u.id), " ")
	all := []property{
		{"Id", u.id}, {"Names", u.id}, {"LoadState", load}, {"ActiveState", u.active}, {"SubState", u.sub}, {"UnitFileState", u.enabled},
		{"FragmentPath", u.file}, {"DropInPaths", dropIns}, {"MainPID", strconv.Itoa(u.pid)}, {"ActiveEnterTimestamp", since}, {"Environment", u.environment},
	}
	if path.Ext(u.id) == ".timer" {
		stamp := func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.UTC().Format("Mon 2006-01-02 15:04:05 UTC")
		}
		all = append(all, property{"NextElapseUSecRealtime", stamp(u.next)}, property{"LastTriggerUSec", stamp(u.last)})
	}
	if u.result != "" {
		all = append(all, property{"Result", u.result}, property{"ExecMainStatus", strconv.Itoa(u.status)})
	}
	for _, one := range all {
		if len(wanted) > 0 && wanted[0] != "" && !slices.Contains(wanted, one.name) {
			continue
		}
		// systemd leaves an empty Environment out of what it shows.
		if one.name == "Environment" && one.value == "" && !valueOnly {
			if len(wanted) > 0 && wanted[0] != "" {
				p.printf("Environment=\n")
			}
			continue
		}
		if valueOnly {
			p.printf("%s\n", one.value)
			continue
		}
		p.printf("%s=%s\n", one.name, one.value)
	}
}

// dropIns lists the drop-in files of a unit.
func (p *process) dropIns(id string) []string {
	var out []string
	for _, dir := range []string{"/usr/lib/systemd/system/", "/etc/systemd/system/"} {
		entries, err := p.m.fs.readDir(p.cred, dir+id+".d")
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				out = append(out, dir+id+".d/"+e.Name())
			}
		}
	}
	return out
}

func (p *process) catUnits(names []string) int {
	status, first := 0, true
	for _, name := range names {
		u, ok := p.m.unit(name)
		if !ok {
			_, _ = fmt.Fprintf(p.stderr, "No files found for %s.\n", u.id)
			status = 1
			continue
		}
		for _, file := range append([]string{u.file}, p.dropIns(u.id)...) {
			text, err := p.readFile(file)
			if err != nil {
				status = 1
				continue
			}
			if !first {
				p.printf("\n")
			}
			first = false
			p.printf("# %s\n%s", file, text)
		}
	}
	return status
}

// journalMatches reads FIELD=VALUE operands: those of different fields have all
// to fit, those of one field any, and a "+" starts a further set.
func (m *machine) journalMatches(operands []string, l logLine) bool {
	main, _ := m.unit(m.OS.SSHUnit)
	fields := map[string]string{"_COMM": l.ident, "SYSLOG_IDENTIFIER": l.ident, "_SYSTEMD_UNIT": "session-1.scope"}
	if strings.HasPrefix(l.ident, "sshd") {
		fields["_SYSTEMD_UNIT"] = main.id
	}
	fit := map[string]bool{}
	for _, o := range append(slices.Clone(operands), "+") {
		if o != "+" {
			name, value, _ := strings.Cut(o, "=")
			fit[name] = fit[name] || fields[name] == value
			continue
		}
		all := len(fit) > 0
		for _, one := range fit {
			all = all && one
		}
		if all {
			return true
		}
		clear(fit)
	}
	return false
}

// runJournalctl shows the messages of sshd and sudo: FIELD=VALUE, -u UNIT, -t NAME, -o short|short-iso|short-unix|cat,
// -n N, -g PATTERN, -S @SECONDS, -r, -q. Who is neither root nor in adm or
// systemd-journal sees nothing.
func runJournalctl(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "uongStU", "unit", "output", "lines", "grep", "since", "identifier", "until")
	var all []logLine
	ours := func(u string) bool { _, ok := p.m.unit(u); return ok && !strings.Contains(u, "amazon") }
	units := slices.Concat(o.flags["u"], o.flags["unit"])
	switch {
	case !p.mayReadJournal():
		if !o.has("q", "quiet") {
			_, _ = fmt.Fprintln(p.stderr, "Hint: You are currently not seeing messages from other users and the system.\n      Users in groups 'adm', 'systemd-journal' can see all messages.\n      Pass -q to turn off this notice.")
		}
	case len(units) == 0:
		all = p.m.logLines()
	case slices.ContainsFunc(units, ours):
		// What runs in a session logs from the session's scope.
		all = slices.DeleteFunc(p.m.logLines(), func(l logLine) bool { return !strings.HasPrefix(l.ident, "sshd") })
	}
	if len(o.operands) > 0 {
		all = slices.DeleteFunc(all, func(l logLine) bool { return !p.m.journalMatches(o.operands, l) })
	}
	if names := slices.Concat(o.flags["t"], o.flags["identifier"]); len(names) > 0 {
		all = slices.DeleteFunc(all, func(l logLine) bool { return !slices.Contains(names, l.ident) })
	}
	if v, ok := o.value("S", "since"); ok && strings.HasPrefix(v, "@") {
		n, _ := strconv.ParseInt(v[1:], 10, 64)
		all = slices.DeleteFunc(all, func(l logLine) bool { return l.at.Unix() < n })
	}
	if v, ok := o.value("g", "grep"); ok {
		match, err := grepMatcher(options{flags: map[string][]string{"E": {""}}}, []string{v})
		if err != nil {
			return p.fail(1, "%v", err)
		}
		all = slices.DeleteFunc(all, func(l logLine) bool { return !match(l.text) })
	}
	if v, ok := o.value("n", "lines"); ok {
		if n, err := strconv.Atoi(v); err == nil {
			all = all[max(len(all)-n, 0):]
		}
	}
	if o.has("r", "reverse") {
		slices.Reverse(all)
	}
	if len(all) == 0 && !o.has("q", "quiet") {
		p.printf("-- No entries --\n")
	}
	output, _ := o.value("o", "output")
	for _, l := range all {
		stamp := l.at.Format(time.Stamp)
		switch output {
		case "cat":
			p.printf("%s\n", l.text)
			continue
		case "short-unix":
			stamp = fmt.Sprintf("%d.%06d", l.at.Unix(), l.at.Nanosecond()/1000)
		case "short-iso":
			stamp = l.at.Format("2006-01-02T15:04:05-0700")
		case "short-iso-precise":
			stamp = l.at.Format("2006-01-02T15:04:05.000000-0700")
		}
		p.printf("%s %s %s[%d]: %s\n", stamp, p.m.shortHostname(), l.ident, l.pid, l.text)
	}
	return 0
}

func (p *process) mayReadJournal() bool {
	return p.cred.root() || slices.ContainsFunc(p.cred.groups, func(g int) bool {
		name := p.m.groupName(g)
		return name == "adm" || name == "systemd-journal"
	})
}
