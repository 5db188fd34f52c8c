package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
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
// phase Close.
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
	m.mayClose()
	m.recoveries()
	m.divide()
	m.closings()
	m.finish()
	m.templates()
	m.assemble()
	m.plan.Made = now.UTC().Truncate(time.Second)
	if err := m.plan.seal(); err != nil {
		return nil, err
	}
	if err := m.plan.Check(); err != nil {
		return nil, err
	}
	return m.plan, nil
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
	plan     *Plan

	hosts   []*member            // in the snapshot's order
	byID    map[string]*member   // by instance ID
	carries map[string][]*member // security group → every host that is not gone and carries it on any interface
	served  map[string]bool      // VPCs in which a bastion is used

	shared   map[string]*sharedFix // by key
	recovery map[vpcKey]*recoveryPlan
	waves    [][]*member // waves of hosts, in order
	first    int         // number of the first wave of hosts: 1 after a foundation, else 0
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
		byID: map[string]*member{}, carries: map[string][]*member{}, served: map[string]bool{},
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
		h.user = loginUser(h.Host)
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

// loginUser is the account that the inventory logged in as, else the image's
// default one; empty where the host was not probed.
func loginUser(h *fleet.Host) string {
	if !h.Probe.Known {
		return ""
	}
	return cmp.Or(h.Probe.Value.LoginUser, imageUsers[h.Probe.Value.OS.ID])
}

// mayClose refuses to close what somebody still needs, or what is not known
// well enough.
func (m *maker) mayClose() {
	needed := m.consumers()
	lost, doubt := m.losers()
	unread := map[string]bool{}
	for _, id := range m.judged.Ledger.Unread {
		unread[id] = true
	}
	for _, h := range m.closers() {
		if gap := unseen(h.Host); gap != "" {
			m.refuse(h, Quarantine, "partly-scanned", "closing it would be blind: "+gap, "let the inventory's login user run the probe with sudo -n and take it again")
			continue
		}
		if m.policy.RequireSilent {
			if who := needed[h.ID]; who != nil {
				m.refuse(h, Quarantine, "consumer-active", "SSH to it is still in use: "+some(who), "move them (migrate ledger), waive them in the owners file, or set require_silent: false")
				continue
			}
			if unread[h.ID] {
				m.refuse(h, Quarantine, "logins-unknown", "whether anybody still uses SSH is not known: its logins were not read", "let the inventory read its logs, or set require_silent: false")
				continue
			}
		}
		if m.policy.RequireAccess {
			if who := lost[h.ID]; who != nil {
				m.refuse(h, Quarantine, "access-lost", "no session for people who get in today: "+some(who), "let their IAM principals start sessions (migrate access), or set require_access: false")
				continue
			}
			if who := doubt[h.ID]; who != nil {
				m.refuse(h, Quarantine, "access-unknown", "whether people who get in today may start sessions is not known: "+some(who), "let the inventory read IAM (migrate access), or set require_access: false")
			}
		}
	}
}

// unseen says what of a host is not known without which nothing may be closed.
func unseen(h *fleet.Host) string {
	p := h.Probe.Value
	switch {
	case !p.SSHD.Known:
		return "sshd's settings were not read: " + clip(p.SSHD.Reason)
	case !p.Keys.Known:
		return "its authorized keys were not all read: " + clip(p.Keys.Reason)
	case !p.Users.Known:
		return "its users were not read: " + clip(p.Users.Reason)
	case len(p.Gaps) > 0:
		return "not read: " + clip(p.Gaps[0].What) + " (" + clip(p.Gaps[0].Reason) + ")"
	}
	return ""
}

// consumers names, for each host, who still uses SSH to it. The inventory's own
// logins do not count. Waived consumers are noted with their hosts.
func (m *maker) consumers() map[string][]string {
	active := map[string][]string{}
	for _, c := range m.judged.Ledger.Consumers {
		if c.OwnerBy == "probe" {
			continue
		}
		for _, id := range c.Hosts {
			h := m.byID[id]
			switch {
			case h == nil:
			case c.Status == fleet.ConsumerWaived:
				h.waived = append(h.waived, c)
			case c.Status == fleet.ConsumerActive:
				active[id] = addOnce(active[id], consumerName(c))
			}
		}
	}
	return active
}

func consumerName(c fleet.Consumer) string {
	name := cmp.Or(c.Owner, c.CertID, c.Comment, c.Fingerprint, c.Method, "somebody")
	if c.User != "" {
		name += " as " + c.User
	}
	if c.From.IsValid() {
		name += " from " + c.From.String()
	}
	return clip(name)
}

// losers names, for each host, the people of the owners file who get in over
// SSH today and may not start a session, or of whom that is not known.
func (m *maker) losers() (lost, doubt map[string][]string) {
	lost, doubt = map[string][]string{}, map[string][]string{}
	for _, p := range m.judged.Parity.People {
		if !p.Claimed {
			continue // keys and principals that nobody claims are the ledger's matter
		}
		for i := range min(len(p.Cells), len(m.hosts)) {
			id := m.hosts[i].ID
			switch p.Cells[i] {
			case fleet.ParityLoses:
				lost[id] = append(lost[id], clip(p.Person))
			case fleet.ParityUnknown:
				doubt[id] = append(doubt[id], clip(p.Person))
			}
		}
	}
	return lost, doubt
}

// templates notes the launch templates that would undo what the plan does.
func (m *maker) templates() {
	type undone struct {
		at    fleet.Place
		text  string
		hosts int
	}
	all := map[string]*undone{}
	for _, h := range m.hosts {
		if h.wave < 0 || h.AutoScalingGroup == "" {
			continue
		}
		key, text := m.undoes(h)
		if text == "" {
			continue
		}
		h.note = "an instance that replaces it loses this: " + text
		if all[key+text] == nil {
			all[key+text] = &undone{at: h.Ref().Place(), text: text}
		}
		all[key+text].hosts++
	}
	for _, k := range sortedKeys(all) {
		u := all[k]
		m.plan.Refusals = append(m.plan.Refusals, Refusal{
			At: u.at, Phase: Prepare, Code: "template-undoes",
			Text: fmt.Sprintf("%s; %s of this plan would come back so", u.text, plural(u.hosts, "host")),
			Do:   "make a new version of the template with the profile, the recovery key (user data or image) and no key pair, in the code that owns it, and let the group use it",
		})
	}
}

// undoes says what a new instance in the host's place would come without.
func (m *maker) undoes(h *member) (key, text string) {
	group := "Auto Scaling group " + clip(h.AutoScalingGroup)
	t, v := m.world.template(h.Host)
	if t == nil || v == nil {
		return h.AutoScalingGroup, "what " + group + " starts instances from was not read"
	}
	var lacks []string
	for _, s := range h.prepare {
		switch {
		case s.Kind == AttachProfile && v.Profile == "":
			lacks = addOnce(lacks, "names no instance profile")
		case s.Kind == AttachProfile && v.Profile != s.Profile.Name && !endsIn(v.Profile, s.Profile.Name):
			lacks = addOnce(lacks, "names instance profile "+clip(v.Profile))
		case s.Kind == Agent && s.Agent.Action != RestartAgent:
			lacks = addOnce(lacks, "starts image "+clip(v.ImageID)+" with the agent as it was")
		}
	}
	if h.closes {
		lacks = append(lacks, "knows no recovery key")
		if v.KeyName != "" {
			lacks = append(lacks, "puts key pair "+clip(v.KeyName)+" back")
		}
	}
	if lacks == nil {
		return "", ""
	}
	return t.ID, fmt.Sprintf("launch template %s (%s), version %d, of %s %s", t.ID, clip(t.Name), v.Number, group, strings.Join(lacks, ", "))
}
