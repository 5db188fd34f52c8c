package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/simfleet"
)

// TestRotations puts a new recovery key in the place of the old one at a random
// moment of random migrations, with faults, kills and other operators who go on,
// and lets Systems Manager go down for good during it or after it. The cutover is
// rolled back then. At every moment each host takes a recovery key that is kept.
func TestRotations(t *testing.T) {
	notUnderRace(t)
	setCredentials(t)
	n := *seeds
	if n == 0 {
		n = 6
	}
	var total rotationCounts
	for i := range n {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rotationStory{outageStory: outageStory{simulation: newSimulation(t, seed)}}
				r.tell()
				r.kills = r.count.kills
				total.add(r.rotationCounts)
				if *traceSeed || t.Failed() {
					t.Log("\n" + strings.Join(r.lines, "\n"))
				}
			})
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", total)
	tell(t, "rotations %d, ended %d, undone %d, left half-way %d, kills %d, key checks %d", n, total.rotated, total.undone, total.half, total.kills, total.checks)
	if n >= 24 && (total.rotated == 0 || total.undone == 0 || total.half == 0 || total.kills == 0 || total.checks == 0) {
		t.Errorf("the rotations do not try what they should: %+v", total)
	}
}

// rotationCounts are the figures of rotations.
type rotationCounts struct {
	rotated, undone, half int // how they ended
	kills                 int // of processes
	checks                int // of a host's recovery key, after changes of the world
}

func (c *rotationCounts) add(o rotationCounts) {
	c.rotated += o.rotated
	c.undone += o.undone
	c.half += o.half
	c.kills += o.kills
	c.checks += o.checks
}

// rotationStory is a migration in which the recovery key is rotated.
type rotationStory struct {
	outageStory
	rotationCounts
	made  []string        // lines of all keys that there ever were
	keyed map[string]bool // by host's ID: a recovery key that is kept opens it
	saved map[string]bool // saved key files with one of them, by host and path
}

func (r *rotationStory) tell() {
	defer r.close()
	r.faultRate, r.eventRate = []float64{0, 0.01, 0.03}[r.random.IntN(3)], []float64{0, 0.003}[r.random.IntN(2)]
	r.events = []event{outage, agentDies, fullDisk, reboot} // nothing that a rollback would have to leave to others
	r.noLaunch, r.endpoint = r.random.IntN(2) == 0, r.random.IntN(2) == 0
	r.made = slices.Clone(r.ring)
	r.must(r.db.SaveRecoveryKey(context.Background(), fleet.RecoveryKey{Line: r.ring[0], Location: "the ring", Made: time.Now()}))
	r.log("story: rotation, no launches %v, endpoints %v", r.noLaunch, r.endpoint)
	cut := r.plan
	for life := range 1 + r.random.IntN(3) {
		outcome, err := r.newProcess(1+life, r.random.IntN(2) == 0).live(false)
		r.log("the apply ends: %s %s, %v", outcome.Outcome, outcome.Reason, err)
		r.rest()
		if err == nil && ended(outcome) {
			break
		}
	}
	during := r.random.IntN(3) == 0
	if during {
		r.later(time.Minute, 90*time.Minute, "Systems Manager is down for good", func() { r.change(r.goDown) })
	}
	r.rotation()
	r.plan, r.also, r.eventRate = cut, nil, 0
	time.Sleep(3 * time.Hour) // what was broken for a while is well again
	if !during {
		r.later(time.Minute, time.Hour, "Systems Manager is down for good", func() { r.change(r.goDown) })
	}
	r.wayBack()
	r.change(func() {
		r.region().Outages, r.region().NoCapacity = nil, false
		// The endpoints hold the bastion's group.
		r.region().ENIs = slices.DeleteFunc(slices.Clone(r.region().ENIs), func(n *simfleet.ENI) bool {
			return slices.ContainsFunc(r.region().ConnectEndpoints, func(e *fleet.ConnectEndpoint) bool { return e.ID == n.Owner })
		})
		r.region().ConnectEndpoints = nil
	})
	r.log("event: Systems Manager is back, and the endpoints are gone")
	if !r.failed {
		r.rest()
		r.play("undo", true, 0)
	}
}

// rotation lets operators rotate, one after the other, until it is done, or
// they give it up half-way, or take it back.
func (r *rotationStory) rotation() {
	lives := 1 + r.random.IntN(5)
	finish := r.random.IntN(3) > 0
	for life := 0; !r.failed && (life < lives || finish && !r.isDown() && life < lives+4); life++ {
		calm := life >= lives
		if calm && life == lives {
			time.Sleep(3 * time.Hour) // what was broken for a while is well again
		}
		if !r.isDown() && (life == 0 || r.random.IntN(3) == 0) {
			r.turns.take("inventory")
			r.inventory()
		}
		p := r.newProcess(20+life, calm)
		outcome, rotated, err := r.rotate(p)
		r.log("rotation %d ends: %s %s, rotated %v, %v", life, outcome.Outcome, outcome.Reason, rotated, err)
		r.verifyJournal()
		switch {
		case r.failed || errors.Is(err, errNothing):
			return
		case rotated:
			r.rotated++
			r.wantRotated()
			return
		case !calm && r.plan.Purpose == plan.Rotation && r.random.IntN(6) == 0:
			r.rest()
			outcome, err := r.newProcess(40+life, r.random.IntN(2) == 0).live(true)
			r.log("the rotation is rolled back: %s %s, %v", outcome.Outcome, outcome.Reason, err)
			r.verifyJournal()
			if err == nil && outcome.Outcome == cutover.OutcomeRolledBack {
				r.undone++
				return
			}
		case err == nil && outcome.Reason == "" && len(outcome.Left)+len(outcome.Held)+len(outcome.Hosts) == 0 && len(r.plan.Refusals) == 0:
			r.fail("not told", "the rotation is not done (%s), and does not say what is left", outcome.Outcome)
		case calm && life == lives+3 && len(r.touched) == 0 && !r.isDown():
			r.fail("no end", "the rotation did not come to its end: %s %s, %v", outcome.Outcome, outcome.Reason, err)
		}
		r.rest()
	}
	r.half++
}

// errNothing says that no host has a recovery key yet.
var errNothing = errors.New("there is nothing to rotate")

// rotate is what one life of the program does: it makes sure of a new
// generation, carries the plan out, and lets the old generation go. It leaves
// the story's plan as it is where there is nothing to rotate.
func (r *rotationStory) rotate(p *process) (outcome cutover.Result, rotated bool, err error) {
	defer p.cancel()
	r.perhapsSoon(p, 6)
	dropped, err := r.dropRetired(p)
	if err != nil {
		return outcome, false, err
	}
	if keys, err := r.generations(); dropped && len(keys) == 1 {
		r.must(err)
		return cutover.Result{Outcome: cutover.OutcomeDone}, true, nil
	}
	if err := r.nextGeneration(p); err != nil {
		return outcome, false, err
	}
	ways := plan.Ways(r.begun())
	keys, err := r.generations()
	r.must(err)
	i := slices.IndexFunc(r.plans, func(o *plan.Plan) bool {
		return o.Purpose == plan.Rotation && o.Snapshot == r.snapshot.ID && recovery.Blob(o.Policy.Recovery.PublicKey) == recovery.Blob(keys[0].Line)
	})
	if i >= 0 {
		r.plan = r.plans[i]
	} else {
		made, err := plan.MakeRotation(r.snapshot, ways, keys, r.plan.Policy, time.Now())
		if err != nil {
			if slices.ContainsFunc(ways, func(w plan.Way) bool { return slices.ContainsFunc(w.Hosts, r.inSnapshot) }) {
				r.fail("no plan", "%v", err)
			}
			return outcome, false, errNothing
		}
		r.plan, r.plans = made, append(r.plans, made)
		for _, w := range made.Waves {
			for _, step := range w.Steps {
				r.log("plan: %s: %s", step.ID, step.Title)
			}
		}
	}
	r.watch(ways)
	outcome, err = p.live(false)
	if err != nil || outcome.Outcome != cutover.OutcomeDone || len(r.plan.Refusals) > 0 {
		return outcome, false, err
	}
	r.perhapsSoon(p, 3)
	err = r.retire(p, keys)
	return outcome, err == nil, err
}

// perhapsSoon lets one process of n die in one of its next two calls: those are
// about the ring, and few.
func (r *rotationStory) perhapsSoon(p *process, n int) {
	if p.calm || r.random.IntN(n) > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killAt, p.killAfter = p.calls+1+r.random.IntN(2), r.random.IntN(2) == 0
}

// inSnapshot reports whether a host runs by the inventory.
func (r *rotationStory) inSnapshot(x plan.WayHost) bool {
	return slices.ContainsFunc(r.snapshot.Hosts, func(h fleet.Host) bool { return h.Ref() == x.Host && h.Running() })
}

// generations are those in use, newest first.
func (r *rotationStory) generations() ([]fleet.RecoveryKey, error) {
	keys, err := r.db.RecoveryKeys(context.Background())
	return slices.DeleteFunc(keys, func(k fleet.RecoveryKey) bool { return !k.Retired.IsZero() }), err
}

// nextGeneration keeps a new key beside the old one, and notes it then.
func (r *rotationStory) nextGeneration(p *process) error {
	keys, err := r.generations()
	r.must(err)
	if len(keys) > 1 {
		return nil
	}
	if r.ring[0] == keys[0].Line { // else the run before died before noting it
		if err := p.call("keep the new key", func() error {
			r.ring = append([]string{r.makeRecoveryKey()}, r.ring...)
			r.made = append(r.made, r.ring[0])
			return nil
		}); err != nil {
			return err
		}
	}
	return p.call("note the new key", func() error {
		return r.db.SaveRecoveryKey(context.Background(), fleet.RecoveryKey{Line: r.ring[0], Location: "the ring", Made: time.Now()})
	})
}

// retire notes that the old keys are retired, and lets them go then.
func (r *rotationStory) retire(p *process, keys []fleet.RecoveryKey) error {
	old := r.plan.Retires()
	for _, k := range keys {
		if !slices.Contains(old, recovery.Blob(k.Line)) {
			continue
		}
		k.Retired = time.Now()
		if err := p.call("note that the old key is retired", func() error { return r.db.SaveRecoveryKey(context.Background(), k) }); err != nil {
			return err
		}
	}
	_, err := r.dropRetired(p)
	return err
}

// dropRetired lets the keys go that are noted as retired, and reports whether
// there were any.
func (r *rotationStory) dropRetired(p *process) (dropped bool, err error) {
	keys, err := r.db.RecoveryKeys(context.Background())
	r.must(err)
	stay := slices.DeleteFunc(slices.Clone(r.ring), func(line string) bool {
		return slices.ContainsFunc(keys, func(k fleet.RecoveryKey) bool { return k.Line == line && !k.Retired.IsZero() })
	})
	if len(stay) == len(r.ring) {
		return false, nil
	}
	return true, p.call("let the old key go", func() error {
		r.ring = stay
		r.check(change{what: "the old key has gone", ours: true})
		return nil
	})
}

// begun are the plans, newest first, and whether a step of one stands.
func (r *rotationStory) begun() ([]*plan.Plan, func(*plan.Plan, string) bool) {
	stand := map[string]bool{}
	plans := slices.Clone(r.plans)
	slices.Reverse(plans)
	for _, p := range plans {
		entries, err := r.db.Entries(context.Background(), p.ID)
		r.must(err)
		standing, err := cutover.Status(p, entries)
		r.must(err)
		for _, w := range standing.Waves {
			for _, ph := range w.Phases {
				for _, st := range ph.Steps {
					stand[p.ID+" "+st.ID] = st.State.Done()
				}
			}
		}
	}
	return plans, func(p *plan.Plan, step string) bool { return stand[p.ID+" "+step] }
}

// watch looks from now on, after every change, at the hosts that a recovery key
// opens now.
func (r *rotationStory) watch(ways []plan.Way) {
	if r.also != nil {
		return
	}
	r.turns.take("watch")
	r.world.Mu.RLock()
	defer r.world.Mu.RUnlock()
	r.keyed, r.saved = map[string]bool{}, map[string]bool{}
	for _, h := range r.hosts {
		if !slices.ContainsFunc(ways, func(w plan.Way) bool {
			return slices.ContainsFunc(w.Hosts, func(x plan.WayHost) bool { return x.Host.ID == h.in.Host.ID })
		}) {
			continue
		}
		r.keyed[h.in.Host.ID] = r.recoveryReason(h.in) == ""
		for path, texts := range r.savedFiles(h.in) {
			r.saved[h.in.Host.ID+" "+path] = !slices.ContainsFunc(texts, r.keyless)
		}
	}
	r.also = r.keysStay
}

// keysStay wants a key that is kept on each host that had one: in the files that
// sshd reads, and in those that a rollback would put back.
func (r *rotationStory) keysStay(c change) {
	for _, h := range r.hosts {
		id := h.in.Host.ID
		if h.in.Host.State != "running" || time.Now().Before(h.away) {
			continue
		}
		if r.keyed[id] {
			r.checks++
			if why := r.recoveryReason(h.in); why != "" {
				r.fail("lock-out", "no recovery key that is kept opens %s after %s: %s", id, firstLine(c.what), why)
			}
		}
		for path, texts := range r.savedFiles(h.in) {
			if r.saved[id+" "+path] && slices.ContainsFunc(texts, r.keyless) {
				r.fail("lock-out", "what a rollback would put back into %s of %s has no recovery key that is kept, after %s", path, id, firstLine(c.what))
			}
		}
	}
}

// keyless reports whether a key file has none of the keys that are kept.
func (r *rotationStory) keyless(text string) bool {
	return !slices.ContainsFunc(r.ring, func(line string) bool { return strings.Contains(text, recovery.Blob(line)) })
}

// savedFiles are the texts that a rollback, or a timer, would put back, by the
// path of the live file.
func (r *rotationStory) savedFiles(in *simfleet.Instance) map[string][]string {
	texts := map[string]string{}
	for _, f := range r.world.FileStates(in, "/var/lib/migrate") {
		if f.Kind == "file" {
			texts[f.Path] = f.Content
		}
	}
	out := map[string][]string{}
	for name, text := range texts {
		dir, ok := strings.CutSuffix(name, "/manifest")
		if !ok || strings.Contains(dir, "/old.") {
			continue
		}
		for line := range strings.Lines(text) {
			if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 8 {
				out[f[7]] = append(out[f[7]], texts[dir+"/files/"+f[0]])
			}
		}
	}
	return out
}

// wantRotated wants the new key to open every host of the rotation, and the old
// ones to be nowhere.
func (r *rotationStory) wantRotated() {
	r.world.Mu.RLock()
	defer r.world.Mu.RUnlock()
	if len(r.ring) != 1 {
		r.fail("not rotated", "%d recovery keys are kept", len(r.ring))
	}
	of := map[string]bool{}
	for _, step := range r.plan.Of(plan.RetireKey) {
		of[step.Hosts[0].ID] = true
	}
	if len(of) == 0 {
		r.fail("not rotated", "no host was in the rotation")
	}
	for _, h := range r.hosts {
		if !of[h.in.Host.ID] || h.in.Host.State != "running" || time.Now().Before(h.away) {
			continue
		}
		if why := r.recoveryReason(h.in); why != "" {
			r.fail("not rotated", "the new key does not open %s: %s", h.in.Host.ID, why)
		}
		for _, f := range r.world.FileStates(h.in, "/home", "/root", "/etc/ssh", "/var/lib/migrate") {
			for _, line := range r.made {
				if line != r.ring[0] && f.Kind == "file" && strings.Contains(f.Content, recovery.Blob(line)) {
					r.fail("not rotated", "%s of %s still has an old recovery key", f.Path, h.in.Host.ID)
				}
			}
		}
	}
}
