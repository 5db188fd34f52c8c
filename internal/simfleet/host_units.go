package simfleet

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// unitDirs are where systemd looks for units, the first first.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/transient", "/run/systemd/system", "/usr/lib/systemd/system"}

const transientDir = "/run/systemd/transient"

// unitRun is the state of a unit that the machine's files describe.
type unitRun struct {
	active, sub string
	result      string // of a service: "success", "exit-code"
	status      int    // of a service: exit status of its last run
	since       time.Time
	next        time.Time // of a timer, by the host's clock; zero: never
	last        time.Time // of a timer, by the host's clock
	stop        func()    // takes a timer's next run off the agenda
	runs        *background
}

// unitFile is what a unit's file says.
type unitFile struct {
	name, path string
	sections   map[string]map[string][]string
}

func (f unitFile) get(section, key string) string {
	if all := f.sections[section][key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

func (f unitFile) transient() bool { return path.Dir(f.path) == transientDir }

// unitFile reads a unit's file and its drop-ins.
func (m *machine) unitFile(name string) (unitFile, bool) {
	for _, dir := range unitDirs {
		at := path.Join(dir, name)
		data, err := m.fs.readFile(root, at)
		if err != nil {
			continue
		}
		f := unitFile{name: name, path: at, sections: map[string]map[string][]string{}}
		f.read(data)
		for _, dir := range unitDirs {
			entries, err := m.fs.readDir(root, path.Join(dir, name+".d"))
			if err != nil {
				continue
			}
			for _, e := range entries {
				if data, err := m.fs.readFile(root, path.Join(dir, name+".d", e.Name())); err == nil && strings.HasSuffix(e.Name(), ".conf") {
					f.read(data)
				}
			}
		}
		return f, true
	}
	return unitFile{}, false
}

// read adds the settings of one file. An empty value takes back what was set before.
func (f unitFile) read(data []byte) {
	section := ""
	text := strings.ReplaceAll(string(data), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || line[0] == '#' || line[0] == ';' {
			continue
		}
		if f.sections[section] == nil {
			f.sections[section] = map[string][]string{}
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if value == "" {
			delete(f.sections[section], key)
			continue
		}
		f.sections[section][key] = append(f.sections[section][key], value)
	}
}

// splitExec splits a command line as systemd does: quotes, backslashes, "$$"
// and "%%", and a prefix that says how to run it. Nothing is a shell's.
func splitExec(line string) []string {
	var out []string
	var word strings.Builder
	quote, open := byte(0), false
	line = strings.TrimLeft(line, "@-:+!")
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			i++
			c = line[i]
			if unescaped, ok := map[byte]byte{'n': '\n', 't': '\t', 's': ' '}[c]; ok {
				c = unescaped
			}
			word.WriteByte(c)
			open = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, open = c, true
		case (c == '$' || c == '%') && i+1 < len(line) && line[i+1] == c:
			i++
			word.WriteByte(c)
			open = true
		case quote == 0 && (c == ' ' || c == '\t'):
			if open {
				out = append(out, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, word.String())
	}
	return out
}

// timeSpan reads systemd's "15min", "1h 30min" and "900" (seconds).
func timeSpan(text string) (time.Duration, bool) {
	var total time.Duration
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		unit := strings.TrimLeft(words[i], "0123456789")
		n, ok := decimal(strings.TrimSuffix(words[i], unit))
		if !ok {
			return 0, false
		}
		if unit == "" && i+1 < len(words) && strings.Trim(words[i+1], "0123456789") == words[i+1] {
			i++
			unit = words[i]
		}
		step, ok := spanUnits[unit]
		if !ok {
			return 0, false
		}
		total += time.Duration(n) * step
	}
	return total, len(words) > 0
}

var spanUnits = map[string]time.Duration{"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"ms": time.Millisecond, "m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// calendar reads an absolute time of OnCalendar; the machine's zone is UTC.
// Recurring ones are not understood.
func calendar(text string) (time.Time, bool) {
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		n, ok := decimal(seconds)
		return time.Unix(int64(n), 0).UTC(), ok
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, " UTC"), "Z")
	if day, rest, ok := strings.Cut(text, " "); ok && len(day) == 3 {
		text = rest // the day of the week
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// badTimer says what of a timer's file systemd would not take; empty: nothing.
func (f unitFile) badTimer() string {
	set := false
	for _, key := range []string{"OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec"} {
		for _, v := range f.sections["Timer"][key] {
			if _, ok := timeSpan(v); !ok {
				return "Failed to parse " + key + "= value, ignoring: " + v
			}
			set = true
		}
	}
	for _, v := range f.sections["Timer"]["OnCalendar"] {
		if _, ok := calendar(v); !ok {
			return "Failed to parse calendar specification, ignoring: " + v
		}
		set = true
	}
	if !set {
		return f.name + ": Timer unit lacks value setting. Refusing."
	}
	return ""
}

// stamp is the file by which a persistent timer knows when it ran last.
func (f unitFile) stamp() string { return "/var/lib/systemd/timers/stamp-" + f.name }

// nextRun computes when a timer goes off that was started at a time, by the
// host's clock; zero: never. base is since when an absolute time counts.
func (f unitFile) nextRun(now, started, booted, base time.Time) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, v := range f.sections["Timer"]["OnActiveSec"] {
		if d, _ := timeSpan(v); started.Add(d).After(now) {
			consider(started.Add(d))
		}
	}
	for _, key := range []string{"OnBootSec", "OnStartupSec"} {
		for _, v := range f.sections["Timer"][key] {
			if d, _ := timeSpan(v); booted.Add(d).After(now) {
				consider(booted.Add(d))
			}
		}
	}
	for _, v := range f.sections["Timer"]["OnCalendar"] {
		if t, _ := calendar(v); t.After(base) {
			consider(t)
		}
	}
	return next
}

// run gives the state of a unit; ok is false while it is inactive.
func (s *hostState) run(name string) (unitRun, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.units[name]
	if r == nil {
		return unitRun{active: "inactive", sub: "dead", result: "success"}, false
	}
	return *r, true
}

func (s *hostState) set(name string, r *unitRun) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil {
		delete(s.units, name)
		return
	}
	s.units[name] = r
}

// startTimer starts a timer on a machine. The caller may hold w.Mu.
func (h *Hosts) startTimer(m *machine, f unitFile) error {
	if bad := f.badTimer(); bad != "" {
		return fmt.Errorf("%s", bad)
	}
	s := h.state(m.inst)
	if r, ok := s.run(f.name); ok && r.active == "active" {
		return nil
	}
	now := m.clock()
	base := now
	if persistent := strings.ToLower(f.get("Timer", "Persistent")); persistent == "true" || persistent == "yes" {
		if info, err := m.fs.stat(root, f.stamp(), true); err == nil {
			base = info.ModTime()
		} else {
			m.writeStamp(f)
		}
	}
	h.arm(m, f, &unitRun{active: "active", result: "success", since: now}, base)
	return nil
}

// arm enters a timer's next run.
func (h *Hosts) arm(m *machine, f unitFile, r *unitRun, base time.Time) {
	r.next, r.sub, r.stop = f.nextRun(m.clock(), r.since, m.bootTime(), base), "elapsed", nil
	if !r.next.IsZero() {
		r.sub = "waiting"
		r.stop = h.w.atUnlocked(r.next.Add(-m.Skew), "timer "+f.name+" on "+m.Host.ID, func() { h.elapse(m.inst, f.name) })
	}
	h.state(m.inst).set(f.name, r)
}

// writeStamp notes that a persistent timer started or went off.
func (m *machine) writeStamp(f unitFile) {
	// What a full disk does not take is lost, as with systemd.
	if m.fs.writeFile(root, f.stamp(), nil, 0o644) == nil {
		_ = m.fs.touch(root, f.stamp(), true, m.clock())
	}
}

// elapse is a timer that goes off: it starts its service.
func (h *Hosts) elapse(inst *Instance, name string) {
	m := h.machine(inst)
	s := h.state(inst)
	f, ok := m.unitFile(name)
	r, active := s.run(name)
	if !ok || !active || r.active != "active" || !m.Host.Running() {
		return
	}
	r.last = m.clock()
	h.arm(m, f, &r, r.last)
	if f.get("Timer", "Persistent") != "" {
		m.writeStamp(f)
	}
	service := f.service()
	if g, ok := m.unitFile(service); ok {
		_, _ = h.startService(m, g)
	}
	// A transient timer that has nothing left to wait for goes away.
	if now, _ := s.run(name); f.transient() && now.sub == "elapsed" {
		s.set(name, nil)
		m.forget(f)
	}
}

// service is the unit that a timer starts.
func (f unitFile) service() string {
	if v := f.get("Timer", "Unit"); v != "" {
		return v
	}
	return strings.TrimSuffix(f.name, ".timer") + ".service"
}

// forget takes the file of a transient unit away.
func (m *machine) forget(f unitFile) { _ = m.fs.remove(root, f.path) }

// startService starts a service of the machine's files and gives its run, nil if a condition
// is not met. Its commands run one after the other; it is active while they do.
func (h *Hosts) startService(m *machine, f unitFile) (*background, error) {
	s := h.state(m.inst)
	if r, ok := s.run(f.name); ok && r.runs != nil && r.active != "inactive" && r.active != "failed" {
		return r.runs, nil
	}
	for _, c := range f.sections["Unit"]["ConditionPathExists"] {
		at, negated := strings.CutPrefix(c, "!")
		if _, err := m.fs.stat(root, at, true); (err == nil) == negated {
			return nil, nil
		}
	}
	var commands [][]string
	for _, line := range slices.Concat(f.sections["Service"]["ExecStartPre"], f.sections["Service"]["ExecStart"]) {
		words := splitExec(line)
		if len(words) == 0 || !path.IsAbs(words[0]) && !f.transient() {
			return nil, fmt.Errorf("Unit %s has a bad unit file setting.", f.name) //nolint:staticcheck // systemd's words
		}
		commands = append(commands, words)
	}
	if len(commands) == 0 {
		return nil, fmt.Errorf("Unit %s has a bad unit file setting.", f.name) //nolint:staticcheck // systemd's words
	}
	r := &unitRun{active: "active", sub: "running", result: "success", since: m.clock()}
	oneshot := f.get("Service", "Type") == "oneshot"
	if oneshot {
		r.active, r.sub = "activating", "start"
	}
	s.set(f.name, r)
	p := &process{x: &execution{}, m: m, user: "root", dir: "/", args: []string{"systemd"}, umask: 0o022,
		env: map[string]string{"PATH": securePath, "LANG": "C.UTF-8", "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}}
	for _, e := range f.sections["Service"]["Environment"] {
		for _, word := range splitExec(e) {
			if name, value, ok := strings.Cut(word, "="); ok {
				p.env[name] = value
			}
		}
	}
	run := h.begin(p, "service "+f.name+" on "+m.Host.ID, commands, func(status int) { h.serviceEnded(m.inst, f, r, status) })
	s.mu.Lock()
	r.runs = run
	s.mu.Unlock()
	return run, nil
}

// serviceEnded notes how a service ended. A transient one that did well is
// forgotten; one that failed stays until reset-failed, unless it is collected.
func (h *Hosts) serviceEnded(inst *Instance, f unitFile, was *unitRun, status int) {
	s := h.state(inst)
	s.mu.Lock()
	stopped := s.units[f.name] != was
	s.mu.Unlock()
	if stopped {
		return
	}
	r := unitRun{active: "inactive", sub: "dead", result: "success", status: status}
	if status != 0 {
		r.active, r.sub, r.result = "failed", "failed", "exit-code"
	}
	m := h.machine(inst)
	if status == 0 && f.get("Service", "RemainAfterExit") == "yes" {
		r.active, r.sub = "active", "exited"
	}
	r.since = m.clock()
	collected := f.get("Unit", "CollectMode") == "inactive-or-failed"
	if f.transient() && r.active != "active" && (status == 0 || collected) {
		s.set(f.name, nil)
		m.forget(f)
		return
	}
	s.set(f.name, &r)
}

// stopUnit stops a timer or service of the machine's files.
func (h *Hosts) stopUnit(m *machine, name string) {
	s := h.state(m.inst)
	r, ok := s.run(name)
	if !ok {
		return
	}
	if r.stop != nil {
		r.stop()
	}
	s.set(name, nil)
	if r.runs != nil {
		r.runs.cancel()
		if m.exec == nil || r.runs.x != m.exec { // a service may stop itself
			<-r.runs.done
		}
	}
	if f, ok := m.unitFile(name); ok && f.transient() {
		m.forget(f)
		if g, ok := m.unitFile(f.service()); ok && strings.HasSuffix(name, ".timer") && g.transient() {
			if run, running := s.run(g.name); !running || run.active == "inactive" {
				m.forget(g)
			}
		}
	}
}

// wantedUnits are the units that systemd starts at boot: what links below
// …/NAME.target.wants name.
func (m *machine) wantedUnits() []string {
	var out []string
	for _, at := range m.fs.tree("/etc/systemd/system") {
		if n := m.fs.node(at); strings.HasSuffix(path.Dir(at), ".target.wants") && n.mode&fs.ModeSymlink != 0 && !slices.Contains(out, path.Base(at)) {
			out = append(out, path.Base(at))
		}
	}
	return out
}

// bootTime is when the machine came up, by its clock.
func (m *machine) bootTime() time.Time {
	s := m.hosts.state(m.inst)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.booted.IsZero() {
		return m.started()
	}
	return s.booted.UTC().Add(m.Skew)
}
