package readiness

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// SessionActions are the five actions that an agent's role must be allowed for
// Session Manager. Source: AWS Systems Manager User Guide,
// getting-started-create-iam-instance-profile.
func SessionActions() []string { return sessionActions[:] }

// CommandActions are the six that an agent before RunCommandVersion needs for
// Run Command besides. Source: AWS Systems Manager User Guide,
// systems-manager-setting-up-messageAPIs.
func CommandActions() []string { return commandActions[:] }

// RunCommandVersion is the first agent that needs no ec2messages for Run Command.
const RunCommandVersion = ec2messagesVersion

// Below reports whether an agent's version is lower than a floor; ok is false
// when one of the two is no version.
func Below(agent, floor string) (below, ok bool) {
	a, ok1 := parseVersion(agent)
	f, ok2 := parseVersion(floor)
	return a.below(f), ok1 && ok2
}

// Grants answers what would have to be added to roles. It is not safe for
// concurrent use.
type Grants struct{ iam *authority }

// NewGrants reads the roles of a snapshot.
func NewGrants(s *fleet.Snapshot) *Grants { return &Grants{iam: newAuthority(s)} }

// RoleOf is the role that a host's instance profile holds; nil when there is
// none or it was not read.
func (g *Grants) RoleOf(h *fleet.Host) *fleet.Role {
	if v := g.iam.ofHost(h); v != nil {
		return v.role
	}
	return nil
}

// Lacks lists those of the actions on a resource that no policy of the role
// grants, for its sessions on a host. Stop says why adding a policy would not
// do: an explicit Deny, a permissions boundary, the organization, or a role
// that was not read; empty when it would.
func (g *Grants) Lacks(roleARN string, h *fleet.Host, resource string, actions []string) (missing []string, stop string) {
	name := roleARN[strings.LastIndexByte(roleARN, '/')+1:]
	v := g.iam.roles[roleKey(fleet.ARNAccount(roleARN), name)]
	if v == nil {
		return nil, fmt.Sprintf("role %s was not read", name)
	}
	for _, action := range actions {
		switch d := g.iam.ask(v, h, action, resource); {
		case d.denials != nil:
			stop = d.denials[0]
		case d.bounded != "":
			stop = "the permissions boundary " + d.bounded
		case d.controlled != nil:
			stop = d.controlled[0]
		case d.ungranted:
			missing = append(missing, action)
		}
	}
	return missing, stop
}
