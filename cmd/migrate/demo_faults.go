package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// demoFault is trouble that somebody brings into the simulated fleet on purpose.
type demoFault struct {
	name string
	what string // happens
	see  string // what to look at, and what to do

	// when is its moment where it is named on the command line: where it hurts, or
	// can be seen. Nil: at once.
	when  func(cutover.Standing) bool
	lasts time.Duration // 0: until it is ended

	// begin brings it about and says on what, and how it is ended. World.Mu is
	// not held.
	begin func(d *demoFleet) (on string, heal func(), err error)
}

// demoFaults are all of them. What one sees of each was tried.
var demoFaults = []demoFault{
	{
		name: "agent-dies", when: waveBegun, begin: agentDies,
		what: "the SSM Agent stops on a host of the wave that is under way",
		see:  "its wave is rolled back. End the fault (--end) and apply the plan again",
	},
	{
		name: "ssm-outage", when: waveBegun, begin: ssmOutage,
		what: "Systems Manager is down in all Regions: no sessions, no Run Command",
		see:  "whether sessions work is unknown, so no door closes: the wizard asks, migrate apply pauses. End the fault and go on",
	},
	{
		name: "disk-full", when: waveBegun, begin: diskFull,
		what: "the disk of a host fills up, in the wave that is under way",
		see:  "nothing can be written there: its wave is rolled back. End the fault and apply the plan again",
	},
	{
		name: "throttle", when: waveBegun, lasts: 30 * time.Second, begin: throttle,
		what: "for 30 seconds Systems Manager answers \"Rate exceeded\" to everything",
		see:  "calls are tried again, the run becomes slow; what cannot be known meanwhile counts as unknown, and is asked about",
	},
	{
		name: "colleague-closes", when: waveBegun, begin: colleagueCloses,
		what: "a colleague deletes, in the console, the rule for port 22 from a security group of a host that is still open",
		see:  "it is not ours, so no rollback brings it back. migrate inventory and migrate diff show it; the plan may be stale",
	},
	{
		name: "colleague-opens", when: hostClosed, begin: colleagueOpens,
		what: "a colleague opens port 22 to the whole internet in a security group of a host that was closed",
		see:  "migrate drift finds it",
	},
	{
		name: "launch-fails", begin: launchFails,
		what: "EC2 has no capacity: no instance can be launched, and so no recovery bastion",
		see:  "the recovery drill fails, and without a second way in no door closes. End the fault and apply again",
	},
}

func faultNames() []string {
	var out []string
	for _, f := range demoFaults {
		out = append(out, f.name)
	}
	return out
}

func findFault(name string) (demoFault, error) {
	i := slices.IndexFunc(demoFaults, func(f demoFault) bool { return f.name == name })
	if i < 0 {
		return demoFault{}, usageErr("there is no fault %q: there are %s", oneLine(name), strings.Join(faultNames(), ", "))
	}
	return demoFaults[i], nil
}

// trouble keeps what was brought into a demo's fleet. Its methods may be called
// concurrently.
type trouble struct {
	d *demoFleet

	mu      sync.Mutex
	active  map[string]func() // guarded by mu; how they are ended
	timers  map[string]*time.Timer
	stopped bool
}

func newTrouble(d *demoFleet) *trouble {
	t := &trouble{d: d, active: map[string]func(){}, timers: map[string]*time.Timer{}}
	d.close = append(d.close, t.stop)
	return t
}

// begin brings a fault about now, and says what happened.
func (t *trouble) begin(f demoFault) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
		return "", errors.New("the demo has ended")
	case t.active[f.name] != nil:
		return "", fmt.Errorf("%s is there already: migrate demo fault --end %s ends it", f.name, f.name)
	}
	on, heal, err := f.begin(t.d)
	if err != nil {
		return "", fmt.Errorf("%s cannot come now: %w", f.name, err)
	}
	t.active[f.name] = heal
	if f.lasts > 0 {
		t.timers[f.name] = time.AfterFunc(f.lasts, func() { _ = t.end(f.name) }) // ended by hand before: there is nothing to end
	}
	return fmt.Sprintf("%s: %s", f.name, on), nil
}

// end puts right what a fault broke; "" ends all.
func (t *trouble) end(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name == "" {
		for _, n := range slices.Sorted(maps.Keys(t.active)) {
			t.healed(n)
		}
		return nil
	}
	if t.active[name] == nil {
		return fmt.Errorf("%s is not there", name)
	}
	t.healed(name)
	return nil
}

// healed ends a fault that is there. The caller holds mu.
func (t *trouble) healed(name string) {
	t.active[name]()
	delete(t.active, name)
	if timer := t.timers[name]; timer != nil {
		timer.Stop()
		delete(t.timers, name)
	}
}

// now are the names of the faults that are there.
func (t *trouble) now() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, slices.Sorted(maps.Keys(t.active))...)
}

func (t *trouble) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, timer := range t.timers {
		timer.Stop()
	}
}

// troubleEvery is how often the state file is asked whether a fault's time has come.
const troubleEvery = 300 * time.Millisecond

// bring brings the faults about, each in its time. It returns when all have come,
// or ctx ends. Say is told what happened.
func (t *trouble) bring(ctx context.Context, faults []demoFault, say func(string)) {
	tell := func(f demoFault) {
		text, err := t.begin(f)
		if err != nil {
			text = err.Error()
		}
		say(text)
	}
	tick := time.NewTicker(troubleEvery)
	defer tick.Stop()
	for len(faults) > 0 {
		_, standing, err := t.d.standing(ctx)
		faults = slices.DeleteFunc(slices.Clone(faults), func(f demoFault) bool {
			due := f.when == nil || err == nil && f.when(standing)
			if due {
				tell(f)
			}
			return due
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// waveBegun: the canary has gone well, and a wave of several hosts is under way.
func waveBegun(s cutover.Standing) bool {
	return slices.ContainsFunc(s.Waves, func(w cutover.WaveStatus) bool { return w.Hosts > 1 && w.State == "under way" })
}

func hostClosed(s cutover.Standing) bool { return slices.ContainsFunc(s.Hosts, allClosed) }

func allClosed(h cutover.HostStatus) bool { return h.All > 0 && h.Doors == h.All }

// standing is the demo's plan that the journal spoke of last, or the newest, and
// where it stands. Nil: there is none yet.
func (d *demoFleet) standing(ctx context.Context) (_ *plan.Plan, _ cutover.Standing, err error) {
	var s cutover.Standing
	if _, err := os.Stat(d.db()); err != nil {
		return nil, s, err
	}
	db, err := sqlite.Open(ctx, d.db())
	if err != nil {
		return nil, s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := begunPlan(ctx, db, nil)
	if err != nil {
		return nil, s, err
	}
	entries, err := db.Entries(ctx, p.ID)
	if err != nil {
		return nil, s, err
	}
	s, err = cutover.Status(p, entries)
	return p, s, err
}

// victim is a host of the wave that is under way or comes next, on which no step
// to come would mend the agent; without a plan, the first on which sessions work.
func (d *demoFleet) victim() (*simfleet.Instance, error) {
	p, s, err := d.standing(context.Background())
	if err != nil || p == nil {
		return d.first(nil)
	}
	states := map[int]string{}
	for _, w := range s.Waves {
		states[w.Number] = w.State
	}
	mends := map[string]bool{}
	for _, w := range p.Waves {
		for _, st := range w.Steps {
			if st.Kind == plan.Agent && len(st.Hosts) == 1 {
				mends[st.Hosts[0].ID] = true
			}
		}
	}
	hosts := slices.DeleteFunc(slices.Clone(s.Hosts), func(h cutover.HostStatus) bool { return h.All == 0 || states[h.Wave] == "done" || mends[h.Host.ID] })
	slices.SortStableFunc(hosts, func(a, b cutover.HostStatus) int {
		return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Doors, b.Doors)) // whose doors are open first
	})
	ids := []string{}
	for _, h := range hosts {
		ids = append(ids, h.Host.ID)
	}
	return d.first(ids)
}

// hostWhere gives the first host of the plan that pick picks.
func (d *demoFleet) hostWhere(pick func(cutover.HostStatus) bool) (*simfleet.Instance, error) {
	_, s, err := d.standing(context.Background())
	if err != nil {
		return nil, errors.New("there is no plan yet")
	}
	ids := []string{}
	for _, h := range s.Hosts {
		if pick(h) {
			ids = append(ids, h.Host.ID)
		}
	}
	return d.first(ids)
}

// first gives the running host that comes first among the IDs; nil: the first of
// all on which sessions work.
func (d *demoFleet) first(ids []string) (*simfleet.Instance, error) {
	d.world.Mu.RLock()
	defer d.world.Mu.RUnlock()
	var found *simfleet.Instance
	best := len(ids)
	for in := range d.world.Instances() {
		if !in.Host.Running() || in.Host.Windows() || in.Role == "bastion" {
			continue
		}
		if at := slices.Index(ids, in.Host.ID); at >= 0 && at < best {
			found, best = in, at
		}
		if ids == nil && found == nil && d.world.ServesSessions(in) {
			found = in
		}
	}
	if found == nil {
		return nil, errors.New("the plan has no host left on which it could be shown")
	}
	return found, nil
}

func called(in *simfleet.Instance) string {
	return in.Host.Name() + " (" + in.Host.ID + ")"
}

// change runs with the world's lock held for writing.
func (d *demoFleet) change(what func()) {
	d.world.Mu.Lock()
	defer d.world.Mu.Unlock()
	what()
}

func (d *demoFleet) eachRegion(what func(*simfleet.Region)) {
	d.change(func() {
		for _, a := range d.world.Accounts {
			for _, rg := range a.Regions {
				what(rg)
			}
		}
	})
}

func agentDies(d *demoFleet) (string, func(), error) {
	in, err := d.victim()
	if err != nil {
		return "", nil, err
	}
	set := func(running bool) {
		d.change(func() {
			if !running {
				in.Agent.LastSeen = d.world.Now()
			}
			in.Agent.Running, in.Agent.Started = running, d.world.Now()
		})
	}
	set(false)
	return "the SSM Agent of " + called(in) + " has stopped", func() { set(true) }, nil
}

func ssmOutage(d *demoFleet) (string, func(), error) {
	set := func(down bool) {
		d.eachRegion(func(rg *simfleet.Region) {
			services := maps.Clone(rg.Outages)
			if services == nil {
				services = map[string]bool{}
			}
			for _, s := range []string{"ssm", "ssmmessages", "ec2messages"} {
				if down {
					services[s] = true
				} else {
					delete(services, s)
				}
			}
			rg.Outages = services
		})
	}
	set(true)
	return "Systems Manager is down in all Regions", func() { set(false) }, nil
}

func diskFull(d *demoFleet) (string, func(), error) {
	in, err := d.victim()
	if err != nil {
		return "", nil, err
	}
	set := func(full bool) { d.change(func() { d.world.SetDiskFull(in, full) }) }
	set(true)
	return "the disk of " + called(in) + " is full", func() { set(false) }, nil
}

func throttle(d *demoFleet) (string, func(), error) {
	d.faults.Set(simfleet.Fault{Service: "ssm", Kind: simfleet.FaultThrottle})
	return "Systems Manager throttles every call", func() { d.faults.Set() }, nil
}

func launchFails(d *demoFleet) (string, func(), error) {
	set := func(none bool) { d.eachRegion(func(rg *simfleet.Region) { rg.NoCapacity = none }) }
	set(true)
	return "no instance can be launched in any Region", func() { set(false) }, nil
}

const sshPort = 22

var anywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}

// admitsSSH reports whether a permission lets anybody come to port 22 alone; one
// that is wider than that would take more than SSH away.
func admitsSSH(p fleet.Permission) bool {
	return (p.Protocol == "tcp" || p.Protocol == "6") && p.From == sshPort && p.To == sshPort
}

func colleagueCloses(d *demoFleet) (string, func(), error) {
	in, err := d.hostWhere(func(h cutover.HostStatus) bool { return h.Doors < h.All })
	if err != nil {
		return "", nil, err
	}
	var group *fleet.SecurityGroup
	var taken []fleet.Permission
	d.change(func() {
		for _, g := range in.Region.Groups {
			if !slices.Contains(in.Host.Groups, g.ID) || !slices.ContainsFunc(g.Ingress, admitsSSH) {
				continue
			}
			group = g
			var kept []fleet.Permission
			for _, p := range g.Ingress {
				if admitsSSH(p) {
					taken = append(taken, p)
				} else {
					kept = append(kept, p)
				}
			}
			g.Ingress = kept
			return
		}
	})
	if group == nil {
		return "", nil, fmt.Errorf("no security group of %s has a rule for port 22 alone", called(in))
	}
	heal := func() { d.change(func() { group.Ingress = append(slices.Clone(group.Ingress), taken...) }) }
	return fmt.Sprintf("port 22 was closed in %s (%s), by a colleague", group.ID, group.Name), heal, nil
}

func colleagueOpens(d *demoFleet) (string, func(), error) {
	in, err := d.hostWhere(allClosed)
	if err != nil {
		return "", nil, fmt.Errorf("no host is closed yet: apply a plan first (%w)", err)
	}
	i := slices.IndexFunc(in.Region.Groups, func(g *fleet.SecurityGroup) bool { return slices.Contains(in.Host.Groups, g.ID) })
	if i < 0 {
		return "", nil, fmt.Errorf("%s is in no security group", called(in))
	}
	group := in.Region.Groups[i]
	rule := fleet.Permission{Protocol: "tcp", From: sshPort, To: sshPort, CIDRs: anywhere, Description: "temporary"}
	same := func(p fleet.Permission) bool {
		return admitsSSH(p) && slices.Equal(p.CIDRs, anywhere) && p.Description == rule.Description
	}
	var there bool
	d.change(func() {
		if there = slices.ContainsFunc(fleet.Rules(group.Ingress, false), fleet.Rules([]fleet.Permission{rule}, false)[0].Same); !there {
			group.Ingress = append(slices.Clone(group.Ingress), rule)
		}
	})
	if there {
		return "", nil, fmt.Errorf("port 22 is open to the internet in %s already", group.ID)
	}
	heal := func() {
		d.change(func() { group.Ingress = slices.DeleteFunc(slices.Clone(group.Ingress), same) })
	}
	return fmt.Sprintf("port 22 was opened to the internet in %s (%s), by a colleague", group.ID, cmp.Or(group.Name, "-")), heal, nil
}
