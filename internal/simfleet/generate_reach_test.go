package simfleet_test

import (
	"testing"

	"ssm-migrate/internal/simfleet"
)

// Without unreachable hosts asked for, the operator gets to every host that
// has an SSH server, whatever the seed and the size of the fleet.
func TestOperatorReachesEveryHost(t *testing.T) {
	for seed := range uint64(40) {
		for _, n := range []int{5, 20, 60, 300} {
			w, err := simfleet.Generate(simfleet.Options{Seed: seed, Instances: n})
			if err != nil {
				t.Fatal(err)
			}
			for in := range w.Instances() {
				if in.Host.Running() && !in.Host.Windows() && (in.Down || !w.OperatorReaches(in)) {
					t.Errorf("seed %d, %d instances: %s (%s) is not reached", seed, n, in.Host.ID, in.Host.Name())
				}
			}
		}
	}
}
