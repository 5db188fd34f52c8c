package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// Config says what an inventory reads, how hard, and where to. Store is needed;
// everything else may be zero.
type Config struct {
	Accounts []Identity
	Clouds   []Cloud
	Prober   Prober // nil: no host is probed
	Store    Store

	// Others are asked in turn, each with a ProbeTimeout of its own, for hosts of
	// which the Probers before gave no answer.
	Others []Prober

	// Select tells whether to probe a host that is Probeable; nil: all of them.
	Select func(fleet.Host) bool

	Concurrency       int           // hosts in flight; 0: 256
	StatusConcurrency int           // ssm:GetConnectionStatus calls in flight for each Cloud; 0: 16
	ProbeTimeout      time.Duration // for one host, connecting included; 0: one minute

	Version string           // of the program, for the snapshot
	Now     func() time.Time // nil: time.Now
}

func (c Config) withDefaults() Config {
	if c.Concurrency <= 0 {
		c.Concurrency = 256
	}
	if c.StatusConcurrency <= 0 {
		c.StatusConcurrency = 16
	}
	if c.ProbeTimeout <= 0 {
		c.ProbeTimeout = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Names of the sources that the collector itself asks.
const (
	sourceInstances = "ec2:DescribeInstances"
	sourceNodes     = "ssm:DescribeInstanceInformation"
	sourceStatus    = "ssm:GetConnectionStatus"
	sourceProbe     = "probe"
	sourceCommand   = "probe: ssm:SendCommand"
)

// Collect takes one inventory: all accounts, Regions and hosts at the same time,
// stored as they answer. A source or host that fails is stored as unknown with
// its reason, and the run goes on; the error is for a cancelled context, a
// store that fails, or ErrNothing. Then the snapshot stays unfinished, so that no reader takes
// it for the latest. In either case all work has ended when Collect returns.
//
// The snapshot is complete if every source and every host that was to be probed
// answered. emit, which may be nil, is called from one goroutine at a time and
// holds the inventory up while it runs.
func Collect(ctx context.Context, cfg Config, emit func(Event)) (fleet.SnapshotInfo, error) {
	cfg = cfg.withDefaults()
	info := fleet.SnapshotInfo{Started: cfg.Now(), Version: cfg.Version}
	id, err := cfg.Store.Begin(ctx, info)
	if err != nil {
		return info, fmt.Errorf("begin snapshot: %w", err)
	}
	info.ID = id

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &collector{Config: cfg, ctx: ctx, emit: emit, seen: map[string]bool{}, profiles: map[string]bool{}, defaultRoles: map[defaultRole]bool{}}
	c.out = startWriter(ctx, cancel, cfg.Store, id)
	c.probes = startProbing(c)

	var sources sync.WaitGroup
	c.listing.Add(len(cfg.Clouds))
	for _, a := range cfg.Accounts {
		sources.Go(func() { c.account(a) })
	}
	for _, cloud := range cfg.Clouds {
		sources.Go(func() { (&region{collector: c, cloud: cloud}).collect() })
	}
	sources.Wait()
	c.probes.finish()
	c.out.finish()

	if err := context.Cause(ctx); err != nil {
		return info, err
	}
	if len(c.seen) == 0 && c.answers == 0 && c.unknowns > 0 {
		return info, fmt.Errorf("%w: %s", ErrNothing, c.why)
	}
	info.Finished = cfg.Now()
	info.Hosts, info.Unknowns = len(c.seen), c.unknowns
	info.State = fleet.SnapshotComplete
	if info.Unknowns > 0 {
		info.State = fleet.SnapshotIncomplete
	}
	if err := cfg.Store.Finish(ctx, info); err != nil {
		info.State = fleet.SnapshotRunning
		return info, fmt.Errorf("finish snapshot %d: %w", id, err)
	}
	c.tell(Event{Kind: Finished, Done: info.Hosts, Total: info.Hosts})
	return info, nil
}

// collector is the state that the goroutines of one Collect share.
type collector struct {
	Config
	ctx    context.Context
	emit   func(Event)
	out    *writer
	probes *probing

	listing sync.WaitGroup // Regions whose instances and surroundings are not read yet

	emitting sync.Mutex

	mu           sync.Mutex
	seen         map[string]bool      // host IDs; guarded by mu
	profiles     map[string]bool      // ARNs of instance profiles that hosts have; guarded by mu
	defaultRoles map[defaultRole]bool // of Default Host Management Configuration; guarded by mu
	unknowns     int                  // guarded by mu
	answers      int                  // sources that answered; guarded by mu
	why          string               // the first reason of a source that did not; guarded by mu
}

// ErrNothing says that not one source answered, so that there is nothing to
// make a snapshot of.
var ErrNothing = errors.New("no source answered")

func (c *collector) tell(e Event) {
	if c.emit == nil {
		return
	}
	e.At = c.Now()
	c.emitting.Lock()
	defer c.emitting.Unlock()
	c.emit(e)
}

func (c *collector) answered() {
	c.mu.Lock()
	c.answers++
	c.mu.Unlock()
}

// silent is failed for a source; it keeps the first reason.
func (c *collector) silent(reason string) {
	c.failed()
	c.mu.Lock()
	c.why = cmp.Or(c.why, reason)
	c.mu.Unlock()
}

// failed counts a source or host that gave no answer.
func (c *collector) failed() {
	c.mu.Lock()
	c.unknowns++
	c.mu.Unlock()
}

// firstSight reports whether a host was not seen before in this inventory: two
// profiles may lead to the same account.
func (c *collector) firstSight(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[host] {
		return false
	}
	c.seen[host] = true
	return true
}

// tellSources reports how the APIs behind one record answered. An optional one
// may stay silent and the snapshot be complete.
func (c *collector) tellSources(states []fleet.SourceState) {
	for _, s := range states {
		reason := ""
		if s.Known {
			c.answered()
		} else {
			reason = clean(cmp.Or(s.Reason, "no reason given"))
		}
		if !s.Known && !s.Optional {
			c.silent(reason)
		}
		c.tell(Event{Kind: SourceDone, Account: s.Account, Region: s.Region, Source: s.Source, Done: s.Count, Total: s.Count, Reason: reason})
	}
}

// reason makes the text of an error storable.
func reason(err error) string { return clean(err.Error()) }

// Probeable reports whether a host can be probed at all: it runs, and it is
// not Windows. That other hosts are not probed does not make a snapshot incomplete.
func Probeable(h fleet.Host) bool { return h.Running() && !h.Windows() }

// notProbed gives the reason for not probing a host; empty: it is to be probed.
func (c *collector) notProbed(h fleet.Host) string {
	switch {
	case !h.Running():
		return "the instance is " + cmp.Or(h.State, "not running")
	case !Probeable(h):
		return "Windows hosts are not probed"
	case c.Select != nil && !c.Select(h):
		return "left out by the selection of hosts"
	}
	return ""
}

// probeHost probes one host by one way after the other, and stores what came of it.
func (c *collector) probeHost(h fleet.Host) {
	fact, why := c.ask(c.Prober, h)
	for _, next := range c.Others {
		if why == "" || c.ctx.Err() != nil {
			break
		}
		other, otherWhy := c.ask(next, h)
		switch {
		case otherWhy == "" || other.Known && !fact.Known:
			fact, why = other, otherWhy
		case !fact.Known:
			why = clean(why + "; " + otherWhy)
			fact.Reason, fact.Source = why, other.Source
		}
	}
	if c.ctx.Err() != nil {
		return
	}
	c.out.save(fleet.Batch{Probes: []fleet.ProbeResult{{Host: h.ID, Probe: fact}}})
	if why != "" {
		c.failed()
	}
	c.probes.done(h, why)
}

// ByRunCommand reports whether the last that was tried on a host was a probe by
// Run Command; where its probe is known, it came that way.
func ByRunCommand(h fleet.Host) bool { return h.Probe.Source == sourceCommand }

// ask asks a host by one way; the reason is empty where the whole answer came.
func (c *collector) ask(by Prober, h fleet.Host) (fact fleet.Fact[fleet.Probe], why string) {
	ctx, cancel := context.WithTimeout(c.ctx, c.ProbeTimeout)
	defer cancel()
	out, err := by.Probe(ctx, h)
	at := c.Now()
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("gave up after %v: %w", c.ProbeTimeout, err)
	}
	source := sourceProbe
	if out.Way == fleet.WaySessionManager {
		source = sourceCommand
	}
	// What a host said before it was given up is worth having.
	probe, parseErr := Parse(out, at)
	switch {
	case err != nil && parseErr != nil:
		why = reason(err)
	case parseErr != nil:
		why = reason(parseErr)
	case err != nil:
		why = reason(err)
		probe.Gaps = append(probe.Gaps, fleet.Gap{What: "probe", Reason: why})
	}
	if parseErr != nil {
		return fleet.Unknown[fleet.Probe](source, at, why), why
	}
	return fleet.Known(probe, source, at), why
}
