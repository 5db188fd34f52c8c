package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"ssm-migrate/internal/inventory"
)

// output is a terminal's output that a test can wait for.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // holds a token when something came
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	o.text.Write(p)
	o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Run without a terminal in between: the real program loop, a pipe for keys.
func start(t *testing.T, ctx context.Context, b Backend) (keys io.Writer, result chan error) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	result = make(chan error, 1)
	out := &output{more: make(chan struct{}, 1)}
	go func() { result <- Run(ctx, b, Options{Input: r, Output: out}) }()
	<-out.more // it has begun to draw
	return w, result
}

func TestRunEndsWhenTheOperatorLeaves(t *testing.T) {
	w := &world{}
	keys, result := start(t, context.Background(), w.backend())
	if _, err := io.WriteString(keys, "q"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunInterruptsTheInventoryWhenItsContextEnds(t *testing.T) {
	began, returned := make(chan struct{}), make(chan struct{})
	b := (&world{}).backend()
	b.Inventory = func(ctx context.Context, emit func(inventory.Event)) error {
		emit(inventory.Event{Kind: inventory.SourceProgress, Source: "ec2:DescribeInstances", Done: 1})
		close(began)
		<-ctx.Done()
		close(returned)
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(context.Background())
	keys, result := start(t, ctx, b)
	if _, err := io.WriteString(keys, "\r"); err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want context.Canceled", err)
	}
	select {
	case <-returned:
	default:
		t.Error("Run returned before the inventory had")
	}
}

func TestRunAsksBeforeItInterrupts(t *testing.T) {
	began := make(chan struct{})
	var interrupted error
	b := (&world{}).backend()
	b.Inventory = func(ctx context.Context, _ func(inventory.Event)) error {
		close(began)
		<-ctx.Done()
		interrupted = ctx.Err()
		return interrupted
	}
	keys, result := start(t, context.Background(), b)
	if _, err := io.WriteString(keys, "\r"); err != nil {
		t.Fatal(err)
	}
	<-began
	if _, err := io.WriteString(keys, "qy"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil || interrupted == nil {
		t.Errorf("Run: %v, inventory's context: %v", err, interrupted)
	}
}
