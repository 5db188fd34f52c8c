package cutover

import (
	"maps"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// expected is a condition that the journal says holds.
type expected struct {
	step  plan.Step
	since time.Time
	// also are further steps whose entries bear on it: while a run is at them,
	// the condition is not judged.
	also []string
}

// item begins to say that the condition does not hold, or is not known to.
func (e expected) item(code DriftCode, what string, holds fleet.Truth, now string) DriftItem {
	return DriftItem{
		Code: code, Holds: holds, What: what, At: e.step.At, Hosts: e.step.Hosts,
		Steps: append([]string{e.step.ID}, e.also...), Since: e.since, Was: e.step.Title, Now: fleet.OneLine(now, 1000),
		Owner: e.step.Owner,
	}
}

// hostExpectation is what should hold of one host.
type hostExpectation struct {
	host    fleet.Host
	session *expected // the newest step that needed a session
	keys    *expected
	key     *expected
	timer   *expected // its disarming
	agent   *expected
	port    *expected // the newest closing of one of its groups
	rules   []expected
	any     expected // the newest of them
}

// looks reports whether the host itself has to be asked.
func (h *hostExpectation) looks() bool {
	return h.keys != nil || h.key != nil || h.timer != nil || h.agent != nil
}

// groupAt is a security group where it is.
type groupAt struct {
	at fleet.Place
	id string
}

// expectations are all conditions of a plan that should hold.
type expectations struct {
	plan   *plan.Plan
	known  map[fleet.HostRef]fleet.Host // of the plan's snapshot
	steps  int
	shared []expected // that are not about one host alone
	hosts  map[fleet.HostRef]*hostExpectation
	// spoken are the groups of which the plan says that port 22 closes, or stays open.
	spoken map[groupAt]bool
	closed bool // a door of somebody is
}

// expect reads from the journal what should hold.
func expect(p *plan.Plan, known map[fleet.HostRef]fleet.Host, records map[string]record) expectations {
	x := expectations{plan: p, known: known, hosts: map[fleet.HostRef]*hostExpectation{}, spoken: map[groupAt]bool{}}
	for _, r := range p.Refusals {
		if r.Group != "" && r.Phase == plan.Close {
			x.spoken[groupAt{r.At, r.Group}] = true
		}
	}
	for _, w := range p.Waves {
		armed := map[[2]string]plan.Step{} // by phase and lane: the step that arms
		for _, s := range w.Steps {
			if s.Kind == plan.ClosePort {
				x.spoken[groupAt{s.At, s.Rules.Group}] = true
			}
			lane := [2]string{string(s.Phase), s.Lane}
			if arms(s.Kind) {
				armed[lane] = s
			}
			rec := records[s.ID]
			if !rec.state.Done() || arms(s.Kind) {
				continue
			}
			e := expected{step: s, since: rec.since}
			if arm, ok := armed[lane]; ok && disarms(s.Kind) {
				if records[arm.ID].seq > rec.seq {
					continue // the lane has begun anew
				}
				e.also = []string{arm.ID}
			}
			x.take(e)
		}
	}
	return x
}

func (x *expectations) take(e expected) {
	x.steps++
	x.closed = x.closed || e.step.Kind.Closes()
	mine := func(r fleet.HostRef) *hostExpectation {
		h := x.hosts[r]
		if h == nil {
			h = &hostExpectation{host: x.known[r]}
			h.host.ID, h.host.Account, h.host.Region = r.ID, r.Account, r.Region
			x.hosts[r] = h
		}
		if h.any.step.ID == "" || h.any.since.Before(e.since) {
			h.any = e
		}
		return h
	}
	if len(e.step.Hosts) == 1 {
		h := mine(e.step.Hosts[0])
		switch e.step.Kind {
		case plan.QuarantineKeys:
			h.keys = &e
		case plan.RecoveryKey:
			h.key = &e
		case plan.DisarmHostTimer:
			h.timer = &e
		case plan.Agent:
			// A restart asks for less than what was done before it.
			if h.agent == nil || e.step.Agent.Action != plan.RestartAgent {
				h.agent = &e
			}
		}
	}
	switch e.step.Kind {
	case plan.ProveSession, plan.WaitFor:
		for _, r := range e.step.Hosts {
			h := mine(r)
			if h.session == nil || h.session.since.Before(e.since) {
				h.session = &e
			}
		}
	case plan.ClosePort:
		for _, r := range e.step.Hosts {
			h := mine(r)
			if h.port == nil || h.port.since.Before(e.since) {
				h.port = &e
			}
		}
		x.shared = append(x.shared, e)
	case plan.RecoveryRule:
		for _, r := range e.step.Hosts {
			h := mine(r)
			h.rules = append(h.rules, e)
		}
		x.shared = append(x.shared, e)
	case plan.QuarantineKeys, plan.RecoveryKey, plan.DisarmHostTimer, plan.Agent, plan.RecoveryDrill,
		plan.RetireKey, plan.RecoveryOpen: // bastions that were opened are not meant to stay
	default:
		x.shared = append(x.shared, e)
	}
}

// order lists the hosts in order.
func (x *expectations) order() []fleet.HostRef {
	return slices.SortedFunc(maps.Keys(x.hosts), fleet.HostRef.Compare)
}

// places are those of all hosts.
func (x *expectations) places() []fleet.Place {
	var out []fleet.Place
	for _, r := range x.order() {
		if !slices.Contains(out, r.Place()) {
			out = append(out, r.Place())
		}
	}
	return out
}

// neighbours tells whether an instance that the plan does not know belongs to
// what it has closed: the VPC or Auto Scaling group of a host of the plan.
func (x *expectations) neighbours() func(fleet.Host) bool {
	type where struct {
		at         fleet.Place
		kind, name string
	}
	ours := map[where]bool{}
	for _, h := range x.hosts {
		if h.keys == nil && h.port == nil {
			continue
		}
		at := h.host.Ref().Place()
		ours[where{at, "vpc", h.host.VPC}] = true
		ours[where{at, "group", h.host.AutoScalingGroup}] = true
	}
	return func(h fleet.Host) bool {
		if _, known := x.known[h.Ref()]; known || h.Windows() || strings.HasPrefix(h.AutoScalingGroup, plan.RecoveryName("")) {
			return false
		}
		at := h.Ref().Place()
		return h.VPC != "" && ours[where{at, "vpc", h.VPC}] || h.AutoScalingGroup != "" && ours[where{at, "group", h.AutoScalingGroup}]
	}
}

// carried lists a host's security groups over all its interfaces, once each.
func carried(h fleet.Host) []string {
	all := slices.Clone(h.Groups)
	for _, n := range h.Interfaces {
		all = append(all, n.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
