package simfleet

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// FaultKind says what goes wrong.
type FaultKind int

// The kinds of faults.
const (
	FaultNone     FaultKind = iota // nothing; with a Delay: the call is only slow
	FaultDeny                      // access denied, in the service's words
	FaultThrottle                  // throttled, in the service's words
	FaultHTML                      // status 500 with an HTML page, as from a gateway in between
	FaultCut                       // the connection ends half-way through the answer: what was asked for is done
	FaultTwice                     // a changing call arrives twice, as when the network repeats it: only the second answer is seen
)

// Fault makes calls go wrong. Empty fields of Service, Action, Region and
// Account match all.
type Fault struct {
	Service, Action, Region, Account string

	Kind  FaultKind
	Delay time.Duration // before the call is looked at
	Late  time.Duration // between computing the answer and sending it
	Times int           // how many calls it hits; 0: all
}

// Faults is a list of faults that may change while a server runs. The first
// that matches a call hits it. A nil list has none.
type Faults struct {
	mu   sync.Mutex
	list []Fault
}

// Set replaces the list.
func (f *Faults) Set(list ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append([]Fault(nil), list...)
}

// take gives the fault that hits a call and counts it.
func (f *Faults) take(c *call) Fault {
	if f == nil {
		return Fault{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		x := &f.list[i]
		if x.Times < 0 || !x.matches(c) {
			continue
		}
		hit := *x
		if x.Times > 0 {
			if x.Times--; x.Times == 0 {
				x.Times = -1
			}
		}
		return hit
	}
	return Fault{}
}

func (f Fault) matches(c *call) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.Service, c.service) && is(f.Action, c.action) && is(f.Region, c.region.Name) && is(f.Account, c.account.ID)
}

// before and after wait; false: the client is gone.
func (f Fault) before(ctx context.Context) bool { return wait(ctx, f.Delay) }
func (f Fault) after(ctx context.Context) bool  { return wait(ctx, f.Late) }

func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func writeHTML(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte("<html><head><title>500 Internal Server Error</title></head><body><center><h1>500 Internal Server Error</h1></center><hr></body></html>\n"))
}

// bucket is one token bucket.
type bucket = rate.Limiter

// throttle holds a token bucket for each account, Region and API.
type throttle struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

// take reports whether the call gets a token.
func (t *throttle) take(c *call, now time.Time) bool {
	size, refill, name := bucketOf(c)
	if size == 0 {
		return true
	}
	key := c.account.ID + "/" + c.region.Name + "/" + name
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[key]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(refill), size)
		t.buckets[key] = b
	}
	return b.AllowN(now, 1)
}

// bucketOf gives a call's bucket: size and refill per second. Services that
// publish no rate are not throttled. Sources: Amazon EC2 API throttling;
// General Reference, Systems Manager quotas; Route 53 Developer Guide, quotas.
func bucketOf(c *call) (size int, refill float64, name string) {
	switch {
	case c.service == "ssm" && c.action == "GetConnectionStatus":
		return 50, 50, c.action
	case c.service == "ssm" && c.action == "StartSession":
		return 3, 3, c.action
	case c.service == "ssm" && (c.action == "DescribeSessions" || c.action == "ResumeSession" || c.action == "TerminateSession"):
		return 6, 6, c.action
	case c.service == "route53":
		return 5, 5, "all of Route 53"
	case c.service != "ec2":
		return 0, 0, ""
	}
	switch c.action {
	case "DescribeInstances", "DescribeInstanceStatus", "DescribeSecurityGroups":
		if !c.form.Has("MaxResults") && !c.form.Has("Filter.1.Name") {
			return 50, 10, c.action + " unpaged"
		}
	}
	return 100, 20, c.action
}
