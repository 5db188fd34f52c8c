package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// inject brings causes about, those of each list on a host of its own: the
// first that serves sessions until then, is no bastion, and that the first of them fits.
func (f *ownFleet) inject(t *testing.T, lists ...[]string) (on map[*simfleet.Instance]bool) {
	t.Helper()
	f.world.Mu.Lock()
	defer f.world.Mu.Unlock()
	causes := map[string]simfleet.Cause{}
	for _, c := range simfleet.Causes() {
		causes[c.Name] = c
	}
	all := slices.DeleteFunc(slices.Collect(f.world.Instances()), func(in *simfleet.Instance) bool {
		return !f.world.ServesSessions(in) || in.Host.PublicIP.IsValid()
	})
	on = map[*simfleet.Instance]bool{}
	for _, names := range lists {
		i := slices.IndexFunc(all, func(in *simfleet.Instance) bool { return !on[in] && causes[names[0]].Inject(f.world, in) == nil })
		if i < 0 {
			t.Fatalf("no host of the fleet takes the cause %s", names[0])
		}
		on[all[i]] = true
		for _, name := range names[1:] {
			if err := causes[name].Inject(f.world, all[i]); err != nil {
				t.Fatalf("%s on %s: %v", name, all[i].Host.ID, err)
			}
		}
	}
	return on
}

// only leaves all hosts out of the plan but these: the AWS CLI
// takes its time for each recovery bastion.
func (f *ownFleet) only(t *testing.T, hosts map[*simfleet.Instance]bool) {
	t.Helper()
	text := "exclude:\n"
	f.world.Mu.RLock()
	for in := range f.world.Instances() {
		if !hosts[in] {
			text += "  - {id: " + in.Host.ID + ", reason: no part of the test}\n"
		}
	}
	f.world.Mu.RUnlock()
	f.policy(t, text)
}

// policy adds to the policy of the fleet's cutover.
func (f *ownFleet) policy(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(f.dir, defaultPolicyFile)
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(have, text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// codeOwner runs a stage of an exported script with Debian's AWS CLI and
// OpenSSH's client, and gives how often it called each.
func (f *ownFleet) codeOwner(t *testing.T, script, stage string) (aws, ssh int) {
	t.Helper()
	for path, line := range map[string]string{"/usr/bin/aws": "awscli", "/usr/bin/ssh": "openssh-client", "/bin/nc": "netcat-openbsd"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; install it with: apt-get install %s", err, line)
		}
	}
	// That version does not know AWS_ENDPOINT_URL.
	bin := t.TempDir()
	for name, line := range map[string]string{
		"aws": `echo aws >>"$CALLS"; exec /usr/bin/aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"`,
		"ssh": `echo ssh >>"$CALLS"; exec /usr/bin/ssh -F ` + f.openSSH() + ` "$@"`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	calls := filepath.Join(bin, "calls")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", script, stage)
	c.Env = append(slices.Clone(f.env), "PATH="+bin+":/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "CALLS="+calls)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Errorf("sh %s %s: %v\n%s", filepath.Base(script), stage, err, &out)
	}
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("aws\n")), bytes.Count(text, []byte("ssh\n"))
}

// handovers are fleets that are prepared once wholly by migrate and once wholly
// by others.
var handovers = []struct {
	name   string
	fleet  demoOptions
	plain  bool       // without session preferences
	causes [][]string // beside the fleet's own trouble, those of each list on a host
	only   bool       // all other hosts are left out
	fixes  []plan.Kind
	never  []plan.Kind
	want   []string // kinds of steps that the plan has to hand over, and what is done about agents
}{
	{
		// The fleet of migrate demo, with a cause for each kind of fix that it has nothing to do for.
		name:   "demo",
		fleet:  demoOptions{instances: 60, seed: 7, unreachable: 5, noThrottle: true, pace: 100},
		causes: [][]string{{"no-profile"}, {"agent-sleeps"}, {"shared-role-without-ssm"}, {"run-as-user-missing"}},
		fixes: []plan.Kind{
			plan.AttachProfile, plan.ExtendRole, plan.AllowEgress, plan.CreateEndpoint, plan.Agent, plan.SessionPreferences,
			plan.TimerRole, plan.RecoveryGroup, plan.RecoveryRule, plan.RecoveryKey,
		},
		want: []string{
			"attach-profile", "extend-role", "allow-egress", "create-endpoint", "session-preferences", "timer-role", "recovery-group", "recovery-rule", "recovery-key",
			"agent install", "agent upgrade", "agent enable", "wait-for restart",
		},
	},
	{
		// A plan attaches profiles or turns on Default Host Management, never both. The
		// latter's role may not decrypt, as the preferences of this fleet ask for.
		name:   "default host management",
		fleet:  fleetOf(8),
		plain:  true,
		causes: [][]string{{"no-profile"}},
		only:   true,
		fixes:  []plan.Kind{plan.DefaultHostManagement},
		never:  []plan.Kind{plan.AttachProfile},
		want:   []string{"default-host-management"},
	},
}

// The same fleet is prepared twice: once wholly by migrate, and once by the
// owners of its code and of its hosts, who run the exported lines while migrate waits.
// Both end alike: all that a cutover may change in AWS and on hosts is the
// same, but for IDs and addresses that AWS gives, times, and the value of the tag that tells who made a thing.
func TestHandOverEndsInTheSameState(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: make long runs it")
	}
	t.Parallel()
	for _, h := range handovers {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			ours := ownSim(t, h.fleet)
			handed := ownSim(t, withKeyOf(t, ours, h.fleet))
			for f, how := range map[*ownFleet]string{ours: "apply", handed: "hand"} {
				f.oneWave(t)
				text := "fixes:\n"
				for _, k := range h.fixes {
					text += "  " + string(k) + ": " + how + "\n"
				}
				for _, k := range h.never {
					text += "  " + string(k) + ": never\n"
				}
				f.policy(t, text)
				if h.plain {
					f.regions(func(r *simfleet.Region) { r.Preferences = "" })
				}
				on := f.inject(t, h.causes...)
				if h.only {
					f.only(t, on)
				}
			}
			bothWays(t, ours, handed, h.want, !h.only)
		})
	}
}

// bothWays carries out the plans of the two fleets. With wholly, nothing that
// prepares is left to the second one's migrate.
func bothWays(t *testing.T, ours, handed *ownFleet, want []string, wholly bool) {
	t.Helper()
	p, h := ours.plannedFor(t), handed.plannedFor(t)
	if diff := cmp.Diff(namesOfSteps(p), namesOfSteps(h)); diff != "" {
		t.Fatalf("the plans differ in more than who does it (-by migrate +by hand):\n%s", diff)
	}
	kinds, left := leftToOthers(t, h, wholly)
	for _, k := range want {
		if kinds[k] == 0 {
			t.Fatalf("nothing of %s is handed over: the fleet shows nothing of it (%v); what is not in the plan: %+v", k, kinds, h.Refusals)
		}
	}
	script := filepath.Join(t.TempDir(), "handover.sh")
	text := handed.run(t, nil, "export", "cli", "--handed")
	if err := os.WriteFile(script, text, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	byUs := ours.begin(t, "apply", p.ID, "--yes")
	byHand := handed.begin(t, "apply", h.ID, "--yes")
	handed.waits(t)
	aws, ssh := 0, 0
	for _, stage := range []string{"prepare", "recovery", "nodes", "hosts"} {
		if !bytes.Contains(text, []byte("\n"+stage+")\n")) {
			continue // the plan has nothing for it
		}
		a, s := handed.codeOwner(t, script, stage)
		aws, ssh = aws+a, ssh+s
	}
	byHand()
	byUs()
	t.Logf("%d steps handed over (%v), %d lines of the AWS CLI and %d of ssh run, in %v", len(left), kinds, aws, ssh, time.Since(began).Round(time.Second))
	handed.foundAll(t, left)
	sameWorlds(t, ours, handed)
}

// leftToOthers counts the steps that a plan leaves to others by what they do, and
// gives their IDs.
func leftToOthers(t *testing.T, p *plan.Plan, wholly bool) (kinds map[string]int, ids map[string]bool) {
	t.Helper()
	kinds, ids = map[string]int{}, map[string]bool{}
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			switch {
			case s.Handed && s.Agent != nil:
				kinds["agent "+string(s.Agent.Action)]++
			case s.Handed:
				kinds[string(s.Kind)]++
			case s.Kind == plan.WaitFor:
				kinds["wait-for "+string(s.Wait.Action)]++
			default:
				if wholly && s.Phase == plan.Prepare {
					t.Errorf("step %s is left to nobody", s.ID)
				}
				continue
			}
			ids[s.ID] = true
		}
	}
	return kinds, ids
}

// foundAll checks that migrate saw steps done, and did none of them itself.
func (f *ownFleet) foundAll(t *testing.T, steps map[string]bool) {
	t.Helper()
	found := map[string]bool{}
	for _, e := range journalEntries(t, f) {
		if steps[e.Step] && (e.Event == cutover.Intended || e.Event == cutover.Ours) {
			t.Errorf("migrate itself did %s: %s", e.Step, e.Event)
		}
		found[e.Step] = found[e.Step] || e.Event == cutover.Found
	}
	for id := range steps {
		if !found[id] {
			t.Errorf("step %s was never seen to be done", id)
		}
	}
}

// sameWorlds compares two fleets after their cutovers: their worlds, what a new
// inventory makes of each host, and whom they let in.
func sameWorlds(t *testing.T, ours, handed *ownFleet) {
	t.Helper()
	if diff := cmp.Diff(endState(ours), endState(handed)); diff != "" {
		t.Errorf("the fleets differ (-by migrate +by hand):\n%.6000s", diff)
	}
	if diff := cmp.Diff(ours.verdicts(t), handed.verdicts(t)); diff != "" {
		t.Errorf("verdicts (-by migrate +by hand):\n%s", diff)
	}
	was, serve, _ := doorsOpen(ours.world)
	if open, sessions, all := doorsOpen(handed.world); open != was || sessions != serve || open == all {
		t.Errorf("by hand %d of %d hosts are open and %d serve sessions; by migrate %d and %d", open, all, sessions, was, serve)
	}
}

// plannedFor takes an inventory and makes a plan of a fleet that may have hosts
// that do not answer.
func (f *ownFleet) plannedFor(t *testing.T) *plan.Plan {
	t.Helper()
	f.run(t, []int{exitIncomplete}, "inventory")
	p := decode[plan.Plan](t, f.run(t, []int{exitIncomplete}, "plan", "--json"))
	return &p
}

// namesOfSteps lists a plan's steps by what is done to what. A restart that
// others do is waited for.
func namesOfSteps(p *plan.Plan) []string {
	var out []string
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			kind := s.Kind
			if s.Kind == plan.Agent && s.Agent.Action == plan.RestartAgent {
				kind = plan.WaitFor
			}
			out = append(out, w.Name+" "+string(kind)+" "+s.Lane)
		}
	}
	slices.Sort(out)
	return out
}

// begin starts the program; what it gives waits for its end, which has to be good.
func (f *ownFleet) begin(t *testing.T, args ...string) func() {
	t.Helper()
	c := f.program(args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return func() {
		t.Helper()
		ended = true
		if err := c.Wait(); err != nil {
			t.Fatalf("migrate %s: %v\n%s", strings.Join(args, " "), err, &out)
		}
	}
}

// waits returns when the run of migrate waits for somebody else.
func (f *ownFleet) waits(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, e := range journalEntries(t, f) {
			if e.Event == cutover.Note && strings.HasPrefix(e.Detail, "waits for others to do it") {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("migrate apply does not wait for anybody")
		case <-tick.C:
		}
	}
}

// withKeyOf is a fleet with another's recovery key.
func withKeyOf(t *testing.T, f *ownFleet, o demoOptions) demoOptions {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(f.dir, demoRecoveryKey))
	if err != nil {
		t.Fatal(err)
	}
	o.dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.dir, demoRecoveryKey), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}
