package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// maxPages bounds a listing; 200 pages of 50 are 10,000 managed nodes.
const maxPages = 20000

// pages calls fetch for one page after the other. The SDK's paginators end
// quietly at a repeated token, or never: here both are errors.
func pages(ctx context.Context, fetch func(ctx context.Context, token *string) (next *string, err error)) error {
	var token *string
	for range maxPages {
		next, err := fetch(ctx, token)
		switch {
		case err != nil:
			return err
		case next == nil || *next == "":
			return nil
		case token != nil && *next == *token:
			return errors.New("the endpoint gave the same page token twice")
		}
		token = next
	}
	return fmt.Errorf("more than %d pages", maxPages)
}

// collection gathers the elements of one source. Its methods may run concurrently.
type collection[T any] struct {
	key func(T) string

	mu   sync.Mutex
	seen map[string]T // by key: a page may repeat an element of an earlier one; guarded by mu
	gap  error        // first element that could not be read; guarded by mu
}

func (c *collection[T]) add(v T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[c.key(v)] = v
}

// leaveOut notes that an element exists but could not be read in full, so that
// the collection does not pass for complete.
func (c *collection[T]) leaveOut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gap == nil {
		c.gap = err
	}
}

// collect runs fetch, which adds what it finds, and makes a fact of it: known
// if nothing is missing, otherwise unknown with what was seen. Elements come
// sorted by key.
func collect[T any](ctx context.Context, a *Account, source string, key func(T) string, fetch func(context.Context, *collection[T]) error) fleet.Fact[[]T] {
	c := &collection[T]{key: key, seen: map[string]T{}}
	err := fetch(ctx, c)
	if err == nil {
		err = c.gap
	}
	values := make([]T, 0, len(c.seen))
	for _, v := range c.seen {
		values = append(values, v)
	}
	slices.SortFunc(values, func(x, y T) int { return cmp.Compare(key(x), key(y)) })
	at := time.Now().UTC()
	if err != nil {
		return fleet.Partial(values, source, at, a.failure(source, err).Error())
	}
	return fleet.Known(values, source, at)
}

// each calls f for every element, at most parallel at once.
func each[T any](list []T, parallel int, f func(T)) {
	turn := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for _, v := range list {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			f(v)
		})
	}
	wg.Wait()
}

func uniq(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
