package cutover_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func ref(id string) fleet.HostRef { return fleet.HostRef{Account: "1", Region: "r", ID: id} }

// fixture is a plan with the world that it is for.
type fixture struct {
	*world
	plan  *plan.Plan
	hosts map[fleet.HostRef]fleet.Host
	cfg   func(*cutover.Config) // changes to each executor's configuration
}

// newFixture makes waves of hosts: host n of a wave is "i-<wave><n>". All hosts
// are in group sg-all; those of a wave in sg-<wave> too. The first host of each wave has
// its agent already, which a rollback must leave alone.
func newFixture(t testing.TB, waves ...int) *fixture {
	w := newWorld(t)
	policy := plan.DefaultPolicy()
	policy.Soak, policy.Concurrency = plan.Duration(time.Minute), 2
	p := &plan.Plan{ID: "p1", Digest: "d1", Snapshot: 1, Policy: policy}
	f := &fixture{world: w, plan: p, hosts: map[fleet.HostRef]fleet.Host{}}
	at := fleet.Place{Account: "1", Region: "r"}
	w.facts["role timer"], w.facts["bastion vpc"] = false, false
	var all []fleet.HostRef
	for n, size := range waves {
		wave := plan.Wave{Number: n + 1, Name: fmt.Sprintf("wave %d", n+1), Soak: policy.Soak}
		for i := range size {
			id := fmt.Sprintf("i-%d%d", n+1, i)
			w.facts["agent "+id], w.facts["keys "+id], w.facts["key "+id] = i == 0, true, false
			wave.Hosts = append(wave.Hosts, ref(id))
			f.hosts[ref(id)] = fleet.Host{ID: id, Account: "1", Region: "r"}
		}
		all = append(all, wave.Hosts...)
		wave.Steps = stepsOf(n+1, wave.Hosts)
		own := fmt.Sprintf("sg-%d", n+1)
		w.addGroup(own, wave.Hosts)
		wave.Steps = append(wave.Steps, closeSteps(n+1, own, wave.Hosts)...)
		if n == len(waves)-1 {
			w.addGroup("sg-all", all)
			wave.Steps = append(wave.Steps, closeSteps(n+1, "sg-all", slices.Clone(all))...)
		}
		for i := range wave.Steps {
			wave.Steps[i].At = at
			wave.Steps[i].Title = string(wave.Steps[i].Kind) + " " + wave.Steps[i].Lane
		}
		p.Waves = append(p.Waves, wave)
	}
	foundation := plan.Wave{Name: "foundation", Steps: []plan.Step{
		{ID: "w0/role", Kind: plan.TimerRole, Phase: plan.Prepare, Lane: "account", At: fleet.Place{Account: "1"}},
		{ID: "w0/bastion", Kind: plan.RecoveryGroup, Phase: plan.Prepare, Lane: "vpc", At: at},
	}}
	p.Waves = append([]plan.Wave{foundation}, p.Waves...)
	return f
}

func (w *world) addGroup(id string, members []fleet.HostRef) {
	w.facts["port "+id] = true
	for _, m := range members {
		w.groups[id] = append(w.groups[id], m.ID)
	}
}

func stepsOf(wave int, hosts []fleet.HostRef) []plan.Step {
	var out []plan.Step
	add := func(ph plan.Phase, k plan.Kind, lane string, hosts ...fleet.HostRef) {
		s := plan.Step{ID: fmt.Sprintf("w%d/%s/%s/%d-%s", wave, ph, lane, len(out), k), Kind: k, Phase: ph, Lane: lane, Hosts: hosts}
		if k == plan.ArmHostTimer || k == plan.DisarmHostTimer {
			s.Timer = &plan.TimerChange{After: plan.Duration(15 * time.Minute)}
		}
		out = append(out, s)
	}
	for _, h := range hosts {
		add(plan.Prepare, plan.Agent, h.ID, h)
	}
	for _, h := range hosts {
		add(plan.Prove, plan.RecoveryKey, h.ID, h)
		add(plan.Prove, plan.ProveSession, h.ID, h)
	}
	add(plan.Prove, plan.RecoveryDrill, "vpc", hosts...)
	for _, h := range hosts {
		for _, k := range []plan.Kind{plan.ArmHostTimer, plan.QuarantineKeys, plan.ProveSession, plan.DisarmHostTimer} {
			add(plan.Quarantine, k, h.ID, h)
		}
	}
	return out
}

func closeSteps(wave int, group string, members []fleet.HostRef) []plan.Step {
	var out []plan.Step
	for n, k := range []plan.Kind{plan.ArmRuleTimer, plan.ClosePort, plan.ProveSession, plan.DisarmRuleTimer} {
		s := plan.Step{ID: fmt.Sprintf("w%d/close/%s/%d-%s", wave, group, n, k), Kind: k, Phase: plan.Close, Lane: group, Hosts: members}
		if k == plan.ArmRuleTimer || k == plan.DisarmRuleTimer {
			s.Timer = &plan.TimerChange{After: plan.Duration(15 * time.Minute)}
		}
		out = append(out, s)
	}
	return out
}

func (f *fixture) executor(operator string) *cutover.Executor {
	f.t.Helper()
	kinds := cutover.Kinds{}
	for _, w := range f.plan.Waves {
		for _, s := range w.Steps {
			kinds[s.Kind] = kind{f.world}
		}
	}
	c := cutover.Config{
		Plan: f.plan, Hosts: f.hosts, Kinds: kinds, Prover: f.world, Proofs: f.world, Journal: f.world,
		Leases: f.world, Control: f.world, Hooks: f.world, Operator: operator,
	}
	if f.cfg != nil {
		f.cfg(&c)
	}
	x, err := cutover.New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.set(func() { f.dead, f.calls, f.onKill = false, 0, x.Abort })
	return x
}

// apply runs Apply, on a dead process's lease if need be.
func (f *fixture) apply(ctx context.Context) (cutover.Result, error) {
	f.t.Helper()
	return f.executor("ops").Apply(ctx)
}

func (f *fixture) rollback(ctx context.Context, s cutover.Scope) (cutover.Result, error) {
	f.t.Helper()
	return f.executor("ops").Rollback(ctx, s)
}

// outlive waits until the lease of a dead run has run out.
func (f *fixture) outlive() { time.Sleep(2 * time.Minute) }

func (f *fixture) wantVerified() {
	f.t.Helper()
	if err := cutover.Verify(f.entries); err != nil {
		f.t.Errorf("journal: %v", err)
	}
	own := slices.DeleteFunc(slices.Clone(f.entries), func(e cutover.Entry) bool { return e.Plan != f.plan.ID })
	if _, err := cutover.Status(f.plan, own); err != nil {
		f.t.Errorf("status: %v", err)
	}
}

// wantClosed asserts that every door is closed and no timer is left.
func (f *fixture) wantClosed() {
	f.t.Helper()
	for fact, v := range f.state() {
		var kind, id string
		if _, err := fmt.Sscan(fact, &kind, &id); err != nil {
			f.t.Fatal(err)
		}
		switch {
		case kind == "timer":
			f.t.Errorf("%s is left", fact)
		case v == (kind == "keys" || kind == "port"):
			f.t.Errorf("%s is %t", fact, v)
		}
	}
}

func want(t testing.TB, res cutover.Result, err error, o cutover.Outcome) {
	t.Helper()
	if err != nil || res.Outcome != o {
		t.Fatalf("outcome %q (%s), error %v; want %q", res.Outcome, res.Reason, err, o)
	}
}
