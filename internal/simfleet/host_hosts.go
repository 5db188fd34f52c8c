package simfleet

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HostOptions tune the host side of a world. The zero value is ready for use.
type HostOptions struct {
	// TimeScale is how many real seconds pass while a simulated program waits
	// for one second: a curl that times out after 5 s, a sleep, a TCP connect
	// into a dropped packet. Only waiting is scaled; clocks that programs show
	// are not, so a script that measures its own waits sees the real, short
	// ones. Default 0.02; negative: no waiting at all.
	TimeScale float64
	// Operator is the address from which SOCKS connections come into the
	// world. Default OperatorAddr.
	Operator netip.Addr
	// MaxOutput bounds what one command may print on either stream, in bytes;
	// a program that exceeds it is ended. Default 64 MiB.
	MaxOutput int64
	// ExecTimeout ends a command, in real time. Default 2 minutes.
	ExecTimeout time.Duration
	// EndlessBytes is how much a host with MachineEndless prints before it
	// ends. Default 1 GiB.
	EndlessBytes int64
	// Disk bounds what commands may write on one machine, in bytes; beyond it
	// the disk is full. Default 1 GiB.
	Disk int
}

// Hosts is the host side of a world: its machines, their SSH servers and what
// was written to their disks. Nothing is kept for a machine that nobody
// visits. All methods are safe for concurrent use.
type Hosts struct {
	w    *World
	opts HostOptions

	programs map[string]programEntry // never changed
	scripts  parsedScripts

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	pids   atomic.Int64
	aws    atomic.Pointer[http.Handler] // what presigned URLs lead to; nil until it is served

	mu       sync.Mutex
	closed   bool                       // guarded by mu
	overlays map[*Instance]*overlay     // guarded by mu
	states   map[*Instance]*hostState   // guarded by mu
	live     map[*Instance][]*liveLogin // guarded by mu; oldest first
	conns    map[net.Conn]struct{}      // guarded by mu; closed by Close
	byAddr   map[netip.Addr]*Instance   // guarded by mu, replaced as a whole; nil until asked for
	moves    int64                      // guarded by mu; World.moves when byAddr was made
}

// NewHosts makes the host side of a world. Close it when done. A world has one
// host side at a time: what happens to machines by themselves (World.Reboot,
// timers that go off) happens on the one made last.
func NewHosts(w *World, o HostOptions) *Hosts {
	if o.TimeScale == 0 {
		o.TimeScale = 0.02
	}
	if !o.Operator.IsValid() {
		o.Operator = OperatorAddr
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = 64 << 20
	}
	if o.ExecTimeout == 0 {
		o.ExecTimeout = 2 * time.Minute
	}
	if o.Disk == 0 {
		o.Disk = 1 << 30
	}
	if o.EndlessBytes == 0 {
		o.EndlessBytes = 1 << 30
	}
	h := &Hosts{
		w:        w,
		opts:     o,
		programs: programTable(),
		overlays: map[*Instance]*overlay{},
		states:   map[*Instance]*hostState{},
		live:     map[*Instance][]*liveLogin{},
		conns:    map[net.Conn]struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	w.hosts.Store(h)
	return h
}

// Close ends all connections and commands and waits for them.
func (h *Hosts) Close() {
	h.mu.Lock()
	h.closed = true
	for c := range h.conns {
		_ = c.Close()
	}
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
}

// track keeps a connection for Close. It reports false, and closes the
// connection, when Close came first.
func (h *Hosts) track(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = c.Close()
		return false
	}
	h.conns[c] = struct{}{}
	h.wg.Add(1)
	return true
}

func (h *Hosts) untrack(c net.Conn) {
	_ = c.Close()
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
	h.wg.Done()
}

// overlay gives what was written on an instance; nil if nothing was and create is false.
func (h *Hosts) overlay(inst *Instance, create bool) *overlay {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.overlays[inst]
	if o == nil && create {
		o = &overlay{nodes: map[string]*node{}}
		h.overlays[inst] = o
	}
	return o
}

// instanceAt finds the instance that has an address, private or public. A
// world's addresses are unique.
func (h *Hosts) instanceAt(a netip.Addr) *Instance {
	h.mu.Lock()
	known, moves := h.byAddr, h.moves
	h.mu.Unlock()
	if now := h.w.moves.Load(); known == nil || moves != now {
		// w.Mu comes before h.mu: whoever holds it may look at machines.
		known = map[netip.Addr]*Instance{}
		h.w.Mu.RLock()
		for inst := range h.w.Instances() {
			for _, own := range []netip.Addr{inst.Host.PrivateIP, inst.Host.PublicIP} {
				if own.IsValid() {
					known[own] = inst
				}
			}
		}
		h.w.Mu.RUnlock()
		h.mu.Lock()
		h.byAddr, h.moves = known, now
		h.mu.Unlock()
	}
	return known[a.Unmap()]
}

// Refresh forgets which instance has which address. It is needed after a test
// changed addresses in the model; launches and terminations do it by themselves.
func (h *Hosts) Refresh() {
	h.mu.Lock()
	h.byAddr = nil
	h.mu.Unlock()
}

// wait lets d of simulated time pass.
func (h *Hosts) wait(ctx context.Context, d time.Duration) error {
	if h.opts.TimeScale < 0 || d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(float64(d) * h.opts.TimeScale))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newPIDs reserves n consecutive process IDs and gives the first.
func (h *Hosts) newPIDs(n int64) int {
	const low, span = 100_000, 3_000_000
	return int(low + (h.pids.Add(n)-n)%span)
}
