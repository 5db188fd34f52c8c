// Package tui is the wizard: a full-screen view of what is stored, of an
// inventory while it runs, and of a cutover. It judges nothing, and what
// changes the world is asked of its Backend, after the operator has agreed.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// Backend is what the wizard works on. Its functions are called from
// goroutines other than the caller's of Run; of each, one call at a time.
type Backend struct {
	// Demo marks a simulated fleet on every screen.
	Demo bool
	// ReadOnly refuses, with a text, whatever changes the fleet, a run or the state
	// file; the functions for that may be nil.
	ReadOnly bool
	// Command is how the command line is begun that does the same on the same state
	// file; empty: migrate.
	Command string
	// Faults are what can be broken in a demo; Fault breaks one, and says what
	// happened. Nil where Demo is not set.
	Faults []Fault
	Fault  func(ctx context.Context, name string) (happened string, err error)
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

	// Runbook writes the recovery runbook and says where. Its ctx is as Report's.
	Runbook func(ctx context.Context) (path string, err error)

	// Cutover reads where a plan stands. An empty ID means the plan that needs
	// attention: one that was begun and has not come to its end, else the newest. The
	// result, of which Plan is nil when there is none, is not changed afterwards.
	Cutover func(ctx context.Context, planID string) (*Cutover, error)
	// MakePlan makes a plan from the latest snapshot and the policy, and stores it.
	MakePlan func(ctx context.Context) (planID string, err error)
	// MovePlan makes from the latest snapshot and the policy a plan that has hosts of
	// another plan in other waves. It stores nothing; SavePlan stores what it made. An
	// earlier call may still go on, also when Run returns; its ctx is done then.
	MovePlan func(ctx context.Context, planID string, moves []plan.Move) (*plan.Plan, error)
	SavePlan func(ctx context.Context, p *plan.Plan) error
	// Apply carries a plan out, or goes on with it, up to the end of the wave with the
	// number last; nil: to its end. When ctx ends it finishes the steps that are
	// under way and returns. Apply and Rollback are never called at the same time.
	Apply func(ctx context.Context, planID string, last *int, t Talk) (cutover.Result, error)
	// Rollback takes back what a plan has done. It does not end with ctx at once.
	Rollback func(ctx context.Context, planID string, s cutover.Scope, t Talk) (cutover.Result, error)
	// Views gives the saved views of the fleet table, SaveView puts one in place of
	// that of the same name, DropView forgets one.
	Views    func(ctx context.Context) ([]fleet.View, error)
	SaveView func(ctx context.Context, v fleet.View) error
	DropView func(ctx context.Context, name string) error
	// PlanDrill makes the plan of a drill of the way back, without storing it; one that
	// was begun and has not come to its end is given again.
	PlanDrill func(ctx context.Context) (*plan.Plan, error)
	// Drill stores the plan of a drill and carries it out. It is not called while Apply
	// or Rollback are. When ctx ends it brings the bastions back to zero and returns.
	Drill func(ctx context.Context, p *plan.Plan, t Talk) (cutover.Result, error)
	// Holder says who changes the fleet now, in whatever process; empty: nobody. It
	// is asked every few seconds. Nil: it is not known between looks at the plan.
	Holder func(ctx context.Context) (string, error)
	// Stage is where the wizard was left, as Keep was told; anything else is the first
	// stage. Keep is told when another stage is shown; nil: nobody is.
	Stage string
	Keep  func(ctx context.Context, stage string) error
	// Wish changes what is wished of a plan's run, whoever runs it.
	Wish func(ctx context.Context, planID string, change func(cutover.Wish) cutover.Wish) (cutover.Wish, error)
}

// Talk is how a run speaks with the operator. Its functions may be called from
// any goroutine.
type Talk struct {
	// Emit is told each journal entry once it is on disk. It does not block.
	Emit func(cutover.Entry)
	// Ask gives the operator's decision, or fails when ctx ends.
	Ask func(ctx context.Context, q cutover.Question) (cutover.Decision, error)
	// Drill is told when a drill gets to another phase. It does not block.
	Drill func(DrillReport)
}

// DrillReport says since when the drill of a VPC is at a phase.
type DrillReport struct {
	VPC   string
	Phase cutover.DrillPhase
	At    time.Time
}

// Cutover is a plan and where it stands.
type Cutover struct {
	Plan    *plan.Plan      // nil: there is none yet
	Entries []cutover.Entry // the plan's journal, in order
	Stale   []string        // what a newer snapshot tells against the plan
	Wish    cutover.Wish
	Holder  string    // who applies or rolls back now, in whatever process; empty: nobody
	Until   time.Time // when the holder's lease runs out unless it is renewed
	Names   map[fleet.HostRef]string
	// Recovery is the state of the recovery way, as the latest snapshot and the proofs show it.
	Recovery []recovery.VPC
	// Policy is that of the next plan. PolicyFile is where it was looked for; PolicyErr
	// says why it cannot be read.
	Policy      plan.Policy
	PolicyFile  string
	PolicyThere bool
	PolicyErr   error
	// Drill is a drill that was begun and broken off, whose bastions may still run; nil: none.
	Drill *plan.Plan
	// RecoveryKey: the configuration says where the private half of the recovery key is.
	RecoveryKey bool
	// Keys are the generations of the recovery key, newest first.
	Keys []fleet.RecoveryKey
}

// Options are where and how the wizard is shown. The zero value is the
// process's terminal, with color where it has some.
type Options struct {
	Input   io.Reader        // nil: standard input
	Output  io.Writer        // nil: standard output
	NoColor bool             // no color even where the terminal has it; NO_COLOR is honored by itself
	Now     func() time.Time // nil: time.Now
}

// ErrAbandoned says that the operator left without waiting for what was under
// way. Its last changes may still be on their way to the store, and a cutover's
// steps may have been cut off: the next run looks at them first.
var ErrAbandoned = errors.New("left before what was under way had stopped")

// Run shows the wizard until the operator leaves or ctx is done; then it
// interrupts a running inventory or cutover and waits for it to return. It fails with
// ctx's error, with ErrAbandoned, or when the terminal cannot be used.
func Run(ctx context.Context, b Backend, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Now == nil {
		o.Now = defaultNow
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
	if err != nil {
		err = fmt.Errorf("show the wizard: %w", err)
	}
	return m.finish(ctx, cancel, err)
}

// finish ends what is under way, waits for it, and says how the wizard ended.
func (m *model) finish(ctx context.Context, cancel func(), err error) error {
	if m.abandoned {
		return ErrAbandoned
	}
	canceled := ctx.Err()
	cancel()
	m.env.alive.Wait()
	if canceled != nil {
		return canceled
	}
	return err
}
