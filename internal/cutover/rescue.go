package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// How long a rollback waits for a bastion that cannot be launched, once Auto
// Scaling has said so, and after which time it looks again. The group goes on trying meanwhile.
const (
	launchPatience = 2 * time.Minute
	rescueAgain    = time.Minute
	startTimeout   = 30 * time.Second // for the calls that start it
)

// askAgain is how long a host's other ways get before a bastion is started.
const askAgain = 5 * time.Second

// Rescue starts recovery bastions in a rollback, one for each VPC and all of its
// hosts, and brings them back to zero at its end. The same one goes into
// HostWorld and into the executor's Config, of which one runs at a time. A nil
// one starts nothing, the zero value is ready for use.
type Rescue struct {
	drills recoveryDrillKind // which knows how to open a bastion; set by HostKinds

	mu     sync.Mutex
	now    *rescuing                // guarded by mu; nil: no rollback is under way
	opened map[bastionKey]time.Time // guarded by mu; by other plans, until when; zero: until they close it
}

// rescuing is one rollback's share.
type rescuing struct {
	ctx   context.Context
	write func(Entry) error
	goes  sync.WaitGroup
	tries map[bastionKey]*rescueTry // guarded by Rescue.mu
	order []*rescueTry              // guarded by Rescue.mu; all there ever were
}

type bastionKey struct {
	at   fleet.Place
	name string
}

// rescueTry is an attempt at opening one bastion.
type rescueTry struct {
	began   time.Time     // of the first attempt at this bastion
	done    chan struct{} // closed when the attempt has ended; what follows is set then
	closeIt func()        // nil: it is not open
	err     error
	ended   time.Time
	looked  time.Time // when missed last looked; guarded by Rescue.mu
}

// Bastion is a recovery bastion that a run has started.
type Bastion struct {
	At    fleet.Place `json:"at"`
	VPC   string      `json:"vpc"`
	Group string      `json:"group"` // Auto Scaling group
	Since time.Time   `json:"since,omitzero"`
}

func (b Bastion) key() bastionKey { return bastionKey{b.At, b.Group} }

// Runs says that the bastion may still run, and how to end it by hand.
func (b Bastion) Runs() string {
	return fmt.Sprintf("the recovery bastion %s of %s may still run: aws autoscaling update-auto-scaling-group --region %s --auto-scaling-group-name %s --min-size 0 --desired-capacity 0", b.Group, b.VPC, b.At.Region, b.Group)
}

func (r *Rescue) serve(h *hostSide) {
	if r != nil {
		r.drills = recoveryDrillKind{hostSide: h}
	}
}

// mind says which bastions other plans have opened, and until when.
func (r *Rescue) mind(opened map[bastionKey]time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = opened
}

// wanted reports whether another plan has opened a group's bastion: people may
// be logged in through it, so it stays.
func (r *Rescue) wanted(key bastionKey) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ends, ok := r.opened[key]
	return ok && (ends.IsZero() || time.Now().Before(ends))
}

// wantedNow is wanted for a group that was just looked at. One that wants no
// bastion was closed by somebody else: what is started there from now on is ours.
func (r *Rescue) wantedNow(at fleet.Place, g fleet.ScalingGroup) bool {
	key := bastionKey{at, g.Name}
	if !r.wanted(key) {
		return false
	}
	if g.Desired > 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.opened, key)
	return false
}

// begin lets bastions be started until end.
func (r *Rescue) begin(ctx context.Context, write func(Entry) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = &rescuing{ctx: ctx, write: write, tries: map[bastionKey]*rescueTry{}}
}

// would reports whether reach would start a bastion for the host.
func (r *Rescue) would(h fleet.Host) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		return false
	}
	c, ok := r.groupOf(h)
	t := r.now.tries[bastionKey{h.Ref().Place(), c.Name}]
	return ok && t == nil
}

// groupOf is the recovery group of a host's VPC.
func (r *Rescue) groupOf(h fleet.Host) (plan.RecoveryChange, bool) {
	for _, w := range r.drills.Plan.Waves {
		for _, s := range w.Steps {
			if s.Kind == plan.RecoveryDrill && s.Recovery != nil && s.At == h.Ref().Place() && s.Recovery.VPC == h.VPC {
				c := *s.Recovery
				c.With, c.Refused = "", nil // any key of the ring will do
				return c, true
			}
		}
	}
	return plan.RecoveryChange{}, false
}

// reach returns once the bastion of the host's VPC is open, or says why it is
// not. Without a rollback under way it leaves things as they are.
func (r *Rescue) reach(ctx context.Context, h fleet.Host) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	now := r.now
	if now == nil {
		r.mu.Unlock()
		return nil
	}
	c, ok := r.groupOf(h)
	if !ok {
		r.mu.Unlock()
		return fmt.Errorf("the plan has no recovery bastion in %s", cmp.Or(h.VPC, "its VPC"))
	}
	b := Bastion{At: h.Ref().Place(), VPC: c.VPC, Group: c.Name}
	t := now.tries[b.key()]
	again := t != nil && t.failed() && time.Since(t.ended) >= rescueAgain
	if t == nil || again {
		first, began := t == nil, time.Now()
		if !first {
			began = t.began
		}
		t = &rescueTry{began: began, done: make(chan struct{})}
		now.tries[b.key()], now.order = t, append(now.order, t)
		patience := launchPatience
		if e := r.drills.Endpoint; !first || e != nil && e(h) {
			patience = 0
		}
		now.goes.Go(func() { r.try(now, t, b, c, first, patience) })
	}
	r.mu.Unlock()
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// holds reports whether the rollback under way has started a group's bastion.
// It is ended at the rollback's end, not by the undoing of a step.
func (r *Rescue) holds(at fleet.Place, name string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now != nil && r.now.tries[bastionKey{at, name}] != nil
}

// missed looks, after a login by an open bastion has failed, whether the bastion
// is still there. One that is gone is started again by the next reach.
func (r *Rescue) missed(ctx context.Context, h fleet.Host) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		return
	}
	c, _ := r.groupOf(h)
	key := bastionKey{h.Ref().Place(), c.Name}
	t := r.now.tries[key]
	if t == nil || !t.opened() || time.Since(t.looked) < rescueAgain {
		return
	}
	t.looked = time.Now()
	r.mu.Unlock()
	up, err := r.drills.Scaling.InService(ctx, key.at, key.name)
	r.mu.Lock()
	if err == nil && len(up) == 0 && r.now != nil && r.now.tries[key] == t {
		r.now.tries[key] = &rescueTry{began: t.began, done: t.done, err: errors.New("the recovery bastion is gone")}
	}
}

// opened reports whether an attempt has ended with an open bastion.
func (t *rescueTry) opened() bool {
	select {
	case <-t.done:
		return t.err == nil
	default:
		return false
	}
}

// failed reports whether an attempt has ended without an open bastion.
func (t *rescueTry) failed() bool {
	select {
	case <-t.done:
		return t.err != nil
	default:
		return false
	}
}

// try opens a bastion. The journal says so before anything is started, so that
// whoever comes after a crash knows of it.
func (r *Rescue) try(now *rescuing, t *rescueTry, b Bastion, c plan.RecoveryChange, first bool, patience time.Duration) {
	defer close(t.done)
	defer func() { t.ended = time.Now() }()
	if first {
		e := Entry{
			Event: BastionBegan, Image: image(b),
			Detail: fmt.Sprintf("starting the recovery bastion %s of %s: neither Session Manager nor SSH reaches hosts there", c.Name, c.VPC),
		}
		if r.stays(now.ctx, b) {
			e = Entry{Event: Note, Detail: fmt.Sprintf("using the recovery bastion %s of %s, which migrate recovery open has opened: neither Session Manager nor SSH reaches hosts there", c.Name, c.VPC)}
		}
		if t.err = now.write(e); t.err != nil {
			return
		}
	}
	t.closeIt, t.err = r.start(now.ctx, b, c, t.began, patience)
	if t.err != nil && first {
		_ = now.write(Entry{Event: Note, Detail: fmt.Sprintf("no recovery bastion in %s: %v; ways that need no launch are left: EC2 Instance Connect Endpoint, serial console", c.VPC, t.err)})
	}
}

// stays reports whether a bastion is another plan's, unless its group is seen to want none.
func (r *Rescue) stays(ctx context.Context, b Bastion) bool {
	if !r.wanted(b.key()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g, err := r.drills.Scaling.ScalingGroup(ctx, b.At, b.Group)
	return err != nil || r.wantedNow(b.At, g)
}

func (r *Rescue) start(ctx context.Context, b Bastion, c plan.RecoveryChange, began time.Time, patience time.Duration) (func(), error) {
	k := r.drills
	err := k.until(ctx, startTimeout, func(ctx context.Context) (bool, error) {
		g, err := k.Scaling.ScalingGroup(ctx, b.At, b.Group)
		if err == nil && g.Desired < 1 {
			err = k.Scaling.SetSize(ctx, b.At, b.Group, 0, 1, max(1, g.Max))
		}
		return err == nil || errors.Is(err, fleet.ErrNotFound), err
	})
	if err != nil {
		return nil, fmt.Errorf("start the recovery bastion %s: %w", b.Group, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if k.Launches != nil {
		watch := make(chan struct{})
		defer func() { cancel(nil); <-watch }()
		go func() {
			defer close(watch)
			if why := k.launchFails(ctx, b, began, patience); why != "" {
				cancel(fmt.Errorf("EC2 Auto Scaling cannot launch it: %s", why))
			}
		}()
	}
	closeIt, err := k.open(ctx, b.At, c, &DrillReport{}, func(DrillPhase) {})
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return closeIt, err
}

// launchFails says why no instance comes up, once that has been so for a
// while; empty: ctx ended before.
func (h *hostSide) launchFails(ctx context.Context, b Bastion, began time.Time, patience time.Duration) string {
	var since time.Time // when the failure was first seen
	for pause := 3 * firstAsk; ; pause = min(pause*3/2, lastPause/2) {
		why, err := h.Launches.LaunchFailure(ctx, b.At, b.Group, began)
		switch {
		case err != nil || why == "":
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
			fallthrough
		default:
			if time.Since(since) >= patience {
				return fleet.OneLine(why, 300)
			}
		}
		if sleep(ctx, pause) != nil {
			return ""
		}
	}
}

// end brings all bastions to zero, those in left as well. It says of which it
// knows that they are. It goes on when the run is being stopped.
func (r *Rescue) end(ctx context.Context, left []Bastion) (zero []Bastion, err error) {
	r.mu.Lock()
	now := r.now
	r.now = nil
	r.mu.Unlock()
	now.goes.Wait()
	for _, t := range now.order {
		if t.closeIt != nil {
			t.closeIt()
		}
	}
	var wait sync.WaitGroup
	errs, ends := make([]error, len(left)), make([]bool, len(left))
	for i, b := range left {
		wait.Go(func() {
			errs[i] = r.drills.toZero(ctx, b.At, b.Group)
			ends[i] = errs[i] == nil
		})
	}
	wait.Wait()
	for i, b := range left {
		if ends[i] {
			zero = append(zero, b)
		}
	}
	return zero, errors.Join(errs...)
}

// rescued runs work, part of a rollback, with bastions at hand, and leaves none
// running: neither its own nor one of a run that died.
func (r *run) rescued(work func() error) error {
	if r.cfg.Rescue == nil {
		return work()
	}
	r.cfg.Rescue.begin(r.work, r.write)
	err := work()
	var left, others []Bastion
	for _, b := range r.bastions() {
		if r.cfg.Rescue.wanted(b.key()) {
			others = append(others, b)
		} else {
			left = append(left, b)
		}
	}
	zero, zeroErr := r.cfg.Rescue.end(r.work, left)
	return errors.Join(err, r.tellEnded(others, "the recovery group %s was opened by another plan, which ends its bastions"), r.tellZero(zero, zeroErr))
}

// endBastions brings bastions to zero that a run which died has started.
func (r *run) endBastions() error {
	if r.cfg.Rescue == nil || len(r.bastions()) == 0 {
		return nil
	}
	return r.rescued(func() error { return nil })
}

func (r *run) tellZero(zero []Bastion, err error) error {
	if err := r.tellEnded(zero, "the recovery group %s is at zero"); err != nil {
		return err
	}
	if err != nil {
		return r.write(Entry{Event: Note, Detail: err.Error()})
	}
	return nil
}

// tellEnded writes that bastions are this plan's no more; why is a format for the group's name.
func (r *run) tellEnded(bastions []Bastion, why string) error {
	for _, b := range bastions {
		if err := r.write(Entry{Event: BastionEnded, Detail: fmt.Sprintf(why, b.Group), Image: image(b)}); err != nil {
			return err
		}
	}
	return nil
}

// bastions lists those that were started and not seen at zero since, in the
// order of their starts.
func (r *run) bastions() []Bastion {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.running)
}

// bastionsAfter gives the bastions that run, by the journal, after one more entry.
func bastionsAfter(running []Bastion, e Entry) ([]Bastion, error) {
	if e.Event != BastionBegan && e.Event != BastionEnded {
		return running, nil
	}
	var b Bastion
	if err := json.Unmarshal(e.Image, &b); err != nil {
		return running, fmt.Errorf("read the bastion: %w", err)
	}
	running = slices.DeleteFunc(slices.Clone(running), func(o Bastion) bool { return o.key() == b.key() })
	if e.Event == BastionBegan {
		b.Since = e.At
		running = append(running, b)
	}
	return running, nil
}
