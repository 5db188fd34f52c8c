package simfleet

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// agenda holds what will happen in a world, ordered by time and then by the
// order of entry. The zero value is empty. It has a lock of its own, below
// World.Mu: entries may be made with World.Mu held and without.
type agenda struct {
	mu      sync.Mutex
	entries []*entry
	entered uint64
	wake    []chan struct{} // of those who wait for the next entry; capacity 1
}

// entry is one thing that will happen.
type entry struct {
	when     time.Time
	number   uint64
	name     string
	what     func()
	unlocked bool
}

// at enters something that happens at a time: at the first Advance from then
// on. It runs with w.Mu held for writing and must not wait. The name is for
// Happened. stop takes it off the agenda if it has not begun.
func (w *World) at(when time.Time, name string, what func()) (stop func()) {
	return w.agenda.enter(&entry{when: when, name: name, what: what})
}

// atUnlocked enters something that runs on machines: no lock is held, and it
// may take its time. Advance returns when it has ended, but what is due after
// it does not wait for it when other goroutines advance meanwhile.
func (w *World) atUnlocked(when time.Time, name string, what func()) (stop func()) {
	return w.agenda.enter(&entry{when: when, name: name, what: what, unlocked: true})
}

func (a *agenda) enter(e *entry) (stop func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entered++
	e.number = a.entered
	i, _ := slices.BinarySearchFunc(a.entries, e, func(x, y *entry) int {
		return cmp.Or(x.when.Compare(y.when), cmp.Compare(x.number, y.number))
	})
	a.entries = slices.Insert(a.entries, i, e)
	for _, c := range a.wake {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if i := slices.Index(a.entries, e); i >= 0 {
			a.entries = slices.Delete(a.entries, i, i+1)
		}
	}
}

// due gives the next entry if its time has come, and takes it off if take is set.
func (a *agenda) due(now time.Time, take bool) *entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.entries) == 0 || a.entries[0].when.After(now) {
		return nil
	}
	e := a.entries[0]
	if take {
		a.entries = slices.Delete(a.entries, 0, 1)
	}
	return e
}

// NextDue tells when something will happen by itself; ok is false if nothing will.
func (w *World) NextDue() (when time.Time, ok bool) {
	w.agenda.mu.Lock()
	defer w.agenda.mu.Unlock()
	if len(w.agenda.entries) == 0 {
		return time.Time{}, false
	}
	return w.agenda.entries[0].when, true
}

// Advance lets everything happen that is due by the world's clock: schedules
// fire, launches and endpoints are finished, timers of hosts go off. It takes
// w.Mu by itself. A running AWS server calls it before each request; a test
// whose clock stands still calls it after moving the clock.
func (w *World) Advance() {
	for {
		// Looking first spares readers the write lock when nothing is due.
		if w.agenda.due(w.Now(), false) == nil {
			return
		}
		w.Mu.Lock()
		// Taken under w.Mu, so that entries take effect in their order
		// whoever advances.
		e := w.agenda.due(w.Now(), true)
		if e != nil && !e.unlocked {
			e.what()
		}
		happened := w.Happened
		w.Mu.Unlock()
		if e == nil {
			return
		}
		if e.unlocked {
			e.what()
		}
		if happened != nil {
			happened(e.name)
		}
	}
}

// Run advances the world whenever something is due, until ctx ends. It is for
// worlds whose clock is time.Now: then things happen without requests.
func (w *World) Run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	a := &w.agenda
	a.mu.Lock()
	a.wake = append(a.wake, wake)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.wake = slices.DeleteFunc(a.wake, func(c chan struct{}) bool { return c == wake })
		a.mu.Unlock()
	}()
	for ctx.Err() == nil {
		w.Advance()
		when, ok := w.NextDue()
		if !ok {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		t := time.NewTimer(max(when.Sub(w.Now()), 0))
		select {
		case <-t.C:
		case <-wake:
		case <-ctx.Done():
		}
		t.Stop()
	}
}
