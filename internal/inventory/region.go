package inventory

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// region collects one account's share of one Region.
type region struct {
	*collector
	cloud Cloud

	mu      sync.Mutex
	account string          // guarded by mu; empty until known
	running map[string]bool // IDs of running instances; guarded by mu
	nodes   []string        // IDs of managed EC2 instances; guarded by mu
	orphans []fleet.Node    // nodes that came before their account was known; guarded by mu
}

// collect reads what the Region's APIs list, then the connection status of the nodes.
func (r *region) collect() {
	around, ok := r.list()
	r.listing.Done()
	if ok {
		r.statuses(around)
	}
}

// list reads instances, managed nodes and surroundings side by side; ok is
// false when the inventory was cancelled meanwhile.
func (r *region) list() (region fleet.Region, ok bool) {
	r.running = map[string]bool{}
	var (
		sources   sync.WaitGroup
		instances fleet.Fact[int]
		nodes     fleet.Fact[int]
		around    fleet.Region
	)
	sources.Go(func() { instances = r.instances() })
	sources.Go(func() { nodes = r.managedNodes() })
	sources.Go(func() { around = r.cloud.Surroundings(r.ctx) })
	sources.Wait()
	if r.ctx.Err() != nil {
		return around, false
	}
	around.Label, around.Name = cmp.Or(around.Label, r.cloud.Label()), r.cloud.RegionName()
	if around.Account == "" {
		around.Account = r.account
	}
	around.Instances, around.Nodes = instances, nodes
	for i := range r.orphans {
		r.orphans[i].Account = around.Account
	}
	r.out.save(fleet.Batch{Regions: []fleet.Region{around}, Nodes: r.orphans})
	r.orphans = nil
	r.tellSources(around.Sources())
	r.usesDefaultRole(around)
	return around, true
}

// progress reports how many elements a paged source has given so far.
func (r *region) progress(source string, n int) {
	r.mu.Lock()
	account := cmp.Or(r.account, r.cloud.Label())
	r.mu.Unlock()
	r.tell(Event{Kind: SourceProgress, Account: account, Region: r.cloud.RegionName(), Source: source, Done: n})
}

func (r *region) instances() fleet.Fact[int] {
	n := 0
	err := r.cloud.Instances(r.ctx, func(page []fleet.Host) error {
		n += len(page)
		r.hosts(page)
		r.progress(sourceInstances, n)
		return r.ctx.Err()
	})
	return counted(n, sourceInstances, r.Now(), err)
}

// hosts stores a page of instances and hands those over that are to be probed.
func (r *region) hosts(page []fleet.Host) {
	page = slices.Clone(page) // the adapter may use its own again
	b := fleet.Batch{Hosts: page}
	var queue []fleet.Host
	r.mu.Lock()
	for i := range page {
		h := &page[i]
		h.Region = cmp.Or(h.Region, r.cloud.RegionName())
		r.account = cmp.Or(r.account, h.Account)
		if h.Running() {
			r.running[h.ID] = true
		}
		r.usesProfile(h.ProfileARN)
		if !r.firstSight(h.ID) || r.Prober == nil {
			continue
		}
		if why := r.notProbed(*h); why != "" {
			b.Probes = append(b.Probes, fleet.ProbeResult{Host: h.ID, Probe: fleet.Unknown[fleet.Probe](sourceProbe, r.Now(), why)})
			continue
		}
		queue = append(queue, *h)
	}
	r.mu.Unlock()
	r.out.save(b)
	r.probes.add(queue)
}

func (r *region) managedNodes() fleet.Fact[int] {
	n := 0
	err := r.cloud.Nodes(r.ctx, func(page []fleet.Node) error {
		n += len(page)
		r.out.save(fleet.Batch{Nodes: r.adopt(page)})
		r.progress(sourceNodes, n)
		return r.ctx.Err()
	})
	return counted(n, sourceNodes, r.Now(), err)
}

// adopt notes the nodes of a page and gives those whose account is known.
func (r *region) adopt(page []fleet.Node) []fleet.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]fleet.Node, 0, len(page))
	for _, n := range page {
		n.Region = cmp.Or(n.Region, r.cloud.RegionName())
		if strings.HasPrefix(n.ID, "i-") {
			r.nodes = append(r.nodes, n.ID)
		}
		if n.Account = cmp.Or(n.Account, r.account); n.Account == "" {
			r.orphans = append(r.orphans, n)
			continue
		}
		out = append(out, n)
	}
	return out
}

// counted is a paged source's outcome: how many elements it gave, and whether
// those are all.
func counted(n int, source string, at time.Time, err error) fleet.Fact[int] {
	if err != nil {
		return fleet.Fact[int]{Value: n, Source: source, At: at, Reason: reason(err)}
	}
	return fleet.Known(n, source, at)
}

// maxStatusFailures ends the asking for connection statuses: so many errors
// without one answer mean that the API is denied or down, not a single node.
const maxStatusFailures = 20

// statuses asks for the connection of every running instance that is a managed
// node. When the list of nodes broke off, its reason stands for all of them.
func (r *region) statuses(around fleet.Region) {
	nodes := around.Nodes
	ids := r.nodes[:0]
	for _, id := range r.nodes {
		if r.running[id] {
			ids = append(ids, id)
		}
	}
	a := asking{region: r, account: cmp.Or(around.Account, around.Label), total: len(ids)}
	if !nodes.Known {
		a.given = nodes.Reason
	}
	if len(ids) == 0 {
		return
	}
	work := make(chan string)
	var askers sync.WaitGroup
	for range min(r.StatusConcurrency, len(ids)) {
		askers.Go(func() {
			for id := range work {
				a.ask(id)
			}
		})
	}
	for _, id := range ids {
		work <- id
	}
	close(work)
	askers.Wait()
	if r.ctx.Err() != nil {
		return
	}
	if a.first != "" && nodes.Known {
		r.failed()
	}
	r.tell(Event{Kind: SourceDone, Account: a.account, Region: around.Name, Source: sourceStatus, Done: a.answers, Total: a.total, Reason: a.first})
}

// asking is the state of one Region's questions for connection statuses.
type asking struct {
	*region
	account string
	total   int

	mu       sync.Mutex
	given    string // why no more questions are asked; guarded by mu
	first    string // the first failure; guarded by mu
	answers  int    // guarded by mu
	failures int    // guarded by mu
}

func (a *asking) ask(id string) {
	if a.ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	given := a.given
	a.mu.Unlock()
	status, why := "", given
	if given == "" {
		s, err := a.cloud.Connection(a.ctx, id)
		if a.ctx.Err() != nil {
			return
		}
		if status = clean(s); err != nil {
			why = reason(err)
		}
	}
	fact := fleet.Known(status, sourceStatus, a.Now())
	if why != "" {
		fact = fleet.Unknown[string](sourceStatus, a.Now(), why)
	}
	a.out.save(fleet.Batch{Connections: []fleet.HostStatus{{Host: id, Status: fact}}})
	answers := a.count(why)
	if why == "" && (answers%100 == 0 || answers == a.total) {
		a.tell(Event{Kind: SourceProgress, Account: a.account, Region: a.cloud.RegionName(), Source: sourceStatus, Done: answers, Total: a.total})
	}
}

func (a *asking) count(why string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why == "" {
		a.answers++
		return a.answers
	}
	a.first = cmp.Or(a.first, why)
	if a.failures++; a.answers == 0 && a.failures >= maxStatusFailures {
		a.given = cmp.Or(a.given, why)
	}
	return a.answers
}
