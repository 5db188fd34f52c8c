// Package tui is the wizard: a full-screen view of what is stored, and of an
// inventory while it runs. It judges nothing and changes nothing in the world.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// Backend is what the wizard works on. Its functions are called from
// goroutines other than the caller's of Run; of each, one call at a time.
type Backend struct {
	// Demo marks a simulated fleet on every screen.
	Demo bool
	// Place names what is worked on: accounts, Regions, state file. It is on
	// every screen.
	Place string
	// Load reads the latest finished snapshot and its judgement. Both are nil,
	// without an error, when there is no snapshot yet. They are not changed
	// afterwards by either side.
	Load func(ctx context.Context) (*fleet.Snapshot, *fleet.Assessment, error)
	// Inventory takes a new snapshot, judges it and stores both. It tells emit
	// how far it is, from any goroutine; emit does not block. A nil error means
	// that Load finds the new snapshot, which may well be incomplete. It must
	// return soon after ctx is done.
	Inventory func(ctx context.Context, emit func(inventory.Event)) error
	// Report writes the report on the latest snapshot and says where. It and
	// Load may still be running when Run returns; their ctx is done then.
	Report func(ctx context.Context) (path string, err error)
}

// Options are where and how the wizard is shown. The zero value is the
// process's terminal, with color where it has some.
type Options struct {
	Input   io.Reader        // nil: standard input
	Output  io.Writer        // nil: standard output
	NoColor bool             // no color even where the terminal has it; NO_COLOR is honored by itself
	Now     func() time.Time // nil: time.Now
}

// ErrAbandoned says that the operator left without waiting for the inventory
// to stop. Its last changes may still be on their way to the store.
var ErrAbandoned = errors.New("left before the inventory had stopped")

// Run shows the wizard until the operator leaves or ctx is done; then it
// interrupts a running inventory and waits for it to return. It fails with
// ctx's error, with ErrAbandoned, or when the terminal cannot be used.
func Run(ctx context.Context, b Backend, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Now == nil {
		o.Now = time.Now
	}
	var alive sync.WaitGroup
	m := newModel(ctx, b, o, &alive)
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithoutSignalHandler()}
	if o.Input != nil {
		options = append(options, tea.WithInput(o.Input))
	}
	if o.Output != nil {
		options = append(options, tea.WithOutput(o.Output))
	}
	p := tea.NewProgram(m, options...)
	m.env.send = func(msg tea.Msg) { go p.Send(msg) }
	m.env.tick = tea.Tick
	_, err := p.Run()
	if m.abandoned {
		return ErrAbandoned
	}
	canceled := ctx.Err()
	cancel()
	alive.Wait()
	switch {
	case canceled != nil:
		return canceled
	case err != nil:
		return fmt.Errorf("show the wizard: %w", err)
	}
	return nil
}
