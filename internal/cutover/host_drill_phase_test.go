package cutover_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// Whoever looks on is told of each phase of a drill in its order, and of its end also
// where it fails.
func TestDrillTellsItsPhases(t *testing.T) {
	all := []cutover.DrillPhase{cutover.DrillLaunch, cutover.DrillConsole, cutover.DrillBastion, cutover.DrillHosts, cutover.DrillScaleIn, cutover.DrillOver}
	for name, tt := range map[string]struct {
		set  func(*drillWorld)
		want []cutover.DrillPhase
	}{
		"fine":            {func(*drillWorld) {}, all},
		"no bastion":      {func(w *drillWorld) { w.noBastion = true }, append(slices.Clone(all[:1]), all[4:]...)},
		"no console keys": {func(w *drillWorld) { w.noKeys = true }, append(slices.Clone(all[:2]), all[4:]...)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, s := newDrill(plan.Prove, 2)
				tt.set(w)
				var got []cutover.DrillPhase
				kinds := drillKinds(w, func(of plan.Step, p cutover.DrillPhase) {
					if of.ID != s.ID {
						t.Errorf("told of step %s", of.ID)
					}
					got = append(got, p)
				})
				_, err := kinds[plan.RecoveryDrill].Apply(t.Context(), s, nil, "token")
				if (err == nil) != (name == "fine") || !slices.Equal(got, tt.want) {
					t.Errorf("told %v (%v), want %v", got, err, tt.want)
				}
			})
		})
	}
}
