package plan

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Way is the recovery way of one VPC as plans have made it.
type Way struct {
	At       fleet.Place    `json:"at"`
	Recovery RecoveryChange `json:"recovery"`
	Role     string         `json:"role,omitempty"` // that timers of the account assume; empty: none was made
	Hosts    []WayHost      `json:"hosts"`          // with the recovery key, by host
}

// WayHost is a host with the recovery key.
type WayHost struct {
	Host fleet.HostRef `json:"host"`
	User string        `json:"user"` // whose key it is
	Wave int           `json:"wave"` // of the cutover
}

// Ways are the recovery ways that stand, by place and VPC. Plans stand newest
// first; done tells by the journal whether a step of a plan stands. A VPC
// whose group no plan has made has no way, whatever its hosts have.
func Ways(plans []*Plan, done func(p *Plan, step string) bool) []Way {
	var out []Way
	find := func(at fleet.Place, vpc string) *Way {
		i := slices.IndexFunc(out, func(w Way) bool { return w.At == at && w.Recovery.VPC == vpc })
		if i < 0 {
			return nil
		}
		return &out[i]
	}
	roles := map[string]string{}
	for _, p := range plans {
		for _, s := range append(p.Of(RecoveryTemplate), p.Of(RecoveryGroup)...) {
			if find(s.At, s.Recovery.VPC) == nil && done(p, s.ID) {
				out = append(out, Way{At: s.At, Recovery: *s.Recovery})
			}
		}
		for _, s := range p.Of(TimerRole) {
			if roles[s.At.Account] == "" && done(p, s.ID) {
				roles[s.At.Account] = s.Role.Name
			}
		}
	}
	for _, p := range plans {
		vpcs := map[fleet.HostRef]string{} // the plan's steps for groups and rules name their hosts
		for _, k := range []Kind{RecoveryGroup, RecoveryTemplate, RecoveryDrill} {
			for _, s := range p.Of(k) {
				for _, h := range s.Hosts {
					vpcs[h] = s.Recovery.VPC
				}
			}
		}
		for i := range p.Waves {
			for _, s := range p.Waves[i].Steps {
				if s.Kind != RecoveryKey || !done(p, s.ID) {
					continue
				}
				h := s.Hosts[0]
				w := find(h.Place(), vpcs[h])
				if w == nil {
					continue
				}
				at := slices.IndexFunc(w.Hosts, func(x WayHost) bool { return x.Host == h })
				switch {
				case at < 0:
					w.Hosts = append(w.Hosts, WayHost{Host: h, User: s.Key.User, Wave: i})
				case p.Purpose == Cutover && w.Hosts[at].Wave == 0:
					w.Hosts[at].Wave = i
				}
			}
		}
	}
	for i := range out {
		out[i].Role = roles[out[i].At.Account]
		slices.SortFunc(out[i].Hosts, func(a, b WayHost) int { return a.Host.Compare(b.Host) })
	}
	slices.SortFunc(out, func(a, b Way) int {
		return cmp.Or(comparePlaces(a.At, b.At), strings.Compare(a.Recovery.VPC, b.Recovery.VPC))
	})
	return out
}

// change is the way's recovery change with another line, and without what a
// step before wanted of it.
func (w Way) change(line string) *RecoveryChange {
	c := w.Recovery
	c.PublicKey = line
	c.With, c.Refused, c.Bastions, c.Until, c.Role = "", nil, 0, 0, ""
	return &c
}

// refs of the hosts of a way that are up, in order.
func wayRefs(hosts []WayHost) []fleet.HostRef {
	out := make([]fleet.HostRef, len(hosts))
	for i, h := range hosts {
		out[i] = h.Host
	}
	return out
}

// Gone reports whether a snapshot shows that an instance is no more: it was seen
// terminating, or EC2 listed all instances of its Region without it. What a
// snapshot does not tell of (a Region that was not read to its end, or not
// asked about at all) is not gone.
func Gone(s *fleet.Snapshot, ref fleet.HostRef) bool {
	for i := range s.Hosts {
		if s.Hosts[i].Ref() == ref {
			return gone(&s.Hosts[i])
		}
	}
	return slices.ContainsFunc(s.Regions, func(r fleet.Region) bool {
		return r.Account == ref.Account && r.Name == ref.Region && r.Instances.Known
	})
}

// Unseen lists the hosts of ways that a snapshot tells nothing of, in order.
func Unseen(s *fleet.Snapshot, ways []Way) []fleet.HostRef {
	seen := map[fleet.HostRef]bool{}
	for i := range s.Hosts {
		seen[s.Hosts[i].Ref()] = true
	}
	var out []fleet.HostRef
	for _, w := range ways {
		for _, h := range w.Hosts {
			if !seen[h.Host] && !Gone(s, h.Host) {
				out = addOnce(out, h.Host)
			}
		}
	}
	slices.SortFunc(out, fleet.HostRef.Compare)
	return out
}

// ofWays begins a plan about ways. Hosts that are gone are left out; those that
// are not running, or that the snapshot tells nothing of, are refused.
func ofWays(s *fleet.Snapshot, ways []Way, p Policy, purpose Purpose) (*maker, []Way) {
	p.Hooks, p.Windows = Hooks{}, nil // they are about cutovers
	m := &maker{
		snapshot: s, policy: p, world: newWorld(s), byID: map[string]*member{},
		plan: &Plan{Snapshot: s.ID, Purpose: purpose, Policy: p, Waves: []Wave{}, Refusals: []Refusal{}},
	}
	at := map[fleet.HostRef]*member{}
	for i := range s.Hosts {
		at[s.Hosts[i].Ref()] = &member{Host: &s.Hosts[i], wave: -1}
	}
	unseen := map[fleet.HostRef]bool{}
	for _, h := range Unseen(s, ways) {
		unseen[h] = true
	}
	var out []Way
	for _, w := range ways {
		w.Hosts = slices.DeleteFunc(slices.Clone(w.Hosts), func(x WayHost) bool {
			h := at[x.Host]
			switch {
			case h == nil && !unseen[x.Host] || h != nil && gone(h.Host):
				return true
			case h == nil:
				m.plan.Refusals = append(m.plan.Refusals, Refusal{
					Host: x.Host, At: x.Host.Place(), Phase: Prepare, Code: "not-seen",
					Text: "the inventory did not read the instances of its Region to the end: the host may run, and its recovery key stays as it is",
					Do:   "take the inventory again, with its account and Region, until its sources are complete",
				})
				return true
			case !h.Running():
				m.refuse(h, Prepare, "not-running", "the instance is "+clip(cmp.Or(h.State, "in no known state"))+": its recovery key stays as it is", "start it and take the inventory again, or terminate it")
				return true
			}
			h.user = x.User
			return false
		})
		if len(w.Hosts) > 0 {
			out = append(out, w)
		}
	}
	for _, h := range at {
		m.hosts = append(m.hosts, h)
	}
	slices.SortFunc(m.hosts, func(a, b *member) int { return a.Ref().Compare(b.Ref()) })
	for _, h := range m.hosts {
		m.byID[h.ID] = h
	}
	slices.SortFunc(m.plan.Refusals, func(a, b Refusal) int { return a.Host.Compare(b.Host) })
	return m, out
}

// wayLane names the lane of a way among others; of a shared VPC each account has one.
func wayLane(w Way, ways []Way) string {
	for _, o := range ways {
		if o.At != w.At && o.Recovery.VPC == w.Recovery.VPC {
			return RecoveryName(w.Recovery.VPC) + "-" + w.At.Account
		}
	}
	return RecoveryName(w.Recovery.VPC)
}
