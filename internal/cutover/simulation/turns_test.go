package simulation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// turns lets the goroutines of a simulation act on the world one at a time, in
// an order that the seed decides: the next one is drawn when nothing else in the
// bubble can go on. So a seed replays exactly, however many lanes run.
type turns struct {
	mu      sync.Mutex
	waiting []*waiter // guarded by mu
	over    bool      // guarded by mu; nobody waits any more
	wake    chan struct{}
	random  *rand.Rand // used by run alone
}

type waiter struct {
	label string
	turn  chan struct{}
}

func newTurns(random *rand.Rand) *turns {
	return &turns{wake: make(chan struct{}, 1), random: random}
}

// take returns when it is the caller's turn.
func (t *turns) take(label string) {
	w := &waiter{label: label, turn: make(chan struct{})}
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	<-w.turn
}

// run gives turns until ctx ends; from then on nobody waits.
func (t *turns) run(ctx context.Context) {
	for {
		synctest.Wait()
		t.mu.Lock()
		var next *waiter
		if n := len(t.waiting); n > 0 {
			slices.SortStableFunc(t.waiting, func(a, b *waiter) int { return strings.Compare(a.label, b.label) })
			at := t.random.IntN(n)
			next = t.waiting[at]
			t.waiting = slices.Delete(t.waiting, at, at+1)
		}
		t.mu.Unlock()
		if next != nil {
			close(next.turn)
			continue
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			t.mu.Lock()
			defer t.mu.Unlock()
			t.over = true
			for _, w := range t.waiting {
				close(w.turn)
			}
			return
		}
	}
}

// errKilled is what a dead process gets from everything that it still tries.
var errKilled = errors.New("the operator's process was killed")

// process is the life of one operator's process. All that it does to the
// world or writes down passes through call or record.
type process struct {
	s      *simulation
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	calm   bool // no faults

	// closes are the groups whose port it has written down to close, and not yet to
	// open again: what it revokes besides is the recovery bastion's. Touched in turns.
	closes map[string]bool

	killAt    int  // call before or after which it dies; 0: never
	killAfter bool // the call acts, and the process does not learn of it
	// killIntended is which of its intentions, to do or to undo, it dies of, right
	// after writing it down; 0: none. There what was done and what is known lie
	// furthest apart.
	killIntended int
	// freezeAt is the call in which it stops for frozen, as by SIGSTOP; 0: none.
	freezeAt int
	frozen   time.Duration

	mu    sync.Mutex
	calls int       // guarded by mu
	meant int       // guarded by mu; intentions written down
	gone  bool      // guarded by mu
	thaw  time.Time // guarded by mu; until then it is frozen
	lost  bool      // guarded by mu; its lease, and it knows
}

// call does one thing in its turn, unless the process is dead by then. A frozen
// one learns of what it has done when it is thawed.
func (p *process) call(label string, f func() error) error {
	p.s.turns.take(label)
	if p.sleepFrozen(label) {
		p.s.turns.take(label)
	}
	if !p.begin(label) {
		return errKilled
	}
	p.s.acts++
	p.s.happen()
	err := p.finish(f())
	p.freeze()
	p.sleepFrozen("")
	return err
}

// freeze stops all of the process, as SIGSTOP does, when its call has come.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.freezeAt > 0 && p.calls >= p.freezeAt && p.thaw.IsZero() && !p.gone {
		p.thaw = time.Now().Add(p.frozen)
		p.s.log("%s is frozen for %v", p.name, p.frozen)
	}
}

// sleepFrozen waits until the process is thawed, and reports whether it had to.
// What is to begin then comes after the look at the lease, which is due at once.
func (p *process) sleepFrozen(begins string) bool {
	p.mu.Lock()
	left := time.Until(p.thaw)
	p.mu.Unlock()
	if left <= 0 {
		return false
	}
	if begins != "" && begins != labelRenew {
		left += time.Second
	}
	time.Sleep(left) // others take their turns
	return true
}

// labelRenew and labelRelease name the calls about the lease.
const labelRenew, labelRelease = "renew lease", "release lease"

// record is call for what the executor writes under a lock of its own: it
// cannot wait for a turn there, and needs none, since nobody else acts meanwhile.
func (p *process) record(label string, f func() error) error {
	if !p.begin(label) {
		return errKilled
	}
	err := f()
	if strings.HasPrefix(label, "journal intended") || strings.HasPrefix(label, "journal undo-began") {
		p.intended()
	}
	return p.finish(err)
}

func (p *process) intended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meant++; p.meant == p.killIntended {
		p.dieLocked()
	}
}

// begin counts a call, and reports whether the process lives to make it.
func (p *process) begin(label string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.lost && label != labelRelease {
		return false
	}
	p.calls++
	p.s.log("%s %d %s", p.name, p.calls, label)
	if p.calls == p.killAt && !p.killAfter {
		p.dieLocked()
	}
	return !p.gone
}

func (p *process) finish(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == p.killAt {
		p.dieLocked()
	}
	if p.gone {
		return errKilled
	}
	return err
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// dieLocked is SIGKILL: nothing that the process would do from now on happens.
func (p *process) dieLocked() {
	if !p.gone {
		p.s.log("%s is killed", p.name)
		p.s.mu.Lock()
		p.s.count.kills++
		p.s.mu.Unlock()
	}
	p.gone = true
	p.cancel()
}
