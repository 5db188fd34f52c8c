package fleet

import (
	"context"
	"time"
)

type limitKey struct{}

// WithLimit gives a context whose requests may leave only until the moment that
// limit gives, by the wall clock: that one goes on while a machine is suspended, and the one
// by which contexts end does not. Limit is asked for each request, and must be safe for use
// by several goroutines. Nil lifts the limit: for what ends something that was begun.
func WithLimit(ctx context.Context, limit func() time.Time) context.Context {
	return context.WithValue(ctx, limitKey{}, limit)
}

// Limit gives until when a request may leave: the earlier of the moment from
// WithLimit and the context's deadline. Ok is false where there is neither.
func Limit(ctx context.Context) (until time.Time, ok bool) {
	until, ok = ctx.Deadline()
	until = until.Round(0)
	if limit, _ := ctx.Value(limitKey{}).(func() time.Time); limit != nil {
		if at := limit().Round(0); !ok || at.Before(until) {
			until, ok = at, true
		}
	}
	return until, ok
}
