package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// fleetOf is the fleet of docs/walkthrough.md, with n hosts.
func fleetOf(n int) demoOptions {
	return demoOptions{instances: n, seed: 7, noThrottle: true, mendable: true, pace: 100}
}

// ownSim starts a simulated fleet whose environment is not the test process's:
// tests with their own may run side by side.
func ownSim(t *testing.T, o demoOptions) *ownFleet {
	t.Helper()
	o.addr = "127.0.0.1:0"
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	d, err := startDemo(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(foreign, name)
	})
	for _, v := range d.env() {
		env = append(env, v.name+"="+v.value)
	}
	return &ownFleet{d, append(env, asMigrate+"=1", "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")}
}

type ownFleet struct {
	*demoFleet
	env []string
}

func (f *ownFleet) program(args ...string) *exec.Cmd {
	c := program(args...)
	c.Env = f.env
	return c
}

// run runs the program to its end.
func (f *ownFleet) run(t *testing.T, allowed []int, args ...string) []byte {
	t.Helper()
	return output(t, f.program(args...), allowed...)
}

// planned takes an inventory and makes a plan.
func (f *ownFleet) planned(t *testing.T, allowed ...int) *plan.Plan {
	t.Helper()
	f.run(t, nil, "inventory")
	p := decode[plan.Plan](t, f.run(t, allowed, "plan", "--json"))
	if hosts, groups := p.Closes(); hosts == 0 || groups == 0 {
		t.Fatalf("the plan closes %d hosts and %d groups", hosts, groups)
	}
	return &p
}

func (f *ownFleet) status(t *testing.T) statusResult {
	t.Helper()
	return decode[statusResult](t, f.run(t, []int{exitNotReady, exitIncomplete}, "status", "--json"))
}

// verified checks the journal of the fleet, and gives what status says of it.
func (f *ownFleet) verified(t *testing.T) statusResult {
	t.Helper()
	f.run(t, nil, "journal", "--verify")
	return f.status(t)
}

// oneWave takes all hosts but the canary at once: the demo's waves take longer.
func (f *ownFleet) oneWave(t *testing.T) {
	t.Helper()
	path := filepath.Join(f.dir, defaultPolicyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`(?m)^waves: .*$`).ReplaceAll(text, []byte(`waves: ["100%"]`))
	if bytes.Equal(text, changed) {
		t.Fatalf("%s has no waves", path)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// worldState is all that a cutover may change of a world, in an order of its own.
type worldState map[string]any

// stateOf reads a world's state. What a cutover leaves for good is left out:
// newer agents, the account that an agent makes for its first session, and the
// root-only folder with the images of key files. Nor do times count.
func stateOf(w *simfleet.World) worldState {
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	out := worldState{}
	put := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		out[name] = strings.Replace(string(text), "null", "[]", 1) // a list that was emptied is none
	}
	for _, a := range w.Accounts {
		put(a.ID+" roles", a.Roles)
		put(a.ID+" profiles", a.Profiles)
		for _, rg := range a.Regions {
			put(rg.Name+" settings", []string{rg.DefaultRole, rg.Preferences})
			put(rg.Name+" documents", rg.Documents)
			for _, e := range rg.Endpoints {
				put(e.ID, e)
			}
			put(rg.Name+" interfaces", rg.ENIs)
			put(rg.Name+" scaling groups", rg.Scaling)
			put(rg.Name+" templates", rg.Templates)
			for _, g := range rg.Groups {
				put(g.ID+" in", rulesOf(g.Ingress))
				put(g.ID+" out", rulesOf(g.Egress))
			}
		}
	}
	for in := range w.Instances() {
		if !in.Host.Running() {
			continue // bastions that were drilled are listed for an hour
		}
		put(in.Host.ID+" profile and groups", []any{in.Host.ProfileARN, in.Host.Groups, in.Host.Interfaces})
		put(in.Host.ID+" agent", []any{in.Agent.Installed, in.Agent.Enabled})
		files := w.FileStates(in, "/root", "/home", "/etc/ssh", "/etc/systemd/system", "/var/spool")
		files = slices.DeleteFunc(files, func(s simfleet.FileState) bool { return strings.HasPrefix(s.Path, "/home/ssm-user") })
		for i := range files {
			files[i].ModTime = time.Time{}
		}
		out[in.Host.ID+" files"] = files
	}
	return out
}

// rulesOf lists rules source by source, sorted, as EC2 keeps them: how answers
// put them together says nothing.
func rulesOf(list []fleet.Permission) []string {
	var out []string
	for _, p := range list {
		head := fmt.Sprintf("%s %d-%d %q ", p.Protocol, p.From, p.To, p.Description)
		for _, cidr := range p.CIDRs {
			out = append(out, head+cidr.String())
		}
		for _, other := range slices.Concat(p.PrefixLists, p.Groups) {
			out = append(out, head+other)
		}
	}
	slices.Sort(out)
	return out
}

// doorsOpen counts hosts into which the operator still gets over SSH.
func doorsOpen(w *simfleet.World) (open, sessions, all int) {
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	for in := range w.Instances() {
		if !in.Host.Running() || in.Host.Windows() {
			continue
		}
		all++
		if w.OperatorLoginReason(in) == "" {
			open++
		}
		if w.ServesSessions(in) {
			sessions++
		}
	}
	return open, sessions, all
}

// The way of docs/walkthrough.md with its fleet of 60: from the first inventory
// to all hosts closed, and back to exactly where it began.
func TestSixtyHostsThereAndBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program; cutover-all.txtar goes the same way with fewer hosts")
	}
	t.Parallel()
	f := ownSim(t, fleetOf(60))
	before := stateOf(f.world)
	if open, _, all := doorsOpen(f.world); open != 60 || all != 60 {
		t.Fatalf("at first the operator gets into %d of %d hosts, want 60 of 60", open, all)
	}
	f.run(t, nil, "inventory")
	f.run(t, nil, "doctor")
	f.oneWave(t)
	p := f.planned(t)
	if hosts, _ := p.Closes(); hosts != 60 {
		t.Errorf("the plan closes %d hosts of 60: %v", hosts, p.Refusals)
	}
	f.run(t, nil, "apply", p.ID, "--yes")
	if open, sessions, _ := doorsOpen(f.world); open != 0 || sessions != 60 {
		t.Errorf("after apply the operator gets into %d hosts over SSH, and %d serve sessions; want 0 and 60", open, sessions)
	}
	if s := f.verified(t); s.State != string(cutover.OutcomeDone) || len(s.Risks) > 0 {
		t.Errorf("after apply: %s, timers armed: %v", s.State, s.Risks)
	}
	f.run(t, nil, "prove", "--no-log")
	f.run(t, nil, "rollback", p.ID, "--all", "--yes")
	if s := f.verified(t); s.Owed != 0 || len(s.Risks) > 0 {
		t.Errorf("after rollback %d steps are owed, timers armed: %v", s.Owed, s.Risks)
	}
	if diff := cmp.Diff(before, stateOf(f.world)); diff != "" {
		t.Errorf("the world is not as before (-before +after):\n%.5000s", diff)
	}
	if open, _, _ := doorsOpen(f.world); open != 60 {
		t.Errorf("after rollback the operator gets into %d hosts", open)
	}
}

// killAfter kills a run of the program when it has printed n lines, and reports
// whether it got so far.
func (f *ownFleet) killAfter(t *testing.T, n int, args ...string) bool {
	t.Helper()
	c := f.program(args...)
	c.Stdout = nil
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines, buffer := 0, make([]byte, 4096)
	for lines < n {
		k, err := out.Read(buffer)
		lines += bytes.Count(buffer[:k], []byte("\n"))
		if err != nil {
			break
		}
	}
	if err := c.Process.Kill(); err != nil && lines >= n {
		t.Fatal(err)
	}
	err = c.Wait()
	if lines < n && err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
	}
	return err != nil
}

// The program is killed in the middle, several times; each time the next run
// goes on, and in the end everything is taken back, also by a run that is killed.
func TestKilledRunsGoOnAndBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program; the simulations kill runs at every write")
	}
	t.Parallel()
	f := ownSim(t, fleetOf(5))
	f.oneWave(t)
	before := stateOf(f.world)
	p := f.planned(t)
	kills := 0
	for n := range 3 {
		if f.killAfter(t, 5+25*n, "apply", p.ID, "--yes") {
			kills++
		}
		f.leaseEnds(t)
		f.run(t, nil, "journal", "--verify")
	}
	if kills < 2 {
		t.Errorf("only %d runs were killed before their end", kills)
	}
	f.run(t, nil, "apply", p.ID, "--yes")
	if open, sessions, all := doorsOpen(f.world); open != 0 || sessions != all {
		t.Errorf("after all the operator gets into %d hosts over SSH, and %d of %d serve sessions", open, sessions, all)
	}
	f.killAfter(t, 10, "rollback", p.ID, "--all", "--yes")
	f.leaseEnds(t)
	f.run(t, nil, "rollback", p.ID, "--all", "--yes")
	if s := f.verified(t); s.Owed != 0 {
		t.Errorf("%d steps are still owed", s.Owed)
	}
	if diff := cmp.Diff(before, stateOf(f.world)); diff != "" {
		t.Errorf("the world is not as before (-before +after):\n%.5000s", diff)
	}
}

// Somebody else may look on and speak to a run, but not apply beside it.
func TestOneRunAtATimeListens(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program")
	}
	t.Parallel()
	f := ownSim(t, fleetOf(4))
	f.oneWave(t)
	p := f.planned(t)
	first := f.program("apply", p.ID, "--yes")
	var text bytes.Buffer
	first.Stdout, first.Stderr = &text, &text
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	f.await(t, "a run that applies", func(s statusResult) bool { return s.Holder != "" && s.Entries > 5 })

	second := f.program("apply", p.ID, "--yes")
	refused, err := second.CombinedOutput()
	if exitCode(err) != exitError || !strings.Contains(string(refused), "migrate status") || !strings.Contains(string(refused), "migrate pause "+p.ID+" --stop") {
		t.Errorf("a second run: %v\n%s", err, refused)
	}
	f.run(t, nil, "pause", "--reason", "lunch")
	f.await(t, "a run that pauses", func(s statusResult) bool { return s.Wish.Pause && paused(t, f) })
	f.run(t, nil, "resume", "--concurrency", "4")
	f.await(t, "a run that goes on", func(s statusResult) bool { return !paused(t, f) })
	f.run(t, nil, "pause", "--stop")
	if err := <-ended; exitCode(err) != exitIncomplete || !strings.Contains(text.String(), "stopped") {
		t.Errorf("the run that was stopped: %v\n%s", err, &text)
	}

	// A terminal that goes away stops a run as Ctrl-C does.
	before := f.verified(t).Entries
	hungUp := f.program("apply", p.ID, "--yes")
	text.Reset()
	hungUp.Stdout, hungUp.Stderr = &text, &text
	if err := hungUp.Start(); err != nil {
		t.Fatal(err)
	}
	f.await(t, "a run that goes on", func(s statusResult) bool { return s.Holder != "" && s.Entries > before+3 })
	if err := hungUp.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := hungUp.Wait(); exitCode(err) != exitIncomplete || !strings.Contains(text.String(), "stopped") {
		t.Errorf("the run whose terminal went away: %v\n%s", err, &text)
	}
	f.await(t, "no run", func(s statusResult) bool { return s.Holder == "" })

	f.run(t, nil, "apply", p.ID, "--yes")
	if s := f.verified(t); s.State != string(cutover.OutcomeDone) {
		t.Errorf("at last: %s", s.State)
	}

	// A run that is refused leaves alone the stop that is meant for another.
	db, err := sqlite.Open(t.Context(), f.db())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Acquire(t.Context(), "another", time.Minute); err != nil {
		t.Fatal(err)
	}
	f.run(t, nil, "pause", "--stop")
	f.run(t, []int{exitError}, "apply", p.ID, "--yes")
	if w, err := db.Control(t.Context(), p.ID); err != nil || !w.Stop {
		t.Errorf("the stop after a refused run: %+v, %v", w, err)
	}
}

// await looks at the status until it is as wanted.
func (f *ownFleet) await(t *testing.T, what string, as func(statusResult) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if as(f.status(t)) {
			return
		}
	}
	t.Fatalf("no %s within a minute", what)
}

// paused reports whether the journal's last word of pausing is that the run pauses.
func paused(t *testing.T, f *ownFleet) bool {
	t.Helper()
	is := false
	for _, e := range decode[[]cutover.Entry](t, f.run(t, nil, "journal", "--json")) {
		switch e.Event {
		case cutover.Paused:
			is = true
		case cutover.Resumed:
			is = false
		}
	}
	return is
}

// leaseEnds ends the lease of a run that was killed, as its minute does.
func (f *ownFleet) leaseEnds(t *testing.T) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), f.db())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for fence := range int64(20) { // one of them is the run's
		if err := db.Release(t.Context(), fence); err != nil {
			t.Fatal(err)
		}
	}
	if holder, _, err := db.Holder(t.Context()); err != nil || holder != "" {
		t.Fatalf("the lease is held by %q: %v", holder, err)
	}
}

// What the demo's user is allowed is what the documentation grants.
func TestDemoAllowsTheDocumentedPolicy(t *testing.T) {
	text, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, cutovers, ok := strings.Cut(string(text), "\n# Permissions of a cutover\n")
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(cutovers)
	if !ok || block == nil {
		t.Fatal("docs/permissions.md holds no policy of a cutover")
	}
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(block[1]), &policy); err != nil || len(policy.Statement) != 1 {
		t.Fatalf("the policy is not one statement: %v", err)
	}
	var granted []string
	for service, actions := range cutoverActions {
		for _, action := range actions {
			granted = append(granted, service+":"+action)
		}
	}
	slices.Sort(granted)
	if diff := cmp.Diff(policy.Statement[0].Action, granted); diff != "" {
		t.Errorf("-documented +granted:\n%s", diff)
	}
}
