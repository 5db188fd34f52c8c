package readiness

import (
	"strings"

	"ssm-migrate/internal/fleet"
)

// simulationKey is what a simulation is looked up by.
type simulationKey struct{ principal, action string }

// addSimulations indexes what IAM itself says of roles. IAM is asked for each
// role and action once, on every resource.
func (a *authority) addSimulations(acct *fleet.Account) {
	for i := range acct.Simulations.Value {
		s := &acct.Simulations.Value[i]
		a.sims[simulationKey{s.Principal, strings.ToLower(s.Action)}] = s
	}
}

// simulated is IAM's own answer for a role and an action: nil when it was not asked.
func (a *authority) simulated(arn, action string) *fleet.Simulation {
	return a.sims[simulationKey{arn, strings.ToLower(action)}]
}
