package cutover_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

const (
	oldLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAFm0vcsQXbb3Otah2mH2xY3HnW0mJrD2Tz1p8pQ0aa old"
	newLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAFm0vcsQXbb3Otah2mH2xY3HnW0mJrD2Tz1p8pQ0bb new"
)

func blob(line string) string { return strings.Fields(line)[1] }

// rotating is a rotation on simulated machines, whose process may die at every
// call of a port.
type rotating struct {
	*world                 // journal, lease, control, proofs; and the faults
	drill  *drillWorld     // the bastion's group
	sim    *simfleet.World // the machines
	hosts  *simfleet.Hosts // their shells
	in     []*simfleet.Instance
	aws    *fakeAWS
	plan   *plan.Plan
	with   string // the key of the open bastion
	user   map[string]string
	says   map[string]fleet.Truth // how logins on hosts end, where not well
}

func (r *rotating) instance(id string) *simfleet.Instance {
	for _, in := range r.in {
		if in.Host.ID == id {
			return in
		}
	}
	return nil
}

// Run runs a script as root by Run Command.
func (r *rotating) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) (out fleet.ScriptResult) {
	if way != fleet.WaySessionManager && way != fleet.WayRecovery || way == fleet.WayRecovery && !r.drill.open {
		return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "closed"}
	}
	out = fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: "the answer was lost"}
	_ = r.call(ctx, "script "+s.Name+" "+h.ID, func() error {
		out = r.script(ctx, h.ID, s.Text)
		r.check()
		return nil
	})
	return out
}

func (r *rotating) script(ctx context.Context, id, text string) fleet.ScriptResult {
	var stdout, stderr bytes.Buffer
	code, err := r.hosts.Run(ctx, r.instance(id), "root", "sh -s", strings.NewReader(text), &stdout, &stderr)
	res := fleet.ScriptResult{Started: fleet.TruthYes, Ended: err == nil, Exit: code, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if err != nil {
		res.Reason = err.Error()
	}
	return res
}

// opens reports whether a key stands in a key file of the host's account.
func (r *rotating) opens(in *simfleet.Instance, key string) bool {
	r.sim.Mu.RLock()
	defer r.sim.Mu.RUnlock()
	for _, f := range r.sim.FileStates(in, "/home", "/root") {
		if f.Kind == "file" && strings.HasSuffix(f.Path, "authorized_keys") && strings.Contains(f.Content, key) {
			return true
		}
	}
	return false
}

// check wants a recovery key on every host, whatever happens. Both private keys
// are kept throughout.
func (r *rotating) check() {
	for _, in := range r.in {
		if !r.opens(in, blob(oldLine)) && !r.opens(in, blob(newLine)) {
			r.t.Errorf("%s has no recovery key at all", in.Host.ID)
		}
	}
}

func (r *rotating) OpenBastion(ctx context.Context, b fleet.Host, user string, keys []string) (func(), error) {
	return r.OpenBastionWith(ctx, b, user, keys, "")
}

func (r *rotating) OpenBastionWith(ctx context.Context, b fleet.Host, user string, keys []string, key string) (closeIt func(), err error) {
	err = r.call(ctx, "open bastion", func() error {
		d := r.aws.now.Templates[bastions]
		if key != "" && !strings.Contains(d.UserData, key) {
			return fmt.Errorf("the bastion refuses the key %s", key)
		}
		r.with = key
		closeIt, err = r.drill.OpenBastion(ctx, b, user, keys)
		return err
	})
	return closeIt, err
}

func (r *rotating) Refuses(ctx context.Context, h fleet.Host, key string) (refuses fleet.Truth, why string) {
	err := r.call(ctx, "refuses "+h.ID, func() error {
		refuses = fleet.TruthYes
		if r.opens(r.instance(h.ID), key) {
			refuses = fleet.TruthNo
		}
		return nil
	})
	if err != nil {
		return fleet.TruthUnknown, err.Error()
	}
	return refuses, ""
}

func (r *rotating) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	p := fleet.Proof{Host: h.Ref(), Way: way, At: time.Now(), Kind: "login", Reason: "no answer"}
	_ = r.call(ctx, "prove "+h.ID, func() error {
		p.Works, p.Reason = fleet.TruthNo, "the key is refused"
		in := r.instance(h.ID)
		if r.drill.open && (r.opens(in, blob(newLine)) || r.with == "" && r.opens(in, blob(oldLine))) {
			p.Works, p.Reason = fleet.TruthYes, ""
		}
		if truth, ok := r.says[h.ID]; ok {
			p.Works, p.Reason = truth, "something is wrong"
		}
		return nil
	})
	return p
}

func (r *rotating) SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error {
	return r.call(ctx, "set size", func() error { return r.drill.SetSize(ctx, at, name, minimum, desired, maximum) })
}

// templates lets the process die at the changes of the launch template, too.
type templates struct {
	*fakeAWS
	r *rotating
}

func (a templates) AddTemplateVersion(ctx context.Context, at fleet.Place, t fleet.BastionTemplate, data, token string) (n int64, err error) {
	err = a.r.call(ctx, "add version", func() error { n, err = a.fakeAWS.AddTemplateVersion(ctx, at, t, data, token); return err })
	return n, err
}

func (a templates) SetTemplateDefault(ctx context.Context, at fleet.Place, name string, version int64) error {
	return a.r.call(ctx, "set default", func() error { return a.fakeAWS.SetTemplateDefault(ctx, at, name, version) })
}

func (a templates) SetTemplateVersion(ctx context.Context, at fleet.Place, name, template, version string) error {
	return a.r.call(ctx, "set version", func() error { return a.fakeAWS.SetTemplateVersion(ctx, at, name, template, version) })
}

func (r *rotating) kinds() cutover.Kinds {
	keys := []fleet.RecoveryKey{{Line: newLine}, {Line: oldLine}}
	all := cutover.AWSKinds(templates{r.aws, r}, keys...)
	for k, v := range cutover.HostKinds(cutover.HostWorld{
		Hosts: r, Prover: r, Proofs: r, Scaling: scalingOf{r}, Bastions: r, Keys: r, Plan: r.plan, Generations: keys,
		Find: func(ref fleet.HostRef) (fleet.Host, bool) { return r.instance(ref.ID).Host, true },
	}) {
		all[k] = v
	}
	return all
}

// scalingOf takes sizes from the one, and all else from the other.
type scalingOf struct{ *rotating }

func (s scalingOf) ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error) {
	return s.drill.ScalingGroup(ctx, at, name)
}

func (s scalingOf) InService(ctx context.Context, at fleet.Place, name string) ([]fleet.Host, error) {
	return s.drill.InService(ctx, at, name)
}

func (s scalingOf) HostKeys(ctx context.Context, h fleet.HostRef) ([]string, error) {
	return s.drill.HostKeys(ctx, h)
}

func (r *rotating) executor(holder string, set ...func(*cutover.Config)) *cutover.Executor {
	r.t.Helper()
	hosts := map[fleet.HostRef]fleet.Host{}
	for _, in := range r.in {
		hosts[in.Host.Ref()] = in.Host
	}
	c := cutover.Config{
		Plan: r.plan, Hosts: hosts, Kinds: r.kinds(), Prover: r, Proofs: r, Journal: r, Leases: r, Control: r, Operator: holder,
	}
	for _, f := range set {
		f(&c)
	}
	x, err := cutover.New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// newRotating takes two machines of a simulated fleet, with the old key and a
// quarantine of a cutover on them.
func newRotating(t *testing.T) *rotating {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Instances: 12, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	r := &rotating{
		world: newWorld(t), sim: w, hosts: simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1}), user: map[string]string{},
		drill: &drillWorld{group: fleet.ScalingGroup{Name: bastions, Max: 1}},
	}
	t.Cleanup(func() { r.hosts.Close() })
	c := town()
	withBastions("1")(&c)
	d := c.Templates[bastions]
	d.UserData = strings.Replace(oldData, "AAAAold", blob(oldLine), 1)
	c.Templates[bastions] = d
	r.aws = newFakeAWS(c)
	way := plan.Way{Recovery: plan.RecoveryChange{VPC: "vpc-1", Name: bastions, User: "admin"}}
	snap := &fleet.Snapshot{SnapshotInfo: fleet.SnapshotInfo{ID: 1, State: fleet.SnapshotComplete}}
	for in := range w.Instances() {
		if len(r.in) == 2 || in.OS.Family == "windows" || !in.Host.Running() {
			continue
		}
		in.Host.VPC = "vpc-1"
		user := "root"
		for _, u := range in.Users {
			if u.Sudo {
				user = u.Name
			}
		}
		r.in = append(r.in, in)
		way.At = in.Host.Ref().Place()
		way.Hosts = append(way.Hosts, plan.WayHost{Host: in.Host.Ref(), User: user})
		snap.Hosts = append(snap.Hosts, in.Host)
		r.cutOver(in, user)
	}
	p := plan.DefaultPolicy()
	p.Recovery.From = []string{"198.51.100.0/24"}
	if r.plan, err = plan.MakeRotation(snap, []plan.Way{way}, []fleet.RecoveryKey{{Line: newLine}, {Line: oldLine}}, p, time.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

// cutOver brings a machine to where a cutover leaves it.
func (r *rotating) cutOver(in *simfleet.Instance, user string) {
	r.t.Helper()
	p := &plan.Plan{Digest: "cutover", Policy: plan.DefaultPolicy()}
	p.Policy.Recovery.PublicKey = oldLine
	kinds := cutover.HostKinds(cutover.HostWorld{
		Hosts: simulated{r.t.(*testing.T), r.sim, r.hosts, in}, Plan: p, Find: func(fleet.HostRef) (fleet.Host, bool) { return in.Host, true },
	})
	s := plan.Step{
		ID: "s", Hosts: []fleet.HostRef{in.Host.Ref()}, Key: &plan.KeyChange{User: user, Line: "restrict,pty " + oldLine},
		Keys: &plan.KeysChange{Keep: []string{blob(oldLine)}}, Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute)},
	}
	for _, k := range []plan.Kind{plan.RecoveryKey, plan.ArmHostTimer, plan.QuarantineKeys, plan.DisarmHostTimer} {
		if _, err := kinds[k].Apply(r.t.Context(), s, nil, "token"); err != nil {
			r.t.Fatalf("%s: %v", k, err)
		}
	}
}

// rotated wants the end of a rotation.
func (r *rotating) rotated(what string) {
	r.t.Helper()
	for _, in := range r.in {
		if !r.opens(in, blob(newLine)) || r.opens(in, blob(oldLine)) {
			r.t.Errorf("%s: %s has the new key: %t, the old one: %t", what, in.Host.ID, r.opens(in, blob(newLine)), r.opens(in, blob(oldLine)))
		}
		r.sim.Mu.RLock()
		for _, f := range r.sim.FileStates(in, "/var/lib/migrate") {
			if strings.Contains(f.Content, blob(oldLine)) {
				r.t.Errorf("%s: %s of %s still has the old key", what, f.Path, in.Host.ID)
			}
		}
		r.sim.Mu.RUnlock()
	}
	if d := r.aws.now.Templates[bastions]; !strings.Contains(d.UserData, blob(newLine)) {
		r.t.Errorf("%s: bastions start with %s", what, d.UserData)
	}
	if err := cutover.Verify(r.entries); err != nil {
		r.t.Errorf("%s: the journal: %v", what, err)
	}
}

// A rotation whose process is killed at every journal write, host script and
// other call leaves each host with a recovery key that works, and comes to its
// end, or back, when somebody else goes on.
func TestRotationKilledAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of runs")
	}
	stride := 13
	if *everyCall {
		stride = 1
	}
	n := 0
	for kill := 1; ; kill += stride {
		ended := false
		synctest.Test(t, func(t *testing.T) { ended = killedRotation(t, kill) })
		if ended || t.Failed() {
			break
		}
		n++
	}
	if n*stride < 80 {
		t.Errorf("only %d calls could be cut", n*stride)
	}
}

func killedRotation(t *testing.T, kill int) (ended bool) {
	r := newRotating(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.onKill = cancel
	r.faults = func(call int, _ string) fault {
		if call != kill {
			return noFault
		}
		if kill%2 == 0 {
			return killAfter
		}
		return killBefore
	}
	x := r.executor("first")
	res, err := x.Apply(ctx)
	x.Abort()
	if err == nil && res.Outcome == cutover.OutcomeDone {
		r.rotated("without a kill")
		return true
	}
	r.check()
	r.faults, r.dead = nil, false
	time.Sleep(2 * time.Minute) // the lease ends
	if kill%5 == 0 {
		res, err := r.executor("back").Rollback(t.Context(), cutover.Scope{All: true})
		if err != nil || res.Outcome != cutover.OutcomeRolledBack {
			t.Fatalf("killed at %d, rolled back: %+v, %v", kill, res, err)
		}
		for _, in := range r.in {
			if !r.opens(in, blob(oldLine)) || r.opens(in, blob(newLine)) {
				t.Errorf("killed at %d, rolled back: %s has the new key or lacks the old", kill, in.Host.ID)
			}
		}
		if d := r.aws.now.Templates[bastions]; !strings.Contains(d.UserData, blob(oldLine)) {
			t.Errorf("killed at %d, rolled back: bastions start with %s", kill, d.UserData)
		}
		return false
	}
	if res, err := r.executor("second").Apply(t.Context()); err != nil || res.Outcome != cutover.OutcomeDone {
		t.Fatalf("killed at %d, gone on: %+v, %v", kill, res, err)
	}
	r.rotated(fmt.Sprintf("killed at %d", kill))
	return false
}

// keeps wants the old key on every host.
func (r *rotating) keeps(what string) {
	r.t.Helper()
	for _, in := range r.in {
		if !r.opens(in, blob(oldLine)) {
			r.t.Errorf("%s: the old key is gone from %s", what, in.Host.ID)
		}
	}
}

// A host of which nobody knows whether the new key opens it keeps the old one,
// whatever the policy lets fail.
func TestRotationStopsWhenHostsDoNotTakeTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotating(t)
		r.plan.Policy.ErrorBudget = 1
		r.says = map[string]fleet.Truth{r.in[0].Host.ID: fleet.TruthUnknown, r.in[1].Host.ID: fleet.TruthNo}
		res, err := r.executor("first").Apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledBack)
		if len(res.Hosts) != 2 {
			t.Errorf("blamed: %v", res.Hosts)
		}
		r.keeps("rolled back")
		r.says = nil
		res, err = r.executor("second").Apply(t.Context())
		want(t, res, err, cutover.OutcomeDone)
		r.rotated("gone on")
	})
}

// Between the login with the new key and the end of the old one weeks may lie.
func TestRotationThatGoesOnLaterLogsInAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(r *rotating)
		want cutover.Outcome
	}{
		"the bastion comes": {func(*rotating) {}, cutover.OutcomeDone},
		"no bastion comes":  {func(r *rotating) { r.drill.noBastion = true }, cutover.OutcomePaused},
		"no bastion comes, and somebody logged in with another key": {func(r *rotating) {
			r.drill.noBastion = true
			for _, in := range r.in {
				_ = r.SaveProof(r.t.(*testing.T).Context(), fleet.Proof{Host: in.Host.Ref(), Way: fleet.WayRecovery, Works: fleet.TruthYes, At: time.Now()})
			}
		}, cutover.OutcomePaused},
		"a host does not answer":    {func(r *rotating) { r.says = map[string]fleet.Truth{r.in[1].Host.ID: fleet.TruthUnknown} }, cutover.OutcomePaused},
		"a host does not let it in": {func(r *rotating) { r.says = map[string]fleet.Truth{r.in[1].Host.ID: fleet.TruthNo} }, cutover.OutcomeRolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRotating(t)
				res, err := r.executor("first", func(c *cutover.Config) { c.LastWave = &r.plan.Waves[1].Number }).Apply(t.Context())
				want(t, res, err, cutover.OutcomeDone)
				r.keeps("before the last wave")
				time.Sleep(3 * 7 * 24 * time.Hour)
				tt.set(r)
				res, err = r.executor("second").Apply(t.Context())
				want(t, res, err, tt.want)
				if tt.want != cutover.OutcomeDone {
					r.keeps("without a login")
					r.drill.noBastion, r.says = false, nil
					res, err = r.executor("third").Apply(t.Context())
					want(t, res, err, cutover.OutcomeDone)
				}
				r.rotated(name)
			})
		})
	}
}
