package cutover

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// How often a run looks for wishes while it waits, and at most between steps.
const (
	lookWaiting = 5 * time.Second
	lookLong    = 30 * time.Second // while it waits for hours
	lookBetween = time.Second
)

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
