package cutover

import (
	"slices"
	"sync"
	"time"
)

// slots bound how many lanes run at once; those that wait get in in turn.
type slots struct {
	mu    sync.Mutex
	limit int
	used  int
	queue []chan struct{}
}

func (s *slots) set(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.wake()
}

func (s *slots) wake() {
	for len(s.queue) > 0 && s.used < s.limit {
		close(s.queue[0])
		s.queue = s.queue[1:]
		s.used++
	}
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.wake()
}

// acquire waits for a slot until one of the channels is closed. Now and then
// it calls tick, which may change the limit.
func (s *slots) acquire(stop, abort <-chan struct{}, tick func()) bool {
	s.mu.Lock()
	mine := make(chan struct{})
	s.queue = append(s.queue, mine)
	s.wake()
	s.mu.Unlock()
	t := time.NewTicker(lookWaiting)
	defer t.Stop()
	for {
		select {
		case <-mine:
			return true
		case <-t.C:
			tick()
			continue
		case <-stop:
		case <-abort:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.queue, mine); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
			return false
		}
		s.used-- // it was granted at the same moment
		s.wake()
		return false
	}
}
