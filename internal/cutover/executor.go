package cutover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Config is what an Executor works with. Plan, Hosts, Kinds, Prover, Proofs,
// Journal, Leases, Control and Operator must be set.
type Config struct {
	Plan *plan.Plan
	// Hosts are those of the plan's snapshot; the plan's must be among them.
	Hosts map[fleet.HostRef]fleet.Host
	Kinds Kinds

	Prover  Prover
	Proofs  Proofs
	Journal Journal
	Leases  Leases
	Control Control
	Hooks   Hooks // nil: a plan with hooks is refused
	// Plans gives the other plans that the journal tells of. Without it nothing
	// is taken back that their doors may rest on, and nothing closed beside them.
	Plans func(ctx context.Context, id string) (*plan.Plan, error)
	// Rescue is the HostWorld's. Nil: a rollback starts no recovery bastion.
	Rescue *Rescue

	Operator string // who runs it, for the journal: principal ARN and local user
	Holder   string // tells this run from all others, for the lease; empty: Operator
	// Lease is how long others wait for a run that died; 0: a minute.
	Lease time.Duration
	// OtherWays says what else might lead into a host, for people: "the EC2 serial
	// console is on, …". Nil: nothing is known.
	OtherWays func(fleet.HostRef) string
	// LastWave is the number of the wave after which Apply ends; nil: the last.
	LastWave *int
	// Acquired is called once this run holds the lease, before it looks at
	// anything. Its error ends the run. Nil: nothing is.
	Acquired func(context.Context) error
	// Event is told each journal entry once it is on disk, one at a time, in
	// the journal's order; it must not block. Nil: nobody is.
	Event func(Entry)
	// Ask is asked what to do when something stays unknown. Nil: there is nobody
	// to ask, and the run ends as OutcomePaused.
	Ask func(context.Context, Question) (Decision, error)
}

// Question is what a run cannot decide by itself.
type Question struct {
	Wave   plan.Wave
	Text   string // what is not known, in one line
	Hosts  []fleet.HostRef
	Timers []Risk // dead man's switches that are armed meanwhile
}

// Decision is a person's answer.
type Decision int

// The decisions.
const (
	DecideStop     Decision = iota // end the run; it can be resumed
	DecideRetry                    // look again
	DecideRollback                 // roll the wave back
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone         Outcome = "done"                // all that was asked for
	OutcomePartly       Outcome = "done in part"        // steps were held, hosts taken back, or not all bastions opened
	OutcomeStopped      Outcome = "stopped"             // on request; can be resumed
	OutcomePaused       Outcome = "paused"              // something is unknown and nobody was there to ask; can be resumed
	OutcomeRolledBack   Outcome = "rolled back"         // a wave, because it failed; or what a rollback was asked for
	OutcomeRolledPartly Outcome = "rolled back in part" // some steps could not be undone
	OutcomeStale        Outcome = "stale"               // the world is not what the plan was made for; nothing of the wave was begun
)

// Result is what came of a run.
type Result struct {
	Outcome Outcome         `json:"outcome"`
	Reason  string          `json:"reason,omitempty"` // in one line; empty for OutcomeDone, and mostly for OutcomeRolledBack
	Hosts   []fleet.HostRef `json:"hosts,omitempty"`  // taken back, or not gone on with
	Held    []string        `json:"held,omitempty"`   // steps that were not begun
	Left    []string        `json:"left,omitempty"`   // steps that could not be undone
	Timers  []Risk          `json:"timers,omitempty"` // dead man's switches that are still armed
	// Bastions are recovery bastions that were started and are not known to be at zero again.
	Bastions []Bastion `json:"bastions,omitempty"`
	// Unreached are hosts to which no way led, of steps that could not be undone.
	Unreached []Unreached `json:"unreached,omitempty"`
}

// Scope is what a rollback takes back. Exactly one field is set.
type Scope struct {
	Host *fleet.HostRef // the host, which opens the groups that it shares
	Wave *int           // by number
	All  bool
}

func (s Scope) String() string {
	switch {
	case s.Host != nil:
		return "--host " + s.Host.String()
	case s.Wave != nil:
		return fmt.Sprintf("--wave %d", *s.Wave)
	}
	return "--all"
}

// ErrDigest says that the journal tells of another plan with the same ID.
var ErrDigest = errors.New("the journal belongs to another plan with this ID")

// ErrJournal says that the journal is not what was written.
var ErrJournal = errors.New("the journal does not verify")

// Executor carries one plan out. It runs one Apply or Rollback at a time.
type Executor struct {
	cfg   Config
	plan  *index
	abort chan struct{}
	once  sync.Once
}

// New checks that the configuration is complete and fits the plan.
func New(c Config) (*Executor, error) {
	switch {
	case c.Plan == nil || c.Prover == nil || c.Proofs == nil || c.Journal == nil || c.Leases == nil || c.Control == nil:
		return nil, errors.New("the executor lacks a plan or a port")
	case c.Operator == "":
		return nil, errors.New("the executor does not know who runs it")
	}
	if c.Lease <= 0 {
		c.Lease = time.Minute
	}
	if c.Holder == "" {
		c.Holder = c.Operator
	}
	if c.Event == nil {
		c.Event = func(Entry) {}
	}
	if c.Hooks == nil && c.Plan.Policy.Hooks != (plan.Hooks{}) {
		return nil, fmt.Errorf("plan %s has hooks, but nothing here can run them", c.Plan.ID)
	}
	x := &Executor{cfg: c, plan: indexOf(c.Plan), abort: make(chan struct{})}
	return x, x.fits()
}

func (x *Executor) fits() error {
	n := 0
	known := map[plan.Phase]bool{}
	for _, p := range plan.Phases() {
		known[p] = true
	}
	for _, w := range x.cfg.Plan.Waves {
		n += len(w.Steps)
		for _, h := range w.Hosts {
			if _, ok := x.cfg.Hosts[h]; !ok {
				return fmt.Errorf("host %s of the plan is not in snapshot %d", h, x.cfg.Plan.Snapshot)
			}
		}
		for _, s := range w.Steps {
			if x.cfg.Kinds[s.Kind] == nil {
				return fmt.Errorf("step %s: this program does not know the kind %q", s.ID, s.Kind)
			}
			if !known[s.Phase] {
				return fmt.Errorf("step %s: there is no phase %q", s.ID, s.Phase)
			}
			for _, h := range s.Hosts {
				if _, ok := x.cfg.Hosts[h]; !ok {
					return fmt.Errorf("step %s: host %s is not in snapshot %d", s.ID, h, x.cfg.Plan.Snapshot)
				}
			}
		}
	}
	if n != len(x.plan.steps) {
		return fmt.Errorf("plan %s: two steps have the same ID", x.cfg.Plan.ID)
	}
	return nil
}

// Abort cancels what Apply or Rollback have under way, whose ends stay
// unjournaled: the next run observes them. It may be called at any time, more
// than once.
func (x *Executor) Abort() { x.once.Do(func() { close(x.abort) }) }

// Apply carries the plan out, from wherever the journal says that it is. When
// ctx ends, it finishes the steps that are under way, begins none, and gives
// OutcomeStopped. An error means that the run could not go on to write its
// journal (the lease was lost, the disk is full), or could not begin: a
// *HeldError where somebody else applies, ErrDigest, and ErrJournal where the plan
// takes ways in away: what was proved and armed cannot be told from a journal that was changed.
func (x *Executor) Apply(ctx context.Context) (Result, error) {
	return x.run(ctx, "apply", func(r *run) (Result, error) {
		if err := r.endBastions(); err != nil {
			return Result{}, err
		}
		return r.apply()
	})
}

// Rollback undoes what the journal says is ours, or may be, backwards. It goes
// on when ctx ends, but for no longer than its deadline; Abort ends it. What could not be
// undone is in the result, and undoing it can be tried again. A journal that does not verify
// is noted there, and keeps no door closed.
func (x *Executor) Rollback(ctx context.Context, s Scope) (Result, error) {
	if err := x.validScope(s); err != nil {
		return Result{}, err
	}
	return x.run(ctx, "rollback "+s.String(), func(r *run) (Result, error) { return r.rollback(s) })
}

func (x *Executor) validScope(s Scope) error {
	set := 0
	if s.Host != nil {
		set++
	}
	if s.Wave != nil {
		set++
	}
	if s.All {
		set++
	}
	if set != 1 {
		return errors.New("a rollback is of one host, one wave or all")
	}
	if s.All {
		return nil // also where there is nothing to take back
	}
	for _, w := range x.cfg.Plan.Waves {
		if s.Wave != nil && w.Number == *s.Wave {
			return nil
		}
		for _, h := range w.Hosts {
			if s.Host != nil && h == *s.Host {
				return nil
			}
		}
	}
	return fmt.Errorf("plan %s has no %s", x.cfg.Plan.ID, s.String()[2:])
}

// run wraps the work in the lease and in the journal's first and last entry.
func (x *Executor) run(ctx context.Context, what string, work func(*run) (Result, error)) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	r, err := x.begin(ctx)
	if err != nil {
		return Result{}, err
	}
	defer r.end()
	if x.cfg.Acquired != nil {
		if err := x.cfg.Acquired(r.work); err != nil {
			return Result{}, err
		}
	}
	doubt, err := r.load()
	if err != nil {
		return Result{}, err
	}
	if doubt != nil && what == "apply" && r.takesAny() {
		return Result{}, doubt
	}
	x.cfg.Rescue.mind(r.openings())
	if err := r.write(Entry{Event: RunBegan, Detail: what}); err != nil {
		return Result{}, err
	}
	if doubt != nil {
		if err := r.write(Entry{Event: Note, Detail: doubt.Error()}); err != nil {
			return Result{}, err
		}
	}
	res, err := work(r)
	if failed := r.failure(); failed != nil {
		return res, failed // whatever it led to
	}
	if err != nil {
		return res, err
	}
	res.Timers, res.Bastions = r.armed(), r.bastions()
	detail := string(res.Outcome)
	if res.Reason != "" {
		detail += ": " + res.Reason
	}
	return res, r.write(Entry{Event: RunEnded, Detail: detail, Hosts: res.Hosts, Result: res.truth()})
}

func (r Result) truth() fleet.Truth {
	switch r.Outcome {
	case OutcomeDone, OutcomeRolledBack:
		return fleet.TruthYes
	case OutcomeStopped, OutcomePaused:
		return fleet.TruthUnknown
	}
	return fleet.TruthNo
}
