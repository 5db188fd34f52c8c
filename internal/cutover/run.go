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
)

// How often a run looks for wishes while it waits, and at most between steps.
const (
	lookWaiting = 5 * time.Second
	lookLong    = 30 * time.Second // while it waits for hours
	lookBetween = time.Second
)

// mostDetail bounds a journal entry's text, in characters.
const mostDetail = 2000

var (
	errStopped = errors.New("stopped") // on request: begin nothing more
	errAborted = errors.New("aborted by the operator")
)

// run is one Apply or Rollback.
type run struct {
	*Executor
	stop   <-chan struct{} // closed: begin nothing more
	caller context.Context // stop's; ends with work too
	work   context.Context // of what is under way
	cancel context.CancelCauseFunc
	fence  int64
	slots  slots
	group  sync.WaitGroup // the lease's keeper

	mu       sync.Mutex // guards what follows, and makes the journal's order the records' order
	records  map[string]record
	gates    map[gateKey]int64        // seq of the latest gate, where it was passed
	excluded map[fleet.HostRef]string // rolled back by the operator: why
	failed   map[fleet.HostRef]string // failed in this run: why
	held     map[string]string        // steps held in this run: why
	broken   error                    // why nothing more may be written
	wish     Wish
	looked   time.Time // when the wish was read
	paused   bool      // Paused is written, Resumed is not
	running  []Bastion // recovery bastions that were started and not seen at zero since
	// unreached says, by step that could not be undone, why no way led to its host.
	unreached map[string]Unreached

	// shut says of doors that we do not hold closed why they are not known to be
	// open. Written between the phases of a rollback, only read within them.
	shut map[string]string
}

func (x *Executor) begin(ctx context.Context) (*run, error) {
	fence, err := x.cfg.Leases.Acquire(ctx, x.cfg.Holder, x.cfg.Lease)
	if err != nil {
		return nil, err
	}
	r := &run{
		Executor: x, stop: ctx.Done(), fence: fence,
		records: map[string]record{}, gates: map[gateKey]int64{}, excluded: map[fleet.HostRef]string{},
		failed: map[fleet.HostRef]string{}, held: map[string]string{}, unreached: map[string]Unreached{},
	}
	r.work, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	var let context.CancelFunc
	r.caller, let = context.WithCancel(ctx)
	context.AfterFunc(r.work, let)
	r.slots.limit = max(1, x.cfg.Plan.Policy.Concurrency)
	r.group.Go(r.keepLease)
	return r, nil
}

// end stops the keeper and lets go of the lease.
func (r *run) end() {
	r.cancel(errStopped)
	r.group.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.work), 10*time.Second)
	defer cancel()
	_ = r.cfg.Leases.Release(ctx, r.fence) // it runs out by itself otherwise
}

// keepLease renews the lease until the run ends. Once it is lost, or cannot be
// renewed before it runs out, everything under way is cancelled: somebody else
// may begin.
func (r *run) keepLease() {
	until := time.Now().Add(r.cfg.Lease)
	t := time.NewTimer(r.cfg.Lease / 3)
	defer t.Stop()
	for {
		select {
		case <-r.work.Done():
			return
		case <-r.abort:
			r.cancel(errAborted)
			return
		case <-t.C:
		}
		now := time.Now()
		err := r.cfg.Leases.Renew(r.work, r.fence, r.cfg.Lease)
		switch {
		case err == nil:
			until = now.Add(r.cfg.Lease)
		case errors.Is(err, ErrLease) || !time.Now().Before(until.Add(-r.cfg.Lease/6)):
			r.fail(fmt.Errorf("keep the lease: %w", err))
			return
		}
		t.Reset(r.cfg.Lease / 6)
	}
}

// fail ends the run: nothing more is written, everything under way is cancelled.
func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(err)
}

func (r *run) failLocked(err error) {
	if r.broken == nil {
		r.broken = err
		r.cancel(err)
	}
}

// failure is why the run cannot go on, if it cannot.
func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	return context.Cause(r.work)
}

// load replays the journal.
func (r *run) load() error {
	entries, err := r.cfg.Journal.Entries(r.work, r.cfg.Plan.ID)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Digest != r.cfg.Plan.Digest {
			return fmt.Errorf("plan %s: %w", r.cfg.Plan.ID, ErrDigest)
		}
		if err := r.apprehend(e); err != nil {
			return fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
	}
	clear(r.held) // by runs before
	return nil
}

// apprehend takes an entry into the run's picture of things.
func (r *run) apprehend(e Entry) error {
	var err error
	if r.running, err = bastionsAfter(r.running, e); err != nil {
		return err
	}
	switch {
	case e.Step != "":
		rec, err := r.records[e.Step].advance(e)
		if err != nil {
			return err
		}
		r.records[e.Step] = rec
		if e.Event == Held {
			r.held[e.Step] = e.Detail
		} else {
			delete(r.held, e.Step)
		}
	case e.Event == Gate:
		delete(r.gates, gateKey{e.Wave, e.Detail})
		if e.Result == fleet.TruthYes {
			r.gates[gateKey{e.Wave, e.Detail}] = e.Seq
		}
	case e.Event == Held:
		for _, h := range e.Hosts {
			r.excluded[h] = e.Detail
		}
	}
	return nil
}

// write puts an entry on disk, then into the run's picture, then on the
// screen. After a failure nothing is written any more.
func (r *run) write(e Entry) error {
	e.At = time.Now().UTC()
	e.Plan, e.Digest, e.Operator = r.cfg.Plan.ID, r.cfg.Plan.Digest, r.cfg.Operator
	e.Detail = fleet.OneLine(e.Detail, mostDetail)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	// What is known is written also when the operator does not wait any longer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.work), 30*time.Second)
	defer cancel()
	written, err := r.cfg.Journal.Append(ctx, r.fence, e)
	if err == nil {
		err = r.apprehend(written[0])
	}
	if err != nil {
		r.failLocked(err)
		return err
	}
	r.cfg.Event(written[0])
	return nil
}

func (r *run) record(step string) record {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[step]
	if rec.state == "" {
		rec.state = StateNew
	}
	return rec
}

// out says why a host takes no part any more; empty: it does.
func (r *run) out(h fleet.HostRef) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why := r.failed[h]; why != "" {
		return why
	}
	return r.excluded[h]
}

// stopped reports whether nothing more should begin.
func (r *run) stopped() bool {
	select {
	case <-r.stop:
		return true
	case <-r.work.Done():
		return true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wish.Stop
}

// look reads what is wished, at most once in lookBetween. A wish that cannot be
// read stays what it was, and a stop that was seen holds for the whole run.
func (r *run) look() Wish {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.looked.IsZero() && now.Sub(r.looked) < lookBetween {
		return r.wish
	}
	r.looked = now
	if w, err := r.cfg.Control.Control(r.work, r.cfg.Plan.ID); err == nil {
		w.Stop = w.Stop || r.wish.Stop
		r.wish = w
	}
	limit := r.wish.Concurrency
	if limit <= 0 {
		limit = r.cfg.Plan.Policy.Concurrency
	}
	r.slots.set(max(1, limit))
	return r.wish
}

// proceed is called before anything begins. It waits while a pause is wished,
// and fails when the run is to end.
func (r *run) proceed(wave int) (waited bool, err error) {
	for {
		w := r.look()
		if err := r.failure(); err != nil {
			return waited, err
		}
		if r.stopped() {
			return waited, errStopped
		}
		if err := r.tellPause(wave, w); err != nil {
			return waited, err
		}
		if !w.Pause {
			return waited, nil
		}
		waited = true
		if err := r.nap(lookWaiting); err != nil {
			return waited, err
		}
	}
}

// tellPause writes that a pause has begun or ended, once for all lanes.
func (r *run) tellPause(wave int, w Wish) error {
	r.mu.Lock()
	tell := r.paused != w.Pause
	r.paused = w.Pause
	r.mu.Unlock()
	switch {
	case !tell:
		return nil
	case !w.Pause:
		return r.write(Entry{Wave: wave, Event: Resumed})
	}
	return r.write(Entry{Wave: wave, Event: Paused, Detail: strings.TrimSuffix("by "+w.By+": "+w.Reason, ": ") + r.warnTimers()})
}

// warnTimers says which timers will fire meanwhile.
func (r *run) warnTimers() string {
	armed := r.armed()
	if len(armed) == 0 {
		return ""
	}
	var texts []string
	for _, a := range armed {
		texts = append(texts, fmt.Sprintf("%s at %s", a.Step, a.Deadline.UTC().Format(time.RFC3339)))
	}
	return "; armed timers will open doors again: " + strings.Join(texts, ", ")
}

// armed lists the timers that are armed by the journal and not disarmed.
func (r *run) armed() []Risk {
	r.mu.Lock()
	defer r.mu.Unlock()
	return risks(r.plan, r.records)
}

// nap waits, but not when the run is to stop.
func (r *run) nap(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.work.Done():
		return r.failure()
	case <-r.stop:
		return errStopped
	case <-t.C:
		return nil
	}
}

// rest waits also when the run is to stop: something is under way.
func (r *run) rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// waitUntil waits with an eye on wishes. It ends when ready says so.
func (r *run) waitUntil(wave int, ready func(now time.Time) (bool, time.Duration)) error {
	for {
		if _, err := r.proceed(wave); err != nil {
			return err
		}
		ok, left := ready(time.Now())
		if ok {
			return nil
		}
		if err := r.nap(min(left, lookLong)); err != nil {
			return err
		}
	}
}

// slots bound how many lanes run at once; those that wait get in in turn.
type slots struct {
	mu    sync.Mutex
	limit int
	used  int
	queue []chan struct{}
}

func (s *slots) set(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.wake()
}

func (s *slots) wake() {
	for len(s.queue) > 0 && s.used < s.limit {
		close(s.queue[0])
		s.queue = s.queue[1:]
		s.used++
	}
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.wake()
}

// acquire waits for a slot until one of the channels is closed. Now and then
// it calls tick, which may change the limit.
func (s *slots) acquire(stop, abort <-chan struct{}, tick func()) bool {
	s.mu.Lock()
	mine := make(chan struct{})
	s.queue = append(s.queue, mine)
	s.wake()
	s.mu.Unlock()
	t := time.NewTicker(lookWaiting)
	defer t.Stop()
	for {
		select {
		case <-mine:
			return true
		case <-t.C:
			tick()
			continue
		case <-stop:
		case <-abort:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.queue, mine); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
			return false
		}
		s.used-- // it was granted at the same moment
		s.wake()
		return false
	}
}
