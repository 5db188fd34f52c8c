package simulation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// TestOutages lets Systems Manager go down for good at a random moment of random
// migrations, with or without EC2 being unable to launch anything, with or
// without EC2 Instance Connect Endpoints. The operator then rolls back: every host must let SSH in
// as before. Where nothing can be launched and no endpoint is there, the hosts that
// stay closed are named; with an endpoint, so are old bastions that do not come back, and
// the endpoint leads to the hosts behind them. The rollback that is run once launches work opens them all.
func TestOutages(t *testing.T) {
	notUnderRace(t)
	setCredentials(t)
	n := *seeds
	if n == 0 {
		n = 6
	}
	var total outageCounts
	for i := range n {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &outageStory{simulation: newSimulation(t, seed)}
				o.tell()
				total.add(o.outageCounts)
				if *traceSeed || t.Failed() {
					t.Log("\n" + strings.Join(o.lines, "\n"))
				}
			})
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", total)
	tell(t, "outages %d, hosts closed %d, by bastions %d, by endpoints %d, named %d, led around %d", n, total.closed, total.bastions, total.endpoints, total.named, total.around)
	if n >= 24 && (total.closed == 0 || total.bastions == 0 || total.endpoints == 0 || total.named == 0) {
		t.Errorf("the outages do not try what they should: %+v", total)
	}
}

// outageCounts are the figures of outages.
type outageCounts struct {
	closed    int // hosts that SSH did not reach when the rollback began
	bastions  int // scripts that a recovery bastion carried
	endpoints int // scripts that an endpoint carried
	named     int // hosts that a rollback named as not reached
	around    int // hosts behind old bastions that did not come back, which an endpoint led to
}

func (c *outageCounts) add(o outageCounts) {
	c.closed += o.closed
	c.bastions += o.bastions
	c.endpoints += o.endpoints
	c.named += o.named
	c.around += o.around
}

// outageStory is a migration that an outage meets.
type outageStory struct {
	*simulation
	outageCounts
	noLaunch, endpoint bool
}

func (o *outageStory) tell() {
	defer o.close()
	o.eventRate, o.faultRate = 0, []float64{0, 0.02}[o.random.IntN(2)]
	o.noLaunch, o.endpoint = o.random.IntN(2) == 0, o.random.IntN(2) == 0
	o.log("story: outage, no launches %v, endpoints %v", o.noLaunch, o.endpoint)
	// A migration of these fleets takes one to a few hours.
	o.later(5*time.Minute, 4*time.Hour, "Systems Manager is down for good", func() { o.change(o.goDown) })
	outcome, err := o.newProcess(1, o.random.IntN(2) == 0).live(false)
	o.log("the apply ends: %s %s, %v", outcome.Outcome, outcome.Reason, err)
	o.wayBack()
}

// wayBack rolls back what was done until Systems Manager went down.
func (o *outageStory) wayBack() {
	for !o.isDown() && !o.failed {
		o.rest() // it was faster: the fleet is closed, and the outage comes
	}
	o.rest()
	for _, h := range o.hosts {
		if h.ssh && o.sshReason(h.in) != "" {
			o.closed++
		}
	}
	if o.random.IntN(3) == 0 {
		outcome, err := o.newProcess(2, false).live(true)
		o.log("a first rollback ends: %s %s, %v", outcome.Outcome, outcome.Reason, err)
		o.rest()
	}
	last := o.rollback(3)
	if o.noLaunch && !o.failed {
		o.named += len(last.Unreached)
		if o.endpoint {
			o.ledAround(last)
		} else {
			o.namesThemAll(last)
		}
		o.change(func() { o.region().NoCapacity = false })
		o.log("event: instances can be launched again")
		o.rest()
		o.rollback(4)
	}
	o.allOpen()
	o.countWays()
}

// rollback rolls everything back, by an operator whom nothing hinders but the outage.
func (o *outageStory) rollback(life int) cutover.Result {
	if o.failed {
		return cutover.Result{}
	}
	outcome, err := o.newProcess(life, true).live(true)
	o.log("rollback %d ends: %s %s, %v", life, outcome.Outcome, outcome.Reason, err)
	o.verifyJournal()
	if err != nil {
		o.fail("rollback", "%v", err)
	}
	if len(outcome.Bastions) > 0 {
		o.fail("left running", "%v", outcome.Bastions)
	}
	o.world.Mu.RLock()
	defer o.world.Mu.RUnlock()
	for _, g := range o.region().Scaling {
		if strings.HasPrefix(g.Name, plan.RecoveryName("")) && g.Desired > 0 {
			o.fail("left running", "recovery group %s has desired capacity %d", g.Name, g.Desired)
		}
	}
	return outcome
}

func (o *outageStory) region() *simfleet.Region { return o.hosts[0].in.Region }

func (o *outageStory) isDown() bool {
	o.world.Mu.RLock()
	defer o.world.Mu.RUnlock()
	return len(o.region().Outages) > 0
}

// goDown ends Systems Manager, and what else the story takes away. Somebody has
// prepared endpoints: with the bastion's security group, which hosts let in.
func (o *outageStory) goDown() {
	rg := o.region()
	o.downForGood = true
	rg.Outages = map[string]bool{"ssm": true, "ssmmessages": true, "ec2messages": true}
	rg.NoCapacity = o.noLaunch
	for _, g := range rg.Groups {
		if !o.endpoint || !strings.HasPrefix(g.Name, plan.RecoveryName("")) {
			continue
		}
		i := slices.IndexFunc(rg.Subnets, func(s *fleet.Subnet) bool { return s.VPC == g.VPC })
		if _, err := o.world.AddConnectEndpoint(rg, rg.Subnets[i].ID, g.ID); err != nil {
			o.t.Error(err)
		}
	}
}

// endpointReason is what keeps the recovery key out that comes by the VPC's EC2
// Instance Connect Endpoint. The caller holds the world's lock for reading.
func (s *simulation) endpointReason(in *simfleet.Instance) string {
	e := s.world.ConnectEndpointOf(in)
	if e == nil {
		return "no EC2 Instance Connect Endpoint"
	}
	return s.anyKey(func(key string) string {
		return s.world.LoginReason(simfleet.Origin{Addr: simfleet.OperatorAddr, ConnectEndpoint: e}, in, s.recoveryUser(in), key)
	})
}

func (o *outageStory) sshReason(in *simfleet.Instance) string {
	o.world.Mu.RLock()
	defer o.world.Mu.RUnlock()
	return o.world.OperatorLoginReason(in)
}

// namesThemAll demands that each host that is still closed is named.
func (o *outageStory) namesThemAll(r cutover.Result) {
	for _, h := range o.hosts {
		why := o.sshReason(h.in)
		if !h.ssh || why == "" || h.in.Host.State != "running" {
			continue
		}
		if !slices.ContainsFunc(r.Unreached, func(u cutover.Unreached) bool {
			return u.Host == h.in.Host.Ref() && u.Why != "" && strings.Contains(u.ByHand, "/var/lib/migrate/")
		}) {
			o.fail("not named", "%s is closed (%s), and the rollback does not name it: %+v", h.in.Host.ID, why, r)
		}
	}
}

// ledAround demands of each host that is not open as before that it waits for an
// old bastion, that the rollback names this one, and that the recovery key gets in by the endpoint.
func (o *outageStory) ledAround(r cutover.Result) {
	var waits int
	for _, s := range o.plan.Of(plan.ScaleIn) {
		if slices.Contains(r.Left, s.ID) {
			waits++
		}
	}
	for _, h := range o.hosts {
		why := o.sshReason(h.in)
		if !h.ssh || why == "" || h.in.Host.State != "running" {
			continue
		}
		o.around++
		if waits == 0 {
			o.fail("not named", "%s is closed (%s), and the rollback names no bastion that does not come back: %+v", h.in.Host.ID, why, r)
		}
		o.world.Mu.RLock()
		endpoint := o.endpointReason(h.in)
		o.world.Mu.RUnlock()
		if endpoint != "" {
			o.fail("lock-out", "%s is not reachable after the rollback: %s; by the endpoint: %s", h.in.Host.ID, why, endpoint)
		}
	}
}

// allOpen demands that SSH is as it was on every host.
func (o *outageStory) allOpen() {
	for _, h := range o.hosts {
		if why := o.sshReason(h.in); !o.failed && h.ssh && why != "" && h.in.Host.State == "running" {
			o.world.Mu.RLock()
			endpoint := o.endpointReason(h.in)
			o.world.Mu.RUnlock()
			o.fail("lock-out", "%s is not reachable after the rollback: %s; by the endpoint: %s", h.in.Host.ID, why, endpoint)
		}
	}
}

// countWays counts by the trace which ways carried scripts.
func (o *outageStory) countWays() {
	for _, l := range o.lines {
		if strings.Contains(l, "carried by "+string(fleet.WayRecovery)) {
			o.bastions++
		}
		if strings.Contains(l, "carried by "+string(fleet.WayConnectEndpoint)) {
			o.endpoints++
		}
	}
	entries, err := o.db.Entries(context.Background(), o.plan.ID)
	o.must(err)
	standing, err := cutover.Status(o.plan, entries)
	o.must(err)
	if len(standing.Bastions) > 0 {
		o.fail("left running", "by the journal: %v", standing.Bastions)
	}
}
