package inventory

import (
	"sync"

	"ssm-migrate/internal/fleet"
)

// probing hands hosts to the Prober, so many at a time, while more of them are
// still being listed. Hosts wait in memory rather than hold the listing up:
// the API's page tokens do not last.
type probing struct {
	*collector
	in    chan []fleet.Host
	ended chan struct{}

	mu       sync.Mutex
	total    int // hosts to be probed, as far as known; guarded by mu
	finished int // guarded by mu
}

func startProbing(c *collector) *probing {
	p := &probing{collector: c, in: make(chan []fleet.Host), ended: make(chan struct{})}
	go p.run()
	return p
}

func (p *probing) run() {
	defer close(p.ended)
	var waiting []fleet.Host
	var flying sync.WaitGroup
	defer flying.Wait()
	slots := make(chan struct{}, p.Concurrency)
	in := p.in
	for in != nil || len(waiting) > 0 {
		var free chan struct{}
		if len(waiting) > 0 {
			free = slots
		}
		select {
		case more, open := <-in:
			if !open {
				in = nil
			}
			waiting = append(waiting, more...)
		case free <- struct{}{}:
			h := waiting[0]
			waiting[0] = fleet.Host{} // lets go of its memory
			waiting = waiting[1:]
			flying.Go(func() {
				defer func() { <-slots }()
				p.probeHost(h)
			})
		case <-p.ctx.Done():
			return
		}
	}
}

// add queues hosts to be probed.
func (p *probing) add(hosts []fleet.Host) {
	if len(hosts) == 0 {
		return
	}
	p.mu.Lock()
	p.total += len(hosts)
	p.mu.Unlock()
	select {
	case p.in <- hosts:
	case <-p.ctx.Done():
	}
}

// done reports one host as probed or, with a reason, given up.
func (p *probing) done(h fleet.Host, why string) {
	p.mu.Lock()
	defer p.mu.Unlock() // after the event, so that Done never goes back
	p.finished++
	p.tell(Event{Kind: ProbeProgress, Account: h.Account, Region: h.Region, Source: sourceProbe, Host: h.ID, Done: p.finished, Total: p.total, Reason: why})
}

// finish returns when every queued host has been probed. Nothing may be added after it.
func (p *probing) finish() {
	close(p.in)
	<-p.ended
}
