package plan

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// MakeRotation plans to put a new recovery key in the place of the older ones
// on every host that has one, and into what the bastions start from. Keys are the
// generations in use, newest first; the first is the new one, and its private part
// must be kept already. The ways are those of Ways.
//
// Every host keeps a key that works: the new one comes first, is logged in with,
// and only then the old ones go.
func MakeRotation(s *fleet.Snapshot, ways []Way, keys []fleet.RecoveryKey, p Policy, now time.Time) (*Plan, error) {
	if len(keys) < 2 {
		return nil, errors.New("rotation: it takes a new recovery key and an old one")
	}
	p.Recovery.PublicKey, p.Recovery.CA = keys[0].Line, keys[0].CA
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	with := lineBlob(keys[0].Line)
	var old []string
	for _, k := range keys[1:] {
		b, err := keyBlob(k.Line)
		if err != nil || b == with {
			return nil, fmt.Errorf("rotation: %s is no key that another could take the place of", clip(k.Line))
		}
		old = append(old, b)
	}
	m, ways := ofWays(s, ways, p, Rotation)
	if len(ways) == 0 {
		return nil, errors.New("rotation: no running host has a recovery key that a plan put there")
	}
	m.add("new key", nil, m.newKeys(ways, old), 0)
	m.add("bastions", nil, m.newTemplates(ways, with), 0)
	m.add("old key", nil, m.oldKeys(ways, with, old), 0)
	return m.sealed(now)
}

// sealed finishes a plan.
func (m *maker) sealed(now time.Time) (*Plan, error) {
	m.plan.Made = now.UTC().Truncate(time.Second)
	if err := m.plan.seal(); err != nil {
		return nil, err
	}
	if err := m.plan.Check(); err != nil {
		return nil, err
	}
	return m.plan, nil
}

func (m *maker) newKeys(ways []Way, old []string) []Step {
	var out []Step
	for _, w := range ways {
		for _, x := range w.Hosts {
			h := m.byID[x.Host.ID]
			s := m.hostStep(h, RecoveryKey, Prepare, "Put the new recovery key on %s")
			s.Key = &KeyChange{User: x.User, Line: m.hostLine(h.Host, w.Recovery.Subnets), Old: old}
			s.After = []string{fleet.OneLine(s.Key.Line, 300)}
			s.Blast = "this host only; the old key stays beside it"
			out = append(out, s)
		}
	}
	return out
}

func (m *maker) newTemplates(ways []Way, with string) []Step {
	var out []Step
	for _, w := range ways {
		lane, hosts := wayLane(w, ways), wayRefs(w.Hosts)
		out = append(out,
			Step{
				Kind: RecoveryTemplate, Phase: Prepare, Lane: lane, At: w.At, Hosts: hosts, Recovery: w.change(bastionLine(m.policy.Recovery)),
				Title: fmt.Sprintf("Let bastions of %s start with the new recovery key", w.Recovery.Name),
				After: []string{"a new version of launch template " + w.Recovery.Name + ", which the Auto Scaling group starts from"},
				Blast: "bastions that start from now on; nobody else is touched",
			},
			m.drillStep(w, ways, w.Hosts, func(c *RecoveryChange) { c.With = with }, "with the new key"))
	}
	return out
}

func (m *maker) oldKeys(ways []Way, with string, old []string) []Step {
	var out []Step
	for _, w := range ways {
		for _, x := range w.Hosts {
			h := m.byID[x.Host.ID]
			s := m.hostStep(h, RetireKey, Prepare, "Take the old recovery key off %s")
			s.Key = &KeyChange{User: x.User, Line: m.hostLine(h.Host, w.Recovery.Subnets), Old: old}
			s.After = []string{"no key file has it, and no file that a rollback would put back"}
			s.Blast = "this host only"
			out = append(out, s)
		}
		out = append(out, m.drillStep(w, ways, w.Hosts, func(c *RecoveryChange) { c.With, c.Refused = with, old }, "with the new key, and see that the old one is refused"))
	}
	return out
}

// drillStep logs in to hosts of a way.
func (m *maker) drillStep(w Way, ways []Way, hosts []WayHost, want func(*RecoveryChange), how string) Step {
	c := w.change(bastionLine(m.policy.Recovery))
	want(c)
	return Step{
		Kind: RecoveryDrill, Phase: Prove, Lane: wayLane(w, ways), At: w.At, Hosts: wayRefs(hosts), Recovery: c,
		Title: fmt.Sprintf("Log in to %s through recovery bastion %s %s", fleet.Count(len(hosts), "host"), c.Name, how),
		After: []string{"the bastion is started, used and stopped again"},
	}
}

// Retires lists the base64 parts of the keys that a rotation takes off hosts.
func (p *Plan) Retires() []string {
	var out []string
	for _, s := range p.Of(RetireKey) {
		out = addOnce(out, s.Key.Old...)
	}
	slices.Sort(out)
	return out
}
