package simfleet

import (
	"context"
	"sync/atomic"
)

type commandLimit struct{}

// limit ends a command line in its middle.
type limit struct {
	left atomic.Int64
	end  context.CancelFunc
}

// WithCommandLimit makes Hosts.Run end what it runs, as SIGKILL would, after so
// many programs have been started. What was left in the background goes on. Call end when done.
func WithCommandLimit(ctx context.Context, programs int) (limited context.Context, end context.CancelFunc) {
	ctx, end = context.WithCancel(ctx)
	l := &limit{end: end}
	l.left.Store(int64(programs))
	return context.WithValue(ctx, commandLimit{}, l), end
}

func (l *limit) reached() bool {
	if l.left.Add(-1) >= 0 {
		return false
	}
	l.end()
	return true
}
