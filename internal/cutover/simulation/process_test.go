package simulation_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/simfleet"
)

// newProcess is an operator who starts the program. A calm one meets no faults
// and is not killed: stories come to an end.
func (s *simulation) newProcess(life int, calm bool) *process {
	p := &process{s: s, name: fmt.Sprintf("operator-%d", life), calm: calm}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if !calm {
		switch s.random.IntN(4) {
		case 3:
			p.freezeAt, p.frozen = 1+s.random.IntN(40+s.random.IntN(600)), time.Duration(1+s.random.IntN(40))*time.Minute
		case 0:
			p.killAt = 1 + s.random.IntN(40+s.random.IntN(800))
			p.killAfter = s.random.IntN(2) == 0
		case 1:
			p.killIntended = 1 + s.random.IntN(60)
		}
	}
	s.process = p
	return p
}

// live applies the plan, or rolls all of it back, until the program ends or dies.
func (p *process) live(rollback bool) (cutover.Result, error) {
	defer p.cancel()
	account, err := awsapi.Open(p.ctx, awsapi.Access{Label: "simulation", Regions: []string{simRegion}}, awsapi.Options{Transport: transport{p}, MaxAttempts: 1})
	if err != nil {
		return cutover.Result{}, err
	}
	// As the program does first, and before lanes could wait for it under a lock.
	if _, err := account.Caller(p.ctx); err != nil {
		return cutover.Result{}, err
	}
	kinds, hosts, reach, rescue := p.kinds(account)
	x, err := cutover.New(cutover.Config{
		Plan: p.s.plan, Hosts: hosts, Kinds: kinds, Rescue: rescue, Prover: reach, Plans: p.s.lookUp, Proofs: simStore{p}, Journal: simStore{p}, Leases: simStore{p}, Control: p.s.db, Operator: p.name,
	})
	if err != nil {
		p.s.t.Fatal(err)
	}
	// A dead process does nothing more; what it has under way gets errors.
	stop := context.AfterFunc(p.ctx, x.Abort)
	defer stop()
	p.closes = map[string]bool{}
	if rollback {
		p.s.rollbacks.Add(1)
		defer func() { p.s.rollbacks.Add(-1) }()
		return x.Rollback(p.ctx, cutover.Scope{All: true})
	}
	return x.Apply(p.ctx)
}

// kinds are what the program's steps are done with.
func (p *process) kinds(account *awsapi.Account) (map[plan.Kind]cutover.StepKind, map[fleet.HostRef]fleet.Host, *simReach, *cutover.Rescue) {
	changer := awsapi.NewChanger(account)
	hosts := map[fleet.HostRef]fleet.Host{}
	for _, h := range cmp.Or(p.s.snapshots[p.s.plan.ID], p.s.snapshot).Hosts {
		hosts[h.Ref()] = h
	}
	reach := &simReach{p: p, bastions: map[string]openBastion{}}
	generations, err := p.s.db.RecoveryKeys(context.Background())
	p.s.must(err)
	kinds, rescue := cutover.AWSKinds(changer, generations...), &cutover.Rescue{}
	for kind, k := range cutover.HostKinds(cutover.HostWorld{
		Hosts: reach, Prover: reach, Proofs: simStore{p}, Scaling: changer, Bastions: reach, Launches: changer, Rescue: rescue, Plan: p.s.plan,
		Find:       func(r fleet.HostRef) (fleet.Host, bool) { h, ok := hosts[r]; return h, ok },
		SigningKey: simfleet.AgentSigningKey(), Generations: generations, Keys: reach,
	}) {
		kinds[kind] = k
	}
	return kinds, hosts, reach, rescue
}

// simStore is the state file as a process has it.
type simStore struct{ p *process }

func (d simStore) Append(ctx context.Context, fence int64, entries ...cutover.Entry) (out []cutover.Entry, err error) {
	label := "journal"
	for _, e := range entries {
		label += fmt.Sprintf(" %s %s %v", e.Event, e.Step, e.Result)
		if e.Step == "" || e.Event == cutover.Failed || e.Event == cutover.UndoFailed {
			label += " " + e.Detail
		}
	}
	err = d.p.record(label, func() error {
		out, err = d.p.s.db.Append(ctx, fence, entries...)
		for _, e := range out {
			if words := strings.Split(e.Step, "/"); strings.HasSuffix(e.Step, "-"+string(plan.ClosePort)) {
				switch e.Event {
				case cutover.Intended:
					d.p.closes[words[2]] = true
				case cutover.UndoBegan:
					delete(d.p.closes, words[2])
				}
			}
		}
		return err
	})
	return out, err
}

func (d simStore) Entries(ctx context.Context, id string) (out []cutover.Entry, err error) {
	err = d.p.call("read journal", func() error {
		out, err = d.p.s.db.Entries(ctx, id)
		return err
	})
	return out, err
}

func (d simStore) Acquire(ctx context.Context, holder string, for_ time.Duration) (fence int64, err error) {
	err = d.p.call("acquire lease", func() error {
		fence, err = d.p.s.db.Acquire(ctx, holder, for_)
		return err
	})
	return fence, err
}

func (d simStore) Renew(ctx context.Context, fence int64, for_ time.Duration) error {
	return d.p.call(labelRenew, func() error {
		err := d.p.s.db.Renew(ctx, fence, for_)
		if errors.Is(err, cutover.ErrLease) {
			d.p.mu.Lock()
			d.p.lost = true
			d.p.mu.Unlock()
		}
		return err
	})
}

func (d simStore) Release(ctx context.Context, fence int64) error {
	return d.p.call(labelRelease, func() error { return d.p.s.db.Release(ctx, fence) })
}

func (d simStore) SaveProof(ctx context.Context, proof fleet.Proof) error {
	return d.p.call(fmt.Sprintf("proof %s %s %v", proof.Host.ID, proof.Way, proof.Works), func() error { return d.p.s.db.SaveProof(ctx, proof) })
}

func (d simStore) LatestProof(ctx context.Context, h fleet.HostRef, way fleet.Way) (proof fleet.Proof, ok bool, err error) {
	err = d.p.call(fmt.Sprintf("read proof %s %s", h.ID, way), func() error {
		proof, ok, err = d.p.s.db.LatestProof(ctx, h, way)
		return err
	})
	return proof, ok, err
}

// simReach is the ways into the hosts as a process has them: by the model's
// truth, without connections, with the faults of networks.
type simReach struct {
	p        *process
	bastions map[string]openBastion // by VPC; touched in turns
}

// openBastion is a recovery bastion that is open.
type openBastion struct {
	id   string // the instance's
	with string // the key that alone is tried; empty: all that are kept
}

// login gives what keeps a login by the open bastion out.
func (r *simReach) login(in *simfleet.Instance, key string) string {
	b, open := r.bastions[in.Host.VPC]
	if !open {
		return "no recovery bastion is open"
	}
	bastion := r.p.s.instance(b.id)
	if bastion.Host.State != "running" {
		return "the recovery bastion is " + bastion.Host.State
	}
	return r.p.s.world.LoginReason(simfleet.Origin{Instance: bastion}, in, r.p.s.recoveryUser(in), key)
}

// reason is what is in the way now; empty: the way is open.
func (r *simReach) reason(in *simfleet.Instance, way fleet.Way, session bool) string {
	s := r.p.s
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	if in.Host.State != "running" {
		return "the instance is " + in.Host.State
	}
	switch way {
	case fleet.WaySSH:
		return s.world.OperatorLoginReason(in)
	case fleet.WayRecovery:
		if b := r.bastions[in.Host.VPC]; b.with != "" {
			return r.login(in, b.with)
		}
		return s.anyKey(func(key string) string { return r.login(in, key) })
	case fleet.WayConnectEndpoint:
		return s.endpointReason(in)
	}
	if session {
		return s.world.SessionReason(in)
	}
	return s.world.CommandReason(in)
}

// Run runs a script as root, by the way that is asked for.
func (r *simReach) Run(ctx context.Context, h fleet.Host, way fleet.Way, script fleet.Script) (out fleet.ScriptResult) {
	s := r.p.s
	label := fmt.Sprintf("script %s on %s by %s %s", script.Name, h.ID, way, script.Text)
	var lost bool
	err := r.p.call(label, func() error {
		in := s.instance(h.ID)
		if reason := r.reason(in, way, false); reason != "" {
			out = fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: reason}
			return nil
		}
		fault := s.drawFault(r.p)
		if fault != "" {
			s.log("fault %s on %s", fault, firstLine(label))
		}
		switch fault {
		case "deny", "throttle":
			out = fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "refused"}
			return nil
		case "lost":
			if way == fleet.WaySessionManager && s.random.IntN(2) == 0 {
				// The command was taken, and runs when nobody waits for it any more.
				s.later(time.Second, 3*time.Minute, "late "+script.Name+" on "+h.ID, func() {
					s.late[h.ID] = true
					_, _, _ = s.script(in, script, 0)
				})
			}
			out = fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: "the answer was lost"}
			return nil
		case "slow":
			time.Sleep(time.Duration(1+s.random.IntN(50)) * time.Second)
			if r.p.dead() {
				return errKilled
			}
		case "twice":
			_, _, _ = s.script(in, script, 0)
		case "cut":
			lost = true
		}
		stop := 0
		if lost && s.random.IntN(2) == 0 {
			stop = 1 + s.random.IntN(30) // the machine or the agent ends it in its middle
		}
		if way == fleet.WayRecovery || way == fleet.WayConnectEndpoint {
			s.log("%s on %s is carried by %s", script.Name, h.ID, way)
		}
		if script.Name == "retire-key" && s.used[h.ID] != s.ring[0] {
			s.fail("not proved", "the old recovery key is taken off %s, and nobody has logged in with the new one", h.ID)
		}
		keys := s.keyFiles(in)
		status, stdout, stderr := s.script(in, script, stop)
		c := change{what: label, ours: true}
		switch {
		case script.Name == "quarantine-keys" && s.keyFiles(in) != keys: // it refuses where no timer is armed
			c.host = h.ID
		case script.Name == "disarm-host-timer":
			c.host, c.disarms = h.ID, true
		}
		s.check(c)
		out = fleet.ScriptResult{Started: fleet.TruthYes, Ended: stop == 0, Exit: status, Stdout: stdout, Stderr: stderr, Way: way, User: "root"}
		return nil
	})
	switch {
	case err != nil:
		return fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: err.Error()}
	case lost:
		return fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: "the connection was cut"}
	case ctx.Err() != nil:
		return fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: ctx.Err().Error()}
	}
	return out
}

// keyFiles is what lies in people's folders on a machine.
func (s *simulation) keyFiles(in *simfleet.Instance) string {
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	return fmt.Sprint(s.world.FileStates(in, "/home", "/root", "/etc/ssh"))
}

// script runs a script on a machine as root, at most so many of its commands
// (0: all). The caller has the turn.
func (s *simulation) script(in *simfleet.Instance, script fleet.Script, commands int) (status int, stdout, stderr []byte) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if commands > 0 {
		var end context.CancelFunc
		ctx, end = simfleet.WithCommandLimit(ctx, commands)
		defer end()
	}
	var out, errs bytes.Buffer
	status, err := s.machines.Run(ctx, in, "root", "/bin/sh -s", strings.NewReader(script.Text), &out, &errs)
	if err != nil {
		s.log("script %s on %s: %v", script.Name, in.Host.ID, err)
	}
	return status, out.Bytes(), errs.Bytes()
}

// Prove uses a way.
func (r *simReach) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	s := r.p.s
	proof := fleet.Proof{Host: h.Ref(), Way: way, Kind: "shell", By: r.p.name}
	if way != fleet.WaySessionManager {
		proof.Kind = "login"
	}
	err := r.p.call(fmt.Sprintf("prove %s by %s", h.ID, way), func() error {
		reason := r.reason(s.instance(h.ID), way, true)
		switch fault := s.drawFault(r.p); {
		case way == fleet.WaySessionManager && len(s.instance(h.ID).Region.Outages) > 0:
			proof.Reason = "Systems Manager gave no answer" // which tells nothing about the host
		case reason != "":
			proof.Works, proof.Reason = fleet.TruthNo, reason
		case fault == "slow":
			time.Sleep(time.Duration(1+s.random.IntN(30)) * time.Second)
			proof.Works, proof.RunAs = fleet.TruthYes, "ssm-user"
		case fault != "":
			proof.Reason = "no answer"
		default:
			proof.Works, proof.RunAs = fleet.TruthYes, "ssm-user"
		}
		switch {
		case proof.Works != fleet.TruthYes:
		case way == fleet.WaySessionManager:
			s.opened(h.ID)
		case way == fleet.WayRecovery && r.bastions[h.VPC].with != "":
			s.used[h.ID] = r.bastions[h.VPC].with
		}
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		proof.Works, proof.Reason = fleet.TruthUnknown, err.Error()
	}
	proof.At = time.Now().UTC()
	return proof
}

// opened remembers that a session opened on a host.
func (s *simulation) opened(id string) {
	for _, h := range s.hosts {
		if h.in.Host.ID == id {
			h.proved, h.lastSM = s.acts, time.Now()
		}
	}
}

// OpenBastion opens the recovery way of a VPC.
func (r *simReach) OpenBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (closeIt func(), err error) {
	return r.OpenBastionWith(ctx, bastion, user, hostKeys, "")
}

// OpenBastionWith opens it with one key of those that are kept.
func (r *simReach) OpenBastionWith(ctx context.Context, bastion fleet.Host, user string, hostKeys []string, key string) (closeIt func(), err error) {
	s := r.p.s
	err = r.p.call("open bastion "+bastion.ID, func() error {
		in := s.instance(bastion.ID)
		if len(hostKeys) == 0 {
			return errors.New("no host key")
		}
		with := ""
		if key != "" {
			i := slices.IndexFunc(s.ring, func(line string) bool { return recovery.Blob(line) == key })
			if i < 0 {
				return fmt.Errorf("%w: it is not in its store", fleet.ErrNoKey)
			}
			with = s.ring[i]
		}
		s.world.Mu.RLock()
		reason := s.anyKey(func(line string) string {
			if with != "" && line != with {
				return "another key"
			}
			// As the program does, at the first address that answers.
			reason := "the bastion has no address"
			for _, a := range []netip.Addr{in.Host.PublicIP, in.Host.PrivateIP} {
				if a.IsValid() && reason != "" {
					reason = s.world.LoginReasonAt(simfleet.Origin{Addr: simfleet.OperatorAddr}, in, a, user, line)
				}
			}
			return reason
		})
		s.world.Mu.RUnlock()
		if reason != "" {
			return errors.New(reason)
		}
		if fault := s.drawFault(r.p); fault != "" && fault != "slow" {
			return errLostConnection
		}
		r.bastions[bastion.VPC] = openBastion{bastion.ID, with}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() {
		_ = r.p.call("close bastion "+bastion.ID, func() error { delete(r.bastions, bastion.VPC); return nil })
	}, nil
}

// Refuses asks a host, by the open bastion, about a key that needs not be kept.
func (r *simReach) Refuses(ctx context.Context, h fleet.Host, key string) (refuses fleet.Truth, why string) {
	s := r.p.s
	err := r.p.call("refuses "+h.ID+" "+key, func() error {
		if fault := s.drawFault(r.p); fault != "" && fault != "slow" {
			return errLostConnection
		}
		in := s.instance(h.ID)
		s.world.Mu.RLock()
		defer s.world.Mu.RUnlock()
		switch why = r.login(in, "ssh-ed25519 "+key); {
		case why == "":
			refuses = fleet.TruthNo
		case r.login(in, s.ring[0]) == "": // so that sshd was reached
			refuses, why = fleet.TruthYes, ""
		}
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fleet.TruthUnknown, err.Error()
	}
	return refuses, why
}

// afterApply holds the world against what an applied plan promises.
func (s *simulation) afterApply() {
	entries, err := s.db.Entries(context.Background(), s.plan.ID)
	s.must(err)
	standing, err := cutover.Status(s.plan, entries)
	s.must(err)
	for _, r := range standing.Risks {
		s.fail("left armed", "%v", r)
	}
	steps := map[string]plan.Step{}
	for _, w := range s.plan.Waves {
		for _, step := range w.Steps {
			steps[step.ID] = step
		}
	}
	var done []plan.Step
	for _, w := range standing.Waves {
		for _, ph := range w.Phases {
			for _, st := range ph.Steps {
				if st.State.Done() {
					done = append(done, steps[st.ID])
				}
			}
		}
	}
	s.wantHeld(done)
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	for _, step := range done {
		if step.Kind == plan.ClosePort {
			s.count.closed++
			s.wantClosed(step)
		}
	}
	for _, rg := range s.world.Accounts[0].Regions {
		for _, g := range rg.Scaling {
			if strings.HasPrefix(g.Name, "migrate-recovery-") && g.Desired != 0 {
				s.fail("bastion left running", "%s has desired size %d", g.Name, g.Desired)
			}
		}
	}
}

// wantHeld wants the world to be as the journal says, where nobody else has
// touched it. Proofs age, and armed timers are gone by now.
func (s *simulation) wantHeld(done []plan.Step) {
	if len(s.touched) > 0 {
		return
	}
	time.Sleep(3 * time.Hour) // what was broken for a while is well again
	p := s.newProcess(99, true)
	defer p.cancel()
	account, err := awsapi.Open(p.ctx, awsapi.Access{Label: "simulation", Regions: []string{simRegion}}, awsapi.Options{Transport: transport{p}, MaxAttempts: 1})
	s.must(err)
	kinds, _, _, _ := p.kinds(account)
	for _, step := range done {
		if (step.Kind == plan.QuarantineKeys || step.Kind == plan.DisarmHostTimer) && s.late[step.Hosts[0].ID] {
			continue // a timer that is armed late opens the door once more: drift tells of it
		}
		switch step.Kind {
		case plan.ProveSession, plan.RecoveryDrill, plan.ArmHostTimer, plan.ArmRuleTimer:
			continue
		}
		obs, err := kinds[step.Kind].Observe(p.ctx, step)
		if err != nil || obs.Holds != fleet.TruthYes {
			s.fail("not done", "the journal says that %s is done, and it does not hold: %s, %v", step.ID, obs.Detail, err)
		}
	}
}

// wantClosed wants no rule but the recovery bastion's to admit port 22, unless
// a colleague made one.
func (s *simulation) wantClosed(step plan.Step) {
	for _, rg := range s.world.Accounts[0].Regions {
		for _, g := range rg.Groups {
			if g.ID != step.Rules.Group || s.touched[rg.Account.ID+"/"+rg.Name+" group "+g.ID] {
				continue
			}
			for _, r := range fleet.Rules(g.Ingress, false) {
				source := slices.IndexFunc(rg.Groups, func(o *fleet.SecurityGroup) bool { return o.ID == r.Group })
				if r.Admits(22) && (source < 0 || rg.Groups[source].Name != step.Rules.Keep) {
					s.fail("not closed", "the journal says that %s is done, and %v is there", step.ID, r)
				}
			}
		}
	}
}

// afterRollback wants everything as it was, but for what others touched.
func (s *simulation) afterRollback() {
	// Old bastions that were scaled in come back as others.
	replaced := map[string]bool{}
	for _, step := range s.steps() {
		for id, in := range s.known {
			if step.Kind == plan.ScaleIn && in.Host.AutoScalingGroup == step.Scaling.Group {
				replaced["instance "+id] = true
			}
		}
	}
	for _, d := range differences(s.before, s.image(), func(name string) bool { return s.touched[name] || replaced[name] }) {
		s.fail("lost", "after the rollback: %s", d)
	}
}

// abandoned lets hours pass in which nobody comes back: timers have fired then.
func (s *simulation) abandoned() {
	time.Sleep(6 * time.Hour)
	s.turns.take("after hours")
	s.advance()
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	for _, h := range s.hosts {
		if w := s.truth(h.in); h.in.Host.State == "running" && !h.byHand && !w.Open() {
			s.fail("lock-out", "nobody came back, and %s is shut: session-manager: %s; ssh: %s; recovery: %s", h.in.Host.ID, w.SessionManager, w.SSH, w.Recovery)
		}
	}
}
