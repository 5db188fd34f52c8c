package cutover

import (
	"context"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// RecoveryDrift is what a check for drift needs to look at the recovery way
// beyond what a plan's steps brought about.
type RecoveryDrift struct {
	World RecoveryWorld
	Want  recovery.Wanted
	// Logins are the newest recovery proofs; DrillAge is how old one may be.
	Logins   []fleet.Proof
	DrillAge time.Duration
}

// recoveryCodes are the checks that drift tells of in these words. The others
// are what the conditions of the plan's own steps say.
var recoveryCodes = map[recovery.Code]DriftCode{
	recovery.CheckImage:    DriftRecoveryImage,
	recovery.CheckTemplate: DriftRecoveryTemplate,
	recovery.CheckEntry:    DriftRecoveryGroup,
	recovery.CheckAge:      DriftRecoveryKeyAge,
	recovery.CheckDrill:    DriftRecoveryDrillAge,
	recovery.CheckDoor:     DriftRecoveryRule,
	recovery.CheckKey:      DriftRecoveryKey,
}

// recoveryItems are what has drifted of the recovery way of the plan's VPCs.
func (d *driftCheck) recoveryItems(ctx context.Context) []DriftItem {
	if d.Recovery == nil {
		return nil
	}
	var list []RecoveryNetwork
	var steps []expected
	for _, e := range d.x.shared {
		if e.step.Kind == plan.RecoveryGroup && e.step.Recovery != nil {
			list, steps = append(list, RecoveryNetwork{e.step.At, e.step.Recovery.VPC}), append(steps, e)
		}
	}
	if len(list) == 0 {
		return nil
	}
	var out []DriftItem
	for i, s := range SeeRecovery(ctx, d.Recovery.World, list) {
		for _, c := range s.Checks(d.Recovery.Want) {
			if item, ok := d.recoveryItem(c, steps[i]); ok {
				out = append(out, item)
			}
		}
	}
	now := time.Now().UTC()
	more := slices.Concat(recovery.KeyChecks(d.Recovery.Want, now), recovery.DrillChecks(d.drilled(), d.Recovery.Logins, d.Recovery.DrillAge, now))
	for _, c := range more {
		if c.Holds == fleet.TruthYes {
			continue
		}
		out = append(out, DriftItem{
			Code: recoveryCodes[c.Code], Holds: c.Holds, What: c.What, At: list[0].At, Hosts: c.Hosts, Was: "The recovery way is fit for use", Now: c.Now, remedyWords: c.Do,
		})
	}
	return out
}

// recoveryItem makes drift of a check. Of single hosts it names those alone that
// came after the plan: it has judged the others, and its steps tell of them.
func (d *driftCheck) recoveryItem(c recovery.Check, e expected) (DriftItem, bool) {
	code, ok := recoveryCodes[c.Code]
	if !ok || c.Holds == fleet.TruthYes {
		return DriftItem{}, false
	}
	if c.Code == recovery.CheckDoor || c.Code == recovery.CheckKey {
		c.Hosts = slices.DeleteFunc(slices.Clone(c.Hosts), func(h fleet.HostRef) bool { _, known := d.x.known[h]; return known })
		if len(c.Hosts) == 0 {
			return DriftItem{}, false // instances that cannot be listed are told of once
		}
	}
	i := e.item(code, c.What, c.Holds, c.Now)
	i.Hosts, i.remedyWords = c.Hosts, c.Do
	return i, true
}

// drilled are the hosts that the plan's drills were for.
func (d *driftCheck) drilled() []fleet.HostRef {
	var out []fleet.HostRef
	for _, r := range d.x.order() {
		if h := d.x.hosts[r]; h.key != nil && d.there([]fleet.HostRef{r}) {
			out = append(out, r)
		}
	}
	return out
}
