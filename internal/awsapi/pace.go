package awsapi

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace keeps calls in one account and Region below the services' limits, one
// pacer for each family of APIs that AWS limits together: a service, or a
// single API that has a limit of its own.
type pace struct {
	mu       sync.Mutex
	families map[string]*pacer // guarded by mu
}

const (
	apiConnection = "ssm:GetConnectionStatus"
	apiSessions   = "ssm:DescribeSessions"
	apiSimulate   = "iam:SimulatePrincipalPolicy"
	ec2Changes    = "ec2 changes"
)

// newPace starts below the limits that AWS publishes; families without a
// published limit run freely until a service throttles them. EC2's bucket for
// non-mutating calls holds 100 and refills by 20 a second (EC2 API reference,
// "Request throttling", checked October 2026), for everyone in the account; that
// for most changing calls 50 and 5.
// DescribeSessions has a quota of 6 a second ("Systems Manager endpoints and
// quotas"), Route 53 one of 5 for all calls of an account ("Quotas" in its
// Developer Guide). AWS publishes no rate for SimulatePrincipalPolicy; its
// start is a guess, which throttling corrects. StartSession has a quota of 3 a
// second, ResumeSession and TerminateSession of 6 each ("Systems Manager
// endpoints and quotas").
func newPace(o Options) *pace {
	return &pace{families: map[string]*pacer{
		"ec2":         newPacer(rate.Limit(o.ReadRate), 50),
		ec2Changes:    newPacer(rate.Limit(o.ChangeRate), 25),
		"route53":     newPacer(4, 4),
		apiConnection: newPacer(rate.Limit(o.ConnectionRate), 5),
		apiSessions:   newPacer(4, 4),
		apiSimulate:   newPacer(10, 10),

		apiStartSession:     newPacer(rate.Limit(o.SessionRate), 2),
		apiResumeSession:    newPacer(rate.Limit(2*o.SessionRate), 4),
		apiTerminateSession: newPacer(rate.Limit(2*o.SessionRate), 4),
	}}
}

func (p *pace) of(api string) *pacer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own := p.families[api]; own != nil {
		return own
	}
	service, action, _ := strings.Cut(api, ":")
	if service == "ec2" && !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") {
		service = ec2Changes
	}
	if p.families[service] == nil {
		p.families[service] = newPacer(rate.Inf, 1)
	}
	return p.families[service]
}

// pacer is a token bucket that learns: it halves its rate when a service
// throttles and recovers with each call that goes through.
type pacer struct {
	limiter *rate.Limiter
	top     rate.Limit

	mu  sync.Mutex
	cut time.Time // last time the rate was halved; guarded by mu
}

const (
	firstCut    = 10  // calls a second, from no limit at all
	slowest     = 0.5 // calls a second
	unlimitedAt = 50  // calls a second at which a family without a published limit runs freely again
)

func newPacer(top rate.Limit, burst int) *pacer {
	return &pacer{limiter: rate.NewLimiter(top, burst), top: top}
}

func (p *pacer) wait(ctx context.Context) error { return p.limiter.Wait(ctx) }

func (p *pacer) slower(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Calls that were under way together are throttled together: that is one event.
	if now.Sub(p.cut) < time.Second {
		return
	}
	p.cut = now
	next := rate.Limit(firstCut)
	if at := p.limiter.Limit(); at != rate.Inf {
		next = max(at/2, slowest)
	}
	p.limiter.SetLimit(next)
}

func (p *pacer) faster() {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.limiter.Limit()
	if at == p.top {
		return
	}
	next := min(at*1.05, p.top)
	if p.top == rate.Inf && next >= unlimitedAt {
		next = rate.Inf
	}
	p.limiter.SetLimit(next)
}
