package cutover

import (
	"context"
	"time"

	"ssm-migrate/internal/fleet"
)

// line is an entry on its way to the journal.
type line struct {
	entry Entry
	err   error
	// turn says that the line is written, or with true that it is for the lane
	// to write it, and all others that wait.
	turn chan bool
}

// write puts an entry on disk, then into the run's picture, then on the
// screen. What several lanes write at the same time becomes one transaction: the
// disk is waited for once. After a failure nothing is written any more.
func (r *run) write(e Entry) error {
	e.Plan, e.Digest, e.Operator = r.cfg.Plan.ID, r.cfg.Plan.Digest, r.cfg.Operator
	e.Detail = fleet.OneLine(e.Detail, mostDetail)
	r.mu.Lock()
	e.At = time.Now().UTC()
	l := &line{entry: e, turn: make(chan bool, 1)}
	r.lines = append(r.lines, l)
	if r.writing {
		r.mu.Unlock()
		if mine := <-l.turn; !mine {
			return l.err
		}
		r.mu.Lock()
	}
	r.writing = true
	lines, err := r.lines, r.broken
	r.lines = nil
	r.mu.Unlock()

	var written []Entry
	if err == nil {
		written, err = r.store(lines)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.written(lines, written, err)
	r.writing = len(r.lines) > 0
	if r.writing {
		r.lines[0].turn <- true
	}
	return l.err
}

// store puts lines on disk, all or none.
func (r *run) store(lines []*line) ([]Entry, error) {
	entries := make([]Entry, len(lines))
	for i, l := range lines {
		entries[i] = l.entry
	}
	// What is known is written also when the operator does not wait any longer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.work), 30*time.Second)
	defer cancel()
	return r.cfg.Journal.Append(ctx, r.fence, entries...)
}

// written takes what is on disk into the run's picture, in the journal's
// order, and tells the lanes. A failure is the failure of all.
func (r *run) written(lines []*line, entries []Entry, err error) {
	for i, l := range lines {
		if err == nil {
			err = r.apprehend(entries[i])
		}
		if l.err = err; err == nil {
			r.cfg.Event(entries[i])
		}
		l.turn <- false
	}
	if err != nil {
		r.failLocked(err)
	}
}
