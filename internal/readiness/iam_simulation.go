package readiness

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// The decisions of iam:SimulatePrincipalPolicy.
// Source: IAM API Reference, API_EvaluationResult.
const (
	simAllowed      = "allowed"
	simExplicitDeny = "explicitDeny"
	simImplicitDeny = "implicitDeny"
)

// simulationKey is what a simulation is looked up by.
type simulationKey struct{ principal, action string }

// disagreement is one action on which policies and simulation differ.
type disagreement struct{ action, policies, simulation string }

// addSimulations indexes what IAM itself says of roles. IAM is asked for each
// role and action once, on every resource.
func (a *authority) addSimulations(acct *fleet.Account) {
	for i := range acct.Simulations.Value {
		s := &acct.Simulations.Value[i]
		a.sims[simulationKey{s.Principal, strings.ToLower(s.Action)}] = s
	}
}

// settle weighs what the policies say of a role's action against IAM's own
// simulation. The simulation knows service control policies that cannot be
// read, and settles doubts; where both are sure and differ, nobody knows.
// anywhere says that the request was for all resources, as the simulation's
// is. Of a single resource the simulation says less: an Allow that names it
// shows as an implicit denial, and a Deny that names it does not show.
// Source: IAM API Reference, API_SimulatePrincipalPolicy (ResourceArns).
func (a *authority) settle(v *roleView, action string, anywhere bool, d decision) decision {
	s := a.sims[simulationKey{v.role.ARN, strings.ToLower(action)}]
	if s == nil {
		return d
	}
	_, controlsRead := a.levels[v.account.ID]
	if s.Organizations == fleet.TruthNo && !controlsRead {
		if d.allowed != no {
			d = decision{}
		}
		d.controlled = append(d.controlled[:len(d.controlled):len(d.controlled)], "a service control policy of the organization stops it, says iam:SimulatePrincipalPolicy")
		d.allowed, d.why = no, d.controlled[0]
		return d
	}
	if len(s.Missing) > 0 || !comparable(s) {
		return d // IAM did not know the request well enough
	}
	if !anywhere && v.agrees(action, s) {
		return d // IAM says of all resources what the policies say of them
	}
	allowed := s.Decision == simAllowed
	denied := s.Decision == simExplicitDeny || s.Decision == simImplicitDeny && anywhere
	switch {
	case d.allowed == maybe && !d.fromControls && allowed && anywhere:
		return decision{allowed: yes, why: "iam:SimulatePrincipalPolicy says that it is allowed"}
	case d.allowed == maybe && denied:
		return decision{why: "iam:SimulatePrincipalPolicy says " + s.Decision, ungranted: s.Decision == simImplicitDeny}
	case d.allowed == yes && denied:
		return v.differs(action, s, "the policies that were read allow it: "+d.why)
	case d.allowed == no && allowed && d.controlled == nil && (anywhere || d.ungranted):
		return v.differs(action, s, "the policies that were read do not allow it: "+d.why)
	}
	return d
}

// agrees reports whether the policies that were read say of an action on every
// resource what IAM's simulation of just that says.
func (v *roleView) agrees(action string, s *fleet.Simulation) bool {
	d := v.may.decide(action, "*", requestContext{v.context})
	return d.allowed == yes && s.Decision == simAllowed || d.allowed == no && s.Decision != simAllowed
}

// comparable reports whether a decision is one that is understood.
func comparable(s *fleet.Simulation) bool {
	return s.Decision == simAllowed || s.Decision == simExplicitDeny || s.Decision == simImplicitDeny
}

// differs notes a disagreement, which leaves the decision open.
func (v *roleView) differs(action string, s *fleet.Simulation, policies string) decision {
	simulation := "iam:SimulatePrincipalPolicy says " + s.Decision
	known := false
	for _, x := range v.disagrees {
		known = known || x.action == action
	}
	if !known {
		v.disagrees = append(v.disagrees, disagreement{action, policies, simulation})
	}
	return decision{allowed: maybe, why: fmt.Sprintf("%s, but %s", policies, simulation)}
}
