package simfleet

import (
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

type simulatedOrganization struct {
	Allowed bool `xml:"AllowedByOrganizations"`
}

type simulatedBoundary struct {
	Allowed bool `xml:"AllowedByPermissionsBoundary"`
}

type simulatedResource struct {
	Name     string              `xml:"EvalResourceName"`
	Decision string              `xml:"EvalResourceDecision"`
	Missing  *memberList[string] `xml:"MissingContextValues"`
	Boundary *simulatedBoundary  `xml:"PermissionsBoundaryDecisionDetail"`
}

type simulatedAction struct {
	Action       string                         `xml:"EvalActionName"`
	Resource     string                         `xml:"EvalResourceName"`
	Decision     string                         `xml:"EvalDecision"`
	Matched      memberList[struct{}]           `xml:"MatchedStatements"`
	Missing      memberList[string]             `xml:"MissingContextValues"`
	Organization *simulatedOrganization         `xml:"OrganizationsDecisionDetail"`
	Boundary     *simulatedBoundary             `xml:"PermissionsBoundaryDecisionDetail"`
	Specific     *memberList[simulatedResource] `xml:"ResourceSpecificResults"`
}

// simulated is one action of a principal on one resource.
type simulated struct {
	verdict
	missing []string
}

func (s simulated) decision() string {
	switch {
	case s.denied():
		return "explicitDeny"
	case s.yes():
		return "allowed"
	}
	return "implicitDeny"
}

// simulatePrincipal evaluates actions as the principal's policies, its
// boundary and the organization's would. Resources' own policies take no part.
// Missing context keys stand with the resource where resources are given, else
// with the action. Source: IAM API Reference, EvaluationResult.
func simulatePrincipal(c *call) (any, error) {
	arn := c.form.Get("PolicySourceArn")
	p, ok := c.account.policySource(arn)
	if !ok {
		return nil, noSuchEntity("Entity %s could not be found.", arn)
	}
	actions := c.list("ActionNames.member")
	if len(actions) == 0 {
		return nil, refuse("ValidationError", "1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	for _, a := range actions {
		if service, name, ok := strings.Cut(a, ":"); !ok || service == "" || name == "" || strings.Contains(a, "*") {
			return nil, refuse("InvalidInput", "Invalid Input Action name: %s", a)
		}
	}
	actions, page, err := cut(c, actions)
	if err != nil {
		return nil, err
	}
	resources := c.list("ResourceArns.member")
	context := c.contextEntries()
	var out struct {
		Results memberList[simulatedAction] `xml:"EvaluationResults"`
		iamPage
	}
	out.iamPage = page
	out.Results = membersOf(actions, func(a string) simulatedAction { return c.simulateAction(p, a, resources, context) })
	return out, nil
}

// policySource finds a user, group or role.
func (a *Account) policySource(arn string) (principal, bool) {
	if g := find(a.Groups, func(g *fleet.IAMGroup) bool { return g.ARN == arn }); g != nil {
		return principal{arn: g.ARN, documents: a.documentsOf(g.Inline, g.Attached)}, true
	}
	if strings.Contains(arn, ":assumed-role/") {
		return principal{}, false
	}
	p, _, ok := a.principalOf(arn)
	return p, ok
}

// contextEntries are the condition keys that the caller gives.
func (c *call) contextEntries() map[string][]string {
	out := map[string][]string{}
	for i := 1; ; i++ {
		prefix := "ContextEntries.member." + strconv.Itoa(i)
		name := c.form.Get(prefix + ".ContextKeyName")
		if name == "" {
			return out
		}
		out[strings.ToLower(name)] = c.list(prefix + ".ContextKeyValues.member")
	}
}

func (c *call) simulateAction(p principal, action string, resources []string, context map[string][]string) simulatedAction {
	x := simulatedAction{Action: action, Resource: "*"}
	if len(resources) == 0 || slices.Equal(resources, []string{"*"}) {
		s := c.account.simulate(p, action, "*", context)
		x.Decision, x.Missing.Items = s.decision(), s.missing
		x.Organization, x.Boundary = c.account.simulatedLimits(s)
		return x
	}
	// The action's own decision is the worst of its resources'.
	x.Specific = &memberList[simulatedResource]{}
	x.Resource, x.Decision = resources[0], "allowed"
	for _, r := range resources {
		s := c.account.simulate(p, action, r, context)
		organization, boundary := c.account.simulatedLimits(s)
		d := s.decision()
		x.Specific.Items = append(x.Specific.Items, simulatedResource{r, d, &memberList[string]{s.missing}, boundary})
		if d == "explicitDeny" || x.Decision == "allowed" {
			x.Decision = d
		}
		if x.Organization == nil || !organization.Allowed {
			x.Organization = organization
		}
		if x.Boundary == nil || !boundary.Allowed {
			x.Boundary = boundary
		}
	}
	return x
}

func (a *Account) simulatedLimits(s simulated) (o *simulatedOrganization, b *simulatedBoundary) {
	if s.governed {
		o = &simulatedOrganization{s.organization.yes()}
	}
	if s.bounded {
		b = &simulatedBoundary{s.boundary.yes()}
	}
	return o, b
}

func (a *Account) simulate(p principal, action, resource string, context map[string][]string) simulated {
	var s simulated
	q := request{action: action, resource: resource, context: context, missing: func(key string) {
		if !slices.Contains(s.missing, key) {
			s.missing = append(s.missing, key)
		}
	}}
	s.verdict = a.judge(p, q)
	slices.Sort(s.missing)
	return s
}
