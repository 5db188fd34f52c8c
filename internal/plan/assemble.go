package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// assemble puts all steps into the plan's waves and names them.
func (m *maker) assemble() {
	m.keySteps()
	if steps := m.foundation(); len(steps) > 0 {
		m.add("foundation", nil, steps, 0)
	}
	for i, hosts := range m.waves {
		name := fmt.Sprintf("wave %d", len(m.plan.Waves))
		if i == 0 && m.policy.Canary > 0 {
			name = "canary"
		}
		m.add(name, hosts, m.waveSteps(i, hosts), m.policy.Soak)
		m.plan.Waves[len(m.plan.Waves)-1].Warnings = m.warnings[i]
	}
	if len(m.scaleIns) > 0 {
		m.add("finish", nil, m.scaleIns, 0)
	}
	slices.SortStableFunc(m.plan.Refusals, func(a, b Refusal) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Phases(), a.Phase), slices.Index(Phases(), b.Phase)),
			strings.Compare(a.Code, b.Code), comparePlaces(a.At, b.At), a.Host.Compare(b.Host), strings.Compare(a.Group, b.Group))
	})
}

// add appends a wave and gives its steps their IDs.
func (m *maker) add(name string, hosts []*member, steps []Step, soak Duration) {
	w := Wave{Number: len(m.plan.Waves), Name: name, Steps: []Step{}, Soak: soak}
	if hosts != nil {
		w.Hosts = refs(hosts)
		slices.SortFunc(w.Hosts, fleet.HostRef.Compare)
	}
	for _, phase := range Phases() {
		at := map[string]int{}
		for _, s := range steps {
			if s.Phase != phase {
				continue
			}
			at[s.Lane]++
			m.own(&s)
			s.ID = fmt.Sprintf("w%d/%s/%s/%d-%s", w.Number, phase, s.Lane, at[s.Lane], s.Kind)
			w.Steps = append(w.Steps, s)
		}
	}
	m.plan.Waves = append(m.plan.Waves, w)
}

func (m *maker) foundation() []Step {
	out := m.sharedSteps()
	byAccount := map[string][]*closing{}
	for _, c := range m.groups {
		byAccount[c.at.Account] = append(byAccount[c.at.Account], c)
	}
	for _, account := range sortedKeys(byAccount) {
		out = append(out, m.timerRoleStep(account, byAccount[account]))
	}
	return append(out, m.recoverySteps()...)
}

// keySteps end the preparation of each host that closes with its recovery key:
// the drill of the prove phase needs it.
func (m *maker) keySteps() {
	for _, h := range m.closers() {
		line := m.hostLine(h.Host, m.recovery[h.vpcKey()].change.Subnets)
		h.prepare = append(h.prepare, Step{
			Kind: RecoveryKey, Phase: Prepare, Lane: h.ID, At: h.Ref().Place(), Hosts: []fleet.HostRef{h.Ref()},
			Title: fmt.Sprintf("Put the recovery key into %s on %s", clip(h.user), h.label()),
			After: []string{fleet.OneLine(line, 300)}, Blast: "this host only",
			Key: &KeyChange{User: h.user, Line: line},
		})
	}
}

// waveSteps are the steps of one wave of hosts, in the snapshot's order.
func (m *maker) waveSteps(n int, hosts []*member) []Step {
	hosts = slices.Clone(hosts)
	slices.SortFunc(hosts, func(a, b *member) int { return a.Ref().Compare(b.Ref()) })
	var out []Step
	drilled := map[vpcKey][]*member{}
	for _, h := range hosts {
		slices.SortStableFunc(h.prepare, prepareOrder)
		for _, s := range h.prepare {
			s.Warning = cmp.Or(s.Warning, h.note)
			out = append(out, s)
		}
		out = append(out, m.hostStep(h, ProveSession, Prove, "Prove a session on %s"))
		if h.closes {
			out = append(out, m.quarantineSteps(h)...)
			drilled[h.vpcKey()] = addOnce(drilled[h.vpcKey()], h)
		}
	}
	for _, c := range m.groups {
		if c.wave == n {
			out = append(out, m.closeSteps(c)...)
			drilled[c.key] = addOnce(drilled[c.key], c.hosts...)
		}
	}
	for _, k := range m.recoveryKeys() {
		if list := drilled[k]; list != nil {
			change := m.recovery[k].change
			out = append(out, Step{
				Kind: RecoveryDrill, Phase: Prove, Lane: m.recoveryLane(k), At: k.at, Hosts: refs(list), Recovery: &change,
				Title: fmt.Sprintf("Log in to %s through recovery bastion %s", fleet.Count(len(list), "host"), change.Name),
				After: []string{"the bastion is started, used and stopped again"},
			})
		}
	}
	return out
}

func (m *maker) hostStep(h *member, k Kind, p Phase, title string) Step {
	return Step{Kind: k, Phase: p, Lane: h.ID, At: h.Ref().Place(), Hosts: []fleet.HostRef{h.Ref()}, Title: fmt.Sprintf(title, h.label())}
}

// quarantineSteps move a host's keys aside under a timer that puts them back.
func (m *maker) quarantineSteps(h *member) []Step {
	arm := m.hostStep(h, ArmHostTimer, Quarantine, "Arm a timer on %s that puts its keys back")
	arm.After = []string{fmt.Sprintf("the key files are put back %s after arming, unless a session proves that the host is reachable", shortly(m.policy.Timer))}
	arm.Timer = &TimerChange{After: m.policy.Timer}

	move := m.hostStep(h, QuarantineKeys, Quarantine, "Quarantine the SSH keys of %s")
	move.Keys, move.Before, move.After = m.keys(h)
	move.Blast = "this host only"
	move.Warning = h.note

	prove := m.hostStep(h, ProveSession, Quarantine, "Prove a session on %s again")
	disarm := m.hostStep(h, DisarmHostTimer, Quarantine, "Disarm the timer on %s")
	disarm.Timer = &TimerChange{After: m.policy.Timer}
	return []Step{arm, move, prove, disarm}
}

// keys says which lines of a host's key files stay, and previews both sides.
func (m *maker) keys(h *member) (c *KeysChange, before, after []string) {
	blob, err := keyBlob(m.policy.Recovery.PublicKey)
	if err != nil {
		panic("plan: " + err.Error()) // Validate has seen to it, and without a key nothing closes
	}
	c = &KeysChange{Keep: []string{blob}}
	after = []string{"the recovery key of " + clip(h.user)}
	const most = 20
	for i, k := range h.Probe.Value.Keys.Value {
		if k.Problem != "" {
			continue // sshd passes over the line
		}
		kept := slices.ContainsFunc(h.waived, func(w fleet.Consumer) bool { return w.Fingerprint != "" && w.Fingerprint == k.Fingerprint })
		line := clip(fmt.Sprintf("%s %s %s %s", cmp.Or(k.User, "any user"), k.Type, k.Fingerprint, k.Comment))
		switch {
		case k.Blob == blob:
			if k.User != h.user {
				after = append(after, "the recovery key of "+clip(k.User)+", as it is")
			}
		case kept:
			c.Keep = addOnce(c.Keep, k.Blob)
			after = append(after, line+" (waived)")
		case i < most:
			before = append(before, line)
		case i == most:
			before = append(before, fmt.Sprintf("and up to %d more", len(h.Probe.Value.Keys.Value)-most))
		}
	}
	return c, before, after
}
