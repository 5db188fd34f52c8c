package simfleet

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// changeUnits are systemctl's verbs that change something.
func (p *process) changeUnits(ctx context.Context, verb string, units []string, o options) int {
	if !p.cred.root() {
		return p.fail(1, "Failed to %s %s: Interactive authentication required.", verb, strings.Join(units, " "))
	}
	status := 0
	for _, name := range units {
		name = unitName(name)
		var s int
		switch verb {
		case "enable", "disable", "reenable":
			s = p.enableUnit(ctx, name, verb != "disable", o.has("now"))
		case "mask", "unmask":
			if agent, _ := p.m.modelUnit(name); !agent {
				s = p.fail(1, "Failed to %s unit: only the agent's is known here.", verb)
				break
			}
			p.x.hosts.changeAgent(p.m.inst, func(a *Agent, _ time.Time) { a.Masked = verb == "mask" })
		case "reset-failed":
			st := p.x.hosts.state(p.m.inst)
			if r, ok := st.run(name); ok && r.active == "failed" {
				st.set(name, nil)
				if f, ok := p.m.unitFile(name); ok && f.transient() {
					p.m.forget(f)
				}
			}
		default:
			s = p.runUnit(ctx, verb, name, o.has("no-block"))
		}
		status = max(status, s)
	}
	p.x.renew()
	return status
}

// modelUnit reports whether the model, rather than files, says what a unit does.
func (m *machine) modelUnit(name string) (agent, sshd bool) {
	for _, kind := range m.agentPackages() {
		agent = agent || name == agentUnit(kind)
	}
	return agent, name == m.OS.SSHUnit+".service" || name == "sshd.service" && m.dpkgBased()
}

// runUnit starts, stops or restarts one unit.
func (p *process) runUnit(ctx context.Context, verb, name string, noWait bool) int {
	agent, sshd := p.m.modelUnit(name)
	switch {
	case agent && p.m.Agent.Masked && verb != "stop" && verb != "try-restart":
		return p.fail(1, "Failed to %s %s: Unit %s is masked.", verb, name, name)
	case agent:
		p.x.hosts.runAgentUnit(p.m.inst, verb)
		return 0
	case sshd:
		return p.runSSHUnit(verb, name)
	}
	f, ok := p.m.unitFile(name)
	r, _ := p.x.hosts.state(p.m.inst).run(name)
	stop := verb == "stop" || verb == "restart" || verb == "try-restart" && r.active == "active"
	start := verb == "start" || verb == "restart" || verb == "try-restart" && r.active == "active"
	switch {
	case !ok && r.active == "inactive" && verb == "stop":
		return p.fail(5, "Failed to stop %s: Unit %s not loaded.", name, name)
	case !ok && start:
		return p.fail(5, "Failed to %s %s: Unit %s not found.", verb, name, name)
	}
	if stop {
		p.x.hosts.stopUnit(p.m, name)
	}
	if !start {
		return 0
	}
	if path.Ext(name) == ".timer" {
		if err := p.x.hosts.startTimer(p.m, f); err != nil {
			return p.fail(1, "Failed to start %s: Unit %s has a bad unit file setting.", name, name)
		}
		return 0
	}
	run, err := p.x.hosts.startService(p.m, f)
	if err != nil {
		return p.fail(1, "Failed to start %s: %v", name, err)
	}
	if run == nil || noWait || f.get("Service", "Type") != "oneshot" {
		return 0
	}
	if b := p.x.background; b != nil {
		b.settle() // the service may wait for the clock, which waits for this program
	}
	select {
	case <-run.done:
	case <-ctx.Done():
		return 137
	}
	if run.status != 0 {
		return p.fail(1, "Job for %s failed because the control process exited with error code.", name)
	}
	return 0
}

// runSSHUnit is for the SSH daemon, which does not start with a configuration that it cannot read.
func (p *process) runSSHUnit(verb, name string) int {
	_, err := p.m.sshdEffective(root, p.m.sshdArguments()[1:], nil)
	if verb == "reload" && (err != nil || p.m.Down) {
		return p.fail(1, "Job for %s failed.", name)
	}
	if verb == "reload" {
		return 0
	}
	down := verb == "stop" || err != nil
	w := p.x.hosts.w
	w.Mu.Lock()
	p.m.inst.Down = down
	s := p.x.hosts.state(p.m.inst)
	s.mu.Lock()
	s.sshdStopped = down
	s.mu.Unlock()
	w.Mu.Unlock()
	if down && verb != "stop" {
		return p.fail(1, "Job for %s failed because the control process exited with error code.", name)
	}
	return 0
}

// enableUnit makes or removes the links by which systemd starts a unit at boot.
func (p *process) enableUnit(ctx context.Context, name string, enable, now bool) int {
	agent, sshd := p.m.modelUnit(name)
	status := 0
	switch f, ok := p.m.unitFile(name); {
	case agent && enable && p.m.Agent.Masked:
		status = p.fail(1, "Failed to enable unit: Unit %s is masked.", name)
	case agent:
		p.x.hosts.changeAgent(p.m.inst, func(a *Agent, _ time.Time) { a.Enabled = enable })
	case sshd:
	case !ok:
		status = p.fail(1, "Failed to %s unit: Unit file %s does not exist.", map[bool]string{true: "enable", false: "disable"}[enable], name)
	case enable:
		status = p.linkUnit(f)
	default:
		for _, target := range p.m.wants(name) {
			if err := p.m.fs.remove(root, target); err != nil {
				status = p.fail(1, "Failed to disable unit: %s", errorText(err))
				continue
			}
			_, _ = fmt.Fprintf(p.stderr, "Removed \"%s\".\n", target)
		}
	}
	if now && status == 0 {
		return p.runUnit(ctx, map[bool]string{true: "start", false: "stop"}[enable], name, false)
	}
	return status
}

func (p *process) linkUnit(f unitFile) int {
	wanted := slices.Concat(f.sections["Install"]["WantedBy"], f.sections["Install"]["RequiredBy"])
	if len(wanted) == 0 {
		_, _ = fmt.Fprintf(p.stderr, "The unit files have no installation config (WantedBy=, RequiredBy=, Also=,\nAlias= settings in the [Install] section, and DefaultInstance= for template\nunits).\n")
		return 0
	}
	for _, target := range strings.Fields(strings.Join(wanted, " ")) {
		dir := "/etc/systemd/system/" + target + ".wants"
		at := path.Join(dir, f.name)
		if p.m.fs.node(at) != nil {
			continue
		}
		if err := p.makeDirs(dir, 0o755); err != nil {
			return p.fail(1, "Failed to enable unit: %s", errorText(err))
		}
		if err := p.m.fs.symlink(root, f.path, at); err != nil {
			return p.fail(1, "Failed to enable unit: %s", errorText(err))
		}
		_, _ = fmt.Fprintf(p.stderr, "Created symlink %s → %s.\n", at, f.path)
	}
	return 0
}

// wants are the links that name a unit.
func (m *machine) wants(name string) []string {
	var out []string
	entries, err := m.fs.readDir(root, "/etc/systemd/system")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		at := path.Join("/etc/systemd/system", e.Name(), name)
		if n := m.fs.node(at); strings.HasSuffix(e.Name(), ".wants") && n != nil && n.mode&fs.ModeSymlink != 0 {
			out = append(out, at)
		}
	}
	return out
}

// fileUnit is a unit that the machine's files describe.
func (m *machine) fileUnit(name string) (unit, bool) {
	f, ok := m.unitFile(name)
	r, running := m.hosts.state(m.inst).run(name)
	u := unit{id: name, active: r.active, sub: r.sub, since: r.since, result: r.result, status: r.status, next: r.next, last: r.last}
	if r.runs != nil && (r.active == "active" || r.active == "activating") {
		u.pid = r.runs.pid
	}
	if !ok {
		return u, running
	}
	u.file, u.enabled = f.path, "disabled"
	switch {
	case f.transient():
		u.enabled = "transient"
	case len(m.wants(name)) > 0:
		u.enabled = "enabled"
	case f.sections["Install"] == nil:
		u.enabled = "static"
	}
	return u, true
}

// listTimers is systemctl list-timers: those that run, by what comes next; with
// --all also those that do not.
func (p *process) listTimers(o options, names []string) int {
	st := p.x.hosts.state(p.m.inst)
	st.mu.Lock()
	var rows []unit
	for name, r := range st.units {
		if path.Ext(name) == ".timer" && (r.active == "active" || o.has("all", "a")) {
			rows = append(rows, unit{id: name, next: r.next, last: r.last})
		}
	}
	st.mu.Unlock()
	slices.SortFunc(rows, func(a, b unit) int {
		if a.next.IsZero() != b.next.IsZero() {
			return map[bool]int{true: 1, false: -1}[a.next.IsZero()]
		}
		if c := a.next.Compare(b.next); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	shown := 0
	if !o.has("no-legend") {
		p.printf("NEXT                        LEFT     LAST                        PASSED  UNIT                         ACTIVATES\n")
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format("Mon 2006-01-02 15:04:05 UTC")
	}
	for _, u := range rows {
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { ok, err := path.Match(n, u.id); return err == nil && ok }) {
			continue
		}
		left := "-"
		if !u.next.IsZero() {
			left = u.next.Sub(p.m.clock()).Truncate(time.Second).String()
		}
		f, _ := p.m.unitFile(u.id)
		p.printf("%-27s %-8s %-27s %-7s %-28s %s\n", stamp(u.next), left, stamp(u.last), "-", u.id, f.service())
		shown++
	}
	if !o.has("no-legend") {
		p.printf("\n%d timers listed.\n", shown)
	}
	return 0
}
