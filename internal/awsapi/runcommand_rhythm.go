package awsapi

import (
	"sync"
	"time"
)

// rhythm is when to look first for the end of a command: after a third of what
// the last one took. From there each pause is half as long again, so that the
// end is seen soon after it comes, in a few calls, however quick the agents are.
// AWS publishes no rate for the calls; throttling slows them down (see pace).
type rhythm struct {
	mu    sync.Mutex
	first time.Duration // guarded by mu; 0: no command has ended yet
}

const (
	quickestLook = 50 * time.Millisecond
	slowestLook  = 500 * time.Millisecond // the first one; also where nothing is known
	longestPause = 5 * time.Second
)

func (r *rhythm) begin() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == 0 {
		return slowestLook
	}
	return r.first
}

// ended notes how long after it was sent a command was first seen to have ended
// on an instance.
func (r *rhythm) ended(after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = min(max(after/3, quickestLook), slowestLook)
}

func longer(pause time.Duration) time.Duration { return min(pause*3/2, longestPause) }
