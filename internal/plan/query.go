package plan

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

// Step finds a step and the wave that it is in; nils when there is none.
func (p *Plan) Step(id string) (*Wave, *Step) {
	for i := range p.Waves {
		w := &p.Waves[i]
		for k := range w.Steps {
			if w.Steps[k].ID == id {
				return w, &w.Steps[k]
			}
		}
	}
	return nil, nil
}

// WaveOf finds the wave in which a host is; nil when it takes no part.
func (p *Plan) WaveOf(h fleet.HostRef) *Wave {
	for i := range p.Waves {
		if slices.Contains(p.Waves[i].Hosts, h) {
			return &p.Waves[i]
		}
	}
	return nil
}

// Phase gives the wave's steps of one phase by lane, the lanes in the order of
// their first steps.
func (w *Wave) Phase(phase Phase) [][]Step {
	at := map[string]int{}
	var out [][]Step
	for _, s := range w.Steps {
		if s.Phase != phase {
			continue
		}
		i, ok := at[s.Lane]
		if !ok {
			i = len(out)
			at[s.Lane] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}

// Hosts lists the hosts of all waves, in order.
func (p *Plan) Hosts() []fleet.HostRef {
	var out []fleet.HostRef
	for i := range p.Waves {
		out = append(out, p.Waves[i].Hosts...)
	}
	slices.SortFunc(out, fleet.HostRef.Compare)
	return slices.Compact(out)
}

// Steps counts the steps of all waves.
func (p *Plan) Steps() int {
	n := 0
	for i := range p.Waves {
		n += len(p.Waves[i].Steps)
	}
	return n
}

// Of lists the steps of a kind in the plan's order.
func (p *Plan) Of(k Kind) []Step {
	var out []Step
	for i := range p.Waves {
		for _, s := range p.Waves[i].Steps {
			if s.Kind == k {
				out = append(out, s)
			}
		}
	}
	return out
}

// Closes counts the hosts whose keys are quarantined and the security groups
// whose port 22 closes.
func (p *Plan) Closes() (hosts, groups int) {
	return len(p.Of(QuarantineKeys)), len(p.Of(ClosePort))
}

// Refused lists what the plan leaves open of a host.
func (p *Plan) Refused(h fleet.HostRef) []Refusal {
	return slices.DeleteFunc(slices.Clone(p.Refusals), func(r Refusal) bool { return r.Host != h })
}

// Expected reports whether the refusal is what the policy asked for or what the
// plan is not about, rather than something that stands in its way.
func (r Refusal) Expected() bool {
	switch r.Code {
	case "excluded", "windows", "not-running", "bastion", "bastion-alone", "template-undoes":
		return true
	}
	return false
}

// Codes lists the codes of refusals, sorted. docs/plan.md tells what each means.
func Codes() []string {
	return []string{
		"access-lost", "access-unknown", "agent-boot-unknown", "agent-not-enabled", "bastion", "bastion-alone", "bastion-mixed", "bastion-needed", "bastion-unknown", "consumer-active", "excluded",
		"groups-unknown", "logins-unknown", "member-elsewhere", "member-stays", "members-unknown", "no-bastion-image", "no-bastion-subnet", "no-operator-range",
		"no-recovery-group", "no-recovery-key", "not-ready", "not-running", "not-scanned", "not-seen", "partly-scanned", "pin-unused", "port-stays-open", "recovery-key-refused",
		"template-undoes", "wide-rule", "windows",
	}
}
