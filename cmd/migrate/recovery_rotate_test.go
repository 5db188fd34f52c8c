package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/simfleet"
)

// keysOn counts the hosts on which a recovery key stands in some file, live or saved.
func (f *ownFleet) keysOn(blob string) (live, saved int) {
	f.world.Mu.RLock()
	defer f.world.Mu.RUnlock()
	for in := range f.world.Instances() {
		has := func(dir string) bool {
			for _, s := range f.world.FileStates(in, dir) {
				if strings.Contains(s.Content, blob) {
					return true
				}
			}
			return false
		}
		if !in.Host.Running() {
			continue
		}
		if has("/root") || has("/home") || has("/etc/ssh") {
			live++
		}
		if has("/var/lib/migrate") {
			saved++
		}
	}
	return live, saved
}

// The recovery way from drill to break glass on a fleet that has been cut over: the
// key is rotated by runs that are killed, and the rollback finds its way all the same.
// drillThatRotates drills with a policy that wants a new key after each drill.
func (f *ownFleet) drillThatRotates(t *testing.T, key string) {
	t.Helper()
	path := filepath.Join(f.dir, defaultPolicyFile)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(was), "\nrecovery:", "\nrecovery:\n  rotate: always", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil || text == string(was) {
		t.Fatalf("%v; the policy was:\n%s", err, was)
	}
	f.run(t, nil, "recovery", "drill", "--yes")
	if live, saved := f.keysOn(key); live != 0 || saved != 0 {
		t.Errorf("after a drill that rotates, the old key is on %d hosts, and saved on %d", live, saved)
	}
	if err := os.WriteFile(path, was, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRecoveryWayOfACutoverFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program")
	}
	t.Parallel()
	f := ownSim(t, fleetOf(5))
	f.oneWave(t)
	before := stateOf(f.world)
	p := f.planned(t)
	f.run(t, nil, "apply", p.ID, "--yes")

	first := f.run(t, nil, "recovery", "status")
	if !regexp.MustCompile(`(?m)^  yes     drilled \d+m ago: \d+ of \d+ hosts? in \d+s \(launch \d+s, console \d+s, bastion \d+s, logins \d+s; back at zero \d+s\)$`).Match(first) {
		t.Errorf("status does not tell of the last drill:\n%s", first)
	}
	drills := decode[[]drillResult](t, f.run(t, nil, "recovery", "drill", "--yes", "--all", "--json"))
	proofs := 0
	for _, d := range drills {
		proofs += len(d.Proofs)
		if d.Error != "" || d.Took == "" || d.Phases.Launch == "0s" {
			t.Errorf("drill of %s: %+v", d.VPC, d)
		}
	}
	hosts, _ := p.Closes()
	if proofs != hosts {
		t.Errorf("%d logins for %d hosts", proofs, hosts)
	}
	if s := f.status(t); s.Plan != p.ID {
		t.Errorf("status speaks of plan %s after a drill", s.Plan)
	}

	old := strings.Fields(p.Policy.Recovery.PublicKey)[1]
	kills := 0
	for n := range 3 {
		if f.killRotation(t, 4+2*n) {
			kills++
		}
		f.leaseEnds(t)
		if live, _ := f.keysOn(old); n == 0 && live != hosts {
			t.Errorf("after the first kill %d of %d hosts have the old key", live, hosts)
		}
	}
	if kills < 2 {
		t.Errorf("only %d rotations were killed", kills)
	}
	f.rotateUnseen(t, p)
	r := decode[rotateResult](t, f.run(t, nil, "recovery", "rotate", "--yes", "--json"))
	if r.Outcome != cutover.OutcomeDone || len(r.Retired) != 1 || !strings.Contains(r.Retired[0], old) {
		t.Errorf("rotation: %+v", r)
	}
	next := strings.Fields(r.Key)[1]
	if live, saved := f.keysOn(old); live != 0 || saved != 0 {
		t.Errorf("the old key is on %d hosts, and saved on %d", live, saved)
	}
	if live, _ := f.keysOn(next); live != hosts {
		t.Errorf("the new key is on %d of %d hosts", live, hosts)
	}
	f.run(t, nil, "drift") // a later generation of the key is as good
	f.drillThatRotates(t, next)
	f.breakGlass(t, p)
	f.run(t, nil, "rollback", p.ID, "--all", "--yes")
	if s := f.verified(t); s.Plan != p.ID || s.Owed != 0 {
		t.Errorf("%d steps are still owed of plan %s", s.Owed, s.Plan)
	}
	if diff := cmp.Diff(before, stateOf(f.world)); diff != "" {
		t.Errorf("the world is not as before (-before +after):\n%.5000s", diff)
	}
}

// rotateUnseen rotates by an inventory that one Region refused: whatever was done to
// its hosts, the old key stays in its place.
func (f *ownFleet) rotateUnseen(t *testing.T, p *plan.Plan) {
	t.Helper()
	place := p.Of(plan.QuarantineKeys)[0].Hosts[0].Place()
	unseen := 0
	for _, s := range p.Of(plan.QuarantineKeys) {
		if s.Hosts[0].Region == place.Region {
			unseen++
		}
	}
	if hosts, _ := p.Closes(); unseen == hosts {
		t.Fatalf("all hosts are in %s", place.Region)
	}
	f.faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeInstances", Region: place.Region, Kind: simfleet.FaultDeny})
	f.run(t, []int{exitIncomplete}, "inventory")
	f.faults.Set()
	s := decode[recoveryStanding](t, f.run(t, []int{exitIncomplete, exitNotReady}, "recovery", "status", "--stored", "--json"))
	if !slices.ContainsFunc(s.Checks, func(c recovery.Check) bool { return len(c.Hosts) == unseen && c.Holds == fleet.TruthUnknown }) {
		t.Errorf("status does not tell of %d hosts that were not seen: %+v", unseen, s.Checks)
	}
	r := decode[rotateResult](t, f.run(t, []int{exitIncomplete}, "recovery", "rotate", "--yes", "--json"))
	if len(r.Waiting) != unseen || len(r.Retired) != 0 {
		t.Errorf("without %s: %+v", place.Region, r)
	}
	f.run(t, nil, "inventory")
}

// killRotation kills a rotation when it has told of n events, and reports
// whether it got so far.
func (f *ownFleet) killRotation(t *testing.T, n int) bool {
	t.Helper()
	c := f.program("recovery", "rotate", "--yes")
	c.Stderr = nil
	events, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = nil
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines, buffer := 0, make([]byte, 4096)
	for lines < n {
		k, err := events.Read(buffer)
		lines += bytes.Count(buffer[:k], []byte("\n"))
		if err != nil {
			break
		}
	}
	_ = c.Process.Kill()
	return c.Wait() != nil
}

// breakGlass opens the recovery way, and closes it.
func (f *ownFleet) breakGlass(t *testing.T, p *plan.Plan) {
	t.Helper()
	f.run(t, []int{exitUsage}, "recovery", "open", "--yes")
	f.run(t, []int{exitUsage}, "recovery", "open", "--reason", "x", "--yes", "--run", "nobody")
	if n := f.bastions(); n != 0 {
		t.Errorf("%d bastions run for a host that nothing leads to", n)
	}
	o := decode[openResult](t, f.run(t, nil, "recovery", "open", "--reason", "Session Manager is down", "--for", "30m", "--yes", "--json"))
	config, err := os.ReadFile(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range o.Ways {
		if w.Error != "" || w.Bastion == "" || w.Ends.IsZero() || len(w.Hosts) == 0 {
			t.Errorf("opened: %+v", w)
			continue
		}
		if want := "ssh -F " + o.Config + " -J " + w.Bastion + " " + w.Hosts[0].Host.ID; w.Hosts[0].Command != want {
			t.Errorf("command %q, want %q", w.Hosts[0].Command, want)
		}
		if !strings.Contains(string(config), "Host "+w.Bastion+"\n") || !strings.Contains(string(config), "ProxyJump "+w.Bastion+"\n") {
			t.Errorf("the configuration does not know %s:\n%s", w.Bastion, config)
		}
		known, err := os.ReadFile(strings.TrimSuffix(o.Config, ".ssh_config") + ".known_hosts")
		if err != nil || !strings.Contains(string(known), w.Bastion+" ssh-") {
			t.Errorf("known hosts: %s, %v", known, err)
		}
	}
	if n := f.bastions(); n != len(o.Ways) {
		t.Errorf("%d bastions run, want %d", n, len(o.Ways))
	}
	first := o.Ways
	// A second opening decides when a bastion that runs already ends, unless that is later.
	for _, tt := range []struct {
		length string
		longer bool
	}{{"4h", true}, {"1h", false}} {
		o = decode[openResult](t, f.run(t, nil, "recovery", "open", "--reason", "it is still down", "--for", tt.length, "--yes", "--json"))
		for i, w := range o.Ways {
			if w.Bastion != first[i].Bastion || w.Ends.After(first[i].Ends) != tt.longer || w.Ends.Before(first[i].Ends) {
				t.Errorf("opened for %s: %+v, before: %+v", tt.length, w, first[i])
			}
		}
		first = o.Ways
	}
	for _, w := range o.Ways {
		f.loginAsPrinted(t, w.Hosts[0])
	}
	names := map[string]int{}
	for _, w := range o.Ways {
		for _, h := range w.Hosts {
			names[h.Name]++
		}
	}
	if h := o.Ways[0].Hosts[0]; names[h.Name] == 1 {
		c := f.program("recovery", "open", "--reason", "it is down", "--for", "30m", "--yes", "--run", h.Name)
		c.Stdin = strings.NewReader("sudo -n id -u; echo here\n")
		if out, err := c.Output(); err != nil || !strings.Contains(string(out), "0\nhere") {
			t.Errorf("a shell on %s: %v\n%s", h.Name, err, out)
		}
	}
	f.run(t, []int{exitUsage}, "recovery", "drill", "--yes") // it would end the bastions
	f.run(t, []int{exitUsage}, "recovery", "rotate", "--yes")
	f.run(t, nil, "recovery", "close", "--yes", "--keep-key")
	if n := f.bastions(); n != 0 {
		t.Errorf("%d bastions still run", n)
	}
	f.leftBastion(t, p)
	if _, err := os.Stat(o.Config); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", o.Config, err)
	}
}

// leftBastion leaves bastions to close that no opening has started.
func (f *ownFleet) leftBastion(t *testing.T, p *plan.Plan) {
	t.Helper()
	for _, s := range p.Of(plan.RecoveryGroup) {
		f.operator(t, "aws autoscaling update-auto-scaling-group --region "+s.At.Region+" --auto-scaling-group-name "+s.Recovery.Name+" --desired-capacity 1")
	}
	out := f.run(t, nil, "recovery", "close", "--yes", "--keep-key")
	if n := f.bastions(); n != 0 || !strings.Contains(string(out), "that no opening had left ended") {
		t.Errorf("%d bastions still run: %s", n, out)
	}
}

// loginAsPrinted runs the command that recovery open has printed, by OpenSSH.
func (f *ownFleet) loginAsPrinted(t *testing.T, h openedHost) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", h.Command+" 'sudo -n id -un'") //nolint:gosec // the program's own words are what is tried
	c.Env = f.env
	var errs bytes.Buffer
	c.Stderr = &errs
	said, err := c.Output()
	if err != nil || string(said) != "root\n" {
		t.Errorf("%s: %q, %v\n%s", h.Command, said, err, errs.Bytes())
	}
}

// bastions counts recovery bastions that are not on their way out.
func (f *ownFleet) bastions() int {
	f.world.Mu.RLock()
	defer f.world.Mu.RUnlock()
	n := 0
	for in := range f.world.Instances() {
		if strings.HasPrefix(in.Host.AutoScalingGroup, plan.RecoveryName("")) && in.Host.Running() {
			n++
		}
	}
	return n
}
