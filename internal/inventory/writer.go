package inventory

import (
	"context"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// batchSize is the number of records at which a transaction is closed. Between
// 100 and 1,000 the store's speed hardly changes.
const batchSize = 500

// writer is the one goroutine that uses the store. While one transaction is
// being written the records of the next pile up, so that transactions grow with
// the load and a lone record is not kept waiting.
type writer struct {
	ctx   context.Context
	in    chan fleet.Batch
	ended chan struct{}
}

func startWriter(ctx context.Context, fail context.CancelCauseFunc, store Store, snapshot int64) *writer {
	w := &writer{ctx: ctx, in: make(chan fleet.Batch, batchSize), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for b := range w.in {
			w.fill(&b)
			if ctx.Err() != nil {
				continue
			}
			if err := store.Save(ctx, snapshot, b); err != nil {
				fail(fmt.Errorf("save to snapshot %d: %w", snapshot, err))
			}
		}
	}()
	return w
}

// fill adds what waits already, up to a full batch.
func (w *writer) fill(b *fleet.Batch) {
	for size(*b) < batchSize {
		select {
		case more, ok := <-w.in:
			if !ok {
				return
			}
			b.Accounts = append(b.Accounts, more.Accounts...)
			b.Regions = append(b.Regions, more.Regions...)
			b.Hosts = append(b.Hosts, more.Hosts...)
			b.Nodes = append(b.Nodes, more.Nodes...)
			b.Connections = append(b.Connections, more.Connections...)
			b.Probes = append(b.Probes, more.Probes...)
		default:
			return
		}
	}
}

func size(b fleet.Batch) int {
	return len(b.Accounts) + len(b.Regions) + len(b.Hosts) + len(b.Nodes) + len(b.Connections) + len(b.Probes)
}

// save hands records over to the writer, their slices included; it waits while
// the store is behind.
func (w *writer) save(b fleet.Batch) {
	if size(b) == 0 {
		return
	}
	select {
	case w.in <- b:
	case <-w.ctx.Done():
	}
}

// finish returns when everything is on disk. Nothing may be saved after it.
func (w *writer) finish() {
	close(w.in)
	<-w.ended
}
