package simfleet

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runSystemdRun is systemd-run [OPTION...] PROGRAM: a transient service, or with
// --on-active, --on-boot or --on-calendar a transient timer for one.
func runSystemdRun(_ context.Context, p *process) int {
	args, o := p.args[1:], options{flags: map[string][]string{}}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		a := args[0]
		if args = args[1:]; a == "--" {
			break
		}
		name, value, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !has && slices.Contains([]string{"unit", "u", "on-active", "on-boot", "on-startup", "on-calendar", "property", "p", "timer-property", "description", "E", "setenv"}, name) && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		o.flags[name] = append(o.flags[name], value)
	}
	switch {
	case !p.cred.root():
		return p.fail(1, "Failed to start transient service unit: Interactive authentication required.")
	case len(args) == 0:
		return p.fail(1, "Command line to execute required.")
	}
	at, ok := p.lookPath(args[0])
	if !ok {
		return p.fail(1, "Failed to find executable %s: No such file or directory", args[0])
	}
	args = append([]string{at}, args[1:]...)
	name, ok := o.value("unit", "u")
	if !ok {
		name = fmt.Sprintf("run-r%08x", p.x.hosts.newPIDs(1))
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".timer"), ".service")
	timer := transientTimer(o)
	kinds := []string{".service"}
	if timer != "" {
		kinds = []string{".timer", ".service"}
	}
	for _, kind := range kinds {
		if _, there := p.m.unitFile(name + kind); there {
			return p.fail(1, "Failed to start transient %s unit: Unit %s was already loaded or has a fragment file.", kinds[0][1:], name+kind)
		}
	}
	if err := p.makeTransient(name, timer, transientService(o, args)); err != nil {
		return p.fail(1, "Failed to start transient %s unit: %s", kinds[0][1:], errorText(err))
	}
	return p.startTransient(name, timer != "", o.has("wait"))
}

// transientTimer is the timer part of the options; empty: none.
func transientTimer(o options) string {
	var b strings.Builder
	for _, on := range []struct{ option, key string }{{"on-active", "OnActiveSec"}, {"on-boot", "OnBootSec"}, {"on-startup", "OnStartupSec"}, {"on-calendar", "OnCalendar"}} {
		for _, v := range o.flags[on.option] {
			fmt.Fprintf(&b, "%s=%s\n", on.key, v)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	for _, v := range o.flags["timer-property"] {
		b.WriteString(v + "\n")
	}
	return "[Unit]\nDescription=transient timer\n\n[Timer]\n" + b.String() + "RemainAfterElapse=no\n"
}

func transientService(o options, args []string) string {
	var b strings.Builder
	b.WriteString("[Unit]\nDescription=" + strings.Join(args, " ") + "\n")
	if o.has("collect", "G") {
		b.WriteString("CollectMode=inactive-or-failed\n")
	}
	b.WriteString("\n[Service]\n")
	for _, v := range slices.Concat(o.flags["property"], o.flags["p"]) {
		b.WriteString(v + "\n")
	}
	for _, v := range slices.Concat(o.flags["setenv"], o.flags["E"]) {
		b.WriteString("Environment=" + quoteExec(v) + "\n")
	}
	var words []string
	for _, a := range args {
		words = append(words, quoteExec(a))
	}
	b.WriteString("ExecStart=" + strings.Join(words, " ") + "\n")
	return b.String()
}

// quoteExec writes one word so that splitExec reads it back.
func quoteExec(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "$", "$$", "%", "%%").Replace(word) + `"`
}

func (p *process) makeTransient(name, timer, service string) error {
	if p.m.fs.node(transientDir) == nil {
		if err := p.m.fs.mkdir(root, transientDir, 0o755); err != nil {
			return err
		}
	}
	if timer != "" {
		if err := p.m.fs.writeFile(root, path.Join(transientDir, name+".timer"), []byte(timer), 0o644); err != nil {
			return err
		}
	}
	return p.m.fs.writeFile(root, path.Join(transientDir, name+".service"), []byte(service), 0o644)
}

func (p *process) startTransient(name string, timer, wait bool) int {
	h := p.x.hosts
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(p.stderr, format+"\n", args...) }
	if timer {
		f, _ := p.m.unitFile(name + ".timer")
		if err := h.startTimer(p.m, f); err != nil {
			for _, kind := range []string{".timer", ".service"} {
				_ = p.m.fs.remove(root, path.Join(transientDir, name+kind))
			}
			return p.fail(1, "Failed to start transient timer unit: %v", err)
		}
		say("Running timer as unit: %s.timer\nWill run service as unit: %s.service", name, name)
		return 0
	}
	f, _ := p.m.unitFile(name + ".service")
	run, err := h.startService(p.m, f)
	if err != nil {
		return p.fail(1, "Failed to start transient service unit: %v", err)
	}
	say("Running as unit: %s.service", name)
	if wait && run != nil {
		<-run.done
		return run.status
	}
	return 0
}

// atJob is one job of at's queue.
type atJob struct {
	number int
	when   time.Time // host's clock
	text   []byte
	stop   func()
}

// hasAt reports whether the image brings at and its daemon.
func hasAt(m *machine) bool {
	return m.OS.Family == "amzn" && m.OS.Version == "2" || m.OS.Family == "ubuntu" && m.release() < 2204
}

// runAt is at TIME and at -t TIME with the commands on standard input; as atq
// and atrm it lists the queue and takes jobs off it. TIME is "now", "now + N UNIT" or
// HH:MM. Jobs are root's here.
func runAt(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "tfq")
	if !p.cred.root() {
		return p.fail(1, "You do not have permission to use at.")
	}
	switch name := path.Base(p.args[0]); {
	case name == "atq" || o.has("l"):
		return p.listJobs()
	case name == "atrm" || o.has("r", "d"):
		return p.removeJobs(o.operands)
	}
	when, err := atTime(o, p.m.clock())
	if err != nil {
		return p.fail(1, "%v", err)
	}
	if when.Before(p.m.clock().Truncate(time.Minute)) {
		return p.fail(1, "refusing to create job destined in the past")
	}
	var text []byte
	if file, ok := o.value("f"); ok {
		text, err = p.readFile(file)
	} else if p.stdin != nil {
		text, err = io.ReadAll(io.LimitReader(p.stdin, maxScript))
	}
	if err != nil {
		return p.fail(1, "%s", errorText(err))
	}
	if p.m.full("/var/spool/at/job", false) {
		return p.fail(1, "Cannot create atjob file: No space left on device")
	}
	n := p.x.hosts.queueJob(p.m.inst, when, text)
	_, _ = fmt.Fprintf(p.stderr, "warning: commands will be executed using /bin/sh\njob %d at %s\n", n, when.Format(time.ANSIC))
	return 0
}

func atTime(o options, now time.Time) (time.Time, error) {
	if v, ok := o.value("t"); ok {
		return touchTime(v, now)
	}
	text := strings.Join(o.operands, " ")
	when, err := parseDate(text, now)
	if err != nil || text == "" {
		return time.Time{}, fmt.Errorf("Garbled time") //nolint:staticcheck // at's words
	}
	if strings.HasPrefix(text, "now") {
		return when.Truncate(time.Second), nil
	}
	if when.Before(now) {
		when = when.AddDate(0, 0, 1)
	}
	return when, nil
}

func (p *process) listJobs() int {
	s := p.x.hosts.state(p.m.inst)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.queue {
		p.printf("%d\t%s a root\n", j.number, j.when.Format(time.ANSIC))
	}
	return 0
}

func (p *process) removeJobs(numbers []string) int {
	s, status := p.x.hosts.state(p.m.inst), 0
	for _, text := range numbers {
		n, _ := strconv.Atoi(text)
		if !s.takeJob(n) {
			status = p.fail(1, "Cannot find jobid %s", text)
		}
	}
	return status
}

// takeJob takes a job off the queue and reports whether it was there.
func (s *hostState) takeJob(number int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.queue, func(j atJob) bool { return j.number == number })
	if i < 0 {
		return false
	}
	s.queue[i].stop()
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// queueJob enters a job and gives its number.
func (h *Hosts) queueJob(inst *Instance, when time.Time, text []byte) int {
	s := h.state(inst)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs++
	j := atJob{number: s.jobs, when: when, text: text}
	j.stop = h.enterJob(inst, j)
	s.queue = append(s.queue, j)
	slices.SortStableFunc(s.queue, func(a, b atJob) int { return a.when.Compare(b.when) })
	return j.number
}

// enterJob puts a job of the queue on the agenda.
func (h *Hosts) enterJob(inst *Instance, j atJob) (stop func()) {
	return h.w.atUnlocked(j.when.Add(-inst.Skew), fmt.Sprintf("at job %d on %s", j.number, inst.Host.ID), func() {
		m := h.machine(inst)
		if !m.Host.Running() || !h.state(inst).takeJob(j.number) {
			return
		}
		p := &process{x: &execution{}, m: m, user: "root", dir: "/root", umask: 0o022, args: []string{"atd"},
			env: map[string]string{"PATH": securePath, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}}
		h.begin(p, "at job on "+m.Host.ID, [][]string{{"/bin/sh", "-c", string(j.text)}}, nil)
	})
}
