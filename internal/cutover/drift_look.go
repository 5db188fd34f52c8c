package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// driftAtOnce is how many looks are under way: as many hosts as one call of
// Run Command takes. The adapters pace the calls to AWS.
const driftAtOnce = 50

// driftCheck looks at the world, once.
type driftCheck struct {
	DriftConfig
	x    expectations
	once *memory
	side *hostSide

	// Set before the looks begin.
	listed   map[fleet.HostRef]fleet.Host
	unlisted map[fleet.Place]error
}

func newDriftCheck(c DriftConfig, x expectations) *driftCheck {
	return &driftCheck{
		DriftConfig: c, x: x, once: newMemory(c.World),
		side: &hostSide{
			HostWorld: HostWorld{Plan: c.Plan, Generations: c.Generations}, folder: token(c.Plan.Digest, ""), paths: c.Paths,
			recoveryKey: recovery.Blob(c.Plan.Policy.Recovery.PublicKey),
		},
		listed: map[fleet.HostRef]fleet.Host{}, unlisted: map[fleet.Place]error{},
	}
}

// run makes all looks. The items come in the order of the looks, whichever ends first.
func (d *driftCheck) run(ctx context.Context) []DriftItem {
	newcomers := d.list(ctx)
	var looks []func() []DriftItem
	for _, at := range d.x.places() {
		if err := d.unlisted[at]; err != nil {
			looks = append(looks, func() []DriftItem { return []DriftItem{unlistedItem(at, err)} })
		}
	}
	for _, e := range d.x.shared {
		if e.step.Kind == plan.AttachProfile && !d.there(e.step.Hosts) {
			continue // of which host-gone tells
		}
		looks = append(looks, func() []DriftItem {
			return d.sure(ctx, e.since, func(w DriftWorld) []DriftItem { return d.shared(ctx, w, e) })
		})
	}
	for _, r := range d.x.order() {
		h := d.x.hosts[r]
		looks = append(looks, func() []DriftItem {
			return d.sure(ctx, h.any.since, func(w DriftWorld) []DriftItem { return judgeHost(h, d.host(ctx, w, h)) })
		})
	}
	for _, h := range newcomers {
		looks = append(looks, func() []DriftItem { return []DriftItem{judgeNewcomer(h, d.doors(ctx, d.once, h, nil))} })
	}
	looks = append(looks, func() []DriftItem { return d.recoveryItems(ctx) })
	results := make([][]DriftItem, len(looks))
	d.each(ctx, len(looks), func(i int) { results[i] = looks[i]() })
	return slices.Concat(results...)
}

// each calls f for all numbers below n, a bounded number of them at once.
func (d *driftCheck) each(ctx context.Context, n int, f func(int)) {
	most := d.Concurrency
	if most <= 0 {
		most = driftAtOnce
	}
	slots := make(chan struct{}, most)
	var all sync.WaitGroup
	defer all.Wait()
	for i := range n {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		all.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
}

// list asks what instances there are, and gives those that came after the plan.
func (d *driftCheck) list(ctx context.Context) (newcomers []fleet.Host) {
	places := d.x.places()
	hosts, errs := make([][]fleet.Host, len(places)), make([]error, len(places))
	d.each(ctx, len(places), func(i int) { hosts[i], errs[i] = d.World.Instances(ctx, places[i]) })
	neighbour := d.x.neighbours()
	for i, at := range places {
		if errs[i] != nil {
			d.unlisted[at] = errs[i]
			continue
		}
		for _, h := range hosts[i] {
			d.listed[h.Ref()] = h
			if neighbour(h) {
				newcomers = append(newcomers, h)
			}
		}
	}
	slices.SortFunc(newcomers, func(a, b fleet.Host) int { return a.Ref().Compare(b.Ref()) })
	return newcomers
}

// there reports whether all of the hosts may still be there.
func (d *driftCheck) there(hosts []fleet.HostRef) bool {
	for _, r := range hosts {
		if _, ok := d.listed[r]; !ok && d.unlisted[r.Place()] == nil {
			return false
		}
	}
	return true
}

// sure looks again while what does not hold was brought about only a moment
// ago: reads may lag behind.
func (d *driftCheck) sure(ctx context.Context, since time.Time, look func(DriftWorld) []DriftItem) []DriftItem {
	items := look(d.once)
	for slices.ContainsFunc(items, func(i DriftItem) bool { return i.Holds == fleet.TruthNo }) && time.Since(since) < visibleWithin {
		if sleep(ctx, catchUp) != nil {
			return items
		}
		items = look(d.World)
	}
	return items
}

// shared looks at what a step changed on AWS's side.
func (d *driftCheck) shared(ctx context.Context, w DriftWorld, e expected) []DriftItem {
	s := e.step
	switch s.Kind {
	case plan.ClosePort:
		door, err := doorOf(ctx, w, s)
		return judgeDoor(e, door, err)
	case plan.ScaleIn:
		g, err := w.ScalingGroup(ctx, s.At, s.Scaling.Group)
		return judgeSizes(e, g, err)
	case plan.DisarmRuleTimer:
		image, left, err := ruleTimers{groups: readOnly{w}, schedules: readOnly{w}}.left(ctx, s)
		return judgeRuleTimer(e, image, left, err)
	}
	obs, err := AWSKinds(readOnly{w}, d.Generations...)[s.Kind].Observe(ctx, s)
	items := judgeObserved(e, obs, err)
	switch {
	case s.Kind == plan.RecoveryGroup:
		g, err := w.ScalingGroup(ctx, s.At, s.Recovery.Name)
		items = append(items, judgeIdle(e, g, err)...)
	case s.Kind == plan.AttachProfile && s.Profile.Create && !s.Handed:
		policy, err := w.RolePolicy(ctx, s.At, s.Profile.Name, plan.ProfilePolicy)
		items = append(items, judgeProfileRole(e, policy, err)...)
	}
	return items
}

// doorOf reads a group that was closed. A recovery group that is gone leaves
// nobody to be let in.
func doorOf(ctx context.Context, w DriftWorld, s plan.Step) (door, error) {
	c, groups := s.Rules, readOnly{w}
	d := door{group: c.Group, port: c.Port}
	if d.port == 0 {
		d.port = sshPort
	}
	var err error
	if d.rules, err = groupRules(ctx, groups, s.At, d.group); err != nil {
		return d, err
	}
	if d.keep, err = resolveGroup(ctx, groups, s.At, c.Keep); answered(err, fleet.ErrNotFound) != nil {
		return d, err
	}
	d.planned = c.Rules
	for _, r := range d.rules {
		switch {
		case r.Egress || !r.Admits(d.port):
		case d.keep != "" && r.Group == d.keep:
			d.kept = true
		case wanted(d.planned, r):
			d.open = append(d.open, r)
		default:
			d.strange = append(d.strange, r)
		}
	}
	d.lacking = missingRules(c.Add, d.rules)
	return d, nil
}

// hostSight is what was seen of one host.
type hostSight struct {
	listed fleet.Truth // among the instances; no: it is gone
	now    fleet.Host
	// linked: Session Manager reaches it; why not, or why nobody knows.
	linked fleet.Truth
	why    string
	// answer is the host's own; err, why it is not whole. Both nil: it was not asked.
	answer hostAnswer
	err    error
	asked  bool
	doors  []otherDoor
}

// otherDoor is a security group that the plan does not speak of.
type otherDoor struct {
	group string
	open  []fleet.Rule // that let SSH in, but for the recovery bastion
	err   error
}

func (d *driftCheck) host(ctx context.Context, w DriftWorld, h *hostExpectation) hostSight {
	s := hostSight{now: h.host}
	r := h.host.Ref()
	if d.unlisted[r.Place()] == nil {
		now, ok := d.listed[r]
		s.listed = truthOf(ok)
		if ok {
			s.now = now
		}
		if !ok || !now.Running() {
			return s
		}
		if h.port != nil {
			s.doors = d.doors(ctx, w, now, d.x.spoken)
		}
	}
	if h.session != nil {
		s.linked, s.why = d.linked(ctx, w, s.now)
	}
	// Run Command goes the same way as sessions: there is nobody to ask.
	if h.looks() && (h.session == nil || s.linked != fleet.TruthNo) {
		s.asked = true
		s.answer, s.err = d.ask(ctx, h)
	}
	return s
}

// linked tells whether Session Manager reaches a host.
func (d *driftCheck) linked(ctx context.Context, w DriftWorld, h fleet.Host) (fleet.Truth, string) {
	if d.Sessions != nil {
		p := d.Sessions.Prove(ctx, h, fleet.WaySessionManager)
		return p.Works, p.Reason
	}
	ok, err := w.Connected(ctx, h.Ref())
	switch {
	case err != nil:
		return fleet.TruthUnknown, err.Error()
	case !ok:
		return fleet.TruthNo, "Systems Manager says that its agent is not connected"
	}
	return fleet.TruthYes, ""
}

// ask has a host tell all that there is to be known, in one go.
func (d *driftCheck) ask(ctx context.Context, h *hostExpectation) (hostAnswer, error) {
	var functions []observing
	vars := hostVars{{"AFTER", "0"}}
	if h.timer != nil {
		functions = append(functions, observeTimer)
	}
	if h.agent != nil {
		functions = append(functions, observeAgent)
	}
	keep := []string(nil)
	if h.keys != nil {
		functions = append(functions, observeKeys)
		keep = h.keys.step.Keys.Keep
	}
	vars = append(vars, d.side.keyVars(keep)...)
	if h.key != nil {
		functions = append(functions, observeKey) // last: it narrows KEEP to the recovery key
		vars = append(vars, [2]string{"ACCOUNT", h.key.step.Key.User}, [2]string{"LINE", h.key.step.Key.Line}, [2]string{"LATER", strings.Join(d.side.laterThan(d.side.recoveryKey), " ")})
	}
	l := d.side.driftLook(vars, functions...)
	return answerOf(ctx, h.host, l.script, hostWays, func(way fleet.Way) fleet.ScriptResult { return d.Looks.Look(ctx, h.host, way, l) })
}

// doors reads the groups of a host that the plan does not speak of.
func (d *driftCheck) doors(ctx context.Context, w DriftWorld, h fleet.Host, spoken map[groupAt]bool) []otherDoor {
	at := h.Ref().Place()
	var out []otherDoor
	for _, g := range carried(h) {
		if spoken[groupAt{at, g}] {
			continue
		}
		rules, err := w.GroupRules(ctx, at, g)
		o := otherDoor{group: g, err: err}
		rescue := ""
		if slices.ContainsFunc(rules, func(r fleet.Rule) bool { return !r.Egress && r.Admits(sshPort) }) {
			found, err := w.FindGroup(ctx, at, h.VPC, plan.RecoveryName(h.VPC))
			rescue, o.err = found.ID, answered(err, fleet.ErrNotFound)
		}
		for _, r := range rules {
			if !r.Egress && r.Admits(sshPort) && (rescue == "" || r.Group != rescue) {
				o.open = append(o.open, r)
			}
		}
		if o.err != nil || len(o.open) > 0 {
			out = append(out, o)
		}
	}
	return out
}

func unlistedItem(at fleet.Place, err error) DriftItem {
	return DriftItem{Code: DriftUnseen, Holds: fleet.TruthUnknown, What: strings.TrimSpace(at.Account + " " + at.Region), At: at,
		Was: "Every host of the plan is there, and no other", Now: fleet.OneLine(fmt.Sprintf("the instances cannot be listed: %v", err), 1000)}
}

// strayed reports whether an error says for certain that something is not as it was.
func strayed(err error) bool {
	return errors.Is(err, ErrStale) || errors.Is(err, ErrForeign) || errors.Is(err, fleet.ErrNotFound)
}
