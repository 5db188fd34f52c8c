package tui

import (
	"context"
	"sync"
	"time"

	"ssm-migrate/internal/inventory"
)

// run is one inventory that goes on outside of the screen's loop. Only its
// feed is shared between goroutines; the rest belongs to the loop.
type run struct {
	feed     feed[inventory.Event]
	cancel   context.CancelFunc
	started  time.Time
	ended    time.Time
	progress *progress
	stopping bool // the operator asked to interrupt it
	over     bool
	err      error
}

// feed hands events to the loop in lots: however fast they come, whoever
// works never waits for the screen, and at most one wake-up is under way.
type feed[E any] struct {
	notify func() // wakes the loop; must not block

	mu     sync.Mutex
	events []E   // guarded by mu
	woken  bool  // guarded by mu
	over   bool  // guarded by mu
	err    error // guarded by mu
}

func (f *feed[E]) emit(e E) {
	f.add(func() { f.events = append(f.events, e) })
}

func (f *feed[E]) finish(err error) {
	f.add(func() { f.over, f.err = true, err })
}

func (f *feed[E]) add(change func()) {
	f.mu.Lock()
	change()
	wake := !f.woken
	f.woken = true
	f.mu.Unlock()
	if wake {
		f.notify()
	}
}

// take empties the feed.
func (f *feed[E]) take() (events []E, over bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, f.events, f.woken = f.events, nil, false
	return events, f.over, f.err
}

// startInventory begins an inventory. work runs in a goroutine of its own that alive
// counts.
func startInventory(ctx context.Context, work func(context.Context, func(inventory.Event)) error, notify func(), now time.Time, alive *sync.WaitGroup) *run {
	ctx, cancel := context.WithCancel(ctx)
	r := &run{cancel: cancel, started: now, progress: newProgress(), feed: feed[inventory.Event]{notify: notify}}
	alive.Go(func() {
		defer cancel()
		r.feed.finish(work(ctx, r.feed.emit))
	})
	return r
}

// drain folds what the feed brought, and reports whether the run just ended.
func (r *run) drain(now time.Time) bool {
	events, over, err := r.feed.take()
	for _, e := range events {
		r.progress.fold(e, now)
	}
	if !over || r.over {
		return false
	}
	r.over, r.err, r.ended = true, err, now
	return true
}

// interrupt asks the inventory to stop; it ends when it has noticed.
func (r *run) interrupt() {
	r.stopping = true
	r.cancel()
}
