// Package limit carries in a context until when a change may leave this machine,
// by the wall clock: from the executor, which holds the lease, to the adapters, which send.
package limit

import (
	"context"
	"time"
)

type key struct{}

// With gives a context whose requests may leave only until the moment that
// limit gives, by the wall clock: that one goes on while a machine is suspended, and the one
// by which contexts end does not. It is asked for each request, and must be safe for use
// by several goroutines. Nil lifts the limit: for what ends something that was begun.
func With(ctx context.Context, limit func() time.Time) context.Context {
	return context.WithValue(ctx, key{}, limit)
}

// Of gives until when a request may leave: the earlier of the moment from
// With and the context's deadline. Ok is false where there is neither.
func Of(ctx context.Context) (until time.Time, ok bool) {
	until, ok = ctx.Deadline()
	until = until.Round(0)
	if limit, _ := ctx.Value(key{}).(func() time.Time); limit != nil {
		if at := limit().Round(0); !ok || at.Before(until) {
			until, ok = at, true
		}
	}
	return until, ok
}
