package cutover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
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
	others []other        // plans in the journal; read once

	mu       sync.Mutex // guards what follows
	until    time.Time  // the lease is ours until then, by the wall clock
	lines    []*line    // that wait for the journal
	writing  bool       // a lane writes lines now
	records  map[string]record
	gates    map[gateKey]int64        // seq of the latest gate, where it was passed
	excluded map[fleet.HostRef]string // rolled back by the operator: why
	failed   map[fleet.HostRef]string // failed in this run: why
	held     map[string]string        // steps held in this run: why
	broken   error                    // why nothing more may be written
	wish     Wish
	looked   time.Time   // when the wish was read
	paused   bool        // Paused is written, Resumed is not
	running  []Bastion   // recovery bastions that were started and not seen at zero since
	starting []plan.Step // scaled out again, and not yet seen in service
	// unreached says, by step that could not be undone, why no way led to its host.
	unreached map[string]Unreached

	// shut says of doors that we do not hold closed why they are not known to be
	// open. Written between the phases of a rollback, only read within them.
	shut map[string]string
}

func (x *Executor) begin(ctx context.Context) (*run, error) {
	until := time.Now().Round(0).Add(x.cfg.Lease)
	fence, err := x.cfg.Leases.Acquire(ctx, x.cfg.Holder, x.cfg.Lease)
	if err != nil {
		return nil, err
	}
	r := &run{
		Executor: x, stop: ctx.Done(), fence: fence, until: until,
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
		_, err := r.renew(r.work)
		if errors.Is(err, ErrLease) || err != nil && !time.Now().Round(0).Before(r.leased().Add(-r.cfg.Lease/6)) {
			r.fail(fmt.Errorf("keep the lease: %w", err))
			return
		}
		t.Reset(r.cfg.Lease / 6)
	}
}

// renew renews the lease, and gives until when it is ours then.
func (r *run) renew(ctx context.Context) (time.Time, error) {
	until := time.Now().Round(0).Add(r.cfg.Lease)
	if err := r.cfg.Leases.Renew(ctx, r.fence, r.cfg.Lease); err != nil {
		return until, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.until) {
		r.until = until
	}
	return until, nil
}

// leased is until when the lease is known to be ours, by the wall clock.
func (r *run) leased() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until
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

// load replays the journal. Doubt is an ErrJournal where it is not what was written.
func (r *run) load() (doubt, err error) {
	entries, err := r.cfg.Journal.Entries(r.work, "")
	if err != nil {
		return nil, err
	}
	var others []Entry
	for _, e := range entries {
		if e.Plan != r.cfg.Plan.ID {
			others = append(others, e)
			continue
		}
		if e.Digest != r.cfg.Plan.Digest {
			return nil, fmt.Errorf("plan %s: %w", r.cfg.Plan.ID, ErrDigest)
		}
		if err := r.apprehend(e); err != nil {
			return nil, fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
	}
	if err := Verify(entries); err != nil {
		doubt = fmt.Errorf("%w: %w", ErrJournal, err)
	}
	clear(r.held) // by runs before
	r.loadOthers(others)
	return doubt, nil
}

// takesAny reports whether the plan takes a way in away, be it a recovery key.
func (r *run) takesAny() bool {
	return len(r.plan.close) > 0 || r.cfg.Plan.Purpose == plan.Rotation
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
