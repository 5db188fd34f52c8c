package cutover

import (
	"encoding/json"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// Drills are the drills of a plan that came to their end, from its journal, in
// its order. What is no report of a drill is passed over.
func Drills(p *plan.Plan, entries []Entry) []recovery.Drill {
	var out []recovery.Drill
	for _, e := range entries {
		_, s := p.Step(e.Step)
		var r DrillReport
		if s == nil || s.Kind != plan.RecoveryDrill || s.Recovery == nil || e.Event != Ours || json.Unmarshal(e.Image, &r) != nil {
			continue
		}
		d := recovery.Drill{
			Place: s.At, VPC: s.Recovery.VPC, Plan: p.ID, At: e.At, Hosts: len(s.Hosts),
			Launch: r.Launch, Console: r.Console, Bastion: r.Bastion, Logins: r.Hosts, ScaleIn: r.ScaleIn,
		}
		for _, one := range r.Proofs {
			if one.Works == fleet.TruthYes {
				d.Proved++
			}
		}
		out = append(out, d)
	}
	return out
}
