package awsapi

import (
	"context"
	"sync"
)

// memo computes a value once and keeps the answer, be it an error. An answer
// that came of a canceled context is not kept.
type memo[T any] struct {
	mu    sync.Mutex
	done  bool  // guarded by mu
	value T     // guarded by mu
	err   error // guarded by mu
}

func (m *memo[T]) get(ctx context.Context, compute func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return m.value, m.err
	}
	v, err := compute()
	if ctx.Err() == nil {
		m.done, m.value, m.err = true, v, err
	}
	return v, err
}
