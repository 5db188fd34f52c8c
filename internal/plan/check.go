package plan

import (
	"fmt"
	"maps"
	"slices"

	"ssm-migrate/internal/fleet"
)

// Check says how a plan breaks the rules that every plan keeps, or nil. Make
// gives no plan that it refuses:
//
//   - step IDs are unique; a step has what its kind names, and nothing else;
//   - a host is in one wave at most;
//   - only what prepares is left to others: what closes a door, and its timers
//     and proofs, are not;
//   - keys are quarantined between an armed timer and a proof with which it is
//     disarmed, in one lane, on a host that has the recovery key, a proved
//     session and a drilled recovery way, all of them in phases before;
//   - port 22 of a group closes in the same way, when the keys of all members
//     are quarantined, and stays open from the recovery group;
//   - bastions are scaled in in the last wave;
//   - old recovery keys are retired from hosts that have the new one and were
//     logged in to with it, in phases before;
//   - plans of other purposes than a cutover close nothing.
func (p *Plan) Check() error {
	if err := p.checkShape(); err != nil {
		return err
	}
	c := checker{with: map[fleet.HostRef]string{}, keyed: hostSet{}, proved: hostSet{}, drilled: hostSet{}, quarantined: hostSet{}}
	for i := range p.Waves {
		w := &p.Waves[i]
		c.drilledNow = hostSet{}
		for _, phase := range Phases() {
			for _, lane := range w.Phase(phase) {
				for k := range lane {
					if err := c.step(p, w, lane, k); err != nil {
						return fmt.Errorf("plan %s, step %s: %w", clip(p.ID), clip(lane[k].ID), err)
					}
				}
			}
			c.phaseEnds()
		}
	}
	return nil
}

type hostSet map[fleet.HostRef]bool

func (s hostSet) add(hosts []fleet.HostRef) {
	for _, h := range hosts {
		s[h] = true
	}
}

// missing gives one of the hosts that are not in the set; ok is false when all are.
func (s hostSet) missing(hosts []fleet.HostRef) (fleet.HostRef, bool) {
	i := slices.IndexFunc(hosts, func(h fleet.HostRef) bool { return !s[h] })
	if i < 0 {
		return fleet.HostRef{}, false
	}
	return hosts[i], true
}

// checker walks through a plan in the order in which it runs. Lanes of a phase
// run side by side: what one does counts for others when the phase has ended.
type checker struct {
	keyed, proved, drilled, quarantined hostSet
	drilledNow                          hostSet // in this wave
	pending                             []func()
	timerRoles                          []string                 // accounts
	reachable                           []string                 // groups that let the recovery bastion in
	with                                map[fleet.HostRef]string // key of the last drill that named one
}

func (c *checker) phaseEnds() {
	for _, f := range c.pending {
		f()
	}
	c.pending = nil
}

func (c *checker) later(set hostSet, hosts []fleet.HostRef) {
	c.pending = append(c.pending, func() { set.add(hosts) })
}

func (c *checker) step(p *Plan, w *Wave, lane []Step, k int) error {
	s := lane[k]
	if p.Purpose != Cutover && s.Kind.Closes() {
		return fmt.Errorf("a plan of purpose %s closes doors", clip(string(p.Purpose)))
	}
	switch s.Kind {
	case RetireKey:
		return c.retires(s)
	case TimerRole:
		c.timerRoles = append(c.timerRoles, s.At.Account)
	case RecoveryRule:
		c.reachable = append(c.reachable, s.Rules.Group)
	case RecoveryKey:
		c.later(c.keyed, s.Hosts)
	case ProveSession:
		c.later(c.proved, s.Hosts)
	case RecoveryDrill:
		// The hosts of a mere drill have their key already.
		if h, lacks := c.keyed.missing(s.Hosts); lacks && p.Purpose != Drill {
			return fmt.Errorf("%s has no recovery key yet", h)
		}
		c.later(c.drilled, s.Hosts)
		c.later(c.drilledNow, s.Hosts)
		c.pending = append(c.pending, func() {
			for _, h := range s.Hosts {
				c.with[h] = s.Recovery.With
			}
		})
	case QuarantineKeys:
		if err := c.guarded(s, lane, k, ArmHostTimer, DisarmHostTimer); err != nil {
			return err
		}
		c.later(c.quarantined, s.Hosts)
	case ClosePort:
		if err := c.guarded(s, lane, k, ArmRuleTimer, DisarmRuleTimer); err != nil {
			return err
		}
		if h, lacks := c.quarantined.missing(s.Hosts); lacks {
			return fmt.Errorf("the keys of %s are not quarantined yet", h)
		}
		if s.Rules.Keep == "" || s.Rules.Port == 0 || !slices.Contains(c.timerRoles, s.At.Account) || !slices.Contains(c.reachable, s.Rules.Group) {
			return fmt.Errorf("no recovery group that it lets in and keeps, no port, or no role for its timer")
		}
	case ScaleIn:
		if w.Number != len(p.Waves)-1 || len(w.Hosts) > 0 {
			return fmt.Errorf("bastions are scaled in before the last wave has ended")
		}
	}
	return nil
}

// retires checks that a host lets the new key in before its old ones go, and
// that they do not go with them.
func (c *checker) retires(s Step) error {
	blob := lineBlob(s.Key.Line)
	switch {
	case blob == "" || len(s.Key.Old) == 0 || slices.Contains(s.Key.Old, blob):
		return fmt.Errorf("it names no old keys, no new one, or one key as both")
	case !c.keyed[s.Hosts[0]]:
		return fmt.Errorf("%s has no new recovery key yet", s.Hosts[0])
	case c.with[s.Hosts[0]] != blob:
		return fmt.Errorf("no login to %s with the new recovery key precedes it", s.Hosts[0])
	}
	return nil
}

// guarded checks that a closing step stands between its timer and the proof
// that disarms it, on hosts with two proved ways in.
func (c *checker) guarded(s Step, lane []Step, k int, arm, disarm Kind) error {
	if len(s.Hosts) == 0 {
		return fmt.Errorf("it closes the doors of no host")
	}
	if k == 0 || lane[k-1].Kind != arm || lane[k-1].Timer.After < Duration(1) {
		return fmt.Errorf("no timer is armed right before")
	}
	if k+2 >= len(lane) || lane[k+1].Kind != ProveSession || lane[k+2].Kind != disarm {
		return fmt.Errorf("no proof and disarmed timer follow")
	}
	again := hostSet{}
	again.add(lane[k+1].Hosts)
	for _, x := range []struct {
		set  hostSet
		what string
	}{{c.keyed, "has no recovery key"}, {c.proved, "has no proved session"}, {c.drilled, "has no drilled recovery way"}, {c.drilledNow, "was not drilled in this wave"}, {again, "is not proved afterwards"}} {
		if h, lacks := x.set.missing(s.Hosts); lacks {
			return fmt.Errorf("%s %s", h, x.what)
		}
	}
	return nil
}

func (p *Plan) checkShape() error {
	if !slices.Contains([]Purpose{Cutover, Rotation, Drill, BreakGlass}, p.Purpose) {
		return fmt.Errorf("plan %s: there is no purpose %q", clip(p.ID), clip(string(p.Purpose)))
	}
	ids, hosts := map[string]bool{}, hostSet{}
	for i := range p.Waves {
		w := &p.Waves[i]
		if w.Number != i {
			return fmt.Errorf("plan %s: wave %d stands in the place of wave %d", clip(p.ID), w.Number, i)
		}
		for _, h := range w.Hosts {
			if hosts[h] {
				return fmt.Errorf("plan %s: %s is in two waves", clip(p.ID), h)
			}
			hosts[h] = true
		}
		phase := 0
		for k := range w.Steps {
			s := &w.Steps[k]
			at := slices.Index(Phases(), s.Phase)
			if s.ID == "" || ids[s.ID] || s.Lane == "" || at < phase {
				return fmt.Errorf("plan %s, step %s: its ID is not unique, it has no lane, or its phase is out of order", clip(p.ID), clip(s.ID))
			}
			ids[s.ID], phase = true, at
			if err := s.checkParts(); err != nil {
				return fmt.Errorf("plan %s, step %s: %w", clip(p.ID), clip(s.ID), err)
			}
		}
	}
	return nil
}

// parts are the fields of a step that its kind names.
var parts = map[Kind][]string{
	AttachProfile: {"profile"}, ExtendRole: {"role"}, DefaultHostManagement: {"setting"}, AllowEgress: {"rules"},
	CreateEndpoint: {"endpoint"}, Agent: {"agent"}, SessionPreferences: {"preferences"}, WaitFor: {"wait"},
	RecoveryTemplate: {"recovery"}, RetireKey: {"key"}, RecoveryOpen: {"recovery"},
	TimerRole: {"role"}, RecoveryGroup: {"recovery"}, RecoveryRule: {"rules"}, RecoveryKey: {"key"}, RecoveryDrill: {"recovery"},
	ProveSession: {}, ArmHostTimer: {"timer"}, QuarantineKeys: {"keys"}, DisarmHostTimer: {"timer"},
	ArmRuleTimer: {"rules", "timer"}, ClosePort: {"rules"}, DisarmRuleTimer: {"rules", "timer"}, ScaleIn: {"scaling"},
}

// Kinds lists all kinds of steps, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(parts)) }

func (s *Step) checkParts() error {
	want, known := parts[s.Kind]
	if !known {
		return fmt.Errorf("there is no kind of step %q", clip(string(s.Kind)))
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"profile", s.Profile != nil}, {"role", s.Role != nil}, {"setting", s.Setting != nil}, {"rules", s.Rules != nil}, {"endpoint", s.Endpoint != nil},
		{"agent", s.Agent != nil}, {"preferences", s.Preferences != nil}, {"wait", s.Wait != nil}, {"recovery", s.Recovery != nil}, {"key", s.Key != nil},
		{"keys", s.Keys != nil}, {"timer", s.Timer != nil}, {"scaling", s.Scaling != nil},
	} {
		if f.set != slices.Contains(want, f.name) {
			return fmt.Errorf("a %s step has, or lacks, %s", s.Kind, f.name)
		}
	}
	if s.Handed && (fixDefaults[s.Kind] == "" || s.Kind == WaitFor) {
		return fmt.Errorf("steps of kind %s are not left to others", s.Kind)
	}
	if slices.Contains(onOneHost, s.Kind) && len(s.Hosts) != 1 {
		return fmt.Errorf("a %s step is about one host, not %d", s.Kind, len(s.Hosts))
	}
	return nil
}

// onOneHost are the kinds whose steps are about one host each.
var onOneHost = []Kind{AttachProfile, Agent, WaitFor, RecoveryKey, RetireKey, ArmHostTimer, QuarantineKeys, DisarmHostTimer}
