package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// RoleAllows says whether a role may do an action by its own policies and its
// permissions boundary; those of its managed policies that are not among the
// policies count as not read. The host is who uses the role; without an ID, a
// service does. Known are the values of condition keys of the request, besides
// those that follow from role and host. What the organization and resources
// say is not asked.
func RoleAllows(r *fleet.Role, policies []fleet.Policy, h *fleet.Host, action, resource string, known map[string]string) fleet.Truth {
	account := fleet.Account{ID: fleet.ARNAccount(r.ARN)}
	account.Policies.Value = policies
	account.Roles.Value = []fleet.Role{*r}
	v := newAuthority(&fleet.Snapshot{Accounts: []fleet.Account{account}}).order[0]
	layers := v.request(h)
	for i, a := range sessionActions {
		if strings.EqualFold(a, action) && resource == "*" {
			var own requestContext
			resource, own = agentRequest(r.ARN, h, i)
			layers = slices.Concat(own, v.values(h))
			break
		}
	}
	return fleetTruth(v.may.decide(action, resource, append(layers, valuesOf(known))).allowed)
}

// RoleTrusts says whether a trust policy lets a service use the role in a
// request of which these condition keys are known.
func RoleTrusts(policy, service string, known map[string]string) fleet.Truth {
	return fleetTruth(trusts(policy, service, valuesOf(known)))
}

func valuesOf(known map[string]string) contextValues {
	out := contextValues{}
	for k, v := range known {
		out[strings.ToLower(k)] = []string{v}
	}
	return out
}
