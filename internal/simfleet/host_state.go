package simfleet

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// hostState is what runs and waits on one machine, beside its files.
type hostState struct {
	mu         sync.Mutex
	booted     time.Time           // guarded by mu; world's clock; zero: at its launch
	units      map[string]*unitRun // guarded by mu; by name
	queue      []atJob             // guarded by mu; at's, by time
	jobs       int                 // guarded by mu; at's last number
	background map[*background]int // guarded by mu; to the process ID of the first process
	foreground map[int]func()      // guarded by mu; end the commands that somebody waits for
	commands   int                 // guarded by mu; number of the last of them

	boots       int  // guarded by mu; times that it was shut down
	off         bool // guarded by mu; it reboots or is stopped
	wasDown     bool // guarded by mu; sshd did not answer before
	sshdStopped bool // guarded by mu; since somebody stopped it
}

// bootCount changes when the machine goes down.
func (s *hostState) bootCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boots
}

// state gives an instance's, making it if need be.
func (h *Hosts) state(inst *Instance) *hostState {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.states[inst]
	if s == nil {
		s = &hostState{units: map[string]*unitRun{}, background: map[*background]int{}, foreground: map[int]func(){}}
		h.states[inst] = s
	}
	return s
}

// background is a program that runs on a machine by itself: a detached one, or
// a service. Its waits are entries of the world's agenda, so that it goes on
// with the world's clock.
type background struct {
	name   string // for the agenda
	x      *execution
	pid    int
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	status int           // exit status, once done is closed

	mu    sync.Mutex
	round chan struct{} // closed at its next wait, or end; nil while it waits
}

// begin starts programs, one after the other, in the background and returns when
// they wait for the first time, or have ended. One that fails is the last. ended,
// where given, is called at the end. The caller holds no lock.
func (h *Hosts) begin(p *process, name string, commands [][]string, ended func(status int)) *background {
	ctx, cancel := context.WithCancel(h.ctx)
	b := &background{name: name, cancel: cancel, done: make(chan struct{}), pid: h.newPIDs(1)}
	b.x = newExecution(h, h.machine(p.m.inst))
	b.x.background = b
	child := *p
	child.x, child.m, child.allowance, child.stdin, child.pid = b.x, b.x.current(), nil, nil, 1
	child.stdout, child.stderr = lasting(p.stdout), lasting(p.stderr)
	s := h.state(p.m.inst)
	s.mu.Lock()
	s.background[b] = b.pid
	s.mu.Unlock()
	settled := b.nextRound()
	h.wg.Go(func() {
		defer cancel()
		for i, args := range commands {
			b.status = child.start(ctx, args, func(c *process) {
				if i == 0 {
					c.pid = b.pid
				}
			})
			if b.status != 0 {
				break
			}
		}
		s.mu.Lock()
		delete(s.background, b)
		s.mu.Unlock()
		if ended != nil {
			ended(b.status)
		}
		close(b.done)
		b.settle()
	})
	<-settled
	return b
}

// lasting is a writer that a program may keep beyond what started it: a file.
func lasting(w io.Writer) io.Writer {
	if a, ok := w.(*appender); ok {
		return a
	}
	return io.Discard
}

func (b *background) nextRound() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.round = make(chan struct{})
	return b.round
}

func (b *background) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.round != nil {
		close(b.round)
		b.round = nil
	}
}

// wait lets d pass on the world's clock. Whoever advances the world then goes
// on when the program waits again, or has ended.
func (b *background) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	w := b.x.hosts.w
	woken := make(chan struct{})
	stop := w.atUnlocked(w.Now().Add(d), b.name, func() {
		settled := b.nextRound()
		close(woken)
		select {
		case <-settled:
		case <-b.done:
		}
	})
	b.settle()
	select {
	case <-woken:
		b.x.renew()
		return nil
	case <-ctx.Done():
		stop()
		return ctx.Err()
	}
}

// signal ends a process of the machine that runs in the background, or
// only looks for it. It reports whether there is one.
func (h *Hosts) signal(m *machine, pid int, end bool) bool {
	for _, b := range h.backgrounds(m.inst) {
		if b.x.signal(pid, end) {
			return true
		}
	}
	if m.exec != nil && m.exec.signal(pid, end) {
		return true
	}
	_, ok := m.taskByPID(pid)
	return ok
}

func (h *Hosts) backgrounds(inst *Instance) []*background {
	h.mu.Lock()
	s := h.states[inst]
	h.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Keys(s.background))
	slices.SortFunc(all, func(a, b *background) int { return a.pid - b.pid })
	return all
}

// runKill is kill [-SIGNAL] PID...: every signal but 0 ends a process that
// runs in the background or in the same session. Services of the machine's
// model do not hear it.
func runKill(_ context.Context, _ *shell, q *process) int {
	args, end := q.args[1:], true
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		name := args[0][1:]
		if (name == "s" || name == "n") && len(args) > 1 {
			name, args = args[1], args[1:]
		}
		end = name != "0"
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	status := 0
	for _, a := range args {
		n, err := strconv.Atoi(a)
		switch {
		case err != nil:
			status = q.fail(1, "%s: arguments must be process or job IDs", a)
		case !q.x.hosts.signal(q.m, max(n, -n), end):
			status = q.fail(1, "(%s) - No such process", a)
		}
	}
	return status
}

// detach starts a program that outlives the script.
func detach(_ context.Context, s *shell, q *process) int {
	if _, status := q.find(q.args[1]); status != 0 {
		return 0 // as with every job, nobody hears of it
	}
	q.umask = s.p.umask
	s.detached = q.x.hosts.begin(q, "process of "+q.m.Host.ID, [][]string{q.args[1:]}, nil).pid
	return 0
}

// runSetsid is setsid [-f] [-w] PROGRAM: without -f it waits for it as every program.
func runSetsid(ctx context.Context, p *process) int {
	args, fork := p.args[1:], false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		fork = fork || args[0] == "-f" || args[0] == "--fork"
		args = args[1:]
	}
	if len(args) == 0 {
		return p.fail(1, "no command specified")
	}
	if fork && p.x.background == nil {
		p.x.hosts.begin(p, "process of "+p.m.Host.ID, [][]string{args}, nil)
		return 0
	}
	return p.exec(ctx, args, nil)
}
