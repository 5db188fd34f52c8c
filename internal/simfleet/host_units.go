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

// badUnit is a unit that systemd does not start, by its name.
type badUnit string

func (b badUnit) Error() string { return "Unit " + string(b) + " has a bad unit file setting." }

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
			return nil, badUnit(f.name)
		}
		commands = append(commands, words)
	}
	if len(commands) == 0 {
		return nil, badUnit(f.name)
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
