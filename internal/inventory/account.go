package inventory

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

const sourceSimulations = "iam:SimulatePrincipalPolicy"

// account reads one account's global side and, once all Regions are listed, asks
// for simulations of the roles that are in use there. Statuses and probes go on
// meanwhile.
func (c *collector) account(identity Identity) {
	a := identity.Account(c.ctx)
	if c.ctx.Err() != nil {
		return
	}
	c.out.save(fleet.Batch{Accounts: []fleet.Account{a}})
	c.tellSources(a.Sources())

	c.listing.Wait()
	roles := c.rolesInUse(a)
	if c.ctx.Err() != nil || len(roles) == 0 {
		return // nothing was asked then, and nothing is said to be known
	}
	c.tell(Event{Kind: SourceProgress, Account: cmp.Or(a.ID, a.Label), Source: sourceSimulations})
	a.Simulations = identity.Simulate(c.ctx, roles)
	if c.ctx.Err() != nil {
		return
	}
	c.out.save(fleet.Batch{Accounts: []fleet.Account{a}})
	c.tellSources(fleet.Account{ID: a.ID, Label: a.Label, Simulations: a.Simulations}.Sources())
}

// defaultRole names the role of Default Host Management Configuration in one
// account, as the service setting does: "service-role/NAME".
type defaultRole struct{ account, path string }

func (c *collector) usesProfile(arn string) {
	if arn == "" {
		return
	}
	c.mu.Lock()
	c.profiles[arn] = true
	c.mu.Unlock()
}

func (c *collector) usesDefaultRole(r fleet.Region) {
	if path := r.DefaultRole.Value; path != "" {
		c.mu.Lock()
		c.defaultRoles[defaultRole{cmp.Or(r.Account, r.Label), path}] = true
		c.mu.Unlock()
	}
}

// rolesInUse gives the ARNs of the account's roles that instances have by their
// profile or by Default Host Management Configuration, sorted.
func (c *collector) rolesInUse(a fleet.Account) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]bool{}
	for _, p := range a.Profiles.Value {
		if c.profiles[p.ARN] && p.Role != "" {
			names[p.Role] = true
		}
	}
	for role := range c.defaultRoles {
		if role.account == a.ID || role.account == a.Label {
			names[role.path[strings.LastIndexByte(role.path, '/')+1:]] = true
		}
	}
	arns := map[string]bool{}
	for _, r := range a.Roles.Value {
		if names[r.Name] {
			arns[r.ARN] = true
		}
	}
	return slices.Sorted(maps.Keys(arns))
}
