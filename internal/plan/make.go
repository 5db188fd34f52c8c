package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// Make plans the cutover of a finished snapshot. The assessment must be of
// that snapshot, and the policy valid. The same arguments give the same plan.
//
// Every host of the snapshot is either in exactly one wave or has a Refusal of
// phase Prepare. A host in a wave whose doors stay open has a Refusal of phase
// Quarantine, one that others' needs keep reachable on port 22 a Refusal of
// phase Close. A host that the policy pins is in the wave that its pin names, or
// takes no part; pins that leave an earlier wave without hosts are an ErrPins.
func Make(s *fleet.Snapshot, a *fleet.Assessment, p Policy, now time.Time) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if s.State == fleet.SnapshotRunning {
		return nil, fmt.Errorf("snapshot %d was never finished: take the inventory again", s.ID)
	}
	if err := matching(s, a); err != nil {
		return nil, err
	}
	if p.Recovery.Image != "" && len(places(s)) > 1 {
		return nil, errors.New("policy: recovery: image: the snapshot has hosts of several accounts or Regions, and an AMI belongs to one: leave image out, or copy the AMI and plan each by itself")
	}
	m := newMaker(s, a, p)
	m.findBastions()
	m.choose()
	m.fixes()
	m.boots()
	m.mayClose()
	m.recoveries()
	if err := m.divide(); err != nil {
		return nil, fmt.Errorf("policy: pins: %w", err)
	}
	m.closings()
	m.finish()
	m.templates()
	m.assemble()
	return m.sealed(now)
}

func matching(s *fleet.Snapshot, a *fleet.Assessment) error {
	if a.Snapshot != s.ID || len(a.Hosts) != len(s.Hosts) {
		return fmt.Errorf("the judgement is of snapshot %d with %d hosts, not of snapshot %d with %d", a.Snapshot, len(a.Hosts), s.ID, len(s.Hosts))
	}
	for i := range a.Hosts {
		if a.Hosts[i].Host != s.Hosts[i].ID {
			return fmt.Errorf("the judgement's hosts are not in the snapshot's order: %s stands in the place of %s", a.Hosts[i].Host, s.Hosts[i].ID)
		}
	}
	return nil
}

func places(s *fleet.Snapshot) map[fleet.Place]bool {
	out := map[fleet.Place]bool{}
	for i := range s.Hosts {
		out[s.Hosts[i].Ref().Place()] = true
	}
	return out
}

// maker holds a plan in the making.
type maker struct {
	snapshot *fleet.Snapshot
	judged   *fleet.Assessment
	policy   Policy
	world    *world
	grants   *readiness.Grants
	ways     *readiness.Ways            // made when the first host asks
	around   map[string]neighbourhood   // by place, VPC and services
	routed   map[string]*readiness.Ways // by route table: with a gateway endpoint for S3 in it
	plan     *Plan

	hosts   []*member            // in the snapshot's order
	byID    map[string]*member   // by instance ID
	carries map[string][]*member // security group → every host that is not gone and carries it on any interface

	shared   map[string]*sharedFix // by key
	recovery map[vpcKey]*recoveryPlan
	waves    [][]*member // waves of hosts, in order
	warnings [][]string  // of each of them
	groups   []*closing
	scaleIns []Step
	reasons  map[fleet.HostRef]string // memo of whyOpen
}

// member is a host on its way through the plan.
type member struct {
	*fleet.Host
	verdict fleet.HostVerdict
	roots   []fleet.Finding // what keeps it from ready and follows from nothing else
	minor   []fleet.Finding // its other findings

	joins   bool // takes part
	closes  bool // its doors are closed: keys quarantined, and its groups as far as others let them
	bastion bool
	source  bool   // others are logged in to from it: a CI host, or a bastion that the inventory did not need
	user    string // account that gets the recovery key
	rank    int    // by Policy.Order
	wave    int    // position in maker.waves; -1: none
	prepare []Step
	waived  []fleet.Consumer // may keep SSH
	note    string           // what its launch template would undo
}

// label names the host in texts: "web-1 (i-0abc)".
func (h *member) label() string {
	if n := h.Name(); n != h.ID {
		return clip(n) + " (" + h.ID + ")"
	}
	return h.ID
}

func newMaker(s *fleet.Snapshot, a *fleet.Assessment, p Policy) *maker {
	m := &maker{
		snapshot: s, judged: a, policy: p, world: newWorld(s), grants: readiness.NewGrants(s),
		plan: &Plan{Snapshot: s.ID, Policy: p, Waves: []Wave{}, Refusals: []Refusal{}},
		byID: map[string]*member{}, carries: map[string][]*member{},
		around: map[string]neighbourhood{}, routed: map[string]*readiness.Ways{},
		shared: map[string]*sharedFix{}, recovery: map[vpcKey]*recoveryPlan{},
	}
	for i := range s.Hosts {
		h := &member{Host: &s.Hosts[i], verdict: a.Hosts[i], wave: -1}
		m.hosts = append(m.hosts, h)
		m.byID[h.ID] = h
		if gone(h.Host) {
			continue
		}
		for _, g := range groupsOf(h.Host) {
			m.carries[g] = append(m.carries[g], h)
		}
	}
	for _, f := range a.Findings {
		h := m.byID[f.Host]
		switch {
		case h == nil:
		case slices.Contains(h.verdict.Causes, f.Ref()):
			h.roots = append(h.roots, f)
		default:
			h.minor = append(h.minor, f)
		}
	}
	return m
}

func (m *maker) refuse(h *member, phase Phase, code, text, do string) {
	m.plan.Refusals = append(m.plan.Refusals, Refusal{Host: h.Ref(), At: h.Ref().Place(), Phase: phase, Code: code, Text: text, Do: do})
	if phase == Prepare {
		h.joins = false
	}
	if phase == Prepare || phase == Quarantine {
		h.closes = false
	}
}

// joined lists the hosts that take part, in the snapshot's order.
func (m *maker) joined() []*member {
	return slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return !h.joins })
}

// closers lists the hosts whose doors are to close, in the snapshot's order.
func (m *maker) closers() []*member {
	return slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return !h.closes })
}

// choose decides who takes part, by what the host is.
func (m *maker) choose() {
	for _, h := range m.hosts {
		h.rank = slices.IndexFunc(m.policy.Order, func(s Selector) bool { return s.matches(h.Host) })
		if h.rank < 0 {
			h.rank = len(m.policy.Order)
		}
		h.user = cmp.Or(m.recoveryUser(h.Host), loginUser(h.Host))
		code, text, do := m.outside(h)
		if code != "" {
			m.refuse(h, Prepare, code, text, do)
			continue
		}
		h.joins, h.closes = true, true
	}
}

// outside says why a host takes no part, whatever its readiness.
func (m *maker) outside(h *member) (code, text, do string) {
	for _, x := range m.policy.Exclude {
		if x.matches(h.Host) {
			return "excluded", "the policy excludes it: " + clip(x.Reason), ""
		}
	}
	switch {
	case !h.Running():
		return "not-running", "the instance is " + clip(cmp.Or(h.State, "in no known state")), "start it and take the inventory again, or terminate it"
	case h.Windows():
		return "windows", "it runs Windows", "move it by hand: this plan is about SSH"
	case h.bastion:
		return "bastion", "it is a bastion: others are reached through it", "the plan scales its Auto Scaling group in at the end, where nobody needs it any more"
	case h.user == "":
		why := "no login user is known"
		if !h.Probe.Known {
			why = "nobody logged in to it: " + clip(cmp.Or(h.Probe.Reason, "it was not probed"))
		}
		return "not-scanned", why, "give the inventory a login on the host and take it again"
	}
	return "", "", ""
}

// imageUsers are the default accounts of the distributions' own images, by
// os-release ID. Source: Amazon EC2 User Guide, managing-users (default usernames).
var imageUsers = map[string]string{
	"amzn": "ec2-user", "rhel": "ec2-user", "sles": "ec2-user", "fedora": "fedora", "centos": "centos", "ol": "ec2-user",
	"ubuntu": "ubuntu", "debian": "admin", "rocky": "rocky", "almalinux": "ec2-user",
}

// recoveryUser is the account of a host that has the recovery key already: of
// several the one that the inventory logged in as, else the first by name. Empty: none.
func (m *maker) recoveryUser(h *fleet.Host) string {
	blob, err := keyBlob(m.policy.Recovery.PublicKey)
	if err != nil || !h.Probe.Known {
		return ""
	}
	user := ""
	for _, k := range h.Probe.Value.Keys.Value {
		switch {
		case k.Blob != blob || k.Problem != "" || k.User == "":
		case k.User == h.Probe.Value.LoginUser:
			return k.User
		case user == "" || k.User < user:
			user = k.User
		}
	}
	return user
}

// loginUser is the account that the inventory logged in as, else the image's
// default one; empty where the host was not probed.
func loginUser(h *fleet.Host) string {
	if !h.Probe.Known {
		return ""
	}
	return cmp.Or(h.Probe.Value.LoginUser, imageUsers[h.Probe.Value.OS.ID])
}
